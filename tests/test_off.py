"""What tracing must not cost: no callback anywhere, and nothing at all with `level="off"`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr
from stoa.core_wrappers.vmap import VmapWrapper

import jaxarc_trace as jt
from tests import toy
from tests.arc import arc, player
from tests.histories import own_action, pick

LANES, STEPS = 3, 12
OFF = jt.TraceSpec(level="off")
ON = jt.TraceSpec(keep={"best": 2, "failed": 2, "random": 2}, max_steps=8)


def primitives(jaxpr: Any) -> Iterator[str]:
    """Names of the primitives of a jaxpr and of all that lie inside it."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for leaf in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr):
            if _is_jaxpr(leaf):
                yield from primitives(getattr(leaf, "jaxpr", leaf))


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, Jaxpr | ClosedJaxpr)


def callbacks(function: Any, *arguments: Any) -> list[str]:
    found = list(primitives(jax.make_jaxpr(function)(*arguments).jaxpr))
    assert "scan" in found
    assert "dynamic_update_slice" in found or "cond" in found
    return [name for name in found if "callback" in name or "print" in name or "feed" in name]


class Talkative(toy.ScriptedEnv):
    """Calls the host at every step."""

    def step(self, state: Any, action: jax.Array, env_params: Any = None) -> tuple[Any, Any]:
        jax.debug.callback(_nothing, state.time)
        return super().step(state, action, env_params)


def _nothing(*seen: Any) -> None:
    del seen


def rollout(
    env: Any, policy: Any, spec: jt.TraceSpec, probe: Any = None, lanes: int = LANES
) -> Any:
    def run(key: jax.Array) -> Any:
        return jt.rollout(
            env, policy, key, spec=spec, num_lanes=lanes, num_steps=STEPS, probe=probe
        )

    return run


@pytest.mark.parametrize("layout", ["batch", "lane"])
def test_a_traced_rollout_has_only_the_callbacks_of_its_environment(layout):
    key, spec = jax.random.key(0), ON.replace(layout=layout)
    env = Talkative(toy.example_script((5,)))
    untraced = callbacks(rollout(env, toy.numbered, OFF), key)
    assert "debug_callback" in untraced
    assert callbacks(rollout(env, toy.numbered, spec, toy.probe()), key) == untraced


@pytest.mark.parametrize("level", ["minimal", "full"])
def test_a_traced_jaxarc_rollout_has_no_callback_at_all(level):
    """`EQX_ON_ERROR=off`, which the suite sets; without it JaxARC brings Equinox's own."""
    spec = ON.replace(level=level)
    assert callbacks(rollout(arc(), player(), spec), jax.random.key(0)) == []


def own_loop(step: Any, *, traced: bool) -> Any:
    script = toy.example_script((LANES, STEPS + 1))

    def run(state: toy.LaneState) -> Any:
        def body(index: Any, state: Any) -> Any:
            inner = state.state if isinstance(state, jt.TracedState) else state
            state, outcome = step(state, own_action(index, inner.lane))
            over = outcome["terminated"] | outcome["truncated"]
            if isinstance(state, jt.TracedState):
                return replace(state, state=toy.restarted(script, state.state, over))
            return toy.restarted(script, state, over)

        if traced:
            state = jt.attach(step, state, state.lane)
        state = jax.lax.fori_loop(0, STEPS, body, state)
        return jt.detach(step, state) if traced else (state, None)

    return run, toy.lane_states(script, jnp.arange(LANES, dtype=jnp.int32))


def hlo(function: Any, *arguments: Any) -> str:
    return jax.jit(function).lower(*arguments).as_text()


def test_the_callers_loop_with_tracing_off_is_the_same_program():
    plain, state = own_loop(toy.scripted_step, traced=False)
    off, _ = own_loop(jt.wrap_step(toy.scripted_step, OFF), traced=True)
    on, _ = own_loop(jt.wrap_step(toy.scripted_step, ON, probe=toy.probe()), traced=True)
    assert hlo(off, state) == hlo(plain, state)
    assert hlo(on, state) != hlo(plain, state)


def late_reset_scan(env: Any, policy: Any) -> Any:
    """What `rollout` says it is: one scan, lanes reset late under one `cond`."""

    def run(key: jax.Array) -> Any:
        lane = jnp.arange(LANES, dtype=jnp.int32) + 0

        def reset(step: jax.Array) -> Any:
            base = jax.random.fold_in(jax.random.split(key)[0], step)
            keys = jax.vmap(lambda one: jax.random.fold_in(base, one))(lane)
            return jax.vmap(env.reset, in_axes=(0, None))(keys, None)

        def turn(now: Any) -> Any:
            state, timestep, step = now
            done = timestep.last() | (step == 0)

            def fresh(*old: Any) -> Any:
                return jax.tree.map(lambda new, old: pick(done, new, old), reset(step), old)

            return *jax.lax.cond(done.any(), fresh, lambda *v: v, state, timestep), step

        def body(now: Any, _: None) -> Any:
            state, before, step = turn(now)
            word = jax.random.fold_in(jax.random.split(key)[1], step)
            action = policy(word, state, before)
            state, timestep = jax.vmap(env.step, in_axes=(0, 0, None))(state, action, None)
            return (state, timestep, step + 1), None

        zero = jnp.zeros((), jnp.int32)
        shapes = jax.eval_shape(reset, zero)
        nothing = jax.tree.map(lambda leaf: jax.lax.full(leaf.shape, 0, leaf.dtype), shapes)
        now, _ = jax.lax.scan(body, (*nothing, zero), None, STEPS)
        return jt.RolloutState(*now), None

    return run


def test_a_rollout_with_tracing_off_is_the_same_program_as_one_without():
    env = toy.ScriptedEnv(toy.example_script((5,)))
    key = jax.random.key(0)
    plain = hlo(late_reset_scan(env, toy.numbered), key)
    assert hlo(rollout(env, toy.numbered, OFF), key) == plain
    assert hlo(rollout(env, toy.numbered, ON, toy.probe()), key) != plain


class Marked(toy.ScriptedEnv):
    """Its reset holds an operation that nothing else does."""

    def reset(self, rng_key: jax.Array, env_params: Any = None) -> tuple[Any, Any]:
        state, timestep = super().reset(rng_key, env_params)
        value = jnp.cbrt(state.row.value)
        return replace(state, row=state.row._replace(value=value)), timestep


@pytest.mark.parametrize("spec", [OFF, ON], ids=["off", "on"])
def test_a_rollout_has_the_reset_in_it_once(spec):
    env = Marked(toy.example_script((5,)))
    probe = None if spec is OFF else toy.probe()
    text = hlo(rollout(env, toy.numbered, spec, probe), jax.random.key(0))
    assert text.count("stablehlo.cbrt") == 1


@pytest.mark.parametrize("spec", [OFF, ON], ids=["off", "on"])
def test_a_rollout_of_many_lanes_resets_a_block_of_them(spec):
    env = Marked(toy.example_script((5,)))
    probe = None if spec is OFF else toy.probe()
    text = hlo(rollout(env, toy.numbered, spec, probe, lanes=64), jax.random.key(0))
    (line,) = (line for line in text.splitlines() if "stablehlo.cbrt" in line)
    assert line.endswith(": tensor<4xf32>")


def test_off_gives_back_what_was_given():
    assert jt.wrap_step(toy.scripted_step, OFF) is toy.scripted_step
    env = VmapWrapper(toy.ScriptedEnv(toy.example_script((5,))))
    assert jt.TraceWrapper(env, OFF, probe=toy.probe(), next_obs_in_extras=True) is env
    state = object()
    assert jt.attach(toy.scripted_step, state, None) is state
    assert jt.detach(toy.scripted_step, state) == (state, None)
    assert jt.detach(env, state) == (state, None)


def test_a_rollout_with_tracing_off_has_no_trace():
    env = toy.ScriptedEnv(toy.example_script((5,)))
    now, trace = jax.jit(rollout(env, toy.numbered, OFF))(jax.random.key(0))
    assert trace is None
    assert int(now.step) == STEPS
