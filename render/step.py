"""One transition of an episode as a picture: what was there, what was done, what came of it."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Real, Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.render import cards, facts, generic, grid, icons
from jaxarc_trace.render.chart import Spark, spark, value_range
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.marks import ROUND, Line, badge, fit, lettering, num, path, rounded, width
from jaxarc_trace.render.text import number, plural
from jaxarc_trace.render.theme import Theme, ink
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["step"]

_MARGIN = 24
_GAP = 40
_NARROWEST = 184
# Above it there is room for one row of failure modes, so that grids of most steps stand alike.
_TOP = 106
_FAILURES = 64
_LARGEST_CELL = 36
_NEAREST_FIRST = (1, 0, 2)


def step(episode: Episode, t: int, theme: str | Theme = "default") -> Picture:
    """Draws transition `t`: before, after and target grid, the operation, reward and score.

    Args:
        episode: any episode; one without grids is drawn by the generic fallback.
        t: index of the transition, 0..T-1; a negative one counts from the end.
        theme: a theme or its name.

    Raises:
        RenderError: for a step that does not exist or an unknown theme.
    """
    look = find_theme(theme)
    t = facts.check_step(episode, t)
    arc = frames(episode)
    if arc is None:
        return generic.step(episode, t, look)
    panels = _panels(arc, t)
    cell = _cell_size(panels, look)
    columns = [max(panel.reach[1] * cell, _NARROWEST) for panel in panels]
    # Grids stand whole cells apart, so that they can share their cells.
    apart = [math.ceil((column + _GAP) / cell) * cell for column in columns]
    across = max(sum(apart[:-1]) + columns[-1], 600)
    high = max(max(panel.reach[0] for panel in panels) * cell, cell)
    page = across + 2 * _MARGIN
    failed, more = _failures(arc, t, page, look)
    top = _TOP + 14 + more
    below = top + high + 44
    places = [(float(_MARGIN) + sum(apart[:i]), top) for i in range(len(columns))]
    key, words = _key(page - _MARGIN, below + 103, look)
    badges = _heading(arc, t, page, words, look)
    rule, spark = _metrics(arc, t, below + 18, across, words, look)
    body = [
        badges,
        failed,
        '<g fill="none">',
        grid.grids(
            # What came of the step is nearest to both others: they are drawn on top of it.
            [(panels[i].values, *places[i]) for i in _NEAREST_FIRST if i < len(panels)],
            cell,
            look,
            grouped=True,
        ),
        path(key.boxes + rule + spark.lines, fill=look.padding, stroke=look.rule),
        _marks(panels, places, cell, key, look),
        rounded(
            _differing(panels, places, cell, key),
            icons.icon(arc.kind(t), arc.name(t), _MARGIN, 18, 30, look),
            _arrow(places[1][0] - (apart[0] - columns[0]) / 2, top + min(high, 232) / 2, look),
            spark.curve,
        ),
        spark.mark,
        grid.legend(_MARGIN, below + 100, look),
        "</g>",
    ]
    for panel, place, column in zip(panels, places, columns, strict=True):
        _name(panel, place, high, column, words, look)
    body.append(lettering(words))
    return Picture(
        width=page,
        height=below + 100 + 18 + _MARGIN,
        title=f"{facts.position(episode, t)} · {arc.name(t)}",
        description=_describe(arc, t, panels),
        body="".join(body),
        theme=look,
    )


@dataclass(frozen=True, eq=False)
class Panel:
    """One grid of the picture with what is marked on it."""

    name: str
    values: Shaped[np.ndarray, "H W"]
    note: str
    selected: Bool[np.ndarray, "H W"] | None = None
    changed: Bool[np.ndarray, "H W"] | None = None
    differs: Bool[np.ndarray, "H W"] | None = None
    former: tuple[int, int, int, int] | None = None

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns the panel takes, the former size of the grid included."""
        rows, columns = self.values.shape
        if self.former is None:
            return rows, columns
        top, left, high, wide = self.former
        return max(rows, top + high), max(columns, left + wide)


def _panels(arc: ArcFrames, t: int) -> list[Panel]:
    before, after = arc.before(t), arc.after(t)
    chosen, change = arc.selection(t), arc.changed(t)
    resized = arc.box(t) != arc.box(t + 1)
    former = None
    if resized:
        was, now = arc.box(t), arc.box(t + 1)
        former = (max(was.top - now.top, 0), max(was.left - now.left, 0), *was.shape)
    picked = "selection not recorded" if chosen is None else _count(chosen, "selected")
    shown = facts.size_words(before.shape)
    altered = _count(change, "changed")
    if resized:
        altered = f"was {shown}" + (f", {altered}" if change.any() else "")
    panels = [
        Panel("Before", before, picked, selected=chosen),
        Panel("After", after, altered, changed=change, former=former),
    ]
    target, wrong = arc.target, arc.differs(t)
    if target is not None and wrong is not None:
        note = _count(wrong, "to go") if wrong.any() else "reached"
        if not wrong.any() and after.shape != target.shape:
            note = "cells right, size wrong"
        panels.append(Panel("Target", target, note, differs=wrong))
    return panels


def _count(mask: Bool[np.ndarray, "H W"], word: str) -> str:
    cells = int(mask.sum())
    return f"{plural(cells, 'cell')} {word}" if cells else f"nothing {word}"


def _cell_size(panels: list[Panel], look: Theme) -> float:
    if look.cell_size is not None:
        return look.cell_size
    longest = max(max(panel.reach) for panel in panels)
    least = look.digit_cell if look.digits else 3
    return float(max(min(look.panel_size // max(longest, 1), _LARGEST_CELL), least))


def _heading(arc: ArcFrames, t: int, page: float, words: list[Line], look: Theme) -> str:
    """Adds title and identity; returns the badges."""
    parts = []
    right = page - _MARGIN
    for label, fill in _badges(arc, t, look):
        drawn, right = badge(right, 22, label, fill, ink(fill))
        parts.append(drawn)
        right -= 8
    left = _MARGIN + 42
    lead = f"{facts.position(arc.episode, t)} · "
    room = max(right - left - width(lead, 19, bold=True), 60)
    name = fit(arc.name(t), 19, room, bold=True)
    words.append(Line(left, 34, f"{lead}{name}", 19, bold=True))
    about = fit(facts.identity(arc.episode), 12, page - left - _MARGIN)
    words.append(Line(left, 54, about, 12, look.muted))
    return "".join(parts)


def _failures(arc: ArcFrames, t: int, page: float, look: Theme) -> tuple[str, float]:
    """The failure modes that the step is part of, and how far rows beyond one move the rest."""
    failed = facts.failing_words(arc.episode, t + 1)
    drawn, high = cards.failure_badges(failed, _MARGIN, _FAILURES, page - 2 * _MARGIN, look)
    return drawn, max(high - cards.BADGE_ROW, 0)


def _badges(arc: ArcFrames, t: int, look: Theme) -> list[tuple[str, str]]:
    """Labels of the step, the rightmost first."""
    out = []
    episode = arc.episode
    if t == len(arc) - 1:
        out.append((facts.outcome_words(episode), facts.outcome_colour(episode, look)))
    out += [(label, getattr(look, colour)) for label, colour in arc.badges(t)]
    return out


def _name(
    panel: Panel,
    place: tuple[float, float],
    high: float,
    column: float,
    words: list[Line],
    look: Theme,
) -> None:
    """What stands above and below a grid whose upper left corner is at `place`."""
    x, top = place
    size = facts.size_words(panel.values.shape)
    words.append(Line(x, top - 14, panel.name, bold=True))
    beside = round(x + width(panel.name, 13, bold=True) + 8)
    words.append(Line(beside, top - 14, size, 12, look.muted))
    note = fit(panel.note, 12, column)
    words.append(Line(x, top + 20 + high, note, 12, look.muted))


def _marks(
    panels: list[Panel], places: list[tuple[float, float]], cell: float, key: "Key", look: Theme
) -> str:
    """What was selected, changed and is still wrong; the key's samples are part of the marks."""
    parts, nothing = [], np.zeros((1, 1), bool)
    by_role: dict[str, tuple[Shaped[np.ndarray, "H W"], float, float]] = {}
    for panel, (x, top) in zip(panels, places, strict=True):
        if panel.former is not None:
            down, along, high, wide = panel.former
            parts.append(
                grid.ghost(x + along * cell, top + down * cell, wide * cell, high * cell, look)
            )
        for role in ("selected", "changed"):
            mask = getattr(panel, role)
            if mask is not None:
                by_role[role] = mask, x, top
    mask, x, top = by_role.get("selected", (nothing, 0.0, 0.0))
    parts.append(grid.selected(mask, x, top, cell, look, grouped=True, more=key.selected))
    mask, x, top = by_role.get("changed", (nothing, 0.0, 0.0))
    parts.append(grid.changed(mask, x, top, cell, look, grouped=True, more=key.changed))
    return "".join(parts)


def _differing(
    panels: list[Panel], places: list[tuple[float, float]], cell: float, key: "Key"
) -> str:
    mask = panels[-1].differs
    if mask is None:
        mask = np.zeros((1, 1), bool)
    return grid.differing(mask, *places[-1], cell, more=key.differs)


def _arrow(x: float, y: float, look: Theme) -> str:
    return path(
        f"M{num(x - 9)} {num(y)}h16m-6-6l6 6-6 6",
        stroke=look.muted,
        thickness=2,
        more=ROUND,
    )


def _metrics(
    arc: ArcFrames, t: int, y: float, across: float, words: list[Line], look: Theme
) -> tuple[str, Spark]:
    """Adds the numbers; returns path data of the line above them, and the curve beside them."""
    x = _MARGIN
    rewards = np.asarray(arc.episode.rewards, np.float64)
    reward = float(rewards[t])
    earned = facts.returns(arc.episode)
    shown = f"{_arrow_of(reward)} {number(reward, signed=True)}".strip()
    words += [
        *_tile(x, y, "Reward", shown, _tone(reward, look), look),
        Line(x, y + 54, _since(rewards, t), 11, look.muted),
        *_tile(x + 150, y, "Return so far", number(earned[t + 1]), "", look),
    ]
    left = x + 292
    if arc.score is not None:
        score = float(arc.score[t + 1])
        change = score - float(arc.score[t])
        shift = f"{_arrow_of(change)} {number(change, signed=True)}".strip()
        words += _tile(left, y, "Similarity", number(score), "", look)
        words.append(Line(left, y + 54, shift, 12, _tone(change, look), change != 0))
        series, label = arc.score, "Similarity by step"
    else:
        series, label, left = earned, "Return by step", left - 130
    low, top = (number(v) for v in value_range(np.asarray(series)))
    words.append(Line(left + 130, y, f"{label}, {low} to {top}", 11, look.muted))
    room = x + across - left - 130
    rule = f"M{num(x)} {num(y - 25.5)}h{num(across)}"
    return rule, spark(left + 130, y + 14, room, 40, series, t + 1, look)


def _since(rewards: Real[np.ndarray, " T"], t: int) -> str:
    if t == 0:
        return "first kept step"
    change = number(float(rewards[t]) - float(rewards[t - 1]), signed=True)
    return "as the step before" if change.strip("0.") == "" else f"{change} on step before"


def _tile(x: float, y: float, label: str, value: str, fill: str, look: Theme) -> list[Line]:
    return [Line(x, y, label, 11, look.muted), Line(x, y + 30, value, 19, fill, bold=True)]


def _arrow_of(value: float) -> str:
    return "▲" if value > 0 else "▼" if value < 0 else "=" if value == 0 else ""


def _tone(value: float | None, look: Theme) -> str:
    if value is None or not value or np.isnan(value):
        return look.muted
    return look.positive if value > 0 else look.negative


class Key(NamedTuple):
    """Path data of the boxes that hold a sample of each mark, and of the samples."""

    boxes: str
    selected: str
    changed: str
    differs: str


def _key(right: float, y: float, look: Theme) -> tuple[Key, list[Line]]:
    """What the three marks mean, ending at `right`."""
    key, words = _key_at(right, y, look)
    return key, list(words)


@lru_cache(maxsize=128)
def _key_at(right: float, y: float, look: Theme) -> tuple[Key, tuple[Line, ...]]:
    lines, boxes = [], {}
    corner = f"M{num(round(right - width('differs', 11) - 20) + 7)} {num(y)}h5v5z"
    x = right
    for name in ("differs", "changed", "selected"):
        x -= width(name, 11)
        lines.append(Line(round(x), y + 10, name, 11, look.muted))
        x = round(x - 20)
        boxes[name] = f"M{num(x)} {num(y)}h12v12H{num(x)}z"
        x -= 18
    return Key("".join(boxes.values()), boxes["selected"], boxes["changed"], corner), tuple(lines)


def _describe(arc: ArcFrames, t: int, panels: list[Panel]) -> str:
    words = [f"{facts.identity(arc.episode)}."]
    sizes = [facts.size_words(panel.values.shape) for panel in panels]
    alike = len(set(sizes)) == 1
    if alike:
        words.append(f"Each grid {sizes[0]}.")
    words += [
        f"{panel.name}{'' if alike else f' {size}'}: {panel.note}."
        for panel, size in zip(panels, sizes, strict=True)
    ]
    words.append(f"Reward {number(arc.episode.rewards[t], signed=True)}.")
    if arc.score is not None:
        words.append(
            f"Similarity {number(arc.score[t + 1])} "
            f"({number(float(arc.score[t + 1]) - float(arc.score[t]), signed=True)})."
        )
    words += [f"{words_}." for words_, _ in _badges(arc, t, find_theme("default"))]
    words += [f"{failed}." for failed in facts.failing_words(arc.episode, t + 1)]
    return " ".join(words)
