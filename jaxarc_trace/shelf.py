"""The shelf: whole episodes in slots, chosen by policy when they end.

Finishers are ranked against what is kept, and only the winners are copied out of the ring. The two
loops that do it turn only where an episode has ended that is wanted more than one in a slot, which
soon is seldom.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, Integer, UInt, UInt8, UInt32

from jaxarc_trace import summary
from jaxarc_trace.blocks import rows_at
from jaxarc_trace.plan import Plan, record_words
from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.stats import Stats, priorities
from jaxarc_trace.summary import Held

__all__ = ["Finishers", "Shelf", "empty_shelf", "shelved"]

# Steps copied at once when an episode goes on the shelf.
_BLOCK = 32
_HIGHEST = np.uint32(2**32 - 1)

# Who stays on the shelf, who has entered, how many slots are taken, and which policies go on.
Admission = tuple[
    Bool[Array, "slot policy"],
    Bool[Array, "lane policy"],
    Int32[Array, " policy"],
    Bool[Array, " policy"],
]

# Which winners are still to be copied, the next block of the first of them, and the shelf.
Copying = tuple[Bool[Array, " lane"], Int32[Array, ""], "Shelf"]

# What is filed of an episode: constants, final state and summary.
Ends = tuple[UInt8[Array, " constant_bytes"], UInt8[Array, " state_bytes"], UInt32[Array, " word"]]


class Shelf(eqx.Module):
    """Whole episodes, one a slot, and which policies want them.

    Attributes:
        records: arrays `[slot, time, ...]` of the ring's dtypes; the last `length` rows of time
            hold the episode, its last transition last.
        constants: uint8 `[slot, constant bytes]`.
        finals: uint8 `[slot, state bytes]`.
        summary: uint32 `[slot, word]`, rows of `summary.pack`.
        wanted: uint32 `[slot, policy]`, priority.
        member: bool `[slot, policy]`; a slot that no policy claims is free.
    """

    records: tuple[UInt[Array, "*slot time _"], ...]
    constants: UInt8[Array, "*slot constant_bytes"]
    finals: UInt8[Array, "*slot state_bytes"]
    summary: UInt32[Array, "*slot word"]
    wanted: UInt32[Array, "*slot policy"]
    member: Bool[Array, "*slot policy"]

    @property
    def lane(self) -> Int32[Held, "*slot"]:
        """int32 `[slot]`, identities of the episodes' lanes."""
        return summary.lane_of(self.summary)

    @property
    def number(self) -> UInt32[Held, "*slot"]:
        """uint32 `[slot]`, numbers of the episodes within their lanes."""
        return summary.number_of(self.summary)

    @property
    def end_step(self) -> UInt32[Held, "*slot"]:
        """uint32 `[slot]`, steps of the trace at which they ended."""
        return self.summary[..., summary.END_STEP]


class Finishers(NamedTuple):
    """The episodes that the last step may have ended, one a lane.

    Attributes:
        done: bool `[lane]`, whether it did.
        stats: `[lane]`.
        ends: gives for a lane's position what is filed of its episode: constants, final state
            and summary, uint8 `[constant bytes]`, `[state bytes]` and uint32 `[word]`.
        lane: int32 `[lane]`, identities.
        salt: uint32 `[lane]`, what their random draws differ by.
        number: uint32 `[lane]`, number of the episode within its lane.
        ring: arrays `[capacity, lane, ...]`, where the transitions are.
        cursor: uint32 scalar, steps recorded, the last one included.
    """

    done: Bool[Array, " lane"]
    stats: Stats
    ends: Callable[[Integer[Array, ""]], Ends]
    lane: Int32[Array, " lane"]
    salt: UInt32[Array, " lane"]
    number: UInt32[Array, " lane"]
    ring: tuple[UInt[Array, "capacity lane _"], ...]
    cursor: UInt32[Array, ""]


def empty_shelf(plan: Plan, slots: int, policies: int) -> Shelf:
    """A shelf of free slots."""
    schema = plan.schema
    return Shelf(
        tuple(
            jnp.zeros((slots, plan.spec.max_steps, size), dtype)
            for size, dtype in record_words(plan)
        ),
        jnp.zeros((slots, schema.constant.nbytes), jnp.uint8),
        jnp.zeros((slots, schema.state.nbytes), jnp.uint8),
        jnp.zeros((slots, summary.width(plan.metrics)), jnp.uint32),
        jnp.zeros((slots, policies), jnp.uint32),
        jnp.zeros((slots, policies), jnp.bool_),
    )


def shelved(
    spec: TraceSpec, shelf: Shelf, ended: Finishers
) -> tuple[Shelf, UInt32[Array, " policy"]]:
    """The shelf after the finishers were ranked against it.

    Args:
        spec: the policies.
        shelf: the shelf before.
        ended: the episodes that ended.

    Returns:
        The shelf, and uint32 `[policy]`: how many of them each policy could have kept.
    """
    end_step = jnp.broadcast_to(ended.cursor - 1, ended.done.shape)
    wanted, eligible = priorities(spec, ended.stats, ended.salt, ended.number, end_step)
    eligible &= ended.done[:, None]
    hopeful = eligible & _above_weakest(spec, shelf, wanted)

    member, won = _admitted(spec, shelf, wanted, hopeful, ended.lane)
    shelf = _with_winners(spec, replace(shelf, member=member), ended, won, wanted)
    return shelf, eligible.sum(axis=0, dtype=jnp.uint32)


def _above_weakest(
    spec: TraceSpec, shelf: Shelf, wanted: UInt32[Array, "lane policy"]
) -> Bool[Array, "lane policy"]:
    """bool `[lane, policy]`: a slot is free, or some episode in one is wanted less.

    An equally wanted one stays, because it is older.
    """
    full = shelf.member.sum(axis=0, dtype=jnp.int32) >= _room(spec)
    lowest = jnp.where(shelf.member, shelf.wanted, _HIGHEST).min(axis=0)
    return ~full[None] | (wanted > lowest[None])


def _room(spec: TraceSpec) -> Int32[Array, " policy"]:
    """int32 `[policy]`, how many episodes each keeps."""
    return jnp.asarray([policy.slots for policy in spec.policies], jnp.int32)


def _admitted(
    spec: TraceSpec,
    shelf: Shelf,
    wanted: UInt32[Array, "lane policy"],
    hopeful: Bool[Array, "lane policy"],
    lane: Int32[Array, " lane"],
) -> tuple[Bool[Array, "slot policy"], Bool[Array, "lane policy"]]:
    """Lets the finishers in one by one, the most wanted first, while each beats the weakest.

    No finisher is put out again by a later one, which is wanted no more than it. All policies take
    their turns side by side; the loop turns once more than the most that enter by one of them, and
    not at all without a hopeful one. Sorting would cost all lanes, and a loop a policy costs to
    compile.

    Args:
        spec: the policies.
        shelf: the shelf before.
        wanted: uint32 `[lane, policy]`.
        hopeful: bool `[lane, policy]`.
        lane: int32 `[lane]`, identities.

    Returns:
        bool `[slot, policy]`, who stays, and bool `[lane, policy]`, who enters.
    """
    room = _room(spec)

    def weakest(
        member: Bool[Array, "slot policy"], least: UInt32[Array, "1 policy"]
    ) -> Bool[Array, "slot policy"]:
        """Of the least wanted the youngest, and of those the one in the highest lane."""
        end_step, lane = shelf.end_step[:, None], shelf.lane[:, None]
        member &= shelf.wanted == least
        member &= end_step == jnp.where(member, end_step, 0).max(axis=0, keepdims=True)
        return _only(jnp.argmax(jnp.where(member, lane, -1), axis=0), member)

    def strongest(
        waiting: Bool[Array, "lane policy"], most: UInt32[Array, "1 policy"]
    ) -> Bool[Array, "lane policy"]:
        """Of the most wanted the one in the lowest lane."""
        waiting &= wanted == most
        last = jnp.iinfo(jnp.int32).max
        return _only(jnp.argmin(jnp.where(waiting, lane[:, None], last), axis=0), waiting)

    def let_in(carry: Admission) -> Admission:
        member, won, taken, goes_on = carry
        waiting = hopeful & ~won
        most = jnp.where(waiting, wanted, 0).max(axis=0, keepdims=True)
        # Of a policy without a member it is the highest, which nothing beats.
        least = jnp.where(member, shelf.wanted, _HIGHEST).min(axis=0, keepdims=True)
        free = taken < room
        goes_on &= waiting.any(axis=0) & (free | (most > least)[0])
        won |= strongest(waiting, most) & goes_on[None]
        member &= ~(weakest(member, least) & (goes_on & ~free)[None])
        return member, won, taken + (goes_on & free).astype(jnp.int32), goes_on

    start = (
        shelf.member,
        jnp.zeros_like(hopeful),
        shelf.member.sum(axis=0, dtype=jnp.int32),
        hopeful.any(axis=0),
    )
    member, won, _, _ = jax.lax.while_loop(lambda carry: carry[3].any(), let_in, start)
    return member, won


def _only(index: Integer[Array, " policy"], of: Bool[Array, "n policy"]) -> Bool[Array, "n policy"]:
    """`of` where it is at the index of its column."""
    return of & (jnp.arange(of.shape[0], dtype=index.dtype)[:, None] == index[None])


def _with_winners(
    spec: TraceSpec,
    shelf: Shelf,
    ended: Finishers,
    won: Bool[Array, "lane policy"],
    wanted: UInt32[Array, "lane policy"],
) -> Shelf:
    """The shelf with the winning lanes' episodes copied into free slots, one by one.

    One loop for episodes and the blocks of each: a loop within a loop hands every array of the
    shelf on once more, which costs to compile. An episode's slot is its own from its last block on.
    """

    def put(carry: Copying) -> Copying:
        waiting, block, shelf = carry
        lane, slot = jnp.argmax(waiting), jnp.argmin(shelf.member.any(axis=1))
        records, goes_on = _with_block(spec, shelf.records, ended, lane, slot, block)
        ends = Shelf((), *ended.ends(lane), wanted[lane], won[lane] & ~goes_on)
        rest = jax.tree.map(
            lambda kept, new: kept.at[slot].set(new), replace(shelf, records=()), ends
        )
        waiting = waiting.at[lane].set(goes_on)
        return waiting, jnp.where(goes_on, block + 1, 0), replace(rest, records=records)

    start = (won.any(axis=1), jnp.int32(0), shelf)
    return jax.lax.while_loop(lambda carry: carry[0].any(), put, start)[2]


def _with_block(
    spec: TraceSpec,
    records: tuple[UInt[Array, "slot time _"], ...],
    ended: Finishers,
    lane: Integer[Array, ""],
    slot: Integer[Array, ""],
    block: Int32[Array, ""],
) -> tuple[tuple[UInt[Array, "slot time _"], ...], Bool[Array, ""]]:
    """The shelf's records with a block of a lane's last steps in a slot; whether more are to come.

    Block 0 is the last one in time. Only those that the episode reaches are copied: short episodes
    are the rule.
    """
    if not records:
        return records, jnp.zeros((), jnp.bool_)
    max_steps, capacity = spec.max_steps, spec.ring_steps
    size = min(_BLOCK, max_steps)
    within = jnp.arange(size, dtype=jnp.uint32)
    first = jnp.maximum(max_steps - size * (block + 1), 0)
    steps = ended.cursor + jnp.uint32(capacity - max_steps) + first.astype(jnp.uint32) + within
    rows = jax.lax.rem(steps, jnp.uint32(capacity)).astype(jnp.int32)
    at = jnp.stack([rows, jnp.broadcast_to(lane.astype(jnp.int32), rows.shape)], axis=-1)
    copied = tuple(
        jax.lax.dynamic_update_slice(kept, rows_at(part, at)[None], (slot, first, 0))
        for kept, part in zip(records, ended.ring, strict=True)
    )
    reached = jnp.minimum(ended.stats.length[lane], max_steps)
    return copied, reached > size * (block + 1)
