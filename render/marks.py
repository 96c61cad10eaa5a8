"""The smallest pieces of a drawing as SVG text: words, boxes, lines, tiles.

Coordinates are pixels. Text is escaped here, so that no caller can forget it.
"""

import string
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from jaxarc_trace.render.text import bare, escape, visible

__all__ = [
    "BASE_SIZE",
    "ROUND",
    "Line",
    "badge",
    "brief",
    "fit",
    "group",
    "lettering",
    "line",
    "name",
    "num",
    "path",
    "placed",
    "rect",
    "rounded",
    "text",
    "width",
]

_LETTERS = f"{string.ascii_letters}{string.digits}-_"
# Size in pixels of words on the page that say none.
BASE_SIZE = 12
# Attributes of a stroke with round ends and corners.
ROUND = 'stroke-linejoin="round" stroke-linecap="round"'

# Advance widths of DejaVu Sans and DejaVu Sans Bold for ' '..'~', in hundredths of the font size.
# It is the widest font of the themes' lists, so what fits in it fits in all of them.
_REGULAR = (
    "32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 "
    "53 100 68 69 70 77 63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 "
    "39 84 50 50 61 63 55 63 62 35 63 63 28 28 58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 "
    "34 64 84"
).split()
_BOLD = (
    "35 46 52 84 70 100 87 31 46 46 52 84 38 42 38 37 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 "
    "58 100 77 76 73 83 68 68 82 84 37 37 77 64 100 84 85 73 85 77 72 68 81 77 110 77 72 73 46 37 "
    "46 84 50 50 67 72 59 72 68 44 72 71 34 34 67 34 104 71 69 72 72 49 60 48 71 65 92 64 65 58 71 "
    "37 71 84"
).split()
_WIDTHS = tuple(
    {chr(32 + i): int(value) / 100 for i, value in enumerate(table)} for table in (_REGULAR, _BOLD)
)


def name(data: str) -> str:
    """A short name that follows from what is named: 29 bits in five letters."""
    rest = zlib.crc32(data.encode())
    rest, first = divmod(rest, 52)
    out = _LETTERS[first]
    for _ in range(4):
        rest, digit = divmod(rest, 64)
        out += _LETTERS[digit]
    return out


@lru_cache(maxsize=8192)
def num(value: float) -> str:
    """A coordinate, to a hundredth of a pixel, without needless zeros."""
    whole = int(value)
    if whole == value:
        return str(whole)
    out = f"{value:.2f}".rstrip("0").rstrip(".")
    if out == "-0":
        return "0"
    return out.replace("0.", ".", 1) if -1 < value < 1 and out not in ("1", "-1") else out


@lru_cache(maxsize=1024)
def brief(colour: str) -> str:
    """`#RRGGBB` as `#RGB` where that says the same."""
    _, r, s, g, h, b, c = colour
    return f"#{r}{g}{b}" if r == s and g == h and b == c else colour


@lru_cache(maxsize=4096)
def width(words: str, size: float, *, bold: bool = False) -> float:
    """Upper bound of the width of a line of text in pixels."""
    table = _WIDTHS[bold]
    total = 0.0
    for character in words:
        known = table.get(character)
        if known is None:
            wide = unicodedata.east_asian_width(character) in "WF"
            known = 1.05 if wide else 0.84 if character in "−+→▲▼●×" else 0.74
        total += known
    return total * size


@lru_cache(maxsize=4096)
def fit(words: str, size: float, room: float, *, bold: bool = False) -> str:
    """The text on one line, its middle left out where it is wider than `room` pixels."""
    words = visible(words, 400)
    if width(words, size, bold=bold) <= room:
        return words
    words = bare(words)
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if width(visible(words, middle), size, bold=bold) <= room:
            low = middle
        else:
            high = middle - 1
    return visible(words, low)


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 13,
    fill: str = "",
    anchor: str = "",
    bold: bool = False,
    room: float = 0,
) -> str:
    """A line of text with its baseline at `y`; escaped here, cut to `room` pixels if given."""
    words = fit(words, size, room, bold=bold) if room else words
    where = f' text-anchor="{anchor}"' if anchor else ""
    return (
        f'<text x="{num(x)}" y="{num(y)}"{_look(size, fill, bold=bold)}{where}>'
        f"{escape(words, 400)}</text>"
    )


class Line(NamedTuple):
    """A line of text to be drawn by `lettering`; as in `text`, but cut already.

    Attributes:
        x: pixels.
        y: baseline.
        words: not yet escaped.
        size: pixels.
        fill: colour; empty for that of the page's text.
        bold: heavy letters.
    """

    x: float
    y: float
    words: str
    size: float = 13
    fill: str = ""
    bold: bool = False


def lettering(lines: Sequence[Line]) -> str:
    """Lines of text; what they share is said once, on nested groups by weight, colour and size."""
    weights: dict[bool, dict[str, dict[float, dict[float, str]]]] = {}
    for x, y, words, size, fill, bold in lines:
        rows = weights.setdefault(bold, {}).setdefault(fill, {}).setdefault(size, {})
        # Words of one look at one height are one element, each at its own place.
        if y in rows:
            rows[y] += f'<tspan x="{num(x)}">{escape(words, 400)}</tspan>'
        else:
            rows[y] = f' x="{num(x)}" y="{num(y)}">{escape(words, 400)}'
    parts = []
    for bold, fills in weights.items():
        inner = []
        for fill, sizes in fills.items():
            sized = [_shared(_look(size, "", bold=False), rows) for size, rows in sizes.items()]
            inner += [f'<g fill="{fill}">', *sized, "</g>"] if fill else sized
        parts += ['<g font-weight="700">', *inner, "</g>"] if bold else inner
    return "".join(parts)


def _shared(look: str, rows: dict[float, str]) -> str:
    if len(rows) == 1 or not look:
        return "".join(f"<text{look}{rest}</text>" for rest in rows.values())
    return f"<g{look}>{''.join(f'<text{rest}</text>' for rest in rows.values())}</g>"


def _look(size: float, fill: str, *, bold: bool) -> str:
    return (
        (f' font-size="{num(size)}"' if size != BASE_SIZE else "")
        + (f' fill="{fill}"' if fill else "")
        + (' font-weight="700"' if bold else "")
    )


def rect(
    x: float,
    y: float,
    wide: float,
    high: float,
    fill: str,
    *,
    stroke: str = "",
    radius: float = 0,
    thickness: float = 1,
) -> str:
    """A filled box, with an outline where `stroke` is given."""
    return (
        f'<rect x="{num(x)}" y="{num(y)}" width="{num(wide)}" height="{num(high)}" fill="{fill}"'
        + (f' rx="{num(radius)}"' if radius else "")
        + (f' stroke="{stroke}"' if stroke else "")
        + (f' stroke-width="{num(thickness)}"' if stroke and thickness != 1 else "")
        + "/>"
    )


def line(
    x1: float, y1: float, x2: float, y2: float, stroke: str, *, thickness: float = 1, dash: str = ""
) -> str:
    """A straight line."""
    to = f"h{num(x2 - x1)}" if y1 == y2 else f"v{num(y2 - y1)}" if x1 == x2 else ""
    to = to or f"L{num(x2)} {num(y2)}"
    # A straight line has no inside to fill.
    return path(f"M{num(x1)} {num(y1)}{to}", stroke=stroke, fill="", thickness=thickness, dash=dash)


def path(
    data: str,
    *,
    stroke: str = "",
    fill: str = "none",
    thickness: float = 1,
    dash: str = "",
    more: str = "",
) -> str:
    """A path; `more` holds further attributes, already escaped."""
    return (
        f'<path d="{data}"'
        + (f' fill="{fill}"' if fill else "")
        + (f' stroke="{stroke}"' if stroke else "")
        + (f' stroke-width="{num(thickness)}"' if stroke and thickness != 1 else "")
        + (f' stroke-dasharray="{dash}"' if dash else "")
        + (f" {more}" if more else "")
        + "/>"
    )


def rounded(*parts: str) -> str:
    """Parts of which the bare strokes with round ends and corners say so once, on a group.

    For a place that says `fill="none"`.
    """
    strokes = "".join(part for part in parts if ROUND in part)
    others = "".join(part for part in parts if ROUND not in part)
    within = strokes.replace(' fill="none"', "").replace(f" {ROUND}", "")
    return f"{others}<g {ROUND}>{within}</g>"


def group(x: float, y: float, *parts: str, scale: float = 1) -> str:
    """Parts moved to `x, y`, and scaled."""
    return f"<g {placed(x, y, scale)}>{''.join(parts)}</g>"


def placed(x: float, y: float, scale: float = 1) -> str:
    """The attribute that moves something to `x, y`, and scales it."""
    by = f"scale({num(scale)})" if scale != 1 else ""
    return f'transform="translate({num(x)} {num(y)}){by}"'


def badge(right: float, y: float, words: str, fill: str, ink: str) -> tuple[str, float]:
    """A filled label whose right edge is at `right`; returns it and its left edge."""
    wide = width(words, 11, bold=True) + 16
    left = right - wide
    parts = rect(left, y, wide, 20, fill, radius=4) + text(
        left + wide / 2, y + 14, words, size=11, fill=ink, anchor="middle", bold=True
    )
    return parts, left
