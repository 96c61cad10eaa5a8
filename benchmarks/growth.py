"""How costs grow: with lanes, steps, slots and the size of a record; with the episodes stored.

    python benchmarks/growth.py --json benchmarks/results/growth.json

The programs of one dimension, traced and untraced, run interleaved in one process, as in every
other benchmark. Stores hold made-up episodes of one to four steps. The memory of a command is the
largest resident size of a process of its own that runs it. An exponent is the slope of a line
through the logarithms, fitted to the points whose x is at least `from`.
"""

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import Program, compile_program, measure, ratio, save_json

import jaxarc_trace as jt
from jaxarc_trace.bench import environment_named, random_player
from jaxarc_trace.recording import COLUMNS
from jaxarc_trace.schema import RecordSchema, Section

LANES = (1, 4, 16, 64, 256, 1024, 4096, 16384)
STEPS = (16, 64, 256, 1024, 4096)
SLOTS = (1, 4, 16, 64, 256)
WORDS = (4, 16, 64, 256, 1024)
EPISODES = (10, 100, 1000, 10_000, 100_000, 1_000_000)
COMMANDS = {
    "info": ("info",),
    "show one": ("show", 0, "--step", 1),
    "verify": ("verify",),
    "export the best ten": ("export", "--best", 10, "--out"),
}
LARGEST = {"verify": 100_000}
"""A command that reads every episode is not run on the largest stores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=EPISODES[-1], help="episodes stored")
    parser.add_argument("--sizes", type=int, help="only so many sizes of each dimension")
    parser.add_argument("--only", nargs="+", help="these dimensions; the rest stays in the JSON")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    few, only = args.sizes, args.only
    found: dict[str, Any] = {}
    if only and args.json and args.json.exists():
        found = json.loads(args.json.read_text())["growth"]
    for name, build in (
        ("lanes", by_lanes), ("steps", by_steps), ("slots", by_slots), ("record", by_record),
    ):  # fmt: skip
        if not only or name in only:
            found[name] = measured(build(few), args.rounds)
    if not only or "episodes" in only:
        sizes = [count for count in EPISODES if count <= args.most][:few]
        with tempfile.TemporaryDirectory() as folder:
            found["episodes"], found["memory"] = by_episodes(Path(folder), sizes)
    for name, part in found.items():
        print(name, json.dumps(part["exponents"]))
    if args.json:
        save_json(args.json, rounds=args.rounds, growth=found)


# ------------------------------------------------------------------------------ programs

Pair = tuple[float, Program, Program]


def cartpole(lanes: int, steps: int, slots: int = 16) -> tuple[Program, Program]:
    """A random player in CartPole, untraced, and traced with ring and shelf."""
    env = environment_named("CartPole-v1", 500)
    player = random_player(env)

    def program(spec: jt.TraceSpec) -> Callable[[jax.Array], Any]:
        return lambda key: jt.rollout(env, player, key, spec=spec, num_lanes=lanes, num_steps=steps)

    key = jax.random.key(0)
    spec = jt.TraceSpec(max_steps=64, keep={"best": max(1, slots // 2), "random": slots // 2 or 1})
    off = compile_program("untraced", program(jt.TraceSpec(level="off")), key)
    return off, compile_program("traced", program(spec), key)


def by_lanes(few: int | None) -> Iterable[Pair]:
    return [(lanes, *cartpole(lanes, 64)) for lanes in LANES[:few]]


def by_steps(few: int | None) -> Iterable[Pair]:
    return [(steps, *cartpole(64, steps)) for steps in STEPS[:few]]


def by_slots(few: int | None) -> Iterable[Pair]:
    return [(2 * max(1, slots // 2), *cartpole(256, 128, slots)) for slots in SLOTS[:few]]


def by_record(few: int | None) -> Iterable[Pair]:
    return [(4 * words, *wide(words)) for words in WORDS[:few]]


def wide(words: int, lanes: int = 256, steps: int = 128) -> tuple[Program, Program]:
    """A step of the caller's own on so many float32 a state."""

    def step(state: Any, action: jax.Array) -> tuple[Any, Any]:
        values = jnp.tanh(state["values"] * 1.01 + action[:, None])
        time = state["time"] + 1
        done = time % 50 == 0
        return {"values": values, "time": time}, {"reward": values[:, 0], "done": done}

    def program(step: Any) -> Callable[[Any], Any]:
        def run(state: Any) -> Any:
            state = jt.attach(step, state, jnp.zeros(lanes))

            def body(state: Any, key: jax.Array) -> tuple[Any, None]:
                return step(state, jax.random.normal(key, (lanes,)))[0], None

            state, _ = jax.lax.scan(body, state, jax.random.split(jax.random.key(0), steps))
            return jt.detach(step, state)

        return run

    state = {"values": jnp.zeros((lanes, words)), "time": jnp.arange(lanes, dtype=jnp.int32)}
    spec = jt.TraceSpec(max_steps=64, keep={"best": 8, "random": 8})
    off = compile_program("untraced", program(step), state)
    return off, compile_program("traced", program(jt.wrap_step(step, spec)), state)


def measured(pairs: Iterable[Pair], rounds: int) -> dict[str, Any]:
    """CPU seconds of both programs at each size, what tracing adds, and the exponents."""
    pairs = list(pairs)
    measure([program for _, *both in pairs for program in both], rounds)
    curves: dict[str, list[list[float]]] = {"untraced": [], "traced": [], "added": []}
    ratios = []
    for x, off, on in pairs:
        curves["untraced"].append([x, statistics.median(off.cpu)])
        curves["traced"].append([x, statistics.median(on.cpu)])
        added = statistics.median(b - a for a, b in zip(off.cpu, on.cpu, strict=True))
        if added > 0:
            curves["added"].append([x, added])
        cpu = ratio(on.cpu, off.cpu)
        ratios.append([x, cpu.median, cpu.low, cpu.high])
    return {"curves": curves, "ratios": ratios, "exponents": exponents(curves)}


# ------------------------------------------------------------------------------ stores


def by_episodes(folder: Path, sizes: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds of saving, opening, a first read and a scan; and the memory of commands."""
    seconds: dict[str, list[list[float]]] = {}
    memory: dict[str, list[list[float]]] = {}
    disk = []
    for count in sizes:
        path = folder / f"store-{count}"
        begin = time.perf_counter()
        jt.save(path, made_up(count))
        seconds.setdefault("save", []).append([count, time.perf_counter() - begin])
        disk.append([count, sum(f.stat().st_size for f in path.rglob("*") if f.is_file())])
        for name, value in opened(path).items():
            seconds.setdefault(name, []).append([count, value])
        for name, words in COMMANDS.items():
            if count <= LARGEST.get(name, count):
                peak = peak_bytes(words, path, folder / "out.jsonl")
                memory.setdefault(name, []).append([count, peak])
        shutil.rmtree(path)
    times = {"curves": seconds, "exponents": exponents(seconds, {"first read": 0})}
    return times, {"curves": memory, "disk": disk, "exponents": exponents(memory, floor=1000)}


def made_up(count: int) -> jt.Recording:
    """So many episodes of one to four steps, 24 bytes each, of 64 lanes."""
    random = np.random.default_rng(0)
    kept = random.integers(1, 5, count).astype(np.int32)
    arrays = {
        "state": {"values": jax.ShapeDtypeStruct((4,), np.float32)},
        "step": {
            "reward": jax.ShapeDtypeStruct((), np.float32),
            "terminated": jax.ShapeDtypeStruct((), np.bool_),
            "truncated": jax.ShapeDtypeStruct((), np.bool_),
        },
    }
    schema = RecordSchema(
        constant=Section(()),
        state=Section.of(arrays["state"], {}),
        step=Section.of(arrays["step"], {}),
    )
    columns = {name: np.zeros(count, dtype) for name, dtype in COLUMNS.items()}
    index = np.arange(count)
    columns |= {
        "lane": (index % 64).astype(np.int32),
        "number": (index // 64).astype(np.uint32),
        "kept": kept,
        "complete": np.ones(count, np.bool_),
        "total_return": random.normal(size=count).astype(np.float32),
        "kept_by": np.ones(count, np.uint32),
    }
    return jt.Recording(
        schema=schema,
        policies=("last",),
        columns=columns,
        constants=np.zeros((count, 0), np.uint8),
        finals=np.zeros((count, schema.state.nbytes), np.uint8),
        records=np.zeros((int(kept.sum()), schema.record_bytes), np.uint8),
        environment={"name": "made up"},
        spec={},
    )


def opened(path: Path) -> dict[str, float]:
    """Seconds of opening, of reading one episode of a store just opened, and of a scan."""
    found: dict[str, list[float]] = {"open": [], "first read": [], "best of all": []}
    for _ in range(5):
        begin = time.perf_counter()
        episodes = jt.load(path)
        found["open"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        _ = episodes[len(episodes) // 2]
        found["first read"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        episodes.best(1)
        found["best of all"].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in found.items()}


def peak_bytes(words: tuple[Any, ...], path: Path, out: Path) -> int:
    """Largest resident size of a process that runs a command."""
    name, *rest = map(str, words)
    if rest and rest[-1] == "--out":
        rest.append(str(out))
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "jaxarc_trace.cli", name, str(path), *rest]
    # Linux counts the memory of this process until the new one is executed; a small one between
    # the two keeps that out.
    done = subprocess.run(
        [sys.executable, "-S", "-c", _PEAK, *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return int(done.stdout) * 1024


_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


# ------------------------------------------------------------------------------ exponents


def exponents(
    curves: dict[str, list[list[float]]],
    starts: dict[str, float] | None = None,
    *,
    floor: float | None = None,
) -> dict[str, dict[str, float]]:
    """For each curve its slope, and from which x on; by default the upper half of the points."""
    found = {}
    for name, points in curves.items():
        xs = [x for x, _ in points]
        start = (starts or {}).get(
            name, floor if floor is not None else statistics.median(xs or [0])
        )
        used = [(math.log(x), math.log(y)) for x, y in points if x >= start and y > 0]
        if len(used) > 1:
            slope = float(np.polyfit(*np.transpose(used), deg=1)[0])
            found[name] = {"exponent": round(slope, 3), "from": start}
    return found


if __name__ == "__main__":
    main()
