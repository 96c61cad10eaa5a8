"""Stoix's pair of environments and its evaluator: the same episodes, and a trace of them."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stoa.core_wrappers.auto_reset import AutoResetWrapper
from stoa.core_wrappers.episode_metrics import RecordEpisodeMetrics
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey

import jaxarc_trace as jt
from jaxarc_trace.errors import SpecError
from tests import toy

LANES, STEPS = 5, 40
ENV = toy.ScriptedEnv(toy.example_script((11,)))
SPEC = jt.TraceSpec(max_steps=8, keep={"best": 4, "first": 60}, capacity=80)


@pytest.fixture(autouse=True)
def _as_stoa_needs_it() -> Any:
    # Stoa's RecordEpisodeMetrics multiplies floats by flags.
    with jax.numpy_dtype_promotion("standard"):
        yield


def _played(env: Any) -> tuple[Any, Any]:
    keys = jax.random.split(jax.random.key(4), LANES)

    def body(state: Any, action: Any) -> Any:
        return env.step(state, action)

    @jax.jit
    def run() -> Any:
        state, _ = env.reset(keys)
        actions = jnp.arange(STEPS * LANES, dtype=jnp.int32).reshape(STEPS, LANES)
        return jax.lax.scan(body, state, actions)

    return run()


def _stoix_chain(env: Any) -> Any:
    env = RecordEpisodeMetrics(AddRNGKey(env))
    return VmapWrapper(AutoResetWrapper(env, next_obs_in_extras=True))


def test_training_sees_what_it_sees_untraced() -> None:
    train, evaluation = jt.stoix_envs(ENV, ENV, spec=SPEC, probe=toy.probe())
    assert evaluation is ENV
    (state, ours), (_, theirs) = _played(train), _played(_stoix_chain(ENV))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(left, right)
    assert {"next_obs", "episode_metrics"} <= set(ours.extras)
    # Every episode that Stoix's metrics count is in the trace, with its return and length.
    columns = jt.take(jt.detach(train, state)[1]).columns
    metrics = jax.tree.map(np.asarray, ours.extras["episode_metrics"])
    found = 0
    for row in np.flatnonzero(columns["complete"]):
        place = columns["end_step"][row], columns["lane"][row]
        assert metrics["is_terminal_step"][place]
        assert metrics["episode_return"][place] == columns["total_return"][row]
        assert metrics["episode_length"][place] == columns["kept"][row] + columns["dropped"][row]
        found += 1
    assert found == metrics["is_terminal_step"].sum() > LANES


def test_off_is_stoix_s_own_chain() -> None:
    train, _ = jt.stoix_envs(ENV, ENV, spec=jt.TraceSpec(level="off"))
    assert repr(train).startswith("VmapWrapper(AutoResetWrapper(RecordEpisodeMetrics(AddRNGKey(")
    (state, ours), (end, theirs) = _played(train), _played(_stoix_chain(ENV))
    assert jax.tree.structure((state, ours)) == jax.tree.structure((end, theirs))
    assert jt.detach(train, state)[1] is None


def _act(params: Any, observation: Any, key: jax.Array) -> jax.Array:
    noise = jax.random.bits(key, observation["time"].shape, jnp.uint32).astype(jnp.int32)
    return observation["time"] + params + noise % 7


@cache
def _evaluated(level: Any = "standard", steps: int = STEPS) -> jt.Evaluation:
    spec = SPEC.replace(level=level)
    evaluate = jt.stoix_evaluator(
        ENV, _act, spec=spec, num_episodes=LANES, num_steps=steps, probe=toy.probe()
    )
    return jax.jit(evaluate)(jnp.int32(3), jax.random.key(9))


def test_metrics_are_those_of_the_first_episode_of_each_lane() -> None:
    found = _evaluated()
    columns = jt.take(found.trace).columns
    first = np.flatnonzero(columns["number"] == 0)
    lanes = columns["lane"][first]
    assert sorted(lanes.tolist()) == list(range(LANES))
    metrics = found.episode_metrics
    assert metrics["finished"].all()
    lengths = columns["kept"][first] + columns["dropped"][first]
    np.testing.assert_array_equal(metrics["episode_length"][lanes], lengths)
    np.testing.assert_array_equal(metrics["episode_return"][lanes], columns["total_return"][first])
    assert len(columns["lane"]) > LANES


def test_an_episode_that_does_not_finish_says_so() -> None:
    metrics = _evaluated("off", steps=2).episode_metrics
    assert not metrics["finished"].all()
    assert (metrics["episode_length"][~metrics["finished"]] == 2).all()


def test_the_metrics_are_the_same_without_a_trace() -> None:
    off, on = _evaluated("off"), _evaluated()
    assert off.trace is None
    for name, values in off.episode_metrics.items():
        np.testing.assert_array_equal(values, on.episode_metrics[name])


def test_metrics_are_those_of_a_while_loop_an_episode() -> None:
    """Stoix's way: each lane steps until its episode ends, and the actions play no part in that."""
    found = _evaluated("off")
    key = jax.random.key(9)
    # The keys that `rollout` gives its first resets.
    base = jax.random.fold_in(jax.random.split(key)[0], 0)
    for lane in range(LANES):
        state, timestep = ENV.reset(jax.random.fold_in(base, lane))
        total, length = 0.0, 0
        while not timestep.last():
            state, timestep = ENV.step(state, jnp.int32(0))
            total, length = total + float(timestep.reward), length + 1
        assert float(found.episode_metrics["episode_return"][lane]) == total
        assert int(found.episode_metrics["episode_length"][lane]) == length


@pytest.mark.parametrize("name", ["num_episodes", "num_steps"])
def test_a_number_below_one_is_refused(name: str) -> None:
    numbers = {"num_episodes": 1, "num_steps": 1, name: 0}
    with pytest.raises(SpecError, match=f"{name}: expected at least 1, found 0"):
        jt.stoix_evaluator(ENV, _act, spec=SPEC, **numbers)
