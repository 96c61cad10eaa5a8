"""Writing one file: all of it or nothing, and never over another."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from jaxarc_trace.errors import StoreError

__all__ = ["fresh_file"]


@contextlib.contextmanager
def fresh_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what is there in the end appears under the right name.

    Raises:
        StoreError: when something exists at the path, or it cannot be written.
    """
    taken = (
        f"{path}: expected a path where nothing exists, found something there; choose another "
        "path or remove it first"
    )
    if os.path.lexists(path):
        raise StoreError(taken)
    partial = path.with_name(f".partial-{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
