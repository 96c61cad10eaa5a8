"""A gymnax environment as a Stoa environment without auto-reset, for `jaxarc-trace bench`.

Stoa 0.1.2's own adapter expects the five values that `step` of older gymnax returned; gymnax 1.0
returns six. This shell calls `step_env` and `is_truncated`, which is all it takes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from stoa.env_types import StepType, TimeStep
from stoa.environment import Environment
from stoa.spaces import BoundedArraySpace, DiscreteSpace

from jaxarc_trace.errors import SpecError

__all__ = ["GymnaxEnv"]


class GymnaxEnv(Environment):
    """A gymnax environment by name: `reset(key, params)` and `step(state, action, params)`.

    Raises:
        SpecError: for a name that gymnax does not know, or actions that are not discrete.
    """

    def __init__(self, name: str) -> None:
        import gymnax

        if name not in gymnax.registered_envs:
            known = ", ".join(gymnax.registered_envs)
            raise SpecError(
                f"env: expected 'jaxarc', module:name of a Stoa environment, or a gymnax "
                f"environment of {known}; found {name!r}"
            )
        self.env, self.params = gymnax.make(name)
        if not hasattr(self.env.action_space(self.params), "n"):
            raise SpecError(f"env: expected an environment of discrete actions, found {name!r}")

    def reset(self, rng_key: PRNGKeyArray, env_params: Any = None) -> tuple[Any, TimeStep]:
        """A fresh episode."""
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            observation, state = self.env.reset_env(rng_key, env_params or self.params)
        zero = jnp.zeros((), jnp.float32)
        return state, TimeStep(
            step_type=jnp.int8(0), reward=zero, discount=zero + 1, observation=observation
        )

    def step(self, state: Any, action: Any, env_params: Any = None) -> tuple[Any, TimeStep]:
        """One step. What it draws at random depends on the time in the episode alone."""
        params = env_params or self.params
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            key = jax.random.fold_in(jax.random.key(0), state.time)
            observation, state, reward, terminated, _ = self.env.step_env(
                key, state, action, params
            )
            truncated = self.env.is_truncated(state, params)
        kind = jnp.where(terminated, StepType.TERMINATED, jnp.where(truncated, 3, 1))
        return state, TimeStep(
            step_type=kind.astype(jnp.int8),
            reward=jnp.asarray(reward, jnp.float32),
            discount=1.0 - terminated.astype(jnp.float32),
            observation=observation,
        )

    def observation_space(self, env_params: Any = None) -> BoundedArraySpace:
        """Unbounded, of the environment's shape."""
        shape = self.env.observation_space(env_params or self.params).shape
        return BoundedArraySpace(shape, jnp.float32, -jnp.inf, jnp.inf, "observation")

    def state_space(self, env_params: Any = None) -> BoundedArraySpace:
        """As the observation's; Stoa asks for one."""
        return self.observation_space(env_params)

    def action_space(self, env_params: Any = None) -> DiscreteSpace:
        """As many actions as the environment has."""
        count = int(self.env.action_space(env_params or self.params).n)
        return DiscreteSpace(count, dtype=jnp.int32)
