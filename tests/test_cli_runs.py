"""The commands that look after runs on disk, as a user types them."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jaxarc_trace as jt
from jaxarc_trace.limits import read_limits
from jaxarc_trace.pins import read_pins
from jaxarc_trace.retention import Retention
from jaxarc_trace.run import Run
from tests.commands import Command
from tests.recordings import ENVIRONMENT, recording, spoil
from tests.stored_runs import LENGTHS
from tests.test_arc_agi_3 import answer, cells, written
from tests.test_retention import numbered, sequences

ROOT = Path(__file__).parent.parent
COMMANDS = "list info verify pin clean export import".split()
# ------------------------------------------------------------------------------------ looking


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_json(command: Command, name: str) -> None:
    said = command(name, "--help")
    assert said.code == 0
    assert f"$ jaxarc-trace {name} " in said.out
    assert "--json" in said.out
    assert "--traceback" in said.out


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['jaxarc-trace', 'clean', '--help']\n"
        "from jaxarc_trace.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(*(m.partition('.')[0] for m in sys.modules))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & {"jax", "numpy", "orbax", "tensorstore", "drawsvg", "polars"}


def test_list_names_runs_and_stores(command: Command, root: Path, run: Run) -> None:
    run.pin()
    said = command("list", root)
    assert said.code == 0, said.err
    row = next(line for line in said.out.splitlines() if run.path.name in line)
    assert row.split()[1] == "run"
    assert "pinned" in row
    assert "demo" in said.out
    first, second = command("list", root, "--json").data["runs"]
    assert set(first) == {
        *("path", "name", "created", "saves", "last_step", "bytes", "pinned", "writer"),
        *("problem", "kind"),
    }
    assert (first["kind"], first["saves"], first["last_step"]) == ("run", 4, 300)
    assert first["name"] == "first [red]x"
    assert (second["kind"], second["path"]) == ("store", str(root / "demo"))
    assert [one["path"] for one in command("list", run.path, "--json").data["runs"]] == [
        str(run.path)
    ]


def test_list_says_what_to_do_where_there_is_nothing(command: Command, tmp_path: Path) -> None:
    said = command("list", tmp_path)
    assert said.code == 0
    assert "Record some with: jaxarc-trace demo" in said.out
    assert command("list", tmp_path, "--json").data == {"root": str(tmp_path), "runs": []}
    said = command("list", tmp_path / "nothing")
    assert said.code == 2
    assert "expected a directory of runs, found none" in said.err


def test_list_names_what_cannot_be_read(command: Command, root: Path, run: Run) -> None:
    (run.path / "run.json").write_text("{")
    (root / "demo" / "trace" / "trace.json").write_text("{}")
    said = command("list", root)
    assert said.code == 0
    assert said.out.count("cannot be read") == 2


def test_info_of_a_run_and_of_a_store(command: Command, root: Path, run: Run) -> None:
    said = command("info", run.path)
    assert said.code == 0, said.err
    for words in ("first [red]x", "lr 0.1", "2 failed, 2 solved", "000004_step000000000300"):
        assert words in said.out
    data = command("info", run.path, "--json").data
    assert (data["kind"], data["episodes"], data["steps"]) == ("run", 4, 12)
    assert data["outcomes"] == {"failed": 2, "solved": 2}
    assert data["pinned"] == {"run": False, "episodes": []}
    assert data["retention"]["policy"] == "none"
    assert [save["step"] for save in data["saves"]] == [0, 100, 200, 300]
    assert "note hello" in command("info", root / "demo").out
    data = command("info", root / "demo" / "trace", "--json").data
    assert (data["kind"], data["episodes"], data["metadata"]) == ("store", 6, {"note": "hello"})
    assert set(data["returns"]) == {"min", "median", "max"}
    said = command("info", root.parent)
    assert said.code == 2
    assert "make one with: jaxarc-trace demo" in said.err


def test_info_tells_the_returns_of_those_that_ended(command: Command, tmp_path: Path) -> None:
    for name, complete in (("some", (True, True, False)), ("none", (False,) * 3)):
        held = recording([3, 4, 5])
        held.columns["complete"][:] = complete
        held.columns["total_return"][:] = (1, 2, 30)
        store = jt.save(tmp_path / name, held)
        most = command("info", store, "--json").data["returns"]["max"]
        assert most == (2 if any(complete) else 30)
        told = "max 2 of those that ended" if any(complete) else "max 30 so far"
        assert told in command("info", store).out


def test_info_of_a_folder_of_runs_names_one(command: Command, tmp_path: Path) -> None:
    runs = [Run.create(tmp_path, name) for name in ("one", "two")]
    for run in runs:
        run.save(recording([3]))
    said = command("info", tmp_path)
    assert said.code == 2
    told = "".join(said.err.split())
    assert "foundafolderofruns" in told
    assert f"{runs[1].path.name},orseethemallwith:jaxarc-tracelist" in told


def test_info_of_an_empty_run_says_how_to_save(command: Command, tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    assert "Nothing is saved yet. In the program: run.save(" in command("info", run.path).out
    assert command("verify", run.path).out.startswith("Nothing is saved in ")
    said = command("verify", run.path, "--json")
    assert (said.code, said.data["ok"], said.data["stores"]) == (0, True, [])


# ---------------------------------------------------------------------------------- verifying


def test_verify_finds_nothing_in_what_is_whole(command: Command, root: Path) -> None:
    said = command("verify", root)
    assert said.code == 0, said.err
    assert said.out == "5 saves, 10 episodes: every byte is as it was written.\n"
    assert command("verify", root, "--json").data["ok"] is True


def test_verify_names_each_damaged_episode(command: Command, root: Path, run: Run) -> None:
    store = root / "demo" / "trace"
    spoil(store)
    damaged = jt.verify(store).damaged
    assert 0 < len(damaged) < len(LENGTHS)
    said = command("verify", root)
    assert said.code == 1
    for index in damaged:
        assert f"episode {index} (lane {index % 4}, number {index // 4}): cannot" in said.out
    assert f"1 damaged; {len(damaged)} episode" in said.out
    said = command("verify", root, "--json")
    assert said.code == 1
    assert said.data["damaged_episodes"] == len(damaged)
    (bad,) = (one for one in said.data["stores"] if not one["ok"])
    assert [one["episode"] for one in bad["damaged"]] == list(damaged)
    assert command("verify", run.path).code == 0


def test_verify_names_damage_to_the_files_of_a_run(command: Command, run: Run) -> None:
    for name in ("pins.json", "limits.json", "run.json"):
        (run.path / name).write_text("[")
    said = command("verify", run.path, "--json")
    assert said.code == 1
    problems = " ".join(p for one in said.data["stores"] for p in one["problems"])
    assert all(name in problems for name in ("pins.json", "limits.json", "run.json"))


# ------------------------------------------------------------------------- pinning and cleaning


def test_pin_and_unpin_a_run_and_episodes(command: Command, run: Run) -> None:
    assert command("pin", run.path).code == 0
    assert read_pins(run.path).run
    assert command("pin", run.path, "--unpin", "--json").data == {
        "path": str(run.path),
        "pinned": {"run": False, "episodes": []},
    }
    assert "Pinned process 0 lane 0 number 2." in command("pin", run.path, 2).out
    assert command("pin", run.path, "lane0000-ep000003").code == 0
    assert command("pin", run.path, -1).code == 0
    assert read_pins(run.path).episodes == {(0, 0, 2), (0, 0, 3)}
    assert command("pin", run.path, "lane0000-ep000002", "--unpin").code == 0
    assert read_pins(run.path).episodes == {(0, 0, 3)}
    # What is gone can be unpinned still.
    shutil.rmtree(run.saves()[3].path)
    assert command("pin", run.path, "lane0000-ep000003", "--unpin").code == 0
    assert read_pins(run.path).episodes == set()


@pytest.mark.parametrize("word", ["9", "-9", "lane0007-ep000000", "x\x1b[31m"])
def test_an_episode_that_is_not_there_cannot_be_pinned(
    command: Command, run: Run, word: str
) -> None:
    said = command("pin", run.path, word)
    assert said.code == 2
    assert "which none of its 4 episodes has; look with: jaxarc-trace info" in said.err
    assert "\x1b[31m" not in said.err
    assert not (run.path / "pins.json").exists()


def test_an_id_of_several_processes_asks_which(command: Command, tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    for process in (0, 1):
        name = f"00000{process + 1}"
        jt.save(run.path / "traces" / name, recording([3]), run=run.id, process=process)
    said = command("pin", run.path, "lane0000-ep000000")
    assert said.code == 2
    assert "found it in processes 0, 1; say which with --process" in said.err
    assert command("pin", run.path, "lane0000-ep000000", "--process", 1).code == 0
    assert read_pins(run.path).episodes == {(1, 0, 0)}


def test_a_store_outside_a_run_cannot_be_pinned_or_cleaned(command: Command, root: Path) -> None:
    assert "expected a run directory" in command("pin", root / "demo").err
    said = command("clean", root / "demo", "--max-saves", 1)
    assert said.code == 2
    assert "nothing was removed" in said.err
    assert jt.verify(root / "demo" / "trace").ok


def test_clean_says_what_it_removes_and_why(command: Command, run: Run) -> None:
    command("pin", run.path, 0)
    words = ("clean", run.path, "--max-saves", 2)
    planned = command(*words, "--dry-run")
    assert sequences(run) == [1, 2, 3, 4]
    assert "Would remove traces/000002_step000000000100" in planned.out
    data = command(*words, "--dry-run", "--json").data
    assert set(data) == {"dry_run", "freed_bytes", "removed", "stayed", "over"}
    assert data["dry_run"] is True
    said = command(*words)
    assert said.code == 0
    assert said.out == planned.out.replace("Would remove", "Removed")
    assert "more than 2 saves" in said.out
    assert "it holds the pinned episode process 0 lane 0 number 0" in said.out
    assert sequences(run) == [1, 4]
    assert data["freed_bytes"] == sum(one["bytes"] for one in data["removed"]) > 0


def test_a_limit_that_cannot_be_kept_is_exit_code_1(command: Command, run: Run) -> None:
    said = command("clean", run.path, "--max-bytes", "10B", "--dry-run")
    assert said.code == 1
    assert "Still over a limit: more than 10 bytes although all that may go is gone" in said.out


def test_clean_knows_units_and_protection(command: Command, run: Run) -> None:
    assert command("clean", run.path, "--max-bytes", "1.5GiB", "--max-age", "30d").code == 0
    assert sequences(run) == [1, 2, 3, 4]
    for save in run.saves()[:3]:
        os.utime(save.path / "COMMIT", (time.time() - 7300,) * 2)
    said = command("clean", run.path, "--max-age", "2h", "--protect", "failed")
    assert sequences(run) == [1, 3, 4]
    assert "it holds the protected episode" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-bytes", "3XB"), "--max-bytes: expected a number and one of B, K"),
        (("--max-age", "soon"), "--max-age: expected a number and one of s, m, h, d, w"),
        (("--max-saves", "0"), "max_saves: expected more than 0"),
        (("--protect", "best"), "expected a limit with --protect"),
        (("--max-saves", "2", "--largest-first"), "'size_based': expected max_bytes"),
    ],
)
def test_limits_that_make_no_sense_are_refused(
    command: Command, run: Run, words: tuple[str, ...], message: str
) -> None:
    said = command("clean", run.path, *words)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert sequences(run) == [1, 2, 3, 4]


def test_without_a_limit_each_run_is_held_to_its_own(command: Command, tmp_path: Path) -> None:
    limits = Retention("manual", max_saves=20, protect=("best",))
    with Run.create(tmp_path, "a", retention=limits) as run:
        for index in range(3):
            run.save(numbered(index, kept_by=[0]))
    other = Run.create(tmp_path, "b")
    for index in range(3):
        other.save(numbered(index))
    assert command("clean", tmp_path).out == "Nothing to remove.\n"
    with Run.resume(run.path) as again:
        assert again.retention == limits
    Run.resume(run.path, retention=Retention("manual", max_saves=2)).close()
    assert read_limits(run.path).max_saves == 2
    said = command("clean", tmp_path)
    assert "more than 2 saves" in said.out
    assert sequences(run) == [2, 3]
    assert sequences(other) == [1, 2, 3]
    assert "No limit is set. Give one: --max-saves" in command("clean", other.path).out


def test_clean_lists_what_crashes_left(command: Command, run: Run) -> None:
    for leftover in ("traces/.partial-1", ".trash/000009-abc"):
        (run.path / leftover).mkdir(parents=True)
        (run.path / leftover / "data").write_text("x")
    planned = command("clean", run.path, "--dry-run")
    assert "its writing was never finished" in planned.out
    assert (run.path / "traces" / ".partial-1").exists()
    assert command("clean", run.path).out == planned.out.replace("Would remove", "Removed")
    assert not (run.path / "traces" / ".partial-1").exists()


def test_dangerous_roots_are_refused(
    command: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root))
    for place in ("/", root):
        said = command("clean", place, "--max-saves", 1)
        assert said.code == 2
        assert "nothing was removed" in said.err


# ----------------------------------------------------------------------------------- the rest


def test_hostile_names_are_shown_and_do_not_act(command: Command, tmp_path: Path) -> None:
    name = "[bold]x\x1b[31m\n\u202eevil"
    root = tmp_path / name
    with Run.create(root, name, {name: name}) as run:
        run.save(recording([3]), metadata={name: name})
    for words in (("list", root), ("info", run.path), ("verify", root), ("clean", root)):
        said = command(*words)
        assert said.code == 0, said.err
        assert not {"\x1b", "\u202e"} & set(said.out)
    assert "[bold]x\\x1b[31m\\n\\u202eevil" in command("info", run.path).out
    assert command("info", run.path, "--json").data["config"] == {name: name}
    said = command("list", root / "nothing")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert not {"\x1b", "\u202e"} & set(said.err)


def test_the_commands_of_the_documentation_work(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {**ENVIRONMENT, "roles": {"grid": "grid", "operation": "operation"}}
    with Run.create("runs", "ppo") as run:
        for step in range(4):
            run.save(recording(range(3, 13), seed=step, environment=environment), step=step)
    written(tmp_path / "game.jsonl", answer(0, cells(3, 4)), answer(1, cells(2, 4)))
    text = (ROOT / "docs" / "runs.md").read_text()
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("jaxarc-trace ")]
    assert {line[1] for line in lines} >= set(COMMANDS)
    for _, *words in lines:
        said = command(*(word.replace("$RUN", str(run.path)) for word in words))
        assert said.code == 0, (words, said.err)


def test_ctrl_c_is_exit_code_130_and_leaves_nothing(tmp_path: Path) -> None:
    store = jt.save(tmp_path / "store", recording([60] * 4000, side=12))
    # A shell that runs the tests in its background has told its children to ignore Ctrl-C.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from jaxarc_trace.cli import main; main()"
    )
    words = ["export", str(store), "--out", str(tmp_path / "a.jsonl")]
    with subprocess.Popen([sys.executable, "-c", program, *words], cwd=ROOT) as child:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".partial-file-*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
