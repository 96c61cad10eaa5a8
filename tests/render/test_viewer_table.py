"""The viewer in a real browser: table, filter, sort, address, and two episodes compared."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxarc_trace import analysis
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import facts
from jaxarc_trace.render.frames import frames
from tests.render.browser import Viewer
from tests.render.report_fixtures import real
from tests.render.stored import NAMES, stored

pytest_plugins = ["tests.render.viewer_fixtures"]
pytestmark = pytest.mark.slow

IDS = [episode.id for episode in real()]
WANDERING = NAMES.index("wandering")
NONSENSE = "#e=nobody&t=-7&c=none&p=pink&by=ear&m=blue&sort=toString&q=%E0%A4%A"


def listed(viewer: Viewer) -> list[str]:
    rows = viewer.page.locator("#table .virtual .row .cell.id span")
    return rows.all_text_contents()


def task(episode: Episode) -> str:
    return str(facts.task_id(episode))


def final(episode: Episode) -> float:
    return float(episode.states["similarity_score"][-1])


def modes(episode: Episode) -> set[str]:
    return {failure.mode for failure in analysis.failure_modes(episode)}


FILTERS: dict[str, Callable[[Episode], bool]] = {
    "outcome:solved": lambda e: e.outcome == "solved",
    "solved": lambda e: e.outcome == "solved",
    "-outcome:solved steps<60": lambda e: e.outcome != "solved" and len(e) < 60,
    "steps:20..60": lambda e: 20 <= len(e) <= 60,
    "task:0e206a2e return>0": lambda e: task(e) == "0e206a2e" and e.total_return > 0,
    "score=1": lambda e: final(e) == 1,
    "score<1 kept:best": lambda e: final(e) < 1,
    "kept:best steps>=100": lambda e: len(e) >= 100,
    'task:"0e206a2e" -id:lane0000': lambda e: task(e) == "0e206a2e" and e.lane != 0,
    "lane>=2 lane<=3": lambda e: e.lane in {2, 3},
    "failures:oscillation": lambda e: "oscillation" in modes(e),
    "failures:none": lambda e: not modes(e),
    "-failures:collapse steps>20": lambda e: "collapse" not in modes(e) and len(e) > 20,
    "no_ops>0.3": lambda e: analysis.facts(e)["no_op_share"] > 0.3,
    "size_match=0": lambda e: analysis.facts(e)["dimension_match"] == 0,
    "nothing-like-this": lambda _: False,
}


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_keeps_what_it_says(viewer: Viewer, real_report: Path, query: str) -> None:
    wanted = [episode.id for episode in real() if FILTERS[query](episode)]
    viewer.open(real_report)
    viewer.page.fill("#filter", query)
    viewer.settle()
    assert listed(viewer) == wanted
    assert viewer.shows("#nothing") == (not wanted)
    assert not viewer.shows("#problem")


@pytest.mark.parametrize(
    ("query", "words"),
    [("colour:red", "no field “colour”. Known: id, task"), ("steps>many", "“steps” is a number")],
)
def test_a_filter_that_is_not_understood_says_why(
    viewer: Viewer, real_report: Path, query: str, words: str
) -> None:
    viewer.open(real_report)
    viewer.page.fill("#filter", query)
    viewer.settle()
    assert words in viewer.text("#problem")
    assert len(listed(viewer)) == len(NAMES)


def test_a_heading_sorts_down_then_up_then_not(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report)
    heading = viewer.page.locator("[role=columnheader][data-key=return]")
    ordered = [e.id for e in sorted(real(), key=lambda e: e.total_return)]
    for wanted, direction in ((ordered[::-1], "descending"), (ordered, "ascending"), (IDS, None)):
        heading.locator("button").click()
        viewer.settle()
        assert listed(viewer) == wanted
        assert heading.get_attribute("aria-sort") == direction


def test_a_link_restores_everything(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report)
    viewer.page.fill("#filter", "steps>5")
    viewer.page.locator("[data-key=steps] button").click()
    viewer.page.locator(f"#row-{WANDERING}").click()
    viewer.press("Shift+ArrowRight", "d", "p", "c")
    viewer.page.get_by_role("button", name="by fraction").click()
    viewer.page.locator("#mode").click()
    viewer.settle()
    address = viewer.address
    assert set(address) == {"e", "t", "c", "by", "q", "sort", "p", "d", "m"}
    shown = viewer.still()
    viewer.open(real_report, "#" + "&".join(f"{k}={v}" for k, v in address.items()))
    # Two episodes are unpacked; on a busy machine that takes a moment.
    for _ in range(10):
        if viewer.still() == shown:
            break
    assert viewer.address == address
    assert viewer.text("body") == shown


def test_going_back_returns_to_the_episode_before(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report, f"#e={IDS[0]}&t=3")
    viewer.press("ArrowDown", "ArrowRight", "c")
    viewer.page.go_back()
    viewer.settle()
    assert (viewer.episode, viewer.step) == (IDS[1], 1)
    assert not viewer.page.evaluate("document.body.matches('.comparing')")
    viewer.page.go_back()
    viewer.settle()
    assert (viewer.episode, viewer.step) == (IDS[0], 3)
    viewer.page.go_forward()
    viewer.settle()
    assert viewer.episode == IDS[1]


@pytest.mark.parametrize("address", ["", NONSENSE])
def test_it_begins_with_the_whole_episode_that_earned_most(
    viewer: Viewer, real_report: Path, address: str
) -> None:
    viewer.open(real_report, address)
    whole = [each for each in real() if each.complete and not each.dropped]
    best = max(whole, key=lambda each: each.total_return)
    assert viewer.episode == best.id != IDS[0]
    if not address:
        row = viewer.page.locator(f"#row-{IDS.index(best.id)}")
        assert row.get_attribute("aria-selected") == "true"
        assert row.is_visible()


def padded(grid: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    out = np.full(shape, -1)
    out[: grid.shape[0], : grid.shape[1]] = grid
    return out


@pytest.mark.parametrize("by", ["step", "fraction"])
@pytest.mark.parametrize(("a", "b"), [("solved", "wandering"), ("operations", "long")])
def test_compare_shows_the_cells_that_differ(
    viewer: Viewer, real_report: Path, a: str, b: str, by: str
) -> None:
    first, second = frames(stored(a)), frames(stored(b))
    assert first is not None
    assert second is not None
    for t in (0, 3, len(first) - 1):
        last = len(second) - 1
        u = min(t, last) if by == "step" else int(t * last / (len(first) - 1) + 0.5)
        viewer.open(real_report, f"#e={stored(a).id}&t={t}&c={stored(b).id}&by={by}")
        differ = padded(first.after(t), (30, 30)) != padded(second.after(u), (30, 30))
        note = viewer.text("[data-panel=difference] em")
        count = int(differ.sum())
        assert note == (
            f"{count} cell{'' if count == 1 else 's'} differ{'s' if count == 1 else ''}"
            if count
            else "none"
        )
        assert viewer.texts(".panel b")[:3] == ["A", "B", "Difference"]


def test_another_b_can_be_chosen_from_the_table(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report, f"#e={IDS[0]}")
    viewer.page.locator("#row-3").click(modifiers=["Shift"])
    viewer.settle()
    assert viewer.address == {"e": IDS[0], "c": IDS[3]}
    viewer.page.locator("#row-5").hover()
    viewer.page.locator("#row-5 .pick-b").click()
    viewer.settle()
    assert viewer.address == {"e": IDS[0], "c": IDS[5]}
