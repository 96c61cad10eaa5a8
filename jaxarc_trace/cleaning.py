"""Removes saves that go beyond the limits, and what crashes left behind.

Removing is renaming into the run's trash, then deleting, so that a save is there whole or not at
all. No link is followed, nothing outside the root is touched, and what is pinned, protected,
being read or the newest save of its run stays.
"""

import contextlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import NotATraceError, StoreError
from jaxarc_trace.limits import read_limits
from jaxarc_trace.locks import WriterLock, exclusive, leased, writer_of
from jaxarc_trace.manifest import is_run
from jaxarc_trace.pins import Pins, read_pins
from jaxarc_trace.retention import Candidate, Retention, choose
from jaxarc_trace.saves import TRACES, Save, folder_bytes, saves_of
from jaxarc_trace.store_read import StoredTrace, open_store
from jaxarc_trace.store_write import PARTIAL

__all__ = [
    "UNBORN",
    "Cleaning",
    "Removal",
    "clean",
    "clear_leftovers",
    "clear_unborn",
    "runs_under",
]

TRASH = ".trash"
UNBORN = ".partial-run-"
"""How the directory of a run begins before the run has its name."""
UNBORN_SECONDS = 60
"""Making a run takes less than one; whoever takes longer has been killed."""


@dataclass(frozen=True)
class Removal:
    """One thing that was removed, would be, or would have been but stayed.

    Attributes:
        path: what it is.
        bytes: how much it holds.
        reason: why, in words.
    """

    path: Path
    bytes: int
    reason: str


@dataclass(frozen=True)
class Cleaning:
    """What a cleaning did.

    Attributes:
        removed: what was removed, or with `dry_run` would be.
        stayed: saves that a limit would have removed, and why each stayed.
        over: limits that are still exceeded, in words.
    """

    removed: tuple[Removal, ...] = ()
    stayed: tuple[Removal, ...] = ()
    over: tuple[str, ...] = ()


def runs_under(root: Path) -> list[Path]:
    """The run at a path, or those directly under it by name, which begins with their time."""
    if is_run(root):
        return [root]
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        folders = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    return [root / name for name in folders if name[0] != "." and is_run(root / name)]


def clean(
    root: str | os.PathLike[str],
    retention: Retention | None = None,
    *,
    dry_run: bool = False,
    locked: bool = False,
) -> Cleaning:
    """Removes what goes beyond the limits, from a run or from all runs under a root.

    Args:
        root: a run, or a directory of runs.
        retention: the limits; they hold for all runs together. Without, each run is held to
            those that it was made with.
        dry_run: only say what would be removed.
        locked: whether the caller holds the writer's lock of the run.

    Raises:
        NotATraceError: when there is no run.
        StoreError: when the root is `/` or the home directory, when pins cannot be read or a
            save cannot be removed; or, with `on_full="raise"`, when a limit cannot be kept.
    """
    top = _checked_root(Path(root))
    runs = runs_under(top)
    if retention is None:
        limits = {run: read_limits(run) for run in runs}
        parts = [clean(r, limits[r], dry_run=dry_run, locked=locked) for r in runs]
        return Cleaning(
            tuple(removal for part in parts for removal in part.removed),
            tuple(removal for part in parts for removal in part.stayed),
            tuple(f"{r}: {words}" for r, p in zip(runs, parts, strict=True) for words in p.over),
        )
    removed: list[Removal] = []
    for run in runs:
        removed += clear_leftovers(run, locked=locked, dry_run=dry_run)
    candidates = [candidate for run in runs for candidate in _candidates(run, retention)]
    chosen, over = choose(candidates, retention)
    for candidate in chosen:
        if dry_run or _remove(candidate):
            reason = "; ".join(candidate.reasons)
            removed.append(Removal(candidate.save.path, candidate.bytes, reason))
    stayed = [Removal(c.save.path, c.bytes, c.keeps) for c in candidates if c.keeps and c.reasons]
    if over and retention.on_full == "raise":
        raise StoreError(
            f"{top}: expected the limits to be kept, found {'; '.join(over)}; raise the limit, "
            "unpin something, or protect less"
        )
    return Cleaning(tuple(removed), tuple(stayed), tuple(over))


def clear_leftovers(run: Path, *, locked: bool = False, dry_run: bool = False) -> list[Removal]:
    """Removes what crashed writers and cleaners left behind.

    Args:
        run: the run.
        locked: whether the caller holds the writer's lock. If not, and somebody writes, what is
            unfinished is left alone.
        dry_run: only say what would be removed.
    """
    unfinished = "its writing was never finished"
    removed = _clear(run / TRASH, "", "removed before, and not deleted to the end", dry_run=dry_run)
    if locked:
        return removed + _clear(run / TRACES, PARTIAL, unfinished, dry_run=dry_run)
    if dry_run:
        free = writer_of(run) is None
        return removed + (_clear(run / TRACES, PARTIAL, unfinished, dry_run=True) if free else [])
    try:
        lock = WriterLock(run)
    except StoreError:
        return removed
    try:
        return removed + _clear(run / TRACES, PARTIAL, unfinished)
    finally:
        lock.release()


def clear_unborn(root: Path) -> None:
    """Removes what is left of runs whose making was interrupted."""
    with os.scandir(root) as entries:
        names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    for name in names:
        path = root / name
        if not name.startswith(UNBORN):
            continue
        with contextlib.suppress(OSError):
            old = time.time() - path.lstat().st_mtime > UNBORN_SECONDS
            if old and writer_of(path) is None:
                shutil.rmtree(path, ignore_errors=True)


def _checked_root(path: Path) -> Path:
    """The root without links; from here on none is followed."""
    real = path.resolve()
    for forbidden, name in ((Path("/"), "the file system"), (Path.home(), "your files")):
        if real == forbidden.resolve():
            raise StoreError(
                f"{path}: expected a run or a directory of runs, found the root of {name}; "
                "nothing was removed: name the directory itself"
            )
    if not runs_under(real):
        raise NotATraceError(
            f"{path}: expected a run or a directory of runs, found none; nothing was removed"
        )
    return real


def _candidates(run: Path, retention: Retention) -> list[Candidate]:
    """Every save of a run, oldest first, and why it must stay, if it must."""
    with exclusive(run):
        saves = saves_of(run)
        read = leased(run, [save.name for save in saves])
    pins = read_pins(run)
    protected = _protected(saves, retention, pins)
    now = time.time()
    found: list[Candidate] = []
    for save in saves:
        candidate = Candidate(save, folder_bytes(save.path), _age(save, now))
        if pins.run:
            candidate.keeps = "its run is pinned"
        elif save is saves[-1]:
            candidate.keeps = "it is the newest of its run"
        elif save.name in read:
            candidate.keeps = "it is being read"
        else:
            candidate.keeps = protected.get(save.name, "")
        found.append(candidate)
    return found


def _age(save: Save, now: float) -> float:
    """Seconds since a save was written; a clock that was set back makes none older."""
    try:
        written = (save.path / "COMMIT").lstat().st_mtime
    except OSError:
        return 0.0
    return max(0.0, now - written)


def _protected(saves: Sequence[Save], retention: Retention, pins: Pins) -> dict[str, str]:
    """Saves that hold a pinned or protected episode better than any other, and which."""
    if not (pins.episodes or retention.protect):
        return {}
    found: dict[str, str] = {}
    stores: list[StoredTrace] = []
    for save in saves:
        try:
            stores.append(open_store(save.path))
        except StoreError:
            found[save.name] = "it is damaged, and may hold a protected episode"
    episodes = Episodes.join(stores)
    columns = episodes.columns
    for index in range(len(episodes)):
        source, _ = episodes.locate(index)
        words = {str(columns["outcome"][index]), *str(columns["kept_by"][index]).split(",")}
        key = (source.key[1], int(columns["lane"][index]), int(columns["number"][index]))
        kind = "pinned" if key in pins.episodes else "protected"
        if key in pins.episodes or words & set(retention.protect):
            which = "process {} lane {} number {}".format(*key)
            found.setdefault(Path(source.name).name, f"it holds the {kind} episode {which}")
    return found


def _remove(candidate: Candidate) -> bool:
    """Removes a save unless somebody began to read it, or it is gone already."""
    path = candidate.save.path
    run = path.parent.parent
    with exclusive(run):
        if path.name in leased(run, [path.name]):
            candidate.keeps = "it is being read"
            return False
        gone = _to_trash(path, run)
    if gone is not None:
        shutil.rmtree(gone, ignore_errors=True)
    return gone is not None


def _to_trash(path: Path, run: Path) -> Path | None:
    trash = run / TRASH
    trash.mkdir(exist_ok=True)
    for folder in (trash, path.parent, path):
        try:
            mode = folder.lstat().st_mode
        except FileNotFoundError:
            return None
        if not stat.S_ISDIR(mode):
            raise StoreError(
                f"{folder}: expected a directory of the run, found a link or a file; nothing was "
                "removed: look at who put it there"
            )
    gone = trash / f"{path.name}-{uuid.uuid4().hex}"
    try:
        path.rename(gone)
    except OSError as error:
        raise StoreError(
            f"{path}: could not be removed ({error.strerror}); check the permissions of the run"
        ) from error
    return gone


def _clear(folder: Path, prefix: str, reason: str, *, dry_run: bool = False) -> list[Removal]:
    """Deletes the directories in a folder whose names begin so; a link is left alone."""
    removed: list[Removal] = []
    if folder.is_symlink() or not folder.is_dir():
        return removed
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    for name in sorted(names):
        if name.startswith(prefix):
            path = folder / name
            removed.append(Removal(path, folder_bytes(path), reason))
            if not dry_run:
                shutil.rmtree(path, ignore_errors=True)
    return removed
