"""Writes what of the documentation comes out of the code: commands, settings, the API's pages.

Call it as `python docs/reference.py`: it writes commands.md, api.md, errors.md, and the table of
configuration.md. With `--check` it writes nothing, and the exit code is 1 when they are stale.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import errors_reference
import typer

import jaxarc_trace as jt
from jaxarc_trace import config, render
from jaxarc_trace.cli import app
from jaxarc_trace.config_fields import knobs
from jaxarc_trace.config_sections import TraceConfig

HERE = Path(__file__).resolve().parent
SETTINGS = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)
GROUPS = {
    "Capture": """TraceSpec Policy Stats Trigger triggers rollout RolloutState wrap_step TracedStep
        TracedState attach detach TraceWrapper stoix_envs stoix_evaluator Evaluation Trace LaneTrace
        merge partition_specs""",
    "What an environment is": "environment Environment TimeStep Probe GenericProbe Outcome Encoding",
    "Save and read": """take Recording save load verify Episodes Episode Run keep_fields
        with_fields""",
    "Replay": "replay Replay counterfactuals Counterfactuals minimize Minimal",
    "Cost": "measure_overhead Overhead",
    "Publish": "publish Published",
}
"""Where a public name stands; those that are in no group come behind."""
API_HEAD = """# API reference

Everything is imported as `import jaxarc_trace as jt`. Names are imported when they are first used. Shapes stand in the
types: `Float32[Array, "*lanes"]` is a float32 array with the lanes' axes, `Bool[ndarray, "T"]` one value a transition.
This page is made by `python docs/reference.py`.
"""
HEAD = """# Commands

`jaxarc-trace COMMAND --help` says the same on the terminal. This page is made of it by `python docs/reference.py`.

RUN is a run directory, a saved trace, or a folder that holds one. An EPISODE is named by its index (`0`, `-1` for the
last) or by its id (`lane0003-ep000012`). `KEY=VALUE` changes a [setting](configuration.md).

With `--json` a command prints one JSON object on stdout and nothing else: progress, warnings and errors go to stderr.
Keys are only ever added; a number that is NaN or infinite is `null`. `debug` alone has no `--json`, for it takes the
whole terminal and waits for keys: `show --json` gives what it shows.
[`jaxarc-trace --install-completion`](configuration.md) teaches the shell commands, options and settings.

## Exit codes

| exit code | |
|---|---|
| 0 | all is well |
| 1 | the command worked, and found what the second table says |
| 2 | an error, in one line on stderr; `--traceback` shows where it came from |
| 3 | `publish` alone: something is left to send |
| 130 | stopped by Ctrl-C; every file in place is whole |
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Name and command of each that can be called, in order of their names."""
    top = typer.main.get_group(app)
    for name, command in sorted(top.commands.items()):
        if isinstance(command, click.Group):
            for inner, each in sorted(command.commands.items()):
                yield f"{name} {inner}", each
        else:
            yield name, command


def page() -> str:
    """The text of commands.md."""
    sections = (section(name, command) for name, command in commands())
    return "\n".join([HEAD, exits(), *sections])


def exits() -> str:
    """What exit code 1 of each command means, as a table."""
    rows = ["| command | exit code 1 |", "|---|---|"]
    for name, command in commands():
        found = re.search(r"; 1: ([^;]+)", command.epilog or "")
        rows.append(f"| [`{name}`](#{name.replace(' ', '-')}) | {found[1] if found else '-'} |")
    return "\n".join([*rows, ""])


def section(name: str, command: click.Command) -> str:
    """One command: what it does, how it is called, its options, examples and exit codes."""
    words, rows = [], []
    for each in command.params:
        argument = each.param_type_name == "argument"
        word = each.make_metavar(click.Context(command)) if argument else ""
        if word:
            words.append(word)
        if each.name not in ("help", "traceback"):
            rows.append(row(each, word))
    parts = [f"## {name}\n", clean(command.help or ""), ""]
    parts += ["```text", " ".join(["jaxarc-trace", name, *words, "[OPTIONS]"]), "```", ""]
    if rows:
        parts += ["| | | default |", "|---|---|---|", *rows, ""]
    examples, _, codes = (command.epilog or "").partition("\n\nExit codes: ")
    examples, _, keys = examples.partition("\n\nKeys of --json: ")
    lines = [line[2:] for line in examples.splitlines() if line.startswith("$ ")]
    parts += ["<!-- not run: tests/test_help.py parses each; the pages run such -->"]
    parts += ["```bash", *lines, "```", ""]
    parts += [f"Keys of `--json`: {keys}", ""] if keys else []
    parts += [f"Exit codes: {codes}", ""]
    return "\n".join(parts)


def row(each: click.Parameter, word: str) -> str:
    """An argument or option as a row of a table."""
    names = word or ", ".join(sorted(each.opts, key=len, reverse=True))
    kind = "" if word or getattr(each, "is_flag", False) else f" {each.type.name.upper()}"
    default = "" if each.default in (None, False, "", [], ()) else f"`{each.default}`"
    return f"| `{names}{kind}` | {clean(getattr(each, 'help', '') or '')} | {default} |"


def clean(text: str) -> str:
    """A docstring's paragraphs, for Markdown and its tables."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip()).replace("|", "\\|")


def api() -> str:
    """The text of api.md: a line for each public name, which mkdocstrings fills in."""
    left = [name for name in jt.__all__ if name not in ("config", "render")]
    parts = [API_HEAD]
    errors = [name for name in left if name.endswith("Error")]
    groups = {title: words.split() for title, words in GROUPS.items()}
    grouped = {name for names in (*groups.values(), errors) for name in names}
    groups["More"] = [name for name in left if name not in grouped]
    groups["Errors"] = errors
    for title, names in groups.items():
        found = [reference(getattr(jt, name)) for name in names if name in left]
        parts += [f"## {title}\n", *found] if found else []
    for module, title in ((render, "Pictures: `jt.render`"), (config, "Settings: `jt.config`")):
        found = [reference(getattr(module, name)) for name in module.__all__]
        parts += [f"## {title}\n", *found]
    # A name of a module that is shown whole may stand in a group as well.
    lines = "\n".join(parts).split("\n\n")
    return "\n\n".join(dict.fromkeys(lines))


def reference(value: object) -> str:
    """The line for one name, by where it is defined; a module stands for all that it offers."""
    if inspect.ismodule(value):
        return "\n".join(reference(getattr(value, name)) for name in value.__all__)
    if callable(value):
        return f"::: {value.__module__}.{value.__name__}\n"
    return ""


def settings() -> str:
    """The table of every setting, from the dataclasses."""
    head = ["| setting | default | allowed | what it does |", "|---|---|---|---|"]
    rows = [
        f"| `{each.key}` | `{shown(each.default)}` | {each.allowed} | {each.help} |"
        for each in knobs(TraceConfig)
    ]
    return "\n".join([*head, *rows, ""])


def shown(value: object) -> str:
    """A default as YAML writes it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return "''" if value == "" else str(value)


def written() -> dict[Path, str]:
    """Each page, as it should be."""
    configuration = HERE / "configuration.md"
    text = configuration.read_text(encoding="utf-8")
    return {
        HERE / "api.md": api(),
        HERE / "commands.md": page(),
        HERE / "errors.md": errors_reference.page(),
        configuration: SETTINGS.sub(lambda found: found[1] + settings() + found[2], text),
    }


def main() -> None:
    """Writes the pages, or says which are stale."""
    stale = []
    for path, text in written().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    print(f"not up to date: {', '.join(stale)}" if stale else "up to date")
    if stale and "--check" in sys.argv:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
