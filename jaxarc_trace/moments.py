"""What happened in an episode: the steps worth looking at.

Works on any environment that says which of its fields play which role
(`episode.environment["roles"]`); what an environment does not have is left out. NumPy only.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from jaxarc_trace.episode import Episode

__all__ = ["KeyMoment", "key_moments", "no_ops", "operation_kinds", "revisits", "role", "scores"]

_MOST = 6
# Which moments stay when there are more than `_MOST`: the two ends, then what a reader asks for.
_RANK = (
    "start", "end", "submit", "best", "drop", "rise", "revisit", "first change",
)  # fmt: skip


@dataclass(frozen=True)
class KeyMoment:
    """One moment of an episode that is worth a look.

    Attributes:
        step: index of a state, 0..T: state `step` is what transition `step - 1` led to.
        kind: `start`, `first change`, `rise`, `drop`, `best`, `revisit`, `submit` or `end`.
        label: a few words, for instance `largest rise +0.31`.
    """

    step: int
    kind: str
    label: str


_Found = TypeVar("_Found")


def once(function: Callable[[Episode], _Found]) -> Callable[[Episode], _Found]:
    """The function, computed once for each episode while that lives: many rules ask the same."""
    known: WeakKeyDictionary[Episode, _Found] = WeakKeyDictionary()

    @functools.wraps(function)
    def found(episode: Episode) -> _Found:
        if episode not in known:
            value = function(episode)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            known[episode] = value
        return known[episode]

    return found


def role(episode: Episode, name: str) -> Shaped[np.ndarray, "states ..."] | None:
    """The recorded field `[T + 1, ...]` that plays a role, or None if there is none."""
    roles = episode.environment.get("roles") or {}
    field = roles.get(name)
    return None if field is None else episode.states.get(field)


@once
def scores(episode: Episode) -> Float64[np.ndarray, " states"] | None:
    """The environment's score of every state, float `[T + 1]`, or None."""
    values = role(episode, "score")
    # A float32 may hold a signalling NaN, of which a conversion warns.
    with np.errstate(invalid="ignore"):
        return None if values is None else np.asarray(values, np.float64).reshape(len(values))


@once
def operation_kinds(episode: Episode) -> tuple[str, ...] | None:
    """The kind of operation of every transition, `T` words, or None where there are none."""
    operations = _operations(episode)
    kinds = episode.environment.get("operation_kinds")
    if operations is None or not kinds:
        return None
    return tuple(kinds[i] if 0 <= i < len(kinds) else "unknown" for i in operations.tolist())


@once
def no_ops(episode: Episode) -> Bool[np.ndarray, " T"]:
    """Transitions that changed no cell and no grid size although they could have, bool `[T]`.

    Ending the episode is no such transition, and neither is copying to the clipboard.
    Without a grid every transition counts as having done something.
    """
    first = _first_alike(episode)
    if first is None:
        return np.zeros(len(episode), bool)
    same = np.asarray(first[1:] == first[:-1])
    operations = _operations(episode)
    for harmless in () if operations is None else _harmless(episode):
        same &= operations != harmless
    return same


@once
def revisits(episode: Episode) -> Bool[np.ndarray, " states"]:
    """States whose grid was seen before and left in between, bool `[T + 1]`."""
    first, out = _first_alike(episode), np.zeros(len(episode) + 1, bool)
    if first is not None:
        out[1:] = (first < np.arange(len(out)))[1:] & (first[1:] != first[:-1])
    return out


@once
def _first_alike(episode: Episode) -> Int64[np.ndarray, " states"] | None:
    """For every state the first one with the same grid of the same size, int `[T + 1]`."""
    grid, mask = role(episode, "grid"), role(episode, "grid_mask")
    if grid is None:
        return None
    rows = _narrow(grid)
    # A size that never changes tells no state from another.
    if mask is not None and len(mask) and (mask != mask[0]).any():
        rows = np.concatenate([rows.view(np.uint8), np.packbits(_flat(mask) != 0, axis=1)], axis=1)
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), state) for state, row in enumerate(rows)])


def _flat(values: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "n size"]:
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _narrow(values: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "n size"]:
    """Rows of values, `[n, size]`, in one byte each where they fit: those of ARC do."""
    flat = _flat(values)
    if flat.dtype.kind in "iu" and flat.size and flat.min() >= -128 and flat.max() <= 127:
        return flat.astype(np.int8)
    return np.ascontiguousarray(flat)


def key_moments(episode: Episode) -> tuple[KeyMoment, ...]:
    """At most six states that tell the episode, in order of time.

    Start, first change, largest rise and largest drop of the score, the best score, the first
    state that was seen before, the submission, the end. A state is named once, by the most
    telling of its reasons.
    """
    last = len(episode)
    found = [KeyMoment(last, "end", f"end, {episode.outcome}")]
    if episode.dropped:
        found.append(KeyMoment(0, "start", f"after {episode.dropped} dropped"))
    else:
        found.append(KeyMoment(0, "start", "start"))
    found += _changes(episode) + _score_moments(episode)
    chosen: dict[int, KeyMoment] = {}
    for moment in sorted(found, key=lambda m: _RANK.index(m.kind)):
        other = chosen.get(moment.step)
        if other is None:
            chosen[moment.step] = moment
        elif other.kind in ("start", "end") and moment.kind in ("best", "submit"):
            chosen[moment.step] = KeyMoment(
                moment.step, moment.kind, f"{moment.label}, {other.kind}"
            )
    kept = sorted(chosen.values(), key=lambda m: _RANK.index(m.kind))[:_MOST]
    return tuple(sorted(kept, key=lambda m: m.step))


def _changes(episode: Episode) -> list[KeyMoment]:
    found = []
    grid = role(episode, "grid")
    states = range(1, 0 if grid is None else len(grid))
    # It is early in most episodes, so that few states are compared.
    first = next((t for t in states if grid is not None and (grid[t] != grid[t - 1]).any()), None)
    if first is not None:
        found.append(KeyMoment(first, "first change", "first change"))
    again = np.flatnonzero(revisits(episode))
    if again.size:
        found.append(KeyMoment(int(again[0]), "revisit", "seen before"))
    kinds = operation_kinds(episode)
    if kinds and "submit" in kinds:
        found.append(KeyMoment(kinds.index("submit") + 1, "submit", "submit"))
    return found


def _score_moments(episode: Episode) -> list[KeyMoment]:
    values = scores(episode)
    if values is None or len(values) < 2 or not np.isfinite(values).any():
        return []
    found = []
    best = int(np.nanargmax(np.where(np.isfinite(values), values, -np.inf)))
    found.append(KeyMoment(best, "best", f"best {values[best]:.3f}"))
    known = np.isfinite(values)
    change = np.diff(np.where(known, values, 0.0))
    change[~(known[1:] & known[:-1])] = 0.0
    rise, drop = int(change.argmax()), int(change.argmin())
    if change[rise] > 0:
        found.append(KeyMoment(rise + 1, "rise", f"largest rise +{change[rise]:.3f}"))
    if change[drop] < 0:
        found.append(KeyMoment(drop + 1, "drop", f"largest drop −{-change[drop]:.3f}"))
    return found


def _operations(episode: Episode) -> Shaped[np.ndarray, "T ..."] | None:
    name = (episode.environment.get("roles") or {}).get("operation")
    if name is None:
        return None
    values = episode.extras.get(name, episode.actions.get(name))
    return None if values is None else np.asarray(values)


def _harmless(episode: Episode) -> list[int]:
    """Operations that are not expected to change the grid."""
    names = episode.environment.get("operations") or []
    kinds = episode.environment.get("operation_kinds") or []
    copies = [i for i, name in enumerate(names) if str(name).strip().lower() == "copy"]
    return copies + [i for i, kind in enumerate(kinds) if kind == "submit"]
