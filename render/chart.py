"""Curves, bars and axes over the steps of an episode, as SVG text."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.render.marks import ROUND, brief, line, num, path, text
from jaxarc_trace.render.text import number
from jaxarc_trace.render.theme import Theme

__all__ = [
    "Axes",
    "Spark",
    "bars",
    "curve",
    "decimals",
    "marker",
    "spark",
    "spread",
    "ticks",
    "value_range",
    "x_axis",
    "y_axis",
]


@dataclass(frozen=True)
class Axes:
    """A rectangle of the picture and the range of values it shows.

    Attributes:
        x: left edge in pixels.
        y: upper edge in pixels.
        wide: pixels.
        high: pixels.
        first: step at the left edge.
        last: step at the right edge.
        low: value at the lower edge.
        top: value at the upper edge.
    """

    x: float
    y: float
    wide: float
    high: float
    first: float
    last: float
    low: float
    top: float

    def at(self, step: float, value: float) -> tuple[float, float]:
        """Pixel of a step and a value; values outside the range stay at its edge."""
        share = (step - self.first) / max(self.last - self.first, 1e-9)
        rise = (min(max(value, self.low), self.top) - self.low) / max(self.top - self.low, 1e-12)
        return self.x + share * self.wide, self.y + (1 - rise) * self.high


def value_range(
    values: Shaped[np.ndarray, "..."], *, include: Sequence[float] = ()
) -> tuple[float, float]:
    """A range that holds the finite values and `include`, never empty."""
    finite = [*values[np.isfinite(values)].tolist(), *include]
    if not finite:
        return 0.0, 1.0
    low, top = min(finite), max(finite)
    if top - low < 1e-9:
        room = max(abs(top) * 0.1, 0.05)
        return low - room, top + room
    return low, top


def ticks(low: float, top: float, most: int = 5) -> list[float]:
    """Round numbers within a range, 1, 2 or 5 times a power of ten apart."""
    if not (np.isfinite(low) and np.isfinite(top)) or top <= low:
        return [low]
    rough = (top - low) / max(most, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(top / step + 1e-9))
    return [i * step for i in range(first, last + 1)]


def decimals(marks: Sequence[float]) -> int:
    """Digits after the point that tell the ticks apart."""
    for digits in range(7):
        if all(abs(round(m, digits) - m) < 1e-9 * max(1, abs(m)) for m in marks):
            return digits
    return 6


def curve(
    axes: Axes,
    steps: Shaped[np.ndarray, " n"],
    values: Shaped[np.ndarray, " n"],
    colour: str,
    *,
    thickness: float = 2,
    dash: str = "",
) -> str:
    """A line through the finite values; it is broken where a value is not finite."""
    steps, values = _thin(steps, values, int(axes.wide))
    known = np.isfinite(values)
    share = (steps - axes.first) / max(axes.last - axes.first, 1e-9)
    rise = np.clip(np.where(known, values, axes.low), axes.low, axes.top) - axes.low
    y = axes.y + (1 - rise / max(axes.top - axes.low, 1e-12)) * axes.high
    data = _line_through(
        tuple(known.tolist()),
        tuple(((axes.x + share * axes.wide) * 10).round().astype(int).tolist()),
        tuple((y * 10).round().astype(int).tolist()),
    )
    if not data:
        return ""
    return path(
        data,
        stroke=colour,
        thickness=thickness,
        dash=dash,
        more=ROUND,
    )


# Every step of an episode shows the same curve.
@lru_cache(maxsize=16)
def _line_through(known: tuple[bool, ...], across: tuple[int, ...], down: tuple[int, ...]) -> str:
    """Path data through the points that are known; coordinates are tenths of a pixel.

    Points that lie on the line between others, to a tenth of a pixel, are left out.
    """
    parts: list[str] = []
    line: list[tuple[int, int]] = []
    for there, x, y in zip(known, across, down, strict=True):
        if there:
            line.append((x, y))
        elif line:
            parts += _drawn(line)
            line = []
    return "".join([*parts, *_drawn(line)] if line else parts)


def _drawn(points: list[tuple[int, int]]) -> list[str]:
    (x, y), *_ = kept = _bends(points)
    legs = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(kept)]
    return [f"M{num(x / 10)} {num(y / 10)}", *_legs(legs)]


def _bends(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The points at which a line bends that runs to the right; the first and the last as well."""
    kept = points[:1]
    low, top = -math.inf, math.inf
    last = points[0]
    for x, y in points[1:]:
        on, off = x - kept[-1][0], y - kept[-1][1]
        # The line to here has to pass all points that were left out, to a tenth of a pixel.
        if last != kept[-1] and not (on and low <= off / on <= top):
            kept.append(last)
            low, top = -math.inf, math.inf
            on, off = x - last[0], y - last[1]
        if on:
            low, top = max(low, (off - 1) / on), min(top, (off + 1) / on)
        last = x, y
    return [*kept, last] if last != kept[-1] else kept


def _legs(legs: list[tuple[int, int]]) -> list[str]:
    """Path data of moves in tenths of a pixel."""
    parts, pen = [], ""
    for across, down in legs:
        if not down:
            parts.append(f"h{num(across / 10)}")
            pen = "h"
            continue
        off = num(down / 10)
        parts.append(
            f"{' ' if pen == 'l' else 'l'}{num(across / 10)}{off if off[0] == '-' else f' {off}'}"
        )
        pen = "l"
    return parts


def _thin(
    steps: Shaped[np.ndarray, " n"], values: Shaped[np.ndarray, " n"], pixels: int
) -> tuple[Shaped[np.ndarray, " kept"], Shaped[np.ndarray, " kept"]]:
    """Keeps the extremes of each pixel column, so that a long curve keeps its shape."""
    if len(values) <= 4 * pixels:
        return steps, values
    keep: list[int] = []
    for part in np.array_split(np.arange(len(values)), pixels):
        finite = np.where(np.isfinite(values[part]), values[part], 0.0)
        keep += sorted({part[0], part[finite.argmin()], part[finite.argmax()], part[-1]})
    return steps[keep], values[keep]


def bars(
    axes: Axes, steps: Shaped[np.ndarray, " n"], values: Shaped[np.ndarray, " n"], theme: Theme
) -> str:
    """Bars from zero, up in the colour of gains and down in that of losses."""
    slot = axes.wide / max(axes.last - axes.first, 1)
    wide = max(min(slot * 0.7, 14), 0.8)
    up, down = [], []
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        if not np.isfinite(value) or value == 0:
            continue
        x, y = axes.at(step, value)
        zero = axes.at(step, 0)[1]
        high = max(abs(y - zero), 1)
        box = f"M{num(x - wide / 2)} {num(zero)}h{num(wide)}v{num(-high if value > 0 else high)}"
        (up if value > 0 else down).append(f"{box}h-{num(wide)}z")
    return (path("".join(up), fill=theme.positive) if up else "") + (
        path("".join(down), fill=theme.negative) if down else ""
    )


def y_axis(axes: Axes, theme: Theme, *, most: int = 4) -> str:
    """Numbers on the left, with a faint line across the chart for each."""
    marks = ticks(axes.low, axes.top, most)
    digits = decimals(marks)
    parts = []
    for value in marks:
        y = axes.at(axes.first, value)[1]
        colour = theme.muted if value == 0 and axes.low < 0 else theme.rule
        parts.append(line(axes.x, y, axes.x + axes.wide, y, colour))
        parts.append(
            text(axes.x - 8, y + 4, number(value, digits), size=11, fill=theme.muted, anchor="end")
        )
    return "".join(parts)


def x_axis(axes: Axes, theme: Theme, *, shift: int = 0) -> str:
    """Step numbers below the chart; `shift` is added to each."""
    low, top = axes.first + shift, axes.last + shift
    marks = [m for m in ticks(low, top, 8) if m == int(m)]
    y = axes.y + axes.high
    parts = [line(axes.x, y, axes.x + axes.wide, y, theme.rule)]
    for value in marks:
        x = axes.at(value - shift, axes.low)[0]
        parts.append(line(x, y, x, y + 4, theme.muted))
        parts.append(
            text(x, y + 16, number(int(value)), size=11, fill=theme.muted, anchor="middle")
        )
    return "".join(parts)


def marker(x: float, y: float, colour: str, page: str, *, radius: float = 4) -> str:
    """A dot with a halo in the page's colour, so that it stands out from its line."""
    return (
        f'<circle cx="{num(round(x, 1))}" cy="{num(round(y, 1))}" r="{num(radius)}" '
        f'fill="{colour}" stroke="{brief(page)}" stroke-width="1.5"/>'
    )


class Spark(NamedTuple):
    """A small curve in parts, so that a picture can draw them with others of their look.

    Attributes:
        lines: path data of the line beneath, and of one up to the marked state.
        curve: an element, or nothing.
        mark: elements that go on top, or nothing.
    """

    lines: str
    curve: str
    mark: str


def spark(
    x: float,
    y: float,
    wide: float,
    high: float,
    values: Shaped[np.ndarray, " n"],
    at: int,
    theme: Theme,
) -> Spark:
    """A small curve above a level line, with one of its states marked."""
    low, top = value_range(values)
    axes = Axes(x, y, wide, high, 0, max(len(values) - 1, 1), low, top)
    steps = np.arange(len(values))
    lines = f"M{num(x)} {num(y + high + 0.5)}h{num(wide)}"
    marks = ""
    if 0 <= at < len(values) and np.isfinite(values[at]):
        mark_x, mark_y = axes.at(at, float(values[at]))
        mark_x = round(mark_x, 1)
        lines += f"M{num(mark_x)} {num(y - 4)}V{num(y + high)}"
        marks = marker(mark_x, mark_y, theme.accent, theme.page)
    return Spark(lines, curve(axes, steps, values, theme.accent), marks)


def spread(wanted: list[float], apart: float, low: float, top: float) -> list[float]:
    """Places at least `apart` from each other and near those wanted, which are in order."""
    placed: list[float] = []
    for x in wanted:
        placed.append(max(x, placed[-1] + apart if placed else low))
    limit = top
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = max(min(placed[index], limit), low)
        limit = placed[index] - apart
    return placed
