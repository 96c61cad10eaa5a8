"""A real headless Chromium for the tests of the viewer, without any network."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def absent(what: str) -> NoReturn:
    """Skips loudly; fails where a browser is promised, as it is in continuous integration."""
    reason = (
        f"NO BROWSER, SO THE VIEWER WAS NOT TESTED: {what}. "
        "Run: apt-get install chromium; pip install playwright"
    )
    if os.environ.get("JAXARC_TRACE_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's handle of the system's Chromium; a fresh profile each time."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        absent(f"none of {', '.join(NAMES)} is installed")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        absent("the package 'playwright' is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Viewer:
    """A page that shows a report, what it asked the network for, and what it complained of."""

    def __init__(self, browser: Any, **options: Any) -> None:
        options.setdefault("viewport", {"width": 1440, "height": 900})
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))

    def open(self, path: Any, address: str = "") -> "Viewer":
        """Opens a report at a state and waits until its first step is drawn."""
        self.page.goto("about:blank")
        self.page.goto(f"file://{path}{address}")
        self.until("performance.getEntriesByName('first-step').length > 0")
        return self

    def until(self, expression: str) -> None:
        """Waits until an expression holds; the page's policy forbids Playwright's own wait."""
        for _ in range(1000):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(20)
        pytest.fail(f"This did not become true within 20 seconds: {expression}")

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, and waits until what they do is shown."""
        for key in keys:
            self.page.keyboard.press(key)
            self.settle()

    def settle(self) -> None:
        """Waits for decoding, drawing, and the address that is written a moment later."""
        self.wait(180)

    def wait(self, milliseconds: int) -> None:
        """Waits by the clock of the page, whose own timers have run by then."""
        then = f"requestAnimationFrame(() => setTimeout(done, {milliseconds}))"
        self.page.evaluate(f"new Promise((done) => {then})")

    def still(self) -> str:
        """Text of the page once nothing more is said to screen readers, which waits 0.35 s."""
        before, after = None, self.text("body")
        while before != after:
            self.wait(500)
            before, after = after, self.text("body")
        return after

    @property
    def address(self) -> dict[str, str]:
        """The parts of the address after `#`."""
        parts = self.page.evaluate("location.hash.slice(1)").split("&")
        return dict(part.partition("=")[::2] for part in parts if part)

    @property
    def step(self) -> int:
        """Index of the step in view, from 0."""
        return int(self.address.get("t", 0))

    @property
    def episode(self) -> str:
        """Id of the episode in view, as its heading says."""
        return self.text("#heading .id")

    def text(self, selector: str) -> str:
        """Text of the first element."""
        return self.page.locator(selector).first.inner_text()

    def texts(self, selector: str) -> list[str]:
        """Texts of all elements that match."""
        return self.page.locator(selector).all_inner_texts()

    def shows(self, selector: str) -> bool:
        """Whether the first element that matches is visible."""
        return self.page.locator(selector).first.is_visible()
