"""Where a recording and its re-simulation part: the first step, the leaves, and by how much.

Steps are counted as states are: step 0 is the state that an episode begins with, step `t + 1` is
everything that transition `t` led to, its reward and flags included. NumPy only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Shaped

__all__ = ["Check", "Difference", "Divergence", "differences", "first_divergence"]

_ORDER = ("action", "extra", "state", "reward", "terminated", "truncated", "digest")


class Check(NamedTuple):
    """One thing that can be compared.

    Attributes:
        name: the leaf: a field's name, `extra.<name>`, `reward`, a flag, or `digest`.
        kind: `state` for fields of a state, else the name's first part.
        recorded: `[n, ...]` as it was recorded.
        found: `[n, ...]` as it came out now.
        first: step of the first of them.
    """

    name: str
    kind: str
    recorded: Shaped[np.ndarray, "n ..."]
    found: Shaped[np.ndarray, "n ..."]
    first: int


@dataclass(frozen=True)
class Difference:
    """How one leaf differs at one step.

    Attributes:
        leaf: its name.
        differing: number of values that differ.
        of: number of values it has.
        largest: largest absolute difference; NaN where one of the two is not a number.
        where: place of the first value that differs, `()` for a scalar.
        recorded: that value as recorded.
        found: that value as it came out.
    """

    leaf: str
    differing: int
    of: int
    largest: float
    where: tuple[int, ...]
    recorded: float
    found: float

    def __str__(self) -> str:
        place = f"{list(self.where)} " if self.where else ""
        count = f"{self.differing} of {self.of} differ, first " if self.of > 1 else ""
        values = f"recorded {_exact(self.recorded)}, found {_exact(self.found)}"
        return f"{self.leaf}: {count}{place}{values}"


def _exact(value: float) -> str:
    """Whole numbers with all their digits, such as digests."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 2**53 else f"{value:.9g}"


@dataclass(frozen=True)
class Divergence:
    """The first step at which a recording and its re-simulation are not the same.

    Attributes:
        step: 0 for the state it begins with, `t + 1` for what transition `t` led to.
        leaves: what differs there, the most telling first.
        cause: what that means, as far as it can be told; may be empty.
    """

    step: int
    leaves: tuple[Difference, ...]
    cause: str = ""

    @property
    def leaf(self) -> str:
        """The most telling leaf."""
        return self.leaves[0].leaf

    def __str__(self) -> str:
        more = f" (and {len(self.leaves) - 1} more leaves)" if len(self.leaves) > 1 else ""
        cause = f"; {self.cause}" if self.cause else ""
        return f"step {self.step}, {next(iter(self.leaves))}{more}{cause}"


@dataclass(frozen=True)
class Summary:
    """What a comparison found.

    Attributes:
        first: the first divergence, or None.
        largest: largest difference of each leaf of real numbers that differs at all, by name,
            relative to the value where that is larger than 1.
        steps: the first step at which each leaf differs, by name.
    """

    first: Divergence | None
    largest: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)


def first_divergence(checks: Iterator[Check], tolerance: float = 0.0) -> Summary:
    """Compares everything, bit for bit or within a tolerance.

    Args:
        checks: what to compare.
        tolerance: real numbers count as equal when they differ by no more than this times
            `max(1, |recorded|)`; 0 asks for the same bits. Whole numbers are always exact.
    """
    steps: dict[str, int] = {}
    largest: dict[str, float] = {}
    taken: dict[str, Check] = {}
    for check in checks:
        apart = _apart(check.recorded, check.found)
        if apart is not None:
            size = float(np.max(apart, initial=0.0)) if not np.isnan(apart).any() else np.nan
            if size != 0:
                largest[check.name] = size
        rows = np.flatnonzero(differences(check.recorded, check.found, tolerance))
        if rows.size and int(rows[0]) + check.first < steps.get(check.name, np.inf):
            steps[check.name] = int(rows[0]) + check.first
            taken[check.name] = check
    if not steps:
        return Summary(None, largest)
    first = min(steps.values())
    here = [taken[name] for name, step in steps.items() if step == first]
    here.sort(key=lambda check: _ORDER.index(check.kind))
    leaves = tuple(_described(check, first) for check in here)
    return Summary(Divergence(first, leaves), largest, steps)


def differences(
    recorded: Shaped[np.ndarray, "*shape"],
    found: Shaped[np.ndarray, "*shape"],
    tolerance: float = 0.0,
) -> Bool[np.ndarray, " n"]:
    """bool `[n]`: which rows differ; bits decide unless a tolerance is given for real numbers."""
    different = _elements(recorded, found, tolerance)
    return np.asarray(different.any(axis=tuple(range(1, different.ndim))))


def _elements(
    recorded: Shaped[np.ndarray, "*shape"], found: Shaped[np.ndarray, "*shape"], tolerance: float
) -> Bool[np.ndarray, "..."]:
    if recorded.dtype.kind in "biu":
        return recorded != found
    if tolerance:
        apart = _apart(recorded, found)
        if apart is not None:
            both_nan = np.isnan(_real(recorded)) & np.isnan(_real(found))
            return ~((apart <= tolerance) | both_nan)
    return _bits(recorded) != _bits(found)


def _bits(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Values as something whose equality is that of bits; complex ones as two parts."""
    size = values.dtype.itemsize
    if size in (1, 2, 4, 8):
        return np.ascontiguousarray(values).view(f"u{size}")
    parts = np.ascontiguousarray(values).view("u8")
    return parts.reshape(*values.shape, -1)


def _real(values: Shaped[np.ndarray | np.generic, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    return np.asarray(values, np.float64)


def _apart(
    recorded: Shaped[np.ndarray, "*shape"], found: Shaped[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"] | None:
    """Differences of real numbers, relative above 1; None for anything else."""
    if recorded.dtype.kind not in "fV":
        return None
    one, other = _real(recorded), _real(found)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.abs(one - other) / np.maximum(1.0, np.abs(one)))


def _described(check: Check, step: int) -> Difference:
    recorded, found = check.recorded[step - check.first], check.found[step - check.first]
    different = np.atleast_1d(_elements(recorded[None], found[None], 0.0)[0])
    places = np.argwhere(different)
    where = tuple(int(i) for i in places[0][: recorded.ndim]) if recorded.ndim else ()
    with np.errstate(invalid="ignore"):
        sizes = np.abs(_real(np.real(recorded)) - _real(np.real(found)))
    return Difference(
        check.name,
        int(different.sum()),
        int(different.size),
        float(sizes.max(initial=0.0)),
        where,
        float(np.real(recorded[where])),
        float(np.real(found[where])),
    )
