"""Grids of cells as a few SVG paths, and the marks that are drawn on them.

A grid is a plate in its most frequent colour and one path of strokes for each other colour; a
grid that is nearly one already drawn is a `use` of that one with the other cells on top. Cells
are never tinted: what was selected, changed or is still wrong is an outline or a corner mark,
each of its own shape.
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Shaped

from jaxarc_trace.render.marks import ROUND, brief, name, num
from jaxarc_trace.render.paths import outline, runs_upright, spots, strokes, true_runs
from jaxarc_trace.render.theme import Theme

__all__ = ["changed", "differing", "ghost", "grid", "grids", "legend", "selected", "true_runs"]

_SMALLEST_LINED = 6.0
_SMALLEST_DIGIT = 11.0
_PADDING = 10
_HOLLOW = ' fill="none"'
# From there on corner marks are shorter as points that share one drawing.
_FEW_CORNERS = 24
# A grid is drawn on top of another where at most this share of its cells differs.
_ALIKE = 0.5

Placed = tuple[Shaped[np.ndarray, "_ _"], float, float]


def grid(values: Shaped[np.ndarray, "H W"], x: float, y: float, cell: float, theme: Theme) -> str:
    """A grid with its upper left corner at `x, y`; see `grids`."""
    return grids([(values, x, y)], cell, theme)


def grids(shown: Sequence[Placed], cell: float, theme: Theme, *, grouped: bool = False) -> str:
    """Grids of one cell size that do not overlap.

    Args:
        shown: values, integers `[height, width]`, and the place of the upper left corner in
            pixels; what is outside 0..9 is drawn as padding.
        cell: pixels to a cell. Lines are drawn from 6 on, digits (if wanted) from 11 on.
        theme: colours.
        grouped: it stands in a group that says `fill="none"`.
    """
    full = [placed for placed in shown if placed[0].size]
    frames: dict[tuple[int, ...], list[Placed]] = {}
    for placed in full:
        frames.setdefault(placed[0].shape, []).append(placed)
    empty = "".join(f"M{num(x)} {num(y)}h{num(cell)}v{num(cell)}h-{num(cell)}z"
                    for values, x, y in shown if not values.size)  # fmt: skip
    out = (
        f'<g{"" if grouped else _HOLLOW} shape-rendering="crispEdges">'
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
    """The cells of all grids; those that stand whole cells apart share what they can."""
    parts = []
    while shown:
        (_, x, y), *_ = shown
        near, far = [], []
        for placed in shown:
            across, down = (placed[1] - x) / cell, (placed[2] - y) / cell
            if across == int(across) and down == int(down):
                near.append((placed[0], int(across), int(down)))
            else:
                far.append(placed)
        parts.append(_together(near, x, y, cell, theme))
        shown = far
    return "".join(parts)


def _together(
    shown: list[tuple[Shaped[np.ndarray, "_ _"], int, int]],
    x: float,
    y: float,
    cell: float,
    theme: Theme,
) -> str:
    """Grids in units of cells from `x, y`, those that are nearly alike by reference."""
    known = [np.where((v >= 0) & (v <= 9), v, _PADDING).astype(np.int64) for v, _, _ in shown]
    based = _based(known)
    wanted = {at for at, _ in based.values()}
    upright = runs_upright(known[0])
    names: dict[int, str] = {}
    parts: list[str] = []
    patches: dict[int, str] = {}
    for index, (values, (_, across, down)) in enumerate(zip(known, shown, strict=True)):
        if index not in based:
            drawn = _whole(values, across, down, theme, upright=upright)
            if index in wanted:
                # Equal names mean equal drawings, wherever else they stand on a page.
                names[index] = name("".join(drawn))
                drawn = [f'<g id="{names[index]}">', *drawn, "</g>"]
            parts += drawn
            continue
        at, other = based[index]
        to, under = across - shown[at][1], down - shown[at][2]
        by = f' x="{to}"' * (to != 0) + f' y="{under}"' * (under != 0)
        parts.append(f'<use href="#{names[at]}"{by}/>')
        for value, data in spots(values, other, across, down, upright=upright).items():
            patches[value] = patches.get(value, "") + data
    parts += _painted(list(patches.values()), list(patches), theme)
    return _moved(parts, x, y, cell, upright=upright)


def _based(
    known: list[Shaped[np.ndarray, "_ _"]],
) -> dict[int, tuple[int, Bool[np.ndarray, "_ _"]]]:
    """Which grid is drawn on which whole one before it, and the cells where the two differ."""
    whole: list[int] = []
    based: dict[int, tuple[int, Bool[np.ndarray, "_ _"]]] = {}
    for index, values in enumerate(known):
        for at in whole:
            if known[at].shape == values.shape:
                other = known[at] != values
                if np.count_nonzero(other) <= _ALIKE * values.size:
                    based[index] = at, other
                    break
        else:
            whole.append(index)
    return based


def _whole(
    values: Shaped[np.ndarray, "H W"], across: int, down: int, theme: Theme, *, upright: bool
) -> list[str]:
    height, width = values.shape
    counts = np.bincount(values.ravel(), minlength=_PADDING + 1)
    order = [c for c in np.argsort(-counts, kind="stable").tolist() if counts[c]]
    data = strokes(_ranks(values, order), len(order) - 1, across, down, upright=upright)
    left, top = (across - 0.5, down) if upright else (across, down - 0.5)
    plate = f"M{num(left)}{' ' * (top >= 0)}{num(top)}h{width}v{height}H{num(left)}z"
    ground = f'<path d="{plate}" fill="{brief(theme.colour(order[0]))}"/>'
    return [ground, *_painted(data, order[1:], theme)]


def _ranks(values: Shaped[np.ndarray, "H W"], order: list[int]) -> Shaped[np.ndarray, "H W"]:
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
    # Both start with a dash in each subpath, so they may share a path where they look alike.
    across = down = ""
    at = None
    for _, x, y in placed:
        if at is None or at[1] != y:
            across += f"M{num(x)} {num(y + high / 2)}h{num(wide)}"
            down += f"M{num(x + wide / 2)} {num(y)}v{num(high)}"
        else:
            across += f"m{num(x - at[0] - wide)} 0h{num(wide)}"
            down += f"m{num(x - at[0])}-{num(high)}v{num(high)}"
        at = x, y
    looks = {(num(high), apart[0]): across}
    looks[num(wide), apart[1]] = looks.get((num(wide), apart[1]), "") + down
    return "".join(
        f'<path d="{data}" stroke-width="{broad}" stroke-dasharray="1 {gap}"/>'
        for (broad, gap), data in looks.items()
    )


def _digits(
    values: Shaped[np.ndarray, "H W"], x: float, y: float, cell: float, theme: Theme
) -> str:
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
    mask: Bool[np.ndarray, "H W"],
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
    on = round(period * 0.53, 1)
    drawn = _twice(
        outline(mask, x, y, cell) + more,
        f'stroke="#FFF" stroke-width="{num(wide + 1.4)}"',
        f'stroke="#000" stroke-width="{num(wide)}" stroke-dasharray="{num(on)} {num(period - on)}"',
    )
    return drawn if grouped else _hollow(drawn)


def changed(
    mask: Bool[np.ndarray, "H W"],
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
        f'stroke="#000" stroke-width="{num(round(wide * 2.3, 1))}"',
        f'stroke="#FFF" stroke-width="{num(wide * 0.8)}"',
    )
    return drawn if grouped else _hollow(drawn)


def _hollow(drawn: str) -> str:
    return f"<g{_HOLLOW}>{drawn}</g>" if drawn else ""


def _twice(data: str, under: str, over: str) -> str:
    """One path in two looks, one over the other; a long one is written once."""
    if not data:
        return ""
    if len(data) < 36:
        path = f'<path d="{data}"'
        return f"{path} {under}/>{path} {over}/>"
    own = name(data)
    return f'<g {under}><path id="{own}" d="{data}"/></g><use href="#{own}" {over}/>'


def differing(
    mask: Bool[np.ndarray, "H W"], x: float, y: float, cell: float, *, more: str = ""
) -> str:
    """A white corner edged in black on each cell that is still wrong; arguments as above.

    Many are the points of one path, each of which shows the same marker.
    """
    rows, columns = mask.nonzero()
    side = num(max(round(cell * 0.45), 1) if cell >= _SMALLEST_LINED else cell * 0.45)
    # From the left end of the corner's upper edge: three short moves, and back to where it began.
    corner = f"h{side}v{side}z"
    many = len(rows) > _FEW_CORNERS
    parts = []
    row_before, before = -1, 0
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row != row_before:
            # One line through all: some renderers pass over a point that no line leads to.
            pen = "L" if many and parts else "M"
            start = x + (column + 1) * cell - float(side)
            parts.append(f"{pen}{num(start)} {num(y + row * cell)}")
        else:
            on = num((column - before) * cell)
            parts.append(f"h{on}" if many else f"m{on} 0")
        if not many:
            parts.append(corner)
        row_before, before = row, column
    places = "".join(parts)
    look = f'fill="#FFF" stroke="#000" stroke-width="{num(min(1.4, cell * 0.11))}" {ROUND}'
    if not many:
        return f'<path d="{places}{more}" {look}/>' if places or more else ""
    own = name(corner + look)
    sample = f'<path d="{more}"/>' if more else ""
    return (
        f'<g {look}><marker id="{own}" overflow="visible"><path d="M0 0{corner}"/></marker>{sample}'
        f'</g><path d="{places}"{_HOLLOW} style="marker:url(#{own})"/>'
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
    # One dashed stroke lays a box under each colour, of which it leaves a frame of one pixel.
    frames = (
        f'<path d="M{num(x)} {middle}h{num(10 * slot)}" stroke="{brief(theme.grid)}" '
        f'stroke-width="{num(size)}" stroke-dasharray="{num(size)} 4"/>'
    )
    boxes = "".join(
        f'<path d="M{num(x + value * slot + 1)} {middle}h{num(size - 2)}" '
        f'stroke="{brief(colour)}"/>'
        for value, colour in enumerate(theme.cells)
    )
    places = " ".join(num(x + value * slot + size / 2) for value in range(10))
    first = brief(theme.ink(0))
    runs = ""
    for shade, values in itertools.groupby(range(10), lambda value: brief(theme.ink(value))):
        digits = "".join(map(str, values))
        runs += digits if shade == first else f'<tspan fill="{shade}">{digits}</tspan>'
    return (
        f'{frames}<g stroke-width="{num(size - 2)}">{boxes}</g>'
        f'<text x="{places}" y="{num(round(y + size * 0.72))}" font-size="{num(int(size * 0.62))}" '
        f'text-anchor="middle" fill="{first}">{runs}</text>'
    )
