"""What came of publishing a run, read from its ledger: result, status, and what to type next."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from jaxarc_trace.config_compose import from_yaml
from jaxarc_trace.config_run import CONFIG
from jaxarc_trace.config_sections import TraceConfig
from jaxarc_trace.errors import MissingExtraError
from jaxarc_trace.manifest import read_manifest
from jaxarc_trace.names import located
from jaxarc_trace.publish_config import address
from jaxarc_trace.publish_ledger import STATES, Ledger, read_ledger
from jaxarc_trace.publish_names import without
from jaxarc_trace.publish_plan import Choice, Job, lost, parts_of, place_of
from jaxarc_trace.saves import saves_of
from jaxarc_trace.secrecy import known_secrets

__all__ = ["Published", "command_of", "outcome_of", "status"]

LEFT_OFFLINE = 3
INCOMPLETE = 1


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
        made = ", ".join(_counted(name, count) for name, count in self.sent.items() if count)
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


def outcome_of(
    job: Job,
    before: set[str],
    *,
    problem: str,
    url: str,
    offline: Path | None,
    notes: tuple[str, ...],
    seconds: float,
) -> Published:
    """What the ledger says after an attempt.

    Args:
        job: what was to be done.
        before: keys that were confirmed before.
        problem: why it was given up; empty if it was not.
        url: the page that the client named, if it did.
        offline: the offline run that was left, or None.
        notes: what was left out.
        seconds: how long it took.
    """
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
    if job.publish.mode == "online" and not pending and not failed:
        # It was given up after the last confirmation.
        problem = ""
    return Published(
        path,
        job.publish.mode,
        url=str(url or ledger.facts.get("url", "")),
        sent=sent,
        confirmed=len(now),
        pending=pending,
        failed=failed,
        problem=without(problem, known_secrets()),
        offline=offline,
        notes=notes,
        command=command_of(job) if pending else "",
        seconds=seconds,
    )


def status(run: "str | PathLike[str]") -> list[dict[str, Any]]:
    """What is confirmed, pending and failed of a run, for each place that it was published to.

    Nothing is asked of any server.

    Raises:
        NotATraceError: when there is no run.
    """
    path = located(run)
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


_ONE = {"rows": "row", "traces": "trace", "galleries": "table with viewer"}
_MORE = {**{name: name for name in _ONE}, "galleries": "tables with viewer"}


def _counted(name: str, count: int) -> str:
    return f"{count} {(_ONE if count == 1 else _MORE)[name]}"
