"""Traces of different lanes, joined: what one trace of all of them would have been."""

import functools
import itertools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxarc_trace as jt
from tests import toy
from tests.histories import own_action, own_history
from tests.oracle import check

LANES, STEPS = 4, 24


SPEC = jt.TraceSpec(
    keep={"best": 2, "failed": 2, "first": 2, "random": 3},
    max_steps=4,
    capacity=7,
    recent=2,
)
STEP = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())


merged = jax.jit(jt.merge)
detached = jax.jit(functools.partial(jt.detach, STEP))


@functools.partial(jax.jit, static_argnums=0)
def goes_on(step: Any, script: toy.Script, carry: Any, first: jax.Array, last: jax.Array) -> Any:
    """The caller's own loop from one step to another."""

    def body(index: Any, carry: Any) -> Any:
        carry, outcome = step(carry, own_action(index, carry.state.lane))
        over = outcome["terminated"] | outcome["truncated"]
        return replace(carry, state=toy.restarted(script, carry.state, over))

    return jax.lax.fori_loop(first, last, body, carry)


@functools.partial(jax.jit, static_argnums=0)
def begun(step: Any, script: toy.Script, lane: jax.Array) -> Any:
    return jt.attach(step, toy.lane_states(script, lane), jnp.zeros_like(lane), lane=lane)


def traced(script: toy.Script, lanes: range, steps: int, step: Any = STEP) -> Any:
    """The traced state of some of the lanes after some steps."""
    lane = jnp.asarray(lanes, jnp.int32)
    return goes_on(step, script, begun(step, script, lane), np.int32(0), np.int32(steps))


def same(left: jt.Recording, right: jt.Recording) -> None:
    assert left.policies == right.policies
    assert left.spec == right.spec
    for name in left.columns:
        np.testing.assert_array_equal(left.columns[name], right.columns[name], name)
    for name in ("constants", "finals", "records"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)


@pytest.mark.parametrize("cuts", [(2,), (1, 2)])
@pytest.mark.parametrize("framed", [True, False])
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), steps=st.integers(0, STEPS))
def test_parts_merged_equal_the_whole(cuts, framed, seed, steps):
    script = toy.example_script((LANES, STEPS + 1), seed)
    read = (lambda state: detached(state)[1]) if framed else (lambda state: state.trace)
    edges = [0, *cuts, LANES]
    parts = [read(traced(script, range(*edge), steps)) for edge in itertools.pairwise(edges)]
    whole = read(traced(script, range(LANES), steps))
    together = merged(*parts)
    assert jax.tree.structure(together) == jax.tree.structure(whole)
    same(jt.take(together), jt.take(whole))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), left=st.integers(0, STEPS), right=st.integers(0, STEPS))
def test_of_unequal_parts_the_shorter_is_taken_to_have_begun_later(seed, left, right):
    script = toy.example_script((LANES, STEPS + 1), seed)
    history = own_history(script, STEPS)
    parts = [detached(traced(script, range(2), left))[1]]
    parts += [detached(traced(script, range(2, 4), right))[1]]
    first, second = history.lanes(2).until(left), history.lanes(4, 2).until(right)
    check(jt.take(merged(*parts)), SPEC, first.beside(second))


def test_a_merged_trace_goes_on_as_the_whole_would():
    script = toy.example_script((LANES, STEPS + 1), 5)
    whole = traced(script, range(LANES), STEPS)
    first, second = (traced(script, lanes, 11) for lanes in (range(2), range(2, LANES)))
    state = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), first.state, second.state)
    carry = jt.TracedState(state, merged(first.trace, second.trace))
    carry = goes_on(STEP, script, carry, np.int32(11), np.int32(STEPS))
    same(jt.take(carry.trace), jt.take(whole.trace))


def test_merge_in_jit_gives_the_same_bytes():
    script = toy.example_script((LANES, STEPS + 1), 6)
    parts = [traced(script, lanes, STEPS).trace for lanes in (range(2), range(2, LANES))]
    same(jt.take(merged(*parts)), jt.take(jt.merge(*parts)))


def test_merge_is_associative():
    script = toy.example_script((LANES, STEPS + 1), 7)
    spans = (range(1), range(1, 3), range(3, 4))
    a, b, c = (traced(script, span, n).trace for span, n in zip(spans, (STEPS, 9, 17), strict=True))
    same(jt.take(merged(merged(b, c), a)), jt.take(merged(b, c, a)))
    same(jt.take(merged(b, merged(c, a))), jt.take(merged(b, c, a)))


def test_a_trace_merged_with_nothing_is_itself():
    trace = traced(toy.example_script((LANES, STEPS + 1)), range(LANES), STEPS).trace
    same(jt.take(merged(trace)), jt.take(trace))


def test_lanes_with_their_own_shelves_are_put_side_by_side():
    spec = jt.TraceSpec(keep="best", slots=2, max_steps=4, layout="lane")
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())
    script = toy.example_script((LANES, STEPS + 1), 8)
    whole = traced(script, range(LANES), STEPS, step).trace
    parts = [traced(script, lanes, STEPS, step).trace for lanes in (range(2), range(2, LANES))]
    same(jt.take(merged(*parts)), jt.take(whole))


def test_traces_of_the_same_lane_are_refused():
    script = toy.example_script((LANES, STEPS + 1))
    parts = [traced(script, lanes, 3).trace for lanes in (range(2), range(1, 3))]
    with pytest.raises(jt.SpecError, match="found lane 1 in more than one; number them apart by"):
        jt.merge(*parts)


def test_traces_of_different_specs_are_refused():
    other = jt.wrap_step(toy.scripted_step, SPEC.replace(keep="worst"), probe=toy.probe())
    script = toy.example_script((LANES, STEPS + 1))
    lanes = jnp.arange(2, dtype=jnp.int32)
    with pytest.raises(jt.SpecError, match="traces of one spec, layout and environment, found two"):
        jt.merge(begun(STEP, script, lanes).trace, begun(other, script, lanes + 2).trace)


def test_no_trace_at_all_is_refused():
    with pytest.raises(jt.SpecError, match="at least one trace, found none"):
        jt.merge()
