"""The step picture shows what happened: read back from the SVG."""

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxarc_trace import render
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import frames, theme
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.text import visible
from jaxarc_trace.render.theme import THEMES
from tests.render.drawn import SVG, lines, parsed, same_as_golden, words
from tests.render.stored import OPERATIONS, ROLES, stored, with_environment, with_states

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\"' onload='x",
    "a\x00\x1b[31mb",
    "\ud800 lone",
    "x" * 10_000,
    "שלום \u202e abc",
    "<![CDATA[",
    "&#x41;",
)


def seen_cells(picture: Picture, panel: str, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Colours of the cells below a panel's name, uint8 `[height, width, 3]`, read from pixels."""
    name = next(line for line in lines(picture.as_svg()) if line.words == panel)
    left, top = int(name.x), int(name.y) + 14
    page = np.asarray(Image.open(io.BytesIO(picture.as_png(1.0))).convert("RGB"))
    # Below the middle of a cell: clear of lines, outlines and corners.
    rows = top + np.arange(shape[0]) * cell + cell * 3 // 5
    columns = left + np.arange(shape[1]) * cell + cell // 2
    return page[rows[:, None], columns]


@pytest.mark.parametrize(
    ("name", "t"), [("solved", 4), ("solved", 9), ("crop", 0), ("large", 21), ("long", 50)]
)
def test_each_panel_shows_its_grid_cell_for_cell(name: str, t: int) -> None:
    episode = stored(name)
    arc = frames.frames(episode)
    assert arc is not None
    assert arc.target is not None
    picture = render.step(episode, t, theme(cell_size=14))
    for panel, grid in (("Before", arc.before(t)), ("After", arc.after(t)), ("Target", arc.target)):
        seen = seen_cells(picture, panel, grid.shape, 14)
        assert np.array_equal(seen, theme().rgb[grid])


def test_a_grid_much_like_another_is_drawn_by_reference() -> None:
    def copies(t: int) -> int:
        root = parsed(render.step(stored("solved"), t).as_svg())
        grids = {f"#{g.get('id')}" for g in root.iter(f"{SVG}g") if g.get("id")}
        return sum(use.get("href") in grids for use in root.iter(f"{SVG}use"))

    assert copies(9) == 2
    assert copies(4) == 1


def test_names_inside_a_picture_stand_for_what_they_name() -> None:
    def named(t: int) -> dict[str, bytes]:
        root = parsed(render.step(stored("large"), t).as_svg())
        return {e.get("id"): ET.tostring(e) for e in root.iter() if e.get("id")}

    every = [named(t) for t in range(0, 40, 3)]
    for one in every:
        for other in every:
            assert all(one[name] == other[name] for name in one.keys() & other.keys())


def test_a_step_says_what_was_done_and_what_came_of_it() -> None:
    shown = words(render.step(stored("solved"), 4).as_svg())
    assert "Step 5 of 23 · Flood Fill 5" in shown
    assert "Task 0e206a2e · pair 2 · lane 0, episode 12" in shown
    for expected in ("1 cell selected", "219 cells changed", "221 cells to go", "▼ −0.956"):
        assert expected in shown
    assert "▼ −0.946" in shown
    assert {"Before", "After", "Target"} <= set(shown)
    assert shown.count("16 × 14") == 3


def test_selection_change_and_difference_have_a_mark_each() -> None:
    episode = stored("solved")
    arc = frames.frames(episode)
    assert arc is not None
    wrong = arc.differs(4)
    assert wrong is not None
    svg = render.step(episode, 4).as_svg()
    root = parsed(svg)
    dashed = [
        e for e in root.iter() if e.get("stroke-dasharray") and e.get("stroke") in ("#000", None)
    ]
    outlines = [drawn_by(root, e) for e in dashed if e.get("stroke")]
    assert [data.count("M") for data in outlines] == [2]  # one cell, and the key's sample
    assert corners(root) == wrong.sum() + 1


def drawn_by(root: Any, element: Any) -> str:
    """Path data of an element, or of what it refers to."""
    name = (element.get("href") or "").removeprefix("#")
    return element.get("d") or next(e for e in root.iter() if e.get("id") == name).get("d")


def corners(root: Any) -> int:
    """How many corner marks a picture has, the key's sample included."""
    marked = [p for p in root.iter(f"{SVG}path") if "marker" in p.get("style", "")]
    many = sum(len(re.findall("[MLh]", p.get("d"))) for p in marked)
    looks = [e for e in root.iter() if e.get("fill") == "#FFF" and e.get("stroke") == "#000"]
    drawn = [p for look in looks for p in look.iter(f"{SVG}path")]
    single = [p for p in drawn if not p.get("d").startswith("M0 0")]
    return many + sum(p.get("d").count("z") for p in single)


@pytest.mark.parametrize("few", [True, False])
def test_a_corner_marks_each_wrong_cell_whether_many_or_few(*, few: bool) -> None:
    episode = stored("large")
    arc = frames.frames(episode)
    assert arc is not None
    counts = [int(arc.differs(t).sum()) for t in range(len(arc))]  # type: ignore[union-attr]
    t = next(t for t, count in enumerate(counts) if count > 0 and (count <= 24) is few)
    picture = render.step(episode, t, theme(cell_size=14))
    root = parsed(picture.as_svg())
    assert corners(root) == counts[t] + 1
    assert any("marker" in e.get("style", "") for e in root.iter()) is not few
    name = next(line for line in lines(picture.as_svg()) if line.words == "Target")
    page = np.asarray(Image.open(io.BytesIO(picture.as_png(2.0))).convert("RGB"))
    rows, columns = np.nonzero(arc.differs(t))
    # Just within the corner: white, whatever the cell's colour.
    y = 2 * (int(name.y) + 14 + rows * 14) + 3
    x = 2 * (int(name.x) + columns * 14 + 14) - 4
    assert (page[y, x] > 200).all()


def test_a_picture_of_an_arc_grid_is_small() -> None:
    # One of 30 x 30 cells in nine colours, drawn thrice; benchmarks/render.py has the ratios.
    sizes = [len(render.step(stored("large"), t).as_svg().encode()) for t in range(20)]
    assert np.median(sizes) <= 4_800


@pytest.mark.parametrize(
    ("name", "t", "badges"),
    [
        ("solved", 9, ["No-op"]),
        ("solved", 13, []),  # copying to the clipboard changes no cell and is no no-op
        ("solved", 22, ["Solved", "Submit"]),
        ("hasty", 7, ["Not solved, submitted", "Submit"]),
        ("long", 99, ["Not solved, out of steps"]),
        ("solved", 4, []),
    ],
)
def test_badges_say_what_is_special(name: str, t: int, badges: list[str]) -> None:
    known = ["No-op", "Submit", "Solved", "Not solved, submitted", "Not solved, out of steps"]
    shown = words(render.step(stored(name), t).as_svg())
    assert sorted(w for w in shown if w in known) == sorted(badges)


def test_an_invalid_operation_is_marked() -> None:
    episode = stored("solved")
    wrong = replace(episode, extras={"operation": np.full(len(episode), 77, np.int32)})
    shown = words(render.step(wrong, 1).as_svg())
    assert "Invalid operation" in shown
    assert "Step 2 of 23 · operation 77" in shown


def test_a_resize_shows_both_sizes_and_the_former_outline() -> None:
    svg = render.step(stored("crop"), 0).as_svg()
    assert "was 10 × 12" in words(svg)
    dotted = [r for r in parsed(svg).iter(f"{SVG}rect") if r.get("stroke-dasharray") == "2 3"]
    assert len(dotted) == 1
    assert float(dotted[0].get("width")) / 12 == float(dotted[0].get("height")) / 10
    right = float(dotted[0].get("x")) + float(dotted[0].get("width"))
    target = next(line for line in lines(svg) if line.words == "Target")
    assert right + 20 < float(target.x)


@pytest.mark.parametrize("operation", range(35))
def test_every_operation_has_a_name_and_a_picture(operation: int) -> None:
    episode = stored("operations")
    t = int(np.flatnonzero(episode.extras["operation"] == operation)[0])
    picture = render.step(episode, t)
    assert any(OPERATIONS[operation] in line for line in words(picture.as_svg()))
    assert OPERATIONS[operation] in picture.title


def test_every_operation_has_a_sign_of_its_own() -> None:
    from jaxarc_trace.render.icons import icon
    from tests.render.stored import KINDS

    pairs = zip(KINDS, OPERATIONS, strict=True)
    signs = {icon(kind, name, 0, 0, 24, theme()) for kind, name in pairs}
    assert len(signs) == 35


def test_steps_that_were_not_kept_are_counted() -> None:
    episode = replace(stored("solved"), dropped=200, complete=False)
    shown = words(render.step(episode, 1).as_svg())
    assert "Step 202 of 223 so far · Fill 0" in shown
    assert any("first 200 steps not kept" in line for line in shown)


def test_target_score_and_selection_may_be_missing() -> None:
    bare = {k: v for k, v in ROLES.items() if k not in ("target", "score", "selected")}
    episode = replace(with_environment(stored("solved"), roles=bare), actions={})
    shown = words(render.step(episode, 4).as_svg())
    assert "selection not recorded" in shown
    assert not any(line.startswith("Target") for line in shown)
    assert any(line.startswith("Return by step") for line in shown)


def test_numbers_that_are_none_appear_as_words() -> None:
    episode = stored("solved")
    score = np.full(24, np.nan, np.float32)
    rewards = np.full(23, -np.inf, np.float32)
    broken = replace(with_states(episode, similarity_score=score), rewards=rewards)
    shown = words(render.step(broken, 4).as_svg())
    assert "NaN" in shown
    assert "▼ −∞" in shown


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("draw", ["step", "summary", "compare", "filmstrip"])
def test_hostile_text_stays_inert_and_visible(text: str, draw: str) -> None:
    names = [text] * 35
    episode = with_environment(stored("hasty"), task_ids=[text] * 4, operations=names)
    episode = replace(episode, kept_by=(text,))
    svg = {
        "step": lambda: render.step(episode, 1),
        "summary": lambda: render.summary(episode),
        "compare": lambda: render.compare([episode, stored("hasty")]),
        "filmstrip": lambda: render.filmstrip(episode),
    }[draw]().as_svg()
    root = parsed(svg)
    assert len(svg) < 60_000
    allowed = {"fill", "stroke", "transform", "viewBox", "role", "href", "style"}
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not key.startswith("on")
            assert key in allowed or "<" not in value
    if draw != "compare":
        start = visible(text, 12)[:4]
        assert any(start in line for line in words(svg))


@pytest.mark.parametrize("name", sorted(THEMES))
def test_golden_step(name: str, *, update: bool) -> None:
    same_as_golden(render.step(stored("solved"), 4, name).as_svg(), f"step_{name}", update=update)


@pytest.mark.parametrize(("name", "t"), [("crop", 0), ("large", 21), ("long", 99)])
def test_golden_steps_of_other_episodes(name: str, t: int, *, update: bool) -> None:
    same_as_golden(render.step(stored(name), t).as_svg(), f"step_of_{name}", update=update)


def test_the_same_episode_gives_the_same_bytes() -> None:
    one, two = (render.step(stored("large"), 5).as_svg() for _ in range(2))
    assert one == two


def test_digits_are_written_on_request() -> None:
    episode = stored("crop")
    plain = words(render.step(episode, 3).as_svg())
    digits = words(render.step(episode, 3, theme(digits=True)).as_svg())
    assert len(digits) - len(plain) == 3 * 16


def test_the_high_contrast_theme_writes_a_digit_into_every_cell_of_the_largest_grid() -> None:
    episode = stored("crop")
    cells = np.arange((len(episode) + 1) * 900).reshape(-1, 30, 30) % 10
    names = ("working_grid", "input_grid", "target_grid")
    masks = {f"{name}_mask": np.ones(cells.shape, bool) for name in names}
    grids = dict.fromkeys(names, cells.astype(np.int32))
    large = with_states(episode, **grids, **masks, selected=np.zeros(cells.shape, bool))
    shown = words(render.step(replace(large, actions={}), 3, "high_contrast").as_svg())
    in_sign = 1  # of Fill and Flood Fill
    assert sum(word.isdecimal() and len(word) == 1 for word in shown) == 3 * 900 + in_sign


def test_a_cell_size_is_kept() -> None:
    svg = render.step(stored("solved"), 4, theme(cell_size=7)).as_svg()
    scales = {element.get("transform") for element in parsed(svg).iter()}
    assert any("scale(7)" in (scale or "") for scale in scales)


@pytest.mark.parametrize("t", [23, -24, 1000])
def test_a_step_out_of_range_is_refused_in_one_line(t: int) -> None:
    with pytest.raises(RenderError, match=rf"has steps 0 to 22 .*; step {t} was asked for\.$"):
        render.step(stored("solved"), t)


def test_a_negative_step_counts_from_the_end() -> None:
    assert render.step(stored("solved"), -1).title == "Step 23 of 23 · Submit"
