"""The same pictures, byte for byte, whoever draws them: threads, a Dask cluster, or MPI."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from socket import socket

import pytest

import jaxarc_trace as jt
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import executors
from jaxarc_trace.render.dispatch import _outcome
from jaxarc_trace.render.executors import EXECUTORS, executor_named
from jaxarc_trace.render.queue import render_all
from jaxarc_trace.render.theme import theme
from jaxarc_trace.render.worker import Handle, Job
from tests.commands import Command
from tests.imports import ROOT
from tests.recordings import ENVIRONMENT, recording

GRIDS = {**ENVIRONMENT, "roles": {"grid": "grid", "operation": "operation", "task": "task"}}
CLI = (sys.executable, "-m", "jaxarc_trace.cli")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = recording(range(3, 9), environment=GRIDS)
    return jt.save(tmp_path_factory.mktemp("stored") / "trace", found)


@pytest.fixture(scope="module")
def wanted(trace: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("alone")
    assert render_all(jt.load(trace), out, workers=1).ok
    return tree(out)


def tree(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def drawn(*words: object, before: tuple[object, ...] = CLI) -> str:
    """Runs the command in a process of its own, as a user does."""
    root = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
    done = subprocess.run(
        [*map(str, before), "render", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=240,
        env={**os.environ, **root, "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_threads_draw_the_same(trace: Path, wanted: dict[str, bytes], tmp_path: Path) -> None:
    with executor_named("thread", workers=3) as pool:
        assert render_all(jt.load(trace), tmp_path, executor=pool).ok
    assert tree(tmp_path) == wanted


def test_by_default_render_all_spawns_its_own() -> None:
    with executor_named("process", workers=3) as pool:
        assert pool is None


@pytest.mark.slow
def test_a_dask_cluster_of_this_machine_draws_the_same(
    trace: Path, wanted: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    drawn(trace, "--executor", "dask", "--workers", "2", "--out", tmp_path)
    assert tree(tmp_path) == wanted


@contextmanager
def cluster() -> Iterator[str]:
    """A scheduler and a worker, as they are started on a cluster; gives the address."""
    with closing(socket()) as found:
        found.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{found.getsockname()[1]}"
    port = address.rpartition(":")[2]
    commands = (
        ["distributed.cli.dask_scheduler", "--port", port, "--no-dashboard"],
        ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"],
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-m", *words, "--host", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        for words in commands
    ]
    try:
        yield address
    finally:
        for process in running:
            process.terminate()
            process.wait(timeout=30)


@pytest.mark.slow
def test_a_dask_scheduler_is_reached_by_its_address(
    trace: Path, wanted: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    with cluster() as address:
        drawn(trace, "--executor", "dask", "--scheduler", address, "--out", tmp_path)
    assert tree(tmp_path) == wanted


@pytest.mark.slow
def test_processes_of_mpi_draw_the_same(
    trace: Path, wanted: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("mpi4py")
    mpiexec = Path(sys.executable).with_name("mpiexec")
    found = str(mpiexec) if mpiexec.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("no mpiexec")
    before = (found, "-n", 3, sys.executable, "-m", "mpi4py.futures", "-m", "jaxarc_trace.cli")
    drawn(trace, "--executor", "mpi", "--out", tmp_path, before=before)
    assert tree(tmp_path) == wanted


def test_a_worker_that_is_gone_costs_its_episode_only(trace: Path, tmp_path: Path) -> None:
    scheduler = pytest.importorskip("distributed.scheduler")
    lost: Future[object] = Future()
    lost.set_exception(scheduler.KilledWorker("draw-1", None, 3))
    job = Job(Handle(jt.load(trace)), 0, tmp_path / "a", (), theme("default"), "key")
    assert "its worker process was killed" in _outcome(lost, job).error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "spark"}, r"Expected an executor of process, thread, dask, mpi; found 'spark'"),
        ({"name": "mpi", "scheduler": "tcp://a:1"}, r"is for the executor dask; found it with mpi"),
    ],
)
def test_what_makes_no_sense_is_refused(words: dict[str, str], message: str) -> None:
    with pytest.raises(RenderError, match=message), executor_named(**words):
        pass
    assert EXECUTORS == ("process", "thread", "dask", "mpi")


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_one_line(
    command: Command, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "_PATIENCE", 1)
    words = ("--executor", "dask", "--scheduler", "tcp://127.0.0.1:9")
    said = command("render", trace, *words)
    assert said.code == 2
    assert "Cannot reach a Dask scheduler at tcp://127.0.0.1:9" in said.err.replace("\n", " ")
