"""The commands that take episodes out of a store and into one: `export` and `import`.

Exit codes: 0, 1 when `export --skip-damaged` left something out, 2 for an error, 130 for Ctrl-C.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jaxarc_trace.commands_common import (
    BEST,
    FAILED,
    JSON,
    RUN,
    TRACEBACK,
    WHERE,
    WORST,
    chosen,
    ending,
    open_run,
    plural,
    say,
    selected,
    show_json,
    size,
    visible,
)

__all__ = ["add_commands"]

_PARTIAL = 1


class Origin(StrEnum):
    """What wrote a file that is imported."""

    export = "export"
    arc_agi_3 = "arc-agi-3"


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    examples = (
        "jaxarc-trace export jaxarc-trace-demo --best 4 --out best.jsonl.gz",
        'jaxarc-trace export runs --where "solved = false" --out failed.parquet --json',
    )
    found = "--skip-damaged left something out"
    keys = "path, episodes, bytes, skipped"
    app.command("export", epilog=ending(*examples, keys=keys, found=found))(export)
    examples = (
        "jaxarc-trace import best.jsonl.gz --out best",
        "jaxarc-trace import --from arc-agi-3 game.jsonl --out game",
    )
    app.command("import", epilog=ending(*examples, keys="path, episodes, stores"))(import_)


def export(  # noqa: PLR0913 - one argument an option
    run: RUN,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="A fresh file: .jsonl, .jsonl.gz, .jsonl.zst, .parquet or .npz."
        ),
    ] = Path("episodes.jsonl.gz"),
    best: BEST = None,
    worst: WORST = None,
    failed: FAILED = None,
    where: WHERE = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave damaged episodes out.")
    ] = False,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Write episodes to one file, without loss; its ending chooses the format.

    Without --best, --worst and --failed all of them, else those that any of the three chooses.
    """
    from jaxarc_trace.exchange import export as write

    picked = chosen(selected(open_run(run), where), best=best, worst=worst, failed=failed)
    done = write(picked, out, skip_damaged=skip_damaged)
    held = done.path.stat().st_size
    if as_json:
        show_json(
            {
                "path": str(done.path),
                "episodes": done.episodes,
                "bytes": held,
                "skipped": list(done.skipped),
            }
        )
    else:
        say(f"{visible(out)}: {plural(done.episodes, 'episode')}, {size(held)}")
        for problem in done.skipped:
            say(("Left out: ", "bold yellow"), visible(problem, 2000))
        if out.suffix != ".parquet":
            say(f"Read it back with: jaxarc-trace import {visible(out)}")
    if done.skipped:
        raise typer.Exit(_PARTIAL)


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="A .jsonl, .jsonl.gz, .jsonl.zst or .npz file.", show_default=False),
    ],
    *,
    origin: Annotated[Origin, typer.Option("--from", help="What wrote the file.")] = Origin.export,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Fresh folder; default: the name without its ending.",
            show_default=False,
        ),
    ] = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Make a saved trace of a file that export wrote, or of an ARC-AGI-3 recording."""
    folder = Path(file.name.split(".")[0] or "imported") if out is None else out
    if origin is Origin.arc_agi_3:
        from jaxarc_trace.arc_agi_3 import import_arc_agi_3

        paths = [import_arc_agi_3(file, folder)]
    else:
        from jaxarc_trace.exchange import import_file

        paths = import_file(file, folder)
    count = len(open_run(folder))
    if as_json:
        shown = [str(path) for path in paths]
        show_json({"path": str(folder.absolute()), "episodes": count, "stores": shown})
        return
    say(
        f"{visible(folder)}: {plural(count, 'episode')}"
        + f" in {len(paths)} stores" * (len(paths) > 1)
    )
    say(f"Look at the first with: jaxarc-trace show {visible(folder)} 0")
