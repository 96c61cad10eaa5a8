"""Real JaxARC environments on real ARC tasks for the tests, each built once a session."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxarc_trace.demo.player import scripted_player
from jaxarc_trace.demo.tasks import environment, quiet_jaxarc

# Small and quick to load: same shape (9x9 and 3x3), one that shrinks, one that cannot grow.
SMALL = ("0ca9ddb6", "0d3d703e", "28bf18c6", "007bbfb7")


@functools.cache
def arc(
    tasks: tuple[str, ...] = SMALL, *, action: str = "point", max_steps: int = 32, **options: str
) -> Any:
    """A JaxARC environment; the arguments of `jaxarc_trace.demo.tasks.environment`."""
    quiet_jaxarc()
    return environment(tasks, action=action, max_steps=max_steps, **options)


@functools.cache
def player(action: str = "point", max_error: float = 0.5) -> Any:
    """The scripted player `(key, state, timestep) -> action` of a batch of lanes."""
    return scripted_player(action, max_error=max_error)


@functools.cache
def start(lanes: int = 32, seed: int = 5, **options: str) -> tuple[Any, Any]:
    """State and timestep of `arc(**options)` after a reset, with a leading lane axis."""
    keys = jax.random.split(jax.random.key(seed), lanes)
    return jax.jit(jax.vmap(arc(**options).reset))(keys)


def batched(env: Any) -> tuple[Any, Any]:
    """Reset and step over a leading lane axis."""
    return jax.vmap(env.reset), jax.vmap(env.step)


def play(env: Any, policy: Any, seed: int, lanes: int, steps: int) -> dict[str, Any]:
    """Plays with auto-reset and no recorder: what happened, `[step, lane]` or `[step, lane, ...]`.

    Returns:
        `before` and `after`, the JaxARC states around each step (`after` is the true next state,
        before any reset), `action`, `reward`, `terminated`, `truncated`, `operation`.
    """
    reset, step = batched(env)

    def body(carry: Any, key: jax.Array) -> tuple[Any, Any]:
        state, timestep = carry
        act, again = jax.random.split(key)
        action = policy(act, state, timestep)
        after, timestep = step(state, action)
        seen = {
            "before": state,
            "after": after,
            "action": action,
            "reward": timestep.reward,
            "terminated": timestep.terminated(),
            "truncated": timestep.truncated(),
            "operation": timestep.extras["operation_id"],
        }
        fresh = reset(jax.random.split(again, lanes))
        ended = timestep.last()
        carry = jax.tree.map(
            lambda new, old: jnp.where(ended.reshape((-1,) + (1,) * (old.ndim - 1)), new, old),
            fresh,
            (after, timestep),
        )
        return carry, seen

    @jax.jit
    def program(key: jax.Array) -> Any:
        start, run = jax.random.split(key)
        carry = reset(jax.random.split(start, lanes))
        return jax.lax.scan(body, carry, jax.random.split(run, steps))[1]

    return jax.tree.map(on_host, program(jax.random.key(seed)))


def on_host(leaf: jax.Array) -> np.ndarray:
    """As NumPy has it; of PRNG keys their data."""
    typed_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if typed_key else leaf)
