"""Key moments, no-ops and revisits of episodes that JaxARC played."""

from dataclasses import replace

import numpy as np
import pytest

from jaxarc_trace.analysis import key_moments, no_ops, operation_kinds, revisits, scores
from tests.render.stored import NAMES, ROLES, stored, with_environment, with_states


def test_the_moments_tell_the_episode() -> None:
    told = [(m.step, m.kind, m.label) for m in key_moments(stored("solved"))]
    assert told == [
        (0, "start", "start"),
        (1, "first change", "first change"),
        (5, "drop", "largest drop −0.946"),
        (6, "rise", "largest rise +0.911"),
        (22, "best", "best 1.000"),
        (23, "submit", "submit, end"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_few_in_order_and_of_different_states(name: str) -> None:
    episode = stored(name)
    steps = [moment.step for moment in key_moments(episode)]
    assert len(steps) <= 6
    assert steps == sorted(set(steps))
    assert steps[0] == 0
    assert steps[-1] == len(episode)


def test_moments_do_without_score_grid_and_roles() -> None:
    kinds = [m.kind for m in key_moments(with_environment(stored("solved"), roles={}))]
    assert kinds == ["start", "end"]
    no_score = with_environment(
        stored("solved"), roles={k: v for k, v in ROLES.items() if k != "score"}
    )
    kinds = [m.kind for m in key_moments(no_score)]
    assert kinds == ["start", "first change", "revisit", "submit"]


def test_moments_pass_over_scores_that_are_no_numbers() -> None:
    episode = stored("solved")
    broken = with_states(episode, similarity_score=np.full(24, np.nan, np.float32))
    assert "best" not in [m.kind for m in key_moments(broken)]
    some = np.array(episode.states["similarity_score"])
    some[22] = np.inf
    best = next(
        m for m in key_moments(with_states(episode, similarity_score=some)) if m.kind == "submit"
    )
    assert best.step == 23


def test_a_dropped_beginning_is_said() -> None:
    moments = key_moments(replace(stored("solved"), dropped=40))
    assert moments[0].label == "after 40 dropped"


def test_no_ops_leave_out_copy_and_submit() -> None:
    episode = stored("solved")
    idle = no_ops(episode)
    kinds = operation_kinds(episode)
    assert kinds is not None
    assert [i for i, x in enumerate(idle) if x] == [9, 10, 14]
    assert kinds[13] == "clipboard"
    assert not idle[13]
    assert not idle[-1]


def test_revisits_are_states_left_and_found_again() -> None:
    episode = stored("solved")
    again = revisits(episode)
    grids = episode.states["working_grid"]
    for state in np.flatnonzero(again):
        assert any(np.array_equal(grids[state], grids[other]) for other in range(state - 1))
        assert not np.array_equal(grids[state], grids[state - 1])
    assert again.sum() == 5


def test_scores_are_absent_without_the_role() -> None:
    assert scores(with_environment(stored("solved"), roles={})) is None
    values = scores(stored("solved"))
    assert values is not None
    assert values.shape == (24,)
