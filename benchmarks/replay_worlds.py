"""The environments of `replay.py`: each as a Stoa environment of states alone, with a policy.

Whatever is not a state, a reward and an end (observations, info) has no part in a replay of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
from stoa.env_types import StepType, TimeStep
from stoa.environment import Environment
from stoa.spaces import ArraySpace

Policy = Callable[[jax.Array, Any, Any], Any]
LIMIT = 64


class Shell(Environment):
    """The least of a Stoa environment around two functions."""

    def __init__(self, name: str, reset: Callable[..., Any], step: Callable[..., Any]) -> None:
        self.name, self._reset, self._step = name, reset, step

    def reset(self, rng_key: jax.Array, env_params: Any = None) -> tuple[Any, TimeStep]:
        del env_params
        zero = jnp.zeros((), jnp.float32)
        return self._reset(rng_key), TimeStep(jnp.int8(0), zero, zero + 1, zero)

    def step(self, state: Any, action: Any, env_params: Any = None) -> tuple[Any, TimeStep]:
        del env_params
        state, reward, terminated, truncated = self._step(state, action)
        kind = jnp.where(terminated, StepType.TERMINATED, jnp.where(truncated, 3, 1))
        reward = jnp.asarray(reward, jnp.float32)
        return state, TimeStep(kind.astype(jnp.int8), reward, reward * 0 + 1, reward * 0)

    def observation_space(self, env_params: Any = None) -> ArraySpace:
        del env_params
        return ArraySpace((), jnp.float32)

    state_space = action_space = observation_space


def discrete(count: int) -> Policy:
    def policy(key: jax.Array, state: Any, timestep: Any) -> jax.Array:
        del state
        return jax.random.randint(key, timestep.reward.shape, 0, count, jnp.int32)

    return policy


def continuous(most: float, size: int = 1) -> Policy:
    def policy(key: jax.Array, state: Any, timestep: Any) -> jax.Array:
        del state
        shape = (*timestep.reward.shape, size)
        return jax.random.uniform(key, shape, jnp.float32, -most, most)

    return policy


def gymnax(name: str, policy: Policy) -> tuple[Any, Policy]:
    import gymnax

    env, params = gymnax.make(name)

    def step(state: Any, action: Any) -> Any:
        # None of these draws anything at random in a step.
        _, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
        return state, reward, terminated, env.is_truncated(state, params)

    return Shell(name, lambda key: env.reset_env(key, params)[1], step), policy


def xminigrid(name: str) -> tuple[Any, Policy]:
    import xminigrid  # pyright: ignore[reportMissingImports] - not in any extra

    env, params = xminigrid.make(name)

    def step(state: Any, action: Any) -> Any:
        after = env.step(params, state, action)
        over = after.step_type == 2
        return after, after.reward, over & (after.discount == 0), over & (after.discount != 0)

    return Shell(name, lambda key: env.reset(params, key), step), discrete(6)


def jumanji(name: str) -> tuple[Any, Policy]:
    import jumanji  # pyright: ignore[reportMissingImports] - not in any extra

    env = jumanji.make(name)

    def step(state: Any, action: Any) -> Any:
        state, after = env.step(state, action)
        over = after.step_type == 2
        return state, after.reward, over & (after.discount == 0), over & (after.discount != 0)

    return Shell(name, lambda key: env.reset(key)[0], step), discrete(4)


def navix(name: str) -> tuple[Any, Policy]:
    import navix  # pyright: ignore[reportMissingImports] - not in any extra

    env = navix.make(name)

    def step(state: Any, action: Any) -> Any:
        after = env.step(state, action)
        return after, after.reward, after.step_type == 2, after.step_type == 1

    return Shell(name, env.reset, step), discrete(7)


def brax(name: str, backend: str) -> tuple[Any, Policy]:
    from brax import envs  # pyright: ignore[reportMissingImports] - not in any extra

    env = envs.get_environment(name, backend=backend)

    def step(state: Any, action: Any) -> Any:
        after = env.step(state, action)
        return after, after.reward, after.done > 0, jnp.zeros((), jnp.bool_)

    return Shell(name, env.reset, step), continuous(1.0, env.action_size)


def jaxarc(action: str) -> tuple[Any, Policy]:
    from tests.arc import SMALL, arc
    from tests.test_replay import random_policy

    return arc(SMALL, action=action, max_steps=LIMIT), random_policy(action)


@dataclass(frozen=True)
class World:
    """An environment to be tried.

    Attributes:
        name: its name in the table.
        package: what it comes from: its module, and the distribution whose version is named.
        make: gives it and a random policy.
        uncompiled: whether a Python loop of it is recorded as well.
        tolerance: what single steps may differ by.
    """

    name: str
    package: tuple[str, str]
    make: Callable[[], tuple[Any, Policy]]
    uncompiled: bool = False
    tolerance: float = 1e-5

    @property
    def version(self) -> str:
        """That of the distribution."""
        return f"{self.package[1]} {version(self.package[1])}"


_ARC, _GYMNAX, _XLAND = ("jaxarc", "jaxarc"), ("gymnax", "gymnax"), ("xminigrid", "xminigrid")
_JUMANJI, _NAVIX, _BRAX = ("jumanji", "jumanji"), ("navix", "navix"), ("brax", "brax")

WORLDS = (
    World("JaxARC, point actions", _ARC, lambda: jaxarc("point")),
    World("JaxARC, mask actions", _ARC, lambda: jaxarc("mask")),
    World("CartPole-v1", _GYMNAX, lambda: gymnax("CartPole-v1", discrete(2)), uncompiled=True),
    World("Pendulum-v1", _GYMNAX, lambda: gymnax("Pendulum-v1", continuous(2)), uncompiled=True),
    World(
        "MountainCarContinuous-v0",
        _GYMNAX,
        lambda: gymnax("MountainCarContinuous-v0", continuous(1)),
        uncompiled=True,
    ),
    World("MiniGrid-DoorKey-8x8", _XLAND, lambda: xminigrid("MiniGrid-DoorKey-8x8")),
    World("XLand-MiniGrid-R4-9x9", _XLAND, lambda: xminigrid("XLand-MiniGrid-R4-9x9")),
    World("Snake-v1", _JUMANJI, lambda: jumanji("Snake-v1")),
    World("Game2048-v1", _JUMANJI, lambda: jumanji("Game2048-v1")),
    World("Navix-DoorKey-8x8-v0", _NAVIX, lambda: navix("Navix-DoorKey-8x8-v0")),
    World(
        "inverted_pendulum, generalized", _BRAX, lambda: brax("inverted_pendulum", "generalized")
    ),
    # Contacts are solved for, and magnify the last bits of what goes in.
    World("ant, positional", _BRAX, lambda: brax("ant", "positional"), tolerance=1e-3),
)
