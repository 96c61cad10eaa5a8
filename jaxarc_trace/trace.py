"""The trace: a ring that remembers the recent, and a shelf that remembers the notable.

One frozen pytree; its verbs are free functions, pure, without I/O or callbacks. This is the
layout for a batch of lanes. All lanes share one cursor, so that XLA updates the ring in place.

The life of an episode: `begin` notes what is constant in it, `record` takes one transition a call,
`end` files it. Between `record` and `end` the lane's flags say that it is over. `begin` and `end`
are cheap only where few episodes end, and belong under one `lax.cond` outside any vmap.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxarc_trace.plan import Plan, pack_constants, pack_state, pack_step, record_words
from jaxarc_trace.probe import Probe
from jaxarc_trace.shelf import Finishers, Shelf, empty_shelf, shelved
from jaxarc_trace.stats import Stats

__all__ = ["Recent", "Trace", "begin", "empty", "end", "record", "snapshot"]


class Recent(eqx.Module):
    """Starts and ends of the last episodes of each lane; episode `e` lies in row `e % rows`.

    Attributes:
        constants: uint8 `[rows, lane, constant bytes]`.
        finals: uint8 `[rows, lane, state bytes]`, the state after the last transition.
        stats: `[rows, lane]`.
        end_step: uint32 `[rows, lane]`, step of the trace at which the episode ended.
    """

    constants: jax.Array
    finals: jax.Array
    stats: Stats
    end_step: jax.Array


class Trace(eqx.Module):
    """What was recorded, on the device.

    Attributes:
        plan: the static part: spec, byte layout, environment.
        cursor: uint32 scalar, steps recorded so far; step `s` lies in row `s % capacity`.
        ring: arrays of unsigned words `[capacity, lane, ...]`; their little-endian bytes side by
            side are the records.
        recent: starts and ends of recent episodes.
        running: `[lane]`, the episodes under way.
        number: uint32 `[lane]`, number of the episode under way.
        fresh: bool `[lane]`; the next transition is the first of its episode.
        lane: int32 `[lane]`, identity of each traced lane.
        salt: uint32 `[lane]`, what the `random` policy draws from beside the spec's seed.
        shelf: episodes chosen by policy; the slots of several shards lie one after the other.
        seen: uint32 `[shard]`, episodes that ended.
        eligible: uint32 `[shard, policy]`, those that each policy could have kept.
        framed: uint32 `[shard]`, cursor at the last `snapshot`, plus one.
    """

    plan: Plan = eqx.field(static=True)
    cursor: jax.Array
    ring: tuple[jax.Array, ...]
    recent: Recent
    running: Stats
    number: jax.Array
    fresh: jax.Array
    lane: jax.Array
    salt: jax.Array
    shelf: Shelf
    seen: jax.Array
    eligible: jax.Array
    framed: jax.Array

    @property
    def lanes(self) -> int:
        """Number of traced lanes."""
        return self.lane.shape[0]


def empty(plan: Plan, lane: jax.Array, salt: jax.Array) -> Trace:
    """A trace that has seen nothing.

    Args:
        plan: the layout.
        lane: int32 `[lane]`, identities of the traced lanes.
        salt: uint32 `[lane]`, what sets apart their random draws.
    """
    spec, schema = plan.spec, plan.schema
    traced = lane.shape[0]
    rows = spec.recent_episodes + 1

    def octets(*shape: int) -> jax.Array:
        return jnp.zeros(shape, jnp.uint8)

    return Trace(
        plan=plan,
        cursor=jnp.zeros((), jnp.uint32),
        ring=tuple(
            jnp.zeros((spec.ring_steps, traced, size), dtype) for size, dtype in record_words(plan)
        ),
        recent=Recent(
            octets(rows, traced, schema.constant.nbytes),
            octets(rows, traced, schema.state.nbytes),
            Stats.zeros((rows, traced), plan.metrics),
            jnp.zeros((rows, traced), jnp.uint32),
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
    )


def begin(trace: Trace, probe: Probe, state: Any) -> Trace:
    """Notes the constants of the episodes whose first transition comes next.

    Args:
        trace: the trace; the lanes meant are those with `fresh` set.
        probe: how to look at the environment.
        state: the states `[all lanes, ...]` that those episodes start from.
    """
    rows = trace.recent.constants.shape[0]
    row = jnp.where(trace.fresh, trace.number % rows, rows).astype(jnp.int32)
    packed = pack_constants(trace.plan, probe, _traced(trace, state), 1)
    constants = trace.recent.constants.at[row, _columns(trace)].set(packed, mode="drop")
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
    state, action, result = _traced(trace, (state, action, result))
    parts, outcome = pack_step(trace.plan, probe, state, action, result, 1)
    row = (trace.cursor % trace.plan.spec.ring_steps).astype(jnp.int32)
    ring = tuple(
        jax.lax.dynamic_update_index_in_dim(kept, part, row, 0)
        for kept, part in zip(trace.ring, parts, strict=True)
    )
    running = trace.running.seen(probe.metrics(state)).stepped(*outcome[:3])
    return replace(trace, cursor=trace.cursor + jnp.uint32(1), ring=ring, running=running)


def end(trace: Trace, probe: Probe, state: Any) -> Trace:
    """Files the episodes that the last transition ended, and makes their lanes fresh.

    Args:
        trace: the trace, just after `record`.
        probe: how to look at the environment.
        state: the true states after that transition, before any reset, `[all lanes, ...]`.
    """
    done = trace.running.done
    state = _traced(trace, state)
    stats = trace.running.seen(probe.metrics(state))
    success = probe.success(state, trace.running.terminated)
    if success is not None:
        stats = replace(stats, success=success.astype(jnp.int8))
    finals = pack_state(trace.plan, probe, state, 1)
    recent = _filed(trace, done, stats, finals)
    shelf, eligible = _ranked(trace, recent, done, stats, finals)
    zeros = Stats.zeros(done.shape, trace.plan.metrics)
    running = jax.tree.map(lambda new, old: jnp.where(done, new, old), zeros, trace.running)
    seen = trace.seen.at[0].add(done.sum(dtype=jnp.uint32))
    return replace(
        trace,
        recent=recent,
        shelf=shelf,
        running=running,
        number=trace.number + done.astype(jnp.uint32),
        fresh=trace.fresh | done,
        seen=seen,
        eligible=eligible,
    )


def snapshot(trace: Trace, probe: Probe, state: Any) -> Trace:
    """Notes the present state of the episodes under way, so that they can be read to their end.

    Args:
        trace: the trace.
        probe: how to look at the environment.
        state: the states that the next action would be taken in, `[all lanes, ...]`.
    """
    state = _traced(trace, state)
    stats = trace.running.seen(probe.metrics(state))
    finals = pack_state(trace.plan, probe, state, 1)
    recent = _filed(trace, trace.running.length > 0, stats, finals)
    framed = jnp.full_like(trace.framed, trace.cursor + 1)
    return replace(trace, recent=recent, framed=framed)


def _filed(trace: Trace, mask: jax.Array, stats: Stats, finals: jax.Array) -> Recent:
    """`recent` with the final state and the summary of the lanes in `mask`."""
    rows = trace.recent.finals.shape[0]
    row = jnp.where(mask, trace.number % rows, rows).astype(jnp.int32)
    at = (row, _columns(trace))

    def put(kept: jax.Array, value: jax.Array) -> jax.Array:
        return kept.at[at].set(value, mode="drop")

    return Recent(
        trace.recent.constants,
        put(trace.recent.finals, finals),
        jax.tree.map(put, trace.recent.stats, stats),
        put(trace.recent.end_step, jnp.broadcast_to(trace.cursor - 1, mask.shape)),
    )


def _ranked(
    trace: Trace, recent: Recent, done: jax.Array, stats: Stats, finals: jax.Array
) -> tuple[Shelf, jax.Array]:
    """The shelf, and the counts of who could have been on it, after these episodes ended."""
    if not trace.plan.spec.policies:
        return trace.shelf, trace.eligible
    rows = recent.constants.shape[0]
    ended = Finishers(
        done=done,
        stats=stats,
        finals=finals,
        constants=lambda lane: recent.constants[trace.number[lane] % rows, lane],
        lane=trace.lane,
        salt=trace.salt,
        number=trace.number,
        ring=trace.ring,
        cursor=trace.cursor,
    )
    shelf, eligible = shelved(trace.plan.spec, trace.shelf, ended)
    return shelf, trace.eligible.at[0].add(eligible)


def _traced(trace: Trace, tree: Any) -> Any:
    """The traced lanes of a batch; leaves without a lane axis stay as they are."""
    if trace.plan.spec.lanes is None:
        return tree
    count = trace.lanes
    return jax.tree.map(lambda x: x[:count] if jnp.ndim(x) and len(x) > count else x, tree)


def _columns(trace: Trace) -> jax.Array:
    return jnp.arange(trace.lanes, dtype=jnp.int32)
