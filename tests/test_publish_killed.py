"""A publish that is killed at any moment and repeated ends with exactly one of each."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import jaxarc_trace as jt
from jaxarc_trace.publish import status
from jaxarc_trace.publish_ledger import LEDGER
from jaxarc_trace.publish_plan import Choice, Job
from jaxarc_trace.publish_process import _descendants, attempt
from jaxarc_trace.run import Run
from tests.test_publish import SETTINGS, holders, save, surroundings
from tests.wandb_http import serving
from tests.wandb_server import KEY, Server

ROOT = Path(__file__).parent.parent
MOMENTS = 20
BY_COMMAND = (4, 11, 17)
"""Moments at which the command is killed, and not the process that it started."""


def publishers() -> list[int]:
    """Processes that publish for this one."""
    found = []
    for pid in _descendants(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"publish_child" in words:
            found.append(pid)
    return found


def killed_at(server: Server, count: int, delay: float) -> None:
    """Kills who publishes a moment after so many requests, with everything that it started."""
    start = len(server.asked)

    def fault(_: str, state: Server) -> None:
        if len(state.asked) - start == count:
            time.sleep(delay)
            for pid in publishers():
                for one in [*_descendants(pid), pid]:
                    try:
                        os.kill(one, signal.SIGKILL)
                    except ProcessLookupError:
                        continue

    server.fault = fault


def command_killed(run: Run, server: Server, count: int) -> bool:
    """Runs the command and kills it alone after so many requests; what it started ends itself."""
    start = len(server.asked)
    words = [sys.executable, "-m", "jaxarc_trace.cli", "publish", str(run.path)]
    process = subprocess.Popen(
        [*words, "publish.artifact=true", "--best", "1", "--worst", "1"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and len(server.asked) - start < count:
        time.sleep(0.01)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    # As a user would, who starts it again at once.
    return not ended


@pytest.mark.slow
def test_twenty_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    with serving() as server, Run.create(tmp_path / "runs", "killed") as run:
        surroundings(monkeypatch, tmp_path / "home", server)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setenv("TMPDIR", str(scratch))
        save(run, 0, 2)
        saves, interrupted = 2, 0
        for moment in range(MOMENTS):
            count = chance.randint(1, 45)
            if moment in BY_COMMAND:
                interrupted += command_killed(run, server, count)
            else:
                killed_at(server, count, chance.random() * 0.1)
                work = tmp_path / f"work{moment}"
                job = Job(str(run.path), SETTINGS, Choice(1, 1), seconds=60, work=str(work))
                work.mkdir()
                interrupted += attempt(job, lambda _: None) is not None
                server.fault = None
            if chance.random() < 0.6:
                save(run, saves, saves + 1)
                saves += 1
        done = jt.publish(run, replace(SETTINGS, deadline=90), best=1, worst=1)
        assert (done.problem, done.pending, dict(done.failed)) == ("", (), {})
        assert interrupted >= MOMENTS // 2
        check(server, run, saves)
        before = len(server.asked)
        assert jt.publish(run, SETTINGS, best=1, worst=1).exit_code == 0
        assert len(server.asked) == before
        # Without the ledger the server is asked what it has, and nothing comes twice.
        (run.path / LEDGER).unlink()
        assert jt.publish(run, SETTINGS, best=1, worst=1).exit_code == 0
        check(server, run, saves)
        # A command that is killed leaves the client's logs among temporary files, without the key.
        assert any(scratch.iterdir())
        assert holders(tmp_path, KEY) == []


def check(server: Server, run: Run, saves: int) -> None:
    """One row and one version a save, one table and viewer of the whole, and nothing twice."""
    rows = [row["trace/save"] for row in server.run.history if "trace/save" in row]
    assert rows == list(range(1, saves + 1))
    traces = server.committed("trace-")
    assert [json.loads(one.metadata)["sequence"] for one in traces] == list(range(1, saves + 1))
    for artifact, one in zip(traces, run.saves(), strict=True):
        files = {p.relative_to(one.path).as_posix(): p for p in one.path.rglob("*") if p.is_file()}
        assert {name: path.read_bytes() for name, path in files.items()} == artifact.files
    galleries = Counter(r["trace/gallery"] for r in server.run.history if "trace/gallery" in r)
    assert set(galleries.values()) == {1}
    (place,) = status(run.path)
    held = [key for key in place["items"] if key.startswith("gallery:")]
    assert held[-1] in galleries
    assert {item["state"] for item in place["items"].values()} == {"confirmed"}
    digests = Counter(one.digest for one in server.committed())
    assert set(digests.values()) == {1}
    reports = [r["report"]["path"] for r in server.run.history if "report" in r]
    assert set(reports) <= set(server.run.files)
    assert len(server.runs) == 1
