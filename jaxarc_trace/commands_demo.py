"""The command `demo`: plays, records, saves and draws, with any settings."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from jaxarc_trace.commands_common import JSON, TRACEBACK, ending, show_json, warned
from jaxarc_trace.commands_config import FILE, OVERRIDES
from jaxarc_trace.errors import SpecError

if TYPE_CHECKING:
    from jaxarc_trace.config_sections import TraceConfig
    from jaxarc_trace.demo.run import Demo

__all__ = ["add_commands"]

_OUT = Path("jaxarc-trace-demo")
_EXAMPLES = (
    "jaxarc-trace demo --lanes 16",
    "jaxarc-trace demo level=full storage=research render=colorblind storage.limit_gb=2",
    "jaxarc-trace demo --from-run jaxarc-trace-demo render=high_contrast --json",
)
_KEYS = (
    "path, trace, seed, lanes, steps, tasks, seconds, episodes, ended, solved, kept (index, id, "
    "task, length, return, similarity_final, similarity_best, outcome, truncated, kept_by), "
    "pictures, next"
)
# The folder of a demo is what --out says.
_ELSEWHERE = ("storage.root", "storage.name")


def add_commands(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command("demo", epilog=ending(*_EXAMPLES, keys=_KEYS))(demo)


def demo(  # noqa: PLR0913 - one argument an option
    overrides: OVERRIDES = None,
    *,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed gives the same episodes. Default: 0.", show_default=False),
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(help="Environments side by side. Default: 64.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of each environment. Default: 128.", show_default=False),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder to write to; never overwrites, takes a fresh name."
        ),
    ] = _OUT,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="ARC-1 task id; repeat for several. Default: sixteen named ones.",
            show_default=False,
        ),
    ] = None,
    config: FILE = None,
    from_run: Annotated[
        Path | None,
        typer.Option(
            help="Play again what made this run; other words change it.", show_default=False
        ),
    ] = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Record a scripted player on ARC tasks in one jitted scan; save, load, list and draw it."""
    start = time.perf_counter()
    from jaxarc_trace.demo.run import run
    from jaxarc_trace.demo.show import played_json, show_played, stages

    wanted = _wanted(out, from_run, config, overrides or [])
    given = {"seed": seed, "lanes": lanes, "steps": steps}
    given |= {"tasks": tuple(dict.fromkeys(task)) if task else None}
    wanted = replace(wanted, **{name: value for name, value in given.items() if value is not None})
    # How far it is, is no part of what a script reads.
    console = Console(stderr=as_json)
    with warned(), stages(console) as stage:
        played = run(wanted, stage)
    seconds = time.perf_counter() - start
    if as_json:
        show_json(played_json(wanted, played, seconds))
    else:
        show_played(console, wanted, played, seconds)


def _wanted(out: Path, from_run: Path | None, file: Path | None, overrides: list[str]) -> "Demo":
    """The demo that the files and the words ask for."""
    from jaxarc_trace.demo.run import Demo, played_before

    if from_run is not None and file is not None:
        raise SpecError("expected --from-run or --config, found both; leave one out")
    wanted = Demo(out) if from_run is None else played_before(from_run, out)
    return replace(wanted, config=_settings(wanted.config, file, overrides))


def _settings(before: "TraceConfig", file: Path | None, overrides: list[str]) -> "TraceConfig":
    from jaxarc_trace.config_compose import compose, from_yaml

    for override in overrides:
        if override.removeprefix("trace.").partition("=")[0] in _ELSEWHERE:
            raise SpecError(f"expected --out to say where the demo writes, found {override!r}")
    base = before if file is None else from_yaml(file)
    return compose(overrides, base) if overrides else base
