"""The HTML viewer: how large, how fast to pack, how soon its first step is drawn.

    python benchmarks/report.py                # 1,000 and 10,000 episodes of 100 steps
    python benchmarks/report.py --no-browser   # where there is no Chromium

Each row stands beside the obvious way to do the same work in the same run: the episodes' grids,
selections, rewards and scores as JSON, deflated and base64-encoded (a hundredth of them,
and its size and CPU time multiplied). CPU time is the process's: a busy machine counts less.
"""

import argparse
import base64
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from timing import save_json

sys.path.insert(0, str(Path(__file__).parents[1]))

from jaxarc_trace.episode import Episode
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.report import report
from tests.render.browser import Viewer, chromium
from tests.render.report_fixtures import numbered, painted

DISTINCT = 100
STEPS = 100
OPENINGS = 5


@dataclass(frozen=True)
class Row:
    """What is packed, and the figures it has to reach; 0 where there is none."""

    name: str
    count: int
    side: int | None = None
    noise: bool = False
    megabytes: float = 0
    cpu: float = 0
    first_step: float = 0


ROWS = (
    Row("1,000 episodes, tasks of 6..20 cells", 1000, megabytes=3, cpu=1, first_step=0.5),
    Row("1,000 episodes, grids of 30 x 30", 1000, 30, megabytes=3, cpu=1, first_step=0.5),
    Row("1,000 episodes, 30 x 30, half of all cells selected at random", 1000, 30, noise=True),
    Row("10,000 episodes, tasks of 6..20 cells", 10_000, first_step=1),
)


def episodes(row: Row) -> list[Episode]:
    """The distinct episodes of a row."""
    found = [painted(seed, STEPS, row.side) for seed in range(DISTINCT)]
    if row.noise:
        rng = np.random.default_rng(0)
        for episode in found:
            chosen = episode.states["selected"]
            chosen[:] = rng.random(chosen.shape) < 0.5
    return found


def as_json(found: list[Episode]) -> Iterator[str]:
    """The same data in the obvious encoding."""
    for episode in found:
        grids = cast("ArcFrames", frames(episode))
        steps = range(len(episode))
        data: dict[str, Any] = {
            "grids": [grids.grid(state).tolist() for state in range(len(episode) + 1)],
            "selections": [np.argwhere(np.asarray(grids.selection(t))).tolist() for t in steps],
            "target": grids.target.tolist() if grids.target is not None else None,
            "rewards": episode.rewards.tolist(),
            "scores": grids.score.tolist() if grids.score is not None else None,
            "operations": grids.operations.tolist() if grids.operations is not None else None,
        }
        text = json.dumps(data, separators=(",", ":")).encode()
        yield base64.b64encode(zlib.compress(text, 6)).decode()


def first_step(browser: Any, path: Path) -> float:
    """Median seconds from the start of loading until the first step is drawn."""
    seconds = []
    for _ in range(OPENINGS):
        viewer = Viewer(browser).open(path)
        entry = "performance.getEntriesByName('first-step')[0].startTime"
        seconds.append(viewer.page.evaluate(entry) / 1000)
        viewer.context.close()
    return float(np.median(seconds))


def verdict(value: float, limit: float) -> str:
    """The figure's limit and whether it is kept."""
    return f" (limit {limit:g}: {'kept' if value <= limit else 'MISSED'})" if limit else ""


def run(row: Row, folder: Path, browser: Any, figures: list[dict[str, Any]]) -> bool:
    """Prints the figures of a row and adds them; returns whether all its limits are kept."""
    found = episodes(row)
    began = time.process_time()
    made = report(
        numbered(found, row.count), folder / "report.html", warn_above=10**9, refuse_above=10**9
    )
    cpu, size = time.process_time() - began, made.size / 1e6
    part = row.count // 100
    began = time.process_time()
    json_size = sum(map(len, as_json(found[:part]))) * (row.count / min(part, DISTINCT)) / 1e6
    json_cpu = (time.process_time() - began) * (row.count / min(part, DISTINCT))
    print(f"\n{row.name}, {STEPS} steps each")
    print(f"  size        {size:8.2f} MB{verdict(size, row.megabytes)}")
    print(f"  pack        {cpu:8.2f} s CPU{verdict(cpu, row.cpu)}")
    print(f"  as JSON     {json_size:8.2f} MB, {json_cpu:.2f} s CPU")
    print(f"  ratio       {size / json_size:8.2f} of the size, {cpu / json_cpu:.2f} of the time")
    told = [("size", size, "MB"), ("packed in", cpu, "s CPU")]
    kept = size <= (row.megabytes or size) and cpu <= (row.cpu or cpu)
    if browser is not None:
        drawn = first_step(browser, made.path)
        print(f"  first step  {drawn:8.2f} s after loading begins{verdict(drawn, row.first_step)}")
        told.append(("first step drawn after", drawn, "s"))
        kept = kept and drawn <= (row.first_step or drawn)
    figures += [
        {"what": f"viewer, {what}", "against": row.name, "value": value, "unit": unit}
        for what, value, unit in told
    ]
    return kept


def main() -> int:
    """Runs all rows; the exit code is 1 if a limit is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--no-browser", action="store_true", help="only size and packing")
    options.add_argument("--json", type=Path, help="write the figures here as well")
    chosen = options.parse_args()
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if chosen.no_browser:
            kept = [run(row, Path(folder), None, figures) for row in ROWS]
        else:
            with chromium() as browser:
                kept = [run(row, Path(folder), browser, figures) for row in ROWS]
    if chosen.json:
        save_json(chosen.json, figures=figures)
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
