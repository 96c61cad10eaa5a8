"""A child process with a deadline: what it says is passed on, and nothing of it outlives it."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
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


def environment(job: Job) -> dict[str, str]:
    """The variables of the child.

    A training that uses W&B itself has variables set for its own run, which must not reach ours;
    staging and cache are put where they can be found again, or where they are cleaned away.
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
        # The training beside it may hold the accelerator.
        "JAX_PLATFORMS": "cpu",
    }


def attempt(job: Job, tell: Callable[[Mapping[str, Any]], None]) -> str | None:
    """Runs a job in a process of its own, which has ended when this returns or raises.

    Args:
        job: what to do; `job.seconds` is how long it may take.
        tell: given each thing that the child says.

    Returns:
        What went wrong, in a sentence, or None.
    """
    child = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(job),
        start_new_session=True,
        text=True,
        encoding="utf-8",
    )
    assert child.stdin is not None  # noqa: S101 - as asked for
    assert child.stdout is not None  # noqa: S101
    said: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, said), daemon=True)
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(job.to_json() + "\n")
            child.stdin.flush()
        return _heard(said, job.seconds, tell)
    finally:
        _end(child)
        reader.join(_ENDING)
        child.stdin.close()
        child.stdout.close()


def _heard(
    said: "queue.Queue[str | None]", seconds: float, tell: Callable[[Mapping[str, Any]], None]
) -> str | None:
    """Passes on what the child says until its last word; returns what went wrong."""
    until = time.monotonic() + seconds
    doing = "starting"
    while True:
        try:
            line = said.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return f"it was not done within {seconds:.0f} s, while {doing}"
        if line is None:
            return "the process that publishes ended without a word"
        event = json.loads(line)
        doing = event.get("name", doing)
        tell(event)
        if event["event"] in ("end", "problem"):
            return event.get("text")


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
