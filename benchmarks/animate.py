"""Animations and the terminal: how long and how large, beside JaxARC's rich table in the same run.

    python benchmarks/animate.py              # 15 rounds
    python benchmarks/animate.py --rounds 5

The animation is of 100 steps that JaxARC really played. The terminal rows draw one 30 x 30 grid;
JaxARC's table is made and written to a string, as ours is. Each round runs every program once, in
changing order; times are of the processor, the ratio is the median over rounds.
"""

import argparse
import io
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("EQX_ON_ERROR", "off")
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax.numpy as jnp
import numpy as np
from loguru import logger
from rich.console import Console
from timing import save_json

from benchmarks.render import arc, measure, noise, ratio
from jaxarc_trace.render.animate import animation
from jaxarc_trace.render.blocks import half_blocks
from jaxarc_trace.render.theme import theme
from tests.render.stored import stored

SECONDS, BYTES, FACTOR = 0.5, 250_000, 100.0


def table(values: np.ndarray, kind: Any) -> Callable[[], str]:
    """JaxARC's rich table of a grid of `kind` (`jnp.asarray` or `np.asarray`), as text."""
    from jaxarc.utils.visualization import visualize_grid_rich

    grid = kind(values)

    def draw() -> str:
        out = io.StringIO()
        console = Console(file=out, force_terminal=True, color_system="truecolor", width=200)
        console.print(visualize_grid_rich(grid))
        return out.getvalue()

    return draw


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="Measures animations and the terminal.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    rounds, figures = options.rounds, []
    logger.disable("jaxarc")
    episode = stored("long")
    for suffix in (".gif", ".apng", ".webp", ".mp4"):
        taken = measure({"ours": lambda s=suffix: animation(episode, s)}, rounds)["ours"]
        middle, size = statistics.median(taken), len(animation(episode, suffix))
        what = f"{suffix[1:].upper()} of {len(episode)} steps"
        figures.append({"what": what, "against": "", "value": middle, "unit": "s"})
        figures.append({"what": what, "against": "", "value": size / 1000, "unit": "kB"})
        reached = middle <= SECONDS and size <= BYTES
        # Only the first two have figures to reach.
        verdict = "" if suffix in (".webp", ".mp4") else "ok" if reached else "MISSED"
        print(
            f"{suffix:6} {len(episode)} steps  {middle:6.3f} s (at most {SECONDS})  "
            f"{size / 1000:6.1f} kB (at most {BYTES / 1000:.0f})  {verdict}"
        )
    look = theme()
    for name, (values, _) in (("noise", noise()), ("arc", arc())):
        seconds = measure(
            {
                "jax": table(values, jnp.asarray),
                "numpy": table(values, np.asarray),
                "ours": lambda v=values: "\n".join(half_blocks(v, look)),
            },
            rounds,
        )
        ours = statistics.median(seconds["ours"])
        for kind in ("jax", "numpy"):
            factor = ratio(seconds[kind], seconds["ours"])
            theirs = statistics.median(seconds[kind])
            what, against = f"{name} grid in a terminal", f"JaxARC's own of {kind} / ours"
            figures.append({"what": what, "against": against, "value": factor, "unit": "times"})
            print(
                f"terminal {name:6} {kind:6} {factor:8.1f}x  {theirs * 1e3:9.2f} ms  "
                f"{ours * 1e3:7.3f} ms   at least {FACTOR:.0f}: "
                f"{'ok' if factor >= FACTOR else 'MISSED'}"
            )
    if options.json:
        save_json(options.json, figures=figures)


if __name__ == "__main__":
    main()
