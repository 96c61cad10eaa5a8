"""gymnax environments, whose floats differ from program to program, are verified as said."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt

pytest.importorskip("gymnax", reason="gymnax comes with the extra bench")

CASES = ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0")
TOLERANCE = 1e-5


def world(name: str) -> tuple[Any, Any, Any]:
    """A step function, a first state of four lanes and the actions of twenty steps."""
    import gymnax

    env, params = gymnax.make(name)

    def step(state: Any, action: Any) -> Any:
        _, state, reward, done, _ = env.step_env(jax.random.key(0), state, action, params)
        return state, {"reward": jnp.asarray(reward, jnp.float32), "done": done}

    _, state = jax.vmap(lambda key: env.reset_env(key, params))(
        jax.random.split(jax.random.key(1), 4)
    )
    random = np.random.default_rng(0)
    if name == "CartPole-v1":
        actions = random.integers(0, 2, (20, 4)).astype(np.int32)
    else:
        actions = random.uniform(-1, 1, (20, 4, 1)).astype(np.float32)
    return step, state, actions


def recorded(name: str, *, compiled: bool) -> tuple[Any, Any, jt.Episodes]:
    step, state, actions = world(name)
    traced = jt.wrap_step(jax.vmap(step), jt.TraceSpec(max_steps=32, keep="last", capacity=64))
    held = jt.attach(traced, state, actions[0])
    run = jax.jit(traced) if compiled else traced
    for action in actions:
        held, _ = run(held, jnp.asarray(action))
    one = jax.tree.map(lambda leaf: leaf[0], state)
    return step, one, jt.Episodes.of(jt.take(jt.detach(traced, held)[1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("compiled", [True, False])
def test_a_recording_by_another_program_is_exact_or_close_in_every_step(
    name: str, *, compiled: bool
):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        step, state, episodes = recorded(name, compiled=compiled)
        for batch in (None, 1):
            for report in jt.replay(episodes, step, state=state, batch=batch):
                assert report.ok, str(report)
                assert report.steps == report.verified > 0
                if report.mode == "step":
                    assert report.tolerance == TOLERANCE
                    assert max(report.largest.values(), default=0.0) < 1e-6
                    assert report.drift


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES[1:])
def test_a_small_lie_is_found_at_its_step_however_the_floats_drift(name: str):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        step, state, episodes = recorded(name, compiled=False)
        episode = episodes[0]
        field = "theta" if name.startswith("Pendulum") else "position"
        values = np.array(episode.states[field])
        values[9] += np.float32(1e-3)
        changed = replace(episode, states={**episode.states, field: values})
        report = jt.replay(changed, step, state=state)
        assert (report.verdict, report.first.step) == ("diverged", 9)
        assert field in {leaf.leaf for leaf in report.first.leaves}
        # Digests say nothing of real numbers, so nothing is said of whose fault it is.
        assert report.first.cause == ""
