"""Fixtures of the viewer's tests: a browser, reports to open, a place for screenshots."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jaxarc_trace.render.report import report
from tests.render.browser import Viewer, chromium
from tests.render.report_fixtures import numbered, painted, real


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Of a module and no longer: while Playwright runs, the thread has an event loop.
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept: `JAXARC_TRACE_SCREENSHOTS`, or a folder of the session."""
    path = os.environ.get("JAXARC_TRACE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots")
    Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


@pytest.fixture(scope="module")
def real_report(folder: Path) -> Path:
    return report(real(), folder / "real.html", title="Seven real episodes").path


@pytest.fixture(scope="module")
def many_report(folder: Path) -> Path:
    episodes = numbered([painted(i, 20) for i in range(50)], 10_000)
    return report(episodes, folder / "many.html", warn_above=10**9).path


@pytest.fixture
def viewer(browser: Any) -> Iterator[Viewer]:
    found = Viewer(browser)
    yield found
    found.context.close()
    assert found.complaints == []
