"""Bytes said beforehand are the bytes that are allocated, and what fits a budget is the most."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stoa.core_wrappers.vmap import VmapWrapper

import jaxarc_trace as jt
from jaxarc_trace.errors import SpecError
from jaxarc_trace.memory import parse_bytes
from tests import toy
from tests.arc import arc

PARTS = ("ring", "recent", "shelf", "other")
SPECS = [
    jt.TraceSpec(max_steps=8),
    jt.TraceSpec(max_steps=8, keep="last", recent=2),
    jt.TraceSpec(max_steps=8, keep={"best": 2, "random": 3, "failed": 1}, capacity=100),
    jt.TraceSpec(max_steps=8, level="full", slots=2, lanes=3),
    jt.TraceSpec(max_steps=8, level="minimal", slots=2),
    jt.TraceSpec(max_steps=8, layout="lane", slots=2),
    jt.TraceSpec(max_steps=8, layout="lane", keep="last", capacity=40, lanes=1),
]


@functools.cache
def env() -> toy.ScriptedEnv:
    return toy.ScriptedEnv(toy.example_script((4,)))


def held(tree: Any) -> int:
    """Bytes of the arrays of a tree, as their buffers have them."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def measured(
    spec: jt.TraceSpec, env: Any, lanes: int | None = None, **options: Any
) -> dict[str, int]:
    found = spec.memory(env, lanes, **options)
    assert found["total"] == sum(found[part] for part in PARTS)
    return found


@pytest.mark.parametrize("spec", SPECS)
def test_a_wrapped_environment_allocates_what_was_said(spec: jt.TraceSpec):
    batch = VmapWrapper(env())
    wrapped = jt.TraceWrapper(batch, spec, probe=toy.probe())
    keys = jax.random.split(jax.random.key(0), 5)
    state, _ = jax.jit(wrapped.reset)(keys)
    said = measured(spec, env(), 5, probe=toy.probe())
    assert held(state.trace) == said["total"]
    if isinstance(state.trace, jt.Trace):
        assert held(state.trace.ring) == said["ring"]
        assert held(state.trace.recent) == said["recent"]
        assert held(state.trace.shelf) == said["shelf"]
        assert sum(part[0, 0].nbytes for part in state.trace.ring) == said["record"]
    else:
        assert held(state.trace.slots) == said["shelf"]


@pytest.mark.parametrize("spec", SPECS[3:6])
def test_a_single_environment_too(spec: jt.TraceSpec):
    state, _ = jax.jit(jt.TraceWrapper(env(), spec, probe=toy.probe()).reset)(jax.random.key(0))
    assert held(state.trace) == measured(spec, env(), probe=toy.probe())["total"]


def abstract(spec: jt.TraceSpec, env: Any, policy: Any, lanes: int, **options: Any) -> int:
    """Bytes of the trace that a rollout returns, from its shapes."""
    options |= {"spec": spec, "num_lanes": lanes, "num_steps": 3}
    _, trace = jax.eval_shape(
        lambda key: jt.rollout(env, policy, key, **options), jax.random.key(0)
    )
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trace))


@pytest.mark.parametrize("spec", SPECS[:3])
def test_a_rollout_returns_what_was_said(spec: jt.TraceSpec):
    found = abstract(spec, env(), toy.numbered, 4, probe=toy.probe())
    assert found == measured(spec, env(), 4, probe=toy.probe())["total"]


def test_a_jaxarc_rollout_returns_what_was_said():
    spec = jt.TraceSpec(max_steps=32, slots=4, keep="failed")

    def policy(key: jax.Array, state: Any, timestep: Any) -> Any:
        del key, state
        zero = jnp.zeros(timestep.reward.shape, jnp.int32)
        return {"operation": zero, "row": zero, "col": zero}

    assert abstract(spec, arc(), policy, 64) == measured(spec, arc(), 64)["total"]


def test_off_takes_nothing():
    spec = jt.TraceSpec(level="off")
    assert set(measured(spec, env(), 4).values()) == {0}


def test_nothing_is_allocated_to_find_out():
    spec = jt.TraceSpec(max_steps=10_000, slots=10_000)
    assert measured(spec, env(), 2**20)["total"] > 2**39


def size(spec: jt.TraceSpec, lanes: int | None) -> int:
    return measured(spec, env(), lanes, probe=toy.probe())["total"]


@settings(max_examples=25)
@given(
    st.integers(500, 60_000),
    st.sampled_from([1, 7, 64]),
    st.sampled_from(["best", "last", {"best": 4, "worst": 8}]),
)
def test_what_fits_is_the_most_that_fits(budget: int, lanes: int, keep: Any):
    fields = {"max_steps": 8, "keep": keep}
    asked = jt.TraceSpec(**fields)
    least = asked.replace(lanes=1)
    if asked.policies:
        least = least.replace(keep=dict.fromkeys(asked.policy_names, 1))
    if size(least, lanes) > budget:
        with pytest.raises(SpecError, match=f"takes {size(least, lanes):,};"):
            jt.TraceSpec.fit(env(), budget, lanes, probe=toy.probe(), **fields)
        return
    spec = jt.TraceSpec.fit(env(), budget, lanes, probe=toy.probe(), **fields)
    assert size(spec, lanes) <= budget
    assert spec.replace(lanes=None, keep=asked.keep) == asked
    if spec == asked:
        return
    traced = spec.lanes or lanes
    if traced < lanes:
        assert size(spec.replace(lanes=traced + 1), lanes) > budget
    if spec.shelf < asked.shelf:
        # Slots are halved, and only where one lane with the larger number does not fit.
        doubled = {
            policy.name: min(2 * policy.slots, before.slots)
            for policy, before in zip(spec.policies, asked.policies, strict=True)
        }
        assert size(spec.replace(lanes=1, keep=doubled), lanes) > budget


def test_a_budget_that_is_ample_changes_nothing():
    asked = jt.TraceSpec(max_steps=8, keep={"best": 4, "failed": 2}, capacity=100, lanes=3)
    fields = {"max_steps": 8, "keep": {"best": 4, "failed": 2}, "capacity": 100, "lanes": 3}
    assert jt.TraceSpec.fit(env(), "1 GiB", 5, probe=toy.probe(), **fields) == asked
    assert jt.TraceSpec.fit(env(), 1, 5, level="off") == jt.TraceSpec(level="off")


def test_a_single_environment_is_fitted_by_its_slots():
    asked = jt.TraceSpec(max_steps=8, slots=16)
    half = size(asked.replace(slots=8), None)
    spec = jt.TraceSpec.fit(env(), half, max_steps=8, slots=16, probe=toy.probe())
    assert spec == asked.replace(slots=8)
    assert jt.TraceSpec.fit(env(), half - 1, max_steps=8, slots=16, probe=toy.probe()).slots == 4


def test_jaxarc_is_fitted_by_its_lanes():
    spec = jt.TraceSpec.fit(arc(), "8MiB", 256, max_steps=32)
    assert spec.slots == 16
    assert 1 < (spec.lanes or 0) < 256
    assert measured(spec, arc(), 256)["total"] <= 8 * 2**20
    larger = spec.replace(lanes=(spec.lanes or 0) + 1)
    assert measured(larger, arc(), 256)["total"] > 8 * 2**20


def test_a_budget_that_is_too_small_says_what_would_do():
    with pytest.raises(SpecError) as caught:
        jt.TraceSpec.fit(
            env(), "1 kB", 4, max_steps=8, keep={"best": 4, "worst": 2}, probe=toy.probe()
        )
    least = size(jt.TraceSpec(max_steps=8, keep={"best": 1, "worst": 1}, lanes=1), 4)
    assert str(caught.value) == (
        f"budget '1 kB' is 1,000 bytes, but one lane with one slot a policy takes {least:,}; raise "
        "the budget, lower max_steps (8) or capacity (16), or use level='minimal'"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (800, 800),
        ("800", 800),
        ("1 B", 1),
        ("2k", 2000),
        ("2 kB", 2000),
        ("2 KiB", 2048),
        ("64MiB", 64 * 2**20),
        ("1.5 GB", 1_500_000_000),
        (" 1.5gib ", 3 * 2**29),
        ("3T", 3 * 10**12),
        ("3 TiB", 3 * 2**40),
        (2**53 + 1, 2**53 + 1),
    ],
)
def test_a_budget_in_words(text: str | int, expected: int):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "much", "-5", "0", 0, "0.2", "5 PB", "1e6", "1,000", "5 i", True, None]
)
def test_what_is_no_budget_is_refused(text: Any):
    with pytest.raises(SpecError) as caught:
        parse_bytes(text)
    assert str(caught.value) == (
        f"expected a number of bytes or a text such as '64MiB' or '1.5 GB', found {text!r}"
    )
