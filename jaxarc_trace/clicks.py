"""Where agents act: how often each cell was selected, and which operations each task gets."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from jaxarc_trace.episode import Episode
from jaxarc_trace.failures import places
from jaxarc_trace.moments import operation_kinds, role

__all__ = ["Clicks", "clicks"]


@dataclass(frozen=True)
class Clicks:
    """Counts over many episodes.

    Attributes:
        cells: int64 `[H, W]`, actions whose selection holds the cell.
        by_kind: the same for each kind of operation, by name.
        operations: how often each operation was taken, by task and by name of the operation.
        actions: number of actions in all.
    """

    cells: Int64[np.ndarray, "H W"]
    by_kind: dict[str, Int64[np.ndarray, "H W"]]
    operations: dict[str, dict[str, int]]
    actions: int


def clicks(episodes: Iterable[Episode]) -> Clicks:
    """Maps of where the agents of some episodes acted; reads each once.

    Args:
        episodes: with a grid and actions that name cells; others count as actions only.
    """
    cells: Int64[np.ndarray, "H W"] | None = None
    by_kind: dict[str, Int64[np.ndarray, "H W"]] = {}
    operations: dict[str, dict[str, int]] = {}
    actions = 0
    for episode in episodes:
        actions += len(episode)
        _count(episode, operations.setdefault(_task(episode), {}))
        found = places(episode)
        if found is None:
            continue
        total = found.sum(axis=0, dtype=np.int64)
        cells = total if cells is None else cells + total
        for kind, where in zip(operation_kinds(episode) or (), found, strict=False):
            by_kind[kind] = by_kind.get(kind, 0) + where.astype(np.int64)
    return Clicks(
        np.zeros((0, 0), np.int64) if cells is None else cells, by_kind, operations, actions
    )


def _task(episode: Episode) -> str:
    index, names = role(episode, "task"), episode.environment.get("task_ids") or ()
    if index is None or not len(index):
        return ""
    number = int(np.ravel(index)[0])
    return str(names[number]) if 0 <= number < len(names) else str(number)


def _count(episode: Episode, counts: dict[str, int]) -> None:
    name = (episode.environment.get("roles") or {}).get("operation")
    taken = episode.extras.get(name, episode.actions.get(name)) if name else None
    names = episode.environment.get("operations") or ()
    for value in () if taken is None else np.ravel(taken).tolist():
        word = str(names[value]).strip() if 0 <= value < len(names) else str(value)
        counts[word] = counts.get(word, 0) + 1
