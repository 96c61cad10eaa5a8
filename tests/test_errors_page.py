"""The page of errors has every text of the package, and each with what to do."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script beside the pages."""
    spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs/errors_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_place_that_makes_an_error_or_warns_is_an_entry(reference: ModuleType) -> None:
    # By a search of the text, since the page itself is made by reading the syntax.
    names = "|".join(sorted(reference.CLASSES - {"ConfigError"}))
    pattern = rf"(?<![.\w])(?:{names})\(\s*[^)\s:,]|warnings\.warn\("
    counted = 0
    for folder in ("jaxarc_trace", "render"):
        for file in (ROOT / folder).rglob("*.py"):
            if not file.is_relative_to(ROOT / "jaxarc_trace/render") and file.name != "errors.py":
                lines = file.read_text(encoding="utf-8").splitlines()
                text = "\n".join(line for line in lines if not line.lstrip().startswith("class "))
                counted += len(re.findall(pattern, text))
    found = [
        entry
        for entry in reference.entries()
        if entry.file != "jaxarc_trace/errors.py" and entry.kind != "ConfigError"
    ]
    assert len(found) >= counted > 200


def test_every_text_says_what_to_do(reference: ModuleType) -> None:
    silent = [entry for entry in reference.entries() if len(entry.said[1].split()) < 2]
    assert silent == [], "say what to do after a semicolon, or in FIXES of docs/errors_reference.py"


def test_every_module_has_a_heading_and_every_exception_to_the_rule_is_needed(
    reference: ModuleType,
) -> None:
    entries = reference.entries()
    assert {entry.file for entry in entries if not reference.topic_of(entry.file)} == set()
    for file, part in reference.FIXES:
        assert [e for e in entries if e.file == file and part in e.text], f"{file}: {part!r}"


def test_a_text_that_was_printed_is_found_on_the_page() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    for words in (
        "which is not installed",
        "expected a stored trace, found nothing",
        "does not match its checksum",
        "this package reads up to version",
        "expected a run that nobody writes to, found it locked by",
    ):
        assert words in page, words
