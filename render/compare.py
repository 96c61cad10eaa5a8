"""Several episodes on one page: their curves over each other, their numbers, their last grids."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.analysis import failure_modes
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import band, cards, chart, facts
from jaxarc_trace.render.chart import Axes
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.marks import fit, line, rect, text
from jaxarc_trace.render.text import number, plural
from jaxarc_trace.render.theme import Theme
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["compare", "first_divergence"]

_PAGE = 960.0
_MARGIN = 28.0
_LABELS = 150.0
_MOST = 8
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "5 2", "12 5", "1.5 4", "8 3 2 3 2 3")


def compare(episodes: Sequence[Episode], theme: str | Theme = "default") -> Picture:
    """Draws episodes against each other.

    Two to eight are drawn one by one: score and return curves labelled at their ends, the steps
    that show a failure, a table of differences to the first, where two on one task part ways, and
    the last grids beside the target. More than eight are drawn as a median with quantile bands, and
    how many of them failed in which way.

    Args:
        episodes: two or more.
        theme: a theme or its name.

    Raises:
        RenderError: for fewer than two episodes or an unknown theme.
    """
    look = find_theme(theme)
    episodes = list(episodes)
    if len(episodes) < 2:
        raise RenderError(
            f"compare draws two or more episodes; found {len(episodes)}. For one, use summary."
        )
    if len(episodes) > _MOST:
        return band.band(episodes, look)
    arcs = [frames(episode) for episode in episodes]
    title = f"{len(episodes)} episodes compared"
    parts = [cards.heading(title, shared(episodes), _MARGIN, _PAGE, look)]
    curves, y = _curves(episodes, arcs, 92, look)
    table, y = _table(episodes, arcs, y + 40, look)
    parts += [curves, table]
    note = _divergence_words(episodes, arcs)
    if note:
        parts.append(text(_MARGIN, y + 14, note, size=12, room=_PAGE - 2 * _MARGIN))
        y += 24
    if any(arc is not None for arc in arcs):
        grids, y = _grids(arcs, y + 22, look)
        parts.append(grids)
    return Picture(
        width=_PAGE,
        height=y + _MARGIN,
        title=title,
        description=_describe(episodes, arcs, note),
        body="".join(parts),
        theme=look,
    )


def first_divergence(first: Episode, second: Episode) -> int | None:
    """The first step at which two episodes from the same grid act or end up differently.

    Returns:
        Index of the transition, or None where one is a beginning of the other, they do not start
        from the same grid, or the environment has no grid.
    """
    one, two = frames(first), frames(second)
    if one is None or two is None or first.dropped or second.dropped:
        return None
    if not np.array_equal(one.grid(0), two.grid(0)):
        return None
    for t in range(min(len(one), len(two))):
        same = one.operation(t) == two.operation(t) and np.array_equal(one.after(t), two.after(t))
        if not same:
            return t
    return None


def shared(episodes: Sequence[Episode]) -> str:
    """What all the episodes have in common, in words."""
    tasks = {facts.task_id(episode) for episode in episodes}
    if len(tasks) > 1:
        return plural(len(tasks), "task")
    pairs = {facts.first_value(episode, "pair_idx") for episode in episodes}
    if len(pairs) == 1:
        return facts.identity(episodes[0], limit=64, numbered=False)
    return f"Task {tasks.pop()} · {plural(len(pairs), 'pair')}"


def label(index: int) -> str:
    """The letter an episode goes by in the picture."""
    return "ABCDEFGH"[index]


def _curves(
    episodes: Sequence[Episode], arcs: Sequence[ArcFrames | None], y: float, look: Theme
) -> tuple[str, float]:
    last = max(*(len(e) + e.dropped for e in episodes), 1)
    scores = [arc.score if arc is not None else None for arc in arcs]
    parts = []
    if all(score is not None for score in scores):
        parts.append(_chart("Similarity", episodes, scores, (y, 190.0), last, look))
        y += 236
    series = [facts.returns(episode) for episode in episodes]
    axes_y, high = y, 120.0
    parts.append(_chart("Return so far", episodes, series, (axes_y, high), last, look))
    wide = _PAGE - 2 * _MARGIN - 48 - _LABELS
    axes = Axes(_MARGIN + 48, axes_y + 16 + high, wide, 0, 0, last, 0, 1)
    lanes, foot = _lanes(episodes, axes, look)
    parts.append(lanes)
    parts.append(chart.x_axis(replace(axes, y=foot + 6), look))
    parts.append(text(_MARGIN, foot + 22, "Step", bold=True))
    return "".join(parts), foot + 24


def _chart(
    name: str,
    episodes: Sequence[Episode],
    series: Sequence[Shaped[np.ndarray, " _"] | None],
    span: tuple[float, float],
    last: int,
    look: Theme,
) -> str:
    y, high = span
    kept = [values for values in series if values is not None]
    low, top = chart.value_range(np.concatenate(kept))
    room = (top - low) * 0.05
    wide = _PAGE - 2 * _MARGIN - 48 - _LABELS
    axes = Axes(_MARGIN + 48, y + 16, wide, high, 0, last, low - room, top + room)
    parts = [text(_MARGIN, y, name, bold=True), chart.y_axis(axes, look, most=5)]
    curves, ends = [], []
    for index, (episode, values) in enumerate(zip(episodes, kept, strict=True)):
        steps = np.arange(len(values)) + episode.dropped
        colour = look.series[index % len(look.series)]
        curves.append(chart.curve(axes, steps, values, colour, thickness=2.2, dash=_DASHES[index]))
        end = float(values[-1]) if np.isfinite(values[-1]) else axes.low
        x, end_y = axes.at(int(steps[-1]), end)
        curves.append(chart.marker(x, end_y, colour, look.page))
        ends.append((end_y, x, index, colour, number(values[-1])))
    return "".join([*parts, _end_labels(ends, axes, look), *curves])


def _lanes(episodes: Sequence[Episode], axes: Axes, look: Theme) -> tuple[str, float]:
    """Below the curves a line for each episode in which something failed, its steps marked."""
    y = axes.y
    if not any(map(failure_modes, episodes)):
        return "", y
    parts = [text(_MARGIN, y + 30, "Failures", bold=True)]
    y += 30
    for index, episode in enumerate(episodes):
        modes = failure_modes(episode)
        if not modes:
            continue
        y += 16
        first, end = (axes.at(step + episode.dropped, 0)[0] for step in (0, len(episode)))
        parts.append(line(first, y, end, y, look.rule))
        moved = replace(axes, first=axes.first - episode.dropped, last=axes.last - episode.dropped)
        parts.append(cards.failure_marks(modes, moved, y - 3, look))
        right, colour = axes.x + axes.wide, look.series[index % len(look.series)]
        parts.append(text(right + 26, y + 4, label(index), size=12, fill=colour, bold=True))
        parts.append(text(right + 42, y + 4, plural(len(modes), "mode"), size=12))
    return "".join(parts), y + 10


def _end_labels(ends: list[tuple[float, float, int, str, str]], axes: Axes, look: Theme) -> str:
    """Letter and last value of each curve at the right, moved apart, tied to the curve's end."""
    ends = sorted(ends)
    right = axes.x + axes.wide
    room = 15.0 * len(ends)
    low = min(axes.y, axes.y + (axes.high - room) / 2)
    places = chart.spread([end[0] for end in ends], 15, low, max(axes.y + axes.high, low + room))
    parts = []
    for (y, x, index, colour, value), place in zip(ends, places, strict=True):
        parts.append(line(x + 5, y, right + 10, y, look.rule))
        parts.append(line(right + 10, y, right + 22, place, look.rule))
        parts.append(text(right + 26, place + 4, label(index), size=12, fill=colour, bold=True))
        parts.append(text(right + 42, place + 4, value, size=12))
    return "".join(parts)


def _rows(episodes: Sequence[Episode], arcs: Sequence[ArcFrames | None]) -> list[list[float]]:
    rows = []
    for episode, arc in zip(episodes, arcs, strict=True):
        score = None if arc is None else arc.score
        known = score is not None and np.isfinite(score).any()
        rows.append(
            [
                float(episode.length),
                float(episode.total_return),
                float(score[-1]) if score is not None else np.nan,
                float(np.nanmax(score)) if score is not None and known else np.nan,
                float(arc.is_noop.sum()) if arc is not None else np.nan,
            ]
        )
    return rows


_HEADS = ("Steps", "Return", "Final", "Best", "No-ops")
_COLUMNS = (448.0, 569.0, 690.0, 811.0, 932.0)


def _table(
    episodes: Sequence[Episode], arcs: Sequence[ArcFrames | None], y: float, look: Theme
) -> tuple[str, float]:
    """Numbers of each episode, and beneath them the difference to the first."""
    rows, notes = _rows(episodes, arcs), _notes(episodes)
    parts = [
        text(x, y, head, size=11, fill=look.muted, anchor="end")
        for head, x in zip(_HEADS, _COLUMNS, strict=True)
    ]
    parts.append(text(_MARGIN, y, "Episode, difference to A", size=11, fill=look.muted))
    for index, (episode, row) in enumerate(zip(episodes, rows, strict=True)):
        y += 12 if not index else 8
        parts.append(rect(_MARGIN, y - 3, _PAGE - 2 * _MARGIN, 1, look.rule))
        y += 17
        colour = look.series[index % len(look.series)]
        dash = _DASHES[index]
        parts.append(line(_MARGIN, y - 4, _MARGIN + 30, y - 4, colour, thickness=2.4, dash=dash))
        parts.append(text(_MARGIN + 40, y, label(index), fill=colour, bold=True))
        name = f"{episode.id} · {facts.outcome_words(episode)}"
        parts.append(text(_MARGIN + 60, y, fit(name, 12, 310), size=12))
        for column, (value, x) in enumerate(zip(row, _COLUMNS, strict=True)):
            parts.append(text(x, y, _cell(value, column), anchor="end"))
        if index:
            y += 15
            for column, (value, x) in enumerate(zip(row, _COLUMNS, strict=True)):
                parts.append(_delta(value - rows[0][column], column, x, y, look))
        if notes:
            y += 16
            room = _PAGE - 2 * _MARGIN - 60
            parts.append(text(_MARGIN + 60, y, notes[index], size=11, fill=look.muted, room=room))
    return "".join(parts), y + 14


def _cell(value: float, column: int) -> str:
    if np.isnan(value):
        return "–"
    return number(int(value)) if column in (0, 4) else number(value)


def _delta(change: float, column: int, x: float, y: float, look: Theme) -> str:
    if np.isnan(change):
        return ""
    whole = column in (0, 4)
    words = number(int(change), signed=True) if whole else number(change, signed=True)
    if change == 0:
        return text(x, y, "=", size=11, fill=look.muted, anchor="end")
    # More steps or more no-ops are neither good nor bad.
    tone = look.muted if whole else look.positive if change > 0 else look.negative
    arrow = "▲" if change > 0 else "▼"
    return text(x, y, f"{arrow} {words}", size=11, fill=tone, anchor="end")


def _notes(episodes: Sequence[Episode]) -> list[str]:
    """A line for each episode: which steps are gone, and its failure modes; empty for none."""
    modes = _failure_words(episodes) or [""] * len(episodes)
    lines = [
        " · ".join(filter(None, (*facts.not_kept(episode), told)))
        for episode, told in zip(episodes, modes, strict=True)
    ]
    return [line[:1].upper() + line[1:] for line in lines] if any(lines) else []


def _failure_words(episodes: Sequence[Episode]) -> list[str]:
    """The failure modes of each episode, those of the others beside the first; empty for none."""
    first, *others = ([mode.mode for mode in failure_modes(episode)] for episode in episodes)
    if not any([first, *others]):
        return []
    out = [f"Failure modes: {', '.join(first)}" if first else "No failure mode"]
    for modes in others:
        groups = {
            "as in A": [mode for mode in modes if mode in first],
            "not in A": [mode for mode in modes if mode not in first],
            "only in A": [mode for mode in first if mode not in modes],
        }
        told = "; ".join(f"{name}: {', '.join(found)}" for name, found in groups.items() if found)
        out.append(f"Failure modes {told}" if modes else f"No failure mode; {told}".rstrip("; "))
    return out


def _divergence_words(episodes: Sequence[Episode], arcs: Sequence[ArcFrames | None]) -> str:
    """Where the first two that share a start part ways."""
    for i, j in itertools.combinations(range(len(episodes)), 2):
        t = first_divergence(episodes[i], episodes[j])
        one, two = arcs[i], arcs[j]
        if t is None or one is None or two is None:
            continue
        did = f"{label(i)} does {one.name(t)}, {label(j)} does {two.name(t)}"
        if one.name(t) == two.name(t):
            did = f"both do {one.name(t)}, on different cells"
        return f"{label(i)} and {label(j)} part at step {t + 1}: {did}."
    return ""


def _grids(arcs: Sequence[ArcFrames | None], y: float, look: Theme) -> tuple[str, float]:
    """Every last grid, each group with one target followed by it."""
    known = [(index, arc) for index, arc in enumerate(arcs) if arc is not None]
    shown: list[tuple[str, str, Shaped[np.ndarray, "_ _"]]] = []
    while known:
        target = known[0][1].target
        group = [(i, arc) for i, arc in known if _same(arc.target, target)]
        known = [(i, arc) for i, arc in known if not _same(arc.target, target)]
        shown += [(f"{label(i)} at the end", _to_go(arc), arc.grid(len(arc))) for i, arc in group]
        if target is not None:
            letters = ", ".join(label(i) for i, _ in group)
            shown.append(("Target", f"of {letters}", target))
    per_row = min(max(len(shown), 5), 9)
    slot = (_PAGE - 2 * _MARGIN + 16) / per_row
    side = slot - 16
    # Cells are no larger than those of other pictures, so small grids do not fill the square.
    tall = max((len(grid) * cards.cell_of(grid, side) for *_, grid in shown), default=0.0)
    parts = []
    for index, (head, note, values) in enumerate(shown):
        row, column = divmod(index, per_row)
        x, top = _MARGIN + column * slot, y + row * (tall + 62)
        parts.append(text(x, top, head, size=12, bold=True, room=side))
        parts.append(cards.thumbnail(values, x, top + 12, side, look))
        parts.append(text(x, top + tall + 30, note, size=11, fill=look.muted, room=side))
    rows = -(-len(shown) // per_row)
    return "".join(parts), y + rows * (tall + 62) - 20


def _same(one: Shaped[np.ndarray, "_ _"] | None, two: Shaped[np.ndarray, "_ _"] | None) -> bool:
    if one is None or two is None:
        return one is two
    return np.array_equal(one, two)


def _to_go(arc: ArcFrames) -> str:
    wrong, target = arc.differs_at(len(arc)), arc.target
    if wrong is None or target is None:
        return ""
    if wrong.any():
        return f"{plural(int(wrong.sum()), 'cell')} to go"
    return "reached" if arc.grid(len(arc)).shape == target.shape else "size wrong"


def _describe(episodes: Sequence[Episode], arcs: Sequence[ArcFrames | None], note: str) -> str:
    words, notes = [f"{shared(episodes)}."], _notes(episodes)
    for index, (episode, row) in enumerate(zip(episodes, _rows(episodes, arcs), strict=True)):
        told = ", ".join(
            f"{head.lower()} {_cell(value, column)}"
            for column, (head, value) in enumerate(zip(_HEADS, row, strict=True))
        )
        words.append(f"{label(index)}: {episode.id}, {facts.outcome_words(episode)}, {told}.")
        words += [f"{line}." for line in notes[index : index + 1] if line]
    return " ".join([*words, note]).strip()
