"""A store of 100,000 episodes opens at once, is filtered at once, and is read in bounded memory."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxarc_trace.store import load, save
from tests.recordings import recording

COUNT = 100_000


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this process' CPU time that work took, and what it gave."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def resident() -> float:
    """Megabytes of memory that the process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 1e6


@pytest.mark.slow
def test_a_hundred_thousand_episodes(tmp_path: Path):
    path = save(tmp_path / "a", recording([20] * COUNT))
    opening, episodes = cpu(lambda: load(path))
    assert opening < 0.5
    assert len(episodes) == COUNT
    tabling, table = cpu(lambda: episodes.table)
    assert table.height == COUNT
    assert tabling < 2
    filtering, chosen = cpu(lambda: episodes.where("solved = true AND length > 3"))
    assert 0 < len(chosen) < COUNT
    assert filtering < 0.5
    drawn = np.random.default_rng(0).integers(0, COUNT, 50).tolist()
    reading = [cpu(lambda index=index: episodes[index])[0] for index in drawn]
    assert np.median(reading) < 0.02
    for index in range(2000):
        episodes[index]
    before = resident()
    for index, _ in enumerate(episodes[:20_000]):
        if index % 2000 == 0:
            assert resident() < before + 100
