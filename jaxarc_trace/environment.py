"""An environment as two pure functions, in the form that everything here takes.

`rollout`, `TraceWrapper`, `stoix_envs` and `replay` ask of an environment what Stoa asks, and
nothing of Stoa is imported for it: `reset(key, params)` and `step(state, action, params)`, each of
which returns a state and a time step. Libraries that are known are brought into this form by
`adapters`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, Integer, PRNGKeyArray, Real

from jaxarc_trace.errors import SpecError
from jaxarc_trace.probe import TERMINATED, TRUNCATED, GenericProbe, Probe, outcome_of

__all__ = ["Environment", "StepState", "TimeStep"]

FIRST, MID = 0, 1


class TimeStep(eqx.Module):
    """What a step returns beside the next state; Stoa's fields and methods, single or batched.

    Attributes:
        step_type: int8: 0 first, 1 in between, 2 terminated, 3 truncated.
        reward: float.
        discount: float32; 0 where the episode terminated.
        observation: whatever the environment shows.
        extras: what wrappers put beside it.
    """

    step_type: Integer[Array, "*lanes"]
    reward: Real[Array, "*lanes"]
    discount: Float32[Array, "*lanes"]
    observation: Any
    extras: dict[str, Any] = eqx.field(default_factory=dict)

    def first(self) -> Bool[Array, "*lanes"]:
        """Whether a reset gave it."""
        return self.step_type == FIRST

    def mid(self) -> Bool[Array, "*lanes"]:
        """Whether the episode goes on."""
        return self.step_type == MID

    def terminated(self) -> Bool[Array, "*lanes"]:
        """Whether the environment ended the episode."""
        return self.step_type == TERMINATED

    def truncated(self) -> Bool[Array, "*lanes"]:
        """Whether a limit ended it."""
        return self.step_type == TRUNCATED

    def last(self) -> Bool[Array, "*lanes"]:
        """Whether it ended."""
        return self.terminated() | self.truncated()

    def done(self) -> Bool[Array, "*lanes"]:
        """The same, under Stoa's other name."""
        return self.last()

    def replace(self, **changes: Any) -> "TimeStep":
        """A copy with other attributes."""
        return TimeStep(**{**{name: getattr(self, name) for name in _PARTS}, **changes})


_PARTS = ("step_type", "reward", "discount", "observation", "extras")


class StepState(eqx.Module):
    """A state, and what the random numbers of its steps are made of.

    Attributes:
        base_env_state: the environment's own state.
        step_key: PRNG key, constant in an episode.
        step_count: int32, steps taken in it; the key of a step is that of the episode folded with
            this number, so that four bytes a step are enough to take it again.
    """

    base_env_state: Any
    step_key: PRNGKeyArray
    step_count: Int32[Array, ""]


Start = Callable[[PRNGKeyArray, Any], tuple[Any, Any]]
Move = Callable[[Any, Any, Any, Any], tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Environment:
    """A single environment made of two functions; `jax.vmap` makes a batch of it.

    Attributes:
        name: what pictures and tables call it.
        start: `start(key, params) -> (state, observation)`.
        move: `move(key, state, action, params) -> (next_state, observation, outcome)`, where
            the outcome has `reward` and `terminated` or `done`, and `truncated` if a limit can end
            an episode; a mapping or an object. It does not reset.
        sample: `sample(key) -> action`, what a random player does; None if nobody asks.
        params: given to both functions where the caller gives none.
        look: the probe; default a `GenericProbe` that records every leaf of the state. Leaves
            are called what they are called in the environment's own state.
        facts: what `describe` of the default probe adds, for instance versions.
        constant: names of leaves that do not change within an episode, for the default probe.
        keyed: whether a step may draw random numbers. Without it `move` gets None for a key, and
            the states are the environment's own, not `StepState`s.
    """

    name: str
    start: Start
    move: Move
    sample: Callable[[PRNGKeyArray], Any] | None = None
    params: Any = None
    look: Probe | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    constant: tuple[str, ...] = ()
    keyed: bool = True

    @property
    def probe(self) -> Probe:
        """How to look at it."""
        if self.look is not None:
            return self.look
        constant = (*self.constant, "step_key") if self.keyed else self.constant
        return GenericProbe(name=self.name, constant=constant, facts=self.facts)

    @property
    def unwrapped(self) -> "Environment":
        """Itself; Stoa's wrappers look for it."""
        return self

    def reset(self, rng_key: PRNGKeyArray, env_params: Any = None) -> tuple[Any, TimeStep]:
        """The first state of an episode, and what is seen of it.

        Args:
            rng_key: PRNG key.
            env_params: in place of the environment's own parameters.
        """
        begun, steps = jax.random.split(rng_key)
        state, observation = self.start(begun, self._params(env_params))
        one = jnp.ones((), jnp.float32)
        kind = jnp.asarray(FIRST, jnp.int8)
        timestep = TimeStep(kind, jnp.zeros_like(one), one, observation)
        if self.keyed:
            state = StepState(state, steps, jnp.zeros((), jnp.int32))
        return state, timestep

    def step(self, state: Any, action: Any, env_params: Any = None) -> tuple[Any, TimeStep]:
        """One step, without reset.

        Raises:
            SchemaError: when the outcome says neither reward nor end.
        """
        key = jax.random.fold_in(state.step_key, state.step_count) if self.keyed else None
        before = state.base_env_state if self.keyed else state
        following, observation, result = self.move(key, before, action, self._params(env_params))
        outcome = outcome_of(result)
        limit = jnp.where(outcome.truncated, TRUNCATED, MID)
        ended = jnp.where(outcome.terminated, TERMINATED, limit)
        timestep = TimeStep(
            step_type=ended.astype(jnp.int8),
            reward=outcome.reward.astype(jnp.float32),
            discount=1.0 - outcome.terminated.astype(jnp.float32),
            observation=observation,
        )
        if self.keyed:
            following = StepState(following, state.step_key, state.step_count + 1)
        return following, timestep

    def action_space(self, env_params: Any = None) -> "Space":
        """Something whose `sample(key)` gives an action.

        Raises:
            SpecError: when the environment was made without `sample`.
        """
        del env_params
        if self.sample is None:
            raise SpecError(
                f"{self.name}: a random action was asked for, and the environment was made "
                "without one; give Environment(..., sample=lambda key: ...)"
            )
        return Space(self.sample)

    def _params(self, given: Any) -> Any:
        return self.params if given is None else given


@dataclass(frozen=True)
class Space:
    """All that is asked of an action space here.

    Attributes:
        sample: `sample(key) -> action`.
    """

    sample: Callable[[PRNGKeyArray], Any]
