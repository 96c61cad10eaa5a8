"""gymnax's CartPole as a Stoa environment without auto-reset, and a small MLP policy."""

from typing import Any

import jax
import jax.numpy as jnp
from stoa.env_types import TimeStep

from jaxarc_trace.bench_gymnax import GymnaxEnv


class CartPole(GymnaxEnv):
    """gymnax CartPole-v1."""

    def __init__(self) -> None:
        super().__init__("CartPole-v1")


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
