"""What lies at a path, be it a store, a run or a directory of runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxarc_trace.cleaning import runs_under
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import NotATraceError, StoreError
from jaxarc_trace.locks import writer_of
from jaxarc_trace.manifest import is_run, read_manifest
from jaxarc_trace.pins import read_pins
from jaxarc_trace.saves import folder_bytes, open_saves, saves_of
from jaxarc_trace.store_format import COMMIT
from jaxarc_trace.store_read import open_store
from jaxarc_trace.store_verify import Verification, verify_store

__all__ = ["RunSummary", "describe", "episodes_at", "list_runs", "verify_all"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs.

    Attributes:
        path: the run.
        name: what it was called.
        created: UTC time at which it began, ISO 8601.
        saves: number of committed saves.
        last_step: step of the newest save, or None.
        bytes: bytes of all saves.
        pinned: whether the run, or an episode of it, is pinned.
        writer: who writes to it now, or None.
        problem: why it cannot be read; empty if it can.
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


def list_runs(root: PathLike) -> list[RunSummary]:
    """The run at a path, or those directly under it, oldest first.

    Raises:
        NotATraceError: when there is no directory.
    """
    top = Path(root).absolute()
    if not top.is_dir():
        raise NotATraceError(f"{top}: expected a directory of runs, found none; check the path")
    return [_summary(run) for run in runs_under(top)]


def describe(path: PathLike) -> dict[str, Any]:
    """What is known of a store or a run, as JSON.

    Raises:
        NotATraceError: when neither is at the path.
        StoreError: when it is damaged.
    """
    where = Path(path).absolute()
    if is_run(where):
        saves = saves_of(where)
        pins = read_pins(where)
        return {
            "kind": "run",
            "path": str(where),
            **read_manifest(where),
            "writer": writer_of(where),
            "pinned": {"run": pins.run, "episodes": sorted(pins.episodes)},
            "saves": [
                {"name": save.name, "step": save.step, "bytes": folder_bytes(save.path)}
                for save in saves
            ],
        }
    header = open_store(where).header
    return {
        "kind": "store",
        "path": str(where),
        "bytes": folder_bytes(where),
        "episodes": header.episodes,
        "steps": header.steps,
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
    """Reads everything in a store, a run, or all runs under a root, and says what is damaged.

    Raises:
        NotATraceError: when there is nothing to verify.
    """
    where = Path(path).absolute()
    if (where / COMMIT).is_file():
        return [verify_store(where)]
    runs = runs_under(where)
    if not runs:
        return [verify_store(where)]
    return [verify_store(save.path) for run in runs for save in saves_of(run)]


def episodes_at(path: PathLike) -> Episodes:
    """The episodes of a store, of a run, or of all runs under a root, each once.

    Raises:
        NotATraceError: when there are none.
    """
    where = Path(path).absolute()
    if not (where / COMMIT).is_file():
        runs = runs_under(where)
        if len(runs) == 1:
            return open_saves(runs[0])
        if runs:
            sources = [source for run in runs for source in open_saves(run).sources]
            return Episodes.join(sources)
    return Episodes.join([open_store(where)])


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
