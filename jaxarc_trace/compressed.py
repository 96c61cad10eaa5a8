"""Text files, plain or compressed by their ending."""

import contextlib
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from jaxarc_trace.errors import require

__all__ = ["SUFFIXES", "opened"]

SUFFIXES = (".gz", ".zst", "")
"""Endings that say how a file is compressed; the last is not at all."""


@contextlib.contextmanager
def opened(path: Path, mode: Literal["r", "w"], name: str) -> Iterator[IO[str]]:
    """A UTF-8 text file, closed at the end.

    Args:
        path: the file.
        mode: `"r"` or `"w"`.
        name: its name, or the end of it, which says how it is compressed.

    Raises:
        MissingExtraError: when `.zst` is asked for and zstandard is not installed.
    """
    with contextlib.ExitStack() as stack:
        if name.endswith(".gz"):
            raw = stack.enter_context(path.open(f"{mode}b"))
            # Without name and time, so that the same episodes give the same file.
            packed = gzip.GzipFile("", f"{mode}b", fileobj=raw, mtime=0)
            yield stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8"))  # type: ignore[arg-type] # it is a buffer
        elif name.endswith(".zst"):
            zstandard = require("zstandard", "analysis", "a file ending in .zst")
            try:
                yield stack.enter_context(zstandard.open(path, f"{mode}t", encoding="utf-8"))
            except zstandard.ZstdError as error:
                raise OSError(f"not a zstd file, or damaged: {error}") from error
        else:
            yield stack.enter_context(path.open(mode, encoding="utf-8"))
