"""From a probe and shapes to the layout of a trace; what does not fit is named when traced."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import SchemaError, SpecError
from jaxarc_trace.plan import Plan, pack_constants, pack_state, pack_step, plan_for
from jaxarc_trace.probe import GenericProbe

LANES = 3
REWARD = jnp.asarray([1.0, 2.0, 3.0])
ENDS = jnp.asarray([False, True, False])
LIMIT = jnp.asarray([False, False, True])


class World(eqx.Module):
    board: Any
    goal: Any
    clock: Any


def world(lanes: int | None = LANES, **shapes: Any) -> World:
    """Shapes of a state `[lanes, ...]`."""
    lead = () if lanes is None else (lanes,)
    parts = {
        "board": jax.ShapeDtypeStruct((*lead, 4, 4), jnp.int32),
        "goal": jax.ShapeDtypeStruct((*lead, 2), jnp.int8),
        "clock": jax.ShapeDtypeStruct(lead, jnp.int32),
    }
    return World(**(parts | shapes))


def result(lanes: int | None = LANES, **shapes: Any) -> dict[str, Any]:
    lead = () if lanes is None else (lanes,)
    flag = jax.ShapeDtypeStruct(lead, jnp.bool_)
    reward = jax.ShapeDtypeStruct(lead, jnp.float32)
    return {"reward": reward, "terminated": flag, "truncated": flag} | shapes


def action(lanes: int | None = LANES) -> dict[str, Any]:
    lead = () if lanes is None else (lanes,)
    return {"move": jax.ShapeDtypeStruct(lead, jnp.int32)}


def planned(probe: Any = None, spec: jt.TraceSpec | None = None, **parts: Any) -> Plan:
    arguments = {"state": world(), "action": action(), "result": result()} | parts
    return plan_for(spec or jt.TraceSpec(max_steps=4), probe or GenericProbe(), **arguments)[0]


def names(plan: Plan) -> dict[str, set[str]]:
    sections = ("constant", "state", "step")
    return {name: set(getattr(plan.schema, name).names) for name in sections}


def test_a_plan_lays_out_what_the_probe_shows():
    probe = GenericProbe(constant=("goal",), encodings={"board": Encoding.between(0, 3)})
    plan = planned(probe)
    assert names(plan) == {
        "constant": {"goal"},
        "state": {"board", "clock"},
        "step": {"action.move", "reward", "terminated", "truncated", "digest"},
    }
    # Two bits a cell, four bytes of the clock, one bit set for what does not fit.
    assert plan.schema.state.nbytes == 4 + 4 + 1
    assert plan.schema.step.nbytes == 4 + 4 + 1 + 1 + 4
    assert plan.environment == "{}"
    named = planned(GenericProbe(name="toy", facts={"size": 3}))
    assert named.environment == '{"name": "toy", "size": 3}'


def test_a_plan_without_lanes_has_the_same_layout():
    alone, lanes = plan_for(
        jt.TraceSpec(max_steps=4), GenericProbe(), world(None), action(None), result(None)
    )
    assert lanes is None
    assert alone == planned()


def test_the_full_level_keeps_every_leaf_raw():
    probe = GenericProbe(
        constant=("goal",), skip=("clock",), encodings={"board": Encoding.between(0, 3)}
    )
    plan = planned(probe, jt.TraceSpec(level="full", max_steps=4))
    assert names(plan)["constant"] == set()
    assert names(plan)["state"] == {"board", "goal", "clock"}
    assert plan.schema.state.nbytes == 64 + 2 + 4


def test_the_minimal_level_keeps_no_transition():
    plan = planned(spec=jt.TraceSpec(level="minimal", max_steps=4))
    assert names(plan)["step"] == set()
    assert plan.schema.step.nbytes == 0


def lane_message(what: str, name: str, shape: str) -> str:
    return (
        f"{what}: field {name!r} has shape {shape}, expected a leading axis of 3 lanes as the "
        f"reward has; give it that axis, or leave it out of the probe, for instance "
        f"probe=GenericProbe(skip=({name!r},))"
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"state": world(board=jax.ShapeDtypeStruct((4, 4), jnp.int32))},
            lane_message("state", "board", "[4, 4]"),
        ),
        (
            {"state": world(clock=jax.ShapeDtypeStruct((), jnp.int32))},
            lane_message("state", "clock", "[]"),
        ),
        (
            {"state": world(goal=jax.ShapeDtypeStruct((2,), jnp.int8))},
            lane_message("constants", "goal", "[2]"),
        ),
        (
            {"action": {"move": jax.ShapeDtypeStruct((5,), jnp.int32)}},
            lane_message("action and outcome", "action.move", "[5]"),
        ),
        (
            {"result": result(reward=jax.ShapeDtypeStruct((3, 2), jnp.float32))},
            (
                "reward, terminated and truncated must be scalars (one environment) or [lanes] (a "
                "batch), found [3, 2], [3] and [3]; vmap over further axes outside the traced step"
            ),
        ),
        (
            {"result": result(truncated=jax.ShapeDtypeStruct((), jnp.bool_))},
            (
                "reward, terminated and truncated must be scalars (one environment) or [lanes] (a "
                "batch), found [3], [3] and []; vmap over further axes outside the traced step"
            ),
        ),
    ],
)
def test_a_field_without_its_lane_axis_is_named(parts: dict[str, Any], message: str):
    with pytest.raises(SchemaError) as caught:
        planned(GenericProbe(constant=("goal",)), **parts)
    assert str(caught.value) == message


class Twofold(GenericProbe):
    def constants(self, state: Any) -> dict[str, jax.Array]:
        return {"goal": state.goal, "board": state.board}


def test_a_field_cannot_be_constant_and_varying():
    with pytest.raises(SchemaError) as caught:
        planned(Twofold())
    assert str(caught.value) == (
        "the fields ['board', 'goal'] are among the probe's constants and in its state; leave "
        "one that changes within an episode in the state alone, any other in the constants"
    )


def test_failed_needs_a_goal():
    with pytest.raises(SpecError) as caught:
        planned(spec=jt.TraceSpec(max_steps=4, keep={"failed": 2}))
    assert str(caught.value) == (
        "keep='failed' needs to know what success is, which this probe does not define; give "
        "GenericProbe(goal=lambda state, terminated: ...), or keep 'worst' instead"
    )
    goal = GenericProbe(goal=lambda _, terminated: terminated)
    assert planned(goal, jt.TraceSpec(max_steps=4, keep={"failed": 2})).spec.shelf == 2


def step_of_changed(name: str, shape: Any) -> Any:
    """Traces one step whose state, action or outcome is not the one that was attached."""
    probe = GenericProbe(constant=("goal",))

    def step(state: World, action: Any) -> Any:
        del action
        return state, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), outcome)

    outcome = result()
    traced = jt.wrap_step(step, jt.TraceSpec(max_steps=4), probe=probe)
    attached = jax.eval_shape(lambda s, a: jt.attach(traced, s, a), world(), action())
    moves = action()
    if name == "move":
        moves = {"move": shape}
    elif name in outcome:
        outcome[name] = shape
    else:
        attached = replace(attached, state=world(**{name: shape}))
    return jax.eval_shape(traced, attached, moves)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "board",
            jax.ShapeDtypeStruct((3, 4, 4), jnp.int8),
            "field 'board': expected int32 [3, 4, 4], found int8 [3, 4, 4]",
        ),
        (
            "clock",
            jax.ShapeDtypeStruct((3,), jnp.float32),
            "field 'clock': expected int32 [3], found float32 [3]",
        ),
        (
            "goal",
            jax.ShapeDtypeStruct((3, 3), jnp.int8),
            "field 'goal': expected int8 [3, 2], found int8 [3, 3]",
        ),
        (
            "reward",
            jax.ShapeDtypeStruct((3,), jnp.bfloat16),
            "field 'reward': expected float32 [3], found bfloat16 [3]",
        ),
        (
            "move",
            jax.ShapeDtypeStruct((3,), jnp.int16),
            "field 'action.move': expected int32 [3], found int16 [3]",
        ),
    ],
)
def test_a_step_that_changes_a_dtype_or_shape_is_refused_at_trace_time(
    name: str, shape: Any, message: str
):
    with pytest.raises(SchemaError) as caught:
        step_of_changed(name, shape)
    assert str(caught.value) == f"{message}; dtypes and shapes must not change between steps"


def test_an_unchanged_step_is_not():
    state, _ = step_of_changed("clock", jax.ShapeDtypeStruct((3,), jnp.int32))
    assert isinstance(state, jt.TracedState)


def test_the_bytes_of_a_transition_are_its_fields():
    probe = GenericProbe(constant=("goal",), encodings={"board": Encoding.between(-1, 9)})
    plan = planned(probe)
    rng = np.random.default_rng(0)
    state = World(
        jnp.asarray(rng.integers(-1, 10, (LANES, 4, 4), np.int32)),
        jnp.asarray(rng.integers(0, 9, (LANES, 2), np.int8)),
        jnp.arange(LANES, dtype=jnp.int32),
    )
    outcome = {"reward": REWARD, "terminated": ENDS, "truncated": LIMIT}
    moves = {"move": jnp.arange(LANES, dtype=jnp.int32) + 7}

    @jax.jit
    def packed(state: World) -> Any:
        parts, found = pack_step(plan, probe, state, moves, outcome, LANES)
        return (
            parts,
            found,
            pack_state(plan, probe, state, LANES),
            pack_constants(plan, probe, state, LANES),
        )

    parts, found, frame, constants = jax.tree.map(np.asarray, packed(state))
    record = np.concatenate([part.view(np.uint8) for part in parts], axis=-1)
    assert record.shape == (LANES, plan.schema.record_bytes)
    assert np.array_equal(record[:, : plan.schema.state.nbytes], frame)
    assert np.array_equal(plan.schema.state.unpack(frame)["board"], state.board)
    assert np.array_equal(plan.schema.constant.unpack(constants)["goal"], state.goal)
    step = plan.schema.step.unpack(record[:, plan.schema.state.nbytes :])
    assert np.array_equal(step["action.move"], [7, 8, 9])
    assert step["reward"].tolist() == found.reward.tolist() == [1, 2, 3]
    assert step["terminated"].tolist() == found.terminated.tolist() == ENDS.tolist()
    assert step["truncated"].tolist() == found.truncated.tolist() == LIMIT.tolist()
