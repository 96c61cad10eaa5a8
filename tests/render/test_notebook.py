"""Episodes in a notebook."""

import xml.etree.ElementTree as ET

import numpy as np

import jaxarc_trace as jt
from jaxarc_trace import render
from jaxarc_trace.render.notebook import MOST, sparkline
from tests.recordings import ENVIRONMENT, recording
from tests.render.report_fixtures import HOSTILE
from tests.render.stored import stored


def parsed(html: str) -> ET.Element:
    return ET.fromstring(html)  # noqa: S314 - made by us a moment ago


def test_an_episode_shows_its_summary() -> None:
    assert stored("crop")._repr_svg_() == render.summary(stored("crop")).as_svg()
    assert repr(stored("crop")).startswith("<Episode lane0004-ep000012: 9 steps")


def test_episodes_show_a_table_with_a_curve_for_each() -> None:
    episodes = jt.Episodes.of(recording(range(3, 12)))
    root = parsed(episodes._repr_html_())
    rows = root.findall("tbody/tr")
    assert root.findtext("caption") == "9 episodes, 63 steps"
    assert len(rows) == 9
    assert [cell.text for cell in rows[3].findall("td")][:4] == ["3", "3", "0", rows[3][3].text]
    assert rows[3][3].text in ("alpha", "beta")
    assert rows[3][-1][0].tag == "svg"
    assert "<Episodes: 9 episodes" in repr(episodes)


def test_a_long_table_is_cut_and_says_so() -> None:
    root = parsed(jt.Episodes.of(recording([2] * (MOST + 5)))._repr_html_())
    assert len(root.findall("tbody/tr")) == MOST
    assert root.findtext("caption") == "25 episodes, 50 steps; the first 20 are shown"


def test_no_episodes_are_a_table_too() -> None:
    episodes = jt.Episodes.of(recording([2, 3]))[:0]
    assert parsed(episodes._repr_html_()).findtext("caption") == "0 episodes, 0 steps"


def test_hostile_names_stay_text() -> None:
    for text in HOSTILE:
        found = recording([2, 3], environment={**ENVIRONMENT, "task_ids": [text, text]})
        root = parsed(jt.Episodes.of(found)._repr_html_())
        assert {element.tag for element in root.iter()} <= {
            "table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "polyline",
        }  # fmt: skip


def test_a_curve_leaves_out_what_is_not_finite() -> None:
    assert sparkline(np.array([1.0])) == ""
    assert sparkline(np.array([np.nan, np.inf, 1.0])) == ""
    points = parsed(sparkline(np.array([0.0, np.nan, 2.0, 2.0])))[0].get("points")
    assert points == "1.0,16.0 63.7,2.0 95.0,2.0"
    assert 'aria-label="from 0.000 to 2.000"' in sparkline(np.array([0.0, 2.0]))
