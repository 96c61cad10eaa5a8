"""What tracing costs a program: measured against the same program without it.

Nothing here reads or writes a file, and nothing is drawn: `render.overhead` does that.
"""

import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from jaxarc_trace.errors import SpecError
from jaxarc_trace.timing import (
    Program,
    Ratio,
    compile_program,
    compiler_figures,
    machine,
    measure,
    ratio,
    rounds_in_order,
)
from jaxarc_trace.verbs import AnyTrace

__all__ = ["Overhead", "Side", "compared", "measure_overhead", "sides"]


@dataclass(frozen=True)
class Side:
    """One of the two programs.

    Attributes:
        wall: seconds of each round.
        cpu: process CPU seconds of each round, all threads together.
        compile: seconds of each compilation, tracing by JAX included.
        output_bytes: bytes of everything that it returns.
        trace_bytes: bytes of the traces among it.
        compiler: what the compiler says of it, see `timing.compiler_figures`: `temp_bytes`,
            `argument_bytes`, `output_bytes`, `code_bytes` (memory analysis), `flops`,
            `bytes_accessed` (cost analysis), `instructions`.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    compile: tuple[float, ...]
    output_bytes: int
    trace_bytes: int
    compiler: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Overhead:
    """What a traced program costs against the same program untraced.

    Attributes:
        wall: ratio of wall times within rounds.
        cpu: ratio of process CPU times within rounds. On a machine that others use it is the
            steadier one; it does not see what an accelerator does.
        compile: ratio of compilation times.
        untraced: the program without tracing.
        traced: the program with it.
        budget: the largest ratio that is all right, or None.
        machine: what it was measured on.
        name: of the traced program.
    """

    wall: Ratio
    cpu: Ratio
    compile: Ratio
    untraced: Side
    traced: Side
    budget: float | None
    machine: Mapping[str, str]
    name: str = "traced"

    @property
    def judged(self) -> Ratio:
        """The ratio that the budget holds for: CPU time on a CPU, wall time on a device."""
        return self.cpu if self.machine.get("platform") == "cpu" else self.wall

    @property
    def verdict(self) -> str:
        """`within` or `above` the budget, `open` where the interval holds it, or `none`."""
        if self.budget is None:
            return "none"
        if self.judged.high <= self.budget:
            return "within"
        return "above" if self.judged.low > self.budget else "open"

    def json(self) -> str:
        """Everything measured, as JSON text."""
        told = {**asdict(self), "verdict": self.verdict}
        return json.dumps(told, indent=1, allow_nan=False)

    def __str__(self) -> str:
        a, b = self.untraced, self.traced
        how = f"median ({100 * self.wall.coverage:.0f}% interval) of {self.wall.rounds} rounds"
        built, rebuilt = statistics.median(a.compile), statistics.median(b.compile)
        lines = [
            f"{self.name}: ratio to the untraced program, {how}",
            f"  wall time    {self.wall}   {_ms(a.wall)} -> {_ms(b.wall)}",
            f"  CPU time     {self.cpu}   {_ms(a.cpu)} -> {_ms(b.cpu)}",
            f"  compile time {self.compile.median:.2f}   {built:.2f} s -> {rebuilt:.2f} s",
            f"  output       {a.output_bytes:,} -> {b.output_bytes:,} bytes",
            f"  trace        {b.trace_bytes:,} bytes",
        ]
        for name, title in (("temp_bytes", "scratch"), ("bytes_accessed", "traffic")):
            if name in a.compiler and name in b.compiler:
                there, here = a.compiler[name], b.compiler[name]
                lines.append(f"  {title:<12} {there:,.0f} -> {here:,.0f} bytes")
        if self.budget is not None:
            lines.append(f"  budget       {self.budget:g}: {_VERDICTS[self.verdict]}")
        return "\n".join(lines)


_VERDICTS = {
    "within": "kept",
    "above": "EXCEEDED",
    "open": "not decided, it lies in the interval; measure more rounds",
}


def measure_overhead(
    fn: Callable[..., Any],
    traced_fn: Callable[..., Any],
    *args: Any,
    traced_args: Sequence[Any] | None = None,
    rounds: int = 15,
    compiles: int = 1,
    budget: float | None = 1.05,
) -> Overhead:
    """Measures what a traced program costs against the same program without tracing.

    Both are compiled, run once to warm up, and then `rounds` times in turn, each first in every
    other round. A ratio is taken within a round, so what else the machine does moves both sides.

    Args:
        fn: the program without tracing, jitted or not; static arguments closed over.
        traced_fn: the program with it.
        args: arguments of both. Where a jitted program donates one, it gets copies.
        traced_args: arguments of the traced program, where they are others: a state with a trace.
        rounds: how often each is run; at least six for an interval of 95%.
        compiles: how often each is compiled, in turn, for the ratio of compilation times.
        budget: warn when the median is above this ratio, of CPU time where the default device is
            a CPU, else of wall time. None never warns.

    Returns:
        The ratios with their intervals, and what each program took.

    Raises:
        SpecError: for fewer than one round or compilation, or a budget that is not positive.

    Warns:
        RuntimeWarning: above the budget; whether the interval excludes it is said.
    """
    for what, value in (("rounds", rounds), ("compiles", compiles)):
        if not isinstance(value, int) or value < 1:
            raise SpecError(f"measure_overhead: {what}: expected at least 1, found {value!r}")
    if budget is not None and not budget > 0:
        raise SpecError(f"measure_overhead: budget: expected a positive ratio, found {budget!r}")
    programs = {"untraced": (fn, args), "traced": (traced_fn, traced_args or args)}
    untraced, traced = sides(programs, rounds, compiles)
    found = compared(untraced, traced, budget=budget)
    _warn(found)
    return found


def sides(
    given: Mapping[str, tuple[Callable[..., Any], Sequence[Any]]], rounds: int, compiles: int = 1
) -> list[Side]:
    """Measures programs in the same interleaved rounds.

    Args:
        given: by name, each function and its arguments.
        rounds: as `measure_overhead`.
        compiles: likewise.
    """
    with _no_persistent_cache():
        times = _compile_times(list(given.values()), compiles)
        programs = [compile_program(name, f, *values) for name, (f, values) in given.items()]
    measure(programs, rounds)
    return [
        _side(program, seconds, f, values)
        for program, seconds, (f, values) in zip(programs, times, given.values(), strict=True)
    ]


def compared(
    untraced: Side, traced: Side, *, budget: float | None = None, name: str = "traced"
) -> Overhead:
    """What the measurements of two programs, taken in the same rounds, say of the second."""
    where = {**machine(), "platform": jax.default_backend()}
    return Overhead(
        wall=ratio(traced.wall, untraced.wall),
        cpu=ratio(traced.cpu, untraced.cpu),
        compile=ratio(traced.compile, untraced.compile),
        untraced=untraced,
        traced=traced,
        budget=budget,
        machine=where,
        name=name,
    )


@contextmanager
def _no_persistent_cache() -> Iterator[None]:
    """JAX compiles what it is given, though it may have a cache on disk that would answer."""
    enabled: bool = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    # Whether there is a cache is looked up once, and remembered until this.
    reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
        reset_cache()


def _compile_times(given: Sequence[tuple[Any, Any]], compiles: int) -> list[list[float]]:
    """Seconds of each compilation of each program, in turn."""
    for function, values in given:
        # What both use, JAX's own functions for instance, is traced once a process.
        jax.eval_shape(function, *values)
    times: list[list[float]] = [[] for _ in given]
    for order in rounds_in_order(len(given), compiles):
        for index in order:
            function, values = given[index]
            start = time.perf_counter()
            # A function of its own each time, or JAX would give back the program of before.
            jax.jit(lambda *a, f=function: f(*a)).lower(*values).compile()
            times[index].append(time.perf_counter() - start)
    return times


def _side(program: Program, compile_times: list[float], function: Any, values: Any) -> Side:
    out = jax.eval_shape(function, *values)
    nodes = jax.tree.leaves(out, is_leaf=lambda node: isinstance(node, AnyTrace))
    return Side(
        wall=tuple(program.wall),
        cpu=tuple(program.cpu),
        compile=tuple(compile_times),
        output_bytes=_bytes(out),
        trace_bytes=sum(_bytes(node) for node in nodes if isinstance(node, AnyTrace)),
        compiler=compiler_figures(program.compiled),
    )


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _warn(found: Overhead) -> None:
    if found.budget is None or found.judged.median <= found.budget:
        return
    kind = "CPU" if found.judged is found.cpu else "wall"
    sure = (
        "the whole interval lies above it"
        if found.verdict == "above"
        else "but the interval reaches below it, so measure more rounds"
    )
    warnings.warn(
        f"tracing costs {found.judged} of the untraced program's {kind} time, above the budget "
        f"of {found.budget:g}: {sure}. Trace fewer lanes (lanes=16), keep fewer steps "
        "(capacity=...), or use level='minimal'",
        RuntimeWarning,
        stacklevel=3,
    )


def _ms(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.1f} ms"
