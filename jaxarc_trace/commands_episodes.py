"""The command `episodes`: which episodes a run has, one to a line, in the order asked for."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

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
    measured_run,
    open_run,
    plural,
    rows_of,
    say,
    selected,
    show_json,
    show_table,
    table,
    visible,
)

if TYPE_CHECKING:
    from jaxarc_trace.episodes import Episodes

__all__ = ["add_commands"]

_LIMIT = 40
_TITLES = {
    "task": "task",
    "outcome": "outcome",
    "length": "steps",
    "return": "return",
    "similarity_final": "score",
    "kept_by": "kept by",
}
_TEXT = ("task", "outcome", "kept_by")
_FOLDED = ("kept_by",)


def add_commands(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    examples = (
        "jaxarc-trace episodes jaxarc-trace-demo --best 5",
        'jaxarc-trace episodes jaxarc-trace-demo --where "solved = false" --sort -length --json',
    )
    keys = "path, total, episodes (index, id, columns)"
    app.command("episodes", epilog=ending(*examples, keys=keys))(episodes)


def episodes(  # noqa: PLR0913 - one argument an option
    run: RUN,
    *,
    best: BEST = None,
    worst: WORST = None,
    failed: FAILED = None,
    where: WHERE = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="By this column, the smallest first; with a minus sign the largest.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Lines at most; 0 for all.")] = _LIMIT,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """List the episodes of a run: number, id, task, outcome, length, return.

    The number in front is what show, compare and debug take. Without --best, --worst and --failed
    all of them, else those that any of the three chooses.
    """
    from jaxarc_trace.facts import FACTS
    from jaxarc_trace.render.queue import ids

    whole = open_run(run)
    if sort is not None and sort.removeprefix("-") in FACTS:
        whole = measured_run(whole)
    found = chosen(selected(whole, where), best=best, worst=worst, failed=failed)
    if sort is not None:
        found = found.sort_by(sort.removeprefix("-"), descending=sort.startswith("-"))
    told = found[: limit or None]
    rows = [
        {"index": index, "id": name, "columns": _values(told, row)}
        for row, (index, name) in enumerate(zip(rows_of(whole, told), ids(told), strict=True))
    ]
    if as_json:
        show_json({"path": str(run.absolute()), "total": len(found), "episodes": rows})
        return
    _show(rows, sort)
    left = len(found) - len(rows)
    say(
        f"{plural(len(found), 'episode')}"
        + (f", {left} more than are shown; --limit 0 shows all" if left else "")
        + f". To see one: jaxarc-trace show {visible(run)} {rows[0]['index']}"
    )


def _values(found: "Episodes", row: int) -> dict[str, Any]:
    values = {name: column[row] for name, column in found.columns.items()}
    return {name: v.item() if hasattr(v, "item") else v for name, v in values.items()}


def _show(rows: "list[dict[str, Any]]", sort: str | None) -> None:
    """The columns that say something, and the one that they are sorted by."""
    names = [name for name in _TITLES if any(_told(row["columns"].get(name)) for row in rows)]
    by = (sort or "").removeprefix("-")
    if by in rows[0]["columns"] and by not in names:
        names.append(by)
    made = table("", "episode", right=("",))
    for name in names:
        side = "left" if name in _TEXT else "right"
        title = _TITLES.get(name, name)
        made.add_column(title, justify=side, overflow="fold", no_wrap=name not in _FOLDED)
    for column in made.columns[:2]:
        column.no_wrap = True
    made.collapse_padding = True
    for row in rows:
        cells = (Text(_told(row["columns"][name])) for name in names)
        made.add_row(str(row["index"]), Text(visible(row["id"], 40)), *cells)
    show_table(made)


def _told(value: Any) -> str:
    """A value as a short text; empty where it is not known."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}"
    return "" if value is None else visible(value, 40)
