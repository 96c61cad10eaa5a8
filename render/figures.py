"""Charts of what was measured: ratios with their intervals, and curves on logarithmic axes.

They know numbers and names only; what was measured, and how, is the caller's.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import cards, chart
from jaxarc_trace.render.chart import Axes
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.marks import line, num, path, text
from jaxarc_trace.render.text import number
from jaxarc_trace.render.theme import Theme
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["Interval", "Panel", "Row", "Series", "growth", "ratios"]

_PAGE = 960.0
_MARGIN = 28.0
_LABELS = 330.0
_NUMBERS = 96.0
_ROW = 40.0
_PANEL = 210.0
_KEY = 15.0


class Interval(NamedTuple):
    """A value and the ends of an interval around it."""

    median: float
    low: float
    high: float


class Row(NamedTuple):
    """One row of a chart of ratios: its name, and one interval for each kind of measurement."""

    name: str
    values: tuple[Interval, ...]


class Series(NamedTuple):
    """A curve: its name, and its points; all are above zero."""

    name: str
    points: tuple[tuple[float, float], ...]


class Panel(NamedTuple):
    """A small chart of its own: its title, the name of what runs to the right, and curves."""

    title: str
    across: str
    series: tuple[Series, ...]


def ratios(
    title: str,
    under: str,
    rows: Sequence[Row],
    kinds: Sequence[str],
    *,
    budget: float | None = None,
    theme: str | Theme = "default",
) -> Picture:
    """Draws ratios to a base of 1, a row each, as dots on lines that are their intervals.

    Args:
        title: what was compared.
        under: how, on what machine, when.
        rows: from top to bottom.
        kinds: names of the values of a row, for instance `("CPU time", "wall time")`; at most 3.
        budget: a ratio to mark.
        theme: a theme or its name.

    Raises:
        RenderError: without a row, or for a row without a value for each kind.
    """
    if not rows or not 1 <= len(kinds) <= 3 or any(len(r.values) != len(kinds) for r in rows):
        raise RenderError(
            f"A chart of ratios needs at least one row, and in each a value for each of 1 to 3 "
            f"kinds; found {len(rows)} rows and the kinds {', '.join(kinds)}. Leave out what was "
            "not measured."
        )
    look = find_theme(theme)
    every = [end for row in rows for value in row.values for end in value]
    low, top = min([0.95, *every]), max([1.1, budget or 1, *every])
    room = (top - low) * 0.04
    across = _PAGE - 2 * _MARGIN - _LABELS - _NUMBERS
    high = _ROW * len(rows)
    axes = Axes(_MARGIN + _LABELS, 112, across, high, low - room, top + room, 0, 1)
    parts = [
        cards.heading(title, under, _MARGIN, _PAGE, look),
        _legend(kinds, look),
        _scale(axes, budget, look),
    ]
    parts += [_row(axes, index, row, look) for index, row in enumerate(rows)]
    told = "; ".join(f"{row.name} {number(row.values[0].median, 3)}" for row in rows)
    foot = axes.y + high + 24 + _MARGIN
    return Picture(_PAGE, foot, title, f"{kinds[0]}: {told}.", "".join(parts), look)


def _looks(theme: Theme) -> list[tuple[str, bool]]:
    """Colour of each kind, and whether its dot is filled."""
    return [(theme.accent, True), (theme.muted, False), (theme.text, False)]


def _legend(kinds: Sequence[str], theme: Theme) -> str:
    parts, x = [], _MARGIN + _LABELS
    for kind, (colour, filled) in zip(kinds, _looks(theme), strict=False):
        parts.append(_dot(x + 5, 86, colour, theme, filled=filled))
        parts.append(text(x + 16, 90, kind, size=12, fill=theme.muted))
        x += 150
    return "".join(parts)


def _scale(axes: Axes, budget: float | None, theme: Theme) -> str:
    """Numbers below, faint lines above them, and lines at the base and at the budget."""
    marks = chart.ticks(axes.first, axes.last, 8)
    digits = chart.decimals(marks)
    foot = axes.y + axes.high
    parts = []
    for value in marks:
        x = axes.at(value, 0)[0]
        parts.append(line(x, axes.y, x, foot, theme.rule))
        words = number(value, digits)
        parts.append(text(x, foot + 18, words, size=11, fill=theme.muted, anchor="middle"))
    base = axes.at(1, 0)[0]
    parts.append(line(base, axes.y - 6, base, foot, theme.text, thickness=1.5))
    if budget is not None:
        x = axes.at(budget, 0)[0]
        parts.append(line(x, axes.y - 6, x, foot, theme.negative, thickness=1.5, dash="5 4"))
        words = f"budget {number(budget, 2)}"
        parts.append(text(x + 4, axes.y - 8, words, size=11, fill=theme.negative))
    return "".join(parts)


def _row(axes: Axes, index: int, row: Row, theme: Theme) -> str:
    middle = axes.y + _ROW * (index + 0.5)
    parts = [text(_MARGIN, middle + 4, row.name, size=13, room=_LABELS - 16)]
    count = len(row.values)
    for place, (value, (colour, filled)) in enumerate(zip(row.values, _looks(theme), strict=False)):
        y = middle + (place - (count - 1) / 2) * 11
        left, right = axes.at(value.low, 0)[0], axes.at(value.high, 0)[0]
        parts.append(line(left, y, max(right, left + 0.5), y, colour, thickness=2))
        parts.append(_dot(axes.at(value.median, 0)[0], y, colour, theme, filled=filled))
        parts.append(
            text(
                _PAGE - _MARGIN,
                y + 4,
                number(value.median, 3),
                size=12 if place == 0 else 11,
                fill="" if place == 0 else theme.muted,
                anchor="end",
                bold=place == 0,
            )
        )
    return "".join(parts)


def _dot(x: float, y: float, colour: str, theme: Theme, *, filled: bool) -> str:
    fill = colour if filled else theme.page
    return (
        f'<circle cx="{num(round(x, 1))}" cy="{num(round(y, 1))}" r="4" fill="{fill}" '
        f'stroke="{colour}" stroke-width="1.5"/>'
    )


def growth(
    title: str, under: str, panels: Sequence[Panel], *, theme: str | Theme = "default"
) -> Picture:
    """Draws panels of curves, two beside each other, both axes logarithmic.

    A straight line there is a power law, and its slope the exponent.

    Args:
        title: what was measured.
        under: how, on what machine, when.
        panels: from left to right, then downwards.
        theme: a theme or its name.

    Raises:
        RenderError: without a panel, for a panel without points, or for a value that has no
            logarithm.
    """
    points = [p for panel in panels for series in panel.series for p in series.points]
    if not panels or not all(any(s.points for s in panel.series) for panel in panels):
        raise RenderError("A chart of growth needs panels, and in each of them points; found none.")
    if not all(math.isfinite(v) and v > 0 for point in points for v in point):
        raise RenderError(
            "Values on logarithmic axes are above zero and finite; leave the others out."
        )
    look = find_theme(theme)
    parts = [cards.heading(title, under, _MARGIN, _PAGE, look)]
    wide = (_PAGE - 3 * _MARGIN) / 2
    keys = _KEY * max(len(panel.series) for panel in panels)
    for index, panel in enumerate(panels):
        x = _MARGIN + (index % 2) * (wide + _MARGIN)
        y = 92 + (index // 2) * (_PANEL + 74 + keys)
        parts.append(_panel(panel, x, y, wide, keys, look))
    rows = math.ceil(len(panels) / 2)
    told = "; ".join(f"{p.title}: {', '.join(s.name for s in p.series)}" for p in panels)
    high = 92 + rows * (_PANEL + 74 + keys) - 16
    return Picture(_PAGE, high, title, f"{told}.", "".join(parts), look)


def _panel(panel: Panel, x: float, y: float, wide: float, keys: float, theme: Theme) -> str:
    """A panel whose key of the curves takes `keys` pixels above them."""
    points = [point for series in panel.series for point in series.points]
    across, up = zip(*points, strict=True)
    first, last = _decades(across)
    low, top = _decades(up)
    axes = Axes(x + 52, y + 24 + keys, wide - 60, _PANEL - 40, first, last, low, top)
    parts = [text(x, y + 8, panel.title, size=13, bold=True, room=wide), _decade_lines(axes, theme)]
    for index, series in enumerate(panel.series):
        colour = theme.series[index % len(theme.series)]
        dash = ("", "6 4", "2 3")[index % 3]
        places = [axes.at(math.log10(a), math.log10(b)) for a, b in sorted(series.points)]
        data = "M" + "L".join(f"{num(round(px, 1))} {num(round(py, 1))}" for px, py in places)
        parts.append(path(data, stroke=colour, thickness=2, dash=dash))
        parts += [_dot(px, py, colour, theme, filled=True) for px, py in places]
        key_y = y + 26 + _KEY * index
        parts.append(line(axes.x + 8, key_y, axes.x + 30, key_y, colour, thickness=2, dash=dash))
        parts.append(text(axes.x + 36, key_y + 4, series.name, size=11, room=axes.wide - 44))
    foot = axes.y + axes.high + 34
    parts.append(text(axes.x + axes.wide, foot, panel.across, size=11, anchor="end"))
    return "".join(parts)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Logarithms that hold all values, with some room, and at least one power of ten."""
    low, top = math.log10(min(values)), math.log10(max(values))
    if top - low < 1:
        middle = (low + top) / 2
        low, top = middle - 0.5, middle + 0.5
    room = 0.06 * (top - low)
    return low - room, top + room


def _decade_lines(axes: Axes, theme: Theme) -> str:
    foot = axes.y + axes.high
    parts = [line(axes.x, foot, axes.x + axes.wide, foot, theme.rule)]
    for power in range(math.ceil(axes.first), math.floor(axes.last) + 1):
        x = axes.at(power, axes.low)[0]
        parts.append(line(x, foot, x, foot + 4, theme.muted))
        words = _power(power)
        parts.append(text(x, foot + 18, words, size=11, fill=theme.muted, anchor="middle"))
    for power in range(math.ceil(axes.low), math.floor(axes.top) + 1):
        y = axes.at(axes.first, power)[1]
        parts.append(line(axes.x, y, axes.x + axes.wide, y, theme.rule))
        parts.append(
            text(axes.x - 6, y + 4, _power(power), size=11, fill=theme.muted, anchor="end")
        )
    return "".join(parts)


def _power(power: int) -> str:
    """10 to a power, for people: `0.01`, `100`, `10k`, `1M`."""
    if power < 0:
        return f"{10.0**power:.{-power}f}" if power >= -3 else f"1e{power}"
    if power < 4:
        return str(10**power)
    return f"{10 ** (power % 3)}{'kMGT'[min(power // 3, 4) - 1]}"
