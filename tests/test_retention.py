"""What the limits of a run remove, what stays whatever they say, and what is never touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from jaxarc_trace import locks
from jaxarc_trace.cleaning import clean
from jaxarc_trace.errors import NotATraceError, SpecError, StoreError
from jaxarc_trace.locks import leased
from jaxarc_trace.recording import Recording
from jaxarc_trace.retention import Candidate, Retention, choose
from jaxarc_trace.run import Run
from jaxarc_trace.saves import Save, folder_bytes
from tests.recordings import recording
from tests.test_episodes import with_columns

ROOT = Path(__file__).parent.parent


def run_of(root: Path, saves: int, **options: Any) -> Run:
    """A run with so many saves of other episodes each."""
    run = Run.create(root, **options)
    for index in range(saves):
        run.save(numbered(index))
    return run


def numbered(index: int, **columns: Any) -> Recording:
    """One episode that no other save of the run has."""
    return with_columns(recording([3], seed=index), number=[index], **columns)


def sequences(run: Run) -> list[int]:
    return [save.sequence for save in run.saves()]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"policy": "oldest"}, "policy: expected one of none, manual, .* found 'oldest'"),
        ({"max_saves": 3}, "policy 'none' with max_saves: expected limits with a policy"),
        ({"policy": "oldest_first"}, "policy 'oldest_first' with no limit: expected limits"),
        ({"policy": "size_based", "max_saves": 3}, "'size_based': expected max_bytes, found none"),
        ({"policy": "manual", "max_bytes": 0}, "max_bytes: expected more than 0, found 0"),
        ({"on_full": "stop"}, "on_full: expected 'warn' or 'raise', found 'stop'"),
    ],
)
def test_limits_that_contradict_themselves_are_refused(values: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message):
        Retention(**values)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    kept=st.sets(st.integers(0, 8)),
    most=st.none() | st.integers(1, 9),
    room=st.integers(1, 40),
    policy=st.sampled_from(["oldest_first", "size_based"]),
)
def test_no_more_is_removed_than_must_be(
    sizes: list[int], kept: set[int], most: int | None, room: int, policy: Any
):
    candidates = [
        Candidate(Save(i, str(i), Path(str(i))), size, 0.0, "pinned" if i in kept else "")
        for i, size in enumerate(sizes)
    ]
    removed, over = choose(candidates, Retention(policy, max_saves=most, max_bytes=room))
    left = [c for c in candidates if c not in removed]
    fits = sum(c.bytes for c in left) <= room and len(left) <= (most or 99)
    assert not any(c.keeps for c in removed)
    assert fits or (over and all(c.keeps for c in left))
    assert bool(over) == (not fits)
    if removed:
        before = [*left, removed[-1]]
        assert sum(c.bytes for c in before) > room or len(before) > (most or 99)
    if policy == "oldest_first":
        assert removed == [c for c in candidates if not c.keeps][: len(removed)]


def test_the_oldest_saves_go_after_each_save(tmp_path: Path):
    run = run_of(tmp_path, 5, retention=Retention("oldest_first", max_saves=3))
    assert sequences(run) == [3, 4, 5]
    (removal,) = run.last_cleaning.removed
    assert removal.path.name == "000002"
    assert removal.reason == "more than 3 saves"
    assert removal.bytes > 0
    assert not list((run.path / ".trash").iterdir())


def test_the_largest_saves_go_when_bytes_are_limited(tmp_path: Path):
    run = Run.create(tmp_path)
    for index, length in enumerate((5, 900, 5, 5)):
        run.save(with_columns(recording([length], side=40), number=[index]))
    sizes = [folder_bytes(save.path) for save in run.saves()]
    done = clean(run.path, Retention("size_based", max_bytes=sum(sizes) - 1))
    assert [r.path.name for r in done.removed] == ["000002"]


def test_age_removes_and_a_clock_set_back_does_not(tmp_path: Path):
    run = run_of(tmp_path, 3)
    first, second = (save.path / "COMMIT" for save in run.saves()[:2])
    os.utime(first, (1, 1))
    os.utime(second, (4e9, 4e9))
    done = clean(run.path, Retention("oldest_first", max_age=3600))
    assert [(r.path.name, r.reason) for r in done.removed] == [("000001", "older than 3600 s")]


def test_a_dry_run_says_the_same_and_removes_nothing(tmp_path: Path):
    run = run_of(tmp_path, 4)
    limits = Retention("oldest_first", max_saves=1)
    planned = clean(run.path, limits, dry_run=True)
    assert sequences(run) == [1, 2, 3, 4]
    assert clean(run.path, limits).removed == planned.removed
    assert sequences(run) == [4]


def test_what_is_pinned_stays(tmp_path: Path):
    run = run_of(tmp_path, 4)
    limits = Retention("oldest_first", max_saves=1)
    run.pin(run.episodes()[1])
    done = clean(run.path, limits)
    assert sequences(run) == [2, 4]
    first = done.stayed[0]
    assert first.path.name == "000002"
    assert first.reason == "it holds the pinned episode process 0 lane 0 number 1"
    assert done.over == ("more than 1 saves although all that may go is gone",)
    run.pin()
    assert [r.reason for r in clean(run.path, limits).stayed] == ["its run is pinned"] * 2
    run.pin(pinned=False)
    run.pin(run.episodes()[0], pinned=False)
    clean(run.path, limits)
    assert sequences(run) == [4]


def test_unreadable_pins_stop_the_cleaning(tmp_path: Path):
    run = run_of(tmp_path, 3)
    (run.path / "pins.json").write_text("[]")
    with pytest.raises(StoreError, match=r"pins\.json: expected what is pinned, found something"):
        clean(run.path, Retention("oldest_first", max_saves=1))
    assert sequences(run) == [1, 2, 3]


def test_protected_episodes_stay_unless_a_newer_save_has_them(tmp_path: Path):
    run = Run.create(tmp_path)
    run.save(numbered(0, success=[0], kept_by=[0]))
    run.save(numbered(1, success=[1], kept_by=[1]))  # the bit of `best`
    run.save(numbered(2, success=[1], kept_by=[2]))
    run.save(numbered(1, success=[1], kept_by=[1]))
    run.save(numbered(4, success=[1], kept_by=[2]))
    done = clean(run.path, Retention("oldest_first", max_saves=1, protect="best,failed"))  # type: ignore[arg-type]
    assert sequences(run) == [1, 4, 5] or sequences(run) == [1, 2, 5]
    assert {r.reason for r in done.stayed} >= {
        "it holds the protected episode process 0 lane 0 number 0",
        "it holds the protected episode process 0 lane 0 number 1",
    }


def test_a_damaged_save_may_hold_something_protected_and_stays(tmp_path: Path):
    run = run_of(tmp_path, 3)
    (run.saves()[0].path / "trace.json").write_text("{}")
    clean(run.path, Retention("oldest_first", max_saves=1, protect=("best",)))
    assert 1 in sequences(run)
    clean(run.path, Retention("oldest_first", max_saves=1))
    assert sequences(run) == [3]


def test_what_is_being_read_stays_until_it_is_not(tmp_path: Path):
    run = run_of(tmp_path, 3)
    limits = Retention("oldest_first", max_saves=1)
    episodes = run.episodes()[:1]
    done = clean(run.path, limits)
    assert sequences(run) == [1, 2, 3]
    assert {r.reason for r in done.stayed} >= {"it is being read"}
    assert len(episodes[0]) == 3
    del episodes
    clean(run.path, limits)
    assert sequences(run) == [3]


def test_a_reader_that_had_no_room_to_say_what_it_reads_keeps_all(tmp_path: Path):
    run = run_of(tmp_path, 3)
    limits = Retention("oldest_first", max_saves=1)
    episodes = run.episodes()[:1]
    (lease,) = (run.path / "readers").iterdir()
    os.truncate(lease, 0)
    clean(run.path, limits)
    assert sequences(run) == [1, 2, 3]
    assert len(episodes[0]) == 3
    # Whoever reads a run in which nothing is saved yet keeps nothing.
    empty = Run.create(tmp_path)
    nothing = empty.episodes()
    for index in range(2):
        empty.save(numbered(index))
    clean(empty.path, limits)
    assert sequences(empty) == [2]
    assert len(nothing) == 0


def test_a_reader_that_ends_while_it_is_looked_at_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = run_of(tmp_path, 2)
    episodes = run.episodes()
    (lease,) = (run.path / "readers").iterdir()
    look = locks._try_lock

    def and_then_it_ends(file: int, kind: int) -> bool:
        free = look(file, kind)
        lease.unlink(missing_ok=True)
        return free

    monkeypatch.setattr(locks, "_try_lock", and_then_it_ends)
    assert len(leased(run.path, [])) == 2
    assert len(episodes) == 2


def test_a_reader_that_was_killed_holds_nothing(tmp_path: Path):
    run = run_of(tmp_path, 3)
    program = (
        "import sys; from jaxarc_trace.run import Run; e = Run.open(sys.argv[1]).episodes();"
        "print(len(e), flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", program, run.path]
    pipe = subprocess.PIPE
    limits = Retention("oldest_first", max_saves=1)
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"3\n"
        clean(run.path, limits)
        assert sequences(run) == [1, 2, 3]
        child.kill()
    clean(run.path, limits)
    assert sequences(run) == [3]
    assert not list((run.path / "readers").iterdir())


def test_no_link_is_followed(tmp_path: Path):
    outside = tmp_path / "outside"
    elsewhere = run_of(outside, 2)
    root = tmp_path / "root"
    run = run_of(root, 3)
    traces = run.path / "traces"
    (traces / "000009").symlink_to(elsewhere.path / "traces" / "000001")
    (traces / ".partial-x").symlink_to(outside)
    (root / "linked").symlink_to(elsewhere.path)
    shutil.rmtree(traces / "000002")
    (traces / "000002").symlink_to(elsewhere.path / "traces" / "000002")
    clean(root, Retention("oldest_first", max_saves=1))
    assert sequences(run) == [3]
    assert sequences(elsewhere) == [1, 2]
    assert (traces / ".partial-x").is_symlink()


def test_a_trash_that_is_a_link_is_refused(tmp_path: Path):
    run = run_of(tmp_path / "root", 3)
    (tmp_path / "outside").mkdir()
    (run.path / ".trash").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match=r"\.trash: expected a directory of the run, found a link"):
        clean(run.path, Retention("oldest_first", max_saves=1))
    assert sequences(run) == [1, 2, 3]
    assert not list((tmp_path / "outside").iterdir())


def test_roots_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limits = Retention("oldest_first", max_saves=1)
    with pytest.raises(StoreError, match="found the root of the file system; nothing was removed"):
        clean("/", limits)
    monkeypatch.setenv("HOME", str(tmp_path))
    run = run_of(tmp_path, 2)
    with pytest.raises(StoreError, match="found the root of your files; nothing was removed"):
        clean(tmp_path, limits)
    link = tmp_path / "sub"
    link.symlink_to(tmp_path)
    with pytest.raises(StoreError, match="found the root of your files"):
        clean(link, limits)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotATraceError, match="found none; nothing was removed"):
        clean(tmp_path / "empty", limits)
    assert sequences(run) == [1, 2]


def test_limits_hold_for_all_runs_under_a_root(tmp_path: Path):
    runs = [run_of(tmp_path, 3, name=name) for name in "ab"]
    clean(tmp_path, Retention("oldest_first", max_saves=3))
    assert [sequences(run) for run in runs] == [[3], [2, 3]]


def test_manual_warns_and_removes_nothing(tmp_path: Path):
    limits = Retention("manual", max_saves=3)
    run = run_of(tmp_path, 2, retention=limits)
    with pytest.warns(RuntimeWarning, match="holds 3 of at most 3 saves"):
        run.save(numbered(2))
    with pytest.warns(RuntimeWarning, match="more than 3 saves"):
        run.save(numbered(3))
    assert sequences(run) == [1, 2, 3, 4]


def test_a_full_run_raises_when_told_to_and_keeps_the_save(tmp_path: Path):
    run = Run.create(tmp_path, retention=Retention("oldest_first", max_bytes=10, on_full="raise"))
    with pytest.raises(StoreError, match="expected the limits to be kept, found more than 10"):
        run.save(numbered(0))
    assert sequences(run) == [1]


def test_cleaning_beside_a_writer_leaves_its_unfinished_save_alone(tmp_path: Path):
    run = run_of(tmp_path, 3)
    unfinished = run.path / "traces" / ".partial-now"
    unfinished.mkdir()
    clean(run.path, Retention("oldest_first", max_saves=1))
    assert unfinished.exists()
    run.close()
    clean(run.path, Retention("oldest_first", max_saves=1))
    assert not unfinished.exists()
