"""Writing one file: all of it or nothing, and never over another."""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxarc_trace.errors import StoreError

__all__ = ["UNFINISHED", "although_interrupted", "fresh_file"]

UNFINISHED = ".partial-file-"
"""How a file begins that is not whole yet."""


@contextlib.contextmanager
def fresh_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what is there in the end appears under the right name.

    What a killed process left unfinished in the same directory is removed.

    Raises:
        StoreError: when something exists at the path, or it cannot be written.
    """
    taken = (
        f"{path}: expected a path where nothing exists, found something there; choose another "
        "path or remove it first"
    )
    if os.path.lexists(path):
        raise StoreError(taken)
    partial = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    held: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path.parent)
        # The lock says that somebody is at work, and goes with the process.
        held = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        fcntl.flock(held, fcntl.LOCK_EX)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        # A link fails where a rename would replace.
        path.hardlink_to(partial)
    except FileExistsError as error:
        raise StoreError(taken) from error
    except OSError as error:
        raise StoreError(
            f"{path}: could not be written ({error.strerror or error}); check that the directory "
            "can be written and has space"
        ) from error
    finally:
        although_interrupted(lambda: _remove(partial))
        if held is not None:
            os.close(held)


def although_interrupted(put_in_order: Callable[[], None]) -> None:
    """Puts things in order; a Ctrl-C that falls into it is raised when that is done.

    Args:
        put_in_order: what is to be done, and may be done twice.
    """
    try:
        put_in_order()
    except KeyboardInterrupt:
        put_in_order()
        raise


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    """Removes unfinished files that nobody is writing."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_file(follow_symlinks=False)]
    for name in names:
        if not name.startswith(UNFINISHED):
            continue
        with contextlib.suppress(OSError):
            file = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                # An empty one may be so new that its lock is not taken yet.
                if os.fstat(file).st_size:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    (folder / name).unlink(missing_ok=True)
            finally:
                os.close(file)
