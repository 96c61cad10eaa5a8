"""How an environment is looked at: names of leaves, and what came of a step."""

from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stoa import StepType, TimeStep

import jaxarc_trace as jt
from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.jaxarc import JaxArcProbe
from jaxarc_trace.probe import GenericProbe, Outcome, Probe, named_leaves, outcome_of
from jaxarc_trace.probes import default_probe
from tests import toy


class Inner(eqx.Module):
    grid: Any
    count: Any


class Wrapping(eqx.Module):
    base_env_state: Any
    count: Any


class World(eqx.Module):
    board: Any
    goal: Any
    clock: Any


def test_leaves_are_named_by_their_path():
    Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - a plain one, as users have
    tree = {"a": [jnp.zeros(1), jnp.ones(2)], "b": Pair(jnp.zeros(3), Inner(jnp.zeros(4), 5))}
    found = named_leaves(tree, root="state")
    assert list(found) == ["a.0", "a.1", "b.left", "b.right.grid", "b.right.count"]
    assert all(isinstance(leaf, jax.Array) for leaf in found.values())


def test_a_bare_array_is_called_by_the_root():
    assert list(named_leaves(jnp.zeros(3), root="action")) == ["action"]
    assert named_leaves(2.5, root="action")["action"].dtype == jnp.float32


def test_levels_of_wrappers_are_left_out_and_nothing_is_lost():
    state = Wrapping(Wrapping(Inner(jnp.zeros(4), jnp.ones(())), jnp.full((), 2)), jnp.full((), 3))
    found = named_leaves(state, root="state")
    assert list(found) == ["grid", "count", "count.2", "count.3"]
    assert [float(leaf.max()) for leaf in found.values()] == [0, 1, 2, 3]


def test_names_that_clash_twice_are_kept_apart():
    tree = {"a": {"b": jnp.zeros(()), "b.1": jnp.ones(())}, "a.b": jnp.full((), 2)}
    found = named_leaves(tree, root="state")
    assert sorted(float(leaf) for leaf in found.values()) == [0, 1, 2]
    clashing = {"a": {"b": jnp.zeros(())}, "a.b": jnp.ones(()), "a.b.2": jnp.full((), 2)}
    clashing["x"] = {"y": 3.0}
    assert len(named_leaves(clashing, root="state")) == 4


def test_keys_become_their_data():
    found = named_leaves({"key": jax.random.split(jax.random.key(0), 5)}, root="state")
    assert (found["key"].shape, found["key"].dtype) == ((5, 2), jnp.uint32)


def test_a_generic_probe_parts_a_state():
    probe = GenericProbe(constant=("goal",), skip=("cl",))
    state = World(jnp.zeros((4, 4), jnp.int32), jnp.zeros(2, jnp.int8), jnp.zeros((), jnp.int32))
    assert set(probe.constants(state)) == {"goal"}
    assert set(probe.state(state)) == {"board"}
    assert probe.carried(state) is state
    assert probe.metrics(state) == {}
    assert probe.success(state, jnp.asarray(True)) is None
    assert list(probe.action(jnp.zeros(2))) == ["action"]
    assert GenericProbe(name="game", facts={"version": "2"}).describe() == {
        "name": "game",
        "version": "2",
    }


def test_a_generic_probe_can_be_a_static_argument():
    probe = GenericProbe(encodings={"board": Encoding.between(0, 3)}, facts={"versions": ["1"]})
    same = GenericProbe(encodings={"board": Encoding.between(0, 3)}, facts={"versions": ["1"]})
    assert hash(probe) == hash(same)
    assert {probe: 1}[same] == 1
    assert probe != GenericProbe(encodings={"board": Encoding.between(0, 4)})

    @partial(jax.jit, static_argnums=0)
    def names(probe: GenericProbe, state: Any) -> Any:
        return probe.state(state)

    assert list(names(probe, {"board": jnp.zeros(2, jnp.int32)})) == ["board"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"constant": ("gaol",)}, "gaol"),
        ({"skip": ("clocks",)}, "clocks"),
        ({"encodings": {"bord": Encoding.between(0, 3)}}, "bord"),
    ],
)
def test_a_name_that_is_nobody_s_is_refused(fields: Any, name: str):
    state = World(jnp.zeros((4, 4), jnp.int32), jnp.zeros(2, jnp.int8), jnp.zeros((), jnp.int32))
    nearest = {"gaol": "goal", "clocks": "clock", "bord": "board"}[name]
    with pytest.raises(SchemaError) as caught:
        GenericProbe(**fields).state(state)
    what = next(iter(fields))
    known = "board, goal, clock" + ", reward, terminated, truncated" * (what == "encodings")
    assert str(caught.value) == (
        f"GenericProbe({what}=...): {name!r} is no field; expected of {known}; nearest: {nearest!r}"
    )


def test_an_encoding_of_an_action_that_is_not_there_is_refused():
    probe = GenericProbe(encodings={"action.mvoe": Encoding.between(0, 3)})
    with pytest.raises(SchemaError, match=r"'action.mvoe' is no field.*nearest: 'action.move'"):
        probe.action({"move": jnp.zeros((), jnp.int32)})


def test_a_goal_says_what_success_is():
    probe = GenericProbe(goal=lambda state, terminated: terminated & (state > 2))
    ended = jnp.asarray([True, True, False])
    assert probe.success(jnp.asarray([1, 3, 3]), ended).tolist() == [False, True, False]  # type: ignore[union-attr]


def test_the_probes_are_probes():
    assert isinstance(GenericProbe(), Probe)
    assert isinstance(JaxArcProbe(), Probe)
    assert not isinstance(object(), Probe)
    assert jt.Probe is Probe


def test_the_default_is_generic_and_has_the_name_of_the_innermost():
    env = toy.ScriptedEnv(toy.example_script((3,)))
    assert default_probe(env) == GenericProbe(name="ScriptedEnv")


def truth(outcome: Outcome) -> tuple[list[float], list[bool], list[bool]]:
    return tuple(np.asarray(part).tolist() for part in outcome[:3])  # type: ignore[return-value]


REWARD = jnp.asarray([1.0, 2.0, 3.0])
ENDS = jnp.asarray([False, True, False])
LIMIT = jnp.asarray([False, False, True])


@pytest.mark.parametrize(
    ("kind", "terminated", "truncated"),
    [
        (StepType.MID, False, False),
        (StepType.TERMINATED, True, False),
        (StepType.TRUNCATED, False, True),
        (StepType.FIRST, False, False),
    ],
)
def test_the_outcome_of_a_time_step(kind: Any, terminated: bool, truncated: bool):
    one = jnp.ones((), jnp.float32)
    step = TimeStep(jnp.asarray(kind, jnp.int8), one, one, jnp.zeros(2), {})
    found = outcome_of(step)
    assert (bool(found.terminated), bool(found.truncated)) == (terminated, truncated)
    assert bool(found.terminated) == bool(step.terminated())
    assert bool(found.truncated) == bool(step.truncated())


@pytest.mark.parametrize("form", [dict, SimpleNamespace])
def test_the_outcome_of_a_mapping_or_an_object(form: Any):
    both = outcome_of(form(reward=REWARD, terminated=ENDS, truncated=LIMIT))
    assert truth(both) == ([1, 2, 3], [False, True, False], [False, False, True])
    alone = outcome_of(form(reward=REWARD, terminated=ENDS))
    assert truth(alone) == ([1, 2, 3], [False, True, False], [False] * 3)
    done = outcome_of(form(reward=REWARD, done=ENDS))
    assert truth(done) == truth(alone)
    # `done` is either of the two: what a limit ended did not terminate.
    either = outcome_of(form(reward=REWARD, done=ENDS | LIMIT, truncated=LIMIT))
    assert truth(either) == truth(both)


def test_flags_may_be_numbers():
    found = outcome_of({"reward": 1, "done": jnp.asarray([0.0, 1.0])})
    assert found.terminated.dtype == jnp.bool_
    assert np.asarray(found.terminated).tolist() == [False, True]


@dataclass
class Unfit:
    reward: float = 0.0

    def terminated(self) -> bool:
        return False


@pytest.mark.parametrize("what", [(1.0, False), {"reward": 1.0}, {"done": False}, Unfit(), None])
def test_what_is_no_outcome_is_refused(what: Any):
    with pytest.raises(SchemaError) as caught:
        outcome_of(what)
    assert str(caught.value) == (
        "a step must return (next_state, outcome) where the outcome is a Stoa TimeStep, or has "
        f"`reward` and `terminated` (or `done`); found {type(what).__name__}; return such a "
        "mapping, or write a probe with `outcome`"
    )
