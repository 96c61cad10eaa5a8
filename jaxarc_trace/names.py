"""Names and places of files: names safe on any file system, from text that may hold anything."""

import os
import re
import unicodedata
from pathlib import Path

__all__ = ["located", "slug"]

LONGEST = 60


def slug(text: str, default: str = "run") -> str:
    """A file name of letters, digits, `.`, `_` and `-` that resembles the text.

    At most 60 characters, never empty, never beginning with a dot, so that it can be neither
    hidden nor a parent directory. Different texts may get the same name; the text itself is
    kept where it matters.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:LONGEST].rstrip("-._")
    return safe or default


def located(path: str | os.PathLike[str]) -> Path:
    """The absolute path, without `..`, which TensorStore refuses.

    Links are followed only where there is a `..`, as the file system does; elsewhere the path stays
    as it was given.
    """
    found = Path(path).absolute()
    return found.resolve() if ".." in found.parts else found
