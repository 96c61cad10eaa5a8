"""The columns that people ask for, one row an episode, from what a source stores. NumPy only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer, Shaped

__all__ = ["first_of_repeats", "joined", "ordered", "query_columns"]

OWN = (
    "lane number task return length kept dropped complete terminated truncated solved outcome "
    "kept_by end_step"
).split()


def query_columns(
    raw: Mapping[str, Shaped[np.ndarray, " N"]],
    policies: Sequence[str],
    environment: Mapping[str, Any],
) -> dict[str, Shaped[np.ndarray, " N"]]:
    """What `Episodes.columns` holds, for one source.

    Args:
        raw: the stored columns `[N]`: those of `recording.COLUMNS`, `metric.*` and `constant.*`.
        policies: names of the bits of `kept_by`.
        environment: its `roles` name the constants that are `task` and `pair`, its `task_ids`
            the tasks.
    """
    roles = environment.get("roles") or {}
    task = raw.get(f"constant.{roles.get('task')}")
    columns: dict[str, Shaped[np.ndarray, " N"]] = {"lane": raw["lane"], "number": raw["number"]}
    if task is not None:
        columns["task"] = _named(task, environment.get("task_ids") or ())
    columns["return"] = raw["total_return"]
    columns["length"] = raw["kept"].astype(np.int64) + raw["dropped"]
    for name in ("kept", "dropped", "complete", "terminated", "truncated"):
        columns[name] = raw[name]
    columns["solved"] = raw["success"]
    columns["outcome"] = _outcome(raw)
    columns["kept_by"] = _policy_names(raw["kept_by"], policies)
    columns["end_step"] = raw["end_step"]
    for name, column in raw.items():
        prefix, dot, short = name.partition(".")
        constant = prefix == "constant"
        if not dot or (constant and short == roles.get("task")):
            continue
        if constant and short == roles.get("pair"):
            short = "pair"
        short = short.replace(".", "_")
        columns[f"{prefix}_{short}" if short in columns or short in OWN else short] = column
    return columns


def joined(
    tables: Sequence[Mapping[str, Shaped[np.ndarray, " _"]]],
) -> dict[str, Shaped[np.ndarray, " episodes"]]:
    """Tables one below the other; a number that one of them does not have is NaN there."""
    if len(tables) == 1:
        return dict(tables[0])
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: np.concatenate([_column(table, name) for table in tables]) for name in names}


def _column(table: Mapping[str, Shaped[np.ndarray, " N"]], name: str) -> Shaped[np.ndarray, " N"]:
    if name in table:
        return table[name]
    if name == "task":
        return np.full(len(table["lane"]), "", object)
    return np.full(len(table["lane"]), np.nan, np.float32)


def _named(index: Integer[np.ndarray, " N"], names: Sequence[str]) -> Shaped[np.ndarray, " N"]:
    """The name of each index `[N]`; the index itself, as text, where there is none."""
    values, where = np.unique(index, return_inverse=True)
    texts = [str(names[int(v)]) if 0 <= v < len(names) else str(v) for v in values]
    return np.array([*texts, None], object)[where]


def _outcome(raw: Mapping[str, Shaped[np.ndarray, " N"]]) -> Shaped[np.ndarray, " N"]:
    """As `Episode.outcome`."""
    running, success = ~raw["complete"], raw["success"]
    return np.select(
        [running, success == 1, success == 0, raw["terminated"]],
        ["running", "solved", "failed", "terminated"],
        "truncated",
    ).astype(object)


def _policy_names(
    kept_by: Integer[np.ndarray, " N"], policies: Sequence[str]
) -> Shaped[np.ndarray, " N"]:
    """The policies that chose each episode, as text: `best,random`."""
    values, where = np.unique(kept_by, return_inverse=True)
    texts = [
        ",".join(name for bit, name in enumerate(policies) if int(value) >> bit & 1)
        for value in values
    ]
    return np.array([*texts, None], object)[where]


def first_of_repeats(
    sources: Sequence[tuple[tuple[str, int], Mapping[str, Shaped[np.ndarray, " _"]]]],
) -> Int64[np.ndarray, " episodes"]:
    """Which episodes of several sources to take, so that each is there once.

    The same lane and number in two saves of one run is the same episode, seen at two times:
    the complete one is taken, then the one with fewest transitions dropped, then the later.
    Saves without a run might come from different ones, so there the two must also agree: in
    their bytes, or in where they began, where one has more of it than the other.

    Args:
        sources: run and process of each, and its raw columns with `checksum`.

    Returns:
        int64 positions in the sources laid one after the other, in order.
    """
    groups: dict[tuple[Any, ...], list[tuple[tuple[int, ...], int, tuple[int, ...]]]] = {}
    position = 0
    for key, raw in sources:
        began = raw["end_step"].astype(np.int64) - raw["kept"] - raw["dropped"]
        rows = zip(
            raw["lane"].tolist(),
            raw["number"].tolist(),
            raw["complete"].tolist(),
            raw["dropped"].tolist(),
            raw["kept"].tolist(),
            began.tolist(),
            raw["total_return"].tolist(),
            raw["checksum"].tolist(),
            strict=True,
        )
        for lane, number, complete, dropped, kept, start, earned, check in rows:
            rank = (-int(complete), dropped, -kept, -position)
            facts = (complete, start, dropped + kept, dropped, earned, check)
            groups.setdefault((*key, lane, number), []).append((rank, position, facts))
            position += 1
    taken: list[int] = []
    for (run, *_), members in groups.items():
        members.sort()
        chosen = members[:1]
        for member in members[1:] if not run else ():
            if not any(_same(other[2], member[2]) for other in chosen):
                chosen.append(member)
        taken.extend(index for _, index, _ in chosen)
    return np.array(sorted(taken), np.int64)


def _same(better: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two records of one lane and number can be of the same episode."""
    complete, start, length, dropped, earned, check = better
    if start != other[1]:
        return False
    if complete and other[0]:
        same_bytes = check == other[5] or dropped != other[3]
        return same_bytes and length == other[2] and earned == other[4]
    return length >= other[2]


def ordered(
    values: Shaped[np.ndarray, " episodes"], *, descending: bool
) -> Int64[np.ndarray, " episodes"]:
    """Positions of the values of a column in their order, stable, NaN last either way."""
    if values.dtype == object:
        values = np.unique(values.astype(str), return_inverse=True)[1]
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.inf, -values if descending else values)
    elif descending:
        values = -values.astype(np.int64)
    return np.argsort(values, kind="stable")
