"""New episodes in the lanes that need one: block by block, the same as for all lanes at once."""

import functools
import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey

import jaxarc_trace as jt
from jaxarc_trace import blocks, summary, verbs
from jaxarc_trace.blocks import block_size, in_blocks
from jaxarc_trace.probes import default_probe
from jaxarc_trace.renewal import Resets, renewed
from jaxarc_trace.stats import Stats
from tests import toy
from tests.toy import same

# Not a multiple of the block's three lanes.
LANES, STEPS = 40, 24
RANDOM = np.random.default_rng(2)
MASKS = {
    "none": np.zeros(LANES, bool),
    "the first": np.arange(LANES) == 0,
    "the last": np.arange(LANES) == LANES - 1,
    "a block": np.isin(np.arange(LANES), (3, 17, 31)),
    "some": RANDOM.random(LANES) < 0.4,
    "all": np.ones(LANES, bool),
}
ENV = toy.ScriptedEnv(toy.example_script((6,), 9))
SPEC = jt.TraceSpec(keep="last", max_steps=7, capacity=STEPS, recent=STEPS)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls a function with every lane reset at once."""

    def call(function: Any, *args: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "_BLOCKS", LANES)
            assert block_size(LANES) is None
            return function(*args)

    return call


@pytest.mark.parametrize(
    ("lanes", "size"), [(1, None), (31, None), (32, 2), (40, 3), (256, 16), (4096, 256)]
)
def test_a_block_is_a_sixteenth_of_the_lanes_where_there_are_many(lanes, size):
    assert block_size(lanes) == size


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("size", [1, 3, 16, LANES])
def test_the_lanes_of_a_mask_come_once_each_and_in_order(name, size):
    def note(lanes: jax.Array, seen: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        turn, order = seen
        place = turn * size + jnp.arange(size)
        return turn + 1, order.at[place].set(lanes, mode="drop")

    start = (jnp.int32(0), jnp.full(LANES + size, -1, jnp.int32))
    turns, order = jax.jit(lambda mask: in_blocks(mask, size, note, start))(MASKS[name])
    lanes = np.flatnonzero(MASKS[name])
    assert turns == -(-len(lanes) // size)
    assert order[: len(lanes)].tolist() == lanes.tolist()
    assert np.isin(order[len(lanes) :], (-1, LANES)).all()


def state_of(lanes: jax.Array, seed: int) -> dict[str, jax.Array]:
    """A state with leaves of every kind."""
    keys = jax.vmap(lambda lane: jax.random.fold_in(jax.random.key(seed), lane))(lanes)
    return {
        "key": keys,
        "raw": jax.random.key_data(keys),
        "half": lanes.astype(jnp.float16) / (3 + seed),
        "flag": lanes % (2 + seed) == 0,
        "grid": jnp.tile((lanes.astype(jnp.int8) + jnp.int8(seed))[:, None, None], (1, 2, 3)),
        "empty": jnp.zeros((*lanes.shape, 0)),
    }


@pytest.mark.parametrize("name", MASKS)
def test_lanes_that_are_done_are_fresh_and_the_others_as_they_were(name):
    every = jnp.arange(LANES, dtype=jnp.int32)
    now, fresh = state_of(every, 0), state_of(every, 1)
    some = functools.partial(state_of, seed=1)
    resets = Resets(lambda: pytest.fail("every lane was reset"), some)
    found = jax.jit(lambda done, now: renewed(done, now, resets))(MASKS[name], now)
    rows = np.where(MASKS[name], every + LANES, every)
    same(found, jax.tree.map(lambda old, new: jnp.concatenate([old, new])[rows], now, fresh))
    whole = jax.jit(lambda done, now: renewed(done, now, Resets(lambda: fresh)))(MASKS[name], now)
    same(whole, found)


def test_a_state_keeps_its_dtypes():
    every = jnp.arange(LANES, dtype=jnp.int32)
    resets = Resets(lambda: every, lambda lanes: lanes)
    for given in (every.astype(jnp.int8), every.astype(jnp.float32)):
        assert renewed(jnp.ones(LANES, bool), given, resets).dtype == given.dtype


@pytest.mark.parametrize("name", ["none", "some", "all"])
def test_derivatives_are_those_of_where(name):
    """By the state and by what the resets read; forward, in reverse and under vmap."""
    every, done = jnp.arange(LANES, dtype=jnp.int32), jnp.asarray(MASKS[name])
    scale = every.astype(jnp.float32)

    def fresh(weight: jax.Array, lanes: jax.Array) -> dict[str, jax.Array]:
        return {"x": jnp.sin(weight * lanes.astype(jnp.float32)), "count": lanes}

    def by_blocks(weight: jax.Array, x: jax.Array) -> jax.Array:
        resets = Resets(lambda: fresh(weight, every), functools.partial(fresh, weight))
        return (renewed(done, {"x": x**2, "count": every}, resets)["x"] * scale).sum()

    def by_where(weight: jax.Array, x: jax.Array) -> jax.Array:
        return (jnp.where(done, fresh(weight, every)["x"], x**2) * scale).sum()

    weight, weights, x = jnp.float32(0.5), jnp.linspace(0, 1, 3), jnp.linspace(-1, 1, LANES)
    for transformed, given in (
        (lambda f: jax.grad(f, (0, 1)), weight),
        (lambda f: jax.jacfwd(f, (0, 1)), weight),
        (lambda f: jax.hessian(f, (0, 1)), weight),
        (lambda f: jax.vmap(jax.grad(f, (0, 1)), (0, None)), weights),
        (lambda f: jax.vmap(f, (0, None)), weights),
    ):
        found, expected = (
            jax.jit(transformed(function))(given, x) for function in (by_blocks, by_where)
        )
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), found, expected)


def rolled_out(first: int, count: int) -> Any:
    """Where a rollout of some of the lanes stands, and its episodes."""
    now, trace = jax.jit(
        lambda key: jt.rollout(
            ENV,
            toy.numbered_apart,
            key,
            spec=SPEC,
            num_lanes=count,
            num_steps=STEPS,
            probe=toy.probe(),
            first_lane=first,
        )
    )(jax.random.key(5))
    return now, trace


def test_a_rollout_of_many_lanes_is_the_one_of_few_at_a_time():
    now, trace = rolled_out(7, LANES)
    parts = [rolled_out(first, LANES // 2) for first in (7, 7 + LANES // 2)]
    stands = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(p[0].state for p in parts))
    same(now.state, stands)
    ends = {(int(c["lane"]), int(c["end_step"])) for p in parts for c in rows_of(p[1])}
    assert {(int(c["lane"]), int(c["end_step"])) for c in rows_of(trace)} == ends
    assert len(ends) > 4 * LANES


def rows_of(trace: Any) -> list[dict[str, Any]]:
    columns = jt.take(trace).columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


BATCHES: dict[str, tuple[Any, jax.Array]] = {
    **toy.batches(ENV, LANES),
    "parameters a lane": (
        VmapWrapper(AddRNGKey(ENV), vectorize_over_env_params=True),
        jax.random.split(jax.random.key(3), LANES),
    ),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_wrapped_batch_is_reset_as_it_is_all_at_once(name, at_once):
    env, keys = BATCHES[name]
    traced = jt.TraceWrapper(env, SPEC, probe=toy.probe())
    params = toy.example_script((LANES, 2), 4) if name == "parameters a lane" else None

    def play() -> Any:
        def body(carry: Any, word: jax.Array) -> Any:
            state, before = carry
            state, timestep = traced.step(state, toy.numbered(word, state, before), params)
            return (state, timestep), timestep

        words = jax.random.split(jax.random.key(1), STEPS)
        return jax.jit(lambda: jax.lax.scan(body, traced.reset(keys, params), words))()

    found, expected = play(), at_once(play)
    same(found, expected)
    assert np.asarray(found[1].last()).sum() > 4 * LANES


BOARD = (13, 17)


def moved(key: Any, state: Any, action: jax.Array, params: Any) -> Any:
    del key, params
    after = {"board": state["board"].at[action, action].add(1), "time": state["time"] + 1}
    return after, after["time"], {"reward": 1.0, "terminated": after["board"][0, 0] == 3}


def began(key: jax.Array, params: Any) -> Any:
    del params
    return {"board": jax.random.randint(key, BOARD, 0, 3), "time": jnp.int32(0)}, jnp.int32(0)


BOARDS = jt.Environment("boards", began, moved)


def played(key: jax.Array, state: Any, timestep: Any) -> jax.Array:
    del state
    return jax.random.randint(key, timestep.reward.shape, 0, 13)


@pytest.mark.parametrize("traced", [None, 16])
def test_a_reset_waits_until_the_states_before_it_are_filed(traced):
    lanes = 64
    spec = jt.TraceSpec(max_steps=9, lanes=traced)

    def run(key: jax.Array) -> Any:
        return jt.rollout(BOARDS, played, key, spec=spec, num_lanes=lanes, num_steps=20)

    text = jax.jit(run).lower(jax.random.key(0)).compile().as_text()
    copies = re.findall(rf"(%\S+) = s32\[{lanes},13,17\]\S* copy\(", text)
    # Two states are in use while a step is recorded. A third copy would be what `end` reads.
    assert len(copies) <= 2, copies


def test_states_after_the_last_step_are_filed_all_at_once():
    """Nearly every lane has one; a few at a time, they would be gathered for nothing."""
    spec = jt.TraceSpec(max_steps=9, keep="last")
    now, trace = jax.eval_shape(
        lambda: jt.rollout(BOARDS, played, jax.random.key(0), spec=spec, num_lanes=64, num_steps=1)
    )
    probe = default_probe(BOARDS)
    for verb, looped in ((verbs.end, True), (verbs.snapshot, False), (verbs.close, False)):
        text = str(jax.make_jaxpr(lambda t, s, verb=verb: verb(t, probe, s))(trace, now.state))
        assert ("while" in text) == looped, verb


def test_what_a_reset_waits_for_is_never_set():
    """A lane for which it were would be reset in the middle of its episode."""
    success = jnp.arange(-128, 128, dtype=jnp.int8)
    lane = jnp.full(success.shape, -1, jnp.int32)
    number = lane.astype(jnp.uint32)
    for over in (0, 1, 2, 3):
        stats = replace(
            Stats.zeros(success.shape, ("score",)),
            success=success,
            terminated=jnp.full(success.shape, over & 1 > 0),
            truncated=jnp.full(success.shape, over & 2 > 0),
        )
        rows = summary.pack(stats, lane, number, number)
        assert not summary.no_row(rows).any()
    assert not summary.no_row(jnp.zeros_like(rows)).any()
    assert summary.no_row(~jnp.zeros_like(rows)).all()
