"""A traced program under JAX's transformations is what it is without them."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from tests import toy
from tests.histories import own_action, own_history
from tests.oracle import check
from tests.toy import same

LANES, STEPS = 3, 20
SPEC = jt.TraceSpec(keep={"best": 2, "failed": 2}, max_steps=4, capacity=9, recent=2)
SCRIPT = toy.example_script((LANES, STEPS + 1), 4)
ENV = toy.ScriptedEnv(toy.example_script((6,), 4))
STEP = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())
LANE = jnp.arange(LANES, dtype=jnp.int32)


def begun() -> Any:
    return jt.attach(STEP, toy.lane_states(SCRIPT, LANE), LANE)


def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
    carry, outcome = STEP(carry, own_action(index, carry.state.lane))
    over = outcome["terminated"] | outcome["truncated"]
    return replace(carry, state=toy.restarted(SCRIPT, carry.state, over)), None


@functools.cache
def scanned() -> Any:
    steps = jnp.arange(STEPS, dtype=jnp.int32)
    return jax.jit(lambda: jax.lax.scan(body, begun(), steps)[0])()


def rollout(key: jax.Array, spec: jt.TraceSpec = SPEC, num_steps: int = STEPS, **more: Any) -> Any:
    return jt.rollout(
        ENV,
        toy.numbered,
        key,
        spec=spec,
        num_lanes=LANES,
        num_steps=num_steps,
        **{"probe": toy.probe(), **more},
    )


@functools.cache
def rolled_out(seed: int) -> Any:
    return jax.jit(rollout)(jax.random.key(seed))


def test_steps_called_one_by_one_record_what_a_scan_of_them_does():
    carry, step = jax.jit(begun)(), jax.jit(body)
    for index in range(STEPS):
        carry, _ = step(carry, np.int32(index))
    same(carry, scanned())


def test_a_scan_in_a_scan_records_every_step():
    def inner(carry: Any, indices: jax.Array) -> tuple[Any, None]:
        return jax.lax.scan(body, carry, indices)[0], None

    indices = jnp.arange(STEPS, dtype=jnp.int32).reshape(4, -1)
    same(jax.jit(lambda: jax.lax.scan(inner, begun(), indices)[0])(), scanned())


def test_under_a_cond_only_the_steps_taken_are_recorded():
    def maybe(carry: Any, index: jax.Array) -> tuple[Any, None]:
        return jax.lax.cond(index % 3 != 0, lambda: body(carry, index // 3)[0], lambda: carry), None

    indices = jnp.arange(STEPS, dtype=jnp.int32) * 3 + 1
    indices = jnp.stack([indices - 1, indices], axis=1).reshape(-1)
    same(jax.jit(lambda: jax.lax.scan(maybe, begun(), indices)[0])(), scanned())


def test_a_vmap_of_lanes_records_each_lane():
    spec = SPEC.replace(layout="lane")
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())

    def one(script: toy.Script, lane: jax.Array) -> Any:
        script = jax.tree.map(lambda leaf: leaf[None], script)
        state = toy.lane_states(script, jnp.zeros((1,), jnp.int32))
        state = jax.tree.map(lambda leaf: leaf[0], state)

        def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
            carry, outcome = step(carry, own_action(index, lane))
            over = outcome["terminated"] | outcome["truncated"]
            return replace(carry, state=toy.restarted(script, carry.state, over)), None

        carry = jt.attach(step, state, jnp.zeros((), jnp.int32), lane=lane)
        carry, _ = jax.lax.scan(body, carry, jnp.arange(STEPS, dtype=jnp.int32))
        return jt.detach(step, carry)[1]

    trace = jax.jit(jax.vmap(one))(SCRIPT, LANE)
    check(jt.take(trace), spec, own_history(SCRIPT, STEPS), per_lane=True)


def test_a_vmap_over_seeds_of_a_whole_rollout_gives_each_seeds_trace():
    keys = jnp.stack([jax.random.key(seed) for seed in range(2)])
    _, traces = jax.jit(jax.vmap(rollout))(keys)
    for seed in range(2):
        same(jax.tree.map(lambda leaf, seed=seed: leaf[seed], traces), rolled_out(seed)[1])


def test_several_traces_at_once_are_taken_one_by_one():
    _, trace = rolled_out(0)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), trace)
    with pytest.raises(
        jt.SchemaError, match=r"found one with leading axes \[2\].*jt.take\(jax.tree"
    ):
        jt.take(stacked)


def test_a_rollout_in_several_calls_is_the_one_in_a_single_call():
    key, whole = jax.random.key(0), rolled_out(0)
    parts = jax.jit(lambda start, trace: rollout(key, SPEC, 7, start=start, trace=trace))
    now, trace = jax.jit(lambda: rollout(key, SPEC, STEPS - 14))()
    for _ in range(2):
        now, trace = parts(now, trace)
    assert int(now.step) == STEPS
    same(now.state, whole[0].state)
    left, right = jt.take(trace), jt.take(whole[1])
    same(dict(left.columns), dict(right.columns))
    same(
        (left.records, left.constants, left.finals), (right.records, right.constants, right.finals)
    )


def test_a_rollout_stops_at_the_true_states_and_the_next_call_resets_them():
    key, steps = jax.random.key(0), 11
    now, trace = jax.jit(lambda: rollout(key, SPEC, steps))()
    ended = np.asarray(now.timestep.last())
    assert ended.tolist() == [False, True, False]
    assert (now.state.time[ended] == now.state.row.length[ended]).all()
    filed = jt.take(trace).columns
    last = filed["end_step"] == steps - 1
    assert filed["lane"][last].tolist() == [0, 1, 2]
    assert filed["complete"][last].tolist() == ended.tolist()
    again = jax.jit(lambda: rollout(key, SPEC, 1, start=now, trace=trace))()[0]
    assert (again.state.time[ended] == 1).all()


def test_a_rollout_of_no_steps_has_reset_its_lanes():
    key = jax.random.key(0)
    now, trace = jax.jit(lambda: rollout(key, SPEC, 0))()
    assert len(jt.take(trace)) == 0
    assert (now.state.time == 0).all()
    assert not now.timestep.last().any()
    same(now.state, jax.jit(lambda: rollout(key, SPEC, 0, start=now, trace=trace))()[0].state)
    on, _ = jax.jit(lambda: rollout(key, SPEC, STEPS, start=now, trace=trace))()
    same(on.state, rolled_out(0)[0].state)


def test_a_rollout_goes_on_only_with_both_of_its_results():
    now, trace = rolled_out(0)
    for part in ({"start": now}, {"trace": trace}):
        with pytest.raises(jt.SpecError, match="give both start= and trace= of the earlier call"):
            rollout(jax.random.key(0), **part)


@pytest.mark.parametrize("spec", [SPEC, jt.TraceSpec(level="off")], ids=["on", "off"])
def test_a_policy_of_another_number_of_lanes_is_refused(spec):
    def policy(key: jax.Array, state: Any, timestep: Any) -> Any:
        return {"move": toy.numbered(key, state, timestep)[0]}

    message = r"each of the 3 lanes from the policy, found shape \[\] at \['move'\]; policy\(key"
    with pytest.raises(jt.SpecError, match=message):
        jt.rollout(ENV, policy, jax.random.key(0), spec=spec, num_lanes=3, num_steps=2)


def test_an_environment_of_another_form_is_refused_and_what_wraps_it_is_said():
    class Other(toy.ScriptedEnv):
        def reset(self, rng_key: jax.Array, env_params: Any = None) -> tuple[Any, Any]:
            return super().reset(rng_key, env_params)[::-1]

    with pytest.raises(jt.SpecError, match=r"whose reset gives ToyState second; wrap it: jt\.env"):
        jt.rollout(
            Other(ENV.script),
            toy.numbered,
            jax.random.key(0),
            spec=SPEC,
            num_lanes=3,
            num_steps=2,
            probe=toy.probe(),
        )


class Unhashable(toy.MarkedProbe):
    """As a dataclass is that can be changed."""

    __hash__ = None  # type: ignore[assignment]


def test_a_probe_that_cannot_be_hashed_records_the_same():
    probe = Unhashable(name="toy", goal=toy.probe().goal)
    trace = jax.jit(lambda key: rollout(key, probe=probe))(jax.random.key(0))[1]
    found, expected = jt.take(trace), jt.take(rolled_out(0)[1])
    same(dict(found.columns), dict(expected.columns))
    np.testing.assert_array_equal(found.records, expected.records)


def value_of(weight: jax.Array, spec: jt.TraceSpec) -> tuple[jax.Array, Any]:
    """A differentiable program: the rewards that the lanes see at the end, and the trace."""
    value = jnp.asarray(ENV.script.value) * weight**2
    now, trace = rollout(
        jax.random.key(0), spec, STEPS - 1, env_params=ENV.script._replace(value=value)
    )
    return (now.timestep.reward * jnp.arange(1.0, LANES + 1)).sum(), trace


@pytest.mark.parametrize("layout", ["batch", pytest.param("lane", marks=pytest.mark.slow)])
def test_the_gradient_through_a_traced_rollout_is_the_untraced_one(layout):
    spec, weight = SPEC.replace(layout=layout), jnp.float32(1.5)
    gradient = jax.jit(jax.value_and_grad(value_of, has_aux=True), static_argnums=1)
    (value, trace), traced = gradient(weight, spec)
    (untraced_value, _), untraced = gradient(weight, jt.TraceSpec(level="off"))
    assert float(untraced) != 0
    assert float(traced) == float(untraced)
    assert float(value) == float(untraced_value)
    assert len(jt.take(trace)) > 0
