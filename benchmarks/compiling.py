"""How long tracing takes to compile, and how little with JAX's persistent compilation cache.

JaxARC, 256 lanes x 128 steps, the programs of `overhead.py`. Each is compiled in a process of its
own, Python's tracing included, first with an empty cache and then with what that left; the programs
take turns, and a ratio is taken within a round. JAX does not put a program with host callbacks into
the cache. Times of this kind differ by a quarter on a shared machine; the number of instructions in
the compiled program, those within fusions included, does not.

    python benchmarks/compiling.py [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Before jax is imported: JaxARC's checks would otherwise be host callbacks of their own.
os.environ.setdefault("EQX_ON_ERROR", "off")

import jax
from overhead import (
    BLOCKS,
    LATE,
    by_callback,
    every_lane,
    in_blocks,
    jaxarc_world,
    late,
    recorder,
    specs,
    traced,
)
from timing import Ratio, ratio, save_json

LANES, STEPS = 256, 128
CALLBACK = "debug.callback"
ROWS = (BLOCKS, LATE, *specs(1), by_callback(CALLBACK))

# What `compile_once` gave in each round, with an empty cache ("cold") and with a full one.
Rounds = dict[str, list[dict[str, float]]]


def compile_once(row: str) -> dict[str, float]:
    """What it takes from the Python function to the program that can be run.

    Returns:
        Seconds of the clock (`wall`) and of the processor (`cpu`), and the `instructions` of the
        program, those within fusions included.
    """
    env, policy = jaxarc_world()
    size = (LANES, STEPS)
    if row in (found := specs(100)):
        program = traced(env, policy, found[row], *size)
    else:
        extra = recorder(env, policy, LANES, CALLBACK) if row == by_callback(CALLBACK) else None
        program = late(env, policy, *size, extra, every_lane if row == LATE else in_blocks)
    key = jax.random.key(0)
    # What was traced to lay out a record would be missing from the time of that row.
    jax.clear_caches()
    began = time.perf_counter(), time.process_time()
    compiled = jax.jit(program).lower(key).compile()
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    instructions = sum(" = " in line for line in (compiled.as_text() or "").splitlines())
    return {"wall": took[0], "cpu": took[1], "instructions": instructions}


def in_process(row: str, cache: str) -> dict[str, float]:
    """`compile_once` in a process that reads and writes a cache of compiled programs."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    words = [sys.executable, __file__, "--row", row]
    done = subprocess.run(
        words, env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


class Row(NamedTuple):
    """The rounds of one program: medians, and ratios to `BLOCKS` within a round."""

    cold: float
    cached: float
    wall: Ratio
    cpu: Ratio
    instructions: float


def summed_up(found: Rounds, base: Rounds) -> Row:
    """One row of the table."""

    def of(which: Rounds, kind: str, what: str) -> list[float]:
        return [each[what] for each in which[kind]]

    return Row(
        cold=statistics.median(of(found, "cold", "wall")),
        cached=statistics.median(of(found, "cached", "wall")),
        wall=ratio(of(found, "cold", "wall"), of(base, "cold", "wall")),
        cpu=ratio(of(found, "cold", "cpu"), of(base, "cold", "cpu")),
        instructions=found["cold"][0]["instructions"],
    )


def as_table(rows: Mapping[str, Row]) -> str:
    """The rows in Markdown, ratios with their quartiles."""
    heads = ("", "cold, s", "of blocks", "its CPU time", "from JAX's cache, s", "instructions")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, row in rows.items():
        shares = (f"{r.median:.2f} ({r.q1:.2f}–{r.q3:.2f})" for r in (row.wall, row.cpu))
        cells = (name, f"{row.cold:.1f}", *shares, f"{row.cached:.1f}", f"{row.instructions:,}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figures_of(rows: Mapping[str, Row]) -> Iterator[dict[str, Any]]:
    """What `table.py` takes over."""
    for name, row in rows.items():
        for what, against, value, unit in (
            ("compile cold", "", row.cold, "s"),
            ("compile from JAX's cache", "", row.cached, "s"),
            ("compile cold, CPU time", BLOCKS, row.cpu.median, "x"),
            ("instructions", "", row.instructions / 1000, "thousand"),
        ):
            yield {"what": f"{what}: {name}", "against": against, "value": value, "unit": unit}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    parser.add_argument("--row", choices=ROWS, help="compile this one here, and print what it took")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(compile_once(options.row)))
        return
    seen: dict[str, Rounds] = {row: {"cold": [], "cached": []} for row in ROWS}
    for _ in range(options.rounds):
        for row in ROWS:
            with tempfile.TemporaryDirectory() as cache:
                seen[row]["cold"].append(in_process(row, cache))
                seen[row]["cached"].append(in_process(row, cache))
    rows = {row: summed_up(found, seen[BLOCKS]) for row, found in seen.items()}
    print(as_table(rows))
    if options.json:
        figures = list(figures_of(rows))
        save_json(options.json, lanes=LANES, steps=STEPS, figures=figures, rounds=seen)


if __name__ == "__main__":
    main()
