"""Charts of measurements: every number in its place, hostile names harmless, nonsense refused."""

import math
import re
from xml.etree import ElementTree as ET

import pytest

from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.figures import Interval, Panel, Row, Series, growth, ratios

KINDS = ("CPU time", "wall time")
ROWS = [
    Row("ring", (Interval(1.05, 1.01, 1.08), Interval(1.1, 0.9, 1.3))),
    Row("callback", (Interval(1.9, 1.7, 2.1), Interval(2.1, 1.8, 2.4))),
]
PANELS = [
    Panel("Seconds", "lanes", (Series("exponent 1", ((1, 0.01), (10, 0.1), (1000, 10))),)),
    Panel("Open", "episodes", (Series("exponent 0", ((10, 0.003), (1e6, 0.003))),)),
]


def dots(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    return [(float(x), float(y)) for x, y in found]


def test_a_dot_stands_where_its_ratio_is():
    svg = ratios("t", "u", ROWS, KINDS, budget=1.05).as_svg()
    x = [place[0] for place in dots(svg)[len(KINDS) :]]
    # Four ratios on one linear scale.
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(0.05 / 0.85, abs=0.01)
    assert (x[3] - x[0]) / (x[2] - x[0]) == pytest.approx(1.05 / 0.85, abs=0.01)
    words = "".join(ET.fromstring(svg).itertext())  # noqa: S314 - our own
    for word in ("ring", "callback", "1.05", "2.1", "budget 1.05", *KINDS):
        assert word in words


def test_a_power_law_is_a_straight_line():
    svg = growth("t", "u", PANELS).as_svg()
    a, b, c, left, right = dots(svg)
    assert (b[1] - a[1]) / (b[0] - a[0]) == pytest.approx((c[1] - a[1]) / (c[0] - a[0]), abs=0.01)
    assert left[1] == right[1]
    assert re.search(r">1M<", svg)


def test_pictures_are_the_same_bytes_and_hold_nothing_that_acts():
    hostile = '<script>"\x1b[31m&'
    row = Row(hostile, ROWS[0].values)
    one = ratios(hostile, hostile, [row], KINDS).as_svg()
    two = growth(
        hostile, hostile, [Panel(hostile, hostile, (Series(hostile, ((1, 2),)),))]
    ).as_svg()
    for svg in (one, two):
        ET.fromstring(svg)  # noqa: S314 - our own
        assert "<script" not in svg
        assert "\x1b" not in svg
    assert one == ratios(hostile, hostile, [row], KINDS).as_svg()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(RenderError, match="found 0 rows"):
        ratios("t", "u", [], KINDS)
    with pytest.raises(RenderError, match="a value for each"):
        ratios("t", "u", [Row("a", (ROWS[0].values[0],))], KINDS)
    with pytest.raises(RenderError, match="needs panels"):
        growth("t", "u", [Panel("a", "b", (Series("c", ()),))])
    for value in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(RenderError, match="above zero and finite"):
            growth("t", "u", [Panel("a", "b", (Series("c", ((1.0, value),)),))])
