"""Untrusted text stays inert and visible, whatever it holds."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxarc_trace.render.marks import fit, width
from jaxarc_trace.render.text import cut, escape, number, plural, slug, visible

ANY = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "</script><img src=x onerror='a'>",
            "&lt;/script&gt;&lt;img src=x onerror=&#39;a&#39;&gt;",
        ),
        ('a"b&c`', "a&quot;b&amp;c&#96;"),
        ("a\x00b\x1b[31m\n\t", r"a\x00b\x1b[31m\n\t"),
        ("\ud800", r"\ud800"),
        ("abc\u202edef", r"abc\u202edef"),
        ("\u2066x", r"\u2066x"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("\ufffe", r"\ufffe"),
        ("plain · text → é", "plain · text → é"),
        ("שלום", "\u2068שלום\u2069"),
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),
        (None, "None"),
        (3, "3"),
    ],
)
def test_what_a_text_becomes(text: object, expected: str) -> None:
    assert escape(text) == expected


@given(ANY)
def test_escaped_text_is_well_formed_in_content_and_attribute(text: str) -> None:
    out = escape(text)
    root = ET.fromstring(f'<a b="{out}">{out}</a>'.encode())  # noqa: S314 - that is the test
    assert root.text == root.get("b") or not out
    assert not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff<>\"'`]", out)


@given(ANY)
def test_making_a_text_visible_twice_changes_nothing(text: str) -> None:
    once = visible(text, 1000)
    assert visible(once, 5000) == once
    assert once.count("\u2068") == once.count("\u2069")


def test_isolates_of_the_text_itself_are_shown_unless_they_are_closed() -> None:
    assert visible("a\u2069b") == r"a\u2069b"
    assert visible("\u2068a") == r"\u2068a"


def test_a_long_text_loses_its_middle() -> None:
    assert escape("x" * 10_000, 11) == "xxxxx…xxxxx"
    assert len(visible("y" * 10_000)) == 160
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 4) == "ab…g"


def test_combining_marks_do_not_climb() -> None:
    assert visible("a" + "\u0301" * 90) == "a\u0301\u0301"


@pytest.mark.parametrize(
    ("value", "signed", "expected"),
    [
        (-0.0123, False, "−0.012"),
        (0.5, True, "+0.500"),
        (-0.0, True, "0.000"),
        (-0.0001, True, "0.000"),
        (0.0, False, "0.000"),
        (np.float32(-1.5), False, "−1.500"),
        (np.int32(-12345), False, "−12,345"),
        (7, True, "+7"),
        (0, True, "0"),
        (float("inf"), True, "+∞"),
        (np.float64("nan"), False, "NaN"),
        (1.25e9, False, "1.25e+09"),
    ],
)
def test_numbers_have_a_true_minus_sign(value: float, *, signed: bool, expected: str) -> None:
    assert number(value, signed=signed) == expected


def test_nouns_follow_their_number() -> None:
    assert (plural(1, "step"), plural(0, "step"), plural(1200, "cell")) == (
        "1 step",
        "0 steps",
        "1,200 cells",
    )


@pytest.mark.parametrize("text", ["a b/../c", "con", "NUL.txt", "", "..", "é", "\ud800", "x" * 400])
def test_a_slug_is_one_safe_part_of_a_path(text: str) -> None:
    out = slug(text)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", out)
    assert ".." not in out
    assert out.split(".")[0].split("-")[0] not in {"con", "nul"} or "-" in out


def test_a_slug_keeps_what_it_can_and_tells_the_rest_apart() -> None:
    assert slug("run-1.best_of") == "run-1.best_of"
    assert slug("Run 1").startswith("run-1-")
    assert slug("Run 1") != slug("run 1") != slug("run/1")


@given(ANY, ANY)
def test_two_texts_do_not_share_a_slug(one: str, two: str) -> None:
    assert (slug(one) == slug(two)) == (one == two)


@given(ANY, st.integers(120, 400))
def test_fitted_text_fits(text: str, room: int) -> None:
    assert width(fit(text, 12, room), 12) <= room
