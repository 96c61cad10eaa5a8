"""The example Hydra program, on every JaxARC dataset, action and reward that needs no download."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml

import jaxarc_trace as jt
from jaxarc_trace.config import compose
from tests.imports import ROOT

APP = ROOT / "examples" / "hydra_app"
TASKS = {"arc_agi_1": "25ff71a9", "arc_agi_2": "3e6067c3"}
# Every group at least once, each dataset and each reward with two of the three selections.
COMBINATIONS = [
    ("arc_agi_1", "raw", "training", "point"),
    ("arc_agi_2", "standard", "evaluation", "point"),
    ("arc_agi_2", "full", "training", "bbox"),
    ("arc_agi_1", "raw", "evaluation", "mask"),
]


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("hydra_app", APP / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _composed(*overrides: str) -> Any:
    with hydra.initialize_config_dir(str(APP / "conf"), version_base="1.3"):
        return hydra.compose("app", list(overrides))


def test_its_groups_and_ours_compose() -> None:
    cfg = _composed("level=off", "storage=production", "dataset=arc_agi_2", "seed=3")
    config = jt.config.from_hydra(cfg)
    expected = ["level=off", "storage=production", "capture.max_steps=32", "capture.seed=3"]
    assert config == compose([*expected, "storage.name=point_seed3"])
    assert cfg.dataset.dataset_name == "ARC-AGI-2"


def test_composing_inside_it_leaves_it_as_it_was() -> None:
    with hydra.initialize_config_dir(str(APP / "conf"), version_base="1.3"):
        before = hydra.compose("app")
        compose(["level=full"])
        assert hydra.compose("app") == before


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "action", "reward", "selection"), COMBINATIONS)
def test_it_records_every_group_of_jaxarc(
    tmp_path: Path, dataset: str, action: str, reward: str, selection: str
) -> None:
    cfg = _composed(
        f"dataset={dataset}", f"action={action}", f"reward={reward}", f"selection={selection}",
        f"tasks=['{TASKS[dataset]}']", "lanes=2", "steps=16", f"trace.storage.root={tmp_path}",
        "environment.max_episode_steps=8",
    )  # fmt: skip
    run = _module().record(cfg)
    assert [each.parent for each in tmp_path.glob("*/run.json")] == [run.path]
    episodes = jt.Run.open(run.path).episodes()
    assert len(episodes) >= 2
    assert set(episodes.columns["task"]) == {TASKS[dataset]}
    assert all(len(episode) == episode.length <= 8 for episode in episodes)
    place = {"mask": "selection", "bbox": "r1", "point": "row"}[selection]
    assert place in episodes[0].actions
    assert list(run.path.rglob("summary.svg"))
    saved = yaml.safe_load((run.path / "config.yaml").read_text())
    assert saved["reward"] == dict(cfg.reward)
    assert jt.config.from_yaml(run.path / "config.yaml") == jt.config.from_hydra(cfg)


def _shell(cwd: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "EQX_ON_ERROR")}
    return subprocess.run(
        [sys.executable, str(APP / "app.py"), *words],
        cwd=cwd,
        env=environment | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_sweep_leaves_a_run_directory_each_and_none_for_off(tmp_path: Path) -> None:
    words = ("lanes=2", "steps=8", "environment.max_episode_steps=8", "tasks=['25ff71a9']")
    # Without JaxARC's own checks, whose callbacks keep a program out of JAX's cache.
    sweep = ("--multirun", "seed=0,1", "level=off,minimal")
    done = _shell(tmp_path, *sweep, *words, EQX_ON_ERROR="off")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Nothing was recorded.") == 2
    runs = sorted((tmp_path / "runs").iterdir(), key=lambda path: path.name.partition("_")[2])
    assert [path.name.partition("_")[2] for path in runs] == ["point_seed0", "point_seed1"]
    for seed, path in enumerate(runs):
        assert yaml.safe_load((path / "config.yaml").read_text())["seed"] == seed
        assert len(jt.Run.open(path).episodes()) >= 1


@pytest.mark.slow
def test_what_is_wrong_is_said_before_the_work(tmp_path: Path) -> None:
    done = _shell(tmp_path, "trace.capture.max_steps=0", "+trace.render.thme=dark")
    assert done.returncode == 1
    assert "capture.max_steps: expected a whole number of at least 1, found 0" in done.stderr
    assert "render.thme: there is no such key; did you mean render.theme?" in done.stderr
    assert not (tmp_path / "runs").exists()
