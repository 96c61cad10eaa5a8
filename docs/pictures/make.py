"""Draws the pictures of README and documentation: the viewer, as a browser shows it.

    python docs/pictures/make.py RUN

RUN is what `jaxarc-trace demo` left. Needs `pip install -e '.[dev]'` and Chromium.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import jaxarc_trace as jt

HERE = Path(__file__).resolve().parent


def main(run: str) -> None:
    """Writes viewer.png beside this file."""
    episodes = jt.Run.open(run).episodes().where("complete").sort_by("return", descending=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = jt.render.report(episodes, Path(folder) / "report.html", title="demo").path
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1560, "height": 860})
        page.goto(page_file.as_uri())
        page.wait_for_timeout(1500)
        for _ in range(6):
            page.keyboard.press("]")
        page.wait_for_timeout(500)
        page.screenshot(path=HERE / "viewer.png")
        browser.close()
    print(HERE / "viewer.png")


if __name__ == "__main__":
    main(sys.argv[1])
