"""What went wrong in an episode: named modes, each with a definition and the steps that show it.

Every mode is a rule over what was recorded; `MODES` says it in words. A mode whose field an
environment does not have (a grid, a target, a score) is never found there. Steps are counted as
states are: step `s` is what transition `s - 1` led to. NumPy only.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.moments import no_ops, once, operation_kinds, revisits, role, scores

__all__ = ["MODES", "Failure", "failure_modes", "places"]

IDLE = 4
SAME = 5
RETURNS = 3
FALL = 0.05
COLLAPSE = 0.2
STUCK = 8

MODES: Mapping[str, str] = MappingProxyType(
    {
        "no-op run": f"{IDLE} or more transitions in a row that changed nothing",
        "repeated action": f"the same action {SAME} or more times in a row, on a grid",
        "oscillation": f"{RETURNS} or more times back in a grid that was left before",
        "outside the grid": "an action whose place has no cell of the working grid",
        "collapse": f"one transition that lowered the score by {COLLAPSE} or more",
        "regression": f"ended unsolved, more than {FALL} below its best score",
        "stagnation": (
            f"ended unsolved, with no new best score in its last half and at least {STUCK} "
            "transitions, never having reached the goal"
        ),
        "wrong dimensions": "ended with a grid of another size than the target's",
        "foreign colour": (
            "ended unsolved, with cells painted in a colour that the target does not have"
        ),
        "premature submit": "submitted below a score of 1 although steps were left",
        "unsubmitted solution": "reached a score of 1 and ended without success",
        "out of budget": (
            "stopped by a limit, never having reached the goal, with its best score in the last "
            "quarter: it was still getting better"
        ),
    }
)
"""Name and definition of each failure mode."""


@dataclass(frozen=True)
class Failure:
    """One failure mode found in an episode.

    Attributes:
        mode: one of `MODES`.
        steps: the steps that show it, in order.
        label: a few words with the numbers, for instance `best 0.94 at step 7, ended at 0.71`.
    """

    mode: str
    steps: tuple[int, ...]
    label: str


@once
def failure_modes(episode: Episode) -> tuple[Failure, ...]:
    """The failure modes of an episode, in the order of `MODES`; found once while it lives.

    A dropped head is not looked at, and steps count from the first kept state, as in `key_moments`.
    Modes that speak of the end are found in complete episodes only.
    """
    view = _View(episode)
    return tuple(found for rule in _RULES for found in rule(view))


class _View:
    """An episode with what several rules need, computed once."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    @cached_property
    def scores(self) -> Float64[np.ndarray, " states"] | None:
        values = scores(self.episode)
        return values if values is not None and np.isfinite(values).all() else None

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        return operation_kinds(self.episode) or ()

    @cached_property
    def failed(self) -> bool:
        """Whether it ended, and not at its goal."""
        return self.episode.complete and not self.episode.success and len(self.episode) > 0

    @property
    def steps(self) -> int:
        return len(self.episode)

    @cached_property
    def reached(self) -> bool:
        """Whether some state had a full score."""
        return self.scores is not None and bool((self.scores >= 1).any())

    def grid(
        self, name: str
    ) -> tuple[Shaped[np.ndarray, "states H W"], Shaped[np.ndarray, "states H W"]] | None:
        """The grids that play a role and the cells that count, each `[T + 1, H, W]`."""
        grid, mask = role(self.episode, name), role(self.episode, f"{name}_mask")
        if grid is None or grid.ndim != 3:
            return None
        return grid, (np.ones(grid.shape, bool) if mask is None else mask)


def _idle(view: _View) -> Iterator[Failure]:
    for start, stop in _runs(no_ops(view.episode)):
        if stop - start >= IDLE:
            yield Failure("no-op run", _range(start, stop), f"{stop - start} without effect")
            return


def _repeated(view: _View) -> Iterator[Failure]:
    actions = list(view.episode.actions.values())
    # Where there is no grid to edit, repeating an action is how one gets anywhere.
    if not actions or view.steps < SAME or view.grid("grid") is None:
        return
    same = np.ones(view.steps - 1, bool)
    for values in actions:
        flat = values.reshape(view.steps, -1)
        same &= (flat[1:] == flat[:-1]).all(axis=1)
    for start, stop in _runs(same):
        if stop - start + 1 >= SAME:
            label = f"the same action {stop - start + 1} times"
            yield Failure("repeated action", _range(start, stop + 1), label)
            return


def _oscillation(view: _View) -> Iterator[Failure]:
    back = np.flatnonzero(revisits(view.episode))
    if len(back) >= RETURNS:
        steps = tuple(int(s) for s in back)
        yield Failure("oscillation", steps, f"{len(steps)} times back where it was")


def _outside(view: _View) -> Iterator[Failure]:
    grid, cells = view.grid("grid"), places(view.episode)
    if grid is None or cells is None:
        return
    missed = np.array(~(cells & grid[1][:-1]).any(axis=(1, 2)) & cells.any(axis=(1, 2)))
    for t, kind in enumerate(view.kinds):
        # These do not look at the place.
        if kind == "submit":
            missed[t] = False
    steps = tuple(int(t) + 1 for t in np.flatnonzero(missed))
    if steps:
        yield Failure("outside the grid", steps, f"{len(steps)} beside the grid")


def _collapse(view: _View) -> Iterator[Failure]:
    if view.scores is None or not view.steps:
        return
    fall = view.scores[:-1] - view.scores[1:]
    steps = tuple(int(t) + 1 for t in np.flatnonzero(fall >= COLLAPSE))
    if steps:
        yield Failure("collapse", steps, f"−{fall.max():.2f} at once")


def _regression(view: _View) -> Iterator[Failure]:
    if view.scores is None or not view.failed:
        return
    best = int(view.scores.argmax())
    if view.scores[best] - view.scores[-1] > FALL:
        label = f"best {view.scores[best]:.2f} at step {best}, ended at {view.scores[-1]:.2f}"
        yield Failure("regression", (best, view.steps), label)


def _stagnation(view: _View) -> Iterator[Failure]:
    if view.scores is None or not view.failed or view.reached:
        return
    best = int(view.scores.argmax())
    since = view.steps - best
    if since >= max(STUCK, view.steps / 2):
        steps = (best, view.steps)
        yield Failure(
            "stagnation", steps, f"nothing better than {view.scores[best]:.2f} in {since}"
        )


def _dimensions(view: _View) -> Iterator[Failure]:
    grid, target = view.grid("grid"), view.grid("target")
    if grid is None or target is None or not view.episode.complete or not view.steps:
        return
    if not target[1][-1].any():
        return
    ours, theirs = _size(grid[1][-1]), _size(target[1][-1])
    if ours != theirs:
        label = f"{ours[0]} × {ours[1]} instead of {theirs[0]} × {theirs[1]}"
        yield Failure("wrong dimensions", (view.steps,), label)


def _foreign(view: _View) -> Iterator[Failure]:
    grid, target = view.grid("grid"), view.grid("target")
    if grid is None or target is None or not view.failed or not target[1][-1].any():
        return
    painted = grid[1][-1] & (grid[0][-1] != grid[0][0])
    if painted.any():
        for colour in set(target[0][-1][target[1][-1]].tolist()):
            painted &= grid[0][-1] != colour
    if painted.any():
        cells = grid[0][:, painted]
        changed = (cells[1:] != cells[:-1]) & (cells[1:] == cells[-1])
        steps = tuple(int(t) + 1 for t in np.flatnonzero(changed.any(axis=1)))
        colours = ", ".join(str(c) for c in np.unique(grid[0][-1][painted]))
        yield Failure("foreign colour", steps, f"painted in {colours}, which the target has not")


def _premature(view: _View) -> Iterator[Failure]:
    if view.scores is None or "submit" not in view.kinds:
        return
    t = view.kinds.index("submit")
    limit = view.episode.environment.get("max_episode_steps")
    left = None if limit is None else limit - view.episode.dropped - t - 1
    if view.scores[t + 1] < 1 and (left is None or left > 0):
        rest = "" if left is None else f" with {left} steps left"
        label = f"submitted at {view.scores[t + 1]:.2f}{rest}"
        yield Failure("premature submit", (t + 1,), label)


def _unsubmitted(view: _View) -> Iterator[Failure]:
    if view.scores is None or not view.failed or not view.reached:
        return
    solved = np.flatnonzero(view.scores >= 1)
    steps = tuple(dict.fromkeys((int(solved[0]), int(solved[-1]))))
    yield Failure("unsubmitted solution", steps, f"solved at step {steps[0]}, never submitted so")


def _budget(view: _View) -> Iterator[Failure]:
    if view.scores is None or not view.failed or view.reached:
        return
    best = int(view.scores.argmax())
    if bool(view.episode.truncated[-1]) and best > 0.75 * view.steps:
        label = f"still rising to {view.scores[best]:.2f} at step {best} of {view.steps}"
        # The end may be the best.
        yield Failure("out of budget", tuple(dict.fromkeys((best, view.steps))), label)


_RULES: tuple[Callable[[_View], Iterator[Failure]], ...] = (
    _idle,
    _repeated,
    _oscillation,
    _outside,
    _collapse,
    _regression,
    _stagnation,
    _dimensions,
    _foreign,
    _premature,
    _unsubmitted,
    _budget,
)


def _runs(flags: Bool[np.ndarray, " T"]) -> list[tuple[int, int]]:
    """Start and stop of each run of true values, the longest first."""
    padded = np.zeros(len(flags) + 2, bool)
    padded[1:-1] = flags
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return sorted(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[0] - run[1])


def _range(start: int, stop: int) -> tuple[int, ...]:
    """Transitions `start` to `stop - 1` as steps."""
    return tuple(range(start + 1, stop + 1))


def _size(mask: Shaped[np.ndarray, "H W"]) -> tuple[int, int]:
    return int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())


def places(episode: Episode) -> Bool[np.ndarray, "T H W"] | None:
    """The cells that each action names, bool `[T, H, W]`, before they are cut to the grid."""
    grid, actions = role(episode, "grid"), episode.actions
    if grid is None or grid.ndim != 3:
        return None
    height, width = grid.shape[1:]
    rows, columns = np.arange(height)[None, :, None], np.arange(width)[None, None, :]

    def column(name: str) -> Shaped[np.ndarray, "T 1 1"]:
        return np.asarray(actions[name])[:, None, None]

    if "selection" in actions:
        return np.asarray(actions["selection"]).astype(bool)
    if {"row", "col"} <= actions.keys():
        return (rows == column("row")) & (columns == column("col"))
    if {"r1", "c1", "r2", "c2"} <= actions.keys():
        top, bottom = np.minimum(column("r1"), column("r2")), np.maximum(column("r1"), column("r2"))
        left, right = np.minimum(column("c1"), column("c2")), np.maximum(column("c1"), column("c2"))
        return (rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right)
    if set(actions) == {"action"} and episode.environment.get("name") == "jaxarc":
        cell = column("action") % (height * width)
        return (rows == cell // width) & (columns == cell % width)
    return None
