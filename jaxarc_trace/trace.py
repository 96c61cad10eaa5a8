"""The trace: a ring that remembers the recent, and a shelf that remembers the notable.

One frozen pytree; its verbs are free functions, pure, without I/O or callbacks. This is the
layout for a batch of lanes. All lanes share one cursor, so that XLA updates the ring in place.

The life of an episode: `begin` notes what is constant in it, `record` takes one transition a call,
`end` files it. Between `record` and `end` the lane's flags say that it is over. `begin` and `end`
are cheap only where few episodes end, and belong under one `lax.cond` outside any vmap.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Integer, UInt, UInt8, UInt32

from jaxarc_trace import summary
from jaxarc_trace.blackbox import Box, empty_box
from jaxarc_trace.blocks import block_size, in_blocks, rows_at, with_rows_at
from jaxarc_trace.plan import (
    Plan,
    constant_fields,
    lane_axis,
    pack_fields,
    pack_step,
    record_words,
    state_fields,
)
from jaxarc_trace.probe import Probe
from jaxarc_trace.shelf import Ends, Finishers, Shelf, empty_shelf, shelved
from jaxarc_trace.stats import Stats
from jaxarc_trace.triggers import Moment

__all__ = ["Recent", "Trace", "begin", "due", "empty", "end", "record", "snapshot", "unread"]

# Packing every lane where few begin or end costs more than the ring itself. States of fewer bytes
# are packed sooner than looked for.
_SMALL = 64


class Recent(eqx.Module):
    """Starts and ends of the last episodes of each lane; episode `e` lies in row `e % rows`.

    Attributes:
        constants: uint8 `[rows, lane, constant bytes]`.
        finals: uint8 `[rows, lane, state bytes]`, the state after the last transition.
        summary: uint32 `[rows, lane, word]`, rows of `summary.pack`.
    """

    constants: UInt8[Array, "rows lane constant_bytes"]
    finals: UInt8[Array, "rows lane state_bytes"]
    summary: UInt32[Array, "rows lane word"]


class Trace(eqx.Module):
    """What was recorded, on the device.

    Attributes:
        plan: the static part: spec, byte layout, environment.
        cursor: uint32 scalar, steps recorded so far; step `s` lies in row `s % capacity`.
        ring: arrays of unsigned words `[capacity, lane, ...]`; their little-endian bytes side by
            side are the records. A black box has one row more, for what comes after its end.
        recent: starts and ends of recent episodes.
        running: `[lane]`, the episodes under way.
        number: uint32 `[lane]`, number of the episode under way.
        fresh: bool `[lane]`; the next transition is the first of its episode.
        lane: int32 `[lane]`, identity of each traced lane.
        salt: uint32 `[lane]`, what the `random` policy draws from beside the spec's seed.
        shelf: episodes chosen by policy; the slots of several shards lie one after the other.
        seen: uint32 `[shard]`, episodes that ended.
        eligible: uint32 `[shard, policy]`, those that each policy could have kept.
        framed: uint32 `[part]`, of each shard, and of each trace that was merged, the cursor at
            the last `snapshot`, plus one.
        box: whether it has stopped, for `keep="trigger"`; None for every other.
    """

    plan: Plan = eqx.field(static=True)
    cursor: UInt32[Array, ""]
    ring: tuple[UInt[Array, "capacity lane _"], ...]
    recent: Recent
    running: Stats
    number: UInt32[Array, " lane"]
    fresh: Bool[Array, " lane"]
    lane: Int32[Array, " lane"]
    salt: UInt32[Array, " lane"]
    shelf: Shelf
    seen: UInt32[Array, " shard"]
    eligible: UInt32[Array, "shard policy"]
    framed: UInt32[Array, " part"]
    box: Box | None = None

    @property
    def lanes(self) -> int:
        """Number of traced lanes."""
        return self.lane.shape[0]


def empty(plan: Plan, lane: Int32[Array, " lane"], salt: UInt32[Array, " lane"]) -> Trace:
    """A trace that has seen nothing.

    Args:
        plan: the layout.
        lane: int32 `[lane]`, identities of the traced lanes.
        salt: uint32 `[lane]`, what sets apart their random draws.
    """
    spec, schema = plan.spec, plan.schema
    traced = lane.shape[0]
    rows = spec.recent_episodes + 1
    steps = spec.ring_steps + (spec.trigger is not None)

    def octets(*shape: int) -> UInt8[Array, "..."]:
        return jnp.zeros(shape, jnp.uint8)

    return Trace(
        plan=plan,
        cursor=jnp.zeros((), jnp.uint32),
        ring=tuple(jnp.zeros((steps, traced, size), dtype) for size, dtype in record_words(plan)),
        recent=Recent(
            octets(rows, traced, schema.constant.nbytes),
            octets(rows, traced, schema.state.nbytes),
            jnp.zeros((rows, traced, summary.width(plan.metrics)), jnp.uint32),
        ),
        running=Stats.zeros((traced,), plan.metrics),
        number=jnp.zeros(traced, jnp.uint32),
        fresh=jnp.ones(traced, jnp.bool_),
        lane=lane,
        salt=salt,
        shelf=empty_shelf(plan, spec.shelf, len(spec.policies)),
        seen=jnp.zeros(1, jnp.uint32),
        eligible=jnp.zeros((1, len(spec.policies)), jnp.uint32),
        framed=jnp.zeros(1, jnp.uint32),
        box=empty_box(spec, traced),
    )


def begin(trace: Trace, probe: Probe, state: Any) -> Trace:
    """Notes the constants of the episodes whose first transition comes next.

    Args:
        trace: the trace; the lanes meant are those with `fresh` set.
        probe: how to look at the environment.
        state: the states `[all lanes, ...]` that those episodes start from.
    """
    section = trace.plan.schema.constant
    fields = constant_fields(trace.plan.spec, probe, _traced(trace, probe, state))

    def pack(fields: Any) -> UInt8[Array, "n constant_bytes"]:
        return pack_fields(section, fields, jax.tree.leaves(fields)[0].shape[:1])

    constants = trace.recent.constants
    if section.nbytes:
        constants = _put(trace, trace.fresh, section.nbytes, constants, fields, pack)
    recent = replace(trace.recent, constants=constants)
    return replace(trace, recent=recent, fresh=jnp.zeros_like(trace.fresh))


def record(trace: Trace, probe: Probe, state: Any, action: Any, result: Any) -> Trace:
    """Takes one transition of every lane: one in-place write of one row of the ring.

    Args:
        trace: the trace.
        probe: how to look at the environment.
        state: the states before the action, `[all lanes, ...]`.
        action: the actions.
        result: what the step returned beside the next state.

    Returns:
        The trace, in which the lanes whose episode ended wait for `end`.

    Raises:
        SchemaError: at trace time, when a dtype or shape is not the one planned.
    """
    state, action, result = _traced(trace, probe, state, action, result)
    parts, outcome = pack_step(trace.plan, probe, state, action, result, trace.lanes)
    row = (trace.cursor % trace.plan.spec.ring_steps).astype(jnp.int32)
    if trace.box is not None:
        spare = jnp.int32(trace.plan.spec.ring_steps)
        row = jnp.where(trace.box.frozen(trace.cursor), spare, row)
    ring = tuple(
        jax.lax.dynamic_update_index_in_dim(kept, part, row, 0)
        for kept, part in zip(trace.ring, parts, strict=True)
    )
    running = trace.running.seen(probe.metrics(state)).stepped(*outcome[:3])
    after = replace(trace, cursor=trace.cursor + jnp.uint32(1), ring=ring, running=running)
    return _watched(trace, after, Moment(state, action, result, *outcome[:3], running))


def _watched(before: Trace, after: Trace, moment: Moment) -> Trace:
    """The trace after a step that a black box looked at; without one as it is."""
    if before.box is None:
        return after
    frozen = before.box.frozen(before.cursor)
    running = jax.tree.map(
        lambda new, old: jnp.where(frozen, old, new), after.running, before.running
    )
    return replace(after, running=running, box=before.box.after_step(after.cursor, moment))


def due(trace: Trace) -> Bool[Array, ""]:
    """bool scalar, whether `end` has something to do."""
    done = trace.running.done.any()
    return done if trace.box is None else done | trace.box.closing(trace.cursor)


def end(trace: Trace, probe: Probe, state: Any, *, snapped: bool = False) -> Trace:
    """Files the episodes that the last transition ended, and makes their lanes fresh.

    Args:
        trace: the trace, just after `record`.
        probe: how to look at the environment.
        state: the true states after that transition, before any reset, `[all lanes, ...]`.
        snapped: does in the same turn what a `snapshot` after it would do.
    """
    state = _traced(trace, probe, state)
    done = trace.running.done
    stats = trace.running.seen(probe.metrics(state))
    success = probe.success(state, trace.running.terminated)
    if success is not None:
        stats = replace(stats, success=success.astype(jnp.int8))
    filed, box = done, trace.box
    under_way = trace.running.length > 0
    if box is not None:
        box = box.at_end(trace.cursor, done, stats)
        closing = box.closing(trace.cursor)
        filed |= under_way & (closing | ~box.closed if snapped else closing)
        box = replace(box, closed=box.closed | closing)
    elif snapped:
        filed |= under_way
    if snapped or box is not None:
        # Some of those filed go on, and whether these succeed nobody knows.
        stats = replace(stats, success=jnp.where(done, stats.success, jnp.int8(-1)))
    recent = _filed(trace, probe, filed, stats, state, most=snapped)
    shelf, eligible = _ranked(trace, recent, done, stats)
    zeros = Stats.zeros(done.shape, trace.plan.metrics)
    running = jax.tree.map(lambda new, old: jnp.where(done, new, old), zeros, trace.running)
    seen = trace.seen.at[0].add(done.sum(dtype=jnp.uint32))
    number = trace.number + done.astype(jnp.uint32)
    if trace.plan.spec.policies:
        # Nothing is added, for no slot has more claims than there are policies; but XLA does not
        # know, and so `begin`, which writes by these numbers, waits until the shelf has read the
        # constants. Unordered, XLA would copy all of them at every step.
        claims = shelf.member[0].sum(dtype=jnp.int32)
        number += (claims > len(trace.plan.spec.policies)).astype(jnp.uint32)
    return replace(
        trace,
        recent=recent,
        shelf=shelf,
        running=running,
        number=number,
        fresh=trace.fresh | done,
        seen=seen,
        eligible=eligible,
        framed=_framed(trace) if snapped else trace.framed,
        box=box,
    )


def unread(trace: Trace) -> Bool[Array, " lane"] | None:
    """bool `[lane]`, never set, but known only when the `end` before has read its states.

    States that a reset writes in place are copied by XLA before, all of those that `end` looks at,
    unless the reset waits for this. None where states are so small that copies cost less.
    """
    if trace.plan.schema.state.nbytes < _SMALL:
        return None
    return summary.no_row(trace.recent.summary[0])


def snapshot(trace: Trace, probe: Probe, state: Any) -> Trace:
    """Notes the present state of the episodes under way, so that they can be read to their end.

    Args:
        trace: the trace.
        probe: how to look at the environment.
        state: the states that the next action would be taken in, `[all lanes, ...]`.
    """
    state = _traced(trace, probe, state)
    stats = trace.running.seen(probe.metrics(state))
    mask = trace.running.length > 0
    if trace.box is not None:
        # The states after the last step are there already, and these are later ones.
        mask &= ~trace.box.closed
    recent = _filed(trace, probe, mask, stats, state, most=True)
    return replace(trace, recent=recent, framed=_framed(trace))


def _framed(trace: Trace) -> UInt32[Array, " part"]:
    return jnp.full_like(trace.framed, trace.cursor + 1)


def _filed(
    trace: Trace,
    probe: Probe,
    mask: Bool[Array, " lane"],
    stats: Stats,
    state: Any,
    *,
    most: bool,
) -> Recent:
    """`recent` with the final state and the summary of the lanes in `mask`."""
    section = trace.plan.schema.state
    fields = state_fields(trace.plan.spec, probe, state, trace.lanes)
    end_step = jnp.broadcast_to(trace.cursor - 1, mask.shape)
    rows = summary.pack(stats, trace.lane, trace.number, end_step)

    def pack(values: Any) -> Any:
        fields, rows = values
        return pack_fields(section, fields, rows.shape[:1]), rows

    recent = trace.recent
    kept, values = (recent.finals, recent.summary), (fields, rows)
    finals, rows = _put(trace, mask, section.nbytes, kept, values, pack, most=most)
    return Recent(recent.constants, finals, rows)


def _put(
    trace: Trace,
    mask: Bool[Array, " lane"],
    size: int,
    kept: Any,
    values: Any,
    pack: Callable[[Any], Any],
    *,
    most: bool = False,
) -> Any:
    """`kept` with `pack(values)` of the lanes in `mask`, each in the row of its episode.

    Args:
        trace: the trace, for the numbers of its episodes.
        mask: bool `[lane]`.
        size: bytes of what is packed.
        kept: arrays `[rows, lane, ...]`.
        values: arrays `[lane, ...]`.
        pack: from values `[n, ...]` to arrays `[n, ...]` like those kept.
        most: whether the mask holds most of the lanes, so that none is looked for.
    """
    lanes = trace.lanes
    rows = jax.tree.leaves(kept)[0].shape[0]

    def put(lane: Int32[Array, " n"], kept: Any, values: Any) -> Any:
        number = rows_at(trace.number, lane[:, None])
        at = jnp.stack([jax.lax.rem(number, jnp.uint32(rows)).astype(jnp.int32), lane], axis=-1)
        return jax.tree.map(lambda old, new: with_rows_at(old, at, new), kept, pack(values))

    block = block_size(lanes)
    if most or block is None or size < _SMALL:
        every = jnp.arange(lanes, dtype=jnp.int32)
        return put(jnp.where(mask, every, lanes), kept, values)

    def some(lane: Int32[Array, " block"], kept: Any) -> Any:
        return put(lane, kept, jax.tree.map(lambda leaf: rows_at(leaf, lane[:, None]), values))

    return in_blocks(mask, block, some, kept)


def _ranked(
    trace: Trace, recent: Recent, done: Bool[Array, " lane"], stats: Stats
) -> tuple[Shelf, UInt32[Array, "shard policy"]]:
    """The shelf, and the counts of who could have been on it, after these episodes ended."""
    if not trace.plan.spec.policies:
        return trace.shelf, trace.eligible
    rows = recent.constants.shape[0]

    def ends(lane: Integer[Array, ""]) -> Ends:
        row = trace.number[lane] % rows
        return recent.constants[row, lane], recent.finals[row, lane], recent.summary[row, lane]

    ended = Finishers(
        done=done,
        stats=stats,
        ends=ends,
        lane=trace.lane,
        salt=trace.salt,
        number=trace.number,
        ring=trace.ring,
        cursor=trace.cursor,
    )
    shelf, eligible = shelved(trace.plan.spec, trace.shelf, ended)
    return shelf, trace.eligible.at[0].add(eligible)


def _traced(trace: Trace, probe: Probe, state: Any, *beside: Any) -> Any:
    """The traced lanes of states, and of trees beside them; what the lanes share stays whole."""
    tree = (state, *beside) if beside else state
    if trace.plan.spec.lanes is None:
        return tree
    lanes, count = lane_axis(probe, state), trace.lanes
    return jax.tree.map(lambda x: x[:count] if jnp.shape(x)[:1] == (lanes,) else x, tree)
