"""How episodes show themselves in a notebook: one as its summary, many as a table."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real, Shaped

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.render.text import escape, number

__all__ = ["MOST", "table"]

MOST = 20
"""Rows of a table; reading an episode for its curve takes about a millisecond."""
_SHOWN = "lane number task return length outcome kept_by".split()
_WIDE, _HIGH = 96, 18


def table(episodes: Episodes) -> str:
    """A table in HTML of the first episodes, with the curve of the return so far of each.

    The curve is drawn in the colour of the text, so that it fits a light and a dark page.
    """
    columns = episodes.columns
    names = [name for name in _SHOWN if name in columns]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *names, "return so far"))
    shown = min(len(episodes), MOST)
    rewards = _rewards(episodes[:shown])
    rows = []
    for index in range(shown):
        cells = [str(index), *(_cell(columns[name][index]) for name in names)]
        drawn = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr>{drawn}<td>{sparkline(rewards[index].cumsum())}</td></tr>")
    steps = int(columns["length"].sum()) if len(episodes) else 0
    words = f"{number(len(episodes))} episodes, {number(steps)} steps"
    if len(episodes) > shown:
        words += f"; the first {shown} are shown"
    return (
        f"<table><caption>{words}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def sparkline(values: Shaped[np.ndarray, " n"]) -> str:
    """A curve without axes as SVG; what is not finite is left out."""
    known = np.flatnonzero(np.isfinite(values))
    if known.size < 2:
        return ""
    low, top = float(values[known].min()), float(values[known].max())
    x = 1 + known / max(len(values) - 1, 1) * (_WIDE - 2)
    y = _HIGH - 2 - (values[known] - low) / ((top - low) or 1.0) * (_HIGH - 4)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    words = f"from {number(float(values[known[0]]))} to {number(float(values[known[-1]]))}"
    return (
        f'<svg width="{_WIDE}" height="{_HIGH}" role="img" aria-label="{escape(words)}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _rewards(episodes: Episodes) -> Sequence[Real[np.ndarray, " _"]]:
    """The rewards of each, of which no record is decoded."""
    if not len(episodes):
        return []
    flat = episodes.steps("reward").astype(np.float64)
    ends = np.cumsum(episodes.columns["kept"].astype(np.int64))
    return np.split(flat, ends[:-1])


def _cell(value: object) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    return escape(number(value) if isinstance(value, float) else str(value), 40)
