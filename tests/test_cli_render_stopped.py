"""`jaxarc-trace render` in a process of its own: stopped by Ctrl-C, and robbed of a worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxarc_trace as jt
from tests.recordings import ENVIRONMENT, recording

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
GRIDS = {**ENVIRONMENT, "roles": {"grid": "grid", "operation": "operation", "task": "task"}}
EPISODES, STEPS = 24, 60


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored episodes of 60 steps: some seconds of work."""
    found = recording([STEPS] * EPISODES, environment=GRIDS)
    return jt.save(tmp_path_factory.mktemp("run") / "trace", found)


def render(trace: Path, out: Path, workers: int) -> "subprocess.Popen[str]":
    """The command as a user runs it, leading a group of its own as a terminal would have it."""
    words = ["render", trace, "--out", out, "--format", "svg,png", "--workers", workers]
    return subprocess.Popen(
        [sys.executable, "-m", "jaxarc_trace.cli", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until_drawing(running: "subprocess.Popen[str]", out: Path, files: int) -> None:
    """Waits until so many pictures are there."""
    for _ in range(1200):
        if sum(1 for _ in pictures(out)) >= files:
            return
        if running.poll() is not None:
            pytest.fail(f"it ended early: {running.communicate()}")
        time.sleep(0.05)
    running.kill()
    pytest.fail("no picture came within a minute")


def pictures(out: Path) -> Iterator[Path]:
    return (p for p in out.rglob("*") if p.suffix in (".svg", ".png") and p.name[0] != ".")


def assert_whole(out: Path) -> None:
    """Nothing is half-written: no unfinished file, each picture ends, each ledger is right."""
    assert not list(out.rglob("*.part"))
    for file in pictures(out):
        data = file.read_bytes()
        assert data.endswith(b"</svg>" if file.suffix == ".svg" else b"IEND\xaeB`\x82"), file
    for ledger in out.rglob("pictures.json"):
        for name, size in json.loads(ledger.read_text())["files"].items():
            assert (ledger.parent / name).stat().st_size == size


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_exit_code_130_and_leaves_whole_files(
    trace: Path, tmp_path: Path, workers: int
) -> None:
    running = render(trace, tmp_path, workers)
    until_drawing(running, tmp_path, 30)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, (out, err)
    assert "Every file in place is whole; run it again to go on." in " ".join(err.split())
    assert "Traceback" not in err
    assert_whole(tmp_path)
    there = sum(1 for _ in pictures(tmp_path))
    assert 0 < there < EPISODES * 2 * (STEPS + 1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker in /proc")
def test_a_killed_worker_is_exit_code_1_and_costs_one_episode(trace: Path, tmp_path: Path) -> None:
    running = render(trace, tmp_path, 2)
    until_drawing(running, tmp_path, 30)
    os.kill(workers_of(running.pid)[0], signal.SIGKILL)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 1, (out, err)
    assert "1 episode failed." in out
    assert "its worker process was killed, perhaps for want of memory; run it again" in out
    assert_whole(tmp_path)
    drawn = [sum(1 for _ in pictures(folder)) for folder in tmp_path.iterdir()]
    assert sorted(drawn)[1:] == [2 * (STEPS + 1)] * (EPISODES - 1)
    again = jt.render.render_all(jt.load(trace), tmp_path, formats=("svg", "png"))
    assert again.ok
    assert (again.written, again.skipped) == (2 * (STEPS + 1), 2 * (STEPS + 1) * (EPISODES - 1))


def workers_of(parent: int) -> list[int]:
    """Processes that another started to draw in."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            status = (each / "stat").read_text().rpartition(")")[2].split()
            command = (each / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended since
        if int(status[1]) == parent and b"spawn_main" in command:
            found.append(int(each.name))
    return found
