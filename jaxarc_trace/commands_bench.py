"""The command `bench`: what tracing costs on this machine, as a table, JSON and a picture."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace.commands_common import (
    JSON,
    TRACEBACK,
    ending,
    say,
    show_json,
    show_table,
    size,
    table,
)
from jaxarc_trace.errors import SpecError

if TYPE_CHECKING:
    from jaxarc_trace.bench import Bench

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    examples = (
        "jaxarc-trace bench --lanes 64 --rounds 5 --json > bench.json",
        "jaxarc-trace bench --env CartPole-v1 --lanes 1024 --steps 512 --out overhead.svg",
    )
    keys = "machine, env, lanes, steps, rows"
    app.command("bench", epilog=ending(*examples, keys=keys))(bench)


def bench(  # noqa: PLR0913 - one argument an option
    *,
    env: Annotated[
        str, typer.Option(help="jaxarc, a gymnax environment, or module:name of a Stoa one.")
    ] = "jaxarc",
    lanes: Annotated[int, typer.Option(help="Environments side by side.")] = 256,
    steps: Annotated[int, typer.Option(help="Steps of each environment.")] = 128,
    max_steps: Annotated[int, typer.Option(help="Longest episode that is kept whole.")] = 100,
    rounds: Annotated[int, typer.Option(help="How often each program is run.")] = 15,
    compiles: Annotated[int, typer.Option(help="How often each program is compiled.")] = 1,
    budget: Annotated[float, typer.Option(help="Warn above this ratio.")] = 1.05,
    as_json: JSON = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="A picture: an .svg or .png file.", show_default=False),
    ] = None,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Measure what tracing costs here: a random player, traced and untraced, in turn.

    Each ratio is taken within a round, in which every program runs once; their median and the
    interval that holds the true one are printed. On a CPU the budget is one of CPU time.
    """
    if out is not None and out.suffix not in (".svg", ".png"):
        raise SpecError(f"expected --out to end in .svg or .png, found {out.name!r}.")
    # JaxARC raises through host callbacks unless Equinox is told not to, before it is imported.
    os.environ.setdefault("EQX_ON_ERROR", "off")
    from jaxarc_trace import bench as measuring

    found = measuring.bench(
        env,
        lanes=lanes,
        steps=steps,
        max_steps=max_steps,
        rounds=rounds,
        compiles=compiles,
        budget=budget,
    )
    if as_json:
        show_json(found.to_json())
    else:
        _show(found)
    for line in measuring.above_budget(found.rows):
        warning = Text.assemble(("Warning: ", "bold yellow"), line)
        Console(stderr=True).print(warning, soft_wrap=True)
    if out is not None:
        drawn = measuring.picture(found)
        written = drawn.save_png(out) if out.suffix == ".png" else drawn.save_svg(out)
        if not as_json:
            say(str(written))


def _show(found: "Bench") -> None:
    first = found.rows[0]
    machine, sure = first.machine, f"{100 * first.wall.coverage:.0f}% interval"
    say(
        f"{found.env}: {found.lanes:,} lanes x {found.steps:,} steps, {first.wall.rounds} rounds, "
        f"{machine['device']}, {machine['cores']} cores. Ratios to the untraced program: median "
        f"({sure})."
    )
    made = table("traced", "CPU time", "wall time", "compile", "trace", "scratch", "budget")
    for row in found.rows:
        scratch = row.traced.compiler.get("temp_bytes", 0.0)
        made.add_row(
            row.name,
            str(row.cpu),
            str(row.wall),
            f"{row.compile.median:.2f}",
            size(row.traced.trace_bytes),
            size(scratch),
            row.verdict,
        )
    show_table(made)
