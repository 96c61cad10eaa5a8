"""New episodes in the lanes whose episode is over, and only in those.

Resetting every lane and choosing by `where`, as auto-reset usually does under vmap, costs JaxARC
nearly as much as stepping every lane does, whether one episode has ended or all have. Here the
lanes that need it are reset, a block of them at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Shaped

from jaxarc_trace.blocks import block_size, in_blocks, with_rows_at

__all__ = ["Resets", "like", "renewed"]

State = TypeVar("State")
Some = Callable[[Int32[Array, " n"]], State]


@dataclass(frozen=True)
class Resets(Generic[State]):
    """How the lanes of a batch, or a single one, are reset.

    Attributes:
        every: gives fresh states of all lanes.
        some: gives those of the lanes at some positions, int32 `[n]`, the same as `every` does;
            None where only all of them can be reset.
    """

    every: Callable[[], State]
    some: Some[State] | None = None


def renewed(done: Bool[Array, "*lanes"], now: State, resets: Resets[State]) -> State:
    """States in which the lanes that are done are fresh.

    Args:
        done: bool `[lanes]` or scalar.
        now: states, `[lanes, ...]`; dtypes stay as they are here.
        resets: how to reset.
    """
    size = block_size(done.shape[0]) if done.ndim else None
    if size is None or resets.some is None:
        return jax.tree.map(lambda new, old: _select(done, new, old), resets.every(), now)
    block = jax.ShapeDtypeStruct((size,), jnp.int32)
    return _in_turns(now, done, eqx.filter_closure_convert(resets.some, block), size)


@eqx.filter_custom_jvp
def _in_turns(now: Any, done: Bool[Array, " lane"], some: Some[Any], size: int) -> Any:
    """The lanes that are done, `size` at a time, in one loop of as many turns as are needed."""
    count = done.shape[0]

    def fresh(lanes: Int32[Array, " block"]) -> Any:
        return jax.tree.map(like, some(lanes), now)

    def nothing(lanes: Int32[Array, " block"]) -> Any:
        del lanes
        return jax.tree.map(lambda old: jax.lax.full((size, *old.shape[1:]), 0, old.dtype), now)

    def put(lanes: Int32[Array, " block"], now: Any) -> Any:
        # Every block has a lane; but XLA does not know, and so leaves the reset in the loop whole.
        # It would take each constant out of it for itself, and what is computed from equal ones
        # would be computed once for each: JaxARC's reset has 36 loops of random bits then, not 22.
        new = jax.lax.cond(lanes[0] < count, fresh, nothing, lanes)
        at = lanes[:, None]
        return jax.tree.map(lambda old, new: with_rows_at(old, at, new), now, new)

    return in_blocks(done, size, put, now)


@_in_turns.def_jvp
def _in_turns_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    """That of resetting all lanes: a loop of unknown length has no reverse mode."""
    return eqx.filter_jvp(_by_where, primals, tangents)


def _by_where(now: Any, done: Bool[Array, " lane"], some: Some[Any], size: int) -> Any:
    """What `_in_turns` gives, of resets of every lane."""
    lanes = done.shape[0]
    every = jnp.arange(lanes + -lanes % size, dtype=jnp.int32).reshape(-1, size)
    fresh = jax.lax.map(some, jnp.minimum(every, lanes - 1))
    return jax.tree.map(
        lambda new, old: _select(done, new.reshape(-1, *new.shape[2:])[:lanes], old), fresh, now
    )


def _select(
    mask: Bool[Array, "*lanes"],
    new: Shaped[Array, "*lanes_and_rest"],
    old: Shaped[Array, "*lanes_and_rest"],
) -> Shaped[Array, "*lanes_and_rest"]:
    """`where` over the leading axes that `mask` has, in the dtype of `old`; keys included."""
    shape = mask.shape + (1,) * (old.ndim - mask.ndim)
    return jnp.where(mask.reshape(shape), like(new, old), old)


def like(new: Shaped[Array, "..."], old: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """`new` in the dtype of `old`, as the carry of a scan needs it; PRNG keys as they are."""
    if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
        return new
    return jax.lax.convert_element_type(new, old.dtype)
