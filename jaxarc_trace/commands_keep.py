"""The commands that decide what stays on disk: `pin` and `clean`.

Exit codes: 0, 1 when `clean` cannot keep a limit, 2 for an error, 130 for Ctrl-C.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxarc_trace.commands_common import (
    JSON,
    TRACEBACK,
    ending,
    number_of,
    plural,
    say,
    show_json,
    size,
    visible,
    warned,
)
from jaxarc_trace.errors import SpecError
from jaxarc_trace.names import located

if TYPE_CHECKING:
    from jaxarc_trace.cleaning import Cleaning, Removal
    from jaxarc_trace.retention import Retention

__all__ = ["add_commands"]

_OVER = 1
_ID = re.compile(r"lane(\d+)-ep(\d+)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"B": 1, "K": 1e3, "KB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9, "GB": 1e9, "T": 1e12}
_BYTES |= {"TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    examples = (
        "jaxarc-trace pin runs/2026-01-31T12-00-00Z_ppo lane0003-ep000012",
        "jaxarc-trace pin runs/2026-01-31T12-00-00Z_ppo --unpin",
    )
    # So that an index of -1 is an argument and not an option.
    settings = {"ignore_unknown_options": True}
    text = ending(*examples, keys="path, pinned (run, episodes)")
    app.command("pin", epilog=text, context_settings=settings)(pin)
    examples = (
        "jaxarc-trace clean runs --max-bytes 20GB --protect best --dry-run",
        "jaxarc-trace clean runs/2026-01-31T12-00-00Z_ppo --max-saves 2 --json",
    )
    keys = "dry_run, freed_bytes, removed (path, bytes, reason), stayed (likewise), over"
    text = ending(*examples, keys=keys, found="a limit cannot be kept")
    app.command("clean", epilog=text)(clean)


def pin(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    episode: Annotated[
        str | None,
        typer.Argument(
            help="Index, -1 for the last, or an id: lane0003-ep000012. Default: all.",
            show_default=False,
        ),
    ] = None,
    *,
    unpin: Annotated[bool, typer.Option("--unpin", help="Let the limits have it again.")] = False,
    process: Annotated[
        int | None,
        typer.Option(
            help="JAX process of the id, when several recorded the run.", show_default=False
        ),
    ] = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Keep a run, or one episode of it, whatever the limits say; --unpin to let it go."""
    from jaxarc_trace.pins import pin as set_pin

    which = None if episode is None else _key(run, episode, process, known=not unpin)
    pins = set_pin(run, which, pinned=not unpin)
    if as_json:
        show_json({"path": str(run.absolute()), "pinned": pins.to_json()})
        return
    what = "the run" if which is None else "process {} lane {} number {}".format(*which)
    say(f"{'Unpinned' if unpin else 'Pinned'} {what}.")
    held = "all of it" if pins.run else plural(len(pins.episodes), "episode")
    say(f"Pinned in {visible(run)}: {held if pins.run or pins.episodes else 'nothing'}.")


def clean(  # noqa: PLR0913 - one argument an option
    path: Annotated[Path, typer.Argument(help="A run, or a folder of runs.", show_default=False)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    max_saves: Annotated[
        int | None, typer.Option(help="Most saves, of all runs together.", show_default=False)
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(help="Most bytes of all saves: 500MB, 20GB, 1GiB.", show_default=False),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(help="Most time since a save was written: 90m, 12h, 30d.", show_default=False),
    ] = None,
    protect: Annotated[
        str, typer.Option(help="Policies and outcomes whose episodes stay: best,failed.")
    ] = "",
    largest_first: Annotated[
        bool, typer.Option("--largest-first", help="Remove the largest saves, not the oldest.")
    ] = False,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Remove saves beyond the limits, and what crashes left behind.

    Without a limit here, each run is held to the limits that it was made with. What is pinned,
    protected, being read, or the newest save of its run stays.
    """
    from jaxarc_trace.cleaning import clean as clean_up

    limits = _limits(max_saves, max_bytes, max_age, protect, largest_first=largest_first)
    done = clean_up(path, limits, dry_run=dry_run)
    freed = sum(removal.bytes for removal in done.removed)
    if as_json:
        show_json(
            {
                "dry_run": dry_run,
                "freed_bytes": freed,
                "removed": [_removal(one) for one in done.removed],
                "stayed": [_removal(one) for one in done.stayed],
                "over": list(done.over),
            }
        )
    else:
        _show_cleaning(path, done, dry_run=dry_run)
        if not done.removed and limits is None and not _any_limits(path):
            say("No limit is set. Give one: --max-saves, --max-bytes or --max-age.")
    if done.over:
        raise typer.Exit(_OVER)


def _key(run: Path, word: str, process: int | None, *, known: bool) -> tuple[int, int, int]:
    """Process, lane and number of an episode, by index or by id.

    An id that is to be unpinned need not be there any more.
    """
    from jaxarc_trace.manifest import read_manifest
    from jaxarc_trace.saves import open_saves

    read_manifest(run)
    with warned():
        episodes = open_saves(located(run))
    keys = (
        [
            (episodes.locate(i)[0].key[1], int(lane), int(number))
            for i, (lane, number) in enumerate(
                zip(episodes.columns["lane"], episodes.columns["number"], strict=True)
            )
        ]
        if len(episodes)
        else []
    )
    found = number_of(word)
    if isinstance(found, int):
        if -len(keys) <= found < len(keys):
            return keys[found]
    elif match := _ID.fullmatch(found):
        wanted = (int(match[1]), int(match[2]))
        fits = [k for k in keys if k[1:] == wanted and process in (None, k[0])]
        if len(fits) == 1:
            return fits[0]
        if len(fits) > 1:
            raise SpecError(
                f"expected one episode {word}, found it in processes "
                f"{', '.join(str(key[0]) for key in fits)}; say which with --process"
            )
        if not known:
            return (process or 0, *wanted)
    raise SpecError(
        f"{run}: expected an index below {len(keys)} or an id such as lane0003-ep000012, found "
        f"{word[:60]!r}, which none of its {len(keys)} episodes has; look with: "
        f"jaxarc-trace info {run}"
    )


def _limits(
    max_saves: int | None,
    max_bytes: str | None,
    max_age: str | None,
    protect: str,
    *,
    largest_first: bool,
) -> "Retention | None":
    """The limits of the options, or None where there is none."""
    from jaxarc_trace.retention import Retention

    if max_saves is None and max_bytes is None and max_age is None:
        if protect or largest_first:
            raise SpecError(
                "expected a limit with --protect or --largest-first, found none; give "
                "--max-saves, --max-bytes or --max-age"
            )
        return None
    room = None if max_bytes is None else int(_quantity(max_bytes, _BYTES, "--max-bytes", "20GB"))
    age = None if max_age is None else _quantity(max_age, _SECONDS, "--max-age", "30d")
    return Retention(
        "size_based" if largest_first else "oldest_first",
        max_saves=max_saves,
        max_bytes=room,
        max_age=age,
        protect=tuple(filter(None, protect.replace(" ", "").split(","))),
    )


def _quantity(text: str, units: dict[str, Any], option: str, example: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    scales = {name.upper(): scale for name, scale in units.items()}
    unit = (match[2] or next(iter(units))).upper() if match else ""
    if match is None or unit not in scales:
        raise SpecError(
            f"{option}: expected a number and one of {', '.join(units)}, for instance {example}, "
            f"found {text[:40]!r}"
        )
    return float(match[1]) * scales[unit]


def _any_limits(path: Path) -> bool:
    from jaxarc_trace.cleaning import runs_under
    from jaxarc_trace.limits import read_limits

    return any(read_limits(run).policy != "none" for run in runs_under(path.resolve()))


def _removal(removal: "Removal") -> dict[str, Any]:
    return {"path": str(removal.path), "bytes": removal.bytes, "reason": removal.reason}


def _show_cleaning(path: Path, done: "Cleaning", *, dry_run: bool) -> None:
    """What went, what stayed and why."""
    verb = "Would remove" if dry_run else "Removed"
    for removal in done.removed:
        where = visible(_relative(removal.path, path))
        say(f"{verb} {where}, {size(removal.bytes)}: {visible(removal.reason)}")
    for removal in done.stayed:
        where = visible(_relative(removal.path, path))
        say(("Kept ", "yellow"), f"{where}, {size(removal.bytes)}: {visible(removal.reason)}")
    for words in done.over:
        say(("Still over a limit: ", "bold yellow"), visible(words))
    freed = sum(removal.bytes for removal in done.removed)
    if done.removed:
        say(f"{verb} {len(done.removed)} in all, {size(freed)}.")
    elif not done.over:
        say("Nothing to remove.")


def _relative(path: Path, root: Path) -> Path:
    """A path as seen from the folder that was named."""
    real = root.resolve()
    return path.relative_to(real) if path.is_relative_to(real) else path
