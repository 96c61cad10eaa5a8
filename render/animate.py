"""A whole episode as a moving picture: GIF, animated PNG, WebP or MP4.

Frames come from `raster.py`. No clock and no random part: the same episode gives the same bytes,
of an MP4 as far as the encoder keeps to that.
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError, require
from jaxarc_trace.render import files, raster
from jaxarc_trace.render.theme import Theme, rgb
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["SUFFIXES", "animate", "animation"]

_FPS = 5.0
# A viewer plays a GIF with a shorter delay than two hundredths of a second slowly.
_FASTEST = 50.0
# Colour 0 of a palette is "as in the frame before".
_UNCHANGED = 0
_MOST_COLOURS = 255


def animate(
    episode: Episode,
    path: str | os.PathLike[str],
    *,
    theme: str | Theme = "default",
    fps: float | None = None,
    duration: float | None = None,
    hold: float = 1.5,
    scale: int = 1,
    loop: bool = True,
) -> Path:
    """Writes an episode as an animation, one frame a step; the file appears when it is whole.

    Args:
        episode: one with grids and at least one step.
        path: ends in `.gif`, `.apng`, `.png` (an animated PNG too), `.webp` or `.mp4`.
        theme: a theme or its name; `cell_size` sets the size of a frame.
        fps: steps a second, more than 0 and up to 50; 5 where `duration` is not given either.
        duration: seconds of the whole instead of `fps`, without `hold`.
        hold: seconds that the last frame stays longer than the others.
        scale: device pixels to a pixel, 1 to 8.
        loop: begin again at the end; an MP4 leaves that to the player.

    Returns:
        The path that was written.

    Raises:
        RenderError: for an unknown suffix or theme, a number out of its range, an episode
            without grids or steps, or where the folder cannot be written.
        MissingExtraError: when Pillow, or for an MP4 PyAV, is not installed.
    """
    target = Path(path)
    data = animation(
        episode,
        target.suffix,
        theme=theme,
        fps=fps,
        duration=duration,
        hold=hold,
        scale=scale,
        loop=loop,
    )
    return files.write(target, data)


def animation(
    episode: Episode,
    suffix: str,
    *,
    theme: str | Theme = "default",
    fps: float | None = None,
    duration: float | None = None,
    hold: float = 1.5,
    scale: int = 1,
    loop: bool = True,
) -> bytes:
    """What `animate` writes, for instance to show it in a notebook; see there."""
    encode = _ENCODERS.get(suffix.lower())
    if encode is None:
        raise RenderError(
            f"An animation's name ends in {', '.join(SUFFIXES)}; found {suffix[:20]!r}. For a "
            f"still picture use step() or summary()."
        )
    if not (isinstance(scale, int) and 1 <= scale <= 8):
        raise RenderError(
            f"scale is a whole number of pixels from 1 to 8; found {scale!r}. For other sizes "
            f"pass theme(..., cell_size=...)."
        )
    if not 0 <= hold <= 600:
        raise RenderError(f"hold is a number of seconds from 0 to 600; found {hold!r}.")
    look = find_theme(theme)
    film = raster.film(episode, look)
    rate = _rate(len(episode), fps, duration)
    frames = film if scale == 1 else (f.repeat(scale, axis=0).repeat(scale, axis=1) for f in film)
    return encode(Clip(frames, len(episode), rate, hold, loop=loop, page=rgb(look.page)))


@dataclass(frozen=True)
class Clip:
    """Frames, and how long each is shown.

    Attributes:
        frames: uint8 `[height, width, 3]`, all of one size.
        count: how many there are.
        fps: frames a second.
        hold: seconds that the last one stays longer.
        loop: whether to begin again at the end.
        page: colour of the background.
    """

    frames: Iterator[UInt8[np.ndarray, "height width 3"]]
    count: int
    fps: float
    hold: float
    loop: bool
    page: tuple[int, int, int]

    @property
    def milliseconds(self) -> list[int]:
        """How long each frame is shown, in whole hundredths of a second as a GIF counts."""
        each = max(round(100 / self.fps), 2) * 10
        return [each] * (self.count - 1) + [each + round(self.hold * 100) * 10]


def _rate(steps: int, fps: float | None, duration: float | None) -> float:
    if fps is not None and duration is not None:
        raise RenderError(
            f"Pass fps or duration, not both; found fps={fps!r} and duration={duration!r}."
        )
    rate = _FPS if fps is None else fps
    if duration is not None:
        rate = steps / duration if duration > 0 else 0.0
    if not 0.01 <= rate <= _FASTEST:
        given = f"duration={duration!r}, which is {rate:g}" if duration is not None else f"{fps!r}"
        raise RenderError(
            f"An animation shows 0.01 to {_FASTEST:g} steps a second; found {given}. Pass an fps "
            f"or a duration within that."
        )
    return rate


def _gif(clip: Clip) -> bytes:
    images = _images(clip)
    # A GIF that does not say how often it loops is played once.
    more = {"loop": 0} if clip.loop else {}
    return _saved(images, "GIF", clip, disposal=1, optimize=False, **more)


def _apng(clip: Clip) -> bytes:
    loop = 0 if clip.loop else 1
    # Blend 1 draws over the frame before, so that transparent pixels leave it as it is.
    return _saved(_images(clip), "PNG", clip, blend=1, loop=loop)


def _webp(clip: Clip) -> bytes:
    fromarray = require("PIL.Image", "png", "An animation").fromarray
    images = [fromarray(frame) for frame in clip.frames]
    loop = 0 if clip.loop else 1
    return _saved(images, "WEBP", clip, lossless=True, method=0, quality=0, loop=loop)


def _saved(images: list[Any], kind: str, clip: Clip, **options: Any) -> bytes:
    out = io.BytesIO()
    images[0].save(
        out,
        kind,
        save_all=True,
        append_images=images[1:],
        duration=clip.milliseconds if len(images) > 1 else clip.milliseconds[0],
        **options,
    )
    return out.getvalue()


def _images(clip: Clip) -> list[Any]:
    """Frames with one palette; what is as in the frame before is transparent.

    A frame is never wholly transparent, as its title counts the steps. Pillow cuts each to the
    box in which it is not.

    Raises:
        RenderError: for more colours than a palette holds, which no theme of ten cells has.
    """
    frombytes = require("PIL.Image", "png", "An animation").frombytes
    indices, palette = _indexed(clip.frames)
    images = []
    for index in indices:
        image = frombytes("P", index.shape[::-1], index.tobytes())
        image.putpalette(palette)
        image.info["transparency"] = _UNCHANGED
        images.append(image)
    return images


def _indexed(
    frames: Iterator[UInt8[np.ndarray, "height width 3"]],
) -> tuple[list[UInt8[np.ndarray, "_ _"]], bytes]:
    """Palette indices uint8 `[height, width]` of each frame, and the palette."""
    # One byte for each colour there is, of which a few pages of memory are ever touched.
    table = np.zeros(1 << 24, np.uint8)
    known: list[int] = [0]
    out: list[UInt8[np.ndarray, "_ _"]] = []
    before = None
    for frame in frames:
        colours = frame[..., 0].astype(np.uint32)
        for channel in (1, 2):
            colours = colours << 8 | frame[..., channel]
        same = None if before is None else colours == before
        seen = colours.ravel() if same is None else colours[~same]
        fresh = np.unique(seen[table[seen] == _UNCHANGED])
        if len(known) + len(fresh) > _MOST_COLOURS + 1:
            raise RenderError(
                f"A GIF or animated PNG holds {_MOST_COLOURS} colours; the frames have more. "
                f"Save as .webp or .mp4."
            )
        table[fresh] = np.arange(len(known), len(known) + len(fresh))
        known += fresh.tolist()
        index = table[colours]
        if same is not None:
            index[same] = _UNCHANGED
        out.append(index)
        before = colours
    # Pillow compares frames by colour, so "unchanged" needs one that no cell has.
    known[0] = next(colour for colour in range(len(known) + 1) if colour not in known[1:])
    packed = np.array(known, np.uint32)
    return out, np.stack([packed >> 16, packed >> 8, packed], 1).astype(np.uint8).tobytes()


def _mp4(clip: Clip) -> bytes:
    """H.264 with square, even sides, as every player wants it; colours are not quite exact."""
    av = require("av", "video", "An MP4 animation")
    rate = Fraction(clip.fps).limit_denominator(1000)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "threads": "1"})
        stream.pix_fmt = "yuv420p"
        for pixels in _held(clip, float(rate)):
            even = _even(pixels, clip.page)
            stream.height, stream.width = even.shape[:2]
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return out.getvalue()


def _held(clip: Clip, rate: float) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The frames, the last one as often as its time asks for."""
    last = None
    for last in clip.frames:
        yield last
    if last is not None:
        for _ in range(round(clip.hold * rate)):
            yield last


def _even(
    pixels: UInt8[np.ndarray, "_ _ 3"], page: tuple[int, int, int]
) -> UInt8[np.ndarray, "_ _ 3"]:
    """With a row and a column of the page's colour where the sides are odd."""
    height, width, _ = pixels.shape
    out = np.empty((height + height % 2, width + width % 2, 3), np.uint8)
    out[:] = page
    out[:height, :width] = pixels
    return out


_ENCODERS: dict[str, Callable[[Clip], bytes]] = {
    ".gif": _gif,
    ".apng": _apng,
    ".png": _apng,
    ".webp": _webp,
    ".mp4": _mp4,
}
SUFFIXES = tuple(_ENCODERS)
"""What the name of an animation may end in."""
