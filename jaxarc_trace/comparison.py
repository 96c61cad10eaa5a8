"""Two episodes, or two runs, beside each other: where they part, and by how much."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError
from jaxarc_trace.moments import scores
from jaxarc_trace.statistics import Interval, interval

__all__ = ["Comparison", "RunComparison", "compare", "compare_runs"]


@dataclass(frozen=True)
class Comparison:
    """Two episodes beside each other; each difference is `b - a`.

    Attributes:
        same_start: whether they begin in the same state, as far as both recorded it.
        first_action: the first transition at which their actions differ; the length of the
            shorter one where that is all that differs; None where they are the same.
        first_state: the first state that differs, likewise.
        differing: recorded fields that differ in that state.
        deltas: of return, length, and final and best score where there are any.
    """

    same_start: bool
    first_action: int | None
    first_state: int | None
    differing: tuple[str, ...]
    deltas: Mapping[str, float]


@dataclass(frozen=True)
class RunComparison:
    """Two runs beside each other, task by task; each difference is `b - a`.

    Attributes:
        column: what was compared.
        tasks: difference of the two means of each task that both runs have, by name.
        episodes: how many ended episodes of each run that takes, by task.
        mean: mean difference over the tasks, each counting once, with a bootstrap interval over
            tasks.
        better: share of tasks in which the second run is better, ties counting half.
        only_a: tasks that only the first run has.
        only_b: tasks that only the second has.
    """

    column: str
    tasks: Mapping[str, float]
    episodes: Mapping[str, tuple[int, int]]
    mean: Interval
    better: float
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def compare(a: Episode, b: Episode) -> Comparison:
    """Where two episodes part, and how they end."""
    states = _first(a.states, b.states, len(a) + 1, len(b) + 1)
    actions = _first(a.actions, b.actions, len(a), len(b))
    deltas = {
        "return": b.total_return - a.total_return,
        "length": float(b.length - a.length),
    }
    one, other = scores(a), scores(b)
    if one is not None and other is not None:
        deltas["final score"] = float(other[-1] - one[-1])
        deltas["best score"] = float(np.nanmax(other) - np.nanmax(one))
    same_start = not (a.dropped or b.dropped) and (states[0] is None or states[0] > 0)
    return Comparison(same_start, actions[0], states[0], states[1], deltas)


def compare_runs(
    a: Episodes, b: Episodes, column: str = "return", *, seed: int = 0
) -> RunComparison:
    """What the second run does better or worse than the first, on the tasks that both have.

    Only episodes that ended count. Pairing by task takes out that tasks differ in difficulty.

    Args:
        a: episodes of the first run.
        b: episodes of the second.
        column: a column of numbers, for instance `return`, `solved`, `length`, or one of `FACTS`.
        seed: of the bootstrap.

    Raises:
        SpecError: when there is no such column of numbers, or no task in common.
    """
    ours, theirs = _by_task(a, column), _by_task(b, column)
    both = [task for task in ours if task in theirs]
    if not both:
        raise SpecError(
            f"expected runs with a task in common, found {_few(ours)} and {_few(theirs)}; compare "
            "runs on the same tasks"
        )
    deltas = {task: float(theirs[task].mean() - ours[task].mean()) for task in both}
    values = np.array(list(deltas.values()))
    return RunComparison(
        column,
        deltas,
        {task: (len(ours[task]), len(theirs[task])) for task in both},
        interval(values, "mean", seed=seed),
        float((values > 0).mean() + (values == 0).mean() / 2),
        tuple(task for task in ours if task not in theirs),
        tuple(task for task in theirs if task not in ours),
    )


def _first(
    a: Mapping[str, Shaped[np.ndarray, "..."]],
    b: Mapping[str, Shaped[np.ndarray, "..."]],
    ours: int,
    theirs: int,
) -> tuple[int | None, tuple[str, ...]]:
    """The first row at which fields of the same name differ, and which do."""
    count = min(ours, theirs)
    first: dict[str, int] = {}
    for name in a.keys() & b.keys():
        one, other = a[name][:count], b[name][:count]
        if one.shape != other.shape:
            first[name] = 0
            continue
        apart = (one != other).any(axis=tuple(range(1, one.ndim)))
        if apart.any():
            first[name] = int(apart.argmax())
    if not first:
        return (None if ours == theirs else count), ()
    where = min(first.values())
    return where, tuple(sorted(name for name, row in first.items() if row == where))


def _by_task(episodes: Episodes, column: str) -> dict[str, Float64[np.ndarray, " _"]]:
    columns = episodes.columns
    if column not in columns or columns[column].dtype.kind not in "biuf":
        numbers = [name for name, values in columns.items() if values.dtype.kind in "biuf"]
        raise SpecError(
            f"expected a column of numbers, found {column!r}; there are {', '.join(numbers)}"
        )
    values = columns[column].astype(np.float64)
    counts = columns["complete"] & ~np.isnan(values)
    tasks = columns.get("task")
    names = np.full(len(values), "all", object) if tasks is None else tasks
    return {
        str(task): values[counts & (names == task)]
        for task in dict.fromkeys(names.tolist())
        if (counts & (names == task)).any()
    }


def _few(tasks: Mapping[str, Float64[np.ndarray, " _"]]) -> str:
    return ", ".join(list(tasks)[:5]) + (" and more" if len(tasks) > 5 else "") or "none"
