"""The command `jaxarc-trace`: puts the parts together, and turns errors into one clear line.

Everything but typer and rich is imported by the command that needs it, so that `--help` is quick.
"""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace import (
    commands_bench,
    commands_config,
    commands_debug,
    commands_demo,
    commands_doctor,
    commands_episodes,
    commands_exchange,
    commands_keep,
    commands_publish,
    commands_render,
    commands_replay,
    commands_runs,
    commands_stats,
)
from jaxarc_trace.commands_common import Commands, visible
from jaxarc_trace.errors import ConfigError, TraceError

__all__ = ["app", "main"]

app: Commands = Commands(
    name="jaxarc-trace",
    no_args_is_help=True,
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
        found = error.problems if isinstance(error, ConfigError) else ()
        lines = [str(error)] if len(found) < 2 else [f"{len(found)} things are wrong", *found]
        text = "\n  ".join(visible(line, 4000) for line in lines)
        message = Text.assemble(("Error: ", "bold red"), text)
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
    """A flight recorder for RL agents in JAX: capture episodes inside jit, look at them later."""


for _commands in (
    commands_demo,
    commands_episodes,
    commands_render,
    commands_runs,
    commands_replay,
    commands_stats,
    commands_debug,
    commands_keep,
    commands_exchange,
    commands_publish,
    commands_config,
    commands_bench,
    commands_doctor,
):
    _commands.add_commands(app)


if __name__ == "__main__":
    main()
