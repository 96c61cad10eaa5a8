"""Interleaved, paired timing of compiled programs, and what the compiler says of them.

A round runs every program once, in an order that changes from round to round; a ratio is taken
within a round and the median over rounds is reported, so that a machine whose speed drifts, or
that others use, moves both sides of it. Nothing here knows of a trace.
"""

import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

__all__ = [
    "Program",
    "Ratio",
    "compile_program",
    "compiler_figures",
    "machine",
    "measure",
    "ratio",
    "rounds_in_order",
]

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = ", re.MULTILINE)


@dataclass
class Program:
    """One compiled program and its measurements.

    Attributes:
        name: the row's name.
        run: runs it once and waits for its result.
        compiled: the compiled XLA program, for the noise-free figures.
        work: share of the reference work that one run does, for rows that are extrapolated.
        prepare: called before each run and not timed, for instance to copy what a run gives away.
        wall: seconds of each round.
        cpu: process CPU seconds of each round, all threads.
    """

    name: str
    run: Callable[[], Any]
    compiled: Any = None
    work: float = 1.0
    prepare: Callable[[], Any] | None = None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Ratio:
    """The ratios within rounds: their median, and an interval that holds the true median.

    The interval is made of two of the ratios themselves, by their rank, so it assumes nothing
    about how they are distributed: the true median lies outside only if so many of the rounds
    fall on one side of it, which has the probability of that many heads in a row of coins.

    Attributes:
        median: of the ratios.
        low: lower end of the interval.
        high: upper end.
        coverage: probability that the interval holds the true median; at least 0.95 from six
            rounds on, less with fewer.
        q1: lower quartile of the ratios.
        q3: upper quartile.
        rounds: number of ratios.
    """

    median: float
    low: float
    high: float
    coverage: float
    q1: float
    q3: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def compile_program(name: str, function: Callable[..., Any], *args: Any) -> Program:
    """Compiles a function of the given arguments into a `Program`.

    A function that is jitted already is compiled as it is. Where it gives away (donates) an
    argument, each run gets a copy of its own, made before the clock starts.
    """
    jitted: Any = function if hasattr(function, "lower") else jax.jit(function)
    lowered = jitted.lower(*args)
    compiled = lowered.compile()
    if not any(info.donated for info in jax.tree.leaves(lowered.args_info)):
        return Program(name, lambda: jax.block_until_ready(compiled(*args)), compiled)
    copies: list[Any] = []

    def prepare() -> None:
        copies.append(jax.block_until_ready(jax.tree.map(_copied, args)))

    def run() -> Any:
        return jax.block_until_ready(compiled(*copies.pop()))

    return Program(name, run, compiled, prepare=prepare)


def _copied(leaf: Any) -> Any:
    return leaf.copy() if isinstance(leaf, jax.Array) else leaf


def rounds_in_order(count: int, rounds: int) -> Iterator[list[int]]:
    """Which of `count` programs runs when: each once a round, and in every place equally often.

    Every other cycle of `count` rounds goes backwards, so that none always follows the same one.
    """
    for index in range(rounds):
        cycle, shift = divmod(index, count)
        order = [*range(shift, count), *range(shift)]
        yield order[::-1] if cycle % 2 else order


def measure(programs: Sequence[Program], rounds: int) -> None:
    """Runs all programs `rounds` times, interleaved, after one warm-up each."""
    for program in programs:
        _timed(program)
    for order in rounds_in_order(len(programs), rounds):
        for index in order:
            program = programs[index]
            wall, cpu = _timed(program)
            program.wall.append(wall / program.work)
            program.cpu.append(cpu / program.work)


def _timed(program: Program) -> tuple[float, float]:
    """Wall and CPU seconds of one run, host callbacks included."""
    if program.prepare is not None:
        program.prepare()
    wall, cpu = time.perf_counter(), time.process_time()
    program.run()
    jax.effects_barrier()
    return time.perf_counter() - wall, time.process_time() - cpu


def ratio(top: Sequence[float], bottom: Sequence[float], confidence: float = 0.95) -> Ratio:
    """What the first list is of the second, pair by pair.

    Args:
        top: one measurement a round.
        bottom: those of the base, of the same rounds.
        confidence: the least `coverage` asked for, where there are rounds enough.
    """
    pairs = sorted(a / b for a, b in zip(top, bottom, strict=True))
    count = len(pairs)
    rank, coverage = _rank(count, confidence)
    q1, _, q3 = statistics.quantiles(pairs, n=4) if count > 1 else pairs * 3
    return Ratio(
        statistics.median(pairs), pairs[rank], pairs[-1 - rank], coverage, q1, q3, rounds=count
    )


def _rank(count: int, confidence: float) -> tuple[int, float]:
    """How many of `count` sorted values lie outside an interval for the median at each end.

    From the sign test: the number of values below the true median is that of heads of a coin.
    """
    rank, tail = 0, 0.5**count
    while True:
        further = tail + math.comb(count, rank + 1) * 0.5**count
        if 1 - 2 * further < confidence or 2 * (rank + 1) >= count:
            return rank, 1 - 2 * tail
        rank, tail = rank + 1, further


def compiler_figures(compiled: Any, marker: str | None = None) -> dict[str, float]:
    """What does not depend on the machine's mood.

    Args:
        compiled: a compiled XLA program.
        marker: a regular expression; how often it occurs in the optimised HLO is reported as
            `marks`.

    Returns:
        `flops`, `bytes_accessed`, `temp_bytes`, `argument_bytes`, `output_bytes`, `code_bytes`
        and `instructions`; nothing without a program.
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
        "argument_bytes": float(memory.argument_size_in_bytes),
        "output_bytes": float(memory.output_size_in_bytes),
        "code_bytes": float(memory.generated_code_size_in_bytes),
        "instructions": float(len(_INSTRUCTION.findall(text))),
    }
    if marker:
        figures["marks"] = float(len(re.findall(marker, text)))
    return figures


def machine() -> dict[str, str]:
    """What the figures were measured on, and when (UTC)."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.*)", cpuinfo.read_text())
        model = found[1] if found else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": jax.devices()[0].device_kind,
        "cpu": model or platform.processor(),
        "cores": str(cores),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "equinox", "numpy")},
    }
