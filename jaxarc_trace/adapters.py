"""Environments of other libraries as `Environment`s, each in a few lines, none of them imported.

Their own step functions are called directly, without their auto-reset, so that the true last state
of an episode is seen. A library is recognised by the modules of the environment's classes.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, PRNGKeyArray, Shaped

from jaxarc_trace.environment import Environment
from jaxarc_trace.errors import SpecError

__all__ = ["KNOWN", "environment"]


class Shared(eqx.Module):
    """A state, and what each agent got for the step that led to it.

    Attributes:
        base_env_state: the environment's own state.
        rewards: float32, by agent; all zero in the first state.
    """

    base_env_state: Any
    rewards: dict[str, Float32[Array, ""]]


def environment(env: Any, params: Any = None, *, name: str | None = None) -> Any:
    """An environment in the form that `rollout`, `TraceWrapper` and `replay` take.

    >>> env = jt.environment(*gymnax.make("CartPole-v1"))

    Known are gymnax, Craftax, Kinetix, JaxMARL, Brax, MuJoCo Playground, Pgx, Jumanji,
    XLand-MiniGrid and Navix. For another write two functions and an `Environment`.

    Args:
        env: a single environment of one of these libraries, without auto-reset; one of JaxARC's or
            Stoa's own is given back as it is.
        params: the environment's parameters, where its library has them; default its own.
        name: what pictures and tables call it; default the library's name and its own.

    Raises:
        SpecError: when the library is not known, or the environment resets by itself.
    """
    if isinstance(env, Environment):
        return env
    roots = [cls.__module__.partition(".")[0] for cls in type(env).__mro__]
    if "jaxarc" in roots or "stoa" in roots:
        return env
    for library, (distribution, adapt) in KNOWN.items():
        if library in roots:
            _refuse_auto_reset(env)
            found = adapt(env, params)
            facts = {"library": library, "version": _version(distribution)}
            facts |= found.pop("facts", {})
            return Environment(name=name or f"{library}/{_name(env)}", facts=facts, **found)
    raise SpecError(
        f"environment: expected an environment of {', '.join(KNOWN)}, found {type(env).__name__} "
        f"of {type(env).__module__}; write start(key, params) and move(key, state, action, params) "
        "and give Environment(name, start, move)"
    )


def _gymnax(env: Any, params: Any) -> dict[str, Any]:
    """gymnax from 0.0.8; since 1.0 a limit of steps is told apart from an end."""
    params = env.default_params if params is None else params

    def start(key: PRNGKeyArray, params: Any) -> Any:
        observation, state = env.reset(key, params)
        return state, observation

    def move(key: PRNGKeyArray, state: Any, action: Any, params: Any) -> Any:
        seen, state, reward, done, _ = env.step_env(key, state, action, params)
        outcome = {"reward": reward, "terminated": done}
        if hasattr(env, "is_truncated"):
            outcome["truncated"] = env.is_truncated(state, params) & ~jnp.asarray(done, jnp.bool_)
        return state, seen, outcome

    sample = env.action_space(params).sample
    return {"start": start, "move": move, "params": params, "sample": sample}


def _craftax(env: Any, params: Any) -> dict[str, Any]:
    """Craftax and Kinetix: gymnax's form, in which a limit of steps is an end like any other."""
    found = _gymnax(env, params)

    def move(key: PRNGKeyArray, state: Any, action: Any, params: Any) -> Any:
        seen, state, reward, done, _ = env.step_env(key, state, action, params)
        return state, seen, {"reward": reward, "done": done}

    return {**found, "move": move}


def _jaxmarl(env: Any, params: Any) -> dict[str, Any]:
    """JaxMARL: the reward is the sum over the agents, whose own are part of the state."""
    del params
    zeros = {agent: jnp.zeros((), jnp.float32) for agent in env.agents}

    def start(key: PRNGKeyArray, params: Any) -> Any:
        del params
        observation, state = env.reset(key)
        return Shared(state, zeros), observation

    def move(key: PRNGKeyArray, state: Shared, action: Any, params: Any) -> Any:
        del params
        seen, following, rewards, dones, _ = env.step_env(key, state.base_env_state, action)
        rewards = {agent: jnp.asarray(rewards[agent], jnp.float32) for agent in env.agents}
        total = jnp.stack(list(rewards.values())).sum()
        return Shared(following, rewards), seen, {"reward": total, "done": dones["__all__"]}

    def sample(key: PRNGKeyArray) -> dict[str, Shaped[Array, "..."]]:
        keys = jax.random.split(key, len(env.agents))
        return {a: env.action_space(a).sample(k) for a, k in zip(env.agents, keys, strict=True)}

    return {"start": start, "move": move, "sample": sample}


def _brax(env: Any, params: Any) -> dict[str, Any]:
    """Brax and MuJoCo Playground: one state that holds the outcome as well."""
    del params

    def start(key: PRNGKeyArray, params: Any) -> Any:
        del params
        state = env.reset(key)
        return state, state.obs

    def move(key: None, state: Any, action: Any, params: Any) -> Any:
        del key, params
        state = env.step(state, action)
        truncated = jnp.asarray(state.info.get("truncation", False)).astype(jnp.bool_)
        outcome = {"reward": state.reward, "done": state.done, "truncated": truncated}
        return state, state.obs, outcome

    def sample(key: PRNGKeyArray) -> Float32[Array, " actuators"]:
        return jax.random.uniform(key, (env.action_size,), jnp.float32, -1.0, 1.0)

    return {"start": start, "move": move, "sample": sample, "keyed": False}


def _pgx(env: Any, params: Any) -> dict[str, Any]:
    """Pgx: the reward is that of the player who moved; all players' are part of the state."""
    del params

    def start(key: PRNGKeyArray, params: Any) -> Any:
        del params
        state = env.init(key)
        return state, state.observation

    def move(key: PRNGKeyArray, state: Any, action: Any, params: Any) -> Any:
        del params
        player = state.current_player
        state = env.step(state, action, key)
        outcome = {
            "reward": state.rewards[player],
            "terminated": state.terminated,
            "truncated": state.truncated,
        }
        return state, state.observation, outcome

    def sample(key: PRNGKeyArray) -> Int32[Array, ""]:
        return jax.random.randint(key, (), 0, env.num_actions, jnp.int32)

    return {"start": start, "move": move, "sample": sample}


def _jumanji(env: Any, params: Any) -> dict[str, Any]:
    """Jumanji: an end with a discount above zero is a limit; agents' rewards are added up."""
    del params

    def start(key: PRNGKeyArray, params: Any) -> Any:
        del params
        state, timestep = env.reset(key)
        return state, timestep.observation

    def move(key: None, state: Any, action: Any, params: Any) -> Any:
        del key, params
        state, timestep = env.step(state, action)
        truncated = jnp.max(timestep.discount) > 0
        outcome = {
            "reward": jnp.sum(timestep.reward),
            "done": timestep.last(),
            "truncated": timestep.last() & truncated,
        }
        return state, timestep.observation, outcome

    def sample(key: PRNGKeyArray) -> Shaped[Array, "..."]:
        return _sampled(env.action_spec, key)

    return {"start": start, "move": move, "sample": sample, "keyed": False}


def _xminigrid(env: Any, params: Any) -> dict[str, Any]:
    """XLand-MiniGrid: the time step holds the state; zero discount is an end, else a limit."""
    params = env.default_params() if params is None else params

    def start(key: PRNGKeyArray, params: Any) -> Any:
        timestep = env.reset(params, key)
        return timestep, timestep.observation

    def move(key: None, state: Any, action: Any, params: Any) -> Any:
        del key
        timestep = env.step(params, state, action)
        outcome = {
            "reward": timestep.reward,
            "done": timestep.last(),
            "truncated": timestep.last() & (timestep.discount > 0),
        }
        return timestep, timestep.observation, outcome

    def sample(key: PRNGKeyArray) -> Int32[Array, ""]:
        return jax.random.randint(key, (), 0, env.num_actions(params), jnp.int32)

    constant = ("state.key", "state.rule_encoding", "state.goal_encoding")
    functions = {"start": start, "move": move, "sample": sample}
    return {
        **functions,
        "params": params,
        "constant": constant,
        "keyed": False,
        **_shows("state.grid"),
    }


def _navix(env: Any, params: Any) -> dict[str, Any]:
    """Navix: the time step holds the state, and the pictures of its cells, which do not change."""
    del params

    def start(key: PRNGKeyArray, params: Any) -> Any:
        del params
        timestep = env.reset(key)
        return timestep, timestep.observation

    def move(key: None, state: Any, action: Any, params: Any) -> Any:
        del key, params
        timestep = env.step(state, action)
        outcome = {
            "reward": timestep.reward,
            "terminated": timestep.is_termination(),
            "truncated": timestep.is_truncation(),
        }
        return timestep, timestep.observation, outcome

    def sample(key: PRNGKeyArray) -> Int32[Array, ""]:
        return jax.random.randint(key, (), 0, len(env.action_set), jnp.int32)

    constant = ("state.cache.patches",)
    functions = {"start": start, "move": move, "sample": sample, "keyed": False}
    return {**functions, "constant": constant, **_shows("observation")}


KNOWN: dict[str, tuple[str, Callable[[Any, Any], dict[str, Any]]]] = {
    # Before gymnax, from whose class Kinetix derives its own.
    "kinetix": ("kinetix-env", _craftax),
    "craftax": ("craftax", _craftax),
    "gymnax": ("gymnax", _gymnax),
    "jaxmarl": ("jaxmarl", _jaxmarl),
    "brax": ("brax", _brax),
    "mujoco_playground": ("playground", _brax),
    "pgx": ("pgx", _pgx),
    "jumanji": ("jumanji", _jumanji),
    "xminigrid": ("xminigrid", _xminigrid),
    "navix": ("navix", _navix),
}
"""Libraries by the name of their module: the distribution, and what makes an environment of one."""


def _shows(field: str) -> dict[str, Any]:
    """The field that the generic picture shows first."""
    return {"facts": {"roles": {"picture": field}}}


def _sampled(spec: Any, key: PRNGKeyArray) -> Any:
    """A random value of a Jumanji spec: a number of choices, or an array within bounds."""
    if hasattr(spec, "num_values"):
        choices = jnp.asarray(spec.num_values, jnp.int32)
        return jax.random.randint(key, choices.shape, 0, choices, jnp.int32)
    low, high = jnp.asarray(spec.minimum), jnp.asarray(spec.maximum)
    return jax.random.uniform(key, spec.shape, spec.dtype, low, high)


def _refuse_auto_reset(env: Any) -> None:
    """An environment that resets by itself hides the last state of every episode."""
    held = env
    while held is not None:
        if "AutoReset" in type(held).__name__ and not hasattr(held, "step_env"):
            raise SpecError(
                f"environment: expected one that does not reset by itself, found "
                f"{type(held).__name__}; leave that wrapper out, the recorder resets"
            )
        below = vars(held).get("_env", vars(held).get("env"))
        held = below if below is not held else None


def _name(env: Any) -> str:
    """What the library itself calls it, or its class."""
    inner = getattr(env, "unwrapped", env)
    for found in (getattr(inner, "id", None), getattr(inner, "name", None)):
        if isinstance(found, str) and found:
            return found
    return type(inner).__name__


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
