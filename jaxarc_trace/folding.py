"""Reductions of many values a lane, in a shape that XLA compiles to vector instructions.

XLA's CPU compiler reduces the last axis of an array one value at a time, and splits a long one in a
way that keeps what comes before it from being fused with it. Reducing the rows of a table, and
then what is left of the columns, takes less than half of the time for values that lie in memory
(`benchmarks/folding.py`); values that are made just before are better left to XLA.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

__all__ = ["folded", "in_columns"]

# One vector instruction takes 4 to 16 of them; fewer columns than 64 are reduced one by one again.
_COLUMNS = 64

Reduce = Callable[..., jax.Array]


def folded(reduce: Reduce, values: Shaped[Array, "*lead values"]) -> Shaped[Array, "*lead"]:
    """`reduce(values, axis=-1)`, in two turns.

    Args:
        reduce: `jnp.sum`, `jnp.any` or another one with an `axis`, whose order does not matter.
        values: `[*lead, n]`.

    Returns:
        `[*lead]`.
    """
    return reduce(jnp.concatenate(in_columns(reduce, values), axis=-1), axis=-1)


def in_columns(
    reduce: Reduce, values: Shaped[Array, "*lead values"]
) -> list[Shaped[Array, "*lead _"]]:
    """The first of the two turns, for whoever puts together what several arrays leave.

    Args:
        reduce: as `folded`.
        values: `[*lead, n]`.

    Returns:
        `[*lead, 64]` and, where 64 does not divide `n`, the `n % 64` last values; of fewer than
        128 values only themselves. The reduction of all of it is that of the values.
    """
    size = values.shape[-1]
    if size < 2 * _COLUMNS:
        return [values]
    # Filling the last row up would take twice the time of all the rest: each value would be read
    # behind the question whether it is there.
    whole = size - size % _COLUMNS
    table = values[..., :whole].reshape(*values.shape[:-1], -1, _COLUMNS)
    # Without the barrier XLA makes one reduction of the two.
    rows = jax.lax.optimization_barrier(reduce(table, axis=-2))
    return [rows, values[..., whole:].astype(rows.dtype)] if whole < size else [rows]
