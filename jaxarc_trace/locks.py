"""Who uses a run: one writer, any number of readers, and cleaning only what nobody reads.

All locks are `flock`s, which the system drops when their process ends, however it ends.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxarc_trace.errors import StoreError

__all__ = ["Lease", "WriterLock", "exclusive", "leased", "writer_of"]

WRITER = "writer.lock"
GATE = "gate.lock"
LEASES = "readers"


class WriterLock:
    """The right to write to a run. Held until `release` or the end of the process.

    Raises:
        StoreError: when another process, or another object in this one, holds it.
    """

    def __init__(self, run: Path) -> None:
        self._file = _opened(run / WRITER)
        if not _patient_lock(self._file):
            holder = _holder(self._file)
            os.close(self._file)
            raise StoreError(
                f"{run}: expected a run that nobody writes to, found it locked by {holder}; wait "
                "for it to end, or create another run"
            )
        me = {"pid": os.getpid(), "host": socket.gethostname()}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(me).encode(), 0)
        self._finalizer = weakref.finalize(self, os.close, self._file)

    def release(self) -> None:
        """Lets another writer in."""
        self._finalizer()


def writer_of(run: Path) -> str | None:
    """Who writes to a run now, as `process 12 on host`, or None."""
    try:
        file = os.open(run / WRITER, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(file, fcntl.LOCK_SH) else _holder(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Keeps readers from opening saves, and others from cleaning, for the moment it takes."""
    file = _opened(run / GATE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


class Lease:
    """Keeps the named saves of a run from being cleaned away while this object lives.

    Where there is no room to name them, all saves of the run are kept. In a directory that cannot
    be written to, nothing is leased: nobody of this machine's users who may clean it is told that
    it is read.
    """

    def __init__(self, run: Path, saves: Iterable[str]) -> None:
        self._path = run / LEASES / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            self._path.parent.mkdir(exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError:
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        _write_or_empty(file, "".join(f"{save}\n" for save in saves) or "\n")
        weakref.finalize(self, _end_lease, self._path, file)


def leased(run: Path, everything: Iterable[str]) -> set[str]:
    """Saves that are being read; leases whose process has ended are removed. Call in the gate.

    Args:
        run: the run.
        everything: names of all its saves, which a lease that names none keeps.
    """
    found: set[str] = set()
    folder = run / LEASES
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        with os.fdopen(file, encoding="utf-8") as lease:
            if _try_lock(file, fcntl.LOCK_EX):
                path.unlink(missing_ok=True)
            else:
                # From the open file: its reader may end now, and its name be gone.
                found.update(lease.read().splitlines() or everything)
    return found


def _write_or_empty(file: int, text: str) -> None:
    """Writes all of a text or, where the disk is full, none of it."""
    data = text.encode()
    try:
        whole = os.write(file, data) == len(data)
    except OSError:
        whole = False
    if not whole:
        os.ftruncate(file, 0)


def _end_lease(path: Path, file: int) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    os.close(file)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(
            f"{path}: expected a run directory that can be written to, found: {error.strerror}; "
            "check its permissions, or whether the file system is read-only"
        ) from error


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _patient_lock(file: int) -> bool:
    """Takes the writer's lock; `writer_of` holds it for a moment when it looks."""
    for _ in range(5):
        if _try_lock(file, fcntl.LOCK_EX):
            return True
        time.sleep(0.02)
    return False


def _holder(file: int) -> str:
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        return f"process {int(holder['pid'])} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
