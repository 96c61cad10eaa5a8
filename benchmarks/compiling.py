"""How long tracing takes to compile, and how little with JAX's persistent compilation cache.

JaxARC, 256 lanes x 128 steps, the programs of `overhead.py`. Each is compiled in a process of its
own, Python's tracing included, first with an empty cache and then with what that left; the programs
take turns. JAX does not put a program with host callbacks into the cache.

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
from pathlib import Path
from typing import Any

# Before jax is imported: JaxARC's checks would otherwise be host callbacks of their own.
os.environ.setdefault("EQX_ON_ERROR", "off")

import jax
from overhead import LATE, by_callback, jaxarc_world, late, recorder, specs, traced
from timing import save_json

LANES, STEPS = 256, 128
CALLBACK = "debug.callback"
ROWS = (LATE, *specs(1), by_callback(CALLBACK))


def compile_once(row: str) -> float:
    """Seconds from the Python function to the program that can be run."""
    env, policy = jaxarc_world()
    size = (LANES, STEPS)
    if row in (found := specs(100)):
        program = traced(env, policy, found[row], *size)
    else:
        extra = None if row == LATE else recorder(env, policy, LANES, CALLBACK)
        program = late(env, policy, *size, extra)
    key = jax.random.key(0)
    # What was traced to lay out a record would be missing from the time of that row.
    jax.clear_caches()
    began = time.perf_counter()
    jax.jit(program).lower(key).compile()
    return time.perf_counter() - began


def in_process(row: str, cache: str) -> float:
    """`compile_once` in a process that reads and writes a cache of compiled programs."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    words = [sys.executable, __file__, "--row", row]
    done = subprocess.run(  # noqa: S603 - this script
        words, env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    parser.add_argument("--row", choices=ROWS, help="compile this one here, and print the seconds")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(compile_once(options.row)))
        return
    seen: dict[str, dict[str, list[float]]] = {row: {"cold": [], "cached": []} for row in ROWS}
    for _ in range(options.rounds):
        for row in ROWS:
            with tempfile.TemporaryDirectory() as cache:
                seen[row]["cold"].append(in_process(row, cache))
                seen[row]["cached"].append(in_process(row, cache))
    base = seen[LATE]["cold"]
    figures: list[dict[str, Any]] = []
    print(f"{'':46}{'cold, s':>9}{'of late':>9}{'cached, s':>11}")
    for row, found in seen.items():
        cold, cached = (statistics.median(found[kind]) for kind in ("cold", "cached"))
        share = statistics.median(a / b for a, b in zip(found["cold"], base, strict=True))
        print(f"{row:46}{cold:9.2f}{share:9.2f}{cached:11.2f}")
        for kind, value in (("cold", cold), ("from JAX's cache", cached)):
            what = f"compile {kind}: {row}"
            figures.append({"what": what, "against": "", "value": value, "unit": "s"})
    if options.json:
        save_json(options.json, lanes=LANES, steps=STEPS, figures=figures, rounds=seen)


if __name__ == "__main__":
    main()
