"""Untrusted text and numbers made safe to draw: the one place where that happens.

Task ids, run names and metric names come from files that anybody may have written. Every
string that reaches a picture, a page, a terminal or a file name passes through here.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

__all__ = ["bare", "cut", "escape", "listed", "number", "plural", "slug", "visible"]

_XML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "`": "&#96;"}
)
# Marks that turn the reading order, and characters that are there but show nothing.
_UNSEEN = "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2067\u206a-\u206f\ufeff\ufff9-\ufffb"
_HIDDEN = re.compile(f"[{_UNSEEN}\U000e0000-\U000e0fff]")
_HIDDEN_AND_ISOLATES = re.compile(f"[{_UNSEEN}\u2068\u2069\U000e0000-\U000e0fff]")
_ILLEGAL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
# ASCII, Latin, and the punctuation, arrows and shapes that pictures use: nothing to make visible.
_PLAIN = re.compile(
    "[ -~\xa1-\xac\xae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u23ff\u25a0-\u27bf]*\\Z"
)
_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)\Z")
_REMEMBERED = 200
_ISOLATE, _POP = "\u2068", "\u2069"


def escape(text: Any, limit: int = 160) -> str:
    """Text for the content or a quoted attribute of SVG, XML or HTML.

    Args:
        text: anything; what is not a string is formatted with `number` or `str`.
        limit: longest result in characters before escaping; a longer text loses its middle.

    Returns:
        Text without a character that markup gives a meaning to, or that XML forbids.
    """
    # A picture's own words are the same in all of them. Only texts: 1, 1.0 and True are one key.
    if isinstance(text, str) and len(text) <= _REMEMBERED:
        return _escaped(text, limit)
    return visible(text, limit).translate(_XML)


@lru_cache(maxsize=1024)
def _escaped(text: str, limit: int) -> str:
    return visible(text, limit).translate(_XML)


def visible(text: Any, limit: int = 160) -> str:
    r"""Text on one line in which nothing is hidden and nothing acts; not escaped for markup.

    Control characters, lone surrogates, direction marks and invisible characters become their
    code (`\n`, `\x1b`, `\u202e`), which every font can show, and right-to-left words are
    isolated, so that they cannot turn what stands beside them. Doing it twice changes nothing.
    """
    if not isinstance(text, str):
        text = number(text) if isinstance(text, float) else str(text)
    isolated = _is_isolated(text)
    if len(text) > limit:
        text = cut(bare(text) if isolated else text, limit)
        isolated = False
    if _PLAIN.match(text):
        return text
    text = _ILLEGAL.sub(_code, text)
    text = _calm((_HIDDEN if isolated else _HIDDEN_AND_ISOLATES).sub(_code, text))
    if not isolated and any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text):
        return f"{_ISOLATE}{text}{_POP}"
    return text


def bare(text: str) -> str:
    """Text without the isolates that `visible` put around its right-to-left parts."""
    return text.replace(_ISOLATE, "").replace(_POP, "")


def _is_isolated(text: str) -> bool:
    """Whether every isolate is closed, as `visible` leaves them; it then acts on itself only."""
    if _ISOLATE not in text:
        return False
    depth = 0
    for character in text:
        depth += (character == _ISOLATE) - (character == _POP)
        if depth < 0:
            return False
    return depth == 0


def cut(text: str, limit: int) -> str:
    """At most `limit` characters: the middle of a longer text becomes an ellipsis."""
    if len(text) <= limit:
        return text
    head = (limit - 1 + 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def _code(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code in _SHORT:
        return _SHORT[code]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _calm(text: str) -> str:
    """Leaves at most two combining marks in a row: more would climb over the line above."""
    out: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= 2:
            out.append(character)
    return "".join(out)


def number(value: Any, digits: int = 3, *, signed: bool = False) -> str:
    """A number as text: a true minus sign, and words for what is not finite.

    Args:
        value: any real number; integers keep their digits, grouped by comma.
        digits: digits after the point of a number that is not an integer.
        signed: write the plus sign of a positive number.
    """
    if isinstance(value, int) or getattr(getattr(value, "dtype", None), "kind", "") in ("i", "u"):
        text = f"{int(value):+,}" if signed and value else f"{int(value):,}"
        return text.replace("-", "−")
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "−∞" if value < 0 else "+∞" if signed else "∞"
    text = f"{value:.{digits}{'g' if abs(value) >= 1e6 else 'f'}}"
    if float(text) == 0:
        return text.lstrip("-")
    return (f"+{text}" if signed and value > 0 else text).replace("-", "−")


def plural(count: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number(int(count))} {noun}{'' if count == 1 else 's'}"


def listed(words: Sequence[str], fits: Callable[[str], bool]) -> str:
    """`no-op run, collapse`, or as many as fit, but one at least: `no-op run and 2 more`."""
    out = ""
    for shown in range(len(words), 0, -1):
        more = len(words) - shown
        out = ", ".join(words[:shown]) + (f" and {more} more" if more else "")
        if fits(out):
            break
    return out


def slug(text: Any, limit: int = 80) -> str:
    """A name that is safe as one part of a path on every system.

    Lower-case ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit. Where
    that loses something, eight hexadecimal digits of the original's hash follow, so that two
    texts do not get the same name.
    """
    text = str(text)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")
    plain = re.sub(r"\.{2,}", ".", plain)
    if plain and plain == text and len(plain) <= limit and not _WINDOWS.match(plain.split(".")[0]):
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: limit - 9].rstrip('-._') or 'unnamed'}-{digest}"
