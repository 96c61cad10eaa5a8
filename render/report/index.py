"""What the viewer's table needs of every episode: one column a field, as plain JSON."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from jaxarc_trace import analysis
from jaxarc_trace.analysis import Failure
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import facts
from jaxarc_trace.render.theme import THEMES, Theme, ink

__all__ = ["FORMAT", "Index"]

FORMAT = 1
SPARK_POINTS = 24
_HIGHEST = 254
_NONE = 255
_FLOATS = tuple("return score best best_at no_ops revisits distinct submits size_match".split())
_PALETTES = {
    "default": "ARC colours",
    "colorblind": "Colour-blind safe",
    "high_contrast": "High contrast",
}


class Index:
    """Columns that grow by one row an episode.

    Texts and descriptions that several episodes share are kept once and referred to by number.
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.metrics: list[str] = []
        self.scored: str = ""
        self._sparks: list[bytes] = []
        self._start, self._most = 0, -np.inf
        self._ids: dict[str, int] = {}
        self._tasks = _Shared()
        self._outcomes = _Shared()
        self._kept = _Shared()
        self._failures = _Shared()
        self._environments = _Shared()
        self._metadata = _Shared()

    def __len__(self) -> int:
        return len(self._sparks)

    def add(self, episode: Episode, failures: Sequence[Failure] = (), **place: int) -> None:
        """Adds a row; `place` says where the episode's block lies."""
        scores = analysis.scores(episode)
        if scores is not None:
            self.scored = self.scored or str(episode.environment["roles"]["score"])
        pair = facts.first_value(episode, _field(episode, "pair", "pair_idx"))
        row: dict[str, Any] = {
            "id": self._unique(episode.id),
            "lane": int(episode.lane),
            "number": int(episode.number),
            "task": self._tasks.add(facts.task_id(episode) or ""),
            "pair": -1 if pair is None else pair,
            "outcome": self._outcomes.add(episode.outcome),
            "steps": int(episode.length),
            "dropped": int(episode.dropped),
            "return": _float(episode.total_return),
            "score": None if scores is None else _float(scores[-1]),
            "best": None if scores is None else _best(scores),
            "kept": self._kept.add(" ".join(str(name) for name in episode.kept_by)),
            **self._facts(analysis.facts(episode, failures)),
            "environment": self._environments.of(episode.environment, _environment),
            "metadata": self._metadata.of(episode.metadata, plain),
            **place,
        }
        for name in episode.metrics:
            if name not in self.metrics:
                self.metrics.append(name)
                self.columns[f"metric.{name}"] = [None] * len(self)
        for name in self.metrics:
            value = episode.metrics.get(name)
            row[f"metric.{name}"] = None if value is None else _float(value)
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)
        if episode.complete and not episode.dropped and episode.total_return > self._most:
            # What is shown first: the whole episode that earned most.
            self._start, self._most = len(self), episode.total_return
        self._sparks.append(_spark(episode, scores))

    def data(self, title: str, theme: Theme) -> dict[str, Any]:
        """The index as JSON values."""
        palettes, palette = _palettes(theme)
        return {
            "format": FORMAT,
            "title": title,
            "count": len(self),
            "start": self._start,
            "palettes": palettes,
            "palette": palette,
            "digits": theme.digits,
            "mode": "dark" if theme.dark else "auto",
            "scored": bool(self.scored),
            "scoreLabel": _label(self.scored),
            "tasks": self._tasks.values,
            "outcomes": self._outcomes.values,
            "kept": self._kept.values,
            "failures": self._failures.values,
            "environments": self._environments.values,
            "metadata": self._metadata.values,
            "metrics": self.metrics,
            "floats": [*_FLOATS, *(f"metric.{name}" for name in self.metrics)],
            "columns": self.columns,
            "sparks": base64.b64encode(b"".join(self._sparks)).decode("ascii"),
        }

    def _facts(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What only the steps tell; what an environment does not have is None."""
        numbers = {
            "best_at": found["step_of_best"],
            "revisits": found["revisits"],
            "distinct": found["distinct_operations"],
            "submits": found["submits"],
            "size_match": found["dimension_match"],
        }
        idle = found["no_op_share"]
        return {
            "failures": self._failures.add(found["failures"].replace(",", ", ") or "none"),
            "no_ops": None if np.isnan(idle) else _float(idle),
            **{name: None if value < 0 else value for name, value in numbers.items()},
        }

    def _unique(self, name: str) -> str:
        """Two saves may hold the same lane and number: the later episodes get `~2` and so on."""
        seen = self._ids[name] = self._ids.get(name, 0) + 1
        return name if seen == 1 else f"{name}~{seen}"


class _Shared:
    """Distinct values and their numbers, in the order in which they came."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._sources: list[Any] = []

    def add(self, value: str) -> int:
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def of(self, source: Any, convert: Any) -> int:
        """The number of a description; the same object is converted once."""
        number = self._numbers.get(id(source))
        if number is None:
            value = convert(source)
            number = self.values.index(value) if value in self.values else len(self.values)
            if number == len(self.values):
                self.values.append(value)
            self._numbers[id(source)] = number
            self._sources.append(source)  # an id is unique while its object lives
        return number


def plain(value: Any) -> Any:
    """JSON values that say the same; what JSON cannot hold becomes a word."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return _float(value)
    known = value is None or isinstance(value, bool | int | str)
    return value if known else f"<{type(value).__name__}>"


def _environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: plain(value) for key, value in environment.items() if key != "task_ids"}
    return {
        **rest,
        "operations": [str(name) for name in rest.pop("operations", None) or ()],
        "kinds": [str(kind) for kind in rest.pop("operation_kinds", None) or ()],
    }


def _field(episode: Episode, name: str, usual: str) -> str:
    return str((episode.environment.get("roles") or {}).get(name, usual))


def _float(value: Any) -> float | str:
    """A float32's own digits; a word for what JSON has no number for."""
    value = float(value)
    return float(f"{value:.7g}") if np.isfinite(value) else str(value).replace("inf", "Infinity")


def _best(scores: Float64[np.ndarray, " states"]) -> float | str | None:
    finite = scores[np.isfinite(scores)]
    return _float(finite.max()) if finite.size else None


def _label(field: str) -> str:
    """`similarity_score` as the heading `Similarity`."""
    words = field.removesuffix("_score").replace("_", " ").strip()
    return (words[:1].upper() + words[1:])[:24] or "Score"


def _spark(episode: Episode, scores: Float64[np.ndarray, " states"] | None) -> bytes:
    """The score, or the return so far, at evenly spread states: 0..254, 255 for none."""
    values = scores
    if values is None:
        values = np.concatenate([[0.0], np.cumsum(episode.rewards, dtype=np.float64)])
    finite = values[np.isfinite(values)]
    if not finite.size:
        return bytes([_NONE] * SPARK_POINTS)
    low, high = float(finite.min()), float(finite.max())
    if scores is not None:
        low, high = min(low, 0.0), max(high, 1.0)
    at = np.linspace(0, len(values) - 1, SPARK_POINTS)
    points = np.interp(at, np.arange(len(values)), values)
    scaled = (points - low) / ((high - low) or 1.0) * _HIGHEST
    whole = np.where(np.isfinite(scaled), np.rint(np.nan_to_num(scaled)), _NONE)
    return whole.clip(0, _NONE).astype(np.uint8).tobytes()


def _palettes(theme: Theme) -> tuple[list[dict[str, Any]], str]:
    """The palettes that can be chosen, and the one to begin with."""
    found = [_palette(name, label, THEMES[name]) for name, label in _PALETTES.items()]
    for palette in found:
        if tuple(palette["cells"]) == tuple(theme.cells):
            return found, palette["name"]
    return [*found, _palette("custom", theme.name[:40], theme)], "custom"


def _palette(name: str, label: str, theme: Theme) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "cells": list(theme.cells),
        "inks": [ink(colour) for colour in theme.cells],
        "padding": theme.padding,
        "paddingOnDark": theme.padding if theme.dark else THEMES["dark"].padding,
        "grid": theme.grid,
    }
