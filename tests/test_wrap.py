"""Traced steps and wrapped environments: what goes in, what comes out, and what is refused."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stoa.core_wrappers.auto_reset import AutoResetWrapper
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey, Wrapper, WrapperState, wrapper_state_replace
from stoa.stoa_struct import dataclass

import jaxarc_trace as jt
from jaxarc_trace.errors import SchemaError, SpecError
from tests import toy
from tests.histories import own_action, own_history
from tests.oracle import check

LANES, STEPS = 3, 20
SPEC = jt.TraceSpec(keep="best", slots=2, max_steps=4, capacity=STEPS, recent=STEPS)
RING = jt.TraceSpec(keep="last", max_steps=7, capacity=STEPS, recent=STEPS)
SINGLE = jt.TraceSpec(keep="first", slots=STEPS, max_steps=7)
SCRIPT = toy.example_script((LANES, STEPS + 1), 9)
LANE = jnp.arange(LANES, dtype=jnp.int32)
ENV = toy.ScriptedEnv(toy.example_script((6,), 9))


def begun(step: Any, **fields: Any) -> Any:
    return jt.attach(step, toy.lane_states(SCRIPT, LANE), LANE, **fields)


# A step of the caller's own.


def resetting_step(state: toy.LaneState, action: jax.Array) -> tuple[toy.LaneState, Any]:
    """Resets by itself, and tells the state before that."""
    after, outcome = toy.scripted_step(state, action)
    over = outcome["terminated"] | outcome["truncated"]
    return toy.restarted(SCRIPT, after, over), {**outcome, "after": after}


def test_a_step_that_resets_by_itself_says_what_the_state_before_the_reset_was():
    step = jt.wrap_step(
        resetting_step, SPEC, probe=toy.probe(), terminal=lambda _, outcome: outcome["after"]
    )

    def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
        return step(carry, own_action(index, carry.state.lane))[0], None

    @jax.jit
    def run() -> Any:
        carry, _ = jax.lax.scan(body, begun(step), jnp.arange(STEPS, dtype=jnp.int32))
        return jt.detach(step, carry)

    state, trace = run()
    assert isinstance(state, toy.LaneState)
    check(jt.take(trace), SPEC, own_history(SCRIPT, STEPS))


def test_what_the_step_returns_and_is_given_is_passed_on():
    def step(state: Any, action: jax.Array, scale: jax.Array, *, shift: jax.Array) -> Any:
        state, outcome = toy.scripted_step(state, action)
        return state, {**outcome, "reward": outcome["reward"] * scale + shift, "note": shift}

    traced = jt.wrap_step(step, SPEC, probe=toy.probe())
    scale, shift = jnp.float32(2), jnp.float32(1)

    @jax.jit
    def run() -> Any:
        carry = jt.attach(traced, toy.lane_states(SCRIPT, LANE), LANE, scale, shift=shift)
        carry, outcome = traced(carry, LANE, scale, shift=shift)
        return *jt.detach(traced, carry), outcome

    state, trace, outcome = run()
    plain, expected = step(toy.lane_states(SCRIPT, LANE), LANE, scale, shift=shift)
    assert outcome.keys() == expected.keys()
    for got, want in zip(jax.tree.leaves(outcome), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(got, want)
    for got, want in zip(jax.tree.leaves(state), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(got, want)
    rewards = [float(reward) for _, reward in recorded(trace)]
    assert rewards == np.asarray(expected["reward"]).tolist()


def recorded(trace: Any) -> list[tuple[int, np.float32]]:
    """Lane and return of every episode that a trace holds."""
    columns = jt.take(trace).columns
    return list(zip(columns["lane"].tolist(), columns["total_return"], strict=True))


def test_lanes_have_the_identities_that_attach_was_given():
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
    lane = np.array([7, 3, 12])
    trace = jax.jit(lambda: jt.detach(step, step(begun(step, lane=lane), LANE)[0])[1])()
    assert [lane for lane, _ in recorded(trace)] == [3, 7, 12]


def test_attach_needs_only_the_shapes_of_an_action():
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
    shape = jax.ShapeDtypeStruct((LANES,), jnp.int32)
    carry = jax.eval_shape(lambda: jt.attach(step, toy.lane_states(SCRIPT, LANE), shape))
    assert carry == jax.eval_shape(lambda: begun(step))
    with pytest.raises(SpecError, match="found one that has been attached"):
        jt.attach(step, begun(step), shape)


def test_the_default_probe_records_every_leaf_of_the_state():
    step = jt.wrap_step(toy.scripted_step, SPEC)
    trace = jax.eval_shape(lambda: begun(step)).trace
    names = {field.name for field in trace.plan.schema.state.fields}
    assert {"episode.time", "episode.last", "episode.path", "episode.row.mark", "lane"} <= names


def test_a_traced_step_refuses_a_state_without_a_trace():
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
    with pytest.raises(jt.SpecError, match=r"found LaneState; call jt.attach\(step, state, action"):
        step(toy.lane_states(SCRIPT, LANE), LANE)


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        ({"reward": jnp.zeros(LANES)}, "found dict"),
        ({"done": jnp.zeros(LANES, bool)}, "found dict"),
        ((jnp.zeros(LANES), jnp.zeros(LANES, bool)), "found tuple"),
    ],
)
def test_an_outcome_must_hold_reward_and_end(outcome, found):
    step = jt.wrap_step(lambda state, _: (state, outcome), SPEC)
    with pytest.raises(jt.SchemaError, match=rf"has `reward` and `terminated`.*{found}; return"):
        begun(step)


def test_reward_and_flags_must_have_the_same_single_axis():
    outcome = {"reward": jnp.zeros((LANES, 2)), "done": jnp.zeros(LANES, bool)}
    step = jt.wrap_step(lambda state, _: (state, outcome), SPEC)
    with pytest.raises(jt.SchemaError, match=r"found \[3, 2\], \[3\] and \[3\]; vmap over further"):
        begun(step)


def test_a_field_without_the_lane_axis_is_named():
    def step(state: Any, action: jax.Array) -> Any:
        after, outcome = toy.scripted_step(state["lanes"], action)
        return {**state, "lanes": after}, outcome

    traced = jt.wrap_step(step, SPEC)
    state = {"lanes": toy.lane_states(SCRIPT, LANE), "level": jnp.zeros(5)}
    with pytest.raises(jt.SchemaError, match=r"field 'level' has shape \[5\].* 3 lanes"):
        jt.attach(traced, state, LANE)


def test_a_dtype_that_changes_between_steps_is_named():
    def cast(state: Any, action: jax.Array) -> Any:
        return toy.scripted_step(state, action.astype(jnp.int32))

    step = jt.wrap_step(cast, SPEC, probe=toy.probe())
    with pytest.raises(jt.SchemaError, match=r"'action.action': expected int32.*found int16"):
        jax.eval_shape(lambda: step(begun(step), LANE.astype(jnp.int16)))


def test_failed_needs_to_know_what_success_is():
    step = jt.wrap_step(toy.scripted_step, SPEC.replace(keep="failed"))
    with pytest.raises(jt.SpecError, match="this probe does not define; give GenericProbe"):
        begun(step)


@pytest.mark.parametrize(
    ("lane", "found"),
    [(np.arange(2), r"int32 \[2\]"), (5, r"int32 \[\]"), (np.zeros(3), r"float32 \[3\]")],
)
def test_identities_of_another_shape_or_dtype_are_refused(lane, found):
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
    with pytest.raises(jt.SpecError, match=rf"int32 \[3\], found {found}; give one as"):
        begun(step, lane=lane)


def test_a_trace_inside_jit_is_not_taken():
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
    with pytest.raises(jt.SchemaError, match="found one inside jit; return the trace from"):
        jax.jit(lambda: jt.take(begun(step).trace))()


# A wrapped environment.


@dataclass(custom_replace_fn=wrapper_state_replace)
class CountState(WrapperState):
    steps: jax.Array


class Counted(Wrapper[Any]):
    """Any wrapper outside the one that records."""

    def reset(self, rng_key: jax.Array, env_params: Any = None) -> Any:
        state, timestep = self._env.reset(rng_key, env_params)
        return CountState(state, jnp.zeros(LANES, jnp.int32)), timestep

    def step(self, state: Any, action: Any, env_params: Any = None) -> Any:
        inner, timestep = self._env.step(state.base_env_state, action, env_params)
        return CountState(inner, state.steps + 1), timestep


class Batched(toy.ScriptedEnv):
    """A batch by itself: one key resets all lanes, and no wrapper of Stoa's is involved."""

    def reset(self, rng_key: jax.Array, env_params: Any = None) -> Any:
        keys = jax.random.split(rng_key, LANES)
        return jax.vmap(super().reset, in_axes=(0, None))(keys, env_params)

    def step(self, state: Any, action: Any, env_params: Any = None) -> Any:
        return jax.vmap(super().step, in_axes=(0, 0, None))(state, action, env_params)


def play(env: Any, key: jax.Array, steps: int = STEPS, params: Any = None) -> tuple[Any, Any]:
    """The state at the end, and every time step."""

    def body(carry: Any, word: jax.Array) -> Any:
        state, before = carry
        state, timestep = env.step(state, toy.numbered(word, state, before), params)
        timestep = jax.tree.map(lambda new, old: new.astype(old.dtype), timestep, before)
        return (state, timestep), timestep

    @jax.jit
    def run(key: jax.Array) -> Any:
        words = jax.random.split(jax.random.key(1), steps)
        carry, timesteps = jax.lax.scan(body, env.reset(key, params), words)
        return carry[0], timesteps

    return run(key)


def ends(timesteps: Any) -> list[list[int]]:
    """Steps at which each lane's episodes ended."""
    last = np.asarray(timesteps.last()).reshape(STEPS, -1)
    return [np.flatnonzero(column).tolist() for column in last.T]


def check_ends(env: Any, state: Any, timesteps: Any) -> None:
    """Asserts that the trace has the episodes that the time steps show, and their rewards."""
    columns = jt.take(jax.jit(functools.partial(jt.detach, env))(state)[1]).columns
    rewards = np.asarray(timesteps.reward).reshape(STEPS, -1)
    over = ends(timesteps)
    assert sum(map(len, over)) > 6
    for lane, steps in enumerate(over):
        mine = (columns["lane"] == lane) & columns["complete"]
        found = columns["end_step"][mine].tolist()
        assert found == steps
        starts = {
            end: start for start, end in zip([0, *(e + 1 for e in steps)], steps, strict=False)
        }
        for end, total in zip(found, columns["total_return"][mine], strict=True):
            assert total == rewards[starts[end] : end + 1, lane].sum(dtype=np.float32)


KEYS = jax.random.split(jax.random.key(3), LANES)
ENVS: dict[str, tuple[Any, jax.Array]] = {
    **toy.batches(ENV, LANES),
    "a wrapper around the vmap": (Counted(VmapWrapper(ENV, LANES)), jax.random.key(3)),
    "a batch by itself": (Batched(ENV.script), jax.random.key(3)),
}


@pytest.mark.parametrize("name", ENVS)
def test_every_kind_of_batch_is_recorded_and_reset(name):
    env, key = ENVS[name]
    env = jt.TraceWrapper(env, RING, probe=toy.probe())
    state, timesteps = play(env, key)
    check_ends(env, state, timesteps)
    inner = state.unwrapped_state
    assert (np.asarray(inner.time) < np.asarray(inner.row.length)).all()
    assert len({tuple(lane) for lane in ends(timesteps)}) > 1


def test_a_single_environment_is_recorded_and_reset():
    env = jt.TraceWrapper(AddRNGKey(ENV), SINGLE, probe=toy.probe())
    state, timesteps = play(env, jax.random.key(3))
    columns = jt.take(jt.detach(env, state)[1]).columns
    assert columns["end_step"][columns["complete"]].tolist() == ends(timesteps)[0]


def test_episodes_are_those_of_stoas_auto_reset():
    traced = jt.TraceWrapper(
        VmapWrapper(AddRNGKey(ENV)), RING, probe=toy.probe(), next_obs_in_extras=True
    )
    plain = VmapWrapper(AutoResetWrapper(AddRNGKey(ENV), next_obs_in_extras=True))
    (state, ours), (end, theirs) = play(traced, KEYS), play(plain, KEYS)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(state.base_env_state.time, end.time)
    assert "next_obs" in ours.extras


def test_parameters_of_each_lane_reach_its_resets():
    lengths = np.array([[1], [2], [5]], np.int32)
    script = toy.example_script((LANES, 1))._replace(length=lengths)
    env = VmapWrapper(AddRNGKey(ENV), vectorize_over_env_params=True)
    _, timesteps = play(jt.TraceWrapper(env, RING, probe=toy.probe()), KEYS, params=script)
    for lane, length in enumerate(lengths[:, 0]):
        assert ends(timesteps)[lane] == list(range(length - 1, STEPS, length))


def test_a_trace_is_found_inside_the_states_of_other_wrappers():
    env = Counted(jt.TraceWrapper(VmapWrapper(ENV), RING, probe=toy.probe()))
    state, timesteps = play(env, KEYS)
    assert isinstance(jt.detach(env, state)[0], toy.ToyState)
    check_ends(env, state, timesteps)


def test_what_is_no_trace_is_not_saved_and_how_to_come_by_one_is_said(tmp_path: Path):
    traced = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
    state = begun(traced)
    both = jt.detach(traced, state)
    for given, name in ((state, "TracedState"), (both, "tuple"), (None, "None")):
        with pytest.raises(SchemaError, match=f"expect a trace, found {name}.*second of the two"):
            jt.save(tmp_path / "a", given)
    assert not list(tmp_path.iterdir())
    with pytest.raises(SpecError, match=r"the step that wrap_step returned.*found scripted_step"):
        jt.detach(toy.scripted_step, state)
