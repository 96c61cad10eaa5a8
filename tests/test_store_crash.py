"""Killing and interrupting real processes at any moment loses nothing that was committed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxarc_trace.cleaning import runs_under
from jaxarc_trace.exchange import import_file
from jaxarc_trace.run import Run
from jaxarc_trace.saves import saves_of
from jaxarc_trace.store_verify import verify_store
from tests.recordings import recording

ROOT = Path(__file__).parent.parent
KEPT = 4
# Saves in the background, cleans and exports for ever; says which save is on disk.
WRITER = f"""
import signal, sys
from pathlib import Path
from jaxarc_trace.exchange import export
from jaxarc_trace.retention import Retention
from jaxarc_trace.run import Run
from tests.recordings import recording

# A shell that runs the tests in its background has told its children to ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
root, seed = Path(sys.argv[1]), int(sys.argv[2])
limits = Retention("oldest_first", max_saves={KEPT})
runs = sorted(p for p in root.iterdir() if (p / "run.json").exists())
run = Run.resume(runs[0], retention=limits) if runs else Run.create(root, retention=limits)
held = recording([30] * 40, seed=seed, side=12)
print("ready", flush=True)
for step in range(10_000):
    path = run.save(held, step=step, background=True)
    if step % 3 == 2:
        run.wait()
        print("saved", path.name, flush=True)
        export(run.episodes()[:5], root / f"{{seed}}-{{step}}.jsonl.gz")
"""


def killed(root: Path, seed: int, how: signal.Signals, after: float) -> list[str]:
    """Starts a writer, ends it some time after it began to save; the saves that it vouched for."""
    command = [sys.executable, "-c", WRITER, str(root), str(seed)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()[1]
        time.sleep(after)
        child.send_signal(how)
        out, _ = child.communicate(timeout=120)
    return [line.split()[1] for line in out.splitlines() if line.startswith("saved ")]


def assert_sound(root: Path, vouched: list[str]) -> None:
    """Everything that is listed is whole, and the newest that was vouched for is there."""
    (run,) = runs_under(root)
    saves = saves_of(run)
    for save in saves:
        found = verify_store(save.path)
        assert found.ok, found.problems
        assert found.episodes == 40
    if vouched:
        newest = int(vouched[-1].split("_")[0])
        there = {save.sequence for save in saves}
        assert newest in there or (len(there) >= KEPT and min(there) > newest)
    for file in root.glob("*.jsonl.gz"):
        assert import_file(file, root / "imported" / file.name)


def torment(root: Path, times: int, how: signal.Signals, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    for number in range(times):
        vouched = killed(root, number, how, rng.uniform(0, 0.6))
        assert_sound(root, vouched)
        for file in list(root.glob("*.jsonl.gz")):
            file.unlink()
        shutil.rmtree(root / "imported", ignore_errors=True)
    (run,) = runs_under(root)
    Run.resume(run).close()
    assert not list((run / "traces").glob(".partial*"))
    assert not list((run / ".trash").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ended_at_any_moment_nothing_committed_is_lost(tmp_path: Path, how: signal.Signals):
    times = int(os.environ.get("JAXARC_TRACE_KILLS", "200"))
    torment(tmp_path, times, how, seed=int(how))


def mounted(
    path: Path, options: str, program: str, prepare: str = "true"
) -> "subprocess.CompletedProcess[str]":
    """Runs a program with a file system of its own at a path; skips where that is not allowed."""
    mount = f"mount -t tmpfs -o {options} none {path}"
    script = f'{mount} && {prepare} && exec {sys.executable} -c "$0" {path}'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, program],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no right to mount a file system: {done.stderr.strip()}")
    return done


@pytest.mark.slow
def test_a_full_disk_is_a_clear_error_and_keeps_what_is_there(tmp_path: Path):
    """On a file system of 4 MB, made for it; needs the right to mount one."""
    program = """
import subprocess, sys
from pathlib import Path
import warnings
from jaxarc_trace.errors import StoreError
from jaxarc_trace.run import Run
from tests.recordings import recording
run = Run.create(sys.argv[1], on_error="warn")
run.save(recording([50] * 20, side=20))
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(30):
        run.save(recording([200] * 20, side=20))
messages = [str(w.message) for w in seen]
assert messages, "the disk was never full"
assert all("going on without this save" in m and "space" in m for m in messages), messages
from jaxarc_trace.store_verify import verify_store
assert all(verify_store(save.path).ok for save in run.saves())
assert len(run.saves()) >= 1
left = [p.name for p in (run.path / "traces").iterdir() if p.name.startswith(".partial")]
assert not left, left
print("sound")
"""
    done = mounted(tmp_path, "size=4m", program)
    assert done.stdout.strip() == "sound", done.stderr


@pytest.mark.slow
def test_a_read_only_run_is_read_and_writing_to_it_is_refused_at_once(tmp_path: Path):
    with Run.create(tmp_path / "runs") as run:
        run.save(recording([3, 4]))
    program = """
import sys
from pathlib import Path
from jaxarc_trace.errors import StoreError
from jaxarc_trace.run import Run
from jaxarc_trace.cleaning import runs_under
root = Path(sys.argv[1])
(path,) = runs_under(root)
assert [len(episode) for episode in Run.open(path).episodes()] == [3, 4]
for act in (Run.create, lambda root: Run.resume(path)):
    try:
        act(root)
    except StoreError as error:
        assert "Read-only file system" in str(error), error
    else:
        raise AssertionError("not refused")
print("sound")
"""
    place = tmp_path / "mounted"
    place.mkdir()
    prepare = f"cp -r {tmp_path}/runs/. {place} && mount -o remount,ro {place}"
    done = mounted(place, "size=8m", program, prepare)
    assert done.stdout.strip() == "sound", done.stderr
