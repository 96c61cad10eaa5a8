"""The saves of a run: which are there, in order, and opening them for reading."""

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import NotATraceError, StoreError
from jaxarc_trace.locks import Lease, exclusive
from jaxarc_trace.store_format import COMMIT
from jaxarc_trace.store_read import StoredTrace, open_store

__all__ = [
    "TRACES",
    "Save",
    "folder_bytes",
    "leased_saves",
    "open_saves",
    "save_name",
    "saves_of",
]

TRACES = "traces"
_NAME = re.compile(r"(\d{6,})(?:_step(\d+))?(?:_kept)?")


@dataclass(frozen=True, order=True)
class Save:
    """One committed save of a run.

    Attributes:
        sequence: saves of a run are numbered from 1; this, not the clock, is their order.
        name: name of its directory.
        path: the store.
        step: what the program called its step, or None.
    """

    sequence: int
    name: str
    path: Path
    step: int | None = None


def save_name(sequence: int, step: int | None) -> str:
    """Name of a save's directory; names sort as the sequence does."""
    return f"{sequence:06d}" + ("" if step is None else f"_step{step:012d}")


def saves_of(run: Path) -> list[Save]:
    """Committed saves in order. Links and whatever is not a store are not among them."""
    found: list[Save] = []
    folder = run / TRACES
    if not folder.is_dir() or folder.is_symlink():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if not match or not entry.is_dir(follow_symlinks=False):
                continue
            if (folder / entry.name / COMMIT).is_file():
                step = None if match[2] is None else int(match[2])
                found.append(Save(int(match[1]), entry.name, folder / entry.name, step))
    return sorted(found)


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a directory; links are not followed."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a hot loop
            except FileNotFoundError:
                continue
    return total


def leased_saves(run: Path) -> tuple[list[Save], Lease | None]:
    """The committed saves, and what keeps them from being cleaned away while it lives."""
    try:
        with exclusive(run):
            saves = saves_of(run)
            return saves, Lease(run, [save.name for save in saves])
    except StoreError:
        # Who may not write there may still read.
        return saves_of(run), None


def open_saves(run: Path, damaged: Literal["warn", "raise"] = "warn") -> Episodes:
    """The episodes of all saves of a run, each once, none of them read yet.

    The saves are kept from being cleaned away while the episodes are in use.

    Args:
        run: the run's directory.
        damaged: what to do with a save whose index is damaged: warn and leave it out, or raise.
    """
    saves, lease = leased_saves(run)
    stores: list[StoredTrace] = []
    for save in saves:
        try:
            store = open_store(save.path)
        except NotATraceError:
            # Without a lease it can be cleaned away between the two looks.
            if lease is None and not save.path.exists():
                continue
            raise
        except StoreError as error:
            if damaged == "raise":
                raise
            warnings.warn(f"left out a damaged save: {error}", RuntimeWarning, stacklevel=3)
            continue
        store.lease = lease
        stores.append(store)
    return Episodes.join(stores)
