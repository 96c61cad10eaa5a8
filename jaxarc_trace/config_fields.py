"""What a setting may hold: its type, range, choices and sentence, read off a dataclass's fields.

Nothing here knows which settings there are, and nothing is read or written.
"""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = [
    "MISSING_VALUE",
    "Knob",
    "Problem",
    "as_mapping",
    "build",
    "knob",
    "knobs",
    "nearest",
    "shown",
    "unknown",
]

MISSING_VALUE = "???"
"""How OmegaConf writes a value that has to be given."""

_SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration.

    Attributes:
        key: the setting, group or file that it is about; with dots.
        text: what was expected, what was found, and what to do.
    """

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


@dataclass(frozen=True)
class Knob:
    """One setting.

    Attributes:
        key: its name with dots, for instance `capture.max_steps`.
        kind: its type, as a type checker sees it.
        default: what it is if nobody says otherwise.
        help: what it does, in a sentence.
        least: smallest number allowed, or None.
        most: largest number allowed, or None.
        items: what each of a list's words may be; empty for any.
    """

    key: str
    kind: Any
    default: Any
    help: str
    least: float | None = None
    most: float | None = None
    items: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it may be, where those are all that is allowed."""
        return next((get_args(kind) for kind in _kinds(self.kind) if _is_choice(kind)), ())

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        words = [self._allowed(kind) for kind in _kinds(self.kind) if kind is not NoneType]
        if NoneType in _kinds(self.kind):
            words.append("null")
        return " or ".join(words)

    def check(self, value: Any) -> str | None:
        """What is wrong with a value, or None."""
        kinds = _kinds(self.kind)
        if value is None and NoneType in kinds:
            return None
        if value == MISSING_VALUE:
            return f"expected {self.allowed}, found no value; give one"
        if any(self._fits(kind, value) for kind in kinds if kind is not NoneType):
            return None
        return f"expected {self.allowed}, found {shown(value)}{self._advice(value)}"

    def _fits(self, kind: Any, value: Any) -> bool:
        if _is_choice(kind):
            return value in get_args(kind) and not isinstance(value, bool)
        if get_origin(kind) is tuple:
            listed = isinstance(value, list | tuple)
            return listed and all(
                isinstance(word, str) and (not self.items or word in self.items) for word in value
            )
        if kind is bool:
            return isinstance(value, bool)
        if kind is str:
            return isinstance(value, str)
        number = isinstance(value, int if kind is int else int | float)
        return (
            number
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )

    def _allowed(self, kind: Any) -> str:
        if _is_choice(kind):
            words = get_args(kind)
            return f"one of {', '.join(words)}"
        if get_origin(kind) is tuple:
            return f"a list of {', '.join(self.items)}" if self.items else "a list of words"
        if kind is bool:
            return "true or false"
        if kind is str:
            return "a text"
        name = "a whole number" if kind is int else "a number"
        if self.least is not None and self.most is not None:
            return f"{name} from {self.least:g} to {self.most:g}"
        return name if self.least is None else f"{name} of at least {self.least:g}"

    def _advice(self, value: Any) -> str:
        # YAML 1.1, which OmegaConf reads, takes these words for booleans.
        if isinstance(value, bool) and "off" in self.choices:
            return '; YAML reads a bare off as false: write "off", in quotes'
        words = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        known = self.choices or self.items
        wrong = [word for word in words if isinstance(word, str) and word not in known]
        near = nearest(wrong[0], known) if wrong else None
        return f"; did you mean {near!r}?" if near else ""


def knob(default: Any, text: str, **limits: Any) -> Any:
    """A field of a section: its default, what it does, and the limits that `Knob` has."""
    return field(default=default, metadata={"help": text, **limits})


def knobs(section: Any, prefix: str = "") -> Iterator[Knob]:
    """The settings of a dataclass and of those in it, in order."""
    hints = get_type_hints(section)
    for each in fields(section):
        key = f"{prefix}{each.name}"
        if is_dataclass(hints[each.name]):
            yield from knobs(hints[each.name], f"{key}.")
        else:
            limits = dict(each.metadata)
            yield Knob(key, hints[each.name], _default(each), limits.pop("help"), **limits)


def build(section: Any, given: Any, problems: list[Problem], prefix: str = "") -> Any:
    """A dataclass from a mapping; what is not given has its default.

    Args:
        section: the dataclass.
        given: what YAML, Hydra or Python gave.
        problems: whatever is wrong is added; a wrong value is replaced by its default.
        prefix: name of the section, with a dot behind.
    """
    if not isinstance(given, Mapping):
        text = f"expected settings such as {fields(section)[0].name}, found {shown(given)}"
        problems.append(Problem(prefix.rstrip(".") or "trace", text))
        return section()
    hints = get_type_hints(section)
    known = {each.key: each for each in knobs(section, prefix)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        key = f"{prefix}{name}"
        if name not in hints:
            problems.append(unknown(key, [f"{prefix}{each}" for each in hints]))
        elif is_dataclass(hints[name]):
            values[name] = build(hints[name], value, problems, f"{key}.")
        elif wrong := known[key].check(value):
            problems.append(Problem(key, wrong))
        else:
            values[name] = _canonical(known[key], value)
    return section(**values)


def as_mapping(section: Any) -> dict[str, Any]:
    """A dataclass as plain data, as YAML writes it."""
    found: dict[str, Any] = {}
    for each in fields(section):
        value = getattr(section, each.name)
        if is_dataclass(value):
            found[each.name] = as_mapping(value)
        else:
            found[each.name] = list(value) if isinstance(value, tuple) else value
    return found


def unknown(key: str, known: Sequence[str]) -> Problem:
    """The problem of a key that does not exist."""
    near = nearest(key, known)
    hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
    return Problem(key, f"there is no such key; {hint}")


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word that looks most like one, or None; the last part of a key counts alone too."""
    if near := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return near[0]
    ends = {each.rpartition(".")[2]: each for each in known}
    near = difflib.get_close_matches(word.rpartition(".")[2], list(ends), n=1, cutoff=0.6)
    return ends[near[0]] if near else None


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, and not too long of it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _kinds(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _default(each: Field[Any]) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def _canonical(of: Knob, value: Any) -> Any:
    """Lists as tuples, and whole numbers as floats where a float is meant."""
    if isinstance(value, list):
        return tuple(value)
    kinds = _kinds(of.kind)
    if float in kinds and int not in kinds and isinstance(value, int):
        return float(value)
    return value
