"""Maps over the cells of a grid, and histograms: what else could have been done, where agents act.

A cell's colour says how much, its shape which way: a gain is a full square, a loss a smaller one.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import cards
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.marks import num, rect, text
from jaxarc_trace.render.text import number, plural
from jaxarc_trace.render.theme import Theme
from jaxarc_trace.render.theme import theme as find_theme

if TYPE_CHECKING:
    from jaxarc_trace.analysis import Clicks
    from jaxarc_trace.counterfactual import Counterfactuals
    from jaxarc_trace.episodes import Episodes

__all__ = ["clicks", "counterfactuals", "distributions"]

_PAGE = 960.0
_MARGIN = 28.0
_ACROSS = 4
_SIDE = 190.0
_SLOT = (_PAGE - 2 * _MARGIN) / _ACROSS
_SHADES = 8
_BINS = 24
_NUMBERS = ("return", "length", "score_final", "score_best", "no_op_share", "revisits")


def counterfactuals(found: "Counterfactuals", theme: str | Theme = "default") -> Picture:
    """Draws what other actions would have done to the score: a map for each kind of operation.

    A cell shows the best that any operation of the kind does there. The ring is the action that was
    taken, where it named one cell.

    Args:
        found: what `jaxarc_trace.counterfactuals` gave.
        theme: a theme or its name.

    Raises:
        RenderError: for an unknown theme.
    """
    look = find_theme(theme)
    kinds = found.kinds or found.operations
    height, width = found.size
    gains = found.scores[:, :height, :width].astype(np.float64) - found.before
    most = max(float(np.abs(gains).max(initial=0)), 1e-9)
    parts, told = [], []
    for index, kind in enumerate(dict.fromkeys(kinds)):
        rows = [i for i, word in enumerate(kinds) if word == kind]
        x, y = _place(index)
        best = gains[rows].max(axis=0)
        where = np.unravel_index(int(best.argmax()), best.shape)
        operation = rows[int(gains[rows][:, where[0], where[1]].argmax())]
        name = found.operations[operation].strip()
        words = f"{number(best.max(), signed=True)}: {name} at {where[0]}, {where[1]}"
        parts.append(text(x, y - 22, kind.capitalize(), bold=True, room=_SLOT - 20))
        parts.append(text(x, y - 7, words, size=11, fill=look.muted, room=_SLOT - 20))
        parts.append(_map(best / most, x, y, look))
        if found.taken[0] in rows and found.taken[1] >= 0:
            parts.append(_ring(found.taken[1:], best.shape, x, y, look))
        told.append(f"{kind} {words}")
    title = f"What else step {found.t + 1} could have done"
    reached = number(found.reached - found.before, signed=True)
    under = (
        f"Score before {number(found.before)}, {reached} by {_name(found)}; "
        f"{plural(found.better, 'action')} would have done better"
    )
    high = _place(len(told) - 1)[1] + _SIDE + 44
    legend = _legend(f"−{number(most)}", f"+{number(most)}", high - 16, look)
    body = cards.heading(title, under, _MARGIN, _PAGE, look) + "".join(parts) + legend
    return Picture(_PAGE, high + 8, title, f"{under}. {'; '.join(told)}.", body, look)


def clicks(found: "Clicks", theme: str | Theme = "default") -> Picture:
    """Draws where agents act: how often each cell was selected, in all and by kind of operation.

    Args:
        found: what `analysis.clicks` gave.
        theme: a theme or its name.

    Raises:
        RenderError: when no action named a cell, or for an unknown theme.
    """
    look = find_theme(theme)
    if not found.cells.size or not found.cells.any():
        raise RenderError("expected actions that name cells of a grid, found none in the episodes.")
    used = np.argwhere(found.cells)
    height, width = used.max(axis=0) + 1
    parts, told = [], []
    for index, (kind, cells) in enumerate({"all": found.cells, **found.by_kind}.items()):
        x, y = _place(index)
        shown = np.asarray(cells)[:height, :width].astype(np.float64)
        words = f"{plural(int(shown.sum()), 'cell')}, most {number(int(shown.max()))} on one"
        parts.append(text(x, y - 22, kind.capitalize(), bold=True, room=_SLOT - 20))
        parts.append(text(x, y - 7, words, size=11, fill=look.muted, room=_SLOT - 20))
        parts.append(_map(np.sqrt(shown / max(shown.max(), 1)), x, y, look))
        told.append(f"{kind}: {words}")
    title = "Where agents act"
    under = f"{plural(found.actions, 'action')} in {plural(len(found.operations), 'task')}"
    high = _place(len(told) - 1)[1] + _SIDE + 24
    body = cards.heading(title, under, _MARGIN, _PAGE, look) + "".join(parts)
    return Picture(_PAGE, high, title, f"{under}. {'; '.join(told)}.", body, look)


def distributions(episodes: "Episodes", theme: str | Theme = "default") -> Picture:
    """Draws how the numbers of many episodes are distributed, and how they ended.

    Args:
        episodes: with the columns of `analysis.measured`, where those are wanted.
        theme: a theme or its name.

    Raises:
        RenderError: when there is no episode, or for an unknown theme.
    """
    look = find_theme(theme)
    if not len(episodes):
        raise RenderError("expected at least one episode to draw, found none.")
    columns = episodes.columns
    parts, told, index = [], [], 0
    for name in _NUMBERS:
        values = np.asarray(columns.get(name, []), np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            parts.append(_histogram(name, values, *_place(index), look))
            told.append(f"{name} median {number(float(np.median(values)))}")
            index += 1
    counted = {"outcome": _counts(columns["outcome"].tolist())}
    if "failures" in columns:
        words = [mode for text_ in columns["failures"] for mode in text_.split(",") if mode]
        counted["failure mode"] = _counts(words)
    for name, counts in counted.items():
        x, y = _place(index)
        parts.append(_bars(name, counts, len(episodes), x, y, look))
        told.append(f"{name}: " + ", ".join(f"{word} {count}" for word, count in counts.items()))
        index += 1
    title = plural(len(episodes), "episode")
    high = _place(index - 1)[1] + _SIDE + 40
    under = "Distributions; the line is the median"
    body = cards.heading(title, under, _MARGIN, _PAGE, look) + "".join(parts)
    return Picture(_PAGE, high, title, f"{title}. {'; '.join(told)}.", body, look)


def _place(index: int) -> tuple[float, float]:
    """Upper left corner of a panel."""
    return _MARGIN + (index % _ACROSS) * _SLOT, 114.0 + (index // _ACROSS) * (_SIDE + 60)


def _map(values: Shaped[np.ndarray, "H W"], x: float, y: float, look: Theme) -> str:
    """Values from -1 to 1 as shaded cells, one path for each shade."""
    height, width = values.shape
    cell = _SIDE / max(height, width)
    shades = np.clip(np.round(values * _SHADES), -_SHADES, _SHADES).astype(int)
    # What is there at all is seen.
    shades = np.where((shades == 0) & (np.abs(values) > 1e-9), np.sign(values), shades).astype(int)
    parts = [rect(x, y, width * cell, height * cell, look.panel, stroke=look.rule)]
    for shade in np.unique(shades[shades != 0]).tolist():
        inset = cell * (0.06 if shade > 0 else 0.24)
        side = num(cell - 2 * inset)
        boxes = "".join(
            f"M{num(x + column * cell + inset)} {num(y + row * cell + inset)}"
            f"h{side}v{side}h-{side}z"
            for row, column in np.argwhere(shades == shade).tolist()
        )
        fill = look.positive if shade > 0 else look.negative
        strength = num(0.15 + 0.85 * abs(shade) / _SHADES)
        parts.append(f'<path d="{boxes}" fill="{fill}" fill-opacity="{strength}"/>')
    return "".join(parts)


def _ring(at: Sequence[int], shape: tuple[int, ...], x: float, y: float, look: Theme) -> str:
    cell = _SIDE / max(shape)
    if at[0] >= shape[0] or at[1] >= shape[1]:
        return ""
    centre = num(x + (at[1] + 0.5) * cell), num(y + (at[0] + 0.5) * cell)
    return "".join(
        f'<circle cx="{centre[0]}" cy="{centre[1]}" r="{num(max(cell * 0.6, 3))}" fill="none" '
        f'stroke="{colour}" stroke-width="{wide}"/>'
        for colour, wide in ((look.page, 4), (look.text, 1.6))
    )


def _legend(low: str, high: str, y: float, look: Theme) -> str:
    return (
        rect(_MARGIN + 3, y - 7, 6, 6, look.negative)
        + text(_MARGIN + 18, y, f"lower, down to {low}", size=12)
        + rect(_MARGIN + 200, y - 10, 11, 11, look.positive)
        + text(_MARGIN + 218, y, f"higher, up to {high}", size=12)
        + text(_MARGIN + 400, y, "ring: the cell of the action taken", size=12)
    )


def _name(found: "Counterfactuals") -> str:
    names = found.operations
    return names[found.taken[0]].strip() if 0 <= found.taken[0] < len(names) else "the action"


def _histogram(name: str, values: Shaped[np.ndarray, " n"], x: float, y: float, look: Theme) -> str:
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, _BINS, (low, high if high > low else low + 1))
    wide, tall = _SLOT - 28, _SIDE - 30
    step = wide / _BINS
    parts = [text(x, y - 8, name.replace("_", " ").capitalize(), bold=True, room=wide)]
    for index, count in enumerate(counts.tolist()):
        if count:
            size = tall * count / counts.max()
            parts.append(rect(x + index * step, y + tall - size, step - 1, size, look.accent))
    middle = float(np.median(values))
    at = x + (middle - low) / (high - low) * wide if high > low else x
    parts.append(rect(at - 1, y, 2, tall, look.text))
    parts.append(rect(x, y + tall, wide, 1, look.rule))
    parts.append(text(x, y + tall + 14, number(low), size=11, fill=look.muted))
    parts.append(
        text(x + wide, y + tall + 14, number(high), size=11, fill=look.muted, anchor="end")
    )
    parts.append(text(x, y + tall + 29, f"median {number(middle)}", size=11))
    return "".join(parts)


def _counts(words: Sequence[str]) -> dict[str, int]:
    """How often each word stands there, most often first."""
    names, counts = np.unique(np.asarray(words, str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def _bars(name: str, counts: Mapping[str, int], of: int, x: float, y: float, look: Theme) -> str:
    wide = _SLOT - 28
    parts = [text(x, y - 8, name.capitalize(), bold=True, room=wide)]
    for index, (word, count) in enumerate(list(counts.items())[:7]):
        top = y + 4 + index * 26
        share = f"{count} ({100 * count / of:.0f}%)"
        parts.append(text(x, top + 9, word, size=11, room=wide - 80))
        parts.append(text(x + wide, top + 9, share, size=11, fill=look.muted, anchor="end"))
        parts.append(rect(x, top + 13, max(wide * count / of, 1), 5, look.accent))
    return "".join(parts)
