"""What W&B has confirmed of a run: `ledger.json` in its directory, and the right to write there.

An entry is `confirmed` only after the server said so. The file is replaced as a whole, so that a
process that is killed leaves the old one or the new one. Nothing here knows W&B.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxarc_trace.errors import StoreError
from jaxarc_trace.manifest import write_json

__all__ = ["LEDGER", "Ledger", "publishing", "read_ledger"]

LEDGER = "ledger.json"
LOCK = "publish.lock"
FORMAT = "jaxarc-trace-ledger"
VERSION = 1
STATES = ("confirmed", "pending", "failed")


class Ledger:
    """The entries of one place that a run is published to.

    Attributes:
        path: the run's directory.
        place: which place: `<address>|<entity>|<project>`.
        facts: what is known of the place: `url`, `run_id`.
        items: facts of each thing by its key, for instance `row:000003`, with its `state`.
    """

    def __init__(self, path: Path, place: str) -> None:
        self.path = path
        self.place = place
        held = read_ledger(path).get(place, {})
        self.facts: dict[str, Any] = dict(held.get("facts", {}))
        self.items: dict[str, dict[str, Any]] = {
            k: dict(v) for k, v in held.get("items", {}).items()
        }

    def confirmed(self, key: str) -> bool:
        """Whether the server has confirmed it."""
        return self.items.get(key, {}).get("state") == "confirmed"

    def note(self, state: str, entries: Mapping[str, Mapping[str, Any]], **facts: Any) -> None:
        """Writes a state of several things at once; what is confirmed stays confirmed.

        Args:
            state: one of `STATES`.
            entries: facts of each, by key.
            facts: of the place itself.

        Raises:
            OSError: when it cannot be written; then nothing has changed.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        items = dict(self.items)
        for key, more in entries.items():
            if state == "confirmed" or not self.confirmed(key):
                old = {k: v for k, v in items.get(key, {}).items() if k != "why"}
                items[key] = {**old, **more, "state": state, "at": now}
        self._write({**self.facts, **facts}, items)

    def forget(self, keys: Iterable[str]) -> None:
        """Takes out what is no longer to be sent; what is confirmed stays.

        Raises:
            OSError: when it cannot be written; then nothing has changed.
        """
        gone = {key for key in keys if key in self.items and not self.confirmed(key)}
        if gone:
            self._write(self.facts, {k: v for k, v in self.items.items() if k not in gone})

    def _write(self, facts: dict[str, Any], items: dict[str, dict[str, Any]]) -> None:
        places = read_ledger(self.path)
        places[self.place] = {"facts": facts, "items": items}
        write_json(self.path / LEDGER, {"format": FORMAT, "version": VERSION, "places": places})
        self.facts, self.items = facts, items


def read_ledger(run: Path) -> dict[str, Any]:
    """What is noted of a run, by place; nothing where there is no ledger, or a damaged one.

    A damaged one costs nothing but time: the server is asked what it has before anything is sent.

    Raises:
        StoreError: when a newer version wrote it.
    """
    try:
        data = json.loads((run / LEDGER).read_text(encoding="utf-8"))
        version, places = int(data["version"]), dict(data["places"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    if version > VERSION:
        raise StoreError(
            f"{run / LEDGER}: expected a ledger of version {VERSION}, found {version}; "
            "run: pip install --upgrade jaxarc-trace"
        )
    return places


@contextmanager
def publishing(run: Path, patience: float = 5.0) -> Iterator[None]:
    """The right to publish a run, for one process at a time.

    Args:
        run: its directory.
        patience: seconds to wait for another one, which may be about to end.

    Raises:
        StoreError: when another process publishes it.
    """
    file = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        until = time.monotonic() + patience
        while not _taken(file):
            if time.monotonic() > until:
                raise StoreError(
                    f"{run}: expected a run that nobody publishes, found another process at it; "
                    "wait for it to end"
                )
            time.sleep(0.1)
        for partial in run.glob(f".{LEDGER}.*"):
            # Left by one that was killed while it wrote.
            partial.unlink(missing_ok=True)
        yield
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
