"""What is known of an episode that ended, as one row of words.

An array for every number would be carried through every loop and branch, and written by an
operation of its own, which took half of the time that a trace adds to compiling.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, UInt32

from jaxarc_trace.stats import Stats

__all__ = [
    "END_STEP",
    "Held",
    "lane_of",
    "no_row",
    "number_of",
    "on_host",
    "pack",
    "stats_of",
    "width",
]

Tree = TypeVar("Tree")
Held = Array | np.ndarray
"""Rows on the device, or in the copy of a trace on the host."""

_RETURN, _LENGTH, _FLAGS, _LANE, _NUMBER, END_STEP = range(6)
_METRICS = 6
_FLAG_BITS = 10


def width(metrics: tuple[str, ...]) -> int:
    """Words of a row: six, and two a metric."""
    return _METRICS + 2 * len(metrics)


def pack(
    stats: Stats,
    lane: Int32[Array, "*axes"],
    number: UInt32[Array, "*axes"],
    end_step: UInt32[Array, "*axes"],
) -> UInt32[Array, "*axes word"]:
    """The rows of episodes, uint32 `[..., word]`.

    Args:
        stats: what is known of them.
        lane: int32, identities of their lanes.
        number: uint32, their numbers within the lane.
        end_step: uint32, steps of the trace at which they ended.
    """
    flags = [
        stats.terminated.astype(jnp.uint32),
        stats.truncated.astype(jnp.uint32) << 1,
        stats.success.astype(jnp.uint8).astype(jnp.uint32) << 2,
    ]
    names = sorted(stats.final)
    metrics = [stats.final[name] for name in names] + [stats.best[name] for name in names]
    words = [
        _bits(stats.total_return),
        stats.length.astype(jnp.uint32),
        flags[0] | flags[1] | flags[2],
        lane.astype(jnp.uint32),
        number,
        end_step,
        *(_bits(value) for value in metrics),
    ]
    return jnp.stack(words, axis=-1)


def no_row(rows: UInt32[Array, "*axes word"]) -> Bool[Array, "*axes"]:
    """bool: whether the flags are none that `pack` gives; never, but a compiler does not know."""
    return (rows[..., _FLAGS] >> _FLAG_BITS) != 0


def stats_of(row: UInt32[np.ndarray, " word"], metrics: tuple[str, ...]) -> Stats:
    """The `Stats` of one row on the host, with NumPy's scalars for leaves."""
    flags = int(row[_FLAGS])
    reals = row.view(np.float32)
    names, first = sorted(metrics), _METRICS + len(metrics)
    values: dict[str, Any] = {
        "total_return": reals[_RETURN],
        "length": row.view(np.int32)[_LENGTH],
        "terminated": np.bool_(flags & 1),
        "truncated": np.bool_(flags >> 1 & 1),
        "success": np.uint8(flags >> 2).astype(np.int8),
        "final": {name: reals[_METRICS + index] for index, name in enumerate(names)},
        "best": {name: reals[first + index] for index, name in enumerate(names)},
    }
    return on_host(Stats, values)


def on_host(kind: type[Tree], values: Mapping[str, Any]) -> Tree:
    """A part of a trace on the host, of a class that declares arrays of JAX for its fields."""
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def lane_of(rows: UInt32[Held, "*axes word"]) -> Int32[Held, "*axes"]:
    """int32, identities of the lanes; also of rows on the host."""
    return rows[..., _LANE].astype(np.int32)


def number_of(rows: UInt32[Held, "*axes word"]) -> UInt32[Held, "*axes"]:
    """uint32, numbers of the episodes within their lanes; also of rows on the host."""
    return rows[..., _NUMBER]


def _bits(value: Float32[Array, "*axes"]) -> UInt32[Array, "*axes"]:
    return jax.lax.bitcast_convert_type(value, jnp.uint32)
