"""A step as pixels, straight from the palette: for animations and wherever speed counts.

All frames of an episode have one size. They show less than `step.py` does and need no SVG:
Pillow writes the words, NumPy does the rest.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from jaxarc_trace.analysis import failure_modes
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError, require
from jaxarc_trace.render import facts
from jaxarc_trace.render.chart import value_range
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.grid import true_runs
from jaxarc_trace.render.marks import fit, width
from jaxarc_trace.render.pixels import enlarge, font, png, png_bytes
from jaxarc_trace.render.text import bare, listed, number
from jaxarc_trace.render.theme import Theme, rgb
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["enlarge", "film", "font", "frame", "frame_png", "png", "png_bytes"]

_MARGIN = 16
_GAP = 20
_TOP = 66
_FOOT = 58
_FAILURES = 17
_PANEL = 184
# How much of a pixel a letter covers, in 8 steps: nobody sees the difference, and all frames of
# an episode together have fewer than 256 colours, so that a GIF holds them exactly.
_COVERAGE = [round(round(value / 255 * 7) * 255 / 7) for value in range(256)]


def frame(
    episode: Episode, t: int, theme: str | Theme = "default"
) -> UInt8[np.ndarray, "pixels_high pixels_wide 3"]:
    """Draws transition `t` as pixels: before, after, target, operation, reward and score.

    Args:
        episode: one with grids.
        t: index of the transition, 0..T-1; a negative one counts from the end.
        theme: a theme or its name; `cell_size` is rounded to whole pixels.

    Returns:
        uint8 `[height, width, 3]`, of one size for all steps of the episode.

    Raises:
        RenderError: for a step that does not exist, or an episode without grids.
        MissingExtraError: when Pillow is not installed.
    """
    look = find_theme(theme)
    t = facts.check_step(episode, t)
    return _frame(_arc(episode), t, look)


def film(
    episode: Episode, theme: str | Theme = "default"
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """`frame` of every step in order; quicker than one by one.

    Raises:
        RenderError: for an episode without grids or without steps.
        MissingExtraError: when Pillow is not installed.
    """
    look = find_theme(theme)
    arc = _arc(episode)
    facts.check_step(episode, 0)
    return (_frame(arc, t, look) for t in range(len(episode)))


def _arc(episode: Episode) -> ArcFrames:
    arc = frames(episode)
    if arc is None:
        raise RenderError(
            f"Episode {episode.id} has no grids to draw as pixels. Ask for svg or png, which any "
            f"environment has: render.step(), or --format svg,png."
        )
    return arc


def _frame(arc: ArcFrames, t: int, look: Theme) -> UInt8[np.ndarray, "pixels_high pixels_wide 3"]:
    cell, rows, columns = _layout(arc, look)
    names = ["Before", "After"] + ["Target"] * (arc.target is not None)
    side = columns * cell + 1
    wide = max(2 * _MARGIN + len(names) * side + (len(names) - 1) * _GAP, 380)
    # One size for all steps, whichever of them show what failed.
    high = _TOP + rows * cell + 1 + _FOOT + _FAILURES * bool(failure_modes(arc.episode))
    page = bytearray(bytes(rgb(look.page)) * (high * wide))
    canvas = np.frombuffer(page, np.uint8).reshape(high, wide, 3)
    lefts = [_MARGIN + index * (side + _GAP) for index in range(len(names))]
    _panels(canvas, arc, t, lefts, cell, look)
    return _words(canvas, arc, t, dict(zip(names, lefts, strict=True)), look)


def frame_png(episode: Episode, t: int, theme: str | Theme = "default") -> bytes:
    """`frame` encoded as PNG."""
    return png_bytes(frame(episode, t, theme))


def _layout(arc: ArcFrames, look: Theme) -> tuple[int, int, int]:
    """Pixels to a cell, and the most rows and columns that a grid of the episode has."""
    shapes = list(arc.shapes) + ([] if arc.target is None else [arc.target.shape])
    rows = max([1, *(shape[0] for shape in shapes)])
    columns = max([1, *(shape[1] for shape in shapes)])
    if look.cell_size is not None:
        return max(round(look.cell_size), 1), rows, columns
    least = look.digit_cell if look.digits else 2
    return max(min(_PANEL // max(rows, columns), 28), least), rows, columns


def _panels(
    canvas: UInt8[np.ndarray, "height width 3"],
    arc: ArcFrames,
    t: int,
    lefts: list[int],
    cell: int,
    look: Theme,
) -> None:
    grids = [arc.before(t), arc.after(t)]
    if arc.target is not None:
        grids.append(arc.target)
    for left, values in zip(lefts, grids, strict=True):
        if values.size:
            pixels = enlarge(values, cell, look)
            if look.digits and cell >= look.digit_cell:
                _digits(pixels, values, cell, look)
            canvas[_TOP : _TOP + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    chosen = arc.selection(t)
    if chosen is not None:
        _outline(canvas, chosen, lefts[0], cell, look, dashed=True)
    _outline(canvas, arc.changed(t), lefts[1], cell, look, dashed=False)
    wrong = arc.differs(t)
    if wrong is not None:
        _corners(canvas, wrong, lefts[2], cell)


def _digits(
    pixels: UInt8[np.ndarray, "height width 3"],
    values: Shaped[np.ndarray, "H W"],
    cell: int,
    look: Theme,
) -> None:
    """Writes its value into each cell of an enlarged grid, in black or white."""
    height, width = values.shape
    cells = pixels[: height * cell, : width * cell].reshape(height, cell, width, cell, 3)
    for value in np.unique(values[(values >= 0) & (values <= 9)]).tolist():
        ink, ground = (np.array(rgb(c), float) for c in (look.ink(value), look.colour(value)))
        cover = _digit(value, cell)[..., None] / 255
        drawn = np.round(ground + (ink - ground) * cover).astype(np.uint8)
        rows, columns = np.nonzero(values == value)
        # The line between cells is the first row and column of each.
        cells[rows, 1:, columns, 1:] = drawn[1:, 1:]


@lru_cache(maxsize=64)
def _digit(value: int, cell: int) -> UInt8[np.ndarray, "cell cell"]:
    """Which part of each pixel of a cell its digit covers, uint8 `[cell, cell]`."""
    letters = font(round(cell * 0.7))
    left, top, right, bottom = letters.getbbox(str(value))
    cover = require("PIL.Image", "png", "Drawing text into pixels").new("L", (cell, cell))
    pen = require("PIL.ImageDraw", "png", "Drawing text into pixels").Draw(cover)
    pen.text(
        ((cell + 1 - left - right) / 2, (cell + 1 - top - bottom) / 2), str(value), 255, letters
    )
    return np.asarray(cover.point(_COVERAGE))


def _outline(
    canvas: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "H W"],
    left: int,
    cell: int,
    look: Theme,
    *,
    dashed: bool,
) -> None:
    """Black around the cells with white within it: broken for a selection, else whole."""
    height, width = mask.shape
    padded = np.zeros((height + 2, width + 2), bool)
    padded[1:-1, 1:-1] = mask
    across = true_runs(padded[1:, 1:-1] != padded[:-1, 1:-1])
    down = true_runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)
    lines = [(_TOP + row * cell, left + at * cell, 0, n * cell) for row, at, n in across]
    lines += [(_TOP + at * cell, left + column * cell, n * cell, 0) for column, at, n in down]
    # Between white lines a white one has to be the broader.
    more = max(round(look.stroke) - 2, 0)
    for thick, colour in ((1 + more, 0), (more, 255)):
        for y, x, high, wide in lines:
            box = canvas[y - thick : y + high + thick + 1, x - thick : x + wide + thick + 1]
            box[:] = colour
            if dashed and not colour:
                along = np.arange(max(box.shape[:2])) // 4 % 2 == 0
                box[along if high else slice(None), slice(None) if high else along] = 255


def _corners(
    canvas: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "H W"], left: int, cell: int
) -> None:
    """A white corner edged in black at the upper right of each cell."""
    size = max(cell * 2 // 5, 2)
    row, column = np.mgrid[:size, :size]
    white, black = column > row, column == row
    for y, x in zip(*(index.tolist() for index in np.nonzero(mask)), strict=True):
        top, right = _TOP + y * cell, left + (x + 1) * cell + 1
        box = canvas[top : top + size, right - size : right]
        box[white] = 255
        box[black] = 0


def _progress(pen: Any, width: int, height: int, arc: ArcFrames, t: int, look: Theme) -> None:
    """How far into the episode, along the lower edge; above it the score as a curve."""
    right = width - _MARGIN - 1
    done = _MARGIN + (right - _MARGIN) * (t + 1) // len(arc)
    pen.rectangle((_MARGIN, height - 10, right, height - 8), look.rule)
    pen.rectangle((_MARGIN, height - 10, done, height - 8), look.accent)
    if arc.score is None or len(arc.score) < 2:
        return
    low, top = value_range(arc.score)
    x = np.linspace(_MARGIN, width - _MARGIN - 1, len(arc.score))
    rise = np.nan_to_num((arc.score - low) / (top - low), nan=0.0, posinf=1.0, neginf=0.0)
    y = height - 15 - np.clip(rise, 0, 1) * 16
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    pen.line(points, look.rule, 2)
    pen.line(points[: t + 2], look.accent, 2)


def _words(
    canvas: UInt8[np.ndarray, "height width 3"],
    arc: ArcFrames,
    t: int,
    lefts: dict[str, int],
    look: Theme,
) -> UInt8[np.ndarray, "pixels_high pixels_wide 3"]:
    image = require("PIL.Image", "png", "Drawing text into pixels").fromarray(canvas)
    pen = require("PIL.ImageDraw", "png", "Drawing text into pixels").Draw(image)
    across, height = image.size
    room = across - 2 * _MARGIN
    title = f"{facts.position(arc.episode, t)} · {arc.name(t)}"
    flags = "submit" if arc.is_submit[t] else "no-op" if arc.is_noop[t] else ""
    title = fit(f"{title}{f' · {flags}' if flags else ''}", 15, room, bold=True)
    _write(image, _MARGIN, 10, title, 15, look.text, bold=True)
    line = fit(facts.identity(arc.episode), 11, room)
    _write(image, _MARGIN, 30, line, 11, look.muted)
    for name, left in lefts.items():
        _write(image, left, 48, name, 11, look.text, bold=True)
    words = f"reward {number(arc.episode.rewards[t], signed=True)}"
    if arc.score is not None:
        words += f"   similarity {number(arc.score[t + 1])}"
    foot = height - 52 - _FAILURES * bool(failure_modes(arc.episode))
    _write(image, _MARGIN, foot, words, 12, look.text)
    _failures(image, pen, arc, t, look)
    _progress(pen, across, height, arc, t, look)
    return np.asarray(image)


def _failures(image: Any, pen: Any, arc: ArcFrames, t: int, look: Theme) -> None:
    """The failure modes that the step is part of, behind a triangle."""
    failed = facts.failing_words(arc.episode, t + 1)
    if not failed:
        return
    y, room = image.size[1] - 52, image.size[0] - 2 * _MARGIN - 14
    words = listed(failed, lambda line: width(line, 12) <= room)
    pen.polygon([(_MARGIN + 4, y + 3), (_MARGIN + 8, y + 11), (_MARGIN, y + 11)], look.negative)
    _write(image, _MARGIN + 14, y, fit(words, 12, room), 12, look.text)


def _write(
    image: Any, x: int, y: int, words: str, size: int, colour: str, *, bold: bool = False
) -> None:
    image.paste(colour, (x, y), _letters(bare(words), size, bold=bold))


@lru_cache(maxsize=256)
def _letters(words: str, size: int, *, bold: bool) -> Any:
    """Which part of each pixel a line of text covers; most lines stand in every frame."""
    letters = font(size, bold=bold)
    _, _, right, bottom = letters.getbbox(words)
    cover = require("PIL.Image", "png", "Drawing text into pixels").new("L", (right + 2, bottom))
    pen = require("PIL.ImageDraw", "png", "Drawing text into pixels").Draw(cover)
    pen.text((0, 0), words, 255, letters)
    return cover.point(_COVERAGE)
