"""The commands that say what is on disk: `list`, `info` and `verify`.

Each prints a table for people, or with `--json` one object for scripts. Exit codes: 0 when all is
well, 1 when `verify` finds damage, 2 for an error, 130 for Ctrl-C.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxarc_trace.commands_common import (
    JSON,
    TRACEBACK,
    ending,
    plural,
    say,
    show_json,
    show_table,
    size,
    table,
    visible,
    warned,
)

if TYPE_CHECKING:
    from jaxarc_trace.catalog import RunSummary
    from jaxarc_trace.store_verify import Verification

__all__ = ["add_commands"]

_DAMAGED = 1
_SHOWN = 12
_LIST_KEYS = (
    "root, runs (path, name, created, saves, last_step, bytes, pinned, writer, problem, kind)"
)
_INFO_KEYS = (
    "kind, path, episodes, steps, outcomes, returns, created, version, packages, environment; of a "
    "run also id, format, name, python, host, user, command, directory, git, config, writer, "
    "pinned, retention, saves (name, step, bytes); of a store also bytes, run, process, policies, "
    "spec, metadata, columns, fields"
)
_VERIFY_KEYS = (
    "ok, episodes, damaged_episodes, stores (path, ok, episodes, damaged, files, problems)"
)
_WIDE = 100
"""From this width on the list has room for the time, which the name of a run has as well."""


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    run = "runs/2026-01-31T12-00-00Z_ppo"
    for name, command, words, keys, found in (
        ("list", list_, ("runs", "runs --json"), _LIST_KEYS, ""),
        ("info", info, (run, "jaxarc-trace-demo --json"), _INFO_KEYS, ""),
        ("verify", verify, ("runs", f"{run} --json"), _VERIFY_KEYS, "something is damaged"),
    ):
        examples = (f"jaxarc-trace {name} {each}" for each in words)
        app.command(name, epilog=ending(*examples, keys=keys, found=found))(command)


def list_(
    root: Annotated[Path, typer.Argument(help="Where to look; a folder of runs.")] = Path(),
    *,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """List the runs and saved traces in a folder."""
    from jaxarc_trace.catalog import list_runs

    found = list_runs(root)
    if as_json:
        show_json({"root": str(root.absolute()), "runs": [vars(one) for one in found]})
        return
    if not found:
        say(f"No run and no saved trace in {visible(root.absolute())}.")
        say("Record some with: jaxarc-trace demo")
        say("Or in a program:  run = jaxarc_trace.Run.create('runs'); run.save(trace)")
        return
    show_table(_listed(found, wide=Console().width >= _WIDE))


def info(
    run: Annotated[Path, typer.Argument(help="A saved trace or a run.", show_default=False)],
    *,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Say what is known of a run or a saved trace, and how its episodes ended."""
    from jaxarc_trace.catalog import describe

    with warned():
        data = describe(run)
    if as_json:
        show_json(data)
        return
    shown = table("", "")
    shown.show_header = False
    for name, value in _facts(data):
        if value:
            shown.add_row(_text(name), _text(visible(value)))
    show_table(shown)
    if data["kind"] == "run":
        _show_saves(data["saves"])


def verify(
    path: Annotated[
        Path, typer.Argument(help="A run, a saved trace, or a folder of them.", show_default=False)
    ],
    *,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Read everything and name each damaged file and episode."""
    from jaxarc_trace.catalog import verify_each

    found: list[Verification] = []
    errors = Console(stderr=True)
    with errors.status("Reading ...") as status:
        for each in verify_each(path):
            found.append(each)
            status.update(f"Reading ... {len(found)} done")
    bad = [each for each in found if not each.ok]
    episodes = sum(each.episodes for each in found)
    damaged = sum(len(each.damaged) for each in found)
    if as_json:
        show_json(
            {
                "ok": not bad,
                "episodes": episodes,
                "damaged_episodes": damaged,
                "stores": [_verified(each) for each in found],
            }
        )
    elif not found:
        say(f"Nothing is saved in {visible(path)} yet.")
    else:
        for each in bad:
            say((visible(each.path), "bold"))
            for problem in _problems(each):
                say("  ", visible(problem, 2000))
        words = f"{plural(len(found), 'save')}, {plural(episodes, 'episode')}: "
        if bad:
            say(words, (f"{len(bad)} damaged; {plural(damaged, 'episode')} cannot be read.", "red"))
            if damaged < episodes:
                say("The others can be read: jaxarc-trace export --skip-damaged")
        else:
            say(words, ("every byte is as it was written.", "green"))
    if bad:
        raise typer.Exit(_DAMAGED)


def _listed(found: list["RunSummary"], *, wide: bool) -> Table:
    """A line for each; the columns that nobody needs are left out."""
    titles = ["Name", "Kind", *["Began (UTC)"] * wide, "Saves", "Last step", "Size"]
    notes = [_notes(one) for one in found]
    shown = table(*titles, *["Note"] * any(notes), right=("Saves", "Last step", "Size"))
    for one, note in zip(found, notes, strict=True):
        began = visible(one.created[:16].replace("T", " "))
        step = "" if one.last_step is None else str(one.last_step)
        cells = [visible(one.path.name), one.kind, *[began] * wide, str(one.saves), step]
        shown.add_row(*map(_text, [*cells, size(one.bytes), *[note] * any(notes)]))
    return shown


def _notes(one: "RunSummary") -> str:
    notes = (
        f"cannot be read: {visible(one.problem)}" if one.problem else "",
        "pinned" if one.pinned else "",
        f"being written by {visible(one.writer)}" if one.writer else "",
    )
    return "; ".join(filter(None, notes))


def _text(text: str) -> Text:
    """A cell in which nothing is markup."""
    return Text(text)


def _verified(each: "Verification") -> dict[str, Any]:
    """A verification as JSON, each damaged episode with its lane and number."""
    named: list[dict[str, int]] = []
    if each.damaged:
        from jaxarc_trace.store_read import open_store

        columns = open_store(each.path).columns
        named = [
            {
                "episode": row,
                "lane": int(columns["lane"][row]),
                "number": int(columns["number"][row]),
            }
            for row in each.damaged
        ]
    return {
        "path": str(each.path),
        "ok": each.ok,
        "episodes": each.episodes,
        "damaged": named,
        "files": list(each.files),
        "problems": list(each.problems),
    }


def _problems(each: "Verification") -> list[str]:
    """One short line for each thing that is damaged."""
    lines = [f"{name}: is not what was written" for name in each.files]
    named = _verified(each)["damaged"]
    lines += [
        "episode {episode} (lane {lane}, number {number}): cannot be read".format(**one)
        for one in named[:_SHOWN]
    ]
    if len(named) > _SHOWN:
        lines.append(f"and {plural(len(named) - _SHOWN, 'episode')} more; all with --json")
    return [*lines, *each.problems[len(each.files) + len(named) :]]


def _facts(data: dict[str, Any]) -> list[tuple[str, Any]]:
    """What `info` says first, name by name; an empty value is left out."""
    outcomes = ", ".join(f"{count} {name}" for name, count in data["outcomes"].items())
    returns = ", ".join(f"{name} {value:.4g}" for name, value in data["returns"].items())
    if returns and "running" in data["outcomes"]:
        returns += " of those that ended" if len(data["outcomes"]) > 1 else " so far"
    facts: list[tuple[str, Any]] = [
        ("Path", data["path"]),
        ("Kind", data["kind"]),
        ("Name", data.get("name")),
        (
            "Began" if data["kind"] == "run" else "Written",
            data["created"][:19].replace("T", " ") + " UTC",
        ),
        ("Episodes", f"{data['episodes']}, of {plural(data['steps'], 'step')} in all"),
        ("Outcomes", outcomes),
        ("Returns", returns),
        ("Size", size(data.get("bytes", sum(save["bytes"] for save in data.get("saves", ()))))),
        ("Environment", data["environment"].get("name")),
    ]
    if data["kind"] == "run":
        pins = data["pinned"]
        given = {name: value for name, value in data["retention"].items() if value}
        git = data.get("git") or {}
        facts += [
            ("Command", " ".join(map(str, data.get("command", ())))),
            ("Config", _short(data.get("config"))),
            ("Git", f"{git['revision']}{' with changes' * git['changed']}" if git else ""),
            ("Host", data.get("host")),
            ("Written by", data["writer"] or "nobody now"),
            ("Pinned", "the run" if pins["run"] else plural(len(pins["episodes"]), "episode")),
            ("Limits", _short(given) if given["policy"] != "none" else "none"),
        ]
    else:
        facts += [
            ("Policies", ", ".join(data["policies"])),
            ("Metadata", _short(data["metadata"])),
            ("Format", f"version {data['version']}"),
        ]
    return facts


def _short(data: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in (data or {}).items())


def _show_saves(saves: list[dict[str, Any]]) -> None:
    if not saves:
        say("Nothing is saved yet. In the program: run.save(trace, step=...)")
        return
    shown = table("Save", "Step", "Size", right=("Step", "Size"))
    for save in saves[-_SHOWN:]:
        step = "" if save["step"] is None else str(save["step"])
        shown.add_row(*map(_text, (visible(save["name"]), step, size(save["bytes"]))))
    show_table(shown)
    if len(saves) > _SHOWN:
        say(f"and {len(saves) - _SHOWN} before them; all with --json")
