"""The process that publishes: `python -m jaxarc_trace.publish_child`, started by `publish`.

It takes a job on stdin and says on stdout, one JSON object a line, how far it is. When stdin
closes, its starter is gone and it ends. What the client prints is thrown away, since it may hold
anything.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError, StoreError, TraceError
from jaxarc_trace.facts import measured
from jaxarc_trace.manifest import read_manifest
from jaxarc_trace.publish_client import (
    GALLERY,
    GALLERY_STEP,
    begin,
    end_service,
    files_there,
    last_step,
    send_gallery,
    send_row,
    send_table,
    send_trace,
)
from jaxarc_trace.publish_config import address, describe
from jaxarc_trace.publish_content import Content, clear, stage
from jaxarc_trace.publish_ledger import Ledger, publishing
from jaxarc_trace.publish_names import without
from jaxarc_trace.publish_plan import Job, Parts, parts_of, place_of, row_key, trace_key
from jaxarc_trace.publish_rows import history_row, step_of
from jaxarc_trace.saves import Save, open_saves
from jaxarc_trace.secrecy import known_secrets
from jaxarc_trace.store_read import open_store

__all__ = ["main"]

Tell = Callable[..., None]


def main() -> None:
    """Does the job that stands on stdin."""
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    job = Job.from_json(sys.stdin.readline())
    secrets = known_secrets()

    def tell(event: str, **facts: Any) -> None:
        events.write(json.dumps({"event": event, **without(facts, secrets)}) + "\n")

    threading.Thread(target=_end_with_starter, daemon=True).start()
    code, alone = 0, False
    try:
        with publishing(Path(job.run)):
            alone = True
            _attempt(job, tell)
        tell("end")
    except Exception as error:  # noqa: BLE001 - the boundary: the client raises what it likes
        # What was asked cannot be done, whether W&B is there or not.
        asked = isinstance(error, SpecError) or not alone
        kind = type(error).__name__ if asked and isinstance(error, TraceError) else ""
        tell("problem", text=_sentence(error), refused=kind)
        code = 1
    events.flush()
    # Not by `sys.exit`: the client would go on waiting for what it did not get rid of.
    os._exit(code)


def _end_with_starter() -> None:
    os.read(0, 1)
    os._exit(1)


def _attempt(job: Job, tell: Tell) -> None:
    until = time.monotonic() + job.seconds

    def left() -> float:
        return until - time.monotonic()

    path = Path(job.run)
    manifest = read_manifest(path)
    ledger = Ledger(path, place_of(address(), job.publish))
    parts = parts_of(job, ledger)
    if not parts.keys:
        return
    tell("stage", name="reading", done=0, total=0)
    episodes = _measured(_stated(open_saves(path)), tell)
    rows = _rows(parts, ledger, tell)
    content = None
    if parts.gallery and len(episodes):
        name = str(manifest.get("name") or path.name)
        content = stage(job, parts.gallery, episodes, name, _progress(tell))
        tell("notes", notes=content.notes)
    told = describe(manifest, episodes.environment, path, job.publish)
    first = not ledger.items
    # What was written down as sent; what failed before was not.
    known = {key for key, item in ledger.items.items() if item["state"] == "pending"}
    if parts.gallery:
        # A table of fewer saves that was never confirmed is not wanted any more.
        ledger.forget(k for k in ledger.items if k.startswith("gallery:") and k != parts.gallery)
    ledger.note("pending", {key: {} for key in parts.keys if key in rows or key[:4] != "row:"})
    tell("stage", name="connecting", done=0, total=0)
    run = begin(job, told, left)
    tell("began", url=run.url or "", id=run.id)
    sender = _Sender(run, ledger, tell, left, online=job.publish.mode == "online")
    sender.rows(parts.rows, rows, known, first=first)
    sender.traces(parts.traces)
    if content is not None and parts.gallery:
        sender.gallery(content, parts.gallery, parts.saves[-1])
    sender.finish()
    if sender.online and parts.gallery and ledger.confirmed(parts.gallery):
        clear(path, parts.gallery)
    if not sender.online:
        tell("offline", path=str(Path(run.settings.sync_dir)))


def _stated(episodes: Episodes) -> Episodes:
    """With states rebuilt where only actions were recorded."""
    if any(source.spec.get("record") == "actions" for source in episodes.sources):
        from jaxarc_trace.recreate import with_states

        return with_states(episodes)
    return episodes


def _measured(episodes: Episodes, tell: Tell) -> Episodes:
    def told(numbers: Iterable[int], total: int) -> Iterable[int]:
        for number in numbers:
            tell("stage", name="reading", done=number, total=total)
            yield number

    return measured(episodes, progress=told)


def _rows(parts: Parts, ledger: Ledger, tell: Tell) -> dict[str, dict[str, Any]]:
    """The rows to send, by key; a save that cannot be read is noted as failed."""
    found: dict[str, dict[str, Any]] = {}
    for save in parts.rows:
        try:
            one = Episodes.join([open_store(save.path)])
            found[row_key(save)] = dict(history_row(save, _measured(_stated(one), tell)))
        except StoreError as error:
            ledger.note("failed", {row_key(save): {"why": str(error)}})
    return found


def _progress(tell: Tell) -> Callable[[str, int, int], None]:
    return lambda name, done, total: tell("stage", name=name, done=done, total=total)


class _Sender:
    """Sends to a run that has begun, and notes what the server confirms."""

    def __init__(
        self, run: Any, ledger: Ledger, tell: Tell, left: Callable[[], float], *, online: bool
    ) -> None:
        self.run = run
        self.ledger = ledger
        self.tell = tell
        self.left = left
        self.online = online
        self.start = int(run.starting_step or 0)
        self.last = -1
        self.sent: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.waiting: dict[str, dict[str, Any]] = {}

    def rows(
        self,
        saves: Iterable[Save],
        rows: dict[str, dict[str, Any]],
        known: set[str],
        *,
        first: bool,
    ) -> None:
        """Sends each row that the server has not; rows go in order or not at all."""
        for save in saves:
            key, step = row_key(save), step_of(save)
            if key not in rows:
                continue
            if step >= self.start:
                send_row(self.run, rows[key], step)
            elif key not in known and not first:
                why = "a later row is at the server already, and W&B takes rows in order only"
                self.ledger.note("failed", {key: {"why": why}})
                continue
            self.last = max(self.last, step)
            self.sent[key] = {"step": step}

    def traces(self, saves: tuple[Save, ...]) -> None:
        """Sends each store, and notes it when the server has it."""
        for number, save in enumerate(saves):
            self.tell("stage", name="traces", done=number, total=len(saves))
            key = trace_key(save)
            try:
                facts = send_trace(self.run, save, self.left, online=self.online)
            except StoreError as error:
                self.ledger.note("failed", {key: {"why": str(error)}})
                continue
            if self.online:
                self.ledger.note("confirmed", {key: facts})

    def gallery(self, content: Content, key: str, newest: Save) -> None:
        """Sends table and viewer, in a row of their own after the newest save's."""
        gone = content.missing()
        if gone:
            raise StoreError(f"{gone[0]}: expected a staged file, found none; publish it again")
        self.tell("stage", name="table", done=0, total=1)
        facts, table = send_table(self.run, content, self.left, online=self.online)
        summary = self.run.summary
        step, there = self.ledger.items.get(key, {}).get("step"), False
        if step is None and summary.get(GALLERY) == key:
            step = int(summary.get(GALLERY_STEP))
        if step is None:
            step = max(step_of(newest) + 1, self.start)
            if self.online:
                # Written down before it is sent, so that after a crash it is known where it is.
                self.ledger.note("pending", {key: {"step": step}})
        else:
            there = step < self.start
        self.files = send_gallery(self.run, content, table, key, step, row=not there)
        self.last = max(self.last, step)
        self.waiting = {key: {**facts, "step": step, "notes": content.notes}}

    def finish(self) -> None:
        """Ends the run, and asks the server what it has."""
        self.tell("stage", name="finishing", done=0, total=0)
        where = (self.run.entity, self.run.project, self.run.id)
        facts = {"url": self.run.url or "", "run_id": self.run.id}
        self.run.finish()
        if not self.online:
            # The client's service has all of it by now, and the file not yet.
            end_service()
            return
        self.tell("stage", name="checking", done=0, total=0)
        if self.last >= 0:
            found = last_step(*where, self.last, self.left)
            there = {key: more for key, more in self.sent.items() if more["step"] <= found}
            self.ledger.note("confirmed", there, **facts)
            if found >= self.last and files_there(*where, self.files, self.left):
                self.ledger.note("confirmed", self.waiting)
        else:
            self.ledger.note("confirmed", {}, **facts)


def _sentence(error: Exception) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    main()
