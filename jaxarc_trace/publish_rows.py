"""A save in one row of numbers, for the charts of a run. NumPy only.

The numbers are those of the episodes that the save holds, which policies chose: `best` of a save
is no average of training. A row is a function of the save alone, so it is the same whenever it is
made.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.failures import MODES
from jaxarc_trace.names import slug
from jaxarc_trace.saves import Save

__all__ = ["STRIDE", "X_AXIS", "history_row", "step_of"]

STRIDE = 1000
"""W&B's own step of a save is its number times this, so that pictures have steps in between."""
X_AXIS = "trace/step"
_TIMES = ("overhead", "host_seconds")


def step_of(save: Save) -> int:
    """W&B's own step of a save's row: it grows with the saves and never depends on a clock."""
    return save.sequence * STRIDE


def history_row(save: Save, episodes: Episodes) -> dict[str, float | int]:
    """The row of a save.

    Args:
        save: the save.
        episodes: its episodes, with the columns of `facts.measured`.

    Returns:
        Finite numbers by name: `trace/*`, `return/*`, `length/*`, `success_rate`,
        `similarity/*`, `failures/*` (shares of the episodes that ended) and `overhead/*` (what the
        save's metadata says of it). What is not known is not there.
    """
    columns = episodes.columns
    found: dict[str, Any] = {
        "trace/save": save.sequence,
        X_AXIS: save.sequence if save.step is None else save.step,
        "trace/episodes": len(episodes),
    }
    for name in ("episodes_seen", "steps_seen"):
        if isinstance(episodes.spec.get(name), int):
            found[f"trace/{name}"] = episodes.spec[name]
    if len(episodes):
        ended = columns["complete"]
        found["trace/ended"] = int(ended.sum())
        found |= _spread("return", columns["return"][ended])
        found |= _spread("length", columns["length"][ended])
        said = columns["solved"][ended & (columns["solved"] >= 0)]
        if len(said):
            found["success_rate"] = float((said == 1).mean())
        found |= _measured(columns, ended)
    found |= _overhead(episodes.metadata)
    return {k: v for k, v in found.items() if math.isfinite(v)}


def _spread(name: str, values: Shaped[np.ndarray, " n"]) -> dict[str, float]:
    """Mean, median and ends of values `[n]`; nothing of none."""
    data = np.asarray(values, np.float64)
    data = data[np.isfinite(data)]
    if not len(data):
        return {}
    return {
        f"{name}/mean": float(data.mean()),
        f"{name}/median": float(np.median(data)),
        f"{name}/min": float(data.min()),
        f"{name}/max": float(data.max()),
    }


def _measured(
    columns: Mapping[str, Shaped[np.ndarray, " N"]], ended: Bool[np.ndarray, " N"]
) -> dict[str, float]:
    """Similarity and failure modes, of the episodes whose steps could be read."""
    if "readable" not in columns:
        return {}
    rows = ended & columns["readable"]
    found: dict[str, float] = {}
    for which in ("final", "best"):
        values = _spread(f"similarity/{which}", columns[f"score_{which}"][rows])
        found |= {k.replace("/mean", ""): v for k, v in values.items() if k.endswith("/mean")}
    modes = [set(text.split(",")) for text in columns["failures"][rows]]
    for mode in MODES if modes else ():
        found[f"failures/{slug(mode)}"] = sum(mode in one for one in modes) / len(modes)
    return found


def _overhead(metadata: Mapping[str, Any]) -> dict[str, float]:
    """What a save says of the cost of recording: numbers under `overhead` and `host_seconds`."""

    def numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from numbers(f"{name}/{slug(str(key), 'value')}", inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)

    found: dict[str, float] = {}
    for name in _TIMES:
        prefix = "overhead" if name == "overhead" else f"overhead/{name}"
        found |= dict(numbers(prefix, metadata.get(name)))
    return found
