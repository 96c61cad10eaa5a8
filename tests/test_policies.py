"""Which episodes a trace keeps, against an oracle over all that happened."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey

import jaxarc_trace as jt
from tests import toy
from tests.histories import own_action, own_history, rollout_history, wrapper_history
from tests.oracle import check

LANES, STEPS, ROWS = 3, 26, 8
INF, NAN = np.float32(np.inf), np.float32(np.nan)
NUMBERS = [NAN, INF, -INF, np.float32(-0.0), np.float32(3e38)]
NUMBERS += [np.float32(x) for x in (0, 0.1, -1, 1, 1, 7)]


def marked(stats: Any) -> jax.Array:
    """A score of the user's own."""
    return stats.final["mark"]


ALL = {"best": 2, "worst": 1, "failed": 2, "random": 2, "first": 1, marked: 2}
SPECS = {
    "every policy at once": jt.TraceSpec(keep=ALL, max_steps=4, capacity=6, recent=2),
    "best by a score, long episodes dropped": jt.TraceSpec(
        keep={"best": 3, "worst": 3}, score=marked, max_steps=3, capacity=3, recent=1
    ),
    "the ring alone": jt.TraceSpec(keep="last", max_steps=7, capacity=11, recent=3),
    "some of the lanes": jt.TraceSpec(
        keep={"random": 4, "failed": 1}, lanes=2, max_steps=5, capacity=26, recent=9, seed=7
    ),
    "summaries": jt.TraceSpec(
        level="minimal", keep={"worst": 2, "first": 2}, max_steps=9, capacity=1, recent=2
    ),
    "every leaf": jt.TraceSpec(level="full", keep="best", slots=1, max_steps=40, capacity=40),
}


def scripts(*shape: int, longest: int = 9) -> st.SearchStrategy[toy.Script]:
    numbers = arrays(np.float32, shape, elements=st.sampled_from(NUMBERS), fill=st.just(0))
    return st.builds(
        toy.Script,
        arrays(np.int32, shape, elements=st.integers(1, longest)),
        numbers,
        numbers,
        arrays(np.int8, shape, elements=st.integers(0, 2)),
    )


@functools.cache
def own_loop(spec: jt.TraceSpec, *, vmapped: bool = False) -> Any:
    """The caller's own loop: its trace after some steps, with its last state and without."""
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())

    def lane_mapped(state: Any, action: jax.Array) -> Any:
        return jax.vmap(step)(state, action)

    @jax.jit
    def run(script: toy.Script, steps: jax.Array) -> Any:
        lane = jnp.arange(LANES, dtype=jnp.int32)
        state = toy.lane_states(script, lane)

        def attach(state: Any, lane: Any) -> Any:
            return jt.attach(step, state, jnp.zeros_like(lane), lane=lane)

        def body(index: Any, carry: Any) -> Any:
            action = own_action(index, carry.state.lane)
            carry, outcome = (lane_mapped if vmapped else step)(carry, action)
            over = outcome["terminated"] | outcome["truncated"]
            return replace(carry, state=toy.restarted(script, carry.state, over))

        carry = (jax.vmap(attach) if vmapped else attach)(state, lane)
        carry = jax.lax.fori_loop(0, steps, body, carry)
        detach = functools.partial(jt.detach, step)
        return (jax.vmap(detach) if vmapped else detach)(carry)[1], carry.trace

    return run


def check_own_loop(spec: jt.TraceSpec, script: Any, steps: int, *, vmapped: bool = False) -> None:
    history = own_history(script, STEPS).until(steps)
    history = history if spec.lanes is None else history.lanes(spec.lanes)
    framed, bare = own_loop(spec, vmapped=vmapped)(script, jnp.asarray(steps, jnp.int32))
    per_lane = vmapped or spec.layout == "lane"
    check(jt.take(framed), spec, history, per_lane=per_lane)
    check(jt.take(bare), spec, history, per_lane=per_lane, framed=False)


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=25)
@given(script=scripts(LANES, STEPS + 1), steps=st.integers(0, STEPS))
def test_a_ring_and_shelf_for_all_lanes_keep_what_the_policies_choose(name, script, steps):
    check_own_loop(SPECS[name], script, steps)


@pytest.mark.parametrize("name", ["the ring alone", "summaries"])
@settings(max_examples=25)
@given(script=scripts(LANES, STEPS + 1), steps=st.integers(0, STEPS))
def test_a_shelf_in_each_lane_keeps_what_the_policies_choose_of_the_lane(name, script, steps):
    check_own_loop(SPECS[name].replace(layout="lane"), script, steps)


@settings(max_examples=25)
@given(script=scripts(LANES, STEPS + 1), steps=st.integers(0, STEPS))
def test_under_a_vmap_of_the_callers_own_each_lane_has_its_shelf(script, steps):
    check_own_loop(SPECS["every policy at once"], script, steps, vmapped=True)


@settings(max_examples=25)
@given(script=scripts(ROWS), seed=st.integers(0, 2**32 - 1))
def test_a_rollout_keeps_what_the_policies_choose(script, seed):
    spec, key = SPECS["some of the lanes"], jax.random.key(seed)
    trace, history = rolled_out(spec)
    check(jt.take(trace(key, script)), spec, history(key, script))


@functools.cache
def rolled_out(spec: jt.TraceSpec) -> tuple[Any, Any]:
    """A traced rollout, and its history, as functions of a key and a script."""
    env = toy.ScriptedEnv(toy.example_script((ROWS,)))
    truth = rollout_history(env, toy.numbered, LANES, STEPS)

    @jax.jit
    def trace(key: jax.Array, script: toy.Script) -> Any:
        return jt.rollout(
            env,
            toy.numbered,
            key,
            spec=spec,
            num_lanes=LANES,
            num_steps=STEPS,
            probe=toy.probe(),
            env_params=script,
        )[1]

    return trace, lambda *args: truth(*args).lanes(spec.lanes or LANES)


@settings(max_examples=25)
@given(script=scripts(ROWS), seed=st.integers(0, 2**32 - 1))
def test_a_wrapped_environment_keeps_what_the_policies_choose(script, seed):
    spec, key = SPECS["best by a score, long episodes dropped"], jax.random.key(seed)
    trace, history = wrapped(spec)
    check(jt.take(trace(key, script)), spec, history(key, script))


@functools.cache
def wrapped(spec: jt.TraceSpec) -> tuple[Any, Any]:
    """A loop over a `TraceWrapper`, and its history, as functions of a key and a script."""
    inner = AddRNGKey(toy.ScriptedEnv(toy.example_script((ROWS,))))
    env = jt.TraceWrapper(VmapWrapper(inner), spec, probe=toy.probe())

    @jax.jit
    def trace(key: jax.Array, script: toy.Script) -> Any:
        start, words = jax.random.split(key)
        carry = env.reset(jax.random.split(start, LANES), script)

        def body(carry: Any, word: jax.Array) -> Any:
            state, before = carry
            state, timestep = env.step(state, toy.numbered(word, state, before), script)
            return (state, jax.tree.map(lambda n, o: n.astype(o.dtype), timestep, before)), None

        (state, _), _ = jax.lax.scan(body, carry, jax.random.split(words, STEPS))
        return jt.detach(env, state)[1]

    return trace, wrapper_history(inner, toy.numbered, LANES, STEPS)


def uniform(counts: np.ndarray, runs: int, slots: int) -> float:
    """p-value of the counts with which each of `n` episodes was kept, `slots` of them a run."""
    share = slots / counts.size
    spread = runs * share * (1 - share) * counts.size / (counts.size - 1)
    return float(chi2.sf(((counts - runs * share) ** 2).sum() / spread, counts.size - 1))


def test_random_keeps_every_episode_of_a_lane_with_the_same_probability():
    runs, slots, episodes = 4096, 3, 12
    spec = jt.TraceSpec(level="minimal", keep="random", slots=slots, layout="lane", seed=3)
    script = toy.ones((1, episodes + 1))
    run = jax.jit(jax.vmap(lambda lane: own_lanes(spec, script, lane, episodes).slots))
    kept = run(jnp.arange(runs, dtype=jnp.int32)[:, None])
    numbers = np.asarray(kept.number)[np.asarray(kept.member)[..., 0]]
    assert numbers.size == runs * slots
    assert uniform(np.bincount(numbers, minlength=episodes), runs, slots) > 1e-3
    # Any two of them as often as any other two: one pair a run, whichever slots they lie in.
    pair = np.random.default_rng(0).permuted(numbers.reshape(runs, slots), axis=1)[:, :2]
    together = np.zeros((episodes, episodes))
    np.add.at(together, tuple(pair.T), 1)
    assert uniform((together + together.T)[np.triu_indices(episodes, 1)], runs, 1) > 1e-3


def test_random_keeps_every_episode_of_all_lanes_with_the_same_probability():
    runs, slots, steps = 1500, 4, 20
    spec = jt.TraceSpec(level="minimal", keep="random", slots=slots, recent=1, seed=3)
    script = toy.example_script((LANES, steps + 1))
    ended = [past for past in own_history(script, steps).episodes() if past.complete]
    run = jax.jit(lambda lane: own_lanes(spec, script, lane, steps))
    counts = dict.fromkeys(((past.column, past.number) for past in ended), 0)
    for first in range(0, runs * LANES, LANES):
        trace = run(jnp.arange(first, first + LANES, dtype=jnp.int32))
        assert int(trace.seen[0]) == int(trace.eligible[0, 0]) == len(ended)
        for lane, number in zip(trace.shelf.lane, trace.shelf.number, strict=True):
            counts[int(lane) - first, int(number)] += 1
    assert uniform(np.array([*counts.values()]), runs, slots) > 1e-3


def own_lanes(spec: jt.TraceSpec, script: Any, lane: jax.Array, steps: int) -> Any:
    """The trace of the caller's own loop over lanes of the identities given."""
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())
    state = toy.lane_states(script, jnp.arange(len(lane), dtype=jnp.int32))

    def body(carry: Any, _: None) -> tuple[Any, None]:
        carry, outcome = step(carry, carry.state.lane)
        over = outcome["terminated"] | outcome["truncated"]
        return replace(carry, state=toy.restarted(script, carry.state, over)), None

    carry = jt.attach(step, state, lane, lane=lane)
    return jax.lax.scan(body, carry, None, steps)[0].trace


def test_random_depends_on_the_seed_and_on_nothing_else():
    script = toy.example_script((LANES, STEPS + 1), longest=2)
    lane = jnp.arange(LANES, dtype=jnp.int32)

    def kept(seed: int) -> set[tuple[int, int]]:
        spec = jt.TraceSpec(level="minimal", keep="random", slots=6, recent=1, seed=seed)
        shelf = jax.jit(lambda: own_lanes(spec, script, lane, STEPS))().shelf
        return set(zip(shelf.lane.tolist(), shelf.number.tolist(), strict=True))

    assert kept(1) == kept(1)
    assert kept(1) != kept(2)
