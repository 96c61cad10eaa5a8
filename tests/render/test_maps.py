"""Heat maps of other actions and of clicks, and histograms."""

from pathlib import Path

import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace import render
from jaxarc_trace.analysis import Clicks, clicks, measured
from jaxarc_trace.counterfactual import Counterfactuals
from tests.render.drawn import SVG, parsed, words
from tests.render.stored import KINDS, OPERATIONS

GOLDEN = Path(__file__).parents[1] / "golden" / "replay_v1"


def others() -> Counterfactuals:
    scores = np.full((35, 30, 30), 0.5, np.float32)
    scores[4, 2, 1] = 0.75
    scores[31, :, :] = 0.1
    return Counterfactuals(
        t=6,
        scores=scores,
        rewards=np.zeros_like(scores),
        ends=np.zeros(scores.shape, bool),
        before=0.5,
        taken=(4, 0, 3),
        reached=0.5,
        operations=OPERATIONS,
        kinds=KINDS,
        size=(5, 4),
    )


@pytest.mark.parametrize("theme", ["default", "colorblind", "dark", "high_contrast"])
def test_each_kind_of_operation_has_its_map_with_the_best_in_words(theme: str) -> None:
    svg = render.counterfactuals(others(), theme).as_svg()
    shown = words(svg)
    assert shown[0] == "What else step 7 could have done"
    assert "Score before 0.500, 0.000 by Fill 4; 1 action would have done better" in shown
    assert "+0.250: Fill 4 at 2, 1" in shown
    assert {"Fill", "Flood", "Move", "Rotate", "Flip", "Clipboard", "Grid", "Submit"} <= set(shown)
    rings = list(parsed(svg).iter(f"{SVG}circle"))
    assert len(rings) == 2
    assert svg == render.counterfactuals(others(), theme).as_svg()


def test_the_best_and_how_many_are_better_are_told() -> None:
    found = others()
    assert found.best == (4, 2, 1)
    assert found.better == 1


def test_clicks_and_distributions_of_a_real_trace_are_drawn() -> None:
    episodes = jt.load(GOLDEN)
    shown = words(render.clicks(clicks(episodes)).as_svg())
    assert shown[0] == "Where agents act"
    assert "512 actions in 4 tasks" in shown
    known = measured(episodes, cache=False)
    shown = words(render.distributions(known).as_svg())
    assert shown[0] == f"{len(episodes)} episodes"
    assert {"Return", "Length", "No op share", "Outcome", "Failure mode"} <= set(shown)


def test_hostile_names_are_escaped_and_nothing_to_draw_is_refused() -> None:
    cells = np.zeros((30, 30), np.int64)
    cells[2, 3] = 4
    evil = "<script>alert(1)</script>\x1b[2J"
    svg = render.clicks(Clicks(cells, {evil: cells}, {evil: {evil: 4}}, 4)).as_svg()
    assert "<script>" not in svg
    assert "\x1b" not in svg
    with pytest.raises(jt.RenderError, match="expected actions that name cells"):
        render.clicks(Clicks(np.zeros((0, 0), np.int64), {}, {}, 0))
    with pytest.raises(jt.RenderError, match="expected at least one episode"):
        render.distributions(jt.load(GOLDEN)[:0])
