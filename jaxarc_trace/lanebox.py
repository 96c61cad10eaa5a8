"""A black box for one lane: the layout that works under any vmap, where each lane stops by itself.

It is the batch's trace with a single lane. Nothing of it lies under a `cond`: a black box has no
shelf, so what happens when an episode ends is a masked write of one row.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt32

from jaxarc_trace import trace as batch
from jaxarc_trace.plan import Plan
from jaxarc_trace.probe import Probe
from jaxarc_trace.trace import Trace

__all__ = ["LaneBox", "begin", "empty", "end", "record", "snapshot"]


class LaneBox(eqx.Module):
    """What one lane recorded; under a vmap every leaf has further leading axes.

    Attributes:
        trace: the ring of this lane, with a lane axis of one.
    """

    trace: Trace

    @property
    def plan(self) -> Plan:
        """The static part."""
        return self.trace.plan

    @property
    def cursor(self) -> UInt32[Array | np.ndarray, "*lanes"]:
        """uint32, steps of the lane so far."""
        return self.trace.cursor

    @property
    def lane(self) -> Int32[Array | np.ndarray, "*lanes"]:
        """int32, identity of the lane."""
        return self.trace.lane[..., 0]

    @property
    def seen(self) -> UInt32[Array | np.ndarray, "*lanes"]:
        """uint32, episodes that ended until it stopped."""
        return self.trace.seen[..., 0]

    @property
    def eligible(self) -> UInt32[Array | np.ndarray, "*lanes 0"]:
        """uint32 `[0]`: there are no policies."""
        return self.trace.eligible[..., 0, :]


def empty(
    plan: Plan, lane: Int32[Array, ""] | None = None, salt: UInt32[Array, ""] | None = None
) -> LaneBox:
    """A box that has seen nothing; see `slots.empty`."""
    lane = jnp.zeros((), jnp.int32) if lane is None else lane
    salt = lane.astype(jnp.uint32) if salt is None else salt
    return LaneBox(batch.empty(plan, lane[None], salt[None]))


def begin(box: LaneBox, probe: Probe, state: Any) -> LaneBox:
    """See `trace.begin`."""
    return LaneBox(batch.begin(box.trace, probe, _alone(state)))


def record(box: LaneBox, probe: Probe, state: Any, action: Any, result: Any) -> LaneBox:
    """See `trace.record`."""
    return LaneBox(batch.record(box.trace, probe, *_alone((state, action, result))))


def end(box: LaneBox, probe: Probe, state: Any) -> LaneBox:
    """See `trace.end`."""
    return LaneBox(batch.end(box.trace, probe, _alone(state)))


def snapshot(box: LaneBox, probe: Probe, state: Any) -> LaneBox:
    """See `trace.snapshot`."""
    return LaneBox(batch.snapshot(box.trace, probe, _alone(state)))


def _alone(tree: Any) -> Any:
    """A batch of one."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)
