"""What a run directory says of itself: `run.json`, written once, and `pins.json`."""

import getpass
import json
import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxarc_trace.errors import FormatVersionError, NotATraceError, StoreError
from jaxarc_trace.secrecy import concealed
from jaxarc_trace.store_format import MANIFEST, json_ready
from jaxarc_trace.store_pack import versions

__all__ = ["MANIFEST", "is_run", "new_manifest", "read_manifest", "write_json"]

FORMAT = "jaxarc-trace-run"
VERSION = 1
GIT_SECONDS = 5


def new_manifest(
    name: str, config: Mapping[str, Any] | None, environment: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is known when a run begins; secrets are hidden, and a warning says which.

    Raises:
        SpecError: when config or environment is not JSON.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": uuid.uuid4().hex,
        "name": concealed(name, "name"),
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "packages": versions(),
        "python": platform.python_version(),
        "host": platform.node(),
        "user": _user(),
        "command": concealed(list(sys.argv), "command"),
        "directory": str(Path.cwd()),
        "git": _git(),
        "config": concealed(json_ready(config or {}, "config"), "config"),
        "environment": concealed(json_ready(environment or {}, "environment"), "environment"),
    }


def is_run(path: Path) -> bool:
    """Whether a directory is a run."""
    return (path / MANIFEST).is_file()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the run at a path.

    Raises:
        NotATraceError: when no run is there.
        FormatVersionError: when a newer version wrote it.
        StoreError: when it is damaged.
    """
    try:
        text = (path / MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotATraceError(
            f"{path}: expected a run directory with {MANIFEST}, found none; check the path"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}/{MANIFEST}: cannot be read ({error})") from error
    try:
        data = json.loads(text)
        version = int(data["version"])
        if data["format"] == FORMAT and version > VERSION:
            raise FormatVersionError(
                f"{path}: a run of version {version}, this package reads up to version {VERSION}; "
                "run: pip install --upgrade jaxarc-trace"
            )
        return {"id": str(data["id"]), **data}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}/{MANIFEST}: expected the manifest of a run, found {text[:80]!r} "
            f"({error!r}); restore the file from a copy"
        ) from error


def write_json(path: Path, data: Any) -> None:
    """Writes a small JSON file: the old one or the new one is there, never a part."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(json.dumps(data, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _git() -> dict[str, Any]:
    """Revision of the working directory and whether it has changes; empty outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603 - our own fixed commands
            ["git", *arguments],  # noqa: S607 - whichever git the user's shell has
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_SECONDS,
        ).stdout.strip()

    try:
        return {"revision": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {}
