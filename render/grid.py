"""Grids of cells as a few SVG paths, and the marks that are drawn on them.

A grid is a plate in its most frequent colour and one path of strokes for each other colour; a
grid that is nearly one already drawn is a `use` of that one with the other cells on top. Cells
are never tinted: what was selected, changed or is still wrong is an outline or a corner mark,
each of its own shape.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from jaxarc_trace.render.marks import brief, num
from jaxarc_trace.render.paths import outline, spots, strokes, true_runs
from jaxarc_trace.render.theme import Theme

__all__ = ["changed", "differing", "ghost", "grid", "grids", "legend", "selected", "true_runs"]

_SMALLEST_LINED = 6.0
_SMALLEST_DIGIT = 11.0
_PADDING = 10
# A grid is drawn on top of another where at most this share of its cells differs.
_ALIKE = 0.5

Placed = tuple[np.ndarray, float, float]


def grid(values: np.ndarray, x: float, y: float, cell: float, theme: Theme) -> str:
    """A grid with its upper left corner at `x, y`; see `grids`."""
    return grids([(values, x, y)], cell, theme)


def grids(shown: Sequence[Placed], cell: float, theme: Theme) -> str:
    """Grids of one cell size that do not overlap.

    Args:
        shown: values, integers `[height, width]`, and the place of the upper left corner in
            pixels; what is outside 0..9 is drawn as padding.
        cell: pixels to a cell. Lines are drawn from 6 on, digits (if wanted) from 11 on.
        theme: colours.
    """
    full = [placed for placed in shown if placed[0].size]
    frames: dict[tuple[int, ...], list[Placed]] = {}
    for placed in full:
        frames.setdefault(placed[0].shape, []).append(placed)
    empty = "".join(f"M{num(x)} {num(y)}h{num(cell)}v{num(cell)}h-{num(cell)}z"
                    for values, x, y in shown if not values.size)  # fmt: skip
    out = (
        '<g fill="none" shape-rendering="crispEdges">'
        + _cells(full, cell, theme)
        + f'<g stroke="{brief(theme.grid)}">'
        + "".join(_lines(placed, cell) for placed in frames.values())
        + "</g></g>"
    )
    if empty:
        out += f'<path d="{empty}" fill="none" stroke="{theme.rule}"/>'
    if theme.digits and cell >= _SMALLEST_DIGIT:
        out += "".join(_digits(*placed, cell, theme) for placed in full)
    return out


def _cells(shown: list[Placed], cell: float, theme: Theme) -> str:
    """The cells of all grids, those that are nearly alike by reference."""
    known = [np.where((v >= 0) & (v <= 9), v, _PADDING).astype(np.int64) for v, _, _ in shown]
    first: list[int] = []
    based: dict[int, tuple[int, np.ndarray]] = {}
    for index, values in enumerate(known):
        for at in first:
            if known[at].shape == values.shape:
                other = known[at] != values
                if np.count_nonzero(other) <= _ALIKE * values.size:
                    based[index] = at, other
                    break
        else:
            first.append(index)
    names: dict[int, str] = {}
    parts = []
    for index, (values, (_, x, y)) in enumerate(zip(known, shown, strict=True)):
        if index not in based:
            drawn = _whole(values, x, y, cell, theme)
            if any(at == index for at, _ in based.values()):
                # Equal names mean equal drawings, wherever else they stand on a page.
                names[index] = f"g{zlib.crc32(drawn.encode()):x}"
                kind = drawn[: drawn.index(" ")]
                drawn = f'{kind} id="{names[index]}"{drawn[len(kind) :]}'
            parts.append(drawn)
            continue
        at, other = based[index]
        across, down = x - shown[at][1], y - shown[at][2]
        by = f' x="{num(across)}"' * (across != 0) + f' y="{num(down)}"' * (down != 0)
        parts.append(f'<use href="#{names[at]}"{by}/>')
        parts.append(_patch(values, other, x, y, cell, theme))
    return "".join(parts)


def _whole(values: np.ndarray, x: float, y: float, cell: float, theme: Theme) -> str:
    height, width = values.shape
    counts = np.bincount(values.ravel(), minlength=_PADDING + 1)
    order = [c for c in np.argsort(-counts, kind="stable").tolist() if counts[c]]
    drawn = strokes(_ranks(values, order), len(order) - 1)
    corner = "M-.5 0" if drawn.upright else "M0-.5"
    plate = f"{corner}h{width}v{height}h-{width}z"
    ground = f'<path d="{plate}" fill="{brief(theme.colour(order[0]))}"/>'
    parts = [ground, *_painted(drawn.data, order[1:], theme)]
    return _moved(parts, x, y, cell, upright=drawn.upright)


def _patch(
    values: np.ndarray, other: np.ndarray, x: float, y: float, cell: float, theme: Theme
) -> str:
    """The cells where `other` holds."""
    drawn = spots(values, other)
    if not drawn:
        return ""
    return _moved(_painted(list(drawn.values()), list(drawn), theme), x, y, cell, upright=False)


def _ranks(values: np.ndarray, order: list[int]) -> np.ndarray:
    table = np.zeros(_PADDING + 1, np.int8)
    table[order] = np.arange(len(order))
    return table[values]


def _moved(parts: list[str], x: float, y: float, cell: float, *, upright: bool) -> str:
    """Elements in units of cells, moved so that strokes lie on the middle of cells."""
    x, y = (x + cell / 2, y) if upright else (x, y + cell / 2)
    where = f'transform="translate({num(x)} {num(y)})scale({num(cell)})"'
    if len(parts) == 1:
        return f"<path {where}{parts[0][5:]}"
    return f"<g {where}>{''.join(parts)}</g>"


def _painted(data: list[str], order: list[int], theme: Theme) -> list[str]:
    return [
        f'<path d="{path}" stroke="{brief(theme.colour(colour))}"/>'
        for path, colour in zip(data, order, strict=True)
    ]


def _lines(placed: list[Placed], cell: float) -> str:
    """Lines of one pixel between the cells of grids of one size, and around them.

    All lines of one direction are the dashes of a single stroke as broad as the grid: two short
    paths, however many cells there are. Below the smallest lined cell only the frame is left.
    """
    height, width = placed[0][0].shape
    high, wide = height * cell + 1, width * cell + 1
    lined = cell >= _SMALLEST_LINED
    apart = num(cell - 1 if lined else wide - 2), num(cell - 1 if lined else high - 2)
    across = "".join(f"M{num(x)} {num(y + high / 2)}h{num(wide)}" for _, x, y in placed)
    down = "".join(f"M{num(x + wide / 2)} {num(y)}v{num(high)}" for _, x, y in placed)
    return (
        f'<path d="{across}" stroke-width="{num(high)}" stroke-dasharray="1 {apart[0]}"/>'
        f'<path d="{down}" stroke-width="{num(wide)}" stroke-dasharray="1 {apart[1]}"/>'
    )


def _digits(values: np.ndarray, x: float, y: float, cell: float, theme: Theme) -> str:
    size = min(cell * 0.56, 16)
    parts = []
    for value in range(10):
        rows, columns = np.nonzero(values == value)
        if rows.size:
            marks = "".join(
                f'<text x="{num(x + (column + 0.5) * cell)}" '
                f'y="{num(y + (row + 0.5) * cell + size * 0.36)}">{value}</text>'
                for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            )
            parts.append(f'<g fill="{theme.ink(value)}">{marks}</g>')
    return f'<g font-size="{num(size)}" text-anchor="middle">{"".join(parts)}</g>'


def selected(
    mask: np.ndarray,
    x: float,
    y: float,
    cell: float,
    theme: Theme,
    *,
    more: str = "",
    grouped: bool = False,
) -> str:
    """Dashed black over white around the cells that were selected.

    Args:
        mask: bool `[height, width]`.
        x: pixels.
        y: pixels.
        cell: pixels to a cell.
        theme: gives the width of the outline.
        more: path data in pixels that gets the same outline, for a key.
        grouped: it stands in a group that says `fill="none"`.
    """
    wide, dash = theme.stroke, max(theme.stroke * 1.6, cell * 0.22)
    # A whole number of dashes to a cell: all corners look alike.
    period = cell / max(round(cell / (dash * 1.9)), 1)
    drawn = _twice(
        outline(mask, x, y, cell) + more,
        f'stroke="#FFF" stroke-width="{num(wide + 1.4)}"',
        f'stroke="#000" stroke-width="{num(wide)}" '
        f'stroke-dasharray="{num(period * 0.53)} {num(period * 0.47)}"',
    )
    return drawn if grouped else _hollow(drawn)


def changed(
    mask: np.ndarray,
    x: float,
    y: float,
    cell: float,
    theme: Theme,
    *,
    more: str = "",
    grouped: bool = False,
) -> str:
    """A solid double line, black with white within, around the cells that changed.

    Arguments as for `selected`.
    """
    wide = min(theme.stroke, max(cell * 0.16, 1.0))
    drawn = _twice(
        outline(mask, x, y, cell) + more,
        f'stroke="#000" stroke-width="{num(wide * 2.3)}"',
        f'stroke="#FFF" stroke-width="{num(wide * 0.8)}"',
    )
    return drawn if grouped else _hollow(drawn)


def _hollow(drawn: str) -> str:
    return f'<g fill="none">{drawn}</g>' if drawn else ""


def _twice(data: str, under: str, over: str) -> str:
    """One path in two looks, one over the other; a long one is written once."""
    if not data:
        return ""
    if len(data) < 90:
        path = f'<path d="{data}"'
        return f"{path} {under}/>{path} {over}/>"
    name = f"o{zlib.crc32(data.encode()):x}"
    return f'<g {under}><path id="{name}" d="{data}"/></g><use href="#{name}" {over}/>'


def differing(mask: np.ndarray, x: float, y: float, cell: float, *, more: str = "") -> str:
    """A white corner edged in black on each cell that is still wrong; arguments as above."""
    rows, columns = mask.nonzero()
    side = num(max(round(cell * 0.45), 1) if cell >= _SMALLEST_LINED else cell * 0.45)
    corner = f"v{side}l-{side}-{side}z"
    parts = []
    before = -1
    end = 0
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row == before:
            parts.append(f"m{num((column - end) * cell)} 0{corner}")
        else:
            parts.append(f"M{num(x + (column + 1) * cell)} {num(y + row * cell)}{corner}")
        before, end = row, column
    if not parts and not more:
        return ""
    return (
        f'<path d="{"".join(parts)}{more}" fill="#FFF" stroke="#000" '
        f'stroke-width="{num(min(1.4, cell * 0.11))}" stroke-linejoin="round"/>'
    )


def ghost(x: float, y: float, wide: float, high: float, theme: Theme) -> str:
    """The dotted outline of the size a grid had before."""
    return (
        f'<rect x="{num(x)}" y="{num(y)}" width="{num(wide)}" height="{num(high)}" fill="none" '
        f'stroke="{theme.muted}" stroke-dasharray="2 3"/>'
    )


@lru_cache(maxsize=128)
def legend(x: float, y: float, theme: Theme, *, size: float = 18) -> str:
    """The ten colours with their values written in them."""
    slot, middle = size + 4, num(y + size / 2)
    # One dashed stroke lays a framed box under each colour.
    frames = (
        f'<path d="M{num(x - 0.5)} {middle}h{num(10 * slot)}" stroke="{brief(theme.grid)}" '
        f'stroke-width="{num(size + 1)}" stroke-dasharray="{num(size + 1)} 3"/>'
    )
    boxes = "".join(
        f'<path d="M{num(x + value * slot + 0.5)} {middle}h{num(size - 1)}" '
        f'stroke="{brief(colour)}"/>'
        for value, colour in enumerate(theme.cells)
    )
    places = " ".join(num(x + value * slot + size / 2) for value in range(10))
    runs = ""
    for value in range(10):
        shade = brief(theme.ink(value))
        if value == 0 or shade != brief(theme.ink(value - 1)):
            runs += f'{"</tspan>" if value else ""}<tspan fill="{shade}">'
        runs += str(value)
    return (
        f'{frames}<g stroke-width="{num(size - 1)}">{boxes}</g>'
        f'<text x="{places}" y="{num(y + size * 0.72)}" font-size="{num(size * 0.62)}" '
        f'text-anchor="middle">{runs}</tspan></text>'
    )
