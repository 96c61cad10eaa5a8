"""Draws the pictures of one episode into its folder: what a worker of `queue.py` does.

A folder has a ledger, `pictures.json`: of which episode and in which look its files are, and how
large each is. A file that the ledger vouches for is whole and is not drawn again.
"""

import functools
import hashlib
import inspect
import json
import os
import pickle
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import TraceError
from jaxarc_trace.render import files, raster
from jaxarc_trace.render.animate import SUFFIXES, animation
from jaxarc_trace.render.frames import frames
from jaxarc_trace.render.generic import Renderer, register_renderer
from jaxarc_trace.render.step import step
from jaxarc_trace.render.summary import summary
from jaxarc_trace.render.theme import Theme

__all__ = ["Drawn", "Handle", "Job", "Want", "clear_parts", "draw", "folder_key", "ready", "wanted"]

LEDGER = "pictures.json"
# A change of how pictures look makes those of before stale.
_LOOKS = 3
_stop: Any = None


class Want(NamedTuple):
    """One picture: its file's name; `summary`, `step` or `animation`; which step; the format."""

    name: str
    kind: str
    t: int
    format: str


class Handle:
    """Episodes as they travel to a worker: as a path where they are stored.

    The receiving process keeps the last few open, so that many jobs open a store once.
    """

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self.episodes = episodes

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return _opened, (self._packed,)

    @functools.cached_property
    def _packed(self) -> bytes:
        return pickle.dumps(self.episodes)


@functools.lru_cache(maxsize=4)
def _opened(packed: bytes) -> Handle:
    return Handle(pickle.loads(packed))  # noqa: S301 - from the parent process


@dataclass(frozen=True)
class Job:
    """The pictures of one episode that are to be drawn.

    Attributes:
        handle: where the episode is.
        row: which one of the handle.
        folder: where its files go.
        wants: what to draw.
        look: how.
        key: `folder_key` of the episode in this look.
        renderer: what was registered for its environment where the job was made.
    """

    handle: Handle
    row: int
    folder: Path
    wants: tuple[Want, ...]
    look: Theme
    key: str
    renderer: Renderer | None = None


@dataclass(frozen=True)
class Drawn:
    """What came of a job.

    Attributes:
        written: files that are there now.
        error: why the others are not; empty where all are.
    """

    written: int
    error: str = ""


class _Flag(Protocol):
    def is_set(self) -> bool:
        """Whether to stop."""
        ...


def ready(stop: _Flag | None = None) -> int:
    """Prepares a worker process: the parent alone answers Ctrl-C, and says so by a flag.

    Returns:
        The id of the process.
    """
    global _stop  # noqa: PLW0603 - one flag a process, which no job can carry
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return os.getpid()


def draw(job: Job) -> Drawn:
    """Draws a job's pictures; each file appears when it is whole.

    This is the boundary at which every error becomes a report: whatever is wrong with one episode,
    the others shall go on.
    """
    done: dict[str, int] = {}
    error = ""
    try:
        clear_parts(job.folder)
        job.folder.mkdir(parents=True, exist_ok=True)
        episode = job.handle.episodes[job.row]
        if job.renderer is not None:
            register_renderer(str(episode.environment["name"]), job.renderer)
        for want in job.wants:
            if _stop is not None and _stop.is_set():
                error = "stopped"
                break
            data = _picture(episode, want, job.look)
            files.write(job.folder / want.name, data)
            done[want.name] = len(data)
    except (TraceError, OSError) as problem:
        error = str(problem)
    except Exception as problem:  # noqa: BLE001 - see above
        error = f"{type(problem).__name__}: {problem}"
    finally:
        # Also when Ctrl-C comes in between: what is whole need not be drawn again.
        if done:
            _enter(job, done)
    return Drawn(len(done), error)


def wanted(
    steps: int, dropped: int, kinds: Sequence[str], formats: Sequence[str]
) -> tuple[Want, ...]:
    """The pictures of an episode, named by the steps as its pictures count them."""
    out = []
    for form in formats:
        if f".{form}" in SUFFIXES and form != "png":
            out.append(Want(f"episode.{form}", "animation", 0, form))
            continue
        if "summary" in kinds:
            out.append(Want(f"summary.{form}", "summary", 0, form))
        if "step" in kinds:
            out += [
                Want(f"step_{t + 1 + dropped:04d}.{form}", "step", t, form) for t in range(steps)
            ]
    return tuple(out)


def missing(job: Job) -> tuple[Want, ...]:
    """Those of a job's pictures that its folder does not hold whole."""
    there = _ledger(job.folder, job.key)
    return tuple(want for want in job.wants if not _is_whole(job.folder / want.name, there))


def folder_key(
    episode: Mapping[str, Any],
    environment: Mapping[str, Any],
    look: Theme,
    renderer: Renderer | None = None,
) -> str:
    """What makes pictures those of this episode in this look.

    Args:
        episode: what identifies it and its contents.
        environment: its description, names of operations included.
        look: the theme.
        renderer: what was registered for the environment; its source counts.
    """
    parts = [_LOOKS, episode, environment, repr(look)]
    if renderer is not None:
        parts.append(_written(renderer))
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _written(renderer: Renderer) -> str:
    """The source of a renderer, or its name where there is none to be had."""
    try:
        return inspect.getsource(cast("Any", renderer))
    except (OSError, TypeError):
        kind = renderer if hasattr(renderer, "__qualname__") else type(renderer)
        return f"{kind.__module__}.{kind.__qualname__}"


def portable(renderer: Renderer) -> bool:
    """Whether another process can import it: it stands in a module, and not in the program."""
    if renderer.__module__ == "__main__":
        return False
    try:
        pickle.dumps(renderer)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def identity(episodes: Sequence[Episode], row: int) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """What identifies an episode and its contents, without reading a stored one.

    Returns:
        Numbers by name, `lane`, `number`, `kept` and `dropped` among them, and the environment.
    """
    if isinstance(episodes, Episodes):
        source, at = episodes.locate(row)
        return {name: column[at].item() for name, column in source.columns.items()}, (
            source.environment
        )
    episode = episodes[row]
    digest = hashlib.sha256()
    for group in (episode.states, episode.actions, episode.extras, {"reward": episode.rewards}):
        for name, values in group.items():
            digest.update(f"{name} {values.dtype} {values.shape}".encode(errors="replace"))
            digest.update(np.ascontiguousarray(values).tobytes())
    facts = {
        "lane": episode.lane,
        "number": episode.number,
        "kept": len(episode),
        "dropped": episode.dropped,
        "outcome": episode.outcome,
        "ends": [bool(episode.terminated[-1:].any()), bool(episode.truncated[-1:].any())],
        "kept_by": episode.kept_by,
        "return": episode.total_return,
        "arrays": digest.hexdigest(),
    }
    return facts, episode.environment


def clear_parts(folder: Path) -> None:
    """Removes what a process that is gone was writing."""
    for part in folder.glob(".*.part"):
        pid = part.name.rsplit(".", 2)[1].partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _picture(episode: Episode, want: Want, look: Theme) -> bytes:
    if want.kind == "animation":
        return animation(episode, f".{want.format}", theme=look)
    if want.kind == "step" and want.format == "png" and frames(episode) is not None:
        return raster.frame_png(episode, want.t, look)
    drawn = summary(episode, look) if want.kind == "summary" else step(episode, want.t, look)
    return drawn.as_png() if want.format == "png" else drawn.as_svg().encode()


def _is_whole(path: Path, there: Mapping[str, int]) -> bool:
    size = there.get(path.name)
    try:
        return size is not None and path.stat().st_size == size
    except OSError:
        return False


def _ledger(folder: Path, key: str) -> dict[str, int]:
    """Sizes of the files of a folder that are of this key; a damaged ledger vouches for none."""
    try:
        found = json.loads((folder / LEDGER).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict) or found.get("key") != key:
        return {}
    sizes = found.get("files")
    return sizes if isinstance(sizes, dict) else {}


def _enter(job: Job, done: Mapping[str, int]) -> None:
    entries = {"key": job.key, "files": {**_ledger(job.folder, job.key), **done}}
    files.write(job.folder / LEDGER, json.dumps(entries, indent=0, sort_keys=True).encode())
