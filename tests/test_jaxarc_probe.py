"""What is kept of JaxARC, in how many bytes, for every kind of action; and that all of it fits."""

import functools
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxarc.envs.grid_operations import OPERATION_NAMES
from jaxarc.state import State
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey, Wrapper

import jaxarc_trace as jt
from jaxarc_trace import jaxarc
from jaxarc_trace.codec import Encoding
from jaxarc_trace.digest import digest
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.jaxarc import JaxArcProbe, arc_state, is_jaxarc
from jaxarc_trace.memory import _plan
from jaxarc_trace.plan import Plan, pack_constants, pack_state, pack_step
from jaxarc_trace.probes import default_probe, sampled_action
from tests.arc import SMALL, arc, batched

KINDS = ("point", "bbox", "mask", "flat")
ACTIONS = {
    "point": {"action.operation", "action.row", "action.col"},
    "bbox": {"action.operation", "action.r1", "action.c1", "action.r2", "action.c2"},
    "mask": {"action.operation", "action.selection"},
    "flat": {"action.action"},
}
CONSTANT = {
    "input_grid",
    "input_grid_mask",
    "target_grid",
    "target_grid_mask",
    "task_idx",
    "pair_idx",
    "key",
}
OUTCOME = {"reward", "terminated", "truncated", "digest", "extra.operation"}
VARYING = {"working_grid", "working_grid_mask", "step_count", "similarity_score"}
CELL = Encoding("bits", -1, 4)


@functools.cache
def planned(kind: str, level: str = "standard", lanes: int | None = 4) -> Plan:
    """The layout for one kind of action, from shapes alone."""
    spec = jt.TraceSpec(level=level, max_steps=32, keep="failed")  # type: ignore[arg-type]
    return _plan(spec, arc(action=kind), lanes, None, None)[0]


def encodings(section: Any) -> dict[str, Encoding]:
    return {field.name: field.encoding for field in section.fields}


def test_operations_have_jaxarcs_own_names():
    assert [name for name, _ in jaxarc.OPERATIONS] == [OPERATION_NAMES[i] for i in range(35)]
    assert len(OPERATION_NAMES) == len(jaxarc.OPERATIONS) == 35


def test_operations_have_the_kind_that_their_name_says():
    words = {"Fill": "fill", "Flood": "flood", "Move": "move", "Rotate": "rotate", "Flip": "flip"}
    words |= dict.fromkeys(("Paste", "Cut"), "clipboard") | {"Submit": "submit"}
    words |= dict.fromkeys(("Clear", "Resize"), "grid")
    for name, kind in jaxarc.OPERATIONS:
        if name != "Copy Input":
            assert kind == words.get(name.split()[0], "clipboard"), name
    assert dict(jaxarc.OPERATIONS)["Copy Input"] == "grid"
    assert dict(jaxarc.OPERATIONS)["Copy"] == "clipboard"


@pytest.mark.parametrize("level", ["standard", "verbose"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_fields_of_each_kind_of_action(kind: str, level: str):
    schema = planned(kind, level).schema
    assert set(schema.constant.names) == CONSTANT
    assert set(schema.state.names) == VARYING | (set() if kind == "mask" else {"selected"})
    assert set(schema.step.names) == OUTCOME | ACTIONS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_encodings_of_each_kind_of_action(kind: str):
    schema = planned(kind).schema
    state, constant, step = (encodings(s) for s in (schema.state, schema.constant, schema.step))
    assert state["working_grid"] == constant["input_grid"] == constant["target_grid"] == CELL
    boxes = (state["working_grid_mask"], constant["input_grid_mask"], constant["target_grid_mask"])
    assert set(boxes) == {Encoding("box")}
    assert step["extra.operation"] == Encoding("bits", -1, 6)
    raw = {name: e for name, e in (state | step).items() if e.kind == "raw"}
    assert set(raw) == {"step_count", "similarity_score", "reward", "digest"} | (
        ACTIONS[kind] - {"action.selection"}
    )
    for one_bit in {"selected", "action.selection"} & (state | step).keys():
        assert (state | step)[one_bit] == Encoding("bits", 0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_transition_takes_at_most_640_bytes(kind: str):
    schema = planned(kind).schema
    grid = next(field for field in schema.state.fields if field.name == "working_grid")
    assert (grid.shape, grid.nbytes) == ((30, 30), 450)
    assert schema.record_bytes <= 640
    # 450 of cells, 113 of the selection, 4 of the mask, and the rest.
    assert 450 + 113 + 4 < schema.record_bytes < 450 + 113 + 4 + 50
    assert arc(action=kind).observation_shape()[:2] == (30, 30)


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_is_the_same_without_lanes(kind: str):
    assert planned(kind, "standard", None) == planned(kind, "standard", 4)


def test_the_full_level_keeps_every_leaf_of_the_state():
    leaves = set(State.__dataclass_fields__)
    for kind in ("point", "mask"):
        schema = planned(kind, "full").schema
        assert set(schema.state.names) == leaves
        assert schema.constant.names == ()
        kinds = {field.encoding.kind for field in schema.state.fields if field.dtype != "bool"}
        assert kinds == {"raw"}


def test_every_leaf_is_constant_or_in_the_digest_or_follows_from_it():
    # The similarity follows from the grid and the target.
    known = {*jaxarc._CONSTANT, *jaxarc._CARRIED, "similarity_score"}
    assert known == set(State.__dataclass_fields__)
    assert not set(jaxarc._CONSTANT) & set(jaxarc._CARRIED)
    assert set(jaxarc._CONSTANT) == CONSTANT


@pytest.mark.parametrize("kind", KINDS)
def test_the_description_is_json_and_its_roles_are_fields(kind: str):
    plan = planned(kind)
    found = json.loads(plan.environment)
    assert found["name"] == "jaxarc"
    assert found["version"] == "1.0.3"
    assert found["task_ids"] == list(SMALL)
    assert found["max_episode_steps"] == 32
    assert len(found["operations"]) == len(found["operation_kinds"]) == 35
    recorded = {*plan.schema.state.names, *plan.schema.constant.names}
    recorded |= {name.partition(".")[2] for name in plan.schema.step.names}
    assert set(found["roles"].values()) <= recorded
    expected = {"grid", "grid_mask", "input", "input_mask", "target", "target_mask", "task", "pair"}
    expected |= {"score", "operation"} | (set() if kind == "mask" else {"selected"})
    assert set(found["roles"]) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrapped_environment_is_recognized(kind: str):
    env = VmapWrapper(AddRNGKey(arc(action=kind)))
    assert is_jaxarc(env)
    probe = default_probe(env)
    assert isinstance(probe, JaxArcProbe)
    assert probe == jaxarc.probe(arc(action=kind))
    assert (probe.masks, probe.max_episode_steps) == (kind == "mask", 32)
    assert hash(probe) == hash(default_probe(arc(action=kind)))
    assert jaxarc.probe(env, ["a", "b", "c", "d"]).task_ids == ("a", "b", "c", "d")


class Foreign(Wrapper):
    """A wrapper of somebody's own, which has to be asked for its action space."""

    def action_space(self, env_params: Any = None) -> Any:
        return self._env.action_space(env_params)


@pytest.mark.parametrize("kind", KINDS)
def test_jaxarcs_own_wrappers_are_known_without_their_action_space(kind: str, monkeypatch):
    env = arc(action=kind)
    asked = jaxarc.probe(Foreign(env)).masks
    monkeypatch.setattr(type(env.unwrapped), "action_space", None)
    assert (
        jaxarc.probe(env).masks == jaxarc.probe(AddRNGKey(env)).masks == asked == (kind == "mask")
    )
    with pytest.raises(TypeError):
        jaxarc.probe(Foreign(arc(action="mask")))


def test_other_things_are_not():
    assert not is_jaxarc(object())
    assert not is_jaxarc(jt)


LANES, STEPS = 16, 24


def random_masks(key: jax.Array) -> dict[str, jax.Array]:
    """Any operation, also Resize, on any cells: empty selections, full ones and noise."""
    which, resize, cells, density = jax.random.split(key, 4)
    operation = jax.random.randint(which, (LANES,), 0, 34, jnp.int32)
    share = jax.random.choice(density, jnp.asarray([0.0, 0.002, 0.3, 1.0]), (LANES, 1, 1))
    return {
        # Never Submit, so that an episode goes on to its limit.
        "operation": jnp.where(jax.random.bernoulli(resize, 0.2, (LANES,)), 33, operation),
        "selection": jax.random.uniform(cells, (LANES, 30, 30)) < share,
    }


@functools.cache
def history() -> dict[str, Any]:
    """Transitions from demonstrated, permuted, empty and random grids, `[step * lane]`."""
    reset, step = batched(arc(action="mask", start="mixed", max_steps=12))

    def body(state: Any, key: jax.Array) -> tuple[Any, Any]:
        action = random_masks(key)
        after, timestep = step(state, action)
        seen = {"before": state, "after": after, "action": action, "reward": timestep.reward}
        seen |= {"terminated": timestep.terminated(), "truncated": timestep.truncated()}
        return after, seen | {"operation": timestep.extras["operation_id"]}

    @jax.jit
    def program(key: jax.Array) -> Any:
        start, run = jax.random.split(key)
        state, _ = reset(jax.random.split(start, LANES))
        seen = jax.lax.scan(body, state, jax.random.split(run, STEPS))[1]
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), seen)

    keys = jax.dtypes.prng_key
    return jax.tree.map(
        lambda leaf: np.asarray(
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, keys) else leaf
        ),
        program(jax.random.key(3)),
    )


@functools.cache
def packed() -> tuple[np.ndarray, np.ndarray]:
    plan, probe = planned("mask"), default_probe(arc(action="mask"))

    @jax.jit
    def pack(state: Any) -> Any:
        lanes = state.step_count.shape[0]
        return pack_state(plan, probe, state, lanes), pack_constants(plan, probe, state, lanes)

    return jax.tree.map(np.asarray, pack(history()["after"]))


def test_grids_of_any_beginning_and_any_operation_fit_their_encodings():
    after, plan = history()["after"], planned("mask")
    states = plan.schema.state.unpack(packed()[0])
    constants = plan.schema.constant.unpack(packed()[1])
    for name, found in {**states, **constants}.items():
        expected = getattr(after, name)
        assert found.dtype == expected.dtype, name
        assert np.array_equal(found, expected), name
    # That would show little if the play were dull.
    masks = after.working_grid_mask
    sides = {(int(m.any(1).sum()), int(m.any(0).sum())) for m in masks}
    assert len(sides) > 10
    assert set(np.unique(after.working_grid)) == set(range(-1, 10))
    assert len(np.unique(history()["operation"])) == 34
    assert history()["truncated"].any()


def test_the_selection_left_out_is_the_actions_within_the_grid():
    seen = history()
    within = seen["action"]["selection"] & seen["before"].working_grid_mask
    assert np.array_equal(seen["after"].selected, within)


def test_what_is_called_constant_is_constant_in_a_step():
    for name in CONSTANT:
        before, after = getattr(history()["before"], name), getattr(history()["after"], name)
        assert np.array_equal(before, after), name


def test_a_digest_tells_states_apart_and_takes_equal_ones_for_equal():
    probe = default_probe(arc(action="mask"))
    before, after = history()["before"], history()["after"]
    states = jax.tree.map(lambda *leaves: np.concatenate(leaves), before, after)
    found = np.asarray(jax.jit(lambda s: digest(probe.carried(s), len(s.step_count)))(states))
    carried = [np.asarray(leaf) for leaf in probe.carried(states)]
    identity = [b"".join(leaf[i].tobytes() for leaf in carried) for i in range(len(found))]
    by_state = dict(zip(identity, found.tolist(), strict=True))
    assert [by_state[each] for each in identity] == found.tolist()
    assert len(set(by_state.values())) == len(by_state) > 300


@pytest.mark.parametrize("name", jaxarc._CARRIED)
def test_a_digest_sees_each_leaf_that_can_change(name: str):
    probe = default_probe(arc(action="mask"))
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), history()["after"])
    leaf = getattr(state, name)
    other = ~leaf if leaf.dtype == jnp.bool_ else leaf + jnp.asarray(1, leaf.dtype)
    changed = eqx.tree_at(lambda s: getattr(s, name), state, other)
    assert int(digest(probe.carried(state))) != int(digest(probe.carried(changed)))


def spoiled(name: str, spoil: Any) -> np.ndarray:
    """Packed states `[2, ...]`, of which the second is not as JaxARC would have it."""
    plan, probe = planned("mask"), default_probe(arc(action="mask"))
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf[:2]), history()["after"])
    leaf = np.array(getattr(state, name))
    spoil(leaf[1])
    # Past JaxARC's own check of ranks, which knows no lanes.
    state = eqx.tree_at(lambda s: getattr(s, name), state, jnp.asarray(leaf))
    section = plan.schema.constant if name in CONSTANT else plan.schema.state
    pack = pack_constants if name in CONSTANT else pack_state
    data = np.asarray(jax.jit(lambda s: pack(plan, probe, s, 1))(state))
    # What is well before it can still be read.
    assert np.array_equal(section.unpack(data[:1])[name], leaf[:1])
    return data


def hole(mask: np.ndarray) -> None:
    mask[:] = False
    mask[2:6, 3:9] = True
    mask[3, 4] = False


def ell(mask: np.ndarray) -> None:
    mask[:] = False
    mask[:4, :2] = mask[:2, :4] = True


@pytest.mark.parametrize("name", ["working_grid_mask", "target_grid_mask"])
@pytest.mark.parametrize("spoil", [hole, ell])
def test_a_mask_that_is_no_rectangle_is_flagged_and_not_clipped(name: str, spoil: Any):
    data = spoiled(name, spoil)
    plan = planned("mask")
    section = plan.schema.constant if name in CONSTANT else plan.schema.state
    with pytest.raises(SchemaError) as caught:
        section.unpack(data, where="lane 0 episode 0")
    assert str(caught.value).startswith(
        f"lane 0 episode 0: field {name!r} held a value outside one filled rectangle at row 1 "
        "(1 in all), so its bytes were not kept"
    )


@pytest.mark.parametrize("colour", [-2, 15, 16, 2**31 - 1])
def test_a_colour_outside_is_flagged_and_not_clipped(colour: int):
    def spoil(grid: np.ndarray) -> None:
        grid[29, 29] = colour

    data = spoiled("working_grid", spoil)
    message = r"field 'working_grid' held a value outside \[-1, 14\] at row 1"
    with pytest.raises(SchemaError, match=message):
        planned("mask").schema.state.unpack(data)


def test_a_transition_is_kept_with_its_canonical_operation():
    plan, probe = planned("mask"), default_probe(arc(action="mask"))
    seen = history()
    outcome = {key: seen[key] for key in ("reward", "terminated", "truncated")}

    def pack(state: Any, action: Any) -> Any:
        # The outcome is what a step returns, but for what is not recorded.
        return pack_step(plan, probe, state, action, outcome, len(outcome["reward"]))[0]

    action = {
        "operation": seen["action"]["operation"],
        # What the action space samples: integers.
        "selection": seen["action"]["selection"].astype(np.int32),
    }
    parts = [np.asarray(part).view(np.uint8) for part in jax.jit(pack)(seen["before"], action)]
    records = np.concatenate(parts, axis=-1)
    assert records.shape == (LANES * STEPS, plan.schema.record_bytes)
    step = plan.schema.step.unpack(records[:, plan.schema.state.nbytes :])
    assert np.array_equal(step["action.selection"], action["selection"])
    assert np.array_equal(step["extra.operation"], seen["operation"])
    assert step["reward"].tobytes() == seen["reward"].tobytes()
    assert np.array_equal(step["truncated"], seen["truncated"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_operation_is_known_whatever_the_action(kind: str):
    env = arc(action=kind)
    probe = default_probe(env)

    def step(key: jax.Array, action: Any) -> Any:
        state, _ = env.reset(key)
        state, timestep = env.step(state, action)
        return probe.outcome(timestep, action)

    outcome = jax.eval_shape(step, jax.random.key(0), sampled_action(env))
    assert outcome.extras["operation"].dtype == jnp.int32
    assert outcome.extras["operation"].shape == ()
    assert outcome.reward.dtype == jnp.float32


def test_the_state_inside_any_wrappers():
    env = AddRNGKey(arc())
    state, _ = jax.eval_shape(env.reset, jax.random.key(0))
    assert type(state) is not State
    assert isinstance(arc_state(state), State)
    assert arc_state(arc_state(state)) is arc_state(state)
