"""Several processes and one run, or one root: nothing is lost and nothing is mixed."""

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from jaxarc_trace.cleaning import clean, runs_under
from jaxarc_trace.errors import StoreError
from jaxarc_trace.retention import Retention
from jaxarc_trace.run import Run
from jaxarc_trace.store_verify import verify_store
from tests.test_retention import numbered, run_of, sequences

SAVES = 25


@pytest.fixture(scope="module")
def forked() -> Any:
    """Processes forked from a server that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tormented", "jaxarc_trace.store_write"])
    return context


def write(root: Path) -> None:
    """Saves so many times, in the background, under limits of its own."""
    with Run.create(root, "busy", retention=Retention("oldest_first", max_saves=9)) as run:
        for index in range(SAVES):
            run.save(numbered(index), step=index, background=True)


def read(path: Path, done: Path) -> None:
    """Reads all there is, again and again; fails at the first thing that is not whole."""
    rounds = 0
    while not done.exists():
        episodes = Run.open(path).episodes()
        assert [len(episode) for episode in episodes] == [3] * len(episodes)
        rounds += 1
    assert rounds > 3


def tidy(path: Path, done: Path) -> None:
    """Cleans more than the writer does, again and again."""
    while not done.exists():
        clean(path, Retention("oldest_first", max_saves=3))


@pytest.mark.slow
def test_readers_and_a_cleaner_beside_a_writer(tmp_path: Path, forked: Any):
    done = tmp_path / "done"
    writer = forked.Process(target=write, args=(tmp_path / "root",))
    writer.start()
    deadline = time.monotonic() + 60
    while not (found := runs_under(tmp_path / "root")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    (path,) = found
    others = [forked.Process(target=work, args=(path, done)) for work in (read, read, tidy)]
    for other in others:
        other.start()
    writer.join(120)
    time.sleep(0.3)
    done.touch()
    for other in others:
        other.join(60)
    assert [process.exitcode for process in (writer, *others)] == [0] * 4
    clean(path, Retention("oldest_first", max_saves=1))
    (last,) = Run.open(path).saves()
    assert last.sequence == SAVES
    assert verify_store(last.path).ok
    assert not list((path / "traces").glob(".partial*"))
    assert not list((path / ".trash").iterdir())
    assert not list((path / "readers").iterdir())


def create(root: Path, start: Path, index: int) -> None:
    """Makes a run at the very moment at which the others do."""
    while not start.exists():
        time.sleep(0.0005)
    with Run.create(root, "same", {"index": index}) as run:
        run.save(numbered(index))


@pytest.mark.slow
def test_processes_that_make_runs_at_one_moment_get_one_each(tmp_path: Path, forked: Any):
    root, start = tmp_path / "root", tmp_path / "start"
    children = [forked.Process(target=create, args=(root, start, i)) for i in range(12)]
    for child in children:
        child.start()
    start.touch()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * 12
    runs = [Run.open(path) for path in root.iterdir()]
    assert sorted(run.manifest["config"]["index"] for run in runs) == list(range(12))
    assert len({run.id for run in runs}) == 12
    for run in runs:
        (episode,) = run.episodes()
        assert episode.number == run.manifest["config"]["index"]


def try_to_write(path: Path, told: Path) -> None:
    """Says whether the run could be had."""
    try:
        with Run.resume(path) as run:
            run.save(numbered(9))
            time.sleep(0.5)
        word = "wrote"
    except StoreError as error:
        word = str(error)
    told.write_text(word)


@pytest.mark.slow
def test_of_writers_that_come_at_once_one_writes(tmp_path: Path, forked: Any):
    Run.create(tmp_path / "root").close()
    (path,) = (tmp_path / "root").iterdir()
    told = [tmp_path / f"told-{index}" for index in range(6)]
    children = [forked.Process(target=try_to_write, args=(path, file)) for file in told]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    words = [file.read_text() for file in told]
    wrote = words.count("wrote")
    assert wrote >= 1
    assert all("locked by process" in word for word in words if word != "wrote")
    assert sequences(Run.open(path)) == list(range(1, wrote + 1))


def test_saves_are_in_their_order_when_the_clock_is_set_back(tmp_path: Path):
    run = run_of(tmp_path, 3)
    for save in run.saves():
        os.utime(save.path / "COMMIT", (4e9, 4e9))
    run.close()
    with Run.resume(run.path, retention=Retention("oldest_first", max_saves=2)) as again:
        again.save(numbered(3), step=0)
        assert sequences(again) == [3, 4]
        assert again.episodes()[-1].number == 3


def refuse(root: Path, path: Path, told: Path) -> None:
    """As a user who may not write: what creating, resuming, pinning, cleaning and reading say."""
    os.setegid(65534)
    os.seteuid(65534)
    words: list[str] = []
    for act in (
        lambda: Run.create(root),
        lambda: Run.resume(path),
        lambda: Run.open(path).pin(),
        lambda: clean(path, Retention("oldest_first", max_saves=1)),
    ):
        try:
            act()
            words.append("no error")
        except StoreError as error:
            words.append(str(error))
    words.append(f"read {len(Run.open(path).episodes()[0])}")
    os.seteuid(0)
    told.write_text("\n".join(words))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_write_is_told_at_once_and_may_read(tmp_path: Path, forked: Any):
    run = run_of(tmp_path / "root", 2)
    run.close()
    for folder in (*tmp_path.parents[: len(tmp_path.parents) - 2], tmp_path):
        folder.chmod(folder.stat().st_mode | 0o055)
    child = forked.Process(target=refuse, args=(tmp_path / "root", run.path, tmp_path / "told"))
    child.start()
    child.join(60)
    *refused, read_ = (tmp_path / "told").read_text().splitlines()
    assert len(refused) == 4
    assert all("Permission denied; check its permissions" in words for words in refused), refused
    assert read_ == "read 3"
    assert sequences(run) == [1, 2]
