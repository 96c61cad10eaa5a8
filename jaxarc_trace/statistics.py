"""Many episodes in a few numbers: medians, shares, and how sure they are. NumPy only.

Intervals are percentile bootstraps (Efron 1979) of 95 %, from a fixed seed, so that the same
episodes give the same numbers. Of very many values they are what such a bootstrap tends to: the
binomial interval of the median's ranks, the normal one of a mean. An interval of fewer than two
values is not a number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError

__all__ = ["Interval", "Summary", "interval", "summarise"]

DRAWS = 2000
MEDIANS = ("return", "length", "score_final", "score_best", "step_of_best", "no_op_share")
_BLOCK = 2**22
_MANY = 5000
_NORMAL = 1.959964  # 97.5 % of a standard normal lie below


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval.

    Attributes:
        value: the number itself; NaN where there is nothing to take it of.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there was anything to take it of."""
        return not np.isnan(self.value)

    @property
    def centre(self) -> str:
        """The number itself, as text."""
        return f"{self.value:.3g}" if self.known else "-"

    @property
    def ends(self) -> str:
        """The interval as text; empty where there is none."""
        return "" if np.isnan(self.low) else f"[{self.low:.3g}, {self.high:.3g}]"

    def __str__(self) -> str:
        return f"{self.centre} {self.ends}".rstrip()


@dataclass(frozen=True)
class Summary:
    """What is known of a group of episodes.

    Attributes:
        group: what they have in common; `all` for all of them.
        episodes: how many there are.
        ended: how many of them ended; the others were still running.
        solved: share of the ended ones that reached their goal, where the environment says.
        medians: of the columns in `MEDIANS` that there are.
    """

    group: str
    episodes: int
    ended: int
    solved: Interval
    medians: Mapping[str, Interval]


def summarise(episodes: Episodes, by: str | None = None, *, seed: int = 0) -> list[Summary]:
    """Counts, shares and medians of episodes, in one group or several, the largest group first.

    Args:
        episodes: with the columns of `measured` where those are wanted.
        by: any column of text or whole numbers, such as `task`, `outcome` or `lane`; or `failure`,
            with which an episode is in the group of each of its failure modes, or in `none`.
        seed: of the bootstrap.

    Raises:
        SpecError: when there is no such column.
    """
    columns = episodes.columns
    groups = {"all": np.arange(len(episodes))} if by is None else _groups(episodes, by)
    found = []
    for name, rows in groups.items():
        solved = columns["solved"][rows]
        said = columns["complete"][rows] & (solved >= 0)
        medians = {
            key: interval(_told(key, columns[key][rows]), "median", seed=seed)
            for key in MEDIANS
            if key in columns
        }
        found.append(
            Summary(
                name,
                len(rows),
                int(columns["complete"][rows].sum()),
                interval(solved[said] == 1, "mean", seed=seed),
                medians,
            )
        )
    return sorted(found, key=lambda summary: (-summary.episodes, summary.group))


def _told(name: str, values: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """The values, NaN for those of `facts.FACTS` that say by -1 that there are none."""
    return np.where(values < 0, np.nan, values) if name == "step_of_best" else values


def interval(values: Shaped[np.ndarray, " n"], what: str = "median", *, seed: int = 0) -> Interval:
    """The median or mean of values, with a bootstrap interval.

    Args:
        values: `[n]`; NaN is left out.
        what: `median` or `mean`.
        seed: of the draws.
    """
    data = np.asarray(values, np.float64)
    data = data[~np.isnan(data)]
    if not len(data):
        return Interval(np.nan, np.nan, np.nan)
    centre = float(np.median(data) if what == "median" else data.mean())
    if len(data) < 2:
        return Interval(centre, np.nan, np.nan)
    if len(data) > _MANY:
        return _of_many(data, centre, what)
    drawn = _drawn(data, what, np.random.default_rng(seed))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(centre, float(low), float(high))


def _of_many(data: Float64[np.ndarray, " n"], centre: float, what: str) -> Interval:
    """The interval that a bootstrap of very many values has, without its draws."""
    if what == "mean":
        half = _NORMAL * float(data.std()) / np.sqrt(len(data))
        return Interval(centre, centre - half, centre + half)
    middle, half = (len(data) - 1) / 2, _NORMAL * np.sqrt(len(data)) / 2
    ranks = [round(middle - half), round(middle + half)]
    low, high = np.partition(data, ranks)[ranks]
    return Interval(centre, float(low), float(high))


def _drawn(
    data: Float64[np.ndarray, " n"], what: str, random: np.random.Generator
) -> Float64[np.ndarray, " draws"]:
    """The statistic of `DRAWS` samples with repeats, in blocks, so that memory is bounded."""
    size = max(1, _BLOCK // len(data))
    found: list[Float64[np.ndarray, " _"]] = []
    for start in range(0, DRAWS, size):
        rows = random.integers(0, len(data), (min(size, DRAWS - start), len(data)))
        sample = data[rows]
        found.append(np.median(sample, axis=1) if what == "median" else sample.mean(axis=1))
    return np.concatenate(found)


def _groups(episodes: Episodes, by: str) -> dict[str, Int64[np.ndarray, " _"]]:
    columns = episodes.columns
    name = "failures" if by == "failure" else by
    if name not in columns:
        raise SpecError(
            f"--by: expected a column of these episodes, or failure, found {by!r}; there are "
            f"{', '.join(columns)}"
        )
    if by == "failure":
        return _by_failure(columns[name], columns["readable"])
    values = columns[name]
    if values.dtype.kind == "f":
        raise SpecError(f"--by: expected text or whole numbers, found the real numbers of {by!r}")
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values.tolist()):
        rows.setdefault(str(value), []).append(row)
    return {text: np.asarray(found) for text, found in rows.items()}


def _by_failure(
    column: Sequence[str] | Shaped[np.ndarray, " episodes"],
    readable: Sequence[bool] | Bool[np.ndarray, " episodes"],
) -> dict[str, Int64[np.ndarray, " _"]]:
    """Rows of each mode; of an episode that cannot be read it is not known what failed."""
    rows: dict[str, list[int]] = {}
    for row, (text, known) in enumerate(zip(column, readable, strict=True)):
        for mode in text.split(",") if text else ("none" if known else "unreadable",):
            rows.setdefault(mode, []).append(row)
    return {mode: np.asarray(found) for mode, found in rows.items()}
