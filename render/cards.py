"""Small parts that several pictures share: number tiles, thumbnails, headings, operation strips."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from jaxarc_trace.analysis import Failure
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import facts, grid, icons
from jaxarc_trace.render.chart import Axes
from jaxarc_trace.render.frames import ArcFrames
from jaxarc_trace.render.marks import badge, num, path, rect, text, width
from jaxarc_trace.render.theme import Theme, ink

__all__ = [
    "BADGE_ROW",
    "disc",
    "failure_badges",
    "failure_lines",
    "failure_marks",
    "failure_words",
    "heading",
    "operation_strip",
    "row_tops",
    "thumbnail",
    "tiles",
]


def heading(title: str, under: str, x: float, page: float, theme: Theme, badges: str = "") -> str:
    """The picture's title and the line beneath it, both cut to the page's width."""
    room = page - 2 * x
    return (
        text(x, 36, title, size=19, bold=True, room=room - (160 if badges else 0))
        + text(x, 57, under, size=12, fill=theme.muted, room=room)
        + badges
    )


def outcome_badge(episode: Episode, right: float, y: float, theme: Theme) -> str:
    """How an episode ended, as a filled label with words."""
    fill = facts.outcome_colour(episode, theme)
    words = facts.outcome_words(episode)
    return badge(right, y, words, fill, ink(fill))[0]


def tiles(
    x: float, y: float, across: float, entries: Sequence[tuple[str, str, str]], theme: Theme
) -> str:
    """Label, value and note of each entry, side by side with hairlines between."""
    slot = across / len(entries)
    parts = []
    for index, (label, value, note) in enumerate(entries):
        left = x + index * slot
        if index:
            parts.append(rect(left - 12, y - 10, 1, 52, theme.rule))
        room = slot - 18
        parts.append(text(left, y, label, size=11, fill=theme.muted, room=room))
        parts.append(text(left, y + 23, value, size=17, bold=True, room=room))
        if note:
            parts.append(text(left, y + 41, note, size=11, fill=theme.muted, room=room))
    return "".join(parts)


BADGE_ROW = 26.0
"""How far rows of labels are apart."""


def failure_badges(
    failures: Sequence[str], x: float, y: float, room: float, theme: Theme
) -> tuple[str, float]:
    """What went wrong as labels with words, in as many rows as it takes; and how high they are.

    Args:
        failures: words about each, in the order in which they are shown.
        x: left edge.
        y: upper edge.
        room: width of a row.
        theme: the look.
    """
    parts, left, top = [], x, y
    for failure in failures:
        words = f"! {failure}"
        wide = width(words, 11, bold=True) + 16
        if left > x and left + wide > x + room:
            left, top = x, top + BADGE_ROW
        parts.append(rect(left, top, wide, 20, theme.page, stroke=theme.negative, radius=4))
        parts.append(text(left + 8, top + 14, words, size=11, bold=True))
        left += wide + 8
    return "".join(parts), top + BADGE_ROW - y if failures else 0.0


def failure_words(failure: Failure, shift: int) -> str:
    """`collapse, step 8`, `regression, steps 19 and 60` or `no-op run, 7 steps from 16 on`.

    Args:
        failure: what went wrong.
        shift: steps that were not kept, which are counted before the first kept one.
    """
    return f"{failure.mode}, {_steps(failure.steps, shift)}"


def _steps(steps: Sequence[int], shift: int) -> str:
    first, *more = steps
    if not more:
        return f"step {first + shift}"
    if len(more) == 1:
        return f"steps {first + shift} and {more[0] + shift}"
    return f"{len(steps)} steps from {first + shift} on"


_LINE, _MOST_LINES = 14.0, 3


def failure_lines(
    episode: Episode, state: int, x: float, y: float, room: float, theme: Theme
) -> str:
    """The failure modes that a state is part of, below `y`: a triangle and a few words on a line.

    Where the words are wider than `room` the mode's name alone is there.
    """
    modes, lines = facts.failing(episode, state), []
    for mode, words in zip(modes, facts.failing_words(episode, state), strict=True):
        lines.append(words if width(words, 10) <= room - 11 else mode.mode)
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [f"and {len(lines) - _MOST_LINES + 1} more"]
    marks, parts = [], []
    for index, words in enumerate(lines):
        base = y + _LINE * (index + 1)
        marks.append(f"M{num(x + 3.5)} {num(base - 7)}l3.5 6h-7z")
        parts.append(text(x + 11, base, words, size=10, room=max(room - 11, 10)))
    return path("".join(marks), fill=theme.negative) + "".join(parts) if lines else ""


def row_tops(
    episode: Episode, states: Sequence[int], columns: int, top: float, pitch: float
) -> list[float]:
    """Where rows of states begin, `pitch` and their `failure_lines` apart, and where they end."""
    tops = [top]
    for first in range(0, len(states), columns):
        row = states[first : first + columns]
        lines = min(max(len(facts.failing(episode, state)) for state in row), _MOST_LINES)
        tops.append(tops[-1] + pitch + (_LINE * lines + 4 if lines else 0))
    return tops


def failure_marks(failures: Sequence[Failure], axes: Axes, y: float, theme: Theme) -> str:
    """A small triangle at `y` under each step that shows a failure; near ones are one."""
    last, data = -4.0, []
    for step in sorted({step for failure in failures for step in failure.steps}):
        x = axes.at(step, 0)[0]
        if x - last >= 4:
            data.append(f"M{num(x)} {num(y)}l3.5 6h-7z")
            last = x
    return path("".join(data), fill=theme.negative) if data else ""


def disc(x: float, y: float, words: str, theme: Theme) -> str:
    """A number in a filled circle, centred at `x, y`."""
    return f'<circle cx="{num(x)}" cy="{num(y)}" r="8.5" fill="{theme.text}"/>' + text(
        x, y + 3.8, words, size=11, fill=theme.page, anchor="middle", bold=True
    )


def thumbnail(
    values: Shaped[np.ndarray, "H W"],
    x: float,
    y: float,
    side: float,
    theme: Theme,
    *,
    differs: Bool[np.ndarray, "H W"] | None = None,
) -> str:
    """A grid scaled to fit a square, at its upper left corner; with wrong cells if given."""
    cell = cell_of(values, side)
    out = grid.grid(values, x, y, cell, theme)
    # Corner marks on smaller cells would be specks; the caption has their number.
    if differs is not None and cell >= 6:
        out += grid.differing(differs, x, y, cell)
    return out


def cell_of(values: Shaped[np.ndarray, "H W"], side: float) -> float:
    """Pixels to a cell of a thumbnail: whole ones where possible, at most 28."""
    cell = side / max(*values.shape, 1)
    return min(float(int(cell)) if cell >= 3 else cell, 28.0)


def operation_strip(arc: ArcFrames, axes: Axes, theme: Theme) -> str:
    """One sign for each operation on the steps' axis, a dot under those that did nothing.

    Where a step has 11 pixels or more its sign is drawn, else a stroke: in the colour it paints
    with, or of a height of its own for each other kind.
    """
    slot = axes.wide / max(axes.last - axes.first, 1)
    draw = _signs if slot >= 11 else _strokes
    return draw(arc, axes, min(slot - 1, 18), theme) + _idle(arc, axes, slot, theme)


def _signs(arc: ArcFrames, axes: Axes, size: float, theme: Theme) -> str:
    return "".join(
        icons.icon(
            arc.kind(t),
            arc.name(t),
            axes.at(t + 1, 0)[0] - size / 2,
            axes.y + (axes.high - size) / 2,
            size,
            theme,
        )
        for t in range(len(arc))
    )


_HEIGHTS = {"move": 0.55, "rotate": 0.45, "flip": 0.35, "clipboard": 0.25, "grid": 0.15}


def _strokes(arc: ArcFrames, axes: Axes, size: float, theme: Theme) -> str:
    wide = max(size, 0.8)
    strokes: dict[str, list[str]] = {}
    for t in range(len(arc)):
        kind = arc.kind(t)
        value = icons.colour_of(kind, arc.name(t))
        colour = theme.muted if value is None else theme.cells[value]
        share = 1.0 if value is not None or kind == "submit" else _HEIGHTS.get(kind, 0.5)
        x = axes.at(t + 1, 0)[0] - wide / 2
        high = axes.high * share
        strokes.setdefault(colour, []).append(
            f"M{num(x)} {num(axes.y + axes.high)}h{num(wide)}v-{num(high)}h-{num(wide)}z"
        )
    plate = rect(axes.x, axes.y, axes.wide, axes.high, theme.panel)
    return plate + "".join(path("".join(strokes[c]), fill=c) for c in sorted(strokes))


def _idle(arc: ArcFrames, axes: Axes, slot: float, theme: Theme) -> str:
    steps = np.flatnonzero(arc.is_noop)
    if not steps.size:
        return ""
    y, half = axes.y + axes.high + 5, min(max(slot * 0.3, 0.4), 4)
    data = "".join(
        f"M{num(axes.at(t + 1, 0)[0] - half)} {num(y)}h{num(2 * half)}" for t in steps.tolist()
    )
    return path(data, stroke=theme.negative, thickness=2)
