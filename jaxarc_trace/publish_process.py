"""A child process with a deadline: what it says is passed on, and nothing of it outlives it."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxarc_trace.publish_plan import Job

__all__ = ["attempt", "environment"]

_CHILD = "jaxarc_trace.publish_child"
_KEPT = frozenset({"WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_CONFIG_DIR",
                   "WANDB_HTTP_TIMEOUT", "WANDB_HTTP_PROXY", "WANDB_HTTPS_PROXY",
                   "WANDB_X_EXTRA_HTTP_HEADERS", "WANDB_INSECURE_DISABLE_SSL",
                   "WANDB_IDENTITY_TOKEN_FILE", "WANDB_CREDENTIALS_FILE"})  # fmt: skip
_ENDING = 2.0
_STARTS = 5.0
"""An offline run takes a few times as long as starting a process does."""


def environment(job: Job, scratch: str) -> dict[str, str]:
    """The variables of the child.

    A training that uses W&B itself has variables set for its own run, which must not reach ours;
    staging and cache are put where they can be found again, or where they are cleaned away.

    Args:
        job: what to do.
        scratch: a folder for temporary files. Its path is short, since sockets are in it.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_") or k in _KEPT}
    online = job.publish.mode == "online"
    if not online:
        # Nothing is sent, so nothing needs to know the key.
        kept.pop("WANDB_API_KEY", None)
    places = {name: str(Path(job.work) / name.lower()) for name in ("DATA", "CACHE", "ARTIFACT")}
    return {
        **kept,
        **{f"WANDB_{name}_DIR": place for name, place in places.items()},
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "TMPDIR": scratch,
        # The training beside it may hold the accelerator.
        "JAX_PLATFORMS": "cpu",
    }


def attempt(
    job: Job, tell: Callable[[Mapping[str, Any]], None], whole: float | None = None
) -> str | None:
    """Runs a job in a process of its own, which has ended when this returns or raises.

    Args:
        job: what to do; `job.seconds` is how long it may take.
        tell: given each thing that the child says.
        whole: seconds that there are for this attempt and another one after it. Where starting is
            slow, because the machine is busy, more of them are left for the other one.

    Returns:
        What went wrong, in a sentence, or None.
    """
    with tempfile.TemporaryDirectory(prefix="jaxarc-trace-", ignore_cleanup_errors=True) as scratch:
        child = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(job, scratch),
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )
        return _led(child, job, tell, whole)


def _led(
    child: "subprocess.Popen[str]",
    job: Job,
    tell: Callable[[Mapping[str, Any]], None],
    whole: float | None,
) -> str | None:
    """Gives the child its job, hears it out, and ends it."""
    assert child.stdin is not None  # noqa: S101 - as asked for
    assert child.stdout is not None  # noqa: S101 - likewise
    said: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, said), daemon=True)
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(job.to_json() + "\n")
            child.stdin.flush()
        return _heard(said, job.seconds, tell, whole)
    finally:
        _end(child)
        reader.join(_ENDING)
        child.stdin.close()
        child.stdout.close()


def _heard(
    said: "queue.Queue[str | None]",
    seconds: float,
    tell: Callable[[Mapping[str, Any]], None],
    whole: float | None,
) -> str | None:
    """Passes on what the child says until its last word; returns what went wrong."""
    began = time.monotonic()
    doing = "starting"
    while True:
        try:
            line = said.get(timeout=max(0.0, began + seconds - time.monotonic()))
        except queue.Empty:
            return f"it was not done within {seconds:.0f} s, while {doing}"
        if whole is not None:
            start = time.monotonic() - began
            seconds = min(seconds, max(whole / 2, whole - _STARTS * start))
            whole = None
        if line is None:
            return "the process that publishes ended without a word"
        event = json.loads(line)
        doing = event.get("name", doing)
        tell(event)
        if event["event"] == "end":
            return None
        if event["event"] == "problem":
            return f"{event['text'].rstrip('.')}, while {doing}"


def _read(stream: Any, said: "queue.Queue[str | None]") -> None:
    with contextlib.suppress(ValueError):
        for line in stream:
            said.put(line)
    said.put(None)


def _end(child: "subprocess.Popen[str]") -> None:
    """Kills the child and all that it started; the client's service has a session of its own."""
    family = [child.pid, *_descendants(child.pid)]
    for pid in family:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _descendants(pid: int) -> list[int]:
    """Processes below one, from `/proc`, or none where there is no such thing.

    Without it they end by themselves: the client's service watches its parent.
    """
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, open_ = [], [pid]
    while open_:
        below = parents.get(open_.pop(), [])
        found += below
        open_ += below
    return found
