"""The byte layout: what is laid out where, what is refused, and that its JSON says enough."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.schema import RecordSchema, Section


def struct(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


FIELDS = {
    "grid": struct((5, 7), jnp.int32),
    "mask": struct((5, 7), jnp.bool_),
    "picked": struct((5, 7), jnp.bool_),
    "keys": struct((2,), jnp.uint32),
    "nibbles": struct((3,), jnp.int4),
    "half": struct((3,), jnp.bfloat16),
    "wave": struct((), jnp.complex64),
    "count": struct((), jnp.int32),
    "flag": struct((), jnp.bool_),
}
ENCODINGS = {
    "grid": Encoding.between(-1, 9),
    "mask": Encoding("box"),
    "count": Encoding.between(-1, 1000),
    "unknown": Encoding.between(0, 1),
}
SECTION = Section.of(FIELDS, ENCODINGS)
BATCH = 4


@functools.cache
def packer() -> Any:
    return jax.jit(SECTION.pack)


def sample(seed: int) -> dict[str, np.ndarray]:
    """Values `[4, ...]` of every field, all of which fit."""
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, 5, BATCH), rng.integers(0, 7, BATCH)
    rows, columns = np.arange(5)[None, :, None], np.arange(7)[None, None, :]
    values = {
        "grid": rng.integers(-1, 15, (BATCH, 5, 7)),
        "mask": (rows >= top[:, None, None]) & (columns >= left[:, None, None]),
        "picked": rng.random((BATCH, 5, 7)) < 0.5,
        "keys": rng.integers(0, 2**32, (BATCH, 2)),
        "nibbles": rng.integers(-8, 8, (BATCH, 3)),
        "half": rng.standard_normal((BATCH, 3)),
        "wave": rng.standard_normal(BATCH) + 1j * rng.standard_normal(BATCH),
        "count": rng.integers(-1, 1001, BATCH),
        "flag": rng.random(BATCH) < 0.5,
    }
    return {name: values[name].astype(FIELDS[name].dtype) for name in FIELDS}


def plain_reader(section: dict[str, Any], row: bytes) -> dict[str, Any]:
    """Reads one packed row by the JSON and the words of the documentation, with no other help."""
    end = len(row) - section["unfit_bytes"]
    assert not any(row[end:]), "a set bit says that a value did not fit"
    found: dict[str, Any] = {}
    for field in section["fields"]:
        raw = row[field["offset"] : field["offset"] + field["nbytes"]]
        shape, encoding = field["shape"], field["encoding"]
        dtype = np.dtype(getattr(ml_dtypes, field["dtype"], field["dtype"]))
        size = int(np.prod(shape, dtype=np.int64))
        if encoding["kind"] == "raw":
            value = np.frombuffer(raw, dtype)
        elif encoding["kind"] == "box":
            top, left, bottom, right = raw
            value = np.zeros(shape, dtype)
            value[top:bottom, left:right] = True
        else:
            whole = int.from_bytes(raw, "little")
            width = encoding["bits"]
            numbers = [(whole >> i * width) % 2**width + encoding["low"] for i in range(size)]
            value = np.array(numbers, np.int64).astype(dtype)
        found[field["name"]] = value.reshape(shape)
    return found


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_reader_of_the_json_alone_finds_every_value(seed: int):
    values = sample(seed)
    data = np.asarray(packer()(values))
    text = json.dumps(RecordSchema(Section(()), SECTION, Section(())).to_json(), allow_nan=False)
    described = json.loads(text)["state"]
    assert data.shape == (BATCH, described["nbytes"])
    decoded = SECTION.unpack(data)
    for index, row in enumerate(data):
        plain = plain_reader(described, row.tobytes())
        assert set(plain) == set(FIELDS) == set(decoded)
        for name, value in values.items():
            assert plain[name].tobytes() == value[index].tobytes(), name
            assert decoded[name][index].tobytes() == value[index].tobytes(), name
            assert decoded[name].dtype == FIELDS[name].dtype
            assert decoded[name].shape == (BATCH, *FIELDS[name].shape)


def test_large_fields_stand_first_then_by_name_and_nothing_lies_between():
    assert SECTION.names == tuple("grid mask picked half nibbles keys count flag wave".split())
    offset = 0
    for field in SECTION.fields:
        assert field.offset == offset
        offset += field.nbytes
    assert SECTION.nbytes == offset + SECTION.unfit_bytes


def test_the_words_of_a_device_are_the_same_bytes():
    values = sample(5)
    words = [np.asarray(array) for array in jax.jit(SECTION.pack_words)(values)]
    assert [(array.shape[-1], array.dtype) for array in words] == list(SECTION.words)
    data = np.concatenate([array.view(np.uint8) for array in words], axis=-1)
    assert np.array_equal(data, packer()(values))


def test_small_neighbours_of_one_dtype_share_an_array():
    # Grid; mask and picked; half; nibbles; keys; count, flag, wave and the bits of the unfit.
    assert [size for size, _ in SECTION.words] == [18, 4 + 5, 3, 2, 2, 2 + 1 + 8 + 1]
    apart = Section.of({"a": struct((9,), jnp.float32), "b": struct((), jnp.float32)})
    assert apart.words == ((9, np.uint32), (1, np.uint32))


def test_the_order_of_the_mapping_does_not_matter():
    backwards = dict(reversed(FIELDS.items()))
    assert Section.of(backwards, ENCODINGS) == SECTION
    assert hash(Section.of(backwards, ENCODINGS)) == hash(SECTION)


def test_only_fields_that_can_be_unfit_have_a_bit():
    assert [field.name for field in SECTION.fields if field.checked] == ["grid", "mask", "count"]
    assert SECTION.unfit_bytes == 1
    many = Section.of(
        {f"f{i}": struct((), jnp.int32) for i in range(9)},
        {f"f{i}": Encoding.between(0, 1) for i in range(9)},
    )
    assert (many.unfit_bytes, many.nbytes) == (2, 9 + 2)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_leading_axes_are_kept(lead: tuple[int, ...]):
    section = Section.of({"a": struct((2,), jnp.int16), "b": struct((), jnp.bool_)})
    values = {"a": np.ones((*lead, 2), np.int16), "b": np.ones(lead, np.bool_)}
    data = np.asarray(jax.jit(section.pack)(values))
    assert data.shape == (*lead, 5)
    assert {name: v.shape for name, v in section.unpack(data).items()} == {
        "a": (*lead, 2),
        "b": lead,
    }


BAD = {
    "grid": (15, "[-1, 14]"),
    "mask": (True, "one filled rectangle"),
    "count": (1023, "[-1, 1022]"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_value_that_did_not_fit_is_refused_when_read(name: str):
    values = sample(3)
    bad, allowed = BAD[name]
    values[name] = values[name].copy()
    if name == "mask":
        values[name][1:3] = False
        values[name][1:3, 0, 0] = values[name][1:3, 4, 6] = bad
    else:
        values[name][1:3] = bad
    data = np.asarray(packer()(values))
    with pytest.raises(SchemaError) as caught:
        SECTION.unpack(data, where="lane 3 episode 7")
    assert str(caught.value) == (
        f"lane 3 episode 7: field {name!r} held a value outside {allowed} at row 1 (2 in all), so "
        f"its bytes were not kept; give its probe a wider encoding "
        f"(encodings={{{name!r}: Encoding()}} keeps every bit)"
    )
    # The other rows are as they were.
    rest = SECTION.unpack(data[[0, 3]])
    assert np.array_equal(rest[name], values[name][[0, 3]])


def test_each_field_has_a_bit_of_its_own():
    for position, name in enumerate(("grid", "mask", "count")):
        values = sample(4)
        values[name] = values[name].copy()
        if name == "mask":
            values[name][0] = False
            values[name][0, 0, 0] = values[name][0, 4, 6] = True
        else:
            values[name][0] = BAD[name][0]
        data = np.asarray(packer()(values))
        assert data[:, -1].tolist() == [1 << position, 0, 0, 0]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (np.zeros((2, 5), np.uint8), "uint8 [2, 5]"),
        (np.zeros((2, SECTION.nbytes), np.int8), f"int8 [2, {SECTION.nbytes}]"),
        (np.zeros((), np.uint8), "uint8 []"),
    ],
)
def test_bytes_of_another_schema_are_refused(data: np.ndarray, found: str):
    with pytest.raises(SchemaError) as caught:
        SECTION.unpack(data)
    assert str(caught.value) == (
        f"record: expected uint8 [..., {SECTION.nbytes}], found {found}; "
        "take the schema that packed these bytes"
    )


def traced(**changes: Any) -> None:
    shapes = {name: struct((BATCH, *field.shape), field.dtype) for name, field in FIELDS.items()}
    shapes |= changes
    jax.eval_shape(SECTION.pack, {name: s for name, s in shapes.items() if s is not None})


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "expected", "found"),
    [
        ("keys", (BATCH, 2), jnp.int32, "uint32 [4, 2]", "int32 [4, 2]"),
        ("half", (BATCH, 4), jnp.bfloat16, "bfloat16 [4, 3]", "bfloat16 [4, 4]"),
        ("flag", (), jnp.bool_, "bool [4]", "bool []"),
        ("count", (BATCH + 1,), jnp.int32, "int32 [4]", "int32 [5]"),
    ],
)
def test_dtypes_and_shapes_are_checked_when_traced(
    name: str, shape: tuple[int, ...], dtype: Any, expected: str, found: str
):
    with pytest.raises(SchemaError) as caught:
        traced(**{name: struct(shape, dtype)})
    assert str(caught.value) == (
        f"field {name!r}: expected {expected}, found {found}; dtypes and shapes must not change "
        "between steps"
    )


def test_missing_and_unexpected_fields_are_named_when_traced():
    with pytest.raises(SchemaError) as caught:
        traced(flag=None, flat=struct((BATCH,), jnp.bool_))
    message = str(caught.value)
    assert message.startswith("expected the fields ['grid', 'mask', ")
    assert message.endswith(
        "missing ['flag'], unexpected ['flat']; give the environment that was recorded"
    )


PLAIN = "expected a boolean, an integer, or a float or complex number of at least 8 bits, found"
BOX = "a box needs a boolean [H, W] of 1 to 255 a side, found"
RANGE = "correct the range or leave it out"


@pytest.mark.parametrize(
    ("shape", "dtype", "encoding", "message"),
    [
        ((3,), jnp.bool_, Encoding("box"), f"{BOX} bool [3]; leave its encoding out"),
        ((3, 256), jnp.bool_, Encoding("box"), f"{BOX} bool [3, 256]; leave its encoding out"),
        ((0, 3), jnp.bool_, Encoding("box"), f"{BOX} bool [0, 3]; leave its encoding out"),
        ((3, 3), jnp.int32, Encoding("box"), f"{BOX} int32 [3, 3]; leave its encoding out"),
        (
            (3,),
            jnp.float32,
            Encoding.between(0, 3),
            (
                "a range in bits needs an integer or boolean dtype, found float32 [3]; leave its "
                "range out"
            ),
        ),
        (
            (3,),
            jnp.uint8,
            Encoding.between(300, 310),
            f"the range [300, 315] holds no value of its dtype, found uint8 [3]; {RANGE}",
        ),
        (
            (3,),
            jnp.uint8,
            Encoding.between(-10, -5),
            f"the range [-10, -3] holds no value of its dtype, found uint8 [3]; {RANGE}",
        ),
        (
            (3,),
            jnp.float4_e2m1fn,
            Encoding(),
            f"{PLAIN} float4_e2m1fn [3]; record it as bfloat16",
        ),
        (
            (),
            jax.eval_shape(jax.random.key, 0).dtype,
            Encoding(),
            f"{PLAIN} key<fry> []; record jax.random.key_data of it",
        ),
    ],
)
def test_an_encoding_that_does_not_suit_is_refused(
    shape: tuple[int, ...], dtype: Any, encoding: Encoding, message: str
):
    with pytest.raises(SchemaError) as caught:
        Section.of({"f": struct(shape, dtype)}, {"f": encoding})
    assert str(caught.value) == f"field 'f': {message}"


def schema() -> RecordSchema:
    return RecordSchema(
        Section.of({"goal": struct((2, 2), jnp.int8)}),
        SECTION,
        Section.of({"reward": struct((), jnp.float32), "x": struct((), np.dtype("int64"))}),
    )


def test_the_json_gives_an_equal_schema_back():
    text = json.dumps(schema().to_json(), allow_nan=False)
    again = RecordSchema.from_json(json.loads(text))
    assert again == schema()
    assert hash(again) == hash(schema())
    assert again.to_json() == schema().to_json()
    assert again.record_bytes == SECTION.nbytes + 4 + 8


def test_a_schema_of_nothing_comes_back_too():
    nothing = RecordSchema(Section(()), Section(()), Section(()))
    assert RecordSchema.from_json(nothing.to_json()) == nothing
    assert nothing.record_bytes == 0
    assert Section(()).unpack(np.zeros((3, 0), np.uint8)) == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("state",), None),
        (("state", "fields"), None),
        (("state", "nbytes"), 7),
        (("state", "unfit_bytes"), 0),
        (("state", "fields", 1, "offset"), 0),
        (("state", "fields", 1, "nbytes"), 5),
        (("state", "fields", 0, "dtype"), "dot"),
        (("state", "fields", 0, "dtype"), "float"),
        (("state", "fields", 0, "dtype"), "float32"),
        (("state", "fields", 0, "dtype"), "no such"),
        (("state", "fields", 0, "shape"), ["a"]),
        (("state", "fields", 0, "shape"), 5),
        (("state", "fields", 0, "encoding"), {"kind": "bits", "low": 0, "bits": 40}),
        (("state", "fields", 0, "encoding"), {"kind": "zip"}),
        (("state", "fields", 0, "encoding"), {"kind": "raw", "level": 3}),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(path: tuple[Any, ...], value: Any):
    data = json.loads(json.dumps(schema().to_json()))
    inner = data
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(SchemaError) as caught:
        RecordSchema.from_json(data)
    message = str(caught.value)
    assert message.startswith("expected a schema with the sections constant, state, step, found {")
    assert message.endswith("; restore the file from a copy")


def test_what_a_later_version_adds_is_ignored():
    data: dict[str, Any] = schema().to_json() | {"further": 1}
    data["state"]["further"] = 1
    data["state"]["fields"][0]["further"] = 1
    assert RecordSchema.from_json(data) == schema()
