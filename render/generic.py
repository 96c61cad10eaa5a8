"""Pictures of episodes whose environment is not ARC.

A two-dimensional field of whole numbers is drawn as a grid, one of shape `[H, W, 3]` as an image,
one of layers or symbols `[H, W, C]` as a grid of them, a vector or a single number as labelled
bars. The field whose role is `picture` in the environment's description comes first, those that
never change in an episode last. What an environment shows best is registered with
`register_renderer`.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import cards, chart, facts, grid, pixels
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.marks import group, num, path, rect, text
from jaxarc_trace.render.text import number
from jaxarc_trace.render.theme import Theme

__all__ = [
    "Renderer",
    "fields",
    "filmstrip",
    "height",
    "register_renderer",
    "renderer_of",
    "state",
    "step",
]

Renderer = Callable[[Episode, int, float, Theme], str]
"""`(episode, state index 0..T, side in pixels, theme)` -> SVG that fits a square at the origin.

Escape every text with `jaxarc_trace.render.text.escape`.
"""

_RENDERERS: dict[str, Renderer] = {}
_MARGIN = 24.0
_SIDE = 232.0
_MOST_BARS = 16
_MOST_LAYERS = 16
_LONG = 1e6  # a larger number does not fit beside its bar with all its digits
_SYMBOLS = 31  # images have larger numbers somewhere
_LEAST_IMAGE = 4  # a smaller field of real numbers is no image
_OURS = ("step_key", "step_count")


def register_renderer(name: str, renderer: Renderer) -> None:
    """Has the states of one environment drawn by a function of yours.

    `render_all` hands it to other processes, which must be able to import it: one that stands in
    the program itself is drawn with in this process.

    Args:
        name: the environment's name, as in `episode.environment["name"]`.
        renderer: see `Renderer`.

    Raises:
        RenderError: when `renderer` cannot be called or `name` is empty.
    """
    if not name or not callable(renderer):
        raise RenderError(
            f"register_renderer takes an environment's name and a function "
            f"(episode, state, side, theme) -> SVG; found {name!r} and {renderer!r}."
        )
    _RENDERERS[name] = renderer


def renderer_of(environment: Mapping[str, Any]) -> Renderer | None:
    """What was registered for an environment, by its description."""
    return _RENDERERS.get(str(environment.get("name", "")))


def step(episode: Episode, t: int, look: Theme) -> Picture:
    """Draws transition `t` of any environment: its state before and after, action and reward."""
    across = 2 * _SIDE + 40
    page = across + 2 * _MARGIN
    failed = facts.failing_words(episode, t + 1)
    badges, taken = cards.failure_badges(failed, _MARGIN, 68, across, look)
    # There is room for one row of them.
    top = 110 + max(taken - cards.BADGE_ROW, 0)
    parts = [
        cards.heading(facts.position(episode, t), facts.identity(episode), _MARGIN, page, look),
        badges,
        text(_MARGIN, top, "Before", bold=True),
        text(_MARGIN + _SIDE + 40, top, "After", bold=True),
        group(_MARGIN, top + 12, state(episode, t, _SIDE, look)),
        group(_MARGIN + _SIDE + 40, top + 12, state(episode, t + 1, _SIDE, look)),
    ]
    earned = facts.returns(episode)
    entries = [
        ("Action", action_words(episode, t).removeprefix("action "), ""),
        ("Reward", number(episode.rewards[t], signed=True), ""),
        ("Return so far", number(earned[t + 1]), ""),
    ]
    foot = top + height(episode, _SIDE) + 28
    parts.append(rect(_MARGIN, foot, across, 1, look.rule))
    parts.append(cards.tiles(_MARGIN, foot + 26, across, entries, look))
    spark = chart.spark(_MARGIN, foot + 72, across, 40, earned, t + 1, look)
    parts += [path(spark.lines, stroke=look.rule), spark.curve, spark.mark]
    told = ", ".join(f"{label.lower()} {value}" for label, value, _ in entries)
    told = ". ".join([told, *failed])
    return Picture(
        width=page,
        height=foot + 136,
        title=f"{facts.position(episode, t)} · {facts.identity(episode)}",
        description=f"{told}. Fields: {', '.join(fields(episode)) or 'none'}.",
        body="".join(parts),
        theme=look,
    )


def filmstrip(episode: Episode, states: Sequence[int], columns: int, look: Theme) -> Picture:
    """States of any environment side by side."""
    side, gap = 112.0, 16.0
    columns = max(min(columns, len(states)), 3)
    page = 2 * _MARGIN + columns * (side + gap) - gap
    deep = height(episode, side)
    tops = cards.row_tops(episode, states, columns, 88, deep + 46)
    parts = [
        cards.heading(facts.outcome_words(episode), facts.identity(episode), _MARGIN, page, look)
    ]
    for index, at in enumerate(states):
        row, column = divmod(index, columns)
        x, y = _MARGIN + column * (side + gap), tops[row]
        words = f"{at + episode.dropped} {f'· {action_words(episode, at - 1)}' if at else 'start'}"
        parts.append(text(x, y + 2, words, size=11, room=side))
        parts.append(group(x, y + 12, state(episode, at, side, look)))
        below, room = y + 12 + deep, side + gap - 4
        parts.append(cards.failure_lines(episode, at, x, below, room, look))
    return Picture(
        width=page,
        height=tops[-1] - 12,
        title=f"Filmstrip of {episode.id}",
        description=f"{facts.identity(episode)}. {len(states)} states.",
        body="".join(parts),
        theme=look,
    )


def state(episode: Episode, at: int, side: float, look: Theme) -> str:
    """SVG of one state, 0..T, in a square of `side` pixels at the origin."""
    renderer = renderer_of(episode.environment)
    if renderer is not None:
        return renderer(episode, at, side, look)
    for name in _planes(episode):
        values = np.asarray(episode.states[name][at])
        if not values.size:
            continue
        if values.ndim == 2:
            return _grid(values, side, look)
        if _is_image(np.asarray(episode.states[name])):
            return _image(values, side)
        return _grid(_layers(values), side, look)
    return _bars(episode, at, side, look)


def height(episode: Episode, side: float) -> float:
    """How far down `state` draws: the whole square, or less where the state is a few numbers."""
    if renderer_of(episode.environment) is not None or _planes(episode):
        return side
    count = sum(np.asarray(episode.states[name][0]).size for name in _numbers(episode))
    return side if count > _MOST_BARS else _row(count, side) * max(count, 1)


def fields(episode: Episode) -> list[str]:
    """Names of the state fields that can be drawn, pictures first, then in their own order."""
    return [*_planes(episode), *_numbers(episode)]


def _planes(episode: Episode) -> list[str]:
    """Those that are drawn as a grid or an image, the best first."""
    roles = episode.environment.get("roles")
    first = roles.get("picture") if isinstance(roles, Mapping) else None
    shown = _drawable(episode)

    def order(name: str) -> tuple[bool, bool, bool]:
        return name != first, name in episode.constants, shown[name].ndim == 2

    return sorted((n for n, v in shown.items() if _is_plane(v)), key=order)


def _numbers(episode: Episode) -> list[str]:
    """Those that are drawn as bars: numbers and vectors, then small tables of real numbers."""
    shown = _drawable(episode)
    names = [n for n, v in shown.items() if v.ndim <= 1]
    names.sort(key=lambda name: name in episode.constants)
    tables = [n for n, v in shown.items() if v.ndim == 2 and v.dtype.kind == "f"]
    return names + [n for n in tables if shown[n].size <= _MOST_BARS]


def _drawable(episode: Episode) -> dict[str, Shaped[np.ndarray, "..."] | np.generic]:
    """The first state's value of each field of numbers."""
    return {
        name: _as_whole(np.asarray(values))[0]
        for name, values in episode.states.items()
        if len(values) and np.asarray(values).dtype.kind in "iubf" and name not in _OURS
    }


def _as_whole(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Planes `[T, H, W]` of real numbers that are whole numbers throughout, as those."""
    plane = values.ndim == 3 and min(values.shape[1:]) >= _LEAST_IMAGE
    if values.dtype.kind != "f" or not plane or not np.isfinite(values).all():
        return values
    return values.astype(np.int64) if np.array_equal(values, np.rint(values)) else values


def _is_plane(values: Shaped[np.ndarray, "..."] | np.generic) -> bool:
    """Whether it is a grid, an image, or a grid of layers or symbols."""
    whole = values.dtype.kind in "iub"
    if values.ndim != 3:
        return whole and values.ndim == 2
    if values.shape[-1] == 3:
        return whole or min(values.shape[:2]) >= _LEAST_IMAGE
    return whole and 2 <= values.shape[-1] <= _MOST_LAYERS


def _is_image(values: Shaped[np.ndarray, "..."]) -> bool:
    """Whether three layers over a whole episode are colours rather than symbols."""
    if values.shape[-1] != 3 or values.dtype.kind == "b":
        return False
    # An image of nothing but ones is as likely as symbols; ones alone are drawn as they were.
    return values.dtype.kind == "f" or int(values.max()) > _SYMBOLS or int(values.max()) <= 1


def _layers(values: Shaped[np.ndarray, "H W C"]) -> Shaped[np.ndarray, "H W"]:
    """Layers `[H, W, C]` as one plane: the last that is set, from 1; of symbols the first."""
    if values.dtype.kind != "b":
        return values[..., 0]
    return np.max(values * np.arange(1, values.shape[-1] + 1), axis=-1)


def action_words(episode: Episode, t: int) -> str:
    """The action as text: a number, a few numbers, or the names of its parts."""
    words = []
    for name, values in episode.actions.items():
        value = np.asarray(values[t])
        lead = f"{name} "
        if value.size <= 4:
            shown = ", ".join(
                number(v.item(), 2) for v in value.ravel() if value.dtype.kind in "iubf"
            )
            words.append(f"{lead}{shown}")
    return "; ".join(words) or "–"


def _grid(values: Shaped[np.ndarray, "H W"], side: float, look: Theme) -> str:
    whole = values.astype(np.int64)
    cell = cards.cell_of(whole, side)
    if whole.min() >= 0 and whole.max() > 9:
        # More values than colours: shades of the accent keep their order.
        low, top = int(whole.min()), int(whole.max())
        shade = (whole - low) / max(top - low, 1)
        return _image((np.stack([shade] * 3, -1) * 255).astype(np.uint8), side)
    return grid.grid(whole, 0, 0, cell, look)


def _image(values: Shaped[np.ndarray, "H W 3"], side: float) -> str:
    """An image as an embedded PNG, its pixels kept sharp."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values) * (255.0 if np.nanmax(values) <= 1.0 else 1.0)
    image = np.clip(values, 0, 255).astype(np.uint8)
    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    data = base64.b64encode(pixels.png_bytes(image)).decode("ascii")
    return (
        f'<image width="{num(columns * scale)}" height="{num(rows * scale)}" '
        f'style="image-rendering:pixelated" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{data}"/>'
    )


def _row(count: int, side: float) -> float:
    """Height of each of so many bars."""
    return min(side / min(max(count, 1), _MOST_BARS), 28)


def _entries(episode: Episode, at: int) -> list[tuple[str, float, float, str]]:
    """Each number of a state: its name, value, the largest of its field, and its text."""
    entries: list[tuple[str, float, float, str]] = []
    for name in _numbers(episode):
        whole = np.asarray(episode.states[name]).dtype.kind in "iub"
        values = np.asarray(episode.states[name], np.float64)
        finite = np.abs(values[np.isfinite(values)])
        largest = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
        for index, value in np.ndenumerate(values[at]):
            place = ",".join(map(str, index))
            label = f"{name}[{place}]" if values[at].size > 1 else name
            short = whole and abs(value) < _LONG
            shown = number(int(value)) if short else number(value, 2)
            entries.append((label, float(value), largest, shown))
    return entries


def _bars(episode: Episode, at: int, side: float, look: Theme) -> str:
    """Vectors and numbers as bars from zero, on one scale for each field over the episode."""
    entries = _entries(episode, at)
    if not entries:
        return text(0, 20, "nothing here can be drawn", fill=look.muted, room=side)
    high = _row(len(entries), side)
    parts = []
    for row, (name, value, largest, shown) in enumerate(entries[:_MOST_BARS]):
        y = row * high
        zero, reach = side * 0.62, side * 0.16
        length = reach * value / largest if np.isfinite(value) else 0.0
        tone = look.positive if value > 0 else look.negative
        parts.append(text(0, y + high * 0.7, name, size=11, fill=look.muted, room=side * 0.44))
        parts.append(rect(min(zero, zero + length), y + high * 0.2, abs(length), high * 0.6, tone))
        parts.append(rect(zero, y, 1, high, look.rule))
        parts.append(text(side, y + high * 0.7, shown, size=11, anchor="end"))
    if len(entries) > _MOST_BARS:
        more = f"and {len(entries) - _MOST_BARS} more"
        parts.append(text(0, side + 12, more, size=11, fill=look.muted))
    return "".join(parts)
