"""`TraceSpec(record="actions")`: few bytes a step, and the frames come back exactly."""

import functools
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.recreate import with_states
from tests import toy
from tests.arc import SMALL, arc
from tests.test_replay import LIMIT, random_policy

SPEC = jt.TraceSpec(max_steps=8, keep={"best": 2, "random": 3}, capacity=32, recent=16)


@functools.cache
def toy_episodes(record: str, layout: str = "auto") -> jt.Recording:
    env = toy.ScriptedEnv(toy.example_script((16,), seed=2))
    spec = SPEC.replace(record=record, layout=layout)

    def program(key: jax.Array) -> Any:
        return jt.rollout(
            env, toy.numbered, key, spec=spec, num_lanes=4, num_steps=24, probe=toy.probe()
        )[1]

    return jt.take(jax.jit(program)(jax.random.key(0)))


@pytest.mark.parametrize("layout", ["batch", pytest.param("lane", marks=pytest.mark.slow)])
def test_the_frames_come_back_as_they_would_have_been_recorded(tmp_path, layout: str):
    env = toy.ScriptedEnv(toy.example_script((16,), seed=2))
    frames = jt.Episodes.of(toy_episodes("frames", layout))
    path = jt.save(tmp_path / "a", toy_episodes("actions", layout))
    rebuilt = jt.load(path, env=env, probe=toy.probe())
    assert len(rebuilt) == len(frames)
    for one, other in zip(rebuilt, frames, strict=True):
        assert one.states.keys() == other.states.keys()
        for name, value in other.states.items():
            assert np.array_equal(one.states[name], value), name
        assert repr(one) == repr(other)
        assert np.array_equal(one.digests, other.digests)
        assert {n: v.tolist() for n, v in one.constants.items()} == {
            n: v.tolist() for n, v in other.constants.items()
        }


def test_without_the_environment_only_actions_and_the_start_are_there(tmp_path):
    path = jt.save(tmp_path / "a", toy_episodes("actions"))
    episodes = jt.load(path)
    assert episodes.spec["record"] == "actions"
    first = episodes[0]
    assert first.states["digest"].shape == (len(first) + 1,)
    assert "start.time" in first.constants
    assert "time" not in first.states
    # The command line leaves what it has no environment for as it is.
    assert with_states(episodes)[0].states.keys() == first.states.keys()


def test_what_does_not_come_out_as_its_digests_say_is_refused(tmp_path):
    good = toy_episodes("actions")
    records = np.array(good.records)
    offset = good.schema.state.nbytes + next(
        f.offset for f in good.schema.step.fields if f.name == "action.action"
    )
    records[0, offset] ^= 4
    path = jt.save(tmp_path / "a", replace(good, records=records))
    env = toy.ScriptedEnv(toy.example_script((16,), seed=2))
    episodes = jt.load(path, env=env, probe=toy.probe())
    with pytest.raises(jt.StoreError, match=r"step 1, digest: recorded .* give the environment"):
        _ = episodes[0]
    report = jt.replay(jt.load(path)[0], env, probe=toy.probe())
    assert (report.first.step, report.first.leaf) == (1, "digest")


def test_a_dropped_head_cannot_be_rebuilt_and_says_so():
    env = toy.ScriptedEnv(toy.example_script((16,), seed=2, longest=30))
    spec = jt.TraceSpec(max_steps=4, keep="last", capacity=8, record="actions")
    run = jax.jit(
        lambda key: jt.rollout(
            env, toy.numbered, key, spec=spec, num_lanes=2, num_steps=30, probe=toy.probe()
        )[1]
    )
    episodes = jt.Episodes.of(jt.take(run(jax.random.key(1))))
    reports = jt.replay(episodes, env, probe=toy.probe())
    cut = [r for r, e in zip(reports, episodes, strict=True) if e.dropped]
    assert cut
    assert all(
        r.verdict == "unknown" and "no state of it can be rebuilt" in r.notes[0] for r in cut
    )


@pytest.mark.parametrize("action", ["point", "bbox", "flat"])
def test_a_step_takes_less_than_40_bytes(action: str):
    env = arc(SMALL, action=action, max_steps=LIMIT)
    spec = jt.TraceSpec(max_steps=LIMIT, record="actions")
    own = {"point": 12, "bbox": 20, "flat": 4}[action]
    found = spec.memory(env, 4)["record"]
    assert found <= own + 24
    assert found < 40
    assert jt.TraceSpec(max_steps=LIMIT).memory(env, 4)["record"] <= 600 + own


def test_the_spec_refuses_what_makes_no_sense():
    with pytest.raises(jt.SpecError, match="there is no action to record"):
        jt.TraceSpec(level="minimal", record="actions")
    with pytest.raises(jt.SpecError, match="did you mean 'actions'"):
        jt.TraceSpec(record="action")


@pytest.mark.slow
def test_jaxarc_comes_back_exactly_and_small(tmp_path):
    env = arc(SMALL, action="point", max_steps=LIMIT)

    def recorded(record: str) -> jt.Recording:
        spec = jt.TraceSpec(max_steps=LIMIT, keep="last", capacity=64, recent=64, record=record)
        run = jax.jit(
            lambda key: jt.rollout(
                env, random_policy("point"), key, spec=spec, num_lanes=8, num_steps=64
            )[1]
        )
        return jt.take(run(jax.random.key(3)))

    frames, actions = recorded("frames"), recorded("actions")
    assert actions.records.nbytes * 15 < frames.records.nbytes
    path = jt.save(tmp_path / "a", actions)
    rebuilt = jt.load(path, env=env)
    for one, other in zip(rebuilt, jt.Episodes.of(frames), strict=True):
        for name, value in other.states.items():
            assert np.array_equal(one.states[name], value), name
    jt.render.summary(rebuilt[0])
    assert with_states(jt.load(path))[2].states.keys() == rebuilt[2].states.keys()
