"""The verbs of a trace whatever its layout, and the one `lax.cond` of capture.

What happens only when some episode ends (`begin`, `end`, the reset itself) lies under one `cond`
for the whole batch. The ring is read in it and never written, so it is kept out of its results:
XLA would otherwise have to prove that it may pass it through without a copy. A trace in the lane
layout is never under a `cond`, because a vmap would turn that into a copy of everything; it
masks instead.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Shaped, UInt32

from jaxarc_trace import lanebox, slots, trace
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.lanebox import LaneBox
from jaxarc_trace.plan import Plan, lane_axis
from jaxarc_trace.probe import Probe
from jaxarc_trace.renewal import Resets, renewed
from jaxarc_trace.slots import LaneTrace
from jaxarc_trace.trace import Trace

__all__ = [
    "AnyTrace",
    "begin",
    "close",
    "empty",
    "end",
    "record",
    "refuse_other",
    "snapshot",
    "turn",
]

AnyTrace = Trace | LaneTrace | LaneBox
Value = TypeVar("Value")


def empty(
    plan: Plan,
    lanes: int | None,
    lane: Int32[Array, "*lanes"] | None = None,
    salt: UInt32[Array, "*lanes"] | None = None,
) -> AnyTrace:
    """A trace that has seen nothing, in the layout that suits the spec and the lanes.

    Args:
        plan: the layout of the bytes.
        lanes: number of lanes of the environment, or None for a single one.
        lane: int32 `[lanes]` (or a scalar), identities of the lanes; default counted from 0.
        salt: uint32 of the same shape, what sets apart their random draws; default the identity.
    """
    own = slots if plan.spec.trigger is None else lanebox
    if lanes is None:
        return own.empty(plan, lane, salt)
    count = lanes if plan.spec.lanes is None else min(plan.spec.lanes, lanes)
    lane = jnp.arange(count, dtype=jnp.int32) if lane is None else lane[:count]
    salt = lane.astype(jnp.uint32) if salt is None else salt[:count]
    if plan.spec.layout == "lane":
        return jax.vmap(lambda lane, salt: own.empty(plan, lane, salt))(lane, salt)
    return trace.empty(plan, lane, salt)


def refuse_other(given: Any) -> None:
    """Refuses what is no trace; a None of `level="off"`, or the state that it still rides in.

    Raises:
        SchemaError: saying how to come by the trace.
    """
    if not isinstance(given, AnyTrace):
        raise SchemaError(
            f"take and save expect a trace, found {type(given).__name__}; give the second of the "
            "two that jt.detach(step, state) and jt.rollout(...) return (with level='off' that is "
            "None, and nothing is there to be saved)"
        )


def begin(kept: AnyTrace, probe: Probe, state: Any) -> AnyTrace:
    """Notes the constants of the episodes whose first transition comes next; see `trace.begin`."""
    if isinstance(kept, Trace):
        return _begin_some(kept, probe, state)
    return _lanes(kept, probe, lambda t, s: _own(t).begin(t, probe, s), state)


def record(kept: AnyTrace, probe: Probe, state: Any, action: Any, result: Any) -> AnyTrace:
    """Takes one transition of every lane; see `trace.record`."""
    if isinstance(kept, Trace):
        return trace.record(kept, probe, state, action, result)
    return _lanes(
        kept, probe, lambda t, *step: _own(t).record(t, probe, *step), state, action, result
    )


def end(kept: AnyTrace, probe: Probe, state: Any) -> AnyTrace:
    """Files the episodes that the last transition ended; see `trace.end`."""
    if isinstance(kept, Trace):
        return _end_some(kept, probe, state)
    return _lanes(kept, probe, lambda t, s: _own(t).end(t, probe, s), state)


def snapshot(kept: AnyTrace, probe: Probe, state: Any) -> AnyTrace:
    """Notes the present state of the episodes under way; see `trace.snapshot`."""
    if isinstance(kept, Trace):
        return trace.snapshot(kept, probe, state)
    return _lanes(kept, probe, lambda t, s: _own(t).snapshot(t, probe, s), state)


def close(kept: AnyTrace, probe: Probe, state: Any) -> AnyTrace:
    """`end` and then `snapshot`: what comes after the last step of a loop."""
    if isinstance(kept, Trace):
        return trace.end(kept, probe, state, snapped=True)
    return snapshot(end(kept, probe, state), probe, state)


def turn(
    kept: AnyTrace | None,
    probe: Probe,
    done: Bool[Array, "*lanes"],
    state: Any,
    beside: Value,
    resets: Resets[tuple[Any, Value]],
) -> tuple[Any, Value, Any]:
    """Files the episodes that are over and puts new ones in their place.

    Args:
        kept: the trace, or None.
        probe: how to look at the environment.
        done: bool `[lanes]` or scalar, which episodes are over.
        state: the true states after their last step.
        beside: whatever else a reset replaces, for instance the observation.
        resets: give fresh states, and what is beside them.

    Returns:
        `state`, `beside` and the trace.
    """

    def fresh(state: Any, beside: Value) -> tuple[Any, Value]:
        return renewed(done, (state, beside), resets)

    def turned(value: tuple[Any, Value], kept: Trace) -> tuple[tuple[Any, Value], Trace]:
        # Of many lanes some end at almost every step, of a few traced ones seldom one.
        few = kept.lanes < done.shape[0]
        kept = (_end_some if few else trace.end)(kept, probe, value[0])
        over = done
        if (unread := trace.unread(kept)) is not None:
            over |= unread.any() if few else unread
        value = renewed(over, value, resets)
        return value, (_begin_some if few else trace.begin)(kept, probe, value[0])

    if isinstance(kept, Trace):
        condition = done.any() if kept.box is None else done.any() | trace.due(kept)
        (state, beside), kept = _gated(condition, turned, (state, beside), kept)
        return state, beside, kept
    if kept is not None:
        kept = end(kept, probe, state)
    state, beside = jax.lax.cond(done.any(), fresh, lambda *value: value, state, beside)
    if kept is not None:
        kept = begin(kept, probe, state)
    return state, beside, kept


def _begin_some(kept: Trace, probe: Probe, state: Any) -> Trace:
    """`trace.begin`, if a traced lane waits for it."""
    return _gated(kept.fresh.any(), lambda _, t: ((), trace.begin(t, probe, state)), (), kept)[1]


def _end_some(kept: Trace, probe: Probe, state: Any) -> Trace:
    """`trace.end`, if a traced lane waits for it."""
    return _gated(trace.due(kept), lambda _, t: ((), trace.end(t, probe, state)), (), kept)[1]


def _gated(
    condition: Bool[Array, ""],
    function: Callable[[Value, Trace], tuple[Value, Trace]],
    value: Value,
    kept: Trace,
) -> tuple[Value, Trace]:
    """`function(value, kept)`, which may not change the ring, where the condition holds."""
    ring = kept.ring
    # XLA takes arrays without a value out of a branch, and then copies all others at its end.
    rest, without = eqx.partition(replace(kept, ring=()), _has_values)

    def taken(value: Value, rest: Trace) -> tuple[Value, Trace]:
        value, whole = function(value, replace(eqx.combine(rest, without), ring=ring))
        # Nothing is added, for the condition holds here; but XLA does not know, and so the next
        # row is written after this branch has read the ring. Unordered, it would copy the ring.
        cursor = whole.cursor + (~condition).astype(jnp.uint32)
        whole = replace(whole, ring=(), cursor=cursor)
        return value, eqx.filter(whole, _has_values)

    value, rest = jax.lax.cond(condition, taken, lambda v, r: (v, r), value, rest)
    return value, replace(eqx.combine(rest, without), ring=ring)


def _has_values(leaf: Shaped[Array, "..."]) -> bool:
    return leaf.size > 0


def _own(kept: LaneTrace | LaneBox) -> Any:
    """The module with the verbs of a layout of single lanes."""
    return slots if isinstance(kept, LaneTrace) else lanebox


def _lanes(
    kept: LaneTrace | LaneBox, probe: Probe, function: Callable[..., Any], state: Any, *beside: Any
) -> Any:
    """`function` of one lane, mapped over the lanes of a batch if there is one.

    What the lanes share, having no axis for them, is given to each of them whole.
    """
    trees = (state, *beside)
    if kept.cursor.ndim == 0:
        return function(kept, *trees)
    lanes, count = lane_axis(probe, state), kept.cursor.shape[0]
    axes = jax.tree.map(lambda leaf: 0 if jnp.shape(leaf)[:1] == (lanes,) else None, trees)
    trees = jax.tree.map(
        lambda leaf: leaf[:count] if jnp.shape(leaf)[:1] == (lanes,) else leaf, trees
    )
    return jax.vmap(function, in_axes=(0, *axes))(kept, *trees)
