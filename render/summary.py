"""A whole episode on one page: how it ended, its numbers, its curve, its key moments."""

import numpy as np
from jaxtyping import Float64, Shaped

from jaxarc_trace.analysis import Failure, KeyMoment, failure_modes, key_moments, revisits
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import cards, chart, facts, generic
from jaxarc_trace.render.chart import Axes
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.marks import group, line, num, path, text, width
from jaxarc_trace.render.text import number, plural, visible
from jaxarc_trace.render.theme import Theme
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["summary"]

_PAGE = 960.0
_MARGIN = 28.0
_AXIS = 48.0
_THUMB = 112.0


def summary(episode: Episode, theme: str | Theme = "default") -> Picture:
    """Draws an episode: outcome, numbers, what failed, score, rewards, operations, key moments.

    Args:
        episode: any episode; one without grids has curves but no thumbnails of grids.
        theme: a theme or its name.

    Raises:
        RenderError: for an unknown theme.
    """
    look = find_theme(theme)
    arc = frames(episode)
    moments, failures = key_moments(episode), failure_modes(episode)
    badges, taken = cards.failure_badges(
        [cards.failure_words(failure, episode.dropped) for failure in failures],
        _MARGIN,
        148,
        _PAGE - 2 * _MARGIN,
        look,
    )
    parts = [
        cards.heading(
            f"Episode {episode.number} of lane {episode.lane}",
            _origin(episode),
            _MARGIN,
            _PAGE,
            look,
            cards.outcome_badge(episode, _PAGE - _MARGIN, 22, look),
        ),
        cards.tiles(_MARGIN, 94, _PAGE - 2 * _MARGIN, _numbers(episode, arc), look),
        badges,
    ]
    charts, y = _charts(episode, arc, moments, failures, 168 + taken, look)
    parts.append(charts)
    if arc is not None:
        shown, y = _thumbnails(arc, moments, y + 34, look)
    else:
        shown, y = _states(episode, moments, y + 34, look)
    parts.append(shown)
    return Picture(
        width=_PAGE,
        height=y + _MARGIN,
        title=f"Episode {episode.number} of lane {episode.lane} · {facts.outcome_words(episode)}",
        description=_describe(episode, arc, moments, failures),
        body="".join(parts),
        theme=look,
    )


def _origin(episode: Episode) -> str:
    """Where the episode comes from, without the lane and number that the title has."""
    parts = [facts.identity(episode, limit=64, numbered=False)]
    if episode.kept_by:
        parts.append(f"kept by {visible(' + '.join(episode.kept_by), 60)}")
    return " · ".join(part for part in parts if part)


def _numbers(episode: Episode, arc: ArcFrames | None) -> list[tuple[str, str, str]]:
    dropped = f"{number(episode.dropped)} dropped" if episode.dropped else ""
    entries = [
        ("Steps", number(episode.length), dropped),
        ("Return", number(episode.total_return), ""),
    ]
    if arc is not None and arc.score is not None:
        first, last = arc.score[0], arc.score[-1]
        best = _best(arc.score)
        at = number(best + episode.dropped)
        entries += [
            ("Final similarity", number(last), f"from {number(first)}"),
            ("Best similarity", number(arc.score[best]), f"at step {at}"),
        ]
    if arc is not None:
        idle = int(arc.is_noop.sum())
        entries += [
            ("No-ops", number(idle), f"{100 * idle / max(len(arc), 1):.0f}% of steps"),
            ("Revisits", number(int(revisits(episode).sum())), "seen before"),
        ]
        if arc.operations is not None:
            entries.append(("Operations", number(len(np.unique(arc.operations))), "different ones"))
    entries.append(("Ended by", *_end(episode, arc)))
    return entries


def _end(episode: Episode, arc: ArcFrames | None) -> tuple[str, str]:
    if not episode.complete:
        return "Running", "not ended yet"
    if arc is not None and len(arc) and arc.is_submit[-1]:
        return "Submit", ""
    if bool(np.asarray(episode.truncated[-1:]).any()):
        limit = episode.environment.get("max_episode_steps")
        return "Limit", f"{number(limit)} steps" if isinstance(limit, int) else "step limit"
    return "Terminal", "state"


def _best(score: Float64[np.ndarray, " states"]) -> int:
    return int(np.argmax(np.where(np.isfinite(score), score, -np.inf)))


def _charts(
    episode: Episode,
    arc: ArcFrames | None,
    moments: tuple[KeyMoment, ...],
    failures: tuple[Failure, ...],
    y: float,
    look: Theme,
) -> tuple[str, float]:
    x, wide = _MARGIN + _AXIS, _PAGE - 2 * _MARGIN - _AXIS - 8
    steps = np.arange(len(episode) + 1)
    score = None if arc is None else arc.score
    values = facts.returns(episode) if score is None else score
    name = "Return so far" if score is None else "Similarity"
    low, top = chart.value_range(values)
    room = (top - low) * 0.06
    last = max(len(episode), 1)
    upper = Axes(x, y + 44, wide, 150, 0, last, low - room, top + room)
    rewards = np.asarray(episode.rewards, np.float64)
    low, top = chart.value_range(rewards, include=(0.0,))
    lower = Axes(x, y + 236, wide, 62, 0, last, low, top)
    parts = [
        text(_MARGIN, y, name, bold=True),
        chart.y_axis(upper, look, most=5),
        _rail(upper, values, moments, y + 18, look),
        chart.curve(upper, steps, values, look.accent, thickness=2.2),
        _dots(upper, values, moments, look),
        cards.failure_marks(failures, upper, y + 198, look),
        _failure_key(x + wide, y + 218, look) if failures else "",
        text(_MARGIN, y + 222, "Reward", bold=True),
        chart.y_axis(lower, look, most=3),
        chart.bars(lower, steps[1:], rewards, look),
    ]
    foot = lower.y + lower.high
    if arc is not None and arc.operations is not None:
        strip = Axes(x, foot + 32, wide, 18, 0, last, 0, 1)
        parts.append(text(_MARGIN, foot + 26, "Operation", bold=True))
        parts.append(cards.operation_strip(arc, strip, look))
        if arc.is_noop.any():
            parts.append(_noop_key(x + wide, foot + 23, look))
        foot = strip.y + strip.high + 10
    parts.append(chart.x_axis(_at_foot(upper, foot + 4), look, shift=episode.dropped))
    parts.append(text(_MARGIN, foot + 20, "Step", bold=True))
    return "".join(parts), foot + 20


def _failure_key(right: float, y: float, look: Theme) -> str:
    left = right - width("shows a failure", 11) - 12
    return path(f"M{num(left)} {num(y - 8)}l3.5 6h-7z", fill=look.negative) + text(
        right, y, "shows a failure", size=11, fill=look.muted, anchor="end"
    )


def _noop_key(right: float, y: float, look: Theme) -> str:
    left = right - width("no change", 11) - 14
    return path(f"M{num(left)} {num(y - 4)}h8", stroke=look.negative, thickness=2) + text(
        right, y, "no change", size=11, fill=look.muted, anchor="end"
    )


def _at_foot(axes: Axes, y: float) -> Axes:
    return Axes(axes.x, y, axes.wide, 0, axes.first, axes.last, 0, 1)


def _rail(
    axes: Axes,
    values: Shaped[np.ndarray, " states"],
    moments: tuple[KeyMoment, ...],
    y: float,
    look: Theme,
) -> str:
    """The numbers of the key moments above the chart, each tied to its point."""
    wanted = [axes.at(m.step, axes.low)[0] for m in moments]
    places = chart.spread(wanted, 22, axes.x, axes.x + axes.wide)
    parts = []
    for index, (moment, place) in enumerate(zip(moments, places, strict=True)):
        point_x, point_y = _point(axes, values, moment)
        parts.append(line(place, y + 9, point_x, axes.y - 4, look.rule))
        parts.append(line(point_x, axes.y - 4, point_x, point_y, look.rule))
        parts.append(cards.disc(place, y, str(index + 1), look))
    return "".join(parts)


def _dots(
    axes: Axes, values: Shaped[np.ndarray, " states"], moments: tuple[KeyMoment, ...], look: Theme
) -> str:
    return "".join(
        chart.marker(*_point(axes, values, moment), look.text, look.page) for moment in moments
    )


def _point(
    axes: Axes, values: Shaped[np.ndarray, " states"], moment: KeyMoment
) -> tuple[float, float]:
    value = float(values[moment.step])
    return axes.at(moment.step, value if np.isfinite(value) else axes.low)


def _thumbnails(
    arc: ArcFrames, moments: tuple[KeyMoment, ...], y: float, look: Theme
) -> tuple[str, float]:
    """Key moments in order, the target last; equal boxes, each grid as large as fits."""
    count = 7
    slot = (_PAGE - 2 * _MARGIN + 16) / count
    shown = [arc.grid(moment.step) for moment in moments]
    target = arc.target
    grids = shown if target is None else [*shown, target]
    deep = 14 + max(len(values) * cards.cell_of(values, _THUMB) for values in grids)
    parts = []
    for index, moment in enumerate(moments):
        x = _MARGIN + index * slot
        parts.append(cards.disc(x + 8.5, y - 3, str(index + 1), look))
        name = f"Step {moment.step + arc.episode.dropped}"
        parts.append(text(x + 24, y + 1, name, size=12, bold=True, room=slot - 40))
        parts.append(cards.thumbnail(shown[index], x, y + 14, _THUMB, look))
        parts.append(text(x, y + deep + 18, moment.label, size=11, fill=look.muted, room=slot - 12))
        done = f"by {arc.name(moment.step - 1)}" if moment.step else ""
        parts.append(text(x, y + deep + 33, done, size=11, fill=look.muted, room=slot - 12))
    if target is not None:
        x = _MARGIN + (count - 1) * slot
        parts.append(line(x - 12, y - 12, x - 12, y + deep + 34, look.rule))
        parts.append(text(x, y + 1, "Target", size=12, bold=True))
        wrong = arc.differs_at(len(arc))
        parts.append(cards.thumbnail(target, x, y + 14, _THUMB, look, differs=wrong))
        left = 0 if wrong is None else int(wrong.sum())
        words = f"{plural(left, 'cell')} to go" if left else "reached at the end"
        if not left and arc.grid(len(arc)).shape != target.shape:
            words = "cells right, size wrong"
        parts.append(text(x, y + deep + 18, words, size=11, fill=look.muted, room=slot - 12))
    return "".join(parts), y + deep + 33


def _states(
    episode: Episode, moments: tuple[KeyMoment, ...], y: float, look: Theme
) -> tuple[str, float]:
    """Key moments of an environment without grids, drawn by the generic fallback."""
    slot = (_PAGE - 2 * _MARGIN + 32) / 4
    side = slot - 32
    parts = []
    for index, moment in enumerate(moments[:4]):
        x = _MARGIN + index * slot
        shown = f"Step {moment.step + episode.dropped}, {moment.label}"
        parts.append(cards.disc(x + 8.5, y - 3, str(index + 1), look))
        parts.append(text(x + 24, y + 1, shown, size=12, bold=True, room=side - 24))
        parts.append(group(x, y + 14, generic.state(episode, moment.step, side, look)))
    return "".join(parts), y + min(generic.height(episode, side) + 14, side)


def _describe(
    episode: Episode,
    arc: ArcFrames | None,
    moments: tuple[KeyMoment, ...],
    failures: tuple[Failure, ...],
) -> str:
    entries = ", ".join(
        f"{label.lower()} {value}{f' {note}' if note else ''}"
        for label, value, note in _numbers(episode, arc)
    )
    told = "; ".join(f"step {m.step + episode.dropped}: {m.label}" for m in moments)
    wrong = "".join(f" {failure.mode}: {failure.label}." for failure in failures)
    return f"{facts.identity(episode)}. {facts.outcome_words(episode)}. {entries}. {told}.{wrong}"
