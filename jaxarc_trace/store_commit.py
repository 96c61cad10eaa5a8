"""Reads `COMMIT`, which makes a directory a store and vouches for each of its files."""

import re
from pathlib import Path

from jaxarc_trace.errors import NotATraceError, StoreError
from jaxarc_trace.store_format import COMMIT, HEADER, MANIFEST

__all__ = ["committed_files", "marker_of"]

_LINE = re.compile("([0-9a-f]{64})  ([ -~]+)")


def marker_of(path: Path) -> str:
    """The text of `COMMIT`.

    Raises:
        NotATraceError: when nothing was committed there.
        StoreError: when it cannot be read.
    """
    try:
        return (path / COMMIT).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotATraceError(_nothing(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path}/{COMMIT}: cannot be read ({error}); restore the file from a copy"
        ) from error


def committed_files(path: Path, marker: str) -> dict[str, str]:
    """The SHA-256 of each file by name, as the text of `COMMIT` lists them.

    Raises:
        StoreError: when it is no such list.
    """
    lines = [_LINE.fullmatch(line) for line in marker.split("\n")[:-1]]
    files = {line[2]: line[1] for line in lines if line}
    if None in lines or HEADER not in files or not marker.endswith("\n"):
        raise StoreError(
            f"{path}/{COMMIT}: expected lines of SHA-256 and file name, one of them {HEADER}, "
            f"found {marker[:80]!r}; restore the file from a copy"
        )
    return files


def _nothing(path: Path) -> str:
    if not path.exists():
        return f"{path}: expected a stored trace, found nothing; check the path"
    if not path.is_dir():
        return f"{path}: expected the directory of a stored trace, found a file; check the path"
    if (path / MANIFEST).is_file():
        return (
            f"{path}: expected a stored trace, found a run, which holds many; read its episodes by "
            "jt.Run.open(path).episodes()"
        )
    return (
        f"{path}: expected a stored trace, found a directory without {COMMIT}: it is something "
        "else, or its writing was never finished and it holds nothing to rely on"
    )
