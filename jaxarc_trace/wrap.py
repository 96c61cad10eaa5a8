"""Tracing a step function of the caller's own: the trace rides in the state.

    step = jt.wrap_step(step, spec)
    state = jt.attach(step, state, action)       # before the loop
    state, outcome = step(state, action)         # in it, under jit, scan, vmap, shard_map
    state, trace = jt.detach(step, state)        # after it

With `level="off"` `wrap_step` returns the caller's own function, and the other two do nothing.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32

from jaxarc_trace.errors import SpecError
from jaxarc_trace.plan import plan_for
from jaxarc_trace.probe import GenericProbe, Probe
from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.verbs import AnyTrace, begin, empty, end, record, snapshot

__all__ = ["TracedState", "TracedStep", "attach", "detach", "wrap_step"]

Step = Callable[..., tuple[Any, Any]]


class TracedState(eqx.Module):
    """A state with the trace in it.

    Attributes:
        state: the environment's own state. To reset lanes inside the loop replace it
            (`dataclasses.replace(traced, state=...)`); the trace notices by itself.
        trace: what was recorded so far; read it through `detach`.
    """

    state: Any
    trace: AnyTrace


class TracedStep:
    """A step function that records. Made by `wrap_step`."""

    def __init__(
        self,
        step: Step,
        spec: TraceSpec,
        probe: Probe,
        terminal: Callable[[Any, Any], Any] | None,
    ) -> None:
        self.untraced = step
        self.spec = spec
        self.probe = probe
        self.terminal = terminal

    def __call__(self, state: TracedState, action: Any, *args: Any, **kw: Any) -> tuple[Any, Any]:
        """Steps, and records the step.

        Args:
            state: what `attach` or an earlier call returned.
            action: passed on, like everything after it.
            args: passed on.
            kw: passed on.

        Returns:
            The next traced state, and what the step returned beside it.

        Raises:
            SpecError: when the state has no trace yet.
            SchemaError: at trace time, when dtypes or shapes are not those of `attach`.
        """
        if not isinstance(state, TracedState):
            raise SpecError(
                "a traced step expects the state that attach() returned, found "
                f"{type(state).__name__}; call jt.attach(step, state, action) before the loop"
            )
        trace = begin(state.trace, self.probe, state.state)
        following, result = self.untraced(state.state, action, *args, **kw)
        trace = record(trace, self.probe, state.state, action, result)
        last = following if self.terminal is None else self.terminal(following, result)
        trace = end(trace, self.probe, last)
        return TracedState(following, trace), result

    def attach(
        self, state: Any, action: Any, *args: Any, lane: Any = None, **kw: Any
    ) -> TracedState:
        """See `attach`.

        Raises:
            SpecError: when the state has a trace already.
        """
        if isinstance(state, TracedState):
            raise SpecError(
                "attach: expected a state without a trace, found one that has been attached; go on "
                "with it as it is"
            )
        shapes = jax.eval_shape(lambda s, a: self.untraced(s, a, *args, **kw), state, action)
        plan, lanes = plan_for(self.spec, self.probe, state, action, shapes[1])
        return TracedState(state, empty(plan, lanes, _identities(lane, lanes)))


def wrap_step(
    step: Step,
    spec: TraceSpec,
    *,
    probe: Probe | None = None,
    terminal: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """A step function that records what it does; everything else about it stays as it is.

    Args:
        step: any pure `(state, action, ...) -> (next_state, outcome)`, of one environment or of a
            batch with a leading lane axis. `GenericProbe` says what an outcome may be.
        spec: what to keep.
        probe: how to look at the environment; default one that records every leaf of the state.
        terminal: for a step that resets by itself: `terminal(next_state, outcome)` gives the true
            state after the step, before the reset. Without it `next_state` is taken for that.

    Returns:
        A `TracedStep`; with `level="off"` the very function that was given.
    """
    if spec.level == "off":
        return step
    return TracedStep(step, spec, GenericProbe() if probe is None else probe, terminal)


def attach(step: Any, state: Any, action: Any, *args: Any, lane: Any = None, **kw: Any) -> Any:
    """Puts an empty trace into a state, before the loop.

    Args:
        step: what `wrap_step` returned.
        state: the state the first action will be taken in.
        action: an action, or `jax.ShapeDtypeStruct`s of one: only its shapes are used.
        args: the further arguments of the step.
        lane: int32 `[lanes]` or scalar: identities of the lanes, where a program has split them;
            default counted from 0.
        kw: the further keyword arguments of the step.

    Returns:
        A `TracedState`; the state itself when the step is not traced.

    Raises:
        SchemaError: when the outcome says neither reward nor end, or a field has no lane axis.
        SpecError: when the spec asks for what the probe does not define.
    """
    if not isinstance(step, TracedStep):
        return state
    return step.attach(state, action, *args, lane=lane, **kw)


def detach(step: Any, state: Any) -> tuple[Any, Any]:
    """Takes the trace out of a state, after the loop; jittable.

    Args:
        step: what `wrap_step` returned, or a `TraceWrapper`, also inside other wrappers.
        state: a traced state.

    Returns:
        The environment's own state, and the trace with the present state of the episodes that
        are still running; the state itself and None when the step is not traced.

    Raises:
        SpecError: when the state is traced and the step is not.
    """
    held = state
    while "trace" not in (fields := getattr(type(held), "__dataclass_fields__", ())):
        if "base_env_state" not in fields:
            return state, None
        held = held.base_env_state
    if not isinstance(held.trace, AnyTrace):
        return state, None
    if not hasattr(step, "probe"):
        raise SpecError(
            "detach expects the step that wrap_step returned, or the TraceWrapper, found "
            f"{getattr(step, '__name__', type(step).__name__)}; give what the state was attached by"
        )
    inner = held.state if isinstance(held, TracedState) else held.base_env_state
    return inner, snapshot(held.trace, step.probe, inner)


def _identities(lane: Any, lanes: int | None) -> Int32[Array, "*lanes"] | None:
    """The caller's identities of the lanes as int32, after a look at their shape."""
    if lane is None:
        return None
    lane = jnp.asarray(lane)
    shape = () if lanes is None else (lanes,)
    if lane.shape != shape or not jnp.issubdtype(lane.dtype, jnp.integer):
        raise SpecError(
            f"attach: lane: expected an integer for each lane, int32 {list(shape)}, found "
            f"{lane.dtype} {list(lane.shape)}; give one as jnp.arange(first, first + lanes) does"
        )
    return lane.astype(jnp.int32)
