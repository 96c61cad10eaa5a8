"""The page of errors has every text of the package, and each with what to do."""

import html
import importlib
import re
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.imports import ROOT

PAGE = ROOT / "docs" / "errors.md"


@pytest.fixture(scope="module")
def reference() -> Any:
    """The script beside the pages."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("errors_reference")
    finally:
        sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def entries(reference: ModuleType) -> list[Any]:
    return reference.entries()


def visible(markdown: str) -> str:
    """What a reader sees of a page, without what is code and what is not."""
    return re.sub(r"\\(?=[*_\[\]<>\\])|`+ ?", "", html.unescape(markdown))


def fragments(text: str) -> list[str]:
    """What stands literally in a text, around what is filled in."""
    parts = re.split(r"\{[^{}]*\}|\(or: |\)|`+ ?|; |[.?] |\s*\n\s*", text)
    return [part.strip(" .,;:") for part in parts if len(part.split()) > 2]


def test_every_place_that_raises_or_warns_is_an_entry(
    reference: ModuleType, entries: list[Any]
) -> None:
    # By a search of the text, since the page itself is made by reading the syntax.
    known = sys.modules["errors_texts"]
    names = "|".join(sorted(known.CLASSES - {"ConfigError"}))
    pattern = rf"(?<![.\w])(?:{names})\(\s*[^)\s:,]|warnings\.warn\("
    for path in (*ROOT.glob("jaxarc_trace/*.py"), *ROOT.glob("jaxarc_trace/demo/*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.lstrip().startswith("class "))
        name = path.relative_to(ROOT).as_posix()
        found = [each for each in entries if each.file == name and each.kind != "ConfigError"]
        assert len(found) >= len(re.findall(pattern, text)), name
        assert all(reference.topic_of(each.file) for each in found), f"{name} has no heading"
    assert len(entries) > 280


def test_the_pictures_errors_are_entries_too(entries: list[Any]) -> None:
    for path in (ROOT / "render").rglob("*.py"):
        count = len(re.findall(r"\bRenderError\(\s*[^)\s:,]", path.read_text(encoding="utf-8")))
        name = path.relative_to(ROOT).as_posix()
        assert sum(each.file == name for each in entries) >= count, name


def test_every_text_says_what_to_do_in_a_clause_that_orders_it(
    reference: ModuleType, entries: list[Any]
) -> None:
    hint = "say what to do after a semicolon, or in FIXES of docs/errors_reference.py"
    for each in entries:
        cause, fix = reference.parts(each)
        assert len(cause.split()) > 1, each
        assert len(fix.split()) > 1, f"{each}: {hint}"
        assert reference.ORDER.match(fix), f"{fix!r} orders nothing, of {each}: {hint}"


def test_every_fix_that_was_written_by_hand_is_needed(
    reference: ModuleType, entries: list[Any]
) -> None:
    for module, part in (*reference.FIXES, *reference.PASSED_ON):
        files = (f"jaxarc_trace/{module}.py", f"{module}.py")
        assert [e for e in entries if e.file in files and part in e.text], f"{module}: {part!r}"


def test_what_is_filled_in_has_a_name(entries: list[Any]) -> None:
    for each in entries:
        for name in re.findall(r"\{([^{}]*)\}", each.text):
            assert re.fullmatch(r"[a-z][\w ]*(?: - 1)?", name), f"{name!r} in {each}"


def test_the_literal_parts_of_every_text_are_on_the_page(entries: list[Any]) -> None:
    page = visible(PAGE.read_text(encoding="utf-8")).lower()
    for each in entries:
        parts = fragments(each.text)
        # What is said by hand stands behind a whole text; else the clauses are on two lines.
        assert [part for part in parts if part.lower() not in page] == [], each


@pytest.mark.parametrize(
    "words",
    [
        "which is not installed",
        "expected a stored trace, found nothing",
        "does not match its checksum",
        "this package reads up to version 1",
        "expected a run that nobody writes to, found it locked by",
        "expected a run directory with run.json, found none",
        "it was not done within {seconds} s, while",
        "YAML reads a bare off as false",
        "expected KEY=VALUE alone",
    ],
)
def test_a_text_that_was_printed_is_found_on_the_page(words: str) -> None:
    assert words in PAGE.read_text(encoding="utf-8")


def test_the_page_has_a_heading_for_each_text_and_no_line_numbers(entries: list[Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    sections = page.split("\n#### ")[1:]
    assert 0.9 * len(entries) < len(sections) <= len(entries)
    for section in sections:
        assert "\n**Fix:** " in section, section
        assert re.search(r"<small>\w+(?:Error|Warning), by `[\w.]+`", section), section
        assert not re.search(r"\.py:\d", section), section
