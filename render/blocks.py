"""Grids as lines of terminal text: half blocks, wide cells, or plain characters.

Only cells live here, in 24-bit colour or none; `terminal.py` puts words around them.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Shaped

from jaxarc_trace.render.theme import Theme, ink, rgb

__all__ = ["RESET", "half_blocks", "plain_cells", "wide_cells"]

RESET = "\x1b[0m"
_PADDING, _NOTHING = 10, 11
_KINDS = 12
# A value without a colour of its own is a letter; what lies outside the grid is blank.
_LETTERS = ".123456789abcdefghijklmnopqrstuvwxyz"


def half_blocks(values: Shaped[np.ndarray, "H W"], look: Theme) -> list[str]:
    """Two rows of cells to a line, a character to a cell: as square as a terminal's cells allow.

    Args:
        values: integers `[height, width]`; outside 0..9 is drawn as padding.
        look: gives the colours.
    """
    kinds = np.where((values >= 0) & (values <= 9), values, _PADDING)
    if len(kinds) % 2:
        kinds = np.concatenate([kinds, np.full((1, kinds.shape[1]), _NOTHING, kinds.dtype)])
    codes = _pairs(look)
    return [_line(row, codes) for row in (kinds[::2] * _KINDS + kinds[1::2]).tolist()]


def wide_cells(
    values: Shaped[np.ndarray, "H W"],
    marked: Bool[np.ndarray, "H W"] | None,
    mark: str,
    look: Theme,
) -> list[str]:
    """A line to a row and two characters to a cell, the second of them the mark.

    Args:
        values: integers `[height, width]`; outside 0..9 is drawn as padding.
        marked: bool `[height, width]`, cells that carry the mark; None for none.
        mark: one character.
        look: gives the colours, and whether the first character is the value.
    """
    kinds = np.where((values >= 0) & (values <= 9), values, _PADDING)
    chosen = np.zeros(values.shape, bool) if marked is None else marked
    codes = _singles(look)
    lines = []
    for row, flags in zip(kinds.tolist(), chosen.tolist(), strict=True):
        parts, last = [], -1
        for kind, flag in zip(row, flags, strict=True):
            if kind != last:
                parts.append(codes[kind])
                last = kind
            parts.append(str(kind) if look.digits and kind < _PADDING else " ")
            parts.append(mark if flag else " ")
        lines.append(f"{''.join(parts)}{RESET}")
    return lines


def plain_cells(
    values: Shaped[np.ndarray, "H W"], marked: Bool[np.ndarray, "H W"] | None, mark: str, step: int
) -> list[str]:
    """Without colour: a digit or letter to a cell, `.` for 0, and its mark where there is room.

    Args:
        values: integers `[height, width]`; -1 is blank, from 10 on come letters, then `?`.
        marked: bool `[height, width]`, cells that carry the mark; None for none.
        mark: one character.
        step: 2 for a character and its mark, 1 for the character alone.
    """
    lines = []
    for index, row in enumerate(values.tolist()):
        flags = [False] * len(row) if marked is None else marked[index].tolist()
        cells = (
            _letter(value) + ((mark if flag else " ") if step == 2 else "")
            for value, flag in zip(row, flags, strict=True)
        )
        lines.append("".join(cells))
    return lines


def _letter(value: int) -> str:
    if value < 0:
        return " "
    return _LETTERS[value] if value < len(_LETTERS) else "?"


def _line(pairs: list[int], codes: tuple[str, ...]) -> str:
    parts, last = [], -1
    for pair in pairs:
        # Colours stay until they are changed, so a run of equal cells names them once.
        if pair != last:
            parts.append(codes[pair])
            last = pair
        parts.append("▀")
    return f"{''.join(parts)}{RESET}"


@lru_cache(maxsize=8)
def _pairs(look: Theme) -> tuple[str, ...]:
    """The code of an upper and a lower cell, at `upper * 12 + lower`."""
    colours = [";".join(map(str, rgb(colour))) for colour in (*look.cells, look.padding)]
    under = [f"48;2;{colour}" for colour in colours] + ["49"]
    return tuple(
        f"\x1b[38;2;{upper};{lower}m" for upper in (*colours, colours[-1]) for lower in under
    )


@lru_cache(maxsize=8)
def _singles(look: Theme) -> tuple[str, ...]:
    """The code of a cell with readable letters on it, by its kind."""
    out = []
    for colour in (*look.cells, look.padding):
        words, ground = (";".join(map(str, rgb(each))) for each in (ink(colour), colour))
        out.append(f"\x1b[1;38;2;{words};48;2;{ground}m")
    return tuple(out)
