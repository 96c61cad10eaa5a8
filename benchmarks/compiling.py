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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LANES, STEPS = 256, 128
ROWS = ("late", "off", "ring", "shelf", "some lanes", "debug.callback")
NAMES: Mapping[str, str] = {
    "late": "late reset, untraced",
    "off": "rollout, level=off",
    "ring": "ring, all lanes",
    "shelf": "ring + shelf (8 best, 8 random), all lanes",
    "some lanes": "ring + shelf, 16 of the lanes",
    "debug.callback": "late reset + debug.callback, same record",
}


def compile_once(row: str) -> float:
    """Seconds from the Python function to the program that can be run."""
    # Before jax is imported: JaxARC's checks would otherwise be host callbacks of their own.
    os.environ["EQX_ON_ERROR"] = "off"
    import time

    import jax
    from overhead import SHELF, jaxarc_world, late, recorder, traced

    import jaxarc_trace as jt

    env, policy = jaxarc_world()
    size = (LANES, STEPS)

    def spec(**fields: Any) -> jt.TraceSpec:
        return jt.TraceSpec(max_steps=100, **fields)

    program = {
        "late": lambda: late(env, policy, *size),
        "off": lambda: traced(env, policy, spec(level="off"), *size),
        "ring": lambda: traced(env, policy, spec(keep="last"), *size),
        "shelf": lambda: traced(env, policy, spec(keep=SHELF), *size),
        "some lanes": lambda: traced(env, policy, spec(keep=SHELF, lanes=16), *size),
        "debug.callback": lambda: late(
            env, policy, *size, recorder(env, policy, LANES, "debug.callback")
        ),
    }[row]()
    key = jax.random.key(0)
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
    base = seen["late"]["cold"]
    figures: list[dict[str, Any]] = []
    print(f"{'':46}{'cold, s':>9}{'of late':>9}{'cached, s':>11}")
    for row, found in seen.items():
        cold, cached = (statistics.median(found[kind]) for kind in ("cold", "cached"))
        share = statistics.median(a / b for a, b in zip(found["cold"], base, strict=True))
        print(f"{NAMES[row]:46}{cold:9.2f}{share:9.2f}{cached:11.2f}")
        for kind, value in (("cold", cold), ("from JAX's cache", cached)):
            what = f"compile {kind}: {NAMES[row]}"
            figures.append({"what": what, "against": "", "value": value, "unit": "s"})
    if options.json:
        from timing import save_json

        rounds = {NAMES[row]: found for row, found in seen.items()}
        save_json(options.json, lanes=LANES, steps=STEPS, figures=figures, rounds=rounds)


if __name__ == "__main__":
    main()
