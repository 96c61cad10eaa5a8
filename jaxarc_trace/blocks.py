"""Some of many lanes, a block of them at a time.

Few of many lanes begin or end an episode at once. What is done for those only, in blocks of a size
that is known when the program is compiled, costs a fraction of doing it for all of them.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Integer, Shaped

__all__ = ["block_size", "in_blocks", "rows_at", "with_rows_at"]

Value = TypeVar("Value")

# Turns that all lanes at once take. One turn is enough where episodes are longer than that.
_BLOCKS = 16


def block_size(lanes: int) -> int | None:
    """Lanes of a block, or None where there are so few that they are better taken all at once."""
    return -(-lanes // _BLOCKS) if lanes >= 2 * _BLOCKS else None


def in_blocks(
    mask: Bool[Array, " lane"],
    size: int,
    function: Callable[[Int32[Array, " block"], Value], Value],
    value: Value,
) -> Value:
    """Applies a function to the lanes of a mask, block by block, in their order.

    Args:
        mask: bool `[lane]`.
        size: lanes of a block.
        function: from int32 `[size]`, positions of lanes, and a value to the next value. What fills
            up the last block is the number of lanes, one more than the highest position, where
            `rows_at` reads the last lane and `with_rows_at` writes nothing.
        value: what the first block is given.

    Returns:
        What the last block gave; the value itself where the mask holds nothing.
    """
    lanes = mask.shape[0]
    room = lanes + -lanes % size
    place = jnp.where(mask, jnp.cumsum(mask, dtype=jnp.int32) - 1, room)
    every = jnp.arange(lanes, dtype=jnp.int32)
    found = jnp.full(room, lanes, jnp.int32).at[place].set(every, mode="drop")
    blocks = jax.lax.div(mask.sum(dtype=jnp.int32) + (size - 1), size)

    def block(index: Integer[Array, ""], value: Value) -> Value:
        return function(jax.lax.dynamic_slice_in_dim(found, index * size, size), value)

    return jax.lax.fori_loop(0, blocks, block, value)


def rows_at(array: Shaped[Array, "..."], at: Int32[Array, "n axes"]) -> Shaped[Array, "n ..."]:
    """The rows at some positions of the leading axes; one beyond the end is the last.

    As `array.at[...].get(mode="clip")`, in a tenth of the work for Python, and without a look for
    negative positions, which XLA would compile as well.

    Args:
        array: `[*axes, ...]`.
        at: int32 `[n, axes]`, positions from 0.

    Returns:
        `[n, ...]`.
    """
    axes = tuple(range(at.shape[1]))
    rest = array.shape[len(axes) :]
    numbers = jax.lax.GatherDimensionNumbers(
        offset_dims=tuple(range(1, 1 + len(rest))), collapsed_slice_dims=axes, start_index_map=axes
    )
    return jax.lax.gather(array, at, numbers, (*(1 for _ in axes), *rest), mode="clip")


def with_rows_at(
    array: Shaped[Array, "..."], at: Int32[Array, "n axes"], rows: Shaped[Array, "n ..."]
) -> Shaped[Array, "..."]:
    """The array with rows at some positions of its leading axes; one beyond the end is dropped.

    As `array.at[...].set(rows, mode="drop")`; see `rows_at`.
    """
    axes = tuple(range(at.shape[1]))
    numbers = jax.lax.ScatterDimensionNumbers(
        update_window_dims=tuple(range(1, rows.ndim)),
        inserted_window_dims=axes,
        scatter_dims_to_operand_dims=axes,
    )
    return jax.lax.scatter(array, at, rows, numbers, mode="drop")
