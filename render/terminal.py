"""One transition as text for a terminal: grids in colour or in digits, and the numbers.

Returns text and prints nothing. Whatever comes from a file is made visible first, so that no
name can move the cursor or set a colour.
"""

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Integer, Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import facts
from jaxarc_trace.render.blocks import RESET, half_blocks, plain_cells, wide_cells
from jaxarc_trace.render.chart import value_range
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.generic import action_words
from jaxarc_trace.render.text import bare, cut, listed, number, plural, visible
from jaxarc_trace.render.theme import Theme, rgb
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["terminal", "wants_color"]

_GAP = 3
_NARROWEST = 32
_LEVELS = "▁▂▃▄▅▆▇█"
_MARKS = {"Before": ("*", "selected"), "After": ("+", "changed"), "Target": ("x", "to go")}


def terminal(
    episode: Episode,
    t: int,
    *,
    color: bool | None = None,
    theme: str | Theme = "default",
    width: int | None = None,
) -> str:
    """Draws transition `t` as lines of text: before, after and target, reward and score.

    Args:
        episode: any episode; of one without grids the recorded fields are listed.
        t: index of the transition, 0..T-1; a negative one counts from the end.
        color: 24-bit colour, or digits and letters instead. None asks `wants_color`.
        theme: a theme or its name: its cell colours, and whether cells hold digits.
        width: characters to a line, at least 32; None asks the terminal.

    Returns:
        Lines without a newline at the end. Side by side where the width allows it.

    Raises:
        RenderError: for a step that does not exist, an unknown theme or a width below 32.
    """
    look = find_theme(theme)
    t = facts.check_step(episode, t)
    room = shutil.get_terminal_size((80, 24)).columns if width is None else width
    if width is not None and width < _NARROWEST:
        raise RenderError(f"width is at least {_NARROWEST} characters; found {width!r}.")
    room = max(room, _NARROWEST)
    pen = Pen(look, color=wants_color() if color is None else color, room=room)
    arc = frames(episode)
    lines = _heading(episode, arc, t, pen)
    lines += _fields(episode, t, pen) if arc is None else _grids(arc, t, pen)
    return "\n".join([*lines, *_numbers(episode, arc, t, pen)])


def wants_color() -> bool:
    """Whether text for standard output should be coloured.

    No where `NO_COLOR` is set (https://no-color.org) or `TERM` is `dumb`; else yes where
    `FORCE_COLOR` is set or standard output is a terminal.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


@dataclass(frozen=True)
class Pen:
    """How lines are written.

    Attributes:
        look: gives the colours.
        color: whether to use them.
        room: characters to a line.
    """

    look: Theme
    color: bool
    room: int

    def bold(self, words: str) -> str:
        """In bold."""
        return f"\x1b[1m{words}{RESET}" if self.color else words

    def faint(self, words: str) -> str:
        """Less bright than the rest."""
        return f"\x1b[2m{words}{RESET}" if self.color else words

    def badge(self, words: str, colour: str) -> str:
        """A label: on a ground of its own, or in brackets."""
        if not self.color:
            return f"[{words}]"
        ground = ";".join(map(str, rgb(colour)))
        return f"\x1b[1;38;2;255;255;255;48;2;{ground}m {words} {RESET}"


@dataclass(frozen=True, eq=False)
class Panel:
    """A grid under its name."""

    name: str
    values: Shaped[np.ndarray, "H W"]
    marked: Bool[np.ndarray, "H W"] | None


def _heading(episode: Episode, arc: ArcFrames | None, t: int, pen: Pen) -> list[str]:
    badges = _badges(episode, arc, t)
    taken = sum(len(words) + 3 for words, _ in badges)
    title = facts.position(episode, t)
    if arc is not None:
        title += f" · {visible(arc.name(t), 60)}"
    labels = "".join(f" {pen.badge(words, colour)}" for words, colour in badges)
    first = pen.bold(_fit(title, max(pen.room - taken, 12))) + labels
    # In place of an empty line, so that grids stand still from step to step.
    failed = _failures(episode, t, pen)
    return [first, pen.faint(_fit(facts.identity(episode), pen.room)), failed]


def _failures(episode: Episode, t: int, pen: Pen) -> str:
    """The failure modes that the step is part of."""
    words = listed(facts.failing_words(episode, t + 1), lambda line: len(line) + 2 <= pen.room)
    if not words:
        return ""
    red = ";".join(map(str, rgb(find_theme("default").negative)))
    mark = f"\x1b[1;38;2;{red}m!{RESET}" if pen.color else "!"
    return f"{mark} {_fit(words, pen.room - 2)}"


def _badges(episode: Episode, arc: ArcFrames | None, t: int) -> list[tuple[str, str]]:
    # White words are read on these; the dark theme's own colours are too light for that.
    look = find_theme("default")
    found = arc.badges(t) if arc is not None else ()
    out = [(label, getattr(look, colour)) for label, colour in found]
    if t == len(episode) - 1:
        out.append((facts.outcome_words(episode), facts.outcome_colour(episode, look)))
    return out


def _grids(arc: ArcFrames, t: int, pen: Pen) -> list[str]:
    panels = [
        Panel("Before", arc.before(t), arc.selection(t)),
        Panel("After", arc.after(t), arc.changed(t)),
    ]
    if arc.target is not None:
        panels.append(Panel("Target", arc.target, arc.differs(t)))
    widest = [max(panel.values.shape[1], 1) for panel in panels]
    # Twice as wide where all fit beside each other: only then there is room for the marks.
    step = 2 if 2 * sum(widest) + _GAP * (len(panels) - 1) <= pen.room else 1
    if not pen.color and 2 * max(widest) <= pen.room:
        step = 2
    lines: list[str] = []
    for row in _rows(panels, step, pen.room):
        lines += [*_beside(row, step, pen), ""]
    told = [_told(panel, arc, t) for panel in panels]
    lines += [pen.faint(_fit(line, pen.room)) for line in told if line]
    return lines


def _span(panel: Panel, step: int, room: int) -> int:
    """Characters across that a panel takes, its heading included."""
    return min(max(panel.values.shape[1] * step, len(_caption(panel))), room)


def _caption(panel: Panel) -> str:
    return f"{panel.name} {facts.size_words(panel.values.shape)}"


def _rows(panels: Sequence[Panel], step: int, room: int) -> list[list[Panel]]:
    """Panels one after the other, in as few rows as the width allows."""
    rows: list[list[Panel]] = []
    used = room + 1
    for panel in panels:
        across = _span(panel, step, room)
        if used + _GAP + across > room:
            rows.append([])
            used = -_GAP
        rows[-1].append(panel)
        used += _GAP + across
    return rows


def _beside(panels: Sequence[Panel], step: int, pen: Pen) -> list[str]:
    """Panels beside each other, each under its name."""
    blocks = []
    for panel in panels:
        across = _span(panel, step, pen.room)
        shown = panel.values[:, : pen.room // step]
        name = _fit(_caption(panel), across)
        cells = shown.shape[1] * step
        body = [line + " " * (across - cells) for line in _cells(panel, shown, step, pen)]
        blocks.append([pen.bold(name) + " " * (across - len(name)), *body])
    deep = max(len(block) for block in blocks)
    for block, panel in zip(blocks, panels, strict=True):
        block.extend([" " * _span(panel, step, pen.room)] * (deep - len(block)))
    return [(" " * _GAP).join(parts).rstrip(" ") for parts in zip(*blocks, strict=True)]


def _cells(panel: Panel, shown: Shaped[np.ndarray, "H W"], step: int, pen: Pen) -> list[str]:
    marked = None if panel.marked is None else panel.marked[:, : shown.shape[1]]
    mark = _MARKS[panel.name][0]
    if not pen.color:
        return plain_cells(shown, marked, mark, step)
    if step == 2:
        return wide_cells(shown, marked, mark, pen.look)
    return half_blocks(shown, pen.look)


def _told(panel: Panel, arc: ArcFrames, t: int) -> str:
    """What is marked on a grid, in words: half blocks have no room for marks."""
    mark, word = _MARKS[panel.name]
    if panel.marked is None:
        return f"{mark} selection not recorded" if panel.name == "Before" else ""
    if panel.name == "After" and arc.box(t) != arc.box(t + 1):
        was, now = facts.size_words(arc.before(t).shape), facts.size_words(arc.after(t).shape)
        word = f"{word}, size {was} to {now}"
    cells = int(panel.marked.sum())
    if not cells:
        return f"{mark} nothing {word}"
    rows, columns = (np.flatnonzero(panel.marked.any(axis=axis)) for axis in (1, 0))
    where = f"{_from_to('row', rows)}, {_from_to('column', columns)}"
    return f"{mark} {plural(cells, 'cell')} {word}: {where}"


def _from_to(noun: str, where: Integer[np.ndarray, " n"]) -> str:
    first, last = int(where[0]), int(where[-1])
    return f"{noun} {first}" if first == last else f"{noun}s {first}–{last}"


def _fields(episode: Episode, t: int, pen: Pen) -> list[str]:
    """The action, and the recorded fields before and after, for an environment without grids."""
    lines = [_fit(f"action: {action_words(episode, t).removeprefix('action ')}", pen.room)]
    for name, values in episode.states.items():
        before, after = np.asarray(values[t]), np.asarray(values[t + 1])
        label = visible(name, 40)
        if before.size > 8:
            same = np.array_equal(before, after)
            note = "unchanged" if same else f"{number(int((before != after).sum()))} changed"
            words = f"{before.dtype} {facts.size_words(before.shape)}, {note}"
        else:
            words = f"{_values(before)} → {_values(after)}"
        lines.append(_fit(f"{label}: {words}", pen.room))
    return [*lines, ""]


def _values(values: Shaped[np.ndarray, "..."]) -> str:
    shown = [
        visible(value) if values.dtype.kind not in "iuf" else number(value)
        for value in values.reshape(-1)
    ]
    return shown[0] if values.ndim == 0 else f"[{' '.join(shown)}]"


def _numbers(episode: Episode, arc: ArcFrames | None, t: int, pen: Pen) -> list[str]:
    earned = float(facts.returns(episode)[t + 1])
    words = [
        f"reward {number(episode.rewards[t], signed=True)}",
        f"return {number(earned)}",
    ]
    lines = []
    if arc is not None and arc.score is not None:
        score = arc.score
        with np.errstate(invalid="ignore"):
            change = score[t + 1] - score[t]
        arrow = "▲" if change > 0 else "▼" if change < 0 else "="
        words.append(f"similarity {number(score[t + 1])} {arrow} {number(change, signed=True)}")
        lines = _spark(score, t + 1, pen)
    return [_fit("   ".join(words), pen.room), *lines]


def _spark(score: Float64[np.ndarray, " states"], now: int, pen: Pen) -> list[str]:
    """The score of every state as a line of blocks, and a pointer at the state shown."""
    across = min(len(score), pen.room)
    low, top = value_range(score)
    with np.errstate(invalid="ignore"):
        rise = np.nan_to_num((score - low) / (top - low), nan=0.0, posinf=1.0, neginf=0.0)
    at = np.linspace(0, len(score) - 1, across).round().astype(int)
    levels = (rise.clip(0, 1)[at] * (len(_LEVELS) - 1)).round().astype(int).tolist()
    here = round(now * (across - 1) / max(len(score) - 1, 1))
    return [pen.faint("".join(_LEVELS[level] for level in levels)), f"{' ' * here}^"]


def _fit(words: str, columns: int) -> str:
    """At most so many characters across; East Asian letters are two wide."""
    words = visible(words, 400)
    room = columns
    while _across(words) > columns and room > 1:
        room -= 1
        words = visible(cut(bare(words), room), 400)
    return words


def _across(words: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in bare(words)
    )
