"""An episode that was taken before its first action: nothing happened, and that is said."""

import pytest

from jaxarc_trace import render
from jaxarc_trace.analysis import KeyMoment, key_moments, no_ops, revisits
from jaxarc_trace.episode import Episode
from tests.render.stored import NAMES, stored, with_environment
from tests.render.test_animate import without_steps


@pytest.mark.parametrize("name", NAMES)
def test_the_only_key_moment_is_the_start(name: str) -> None:
    episode = without_steps(stored(name))
    assert key_moments(episode) == (KeyMoment(0, "start", "start"),)
    assert no_ops(episode).shape == (0,)
    assert revisits(episode).tolist() == [False]


@pytest.mark.parametrize("episode", [stored("crop"), with_environment(stored("crop"), roles={})])
def test_its_summary_can_be_drawn(episode: Episode) -> None:
    assert render.summary(without_steps(episode)).as_svg().startswith("<svg")
