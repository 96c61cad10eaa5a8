"""Values to bytes and back, lossless: packed in jit, unpacked in NumPy.

Three encodings (`n` is the number of values of a field, in C order):

- `raw`: the array's own little-endian bytes; `n * itemsize` of them.
- `bits`: integers in `[low, low + 2**bits - 1]`. Value `i` occupies the bits
  `[i * bits, (i + 1) * bits)` of the field, least significant first; bit `j` of the field is bit
  `j % 8` of its byte `j // 8`. Booleans are `bits=1, low=0`.
- `box`: a 2-D boolean mask that is true in exactly one axis-aligned rectangle, or nowhere: the
  four bytes `top, left, bottom, right`, the last two exclusive.

Nothing is ever clipped in silence: `unfit` says, in jit, where a value cannot be held.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, Integer, Shaped, UInt, UInt8

from jaxarc_trace.errors import SchemaError
from jaxarc_trace.folding import folded

__all__ = [
    "Encoding",
    "integer_range",
    "nbytes",
    "numpy_dtype",
    "pack",
    "pack_words",
    "unfit",
    "unpack",
    "word",
]


@dataclass(frozen=True)
class Encoding:
    """How the values of one field are laid out; see the module's text.

    Attributes:
        kind: `"raw"`, `"bits"` or `"box"`.
        low: smallest value of a `bits` field; 0 for the other kinds.
        bits: width of one value of a `bits` field, 1 to 32; 0 for the other kinds.

    Raises:
        SchemaError: on any other kind, width or smallest value.
    """

    kind: Literal["raw", "bits", "box"] = "raw"
    low: int = 0
    bits: int = 0

    def __post_init__(self) -> None:
        """Refuses what no bytes could be laid out by."""
        whole = type(self.low) is int and type(self.bits) is int
        ranged = self.kind == "bits" and whole and 1 <= self.bits <= 32
        plain = self.kind in ("raw", "box") and (self.low, self.bits) == (0, 0)
        if not (ranged or plain):
            raise SchemaError(
                f"expected the encoding 'raw', 'box', or 'bits' with 1 to 32 bits, found {self}; "
                "use Encoding.between(low, high) for a range"
            )

    @classmethod
    def between(cls, low: int, high: int) -> "Encoding":
        """The narrowest encoding of the integers `low` to `high`, both included.

        Raises:
            SchemaError: when an end is no whole number, `high < low`, or the range needs more
                than 32 bits.
        """
        whole = isinstance(low, int) and isinstance(high, int)
        if not whole or high < low or high - low >= 2**32:
            raise SchemaError(
                f"a range needs whole numbers low <= high and at most 2**32 values, found "
                f"[{low}, {high}]; give the two ends in order, or leave the range out to keep "
                "every bit"
            )
        return cls("bits", low, max(1, (high - low).bit_length()))

    @property
    def high(self) -> int:
        """Largest value of a `bits` field."""
        return self.low + 2**self.bits - 1


def numpy_dtype(name: str) -> np.dtype:
    """The dtype of that name, the extended ones of JAX (bfloat16, int4, ...) included."""
    return np.dtype(getattr(jnp, name, None) or name)


def integer_range(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer or boolean dtype."""
    if dtype == "bool":
        return 0, 1
    info = jnp.iinfo(numpy_dtype(dtype))
    return int(info.min), int(info.max)


def nbytes(encoding: Encoding, dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes that one value of a field of this dtype and shape takes."""
    size = math.prod(shape)
    if encoding.kind == "box":
        return 4
    if encoding.kind == "bits":
        return -(-size * encoding.bits // 8)
    return size * numpy_dtype(dtype).itemsize


def pack(
    encoding: Encoding, value: Shaped[Array, "..."], lead: int
) -> UInt8[Array, "*lead nbytes"]:
    """Packs one field; pure, works under any transformation.

    Args:
        encoding: how to lay it out.
        value: `[*lead axes, *shape]` of any dtype but PRNG keys.
        lead: number of leading axes.

    Returns:
        uint8 `[*lead axes, nbytes]`. Values that do not fit wrap; see `unfit`.
    """
    if encoding.kind == "box":
        return _box(value)
    flat = value.reshape(*value.shape[:lead], math.prod(value.shape[lead:]))
    if encoding.kind == "bits":
        return _pack_bits(_shifted(flat, encoding), encoding.bits)
    if jnp.issubdtype(flat.dtype, jnp.complexfloating):
        flat = jnp.stack([flat.real, flat.imag], axis=-1)
    raw = jax.lax.bitcast_convert_type(flat, jnp.uint8)
    width = nbytes(encoding, value.dtype.name, value.shape[lead:])
    return raw.reshape(*value.shape[:lead], width)


def word(encoding: Encoding, dtype: str) -> np.dtype:
    """The unsigned dtype whose words a device keeps a field in: the widest that cuts no value."""
    if encoding.kind != "raw" or jnp.issubdtype(numpy_dtype(dtype), jnp.complexfloating):
        return np.dtype(np.uint8)
    return np.dtype(f"uint{8 * numpy_dtype(dtype).itemsize}")


def pack_words(
    encoding: Encoding, value: Shaped[Array, "..."], lead: int
) -> UInt[Array, "*lead words"]:
    """As `pack`, in words of the dtype that `word` says, whose little-endian bytes are the same.

    Taking a float apart into bytes costs a device more than all the rest of writing it.
    """
    dtype = word(encoding, value.dtype.name)
    if dtype.itemsize == 1:
        return pack(encoding, value, lead)
    flat = value.reshape(*value.shape[:lead], math.prod(value.shape[lead:]))
    return jax.lax.bitcast_convert_type(flat, dtype)


def unfit(
    encoding: Encoding,
    value: Shaped[Array, "..."],
    lead: int,
    packed: UInt[Array, "*lead words"] | None = None,
) -> Bool[Array, "*lead"]:
    """bool `[*lead axes]`: whether some value of the field cannot be held by its encoding.

    Args:
        encoding: how it is laid out.
        value: `[*lead axes, *shape]`.
        lead: number of leading axes.
        packed: what `pack` made of it, where that is known.
    """
    flat = (*value.shape[:lead], math.prod(value.shape[lead:]))
    if encoding.kind == "box":
        box = (_box(value) if packed is None else packed).astype(jnp.int32)
        area = (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])
        count = functools.partial(jnp.sum, dtype=jnp.int32)
        return folded(count, value.astype(jnp.uint8).reshape(flat)) != area
    lowest, highest = integer_range(value.dtype.name)
    outside = jnp.zeros(value.shape, jnp.bool_)
    if encoding.low > lowest:
        outside |= value < jnp.asarray(encoding.low, value.dtype)
    if encoding.high < highest:
        outside |= value > jnp.asarray(encoding.high, value.dtype)
    return folded(jnp.any, outside.reshape(flat))


def unpack(
    encoding: Encoding, dtype: str, shape: tuple[int, ...], raw: UInt8[np.ndarray, "*lead nbytes"]
) -> Shaped[np.ndarray, "..."]:
    """The values of one field back from its bytes.

    Args:
        encoding: how they were laid out.
        dtype: name of the field's dtype.
        shape: shape of one value.
        raw: uint8 `[*lead, nbytes]`.

    Returns:
        `[*lead, *shape]` in the field's dtype.
    """
    lead = raw.shape[:-1]
    if encoding.kind == "box":
        return _unbox(raw, shape)
    to = numpy_dtype(dtype)
    if encoding.kind == "raw":
        flat = np.ascontiguousarray(raw).view(to)
        return flat.reshape((*lead, *shape))
    values = _unpack_bits(raw, encoding.bits, math.prod(shape))
    if encoding.low:
        # Modulo 2**64, since neither int64 nor uint64 alone holds every `low`.
        values = values.astype(np.uint64) + np.uint64(encoding.low % 2**64)
        values = values if to == np.uint64 else values.view(np.int64)
    return values.astype(to).reshape((*lead, *shape))


def _shifted(flat: Shaped[Array, "*lead n"], encoding: Encoding) -> UInt[Array, "*lead n"]:
    """Distance from `low`, unsigned; values that do not fit wrap."""
    if flat.dtype == jnp.bool_:
        return flat.astype(jnp.uint8)
    if jnp.iinfo(flat.dtype).bits < 8:
        flat = flat.astype(jnp.int8)
    unsigned = jnp.uint8 if encoding.bits <= 8 else jnp.uint32
    width = int(jnp.iinfo(unsigned).bits)
    return flat.astype(unsigned) - jnp.asarray(encoding.low % 2**width, unsigned)


def _pack_bits(values: UInt[Array, "*lead n"], bits: int) -> UInt8[Array, "*lead nbytes"]:
    """Unsigned `[*lead, n]` to bytes: `bits` of each value, least significant first."""
    if 8 % bits:
        shifts = jnp.arange(bits, dtype=values.dtype).reshape((1,) * values.ndim + (bits,))
        values = (values[..., None] >> shifts) & jnp.ones((), values.dtype)
        values = values.reshape(*values.shape[:-2], values.shape[-2] * bits)
        bits = 1
    values = values.astype(jnp.uint8) & jnp.asarray(2**bits - 1, jnp.uint8)
    if values.shape[-1] <= 1:
        return values
    size = values.shape[-1]
    whole = size - size % (8 // bits)
    # The last byte, where it is not full, is made apart: filling it up would copy all the others.
    ends = ((0, whole), (whole, size))
    parts = [_overlaid(values[..., first:end], bits) for first, end in ends if first < end]
    return jnp.concatenate(parts, axis=-1)


def _overlaid(values: UInt8[Array, "*lead n"], bits: int) -> UInt8[Array, "*lead nbytes"]:
    """Every second, fourth or eighth value from each of the first ones on, one over the other."""
    per_byte = 8 // bits
    packed = jax.lax.slice_in_dim(values, 0, None, per_byte, axis=-1)
    for index in range(1, min(per_byte, values.shape[-1])):
        part = jax.lax.slice_in_dim(values, index, None, per_byte, axis=-1)
        packed |= part << jnp.asarray(index * bits, jnp.uint8)
    return packed


def _box(mask: Bool[Array, "*lead H W"]) -> UInt8[Array, "*lead 4"]:
    """The bounding box of a mask `[*lead, H, W]` as uint8 `[*lead, 4]`."""

    def ends(
        line: Bool[Array, "*lead n"],
    ) -> tuple[Int32[Array, "*lead"], Int32[Array, "*lead"]]:
        size = line.shape[-1]
        position = jnp.arange(size, dtype=jnp.int32)
        first = jnp.min(jnp.where(line, position, size), axis=-1)
        last = jnp.max(jnp.where(line, position + 1, 0), axis=-1)
        return jnp.where(last > 0, first, 0), last

    top, bottom = ends(mask.any(axis=-1))
    left, right = ends(mask.any(axis=-2))
    return jnp.stack([top, left, bottom, right], axis=-1).astype(jnp.uint8)


def _unbox(
    raw: UInt8[np.ndarray, "*lead 4"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "*lead H W"]:
    box = raw.astype(np.int32)[..., None, None]
    top, left, bottom, right = (box[..., i, :, :] for i in range(4))
    rows = np.arange(shape[0])[:, None]
    columns = np.arange(shape[1])[None, :]
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def _unpack_bits(
    raw: UInt8[np.ndarray, "*lead nbytes"], bits: int, size: int
) -> Integer[np.ndarray, "*lead size"]:
    """Bytes `[*lead, b]` to unsigned values `[*lead, size]`."""
    if bits == 8:
        return raw[..., :size]
    if bits == 4:
        values = np.stack([raw & 15, raw >> 4], axis=-1)
        return values.reshape(*raw.shape[:-1], 2 * raw.shape[-1])[..., :size]
    stream = np.unpackbits(raw, axis=-1, bitorder="little")[..., : size * bits]
    if bits == 1:
        return stream
    weights = np.int64(1) << np.arange(bits, dtype=np.int64)
    return (stream.reshape(*raw.shape[:-1], size, bits) * weights).sum(axis=-1)
