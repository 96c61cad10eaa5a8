"""Publishing with the real client to a stand-in server: what arrives, and that it arrives once."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace import render
from jaxarc_trace.config_sections import Publish
from jaxarc_trace.facts import measured
from jaxarc_trace.publish import status
from jaxarc_trace.publish_content import fitting, pictured
from jaxarc_trace.publish_plan import Choice, Job
from jaxarc_trace.run import Run
from tests.recordings import ENVIRONMENT, recording
from tests.wandb_http import serving
from tests.wandb_server import KEY, Server

ROOT = Path(__file__).parent.parent
NAME = "évil /#?%:\\\n\u202ename\x1b[31m <script>"
TASKS = ["../../etc/\x1b[2J<b>'\"", "x" * 300 + ":/#?%"]
ROLES = {"grid": "grid", "operation": "operation", "task": "task"}
GRIDS = {**ENVIRONMENT, "task_ids": TASKS, "roles": ROLES}
CONFIG = {"lr": 0.1, "experiment": "first", "algorithm": "ppo", "api_key": "hunter2hunter2"}
SETTINGS = Publish(mode="online", artifact=True, image_budget_mb=4.0, deadline=120.0)


def save(run: Run, first: int, last: int) -> None:
    for index in range(first, last):
        made = recording([5, 9, 7], seed=index, environment=GRIDS)
        run.save(made, step=100 * index, metadata={"host_seconds": {"saving": 0.25}})


def surroundings(patch: pytest.MonkeyPatch, home: Path, server: Server | None = None) -> None:
    """An environment in which nobody is logged in anywhere else."""
    home.mkdir(exist_ok=True)
    for name in ("WANDB_ENTITY", "WANDB_CONFIG_DIR", "NETRC"):
        patch.delenv(name, raising=False)
    patch.setenv("HOME", str(home))
    patch.setenv("WANDB_API_KEY", KEY)
    # A training that uses W&B itself sets these for its own run.
    patch.setenv("WANDB_RUN_ID", "not-ours")
    patch.setenv("WANDB_MODE", "disabled")
    if server is not None:
        patch.setenv("WANDB_BASE_URL", server.url)


@dataclass
class Story:
    """A run that is published, published again, and published after three more saves."""

    server: Server
    run: Run
    home: Path
    done: list[jt.Published] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    stages: set[str] = field(default_factory=set)

    def publish(self) -> None:
        def progress(name: str, done: int, total: int) -> None:
            assert 0 <= done <= max(total, done)
            self.stages.add(name)

        self.done.append(jt.publish(self.run, SETTINGS, best=1, worst=1, progress=progress))
        self.asked.append(self.server.asked)
        self.server.asked = []


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, serving() as server:
        surroundings(patch, home, server)
        with pytest.warns(RuntimeWarning, match=r"config\['api_key'\]: written as \(hidden\)"):
            run = Run.create(home / "runs", NAME, CONFIG)
        with run:
            told = Story(server, run, home)
            save(run, 0, 2)
            told.publish()
            told.publish()
            save(run, 2, 5)
            told.publish()
            yield told


def uploads(asked: list[str]) -> list[str]:
    return [what for what in asked if what.startswith(("upload", "stream"))]


def saves(story: Story) -> list[Any]:
    return story.run.saves()


# --------------------------------------------------------------------------------- what arrives


def test_each_save_is_a_row_with_the_numbers_of_its_episodes(story: Story) -> None:
    rows = [row for row in story.server.run.history if "return/mean" in row]
    assert [row["trace/save"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["trace/step"] for row in rows] == [0, 100, 200, 300, 400]
    for row, one in zip(rows, saves(story), strict=True):
        columns = jt.load(one.path).columns
        returns = columns["return"].astype(np.float64)
        assert row["return/mean"] == pytest.approx(returns.mean(), rel=1e-12)
        assert row["return/median"] == pytest.approx(np.median(returns), rel=1e-12)
        assert (row["return/min"], row["return/max"]) == (returns.min(), returns.max())
        assert (row["length/mean"], row["length/min"], row["length/max"]) == (7, 5, 9)
        assert row["trace/episodes"] == row["trace/ended"] == 3
        said = columns["solved"][columns["solved"] >= 0]
        assert row.get("success_rate") == (pytest.approx((said == 1).mean()) if len(said) else None)
        failures = measured(jt.load(one.path)).columns["failures"]
        idle = np.mean(["no-op run" in text.split(",") for text in failures])
        assert row["failures/no-op-run"] == idle
        assert row["overhead/host_seconds/saving"] == 0.25


def test_every_file_of_every_trace_arrives_byte_for_byte(story: Story) -> None:
    versions = story.server.committed("trace-")
    assert [one.version for one in versions] == [0, 1, 2, 3, 4]
    for artifact, one in zip(versions, saves(story), strict=True):
        files = {p.relative_to(one.path).as_posix(): p for p in one.path.rglob("*") if p.is_file()}
        assert {name: path.read_bytes() for name, path in files.items()} == artifact.files
        told = json.loads(artifact.metadata)
        assert (told["save"], told["step"], told["episodes"]) == (one.name, one.step, 3)
        assert f"step-{one.step}" in artifact.aliases
        noted = status(story.run.path)[0]["items"][f"trace:{one.sequence:06d}"]
        assert noted["digest"] == artifact.digest
        assert noted["artifact"].endswith(f":v{artifact.version}")
        assert (noted["files"], noted["state"]) == (len(files), "confirmed")


def test_a_trace_from_the_server_can_be_loaded(story: Story, tmp_path: Path) -> None:
    artifact = story.server.committed("trace-")[-1]
    for name, data in artifact.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert repr(jt.load(tmp_path)[0]) == repr(jt.load(saves(story)[-1].path)[0])


def shown(story: Story) -> tuple[Any, dict[str, Any], Any]:
    """The episodes in the order of the last table, the table, and its artifact."""
    artifact = story.server.committed("episodes-")[-1]
    table = json.loads(artifact.files["episodes.table.json"])
    job = Job(str(story.run.path), SETTINGS, Choice(1, 1))
    episodes, detailed = pictured(measured(story.run.episodes()), job)
    assert detailed == 2
    return episodes, table, artifact


def test_every_episode_is_a_row_of_the_table_with_its_own_text(story: Story) -> None:
    episodes, table, _ = shown(story)
    columns = table["columns"]
    assert len(table["data"]) == len(episodes) == len(story.run.episodes())
    for index, row in enumerate(table["data"]):
        found = dict(zip(columns, row, strict=True))
        episode = episodes[index]
        assert found["episode"] == episode.id
        assert (found["outcome"], found["length"]) == (episode.outcome, episode.length)
        assert found["return"] == pytest.approx(episode.total_return)
        # The text as it is, whatever it would do to a page or a terminal.
        assert found["task"] in TASKS
        assert found["solved"] in (True, False, None)


def test_pictures_arrive_as_they_were_drawn(story: Story) -> None:
    episodes, table, artifact = shown(story)
    first = dict(zip(table["columns"], table["data"][0], strict=True))
    picture = render.summary(episodes[0])
    scale = fitting(picture.width, picture.height, 2e6)
    assert artifact.files[first["summary"]["path"]] == picture.as_png(scale)
    assert first["summary"]["width"] * first["summary"]["height"] <= 2e6
    assert artifact.files[first["steps"]["path"]].startswith(b"\x89PNG")
    film = story.home / "film.gif"
    render.animate(episodes[0], film)
    assert artifact.files[first["animation"]["path"]] == film.read_bytes()
    kinds = ("summary", "steps", "animation")
    held = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    # Of the best and the worst every picture, of the others a summary.
    assert [sum(row[kind] is not None for row in held) for kind in kinds] == [len(held), 2, 2]
    paths = {row[kind]["path"] for row in held for kind in kinds if row[kind]}
    assert paths | {"episodes.table.json"} == set(artifact.files)


def test_the_viewer_arrives_byte_for_byte_and_a_row_shows_it(story: Story) -> None:
    episodes, _, artifact = shown(story)
    row = story.server.run.history[-1]
    drawn = story.home / "report.html"
    render.report(episodes, drawn, title=NAME)
    assert story.server.run.files[row["report"]["path"]] == drawn.read_bytes()
    assert row["report"]["_type"] == "html-file"
    assert row["episodes"]["_type"] == "table-file"
    assert row["episodes"]["artifact_path"].endswith("/episodes.table.json")
    assert row["episodes"]["size"] == len(artifact.files["episodes.table.json"])


def test_config_environment_group_job_type_and_tags_are_told(story: Story) -> None:
    run = story.server.run
    config = {name: entry["value"] for name, entry in run.config.items()}
    assert (config["lr"], config["experiment"]) == (0.1, "first")
    assert config["trace_environment"]["task_ids"] == TASKS
    assert config["trace_run"]["packages"]["numpy"] == np.__version__
    assert run.fields["groupName"] == "first"
    assert run.fields["jobType"] == "training"
    assert run.fields["tags"] == ["synthetic", "ppo"]
    assert story.server.run.summary["trace/save"] == 5


def test_a_hostile_name_becomes_a_valid_one_and_is_kept_as_it_was(story: Story) -> None:
    run = story.server.run
    assert run.name == story.run.id
    assert run.fields["displayName"] == "évil /#?%:\\ name [31m <script>"
    assert run.config["trace_run"]["value"]["name"] == NAME
    for artifact in story.server.artifacts:
        assert artifact.name.replace("-", "").isalnum()


# --------------------------------------------------------------------------------- twice is once


def test_publishing_again_sends_nothing(story: Story) -> None:
    first, second, _ = story.done
    assert first.exit_code == second.exit_code == 0
    assert dict(first.sent) == {"rows": 2, "traces": 2, "galleries": 1}
    assert story.asked[1] == []
    assert not any(second.sent.values())
    assert "nothing new" in str(second)
    assert second.confirmed == 5


def test_publishing_after_three_more_saves_sends_only_these(story: Story) -> None:
    third = story.done[2]
    assert dict(third.sent) == {"rows": 3, "traces": 3, "galleries": 1}
    assert story.asked[2].count("CommitArtifact") == 4
    old = [one.id for one in story.server.committed("trace-")[:2]]
    assert not [what for what in uploads(story.asked[2]) if what.split()[-1] in old]
    steps = [row["_step"] for row in story.server.run.history]
    assert steps == [1000, 2000, 2001, 3000, 4000, 5000, 5001]
    assert len(story.server.committed("episodes-")) == 2


def test_progress_is_told_and_the_end_summed_up(story: Story) -> None:
    assert {"reading", "pictures", "viewer", "connecting", "traces", "table"} <= story.stages
    said, place = str(story.done[0]).splitlines()
    assert said == "Sent and confirmed: 2 rows, 2 traces, 1 table with viewer; 5 in all"
    assert place == f"At {story.done[0].url}"
    assert story.done[0].url == f"{story.server.url}/tester/jaxarc-trace/runs/{story.run.id}"


def test_status_says_what_is_confirmed(story: Story) -> None:
    (place,) = status(story.run.path)
    assert place["counts"] == {"confirmed": 12, "pending": 0, "failed": 0}
    assert (place["unpublished"], place["lost"]) == ([], [])
    assert place["url"] == story.done[-1].url


# --------------------------------------------------------------------------------- secrets


def holders(folder: Path, *words: str) -> list[Path]:
    """Files that hold one of some words."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [p for p in files if any(word.encode() in p.read_bytes() for word in words)]


def test_no_secret_is_in_the_run_or_at_the_server(story: Story) -> None:
    assert story.server.keys == {KEY}
    assert holders(story.home, KEY) == []
    assert holders(story.home, CONFIG["api_key"]) == []
    assert story.server.run.config["api_key"]["value"] == "(hidden)"
    assert CONFIG["api_key"] not in json.dumps(story.server.run.history)


# --------------------------------------------------------------------------------- without wandb


def test_without_wandb_there_is_one_line_and_all_else_works(tmp_path: Path) -> None:
    with Run.create(tmp_path, "plain") as run:
        save(run, 0, 1)
    program = (
        "import sys; sys.modules['wandb'] = None\n"
        f"sys.argv = ['jaxarc-trace', 'publish', {str(run.path)!r}, *sys.argv[1:]]\n"
        "from jaxarc_trace.cli import main\n"
        "main()"
    )

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    said = call()
    assert said.returncode == 2
    assert said.stderr == (
        "Error: Publishing needs the package 'wandb', which is not installed. "
        "Run: pip install 'jaxarc-trace[wandb]'\n"
    )
    planned = call("--dry-run", "publish.artifact=true")
    assert planned.returncode == 0, planned.stderr
    assert "1 row of numbers" in planned.stdout
    assert not (run.path / "ledger.json").exists()
