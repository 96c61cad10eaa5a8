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

__all__ = ["folded"]

# One vector instruction takes 4 to 16 of them; fewer columns than 64 are reduced one by one again.
_COLUMNS = 64


def folded(
    reduce: Callable[..., jax.Array], values: Shaped[Array, "*lead values"]
) -> Shaped[Array, "*lead"]:
    """`reduce(values, axis=-1)`, for a reduction to which zeros (or False) add nothing.

    Args:
        reduce: `jnp.sum`, `jnp.any` or another one with an `axis`, whose order does not matter.
        values: `[*lead, n]`.

    Returns:
        `[*lead]`.
    """
    size = values.shape[-1]
    if size < 2 * _COLUMNS:
        return reduce(values, axis=-1)
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -size % _COLUMNS)]
    table = jnp.pad(values, padding).reshape(*values.shape[:-1], -1, _COLUMNS)
    # Without the barrier XLA makes one reduction of the two.
    rows = jax.lax.optimization_barrier(reduce(table, axis=-2))
    return reduce(rows, axis=-1)
