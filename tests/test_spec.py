"""What to keep is one immutable value; what contradicts itself is refused with what to change."""

import copy
import dataclasses
import functools
import json
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxarc_trace.errors import SpecError, TraceError
from jaxarc_trace.spec import DEFAULT_SLOTS, POLICIES, Policy, TraceSpec
from jaxarc_trace.stats import Stats


def longest(stats: Stats) -> jax.Array:
    return stats.length


def shortest(stats: Stats) -> jax.Array:
    return -stats.length


def best(stats: Stats) -> jax.Array:
    return stats.total_return


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self, stats: Stats) -> jax.Array:
        return stats.total_return


WHOLE = "expected a whole number of at least 1, found"
NAMES = "keep: expected one of last, first, best, worst, random, failed, found"
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"level": "standart"},
        (
            "level: expected one of off, minimal, standard, verbose, full, found 'standart'; "
            "did you mean 'standard'?"
        ),
    ),
    ({"level": None}, "level: expected one of off, minimal, standard, verbose, full, found None"),
    ({"layout": "lanes"}, "layout: expected one of auto, batch, lane, found 'lanes'; did you"),
    ({"max_steps": 0}, f"max_steps: {WHOLE} 0"),
    ({"max_steps": None}, f"max_steps: {WHOLE} None"),
    ({"max_steps": 8.0}, f"max_steps: {WHOLE} 8.0"),
    ({"max_steps": True}, f"max_steps: {WHOLE} True"),
    ({"slots": 0}, f"slots: {WHOLE} 0"),
    ({"slots": "4"}, f"slots: {WHOLE} '4'"),
    ({"capacity": -1}, f"capacity: {WHOLE} -1"),
    ({"lanes": 0}, f"lanes: {WHOLE} 0"),
    ({"recent": 0}, f"recent: {WHOLE} 0"),
    ({"seed": 0.5}, "seed: expected a whole number, found 0.5"),
    ({"seed": "x"}, "seed: expected a whole number, found 'x'"),
    (
        {"max_steps": 10, "capacity": 9},
        (
            "capacity is the ring's length and must hold one whole episode: expected at least "
            "max_steps = 10, found 9; raise capacity or lower max_steps"
        ),
    ),
    ({"keep": "bset"}, f"{NAMES} 'bset'; did you mean 'best'?"),
    ({"keep": {"bset": 3}}, f"{NAMES} 'bset'; did you mean 'best'?"),
    ({"keep": (Policy("bset", 3),)}, f"{NAMES} 'bset'; did you mean 'best'?"),
    (
        {"keep": ["best", "worst"]},
        (
            "keep: expected the name of a policy, a mapping of policies to slot counts, or a "
            "function of an episode's Stats, found ['best', 'worst']"
        ),
    ),
    ({"keep": None}, "keep: expected the name of a policy, a mapping of policies to slot counts"),
    ({"keep": {}}, "keep: expected at least one policy, found none; say keep='last'"),
    (
        {"keep": "last", "slots": 4},
        (
            "keep='last' is the ring itself and takes no slots, found slots=4; leave slots out, or "
            "choose how much is kept by capacity"
        ),
    ),
    (
        {"keep": {"last": 4, "best": 2}},
        (
            "keep: 'last' is the ring itself and takes no slots, found 4; leave it out, since the "
            "ring is always there"
        ),
    ),
    (
        {"keep": (Policy("last", 4),)},
        "keep: 'last' is the ring itself and takes no slots; leave it out",
    ),
    ({"keep": {"best": 0}}, f"slots of keep 'best': {WHOLE} 0"),
    ({"keep": {"best": 1.5}}, f"slots of keep 'best': {WHOLE} 1.5"),
    ({"keep": (Policy("best", 0),)}, f"slots of keep 'best': {WHOLE} 0"),
    (
        {"keep": {"best": 2, "worst": 3}, "slots": 4},
        "slots=4 contradicts keep, whose counts add up to 5; leave slots out",
    ),
    (
        {"keep": {longest: 2, functools.partial(longest): 1, functools.partial(shortest): 1}},
        (
            "keep names a policy twice: ['longest', 'partial', 'partial']; give each function its "
            "own name"
        ),
    ),
    (
        {"keep": tuple(Policy(f"p{i}", 1, longest) for i in range(32))},
        "keep: expected at most 31 policies, found 32",
    ),
    (
        {"keep": best},
        "keep: a scoring function may not be called 'best', which is a policy; rename it",
    ),
    (
        {"keep": (Policy("mine", 2, "score"),)},  # type: ignore[arg-type]
        "keep, policy 'mine': expected a function of an episode's Stats, found 'score'",
    ),
    (
        {"keep": Unhashable()},
        (
            "keep, policy 'Unhashable': expected a hashable function, because a TraceSpec is "
            "static, found one of Unhashable; give a plain function, or make it a frozen dataclass"
        ),
    ),
    (
        {"score": "similarity"},
        "score: expected a function of an episode's Stats, found 'similarity'",
    ),
    (
        {"keep": "random", "score": longest},
        (
            "score changes what best and worst rank by, but keep is ('random',); use keep='best', "
            "or give the function itself as keep"
        ),
    ),
    (
        {"keep": "last", "score": longest},
        (
            "score changes what best and worst rank by, but keep is (); use keep='best', or give "
            "the function itself as keep"
        ),
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_a_contradiction_is_refused_when_the_spec_is_built(arguments: dict[str, Any], message: str):
    with pytest.raises(SpecError) as caught:
        TraceSpec(**arguments)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TraceError)


@pytest.mark.parametrize(("arguments", "message"), [r for r in REFUSED if [*r[0]] != ["slots"]])
def test_replace_refuses_the_same(arguments: dict[str, Any], message: str):
    with pytest.raises(SpecError) as caught:
        TraceSpec(max_steps=10).replace(**arguments)
    assert str(caught.value).startswith(message)


def test_the_defaults():
    spec = TraceSpec()
    assert (spec.level, spec.max_steps, spec.slots, spec.capacity) == ("standard", 128, 16, 256)
    assert (spec.lanes, spec.score, spec.recent, spec.layout, spec.seed) == (
        None,
        None,
        8,
        "auto",
        0,
    )
    assert spec.policies == (Policy("best", 16),)
    assert spec.policy_names == ("best",)
    assert (spec.shelf, spec.ring_steps, spec.recent_episodes) == (16, 256, 8)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_can_be_kept_alone(name: str):
    spec = TraceSpec(keep=name)
    assert spec.shelf == (0 if name == "last" else DEFAULT_SLOTS)
    assert spec.policy_names == (() if name == "last" else (name,))
    if name != "last":
        assert TraceSpec(keep=name, slots=3) == TraceSpec(keep={name: 3})


def test_the_order_of_a_mapping_is_the_order_of_the_bits():
    spec = TraceSpec(keep={"failed": 2, longest: 1, "best": 3})
    assert spec.policy_names == ("failed", "longest", "best")
    assert (spec.slots, spec.shelf) == (6, 6)
    assert spec.policies[1].score is longest


def test_a_policy_of_the_users_own_may_have_any_name():
    spec = TraceSpec(keep=(Policy("unusual", 2, longest), Policy("best", 1)))
    assert spec.policy_names == ("unusual", "best")
    assert TraceSpec(keep=functools.partial(longest)).policy_names == ("partial",)


def test_the_last_may_be_named_in_a_mapping_without_a_count():
    assert TraceSpec(keep={"last": None, "best": 2}) == TraceSpec(keep={"best": 2})
    assert TraceSpec(keep={"last": None}) == TraceSpec(keep="last")


def test_whole_numbers_of_numpy_become_pythons():
    spec = TraceSpec(max_steps=np.int64(5), lanes=np.uint8(3), seed=np.int32(7))  # type: ignore[arg-type]
    assert spec == TraceSpec(max_steps=5, lanes=3, seed=7)
    assert type(spec.max_steps) is type(spec.lanes) is type(spec.seed) is int
    json.dumps(spec.describe())


def test_a_minimal_trace_has_no_ring_to_hold_an_episode():
    assert TraceSpec(level="minimal", max_steps=100, capacity=1).ring_steps == 1


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(("off", "minimal", "standard", "verbose", "full")),
        "max_steps": st.integers(1, 300),
        "keep": st.one_of(
            st.sampled_from((*POLICIES, longest)),
            st.dictionaries(
                st.sampled_from(("first", "best", "worst", "random", "failed", longest, shortest)),
                st.integers(1, 9),
                min_size=1,
            ),
        ),
        "lanes": st.none() | st.integers(1, 99),
        "recent": st.none() | st.integers(1, 9),
        "layout": st.sampled_from(("auto", "batch", "lane")),
        "seed": st.integers(-5, 2**40),
    },
)


@given(FIELDS)
def test_equal_arguments_make_equal_values(fields: dict[str, Any]):
    spec, again = TraceSpec(**fields), TraceSpec(**fields)
    assert spec == again
    assert hash(spec) == hash(again)
    assert spec == spec.replace() == dataclasses.replace(spec) == copy.deepcopy(spec)
    assert spec == pickle.loads(pickle.dumps(spec))
    assert json.loads(json.dumps(spec.describe())) == spec.describe()


@given(FIELDS, FIELDS)
def test_replace_is_as_if_built_so_where_the_rest_was_default(
    fields: dict[str, Any], others: dict[str, Any]
):
    assert TraceSpec(**fields).replace(**others) == TraceSpec(**{**fields, **others})


@given(FIELDS)
def test_any_other_argument_makes_another_value(fields: dict[str, Any]):
    spec = TraceSpec(**fields)
    different = {
        "max_steps": spec.max_steps + 1,
        "lanes": (spec.lanes or 0) + 1,
        "seed": spec.seed + 1,
        "capacity": spec.ring_steps + 1,
        "level": "full" if spec.level == "verbose" else "verbose",
    }
    for name, value in different.items():
        assert spec.replace(**{name: value}) != spec, name


@pytest.mark.parametrize("keep", ["last", "best", {"best": 3}, {"best": 3, "worst": 1}])
def test_replace_leaves_the_rest_alone(keep: Any):
    spec = TraceSpec(keep=keep, max_steps=10, capacity=77, recent=5)
    changed = spec.replace(lanes=3)
    assert changed == TraceSpec(keep=keep, max_steps=10, capacity=77, recent=5, lanes=3)
    # What was asked for stays; what followed by default follows again.
    assert spec.replace(max_steps=20).capacity == 77
    assert spec.replace(max_steps=20).recent == 5
    assert TraceSpec(keep=keep, max_steps=100).replace(max_steps=20).capacity == 40
    assert TraceSpec(keep=keep).replace(capacity=3200).recent == 100


def test_replace_slots_resizes_the_only_policy():
    assert TraceSpec(keep="failed").replace(slots=3) == TraceSpec(keep="failed", slots=3)
    own = TraceSpec(keep=(Policy("mine", 4, longest),))
    assert own.replace(slots=2).policies == (Policy("mine", 2, longest),)
    assert TraceSpec(keep={"best": 3}).replace(keep="worst").slots == DEFAULT_SLOTS
    with pytest.raises(SpecError, match="slots=7 contradicts keep, whose counts add up to 4"):
        TraceSpec(keep={"best": 3, "worst": 1}).replace(slots=7)
    with pytest.raises(SpecError, match="keep='last' is the ring itself and takes no slots"):
        TraceSpec(keep="last").replace(slots=7)
    with pytest.raises(SpecError, match="slots of keep 'best': expected a whole number"):
        TraceSpec().replace(slots=0)


def test_a_spec_is_a_static_argument_of_jit():
    compiled: list[TraceSpec] = []

    @functools.partial(jax.jit, static_argnames="spec")
    def program(value: jax.Array, spec: TraceSpec) -> jax.Array:
        compiled.append(spec)
        return value + spec.max_steps

    one = jnp.ones((), jnp.int32)
    assert program(one, spec=TraceSpec(max_steps=4)) == 5
    assert program(one, spec=TraceSpec(max_steps=4, keep={"best": 16})) == 5
    assert len(compiled) == 1
    assert program(one, spec=TraceSpec(max_steps=5)) == 6
    assert len(compiled) == 2


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TraceSpec().max_steps = 3  # type: ignore[misc]


def test_describe_names_functions():
    spec = TraceSpec(keep={"best": 1, longest: 2}, score=shortest)
    assert spec.describe()["keep"] == {"best": 1, "longest": 2}
    assert spec.describe()["score"] == "shortest"
