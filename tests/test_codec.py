"""Values to bytes and back is the identity, and what does not fit is said so."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxarc_trace import codec
from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.schema import Section

FLOATS = (
    "float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2 "
    "float8_e5m2fnuz float8_e8m0fnu bfloat16 float16 float32 float64"
).split()
COMPLEX = ("complex64", "complex128")
INTEGERS = "int2 uint2 int4 uint4 int8 uint8 int16 uint16 int32 uint32 int64 uint64".split()
RAW = (*FLOATS, *COMPLEX, *INTEGERS[4:])
SHAPE = (2, 3)


def numbers(raw: bytes, encoding: Encoding, count: int) -> list[int]:
    """The values of a `bits` field, by the words of the codec's module text and nothing else."""
    stream = [raw[j // 8] >> (j % 8) & 1 for j in range(8 * len(raw))]
    return [
        encoding.low + sum(stream[i * encoding.bits + j] << j for j in range(encoding.bits))
        for i in range(count)
    ]


@functools.cache
def program(encodings: tuple[Encoding, ...], lead: int) -> Any:
    """Packs one array for each encoding and says which do not fit: one compilation for all."""

    def one(encoding: Encoding, value: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        checked = encoding.kind != "raw"
        bad = codec.unfit(encoding, value, lead) if checked else None
        return codec.pack(encoding, value, lead), bad

    return jax.jit(lambda values: [one(*pair) for pair in zip(encodings, values, strict=True)])


def run(encodings: Sequence[Encoding], values: Sequence[np.ndarray], lead: int = 0) -> Any:
    """For each encoding the bytes of its value, and whether that did not fit."""
    # JAX has the dtypes of 64 bits only so.
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, program(tuple(encodings), lead)(list(values)))


def packed(encoding: Encoding, value: np.ndarray, lead: int = 0) -> np.ndarray:
    return run([encoding], [value], lead)[0][0]


def unfit(encoding: Encoding, value: np.ndarray, lead: int = 0) -> np.ndarray:
    return run([encoding], [value], lead)[0][1]


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal to the last bit, which `==` does not say of NaN and of -0.0."""
    alike = (found.dtype, found.shape) == (expected.dtype, expected.shape)
    return alike and found.tobytes() == expected.tobytes()


def natural(dtype: str, shape: tuple[int, ...] = SHAPE) -> Encoding:
    """The encoding that a field of that dtype has when no other is asked for."""
    struct = jax.ShapeDtypeStruct(shape, codec.numpy_dtype(dtype))
    return Section.of({"field": struct}).fields[0].encoding


def array(values: Sequence[int], dtype: str) -> np.ndarray:
    """Integers as an array; NumPy reaches the narrow dtypes from int64 alone."""
    middle = np.uint64 if max(values) >= 2**63 else np.int64
    return np.array(values, middle).astype(codec.numpy_dtype(dtype))


@given(st.binary(min_size=6 * 16, max_size=6 * 16))
def test_any_bits_of_any_raw_dtype_come_back(raw: bytes):
    kinds = [codec.numpy_dtype(dtype) for dtype in RAW]
    values = [np.frombuffer(raw, kind, count=6).reshape(SHAPE) for kind in kinds]
    assert {natural(dtype) for dtype in RAW} == {Encoding()}
    for dtype, value, (found, _) in zip(
        RAW, values, run([Encoding()] * len(RAW), values), strict=True
    ):
        # The text says: the array's own little-endian bytes.
        assert found.tobytes() == raw[: value.nbytes], dtype
        assert codec.nbytes(Encoding(), dtype, SHAPE) == value.nbytes
        assert same(codec.unpack(Encoding(), dtype, SHAPE, found), value), dtype


def test_words_are_the_same_bytes_side_by_side():
    rng = np.random.default_rng(2)
    cases = [(Encoding(), dtype) for dtype in RAW] + RANGES[::9] + [(Encoding("box"), "bool")]
    kinds = [codec.numpy_dtype(dtype) for _, dtype in cases]
    raw = rng.integers(0, 2, 6 * 16, np.uint8).tobytes()
    values = [np.frombuffer(raw, kind, count=6).reshape(1, *SHAPE) for kind in kinds]
    with jax.enable_x64(True):
        words = jax.jit(
            lambda given: [
                codec.pack_words(encoding, value, 1)
                for (encoding, _), value in zip(cases, given, strict=True)
            ]
        )(values)
    plain = run([encoding for encoding, _ in cases], values, 1)
    for (encoding, dtype), found, (expected, _) in zip(cases, words, plain, strict=True):
        assert found.dtype == codec.word(encoding, dtype), dtype
        assert np.asarray(found).tobytes() == expected.tobytes(), dtype
    widths = {dtype: codec.word(Encoding(), dtype).name for dtype in ("int16", "float64", "int8")}
    assert widths == {"int16": "uint16", "float64": "uint64", "int8": "uint8"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_delicate_floats_come_back(dtype: str):
    kind = codec.numpy_dtype(dtype)
    info = jnp.finfo(kind)
    word = f"u{info.bits // 8}"
    infinity = int(np.array(np.inf, kind).view(word))
    payloads = [infinity | 1, infinity | 1 << info.nmant - 1 | 5, infinity | 1 << info.bits - 1 | 3]
    nans = np.array(payloads, word).view(kind)
    with np.errstate(invalid="ignore"):  # one of them signals, and bfloat16's `isnan` hears it
        assert np.isnan(nans).all()
    plain = np.array([-0.0, 0.0, info.min, info.max, info.smallest_subnormal, np.inf, -np.inf])
    value = np.concatenate([nans, plain.astype(kind)])
    found = packed(Encoding(), value)
    assert found.tobytes() == value.tobytes()
    assert same(codec.unpack(Encoding(), dtype, value.shape, found), value)


def test_complex_numbers_are_real_part_then_imaginary_part():
    value = np.array([complex(1.5, -0.0), complex(float("nan"), 2.0)], np.complex64)
    parts = packed(Encoding(), value).view(np.float32)
    assert parts.tobytes() == np.array([1.5, -0.0, np.nan, 2.0], np.float32).tobytes()


def test_every_integer_dtype_comes_back_from_its_ends():
    values = []
    for dtype in INTEGERS:
        low, high = codec.integer_range(dtype)
        values.append(array([low, high, low + 1, high - 1, 0, 1], dtype))
    encodings = [natural(dtype, (6,)) for dtype in INTEGERS]
    results = run(encodings, values)
    for dtype, encoding, value, (found, bad) in zip(
        INTEGERS, encodings, values, results, strict=True
    ):
        assert same(codec.unpack(encoding, dtype, (6,), found), value), dtype
        assert not bad


@pytest.mark.parametrize(("dtype", "bits"), [("int2", 2), ("uint2", 2), ("int4", 4), ("uint4", 4)])
def test_integers_narrower_than_a_byte_take_their_own_width(dtype: str, bits: int):
    low, high = codec.integer_range(dtype)
    encoding = natural(dtype)
    assert encoding == Encoding("bits", low, bits)
    value = array(range(low, high + 1), dtype)
    found = packed(encoding, value)
    assert found.size == -(-len(value) * bits // 8)
    assert numbers(found.tobytes(), encoding, len(value)) == list(range(low, high + 1))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 900])
def test_booleans_take_one_bit(size: int):
    value = np.random.default_rng(size).random(size) < 0.5
    found = packed(natural("bool"), value)
    assert found.tobytes() == np.packbits(value, bitorder="little").tobytes()
    assert same(codec.unpack(natural("bool"), "bool", (size,), found), value)


def ranges() -> list[tuple[Encoding, str]]:
    """For every width three ranges, at both ends of a dtype that has them and somewhere in it."""
    rng = np.random.default_rng(0)
    found: list[tuple[Encoding, str]] = []
    for bits in range(1, 33):
        able = [name for name in INTEGERS if span(name) >= 2**bits]
        for where, dtype in zip((0.0, rng.random(), 1.0), rng.choice(able, 3), strict=True):
            lowest, room = codec.integer_range(dtype)[0], span(dtype) - 2**bits
            low = lowest + (room if where == 1 else int(where * room))
            found.append((Encoding("bits", low, bits), str(dtype)))
    return found


def span(dtype: str) -> int:
    low, high = codec.integer_range(dtype)
    return high - low + 1


RANGES = ranges()


@settings(max_examples=40)
@given(
    st.lists(st.integers(-2, 2**33), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_integers_of_any_declared_range_come_back_or_are_refused(
    above: list[int], down: list[bool]
):
    # Every range at once, since one compilation does for all: distances from either end of it.
    wanted: list[list[int]] = []
    for encoding, dtype in RANGES:
        lowest, highest = codec.integer_range(dtype)
        near = [min(distance, 2**encoding.bits) for distance in above]
        near = [
            encoding.high - d if flip else encoding.low + d
            for d, flip in zip(near, down, strict=True)
        ]
        wanted.append([min(max(value, lowest), highest) for value in near])
    values = [
        array(row, dtype).reshape(SHAPE) for row, (_, dtype) in zip(wanted, RANGES, strict=True)
    ]
    results = run([encoding for encoding, _ in RANGES], values, 1)
    for (encoding, dtype), row, value, (found, bad) in zip(
        RANGES, wanted, values, results, strict=True
    ):
        inside = [encoding.low <= v <= encoding.high for v in row]
        fits = [all(inside[:3]), all(inside[3:])]
        assert bad.tolist() == [not fit for fit in fits], (encoding, dtype, row)
        assert found.shape == (2, math.ceil(3 * encoding.bits / 8))
        back = codec.unpack(encoding, dtype, (3,), found)
        for at in np.flatnonzero(fits):
            raw = found[at].tobytes()
            assert numbers(raw, encoding, 3) == row[3 * at : 3 * at + 3], (encoding, dtype)
            assert same(back[at], value[at]), (encoding, dtype)


def test_every_width_packs_seven_values_without_a_gap():
    rng = np.random.default_rng(1)
    encodings = [Encoding("bits", 0, bits) for bits in range(1, 33)]
    values = [rng.integers(0, 2**e.bits, 7, np.uint64).astype(np.uint32) for e in encodings]
    for encoding, value, (found, _) in zip(encodings, values, run(encodings, values), strict=True):
        assert (
            found.size == codec.nbytes(encoding, "uint32", (7,)) == math.ceil(7 * encoding.bits / 8)
        )
        assert numbers(found.tobytes(), encoding, 7) == value.tolist()


def test_a_range_may_reach_beyond_its_dtype():
    encoding = Encoding.between(-1, 1000)
    value = np.array([0, 255, 7], np.uint8)
    found, bad = run([encoding], [value])[0]
    assert not bad
    assert same(codec.unpack(encoding, "uint8", (3,), found), value)


def test_a_value_that_wraps_into_the_range_is_noticed_too():
    # All of these have some four low bits, and those are a valid value of the field.
    value = np.array([[3], [-2], [15], [2**31 - 1], [-(2**31)], [14]], np.int32)
    assert unfit(Encoding.between(-1, 9), value, 1).tolist() == [False, *[True] * 4, False]


@pytest.mark.parametrize(("low", "high", "bits"), [(0, 1, 1), (0, 0, 1), (-1, 9, 4), (0, 255, 8)])
def test_between_is_the_narrowest(low: int, high: int, bits: int):
    encoding = Encoding.between(low, high)
    assert (encoding.low, encoding.bits) == (low, bits)
    assert encoding.high >= high


@pytest.mark.parametrize(("low", "high"), [(1, 0), (0, 2**32), (0.0, 3.0)])
def test_between_refuses(low: Any, high: Any):
    with pytest.raises(SchemaError) as caught:
        Encoding.between(low, high)
    assert str(caught.value) == (
        "a range needs whole numbers low <= high and at most 2**32 values, found "
        f"[{low}, {high}]; give the two ends in order, or leave the range out to keep every bit"
    )


@pytest.mark.parametrize(
    "parts", [("bits", 0, 0), ("bits", 0, 33), ("bits", 0.5, 3), ("packed", 0, 3), ("box", 1, 0)]
)
def test_an_encoding_that_is_none_is_refused(parts: tuple[Any, ...]):
    with pytest.raises(SchemaError, match="expected the encoding 'raw', 'box', or 'bits' with 1"):
        Encoding(*parts)


def is_rectangle(mask: np.ndarray) -> bool:
    """By definition: some pair of intervals whose product is the mask."""
    rows, columns = mask.shape
    return any(
        np.array_equal(mask, filled(mask.shape, (top, left, bottom, right)))
        for top, bottom in itertools.combinations_with_replacement(range(rows + 1), 2)
        for left, right in itertools.combinations_with_replacement(range(columns + 1), 2)
    )


def filled(shape: tuple[int, ...], box: Sequence[int]) -> np.ndarray:
    top, left, bottom, right = box
    mask = np.zeros(shape, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def test_every_mask_of_3_by_4_is_kept_by_its_box_or_said_not_to_fit():
    masks = np.unpackbits(np.arange(2**12, dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1)
    masks = masks[:, 4:].reshape(-1, 3, 4).astype(np.bool_)
    encoding = Encoding("box")
    found, flagged = run([encoding], [masks], 1)[0]
    assert found.shape == (2**12, 4)
    expected = np.array([not is_rectangle(mask) for mask in masks])
    assert np.array_equal(flagged, expected)
    assert flagged.sum() == 2**12 - 60 - 1
    back = codec.unpack(encoding, "bool", (3, 4), found)
    assert same(back[~flagged], masks[~flagged])
    # The text says: top, left, bottom, right, the last two exclusive.
    for mask, box in zip(masks[~flagged], found[~flagged].tolist(), strict=True):
        assert np.array_equal(filled((3, 4), box), mask)


def test_the_largest_box():
    mask = np.ones((255, 255), np.bool_)
    found = packed(Encoding("box"), mask)
    assert found.tolist() == [0, 0, 255, 255]
    assert same(codec.unpack(Encoding("box"), "bool", (255, 255), found), mask)


CASES = [
    (Encoding(), np.float32),
    (Encoding(), np.complex64),
    (Encoding("bits", 0, 1), np.bool_),
    (Encoding("bits", -1, 4), np.int32),
    (Encoding("bits", -1, 3), np.int8),
    (Encoding("bits", 0, 11), np.uint16),
    (Encoding("box"), np.bool_),
]


@pytest.mark.parametrize(("encoding", "dtype"), CASES)
def test_any_transformation_gives_the_same_bytes(encoding: Encoding, dtype: Any):
    value = np.random.default_rng(0).integers(0, 2, (2, 3, 4, 5)).astype(dtype)
    if encoding.kind == "box":
        value = np.broadcast_to(filled((4, 5), (1, 0, 3, 4)), value.shape).copy()
    one = functools.partial(codec.pack, encoding, lead=0)
    row = functools.partial(codec.pack, encoding, lead=1)

    @jax.jit
    def ways(value: jax.Array) -> dict[str, jax.Array]:
        return {
            "one by one": jnp.stack([jnp.stack([one(v) for v in r]) for r in value]),
            "two axes": codec.pack(encoding, value, 2),
            "vmap of vmap": jax.vmap(jax.vmap(one))(value),
            "vmap of an axis": jax.vmap(row)(value),
            "scan": jax.lax.scan(lambda _, v: (None, row(v)), None, value)[1],
        }

    found = jax.tree.map(np.asarray, ways(value))
    first = found.pop("one by one")
    assert same(codec.unpack(encoding, np.dtype(dtype).name, (4, 5), first), value)
    for how, each in found.items():
        assert np.array_equal(each, first), how


SIZES = [((0,), (3,)), ((3,), (0,)), ((0,), ()), ((2,), (2, 0))]


@pytest.mark.parametrize(("lead", "shape"), SIZES)
def test_nothing_at_all_comes_back_as_nothing(lead: tuple[int, ...], shape: tuple[int, ...]):
    encodings = [encoding for encoding, _ in CASES[:-1]]
    values = [np.zeros((*lead, *shape), dtype) for _, dtype in CASES[:-1]]
    for encoding, value, (found, _) in zip(
        encodings, values, run(encodings, values, 1), strict=True
    ):
        dtype = value.dtype.name
        assert found.shape == (*lead, codec.nbytes(encoding, dtype, shape)), encoding
        assert same(codec.unpack(encoding, dtype, shape, found), value), encoding


def test_packing_needs_no_callback_and_no_gather():
    pack = functools.partial(codec.pack, Encoding("bits", -1, 4), lead=1)
    text = str(jax.make_jaxpr(pack)(jnp.zeros((8, 30, 30), jnp.int32)))
    assert "callback" not in text
    assert "gather" not in text
