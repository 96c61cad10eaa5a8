"""What each level writes, as `docs/configuration.md` promises it, on real JaxARC."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import jaxarc_trace as jt
from jaxarc_trace.analysis import key_moments
from jaxarc_trace.config import compose
from jaxarc_trace.config_fields import knobs
from jaxarc_trace.config_sections import TraceConfig
from jaxarc_trace.demo.run import Demo, played_before, run, settings
from jaxarc_trace.errors import ConfigError
from tests.imports import ROOT

DOC = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
LEVELS = ("off", "minimal", "standard", "verbose", "full")
# Every level once, and every choice of the other groups with some of them.
SAMPLE = {
    "off": "storage=production publish=wandb_full render=colorblind",
    "minimal": "storage=production publish=wandb_basic render=high_contrast",
    "standard": "storage=development publish=local render=default",
    "verbose": "storage=research publish=wandb_full render=colorblind",
    "full": "storage=research publish=local render=colorblind storage.limit_gb=2",
}
KEEP = "capture.keep={best:2,worst:2,failed:0,random:0}"
SIDE = {"run.json", "limits.json", "config.yaml", "gate.lock", "writer.lock", "traces", "renders"}


@contextmanager
def _quietly(_: str) -> Iterator[None]:
    yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("levels")


@cache
def _played(place: Path, level: str) -> Any:
    words = [f"level={level}", *SAMPLE[level].split(), KEEP]
    config = compose(words, settings())
    tasks = ("25ff71a9", "0d3d703e")
    return run(Demo(place / level, 2, 4, 24, tasks, config), _quietly)


def _pictures(played: Any) -> dict[str, set[str]]:
    folder = played.folder / "renders"
    return {
        each.name: {p.name for p in each.iterdir() if p.suffix != ".json"}
        for each in folder.iterdir()
    }


def _rows() -> dict[str, list[str]]:
    rows = (line.strip("|").split("|") for line in DOC.splitlines() if line.startswith("| `"))
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows if len(row) == 3}


@pytest.mark.parametrize(
    ("level", "trace", "pictures"),
    [
        ("off", "nothing; there is no run directory", "nothing"),
        ("minimal", "its final state; no transition", "`summary.svg`, with the final frame"),
        ("standard", "every transition: state", "a picture of each key step"),
        ("verbose", "the same as `standard`", "a picture of every step"),
        ("full", "every transition with every leaf of the state", "a picture of every step"),
    ],
)
def test_the_table_says_what_these_tests_hold(level: str, trace: str, pictures: str) -> None:
    stored, drawn = _rows()[level]
    assert trace in stored
    assert drawn.endswith(pictures)


def test_the_list_of_settings_is_the_settings() -> None:
    def cell(value: Any) -> str:
        return yaml.safe_dump(value, default_flow_style=True).partition("\n")[0]

    lines = [
        f"| `{each.key}` | `{cell(list(d) if isinstance(d := each.default, tuple) else d)}` "
        f"| {each.allowed} | {each.help} |"
        for each in knobs(TraceConfig)
    ]
    listed = DOC.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    assert listed.strip().splitlines()[2:] == lines


@pytest.mark.slow
def test_off_leaves_nothing_at_all(tmp_path: Path) -> None:
    played = _played(tmp_path, "off")
    assert played.folder is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_run_holds_its_trace_its_pictures_and_what_it_was_made_with(
    place: Path, level: str
) -> None:
    played = _played(place, level)
    held = {each.name for each in played.folder.iterdir()}
    # A run without limits has nothing to take turns for.
    limited = "storage=development" not in SAMPLE[level]
    assert held == (SIDE if limited else SIDE - {"gate.lock"})
    assert len(list((played.folder / "traces").iterdir())) == 1
    config = jt.config.from_yaml(played.folder / "config.yaml")
    words = [f"level={level}", *SAMPLE[level].split(), KEEP]
    assert config == compose(words, settings())
    limits = json.loads((played.folder / "limits.json").read_text())
    assert limits["policy"] == config.storage.policy
    assert played.episodes.spec["level"] == level
    # Two policies, one episode of each.
    assert len(_pictures(played)) == 2
    assert {path.name for path in played.pictures} == set().union(*_pictures(played).values())


@pytest.mark.slow
def test_minimal_keeps_a_summary_and_the_final_frame(place: Path) -> None:
    played = _played(place, "minimal")
    assert not played.episodes.spec.get("records_steps")
    for position in played.kept:
        episode = played.episodes[position]
        assert (len(episode), episode.dropped) == (0, episode.length)
        assert episode.states["working_grid"].shape[0] == 1
        assert {"input_grid", "target_grid"} <= set(episode.states)
        assert np.isfinite(episode.total_return)
    assert list(_pictures(played).values()) == [{"summary.svg"}, {"summary.svg"}]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["standard", "verbose", "full"])
def test_these_keep_every_transition(place: Path, level: str) -> None:
    played = _played(place, level)
    for position in played.kept:
        episode = played.episodes[position]
        assert len(episode) == episode.length
        assert episode.dropped == 0
    leaves = {"clipboard", "allowed_operations_mask"}
    assert (leaves <= set(episode.states)) == (level == "full")
    assert ("host_seconds" in played.episodes.metadata) == (level == "full")
    if level == "full":
        assert {"loading", "compiling", "playing"} <= set(played.episodes.metadata["host_seconds"])


@pytest.mark.slow
@pytest.mark.parametrize("level", ["standard", "verbose", "full"])
def test_steps_are_drawn_by_level(place: Path, level: str) -> None:
    played = _played(place, level)
    by_id = {episode.id: episode for episode in played.episodes}
    for name, files in _pictures(played).items():
        episode = by_id[name]
        every = {f"step_{t + 1:04d}.svg" for t in range(len(episode))}
        key = {f"step_{moment.step:04d}.svg" for moment in key_moments(episode) if moment.step}
        assert files == {"summary.svg", *(key if level == "standard" else every)}


@pytest.mark.slow
def test_a_run_is_made_again_from_what_it_says(place: Path) -> None:
    first = _played(place, "standard")
    again = run(played_before(first.folder, place / "again"), _quietly)
    assert again.folder != first.folder
    assert (again.folder / "config.yaml").read_text() == (first.folder / "config.yaml").read_text()
    assert len(again.episodes) == len(first.episodes)
    for one, two in zip(first.episodes, again.episodes, strict=True):
        assert one.kept_by == two.kept_by
        np.testing.assert_array_equal(one.rewards, two.rewards)
        for field, values in one.states.items():
            np.testing.assert_array_equal(values, two.states[field])
    for picture in first.pictures:
        twin = again.folder / picture.relative_to(first.folder)
        assert picture.read_bytes() == twin.read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trace: {}", "expected a node demo with seed, lanes, steps, tasks, found None"),
        ("demo: {seed: 1}", "found {'seed': 1}; give the run of a demo"),
        ("demo: {seed: x, lanes: 1, steps: 1, tasks: []}", "expected whole numbers and a list"),
        ("demo: {seed: 1, lanes: 1, steps: 1, tasks: a}", "expected whole numbers and a list"),
    ],
)
def test_a_run_that_no_demo_made_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        played_before(tmp_path, tmp_path / "out")
    assert message in str(caught.value)


def test_a_demo_takes_another_configuration(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    changed = replace(demo, config=compose(["level=full"], demo.config))
    assert changed.config.spec().policy_names == demo.config.spec().policy_names
    assert changed.config.spec().level == "full"
