"""An episode of grids as pictures need it: trimmed to its real size, with what changed.

Fields are found by the roles the environment declares; an environment without them has no
frames and is drawn by `generic.py`. NumPy only: every picture, page and terminal view starts
here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int16, Integer, Shaped

from jaxarc_trace import analysis
from jaxarc_trace.episode import Episode

__all__ = ["ArcFrames", "Box", "frames"]

PADDING = -1
_LARGEST = 32767
_RECENT = 4


class Box(NamedTuple):
    """Where the real grid lies within the padded array: rows `top:bottom`, columns `left:right`."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in cells."""
        return self.bottom - self.top, self.right - self.left

    def crop(self, array: Shaped[np.ndarray, "H W"]) -> Shaped[np.ndarray, "height width"]:
        """The part of a padded `[H, W]` array inside the box."""
        return array[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, eq=False)
class ArcFrames:
    """The grids of one episode of `T` transitions.

    A grid is an int16 array `[height, width]` of cell values, -1 for a cell outside the mask;
    a mask that is not a rectangle is drawn as its bounding box with such cells. Masks of cells
    (`selection`, `changed`, `differs`) are bool and have the shape of the grid they belong to.

    Attributes:
        episode: where it comes from.
        score: float64 `[T + 1]`, or None where the environment has no score.
        operations: canonical operation id of each transition, int `[T]`; None if unknown.
    """

    episode: Episode
    score: Float64[np.ndarray, " states"] | None
    operations: Shaped[np.ndarray, " T"] | None
    _grids: Shaped[np.ndarray, "states H W"] = field(repr=False)
    _mask: Bool[np.ndarray, "states H W"] | None = field(repr=False)

    def __len__(self) -> int:
        """Number of transitions, `T`."""
        return len(self.episode)

    def box(self, state: int) -> Box:
        """Where the grid of a state, 0..T, lies in the padded array."""
        return self._boxes[state]

    def grid(self, state: int) -> Int16[np.ndarray, "height width"]:
        """The grid of a state, 0..T."""
        return self.box(state).crop(self._padded(state))

    def before(self, t: int) -> Int16[np.ndarray, "height width"]:
        """The grid that action `t` was applied to."""
        return self.grid(t)

    def after(self, t: int) -> Int16[np.ndarray, "height width"]:
        """The grid that action `t` led to."""
        return self.grid(t + 1)

    def selection(self, t: int) -> Bool[np.ndarray, "height width"] | None:
        """Cells of `before(t)` that action `t` acted on; None where it was not recorded."""
        chosen = self._selection(t)
        return None if chosen is None else self.box(t).crop(chosen)

    def changed(self, t: int) -> Bool[np.ndarray, "height width"]:
        """Cells of `after(t)` that are not as in `before(t)`, new cells included."""
        return self.box(t + 1).crop(self._padded(t) != self._padded(t + 1))

    def differs(self, t: int) -> Bool[np.ndarray, "height width"] | None:
        """Cells of `target` that `after(t)` has not got right; None without a target."""
        return self.differs_at(t + 1)

    def differs_at(self, state: int) -> Bool[np.ndarray, "height width"] | None:
        """Cells of `target` that the grid of a state, 0..T, has not got right."""
        if self._target is None:
            return None
        box, padded = self._target
        return box.crop(padded != self._padded(state)) & (box.crop(padded) != PADDING)

    @property
    def target(self) -> Int16[np.ndarray, "height width"] | None:
        """The grid to be reached; None where it is not recorded or hidden."""
        return None if self._target is None else self._target[0].crop(self._target[1])

    @property
    def input(self) -> Int16[np.ndarray, "height width"] | None:
        """The grid the task starts from; None where it is not recorded."""
        found = self._constant("input", "input_mask")
        return None if found is None else found[0].crop(found[1])

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the grid of every state, `T + 1` pairs."""
        if self._mask is None:
            return (self._grids.shape[1:],) * (len(self) + 1)
        sides = [_extent(np.asarray(self._mask.any(axis=axis))) for axis in (2, 1)]
        return tuple(zip(*(side.tolist() for side in sides), strict=True))

    @cached_property
    def is_noop(self) -> Bool[np.ndarray, " T"]:
        """Transitions that changed nothing although they could have, bool `[T]`."""
        return analysis.no_ops(self.episode)

    @cached_property
    def is_submit(self) -> Bool[np.ndarray, " T"]:
        """Transitions that ended the episode on purpose, bool `[T]`."""
        kinds = analysis.operation_kinds(self.episode)
        return np.array([kind == "submit" for kind in kinds or [""] * len(self)], bool)

    def operation(self, t: int) -> int | None:
        """Canonical id of the operation of action `t`; None if unknown."""
        return None if self.operations is None else int(self.operations[t])

    def name(self, t: int) -> str:
        """Name of the operation of action `t`, as the environment gives it. Untrusted text."""
        names: Sequence[str] = self.episode.environment.get("operations") or ()
        found = self.operation(t)
        if found is None:
            return "action"
        return str(names[found]) if 0 <= found < len(names) else f"operation {found}"

    def kind(self, t: int) -> str:
        """Kind of the operation of action `t`, for instance `fill`; `unknown` if not known."""
        kinds: Sequence[str] = self.episode.environment.get("operation_kinds") or ()
        found = self.operation(t)
        return str(kinds[found]) if found is not None and 0 <= found < len(kinds) else "unknown"

    def is_valid(self, t: int) -> bool:
        """Whether the operation of action `t` is one that the environment has."""
        found = self.operation(t)
        names = self.episode.environment.get("operations") or ()
        return found is None or not names or 0 <= found < len(names)

    def badges(self, t: int) -> list[tuple[str, str]]:
        """What is special about step `t`: labels, and the names of their colours in a theme."""
        if self.is_submit[t]:
            return [("Submit", "accent")]
        if not self.is_valid(t):
            return [("Invalid operation", "negative")]
        return [("No-op", "muted")] if self.is_noop[t] else []

    @cached_property
    def _boxes(self) -> list[Box]:
        count, height, width = self._grids.shape
        if self._mask is None:
            return [Box(0, height, 0, width)] * count
        sides = []
        for axis, side in ((2, height), (1, width)):
            filled = np.asarray(self._mask.any(axis=axis))
            there = np.asarray(filled.any(axis=-1))
            sides.append(np.where(there, filled.argmax(axis=1), 0))
            sides.append(np.where(there, side - filled[:, ::-1].argmax(axis=1), 0))
        return [Box(*box) for box in zip(*(side.tolist() for side in sides), strict=True)]

    @cached_property
    def _recent(self) -> dict[int, Int16[np.ndarray, "H W"]]:
        """The padded grids asked for last, a few: a step asks for the same two several times."""
        return {}

    def _padded(self, state: int) -> Int16[np.ndarray, "H W"]:
        found = self._recent.get(state)
        if found is None:
            found = _fill(self._grids[state], None if self._mask is None else self._mask[state])
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent[state] = found
        return found

    def _selection(self, t: int) -> Bool[np.ndarray, "H W"] | None:
        recorded = analysis.role(self.episode, "selected")
        if recorded is not None:
            return np.asarray(recorded[t + 1], bool)
        chosen = self.episode.actions.get("selection")
        if chosen is None or chosen.shape[1:] != self._grids.shape[1:]:
            return None
        chosen = np.asarray(chosen[t], bool)
        return chosen if self._mask is None else chosen & self._mask[t]

    @cached_property
    def _target(self) -> tuple[Box, Int16[np.ndarray, "H W"]] | None:
        return self._constant("target", "target_mask")

    def _constant(
        self, grid_role: str, mask_role: str
    ) -> tuple[Box, Int16[np.ndarray, "H W"]] | None:
        grid, mask = analysis.role(self.episode, grid_role), analysis.role(self.episode, mask_role)
        if grid is None or grid.shape[1:] != self._grids.shape[1:]:
            return None
        if mask is not None and not mask[0].any():
            return None
        chosen = None if mask is None else np.asarray(mask[0], bool)
        return _box(chosen, grid[0].shape), _fill(grid[0], chosen)


# The steps of an episode are mostly drawn one after another.
@lru_cache(maxsize=2)
def frames(episode: Episode) -> ArcFrames | None:
    """The grids of an episode, or None where its environment declares no grid.

    Args:
        episode: one whose environment has `roles`; only `grid` is needed, everything else
            (`grid_mask`, `input`, `target`, `score`, `selected`, `operation`) is optional.
    """
    grid = analysis.role(episode, "grid")
    if grid is None or grid.ndim != 3 or grid.dtype.kind not in "iub":
        return None
    mask = analysis.role(episode, "grid_mask")
    if mask is not None and mask.shape != grid.shape:
        mask = None
    name = (episode.environment.get("roles") or {}).get("operation")
    operations = None if name is None else episode.extras.get(name, episode.actions.get(name))
    return ArcFrames(
        episode=episode,
        score=analysis.scores(episode),
        operations=None if operations is None else np.asarray(operations),
        _grids=grid,
        _mask=None if mask is None else np.asarray(mask, bool),
    )


def _fill(
    grid: Shaped[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"] | None
) -> Int16[np.ndarray, "H W"]:
    values = np.minimum(np.maximum(grid, PADDING), _LARGEST).astype(np.int16)
    return values if mask is None else np.where(mask, values, np.int16(PADDING))


def _extent(filled: Bool[np.ndarray, "n side"]) -> Integer[np.ndarray, " n"]:
    """From the first to the last true value of each row of `[n, side]`, int `[n]`."""
    last = filled.shape[1] - filled[:, ::-1].argmax(axis=1)
    return np.where(filled.any(axis=1), last - filled.argmax(axis=1), 0)


def _box(mask: Bool[np.ndarray, "H W"] | None, shape: tuple[int, ...]) -> Box:
    if mask is None:
        return Box(0, shape[0], 0, shape[1])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return Box(0, 0, 0, 0)
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
