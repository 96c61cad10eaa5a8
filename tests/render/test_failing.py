"""What failed is told in every picture: at the steps that show it, in words and with a shape."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jaxarc_trace import render
from jaxarc_trace.analysis import MODES, failure_modes
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import facts, raster
from jaxarc_trace.render.marks import width
from jaxarc_trace.render.text import listed
from jaxarc_trace.render.theme import THEMES, rgb, theme
from tests.render.drawn import SVG, lines, parsed, same_as_golden, words
from tests.render.stored import NAMES, stored, with_states


def badges(svg: str) -> list[str]:
    """The labels of failure modes of a picture."""
    return [line for line in words(svg) if line.startswith("! ")]


def lost() -> Episode:
    """An episode that does nothing at its end, below its best and beside a smaller target."""
    episode = stored("long")
    late = np.minimum(np.arange(len(episode) + 1), 91)
    mask = np.array(episode.states["target_grid_mask"])
    mask[:, 9] = False
    names = ("working_grid", "working_grid_mask")
    still = with_states(
        episode,
        **{name: episode.states[name][late] for name in names},
        similarity_score=np.where(late < 91, 0.8, 0.4).astype(np.float32),
        target_grid_mask=mask,
    )
    same = np.minimum(late[1:], 90)
    actions = {name: values[same] for name, values in episode.actions.items()}
    return replace(still, actions=actions, extras={"operation": actions["operation"]})


def test_the_failure_modes_of_an_episode_are_found_once() -> None:
    episode = stored("operations")
    assert failure_modes(episode) is failure_modes(episode)
    assert failure_modes(replace(episode)) is not failure_modes(episode)


def test_a_best_score_at_the_end_is_one_step() -> None:
    rising = np.linspace(0, 0.6, 101).astype(np.float32)
    episode = with_states(stored("long"), similarity_score=rising)
    (late,) = (mode for mode in failure_modes(episode) if mode.mode == "out of budget")
    assert late.steps == (100,)
    assert "out of budget" in facts.failing_words(episode, 100)


@pytest.mark.parametrize("name", NAMES)
def test_each_state_names_the_modes_that_it_is_part_of(name: str) -> None:
    episode = stored(name)
    for state in range(len(episode) + 1):
        expected = [mode for mode in failure_modes(episode) if state in mode.steps]
        assert list(facts.failing(episode, state)) == expected
        said = facts.failing_words(episode, state)
        assert [mode.mode for mode in expected] == [
            next(mode for mode in MODES if line.startswith(mode)) for line in said
        ]


def test_a_step_is_counted_among_those_of_its_mode() -> None:
    assert facts.failing_words(stored("long"), 18) == ("no-op run 3 of 7",)
    assert facts.failing_words(stored("long"), 0) == ("regression: best", "stagnation: best")
    assert facts.failing_words(stored("hasty"), 8) == ("premature submit",)
    assert facts.failing_words(stored("hasty"), 7) == ()


def test_of_a_list_as_much_is_said_as_there_is_room_for() -> None:
    found = ("no-op run", "collapse", "regression")
    assert listed(found, lambda line: len(line) <= 40) == "no-op run, collapse, regression"
    assert listed(found, lambda line: len(line) <= 30) == "no-op run, collapse and 1 more"
    assert listed(found, lambda line: len(line) <= 3) == "no-op run and 2 more"
    assert listed((), lambda _: True) == ""


def test_a_step_has_a_badge_for_each_mode_that_it_is_part_of() -> None:
    drawn = render.step(stored("operations"), -1)
    assert badges(drawn.as_svg()) == [
        "! regression: end",
        "! wrong dimensions",
        "! premature submit",
    ]
    assert drawn.description.endswith("regression: end. wrong dimensions. premature submit.")
    assert badges(render.step(stored("long"), 15).as_svg()) == ["! no-op run 1 of 7"]
    assert badges(render.step(stored("long"), 14).as_svg()) == []


def top_of(svg: str, name: str = "Before") -> float:
    """Where a panel's name stands."""
    return next(float(line.y) for line in lines(svg) if line.words == name)


def test_grids_stand_still_whether_or_not_a_step_shows_a_failure() -> None:
    failing, other = (render.step(stored("long"), t) for t in (15, 14))
    assert top_of(failing.as_svg()) == top_of(other.as_svg())
    assert failing.height == other.height


@pytest.mark.parametrize("name", sorted(THEMES))
def test_badges_stay_within_the_page_and_above_the_grids(name: str) -> None:
    look = theme(name, cell_size=14)
    for episode in (lost(), stored("operations")):
        svg = render.step(episode, -1, look).as_svg()
        root = parsed(svg)
        boxes = [
            tuple(float(box.get(side)) for side in ("x", "y", "width", "height"))
            for box in root.iter(f"{SVG}rect")
            if box.get("rx") == "4" and box.get("stroke") == look.negative
        ]
        assert len(boxes) == len(badges(svg)) == len(facts.failing(episode, len(episode)))
        for x, y, wide, high in boxes:
            assert x >= 24
            assert x + wide <= float(root.get("viewBox").split()[2]) - 24
            assert y >= 60
            assert y + high + 10 < top_of(svg)
        for one, two in itertools.pairwise(boxes):
            assert two[0] >= one[0] + one[2] + 7.9 or two[1] >= one[1] + one[3] + 4


def test_more_badges_than_a_row_holds_move_everything_down_by_a_row() -> None:
    look = theme(cell_size=14)
    svg = render.step(lost(), -1, look).as_svg()
    assert badges(svg) == [
        "! no-op run 11 of 11",
        "! repeated action 11 of 11",
        "! regression: end",
        "! stagnation: end",
        "! wrong dimensions",
    ]
    calm = render.step(stored("long"), 14, look)
    assert top_of(svg) == top_of(calm.as_svg()) + 26
    assert render.step(lost(), -1, look).height == calm.height + 26


def falling() -> Episode:
    """Eight steps of an environment without grids, each of which lowers its score."""
    return Episode(
        states={"x": np.linspace(8.0, 0.0, 9)},
        actions={"action": np.zeros(8, np.int32)},
        rewards=np.ones(8, np.float32),
        terminated=np.zeros(8, bool),
        truncated=np.arange(8) == 7,
        total_return=8.0,
        environment={"name": "walk", "roles": {"score": "x"}},
    )


def test_other_environments_are_told_as_well() -> None:
    drawn = render.step(falling(), 2)
    assert badges(drawn.as_svg()) == ["! collapse 3 of 8"]
    assert "collapse 3 of 8" in drawn.description
    film = words(render.filmstrip(falling()).as_svg())
    assert [line for line in film if "collapse" in line] == [
        f"collapse {n} of 8" for n in range(1, 9)
    ]


def test_a_filmstrip_marks_the_states_that_show_a_failure() -> None:
    svg = render.filmstrip(stored("operations"), states=[0, 1, 49, 66]).as_svg()
    shown = words(svg)
    assert [line for line in shown if any(line.startswith(mode) for mode in MODES)] == [
        "regression: best",
        "regression: end",
        "wrong dimensions",
        "premature submit",
    ]
    marks = [p for p in parsed(svg).iter(f"{SVG}path") if "l3.5 6h-7z" in p.get("d")]
    assert sum(p.get("d").count("l3.5 6h-7z") for p in marks) == 4
    assert {p.get("fill") for p in marks} == {theme().negative}


def test_a_filmstrip_says_no_more_than_it_has_room_for() -> None:
    svg = render.filmstrip(lost(), states=[100]).as_svg()
    said = [line for line in words(svg) if "run" in line or "action" in line or "more" in line]
    assert said == ["no-op run 11 of 11", "repeated action", "and 3 more"]
    assert all(width(line, 10) <= 112 + 16 - 15 for line in said)
    assert "repeated action 11 of 11" in parsed(svg).findtext(f"{SVG}desc")


def test_rows_of_a_filmstrip_are_apart_by_what_is_said_below_them() -> None:
    calm, failing = (
        render.filmstrip(stored("operations"), states=states).height for states in ([0], [66])
    )
    calm_rows = render.filmstrip(stored("operations"), states=[0] * 9, columns=3).height
    mixed = render.filmstrip(stored("operations"), states=[66] + [0] * 8, columns=3).height
    assert failing - calm == mixed - calm_rows + (112 * 9 / 12 - 112)


def test_golden_filmstrip_of_failures(*, update: bool) -> None:
    drawn = render.filmstrip(stored("long"), states=[0, 15, 16, 17, 26, 45, 97, 100], columns=4)
    same_as_golden(drawn.as_svg(), "filmstrip_of_failures", update=update)


def test_a_comparison_has_the_modes_of_each_and_marks_their_steps() -> None:
    names = ("long", "operations", "wandering")
    svg = render.compare([stored(name) for name in names]).as_svg()
    assert [line for line in words(svg) if "ailure mode" in line] == [
        "Failure modes: no-op run, oscillation, collapse, regression, stagnation",
        (
            "Failure modes as in A: oscillation, collapse, regression; not in A: wrong dimensions, "
            "premature submit; only in A: no-op run, stagnation"
        ),
        "No failure mode; only in A: no-op run, oscillation, collapse, regression, stagnation",
    ]
    assert "not in A: wrong dimensions" in parsed(svg).findtext(f"{SVG}desc")
    marks = [p.get("d") for p in parsed(svg).iter(f"{SVG}path") if "l3.5 6h-7z" in p.get("d")]
    steps = [{s for mode in failure_modes(stored(n)) for s in mode.steps} for n in names[:2]]
    assert [data.count("l3.5 6h-7z") for data in marks] == [len(found) for found in steps]


def test_marks_of_a_comparison_stand_at_the_steps_as_they_are_counted() -> None:
    def first(episode: Episode) -> float:
        svg = render.compare([episode, stored("long")]).as_svg()
        marks = [p.get("d") for p in parsed(svg).iter(f"{SVG}path") if "l3.5 6h-7z" in p.get("d")]
        return float(marks[0].removeprefix("M").split()[0])

    hasty = stored("hasty")
    per_step = (960 - 2 * 28 - 48 - 150) / 100
    assert first(hasty) == pytest.approx(76 + 8 * per_step, abs=0.01)
    late = replace(hasty, dropped=50)
    assert first(late) == pytest.approx(76 + 58 * per_step, abs=0.01)


def test_where_nothing_failed_a_comparison_does_not_speak_of_it() -> None:
    shown = words(render.compare([stored("wandering"), stored("crop")]).as_svg())
    assert not any("ailure" in line for line in shown)


def red(pixels: np.ndarray, look: Any) -> int:
    """How many pixels beneath the grids have the colour of a loss."""
    return int((pixels[-60:] == rgb(look.negative)).all(axis=-1).sum())


@pytest.mark.parametrize("name", sorted(THEMES))
def test_frames_of_an_animation_say_what_failed(name: str) -> None:
    look = theme(name)
    failing, other = (raster.frame(stored("long"), t, look) for t in (15, 14))
    assert failing.shape == other.shape
    assert red(failing, look) > 20 + red(other, look)
    line = slice(failing.shape[0] - 52, failing.shape[0] - 36)
    ink = [(frame[line, 30:] != rgb(look.page)).any(axis=-1).sum() for frame in (failing, other)]
    assert ink[0] > 200
    assert ink[1] == 0


def test_frames_of_an_episode_without_failure_have_no_line_for_it() -> None:
    assert failure_modes(stored("crop")) == ()
    crop = raster.frame(stored("crop"), 0)
    score = np.array(stored("crop").states["similarity_score"])
    score[3] = 1.0
    fallen = with_states(stored("crop"), similarity_score=score)
    assert [mode.mode for mode in failure_modes(fallen)] == ["collapse"]
    assert raster.frame(fallen, 0).shape[0] == crop.shape[0] + 17


def test_the_terminal_says_it_below_the_heading() -> None:
    shown = render.terminal(stored("operations"), -1, color=False, width=80).splitlines()
    assert shown[2] == "! regression: end, wrong dimensions, premature submit"
    narrow = render.terminal(stored("operations"), -1, color=False, width=40).splitlines()
    assert narrow[2] == "! regression: end and 2 more"
    calm = render.terminal(stored("long"), 14, color=False, width=80).splitlines()
    failing = render.terminal(stored("long"), 15, color=False, width=80).splitlines()
    assert calm[2] == ""
    assert failing[2] == "! no-op run 1 of 7"
    assert calm[3] == failing[3]
    assert (
        render.terminal(falling(), 0, color=True, width=80)
        .splitlines()[2]
        .endswith("m!\x1b[0m collapse 1 of 8")
    )
