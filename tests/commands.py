"""The command line as a fixture: a call in this process, and all that it said."""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from jaxarc_trace import cli

__all__ = ["Command", "Said", "command", "uncoloured"]


class Said(NamedTuple):
    """What a command left behind: its exit code, and the text of its two outputs."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)


Command = Callable[..., Said]


def uncoloured(text: str) -> str:
    """What is seen of a text that is coloured."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Calls `jaxarc-trace` with the words given, on a terminal wide enough for every table."""

    def call(*words: object, columns: int = 200) -> Said:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["jaxarc-trace", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call
