"""The command `publish`, as a user types it; docs/wandb.md runs here, on the stand-in server."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import jaxarc_trace as jt
from jaxarc_trace import cli
from jaxarc_trace.config_compose import compose
from jaxarc_trace.publish_ledger import LEDGER, Ledger
from jaxarc_trace.run import Run
from tests.pages import blocks
from tests.test_publish import save, surroundings
from tests.wandb_http import serving
from tests.wandb_server import Server

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "wandb.md"


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    monkeypatch.setenv("COLUMNS", "160")

    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["jaxarc-trace", "publish", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with serving() as found:
        surroundings(monkeypatch, tmp_path / "home", found)
        yield found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with Run.create(tmp_path / "runs", "typed") as made:
        save(made, 0, 2)
    return made.path


def test_a_dry_run_says_what_would_be_sent_and_asks_nobody(
    command: Callable[..., Said], run: Path, server: Server
) -> None:
    said = command(run, "--dry-run", "--project", "p q")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        f"Would go to project p q at {server.url}:",
        "  2 rows of numbers",
        "  0 traces, 0 B",
        "  table and viewer",
    ]
    data = json.loads(command(run, "--dry-run", "--json", "publish=wandb_full", "--no-gallery").out)
    assert data["keys"] == ["row:000001", "row:000002", "trace:000001", "trace:000002"]
    assert data["trace_bytes"] > 10_000
    assert data["publish"]["mode"] == "online"
    assert server.asked == []
    assert not (run / LEDGER).exists()


def test_status_says_what_is_confirmed_pending_failed_new_and_lost(
    command: Callable[..., Said], run: Path
) -> None:
    assert command(run, "--status").out == "Nothing of it was published yet.\n"
    assert json.loads(command(run, "--status", "--json").out)["places"] == []
    ledger = Ledger(run, "http://there|team|p")
    ledger.note("confirmed", {"row:000001": {"step": 1000}})
    ledger.note("pending", {"gallery:x": {}, "trace:000009": {}})
    ledger.note("failed", {"trace:000001": {"why": "[red]broken\x1b[2J"}})
    said = command(run, "--status")
    assert said.code == 0
    assert said.out.splitlines() == [
        "http://there project p",
        "  1 confirmed, 2 pending, 1 failed, 1 new",
        "  Failed: trace:000001: [red]broken\\x1b[2J",
        "  Lost: trace:000009: its save was removed before it was sent",
    ]
    (place,) = json.loads(command(run, "--status", "--json").out)["places"]
    assert place["counts"] == {"confirmed": 1, "pending": 2, "failed": 1}
    assert place["items"]["row:000001"]["step"] == 1000


def test_local_is_kept_only_when_it_is_typed(command: Callable[..., Said], run: Path) -> None:
    said = command(run, "publish=local")
    assert (said.code, said.out) == (0, "publish.mode=local: nothing was sent\n")
    said = command(run, "publish=local", "--offline")
    assert said.code == 2
    assert "expected --offline or publish.mode=local, found both" in said.err
    # A run of somebody who composed nothing says local, and who types `publish` wants it sent.
    data = json.loads(command(run, "--dry-run", "--json").out)
    assert data["publish"]["mode"] == "online"


def test_what_is_no_run_is_an_error(command: Callable[..., Said], tmp_path: Path) -> None:
    for words in ((), ("--status",), ("--dry-run",)):
        said = command(tmp_path, *words)
        assert said.code == 2
        assert "expected a run directory" in said.err


@pytest.mark.slow
def test_the_runs_own_settings_are_used_and_json_is_one_object(
    command: Callable[..., Said], tmp_path: Path, server: Server
) -> None:
    config = compose(
        ["publish=wandb_full", "publish.project=own", f"storage.root={tmp_path}", "level=full"]
    )
    with jt.config.begin_run(config, {"algo": "dqn"}) as made:
        save(made, 0, 1)
    said = command(made.path, "--json", "--no-gallery", "--group", "g")
    assert said.code == 0, said.err
    data = json.loads(said.out)
    assert (data["sent"], data["exit_code"]) == ({"rows": 1, "traces": 1, "galleries": 0}, 0)
    assert (server.run.project, server.run.fields["groupName"]) == ("own", "g")
    assert server.run.fields["tags"] == ["synthetic", "dqn", "full"]
    assert server.run.config["trace"]["value"]["publish"]["artifact"] is True


@pytest.mark.slow
def test_watch_publishes_new_saves_beside_a_training_until_it_ends(
    tmp_path: Path, server: Server
) -> None:
    with Run.create(tmp_path / "runs", "watched") as run:
        save(run, 0, 1)
        words = [sys.executable, "-m", "jaxarc_trace.cli", "publish", str(run.path)]
        watcher = subprocess.Popen(
            [*words, "--watch", "--every", "0.3", "--best", "1", "--worst", "1"],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

        def arrived(count: int) -> None:
            until = time.monotonic() + 120
            while len(server.runs) == 0 or len(server.run.history) < count:
                assert time.monotonic() < until
                assert watcher.poll() is None
                time.sleep(0.1)

        arrived(1)
        save(run, 1, 3)
        arrived(3)
        assert server.committed() == []
    out, err = watcher.communicate(timeout=120)
    assert (watcher.returncode, err) == (0, "")
    steps = [row["_step"] for row in server.run.history]
    assert steps == [1000, 2000, 3000, 3001]
    assert len(server.committed("episodes-")) == 1
    assert out.count("Sent and confirmed") == 1


@pytest.mark.slow
def test_the_commands_of_the_page_run_as_they_stand(
    command: Callable[..., Said], run: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of docs/wandb.md, in order; what installs and logs in is left to the reader."""
    monkeypatch.setitem(os.environ, "RUN", str(run))
    lines = [
        line.split("#")[0].strip()
        for block in blocks(PAGE)
        if block.language == "bash"
        for line in block.code.splitlines()
        if line.startswith("jaxarc-trace ")
    ]
    assert len(lines) == 7
    for line in lines:
        words = shlex.split(line.replace("$RUN", str(run)))
        said = command(*words[2:])
        assert said.code == 0, (line, said.err)
    assert len([row for row in server.run.history if "trace/save" in row]) == 2


def test_the_page_names_every_setting_and_exit_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for word in ("publish.images", "publish.image_budget_mb", "publish.image_megapixels"):
        assert f"`{word}`" in text
    for code in (0, 1, 2, 3, 130):
        assert f"\n| {code} |" in text


def test_nothing_of_the_terminal_is_lost_to_a_pipe(tmp_path: Path) -> None:
    """A bar is drawn on a terminal only."""
    with Run.create(tmp_path, "quiet") as made:
        save(made, 0, 1)
    words = [sys.executable, "-m", "jaxarc_trace.cli", "publish", str(made.path), "--status"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Nothing of it was published yet.\n", "")
