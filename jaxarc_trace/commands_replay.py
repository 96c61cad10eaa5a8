"""The command `replay`: steps recorded episodes again, and says whether they are true.

Exit codes: 0 when every episode was confirmed, 1 when one was not, 2 for an error.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace.commands_common import (
    JSON,
    RUN,
    TRACEBACK,
    WHERE,
    ending,
    open_run,
    plural,
    say,
    selected,
    show_json,
    show_table,
    table,
    visible,
)
from jaxarc_trace.errors import SpecError

if TYPE_CHECKING:
    from jaxarc_trace.episodes import Episodes
    from jaxarc_trace.replay import Replay

__all__ = ["ENV", "add_commands", "some_of", "world_of"]

_KEYS = (
    "ok, exact, close, diverged, unknown, episodes (id, verdict, mode, steps, verified, tolerance, "
    "digests, first, largest, drift, notes)"
)
_FOUND = 1
_SHOWN = 20
ENV = Annotated[
    str | None,
    typer.Option(
        "--env",
        help="module:name of the environment; default: JaxARC as recorded.",
        show_default=False,
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    examples = (
        "jaxarc-trace replay jaxarc-trace-demo 0 lane0003-ep000001",
        'jaxarc-trace replay jaxarc-trace-demo --where "solved = true" --json',
    )
    app.command(
        "replay",
        epilog=ending(
            *examples, keys=_KEYS, found="an episode diverges, or cannot be stepped again"
        ),
        # So that an index of -1 is an argument and not an option.
        context_settings={"ignore_unknown_options": True},
    )(replay)


def replay(
    run: RUN,
    episode: Annotated[
        list[str] | None,
        typer.Argument(help="Indices or ids; default: all of them.", show_default=False),
    ] = None,
    *,
    where: WHERE = None,
    env: ENV = None,
    mode: Annotated[str, typer.Option(help="auto, chain or step.")] = "auto",
    tolerance: Annotated[
        float, typer.Option(help="What real numbers may differ by in single steps.")
    ] = 1e-5,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Step episodes again and compare every recorded value: exact, or the first that differs."""
    # JaxARC raises through host callbacks unless Equinox is told not to, before it is imported.
    os.environ.setdefault("EQX_ON_ERROR", "off")
    from jaxarc_trace.replay import replays

    episodes = some_of(selected(open_run(run), where), episode)
    world = world_of(episodes, env)
    # Not yet rebuilt ones: it is what was recorded that is compared.
    episodes = episodes.shown_as(lambda found: found)
    reports = list(
        _told(
            replays(episodes, world, mode=mode, tolerance=tolerance),  # pyright: ignore[reportArgumentType]
            len(episodes),
        )
    )
    wrong = [report for report in reports if not report.ok]
    if as_json:
        counts = {name: sum(r.verdict == name for r in reports) for name in _VERDICTS}
        show_json({"ok": not wrong, **counts, "episodes": [r.to_json() for r in reports]})
    else:
        _show(reports, wrong)
    if wrong:
        raise typer.Exit(_FOUND)


_VERDICTS = ("exact", "close", "diverged", "unknown")
_STYLES = {"exact": "green", "close": "green", "diverged": "bold red", "unknown": "yellow"}


def some_of(episodes: "Episodes", words: list[str] | None) -> "Episodes":
    """Those that the words name, by index or id; all of them without words.

    Raises:
        SpecError: when one names none.
    """
    if not words:
        return episodes
    from jaxarc_trace.render.queue import ids

    names = ids(episodes)
    rows: list[int] = []
    for word in words:
        if word in names:
            rows.append(names.index(word))
            continue
        try:
            rows.append(range(len(episodes))[int(word)])
        except (ValueError, IndexError):
            raise SpecError(
                f"expected an index from 0 to {len(episodes) - 1} or an id such as "
                f"lane0003-ep000012, found {visible(word, 60)!r}, which none of them has."
            ) from None
    return episodes.take(rows)


def world_of(episodes: "Episodes", given: str | None) -> object:
    """The environment that these episodes were recorded in."""
    from jaxarc_trace.recreate import environment_of

    names = [f.name for f in episodes.sources[0].schema.step.fields if f.name[:7] == "action."]
    actions = [name.removeprefix("action.") for name in names]
    with Console(stderr=True).status("Making the environment"):
        return environment_of(episodes.environment, actions, given)


def _told(reports: "Iterator[Replay]", count: int) -> "Iterator[Replay]":
    """The reports, with a bar on a terminal."""
    from rich.progress import track

    errors = Console(stderr=True)
    yield from track(
        reports, "Stepping again", count, console=errors, disable=not errors.is_terminal
    )


def _show(reports: "list[Replay]", wrong: "list[Replay]") -> None:
    """Every report of a few, else those that are not confirmed; then the counts."""
    shown = reports if len(reports) <= _SHOWN else wrong[:_SHOWN]
    if shown:
        made = table("episode", "verdict", "steps", "what", right=("steps",))
        for report in shown:
            first = "" if report.first is None else str(report.first)
            what = "; ".join(word for word in (first, *report.notes) if word)
            cells = [Text(visible(report.id, 60)), Text(report.verdict, _STYLES[report.verdict])]
            made.add_row(*cells, Text(f"{report.verified}/{report.steps}"), Text(visible(what)))
        show_table(made)
    if len(wrong) > len(shown):
        say(f"and {len(wrong) - len(shown)} more that were not confirmed")
    counts = [(name, sum(r.verdict == name for r in reports)) for name in _VERDICTS]
    steps = sum(report.steps for report in reports)
    say(
        f"{plural(len(reports), 'episode')}, {plural(steps, 'step')}: ",
        ", ".join(f"{count} {name}" for name, count in counts if count),
    )
