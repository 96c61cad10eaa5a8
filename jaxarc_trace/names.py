"""Names for files: safe on any file system, from text that may hold anything."""

import re
import unicodedata

__all__ = ["slug"]

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
