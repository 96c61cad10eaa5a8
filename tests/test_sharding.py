"""Lanes spread over eight devices give the bytes that one device gives."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxarc_trace as jt
from tests import toy
from tests.histories import own_action

DEVICES, EACH, STEPS = 8, 2, 20
LANES = DEVICES * EACH
SPEC = jt.TraceSpec(keep={"best": 3, "random": 3}, max_steps=4, capacity=9, recent=2)
ENV = toy.ScriptedEnv(toy.example_script((9,), 2))
SCRIPT = toy.example_script((LANES, STEPS + 1), 3)
SPLIT, WHOLE = PartitionSpec("lanes"), PartitionSpec()


@functools.cache
def mesh() -> Any:
    assert jax.device_count() == DEVICES, "tests/conftest.py asks for eight CPU devices"
    return jax.make_mesh((DEVICES,), ("lanes",), axis_types=(AxisType.Auto,))


def same(left: jt.Recording, right: jt.Recording) -> None:
    assert left.policies == right.policies
    assert left.spec == right.spec
    assert len(left) > 0
    for name in left.columns:
        np.testing.assert_array_equal(left.columns[name], right.columns[name], name)
    for name in ("constants", "finals", "records"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), name)


def rollout(key: jax.Array, lanes: int, first: Any, spec: jt.TraceSpec) -> Any:
    return jt.rollout(
        ENV,
        toy.numbered_apart,
        key,
        spec=spec,
        num_lanes=lanes,
        num_steps=STEPS,
        probe=toy.probe(),
        first_lane=first,
    )[1]


@functools.cache
def sharded_rollout(spec: jt.TraceSpec) -> Any:
    shapes = jax.eval_shape(lambda: rollout(jax.random.key(0), EACH, 0, spec))

    def part(key: jax.Array) -> Any:
        return rollout(key, EACH, jax.lax.axis_index("lanes") * EACH, spec)

    specs = jt.partition_specs(shapes, "lanes")
    mapped = jax.shard_map(part, mesh=mesh(), in_specs=WHOLE, out_specs=specs, check_vma=False)
    return jax.jit(mapped)(jax.random.key(1))


@pytest.mark.parametrize("layout", ["batch", pytest.param("lane", marks=pytest.mark.slow)])
def test_a_rollout_under_shard_map_is_the_rollout_of_all_lanes(layout):
    spec = SPEC.replace(layout=layout)
    alone = jax.jit(lambda: rollout(jax.random.key(1), LANES, 0, spec))()
    same(jt.take(sharded_rollout(spec)), jt.take(alone))


def test_the_shelves_of_all_devices_merge_into_one():
    trace = sharded_rollout(SPEC)
    assert trace.shelf.lane.shape == (DEVICES * SPEC.shelf,)
    merged = jax.jit(jt.merge)(trace)
    assert merged.shelf.lane.shape == (SPEC.shelf,)
    same(jt.take(merged), jt.take(trace))


def own_loop(state: Any) -> Any:
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())

    def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
        carry, outcome = step(carry, own_action(index, carry.state.lane))
        over = outcome["terminated"] | outcome["truncated"]
        return replace(carry, state=toy.restarted(SCRIPT, carry.state, over)), None

    carry = jt.attach(step, state, state.lane, lane=state.lane)
    return jt.detach(step, jax.lax.scan(body, carry, jnp.arange(STEPS, dtype=jnp.int32))[0])[1]


@functools.cache
def start() -> Any:
    return toy.lane_states(SCRIPT, jnp.arange(LANES, dtype=jnp.int32))


@functools.cache
def on_one_device() -> jt.Recording:
    return jt.take(jax.jit(own_loop)(start()))


def test_the_callers_loop_under_shard_map_is_the_loop_over_all_lanes():
    specs = jt.partition_specs(jax.eval_shape(own_loop, start()), "lanes")
    mapped = jax.shard_map(own_loop, mesh=mesh(), in_specs=SPLIT, out_specs=specs, check_vma=False)
    same(jt.take(jax.jit(mapped)(start())), on_one_device())


def test_plain_jit_of_sharded_states_keeps_the_ring_sharded_and_gives_the_same_bytes():
    state = jax.device_put(start(), NamedSharding(mesh(), SPLIT))
    shapes = jax.eval_shape(own_loop, state)
    specs = jt.partition_specs(shapes, "lanes", one_shelf=True)
    shardings = jax.tree.map(
        lambda spec: NamedSharding(mesh(), spec),
        specs,
        is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
    )
    trace = jax.jit(own_loop, out_shardings=shardings)(state)
    for part in trace.ring:
        assert part.sharding.shard_shape(part.shape)[1] == EACH
    assert trace.shelf.summary.sharding.is_fully_replicated
    same(jt.take(trace), on_one_device())


def test_what_is_not_a_trace_has_no_partition():
    with pytest.raises(jt.SpecError, match=r"found dict; take it out of the state by jt.detach"):
        jt.partition_specs({}, "lanes")
