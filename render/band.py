"""Many episodes as one curve: the median over time with bands of quantiles around it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Integer, Shaped

from jaxarc_trace.analysis import failure_modes, scores
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import cards, chart, facts
from jaxarc_trace.render.chart import Axes
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.marks import num, rect, text
from jaxarc_trace.render.text import number
from jaxarc_trace.render.theme import Theme

__all__ = ["band", "quantiles"]

_PAGE = 960.0
_MARGIN = 28.0
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def band(episodes: Sequence[Episode], look: Theme) -> Picture:
    """Draws the distribution of score and return over the steps of any number of episodes."""
    title = f"{number(len(episodes))} episodes"
    lengths = np.array([episode.length for episode in episodes])
    last = max(int(lengths.max()), 1)
    solved = [episode.success for episode in episodes if episode.success is not None]
    totals = np.array([episode.total_return for episode in episodes])
    entries = [
        ("Episodes", number(len(episodes)), ""),
        ("Solved", *_solved_words(solved)),
        ("Median return", number(np.median(totals)), _range_words(totals)),
        ("Median length", number(int(np.median(lengths))), f"longest {number(last)}"),
    ]
    parts = [
        cards.heading(title, "Median, middle half and middle nine tenths", _MARGIN, _PAGE, look),
        cards.tiles(_MARGIN, 94, _PAGE - 2 * _MARGIN, entries, look),
    ]
    y = 170.0
    series = [scores(episode) for episode in episodes]
    known = [
        (episode, values)
        for episode, values in zip(episodes, series, strict=True)
        if values is not None
    ]
    if len(known) == len(episodes):
        parts.append(_chart("Similarity", known, y, 200, last, look))
        y += 250
    earned = [(episode, facts.returns(episode)) for episode in episodes]
    parts.append(_chart("Return so far", earned, y, 140, last, look))
    foot = y + 16 + 140
    running = Axes(_MARGIN + 48, foot + 6, _PAGE - 2 * _MARGIN - 138, 0, 0, last, 0, 1)
    parts.append(chart.x_axis(running, look))
    parts.append(text(_MARGIN, foot + 22, "Step", bold=True))
    told = ", ".join(f"{name.lower()} {value} {note}".strip() for name, value, note in entries)
    wrong = _failures(episodes)
    told += f"; {', '.join(f'{mode} in {count}' for mode, count in wrong)}" if wrong else ""
    bars, foot = _bars(wrong, len(episodes), foot + 24, look)
    parts.append(bars)
    return Picture(_PAGE, foot + _MARGIN, title, f"{title}: {told}.", "".join(parts), look)


def quantiles(
    series: Sequence[tuple[Episode, Shaped[np.ndarray, " _"]]], last: int
) -> tuple[Integer[np.ndarray, " steps"], Float64[np.ndarray, "5 steps"]]:
    """Quantiles 5, 25, 50, 75 and 95 percent over episodes, at up to 400 steps.

    An episode that has ended keeps its last value, so that short ones do not drop out of the
    distribution; one whose beginning was dropped is absent until it begins.

    Returns:
        Steps `[n]`, and the quantiles `[5, n]`; NaN where there is nothing to tell.
    """
    steps = np.unique(np.linspace(0, last, min(last + 1, 400)).round().astype(int))
    table = np.full((len(series), len(steps)), np.nan)
    for row, (episode, values) in enumerate(series):
        at = steps - episode.dropped
        table[row] = np.where(at >= 0, values[np.clip(at, 0, len(values) - 1)], np.nan)
    table[~np.isfinite(table)] = np.nan
    out = np.full((len(_LEVELS), len(steps)), np.nan)
    some = ~np.isnan(table).all(axis=0)
    if some.any():
        out[:, some] = np.nanquantile(table[:, some], _LEVELS, axis=0)
    return steps, out


def _failures(episodes: Sequence[Episode]) -> list[tuple[str, int]]:
    """Each failure mode and in how many of the episodes it is, the most frequent first."""
    found = Counter(mode for e in episodes for mode in {found.mode for found in failure_modes(e)})
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _bars(wrong: Sequence[tuple[str, int]], total: int, y: float, look: Theme) -> tuple[str, float]:
    """A bar for each failure mode as long as its share of the episodes, and where they end."""
    if not wrong:
        return "", y
    left, wide = _MARGIN + 130, _PAGE - 2 * _MARGIN - 130 - 150
    parts = [text(_MARGIN, y + 30, "Failures", bold=True)]
    y += 40
    for mode, count in wrong:
        parts.append(text(_MARGIN, y + 12, mode, size=12, room=124))
        parts.append(rect(left, y + 2, wide, 12, look.rule, radius=3))
        parts.append(rect(left, y + 2, max(wide * count / total, 3), 12, look.negative, radius=3))
        words = f"{number(count)} of {number(total)}, {100 * count / total:.0f}%"
        parts.append(text(left + wide + 10, y + 12, words, size=12))
        y += 21
    return "".join(parts), y


def _chart(
    name: str,
    series: Sequence[tuple[Episode, Shaped[np.ndarray, " _"]]],
    y: float,
    high: float,
    last: int,
    look: Theme,
) -> str:
    steps, levels = quantiles(series, last)
    low, top = chart.value_range(levels)
    room = (top - low) * 0.05
    wide = _PAGE - 2 * _MARGIN - 138
    axes = Axes(_MARGIN + 48, y + 16, wide, high, 0, last, low - room, top + room)
    parts = [text(_MARGIN, y, name, bold=True), chart.y_axis(axes, look, most=5)]
    parts += [_between(axes, steps, levels[i], levels[-1 - i], look) for i in (0, 1)]
    parts.append(chart.curve(axes, steps, levels[2], look.accent, thickness=2.4))
    finite = [value for value in levels[2].tolist() if np.isfinite(value)]
    if finite:
        x, end = axes.at(last, finite[-1])
        parts.append(chart.marker(x, end, look.accent, look.page))
        parts.append(text(x + 10, end + 4, "median", size=12, fill=look.accent, bold=True))
    return "".join(parts)


def _between(
    axes: Axes,
    steps: Shaped[np.ndarray, " steps"],
    lower: Shaped[np.ndarray, " steps"],
    upper: Shaped[np.ndarray, " steps"],
    look: Theme,
) -> str:
    known = np.isfinite(lower) & np.isfinite(upper)
    if known.sum() < 2:
        return ""
    there = [axes.at(s, v) for s, v in zip(steps[known].tolist(), upper[known], strict=True)]
    back = [axes.at(s, v) for s, v in zip(steps[known].tolist(), lower[known], strict=True)]
    data = "L".join(f"{num(x)} {num(y)}" for x, y in [*there, *back[::-1]])
    return f'<path d="M{data}z" fill="{look.accent}" fill-opacity="0.17"/>'


def _solved_words(solved: Sequence[bool]) -> tuple[str, str]:
    if not solved:
        return "–", "not known"
    return f"{100 * np.mean(solved):.0f}%", f"{number(sum(solved))} of {number(len(solved))}"


def _range_words(values: Shaped[np.ndarray, " n"]) -> str:
    return f"{number(values.min())} to {number(values.max())}"
