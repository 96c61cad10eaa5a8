"""What is measured, in which order, and what is made of it. No test looks at how long it took."""

import itertools
import json
import math
import statistics
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.experimental.compilation_cache.compilation_cache import reset_cache

import jaxarc_trace as jt
from jaxarc_trace.overhead import Side, compared
from jaxarc_trace.timing import Program, compile_program, measure, ratio, rounds_in_order
from tests import toy

LANES, STEPS = 3, 5
SPEC = jt.TraceSpec(max_steps=4, keep={"best": 2})
ENV = toy.ScriptedEnv(toy.example_script((5,)))


def rollout(spec: jt.TraceSpec):
    def run(key: jax.Array):
        return jt.rollout(
            ENV,
            toy.numbered,
            key,
            spec=spec,
            num_lanes=LANES,
            num_steps=STEPS,
            probe=toy.probe(),
        )

    return run


def side(*cpu: float, wall: tuple[float, ...] = (), trace: int = 0) -> Side:
    return Side(wall or cpu, cpu, (1.0,), 10 + trace, trace)


@given(st.integers(1, 6), st.integers(1, 24))
def test_every_round_runs_each_program_once(count, rounds):
    orders = list(rounds_in_order(count, rounds))
    assert len(orders) == rounds
    assert all(sorted(order) == list(range(count)) for order in orders)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_program_is_first_and_last_equally_often(count):
    orders = list(rounds_in_order(count, 2 * count))
    for place in (0, -1):
        assert sorted(order[place] for order in orders) == sorted(2 * list(range(count)))


def test_two_programs_take_turns_and_each_is_warmed_up_once():
    seen: list[str] = []
    programs = [
        Program("a", lambda: seen.append("a"), prepare=lambda: seen.append("(a)")),
        Program("b", lambda: seen.append("b"), work=0.5),
    ]
    measure(programs, 4)
    plain = [name for name in seen if name in "ab"]
    assert plain[:2] == ["a", "b"]
    assert sorted(plain[2:]) == ["a"] * 4 + ["b"] * 4
    assert [set(pair) for pair in zip(plain[2::2], plain[3::2], strict=True)] == [{"a", "b"}] * 4
    assert all(seen[seen.index("a", i) - 1] == "(a)" for i in range(len(seen) - 3))
    assert [len(program.wall) for program in programs] == [4, 4]
    assert [len(program.cpu) for program in programs] == [4, 4]


def test_a_ratio_is_taken_within_rounds():
    # The machine is ten times slower in every other round; the ratio is 1.1 in all of them.
    bottom = [1.0, 10.0] * 8
    found = ratio([1.1 * b for b in bottom], bottom)
    assert found.median == pytest.approx(1.1)
    assert found.low == pytest.approx(1.1)
    assert found.high == pytest.approx(1.1)
    assert found.rounds == 16


def test_the_interval_is_the_sign_tests():
    found = ratio([float(i) for i in range(15)], [1.0] * 15)
    assert found.median == 7
    # P(at most 3 heads of 15) = 0.0176 on each side, of at most 4 heads 0.059.
    assert (found.low, found.high) == (3, 11)
    assert found.coverage == pytest.approx(1 - 2 * 576 / 2**15)
    assert str(found) == "7.000 (3.000 to 11.000)"


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=12))
def test_the_interval_covers_what_it_says(values):
    found = ratio(values, [1.0] * len(values))
    rank = sorted(values).index(found.low)
    assert found.low <= found.median == statistics.median(values) <= found.high
    assert found.coverage >= 0.95 or (found.low, found.high) == (min(values), max(values))
    if len(set(values)) == len(values) <= 10:
        # Of all ways in which the values can lie about the median, those that the interval holds.
        n = len(values)
        held = sum(rank < sum(way) < n - rank for way in itertools.product((0, 1), repeat=n))
        assert math.isclose(held / 2**n, found.coverage)


def test_bytes_are_those_of_the_trace_and_of_all_that_is_returned():
    untraced = rollout(SPEC.replace(level="off"))
    traced = rollout(SPEC)
    key = jax.random.key(0)
    found = jt.measure_overhead(untraced, traced, key, rounds=2, budget=None)
    now, trace = jax.jit(traced)(key)
    plain = sum(leaf.nbytes for leaf in jax.tree.leaves(now))
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(trace))
    assert (found.untraced.output_bytes, found.untraced.trace_bytes) == (plain, 0)
    assert (found.traced.output_bytes, found.traced.trace_bytes) == (plain + kept, kept)
    assert [len(times) for times in (found.traced.wall, found.traced.compile)] == [2, 1]
    assert found.traced.compiler["instructions"] > found.untraced.compiler["instructions"]
    assert found.wall == ratio(found.traced.wall, found.untraced.wall)
    assert found.verdict == "none"
    assert f"trace        {kept:,} bytes" in str(found)
    told = json.loads(found.json())
    assert told["traced"]["trace_bytes"] == kept
    assert told["cpu"]["median"] == found.cpu.median


def test_arguments_that_a_program_gives_away_are_copied_for_each_run():
    given_away = jax.jit(lambda x: x + 1, donate_argnums=0)
    value = jnp.ones(8)
    program = compile_program("donates", given_away, value)
    measure([program], 3)
    assert len(program.wall) == 3
    assert not value.is_deleted()


def test_a_traced_program_may_have_arguments_of_its_own():
    found = jt.measure_overhead(
        lambda x: x * 2,
        lambda x, trace: (x * 2, trace + 1),
        jnp.ones(4),
        traced_args=(jnp.ones(4), jnp.zeros(2)),
        rounds=1,
        compiles=3,
        budget=None,
    )
    assert (found.compile.rounds, len(found.untraced.compile)) == (3, 3)
    assert found.traced.output_bytes == found.untraced.output_bytes + 8


@pytest.fixture
def cache(tmp_path):
    """A folder where JAX keeps each program that it compiles."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: jax.config.values[name] for name in settings}
    for values in (settings, before):
        for name, value in values.items():
            jax.config.update(name, value)
        reset_cache()
        if values is settings:
            yield tmp_path


def test_a_cache_of_compiled_programs_does_not_answer_for_the_compiler(cache):
    def tripled(x: jax.Array) -> jax.Array:
        return x * 3

    value = jnp.ones(3)
    jt.measure_overhead(tripled, lambda x: tripled(x) - 1, value, rounds=1, budget=None)
    assert not [*cache.glob("jit__lambda*"), *cache.glob("jit_tripled*")]
    # And it is in use again.
    jax.jit(lambda x: tripled(x) + 1)(value)
    assert len([*cache.glob("jit__lambda*-cache")]) == 1


def test_above_the_budget_it_warns_and_says_how_sure_it_is():
    one = jnp.ones(2)
    with pytest.warns(RuntimeWarning, match=r"above the budget of 1e-09: the whole interval lies"):
        found = jt.measure_overhead(lambda x: x + 1, lambda x: x + 2, one, rounds=6, budget=1e-9)
    assert found.verdict == "above"
    assert "EXCEEDED" in str(found)
    assert jt.measure_overhead(lambda x: x, lambda x: x + 2, one, budget=1e9).verdict == "within"


def test_the_verdict_is_that_of_the_interval():
    base = side(*[1.0] * 9)
    within = compared(base, side(*[1.04] * 9), budget=1.05)
    above = compared(base, side(*[1.06] * 9), budget=1.05)
    between = compared(base, side(*[1.0, 1.1] * 4, 1.06), budget=1.05)
    assert [found.verdict for found in (within, above, between)] == ["within", "above", "open"]
    # On a CPU the budget is one of CPU time, which others do not disturb; on a device of wall.
    slow = compared(base, side(*[1.0] * 9, wall=(2.0,) * 9), budget=1.05)
    assert slow.verdict == "within"
    assert replace(slow, machine={"platform": "gpu"}).verdict == "above"
    assert "not decided" in str(between)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rounds": 0}, "rounds: expected at least 1, found 0"),
        ({"compiles": 0}, "compiles: expected at least 1, found 0"),
        ({"budget": -1.0}, "budget: expected a positive ratio, found -1.0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(jt.SpecError, match=message):
        jt.measure_overhead(lambda x: x, lambda x: x, jnp.ones(2), **fields)
