"""`keep="trigger"`: the ring stops around the step at which a condition came to hold, exactly."""

import functools
import importlib.util
import sys
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxarc_trace as jt
from jaxarc_trace import triggers
from tests import toy
from tests.histories import own_action, own_history, rollout_history
from tests.imports import ROOT
from tests.oracle import History, _check_row, _check_transitions, expected

LANES, STEPS = 3, 30


def late(moment: triggers.Moment) -> jax.Array:
    """In lane 1, once its episode has taken five steps."""
    return (moment.state.lane == 1) & (moment.stats.length >= 5)


EVERY = triggers.nan | triggers.reward_spike(above=3.0) | triggers.first_solve
TRIGGERS = {
    "nan, spike or solve": jt.Trigger(EVERY, before=5, after=3),
    "nothing around it": jt.Trigger(triggers.reward_spike(above=3.0), before=0, after=0),
    "relative spike": jt.Trigger(triggers.reward_spike(2.0, warmup=4), before=4, after=2),
    "first solve, longer than all": jt.Trigger(triggers.first_solve, before=40, after=1),
    "a function": jt.Trigger(late, before=2, after=6),
}


def spec_of(trigger: jt.Trigger, **fields: Any) -> jt.TraceSpec:
    return jt.TraceSpec(keep="trigger", trigger=trigger, **fields)


@functools.cache
def program(spec: jt.TraceSpec, steps: int = STEPS, *, split: bool = False) -> Any:
    """The caller's own loop; with `split` in two calls, between which the trace is taken out."""
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())

    def run(script: toy.Script) -> Any:
        def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
            carry, outcome = step(carry, own_action(index, carry.state.lane))
            over = outcome["terminated"] | outcome["truncated"]
            return replace(carry, state=toy.restarted(script, carry.state, over)), None

        lane = jnp.arange(len(script.length), dtype=jnp.int32)
        carry = jt.attach(step, toy.lane_states(script, lane), lane)
        index = jnp.arange(steps, dtype=jnp.int32)
        if split:
            carry, _ = jax.lax.scan(body, carry, index[: steps // 2])
            index = index[steps // 2 :]
        return jt.detach(step, jax.lax.scan(body, carry, index)[0])[1]

    return jax.jit(run)


def held(trigger: jt.Trigger, history: History) -> np.ndarray:
    """bool `[step, lane, condition]`: where each condition holds, in NumPy."""
    return np.stack([_held(part, history) for part in parts(trigger)], axis=-1)


def parts(trigger: jt.Trigger) -> tuple[Any, ...]:
    return trigger.when.parts if isinstance(trigger.when, triggers.AnyOf) else (trigger.when,)


def _held(part: Any, history: History) -> np.ndarray:
    reward = history.reward
    if isinstance(part, triggers.NotANumber):
        # The toy's state holds the reward of its episode, and a mark.
        found = np.isnan(reward)
        for fields in (history.before,):
            for values in fields.values():
                if values.dtype.kind == "f":
                    found = found | np.isnan(values)
        return found
    if isinstance(part, triggers.Solved):
        solved = history.before["row.kind"] == toy.SOLVED
        return history.terminated & solved
    if isinstance(part, triggers.Own):
        start = history.before["time"] + 1 >= 5
        return start & (history.lane[None] == 1)
    size = np.abs(reward)
    if part.times is None:
        return size > np.float32(part.above)
    total, count = np.zeros(len(history.lane), np.float32), np.zeros(len(history.lane), np.int32)
    rows = []
    for row in size:
        with np.errstate(invalid="ignore"):
            over = row * count.astype(np.float32) > total * np.float32(part.times)
        rows.append(over & (count >= part.warmup))
        finite = np.isfinite(row)
        total = total + np.where(finite, row, np.float32(0))
        count = count + finite
    return np.stack(rows)


def check_box(recording: jt.Recording, spec: jt.TraceSpec, history: History) -> None:
    """Asserts that a recording is what the box of these lanes held when it stopped."""
    trigger = spec.trigger
    assert trigger is not None
    found = held(trigger, history)
    steps = np.flatnonzero(found.any(axis=(1, 2)))
    fired = int(steps[0]) if len(steps) else None
    seen = history if fired is None else history.until(fired + trigger.after + 1)
    ring = jt.TraceSpec(
        keep="last", max_steps=trigger.steps, capacity=trigger.steps, recent=spec.recent
    )
    wanted = expected(ring, seen)
    columns = recording.columns
    inside = np.isin(columns["lane"], history.lane)
    for index in np.flatnonzero(inside):
        identity = int(columns["lane"][index]), int(columns["number"][index])
        kept = wanted.pop(identity)
        column = kept.past.column
        stop = kept.past.start + kept.length
        culprit = (
            fired is not None
            and bool(found[fired, column].any())
            and stop - kept.kept <= fired < stop
        )
        kept.by |= {"trigger"} if culprit else set()
        row = {name: values[index] for name, values in columns.items()}
        _check_row(row, kept, recording.policies)
        _check_transitions(recording, int(index), kept, seen)
        assert row["metric.trigger_step"] == (fired - kept.past.start + 1 if culprit else 0)
    assert not wanted
    told = [e for e in recording.spec["trigger"]["fired"] if e["lane"] in history.lane]
    assert told == [
        {"step": fired, "lane": int(lane), "conditions": conditions}
        for lane, holds in zip(
            history.lane, found[fired] if fired is not None else (), strict=False
        )
        if (conditions := [n for n, h in zip(trigger.when.names, holds, strict=True) if h])
    ]


@st.composite
def scripts(draw: Any) -> toy.Script:
    script = toy.example_script((LANES, STEPS + 1), draw(st.integers(0, 1000)))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    odd = draw(st.lists(st.sampled_from([np.nan, 4.0, -4.0, 2.5, np.inf, 0.0]), max_size=4))
    for value in odd:
        script.value[random.integers(LANES), random.integers(STEPS // 3)] = value
    if not draw(st.booleans()):
        script.kind[:] = np.where(script.kind == toy.SOLVED, toy.FAILED, script.kind)
    return script


QUICK = ("nan, spike or solve", "relative spike", "a function")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in TRIGGERS]
)
@settings(max_examples=25)
@given(script=scripts())
def test_all_lanes_stop_together_and_hold_the_window(name: str, script: toy.Script):
    spec = spec_of(TRIGGERS[name])
    recording = jt.take(program(spec)(script))
    check_box(recording, spec, own_history(script, STEPS))
    assert recording.spec["steps_seen"] == STEPS


@pytest.mark.parametrize(
    "name", ["nan, spike or solve", pytest.param("relative spike", marks=pytest.mark.slow)]
)
@settings(max_examples=15)
@given(script=scripts())
def test_with_a_box_a_lane_each_stops_by_itself(name: str, script: toy.Script):
    spec = spec_of(TRIGGERS[name], layout="lane")
    recording = jt.take(program(spec)(script))
    history = own_history(script, STEPS)
    for lane in range(LANES):
        check_box(recording, spec, history.lanes(lane + 1, lane))


def example(seed: int = 1) -> toy.Script:
    """NaN in lane 2 in the fourth episode, and no other odd reward."""
    script = toy.example_script((LANES, STEPS + 1), seed)
    script.value[2, 3] = np.nan
    script.kind[:] = toy.TRUNCATED
    return script


SPEC = spec_of(TRIGGERS["nan, spike or solve"])


def test_it_stays_stopped_when_the_loop_goes_on():
    script = example()
    once = jt.take(program(SPEC)(script))
    for other in (jt.take(program(SPEC, split=True)(script)), jt.take(program(SPEC, 29)(script))):
        same(other, once)
    assert len(once.spec["trigger"]["fired"]) == 1


@pytest.mark.slow
def test_under_the_callers_own_vmap_each_lane_stops_by_itself():
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
    script = example()

    def one(lane: jax.Array) -> Any:
        def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
            carry, outcome = step(carry, own_action(index, carry.state.lane))
            over = outcome["terminated"] | outcome["truncated"]
            return replace(carry, state=toy.restarted(script, carry.state, over)), None

        carry = jt.attach(step, toy.lane_states(script, lane), lane, lane=lane)
        index = jnp.arange(STEPS, dtype=jnp.int32)
        return jt.detach(step, jax.lax.scan(body, carry, index)[0])[1]

    trace = jax.jit(jax.vmap(one))(jnp.arange(LANES, dtype=jnp.int32))
    history = own_history(script, STEPS)
    for lane in range(LANES):
        check_box(jt.take(trace), SPEC, history.lanes(lane + 1, lane))


@pytest.mark.parametrize("traced", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_in_a_rollout_the_window_ends_with_true_states(traced: int | None):
    env = toy.ScriptedEnv(toy.example_script((9,), 4))
    trigger = jt.Trigger(triggers.first_solve, before=6, after=2)
    spec = spec_of(trigger, lanes=traced)
    key = jax.random.key(3)
    run = jax.jit(
        lambda k: jt.rollout(
            env, toy.numbered, k, spec=spec, num_lanes=4, num_steps=25, probe=toy.probe()
        )[1]
    )
    history = rollout_history(env, toy.numbered, 4, 25)(key, env.script).lanes(traced or 4)
    assert held(trigger, history).any()
    check_box(jt.take(run(key)), spec, history)


@pytest.mark.slow
def test_a_box_that_is_closing_when_the_loop_ends_is_read_like_any_ring():
    script = example()
    fired = int(jt.take(program(SPEC)(script)).spec["trigger"]["fired"][0]["step"])
    for steps in range(fired + 1, fired + SPEC.trigger.after + 2):
        recording = jt.take(program(SPEC, steps)(script))
        check_box(recording, SPEC, own_history(script, steps))


def same(left: jt.Recording, right: jt.Recording) -> None:
    assert {**left.spec, "steps_seen": 0} == {**right.spec, "steps_seen": 0}
    for name in left.columns:
        np.testing.assert_array_equal(left.columns[name], right.columns[name], name)
    for name in ("constants", "finals", "records"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)


def test_lanes_over_devices_stop_together_under_jit_and_apart_under_shard_map():
    lanes, spec = 8, SPEC
    script = toy.example_script((lanes, STEPS + 1), 1)
    script.kind[:] = toy.TRUNCATED
    script.value[5, 2] = np.nan
    mesh = jax.make_mesh((8,), ("lanes",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("lanes"))
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())

    def loop(state: Any) -> Any:
        def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
            carry, outcome = step(carry, own_action(index, carry.state.lane))
            over = outcome["terminated"] | outcome["truncated"]
            return replace(carry, state=toy.restarted(script, carry.state, over)), None

        carry = jt.attach(step, state, state.lane, lane=state.lane)
        index = jnp.arange(STEPS, dtype=jnp.int32)
        return jt.detach(step, jax.lax.scan(body, carry, index)[0])[1]

    state = toy.lane_states(script, jnp.arange(lanes, dtype=jnp.int32))
    alone = jt.take(program(spec)(script))
    assert len(alone.spec["trigger"]["fired"]) == 1
    same(jt.take(jax.jit(loop)(jax.device_put(state, split))), alone)
    specs = jt.partition_specs(jax.eval_shape(loop, state), "lanes")
    mapped = jax.shard_map(
        loop, mesh=mesh, in_specs=PartitionSpec("lanes"), out_specs=specs, check_vma=False
    )
    apart = jt.take(jax.jit(mapped)(state))
    history = own_history(script, STEPS)
    for lane in range(lanes):
        check_box(apart, spec, history.lanes(lane + 1, lane))


@pytest.mark.parametrize(
    ("stopped", "quiet"), [(STEPS, 20), pytest.param(20, STEPS, marks=pytest.mark.slow)]
)
def test_boxes_of_different_lanes_merge_each_with_its_own_stop(stopped: int, quiet: int):
    script = toy.example_script((LANES, STEPS + 1), 2)
    script.kind[:] = toy.TRUNCATED
    left = program(SPEC, stopped)(example())
    right = program(SPEC, quiet)(script)
    right = replace(right, lane=right.lane + LANES)
    merged = jt.take(jax.jit(jt.merge)(left, right))
    beside = own_history(script, quiet)
    both = own_history(example(), stopped).beside(replace(beside, lane=beside.lane + LANES))
    check_box(merged, SPEC, both.lanes(LANES))
    check_box(merged, SPEC, both.lanes(2 * LANES, LANES))
    assert len(merged.spec["trigger"]["fired"]) == 1


def test_saved_and_loaded_an_episode_says_why_it_is_there(tmp_path):
    trace = program(SPEC)(example())
    episodes = jt.load(jt.save(tmp_path / "box", trace, {"note": "nan"}))
    (culprit,) = [e for e in episodes if "trigger" in e.kept_by]
    (event,) = episodes.spec["trigger"]["fired"]
    assert event == {"step": event["step"], "lane": 2, "conditions": ["nan"]}
    assert (culprit.lane, culprit.kept_by) == (2, ("trigger", "last"))
    t = int(culprit.metrics["trigger_step"]) - 1 - culprit.dropped
    assert np.isnan(culprit.rewards[t])
    assert episodes.spec["trigger"]["before"] == 5
    others = [e for e in episodes if e is not culprit and e.lane != 2]
    assert {e.kept_by for e in others} == {("last",)}
    assert {e.metrics["trigger_step"] for e in others} == {0}


def test_a_trace_without_a_trigger_has_not_one_array_of_it():
    trace = jax.eval_shape(program(jt.TraceSpec(keep="last", max_steps=4)), example())
    assert trace.box is None
    assert trace.ring[0].shape[0] == trace.plan.spec.ring_steps


def test_a_spec_with_a_trigger_is_a_value():
    spec = jt.TraceSpec(keep="trigger", trigger=jt.Trigger(triggers.nan | late, before=7, after=2))
    again = jt.TraceSpec(keep="trigger", trigger=jt.Trigger(triggers.nan | late, before=7, after=2))
    assert spec == again
    assert hash(spec) == hash(again)
    assert (spec.capacity, spec.recent_episodes, spec.policy_names) == (10, 10, ("trigger",))
    assert spec.describe()["trigger"] == {"when": ["nan", "late"], "before": 7, "after": 2}
    assert spec.replace(lanes=2).capacity == 10
    assert spec.replace(trigger=jt.Trigger(late, before=1, after=1)).recent_episodes == 3
    assert spec.replace(trigger=None).describe() == jt.TraceSpec(keep="last").describe()
    assert (late | triggers.nan).names == ("late", "nan")


def test_a_function_has_to_answer_for_each_lane():
    def anywhere(moment: triggers.Moment) -> jax.Array:
        return (moment.reward > 1).any()

    spec = spec_of(jt.Trigger(anywhere))
    with pytest.raises(jt.SpecError, match=r"'anywhere' should say for each lane .* bool \[3\]"):
        program(spec)(example())


def test_first_solve_needs_a_probe_that_knows_success():
    spec = spec_of(jt.Trigger(triggers.first_solve))
    step = jt.wrap_step(toy.scripted_step, spec)
    lane = jnp.arange(LANES, dtype=jnp.int32)
    with pytest.raises(jt.SpecError, match="first_solve needs to know what success is"):
        jt.attach(step, toy.lane_states(example(), lane), lane)


@pytest.mark.slow
def test_the_example_finds_the_lane_and_the_step(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("black_box", ROOT / "examples" / "black_box.py")
    assert spec is not None
    assert spec.loader is not None
    example_module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example_module)
    monkeypatch.setattr(sys, "argv", ["black_box.py", "--out", str(tmp_path / "box")])
    example_module.main()
    said = capsys.readouterr().out
    (first,) = [line for line in said.splitlines() if line.endswith("<- the first NaN")]
    assert "nan" in first
    rows = [line.split() for line in said.splitlines() if line[:5].strip().isdecimal()]
    # The lane's episode goes on after it as far as the window does.
    assert [row[4] for row in rows[:-3]].count("nan") == 0
    assert len(rows) <= example_module.BEFORE + 1 + example_module.AFTER
    episodes = jt.load(tmp_path / "box")
    assert {e.lane for e in episodes} == set(range(example_module.LANES))
