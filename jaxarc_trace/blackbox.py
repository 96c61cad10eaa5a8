"""The state of a black box on the device: whether it has stopped, at which step, and why.

All lanes of a trace stop together, so that what the others did can be seen as well. The cursor
goes on counting; what is recorded after the stop goes into a spare row behind the ring, which
costs what every other row costs, and no copy. A trace without a trigger holds none of this.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt32

from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.triggers import Moment, Trigger

__all__ = ["Box", "empty_box", "events", "stopped"]


class Box(eqx.Module):
    """Whether and why a trace has stopped.

    Attributes:
        trigger: the static part.
        fired: uint32 `[lane]`, step at which the condition held, plus one; 0 where it did not.
            The same in all lanes that were recorded together.
        by: bool `[lane, condition]`, where it held, at that step.
        closed: bool `[lane]`, whether the states after the last step are in `recent`.
        memory: what the conditions remember, `[lane, ...]`.
    """

    trigger: Trigger = eqx.field(static=True)
    fired: UInt32[Array, " lane"]
    by: Bool[Array, "lane condition"]
    closed: Bool[Array, " lane"]
    memory: Any

    def frozen(self, cursor: UInt32[Array, ""]) -> Bool[Array, ""]:
        """bool scalar, whether nothing more is recorded once `cursor` steps were."""
        fired = self.fired.max()
        return (fired > 0) & (cursor >= fired + jnp.uint32(self.trigger.after))

    def closing(self, cursor: UInt32[Array, ""]) -> Bool[Array, ""]:
        """bool scalar, whether the present states are those after the last step."""
        return self.frozen(cursor) & ~self.closed.all()

    def after_step(self, cursor: UInt32[Array, ""], moment: Moment) -> "Box":
        """The box after a step was looked at, the `cursor`-th one."""
        held, memory = self.trigger.when.after_step(self.memory, moment)
        return replace(self._fired(held, cursor), memory=memory)

    def at_end(self, cursor: UInt32[Array, ""], done: Bool[Array, " lane"], stats: Any) -> "Box":
        """The box after the episodes that the `cursor`-th step ended were looked at."""
        return self._fired(self.trigger.when.at_end(stats) & done[:, None], cursor)

    def _fired(self, held: Bool[Array, "lane condition"], cursor: UInt32[Array, ""]) -> "Box":
        before = self.fired.max()
        # Several conditions may come to hold in one step, some of them only at its end.
        held = held & ((before == 0) | (before == cursor))
        fired = jnp.where(held.any(), cursor, self.fired)
        return replace(self, fired=fired, by=self.by | held)


def empty_box(spec: TraceSpec, lanes: int) -> Box | None:
    """A box that waits, or None where the spec has no trigger."""
    if spec.trigger is None:
        return None
    return Box(
        trigger=spec.trigger,
        fired=jnp.zeros(lanes, jnp.uint32),
        by=jnp.zeros((lanes, len(spec.trigger.when.names)), jnp.bool_),
        closed=jnp.zeros(lanes, jnp.bool_),
        memory=spec.trigger.when.start(lanes),
    )


def stopped(box: Any, column: int) -> tuple[int | None, int | None]:
    """Where the ring of a lane ends, for the box of a trace on the host.

    Returns:
        Steps until its end, after the last of which every state is known, or None where the ring
        goes on; and the step at which a condition held, if it was in this lane.
    """
    if box is None or not box.fired[column]:
        return None, None
    fired = int(box.fired[column])
    stop = fired + box.trigger.after if box.closed[column] else None
    return stop, fired - 1 if box.by[column].any() else None


def events(box: Any, lane: Int32[np.ndarray, "*lanes"]) -> list[dict[str, Any]]:
    """Each lane in which a condition held, in a box on the host: `step`, `lane`, `conditions`."""
    names = box.trigger.when.names
    fired, by, lanes = box.fired.ravel(), box.by.reshape(-1, len(names)), lane.ravel()
    if len(np.unique(lanes)) != len(lanes):
        lanes = np.arange(len(lanes))
    found = [
        {
            "step": int(fired[row]) - 1,
            "lane": int(lanes[row]),
            "conditions": [name for name, held in zip(names, by[row], strict=True) if held],
        }
        for row in np.flatnonzero(by.any(axis=1))
    ]
    return sorted(found, key=lambda event: (event["step"], event["lane"]))
