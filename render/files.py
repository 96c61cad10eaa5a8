"""Files that appear under their name only when they are whole."""

import itertools
import os
from pathlib import Path

from jaxarc_trace.errors import RenderError

__all__ = ["write"]

_counter = itertools.count()


def write(path: str | os.PathLike[str], data: bytes) -> Path:
    """Writes a file beside its final name first, then renames it.

    Returns:
        The path that was written.

    Raises:
        RenderError: where the folder does not exist or cannot be written; nothing is left behind.
    """
    target = Path(path)
    # Process and count make the name unique without a random part.
    part = target.with_name(f".{target.name[:100]}.{os.getpid()}-{next(_counter)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
        part.replace(target)
    except OSError as error:
        raise RenderError(
            f"Cannot write {str(target)!r}: {error.strerror or error}. Choose a folder that exists "
            f"and that you may write to."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target
