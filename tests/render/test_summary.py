"""The summary and the filmstrip: an episode's whole story, read back from the SVG."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from jaxarc_trace import render
from jaxarc_trace.analysis import Failure, failure_modes, key_moments
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.cards import failure_marks
from jaxarc_trace.render.chart import Axes, bars, curve, decimals, spread, ticks
from jaxarc_trace.render.theme import THEMES, theme
from tests.render.drawn import SVG, parsed, same_as_golden, words
from tests.render.stored import NAMES, ROLES, stored, with_environment, with_states


def test_a_summary_has_its_numbers_and_its_moments() -> None:
    episode = stored("solved")
    shown = words(render.summary(episode).as_svg())
    for expected in ("Solved", "23", "9.846", "1.000", "from 0.924", "at step 22", "13% of steps"):
        assert expected in shown
    for label in ("Steps", "Return", "No-ops", "Revisits", "Operations", "Ended by", "Target"):
        assert label in shown
    for number, moment in enumerate(key_moments(episode), 1):
        assert shown.count(str(number)) >= 2  # on the curve and on the thumbnail
        assert f"Step {moment.step}" in shown
        assert moment.label in shown
    assert "reached at the end" in shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [("solved", "Submit"), ("long", "Limit"), ("hasty", "Not solved, submitted")],
)
def test_how_it_ended_is_said_in_words(name: str, expected: str) -> None:
    assert expected in words(render.summary(stored(name)).as_svg())


def test_what_failed_stands_in_badges_and_under_the_curve() -> None:
    episode = stored("operations")
    svg = render.summary(episode).as_svg()
    shown = words(svg)
    assert [line for line in shown if line.startswith("! ")] == [
        "! oscillation, 32 steps from 2 on",
        "! collapse, 10 steps from 23 on",
        "! regression, steps 49 and 66",
        "! wrong dimensions, step 66",
        "! premature submit, step 66",
    ]
    assert "shows a failure" in shown
    (marks,) = (
        path.get("d") for path in parsed(svg).iter(f"{SVG}path") if "l3.5 6h-7z" in path.get("d")
        and path.get("d").count("M") > 1
    )  # fmt: skip
    assert marks.count("M") == len({s for f in failure_modes(episode) for s in f.steps})
    assert "premature submit: submitted at 0.44 with 34 steps left." in parsed(svg).findtext(
        f"{SVG}desc"
    )
    # The steps are counted with those that were not kept.
    later = words(render.summary(replace(episode, dropped=100)).as_svg())
    assert "! wrong dimensions, step 166" in later


def test_an_episode_without_failures_has_no_badge_and_no_key() -> None:
    shown = words(render.summary(stored("wandering")).as_svg())
    assert not [line for line in shown if line.startswith("! ")]
    assert "shows a failure" not in shown


def test_many_failing_steps_share_their_marks() -> None:
    axes = Axes(0, 0, 400, 100, 0, 10_000, 0, 1)
    drawn = failure_marks((Failure("collapse", tuple(range(10_001)), ""),), axes, 0, theme())
    assert 90 <= drawn.count("M") <= 101


def test_a_running_episode_says_so() -> None:
    shown = words(render.summary(replace(stored("large"), complete=False, dropped=7)).as_svg())
    assert {"Still running", "Running", "67", "7 dropped"} <= set(shown)


def test_the_operation_strip_has_a_sign_for_each_step() -> None:
    svg = render.summary(stored("solved")).as_svg()
    signs = [e for e in parsed(svg).iter() if "scale(.75)" in (e.get("transform") or "")]
    assert len(signs) == 23


def test_without_a_score_the_return_is_drawn() -> None:
    roles = {k: v for k, v in ROLES.items() if k not in ("score", "target")}
    shown = words(render.summary(with_environment(stored("solved"), roles=roles)).as_svg())
    assert "Return so far" in shown
    assert not {"Similarity", "Target", "Final similarity"} & set(shown)


def test_an_episode_without_any_step_can_be_drawn() -> None:
    full = stored("solved")
    empty = replace(
        full,
        states={k: v[:1] for k, v in full.states.items()},
        actions={k: v[:0] for k, v in full.actions.items()},
        extras={k: v[:0] for k, v in full.extras.items()},
        rewards=full.rewards[:0],
        terminated=full.terminated[:0],
        truncated=full.truncated[:0],
        complete=False,
    )
    assert "Still running" in words(render.summary(empty).as_svg())
    parsed(render.filmstrip(empty).as_svg())
    with pytest.raises(RenderError, match="has no steps; step 0 was asked for"):
        render.step(empty, 0)


def test_numbers_that_are_none_do_not_break_the_curves() -> None:
    episode = stored("solved")
    score = np.array(episode.states["similarity_score"])
    score[3:5], score[7] = np.nan, np.inf
    rewards = np.array(episode.rewards)
    rewards[2], rewards[4], rewards[5] = np.nan, np.inf, -np.inf
    svg = render.summary(
        replace(with_states(episode, similarity_score=score), rewards=rewards)
    ).as_svg()
    parsed(svg)
    for path in parsed(svg).iter(f"{SVG}path"):
        assert "nan" not in path.get("d", "").lower()
        assert "inf" not in path.get("d", "").lower()


@pytest.mark.parametrize("name", sorted(THEMES))
def test_golden_summary(name: str, *, update: bool) -> None:
    same_as_golden(
        render.summary(stored("solved"), name).as_svg(), f"summary_{name}", update=update
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_stored_episode_has_a_summary_and_a_filmstrip(name: str) -> None:
    parsed(render.summary(stored(name)).as_svg())
    parsed(render.filmstrip(stored(name), "dark").as_svg())


def test_a_filmstrip_names_each_operation() -> None:
    shown = words(render.filmstrip(stored("solved")).as_svg())
    for expected in ("0 start", "5 Flood Fill 5", "6 Copy Input", "10 Move Left =", "23 Submit"):
        assert expected in shown


def test_a_filmstrip_of_some_states() -> None:
    shown = words(render.filmstrip(stored("solved"), states=[0, 22]).as_svg())
    # The lone 8 is written in the sign of the operation.
    assert [line for line in shown if line[0].isdigit()] == ["0 start", "8", "22 Fill 8"]
    assert len(words(render.filmstrip(stored("long"), most=10).as_svg())) < 30


def test_golden_filmstrip(*, update: bool) -> None:
    same_as_golden(render.filmstrip(stored("crop")).as_svg(), "filmstrip", update=update)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"states": [24]}, "has states 0 to 23; found 24"),
        ({"states": []}, "needs at least one of the states 0 to 23; found none"),
        ({"columns": 0}, "has 1 to 40 columns .* found columns=0, most=64"),
    ],
)
def test_a_filmstrip_refuses_what_does_not_exist(arguments: dict, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        render.filmstrip(stored("solved"), **arguments)


def test_ticks_are_round_and_told_apart() -> None:
    assert ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(-0.31, 0.9, 4) == pytest.approx([0, 0.5])
    assert ticks(3, 3) == [3]
    assert decimals([0, 0.25, 0.5]) == 2


def test_labels_are_moved_apart_and_stay_inside() -> None:
    places = spread([10, 10, 11, 95], 20, 0, 100)
    assert all(b - a >= 20 for a, b in itertools.pairwise(places))
    assert places[-1] <= 100


def test_a_long_curve_keeps_its_extremes() -> None:
    values = np.zeros(100_000)
    values[51_234] = 1.0
    axes = Axes(0, 0, 500, 100, 0, 99_999, 0, 1)
    drawn = curve(axes, np.arange(100_000), values, "#000000")
    assert len(drawn) < 40_000
    assert "-100 .8 100h" in drawn
    assert 'd="M0 100h500"' in curve(axes, np.arange(100_000), np.zeros(100_000), "#000000")


def test_bars_leave_zero_in_both_directions() -> None:
    axes = Axes(0, 0, 100, 100, 0, 2, -1, 1)
    drawn = bars(axes, np.array([1, 2]), np.array([1.0, -1.0]), theme())
    assert theme().positive in drawn
    assert theme().negative in drawn
    assert "v-50h" in drawn
    assert "v50h" in drawn
