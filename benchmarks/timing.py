"""The package's interleaved timing, and how the benchmarks write its results down."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxarc_trace.timing import (
    Program,
    Ratio,
    compile_program,
    compiler_figures,
    machine,
    measure,
    ratio,
)

__all__ = [
    "AGAIN",
    "Program",
    "Ratio",
    "base",
    "base_name",
    "compile_program",
    "compiler_figures",
    "machine",
    "measure",
    "ratio",
    "save_json",
    "table",
]


AGAIN = ", a second time"
"""Ends the name of a row that runs the first row's program once more, with arrays of its own."""


def base(results: Mapping[str, Mapping[str, list[float]]]) -> dict[str, list[float]]:
    """What ratios are taken to: the first row, in each round the mean with itself once more.

    The same program with other arrays was 2 % slower through forty rounds (`benchmarks/README.md`),
    so a base that ran once can have an error that no number of rounds takes away.

    Args:
        results: `cpu` and `wall`, seconds of each round, by name of the row.
    """
    runs = [results[name] for name in _based_on(results)]
    return {
        kind: [statistics.fmean(times) for times in zip(*(run[kind] for run in runs), strict=True)]
        for kind in ("cpu", "wall")
    }


def base_name(results: Mapping[str, Any]) -> str:
    """What `base` is, in words."""
    name, *again = _based_on(results)
    return f"{name}, the mean of two runs" if again else name


def _based_on(results: Mapping[str, Any]) -> list[str]:
    name = next(iter(results))
    return [each for each in (name, name + AGAIN) if each in results]


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
                cells.append(f"{r.median:.3f} ({r.q1:.2f}–{r.q3:.2f})")
        lines.append(f"| {program.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save_json(path: Path, **parts: Any) -> None:
    """Writes results beside the machine they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **parts}, indent=1) + "\n")
