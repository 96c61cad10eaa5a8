"""Several `jax.distributed` processes on this machine record, save together, and one reads it.

Each process has two CPU devices and speaks to the others by gloo over the loopback.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxarc_trace as jt
from tests.imports import ROOT
from tests.together_worker import LANES, rollout, spec_of

pytestmark = pytest.mark.slow


def free_port() -> int:
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def started(count: int, out: Path, *words: str) -> Iterator[list[subprocess.Popen]]:
    port = free_port()
    module = [sys.executable, "-m", "tests.together_worker", str(port), str(count)]
    running = [
        subprocess.Popen(
            [*module, str(index), str(out), *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def ran(count: int, out: Path, *words: str) -> list[tuple[int, str]]:
    """Exit code and errors of each process."""
    with started(count, out, *words) as running:
        found = []
        for process in running:
            _, errors = process.communicate(timeout=240)
            found.append((process.returncode, errors))
    return found


def alone(words: list[str]) -> jt.Recording:
    spec = spec_of(words)
    return jt.take(jax.jit(lambda: rollout(jax.random.key(1), LANES, 0, spec))())


def check_equal(path: Path, words: list[str], tmp_path: Path) -> None:
    """Asserts that the store holds the single-process result, to the last bit."""
    wanted = jt.load(jt.save(tmp_path / "alone", alone(words)))
    found = jt.load(path)
    assert len(found) == len(wanted) > 0
    assert dict(found.spec) == dict(wanted.spec)
    ours, theirs = found.sources[0], wanted.sources[0]
    for name in theirs.columns:
        np.testing.assert_array_equal(ours.columns[name], theirs.columns[name], name)
    for row in range(len(wanted)):
        for left, right in zip(ours.packed(row), theirs.packed(row), strict=True):
            np.testing.assert_array_equal(left, right)
    assert jt.verify(path).ok


@pytest.mark.parametrize(
    ("count", "words"),
    [(2, []), (4, []), (2, ["shelf=one"]), (2, ["trigger", "layout=lane"])],
    ids=str,
)
def test_saved_by_all_and_loaded_by_one_it_is_the_single_process_result(count, words, tmp_path):
    out = tmp_path / "together"
    for code, errors in ran(count, out, *words):
        assert code == 0, errors[-2000:]
    assert {entry.name for entry in tmp_path.iterdir()} == {"together"}
    check_equal(out, words, tmp_path)
    assert jt.load(out)[0].metadata == {"note": "together"}


def test_when_a_process_dies_before_nothing_is_published_and_a_restart_works(tmp_path):
    out = tmp_path / "together"
    (first, _), (second, _) = ran(2, out, "die=before")
    assert second == 3
    # Ours, or JAX's own when it hears first that a process is gone.
    assert first != 0
    assert not out.exists()
    with pytest.raises(jt.NotATraceError):
        jt.load(out)
    for code, errors in ran(2, out):
        assert code == 0, errors[-2000:]
    check_equal(out, [], tmp_path)


def test_when_a_process_dies_within_a_save_it_is_said_whose_part_is_missing(tmp_path):
    (first, errors), (second, _) = ran(2, tmp_path / "together", "die=within")
    assert (first, second) == (2, 3)
    assert "found none of process 1; nothing was published" in errors
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_holds_alone_is_saved_by_the_first_only(tmp_path):
    (first, _), (second, errors) = ran(2, tmp_path / "own", "alone")
    assert (first, second) == (0, 2)
    assert "found one that process 1 holds alone" in errors
    assert [entry.name for entry in tmp_path.iterdir()] == ["own-0"]
    assert len(jt.load(tmp_path / "own-0")) > 0
