"""Publishing: how long it takes and how much it sends, with the real client and no internet.

    pip install -e '.[wandb,test]'
    python benchmarks/publish.py [--rounds 3] [--json FILE]

A run of six saves of 64 episodes each goes to the stand-in server of the tests on this machine, so
that what is measured is our work and the client's, not a network. Each round has a run of its own:
it is published, published again, and published after one more save. `bare client` is a process
that begins a run, logs a row and ends: the floor for anything that is published. Nothing of it
takes time of a training, which is another process.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from timing import save_json

import jaxarc_trace as jt
from jaxarc_trace.config_sections import Publish
from tests.recordings import ENVIRONMENT, recording
from tests.test_episodes import with_columns
from tests.wandb_http import serving
from tests.wandb_server import KEY, Server

SAVES, EPISODES = 6, 64
ROLES = {"grid": "grid", "operation": "operation", "task": "task"}
ONLINE = Publish(mode="online", artifact=True, deadline=300.0)
BARE = """
import wandb
run = wandb.init(project="bare", dir={folder!r}, settings=wandb.Settings(silent=True))
run.log({{"x": 1}})
run.finish()
"""


def save(run: jt.Run, index: int) -> None:
    """One save of new episodes of 8 to 71 steps."""
    grids = {**ENVIRONMENT, "roles": ROLES}
    made = recording(range(8, 8 + EPISODES), seed=index, environment=grids)
    numbers = made.columns["number"] + np.uint32(index * EPISODES)
    run.save(with_columns(made, number=numbers.tolist()), step=100 * index)


def clocked(work: Callable[[], Any], server: Server) -> dict[str, float]:
    """Seconds that work took, and the megabytes and requests that arrived meanwhile."""
    sent, asked = server.sent, len(server.asked)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    arrived = (server.sent - sent) / 1e6
    return {"s": seconds, "MB": arrived, "requests": len(server.asked) - asked}


def bare(folder: Path) -> None:
    """The client alone, in a process of its own as ours is."""
    subprocess.run([sys.executable, "-c", BARE.format(folder=str(folder))], check=True)


def publish(run: jt.Run, config: Publish, *, gallery: bool = True) -> None:
    """Publishes, and does not go on if something is left."""
    done = jt.publish(run, config, gallery=gallery)
    if done.exit_code:
        raise SystemExit(f"expected that all arrives, found: {done}")


def one_round(folder: Path, server: Server) -> dict[str, dict[str, float]]:
    """Every kind of publishing once, on a run of its own."""
    numbers = Publish(mode="online", artifact=False, deadline=300.0, project="numbers")
    with jt.Run.create(folder / "runs") as run:
        for index in range(SAVES):
            save(run, index)
        found = {
            "bare client": clocked(lambda: bare(folder), server),
            f"{SAVES} saves, numbers only": clocked(
                lambda: publish(run, numbers, gallery=False), server
            ),
            f"{SAVES} saves, with table, pictures, viewer and traces": clocked(
                lambda: publish(run, ONLINE), server
            ),
            "again, nothing new": clocked(lambda: publish(run, ONLINE), server),
        }
        save(run, SAVES)
        return {**found, "one more save": clocked(lambda: publish(run, ONLINE), server)}


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="Measures publishing to a server on this machine.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as home, serving() as server:
        os.environ |= {"HOME": home, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url}
        for index in range(options.rounds):
            folder = Path(home) / str(index)
            folder.mkdir()
            rounds.append(one_round(folder, server))
    figures = []
    for name in rounds[0]:
        middle = {
            unit: statistics.median(found[name][unit] for found in rounds)
            for unit in ("s", "MB", "requests")
        }
        print(f"{name:55}" + "".join(f"{value:10.2f} {unit}" for unit, value in middle.items()))
        figures += [
            {"what": f"publish, {name}", "against": "", "value": value, "unit": unit}
            for unit, value in middle.items()
        ]
    if options.json:
        save_json(options.json, figures=figures)


if __name__ == "__main__":
    main()
