"""A training run on disk: one directory that many saves of a trace go into.

    <root>/<UTC time>_<name>/
        run.json            what is known of the run: versions, command, git, config
        traces/<sequence>_step<step>/   one store a save
        renders/<episode>/...           pictures, named by `Run.file`
        pins.json, limits.json, writer.lock, gate.lock, readers/, .trash/

One process writes a run, any number read it. Saves are ordered by their sequence number, never
by the clock.
"""

import os
import shutil
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from jaxarc_trace.background import Background, snapshot
from jaxarc_trace.cleaning import UNBORN, Cleaning, clean, clear_leftovers, clear_unborn
from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.limits import read_limits, write_limits
from jaxarc_trace.locks import WriterLock
from jaxarc_trace.manifest import MANIFEST, new_manifest, read_manifest, write_json
from jaxarc_trace.names import located, slug
from jaxarc_trace.pins import Pins, pin
from jaxarc_trace.recording import Recording
from jaxarc_trace.retention import Retention
from jaxarc_trace.saves import TRACES, Save, folder_bytes, open_saves, save_name, saves_of
from jaxarc_trace.secrecy import concealed
from jaxarc_trace.store import local_path
from jaxarc_trace.store_format import json_ready

if TYPE_CHECKING:
    from jaxarc_trace.trace import Trace

__all__ = ["Run"]

RENDERS = "renders"
WARN_AT = 0.9
LONGEST_ROOT = 3584
"""Linux takes paths of 4095 bytes; what is below a root takes up to 300, pictures included."""
PathLike = str | os.PathLike[str]


class Run:
    """A run; make one with `create`, `open` (to read) or `resume` (to write on).

    Attributes:
        path: its directory.
        manifest: what its `run.json` says.
        retention: limits that hold after each save.
        last_cleaning: what the limits removed after the last save.
    """

    def __init__(
        self,
        path: Path,
        lock: WriterLock | None = None,
        *,
        retention: Retention | None = None,
        on_error: Literal["raise", "warn"] = "raise",
        process: int = 0,
    ) -> None:
        self.path = path
        self.manifest: Mapping[str, Any] = read_manifest(path)
        self.retention: Retention = retention or Retention()
        self.last_cleaning: Cleaning = Cleaning()
        self._lock = lock
        self._on_error = on_error
        self._process = process
        self._background: Background | None = None
        self._sequence = max((save.sequence for save in saves_of(path)), default=0)

    @classmethod
    def create(
        cls,
        root: PathLike,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, Any] | None = None,
        retention: Retention | None = None,
        on_error: Literal["raise", "warn"] = "raise",
    ) -> "Run":
        """Makes a new run under a root, with a directory that no other run has.

        Args:
            root: directory of runs; made if it does not exist.
            name: what to call it; any text, of which the directory gets a safe form.
            config: JSON of the program's own. What looks like a secret is written as `(hidden)`,
                here, in the name and in metadata, and a warning says so.
            environment: JSON that describes the environment.
            retention: limits; default none.
            on_error: whether a save that fails stops the program, or warns and lets it go on.

        Raises:
            SpecError: when config or environment is not JSON.
            StoreError: when the root cannot be written to.
        """
        top = _checked_root(root)
        manifest = new_manifest(name or "", config, environment)
        began = datetime.fromisoformat(manifest["created"]).strftime("%Y-%m-%dT%H-%M-%SZ")
        partial = top / f"{UNBORN}{uuid.uuid4().hex}"
        try:
            (partial / TRACES).mkdir(parents=True)
            # Taken before the run can be seen, so that nobody else resumes it in between.
            lock = WriterLock(partial)
            write_json(partial / MANIFEST, manifest)
            if retention is not None:
                write_limits(partial, retention)
            path = _placed(partial, f"{began}_{slug(manifest['name'])}")
        except (OSError, StoreError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"{top}: expected a directory in which a run can be made, found: {error.strerror}; "
                "check its permissions and space, or choose another root"
            ) from error
        clear_unborn(top)
        return cls(path, lock, retention=retention, on_error=on_error)

    @classmethod
    def open(cls, path: PathLike) -> "Run":
        """Opens a run for reading, whoever writes to it.

        Raises:
            NotATraceError: when there is no run.
        """
        return cls(located(path))

    @classmethod
    def resume(
        cls,
        path: PathLike,
        *,
        retention: Retention | None = None,
        on_error: Literal["raise", "warn"] = "raise",
    ) -> "Run":
        """Opens a run to write on, and clears what a crash left in it.

        Args:
            path: the run.
            retention: new limits; default those that it has.
            on_error: as `create`.

        Raises:
            NotATraceError: when there is no run.
            StoreError: when another process writes to it, or it cannot be written to.
        """
        where = located(path)
        read_manifest(where)
        lock = WriterLock(where)
        clear_leftovers(where, locked=True)
        if retention is None:
            retention = read_limits(where)
        else:
            write_limits(where, retention)
        return cls(where, lock, retention=retention, on_error=on_error)

    @property
    def id(self) -> str:
        """Identity of the run, which its saves carry."""
        return str(self.manifest["id"])

    def save(
        self,
        trace: "Trace | Recording",
        step: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        background: bool = False,
    ) -> Path:
        """Saves a trace, then applies the limits.

        Args:
            trace: what to save.
            step: where the program is, 0 or more.
            metadata: anything that JSON holds; `step` is added, and secrets are hidden.
            background: return when a copy of the trace is safe (the trace may be donated then),
                and write beside the program. An error is raised by the next `save` or `wait`.
                It is finished before the process ends, unless that is killed.

        Returns:
            Where it is, or will be.

        Raises:
            SpecError: when step or metadata is not what it should be.
            StoreError: when it cannot be written, or with `on_full="raise"` a limit cannot be
                kept; with `on_error="warn"` a RuntimeWarning instead.
        """
        self._refuse_reader()
        if step is not None and (not isinstance(step, int) or step < 0):
            raise SpecError(f"step: expected an integer of 0 or more, found {step!r}")
        self._sequence += 1
        path = self.path / TRACES / save_name(self._sequence, step)
        told = concealed(json_ready({**(metadata or {}), "step": step}, "metadata"), "metadata")
        if not background:
            self.wait()
            self._write(path, trace, told)
            return path
        if self._background is None:
            self._background = Background()
        held = trace if isinstance(trace, Recording) else snapshot(trace)
        self._background.submit(lambda: self._write(path, held, told))
        return path

    def wait(self) -> None:
        """Returns when every save is on disk; raises what a background save raised."""
        if self._background is not None:
            self._background.wait()

    def saves(self) -> list[Save]:
        """The committed saves in order."""
        return saves_of(self.path)

    def episodes(self, damaged: Literal["warn", "raise"] = "warn") -> Episodes:
        """The episodes of all saves, each once; see `saves.open_saves`."""
        self.wait()
        return open_saves(self.path, damaged)

    def file(
        self, episode: Episode, kind: str, step: int | None = None, *, process: int = 0
    ) -> Path:
        """A path for something made of an episode, for instance a picture of one of its steps.

        Names do not collide across lanes, saves and processes, and sort in order of process,
        lane, episode and step. Nothing is made on disk.

        Args:
            episode: the episode.
            kind: what it is, with its ending: `"step.svg"`.
            step: which transition, if it is of one.
            process: index of the JAX process that recorded it.
        """
        name = f"p{process:04d}_lane{episode.lane:06d}_ep{episode.number:010d}"
        if episode.dropped or not episode.complete:
            name += f"_{episode.dropped:06d}-{episode.length:06d}"
        what = slug(kind, "file")
        file = what if step is None else f"step{step:06d}_{what}"
        return self.path / RENDERS / name / file

    def pin(self, episode: Episode | None = None, *, pinned: bool = True, process: int = 0) -> Pins:
        """Keeps the run, or one episode of it, whatever the limits say; or no longer."""
        if episode is None:
            return pin(self.path, pinned=pinned)
        return pin(self.path, (process, episode.lane, episode.number), pinned=pinned)

    def close(self) -> None:
        """Finishes what is being saved and lets another process write."""
        try:
            if self._background is not None:
                self._background.close()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Run {self.path}: {len(self.saves())} saves>"

    def _write(self, path: Path, trace: "Trace | Recording", metadata: Mapping[str, Any]) -> None:
        from jaxarc_trace.store import save

        try:
            save(path, trace, metadata, run=self.id, process=self._process)
            self._limit()
        except StoreError as error:
            if self._on_error == "raise":
                raise
            warnings.warn(f"going on without this save: {error}", RuntimeWarning, stacklevel=4)

    def _limit(self) -> None:
        """Applies the limits; warns where one is near or cannot be kept."""
        limits = self.retention
        if limits.policy == "none":
            return
        dry_run = limits.policy == "manual"
        asked = replace(limits, on_full="warn")
        self.last_cleaning = clean(self.path, asked, dry_run=dry_run, locked=True)
        over = list(self.last_cleaning.over)
        if dry_run:
            over += [removal.reason for removal in self.last_cleaning.removed]
        found = "; ".join(dict.fromkeys(over or self._near()))
        if over and limits.on_full == "raise":
            raise StoreError(
                f"{self.path}: expected the limits to be kept, found {found}; raise the limit, or "
                f"run: jaxarc-trace clean {self.path}"
            )
        if found:
            warnings.warn(f"{self.path}: {found}", RuntimeWarning, stacklevel=5)

    def _near(self) -> list[str]:
        """Limits that removing does not move away from, nearly reached."""
        if self.retention.policy != "manual":
            return []
        saves = self.saves()
        held = sum(folder_bytes(save.path) for save in saves)
        found: list[str] = []
        for what, count, limit in (
            ("saves", len(saves), self.retention.max_saves),
            ("bytes", held, self.retention.max_bytes),
        ):
            if limit is not None and count >= WARN_AT * limit:
                found.append(f"holds {count} of at most {limit} {what}")
        return found

    def _refuse_reader(self) -> None:
        if self._lock is None:
            raise StoreError(
                f"{self.path}: expected a run that is open for writing, found one opened to be "
                "read, or closed; use Run.create or Run.resume"
            )


def _checked_root(root: PathLike) -> Path:
    """The root, if every path of a run under it can be written: found now, not hours later."""
    top = local_path(root)
    length = len(os.fsencode(top))
    if length > LONGEST_ROOT:
        raise StoreError(
            f"{str(top)[:80]}...: expected a root of at most {LONGEST_ROOT} bytes, found {length}; "
            "the files of a run would have longer names than the system takes: choose a shorter one"
        )
    return top


def _placed(partial: Path, name: str) -> Path:
    """Renames a finished directory to a name that is free."""
    for attempt in range(1, 10_000):
        path = partial.with_name(name if attempt == 1 else f"{name}_{attempt}")
        if os.path.lexists(path):
            continue
        try:
            return partial.rename(path)
        except OSError:
            # Another process took it in between: a directory that is not empty.
            if not os.path.lexists(path):
                raise
    raise StoreError(f"{partial.parent}/{name}: expected a free name, found 9999 runs; clean up")
