"""A 32-bit digest of a state: equal states agree, two different ones disagree but for chance.

Each leaf's words are mixed, multiplied by fixed random odd weights and summed modulo 2**32, one
reduction a leaf; the sums are combined and avalanched (the finalizer of MurmurHash3, Appleby
2011). Random odd weights matter: small consecutive ones collide on most edits of two cells. So
does the mixing: in a product alone the high bits of a word reach few bits of the sum, and moves
between the highest bits of two words, as on bitboards, would always collide.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from jaxarc_trace.folding import in_columns

__all__ = ["avalanche", "digest"]


def digest(tree: Any, lanes: int | None = None) -> UInt32[Array, "*lanes"]:
    """Digest of the discrete leaves of a pytree; floating-point leaves are left out.

    Floats are left out so that digests agree across devices and programs.

    Args:
        tree: arrays, of a batch `[lanes, ...]`; PRNG keys count with their key data. Leaves of a
            batch with another first axis are shared by the lanes, and count in each.
        lanes: size of the batch; None for a single state.

    Returns:
        uint32 `[lanes]` or a scalar. The places of the leaves matter, their names and shapes do
        not.
    """
    add = functools.partial(jnp.sum, dtype=jnp.uint32)
    sums: dict[tuple[int, ...], UInt32[Array, "*lead _"]] = {}
    for index, leaf in enumerate(jax.tree.leaves(tree)):
        array = _discrete(leaf)
        if array is None:
            continue
        lead = int(lanes is not None and jnp.shape(leaf)[:1] == (lanes,))
        size = math.prod(array.shape[lead:])
        words = array.reshape(*array.shape[:lead], size)
        weights = jnp.asarray(_weights(index, size)).reshape((1,) * lead + (size,))
        for part in in_columns(add, words * weights):
            # What several leaves leave in the same shape is one sum from here on.
            sums[part.shape] = sums[part.shape] + part if part.shape in sums else part
    total = jnp.zeros(() if lanes is None else lanes, jnp.uint32)
    return avalanche(sum((add(part, axis=-1) for part in sums.values()), total))


def _discrete(leaf: Any) -> UInt32[Array, "..."] | None:
    array = leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        return None
    if jnp.iinfo(array.dtype).bits == 64:
        array = jnp.stack([array & 0xFFFFFFFF, array >> 32], axis=-1)
    return _mixed(array.astype(jnp.uint32))


def _mixed(word: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijection of uint32 whose differences are seldom divisible by a high power of two.

    The factor is MurmurHash3's second. With it edits of ARC grids and moves on bitboards both
    collide as often as chance says; with some other factors one of the two does not.
    """
    word = (word ^ (word >> 16)) * jnp.uint32(0x1B873593)
    return word ^ (word >> 15)


@functools.lru_cache(maxsize=512)
def _weights(leaf: int, size: int) -> UInt32[np.ndarray, " size"]:
    """Fixed odd weights uint32 `[size]`, the same in every process and version."""
    raw = np.random.Philox(key=0x7ACE_D16E, counter=leaf << 32).random_raw(max(size, 1))
    return (raw[:size] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


def avalanche(word: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijection of uint32 in which each input bit changes half of the output's."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
