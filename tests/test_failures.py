"""Failure modes are found where they were planted, and nowhere else."""

import functools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.analysis import MODES, failure_modes
from jaxarc_trace.demo import faults
from tests.render.stored import NAMES, stored, with_environment


def modes(episode: jt.Episode) -> dict[str, tuple[int, ...]]:
    return {failure.mode: failure.steps for failure in failure_modes(episode)}


@functools.cache
def labelled() -> list[faults.Labelled]:
    return faults.labelled()


@pytest.mark.slow
def test_planted_faults_are_found_with_precision_and_recall_of_95_percent_or_more():
    scores = faults.measure(labelled(), failure_modes)
    assert [score.mode for score in scores] == list(MODES)
    assert len(scores) >= 10
    for score in scores:
        assert score.planted >= 12, score
        assert score.precision >= 0.95, score
        assert score.recall >= 0.95, score


@pytest.mark.slow
def test_clean_episodes_and_many_outcomes_are_among_the_labelled():
    found = labelled()
    assert sum(not each.modes for each in found) >= 24
    outcomes = [each.episode.outcome for each in found]
    assert min(outcomes.count(name) for name in ("solved", "failed")) >= 12
    assert sum(bool(each.episode.truncated[-1]) for each in found) >= 12
    # The label of a script is not made by the rules.
    wrong = [replace(each, modes=frozenset({"oscillation"})) for each in found]
    assert any(s.recall < 0.95 for s in faults.measure(wrong, failure_modes))


def test_the_stored_episodes_show_what_they_were_played_for():
    assert modes(stored("wandering")) == {}
    assert modes(stored("hasty")) == {"premature submit": (8,)}
    large = modes(stored("large"))
    assert large["regression"] == (19, 60)
    assert large["collapse"] == (22,)
    operations = modes(stored("operations"))
    assert operations["wrong dimensions"] == (66,)
    assert len(operations["oscillation"]) == 32


@pytest.mark.parametrize("name", NAMES)
def test_every_finding_points_at_steps_of_the_episode(name: str):
    episode = stored(name)
    for failure in failure_modes(episode):
        assert failure.mode in MODES
        assert failure.steps
        assert list(failure.steps) == sorted(failure.steps)
        assert 0 <= failure.steps[0] <= failure.steps[-1] <= len(episode)
        assert failure.label


@pytest.mark.parametrize("name", NAMES)
def test_without_grid_score_and_roles_nothing_is_judged(name: str):
    assert modes(with_environment(stored(name), roles={})) == {}


def test_the_page_defines_every_mode():
    page = (Path(__file__).parents[1] / "docs" / "failures.md").read_text(encoding="utf-8")
    titles = re.findall(r"^\*\*(.+)\.\*\*", page, flags=re.MULTILINE)
    assert [title.lower() for title in titles] == list(MODES)


def test_an_episode_under_way_is_not_blamed_for_its_end():
    running = replace(stored("large"), complete=False)
    found = modes(running)
    assert "collapse" in found
    assert not {"regression", "stagnation", "foreign colour", "wrong dimensions"} & set(found)


def test_an_empty_episode_and_scores_that_are_no_numbers_have_no_failure():
    episode = stored("hasty")
    empty = replace(
        episode,
        states={name: value[:1] for name, value in episode.states.items()},
        actions={name: value[:0] for name, value in episode.actions.items()},
        extras={name: value[:0] for name, value in episode.extras.items()},
        rewards=episode.rewards[:0],
        terminated=episode.terminated[:0],
        truncated=episode.truncated[:0],
    )
    assert modes(empty) == {}
    broken = replace(
        episode, states={**episode.states, "similarity_score": np.full(9, np.nan, np.float32)}
    )
    assert "premature submit" not in modes(broken)


@pytest.mark.parametrize(("times", "found"), [(4, False), (5, True)])
def test_the_same_action_counts_from_five(times: int, found: bool):
    episode = stored("hasty")
    actions = {
        name: np.concatenate([np.repeat(value[:1], times, axis=0), value[times:]])
        for name, value in episode.actions.items()
    }
    assert ("repeated action" in modes(replace(episode, actions=actions))) is found
