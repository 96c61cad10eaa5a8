"""Killing and interrupting real processes at any moment loses nothing that was committed."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jaxarc_trace.cleaning import runs_under
from jaxarc_trace.exchange import import_file
from jaxarc_trace.fresh import UNFINISHED
from jaxarc_trace.run import Run
from jaxarc_trace.saves import saves_of
from jaxarc_trace.store import load
from jaxarc_trace.store_verify import verify_store
from jaxarc_trace.store_write import PARTIAL
from tests.recordings import recording
from tests.tormented import BEGUN, EPISODES, KEPT, VOUCHED, torment

ROOT = Path(__file__).parent.parent
KILLS = int(os.environ.get("JAXARC_TRACE_KILLS", "200"))


@pytest.fixture(scope="module")
def forked() -> Any:
    """Processes forked from a server that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tormented", "jaxarc_trace.store_write"])
    return context


def awaited(child: Any, file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert child.exitcode is None, "the process ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def ended(context: Any, root: Path, seed: int, how: signal.Signals, after: float) -> None:
    """Starts a writer, and ends it some time after it began."""
    (root / BEGUN).unlink(missing_ok=True)
    child = context.Process(target=torment, args=(root, seed))
    child.start()
    awaited(child, root / BEGUN)
    time.sleep(after)
    for _ in range(4):
        # Python drops a KeyboardInterrupt that falls into a callback of its garbage collector, and
        # JAX has one there. A person presses the keys again.
        os.kill(child.pid, how)
        child.join(15)
        if child.exitcode is not None:
            break
    assert child.exitcode == (-signal.SIGKILL if how == signal.SIGKILL else 1)


def two_rounds(context: Any, root: Path) -> float:
    """Seconds that three saves, cleaning and an export take twice, on this machine now."""
    root.mkdir()
    child = context.Process(target=torment, args=(root, 0))
    child.start()
    awaited(child, root / BEGUN)
    began = time.monotonic()
    awaited(child, root / "0-5.jsonl.gz")
    child.kill()
    child.join(60)
    return time.monotonic() - began


def left_over(root: Path) -> Iterator[str]:
    """What kinds of unfinished things lie about."""
    names = {
        "save": root.glob(f"*/traces/{PARTIAL}*"),
        "removal": root.glob("*/.trash/*"),
        "export": root.glob(f"{UNFINISHED}*"),
    }
    return (kind for kind, found in names.items() if list(found))


def assert_sound(root: Path) -> None:
    """Everything that is listed is whole, and the newest that was vouched for is there."""
    exports = list(root.glob("*.jsonl.gz"))
    for file in exports:
        assert [len(load(path)) for path in import_file(file, root / "imported" / file.name)]
        file.unlink()
    shutil.rmtree(root / "imported", ignore_errors=True)
    for run in runs_under(root):
        saves = saves_of(run)
        for save in saves:
            found = verify_store(save.path)
            assert found.ok, found.problems
            assert found.episodes == EPISODES
        there = {save.sequence for save in saves}
        assert len(Run.open(run).episodes()) == (EPISODES if saves else 0)
        for name in (root / VOUCHED).read_text().split():
            # Limits take the oldest only, and only where there are enough newer ones.
            number = int(name.split("_")[0])
            assert number in there or (len(there) >= KEPT and min(there) > number)
        if saves:
            assert there == set(range(min(there), max(there) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ended_at_any_moment_nothing_committed_is_lost(
    tmp_path: Path, forked: Any, how: signal.Signals
):
    rng = random.Random(int(how))
    seen: Counter[str] = Counter()
    root = tmp_path / "root"
    root.mkdir()
    for number in range(KILLS):
        if number % 50 == 0:
            window = min(1.5, two_rounds(forked, tmp_path / str(number)))
        ended(forked, root, number, how, rng.uniform(0, window))
        seen.update(left_over(root))
        for file in root.glob(f"{UNFINISHED}*"):
            file.unlink()  # the next export does it, if the next process comes so far
        assert_sound(root)
    (run,) = runs_under(root)
    Run.resume(run).close()
    assert not list((run / "traces").glob(f"{PARTIAL}*"))
    assert not list((run / ".trash").glob("*"))
    print(window, seen)
    # The moments hit what they are meant to; after Ctrl-C everything is finished or put away.
    if how == signal.SIGINT:
        assert not seen
    elif KILLS >= 100:
        assert seen["save"] > 5
        assert seen["export"] > 5


@pytest.mark.slow
def test_ctrl_c_ends_a_program_after_the_save_in_the_background(tmp_path: Path):
    """The same with a process of its own, which ends as programs do."""
    program = "import sys; from pathlib import Path; from tests.tormented import torment;"
    program += "torment(Path(sys.argv[1]), 0)"
    for number in range(3):
        with contextlib.suppress(FileNotFoundError):
            (tmp_path / BEGUN).unlink()
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
            deadline = time.monotonic() + 60
            while not (tmp_path / BEGUN).exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.2 + 0.1 * number)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=60)
        assert err.rstrip().endswith("KeyboardInterrupt"), err
        assert not list(left_over(tmp_path))
        assert_sound(tmp_path)


def mounted(
    path: Path, options: str, program: str, prepare: str = "true"
) -> "subprocess.CompletedProcess[str]":
    """Runs a program with a file system of its own at a path; skips where that is not allowed."""
    mount = f"mount -t tmpfs -o {options} none {path}"
    script = f'{mount} && {prepare} && exec {sys.executable} -c "$0" {path}'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, program],  # noqa: S607 - as `mount`
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
from jaxarc_trace.exchange import export
with (run.path.parent / "filler").open("wb") as filler:
    try:
        filler.write(bytes(8_000_000))
    except OSError:
        pass
for act in (lambda: export(run.episodes(), run.path / "a.jsonl"), lambda: Run.create(sys.argv[1])):
    try:
        act()
    except StoreError as error:
        assert "space" in str(error), error
    else:
        raise AssertionError("the disk was not full")
from jaxarc_trace.cleaning import clean
from jaxarc_trace.retention import Retention
held = run.episodes()
run.close()
assert clean(run.path, Retention("oldest_first", max_bytes=1)).removed == ()
del held
try:
    run.pin()
except StoreError as error:
    assert "space" in str(error), error
else:
    raise AssertionError("the disk was not full")
hidden = [p.name for p in (*run.path.iterdir(), *run.path.parent.iterdir()) if ".partial" in p.name]
assert not hidden, hidden
assert all(verify_store(save.path).ok for save in run.saves())
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
