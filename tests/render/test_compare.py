"""Several episodes against each other."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from jaxarc_trace import render
from jaxarc_trace.analysis import failure_modes
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.band import quantiles
from jaxarc_trace.render.compare import first_divergence
from tests.render.drawn import SVG, parsed, same_as_golden, words
from tests.render.stored import NAMES, stored, with_environment


def test_curves_have_letters_and_dashes_of_their_own() -> None:
    svg = render.compare([stored(name) for name in NAMES]).as_svg()
    dashes = [
        (path.get("stroke"), path.get("stroke-dasharray"))
        for path in parsed(svg).iter(f"{SVG}path")
        if path.get("stroke-width") == "2.2"
    ]
    assert len(dashes) == 2 * len(NAMES)
    assert len(set(dashes)) == len(NAMES)
    assert len({dash for _, dash in dashes}) == len(NAMES)
    shown = words(svg)
    for letter, name in zip("ABCDEFG", NAMES, strict=True):
        # Two charts, the table, and the steps that show a failure.
        assert shown.count(letter) == 3 + bool(failure_modes(stored(name)))


def test_steps_that_are_not_kept_are_said_of_the_episode_that_lacks_them() -> None:
    whole, part = stored("wandering"), replace(stored("wandering"), dropped=5)
    for episodes, places in (([whole, part], "B"), ([part, whole], "A"), ([part, part], "AB")):
        picture = render.compare(episodes)
        head, _, rows = picture.description.partition("A: ")
        assert "not kept" not in head
        first, _, second = rows.partition("B: ")
        assert ("First 5 steps not kept" in first) == ("A" in places)
        assert ("First 5 steps not kept" in second) == ("B" in places)
        shown = " ".join(words(picture.as_svg()))
        assert shown.count("First 5 steps not kept") == len(places)


def test_the_table_has_differences_to_the_first() -> None:
    shown = words(render.compare([stored("wandering"), stored("hasty")]).as_svg())
    assert "lane0002-ep000012 · Not solved, submitted" in shown
    for expected in ("▼ −11", "▼ −9.914", "▼ −0.024", "▼ −3"):
        assert expected in shown


def test_the_first_divergent_step_is_named() -> None:
    one, two = stored("wandering"), stored("hasty")
    t = first_divergence(one, two)
    assert t == 0
    shown = words(render.compare([one, two]).as_svg())
    assert "A and B part at step 1: both do Fill 0, on different cells." in shown


def test_a_later_divergence_is_found() -> None:
    one = stored("solved")
    grid = np.array(one.states["working_grid"])
    grid[8:] += 1
    two = replace(one, states={**one.states, "working_grid": grid})
    assert first_divergence(one, two) == 7
    assert first_divergence(one, one) is None
    assert first_divergence(one, stored("crop")) is None
    assert first_divergence(one, with_environment(one, roles={})) is None


def test_targets_are_shown_once_for_those_who_share_them() -> None:
    shown = words(render.compare([stored(n) for n in ("wandering", "crop", "hasty")]).as_svg())
    assert shown.count("Target") == 2
    assert "of A, C" in shown
    assert "of B" in shown


def test_more_than_eight_become_a_band() -> None:
    svg = render.compare([stored(name) for name in NAMES] * 2).as_svg()
    shown = words(svg)
    assert "14 episodes" in shown
    assert shown.count("median") == 2
    bands = [p for p in parsed(svg).iter(f"{SVG}path") if p.get("fill-opacity")]
    assert len(bands) == 4
    found = Counter(each.mode for name in NAMES for each in failure_modes(stored(name)))
    for mode, count in found.items():
        assert f"{2 * count} of 14, {100 * count / 7:.0f}%" in shown
        assert mode in shown
    plain = words(render.compare([stored("solved")] * 9).as_svg())
    assert ("Failures" in plain) == bool(failure_modes(stored("solved")))


def test_quantiles_keep_the_last_value_of_those_that_ended() -> None:
    episode = stored("solved")
    series = [(episode, np.array([0.0, 1.0])), (episode, np.array([0.0, 0.5, 0.5, 0.5]))]
    steps, levels = quantiles(series, 3)
    assert steps.tolist() == [0, 1, 2, 3]
    assert levels[2].tolist() == [0.0, 0.75, 0.75, 0.75]
    late = [(replace(episode, dropped=2), np.array([1.0, np.nan]))]
    assert np.isnan(quantiles(late, 3)[1][2]).tolist() == [True, True, False, True]


def test_any_environments_can_be_compared() -> None:
    plain = with_environment(stored("solved"), roles={})
    shown = words(render.compare([plain, stored("crop")]).as_svg())
    assert "Return so far" in shown
    assert "Similarity" not in shown


def test_two_episodes_are_the_least() -> None:
    with pytest.raises(RenderError, match=r"two or more episodes; found 1. For one, use summary"):
        render.compare([stored("solved")])


@pytest.mark.parametrize("name", ["default", "dark", "colorblind", "high_contrast"])
def test_golden_compare(name: str, *, update: bool) -> None:
    episodes = [stored("solved"), stored("wandering"), stored("crop")]
    same_as_golden(render.compare(episodes, name).as_svg(), f"compare_{name}", update=update)


def test_golden_band(*, update: bool) -> None:
    episodes = [stored(name) for name in NAMES] * 2
    same_as_golden(render.compare(episodes).as_svg(), "compare_band", update=update)
