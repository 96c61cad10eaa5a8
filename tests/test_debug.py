"""The debugger: what keys do, what the screen shows, and the command on a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import jaxarc_trace as jt
from jaxarc_trace import cli
from jaxarc_trace.stepper import KEYS, View, press, screen
from tests.recordings import ENVIRONMENT, recording
from tests.render.stored import NAMES, stored, with_environment

GOLDEN = Path(__file__).parent / "golden" / "replay_v1"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def after(view: View, *keys: str) -> View:
    for key in keys:
        found = press(view, key)
        assert found is not None
        view = found
    return view


def test_keys_move_through_the_steps_and_stop_at_the_ends():
    view = View.of(stored("solved"))
    assert after(view, "left").t == 0
    assert after(view, "right", "l", " ").t == 3
    assert after(view, "pagedown", "pagedown", "pagedown").t == 22
    assert after(view, "end").t == 22
    assert after(view, "end", "pageup", "home").t == 0
    assert after(view, "unknown", "x").t == 0
    assert press(view, "q") is None
    assert press(view, "ctrl-c") is None


def test_keys_jump_to_changes_moments_and_failures():
    view = View.of(stored("large"))
    failing = after(view, "f")
    assert failing.t + 1 in {s for f in view.marks[0].failures for s in f.steps}
    assert after(failing, "F").told == "no earlier failure"
    telling = after(view, ".")
    assert telling.t + 1 in {m.step for m in view.marks[0].moments}
    changed = after(view, "]", "]")
    grid = stored("large").states["working_grid"]
    assert (grid[changed.t] != grid[changed.t + 1]).any()
    assert after(view, "end", "]").told == "no further change"


def test_a_search_finds_operations_by_name_and_kind():
    view = View.of(stored("operations"))
    assert after(view, "/", *"submit", "enter").t == 65
    found = after(view, "/", *"flipx", "backspace", "enter")
    assert "flip" in found.marks[0].words[found.t]
    assert after(found, "n").t > found.t
    assert after(found, "n", "N").t == found.t
    assert "no earlier step with 'flip'" in after(found, "N").told
    assert after(view, "/", *"zzz", "enter").told == "no further step with 'zzz'"
    assert after(view, "/", "a", "escape").typing is None
    assert "nothing to search" in after(view, "n").told


def test_two_episodes_stand_side_by_side_and_can_be_swapped():
    one, two = stored("solved"), stored("hasty")
    view = View.of(one, two)
    shown = "\n".join(screen(view, 160, 50, color=False))
    assert " │ " in shown
    assert after(view, "\t").episode is two
    assert after(view, "end", "\t").t == len(two) - 1
    assert " │ " not in "\n".join(screen(after(view, "c"), 160, 50, color=False))
    assert "there is no second episode" in after(View.of(one), "c").told


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (40, 12), (20, 5), (1, 1)])
@pytest.mark.parametrize("color", [True, False])
def test_the_screen_fits_any_window(name: str, width: int, height: int, *, color: bool):
    view = View.of(stored(name), stored("hasty"))
    for shown in (view, after(view, "end"), after(view, "?"), after(view, "/", "a")):
        lines = screen(shown, width, height, color=color)
        assert len(lines) <= height
        bare = [_ESCAPE.sub("", line) for line in lines]
        assert max(map(len, bare)) <= max(width, 1)
        assert color or "\x1b" not in "".join(lines)


def test_the_screen_names_moments_failures_and_keys():
    view = after(View.of(stored("hasty")), "end")
    shown = "\n".join(screen(view, 120, 40, color=False))
    assert "! premature submit: submitted at 0.98 with 52 steps left" in shown
    assert "--#" in shown or "+#" in shown
    assert "q leave" in shown
    keys = "\n".join(screen(after(view, "?"), 120, 40, color=False))
    assert all(keys_ in keys for keys_ in KEYS)


def test_hostile_names_do_not_reach_the_terminal():
    evil = "\x1b[2J\x1b]0;owned\x07\r\n"
    episode = with_environment(stored("hasty"), operations=[evil] * 35, task_ids=[evil] * 9)
    shown = "".join(screen(View.of(episode), 120, 40, color=False))
    assert not set(shown) & {"\x1b", "\x07", "\r", "\n"}


def test_any_other_environment_is_shown_by_its_fields():
    episode = jt.Episodes.of(recording([4], environment=ENVIRONMENT))[0]
    assert "level" in "\n".join(screen(View.of(episode), 100, 40, color=False))
    with pytest.raises(jt.SpecError, match="expected an episode with steps"):
        View.of(jt.Episodes.of(recording([0]))[0])


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], file: int) -> None:
        self.process, self.file, self.seen = process, file, ""

    def until(self, words: str, seconds: float = 60) -> str:
        """What it wrote since the last call, once the words are there."""
        text, end = "", time.monotonic() + seconds
        while words not in _ESCAPE.sub("", text):
            assert time.monotonic() < end, f"no {words!r} in {text!r}"
            if select.select([self.file], [], [], 0.2)[0]:
                try:
                    text += os.read(self.file, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        assert words in _ESCAPE.sub("", text), text
        self.seen += text
        return text

    def press(self, keys: str) -> None:
        os.write(self.file, keys.encode())


@contextmanager
def terminal(*words: object, columns: int = 120, **environ: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [sys.executable, "-m", "jaxarc_trace.cli", "debug", *map(str, words)]
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **environ},
    )
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def modes(file: int) -> list[int]:
    return termios.tcgetattr(file)[3]


def test_the_command_steps_through_a_trace_on_a_terminal_and_gives_it_back():
    with terminal(GOLDEN, 0, "--beside", -1, NO_COLOR="1") as shown:
        first = shown.until("Step 1 of 24")
        assert "\x1b[?1049h" in first
        assert " │ " in first
        assert not modes(shown.file) & termios.ICANON
        shown.press("l")
        shown.until("Step 2 of 24")
        shown.press("\x1b[6~")
        shown.until("Step 12 of 24")
        shown.press("\x1b[F")
        shown.until("Step 24 of 24")
        # A failure, and an operation that is searched by name, where the keys alone lead as well.
        view = View.of(jt.load(GOLDEN)[0], jt.load(GOLDEN)[-1])
        shown.press("\x1b[Hf")
        shown.until(f"Step {after(view, 'f').t + 1} of 24")
        shown.press("\x1b[H/paste\r")
        shown.until("Step 15 of 24")
        shown.press("?")
        shown.until("search operations")
        # A smaller window is drawn anew.
        fcntl.ioctl(shown.file, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 50, 0, 0))
        shown.until("more lines; make the window higher")
        shown.press("q")
        shown.until("")
        assert shown.process.wait(20) == 0
        end = os.read(shown.file, 65536).decode()
        assert "\x1b[?1049l" in shown.seen + end
        assert modes(shown.file) & termios.ICANON
        assert not re.search(r"\x1b\[[0-9;]*m", shown.seen)


@pytest.mark.slow
def test_colours_are_there_and_a_signal_gives_the_terminal_back():
    with terminal(GOLDEN, 0) as shown:
        first = shown.until("Step 1 of 24")
        assert "48;2;" in first or "38;2;" in first
        shown.process.send_signal(signal.SIGTERM)
        assert shown.process.wait(20) == 143
        assert modes(shown.file) & termios.ICANON


def test_without_a_terminal_it_says_what_to_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["jaxarc-trace", "debug", str(GOLDEN), "0"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "expected a terminal to draw on" in said
    assert "jaxarc-trace show" in said
