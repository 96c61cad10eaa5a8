"""A small sign for each operation: the colour it paints with, or what it does to the cells.

Drawn in a box of 24 x 24 units. What an operation is follows from its kind; a direction and a
colour follow from the words of its name.
"""

import re
from collections.abc import Callable

from jaxarc_trace.render.marks import ROUND, group, path, placed, rect, text
from jaxarc_trace.render.theme import Theme, ink

__all__ = ["colour_of", "icon"]

SIZE = 24


def icon(kind: str, name: str, x: float, y: float, size: float, theme: Theme) -> str:
    """The sign of an operation with its upper left corner at `x, y`, `size` pixels wide."""
    drawn = _BY_KIND.get(kind, _unknown)(name.lower(), theme)
    if drawn.count("<") == 1 and "transform" not in drawn:
        return f"<path {placed(x, y, size / SIZE)}{drawn.removeprefix('<path')}"
    return group(x, y, drawn, scale=size / SIZE)


def colour_of(kind: str, name: str) -> int | None:
    """The cell value that an operation paints with, 0..9; None for one that paints none."""
    match = re.search(r"(\d)\s*\Z", name) if kind in ("fill", "flood") else None
    return int(match.group(1)) if match else None


def _fill(name: str, theme: Theme) -> str:
    value = colour_of("fill", name)
    colour = theme.padding if value is None else theme.cells[value]
    digit = "?" if value is None else str(value)
    return rect(1, 1, 22, 22, colour, stroke=theme.grid, radius=3) + text(
        12, 17, digit, size=14, fill=ink(colour), anchor="middle", bold=True
    )


def _flood(name: str, theme: Theme) -> str:
    # A drop: the same colour and digit as a fill, another outline.
    value = colour_of("flood", name)
    colour = theme.padding if value is None else theme.cells[value]
    digit = "?" if value is None else str(value)
    drop = "M12 0C15 4.5 21.5 9 21.5 14.5A9.5 9.5 0 0 1 2.5 14.5C2.5 9 9 4.5 12 0Z"
    return path(drop, fill=colour, stroke=theme.grid) + text(
        12, 19, digit, size=12, fill=ink(colour), anchor="middle", bold=True
    )


def _move(name: str, theme: Theme) -> str:
    turn = {"up": 0, "right": 90, "down": 180, "left": 270}
    angle = next((turn[word] for word in turn if word in name.split()), 0)
    turned = f'transform="rotate({angle} 12 12)"' if angle else ""
    return _lines("M12 21V4M5 11l7-7l7 7", theme, more=turned)


def _rotate(name: str, theme: Theme) -> str:
    mirror = 'transform="translate(24 0)scale(-1 1)"' if "ccw" in name or "counter" in name else ""
    return _lines("M19.5 8A8.5 8.5 0 1 0 20.5 13M20 2V8.5H13.5", theme, more=mirror)


def _flip(name: str, theme: Theme) -> str:
    across = (
        'transform="rotate(90 12 12)"' if name.rsplit(maxsplit=1)[-1] in ("v", "vertical") else ""
    )
    solid = path("M9 5L2 19H9Z", fill=theme.text, more=across)
    hollow = path("M15 5L22 19H15Z", stroke=theme.text, thickness=1.6, more=across)
    axis = path("M12 1V23", stroke=theme.muted, thickness=1.6, dash="3 2.5", more=across)
    return solid + hollow + axis


def _clipboard(name: str, theme: Theme) -> str:
    if "cut" in name:
        blades = "M6 2L16 16M18 2L8 16"
        rings = "M5 19a3 3 0 1 0 6 0a3 3 0 1 0-6 0M13 19a3 3 0 1 0 6 0a3 3 0 1 0-6 0"
        return _lines(blades + rings, theme)
    if "paste" in name:
        return _lines("M5 4H19V22H5ZM9 2H15V6H9ZM12 9V17M8.5 14L12 17.5L15.5 14", theme)
    return _lines("M8 8H21V22H8ZM16 8V2H3V16H8", theme)


def _grid(name: str, theme: Theme) -> str:
    if "resize" in name:
        return _lines("M3 3H21V21H3ZM3 12H12V3M15 15L20 20M20 15.5V20H15.5", theme)
    if "input" in name:
        return _lines("M11 3H21V21H11M2 12H15M10.5 7.5L15 12L10.5 16.5", theme)
    return _lines("M3 3H21V21H3ZM8 8L16 16M16 8L8 16", theme)


def _submit(_name: str, theme: Theme) -> str:
    return path("M5 2V23", stroke=theme.text, thickness=2.4) + path(
        "M5 3H21L17 8.5L21 14H5Z", fill=theme.text
    )


def _unknown(_name: str, theme: Theme) -> str:
    return rect(2, 2, 20, 20, "none", stroke=theme.muted, radius=10) + text(
        12, 17, "?", size=14, fill=theme.muted, anchor="middle", bold=True
    )


def _lines(data: str, theme: Theme, more: str = "") -> str:
    return path(
        data,
        stroke=theme.text,
        thickness=2.2,
        more=f"{ROUND} {more}".strip(),
    )


_BY_KIND: dict[str, Callable[[str, Theme], str]] = {
    "fill": _fill,
    "flood": _flood,
    "move": _move,
    "rotate": _rotate,
    "flip": _flip,
    "clipboard": _clipboard,
    "grid": _grid,
    "submit": _submit,
}
