"""A run to Weights & Biases: after the fact, from its directory, in a process of its own.

    done = jt.publish("runs/2026-01-31T12-00-00Z_ppo", jt.config.compose(["publish=wandb_full"]))
    print(done)

What the server confirmed stands in `ledger.json` of the run, so that publishing again sends only
what is new. Where it cannot be sent, an offline run is left in `wandb/` of the run, and what was
printed says how to send it later.
"""

import os
import shlex
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxarc_trace.config_compose import from_yaml
from jaxarc_trace.config_run import CONFIG
from jaxarc_trace.config_sections import Publish, TraceConfig
from jaxarc_trace.errors import MissingExtraError, require
from jaxarc_trace.manifest import read_manifest
from jaxarc_trace.publish_config import address
from jaxarc_trace.publish_ledger import Ledger
from jaxarc_trace.publish_names import known_secrets, without
from jaxarc_trace.publish_plan import FOLDER, Choice, Job, lost, parts_of, place_of
from jaxarc_trace.publish_process import attempt
from jaxarc_trace.run import Run
from jaxarc_trace.saves import saves_of

__all__ = ["Published", "publish", "status"]

OFFLINE = "offline"
LEFT_OFFLINE = 3
INCOMPLETE = 1
_RESERVE = (12.0, 0.3, 45.0)
"""Seconds kept for the offline run when sending fails: at least, as a share, at most; never more
than half of all."""
_MARGIN = 1.0
"""Seconds kept for ending the processes."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Published:
    """What came of publishing a run.

    Attributes:
        path: the run.
        mode: `online`, `offline` or `local`.
        url: its page, where it has one.
        sent: what the server confirmed now: `rows`, `traces`, `galleries`.
        confirmed: how many things it has confirmed in all.
        pending: keys of what is left to send.
        failed: what cannot be sent, and why, by key.
        problem: why sending was given up; empty if it was not.
        offline: the offline run that was left, or None.
        notes: what was left out, in sentences.
        command: what to run for what is left; empty if nothing is.
        seconds: how long it took.
    """

    path: Path
    mode: str
    url: str = ""
    sent: Mapping[str, int] = field(default_factory=dict)
    confirmed: int = 0
    pending: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    offline: Path | None = None
    notes: tuple[str, ...] = ()
    command: str = ""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when all is confirmed, or prepared as asked; 3 when it is left for later; else 1."""
        if self.mode == "online" and (self.problem or self.pending):
            return LEFT_OFFLINE
        if self.problem:
            return LEFT_OFFLINE
        return INCOMPLETE if self.failed else 0

    def __str__(self) -> str:
        if self.mode == "local":
            return "publish.mode=local: nothing was sent"
        made = ", ".join(f"{count} {name}" for name, count in self.sent.items() if count)
        lines = []
        if self.mode == "online":
            lines.append(f"Sent and confirmed: {made or 'nothing new'}; {self.confirmed} in all")
        if self.url and self.mode == "online":
            lines.append(f"At {self.url}")
        lines += [f"Note: {note}" for note in self.notes]
        lines += [f"Cannot be sent: {key}: {why}" for key, why in self.failed.items()]
        if self.offline is not None:
            lines.append(f"Offline run: {self.offline}")
        if self.pending:
            lines.append(f"Left: {len(self.pending)}; to send it: {self.command}")
        return "\n".join(lines)


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
        SpecError: when the settings are wrong.
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
    done = _outcome(job, told, problem, before, began)
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
    path = (run.path if isinstance(run, Run) else Path(run)).absolute()
    read_manifest(path)
    given = _settings(config)
    theme = config.render.theme if isinstance(config, TraceConfig) else "default"
    choice = Choice(**{k: v for k, v in chosen.items() if v is not None})
    seconds = given.deadline if deadline is None else deadline
    return Job(str(path), given, choice, theme, seconds, gallery=gallery)


def status(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """What is confirmed, pending and failed of a run, for each place that it was published to.

    Nothing is asked of any server.

    Raises:
        NotATraceError: when there is no run.
    """
    from jaxarc_trace.publish_ledger import STATES, read_ledger

    path = Path(run).absolute()
    read_manifest(path)
    saves = tuple(saves_of(path))
    found = []
    for place in read_ledger(path):
        ledger = Ledger(path, place)
        where, entity, project = place.split("|", 2)
        counts = dict.fromkeys(STATES, 0)
        for item in ledger.items.values():
            counts[item["state"]] += 1
        known = {key.partition(":")[2] for key in ledger.items if key.startswith("row:")}
        fresh = [save.name for save in saves if f"{save.sequence:06d}" not in known]
        items = {key: dict(item) for key, item in ledger.items.items()}
        gone = lost(ledger, saves)
        found.append(
            {
                "address": where,
                "entity": entity,
                "project": project,
                **ledger.facts,
                "counts": counts,
                "unpublished": fresh,
                "lost": gone,
                "items": items,
            }
        )
    return found


def command_of(job: Job) -> str:
    """What to type so that a run is published with these settings."""
    words = ["jaxarc-trace", "publish", job.run]
    given, own = job.publish, _own(Path(job.run))
    for name in ("project", "entity", "group", "job_type"):
        value = getattr(given, name)
        if value is not None and value != getattr(own.publish, name):
            words += [f"--{name.replace('_', '-')}", value]
    if given.tags != own.publish.tags:
        words += ["--tags", ",".join(given.tags)]
    for name, value in vars(job.choice).items():
        if value != getattr(Choice(), name):
            words += [f"--{name}", str(value)]
    if not job.gallery:
        words.append("--no-gallery")
    for name in ("artifact", "images", "image_budget_mb", "image_megapixels"):
        value = getattr(given, name)
        if value != getattr(own.publish, name):
            words.append(f"publish.{name}={'null' if value is None else str(value).lower()}")
    if job.theme != own.render.theme:
        words.append(f"render.theme={job.theme}")
    return shlex.join(words)


def _own(path: Path) -> TraceConfig:
    """The settings that a run was made with."""
    file = path / CONFIG
    if not file.is_file():
        return TraceConfig()
    try:
        return from_yaml(file)
    except MissingExtraError:
        return TraceConfig()


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
    problem = attempt(replace(job, work=str(work)), told) or ""
    # The new one holds all that the older ones did and W&B has not confirmed since.
    for path in [work] if problem or told.offline is None else older:
        shutil.rmtree(path, ignore_errors=True)
    return problem


def _outcome(job: Job, told: _Told, problem: str, before: set[str], began: float) -> Published:
    """What the ledger says after all."""
    path = Path(job.run)
    ledger = Ledger(path, place_of(address(), job.publish))
    parts = parts_of(job, ledger)
    gone = lost(ledger, parts.saves)
    now = {key for key in ledger.items if ledger.confirmed(key)}
    failed = {
        key: str(item.get("why", ""))
        for key, item in ledger.items.items()
        if item["state"] == "failed"
    }
    failed |= dict.fromkeys(gone, "its save was removed before it was sent")
    names = {"row": "rows", "trace": "traces", "gallery": "galleries"}
    sent = {
        name: sum(k.startswith(f"{kind}:") for k in now - before) for kind, name in names.items()
    }
    pending = tuple(key for key in parts.keys if key not in failed)
    return Published(
        path,
        job.publish.mode,
        url=str(told.url or ledger.facts.get("url", "")),
        sent=sent,
        confirmed=len(now),
        pending=pending,
        failed=failed,
        problem=without(problem, known_secrets()),
        offline=told.offline,
        notes=told.notes,
        command=command_of(job) if pending else "",
        seconds=time.monotonic() - began,
    )
