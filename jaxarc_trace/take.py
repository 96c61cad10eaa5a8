"""From a trace on the device to packed episodes on the host: where capture ends.

Each episode that the ring or the shelf holds comes out once, in the order of (lane, number).
Inside, a trace on the host is the same tree with NumPy arrays for leaves.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, Float32, UInt, UInt8

from jaxarc_trace import codec
from jaxarc_trace.blackbox import events, stopped
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.lanebox import LaneBox
from jaxarc_trace.recording import COLUMNS, Recording
from jaxarc_trace.slots import LaneTrace, policy_slots
from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.stats import Stats
from jaxarc_trace.summary import END_STEP, on_host, stats_of
from jaxarc_trace.trace import Trace
from jaxarc_trace.verbs import AnyTrace, refuse_other

__all__ = ["changed", "take"]

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class _Found:
    """One episode found in a trace, its bytes still where they were."""

    lane: int
    number: int
    length: int
    kept: int
    complete: bool
    kept_by: int
    end_step: int
    stats: Stats
    records: UInt8[np.ndarray, "kept record_bytes"]
    constant: UInt8[np.ndarray, " constant_bytes"]
    final: UInt8[np.ndarray, " state_bytes"]
    trigger_step: int = 0


def changed(tree: Tree, **parts: Any) -> Tree:
    """As `dataclasses.replace`, for the host's copy of a part of a trace.

    Its leaves are NumPy's, where the classes that it is made of declare arrays of JAX.
    """
    names = [field.name for field in fields(tree)]  # pyright: ignore[reportArgumentType]
    values = {name: parts[name] if name in parts else getattr(tree, name) for name in names}
    return on_host(type(tree), values)


def take(trace: AnyTrace) -> Recording:
    """Brings a trace to the host.

    An episode under way is taken with all its transitions if the trace was read through `rollout`
    or `detach`; otherwise the state after its last transition is unknown, and it is taken without
    that transition, or with `level="minimal"` not at all.

    Args:
        trace: a trace, also one with further leading axes from a vmap (`layout="lane"`), or one
            whose shards were concatenated.

    Returns:
        Its episodes. Of one that is longer than `max_steps`, or whose start the ring has already
        overwritten, the last transitions and the number dropped.

    Raises:
        SchemaError: when it is no trace; on an abstract value, inside jit; or on several traces
            of the batch layout at once.
    """
    refuse_other(trace)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trace)):
        raise SchemaError(
            "take and save need a trace with values, found one inside jit; return the trace from "
            "the jitted function and save it outside"
        )
    if isinstance(trace, Trace) and trace.cursor.ndim:
        raise SchemaError(
            "take and save need one trace, or lanes that each hold a shelf (layout='lane'), found "
            f"one with leading axes {list(trace.cursor.shape)}, as a vmap over whole rollouts "
            "gives; take each of them: jt.take(jax.tree.map(lambda leaf: leaf[i], trace))"
        )
    host = jax.tree.map(np.asarray, jax.device_get(trace))
    found = list(_in_batch(host) if isinstance(host, Trace) else _in_lanes(host))
    spec: TraceSpec = trace.plan.spec
    return _assembled(trace, spec, _once(found))


def _in_batch(trace: Any) -> Iterator[_Found]:
    yield from _on_ring(trace)
    shelf = _ranked_again(trace)
    for slot in np.flatnonzero(shelf.any(axis=1)):
        stats = stats_of(trace.shelf.summary[slot], trace.plan.metrics)
        kept = _kept(trace.plan.spec, int(stats.length))
        rows = [part[slot, part.shape[1] - kept :] for part in trace.shelf.records]
        yield _Found(
            lane=int(trace.shelf.lane[slot]),
            number=int(trace.shelf.number[slot]),
            length=int(stats.length),
            kept=kept,
            complete=True,
            kept_by=_bits(shelf[slot]),
            end_step=int(trace.shelf.end_step[slot]),
            stats=stats,
            records=_joined(rows, kept),
            constant=trace.shelf.constants[slot],
            final=trace.shelf.finals[slot],
        )


def _on_ring(trace: Any) -> Iterator[_Found]:
    spec, recent = trace.plan.spec, trace.recent
    rows = recent.finals.shape[0]
    last_bit = 1 << len(spec.policy_names)
    known = bool((trace.framed == trace.cursor + 1).all())
    for column, lane in enumerate(trace.lane):
        stop, fired = stopped(trace.box, column)
        cursor, framed = (int(trace.cursor), known) if stop is None else (stop, True)
        oldest = cursor - spec.ring_steps
        number = int(trace.number[column])
        under_way = int(trace.running.length[column]) > 0
        for episode in range(max(0, number - rows + 1), number + under_way):
            complete = episode < number
            row = episode % rows
            whole = complete or framed
            if not whole and not spec.records_steps:
                continue
            if whole:
                words = recent.summary[row, column]
                stats, end = stats_of(words, trace.plan.metrics), int(words[END_STEP])
                final = recent.finals[row, column]
            else:
                stats = _row(trace.running, column)
                end = cursor - 1
                last = [part[end % spec.ring_steps, column] for part in trace.ring]
                stats, final = _shortened(trace, stats, last), _state_bytes(trace, last)
            length = int(stats.length)
            end -= not whole
            kept = min(_kept(spec, length), max(0, end - oldest + 1))
            if kept == 0 and spec.records_steps:
                continue
            steps = np.arange(end - kept + 1, end + 1) % spec.ring_steps
            records = _joined([part[steps, column] for part in trace.ring], kept)
            if not whole and kept == length:
                stats = _summed(trace, stats, records)
            held = fired is not None and end - kept < fired <= end
            yield _Found(
                lane=int(lane),
                number=episode,
                length=length,
                kept=kept,
                complete=complete,
                kept_by=last_bit | held,
                end_step=end,
                stats=stats,
                records=records,
                constant=recent.constants[row, column],
                final=final,
                trigger_step=length - (end - fired) if fired is not None and held else 0,
            )


def _in_lanes(trace: Any) -> Iterator[_Found]:
    lanes = trace.cursor.size
    flat = jax.tree.map(lambda leaf: leaf.reshape(lanes, *leaf.shape[trace.cursor.ndim :]), trace)
    distinct = len(np.unique(flat.lane)) == lanes
    for index in range(lanes):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], flat)
        lane = int(one.lane) if distinct else index
        if isinstance(one, LaneBox):
            yield from _on_ring(changed(one.trace, lane=np.array([lane], np.int32)))
        else:
            yield from _in_lane(one, lane)


def _in_lane(trace: Any, lane: int) -> Iterator[_Found]:
    spec, slots = trace.plan.spec, trace.slots
    member = slots.member.any(axis=1)
    last_bit = 1 << len(spec.policies)
    for slot in range(len(member)):
        under_way = slot == int(trace.current) and int(trace.running.length) > 0
        if not member[slot] and not under_way:
            continue
        framed = not under_way or int(trace.framed) == int(trace.cursor) + 1
        if not framed and not spec.records_steps:
            continue
        stats, final = stats_of(slots.summary[slot], trace.plan.metrics), slots.finals[slot]
        if not framed:
            row = (int(trace.running.length) - 1) % spec.max_steps
            last = [part[slot, row] for part in slots.records]
            stats, final = _shortened(trace, trace.running, last), _state_bytes(trace, last)
        length = int(stats.length)
        # The transition that is left out has taken the row of the one `max_steps` before it.
        kept = min(_kept(spec, length), spec.max_steps - (not framed))
        if kept == 0 and spec.records_steps:
            continue
        steps = np.arange(length - kept, length) % spec.max_steps
        records = _joined([part[slot, steps] for part in slots.records], kept)
        if not framed and kept == length:
            stats = _summed(trace, stats, records)
        kept_by = _bits(slots.member[slot]) if spec.policies else last_bit
        end = int(trace.cursor) - 1 - (not framed) if under_way else int(slots.end_step[slot])
        yield _Found(
            lane=lane,
            number=int(trace.number) if under_way else int(slots.number[slot]),
            length=length,
            kept=kept,
            complete=not under_way,
            kept_by=last_bit if under_way else kept_by,
            end_step=end,
            stats=stats,
            records=records,
            constant=slots.constants[slot],
            final=final,
        )


def _kept(spec: TraceSpec, length: int) -> int:
    longest = spec.max_steps if spec.trigger is None else spec.ring_steps
    return min(length, longest) if spec.records_steps else 0


def _row(stats: Stats, index: Any) -> Stats:
    return jax.tree.map(lambda leaf: leaf[index], stats)


def _bits(member: Bool[np.ndarray, " policy"]) -> int:
    return sum(1 << bit for bit, claimed in enumerate(member) if claimed)


def _joined(
    parts: list[UInt[np.ndarray, "kept _"]], kept: int
) -> UInt8[np.ndarray, "kept record_bytes"]:
    """uint8 `[kept, record bytes]` from the device's several arrays."""
    if not parts:
        return np.zeros((kept, 0), np.uint8)
    return np.concatenate([_octets(part) for part in parts], axis=-1)


def _octets(words: UInt[np.ndarray, "*lead words"]) -> UInt8[np.ndarray, "*lead octets"]:
    """The little-endian bytes of `[..., n]` unsigned words, uint8 `[..., n * itemsize]`."""
    little = np.ascontiguousarray(words, words.dtype.newbyteorder("<"))
    return little.view(np.uint8)


def _shortened(trace: Any, stats: Stats, last: list[UInt[np.ndarray, " _"]]) -> Stats:
    """Those of an episode under way without its last transition, whose record is given.

    Metrics are those of the state before it already. A float32 sum that is taken back may differ
    by a rounding from one that was never made; `_summed` gives that one where all is kept.
    """
    reward = _rewards(trace, np.concatenate([_octets(part) for part in last])[None])
    with np.errstate(invalid="ignore"):
        before = np.float32(stats.total_return) - reward[0]
    return changed(
        stats,
        length=stats.length - 1,
        total_return=before,
        terminated=np.False_,
        truncated=np.False_,
    )


def _summed(trace: Any, stats: Stats, records: UInt8[np.ndarray, "n record_bytes"]) -> Stats:
    """With the return of exactly these records, added up in the order of the device."""
    with np.errstate(invalid="ignore", over="ignore"):
        # From zero on, as there: it makes a zero of what would stay a negative one.
        total = np.cumsum([np.float32(0), *_rewards(trace, records)], dtype=np.float32)
    return changed(stats, total_return=total[-1])


def _rewards(trace: Any, records: UInt8[np.ndarray, "n record_bytes"]) -> Float32[np.ndarray, " n"]:
    """float32 `[n]` from records `[n, bytes]`."""
    schema = trace.plan.schema
    (field,) = (each for each in schema.step.fields if each.name == "reward")
    start = schema.state.nbytes + field.offset
    octets = np.ascontiguousarray(records[:, start : start + field.nbytes])
    values = codec.unpack(field.encoding, field.dtype, field.shape, octets)
    return values.astype(np.float32)


def _state_bytes(
    trace: Any, parts: list[UInt[np.ndarray, " _"]]
) -> UInt8[np.ndarray, " state_bytes"]:
    width = trace.plan.schema.state.nbytes
    if not parts:
        return np.zeros(width, np.uint8)
    return np.concatenate([_octets(part) for part in parts])[:width]


def _ranked_again(trace: Any) -> Bool[np.ndarray, "slot policy"]:
    """bool `[slot, policy]`: the policies' choice, when the shelves of several shards are here.

    The rule of `stats.choose`, in NumPy: most wanted first, of equal ones the older, then the
    lower lane.
    """
    shelf = trace.shelf
    chosen = np.zeros_like(shelf.member)
    for column, policy in enumerate(trace.plan.spec.policies):
        slots = np.flatnonzero(shelf.member[:, column])
        wanted = ~shelf.wanted[slots, column]
        order = np.lexsort((shelf.lane[slots], shelf.end_step[slots], wanted))
        chosen[slots[order[: policy.slots]], column] = True
    return chosen


def _once(found: list[_Found]) -> list[_Found]:
    """Each episode once, with everyone's reasons: the copy that kept most of it."""
    best: dict[tuple[int, int], _Found] = {}
    reasons: dict[tuple[int, int], int] = {}
    for episode in found:
        identity = (episode.lane, episode.number)
        reasons[identity] = reasons.get(identity, 0) | episode.kept_by
        if identity not in best or episode.kept > best[identity].kept:
            best[identity] = episode
    return [
        _Found(**{**best[identity].__dict__, "kept_by": reasons[identity]})
        for identity in sorted(best)
    ]


def _assembled(trace: AnyTrace, spec: TraceSpec, found: list[_Found]) -> Recording:
    schema = trace.plan.schema
    values: dict[str, list[Any]] = {
        "lane": [e.lane for e in found],
        "number": [e.number for e in found],
        "kept": [e.kept for e in found],
        "dropped": [e.length - e.kept for e in found],
        "complete": [e.complete for e in found],
        "terminated": [bool(e.stats.terminated) for e in found],
        "truncated": [bool(e.stats.truncated) for e in found],
        "success": [int(e.stats.success) for e in found],
        "total_return": [e.stats.total_return for e in found],
        "end_step": [e.end_step for e in found],
        "kept_by": [e.kept_by for e in found],
    }
    columns = {name: np.asarray(values[name], dtype) for name, dtype in COLUMNS.items()}
    for name in trace.plan.metrics:
        for which in ("final", "best"):
            column = [getattr(e.stats, which)[name] for e in found]
            columns[f"metric.{name}_{which}"] = np.asarray(column, np.float32)
    if spec.trigger is not None:
        steps = [e.trigger_step for e in found]
        columns["metric.trigger_step"] = np.asarray(steps, np.float32)
    return Recording(
        schema=schema,
        policies=(*spec.policy_names, "last"),
        columns=columns,
        constants=_stacked([e.constant for e in found], schema.constant.nbytes),
        finals=_stacked([e.final for e in found], schema.state.nbytes),
        records=np.concatenate(
            [np.zeros((0, schema.record_bytes), np.uint8), *(e.records for e in found if e.kept)]
        ),
        environment=json.loads(trace.plan.environment),
        spec={**spec.describe(), **_counts(trace), **_triggered(trace)},
    )


def _stacked(rows: list[UInt8[np.ndarray, " width"]], width: int) -> UInt8[np.ndarray, "N width"]:
    return np.stack(rows) if rows else np.zeros((0, width), np.uint8)


def _counts(trace: AnyTrace) -> Mapping[str, Any]:
    """How much there was to choose from: what makes a `random` sample an estimate."""
    counts = np.asarray(jax.device_get(trace.eligible), np.int64)
    policies = trace.plan.spec.policy_names or ("last",) * len(policy_slots(trace.plan))
    if not isinstance(trace, LaneTrace) and not trace.plan.spec.policies:
        policies = ()
    eligible = counts.reshape(-1, counts.shape[-1]).sum(axis=0) if counts.size else []
    return {
        "episodes_seen": int(np.asarray(jax.device_get(trace.seen), np.int64).sum()),
        "eligible": {name: int(n) for name, n in zip(policies, eligible, strict=False)},
        "steps_seen": int(np.max(np.asarray(trace.cursor), initial=0)),
    }


def _triggered(trace: AnyTrace) -> Mapping[str, Any]:
    """When a black box stopped, in which lanes, and why."""
    held = trace.trace if isinstance(trace, LaneBox) else trace
    if not isinstance(held, Trace) or held.box is None:
        return {}
    box, lane = jax.tree.map(np.asarray, jax.device_get((held.box, held.lane)))
    return {"trigger": {**box.trigger.describe(), "fired": events(box, lane)}}
