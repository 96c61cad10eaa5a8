"""What it costs to save and load a trace, beside other ways to write the same bytes.

Real JaxARC episodes (30x30, the demo's tasks and player, point actions), recorded by this package.
Every way writes the same packed bytes. The rows take turns within a round, medians over the
rounds are printed; files are read from the page cache. `blocked` is how long the program waits
for a save in the background, from the trace on the device on. `one` opens the file for the
first time in this process and reads the bytes of one episode, `again` does so for four others,
each time opened anew (their median), `open` reads the index alone, `decoded` makes an `Episode` of
the bytes, `all` reads the bytes of all. This package checks every checksum as it reads; the others
check none. `--layout` compares chunk sizes, and the layout in which every episode is padded to the
longest. Flashbax and Minari are run where they are installed, Minari on a tenth of the episodes,
its times and bytes times ten.

    python benchmarks/storage.py [--steps 1280] [--rounds 5] [--json FILE] [--layout]

The ratios are taken within a round, and the median over the rounds is printed.
"""

import argparse
import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# JaxARC checks its state through a host callback unless it is told not to.
os.environ["EQX_ON_ERROR"] = "off"

import jax
import numpy as np
from storage_peers import opened, peers
from timing import save_json

import jaxarc_trace as jt
from jaxarc_trace import store_format
from jaxarc_trace.demo.player import scripted_player
from jaxarc_trace.demo.tasks import environment, quiet_jaxarc
from jaxarc_trace.recording import Recording
from jaxarc_trace.run import Run

LANES = 256
CHUNK_BYTES = store_format.CHUNK_BYTES


def record(steps: int) -> jt.Trace:
    """A trace of every transition of so many steps of all lanes."""
    quiet_jaxarc()
    spec = jt.TraceSpec(keep="last", max_steps=128, capacity=steps, recent=steps // 4)
    run = functools.partial(
        jt.rollout,
        environment(action="point"),
        scripted_player("point", max_error=0.5),
        spec=spec,
        num_lanes=LANES,
        num_steps=steps,
    )
    return jax.block_until_ready(jax.jit(run)(jax.random.key(0))[1])


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that work took, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def ours(
    recording: Recording, path: Path, index: int, trace: jt.Trace | None = None
) -> dict[str, Any]:
    """One round of this package; with a trace, also how long a background save blocks."""
    blocked = np.nan
    if trace is not None:
        with tempfile.TemporaryDirectory() as root, Run.create(root) as run:
            blocked, _ = clocked(lambda: run.save(trace, background=True))
    saved, _ = clocked(lambda: jt.save(path, recording))

    def packed(number: int) -> Any:
        return jt.load(path).sources[0].packed(number)

    found = opened(packed, index)
    header, _ = clocked(lambda: jt.load(path))
    one, _ = clocked(lambda: jt.load(path)[index])
    episodes = jt.load(path)
    everything, _ = clocked(lambda: [parts for _, _, parts in episodes.stream()])
    return {
        "save": saved,
        "open": header,
        **found,
        "decoded": one,
        "all": everything,
        "blocked": blocked,
    }


def numpy_file(
    save: Callable[..., None], recording: Recording, path: Path, index: int
) -> dict[str, Any]:
    """One round of `np.savez` or `np.savez_compressed`."""
    saved, _ = clocked(lambda: save(path, **arrays(recording)))
    everything, _ = clocked(lambda: dict(np.load(path).items()))

    def one(index: int) -> Any:
        file = np.load(path)
        ends = np.cumsum(file["kept"], dtype=np.int64)
        start = ends[index] - file["kept"][index]
        return file["records"][start : ends[index]], file["constants"][index]

    return {"save": saved, **opened(one, index), "all": everything}


def orbax_default(recording: Recording, path: Path, index: int) -> dict[str, Any]:
    """One round of Orbax as it comes."""
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        saved, _ = clocked(lambda: checkpointer.save(path, arrays(recording)))
        everything, _ = clocked(lambda: checkpointer.restore(path))
        found = opened(lambda number: checkpointer.restore(path)["records"][number], index)
    return {"save": saved, **found, "all": everything}


def tenth(
    work: Callable[..., dict[str, Any]], recording: Recording, path: Path, index: int
) -> dict[str, Any]:
    """A round on a tenth of the episodes, times and bytes scaled to all of them."""
    count = len(recording) // 10
    few = dataclasses.replace(
        recording,
        columns={name: column[:count] for name, column in recording.columns.items()},
        constants=recording.constants[:count],
        finals=recording.finals[:count],
        records=recording.records[: recording.offsets[count]],
    )
    path.mkdir(exist_ok=True)
    found = work(few, path, index)
    scale = len(recording.records) / len(few.records)
    times = {
        name: value * (1 if name in ("one", "again") else scale) for name, value in found.items()
    }
    return {**times, "bytes": size(path) * scale}


def arrays(recording: Recording) -> dict[str, np.ndarray]:
    """A recording as plain arrays."""
    return {
        **recording.columns,
        "constants": recording.constants,
        "finals": recording.finals,
        "records": recording.records,
    }


def padded(recording: Recording) -> Recording:
    """The same with every episode as long as the longest, as `[group, 16, time, record]` has it."""
    longest = int(recording.columns["kept"].max())
    records = np.zeros((len(recording), longest, recording.schema.record_bytes), np.uint8)
    for index in range(len(recording)):
        rows = recording.read(index)[0]
        records[index, : len(rows)] = rows
    kept = np.full(len(recording), longest, np.int32)
    return dataclasses.replace(
        recording,
        records=records.reshape(-1, recording.schema.record_bytes),
        columns={**recording.columns, "kept": kept},
    )


def size(path: Path) -> int:
    """Bytes of a file or of all files below a directory."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(f.stat().st_size for f in files)


Row = tuple[str, Callable[..., dict[str, Any]]]


Seen = dict[str, list[dict[str, float]]]


def compare(rows: dict[str, Row], rounds: int, raw: int) -> Seen:
    """Runs every row in each round, in turn, and prints medians; gives every measurement."""
    seen: Seen = {name: [] for name in rows}
    for index in range(rounds):
        for name, (file, work) in rows.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file
                result = work(path=path, index=index * 37)
                seen[name].append({"bytes": size(path), **result})
    titles = (
        "blocked s",
        "save s",
        "open ms",
        "one ms",
        "again ms",
        "decoded",
        "all s",
        "MB",
        "raw/disk",
    )
    print(f"{'':34}" + "".join(f"{title:>10}" for title in titles))
    for name, results in seen.items():
        mid = {key: float(np.median([r[key] for r in results])) for key in results[0]}
        cells = [
            mid.get("blocked", mid["save"]),
            mid["save"],
            mid.get("open", np.nan) * 1e3,
            mid["one"] * 1e3,
            mid.get("again", np.nan) * 1e3,
            mid.get("decoded", np.nan) * 1e3,
            mid["all"],
            mid["bytes"] / 1e6,
            raw / mid["bytes"],
        ]
        print(f"{name:34}" + "".join(f"{cell:10.2f}" for cell in cells))
    return seen


def reached(seen: Seen, raw: int) -> dict[str, float]:
    """How this package stands to each of the others, and prints it: within rounds, by median."""
    own = seen["jaxarc_trace"]
    found = {"raw / disk": raw / float(np.median([r["bytes"] for r in own]))}
    for name, results in seen.items():
        pairs = list(zip(own, results, strict=True))
        if name == "jaxarc_trace":
            continue
        found[f"blocked / save of {name}"] = float(
            np.median([a["blocked"] / b["save"] for a, b in pairs])
        )
        for which in ("one", "again"):
            found[f"{which}, {name} / ours"] = float(
                np.median([b[which] / a[which] for a, b in pairs])
            )
        found[f"all / all of {name}"] = float(np.median([a["all"] / b["all"] for a, b in pairs]))
    for name, value in found.items():
        print(f"{name:50}{value:10.3f}")
    return found


def with_chunks(kib: int, recording: Recording, path: Path, index: int) -> dict[str, Any]:
    """`ours` with another chunk size."""
    store_format.CHUNK_BYTES = kib * 1024
    try:
        return ours(recording, path, index)
    finally:
        store_format.CHUNK_BYTES = CHUNK_BYTES


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1280, help="steps of 256 lanes to record")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layout", action="store_true", help="compare layouts, not peers")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    load = os.getloadavg()
    trace = record(options.steps)
    recording = jt.take(trace)
    raw = sum(a.nbytes for a in arrays(recording).values())
    print(f"{len(recording)} episodes, {len(recording.records)} transitions, {raw / 1e6:.1f} MB")
    part = functools.partial
    if options.layout:
        rows: dict[str, Any] = {
            f"one after the other, {kib} KiB": (
                "store",
                part(with_chunks, kib, recording),
            )
            for kib in (128, 256, 512, 1024, 2048)
        }
        wide = padded(recording)
        group_kib = 16 * int(wide.columns["kept"][0]) * wide.schema.record_bytes // 1024 + 1
        rows["padded to the longest, 16 a chunk"] = ("store", part(with_chunks, group_kib, wide))
    else:
        rows = {
            "jaxarc_trace": ("store", part(ours, recording, trace=trace)),
            "np.savez": ("a.npz", part(numpy_file, np.savez, recording)),
            "np.savez_compressed": ("a.npz", part(numpy_file, np.savez_compressed, recording)),
            "Orbax, as it comes": ("store", part(orbax_default, recording)),
        }
        for name, work in peers().items():
            row = part(tenth, work) if name.startswith("Minari") else work
            rows[name] = ("store", part(row, recording))
    seen = compare(rows, options.rounds, raw)
    if options.layout:
        return
    ratios = reached(seen, raw)
    if options.json:
        data = {"episodes": len(recording), "transitions": len(recording.records), "bytes": raw}
        loads = {"before": load, "after": os.getloadavg()}
        save_json(options.json, data=data, load=loads, ratios=ratios, rounds=seen)


if __name__ == "__main__":
    main()
