"""Every program and command of README and documentation runs, and every link leads somewhere."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest

from jaxarc_trace import __version__, errors
from jaxarc_trace.demo.run import Demo
from jaxarc_trace.demo.run import run as play
from tests.arc import SMALL
from tests.imports import ROOT
from tests.pages import PROGRAMS as LANGUAGES
from tests.pages import blocks, pages, run

ELSEWHERE = {
    "docs/format.md": "test_store.py",
    "docs/wandb.md": "test_publish_command.py",
}
"""Pages whose programs a test of their own runs."""

LONG = re.compile(r"<!-- test: slow -->")
PROGRAMS = [page for page in pages() if any(b.language in LANGUAGES for b in blocks(page))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@contextmanager
def _quietly(_: str) -> Iterator[None]:
    yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A small demo: played when a page first wants it."""
    out = tmp_path_factory.mktemp("docs") / "jaxarc-trace-demo"

    def played() -> Path:
        if not out.exists():
            play(Demo(out, seed=1, lanes=12, steps=48, tasks=SMALL), _quietly)
        return out

    return played


def _marked(page: Path) -> object:
    slow = LONG.search(page.read_text(encoding="utf-8"))
    return pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(
    "page", [_marked(page) for page in PROGRAMS if name_of(page) not in ELSEWHERE]
)
def test_the_programs_of_a_page_run_as_they_stand(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    demo: Callable[[], Path],
) -> None:
    monkeypatch.chdir(tmp_path)
    # A reader's JAX promotes dtypes as it does by default.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        count = run(page, tmp_path, demo)
    assert count or all(block.sign for block in blocks(page) if block.language in LANGUAGES)


@pytest.mark.parametrize("page", PROGRAMS, ids=name_of)
def test_what_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        if block.sign == "not run":
            assert len(block.words.split()) > 2, f"{name_of(page)}:{block.line}"


@pytest.mark.parametrize("page", ELSEWHERE)
def test_the_test_of_a_page_s_own_names_it(page: str) -> None:
    assert Path(page).name in (ROOT / "tests" / ELSEWHERE[page]).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else page.parent / path
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{name_of(page)}: {target}"


def anchors(page: Path) -> set[str]:
    """The names that headings get, as MkDocs and GitHub make them of plain words."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()).strip() for title in titles]
    return {re.sub(r"[- ]+", "-", title) for title in plain}


def test_every_error_has_its_place_in_troubleshooting() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for name in set(errors.__all__) - {"TraceError", "require"}:
        assert f"\n## {name}\n" in page, name
        part = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert f"```text\n{name}: " in part
        assert part.count("*Cause:*") == part.count("*Fix:*") >= 1


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r"- (?:[^:\n]+: )?([\w/]+\.md)", navigation)
    assert sorted(listed) == sorted(
        page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")
    )


def test_the_citation_names_the_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
