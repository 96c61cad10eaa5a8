"""What lies at a path, be it a store, a run, a directory of them, or what the demo leaves."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxarc_trace.cleaning import runs_under
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import NotATraceError, StoreError
from jaxarc_trace.limits import read_limits
from jaxarc_trace.locks import writer_of
from jaxarc_trace.manifest import is_run, read_manifest
from jaxarc_trace.names import located
from jaxarc_trace.pins import read_pins
from jaxarc_trace.saves import TRACES, folder_bytes, leased_saves, open_saves, saves_of
from jaxarc_trace.store_format import COMMIT
from jaxarc_trace.store_read import open_store
from jaxarc_trace.store_verify import Verification, verify_store

__all__ = ["RunSummary", "describe", "episodes_at", "list_runs", "verify_all", "verify_each"]

PathLike = str | os.PathLike[str]
DEMO = "trace"


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs and stores.

    Attributes:
        path: the run, the store, or the folder that holds one as `trace`.
        name: what the run was called.
        created: UTC time at which it began, ISO 8601.
        saves: number of committed saves; 1 for a store.
        last_step: step of the newest save, or None.
        bytes: bytes of all saves.
        pinned: whether the run, or an episode of it, is pinned.
        writer: who writes to it now, or None.
        problem: why it cannot be read; empty if it can.
        kind: `run` or `store`.
    """

    path: Path
    name: str = ""
    created: str = ""
    saves: int = 0
    last_step: int | None = None
    bytes: int = 0
    pinned: bool = False
    writer: str | None = None
    problem: str = ""
    kind: str = "run"


def list_runs(root: PathLike) -> list[RunSummary]:
    """The run or store at a path, or the runs and then the stores directly under it, by name.

    Raises:
        NotATraceError: when there is no directory.
    """
    top = located(root)
    if not top.is_dir():
        raise NotATraceError(f"{top}: expected a directory of runs, found none; check the path")
    if _store_at(top) is not None:
        return [_store_summary(top)]
    return [
        *(_summary(run) for run in runs_under(top)),
        *(_store_summary(folder) for folder in _stores_under(top)),
    ]


def describe(path: PathLike) -> dict[str, Any]:
    """What is known of a store or a run, as JSON.

    Raises:
        NotATraceError: when neither is at the path.
        StoreError: when it is damaged.
    """
    where = located(path)
    if is_run(where):
        limits = read_limits(where)
        return {
            "kind": "run",
            "path": str(where),
            **read_manifest(where),
            "writer": writer_of(where),
            "pinned": read_pins(where).to_json(),
            "retention": {**vars(limits), "protect": list(limits.protect)},
            "saves": [
                {"name": save.name, "step": save.step, "bytes": folder_bytes(save.path)}
                for save in saves_of(where)
            ],
            **_counts(open_saves(where)),
        }
    store = _store_at(where)
    if store is None:
        runs = runs_under(where)
        raise _holds_runs(Path(path), runs) if runs else _nothing(Path(path))
    opened = open_store(store)
    header = opened.header
    return {
        "kind": "store",
        "path": str(store),
        "bytes": folder_bytes(store),
        **_counts(Episodes.join([opened])),
        "version": header.version,
        "created": header.created,
        "run": header.run,
        "process": header.process,
        "packages": dict(header.packages),
        "policies": list(header.policies),
        "environment": dict(header.environment),
        "spec": dict(header.spec),
        "metadata": dict(header.metadata),
        "columns": [column["name"] for column in header.columns],
        "fields": {
            section: [field["name"] for field in header.schema[section]["fields"]]
            for section in ("constant", "state", "step")
        },
    }


def verify_all(path: PathLike) -> list[Verification]:
    """Reads everything in a store, a run, or all runs and stores under a root.

    Returns:
        One entry for each store, in order, and one for each run whose own files are damaged.

    Raises:
        NotATraceError: when there is nothing to verify.
    """
    return list(verify_each(path))


def verify_each(path: PathLike) -> Iterator[Verification]:
    """As `verify_all`, one after the other."""
    where = located(path)
    store = _store_at(where)
    if store is not None:
        yield verify_store(store)
        return
    runs, stores = runs_under(where), _stores_under(where)
    if not runs and not stores:
        raise _nothing(Path(path))
    for run in runs:
        yield from _verify_run(run)
    for folder in stores:
        yield verify_store(_store_at(folder) or folder)


def episodes_at(path: PathLike) -> Episodes:
    """The episodes of a store, of a run, or of all runs or stores under a root, each once.

    Raises:
        NotATraceError: when there are none; the message says where it was looked for.
        StoreError: when the index of a store is damaged; of a run's saves such a one is left
            out with a RuntimeWarning.
    """
    where = located(path)
    store = _store_at(where)
    if store is not None:
        return Episodes.join([open_store(store)])
    runs = runs_under(where)
    if len(runs) == 1:
        return open_saves(runs[0])
    sources = [source for run in runs for source in open_saves(run).sources]
    if not runs:
        stores = _stores_under(where / TRACES) or _stores_under(where)
        sources = [open_store(_store_at(folder) or folder) for folder in stores]
        if not stores:
            raise _nothing(Path(path))
    return Episodes.join(sources)


def _nothing(path: Path) -> NotATraceError:
    what = "a folder with neither" if path.is_dir() else "a file" if path.exists() else "nothing"
    return NotATraceError(
        f"expected a saved trace at {path}, or one in {path / DEMO} or {path / TRACES}, found "
        f"{what}; check the path, or make one with: jaxarc-trace demo"
    )


def _holds_runs(path: Path, runs: Sequence[Path]) -> NotATraceError:
    return NotATraceError(
        f"expected a saved trace or a run at {path}, found a folder of runs; give one of them, for "
        f"instance {path / runs[-1].name}, or see them all with: jaxarc-trace list {path}"
    )


def _store_at(path: Path) -> Path | None:
    """The store at a path, or the one that a folder holds as `trace`."""
    for place in (path, path / DEMO):
        if (place / COMMIT).is_file():
            return place
    return None


def _stores_under(root: Path) -> list[Path]:
    """Stores, and folders that hold one as `trace`, directly under a root; links are left out."""
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    return [
        root / name
        for name in names
        if name[0] != "." and not is_run(root / name) and _store_at(root / name) is not None
    ]


def _counts(episodes: Episodes) -> dict[str, Any]:
    """How many episodes there are, of how many steps, and how they ended.

    The returns are of those that ended, as `best` takes them; so far, where none has ended.
    """
    columns = episodes.columns
    if not len(episodes):
        return {"episodes": 0, "steps": 0, "outcomes": {}, "returns": {}}
    ended = columns["complete"] if columns["complete"].any() else slice(None)
    returns = columns["return"][ended]
    returns = returns[np.isfinite(returns)]
    measures = {"min": np.min, "median": np.median, "max": np.max} if len(returns) else {}
    return {
        "episodes": len(episodes),
        "steps": int(columns["length"].sum()),
        "outcomes": dict(sorted(Counter(columns["outcome"].tolist()).items())),
        "returns": {name: float(measure(returns)) for name, measure in measures.items()},
    }


def _verify_run(run: Path) -> Iterator[Verification]:
    """A run's own files, where they are damaged, and each save; none is cleaned away meanwhile."""
    for read in (read_manifest, read_pins, read_limits):
        try:
            read(run)
        except StoreError as error:
            yield Verification(run, 0, (), (), (str(error),))
    saves, lease = leased_saves(run)
    for save in saves:
        try:
            yield verify_store(save.path)
        except NotATraceError:
            # Without a lease it can be cleaned away meanwhile.
            if lease is not None or save.path.exists():
                raise


def _summary(run: Path) -> RunSummary:
    try:
        manifest = read_manifest(run)
        pins = read_pins(run)
        saves = saves_of(run)
        return RunSummary(
            path=run,
            name=str(manifest.get("name", "")),
            created=str(manifest.get("created", "")),
            saves=len(saves),
            last_step=saves[-1].step if saves else None,
            bytes=sum(folder_bytes(save.path) for save in saves),
            pinned=pins.run or bool(pins.episodes),
            writer=writer_of(run),
        )
    except StoreError as error:
        return RunSummary(path=run, problem=str(error))


def _store_summary(folder: Path) -> RunSummary:
    store = _store_at(folder) or folder
    try:
        created = open_store(store).header.created
    except StoreError as error:
        return RunSummary(path=folder, kind="store", saves=1, problem=str(error))
    held = folder_bytes(store)
    return RunSummary(path=folder, kind="store", created=created, saves=1, bytes=held)
