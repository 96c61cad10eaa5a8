"""The debugger's screen as a value: what is shown, what a key does to it, and its lines.

Nothing here reads a key or writes to a terminal; `commands_debug` does. Text from outside comes
through `render.terminal` and `visible`, so that no name can move the cursor.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jaxarc_trace.analysis import (
    Failure,
    KeyMoment,
    failure_modes,
    key_moments,
    operation_kinds,
    role,
)
from jaxarc_trace.commands_common import visible
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import SpecError

__all__ = ["KEYS", "View", "press", "screen"]

KEYS: Mapping[str, str] = {
    "→ l Space": "next step",
    "← h": "step before",
    "PgDn PgUp": "ten steps on, back",
    "Home End": "first, last step",
    "] [": "next, last step that changes the grid",
    ". ,": "next, last key moment",
    "f F": "next, last step of a failure",
    "/ n N": "search operations; next, last match",
    "c": "second episode beside, or not",
    "Tab": "the other of the two",
    "?": "these keys, or not",
    "q": "leave",
}
_FULL = "q leave  ← → step  [ ] change  , . moment  f failure  / search  c beside  ? keys"
_SHORT = "q  ← →  [ ]  , .  f  /  ?"
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_LEAST = 32


@dataclass(frozen=True)
class _Marks:
    """An episode with what can be jumped to in it."""

    episode: Episode

    @cached_property
    def failures(self) -> tuple[Failure, ...]:
        return failure_modes(self.episode)

    @cached_property
    def moments(self) -> tuple[KeyMoment, ...]:
        return key_moments(self.episode)

    @cached_property
    def changes(self) -> list[int]:
        """Transitions that changed the grid."""
        grid = role(self.episode, "grid")
        if grid is None:
            return []
        axes = tuple(range(1, grid.ndim))
        return np.flatnonzero((grid[1:] != grid[:-1]).any(axis=axes)).tolist()

    @cached_property
    def failing(self) -> list[int]:
        """Transitions whose outcome shows a failure."""
        return sorted({max(s - 1, 0) for found in self.failures for s in found.steps})

    @cached_property
    def telling(self) -> list[int]:
        """Transitions that led to a key moment."""
        return sorted({max(moment.step - 1, 0) for moment in self.moments})

    @cached_property
    def words(self) -> list[str]:
        """Name and kind of each transition's operation, small, for the search."""
        roles = self.episode.environment.get("roles") or {}
        name = roles.get("operation")
        extras, actions = self.episode.extras, self.episode.actions
        taken = extras.get(name, actions.get(name)) if name else None
        if taken is None:
            return [""] * len(self.episode)
        names = self.episode.environment.get("operations") or ()
        kinds = operation_kinds(self.episode) or ("",) * len(self.episode)
        return [
            f"{names[o] if 0 <= o < len(names) else o} {kind}".lower()
            for o, kind in zip(np.ravel(taken).tolist(), kinds, strict=True)
        ]


@dataclass(frozen=True)
class View:
    """What the debugger shows.

    Attributes:
        marks: the episode, and the second one where there is one.
        t: the transition that is shown.
        beside: whether the second is shown as well.
        help: whether the keys are shown.
        typing: what is being typed into the search, or None.
        wanted: what was searched last.
        told: a line for the reader.
    """

    marks: tuple[_Marks, ...]
    t: int = 0
    beside: bool = False
    help: bool = False
    typing: str | None = None
    wanted: str = ""
    told: str = ""

    @classmethod
    def of(cls, episode: Episode, second: Episode | None = None) -> "View":
        """The first step of an episode.

        Raises:
            SpecError: when it has no step.
        """
        found = [episode] if second is None else [episode, second]
        for each in found:
            if not len(each):
                raise SpecError(f"{each.id}: expected an episode with steps, found none were kept")
        return cls(tuple(_Marks(each) for each in found), beside=second is not None)

    @property
    def episode(self) -> Episode:
        """The one in front."""
        return self.marks[0].episode


def press(view: View, key: str) -> View | None:
    """The view after a key: a character, or `left`, `right`, `up`, `down`, `home`, `end`, ...

    Returns:
        None when it is time to leave.
    """
    if view.typing is not None:
        return _typed(view, key)
    view = replace(view, told="")
    if key in ("q", "ctrl-c", "ctrl-d"):
        return None
    action = _ACTIONS.get(key)
    return view if action is None else action(view)


def _typed(view: View, key: str) -> View:
    typing = view.typing or ""
    if key == "enter":
        return _search(replace(view, typing=None, wanted=typing or view.wanted), 1)
    if key in ("escape", "ctrl-c"):
        return replace(view, typing=None)
    if key == "backspace":
        return replace(view, typing=typing[:-1])
    plain = len(key) == 1 and key.isprintable() and len(typing) < 60
    return replace(view, typing=typing + key) if plain else view


def _go(view: View, t: int) -> View:
    return replace(view, t=min(max(t, 0), len(view.episode) - 1))


def _jump(view: View, places: list[int], way: int, what: str) -> View:
    """To the nearest of some transitions in a direction."""
    ahead = [t for t in places if (t - view.t) * way > 0]
    if not ahead:
        return replace(view, told=f"no {'further' if way > 0 else 'earlier'} {what}")
    return _go(view, min(ahead) if way > 0 else max(ahead))


def _search(view: View, way: int) -> View:
    wanted = view.wanted.lower().strip()
    if not wanted:
        return replace(view, told="nothing to search; type / and a word")
    found = [t for t, words in enumerate(view.marks[0].words) if wanted in words]
    return _jump(view, found, way, f"step with {wanted!r}")


def _swap(view: View) -> View:
    return _go(replace(view, marks=view.marks[::-1]), view.t)


def _beside(view: View) -> View:
    if len(view.marks) < 2:
        return replace(view, told="there is no second episode; start with --beside EPISODE")
    return replace(view, beside=not view.beside)


def _moves(step: int) -> Callable[[View], View]:
    return lambda view: _go(view, view.t + step)


def _jumps(name: str, way: int, what: str) -> Callable[[View], View]:
    return lambda view: _jump(view, getattr(view.marks[0], name), way, what)


_ACTIONS: Mapping[str, Callable[[View], View]] = {
    **dict.fromkeys(("right", "l", " ", "down", "j", "enter"), _moves(1)),
    **dict.fromkeys(("left", "h", "up", "k", "backspace"), _moves(-1)),
    "pagedown": _moves(10),
    "pageup": _moves(-10),
    **dict.fromkeys(("home", "g"), lambda view: _go(view, 0)),
    **dict.fromkeys(("end", "G"), lambda view: _go(view, len(view.episode))),
    "]": _jumps("changes", 1, "change"),
    "[": _jumps("changes", -1, "change"),
    ".": _jumps("telling", 1, "key moment"),
    ",": _jumps("telling", -1, "key moment"),
    "f": _jumps("failing", 1, "failure"),
    "F": _jumps("failing", -1, "failure"),
    "/": lambda view: replace(view, typing=""),
    "n": lambda view: _search(view, 1),
    "N": lambda view: _search(view, -1),
    "c": _beside,
    "\t": _swap,
    "?": lambda view: replace(view, help=not view.help),
}


def screen(view: View, width: int, height: int, *, color: bool) -> list[str]:
    """The lines of the screen, at most `height` of them and none wider than `width`."""
    foot = _foot(view, width, color=color)
    room = max(height - len(foot), 1)
    if view.help:
        body = [f"  {keys:<12} {meaning}" for keys, meaning in KEYS.items()]
    elif view.beside and width >= 2 * _LEAST + 3:
        body = _two(view, width, color=color)
    else:
        body = _one(view.marks[0].episode, view.t, width, color=color)
    if len(body) > room:
        body = [*body[: room - 1], f"… {len(body) - room + 1} more lines; make the window higher"]
    body += [""] * (room - len(body))
    return [_clipped(line, width) for line in (*body, *foot)][:height]


def _one(episode: Episode, t: int, width: int, *, color: bool) -> list[str]:
    from jaxarc_trace.render.terminal import terminal

    return terminal(episode, t, color=color, width=max(width, _LEAST)).split("\n")


def _two(view: View, width: int, *, color: bool) -> list[str]:
    """Both episodes at the same step; one that is over stays at its end."""
    half = (width - 3) // 2
    sides = [
        _one(marks.episode, min(view.t, len(marks.episode) - 1), half, color=color)
        for marks in view.marks
    ]
    count = max(map(len, sides))
    left, right = ([*side, *[""] * (count - len(side))] for side in sides)
    return [f"{_padded(_clipped(a, half), half)} │ {b}" for a, b in zip(left, right, strict=True)]


def _foot(view: View, width: int, *, color: bool) -> list[str]:
    marks = view.marks[0]
    here = [
        *(f"{m.kind}: {m.label}" for m in marks.moments if m.step == view.t + 1),
        *(f"! {f.mode}: {f.label}" for f in marks.failures if view.t + 1 in f.steps),
    ]
    names = ", ".join(found.mode for found in marks.failures) or "none"
    about = "; ".join(here) or f"failures of this episode: {names}"
    if view.typing is not None:
        last = f"search: {view.typing}_"
    else:
        last = view.told or (_FULL if width >= len(_FULL) else _SHORT)
    return [_timeline(marks, view.t, width, color=color), visible(about, 400), visible(last, 400)]


def _timeline(marks: _Marks, now: int, width: int, *, color: bool) -> str:
    """All steps on one line: `!` a failure, `+` a key moment, `-` the rest, and where we are."""
    steps = len(marks.episode)
    columns = min(steps, max(width, 1))
    line = ["-"] * columns

    def column(t: int) -> int:
        return min(t * columns // steps, columns - 1)

    for t in marks.telling:
        line[column(t)] = "+"
    for t in marks.failing:
        line[column(t)] = "!"
    at = column(now)
    line[at] = f"\x1b[7m{line[at]}\x1b[0m" if color else "#"
    return "".join(line)


def _padded(line: str, width: int) -> str:
    return line + " " * max(width - len(_ESCAPE.sub("", line)), 0)


def _clipped(line: str, width: int) -> str:
    """A line cut to so many characters, colours not counted and closed."""
    if len(_ESCAPE.sub("", line)) <= width:
        return line
    out, seen, at = "", 0, 0
    while at < len(line) and seen < width:
        found: Any = _ESCAPE.match(line, at)
        if found:
            out, at = out + found.group(), found.end()
        else:
            out, at, seen = out + line[at], at + 1, seen + 1
    return f"{out}\x1b[0m" if "\x1b" in out else out
