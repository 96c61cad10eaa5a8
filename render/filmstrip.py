"""The grids of an episode in a row, like the frames of a film."""

from collections.abc import Sequence

import numpy as np

from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import cards, facts, generic, grid, icons
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.marks import text
from jaxarc_trace.render.theme import Theme
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["filmstrip"]

_MARGIN = 24.0
_GAP = 16.0
_SIDE = 112.0


def filmstrip(
    episode: Episode,
    theme: str | Theme = "default",
    *,
    states: Sequence[int] | None = None,
    columns: int = 8,
    most: int = 64,
) -> Picture:
    """Draws states of an episode side by side, with the operation that led to each.

    Args:
        episode: any episode; one without grids is drawn by the generic fallback.
        theme: a theme or its name.
        states: which of the states 0..T; by default all, or `most` evenly spread.
        columns: pictures in a row, 1 to 40.
        most: how many to draw at most when `states` is not given.

    Raises:
        RenderError: for a state that does not exist, or numbers outside their range.
    """
    look = find_theme(theme)
    if not 1 <= columns <= 40 or most < 2:
        raise RenderError(
            f"A filmstrip has 1 to 40 columns and room for at least 2 pictures; found "
            f"columns={columns}, most={most}."
        )
    chosen = _choose(episode, states, most)
    arc = frames(episode)
    if arc is None:
        return generic.filmstrip(episode, chosen, columns, look)
    columns = max(min(columns, len(chosen)), 3)
    side = look.cell_size * max(max(s) for s in arc.shapes) if look.cell_size else _SIDE
    high = max(_height(arc, state, side) for state in chosen)
    tops = cards.row_tops(episode, chosen, columns, 88, high + 46)
    parts = [
        cards.heading(
            f"{facts.outcome_words(episode)} · {len(episode)} steps",
            facts.identity(episode),
            _MARGIN,
            2 * _MARGIN + columns * (side + _GAP) - _GAP,
            look,
        )
    ]
    for index, state in enumerate(chosen):
        row, column = divmod(index, columns)
        x = _MARGIN + column * (side + _GAP)
        parts.append(_frame(arc, state, x, tops[row], side, look))
        below, room = tops[row] + 12 + high, side + _GAP - 4
        parts.append(cards.failure_lines(episode, state, x, below, room, look))
    return Picture(
        width=2 * _MARGIN + columns * (side + _GAP) - _GAP,
        height=tops[-1] + _MARGIN - 36,
        title=f"Filmstrip of {episode.id}",
        description=f"{facts.identity(episode)}. {_told(arc, chosen)}",
        body="".join(parts),
        theme=look,
    )


def _choose(episode: Episode, states: Sequence[int] | None, most: int) -> list[int]:
    last = len(episode)
    if states is None:
        return sorted(set(np.linspace(0, last, min(most, last + 1)).round().astype(int).tolist()))
    for state in states:
        if not 0 <= state <= last:
            raise RenderError(f"Episode {episode.id} has states 0 to {last}; found {state}.")
    if not len(states):
        raise RenderError(f"A filmstrip needs at least one of the states 0 to {last}; found none.")
    return list(states)


def _height(arc: ArcFrames, state: int, side: float) -> float:
    rows, columns = arc.shapes[state]
    return min(side, side * rows / max(rows, columns, 1)) if rows else side


def _frame(arc: ArcFrames, state: int, x: float, y: float, side: float, look: Theme) -> str:
    values = arc.grid(state)
    number = state + arc.episode.dropped
    parts = [cards.thumbnail(values, x, y + 12, side, look)]
    if state:
        t = state - 1
        cell = cards.cell_of(values, side)
        parts.append(icons.icon(arc.kind(t), arc.name(t), x, y - 10, 15, look))
        idle = " =" if arc.is_noop[t] else ""
        words = f"{number} {arc.name(t)}{idle}"
        parts.append(text(x + 20, y + 2, words, size=11, room=side + _GAP - 26))
        if cell >= 6:
            parts.append(grid.changed(arc.changed(t), x, y + 12, cell, look))
    else:
        parts.append(text(x, y + 2, f"{number} start", size=11, bold=True, room=side))
    return "".join(parts)


def _told(arc: ArcFrames, chosen: Sequence[int]) -> str:
    told = []
    for state in chosen:
        words = f"{state + arc.episode.dropped} {arc.name(state - 1) if state else 'start'}"
        failed = ", ".join(facts.failing_words(arc.episode, state))
        told.append(f"{words} ({failed})" if failed else words)
    return ", ".join(told)
