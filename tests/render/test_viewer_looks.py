"""The viewer in a real browser: many episodes, hostile texts, other environments, looks, access."""

import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from jaxarc_trace.render.report import report
from jaxarc_trace.render.text import visible
from tests.render.browser import Viewer
from tests.render.report_fixtures import HOSTILE, balancing, hostile, painted, real
from tests.render.stored import NAMES, stored

pytest_plugins = ["tests.render.viewer_fixtures"]
pytestmark = pytest.mark.slow

IDS = [episode.id for episode in real()]
WANDERING = NAMES.index("wandering")


def test_ten_thousand_episodes_scroll(viewer: Viewer, many_report: Path) -> None:
    viewer.open(many_report)
    assert viewer.text("#count") == "10,000 episodes"
    table = viewer.page.locator("#table")
    for share in (0.5, 1.0):
        table.evaluate("(table, share) => { table.scrollTop = table.scrollHeight * share; }", share)
        viewer.settle()
        rows = viewer.page.locator("#table .virtual .row")
        assert 10 < rows.count() < 80
        assert rows.first.get_attribute("aria-rowindex")
    last = viewer.page.locator("#table .virtual .row").last
    assert last.get_attribute("data-row") == "9999"
    last.click()
    viewer.settle()
    assert viewer.episode == viewer.page.locator("#row-9999 .id span").inner_text()
    viewer.page.fill("#filter", "outcome:solved")
    viewer.settle()
    assert "of 10,000 episodes" in viewer.text("#count")


def test_hostile_text_is_seen_and_does_nothing(viewer: Viewer, folder: Path, shots: Path) -> None:
    path = report(hostile(), folder / "hostile.html", title=HOSTILE[0]).path
    for row, text in enumerate(HOSTILE):
        viewer.open(path, f"#e=lane{row:04d}-ep000000")
        assert viewer.page.title() == visible(HOSTILE[0], 200)
        facts = viewer.page.evaluate(
            "[...document.querySelectorAll('#heading dd')].map(dd => dd.textContent)"
        )
        assert facts[0] == visible(text, 120)
        operation = viewer.page.evaluate("document.querySelector('#facts strong').textContent")
        assert operation == visible(text, 60)
        assert viewer.page.locator("img, main script, iframe").count() == 0
        wide = viewer.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0
        viewer.page.locator("#open-about").click()
        assert viewer.shows("#about-text")
        viewer.press("Escape")
    viewer.page.screenshot(path=shots / "hostile.png")
    assert set(viewer.requests) - {"about:blank"} == {f"file://{path}"}


def test_an_environment_without_grids_is_shown_in_numbers(
    viewer: Viewer, folder: Path, shots: Path
) -> None:
    episodes = [balancing(0), balancing(1)]
    viewer.open(report(episodes, folder / "numbers.html").path, "#t=3")
    assert viewer.texts(".field h4")[0].startswith("position")
    values = [text.replace("−", "-") for text in viewer.texts(".field:first-of-type .bars .value")]
    assert [float(v) for v in values[:4]] == pytest.approx(
        episodes[0].states["position"][4].tolist(), abs=6e-4
    )
    assert viewer.page.locator(".field canvas").count() == 4
    assert viewer.page.locator(".field svg.grid").count() == 2
    viewer.page.screenshot(path=shots / "numbers.png")
    viewer.press("c")
    assert viewer.page.locator(".fields.state").count() == 2


def test_grids_and_numbers_stand_in_one_report(viewer: Viewer, folder: Path) -> None:
    episodes = [painted(1, 6), balancing(), painted(2, 6)]
    viewer.open(report(episodes, folder / "mixed.html").path, f"#e={episodes[0].id}")
    viewer.press("ArrowDown")
    assert viewer.page.locator(".fields").count() > 0
    viewer.press("ArrowDown")
    assert viewer.page.locator(".panel svg.grid").count() == 3
    viewer.press("ArrowUp", "c")
    assert viewer.page.locator(".fields.state").count() == 2


def test_a_damaged_episode_is_named_and_the_others_stay(browser: Any, folder: Path) -> None:
    episodes = [painted(i, 30) for i in range(3)]
    path = report(episodes, folder / "damaged.html").path
    text = path.read_text(encoding="utf-8")
    at = text.index('id="chunk-0">') + len('id="chunk-0">')
    path.write_text(text[:at] + "////////" + text[at + 8 :], encoding="utf-8")
    viewer = Viewer(browser)
    viewer.page.goto(f"file://{path}#e={episodes[0].id}")
    viewer.page.wait_for_selector("#failed:not([hidden])")
    assert viewer.text("#failed").startswith("This episode cannot be read")
    viewer.press("ArrowDown")
    assert not viewer.shows("#failed")
    assert viewer.page.locator(".panel svg.grid").count() == 3
    viewer.context.close()


def test_a_browser_that_cannot_unpack_is_told(browser: Any, real_report: Path) -> None:
    viewer = Viewer(browser)
    viewer.page.add_init_script("delete window.DecompressionStream")
    viewer.page.goto(f"file://{real_report}")
    viewer.page.wait_for_selector("#failed:not([hidden])")
    assert "Chrome 103, Firefox 113, Safari 16.4" in viewer.text("#failed")
    viewer.context.close()


def test_a_step_is_saved_as_svg_and_png(viewer: Viewer, real_report: Path, shots: Path) -> None:
    for address in (f"#e={IDS[1]}&t=5&d=1&m=dark", f"#e={IDS[1]}&t=5&c={IDS[0]}"):
        viewer.open(real_report, address)
        with viewer.page.expect_download() as saved:
            viewer.page.locator("#save-svg").click()
        assert saved.value.suggested_filename == f"{IDS[1]}-step0006.svg"
        svg = shots / f"saved{len(address)}.svg"
        saved.value.save_as(svg)
        root = ET.parse(svg).getroot()  # noqa: S314 - our own drawing
        assert IDS[1] in (root.findtext("{http://www.w3.org/2000/svg}title") or "")
        assert root.findtext("{http://www.w3.org/2000/svg}desc")
        with viewer.page.expect_download() as saved:
            viewer.page.locator("#save-png").click()
        png = shots / f"saved{len(address)}.png"
        saved.value.save_as(png)
        data = png.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", data[16:20])[0] == 2 * float(root.get("width") or 0)


def test_dark_light_and_palettes_change_the_look(viewer: Viewer, real_report: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    viewer.open(real_report)
    assert viewer.page.evaluate(paper) == "rgb(255, 255, 255)"
    viewer.page.emulate_media(color_scheme="dark")
    assert viewer.page.evaluate(paper) == "rgb(17, 21, 28)"
    viewer.page.locator("#mode").click()
    assert viewer.page.evaluate(paper) == "rgb(255, 255, 255)"
    viewer.page.locator("#mode").click()
    viewer.page.emulate_media(color_scheme="light")
    assert viewer.page.evaluate(paper) == "rgb(17, 21, 28)"
    colours = "[...document.querySelectorAll('.grid path')].map(path => path.getAttribute('fill'))"
    before = viewer.page.evaluate(colours)
    viewer.page.select_option("#palette", "colorblind")
    assert viewer.page.evaluate(colours) != before


def test_paper_shows_the_step_and_nothing_to_press(
    viewer: Viewer, real_report: Path, shots: Path
) -> None:
    viewer.open(real_report, f"#e={IDS[1]}&t=5&m=dark")
    viewer.page.emulate_media(media="print")
    for selector in ("#table", "#operations", ".transport", ".tools"):
        assert not viewer.shows(selector)
    for selector in ("#panels svg", "#facts", "#timeline > svg", "#heading"):
        assert viewer.shows(selector)
    assert (
        viewer.page.evaluate("getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    viewer.page.pdf(path=shots / "print.pdf", prefer_css_page_size=True)
    assert (shots / "print.pdf").read_bytes().count(b"/Type /Page\n") == 1


def test_everything_that_acts_has_a_name_and_is_reached(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report)
    nameless = viewer.page.evaluate(
        """[...document.querySelectorAll(`button, input, select, [role=grid], [role=slider],
        [role=listbox], dialog, svg[role=img], canvas`)].filter(element =>
        !(element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') ||
          element.textContent.trim() || element.labels?.length)).map(e => e.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(40):
        viewer.page.keyboard.press("Tab")
        reached.add(viewer.page.evaluate("document.activeElement.id"))
    wanted = (
        "compare save-svg palette digits mode open-help filter table play position timeline "
        "operations"
    )
    assert set(wanted.split()) <= reached


def test_the_focus_is_seen(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report)
    for selector in ("#filter", "#table", "#timeline", "#play"):
        viewer.page.locator(selector).focus()
        viewer.page.keyboard.press("Shift")
        style = viewer.page.evaluate(
            "getComputedStyle(document.activeElement).outlineStyle + "
            "getComputedStyle(document.activeElement).outlineWidth"
        )
        assert style == "solid2px", selector


def test_a_screen_reader_hears_where_one_is(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report, f"#e={IDS[WANDERING]}")
    viewer.press("ArrowRight")
    viewer.until("document.querySelector('#live').textContent.startsWith('Step 2')")
    spoken = viewer.page.locator("#live").text_content()
    assert (
        stored("wandering").environment["operations"][stored("wandering").extras["operation"][1]]
        in spoken
    )
    assert "Similarity" in spoken
    assert viewer.page.locator("#timeline").get_attribute("aria-valuetext") == "Step 2 of 19"
    assert viewer.page.locator("#table").get_attribute("aria-rowcount") == str(len(NAMES) + 1)
    assert viewer.page.locator("#table [aria-selected=true]").count() == 1


@pytest.mark.parametrize(
    ("name", "width", "height", "address"),
    [
        ("wide-light", 1440, 900, f"#e={IDS[1]}&t=5"),
        ("wide-dark", 1440, 900, f"#e={IDS[5]}&t=30&d=1&m=dark"),
        ("wide-compare", 1440, 900, f"#e={IDS[0]}&t=8&c={IDS[1]}"),
        ("small-light", 1024, 768, f"#e={IDS[3]}&t=9"),
        ("small-compare-dark", 1024, 768, f"#e={IDS[5]}&t=9&c={IDS[6]}&m=dark&p=colorblind"),
        ("phone-light", 390, 844, f"#e={IDS[4]}&t=3"),
        ("phone-compare-dark", 390, 844, f"#e={IDS[0]}&t=3&c={IDS[1]}&m=dark"),
    ],
)
def test_the_page_fits_the_screen(
    browser: Any, real_report: Path, shots: Path, name: str, width: int, height: int, address: str
) -> None:
    viewer = Viewer(browser, viewport={"width": width, "height": height})
    viewer.open(real_report, address)
    viewer.settle()
    viewer.page.screenshot(path=shots / f"{name}.png", full_page=width < 800)
    too_wide = viewer.page.evaluate(
        """[...document.querySelectorAll(
          'body, main, main > section, .panel, #timeline, #facts, .bar')]
        .filter(e => getComputedStyle(e).overflowX !== 'hidden')
        .filter(e => e.scrollWidth > e.clientWidth + 1)
        .map(e => e.className || e.id || e.tagName)"""
    )
    assert too_wide == []
    assert viewer.complaints == []
    viewer.context.close()
