"""Cells as SVG path data, as short as it gets: strokes along rows or columns, and closed outlines.

Units are cells, or pixels where `unit` says so. A stroke is one cell broad, so its path runs
through the middle of the cells: callers move it by half a cell.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Shaped

__all__ = ["outline", "runs_upright", "spots", "strokes", "true_runs"]


def runs_upright(values: Shaped[np.ndarray, "H W"]) -> bool:
    """Whether there are fewer runs of equal cells along columns than along rows."""
    along = np.count_nonzero(values[:, 1:] != values[:, :-1])
    return bool(np.count_nonzero(values[1:] != values[:-1]) < along)


def strokes(
    ranks: Shaped[np.ndarray, "H W"], count: int, across: int = 0, down: int = 0, *, upright: bool
) -> list[str]:
    """Path data of strokes of each rank of cells from 1 on, to be painted in this order.

    A later rank covers an earlier one, so a stroke runs on beneath cells of later ranks.

    Args:
        ranks: integers `[height, width]`, 0..count; cells of rank 0 are not painted.
        count: the highest rank.
        across: cells to the right by which all of it is moved.
        down: cells downwards.
        upright: let strokes run along columns, not rows.
    """
    if upright:
        ranks, across, down = ranks.T, down, across
    height, width = ranks.shape
    # A column of rank 0 parts the rows in the flat array.
    padded = np.zeros((height, width + 1), np.int8)
    padded[:, :-1] = ranks
    flat = padded.ravel()
    return [
        _data(flat, rank, width + 1, across, down, upright=upright) for rank in range(1, count + 1)
    ]


def _data(
    flat: Shaped[np.ndarray, " cells"],
    rank: int,
    width: int,
    across: int,
    down: int,
    *,
    upright: bool,
) -> str:
    cells = (flat == rank).nonzero()[0]
    if not cells.size:
        return ""
    # Two cells belong to one stroke where no cell between them has a lower rank.
    wall = (flat < rank).cumsum()[cells]
    parted = np.ones(len(cells) + 1, np.bool_)
    np.not_equal(wall[1:], wall[:-1], out=parted[1:-1])
    starts, ends = cells[parted[:-1]], cells[parted[1:]]
    rows, columns = np.divmod(starts, width)
    rows += down
    columns += across
    return _moves(rows.tolist(), columns.tolist(), (ends - starts + 1).tolist(), upright=upright)


class _Onward(dict[int, list[str]]):
    """Path data of "skip so many cells, then stroke so many", by the one and by the other.

    Formatting two numbers takes longer than looking up what they gave before, and a picture spends
    most of its time so. For at most `_LONGEST` of each; wider grids are seldom.
    """

    def __init__(self, command: str) -> None:
        self.command = command

    def __missing__(self, skipped: int) -> list[str]:
        self[skipped] = [self.command.format(skipped, stroked) for stroked in range(_LONGEST + 1)]
        return self[skipped]


_LONGEST = 64
_ACROSS, _DOWN = _Onward("m{} 0h{}"), _Onward("m0 {}v{}")


def _moves(rows: list[int], columns: list[int], lengths: list[int], *, upright: bool) -> str:
    parts: list[str] = []
    add = parts.append
    onward = _DOWN if upright else _ACROSS
    before, end = -1, 0
    for row, column, length in zip(rows, columns, lengths, strict=True):
        if row != before:
            add(f"M{row} {column}v{length}" if upright else f"M{column} {row}h{length}")
        elif length > _LONGEST or column - end > _LONGEST:
            add(onward.command.format(column - end, length))
        else:
            add(onward[column - end][length])
        before = row
        end = column + length
    return "".join(parts)


def spots(
    values: Shaped[np.ndarray, "H W"],
    where: Bool[np.ndarray, "H W"],
    across: int = 0,
    down: int = 0,
    *,
    upright: bool,
) -> dict[int, str]:
    """Path data of strokes of some cells of a grid, by value.

    Args:
        values: integers `[height, width]`.
        where: bool `[height, width]`, the cells to paint; meant for a few.
        across: cells to the right by which all of it is moved.
        down: cells downwards.
        upright: let strokes run along columns, not rows.
    """
    if upright:
        values, where, across, down = values.T, where.T, down, across
    rows, columns = where.nonzero()
    runs: dict[int, list[list[int]]] = {}
    before = -1, -1, -1
    cells = zip(values[where].tolist(), rows.tolist(), columns.tolist(), strict=True)
    for value, row, column in cells:
        if before == (value, row, column - 1):
            runs[value][-1][2] += 1
        else:
            runs.setdefault(value, []).append([row + down, column + across, 1])
        before = value, row, column
    return {
        value: _moves(*map(list, zip(*runs[value], strict=True)), upright=upright)
        for value in sorted(runs)
    }


def outline(mask: Bool[np.ndarray, "H W"], x: float = 0, y: float = 0, unit: float = 1) -> str:
    """Path data of the border of a set of cells, as closed loops.

    Args:
        mask: bool `[height, width]`.
        x: where the left edge of the grid lies.
        y: where its upper edge lies.
        unit: length of a cell's side.
    """
    height, width = mask.shape
    # Plain slices: np.pad takes longer than all the rest.
    padded = np.zeros((height + 2, width + 2), bool)
    padded[1:-1, 1:-1] = mask
    across, down = _edges(padded)
    parts = []
    for start in list(across):
        while across[start]:
            parts.append(_loop(start, across, down, x, y, unit))
    return "".join(parts)


_Ends = dict[tuple[int, int], list[tuple[int, int]]]


def _edges(padded: Bool[np.ndarray, "H W"]) -> tuple[_Ends, _Ends]:
    """The straight parts of a border by both their ends: those along rows, those along columns."""
    corner = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    # Where two cells touch by a corner only, the border turns on both sides.
    touch = (corner[0] == corner[3]) & (corner[1] == corner[2]) & (corner[0] != corner[1])
    below = padded[1:, 1:-1] != padded[:-1, 1:-1]
    beside = (padded[1:-1, 1:] != padded[1:-1, :-1]).T
    across: _Ends = {}
    down: _Ends = {}
    cuts = touch if touch.any() else None
    for row, start, length in true_runs(below):
        for a, b in _cut(start, length, None if cuts is None else cuts[row]):
            across.setdefault((a, row), []).append((b, row))
            across.setdefault((b, row), []).append((a, row))
    for column, start, length in true_runs(beside):
        for a, b in _cut(start, length, None if cuts is None else cuts[:, column]):
            down.setdefault((column, a), []).append((column, b))
            down.setdefault((column, b), []).append((column, a))
    return across, down


def _cut(
    start: int, length: int, cuts: Shaped[np.ndarray, " cuts"] | None
) -> list[tuple[int, int]]:
    if cuts is None:
        return [(start, start + length)]
    inner = (cuts[start + 1 : start + length].nonzero()[0] + start + 1).tolist()
    return list(zip([start, *inner], [*inner, start + length], strict=True))


def _loop(
    start: tuple[int, int], across: _Ends, down: _Ends, x: float, y: float, unit: float
) -> str:
    """Follows the border from a corner back to it, and takes what it passed out of the edges."""
    parts = [f"M{_short(x + start[0] * unit)} {_short(y + start[1] * unit)}"]
    at = start
    while True:
        to = across[at].pop()
        across[to].remove(at)
        parts.append(f"h{_short((to[0] - at[0]) * unit)}")
        at = down[to].pop()
        down[at].remove(to)
        if at == start:
            # The last stroke along a row ends above or below the start.
            back = f"H{_short(x + start[0] * unit)}"
            if len(back) < len(parts[-1]):
                parts[-1] = back
            return f"{''.join(parts)}z"
        parts.append(f"v{_short((at[1] - to[1]) * unit)}")


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def true_runs(edges: Shaped[np.ndarray, "H W"]) -> Iterable[tuple[int, int, int]]:
    """Runs of true values along rows: row, first column, length."""
    height, width = edges.shape
    padded = np.zeros((height, width + 2), bool)
    padded[:, 1:-1] = edges
    rows, starts = np.nonzero(padded[:, 1:] & ~padded[:, :-1])
    ends = np.nonzero(padded[:, :-1] & ~padded[:, 1:])[1]
    return zip(rows.tolist(), starts.tolist(), (ends - starts).tolist(), strict=True)
