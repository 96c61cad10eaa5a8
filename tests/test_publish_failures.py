"""No key, no network, a server that fails: an end within the deadline, and an offline run."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import jaxarc_trace as jt
from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.publish import job_of, status
from jaxarc_trace.publish_ledger import LEDGER, publishing
from jaxarc_trace.publish_process import _descendants, attempt
from jaxarc_trace.run import Run
from tests import wandb_file
from tests.test_publish import SETTINGS, holders, save, surroundings
from tests.wandb_http import serving
from tests.wandb_server import KEY, Server

ROOT = Path(__file__).parent.parent
DEADLINE = 60.0
pytestmark = pytest.mark.slow


def dying(_: str, server: Server) -> str | None:
    """A server that is gone after some requests."""
    return "drop" if len(server.asked) > 12 else None


def refusing(what: str, _: Server) -> int | None:
    return 500 if what.startswith("upload") else None


def without_viewer(what: str, _: Server) -> int | None:
    return 500 if what.startswith("upload run media") else None


def silent(_: str, __: Server) -> str:
    return "hang"


def closed_port() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


Fault = Callable[[str, Server], int | str | None]
CASES: dict[str, tuple[dict[str, str | None], Fault | None, str]] = {
    "no key": ({"WANDB_API_KEY": None}, None, "No API key"),
    "malformed key": ({"WANDB_API_KEY": "abc"}, None, "API key must have 40"),
    "401": ({"WANDB_API_KEY": "f" * 40}, None, "401"),
    "refused": ({"WANDB_BASE_URL": closed_port()}, None, ""),
    "no such name": ({"WANDB_BASE_URL": "http://nowhere.invalid"}, None, ""),
    "black hole": ({}, silent, ""),
    "dies half-way": ({}, dying, ""),
    "500 on uploads": ({}, refusing, "while traces"),
    "500 on the viewer": ({}, without_viewer, "while finishing"),
}
"""What is wrong, and a part of what is said of it."""


@dataclass
class Ended:
    """What a command left."""

    run: Path
    home: Path
    code: int
    err: str
    out: dict[str, Any]
    seconds: float
    server: Server
    key: str


@pytest.fixture(scope="module")
def two_saves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Run.create(tmp_path_factory.mktemp("failures") / "runs", "failing") as run:
        save(run, 0, 2)
    return run.path


def tried(name: str, run: Path, place: Path, server: Server) -> Ended:
    """Publishes a copy of a run by the command, with what is wrong in a case."""
    changes, server.fault, _ = CASES[name]
    home = place / "home"
    copied = shutil.copytree(run, place / "run")
    home.mkdir()
    given = {"HOME": str(home), "TMPDIR": str(home), "WANDB_API_KEY": KEY}
    given = {**os.environ, **given, "WANDB_BASE_URL": server.url, **changes}
    given.pop("WANDB_CONFIG_DIR", None)
    words = ["publish", str(copied), "--deadline", str(DEADLINE), "--json", "publish.artifact=true"]
    done = subprocess.run(
        [sys.executable, "-m", "jaxarc_trace.cli", *words],
        cwd=ROOT,
        env={variable: value for variable, value in given.items() if value is not None},
        text=True,
        capture_output=True,
        check=False,
        timeout=3 * DEADLINE,
    )
    data = json.loads(done.stdout)
    key = given["WANDB_API_KEY"] or KEY
    return Ended(copied, home, done.returncode, done.stderr, data, data["seconds"], server, key)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_in_time_says_so_once_and_leaves_an_offline_run(
    two_saves: Path, tmp_path: Path, name: str
) -> None:
    with serving() as server:
        case = tried(name, two_saves, tmp_path, server)
    assert case.code == 3
    assert case.seconds <= DEADLINE
    assert case.err.count("Warning:") == 1
    assert len(case.err.strip().splitlines()) == 1
    assert CASES[name][2] in case.out["problem"]
    assert "., while" not in case.out["problem"]
    assert case.out["offline"], case.out["problem"]
    assert f"jaxarc-trace publish {case.run}" in case.out["command"]
    _offline_run_is_whole(case)
    _nothing_is_marked_that_the_server_has_not(case)
    _no_secret_is_in_the_run_or_in_what_is_said(case)


def _offline_run_is_whole(case: Ended) -> None:
    """Staging and cache are in the run, with nothing beside it in home or temporary files."""
    folder = Path(case.out["offline"])
    assert case.run in folder.parents
    records = wandb_file.records(folder)
    assert [row["_step"] for row in wandb_file.rows(records)][-2:] == [2000, 2001]
    held = wandb_file.artifacts(records)
    entries = [e for versions in held.values() for one in versions for e in one.manifest.contents]
    local = [Path(entry.local_path) for entry in entries if entry.local_path]
    assert len(local) >= 10
    assert all(path.is_file() and case.run in path.parents for path in local)
    assert [path for path in case.home.rglob("*") if path.is_file()] == []


def _nothing_is_marked_that_the_server_has_not(case: Ended) -> None:
    (place,) = status(case.run)
    confirmed = {key for key, item in place["items"].items() if item["state"] == "confirmed"}
    for key in confirmed:
        assert key.startswith("trace:")
        assert int(key[6:]) <= len(case.server.committed("trace-"))
    assert len(case.out["pending"]) == 5 - len(confirmed)


def _no_secret_is_in_the_run_or_in_what_is_said(case: Ended) -> None:
    if len(case.key) > 8:
        assert holders(case.run, case.key) == []
        assert case.key not in case.err + json.dumps(case.out)


def test_offline_then_online_the_printed_command_sends_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server, Run.create(tmp_path / "runs", "offline") as run:
        surroundings(monkeypatch, tmp_path / "home", server)
        save(run, 0, 2)
        settings = jt.config.Publish(mode="offline", artifact=True, project="a b", tags=("x", "y"))
        done = jt.publish(run, settings, best=1, worst=1)
        assert (done.exit_code, done.problem, server.asked) == (0, "", [])
        assert done.offline is not None
        # What an offline run of the client needs to be sent is taken away: our command does
        # not lean on it, and says what is true.
        shutil.rmtree(done.offline.parent.parent / "data")
        program = [sys.executable, "-m", "jaxarc_trace.cli", *_words(done.command)[1:]]
        said = subprocess.run(program, cwd=ROOT, text=True, capture_output=True, check=False)
        assert said.returncode == 0, said.stderr
        assert "2 rows, 2 traces, 1 table with viewer; 5 in all" in said.stdout
        assert [row["_step"] for row in server.run.history] == [1000, 2000, 2001]
        assert (server.run.project, server.run.fields["tags"]) == ("a b", ["x", "y"])
        for artifact, one in zip(server.committed("trace-"), run.saves(), strict=True):
            assert artifact.files["COMMIT"] == (one.path / "COMMIT").read_bytes()
        (table,) = server.committed("episodes-")
        assert set(table.files) == set(table.entries)
        assert not list((run.path / "wandb").glob("offline-*"))


def test_an_offline_run_is_there_only_when_the_client_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings(monkeypatch, tmp_path / "home")
    alive: list[str] = []

    def told(event: Mapping[str, Any]) -> None:
        if event["event"] == "offline":
            held = [Path(f"/proc/{pid}/comm") for pid in _descendants(os.getpid())]
            alive.extend(comm.read_text().strip() for comm in held if comm.exists())

    with Run.create(tmp_path / "runs", "offline") as run:
        save(run, 0, 1)
        job = job_of(run, jt.config.Publish(mode="offline"), {}, deadline=DEADLINE)
        assert attempt(replace(job, work=str(tmp_path)), told) is None
    # The child that said so, and no service that still has records in its memory.
    assert alive
    assert [name for name in alive if "wandb" in name] == []


def test_what_is_gone_is_noticed_before_success_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server, Run.create(tmp_path / "runs", "gone") as run:
        surroundings(monkeypatch, tmp_path / "home", server)
        save(run, 0, 3)
        first = jt.config.Publish(mode="offline", artifact=True)
        assert jt.publish(run, first, gallery=False).exit_code == 0
        shutil.rmtree(run.saves()[0].path)
        largest = max(run.saves()[0].path.rglob("d/*"), key=lambda path: path.stat().st_size)
        whole = largest.read_bytes()
        largest.write_bytes(whole[:-1])
        done = jt.publish(run, SETTINGS, gallery=False)
        assert done.exit_code == 1
        for key in ("row:000001", "trace:000001"):
            assert done.failed[key] == "its save was removed before it was sent"
        for key in ("row:000002", "trace:000002"):
            assert "files that changed" in done.failed[key]
        assert [row["trace/save"] for row in server.run.history] == [3]
        assert len(server.committed("trace-")) == 1
        # Made whole again its trace is sent, and its row is not said to be where it cannot be.
        largest.write_bytes(whole)
        done = jt.publish(run, SETTINGS, gallery=False)
        assert dict(done.sent) == {"rows": 0, "traces": 1, "galleries": 0}
        assert "W&B takes rows in order only" in done.failed["row:000002"]
        assert [row["trace/save"] for row in server.run.history] == [3]


def test_what_cannot_be_done_is_refused_and_not_left_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings(monkeypatch, tmp_path / "home")
    with Run.create(tmp_path / "runs", "asked") as run:
        save(run, 0, 1)
        with pytest.raises(SpecError, match="found none of 3 that fits 'length > 99'"):
            jt.publish(run, SETTINGS, where="length > 99")
        with publishing(run.path), pytest.raises(StoreError, match="another process at it"):
            jt.publish(run, SETTINGS)
        assert not (run.path / LEDGER).exists()
        assert not list((run.path / "wandb").glob("offline-*/wandb"))


def test_a_full_disk_is_said_and_nothing_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(small)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk needs the right to mount one")
    try:
        with Run.create(tmp_path / "runs", "full") as run:
            save(run, 0, 1)
        copied = shutil.copytree(run.path, small / "run")
        free = shutil.disk_usage(small).free
        (small / "filler").write_bytes(bytes(max(0, free - 20_000)))
        surroundings(monkeypatch, tmp_path / "home")
        monkeypatch.setenv("WANDB_BASE_URL", closed_port())
        began = time.monotonic()
        with pytest.warns(RuntimeWarning, match="No space left on device"):
            done = jt.publish(copied, SETTINGS, deadline=40)
        assert done.exit_code == 3
        assert time.monotonic() - began <= 40
        assert repr(jt.load(copied / "traces" / run.saves()[0].name)[0])
    finally:
        subprocess.run(["umount", str(small)], check=False)  # noqa: S607 - as `mount` above


def _words(command: str) -> list[str]:
    import shlex

    return shlex.split(command)
