"""Every command's help: what each word means, two examples that parse, and its exit codes."""

import shlex
import subprocess
import sys
from collections import defaultdict
from typing import Any

import click
import pytest
import typer

from jaxarc_trace.cli import app
from tests.imports import ROOT


def commands() -> dict[str, click.Command]:
    """Every command that can be called, by the words that call it."""
    found: dict[str, click.Command] = {}
    top: Any = typer.main.get_command(app)
    for name, command in top.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {n}": c for n, c in inner.items()}
    return found


COMMANDS = commands()
FLAGS = {"--json", "--traceback"}


def examples(command: click.Command) -> list[str]:
    return [
        line.removeprefix("$ ")
        for line in (command.epilog or "").splitlines()
        if line.startswith("$ ")
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_two_examples_at_least_parse(name: str) -> None:
    found = examples(COMMANDS[name])
    assert len(set(found)) >= 2
    for example in found:
        words = shlex.split(example)
        words = words[: words.index(">")] if ">" in words else words
        start = ["jaxarc-trace", *name.split()]
        assert words[: len(start)] == start, example
        # Reads the words and refuses what it does not know; runs nothing.
        with COMMANDS[name].make_context(name, words[len(start) :]) as context:
            assert all(not str(value).startswith("-") for value in context.args)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_word_is_explained_and_the_exit_codes_as_well(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert "Exit codes: 0: all is well" in (command.epilog or "")
    for each in command.params:
        assert getattr(each, "help", None), f"{name}: {each.opts}"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_argument_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    needed = [each for each in COMMANDS[name].params if each.required]
    for count, each in enumerate(needed):
        words = [*name.split(), *map(str, range(count))]
        with pytest.raises(SystemExit) as ended:
            typer.main.get_command(app)(words)
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert f"Missing argument '{each.human_readable_name.upper()}'" in said.err
        assert not said.out


def test_options_of_one_name_are_of_one_kind() -> None:
    kinds = defaultdict(set)
    for command in COMMANDS.values():
        for each in command.params:
            for word in each.opts:
                if word.startswith("--"):
                    kind = each.type.name.removesuffix(" range")
                    kinds[word].add((kind, bool(getattr(each, "is_flag", False))))
    assert {word: found for word, found in kinds.items() if len(found) > 1} == {}
    assert all(found == {("boolean", True)} for word, found in kinds.items() if word in FLAGS)


def test_what_gives_facts_gives_them_as_json() -> None:
    without = {
        name
        for name, command in COMMANDS.items()
        if not any("--json" in each.opts for each in command.params)
    }
    # It takes the whole terminal and asks for keys.
    assert without == {"debug"}


def test_a_file_or_folder_to_write_is_named_alike_everywhere() -> None:
    options = {name: [each.opts for each in command.params] for name, command in COMMANDS.items()}
    writing = {name for name, found in options.items() if any("--out" in opts for opts in found)}
    assert writing == {
        name for name, found in options.items() if ["-o", "--out"] in [list(o) for o in found]
    }
    assert {"demo", "render", "report", "compare", "export", "import", "migrate"} <= writing


def test_the_page_of_commands_has_the_exit_codes_of_each() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    table = page.partition("## Exit codes")[2].partition("\n## ")[0]
    for name, command in COMMANDS.items():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| [`{name}`]"))
        _, _, found = (command.epilog or "").partition("; 1: ")
        assert row.endswith(f"| {found.partition(';')[0] or '-'} |")
        assert "; 3: " not in (command.epilog or "") or f"`{name}` alone" in table


def test_the_page_of_commands_and_the_table_of_settings_are_up_to_date() -> None:
    words = [sys.executable, "docs/reference.py", "--check"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}; run: python docs/reference.py"
