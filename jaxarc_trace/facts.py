"""The numbers of an episode that only its steps tell, and those of many, computed once.

Episodes are read one at a time, so memory does not grow with their number; what was computed of a
stored trace is kept in a file beside it, under the trace's own checksum.
"""

import json
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import StoreError
from jaxarc_trace.failures import MODES, Failure, failure_modes
from jaxarc_trace.moments import no_ops, operation_kinds, revisits, role, scores

__all__ = ["FACTS", "facts", "measured"]

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "score_final": "the environment's score of the last state, NaN where it has none",
        "score_best": "the largest score of a kept state",
        "step_of_best": "the first state with that score, -1 where there is none",
        "no_op_share": "share of transitions that changed nothing, 0 to 1, NaN without a grid",
        "revisits": "states whose grid was seen before and left in between, -1 without a grid",
        "distinct_operations": "number of different operations taken, -1 where there are none",
        "submits": "number of submissions, -1 where there is no such thing",
        "dimension_match": "1 if the last grid has the target's size, 0 if not, -1 if unknown",
        "failures": "names of the failure modes, separated by commas; empty for none",
        "readable": "whether its steps could be read",
    }
)
"""The columns that `measured` adds, and what they mean."""

VERSION = 3
_FOLDER = "analysis"
_UNREADABLE: Mapping[str, Any] = {
    "score_final": np.nan,
    "score_best": np.nan,
    "step_of_best": -1,
    "no_op_share": np.nan,
    "revisits": -1,
    "distinct_operations": -1,
    "submits": -1,
    "dimension_match": -1,
    "failures": "",
    "readable": False,
}
_DTYPES = {"score_final": "f4", "score_best": "f4", "no_op_share": "f4", "readable": "?"}


def facts(episode: Episode, failures: Iterable[Failure] | None = None) -> dict[str, Any]:
    """The values of `FACTS` for one episode.

    Args:
        episode: the episode.
        failures: its failure modes, where they are known already.
    """
    found = failure_modes(episode) if failures is None else failures
    values = scores(episode)
    known = values is not None and bool(np.isfinite(values).any())
    best = int(np.nanargmax(values)) if known and values is not None else -1
    kinds = operation_kinds(episode)
    idle = no_ops(episode)
    gridded = role(episode, "grid") is not None
    return {
        "score_final": float(values[-1]) if known and values is not None else np.nan,
        "score_best": float(values[best]) if known and values is not None else np.nan,
        "step_of_best": best,
        "no_op_share": float(idle.mean()) if gridded and len(idle) else np.nan,
        "revisits": int(revisits(episode).sum()) if gridded else -1,
        "distinct_operations": _distinct(episode),
        "submits": -1 if kinds is None else kinds.count("submit"),
        "dimension_match": _dimension_match(episode),
        "failures": ",".join(failure.mode for failure in found),
        "readable": True,
    }


def measured(
    episodes: Episodes,
    *,
    cache: bool = True,
    progress: Callable[[Iterable[int], int], Iterable[int]] | None = None,
) -> Episodes:
    """The same episodes with the columns of `FACTS`, so that they can be asked for and sorted by.

    Args:
        episodes: the episodes; all those of their sources are measured, so that the answer can be
            kept for the next time.
        cache: whether to read and write the file beside each stored trace, in `analysis/` of the
            run; where it cannot be written nothing is kept.
        progress: given the numbers of the episodes to be read and how many there are, gives them
            back one by one, for instance `rich.progress.track`.
    """
    tables: list[dict[str, Shaped[np.ndarray, " _"]]] = []
    waiting = [_cached(source) if cache else None for source in episodes.sources]
    missing = [i for i, found in enumerate(waiting) if found is None]
    total = sum(len(episodes.sources[i]) for i in missing)
    numbers = iter((progress or _silent)(range(total), total))
    for index, source in enumerate(episodes.sources):
        table = waiting[index]
        if table is None:
            table = _table(source, numbers)
            if cache:
                _keep(source, table)
        tables.append(table)
    next(numbers, None)
    added = {name: np.concatenate([t[name] for t in tables]) for name in FACTS} if tables else {}
    return episodes.with_columns(added)


def _silent(numbers: Iterable[int], total: int) -> Iterable[int]:
    del total
    return numbers


def _table(source: Any, numbers: Any) -> dict[str, Shaped[np.ndarray, " N"]]:
    """The facts of all episodes of a source, read one after the other."""
    whole = Episodes([source], np.arange(len(source)))
    columns: dict[str, list[Any]] = {name: [] for name in FACTS}
    for index in range(len(source)):
        next(numbers)
        try:
            found: Mapping[str, Any] = facts(whole[index])
        except StoreError:
            found = _UNREADABLE
        for name, values in columns.items():
            values.append(found[name])
    return {name: _column(name, values) for name, values in columns.items()}


def _column(name: str, values: list[Any]) -> Shaped[np.ndarray, " N"]:
    if name == "failures":
        return np.array([*values, None], object)[:-1]
    return np.asarray(values, _DTYPES.get(name, "i4"))


def _file(source: Any) -> Path | None:
    """Where the facts of a stored trace are kept: in its run, named by its checksum."""
    path, commit = getattr(source, "path", None), getattr(source, "commit", None)
    if path is None or commit is None:
        return None
    run = path.parent.parent if path.parent.name == "traces" else path.parent
    return run / _FOLDER / f"facts-v{VERSION}-{commit[:24]}.npz"


def _cached(source: Any) -> dict[str, Shaped[np.ndarray, " N"]] | None:
    """What was kept, if it is whole and of this version."""
    file = _file(source)
    if file is None or not file.is_file():
        return None
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            table = {name: held[name] for name in FACTS}
            modes = json.loads(str(held["modes"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    whole = all(len(column) == len(source) for column in table.values())
    if not whole or modes != dict(MODES):
        return None
    table["failures"] = np.array([*table["failures"].tolist(), None], object)[:-1]
    return table


def _keep(source: Any, table: Mapping[str, Shaped[np.ndarray, " N"]]) -> None:
    """Writes the facts, all of them or nothing; whoever may only read a run keeps nothing."""
    file = _file(source)
    if file is None:
        return
    partial = file.with_name(f".partial-{uuid.uuid4().hex}")
    plain = {**table, "failures": table["failures"].astype(str)}
    try:
        file.parent.mkdir(exist_ok=True)
        with partial.open("wb") as handle:
            np.savez_compressed(handle, modes=json.dumps(dict(MODES)), **plain)  # pyright: ignore[reportArgumentType]
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)


def _distinct(episode: Episode) -> int:
    name = (episode.environment.get("roles") or {}).get("operation")
    taken = episode.extras.get(name, episode.actions.get(name)) if name else None
    return -1 if taken is None else len(np.unique(taken))


def _dimension_match(episode: Episode) -> int:
    ours, theirs = role(episode, "grid_mask"), role(episode, "target_mask")
    if ours is None or theirs is None or not theirs[-1].any():
        return -1

    def size(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
        return int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())

    return int(size(ours[-1]) == size(theirs[-1]))
