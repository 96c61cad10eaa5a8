"""Environments of other libraries, as the tests and `benchmarks/environments.py` try them.

gymnax comes with the extra `bench`; for the others `pip install 'jaxarc-trace[envs]'`, except for
Kinetix, which so far wants jax 0.9.0 at most. Nothing is imported before an environment is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp

import jaxarc_trace as jt


@dataclass(frozen=True)
class World:
    """An environment to be tried.

    Attributes:
        name: its name in tables.
        module: the library's module, which tells whether it is installed.
        make: what `jt.environment` takes.
        stoa: Stoa's adapter for it, from what `make` gives; None where Stoa has none.
        library: the library's name, as people write it.
    """

    name: str
    module: str
    make: Callable[[], tuple[Any, ...]]
    stoa: Callable[..., Any] | None
    library: str

    @property
    def installed(self) -> bool:
        """Whether the library is there."""
        return find_spec(self.module) is not None


def random_player(env: Any, lanes: int) -> Callable[[jax.Array, Any, Any], Any]:
    """Random actions, legal ones where the state says which are."""
    sample = env.action_space().sample

    def policy(key: jax.Array, state: Any, timestep: Any) -> Any:
        del timestep
        legal = getattr(getattr(state, "base_env_state", state), "legal_action_mask", None)
        if legal is not None:
            return jax.random.categorical(key, jnp.where(legal, 0.0, -1e9)).astype(jnp.int32)
        return jax.vmap(sample)(jax.random.split(key, lanes))

    return policy


def played(env: Any, lanes: int, steps: int, spec: jt.TraceSpec, policy: Any = None) -> Any:
    """A trace of random play, by one jitted scan over a vmapped environment."""
    policy = policy or random_player(env, lanes)

    def program(key: jax.Array) -> Any:
        return jt.rollout(env, policy, key, spec=spec, num_lanes=lanes, num_steps=steps)[1]

    return jax.jit(program)(jax.random.key(0))


def jaxarc() -> World:
    def make() -> tuple[Any, ...]:
        from tests.arc import arc

        return (arc(max_steps=32),)

    return World("point actions, 30 x 30", "jaxarc", make, None, "JaxARC")


def gymnax(name: str) -> World:
    def make() -> tuple[Any, ...]:
        import gymnax

        return gymnax.make(name)

    def stoa(*parts: Any) -> Any:
        from stoa.env_adapters.gymnax import GymnaxToStoa

        return GymnaxToStoa(*parts)

    return World(name, "gymnax", make, stoa, "gymnax")


def xminigrid(name: str) -> World:
    def make() -> tuple[Any, ...]:
        import xminigrid

        return xminigrid.make(name)

    def stoa(*parts: Any) -> Any:
        from stoa.env_adapters.xminigrid import XMiniGridToStoa

        return XMiniGridToStoa(*parts)

    return World(name, "xminigrid", make, stoa, "XLand-MiniGrid")


def jumanji(name: str) -> World:
    def make() -> tuple[Any, ...]:
        import jumanji

        return (jumanji.make(name),)

    def stoa(*parts: Any) -> Any:
        from stoa.env_adapters.jumanji import JumanjiToStoa

        return JumanjiToStoa(*parts)

    return World(name, "jumanji", make, stoa, "Jumanji")


def navix(name: str) -> World:
    def make() -> tuple[Any, ...]:
        import navix

        return (navix.make(name),)

    def stoa(*parts: Any) -> Any:
        from stoa.env_adapters.navix import NavixToStoa

        return NavixToStoa(*parts)

    return World(name, "navix", make, stoa, "Navix")


def brax(name: str, backend: str) -> World:
    def make() -> tuple[Any, ...]:
        from brax import envs

        return (envs.get_environment(name, backend=backend),)

    def stoa(*parts: Any) -> Any:
        from stoa.env_adapters.brax import BraxToStoa

        return BraxToStoa(*parts)

    return World(f"{name}, {backend}", "brax", make, stoa, "Brax")


def pgx(name: str) -> World:
    def make() -> tuple[Any, ...]:
        import pgx

        return (pgx.make(name),)

    def stoa(*parts: Any) -> Any:
        from stoa.env_adapters.pgx import PGXToStoa

        return PGXToStoa(*parts)

    return World(name, "pgx", make, stoa, "Pgx")


def craftax(name: str) -> World:
    def make() -> tuple[Any, ...]:
        from craftax.craftax_env import make_craftax_env_from_name

        return (make_craftax_env_from_name(name, auto_reset=False),)

    return World(name, "craftax", make, None, "Craftax")


def jaxmarl(name: str) -> World:
    def make() -> tuple[Any, ...]:
        import jaxmarl

        return (jaxmarl.make(name),)

    return World(name, "jaxmarl", make, None, "JaxMARL")


def kinetix() -> World:
    def make() -> tuple[Any, ...]:
        from kinetix.environment.env import make_kinetix_env
        from kinetix.environment.env_state import EnvParams, StaticEnvParams
        from kinetix.environment.spaces import ActionType, ObservationType
        from kinetix.environment.ued.ued import make_reset_fn_sample_kinetix_level

        params, static = EnvParams(), StaticEnvParams()
        levels = make_reset_fn_sample_kinetix_level(params, static)
        kinds = ActionType.MULTI_DISCRETE, ObservationType.SYMBOLIC_FLAT
        env = make_kinetix_env(*kinds, levels, params, static, auto_reset=False)
        return env, params

    def stoa(*parts: Any) -> Any:
        from stoa.env_adapters.kinetix import KinetixToStoa

        return KinetixToStoa(*parts)

    return World("random levels", "kinetix", make, stoa, "Kinetix")


WORLDS = (
    jaxarc(),
    gymnax("CartPole-v1"),
    gymnax("Pendulum-v1"),
    gymnax("Breakout-MinAtar"),
    xminigrid("MiniGrid-DoorKey-8x8"),
    jumanji("Snake-v1"),
    navix("Navix-DoorKey-8x8-v0"),
    brax("inverted_pendulum", "generalized"),
    pgx("tic_tac_toe"),
    pgx("minatar-breakout"),
    craftax("Craftax-Classic-Symbolic-v1"),
    jaxmarl("MPE_simple_spread_v3"),
    jaxmarl("overcooked"),
    kinetix(),
)
