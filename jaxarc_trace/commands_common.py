"""What the commands share: options, finding episodes, JSON, and text that is safe to print."""

import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import click
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from jaxarc_trace.errors import SpecError

if TYPE_CHECKING:
    from jaxarc_trace.episodes import Episodes

__all__ = [
    "BEST",
    "FAILED",
    "JSON",
    "RUN",
    "TRACEBACK",
    "WHERE",
    "WORST",
    "Commands",
    "chosen",
    "ending",
    "measured_run",
    "number_of",
    "open_run",
    "plural",
    "rows_of",
    "say",
    "selected",
    "show_json",
    "show_table",
    "size",
    "table",
    "visible",
    "warned",
]


class _Command(TyperCommand):
    """A command that says which of its arguments is missing.

    From click 8.3 on typer 0.16 takes an argument that is not there for one that is None.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuses what lacks an argument."""
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            for each in self.params:
                if each.required and ctx.params.get(each.name or "") is None:
                    raise click.MissingParameter(ctx=ctx, param=each)
        return rest


class Commands(typer.Typer):
    """Commands of one name; see `_Command`."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Adds a function as a command; as `typer.Typer.command`."""
        return super().command(name, cls=_Command, **settings)


RUN = Annotated[
    Path, typer.Argument(help="A saved trace, or a folder that holds some.", show_default=False)
]
BEST = Annotated[
    int | None, typer.Option(help="So many with the largest return.", show_default=False)
]
WORST = Annotated[
    int | None, typer.Option(help="So many with the smallest return.", show_default=False)
]
FAILED = Annotated[
    int | None, typer.Option(help="So many that did not succeed.", show_default=False)
]
WHERE = Annotated[
    str | None,
    typer.Option(
        help='Only those for which it holds: "solved = false AND length > 9".', show_default=False
    ),
]
_ANSWER: ContextVar[TextIO | None] = ContextVar("_ANSWER", default=None)


@contextmanager
def _alone() -> Iterator[None]:
    """Leaves stdout to the JSON; what others print, a library that is imported, goes to stderr."""
    before = _ANSWER.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _ANSWER.reset(before)


def _json_alone(context: typer.Context, wanted: bool) -> bool:  # noqa: FBT001 - typer passes the option's value
    if wanted:
        context.with_resource(_alone())
    return wanted


JSON = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object, for scripts.", callback=_json_alone),
]
TRACEBACK = Annotated[
    bool, typer.Option("--traceback", help="Show the whole traceback of an error.")
]


def ending(*examples: str, keys: str = "", found: str = "", left: str = "") -> str:
    """How a command's help ends: examples that can be typed, keys of its JSON, exit codes.

    Args:
        examples: whole lines, two at least.
        keys: what `--json` prints, with the keys of what is in it: `ok, runs (path, size)`.
        found: what exit code 1 means; empty where it is not used.
        left: what exit code 3 means, likewise.
    """
    lines = "\n\n".join(f"$ {example}" for example in examples)
    data = f"\n\nKeys of --json: {keys}." if keys else ""
    codes = {0: "all is well", 1: found, 2: "an error", 3: left, 130: "Ctrl-C"}
    told = "; ".join(f"{code}: {meaning}" for code, meaning in codes.items() if meaning)
    return f"Examples:\n\n{lines}{data}\n\nExit codes: {told}."


def open_run(path: Path) -> "Episodes":
    """The episodes of a trace, of the trace in a folder, or of all saves of a run directory.

    Raises:
        NotATraceError: when there is none; the message says where it was looked for.
        StoreError: when one cannot be read.
    """
    from jaxarc_trace.catalog import episodes_at

    with warned():
        found = episodes_at(path)
    if any(source.spec.get("record") == "actions" for source in found.sources):
        from jaxarc_trace.recreate import with_states

        return with_states(found)
    return found


def selected(episodes: "Episodes", where: str | None) -> "Episodes":
    """Those for which a condition holds.

    Raises:
        SpecError: when it holds for none.
    """
    if where is not None:
        from jaxarc_trace.facts import FACTS

        # Columns for which every episode has to be read once.
        if any(name in where for name in FACTS):
            episodes = measured_run(episodes)
    found = episodes if where is None else episodes.where(where)
    if not len(found):
        held = "it holds no episode" if where is None else f"none of {len(episodes)} fits --where"
        raise SpecError(f"expected at least one episode, found none: {held}; ask for others.")
    return found


def measured_run(episodes: "Episodes") -> "Episodes":
    """The episodes with the columns of `facts.FACTS`; a bar shows how far the reading is."""
    from rich.progress import track

    from jaxarc_trace.facts import measured

    errors = Console(stderr=True)

    def bar(numbers: "Iterable[int]", total: int) -> "Iterable[int]":
        quiet = not errors.is_terminal or not total
        return track(numbers, "Reading episodes", total, console=errors, disable=quiet)

    return measured(episodes, progress=bar)


def chosen(
    episodes: "Episodes", *, best: int | None, worst: int | None, failed: int | None
) -> "Episodes":
    """Those that any of the choices names, each once; all without a choice.

    Raises:
        SpecError: when a count is below 1, nothing is chosen, or the failed are asked for where
            nothing says which those are.
    """
    if best is None and worst is None and failed is None:
        return episodes
    if failed is not None and not (episodes.columns["solved"] >= 0).any():
        raise SpecError(
            "expected episodes of which it is known whether they were solved, for --failed, found "
            "none; record with GenericProbe(goal=...), or ask for --worst."
        )
    parts = []
    for name, count in (("best", best), ("worst", worst), ("failed", failed)):
        if count is not None and count < 1:
            raise SpecError(f"expected --{name} of at least 1, found {count}.")
        if count is not None:
            parts.append(getattr(episodes, name)(count))
    rows = dict.fromkeys(row for part in parts for row in rows_of(episodes, part))
    if not rows:
        raise SpecError(
            "expected at least one episode, found none that was chosen; ask for others."
        )
    return episodes.take(rows)


def rows_of(episodes: "Episodes", some: "Episodes") -> list[int]:
    """The index that each of some episodes has among all."""
    order = episodes.positions.argsort()
    return order[episodes.positions.searchsorted(some.positions, sorter=order)].tolist()


def number_of(word: str) -> int | str:
    """An index, or the word itself where it is none."""
    try:
        return int(word)
    except ValueError:
        return word


@contextmanager
def warned() -> Iterator[None]:
    """Prints warnings as one line each on stderr."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", RuntimeWarning)
        yield
    for each in seen:
        text = Text.assemble(("Warning: ", "bold yellow"), visible(str(each.message), 2000))
        Console(stderr=True).print(text, soft_wrap=True)


def show_json(data: Any) -> None:
    """Prints data as one JSON object on stdout, in ASCII; NaN and the infinities are null."""
    stdout = _ANSWER.get() or sys.stdout
    stdout.write(json.dumps(_plain(data), indent=1, allow_nan=False) + "\n")


def _plain(data: Any) -> Any:
    """The same of what JSON has: arrays are lists, and whatever it does not know is text."""
    if hasattr(data, "tolist"):
        return _plain(data.tolist())
    if isinstance(data, Mapping):
        return {name: _plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, str | int) else str(data)


def say(*words: str | tuple[str, str]) -> None:
    """Prints a line that the terminal wraps; nothing in it is markup."""
    Console().print(Text.assemble(*words), soft_wrap=True)


def table(*titles: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table in the house's look, with some columns to the right."""
    from rich import box

    made = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for title in titles:
        made.add_column(title, justify="right" if title in right else "left", overflow="fold")
    return made


def show_table(made: Table) -> None:
    """Prints a table; where nobody looks at it, in a script's pipe, no line is folded."""
    console = Console()
    console.print(made, width=None if console.is_terminal else 1000, crop=False)


def plural(count: int, noun: str) -> str:
    """`1 save`, `2 saves`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: float) -> str:
    """Bytes for people: `8.1 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def visible(text: Any, limit: int = 400) -> str:
    r"""Text from outside on one line, with codes for what would be hidden or act.

    Control characters, line ends, direction marks and lone surrogates become `\n` or `\x1b`.
    It imports nothing, since an error is shown by it.
    """
    plain = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."
