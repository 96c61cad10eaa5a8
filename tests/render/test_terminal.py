"""Steps as text: colour or digits, what fits the width, nothing that acts."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from jaxarc_trace import render
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import blocks, frames, theme
from jaxarc_trace.render.theme import rgb
from tests.render.report_fixtures import HOSTILE
from tests.render.stored import NAMES, stored, with_environment, with_states

CODE = re.compile(r"\x1b\[[0-9;]*m")
COLOUR = re.compile(r"\x1b\[([0-9;]*)m|(.)")


def seen(line: str) -> list[tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Characters of a line with the colour of each and of what is behind it."""
    out, front, back = [], None, None
    for codes, character in COLOUR.findall(line):
        if character:
            out.append((character, front, back))
            continue
        numbers = [int(code) for code in codes.split(";")]
        while numbers:
            code = numbers.pop(0)
            if code == 0:
                front = back = None
            elif code == 49:
                back = None
            elif code in (38, 48):
                colour, numbers = tuple(numbers[1:4]), numbers[4:]
                front, back = (colour, back) if code == 38 else (front, colour)
    return out


def test_half_blocks_show_every_cell_in_its_colour() -> None:
    values = np.random.default_rng(0).integers(-1, 10, (7, 30))
    look = theme("colorblind")
    lines = blocks.half_blocks(values, look)
    assert len(lines) == 4
    colours = [rgb(colour) for colour in (*look.cells, look.padding)]
    for index, line in enumerate(lines):
        assert line.endswith(blocks.RESET)
        for column, (character, front, back) in enumerate(seen(line)):
            assert character == "▀"
            assert front == colours[values[2 * index, column]]
            below = 2 * index + 1
            assert back == (colours[values[below, column]] if below < 7 else None)


def test_wide_cells_carry_marks_and_digits() -> None:
    values = np.array([[3, 4], [-1, 0]])
    marked = np.array([[True, False], [False, True]])
    look = theme("high_contrast")
    lines = [seen(line) for line in blocks.wide_cells(values, marked, "*", look)]
    assert ["".join(c for c, _, _ in line) for line in lines] == ["3*4 ", "  0*"]
    assert lines[0][0][2] == rgb(look.cells[3])
    assert lines[1][0][2] == rgb(look.padding)


def test_without_colour_cells_are_digits_and_letters() -> None:
    values = np.array([[0, 9, 10, 35, 36, -1]])
    marked = np.array([[True, False, False, False, False, False]])
    assert blocks.plain_cells(values, marked, "*", 2) == [".*9 a z ?   "]
    assert blocks.plain_cells(values, None, "*", 1) == [".9az? "]


def test_a_step_says_and_shows_everything() -> None:
    text = render.terminal(stored("solved"), 4, color=False, width=100)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "Step 5 of 23 · Flood Fill 5"
    assert lines[1].startswith("Task 0e206a2e · pair 2 · lane 0, episode 12")
    assert lines[3].split("   ")[0] == "Before 16 × 14"
    assert lines[4].startswith(".*. . .")
    assert "* 1 cell selected: row 0, column 0" in lines
    assert "+ 219 cells changed: rows 0–15, columns 0–13" in lines
    assert "reward −0.956   return −0.961   similarity 0.013 ▼ −0.946" in lines
    assert lines[-1].index("^") == 5


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("width", [32, 40, 60, 80, 200])
@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_wider_than_the_terminal(name: str, width: int, *, color: bool) -> None:
    episode = stored(name)
    for t in (0, len(episode) // 2, len(episode) - 1):
        text = render.terminal(episode, t, color=color, width=width)
        assert max(len(CODE.sub("", line)) for line in text.splitlines()[1:]) <= width
        for panel in ("Before", "After", "Target"):
            assert panel in CODE.sub("", text)


def test_grids_stand_side_by_side_where_they_fit_and_else_below() -> None:
    episode = stored("large")  # 20 x 20
    heads = [
        sum("20 × 20" in line for line in render.terminal(episode, 3, color=c, width=w).split("\n"))
        for c, w in ((True, 80), (True, 60), (True, 32), (False, 130), (False, 70))
    ]
    assert heads == [1, 2, 3, 1, 3]


def test_badges_name_what_the_step_was() -> None:
    said = {
        t: render.terminal(stored("long"), t, color=False, width=80).splitlines()[0]
        for t in (31, 99)
    }
    assert said[31].endswith("[No-op]")
    assert "[Not solved" in said[99]
    assert "[Submit] [Solved]" in render.terminal(stored("crop"), -1, color=False, width=80)


def test_colour_is_left_out_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    episode = stored("crop")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in render.terminal(episode, 1, width=80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in render.terminal(episode, 1, width=80)
    assert "\x1b[" in render.terminal(episode, 1, width=80, color=True)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in render.terminal(episode, 1, width=80)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" not in render.terminal(episode, 1, width=80)  # pytest holds stdout


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("color", [True, False])
def test_hostile_text_stays_inert(text: str, *, color: bool) -> None:
    episode = with_environment(
        stored("crop"), task_ids=[text] * 4, operations=[text] * 35, name=text
    )
    shown = CODE.sub("", render.terminal(episode, 3, color=color, width=80))
    assert all(c == "\n" or c.isprintable() or c in "\u2068\u2069" for c in shown)
    assert "\u202e" not in shown
    assert max(map(len, shown.splitlines())) <= 84
    shown.encode()


def test_numbers_that_are_not_finite_are_words() -> None:
    episode = stored("crop")
    score = episode.states["similarity_score"].copy()
    score[2:4] = np.nan, np.inf
    odd = replace(
        with_states(episode, similarity_score=score), rewards=np.full_like(episode.rewards, np.nan)
    )
    text = render.terminal(odd, 1, color=False, width=80)
    assert "reward NaN" in text
    assert "similarity NaN" in text
    assert "∞" in render.terminal(odd, 2, color=False, width=80)


def test_an_environment_without_grids_is_listed() -> None:
    episode = with_environment(stored("crop"), roles={})
    text = render.terminal(episode, 0, color=False, width=80)
    assert "Step 1 of 9" in text
    assert "working_grid: int32 30 × 30, " in text
    assert "step_count: 0 → 1" in text or "similarity_score: " in text
    acted = replace(episode, actions={"push": np.arange(len(episode)) + 3})
    assert "action: push 5" in render.terminal(acted, 2, color=False).splitlines()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t": 99}, "has steps 0 to 8"),
        ({"theme": "drak"}, "Did you mean 'dark'"),
        ({"width": 10}, "width is at least 32 characters; found 10"),
    ],
)
def test_what_cannot_be_shown_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(RenderError, match=message):
        render.terminal(stored("crop"), **{"t": 0, **options})  # type: ignore[arg-type]


def test_it_needs_no_other_package() -> None:
    code = (
        "import sys\nfrom jaxarc_trace.render import terminal\n"
        "from jaxarc_trace.render.terminal import terminal\n"
        "print(sorted({'PIL', 'rich', 'drawsvg', 'resvg_py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_resize_is_told() -> None:
    arc = frames.frames(stored("crop"))
    assert arc is not None
    t = next(t for t in range(len(arc)) if arc.box(t) != arc.box(t + 1))
    assert ", size " in render.terminal(stored("crop"), t, color=False, width=80)
