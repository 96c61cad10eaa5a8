"""Some of many lanes, a block of them at a time.

Few of many lanes begin or end an episode at once. What is done for those only, in blocks of a size
that is known when the program is compiled, costs a fraction of doing it for all of them.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Integer

__all__ = ["block_size", "in_blocks"]

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
            up the last block is the number of lanes, one more than the highest position: read
            with `mode="clip"`, and write with `mode="drop"`.
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
