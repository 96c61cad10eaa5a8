"""gymnax's CartPole as a Stoa environment without auto-reset, and a small MLP policy.

Stoa 0.1.2's own adapter expects the five values that `step` of older gymnax returned; gymnax 1.0
returns six. This shell calls `step_env` and `is_truncated`, which is all it takes.
"""

from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from stoa.env_types import StepType, TimeStep
from stoa.environment import Environment
from stoa.spaces import BoundedArraySpace, DiscreteSpace


class CartPole(Environment):
    """gymnax CartPole-v1: `reset(key, params)` and `step(state, action, params)`."""

    def __init__(self) -> None:
        self.env, self.params = gymnax.make("CartPole-v1")

    def reset(self, rng_key: jax.Array, env_params: Any = None) -> tuple[Any, TimeStep]:
        observation, state = self.env.reset_env(rng_key, env_params or self.params)
        zero = jnp.zeros((), jnp.float32)
        return state, TimeStep(
            step_type=jnp.int8(0), reward=zero, discount=zero + 1, observation=observation
        )

    def step(self, state: Any, action: Any, env_params: Any = None) -> tuple[Any, TimeStep]:
        params = env_params or self.params
        # CartPole draws nothing at random in a step.
        observation, state, reward, terminated, _ = self.env.step_env(
            jax.random.key(0), state, action, params
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
        del env_params
        return BoundedArraySpace((4,), jnp.float32, -jnp.inf, jnp.inf, "observation")

    def state_space(self, env_params: Any = None) -> BoundedArraySpace:
        return self.observation_space(env_params)

    def action_space(self, env_params: Any = None) -> DiscreteSpace:
        del env_params
        return DiscreteSpace(2, dtype=jnp.int32)


def mlp_policy(width: int = 64) -> Any:
    """A random two-layer policy, `policy(key, state, timestep) -> action` for a batch."""
    one, two, three = jax.random.split(jax.random.key(7), 3)
    first = jax.random.normal(one, (4, width)) * 0.5
    second = jax.random.normal(two, (width, width)) / width**0.5
    last = jax.random.normal(three, (width, 2)) / width**0.5

    def policy(key: jax.Array, state: Any, timestep: TimeStep) -> jax.Array:
        del state
        hidden = jnp.tanh(jnp.asarray(timestep.observation) @ first)
        logits = jnp.tanh(hidden @ second) @ last
        return jax.random.categorical(key, logits).astype(jnp.int32)

    return policy
