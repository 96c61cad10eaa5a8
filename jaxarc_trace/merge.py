"""Joining traces of different lanes: the policies choose again from both."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int32, UInt, UInt32

from jaxarc_trace.errors import SpecError
from jaxarc_trace.lanebox import LaneBox
from jaxarc_trace.shelf import Shelf
from jaxarc_trace.slots import LaneTrace
from jaxarc_trace.stats import choose, later
from jaxarc_trace.summary import END_STEP
from jaxarc_trace.trace import Trace
from jaxarc_trace.verbs import AnyTrace

__all__ = ["merge"]


def merge(*traces: AnyTrace) -> AnyTrace:
    """One trace that holds what the policies keep of all of them; jittable.

    Args:
        traces: one or more traces of the same spec and environment, of different lanes. One trace
            alone, put together from shards, is brought back to the slots of its spec.

    Returns:
        A trace of all their lanes. One that has taken fewer steps is moved forward, its ring and
        every step that it names, so that all end at the same cursor. Black boxes that have stopped
        stay so, each at its own step; such a trace is for reading.

    Raises:
        SpecError: when specs or layouts differ, or two traces hold the same lane (checked outside
            jit, where identities have values).
    """
    if not traces:
        raise SpecError("merge: expected at least one trace, found none")
    first = traces[0]
    for other in traces[1:]:
        if type(other) is not type(first) or other.plan != first.plan:
            raise SpecError(
                "merge: expected traces of one spec, layout and environment, found two that "
                f"differ: {first.plan.spec.describe()} and {other.plan.spec.describe()}"
            )
    _refuse_shared_lanes(traces)
    if isinstance(first, LaneTrace | LaneBox):
        flat = [_flat(trace) for trace in traces if isinstance(trace, LaneTrace | LaneBox)]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *flat)
    return _merged([trace for trace in traces if isinstance(trace, Trace)])


def _merged(traces: list[Trace]) -> Trace:
    cursor = jnp.stack([trace.cursor for trace in traces]).max()
    traces = [_moved(trace, cursor - trace.cursor) for trace in traces]

    def beside(axis: int, *parts: Any) -> Any:
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=axis), *parts)

    first = traces[0]
    lanes = ("running", "number", "fresh", "lane", "salt", "framed")
    shelf = beside(0, *(trace.shelf for trace in traces))
    together: dict[str, Any] = {
        name: beside(0, *(getattr(t, name) for t in traces)) for name in lanes
    }
    if first.box is not None:
        together["box"] = beside(0, *(trace.box for trace in traces))
    return replace(
        first,
        cursor=cursor,
        ring=beside(1, *(trace.ring for trace in traces)),
        recent=beside(1, *(trace.recent for trace in traces)),
        shelf=_settled(first, shelf),
        seen=jnp.concatenate([t.seen for t in traces]).sum(keepdims=True, dtype=jnp.uint32),
        eligible=jnp.concatenate([t.eligible for t in traces]).sum(
            axis=0, keepdims=True, dtype=jnp.uint32
        ),
        **together,
    )


def _settled(trace: Trace, shelf: Shelf) -> Shelf:
    """The slots of the spec, filled with what its policies choose of all that is there."""
    spec = trace.plan.spec
    if not spec.policies:
        return shelf
    end_step, lane = jnp.asarray(shelf.end_step), jnp.asarray(shelf.lane)
    member = choose(spec, shelf.wanted, shelf.member, end_step, lane)
    shelf = replace(shelf, member=member)
    order = jnp.argsort(~member.any(axis=1), stable=True)[: spec.shelf]
    return jax.tree.map(lambda leaf: leaf[order], shelf)


def _moved(trace: Trace, steps: UInt32[Array, ""]) -> Trace:
    """The same trace as if it had begun so many steps later."""
    spec, shelf = trace.plan.spec, trace.shelf
    shift = (steps % spec.ring_steps).astype(jnp.int32)
    wanted = shelf.wanted + later(spec, steps)[None]
    box = trace.box
    if box is not None:
        box = replace(box, fired=jnp.where(box.fired > 0, box.fired + steps, 0))
    return replace(
        trace,
        box=box,
        shelf=replace(shelf, summary=_later(shelf.summary, steps), wanted=wanted),
        cursor=trace.cursor + steps,
        ring=tuple(_rolled(part, shift, spec.ring_steps) for part in trace.ring),
        recent=replace(trace.recent, summary=_later(trace.recent.summary, steps)),
        framed=jnp.where(trace.framed == trace.cursor + 1, trace.framed + steps, 0),
    )


def _later(
    rows: UInt32[Array, "*axes word"], steps: UInt32[Array, ""]
) -> UInt32[Array, "*axes word"]:
    """Summaries of episodes that ended so many steps later."""
    return rows.at[..., END_STEP].add(steps)


def _rolled(
    part: UInt[Array, "capacity lane _"], shift: Int32[Array, ""], rows: int
) -> UInt[Array, "capacity lane _"]:
    """The rows of the ring moved on; the spare one of a black box stays."""
    if len(part) == rows:
        return jnp.roll(part, shift, axis=0)
    return jnp.concatenate([jnp.roll(part[:rows], shift, axis=0), part[rows:]])


def _flat(trace: LaneTrace | LaneBox) -> LaneTrace | LaneBox:
    """With exactly one leading axis, of lanes."""
    axes = trace.cursor.ndim
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[axes:]), trace)


def _refuse_shared_lanes(traces: tuple[AnyTrace, ...]) -> None:
    if any(isinstance(trace.lane, Tracer) for trace in traces):
        return
    lanes = np.concatenate([np.ravel(np.asarray(trace.lane)) for trace in traces])
    values, counts = np.unique(lanes, return_counts=True)
    if len(traces) > 1 and (counts > 1).any():
        raise SpecError(
            f"merge: expected traces of different lanes, found lane {values[counts > 1][0]} in "
            "more than one; number them apart by rollout(first_lane=...) or attach(lane=...)"
        )
