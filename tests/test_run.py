"""A run on disk: its directory, its lock, its saves, and what others see of it meanwhile."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.background import snapshot
from jaxarc_trace.errors import FormatVersionError, NotATraceError, SpecError, StoreError
from jaxarc_trace.limits import read_limits
from jaxarc_trace.locks import WriterLock
from jaxarc_trace.manifest import write_json
from jaxarc_trace.names import located, slug
from jaxarc_trace.retention import Retention
from jaxarc_trace.run import LONGEST_ROOT, Run
from tests.recordings import recording

ROOT = Path(__file__).parent.parent


def spawn(program: str, *arguments: object) -> "subprocess.Popen[str]":
    """Runs a program in a process of its own, in the repository."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def test_a_path_may_go_through_the_directory_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    store = jt.save("../there/store", recording([3, 4]))
    assert [len(episode) for episode in jt.load("../there/store")] == [3, 4]
    assert jt.verify("../there/store").ok
    assert store == tmp_path / "there" / "store"
    with jt.Run.create("../there/runs", "up") as run:
        run.save(recording([5]))
    relative = Path("../there/runs") / run.path.name
    assert [len(episode) for episode in jt.Run.open(relative).episodes()] == [5]
    with pytest.raises(NotATraceError, match=r"found a run, which holds many; read its episodes"):
        jt.load(relative)
    # A link is followed before `..` is, as the file system does, and kept where there is none.
    (here / "link").symlink_to(run.path)
    assert located("link/../..") == tmp_path / "there"
    assert located("link") == here / "link"


def test_a_run_has_a_directory_and_a_manifest(tmp_path: Path):
    with Run.create(tmp_path, "My run", {"lr": 0.1}, environment={"name": "x"}) as run:
        assert run.path.parent == tmp_path
        assert run.path.name.endswith("Z_My-run")
    manifest = json.loads((run.path / "run.json").read_text())
    assert manifest["name"] == "My run"
    assert manifest["config"] == {"lr": 0.1}
    assert manifest["environment"] == {"name": "x"}
    assert manifest["packages"]["numpy"] == np.__version__
    assert manifest["command"] == sys.argv
    assert len(manifest["git"]["revision"]) == 40
    assert sorted(p.name for p in tmp_path.iterdir()) == [run.path.name]


def test_runs_of_one_second_have_directories_of_their_own(tmp_path: Path):
    runs = [Run.create(tmp_path, "same") for _ in range(4)]
    assert len({run.path for run in runs}) == len({run.id for run in runs}) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain-1.5_x", "plain-1.5_x"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\\b*[c]", "a-b-c"),
        ("line\nbreak", "line-break"),
        ("Größe", "Groe"),
        ("日本", "run"),
        ("", "run"),
        ("...", "run"),
        (".hidden", "hidden"),
        ("x" * 300, "x" * 60),
    ],
)
def test_any_text_becomes_a_safe_name(tmp_path: Path, text: str, expected: str):
    assert slug(text) == expected
    run = Run.create(tmp_path, text)
    assert run.path.parent == tmp_path
    assert run.manifest["name"] == text


def test_saves_are_in_order_and_read_without_repeats(tmp_path: Path):
    with Run.create(tmp_path) as run:
        run.save(recording([2, 3]), step=900)
        run.save(recording([2, 3, 4]), step=5, metadata={"loss": 1.5})
        run.save(recording([2, 3, 4], seed=3))
        assert [save.name for save in run.saves()] == [
            "000001_step000000000900",
            "000002_step000000000005",
            "000003",
        ]
        assert [len(e) for e in run.episodes()] == [2, 3, 4]
    with Run.resume(run.path) as again:
        assert again.id == run.id
        assert again.save(recording([1])).name == "000004"
    assert Run.open(run.path).episodes()[0].metadata == {"step": None}


def test_background_saves_are_there_after_wait(tmp_path: Path):
    with Run.create(tmp_path) as run:
        paths = [run.save(recording([3], seed=s), step=s, background=True) for s in range(4)]
        run.wait()
        assert all((path / "COMMIT").exists() for path in paths)


def test_a_background_error_is_raised_once_by_the_next_call(tmp_path: Path):
    with Run.create(tmp_path) as run:
        path = run.save(recording([3]), background=True)
        run.wait()
        (path.parent / "000002").write_text("in the way")
        run.save(recording([3]), background=True)
        with pytest.raises(StoreError, match="000002: expected a path where nothing exists"):
            run.wait()
        run.wait()
        assert run.save(recording([3])).name == "000003"


def test_a_failing_save_warns_and_lets_the_program_go_on_when_told_to(tmp_path: Path):
    with Run.create(tmp_path, on_error="warn") as run:
        (run.path / "traces" / "000001").write_text("in the way")
        with pytest.warns(RuntimeWarning, match="going on without this save: .*000001"):
            run.save(recording([3]))
        run.save(recording([3]))
        assert len(run.episodes()) == 1


def test_steps_and_metadata_are_checked_before_anything_is_written(tmp_path: Path):
    with Run.create(tmp_path) as run:
        for step in (-1, 1.5):
            with pytest.raises(SpecError, match="step: expected an integer of 0 or more"):
                run.save(recording([1]), step=step)  # type: ignore[arg-type]
        with pytest.raises(SpecError, match=r"metadata\['a'\]: expected JSON"):
            run.save(recording([1]), metadata={"a": np.zeros(2)}, background=True)
        assert run.saves() == []


def test_background_saves_are_finished_when_the_process_ends(tmp_path: Path):
    program = (
        "import sys; from jaxarc_trace.run import Run; from tests.recordings import recording;"
        "run = Run.create(sys.argv[1]); run.save(recording([50] * 200, side=40), background=True);"
        "print(run.path)"
    )
    child = spawn(program, tmp_path)
    out, _ = child.communicate()
    assert child.returncode == 0
    assert len(Run.open(out.strip()).episodes()) == 200


HOLD = (
    "import sys; from jaxarc_trace.run import Run; run = Run.resume(sys.argv[1]);"
    "print('held', flush=True); sys.stdin.readline()"
)


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path: Path):
    run = Run.create(tmp_path)
    with pytest.raises(StoreError, match=rf"locked by process {os.getpid()} on .*wait"):
        Run.resume(run.path)
    run.close()
    with spawn(HOLD, run.path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"locked by process {child.pid} on"):
            Run.resume(run.path)
        assert len(Run.open(run.path).episodes()) == 0
        child.kill()
    # The dead writer's lock is taken over.
    Run.resume(run.path).close()


def test_a_run_that_is_open_for_reading_or_closed_cannot_be_saved_to(tmp_path: Path):
    run = Run.create(tmp_path)
    run.close()
    for closed in (run, Run.open(run.path)):
        with pytest.raises(StoreError, match=r"opened to be read, or closed; use Run\.create"):
            closed.save(recording([1]))


def test_what_is_not_a_run_is_named(tmp_path: Path):
    with pytest.raises(NotATraceError, match=r"expected a run directory with run\.json"):
        Run.open(tmp_path)
    write_json(tmp_path / "run.json", {"format": "jaxarc-trace-run", "version": 2, "id": "x"})
    with pytest.raises(FormatVersionError, match="a run of version 2, this package reads up to"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"expected the manifest of a run, found '\{'"):
        Run.open(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_root_that_cannot_be_written_to_is_found_at_once(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="in which a run can be made, found: Permission denied"):
        Run.create(tmp_path)


def test_a_root_that_is_a_file_is_found_at_once(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="in which a run can be made, found: Not a directory"):
        Run.create(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a\\b", "expected a path that TensorStore can open, found a backslash"),
        ("a\udc80b", "or bytes that are not UTF-8"),
        ("x" * 256, "in which a run can be made, found: File name too long"),
        ("/".join(["d" * 200] * 18), "expected a root of at most 3584 bytes, found 36"),
    ],
)
def test_a_root_that_no_save_could_be_under_is_found_at_once(
    tmp_path: Path, name: str, message: str
):
    with pytest.raises(StoreError, match=message):
        Run.create(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_run_fits_under_the_longest_root(tmp_path: Path):
    room = LONGEST_ROOT - len(str(tmp_path)) - 1
    root = tmp_path / "/".join(["d" * 199] * (room // 200) + ["d" * (room % 200 or 1)])
    assert LONGEST_ROOT - 1 <= len(str(root)) <= LONGEST_ROOT
    with Run.create(root, "x" * 300) as run:
        run.save(recording([3]), step=10**11)
        (episode,) = run.episodes()
        file = run.file(episode, "x" * 300, 3)
        file.parent.mkdir(parents=True)
        file.write_text("")


def test_what_is_left_of_a_run_that_was_never_made_is_removed(tmp_path: Path):
    for name in ("old", "new", "held"):
        (tmp_path / f".partial-run-{name}").mkdir()
    lock = WriterLock(tmp_path / ".partial-run-held")
    for name in ("old", "held"):
        os.utime(tmp_path / f".partial-run-{name}", (1, 1))
    Run.create(tmp_path).close()
    assert sorted(p.name for p in tmp_path.glob(".*")) == [".partial-run-held", ".partial-run-new"]
    lock.release()


def test_limits_are_read_with_fields_of_later_and_of_earlier_versions(tmp_path: Path):
    run = Run.create(tmp_path, retention=Retention("manual", max_saves=2))
    file = run.path / "limits.json"
    assert read_limits(run.path) == run.retention
    write_json(file, {"policy": "oldest_first", "max_saves": 3, "from_later": 1})
    assert read_limits(run.path) == Retention("oldest_first", max_saves=3)
    write_json(file, {"policy": "strange"})
    with pytest.raises(StoreError, match=r"limits\.json: expected the limits of a run"):
        read_limits(run.path)
    file.unlink()
    assert read_limits(run.path) == Retention()


def test_names_of_files_never_collide_and_sort(tmp_path: Path):
    run = Run.create(tmp_path)
    run.save(recording([3] * 12))
    episodes = list(run.episodes())
    files = [
        run.file(episode, kind, step, process=process)
        for process in (0, 1)
        for episode in sorted(episodes, key=lambda e: (e.lane, e.number))
        for kind in ("step.svg",)
        for step in (0, 9, 10, 100)
    ]
    assert len(set(files)) == len(files)
    assert files == sorted(files)
    assert run.file(episodes[0], "../../x").parent.parent == run.path / "renders"


def test_a_damaged_save_is_left_out_with_a_warning(tmp_path: Path):
    with Run.create(tmp_path) as run:
        first = run.save(recording([3], seed=1))
        run.save(recording([3, 4, 5], seed=2))
        (first / "trace.json").write_text("{}")
        with pytest.warns(RuntimeWarning, match="left out a damaged save: .*000001"):
            assert len(run.episodes()) == 3
        with pytest.raises(StoreError, match=r"trace\.json"):
            run.episodes(damaged="raise")


def test_leftovers_of_a_crash_are_ignored_and_cleared_by_the_next_writer(tmp_path: Path):
    run = Run.create(tmp_path)
    run.save(recording([3]))
    for leftover in ("traces/.partial-1", ".trash/000009-abc"):
        (run.path / leftover).mkdir(parents=True)
        (run.path / leftover / "data").write_text("x")
    assert len(run.episodes()) == 1
    run.close()
    with Run.resume(run.path):
        assert not list((run.path / "traces").glob(".partial*"))
        assert not list((run.path / ".trash").iterdir())


def test_many_threads_and_one_run_lose_nothing(tmp_path: Path):
    with Run.create(tmp_path) as run:
        errors: list[Exception] = []

        def read() -> None:
            try:
                for _ in range(10):
                    for episode in run.episodes():
                        assert len(episode) == 4
                    time.sleep(0.01)
            except Exception as error:  # noqa: BLE001 - handed to the test
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for seed in range(6):
            run.save(recording([4] * 3, seed=seed))
        for thread in threads:
            thread.join()
        assert errors == []


def test_a_snapshot_outlives_the_donation_of_what_it_was_taken_of():
    add = jax.jit(lambda array: array + 1, donate_argnums=0)
    array = jax.block_until_ready(add(jnp.arange(1_000_000, dtype=jnp.int32)))
    held = snapshot({"a": array, "name": "x"})
    for _ in range(3):
        array = add(array)
    assert np.array_equal(held["a"], np.arange(1_000_000) + 1)
    assert np.array_equal(array, np.arange(1_000_000) + 4)
    assert held["name"] == "x"
    # And once nobody looks at it, the memory is reused again.
    place = array.unsafe_buffer_pointer()
    assert add(array).unsafe_buffer_pointer() == place
