"""The command `publish`: a run to Weights & Biases, once, or beside a training."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace.commands_common import (
    JSON,
    TRACEBACK,
    WHERE,
    ending,
    plural,
    say,
    show_json,
    size,
    visible,
)
from jaxarc_trace.commands_config import OVERRIDES
from jaxarc_trace.errors import SpecError

if TYPE_CHECKING:
    from jaxarc_trace.config_sections import TraceConfig
    from jaxarc_trace.publish import Progress, Published

__all__ = ["add_commands"]

_LOOK_SECONDS = 10.0
_STOPPED = 130
_RUN = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]
_EXAMPLES = ("--best 8 publish=wandb_full", "--watch", "--status --json")
_KEYS = (
    "path, mode, url, sent, confirmed, pending, failed, problem, offline, notes, command, seconds, "
    "exit_code; with --dry-run instead run, keys, rows, traces, trace_bytes, galleries, lost, "
    "publish; with --status instead run, places"
)


def add_commands(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    run = "jaxarc-trace publish runs/2026-01-31T12-00-00Z_ppo"
    examples = (f"{run} {words}" for words in _EXAMPLES)
    found, left = "something cannot be sent", "something is left to send"
    app.command("publish", epilog=ending(*examples, keys=_KEYS, found=found, left=left))(publish)


def publish(  # noqa: PLR0913 - one argument an option
    run: _RUN,
    overrides: OVERRIDES = None,
    *,
    best: Annotated[
        int | None,
        typer.Option(
            help="So many with the largest return, with steps. Default 8.", show_default=False
        ),
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(
            help="So many with the smallest return, with steps. Default 4.", show_default=False
        ),
    ] = None,
    where: WHERE = None,
    project: Annotated[str | None, typer.Option(help="Project at W&B.", show_default=False)] = None,
    entity: Annotated[
        str | None, typer.Option(help="User or team at W&B.", show_default=False)
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Group; default: by the config.", show_default=False)
    ] = None,
    tags: Annotated[
        str | None, typer.Option(help="Tags, by comma; default: by the config.", show_default=False)
    ] = None,
    job_type: Annotated[
        str | None, typer.Option(help="Job type; default: by the config.", show_default=False)
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds after which sending is given up.", min=1, show_default=False),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Prepare a run to be sent later; send nothing.")
    ] = False,
    gallery: Annotated[
        bool, typer.Option("--gallery/--no-gallery", help="With table and viewer.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and do nothing.")
    ] = False,
    ask_status: Annotated[
        bool, typer.Option("--status", help="Say what is confirmed, pending and failed.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Publish new saves until the training ends.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between looks with --watch.", min=0.1)] = (
        _LOOK_SECONDS
    ),
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Send a run to Weights & Biases: numbers, pictures, the viewer and, on request, the traces.

    What W&B confirmed is not sent again. Where something is left to send, an offline run of it is
    in RUN, and the command that sends it is printed.
    """
    from jaxarc_trace.publish import Published

    if ask_status:
        _show_status(run, as_json=as_json)
        return
    given = {"project": project, "entity": entity, "group": group, "job_type": job_type}
    given |= {
        "tags": None if tags is None else tuple(w.strip() for w in tags.split(",") if w.strip())
    }
    config = _settings(run, overrides or [], offline=offline, given=given)
    chosen = {"best": best, "worst": worst, "where": where}
    if dry_run:
        _show_plan(run, config, chosen, gallery=gallery, as_json=as_json)
        return
    options = {**chosen, "deadline": deadline}
    done: Published
    try:
        with _bar(quiet=as_json) as progress:
            options["progress"] = progress
            if watch:
                done = _watched(run, config, every, options, gallery=gallery)
            else:
                done = _published(run, config, gallery=gallery, **options)
    except KeyboardInterrupt:
        errors = Console(stderr=True)
        errors.print("Stopped. What was confirmed is noted; run it again to go on.")
        raise typer.Exit(_STOPPED) from None
    _show(done, as_json=as_json)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def _settings(
    run: Path, overrides: list[str], *, offline: bool, given: dict[str, Any]
) -> "TraceConfig":
    """The run's own settings with what was typed; whoever types `publish` wants it sent.

    Only `publish=local` or `publish.mode=local`, typed, keeps it from being sent.
    """
    from jaxarc_trace.config_compose import compose, from_yaml
    from jaxarc_trace.config_run import CONFIG
    from jaxarc_trace.config_sections import TraceConfig

    file = run / CONFIG
    base = from_yaml(file) if file.is_file() else TraceConfig()
    found = compose(overrides, base) if overrides else base
    typed = any(
        w.removeprefix("trace.") in ("publish=local", "publish.mode=local") for w in overrides
    )
    if typed and offline:
        raise SpecError("expected --offline or publish.mode=local, found both; choose one")
    changed = {name: value for name, value in given.items() if value is not None}
    if offline:
        changed["mode"] = "offline"
    elif found.publish.mode == "local" and not typed:
        changed["mode"] = "online"
    return replace(found, publish=replace(found.publish, **changed))


def _published(run: Path, config: "TraceConfig", **options: Any) -> "Published":
    from jaxarc_trace.publish import publish as send

    with warnings.catch_warnings():
        # `_show` says it, in one line.
        warnings.simplefilter("ignore", RuntimeWarning)
        return send(run, config, **options)


def _watched(
    run: Path, config: "TraceConfig", every: float, options: dict[str, Any], *, gallery: bool
) -> "Published":
    """Publishes rows and traces as saves appear; table and viewer when the writer has ended."""
    from jaxarc_trace.locks import writer_of
    from jaxarc_trace.saves import saves_of

    seen = -1
    warned = ""
    while True:
        # Looked at first, so that the last save of a writer that ends now is not missed.
        writer = writer_of(run)
        saves = saves_of(run)
        newest = saves[-1].sequence if saves else 0
        if writer is None:
            return _published(run, config, gallery=gallery, **options)
        if newest > seen and saves:
            done = _published(run, config, gallery=False, **options)
            if done.problem and done.problem != warned:
                _warn(done.problem)
            warned = done.problem
            seen = -1 if done.problem else newest
        time.sleep(every)


@contextmanager
def _bar(*, quiet: bool) -> "Iterator[Progress]":
    """Shows what is being done; nothing off a terminal."""
    from rich import progress as rich

    console = Console(stderr=True)
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
    with rich.Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    ) as shown:
        task = shown.add_task("Starting", total=None)

        def tell(name: str, done: int, total: int) -> None:
            shown.update(task, description=name.capitalize(), completed=done, total=total or None)

        yield tell


def _warn(text: str) -> None:
    line = Text.assemble(("Warning: ", "bold yellow"), visible(text, 1000))
    Console(stderr=True).print(line, soft_wrap=True)


def _show(done: "Published", *, as_json: bool) -> None:
    if done.problem:
        _warn(f"not all of it is at W&B: {done.problem}")
    if as_json:
        data = {k: dict(v) if k in ("sent", "failed") else v for k, v in vars(done).items()}
        show_json({**data, "exit_code": done.exit_code})
        return
    for line in str(done).splitlines():
        say(visible(line, 4000))


def _show_plan(
    run: Path,
    config: "TraceConfig",
    chosen: dict[str, Any],
    *,
    gallery: bool,
    as_json: bool,
) -> None:
    from jaxarc_trace.publish import job_of
    from jaxarc_trace.publish_config import address
    from jaxarc_trace.publish_ledger import Ledger
    from jaxarc_trace.publish_plan import lost, parts_of, place_of

    job = job_of(run, config, chosen, gallery=gallery)
    ledger = Ledger(Path(job.run), place_of(address(), config.publish))
    parts = parts_of(job, ledger)
    found, gone = parts.sizes(), lost(ledger, parts.saves)
    if as_json:
        show_json({"run": job.run, "keys": parts.keys, **found, "lost": gone,
                   "publish": asdict(config.publish)})  # fmt: skip
        return
    say(f"Would go to project {visible(config.publish.project)} at {visible(address())}:")
    say(f"  {plural(found['rows'], 'row')} of numbers")
    say(f"  {plural(found['traces'], 'trace')}, {size(found['trace_bytes'])}")
    say(f"  {'table and viewer' if found['galleries'] else 'no table and viewer: nothing is new'}")
    for key in gone:
        say(f"  Lost: {key}: its save was removed before it was sent")


def _show_status(run: Path, *, as_json: bool) -> None:
    from jaxarc_trace.publish import status

    found = status(run)
    if as_json:
        show_json({"run": str(run.absolute()), "places": found})
        return
    if not found:
        say("Nothing of it was published yet.")
    for place in found:
        counts = ", ".join(f"{count} {state}" for state, count in place["counts"].items())
        say(visible(place.get("url") or f"{place['address']} project {place['project']}", 400))
        say(f"  {counts}, {len(place['unpublished'])} new")
        for key, item in place["items"].items():
            if item["state"] == "failed":
                say(f"  Failed: {key}: {visible(item.get('why', ''), 1000)}")
        for key in place["lost"]:
            say(f"  Lost: {key}: its save was removed before it was sent")
