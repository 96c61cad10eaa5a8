"""Recordings of step functions, not of environments, are stepped again."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from tests import toy


def positioned(episode: jt.Episode, values: np.ndarray) -> jt.Episode:
    return replace(episode, states={**episode.states, "position": values})


def drifting(state: Any, action: jax.Array) -> tuple[Any, Mapping[str, jax.Array]]:
    position = state["position"] + jnp.float32(0.1) * state["speed"]
    speed = state["speed"] + jnp.sin(3 * position) * jnp.float32(0.01) + action
    done = jnp.zeros((), jnp.bool_)
    return {"position": position, "speed": speed, "time": state["time"] + 1}, {
        "reward": -position,
        "done": done,
    }


@functools.cache
def drifted() -> jt.Episode:
    """Thirty steps of floats."""
    step = jt.wrap_step(drifting, jt.TraceSpec(max_steps=32, keep="last"))
    state = {
        "position": jnp.float32(0.3),
        "speed": jnp.float32(0.2),
        "time": jnp.zeros((), jnp.int32),
    }
    held = jt.attach(step, state, jnp.float32(0))
    for t in range(30):
        held, _ = step(held, jnp.float32(0.01) * jnp.float32(t % 3))
    return jt.Episodes.of(jt.take(jt.detach(step, held)[1]))[0]


STATE = {"position": jnp.float32(0), "speed": jnp.float32(0), "time": jnp.zeros((), jnp.int32)}


def test_floats_that_drift_are_verified_step_by_step_with_a_stated_tolerance():
    episode = drifted()
    # Every state a little off, as another program gives them: a chain cannot reproduce that.
    rng = np.random.default_rng(0)
    noisy = episode.states["position"] * (1 + rng.normal(0, 1e-7, 31).astype(np.float32))
    nearly = positioned(episode, noisy)
    report = jt.replay(nearly, drifting, state=STATE)
    assert (report.verdict, report.mode, report.tolerance) == ("close", "step", 1e-5)
    assert 0 < report.largest["position"] < 1e-6
    assert report.drift["position"] > 0
    assert "each of 30 steps within 1e-05" in str(report)
    off = noisy.copy()
    off[12] += np.float32(1e-3)
    report = jt.replay(positioned(episode, off), drifting, state=STATE)
    assert (report.verdict, report.first.step) == ("diverged", 12)
    assert report.first.leaf == "position"
    chained = jt.replay(nearly, drifting, state=STATE, mode="chain")
    assert (chained.verdict, chained.mode) == ("diverged", "chain")


def test_a_step_that_resets_by_itself_is_replayed_with_what_is_before_the_reset(tmp_path: Path):
    def step(state: Any, action: Any) -> Any:
        x = state["x"] + action
        done = jnp.abs(x) >= 3
        outcome = {"reward": x.astype(jnp.float32), "done": done, "last": {"x": x}}
        return {"x": jnp.where(done, 0, x)}, outcome

    def last(_: Any, outcome: Any) -> Any:
        return outcome["last"]

    spec = jt.TraceSpec(max_steps=16, keep={"first": 4})
    wrapped = jt.wrap_step(step, spec, terminal=last)
    zeros = jnp.zeros(2, jnp.int32)
    state = jt.attach(wrapped, {"x": zeros}, zeros)
    moves = jnp.asarray([[1, -1]] * 3 + [[-1, 1]] * 3, jnp.int32)
    state, _ = jax.jit(lambda s: jax.lax.scan(wrapped, s, moves))(state)
    episodes = list(jt.load(jt.save(tmp_path / "store", jt.detach(wrapped, state)[1])))
    assert [episode.states["x"].tolist() for episode in episodes[:2]] == [
        [0, 1, 2, 3],
        [0, -1, -2, -3],
    ]
    example = {"x": jnp.zeros((), jnp.int32)}
    for env, options in ((wrapped, {}), (step, {"terminal": last})):
        reports = jt.replay(episodes, env, state=example, **options)
        assert [report.verdict for report in reports] == ["exact"] * len(episodes)
    assert {report.verdict for report in jt.replay(episodes, step, state=example)} == {"diverged"}
    digests = np.uint32(episodes[0].digests) ^ np.uint32(1)
    wrong = jt.replay(replace(episodes[0], digests=digests), wrapped, state=example)
    # All digits: as a rounded real number two digests can look the same.
    recorded, found = int(digests[0]), int(episodes[0].digests[0])
    assert str(wrong.first.leaves[0]) == f"digest: recorded {recorded}, found {found}"
    with pytest.raises(jt.SpecError, match="terminal: expected with a step function only"):
        jt.replay(episodes[0], toy.ScriptedEnv(toy.example_script((5,))), terminal=last)
