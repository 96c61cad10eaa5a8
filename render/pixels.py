"""Pixels of an SVG or a grid: resvg and Pillow with the bundled font, and the palette.

resvg and Pillow are optional; they are imported when a picture is asked for.
"""

import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from jaxarc_trace.errors import RenderError, require
from jaxarc_trace.render.theme import Theme, rgb

__all__ = ["FONTS", "enlarge", "font", "png", "png_bytes"]

FONTS = Path(__file__).parent / "fonts"
_FAMILY = "DejaVu Sans"
_MOST_PIXELS = 64_000_000
# The PNG filter that subtracts the row above.
_ABOVE = 2


def png(svg: str, width: float, height: float, scale: float = 2.0) -> bytes:
    """Rasterises an SVG document without looking at the system's fonts.

    Args:
        svg: the document.
        width: its width in pixels.
        height: its height in pixels.
        scale: device pixels to a pixel.

    Raises:
        MissingExtraError: when resvg-py is not installed.
        RenderError: for a scale that is not positive or gives more than 64 megapixels.
    """
    if not (scale > 0 and scale * scale * width * height <= _MOST_PIXELS):
        raise RenderError(
            f"A PNG has 1 to 64 million pixels; {width:g} x {height:g} at scale {scale!r} has not. "
            f"Pass a smaller positive scale."
        )
    resvg = require("resvg_py", "png", "Turning an SVG into a PNG")
    return bytes(
        resvg.svg_to_bytes(
            svg_string=svg,
            zoom=float(scale),
            skip_system_fonts=True,
            font_files=[str(FONTS / "DejaVuSans.ttf"), str(FONTS / "DejaVuSans-Bold.ttf")],
            font_family=_FAMILY,
            sans_serif_family=_FAMILY,
        )
    )


def enlarge(
    grid: Shaped[np.ndarray, "H W"], cell: int, theme: Theme
) -> UInt8[np.ndarray, "height width 3"]:
    """A grid as pixels.

    Args:
        grid: integers `[height, width]`; outside 0..9 is drawn as padding.
        cell: pixels to a cell. From 5 on, lines part the cells.
        theme: gives the colours.

    Returns:
        uint8 `[height * cell + 1, width * cell + 1, 3]` with lines, else without the `+ 1`.
    """
    values = np.where((grid >= 0) & (grid <= 9), grid, 10)
    pixels = theme.rgb[values].repeat(cell, axis=0).repeat(cell, axis=1)
    if cell < 5:
        return pixels
    out = np.empty((pixels.shape[0] + 1, pixels.shape[1] + 1, 3), np.uint8)
    line = rgb(theme.grid)
    out[:-1, :-1] = pixels
    out[::cell] = line
    out[:, ::cell] = line
    return out


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> Any:
    """The bundled font for Pillow at a size in pixels.

    Raises:
        MissingExtraError: when Pillow is not installed.
    """
    fonts = require("PIL.ImageFont", "png", "Drawing text into pixels")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return fonts.truetype(str(FONTS / name), size, layout_engine=fonts.Layout.BASIC)


def png_bytes(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encodes uint8 `[height, width, 3]` as a PNG (https://www.w3.org/TR/png-3/).

    Each row is stored as its difference to the one above, which suits grids: half the time of a
    general encoder, which tries all five filters.
    """
    height, width, _ = pixels.shape
    flat = np.ascontiguousarray(pixels).reshape(height, width * 3)
    rows = np.empty((height, 1 + width * 3), np.uint8)
    rows[:, 0] = _ABOVE
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", size),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
