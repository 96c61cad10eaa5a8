"""The commands `stats` and `failures`: many episodes in a table, and how failures are defined."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace.commands_common import (
    JSON,
    RUN,
    TRACEBACK,
    WHERE,
    ending,
    measured_run,
    open_run,
    plural,
    say,
    show_json,
    show_table,
    table,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from jaxarc_trace.statistics import Summary

__all__ = ["add_commands"]

_WEAK = 0.95
_FOUND = 1


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    examples = (
        "jaxarc-trace stats jaxarc-trace-demo --by failure",
        'jaxarc-trace stats runs --by task --where "length > 9" --json',
    )
    keys = "by, groups (group, episodes, ended, solved, medians)"
    app.command("stats", epilog=ending(*examples, keys=keys))(stats)
    examples = "jaxarc-trace failures", "jaxarc-trace failures --check --json"
    keys = (
        "modes; with --check also ok, episodes, clean, and for each mode (planted, found, right, "
        "precision, recall)"
    )
    found = "a precision or recall is below 0.95"
    app.command("failures", epilog=ending(*examples, keys=keys, found=found))(failures)


def stats(
    run: RUN,
    *,
    by: Annotated[
        str | None,
        typer.Option(
            help="task, outcome, failure, update, pair, lane, or another column.",
            show_default=False,
        ),
    ] = None,
    where: WHERE = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Sum episodes up: how many, how many solved, medians, each with a 95 % interval.

    Every episode is read once; what that gives is kept in the run for the next time.
    """
    from jaxarc_trace.commands_common import selected
    from jaxarc_trace.statistics import summarise

    episodes = selected(measured_run(open_run(run)), where)
    found = summarise(episodes, by)
    if as_json:
        show_json({"by": by, "groups": [_plain(summary) for summary in found]})
        return
    _show(found, by)
    lost = int((~episodes.columns["readable"]).sum())
    if lost:
        say(f"{plural(lost, 'episode')} could not be read; run: jaxarc-trace verify RUN")


def failures(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Measure the rules on episodes with planted faults.")
    ] = False,
    each: Annotated[int, typer.Option(min=1, max=100, help="Episodes of each script.")] = 14,
    seed: Annotated[int, typer.Option(min=0, help="Of tasks, places and colours.")] = 0,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Say what each failure mode means; with --check, how well each is found."""
    from jaxarc_trace.failures import MODES, failure_modes

    if not check and as_json:
        show_json({"modes": dict(MODES)})
        return
    if not check:
        made = table("mode", "found when")
        for mode, meaning in MODES.items():
            made.add_row(mode, meaning)
        show_table(made)
        return
    import os

    # JaxARC raises through host callbacks unless it is told not to, before it is imported.
    os.environ.setdefault("EQX_ON_ERROR", "off")
    from jaxarc_trace.demo.faults import labelled, measure

    with Console(stderr=True).status("Playing with planted faults"):
        found = labelled(each, seed)
    scores = measure(found, failure_modes)
    weak = any(not min(score.precision, score.recall) >= _WEAK for score in scores)
    clean = sum(not one.modes for one in found)
    if as_json:
        modes = {score.mode: _measured(score) for score in scores}
        show_json({"ok": not weak, "episodes": len(found), "clean": clean, "modes": modes})
    else:
        _show_scores(scores)
        say(f"{plural(len(found), 'episode')}, {clean} of them clean")
    if weak:
        raise typer.Exit(_FOUND)


_NUMBERS = ("planted", "found", "right", "precision", "recall")


def _show_scores(scores: "Iterable[Any]") -> None:
    made = table("mode", *_NUMBERS, right=_NUMBERS)
    for score in scores:
        counts = (score.planted, score.found, score.right)
        shares = (f"{score.precision:.3f}", f"{score.recall:.3f}")
        made.add_row(score.mode, *map(str, counts), *shares)
    show_table(made)


def _measured(score: Any) -> dict[str, float]:
    """The numbers of a mode; a share of nothing is NaN."""
    return {name: getattr(score, name) for name in _NUMBERS}


def _show(found: "list[Summary]", by: str | None) -> None:
    """One group as a list, several as a table; what is known of none is left out."""
    names = [n for n in found[0].medians if any(s.medians[n].known for s in found)] if found else []
    told = "Share solved of those that ended, and medians, with 95 % intervals"
    if by is None:
        made = table("", "", "95 % interval")
        for summary in found:
            made.add_row("episodes", str(summary.episodes), "")
            for name in ("solved", *names):
                value = summary.solved if name == "solved" else summary.medians[name]
                made.add_row(name, value.centre, value.ends)
    else:
        console = Console()
        made = _grouped(found, by, names, intervals=True)
        wide = console.measure(made, options=console.options.update(width=1000)).maximum
        if console.is_terminal and wide > console.width:
            made = _grouped(found, by, names, intervals=False)
            told = "Share solved of those that ended, and medians; a terminal of "
            told += f"{wide} columns, or --json, shows their 95 % intervals as well"
    show_table(made)
    say(f"{told}.")


def _grouped(
    found: "list[Summary]", by: str, names: "Sequence[str]", *, intervals: bool
) -> "Table":
    """A row a group; long names in the head are broken where they have a line beneath."""
    numbers = tuple(name.replace("_", "\n") for name in ("episodes", "solved", *names))
    made = table(by, *numbers, right=numbers)
    for summary in found:
        values = (summary.solved, *(summary.medians[name] for name in names))
        cells = (str(value) if intervals else value.centre for value in values)
        made.add_row(Text(visible(summary.group, 60)), str(summary.episodes), *cells)
    return made


def _plain(summary: "Summary") -> dict[str, Any]:
    return {
        "group": summary.group,
        "episodes": summary.episodes,
        "ended": summary.ended,
        "solved": vars(summary.solved),
        "medians": {name: vars(value) for name, value in summary.medians.items()},
    }
