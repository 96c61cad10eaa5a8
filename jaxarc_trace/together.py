"""A trace that is spread over the processes of one JAX program, brought into one place to be saved.

Every process calls `save`. Each takes the lanes that its own devices hold and puts them into a
hidden folder beside the path; process 0 waits for all of them and writes one store. So there is a
store with everything in it, or none: a process that dies leaves a folder that nothing reads.

The processes have to see one file system. Only the program's own collectives are used, and only
at the start, while all of them are known to be there.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Shaped

from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.merge import merge
from jaxarc_trace.recording import Recording
from jaxarc_trace.shard import partition_specs
from jaxarc_trace.store_write import PARTIAL
from jaxarc_trace.take import changed, take
from jaxarc_trace.trace import Trace

__all__ = ["gathered", "is_spread", "joined", "local", "refuse_alone"]

_POLL = 0.05


def is_spread(trace: Any) -> bool:
    """Whether other processes hold a part of it."""
    return any(
        isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        for leaf in jax.tree.leaves(trace)
    )


def refuse_alone(path: Path) -> None:
    """Raises StoreError in every process but the first: Orbax writes nothing there."""
    index = jax.process_index()
    if index:
        raise StoreError(
            f"{path}: expected a trace that is spread over all {jax.process_count()} processes, "
            f"found one that process {index} holds alone; only process 0 can save such a one: give "
            "it to that process, or spread the lanes (docs/clusters.md)"
        )


@contextlib.contextmanager
def gathered(path: Path, trace: Any, timeout: float) -> Iterator[Recording | None]:
    """Everything that was recorded, in process 0, to be written at the path; None in the others.

    Leaving it, the other processes wait until it has been written.

    Args:
        path: where process 0 will put the store.
        trace: a trace whose lanes are spread over the processes, in each of them.
        timeout: seconds that the processes wait for each other.

    Raises:
        StoreError: when a process is gone or late, or process 0 could not write; nothing is at
            the path then.
    """
    folder, recording = _agreed(path, trace)
    index, count = jax.process_index(), jax.process_count()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if index:
            _put(folder / _part(index), recording)
            yield None
            _wait_for(path, folder, timeout)
            return
        others = [_get(folder, other, recording, timeout) for other in range(1, count)]
        yield joined([recording, *others])
    finally:
        if not index:
            shutil.rmtree(folder, ignore_errors=True)


def local(trace: Any) -> Any:
    """What this process holds of a trace, as a trace in NumPy arrays.

    A shelf that all processes share gives each of them the episodes of its own lanes, and what
    was counted for all of them counts in process 0.
    """
    here = jax.tree.map(_here, trace)
    if not isinstance(trace, Trace):
        return here
    first = jax.process_index() == 0
    if trace.shelf.member.is_fully_replicated:
        own = np.isin(here.shelf.lane, here.lane)
        here = changed(here, shelf=changed(here.shelf, member=here.shelf.member & own[:, None]))
    if trace.seen.is_fully_replicated and not first:
        zeros = np.zeros_like
        here = changed(here, seen=zeros(here.seen), eligible=zeros(here.eligible))
    return here


def joined(parts: Sequence[Recording]) -> Recording:
    """The recordings of several processes as one; what two of them hold is there once."""
    first = parts[0]
    starts = np.cumsum([0, *(len(part) for part in parts)])
    lane = np.concatenate([part.columns["lane"] for part in parts])
    number = np.concatenate([part.columns["number"] for part in parts])
    pairs = np.stack([lane.astype(np.int64), number.astype(np.int64)])
    _, rows = np.unique(pairs, axis=1, return_index=True)
    where = [(int(np.searchsorted(starts, row, side="right")) - 1, row) for row in rows]
    records = [parts[p].read(int(row - starts[p]))[0] for p, row in where]

    def together(
        arrays: Sequence[Shaped[np.ndarray, "_ ..."]],
    ) -> Shaped[np.ndarray, "N ..."]:
        return np.concatenate(arrays)[rows]

    return replace(
        first,
        columns={n: together([part.columns[n] for part in parts]) for n in first.columns},
        constants=together([part.constants for part in parts]),
        finals=together([part.finals for part in parts]),
        records=np.concatenate([first.records[:0], *records]),
        spec=_counted([part.spec for part in parts]),
    )


def _counted(specs: Sequence[Any]) -> dict[str, Any]:
    """What the processes counted, added up."""
    found = dict(specs[0])
    found["episodes_seen"] = sum(spec["episodes_seen"] for spec in specs)
    found["steps_seen"] = max(spec["steps_seen"] for spec in specs)
    found["eligible"] = {
        name: sum(spec["eligible"][name] for spec in specs) for name in found["eligible"]
    }
    if "trigger" in found:
        events = [event for spec in specs for event in spec["trigger"]["fired"]]
        events.sort(key=lambda event: (event["step"], event["lane"]))
        found["trigger"] = {**found["trigger"], "fired": events}
    return found


def _agreed(path: Path, trace: Any) -> tuple[Path, Recording]:
    """The folder that all processes use, and this one's part: what needs the others to be there."""
    from jax.experimental import multihost_utils

    try:
        recording = take(local(_chosen(trace)))
        token = np.frombuffer(np.random.default_rng().bytes(16), np.uint32)
        token = np.asarray(multihost_utils.broadcast_one_to_all(token), np.uint32)
    except jax.errors.JaxRuntimeError as error:
        raise StoreError(
            f"{path}: expected all {jax.process_count()} processes to save together, found one "
            f"gone ({str(error).splitlines()[0][:200]}); nothing was written: start the program "
            "again from its last checkpoint"
        ) from error
    return path.parent / f"{PARTIAL}{token.tobytes().hex()}", recording


def _chosen(trace: Any) -> Any:
    """The trace with one shelf for all processes, on which the policies chose from all of them."""
    if not isinstance(trace, Trace):
        return trace
    spread = trace.lane.sharding
    if not isinstance(spread, NamedSharding) or not spread.spec or spread.spec[0] is None:
        raise SpecError(
            "save: expected a trace whose lanes are spread by a NamedSharding, found "
            f"{spread}; give its program out_shardings= or shard_map's out_specs= from "
            "jt.partition_specs(trace, axis)"
        )
    axis: Any = spread.spec[0]
    specs = partition_specs(jax.eval_shape(merge, trace), axis, one_shelf=True)
    shardings = jax.tree.map(
        lambda spec: NamedSharding(spread.mesh, spec),
        specs,
        is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
    )
    return jax.jit(merge, out_shardings=shardings)(trace)


def _here(leaf: Any) -> Shaped[np.ndarray, "..."]:
    """The part of an array that is on this process's devices, along the axis that is split."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return np.asarray(leaf)
    parts = {str(shard.index): shard for shard in leaf.addressable_shards}.values()
    split = [
        axis
        for axis, size in enumerate(leaf.shape)
        if any(shard.data.shape[axis] != size for shard in parts)
    ]
    if not split:
        return np.asarray(next(iter(parts)).data)
    if len(split) > 1:
        raise SpecError(
            f"save: expected arrays that are split along their lanes only, found one of shape "
            f"{list(leaf.shape)} split along axes {split}; use jt.partition_specs(trace, axis)"
        )
    axis = split[0]
    ordered = sorted(parts, key=lambda shard: shard.index[axis].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in ordered], axis=axis)


def _part(process: int) -> str:
    return f"p{process:05d}.npz"


def _put(file: Path, part: Recording) -> None:
    """Writes a part; it has its name when it is whole."""
    arrays = {f"columns.{name}": column for name, column in part.columns.items()}
    arrays |= {name: getattr(part, name) for name in ("constants", "finals", "records")}
    told = np.frombuffer(json.dumps(part.spec).encode(), np.uint8)
    hidden = file.with_name(f".{file.name}")
    try:
        with hidden.open("xb") as opened:
            np.savez(opened, allow_pickle=False, spec=told, **arrays)
        hidden.rename(file)
    except OSError as error:
        raise StoreError(
            f"{file}: could not be written ({error}); check its file system"
        ) from error


def _get(folder: Path, process: int, like: Recording, timeout: float) -> Recording:
    """Reads another process's part, once it is there."""
    file = folder / _part(process)
    end = time.monotonic() + timeout
    while not file.exists():
        if time.monotonic() > end:
            raise StoreError(
                f"{folder.parent}: expected the parts of all processes within {timeout:g} s, found "
                f"none of process {process}; nothing was published. Is it alive, and does it see "
                "this folder? Start the program again, or give save a longer timeout="
            )
        time.sleep(_POLL)
    with np.load(file) as arrays:
        prefix = "columns."
        return replace(
            like,
            columns={name: arrays[f"{prefix}{name}"] for name in like.columns},
            constants=arrays["constants"],
            finals=arrays["finals"],
            records=arrays["records"],
            spec=json.loads(arrays["spec"].tobytes()),
        )


def _wait_for(path: Path, folder: Path, timeout: float) -> None:
    """Returns when process 0 has written the store."""
    end = time.monotonic() + timeout
    while not path.exists():
        # It removes the folder last, whatever comes of it.
        if not folder.exists() and not path.exists():
            raise StoreError(
                f"{path}: process 0 could not write it; read its error, which says why"
            )
        if time.monotonic() > end:
            raise StoreError(
                f"{path}: expected process 0 to write it within {timeout:g} s, found nothing, and "
                "nothing was published; look whether it is alive, or give save a longer timeout="
            )
        time.sleep(_POLL)
