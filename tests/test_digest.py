"""Equal states agree, different ones disagree but for chance, and the values never change.

The values are part of the format: a stored digest is compared with one computed later.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxarc_trace.digest import avalanche, digest

STATE = {
    "grid": (np.int32, (3, 4)),
    "mask": (np.bool_, (3, 4)),
    "board": (np.uint32, (5,)),
    "small": (np.int8, (2,)),
    "count": (np.int32, ()),
}


@functools.cache
def program(lanes: int | None) -> Any:
    return jax.jit(lambda tree: digest(tree, lanes))


def of(tree: Any, lanes: int | None = None) -> np.ndarray:
    return np.asarray(program(lanes)(tree))


def of_batch(tree: Any) -> np.ndarray:
    return of(tree, len(jax.tree.leaves(tree)[0]))


@st.composite
def states(draw: st.DrawFn) -> dict[str, np.ndarray]:
    return {
        name: draw(arrays.arrays(dtype, shape, elements=arrays.from_dtype(np.dtype(dtype))))
        for name, (dtype, shape) in STATE.items()
    }


@given(states())
def test_equal_states_agree(state: dict[str, np.ndarray]):
    again = {name: value.copy() for name, value in reversed(state.items())}
    assert of(state) == of(again)
    assert of(state).dtype == np.uint32


@given(states(), st.data())
def test_a_change_of_one_word_is_always_seen(state: dict[str, np.ndarray], data: st.DataObject):
    # By construction: what is done to one word is a bijection.
    name = data.draw(st.sampled_from(sorted(STATE)))
    changed = {key: value.copy() for key, value in state.items()}
    at = data.draw(st.integers(0, changed[name].size - 1))
    flat = changed[name].reshape(-1)
    flat[at] = data.draw(arrays.from_dtype(flat.dtype))
    assert (of(changed) != of(state)) == (flat[at] != state[name].reshape(-1)[at])


@settings(max_examples=30)
@given(st.lists(states(), min_size=4, max_size=4))
def test_a_batch_gives_what_each_alone_gives(several: list[dict[str, np.ndarray]]):
    alone = np.stack([of(state) for state in several])
    batch = {name: np.stack([state[name] for state in several]) for name in STATE}
    assert np.array_equal(of_batch(batch), alone)
    assert np.array_equal(jax.vmap(digest)(batch), alone)


@given(states(), states())
def test_what_the_lanes_share_counts_in_each(
    one: dict[str, np.ndarray], two: dict[str, np.ndarray]
):
    shared = {name: one[name] for name in ("grid", "mask", "count")}
    alone = np.stack([of({**one, **shared}), of({**two, **shared})])
    batch = {name: np.stack([one[name], two[name]]) for name in STATE}
    assert np.array_equal(of({**batch, **shared}, 2), alone)
    keys = {"key": jax.random.key(3), "board": batch["board"]}
    assert of(keys, 2).tolist() == [
        int(of({"key": jax.random.key(3), "board": state["board"]})) for state in (one, two)
    ]


def grids(count: int, rng: np.random.Generator) -> np.ndarray:
    """The same random grid of colours -1 to 9, int32 `[count, 30, 30]`."""
    return np.repeat(rng.integers(-1, 10, (1, 30, 30), dtype=np.int32), count, axis=0)


def collisions(digests: np.ndarray) -> int:
    return len(digests) - len(np.unique(digests))


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_100000_edits_of_a_grid_collide_as_often_as_chance_says(cells: int):
    rng = np.random.default_rng(cells)
    base = grids(1, rng)[0]
    seen: dict[bytes, int] = {}
    unedited = of_batch([base[None]])[0]
    with_unedited = 0
    for _ in range(5):
        batch = np.repeat(base[None], 20_000, axis=0)
        rows = np.arange(len(batch))
        edits = []
        for _ in range(cells):
            at = rng.integers(0, 900, len(batch))
            batch.reshape(len(batch), -1)[rows, at] = rng.integers(-1, 10, len(batch))
            edits.append(at)
        found = of_batch([batch])
        differs = (batch != base).any(axis=(1, 2))
        with_unedited += int((found[differs] == unedited).sum())
        order = np.sort(np.stack(edits, axis=-1), axis=-1)
        values = np.take_along_axis(batch.reshape(len(batch), -1), order, axis=1)
        # Edits that change nothing are one state, whichever cells they name.
        same = values == base.reshape(-1)[order]
        names = np.where(same, -1, order * 16 + values + 1)
        names = np.sort(names, axis=-1)
        for name, value in zip(names, found.tolist(), strict=True):
            seen[np.unique(name[name >= 0]).tobytes()] = value
    assert with_unedited == 0
    distinct = np.fromiter(seen.values(), np.uint32)
    assert len(distinct) > (5_000 if cells == 1 else 80_000)
    # A random function has n * n / 2**33 of them, 1.2 for 100,000; more than 5 come once in 1,000.
    assert collisions(distinct) <= (0 if cells == 1 else 5)


@pytest.mark.parametrize("apart", [0, 1, 16])
def test_moves_on_bitboards_do_not_collide(apart: int):
    # The highest bits of two words are what a sum of products alone would lose.
    rng = np.random.default_rng(apart)
    base = rng.integers(0, 2**32, 48, dtype=np.uint32)
    first, second = np.triu_indices(48, k=1)
    moved: list[np.ndarray] = [base[None]]
    for bit in range(32):
        batch = np.repeat(base[None], len(first), axis=0)
        rows = np.arange(len(first))
        batch[rows, first] ^= np.uint32(1 << bit)
        batch[rows, second] ^= np.uint32(1 << (bit + apart) % 32)
        moved.append(batch)
    found = of_batch([np.concatenate(moved)])
    assert (found[1:] == found[0]).sum() == 0
    assert collisions(found) <= 3


def test_a_grid_and_its_mask_do_not_cancel():
    rng = np.random.default_rng(0)
    cells = np.stack(np.meshgrid(np.arange(30), np.arange(30), indexing="ij"), -1).reshape(-1, 2)
    grid, mask = grids(901, rng), np.zeros((901, 30, 30), np.bool_)
    for index, (row, column) in enumerate(cells, 1):
        grid[index, row, column] += 1
        mask[index, row, column] = True
    assert collisions(of_batch([grid, mask])) == 0


def test_floating_point_leaves_are_left_out():
    state = {"grid": jnp.arange(4, dtype=jnp.int32), "score": jnp.zeros(2, jnp.float32)}
    other = state | {"score": jnp.full(2, jnp.nan, jnp.float32)}
    assert of(state) == of(other)
    complex_one = state | {"score": jnp.full(2, 1j, jnp.complex64)}
    assert of(state) == of(complex_one)
    half = state | {"score": jnp.ones(2, jnp.bfloat16)}
    assert of(state) == of(half)


def test_nothing_discrete_gives_zero_in_every_lane():
    assert of_batch({"score": np.ones((3, 2), np.float32)}).tolist() == [0, 0, 0]
    assert digest({}) == 0


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_lane_and_no_cell(shape: tuple[int, int]):
    assert of_batch([np.zeros(shape, np.int32)]).shape == shape[:1]


def test_the_order_of_leaves_matters_and_their_names_do_not():
    one, two = np.arange(3, dtype=np.int32), np.arange(3, 6, dtype=np.int32)
    assert of([one, two]) != of([two, one])
    assert of([one, two]) == of({"a": one, "b": two}) == of((one, two))


def test_all_of_an_integer_of_64_bits_counts():
    with jax.enable_x64(True):
        base = jnp.asarray([2**40, -(2**40), 7], jnp.int64)
        values = [base + jnp.asarray(d, jnp.int64) for d in (0, 1, 2**32, 2**33, -(2**62))]
        found = [int(digest([value])) for value in values]
        assert len(set(found)) == len(found)
        for value, each in zip(values, found, strict=True):
            assert int(digest([value[None]], 1)[0]) == each
            unsigned = jax.lax.bitcast_convert_type(value, jnp.uint64)
            assert int(digest([unsigned])) == each


def test_keys_count_with_their_data():
    keys = jax.random.split(jax.random.key(0), 8)
    found = of_batch({"key": keys})
    assert collisions(found) == 0
    assert np.array_equal(found, of_batch({"key": np.asarray(jax.random.key_data(keys))}))


def test_python_numbers_count():
    assert digest([3]) == digest([jnp.asarray(3, jnp.int32)]) != digest([4])


def test_jit_changes_nothing():
    tree = [jnp.arange(12, dtype=jnp.int32).reshape(3, 4), jnp.asarray([True, False])]
    assert digest(tree) == jax.jit(digest)(tree)


def test_the_last_stage_is_a_bijection_that_moves_every_bit():
    word = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32)
    out = np.asarray(avalanche(jnp.asarray(word)))
    assert collisions(out) == collisions(word)
    for bit in range(32):
        changed = np.asarray(avalanche(jnp.asarray(word ^ np.uint32(1 << bit))))
        flipped = np.unpackbits((changed ^ out).view(np.uint8)).mean()
        assert 0.45 < flipped < 0.55


# Part of the format: computed once, and never to be changed.
PINNED = [
    ([np.arange(-1, 11, dtype=np.int32).reshape(3, 4)], 3430021843),
    ([np.zeros((30, 30), np.int32)], 0),
    ([np.full((30, 30), -1, np.int32), np.ones((30, 30), np.bool_), np.int32(7)], 1196690613),
    (
        [
            np.array([-128, 127], np.int8),
            np.array([255], np.uint8),
            np.array([-1], np.int16),
            np.array([65535], np.uint16),
        ],
        1194689877,
    ),
    (
        [
            np.array([2**32 - 1, 2**31], np.uint32),
            np.array([1.5], np.float32),
            np.array([True], np.bool_),
        ],
        225522529,
    ),
]


@pytest.mark.parametrize(("tree", "expected"), PINNED)
def test_the_values_never_change(tree: Any, expected: int):
    assert int(of(tree)) == expected


def test_the_values_of_64_bits_and_of_keys_never_change():
    with jax.enable_x64(True):
        assert int(digest([jnp.asarray([2**63 - 1, -(2**63)], jnp.int64)])) == 2139580286
    assert int(digest([jax.random.key(42)])) == 1398276412
