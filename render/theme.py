"""How pictures look: one frozen `Theme`, four of them by name.

Only values live here; nothing is drawn.
"""

import difflib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxarc_trace.errors import RenderError

__all__ = ["THEMES", "Theme", "contrast", "ink", "rgb", "theme"]

# The colours of the ARC viewers of fchollet/ARC-AGI, in order of the cell values 0..9.
_CANONICAL = (
    "#000000 #0074D9 #FF4136 #2ECC40 #FFDC00 #AAAAAA #F012BE #FF851B #7FDBFF #870C25"
).split()
# Found by search: the smallest CIEDE2000 over all pairs is 19.6 under Machado's severe
# protanopia, deuteranopia and tritanopia (tests/render/test_theme.py computes it).
_COLORBLIND = (
    "#000000 #0F346A #D94E2D #12A887 #FFFFC3 #5D5D5D #A475BC #FFAF00 #14FBF1 #692203"
).split()

# The canonical hues, as far from each other and from white as they go: for weak sight. A colour-
# blind reader cannot tell all of them apart, so this theme writes the digits.
_VIVID = ("#000000 #0026FF #E60000 #009A1F #FFF200 #8F8F8F #FF4FF8 #FF8A00 #6FF2FF #6B2300").split()


@dataclass(frozen=True)
class Theme:
    """All that can be chosen about a picture's look.

    Every colour is `#RRGGBB`.

    Attributes:
        name: the theme it is, or is made from.
        cells: colours of the cell values 0..9.
        padding: colour of a cell outside a grid's mask.
        page: background of the picture.
        panel: background of tiles and charts.
        text: words and numbers; at least 7:1 against `page`.
        muted: labels beside them; at least 4.5:1 against `page`.
        grid: lines between cells.
        rule: frames, axes and separators.
        accent: curves and markers.
        positive: a gain. Always beside an arrow and a sign.
        negative: a loss. Always beside an arrow and a sign.
        series: colours of the curves of several episodes.
        cell_size: side of a cell in pixels; None chooses the largest that fits `panel_size`.
        panel_size: largest side of a grid in pixels when `cell_size` is None.
        digits: write the cell value into each cell that is large enough to hold it. Panels of
            steps and frames of animations grow beyond `panel_size` until theirs are.
        stroke: width in pixels of selection and change outlines.
        font_family: CSS list; pictures are laid out for DejaVu Sans, one of the widest fonts.
    """

    name: str
    cells: tuple[str, ...]
    padding: str
    page: str
    panel: str
    text: str
    muted: str
    grid: str
    rule: str
    accent: str
    positive: str
    negative: str
    series: tuple[str, ...]
    cell_size: float | None = None
    panel_size: float = 232.0
    digits: bool = False
    stroke: float = 2.0
    font_family: str = "system-ui,sans-serif"

    digit_cell = 12
    """Least side in pixels of a cell that a picture makes large enough to hold its digit."""

    def __post_init__(self) -> None:
        if len(self.cells) != 10:
            raise RenderError(
                f"A theme has 10 cell colours, for the values 0..9; found {len(self.cells)} in "
                f"{self.name!r}. Pass cells=(...) with ten '#RRGGBB' strings."
            )
        for owner in fields(self):
            value = getattr(self, owner.name)
            if owner.name in _COLOURS:
                for colour in value if isinstance(value, tuple) else (value,):
                    _check_colour(owner.name, colour)
        if self.cell_size is not None and not 1 <= self.cell_size <= 200:
            raise RenderError(
                f"cell_size is a number of pixels from 1 to 200, or None for as large as "
                f"fits; found {self.cell_size!r}."
            )

    @cached_property
    def rgb(self) -> UInt8[np.ndarray, "11 3"]:
        """Cell colours as uint8 `[11, 3]`; the last is the padding, so that -1 indexes it."""
        return np.array([rgb(colour) for colour in (*self.cells, self.padding)], np.uint8)

    @cached_property
    def dark(self) -> bool:
        """Whether the page is darker than its text."""
        return _luminance(self.page) < _luminance(self.text)

    def colour(self, value: int) -> str:
        """Colour of a cell value; of the padding for anything outside 0..9."""
        return self.cells[value] if 0 <= value <= 9 else self.padding

    def ink(self, value: int) -> str:
        """Black or white, whichever is easier to read on the colour of a cell value."""
        return ink(self.colour(value))


_COLOURS = frozenset(
    "cells padding page panel text muted grid rule accent positive negative series".split()
)


def ink(colour: str) -> str:
    """Black or white, whichever has the higher WCAG contrast on `colour`."""
    return "#000000" if _luminance(colour) > 0.179 else "#FFFFFF"


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two colours, from 1 to 21."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _check_colour(name: str, value: Any) -> None:
    ok = isinstance(value, str) and len(value) == 7 and value[0] == "#"
    if not (ok and all(c in "0123456789abcdefABCDEF" for c in value[1:])):
        raise RenderError(f"The theme's {name!r} holds colours as '#RRGGBB'; found {value!r}.")


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#RRGGBB`, each 0..255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2 (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (c / 255 for c in rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


_LIGHT_SERIES = tuple("#1F5FBF #C2410C #0F766E #9D174D #6D28D9 #4D7C0F #92400E #334155".split())
_DEFAULT = Theme(
    name="default",
    cells=tuple(_CANONICAL),
    padding="#E9E6E0",
    page="#FFFFFF",
    panel="#F6F7F9",
    text="#14181F",
    muted="#586070",
    grid="#565D69",
    rule="#D5D9E0",
    accent="#1F5FBF",
    positive="#136F3A",
    negative="#B3261E",
    series=_LIGHT_SERIES,
)

THEMES: dict[str, Theme] = {
    "default": _DEFAULT,
    "colorblind": replace(
        _DEFAULT,
        name="colorblind",
        cells=tuple(_COLORBLIND),
        grid="#8A8F99",
        positive="#0F4C9A",
        negative="#A63A00",
        series=tuple("#0B4F9E #B34700 #00695C #7A3E8E #14181F #8A6D00 #5D5D5D #692203".split()),
    ),
    "high_contrast": replace(
        _DEFAULT,
        name="high_contrast",
        cells=tuple(_VIVID),
        padding="#FFFFFF",
        panel="#FFFFFF",
        text="#000000",
        muted="#000000",
        grid="#FFFFFF",
        rule="#6A6A6A",
        accent="#0000C8",
        positive="#004D1A",
        negative="#A30000",
        digits=True,
        stroke=3.0,
        series=tuple("#0000C8 #A30000 #004D1A #6A006A #000000 #7A3D00 #004A5C #444444".split()),
    ),
    "dark": replace(
        _DEFAULT,
        name="dark",
        padding="#2B313C",
        page="#11151C",
        panel="#1A202A",
        text="#F1F4F8",
        muted="#A3ADBD",
        grid="#5A6475",
        rule="#343C4A",
        accent="#7FB2FF",
        positive="#5FD38D",
        negative="#FF8A80",
        series=tuple("#7FB2FF #FFB074 #5FD3C4 #FF8FC1 #C3A6FF #B6E06A #FFD166 #D5DBE5".split()),
    ),
}


def theme(name: str | Theme = "default", **overrides: Any) -> Theme:
    """The theme of that name, with some of its values replaced.

    Args:
        name: `default` (the canonical ARC colours), `colorblind`, `high_contrast` (strong hues,
            with digits in the cells) or `dark`; or a `Theme`, which is taken as it is.
        **overrides: fields of `Theme` and their new values, for instance `digits=True`.

    Raises:
        RenderError: for a name or a field that does not exist; the nearest one is named.
    """
    if not isinstance(name, Theme):
        if name not in THEMES:
            raise RenderError(_unknown("theme", str(name), tuple(THEMES)))
        name = THEMES[name]
    known = tuple(field.name for field in fields(Theme))
    for key in overrides:
        if key not in known:
            raise RenderError(_unknown("theme option", key, known))
    return replace(name, **overrides) if overrides else name


def _unknown(what: str, found: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(found, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no {what} {found[:60]!r}.{hint} Known: {', '.join(known)}."
