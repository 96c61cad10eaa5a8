"""The command `jaxarc-trace`: puts the parts together, and turns errors into one clear line.

Everything but typer and rich is imported by the command that needs it, so that `--help` is quick.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace import (
    commands_exchange,
    commands_keep,
    commands_render,
    commands_replay,
    commands_runs,
    commands_stats,
)
from jaxarc_trace.commands_common import visible
from jaxarc_trace.errors import TraceError

__all__ = ["app", "main"]

app = typer.Typer(
    name="jaxarc-trace",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_USAGE = 2
_TRACEBACK = "--traceback"


def main() -> None:
    """Runs the command line; an error is one line on stderr and exit code 2."""
    try:
        app()
    except (TraceError, OSError) as error:
        if _TRACEBACK in sys.argv:
            raise
        # A path or a name in it may hold anything, a newline or a terminal's commands as well.
        message = Text.assemble(("Error: ", "bold red"), visible(str(error), 4000))
        Console(stderr=True).print(message, soft_wrap=True)
        raise SystemExit(_USAGE) from None


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer passes the option's value
    if wanted:
        from jaxarc_trace import __version__

        typer.echo(f"jaxarc-trace {__version__}")
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """A flight recorder for JaxARC: capture episodes inside jit, look at them afterwards."""


@app.command()
def demo(
    *,
    seed: Annotated[int, typer.Option(help="The same seed gives the same episodes.")] = 0,
    lanes: Annotated[int, typer.Option(help="Environments side by side.")] = 64,
    steps: Annotated[int, typer.Option(help="Steps of each environment.")] = 128,
    out: Annotated[
        Path, typer.Option(help="Folder to write to; never overwrites, takes a fresh name.")
    ] = Path("jaxarc-trace-demo"),
    task: Annotated[
        list[str] | None,
        typer.Option(help="ARC-1 task id; repeat for several. Default: sixteen named ones."),
    ] = None,
    traceback: Annotated[  # noqa: ARG001 - read by `main`, listed here for the help
        bool, typer.Option(_TRACEBACK, help="Show the whole traceback of an error.")
    ] = False,
) -> None:
    """Record a scripted player on ARC tasks in one jitted scan; save, load, list and draw it."""
    start = time.perf_counter()
    from jaxarc_trace.demo.run import Demo, run
    from jaxarc_trace.demo.show import show_played, stages
    from jaxarc_trace.demo.tasks import DEMO_TASKS

    console = Console()
    wanted = Demo(out, seed, lanes, steps, tuple(dict.fromkeys(task or DEMO_TASKS)))
    with stages(console) as stage:
        played = run(wanted, stage)
    show_played(console, wanted, played, time.perf_counter() - start)


for commands in (
    commands_render,
    commands_runs,
    commands_replay,
    commands_stats,
    commands_keep,
    commands_exchange,
):
    commands.add_commands(app)


if __name__ == "__main__":
    main()
