"""The command `doctor`: what is installed and what works here, each with the fix."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace.commands_common import (
    JSON,
    TRACEBACK,
    ending,
    plural,
    say,
    show_json,
    show_table,
    table,
    visible,
)

if TYPE_CHECKING:
    from jaxarc_trace.doctor import Finding

__all__ = ["add_commands"]

_WRONG = 1
_STYLES = {"ok": "green", "absent": "dim", "warning": "yellow", "wrong": "bold red"}


def add_commands(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    examples = "jaxarc-trace doctor", "jaxarc-trace doctor /scratch/runs --json"
    keys = "ok, counts, findings (part, name, state, found, fix)"
    app.command("doctor", epilog=ending(*examples, keys=keys, found="something is wrong"))(doctor)


def doctor(
    folder: Annotated[Path, typer.Argument(help="Where runs are to be written.")] = Path("runs"),
    *,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Look at versions, devices, fonts, optional parts, disk and W&B login, each with the fix.

    Nothing is sent or fetched, and no key is shown. An optional part that is absent is no fault.
    """
    from jaxarc_trace.doctor import examine

    with Console(stderr=True).status("Looking"):
        found = list(examine(folder.absolute()))
    counts = {state: sum(each.state == state for each in found) for state in _STYLES}
    if as_json:
        shown = [asdict(each) for each in found]
        show_json({"ok": not counts["wrong"], "counts": counts, "findings": shown})
    else:
        _show(found, counts)
    if counts["wrong"]:
        raise typer.Exit(_WRONG)


def _show(found: "list[Finding]", counts: dict[str, int]) -> None:
    made = table("part", "what", "", "found")
    before = ""
    for each in found:
        part = "" if each.part == before else each.part
        before = each.part
        state = Text(each.state, _STYLES[each.state])
        made.add_row(part, Text(each.name), state, Text(visible(each.found)))
    show_table(made)
    say()
    for each in found:
        if each.fix:
            say((f"{each.name}: ", _STYLES[each.state]), visible(each.fix))
    if counts["wrong"]:
        say((f"{plural(counts['wrong'], 'thing')} wrong", "bold red"), "; see the fixes above.")
    else:
        say(("All that is needed works.", "green"))
