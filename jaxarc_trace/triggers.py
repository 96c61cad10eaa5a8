"""When a black box stops: conditions that are looked at in every step, inside the jitted program.

    jt.TraceSpec(keep="trigger", trigger=jt.Trigger(when=jt.triggers.nan, before=64, after=16))

`nan`, `reward_spike(...)` and `first_solve` are ready-made, `a | b` is either, and a function of
the `Moment` of the caller's own is a condition as well. Static and hashable, like the spec.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Real

from jaxarc_trace.errors import SpecError

__all__ = ["Condition", "Moment", "Trigger", "first_solve", "nan", "reward_spike"]


class Moment(NamedTuple):
    """One step of all traced lanes, as a condition sees it; leaves have a leading lane axis.

    Attributes:
        state: the states before the action, as the environment has them.
        action: the actions.
        result: what the step returned beside the next state.
        reward: real `[lane]`.
        terminated: bool `[lane]`.
        truncated: bool `[lane]`.
        stats: the episodes' `Stats` so far, this step included; `success` is not known yet.
    """

    state: Any
    action: Any
    result: Any
    reward: Real[Array, " lane"]
    terminated: Bool[Array, " lane"]
    truncated: Bool[Array, " lane"]
    stats: Any


class Condition:
    """Something that may come to hold in a lane. Frozen dataclasses derive from it."""

    names: ClassVar[tuple[str, ...]] = ()
    needs_success: ClassVar[bool] = False

    def start(self, lanes: int) -> Any:
        """What it remembers from step to step: arrays `[lane, ...]`, or nothing."""
        del lanes
        return ()

    def after_step(self, memory: Any, moment: Moment) -> tuple[Bool[Array, "lane names"], Any]:
        """bool `[lane, names]`, whether it holds after this step; and its memory."""
        return jnp.zeros((moment.reward.shape[0], len(self.names)), jnp.bool_), memory

    def at_end(self, stats: Any) -> Bool[Array, "lane names"]:
        """bool `[lane, names]`, whether it holds for the episodes, given that they ended."""
        return jnp.zeros((stats.length.shape[0], len(self.names)), jnp.bool_)

    def __or__(self, other: Any) -> "Condition":
        """Either of the two."""
        return _either(self, other)

    def __ror__(self, other: Any) -> "Condition":
        return _either(other, self)


@dataclass(frozen=True)
class NotANumber(Condition):
    """A NaN in the reward, or in any float of the state, the action, or what the step returned."""

    names: ClassVar[tuple[str, ...]] = ("nan",)

    def after_step(self, memory: Any, moment: Moment) -> tuple[Bool[Array, "lane names"], Any]:
        """See `Condition`."""
        lanes = moment.reward.shape[0]
        found = jnp.isnan(moment.reward)
        for leaf in jax.tree.leaves((moment.state, moment.action, moment.result)):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                # What all lanes share has no lane axis.
                shared = leaf.ndim == 0 or leaf.shape[0] != lanes
                axes = None if shared else tuple(range(1, leaf.ndim))
                found = found | jnp.broadcast_to(jnp.isnan(leaf).any(axis=axes), (lanes,))
        return found[:, None], memory


@dataclass(frozen=True)
class RewardSpike(Condition):
    """See `reward_spike`."""

    times: float | None
    above: float | None
    warmup: int

    names: ClassVar[tuple[str, ...]] = ("reward_spike",)

    def start(self, lanes: int) -> Any:
        """Sum of magnitudes and number of the rewards so far, of each lane."""
        if self.times is None:
            return ()
        return jnp.zeros(lanes, jnp.float32), jnp.zeros(lanes, jnp.int32)

    def after_step(self, memory: Any, moment: Moment) -> tuple[Bool[Array, "lane names"], Any]:
        """See `Condition`."""
        size = jnp.abs(moment.reward).astype(jnp.float32)
        if self.times is None:
            return (size > jnp.float32(self.above))[:, None], memory
        total, count = memory
        # Without a division, so that rewards that were all zero are no special case.
        mean_times_count = total * jnp.float32(self.times)
        found = (size * count.astype(jnp.float32) > mean_times_count) & (count >= self.warmup)
        finite = jnp.isfinite(size)
        return found[:, None], (
            total + jnp.where(finite, size, jnp.float32(0)),
            count + finite.astype(jnp.int32),
        )


@dataclass(frozen=True)
class Solved(Condition):
    """An episode that ended with success."""

    names: ClassVar[tuple[str, ...]] = ("first_solve",)
    needs_success: ClassVar[bool] = True

    def at_end(self, stats: Any) -> Bool[Array, "lane names"]:
        """See `Condition`."""
        return (stats.success == 1)[:, None]


@dataclass(frozen=True)
class Own(Condition):
    """A function of the caller's own."""

    function: Callable[[Moment], Any]

    @property
    def names(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The function's name."""
        return (getattr(self.function, "__name__", type(self.function).__name__),)

    def after_step(self, memory: Any, moment: Moment) -> tuple[Bool[Array, "lane names"], Any]:
        """See `Condition`."""
        found = jnp.asarray(self.function(moment))
        if found.dtype != jnp.bool_ or found.shape != moment.reward.shape:
            raise SpecError(
                f"trigger: the function {self.names[0]!r} should say for each lane whether to "
                f"stop, bool {list(moment.reward.shape)}, found {found.dtype} {list(found.shape)}; "
                "compare per lane, and reduce every other axis with .any(axis=...)"
            )
        return found[:, None], memory


@dataclass(frozen=True)
class AnyOf(Condition):
    """One of several."""

    parts: tuple[Condition, ...]

    @property
    def names(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of all."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def needs_success(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether one of them does."""
        return any(part.needs_success for part in self.parts)

    def start(self, lanes: int) -> Any:
        """The memories of all."""
        return tuple(part.start(lanes) for part in self.parts)

    def after_step(self, memory: Any, moment: Moment) -> tuple[Bool[Array, "lane names"], Any]:
        """See `Condition`."""
        seen = [
            part.after_step(kept, moment) for part, kept in zip(self.parts, memory, strict=True)
        ]
        return jnp.concatenate([found for found, _ in seen], axis=1), tuple(m for _, m in seen)

    def at_end(self, stats: Any) -> Bool[Array, "lane names"]:
        """See `Condition`."""
        return jnp.concatenate([part.at_end(stats) for part in self.parts], axis=1)


nan: Condition = NotANumber()
"""Holds after a step with a NaN in its reward, or in any float of state, action or outcome."""

first_solve: Condition = Solved()
"""Holds when an episode ends with success, as the probe defines it."""


def reward_spike(
    times: float | None = None, *, above: float | None = None, warmup: int = 32
) -> Condition:
    """A condition that holds after an unusually large reward, positive or negative.

    Args:
        times: larger than so many times the mean magnitude of the lane's earlier rewards.
        above: or larger in magnitude than this number. One of the two is given.
        warmup: rewards of a lane before which `times` is not looked at.

    Raises:
        SpecError: when not exactly one of the two is given, or a number is out of range.
    """
    if (times is None) == (above is None):
        raise SpecError(
            f"reward_spike: expected one of times= and above=, found times={times!r} and "
            f"above={above!r}; give one: reward_spike(10.0) is ten times the mean magnitude"
        )
    for name, value in (("times", times), ("above", above)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise SpecError(f"reward_spike: {name}: expected a number >= 0, found {value!r}")
    return RewardSpike(times, above, _whole("reward_spike: warmup", warmup, least=1))


@dataclass(frozen=True)
class Trigger:
    """When the ring stops, and how much it keeps around that step.

    Attributes:
        when: a condition, several joined by `|`, or a function of a `Moment` that returns
            bool `[lane]`. Kept as a `Condition`.
        before: steps kept before the one at which it held.
        after: steps kept after it.

    Raises:
        SpecError: for something that is no condition, two of one name, or a number below 0.
    """

    when: Any
    before: int = 64
    after: int = 16

    def __post_init__(self) -> None:
        """Checks every argument and stores `when` as a condition."""
        condition = _condition(self.when)
        names = condition.names
        if len(set(names)) != len(names):
            raise SpecError(f"trigger: expected conditions of different names, found {names}")
        object.__setattr__(self, "when", condition)
        for name in ("before", "after"):
            value = _whole(f"trigger: {name}", getattr(self, name), least=0)
            object.__setattr__(self, name, value)

    @property
    def steps(self) -> int:
        """Steps kept in all."""
        return self.before + 1 + self.after

    def describe(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"when": list(self.when.names), "before": self.before, "after": self.after}


def _condition(value: Any) -> Condition:
    if isinstance(value, Condition):
        return value
    if not callable(value):
        raise SpecError(
            "trigger: when: expected a condition of jt.triggers, several joined by |, or a "
            f"function of a Moment, found {value!r}"
        )
    if type(value).__hash__ is None:
        raise SpecError(
            "trigger: when: expected a hashable function, because a TraceSpec is static, found "
            f"one of {type(value).__name__}; give a plain function"
        )
    return Own(value)


def _either(left: Any, right: Any) -> Condition:
    parts = []
    for side in (_condition(left), _condition(right)):
        parts += side.parts if isinstance(side, AnyOf) else (side,)
    return AnyOf(tuple(parts))


def _whole(name: str, value: Any, least: int) -> int:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise SpecError(f"{name}: expected a whole number of at least {least}, found {value!r}")
    return int(value)
