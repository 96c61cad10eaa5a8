"""A run to Weights & Biases: after the fact, from its directory, in a process of its own.

    done = jt.publish("runs/2026-01-31T12-00-00Z_ppo", jt.config.compose(["publish=wandb_full"]))
    print(done)

What the server confirmed stands in `ledger.json` of the run, so that publishing again sends only
what is new. Where it cannot be sent, an offline run is left in `wandb/` of the run, and what was
printed says how to send it later.
"""

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxarc_trace import errors
from jaxarc_trace.config_sections import Publish, TraceConfig
from jaxarc_trace.errors import SpecError, require
from jaxarc_trace.manifest import read_manifest
from jaxarc_trace.names import located
from jaxarc_trace.publish_config import address
from jaxarc_trace.publish_ledger import Ledger
from jaxarc_trace.publish_outcome import Published, outcome_of, status
from jaxarc_trace.publish_plan import FOLDER, Choice, Job, place_of
from jaxarc_trace.publish_process import attempt
from jaxarc_trace.run import Run

__all__ = ["Published", "publish", "status"]

OFFLINE = "offline"
_RESERVE = (12.0, 0.3, 45.0)
"""Seconds kept for the offline run when sending fails: at least, as a share, at most; never more
than half of all."""
_MARGIN = 1.0
"""Seconds kept for ending the processes."""
Progress = Callable[[str, int, int], None]


def publish(
    run: str | os.PathLike[str] | Run,
    config: TraceConfig | Publish | None = None,
    *,
    best: int | None = None,
    worst: int | None = None,
    where: str | None = None,
    deadline: float | None = None,
    gallery: bool = True,
    progress: Progress | None = None,
) -> Published:
    """Sends a run to W&B, or what of it is not there yet.

    Whatever the network or the server does is no error but a RuntimeWarning, and `problem` of the
    result, within the deadline.

    Args:
        run: the run, or its directory. It may be written to meanwhile; what is committed is sent.
        config: the settings; default `Publish(mode="online")`. With `mode="local"` nothing is
            done, with `offline` all is prepared and nothing sent.
        best: so many episodes with the largest return are shown with steps; default 8.
        worst: so many with the smallest likewise; default 4.
        where: only episodes for which it holds are shown, in SQL as `Episodes.where` takes it.
        deadline: seconds after which sending is given up; default that of the settings.
        gallery: whether to send table and viewer, or numbers and traces only.
        progress: told what is being done, how much of it is done and how much there is.

    Raises:
        NotATraceError: when there is no run.
        MissingExtraError: when wandb is not installed.
        SpecError: when the settings are wrong, or no episode fits `where`.
        StoreError: when another process publishes the run.
    """
    began = time.monotonic()
    given = _settings(config)
    chosen = {"best": best, "worst": worst, "where": where}
    job = job_of(run, config, chosen, deadline=deadline, gallery=gallery)
    path = Path(job.run)
    if given.mode == "local":
        return Published(path, "local")
    require("wandb", "wandb", "Publishing")
    ledger = Ledger(path, place_of(address(), given))
    before = {key for key in ledger.items if ledger.confirmed(key)}
    told = _Told(progress)
    problem = _tried(job, told, began + job.seconds - min(_MARGIN, 0.1 * job.seconds))
    done = outcome_of(
        job,
        before,
        problem=problem,
        url=told.url,
        offline=told.offline,
        notes=told.notes,
        seconds=time.monotonic() - began,
    )
    if done.problem:
        warnings.warn(f"{path}: not all of it is at W&B: {done.problem}", RuntimeWarning, 2)
    return done


def job_of(
    run: str | os.PathLike[str] | Run,
    config: TraceConfig | Publish | None,
    chosen: Mapping[str, Any],
    *,
    deadline: float | None = None,
    gallery: bool = True,
) -> Job:
    """What there is to do, checked; see `publish` for the arguments.

    Args:
        run: the run.
        config: the settings.
        chosen: `best`, `worst` and `where`; None for the default.
        deadline: seconds.
        gallery: whether to send table and viewer.

    Raises:
        NotATraceError: when there is no run.
        SpecError: when the choice is wrong.
    """
    path = located(run.path if isinstance(run, Run) else run)
    read_manifest(path)
    given = _settings(config)
    theme = config.render.theme if isinstance(config, TraceConfig) else "default"
    choice = Choice(**{k: v for k, v in chosen.items() if v is not None})
    seconds = given.deadline if deadline is None else deadline
    return Job(str(path), given, choice, theme, seconds, gallery=gallery)


def _settings(config: TraceConfig | Publish | None) -> Publish:
    if config is None:
        return Publish(mode="online")
    return config.publish if isinstance(config, TraceConfig) else config


class _Told:
    """What the child says, kept and passed on."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.url = ""
        self.offline: Path | None = None
        self.notes: tuple[str, ...] = ()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Takes one event."""
        kind = event["event"]
        if kind == "stage" and self.progress is not None:
            self.progress(event["name"], event["done"], event["total"])
        elif kind == "notes":
            self.notes = tuple(event["notes"])
        elif kind == "began" and event["url"]:
            self.url = event["url"]
        elif kind == "offline":
            self.offline = Path(event["path"])
        elif kind == "problem" and event["refused"]:
            raise getattr(errors, event["refused"], SpecError)(event["text"])


def _tried(job: Job, told: _Told, until: float) -> str:
    """Sends, and prepares an offline run where that fails; returns why it failed, or nothing."""
    problem = ""
    if job.publish.mode == "online":
        least, share, most = _RESERVE
        kept = min(most, max(least, share * job.seconds), job.seconds / 2)
        with tempfile.TemporaryDirectory(
            prefix="jaxarc-trace-", ignore_cleanup_errors=True
        ) as work:
            sending = replace(job, work=work, seconds=job.seconds - kept)
            problem = attempt(sending, told, job.seconds) or ""
        if not problem:
            for path in (Path(job.run) / FOLDER).glob(f"{OFFLINE}-*"):
                shutil.rmtree(path, ignore_errors=True)
            return ""
        job = replace(job, publish=replace(job.publish, mode="offline"))
    second = _prepared(replace(job, seconds=max(0.5, until - time.monotonic())), told)
    if second and problem:
        return f"{problem}; and no offline run was left: {second}"
    return problem or second or ""


def _prepared(job: Job, told: _Told) -> str:
    """Leaves an offline run in the place of those that were left before; returns what failed."""
    folder = Path(job.run) / FOLDER
    older = sorted(folder.glob(f"{OFFLINE}-*"))
    number = int(older[-1].name.rpartition("-")[2]) + 1 if older else 1
    work = folder / f"{OFFLINE}-{number:06d}"
    try:
        work.mkdir(parents=True)
    except OSError as error:
        return f"{work}: {error.strerror}"
    problem: str | None = "stopped"
    try:
        problem = attempt(replace(job, work=str(work)), told)
    finally:
        if problem is not None or told.offline is None:
            shutil.rmtree(work, ignore_errors=True)
    if problem:
        return problem
    # The new one holds all that the older ones did and W&B has not confirmed since.
    for path in older if told.offline is not None else ():
        shutil.rmtree(path, ignore_errors=True)
    return ""
