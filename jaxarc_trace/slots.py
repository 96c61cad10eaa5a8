"""The trace of one lane that holds its own shelf: the layout that works under any vmap.

There is no ring and no `cond`. The episode under way is written into a slot that no policy
claims; when it ends the policies decide who stays, and the next episode goes to another free
slot. So an index moves and nothing is copied. With as many slots as the policies want episodes,
plus one, a free slot always exists.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Shaped, UInt8, UInt32

from jaxarc_trace import summary
from jaxarc_trace.plan import Plan, pack_constants, pack_state, pack_step
from jaxarc_trace.probe import Probe
from jaxarc_trace.shelf import Shelf, empty_shelf
from jaxarc_trace.stats import Stats, priorities

__all__ = ["LaneTrace", "begin", "empty", "end", "record", "snapshot"]


class LaneTrace(eqx.Module):
    """What one lane recorded; under a vmap every leaf has further leading axes.

    Attributes:
        plan: the static part.
        cursor: uint32 scalar, steps recorded so far.
        current: int32 scalar, the slot of the episode under way.
        slots: the kept episodes and the one under way. Transition `t` of an episode lies in row
            `t % max_steps`.
        running: the episode under way.
        number: uint32 scalar, its number.
        fresh: bool scalar; the next transition is the first of its episode.
        lane: int32 scalar, identity of the lane.
        salt: uint32 scalar, what the `random` policy draws from beside the spec's seed.
        seen: uint32 scalar, episodes that ended.
        eligible: uint32 `[policy]`, those that each policy could have kept.
        framed: uint32 scalar, cursor at the last `snapshot`, plus one.
    """

    plan: Plan = eqx.field(static=True)
    cursor: UInt32[Array, "*lanes"]
    current: Int32[Array, "*lanes"]
    slots: Shelf
    running: Stats
    number: UInt32[Array, "*lanes"]
    fresh: Bool[Array, "*lanes"]
    lane: Int32[Array, "*lanes"]
    salt: UInt32[Array, "*lanes"]
    seen: UInt32[Array, "*lanes"]
    eligible: UInt32[Array, "*lanes policy"]
    framed: UInt32[Array, "*lanes"]


def policy_slots(plan: Plan) -> tuple[int, ...]:
    """Episodes each policy keeps; `last` keeps as many whole ones as `capacity` holds."""
    spec = plan.spec
    if not spec.policies:
        return (max(1, spec.ring_steps // spec.max_steps),)
    return tuple(policy.slots for policy in spec.policies)


def empty(
    plan: Plan, lane: Int32[Array, ""] | None = None, salt: UInt32[Array, ""] | None = None
) -> LaneTrace:
    """A trace that has seen nothing.

    Args:
        plan: the layout.
        lane: int32 scalar, identity of the lane; default 0.
        salt: uint32 scalar, what sets apart the random draws of this lane; default the identity.
    """
    lane = jnp.zeros((), jnp.int32) if lane is None else lane
    word = jnp.zeros((), jnp.uint32)
    counts = policy_slots(plan)
    slots = empty_shelf(plan, sum(counts) + 1, len(counts))
    return LaneTrace(
        plan=plan,
        cursor=word,
        current=jnp.zeros((), jnp.int32),
        slots=slots,
        running=Stats.zeros((), plan.metrics),
        number=word,
        fresh=jnp.ones((), jnp.bool_),
        lane=lane,
        salt=lane.astype(jnp.uint32) if salt is None else salt,
        seen=word,
        eligible=jnp.zeros(len(counts), jnp.uint32),
        framed=word,
    )


def begin(trace: LaneTrace, probe: Probe, state: Any) -> LaneTrace:
    """Notes the constants of the episode whose first transition comes next, if one does."""
    packed = pack_constants(trace.plan, probe, state, None)
    kept = trace.slots.constants
    constants = kept.at[trace.current].set(jnp.where(trace.fresh, packed, kept[trace.current]))
    slots = replace(trace.slots, constants=constants)
    return replace(trace, slots=slots, fresh=jnp.zeros_like(trace.fresh))


def record(trace: LaneTrace, probe: Probe, state: Any, action: Any, result: Any) -> LaneTrace:
    """Takes one transition: one in-place write of one row of the current slot.

    Raises:
        SchemaError: at trace time, when a dtype or shape is not the one planned.
    """
    parts, outcome = pack_step(trace.plan, probe, state, action, result, None)
    row = trace.running.length % trace.plan.spec.max_steps
    records = tuple(
        kept.at[trace.current, row].set(part)
        for kept, part in zip(trace.slots.records, parts, strict=True)
    )
    running = trace.running.seen(probe.metrics(state)).stepped(*outcome[:3])
    slots = replace(trace.slots, records=records)
    return replace(trace, cursor=trace.cursor + jnp.uint32(1), slots=slots, running=running)


def end(trace: LaneTrace, probe: Probe, state: Any) -> LaneTrace:
    """Files the episode if the last transition ended it, and moves on to a free slot.

    Args:
        trace: the trace, just after `record`.
        probe: how to look at the environment.
        state: the true state after that transition, before any reset.
    """
    done = trace.running.done
    stats = trace.running.seen(probe.metrics(state))
    success = probe.success(state, trace.running.terminated)
    if success is not None:
        stats = replace(stats, success=success.astype(jnp.int8))
    slots = _filed(trace, done, stats, pack_state(trace.plan, probe, state, None))
    slots, eligible = _ranked(trace, slots, done, stats)
    free = jnp.argmin(slots.member.any(axis=1)).astype(jnp.int32)
    zeros = Stats.zeros((), trace.plan.metrics)
    running = jax.tree.map(lambda new, old: jnp.where(done, new, old), zeros, trace.running)
    return replace(
        trace,
        current=jnp.where(done, free, trace.current),
        slots=slots,
        running=running,
        number=trace.number + done.astype(jnp.uint32),
        fresh=trace.fresh | done,
        seen=trace.seen + done.astype(jnp.uint32),
        eligible=trace.eligible + eligible,
    )


def snapshot(trace: LaneTrace, probe: Probe, state: Any) -> LaneTrace:
    """Notes the present state of the episode under way, so that it can be read to its end."""
    stats = trace.running.seen(probe.metrics(state))
    finals = pack_state(trace.plan, probe, state, None)
    slots = _filed(trace, trace.running.length > 0, stats, finals)
    return replace(trace, slots=slots, framed=trace.cursor + jnp.uint32(1))


def _filed(
    trace: LaneTrace,
    mask: Bool[Array, ""],
    stats: Stats,
    final: UInt8[Array, " state_bytes"],
) -> Shelf:
    """The slots with the current one's summary and final state written, where `mask` holds."""
    slots, current = trace.slots, trace.current
    row = summary.pack(stats, trace.lane, trace.number, trace.cursor - 1)

    def put(
        kept: Shaped[Array, "slot ..."], value: Shaped[Array, "..."]
    ) -> Shaped[Array, "slot ..."]:
        return kept.at[current].set(jnp.where(mask, value, kept[current]))

    return replace(
        slots,
        finals=put(slots.finals, final),
        summary=put(slots.summary, row),
    )


def _ranked(
    trace: LaneTrace, slots: Shelf, done: Bool[Array, ""], stats: Stats
) -> tuple[Shelf, UInt32[Array, " policy"]]:
    """The slots after each policy took the finished episode in, or not; and who could have."""
    end_step = trace.cursor - 1
    if trace.plan.spec.policies:
        wanted, allowed = priorities(trace.plan.spec, stats, trace.salt, trace.number, end_step)
    else:
        wanted, allowed = end_step[None], jnp.ones(1, jnp.bool_)
    allowed &= done
    member = slots.member
    full = member.sum(axis=0, dtype=jnp.int32) >= jnp.asarray(policy_slots(trace.plan))
    lowest = jnp.where(member, slots.wanted, jnp.uint32(2**32 - 1)).min(axis=0)
    weakest = member & (slots.wanted == lowest[None])
    # Of equally weak episodes the youngest goes; within a lane no two end at the same step.
    youngest = jnp.where(weakest, slots.end_step[:, None], 0).max(axis=0)
    loser = weakest & (slots.end_step[:, None] == youngest[None])
    enters = allowed & (~full | (wanted > lowest))
    member = member & ~(loser & (enters & full)[None])
    here = (jnp.arange(member.shape[0]) == trace.current)[:, None]
    member = member | (here & enters[None])
    kept = jnp.where(here & done, wanted[None], slots.wanted)
    return replace(slots, member=member, wanted=kept), allowed.astype(jnp.uint32)
