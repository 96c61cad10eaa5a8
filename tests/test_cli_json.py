"""What commands print with `--json`: the keys that their help names, and the facts themselves."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.commands_common import show_json
from jaxarc_trace.config import compose, to_yaml
from jaxarc_trace.episode_json import comparison_facts, episode_facts, step_facts
from jaxarc_trace.exchange import export
from jaxarc_trace.render.frames import frames
from jaxarc_trace.run import Run
from tests.commands import Command
from tests.imports import ROOT
from tests.recordings import ENVIRONMENT, recording
from tests.render.stored import stored
from tests.test_cli_replay import taken
from tests.test_config_migrate import JULY
from tests.test_help import COMMANDS

GRIDS = {**ENVIRONMENT, "roles": {"grid": "grid", "operation": "operation", "task": "task"}}
GOLDEN = ROOT / "tests" / "golden" / "replay_v1"
HOSTILE = "\x1b[2J[red]\n\u202e\ud800</script>"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two saves, a saved trace, and a file of each kind that commands read."""
    root = tmp_path_factory.mktemp("place")
    with Run.create(root / "runs", "first") as run:
        for step in (1, 2):
            run.save(recording([3, 9], seed=step, environment=GRIDS), step=step)
    run.path.rename(root / "run")
    jt.save(root / "demo" / "trace", recording(range(3, 8), environment=GRIDS))
    (root / "my.yaml").write_text(to_yaml(compose(["level=full"])))
    (root / "old.yaml").write_text(JULY)
    export(jt.load(root / "demo" / "trace"), root / "best.jsonl")
    jt.save(root / "toy", taken())
    return root


# ------------------------------------------------------------------------------ keys that are named

CALLS = (
    ("list", "."), ("info", "run"), ("info", "demo"), ("verify", "run"), ("pin", "run --unpin"),
    ("clean", "run --max-saves 1 --dry-run"), ("export", "demo -o out.jsonl"),
    ("import", "best.jsonl -o again"), ("stats", "demo"), ("failures", ""), ("show", "demo 0"),
    ("episodes", "demo --best 2"),
    ("render", "demo --kind summary -o drawn --workers 1"), ("report", "demo -o r.html"),
    ("compare", "demo 0 1 -o c.svg"), ("config show", ""), ("config check", "my.yaml"),
    ("config groups", ""), ("config explain", "level"), ("config explain", "storage"),
    ("migrate", "old.yaml"), ("doctor", "."), ("publish", "run --dry-run"),
    ("publish", "run --status"), ("replay", "toy --env tests.test_cli_replay:made"),
)  # fmt: skip


def named(keys: str) -> set[str]:
    """The keys that a help names, without those of what is in them."""
    return set(re.findall(r"[a-z_]+", re.sub(r"\([^)]*\)", "", keys)))


def keys_of(name: str) -> str:
    epilog = re.sub(r"\s+", " ", COMMANDS[name].epilog or "")
    found = re.search(r"Keys of --json: (.*?)\. Exit codes", epilog)
    return found[1] if found else ""


@pytest.mark.parametrize(("name", "words"), CALLS)
def test_the_keys_are_those_that_the_help_names(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(place)
    said = command(*name.split(), *words.split(), "--json")
    assert said.code == 0, said.err
    keys = keys_of(name)
    assert set(said.data) <= named(keys)
    if ";" not in keys:
        assert set(said.data) == named(keys)
    for key, inner in re.findall(r"([a-z_]+) \(([a-z_, ]+)\)", keys):
        first = said.data.get(key)
        first = first[0] if isinstance(first, list) and first else first
        if first and "as the" not in inner and "likewise" not in inner:
            assert set(first) == named(inner), key


def test_every_command_with_json_names_its_keys() -> None:
    without = {name for name in COMMANDS if not keys_of(name)}
    assert without == {"debug"}
    # These play or measure, which takes long; their own tests look at what they print.
    assert set(COMMANDS) - {name for name, _ in CALLS} == {"bench", "debug", "demo"}


# --------------------------------------------------------------------------------- show and compare


def test_show_gives_the_facts_of_a_step(command: Command) -> None:
    episode = jt.load(GOLDEN)[3]
    whole = command("show", GOLDEN, episode.id, "--json").data
    assert whole["episode"]["id"] == episode.id
    assert [step["step"] for step in whole["steps"]] == list(range(1, len(episode) + 1))
    arc = frames(episode)
    assert arc is not None
    for t, step in enumerate(whole["steps"]):
        assert step["operation"] == {"id": arc.operation(t), "name": arc.name(t),
            "kind": arc.kind(t)}  # fmt: skip
        assert step["reward"] == float(episode.rewards[t])
        assert step["return"] == pytest.approx(float(episode.rewards[: t + 1].sum()), abs=1e-5)
        assert step["action"] == {name: each[t].tolist() for name, each in episode.actions.items()}
        assert step["grids"]["before"] == arc.before(t).tolist()
        assert step["grids"]["after"] == arc.after(t).tolist()
        assert step["shapes"]["after"] == [*arc.after(t).shape]
        changed = np.zeros(arc.after(t).shape, bool)
        for row, column in step["grids"]["changed"]:
            changed[row, column] = True
        assert (changed == arc.changed(t)).all()
        assert len(step["grids"]["to_go"]) == int((arc.differs(t) != 0).sum())
    (last,) = command("show", GOLDEN, episode.id, "--step", -1, "--json").data["steps"]
    assert last == whole["steps"][-1]


@pytest.mark.parametrize("name", ["hasty", "large"])
def test_badges_and_similarity_are_those_of_the_terminal(name: str) -> None:
    episode = stored(name)
    for t in range(len(episode)):
        found = step_facts(episode, t)
        lines = jt.render.terminal(episode, t, color=False, width=400).splitlines()
        assert re.findall(r"\[([^\]]+)\]", lines[0]) == found["badges"]
        assert found["submit"] == ("Submit" in found["badges"])
        shown = re.search(r"similarity ([-\d.]+) . ([-+−\d.]+)", "\n".join(lines))
        assert shown is not None
        assert float(shown[1]) == pytest.approx(found["similarity"], abs=6e-4)
        assert float(shown[2].replace("−", "-")) == pytest.approx(
            found["similarity_change"], abs=6e-4
        )


def test_failure_modes_are_named_at_their_steps_which_count_what_was_dropped() -> None:
    episode = stored("hasty")
    told = episode_facts(episode)
    assert told["failures"]
    moved = replace(episode, dropped=4, total_return=episode.total_return + 2)
    shifted = episode_facts(moved)
    for one, other in zip(told["failures"], shifted["failures"], strict=True):
        assert other["steps"] == [step + 4 for step in one["steps"]]
        for step in filter(None, one["steps"]):
            assert one["mode"] in step_facts(episode, step - 1)["failures"]
            assert step_facts(moved, step - 1)["step"] == step + 4
    assert step_facts(moved, 0)["return"] == pytest.approx(2 + float(episode.rewards[0]), abs=1e-4)
    assert (shifted["length"], shifted["dropped"]) == (len(episode) + 4, 4)


def test_without_grids_the_fields_are_told(command: Command, tmp_path: Path) -> None:
    jt.save(tmp_path / "trace", recording([3]))
    episode = jt.load(tmp_path / "trace")[0]
    (step,) = command("show", tmp_path, 0, "--step", 2, "--json").data["steps"]
    assert (step["grids"], step["shapes"], step["operation"], step["no_op"]) == (None,) * 4
    grid, level = step["fields"]["grid"], step["fields"]["level"]
    assert (grid["shape"], grid["before"]) == ([6, 6], None)
    before, after = episode.states["grid"][1:3]
    assert grid["changed"] == int((before != after).sum())
    known = float(episode.states["level"][1])
    assert level["before"] == (known if np.isfinite(known) else None)


def test_compare_says_where_two_episodes_part_and_by_how_much(
    command: Command, tmp_path: Path
) -> None:
    data = command("compare", GOLDEN, 3, 4, "--out", tmp_path / "c.svg", "--json").data
    assert data["path"] == str(tmp_path / "c.svg")
    ours, theirs = (jt.load(GOLDEN)[index] for index in (3, 4))
    assert (data["a"]["id"], data["b"]["id"]) == (ours.id, theirs.id)
    assert data["deltas"]["length"] == theirs.length - ours.length
    assert data["deltas"]["return"] == pytest.approx(theirs.total_return - ours.total_return)
    words = (tmp_path / "c.svg").read_text()
    first = data["first_divergence"]
    assert f"part at step {first['step']}: A does {first['a']['name']}" in words
    same = comparison_facts(ours, ours)
    assert (same["first_action"], same["first_state"], same["first_divergence"]) == (None,) * 3
    assert set(same["deltas"].values()) == {0}
    # Steps of an episode whose start was not kept stand beside none of the other's.
    partial = comparison_facts(ours, replace(theirs, dropped=3))
    assert (partial["same_start"], partial["first_action"], partial["differing"]) == (
        False,
        None,
        (),
    )


def test_compare_for_a_script_draws_only_what_it_is_asked_for(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("compare", GOLDEN, 3, 4, "--json").data["path"] is None
    assert not list(tmp_path.iterdir())
    assert command("compare", GOLDEN, 3, 4).code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["compare.svg"]


def test_what_is_not_known_or_not_finite_is_null() -> None:
    episode = stored("hasty")
    score = np.array(episode.states["similarity_score"])
    score[2] = np.nan
    rewards = np.array(episode.rewards)
    rewards[1] = np.inf
    states = {**episode.states, "similarity_score": score}
    found = step_facts(replace(episode, states=states, rewards=rewards), 1)
    assert found["similarity_change"] is None
    assert np.isnan(found["similarity"])
    assert np.isinf(found["reward"])


# ---------------------------------------------------------------------------------------- migrate


def test_migrate_lists_every_key_and_gives_the_settings(command: Command, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(JULY.replace("high_contrast", '"neon\\e[31m"'))
    said = command("migrate", tmp_path / "old.yaml", "--json")
    assert (said.code, said.err) == (1, "")
    data = said.data
    assert (data["path"], data["ok"]) == (None, False)
    assert data["trace"]["capture"]["level"] == "full"
    (wrong,) = data["unreadable"]
    assert wrong["key"] == "visualization.color_scheme"
    assert "\x1b" not in said.out
    (tags,) = (one["became"] for one in data["mapped"] if one["key"] == "wandb.tags")
    assert tags.startswith("publish.tags=")
    assert all(one["why"] for one in data["dropped"])
    said = command("migrate", tmp_path / "old.yaml", "-o", tmp_path / "new.yaml", "--json")
    assert said.data["path"] == str(tmp_path / "new.yaml")
    assert said.data | {"path": None} == data
    assert jt.config.from_yaml(tmp_path / "new.yaml").capture.level == "full"


# --------------------------------------------------------------------------------- one object alone


def test_the_object_has_what_json_has(capsys: pytest.CaptureFixture[str]) -> None:
    show_json(
        {
            "numbers": np.array([1.5, np.nan, np.inf], np.float32),
            "flags": (np.bool_(True), None),
            "path": Path("a"),
            "inner": {"lost": float("-inf"), HOSTILE: HOSTILE},
        }
    )
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert "\x1b" not in printed
    assert json.loads(printed, parse_constant=pytest.fail) == {
        "numbers": [1.5, None, None],
        "flags": [True, None],
        "path": "a",
        "inner": {"lost": None, HOSTILE: HOSTILE},
    }


def test_names_from_outside_are_escaped_and_nan_is_null(command: Command, tmp_path: Path) -> None:
    made = recording([3], environment={**GRIDS, "name": HOSTILE, "task_ids": [HOSTILE] * 2})
    columns = {**made.columns, "total_return": np.array([np.nan], np.float32)}
    jt.save(tmp_path / "trace", replace(made, columns=columns))
    for words in (("show", tmp_path, 0), ("info", tmp_path), ("stats", tmp_path, "--by", "task")):
        said = command(*words, "--json")
        assert said.code == 0, said.err
        json.loads(said.out, parse_constant=pytest.fail)
        assert "\x1b" not in said.out
        assert said.out.isascii()
    data = command("show", tmp_path, 0, "--json").data["episode"]
    assert (data["task"], data["environment"], data["return"]) == (HOSTILE, HOSTILE, None)


def printing() -> Any:
    """An environment of which a library prints when it is made, as `--env` names it."""
    sys.stdout.write("loaded something\n")
    sys.stdout.flush()
    return object()


def test_what_a_library_prints_is_not_on_stdout(command: Command) -> None:
    said = command("replay", GOLDEN, 0, "--env", "tests.test_cli_json:printing", "--json")
    assert "loaded something" in said.err
    assert "loaded something" not in said.out
    # And afterwards stdout is what it was.
    assert command("failures").out.startswith("mode")


def test_an_error_leaves_stdout_empty(command: Command) -> None:
    for words in (("show", GOLDEN, 99), ("compare", GOLDEN, 0, 99), ("migrate", "gone.yaml")):
        said = command(*words, "--json")
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("Error: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["demo --lanes 4 --steps 24 --task 25ff71a9 -o demo", f"replay {GOLDEN} 0"]
)
def test_stdout_is_one_object_in_a_shell_in_which_nothing_is_set(
    tmp_path: Path, words: str
) -> None:
    shell = {k: v for k, v in os.environ.items() if k not in ("EQX_ON_ERROR", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-m", "jaxarc_trace.cli", *words.split(), "--json"],
        cwd=tmp_path,
        env={**shell, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    if words.startswith("demo"):
        assert "Playing ..." in done.stderr
        assert set(data) == named(keys_of("demo"))
        assert data["path"] == str(tmp_path / "demo")
        assert all(Path(file).is_file() for file in data["pictures"])
        assert len(data["next"]) == 3
    else:
        assert data["exact"] == 1
