"""The viewer in a real browser: what it draws, and that every key does what help says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxarc_trace import analysis
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.report import report
from tests.render.browser import Viewer
from tests.render.report_fixtures import painted, real
from tests.render.stored import NAMES, stored

pytest_plugins = ["tests.render.viewer_fixtures"]
pytestmark = pytest.mark.slow

IDS = [episode.id for episode in real()]
WANDERING = NAMES.index("wandering")
FAILING = NAMES.index("operations")

# Cells of a panel as its digits say them: one text holds x and y of every digit it shows.
READ_CELLS = """name =>
[...document.querySelectorAll(`[data-panel=${name}] text`)].flatMap(text => {
  const [xs, ys] = ["x", "y"].map(key => text.getAttribute(key).split(" ").map(Number));
  return [...text.textContent].map((value, i) => [ys[i], xs[i], Number(value)]);
})"""


def found(name: str) -> ArcFrames:
    frames_ = frames(stored(name))
    assert frames_ is not None
    return frames_


def cells(viewer: Viewer, panel: str) -> np.ndarray:
    """The grid that a panel shows, read from its digits."""
    rows = np.array(viewer.page.evaluate(READ_CELLS, panel))
    _, y = np.unique(rows[:, 0], return_inverse=True)
    _, x = np.unique(rows[:, 1], return_inverse=True)
    out = np.full((y.max() + 1, x.max() + 1), -1)
    out[y, x] = rows[:, 2]
    return out


def test_it_loads_nothing_but_itself(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report)
    viewer.press("End", "c", "?", "Escape", "p", "d")
    assert set(viewer.requests) - {"about:blank"} == {f"file://{real_report}"}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_shows_the_grids_of_the_episode(
    viewer: Viewer, real_report: Path, name: str
) -> None:
    grids = found(name)
    viewer.page.set_viewport_size({"width": 2200, "height": 1400})  # room for digits in the cells
    for t in (0, len(grids) // 2, len(grids) - 1):
        viewer.open(real_report, f"#e={stored(name).id}&t={t}&d=1")
        np.testing.assert_array_equal(cells(viewer, "before"), grids.before(t))
        np.testing.assert_array_equal(cells(viewer, "after"), grids.after(t))
        np.testing.assert_array_equal(cells(viewer, "target"), grids.target)
        changed, wrong = grids.changed(t).sum(), grids.differs(t)
        assert wrong is not None
        labels = viewer.page.evaluate(
            "[...document.querySelectorAll('svg.grid')].map(svg => svg.getAttribute('aria-label'))"
        )
        if grids.shapes[t] == grids.shapes[t + 1]:
            assert labels[1].endswith(f"{changed} changed" if changed else "no change")
        assert (f"{wrong.sum()} to go" in labels[2]) == bool(wrong.any())


def test_marks_are_drawn_where_there_is_something_to_mark(
    viewer: Viewer, real_report: Path
) -> None:
    grids = found("wandering")
    for t in range(len(grids)):
        viewer.open(real_report, f"#e={IDS[WANDERING]}&t={t}")
        marks = {
            kind: viewer.page.locator(f"[data-outline={kind}]").count() > 0
            for kind in ("selected", "changed", "wrong")
        }
        chosen, wrong = grids.selection(t), grids.differs(t)
        assert chosen is not None
        assert wrong is not None
        assert marks == {
            "selected": bool(chosen.any()),
            "changed": bool(grids.changed(t).any()),
            "wrong": bool(wrong.any()),
        }


def test_the_facts_are_those_of_the_episode(viewer: Viewer, real_report: Path) -> None:
    episode, t = stored("wandering"), 5
    viewer.open(real_report, f"#e={episode.id}&t={t}")
    facts = " ".join(viewer.texts("#facts dd"))
    score = analysis.scores(episode)
    assert score is not None
    assert found("wandering").name(t) in facts
    assert f"{score[t + 1]:.3f}" in facts
    assert viewer.page.locator("#position").input_value() == str(t + 1)
    assert viewer.text("#last") == f"of {len(episode)}"


def test_key_moments_are_those_of_the_analysis(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report, f"#e={IDS[WANDERING]}")
    labels = [moment.label for moment in analysis.key_moments(stored("wandering"))]
    assert viewer.page.locator("#moments button").all_text_contents() == [
        f"{i + 1}{label}" for i, label in enumerate(labels)
    ]
    assert viewer.page.locator(".markers [data-moment]").count() == len(labels)


def test_failure_modes_are_badges_marks_and_places_to_go(
    viewer: Viewer, real_report: Path, shots: Path
) -> None:
    episode = stored("operations")
    failures = analysis.failure_modes(episode)
    states = sorted({state for failure in failures for state in failure.steps})
    viewer.open(real_report, f"#e={episode.id}")
    shown = viewer.page.locator("#failures button").all_text_contents()
    for text, failure in zip(shown, failures, strict=True):
        assert text.startswith(f"!{failure.mode}")
    assert shown[0] == "!oscillation32 steps from 2 on"
    assert shown[-1] == "!premature submitstep 66"
    marks = viewer.page.locator("#timeline .failing").get_attribute("d") or ""
    assert marks.count("M") == len(states)
    viewer.press("f", "f")
    assert viewer.step == states[1] - 1
    viewer.press("End", "F")
    assert viewer.step == states[-2] - 1
    viewer.press("End")
    badges = set(viewer.texts("#facts .badge"))
    assert {f.mode for f in failures if episode.length in f.steps} <= badges
    # A mode's own button goes through its steps, and round again.
    viewer.page.locator("#failures button").first.click()
    viewer.settle()
    assert viewer.step == failures[0].steps[0] - 1
    viewer.page.screenshot(path=shots / "failures.png")
    viewer.press("c")
    assert not viewer.shows("#failures")
    viewer.open(real_report, f"#e={IDS[WANDERING]}")
    assert not viewer.shows("#failures")


def test_an_episode_without_a_step_is_shown(viewer: Viewer, folder: Path) -> None:
    episode = painted(3, 4)
    empty = replace(
        episode,
        states={k: v[:1] for k, v in episode.states.items()},
        actions={},
        extras={"operation": episode.extras["operation"][:0]},
        rewards=episode.rewards[:0],
        terminated=episode.terminated[:0],
        truncated=episode.truncated[:0],
        complete=False,
    )
    viewer.open(report([empty], folder / "empty.html").path)
    viewer.press("ArrowRight", "End", "]", ".", "Space", "c", "x")
    assert viewer.text("#heading .outcome") == "…running"
    assert "no step was recorded" in viewer.text("#facts")


def test_every_key_does_what_help_says(viewer: Viewer, real_report: Path) -> None:
    grids = found("wandering")
    last = len(grids) - 1
    changes = [t for t in range(len(grids)) if grids.changed(t).any()]
    moments = sorted({max(m.step - 1, 0) for m in analysis.key_moments(stored("wandering"))})
    start = last // 2

    states = [s for f in analysis.failure_modes(stored("operations")) for s in f.steps]
    failing = {max(state - 1, 0) for state in states}

    def at(key: str, t: int = start, of: int = WANDERING) -> int:
        viewer.open(real_report, f"#e={IDS[of]}&t={t}")
        viewer.press(key)
        return viewer.step

    def episode(key: str, row: int) -> str:
        viewer.open(real_report, f"#e={IDS[row]}")
        viewer.press(key)
        return viewer.episode

    def after(key: str, address: str = "") -> dict[str, str]:
        viewer.open(real_report, f"#e={IDS[0]}{address}")
        viewer.press(key)
        return viewer.address

    checks = {
        "←": lambda: at("ArrowLeft") == start - 1 and at("ArrowLeft", 0) == 0,
        "→": lambda: at("ArrowRight") == start + 1 and at("ArrowRight", last) == last,
        "Shift ←": lambda: at("Shift+ArrowLeft", 15) == 5 and at("Shift+ArrowLeft", 4) == 0,
        "Shift →": lambda: at("Shift+ArrowRight", 0) == min(10, last),
        "↑": lambda: episode("ArrowUp", 3) == IDS[2] and episode("ArrowUp", 0) == IDS[0],
        "↓": lambda: episode("ArrowDown", 3) == IDS[4],
        "Shift ↑": lambda: episode("Shift+ArrowUp", 6) == IDS[0],
        "Shift ↓": lambda: episode("Shift+ArrowDown", 0) == IDS[6],
        "Home": lambda: at("Home") == 0,
        "End": lambda: at("End") == last,
        "[": lambda: at("[") == max(t for t in changes if t < start),
        "]": lambda: at("]") == min(t for t in changes if t > start),
        ",": lambda: at(",") == max(t for t in moments if t < start),
        ".": lambda: at(".") == min(t for t in moments if t > start),
        "f": lambda: at("f", of=FAILING) == min(t for t in failing if t > start),
        "F": lambda: at("F", of=FAILING) == max(t for t in failing if t < start),
        "Space": lambda: at("Space") >= start and viewer.page.locator("#play.playing").count() == 1,
        "c": lambda: "c" in after("c") and "c" not in after("c", f"&c={IDS[1]}"),
        "x": lambda: after("x", f"&c={IDS[1]}") == {"e": IDS[1], "c": IDS[0]},
        "/": lambda: (
            bool(after("/")) and viewer.page.evaluate("document.activeElement.id") == "filter"
        ),
        "d": lambda: after("d")["d"] == "1" and after("d", "&d=1").get("d") is None,
        "p": lambda: after("p")["p"] == "colorblind",
        "?": lambda: bool(after("?")) and viewer.shows("#help"),
    }
    viewer.open(real_report)
    viewer.press("?")
    documented = [
        " ".join(keys)
        for keys in viewer.page.evaluate(
            "[...document.querySelectorAll('#keys dt')]"
            ".map(dt => [...dt.children].map(key => key.textContent))"
        )
    ]
    assert documented == list(checks)
    assert [key for key, check in checks.items() if not check()] == []


def test_playing_comes_to_the_end_and_stops(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report, f"#e={IDS[2]}")
    viewer.page.select_option("#speed", "30")
    viewer.page.locator("#stage").focus()
    viewer.press("Space")
    viewer.until("!document.querySelector('#play').matches('.playing')")
    viewer.settle()
    assert viewer.step == len(stored("hasty")) - 1


def test_keys_belong_to_the_filter_while_it_has_the_focus(
    viewer: Viewer, real_report: Path
) -> None:
    viewer.open(real_report, f"#e={IDS[0]}")
    viewer.press("/")
    viewer.page.keyboard.type("dcp")
    viewer.press("ArrowLeft")
    assert viewer.address == {"e": IDS[0], "q": "dcp"}
    viewer.press("Escape", "d")
    assert viewer.address["d"] == "1"


def test_the_timeline_and_the_lists_can_be_clicked(viewer: Viewer, real_report: Path) -> None:
    viewer.open(real_report, f"#e={IDS[WANDERING]}")
    viewer.page.locator("#operations [data-step='4']").click()
    viewer.settle()
    assert viewer.step == 4
    viewer.page.locator("#moments button").last.click()
    viewer.settle()
    assert viewer.step == len(stored("wandering")) - 1
    box = viewer.page.locator("#timeline > svg").bounding_box()
    viewer.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 60)
    viewer.settle()
    assert 0 < viewer.step < len(stored("wandering")) - 1
    viewer.page.fill("#position", "3")
    viewer.page.keyboard.press("Enter")
    viewer.settle()
    assert viewer.step == 2
