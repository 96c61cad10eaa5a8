"""Environments of other libraries, real ones: captured, saved, loaded, stepped again, drawn."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stoa.core_wrappers.vmap import VmapWrapper

import jaxarc_trace as jt
from jaxarc_trace.errors import SpecError
from tests import toy
from tests.worlds import WORLDS, World, played, random_player

LANES, STEPS = 4, 40
SPEC = jt.TraceSpec(max_steps=STEPS, keep={"first": 4, "random": 4})
QUICK = ("CartPole-v1",)


@pytest.fixture(autouse=True)
def _as_other_libraries_need_it() -> Any:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def every_world() -> list[Any]:
    missing = "{} is not installed: pip install 'jaxarc-trace[envs]'"
    return [
        pytest.param(
            world,
            id=f"{world.library} {world.name}",
            marks=[
                pytest.mark.skipif(not world.installed, reason=missing.format(world.library)),
                *([] if world.name in QUICK else [pytest.mark.slow]),
            ],
        )
        for world in WORLDS
        if world.library != "JaxARC"  # which most other tests are about
    ]


@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
@pytest.mark.parametrize("world", every_world())
def test_an_environment_from_capture_to_picture(world: World, tmp_path: Path) -> None:
    env = jt.environment(*world.make())
    assert jt.environment(env) is env
    jt.save(tmp_path / "trace", played(env, LANES, STEPS, SPEC))
    assert jt.verify(tmp_path / "trace").ok
    episodes = jt.load(tmp_path / "trace")
    described = episodes[0].environment
    assert described["name"].startswith(f"{world.module}/")
    assert described["version"] != "unknown"
    for report in jt.replay(list(episodes), env):
        assert report.ok, str(report)
    longest = max(episodes, key=len)
    for picture in (jt.render.step(longest, len(longest) - 1), jt.render.summary(longest)):
        assert "nothing here can be drawn" not in picture.as_svg()


def cartpole() -> Any:
    import gymnax

    return gymnax.make("CartPole-v1")


def test_gymnax_gives_what_its_own_step_gives() -> None:
    """The same keys and actions by gymnax itself, which resets and shows what was before it."""
    inner, params = cartpole()
    env = jt.environment(inner, replace(params, max_steps_in_episode=12))
    trace = played(env, LANES, STEPS, jt.TraceSpec(max_steps=16, keep={"first": 64}))
    episodes = [e for e in jt.Episodes.of(jt.take(trace)) if e.complete]
    assert {bool(e.truncated[-1]) for e in episodes} == {False, True}
    for episode in episodes[:8]:
        state = inner.reset(jax.random.key(0), params)[1]
        names = ("x", "x_dot", "theta", "theta_dot", "time")
        state = replace(state, **{n: jnp.asarray(episode.states[n][0]) for n in names})
        for t, action in enumerate(episode.actions["action"]):
            key = jax.random.fold_in(jnp.asarray(episode.constants["step_key"]), t)
            _, after, reward, terminated, truncated, info = inner.step(
                key, state, jnp.asarray(action), env.params
            )
            # What ends by itself at the limit has ended by itself.
            assert bool(terminated) == episode.terminated[t]
            assert bool(truncated & ~terminated) == episode.truncated[t]
            assert reward == episode.rewards[t]
            end = [episode.states[n][t + 1] for n in names[:4]]
            np.testing.assert_allclose(info["final_observation"], end, rtol=1e-6, atol=1e-6)
            state = after


@pytest.mark.parametrize("kind", ["TraceWrapper", "Stoix"])
def test_stoa_s_wrappers_take_it(kind: str) -> None:
    env = jt.environment(*cartpole())
    traced = jt.TraceWrapper(VmapWrapper(env), SPEC)
    if kind == "Stoix":
        traced = jt.stoix_envs(env, env, spec=SPEC)[0]
    policy = random_player(env, LANES)

    def program(key: jax.Array) -> Any:
        keys = jax.random.split(key, STEPS)
        state, _ = traced.reset(keys[:LANES])
        state, steps = jax.lax.scan(lambda s, k: traced.step(s, policy(k, None, None)), state, keys)
        return jt.detach(traced, state)[1], steps.last().sum()

    trace, ended = jax.jit(program)(jax.random.key(1))
    assert int(jnp.sum(trace.seen)) == int(ended) > 0
    if kind == "TraceWrapper":  # Stoix's wrappers have states of their own, beside it
        for report in jt.replay(list(jt.Episodes.of(jt.take(trace))), env):
            assert report.ok, str(report)


class Walk(NamedTuple):
    at: jax.Array


def start(key: jax.Array, params: Any) -> tuple[Walk, jax.Array]:
    at = jax.random.randint(key, (), 0, params, jnp.int32)
    return Walk(at), at


def move(key: jax.Array, state: Walk, action: jax.Array, params: Any) -> Any:
    at = state.at + action + jax.random.randint(key, (), 0, 2, jnp.int32)
    outcome = {"reward": at * 0.5, "terminated": at > 9, "truncated": at < -9}
    return Walk(at), at + params, outcome


WALK = jt.Environment("walk", start, move, params=3)


def test_two_functions_make_an_environment() -> None:
    def policy(key: jax.Array, state: Any, timestep: Any) -> jax.Array:
        del state
        way = jnp.where(jnp.arange(8) < 4, 1, -3)  # half of the lanes go up, half go down
        return way + jax.random.randint(key, timestep.observation.shape, 0, 2, jnp.int32)

    episodes = jt.Episodes.of(jt.take(played(WALK, 8, 64, SPEC, policy)))
    assert {name for e in episodes for name in e.states} == {"at", "step_key", "step_count"}
    assert episodes[0].constants.keys() == {"step_key"}
    for report in jt.replay(list(episodes), WALK):
        assert report.verdict == "exact", str(report)
    for episode in episodes:
        at = episode.states["at"]
        slips = at[1:] - at[:-1] - episode.actions["action"]
        keys = [jax.random.fold_in(jnp.asarray(episode.constants["step_key"]), t) for t in range(3)]
        drawn = [int(jax.random.randint(key, (), 0, 2, jnp.int32)) for key in keys]
        assert slips[:3].tolist() == drawn[: len(slips)]
        np.testing.assert_array_equal(episode.rewards, at[1:] * 0.5)
        np.testing.assert_array_equal(episode.terminated, at[1:] > 9)
        np.testing.assert_array_equal(episode.truncated, at[1:] < -9)
    ended = [e for e in episodes if e.complete]
    assert {e.outcome for e in ended} == {"terminated", "truncated"}


def test_parameters_of_the_caller_s_replace_its_own() -> None:
    state, timestep = WALK.reset(jax.random.key(0), 1)
    assert int(timestep.observation) == int(state.base_env_state.at) == 0
    _, timestep = WALK.step(state, jnp.int32(5), 100)
    assert int(timestep.observation) >= 105
    assert timestep.mid() & ~timestep.first() & ~timestep.done() & (timestep.discount == 1)


def test_no_random_action_without_a_sampler() -> None:
    with pytest.raises(SpecError, match="walk: a random action was asked for"):
        WALK.action_space()


def test_stoa_s_own_environments_are_given_back() -> None:
    env = toy.ScriptedEnv(toy.example_script((3,)))
    assert jt.environment(env) is env


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        jt.environment(object())
    assert str(caught.value) == (
        "environment: expected an environment of kinetix, craftax, gymnax, jaxmarl, brax, "
        "mujoco_playground, pgx, jumanji, xminigrid, navix, found object of builtins; write "
        "start(key, params) and move(key, state, action, params) and give "
        "Environment(name, start, move)"
    )


def test_an_environment_that_resets_by_itself_is_refused() -> None:
    class GymAutoResetWrapper:
        """As XLand-MiniGrid has one."""

        def __init__(self) -> None:
            self._env = None

    GymAutoResetWrapper.__module__ = "xminigrid.wrappers"
    with pytest.raises(SpecError, match="found GymAutoResetWrapper; leave that wrapper out"):
        jt.environment(GymAutoResetWrapper())
