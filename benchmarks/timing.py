"""Interleaved, paired timing of compiled programs, and what the compiler says of them.

A round runs every program once, in an order that changes from round to round; a ratio is taken
within a round and the median over rounds is reported, so that a machine whose speed drifts, or
that others use, moves both sides of it.
"""

import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


@dataclass
class Program:
    """One compiled program and its measurements.

    Attributes:
        name: the row's name.
        run: runs it once and waits for its result.
        compiled: the compiled XLA program, for the noise-free figures.
        work: share of the reference work that one run does, for rows that are extrapolated.
        wall: seconds of each round.
        cpu: process CPU seconds of each round, all threads.
    """

    name: str
    run: Callable[[], Any]
    compiled: Any = None
    work: float = 1.0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def compile_program(name: str, function: Callable[..., Any], *args: Any) -> Program:
    """Compiles a function of the given arguments into a `Program`."""
    compiled = jax.jit(function).lower(*args).compile()
    return Program(name, lambda: jax.block_until_ready(compiled(*args)), compiled)


def measure(programs: list[Program], rounds: int) -> None:
    """Runs all programs `rounds` times, interleaved, after one warm-up each."""
    for program in programs:
        program.run()
        jax.effects_barrier()
    for index in range(rounds):
        shift = index % len(programs)
        order = programs[shift:] + programs[:shift]
        for program in order if index % 2 else reversed(order):
            wall, cpu = time.perf_counter(), time.process_time()
            program.run()
            jax.effects_barrier()
            program.wall.append((time.perf_counter() - wall) / program.work)
            program.cpu.append((time.process_time() - cpu) / program.work)


def ratio(top: list[float], bottom: list[float]) -> dict[str, float]:
    """Median and quartiles of the ratios within rounds."""
    pairs = sorted(a / b for a, b in zip(top, bottom, strict=True))
    low, _, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
    return {"median": statistics.median(pairs), "q1": low, "q3": high}


def compiler_figures(compiled: Any, marker: str | None = None) -> dict[str, float]:
    """What does not depend on the machine's mood.

    Args:
        compiled: a compiled XLA program.
        marker: a regular expression; how often it occurs in the optimised HLO is reported as
            `marks`.
    """
    if compiled is None:
        return {}
    cost = compiled.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    memory = compiled.memory_analysis()
    text = compiled.as_text()
    figures = {
        "flops": cost.get("flops", 0.0),
        "bytes_accessed": cost.get("bytes accessed", 0.0),
        "temp_bytes": float(memory.temp_size_in_bytes),
        "output_bytes": float(memory.output_size_in_bytes),
        "instructions": float(len(re.findall(r"^\s+(?:ROOT )?%?[\w.-]+ = ", text, re.MULTILINE))),
    }
    if marker:
        figures["marks"] = float(len(re.findall(marker, text)))
    return figures


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.*)", cpuinfo.read_text())
        model = found[1] if found else ""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": jax.devices()[0].device_kind,
        "cpu": model or platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "equinox", "numpy")},
    }


def table(programs: list[Program], bases: Mapping[str, Program]) -> str:
    """The measurements as a Markdown table: ratios to each base, wall and CPU."""
    heads = [f"{kind} / {name}" for name in bases for kind in ("wall", "CPU")]
    lines = [
        "| program | ms | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    for program in programs:
        cells = [f"{1000 * statistics.median(program.wall):.1f}"]
        for base in bases.values():
            for top, bottom in ((program.wall, base.wall), (program.cpu, base.cpu)):
                r = ratio(top, bottom)
                cells.append(f"{r['median']:.3f} ({r['q1']:.2f}–{r['q3']:.2f})")
        lines.append(f"| {program.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save_json(path: Path, **parts: Any) -> None:
    """Writes results beside the machine they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **parts}, indent=1) + "\n")
