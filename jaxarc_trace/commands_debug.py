"""The command `debug`: a full-screen stepper on any terminal, also over ssh and without colour."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from jaxarc_trace.commands_common import RUN, TRACEBACK, ending, open_run
from jaxarc_trace.commands_replay import some_of
from jaxarc_trace.errors import SpecError

if TYPE_CHECKING:
    from jaxarc_trace.stepper import View

__all__ = ["add_commands"]

# Screen of its own, no cursor; and all of it back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_REFRESH = 0.5
_ENDED = 128 + 15
# What follows an escape of a key comes at once, over a slow line within this time.
_FOLLOWS = 0.1
_KEYS = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left",
    "OA": "up", "OB": "down", "OC": "right", "OD": "left",
    "[H": "home", "[F": "end", "OH": "home", "OF": "end",
    "[1~": "home", "[4~": "end", "[7~": "home", "[8~": "end",
    "[5~": "pageup", "[6~": "pagedown", "[Z": "\t",
}  # fmt: skip
_PLAIN = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace"}
_PLAIN |= {"\x03": "ctrl-c", "\x04": "ctrl-d"}


def add_commands(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    examples = (
        "jaxarc-trace debug jaxarc-trace-demo -1",
        "jaxarc-trace debug jaxarc-trace-demo 0 --beside 5",
    )
    app.command(
        "debug",
        epilog=ending(*examples),
        # So that an index of -1 is an argument and not an option.
        context_settings={"ignore_unknown_options": True},
    )(debug)


def debug(
    run: RUN,
    episode: Annotated[
        str,
        typer.Argument(
            help="Index, -1 for the last, or an id: lane0003-ep000012.", show_default=False
        ),
    ],
    *,
    beside: Annotated[
        str | None,
        typer.Option(help="Index or id of a second episode, side by side.", show_default=False),
    ] = None,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Step through an episode on the full screen; ? shows the keys, q leaves."""
    from jaxarc_trace.stepper import View

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SpecError(
            "expected a terminal to draw on and to read keys from, found a pipe or a file; to "
            "print an episode use: jaxarc-trace show RUN EPISODE"
        )
    episodes = open_run(run)
    first = some_of(episodes, [episode])[0]
    second = None if beside is None else some_of(episodes, [beside])[0]
    with _full_screen():
        _loop(View.of(first, second))


def _loop(view: "View") -> None:
    """Draws, waits for a key, and so on; draws anew when the window changes its size."""
    from jaxarc_trace.render.terminal import wants_color
    from jaxarc_trace.stepper import press, screen

    color, drawn, keys = wants_color(), None, _keys()
    shown: View | None = view
    while shown is not None:
        size = os.get_terminal_size(sys.stdout.fileno())
        if drawn != (shown, size):
            lines = screen(shown, size.columns or 80, size.lines or 24, color=color)
            # Line by line over what was there, so that nothing flickers.
            sys.stdout.write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")
            sys.stdout.flush()
            drawn = shown, size
        key = next(keys)
        shown = shown if key is None else press(shown, key)


def _keys() -> Iterator[str | None]:
    """Keys as they are pressed; None when there was none for a while."""
    file = sys.stdin.fileno()
    while True:
        if not select.select([file], [], [], _REFRESH)[0]:
            yield None
            continue
        data = os.read(file, 1)
        if not data:
            yield "q"
            continue
        while data[0] >= 0xC0 and len(data) < _length(data[0]):
            data += os.read(file, 1)
        key = data.decode("utf-8", "replace")
        yield _sequence(file) if key == "\x1b" else _PLAIN.get(key, key)


def _sequence(file: int) -> str:
    """The key that an escape begins; unknown ones are no key."""
    text = ""
    while len(text) < 8 and select.select([file], [], [], _FOLLOWS)[0]:
        text += os.read(file, 1).decode("latin-1")
        if len(text) > 1 and (text[-1].isalpha() or text[-1] == "~"):
            break
    return _KEYS.get(text, "unknown") if text else "escape"


def _length(first: int) -> int:
    """Bytes of the UTF-8 character that begins with this one."""
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2


@contextmanager
def _full_screen() -> Iterator[None]:
    """A screen of its own and keys one by one, until the end whatever happens."""
    import signal
    import termios
    import tty

    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    # Who ends it from outside gets the terminal back as well.
    ended = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_ENDED))
    try:
        tty.setraw(file)
        sys.stdout.write(_ENTER)
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(file, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, ended)
