"""The program that the crash tests kill: it saves, cleans and exports for ever.

It runs in processes forked from a server that has imported everything, so that hundreds of them
can be ended within minutes. Nothing is shared with the tests but the file system.
"""

import os
import signal
from pathlib import Path

from jaxarc_trace.cleaning import runs_under
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.exchange import export
from jaxarc_trace.retention import Retention
from jaxarc_trace.run import Run
from jaxarc_trace.store import save as _save  # noqa: F401 - imported before the server forks
from tests.recordings import recording

__all__ = ["BEGUN", "EPISODES", "KEPT", "VOUCHED", "torment"]

KEPT = 4
EPISODES = 40
BEGUN, VOUCHED = "begun", "vouched"


def torment(root: Path, seed: int) -> None:
    """Writes to the run under a root; `vouched` names each save that is on disk by now."""
    # A shell that runs the tests in its background has told its children to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    held = recording([30] * EPISODES, seed=seed, side=12)
    notes = os.open(root / VOUCHED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    (root / BEGUN).touch()
    limits = Retention("oldest_first", max_saves=KEPT)
    runs = runs_under(root)
    run = Run.resume(runs[0], retention=limits) if runs else Run.create(root, retention=limits)
    before = None
    for step in range(10_000):
        path = run.save(held, step=step, background=True)
        if before is not None:
            # A save begins when the one before is on disk.
            os.write(notes, f"{before.name}\n".encode())
        before = path
        # While it is saved, so that a moment often hits both.
        export(Episodes.of(held)[:20], root / f"{seed}-{step}.jsonl.gz")
        if step % 3 == 2:
            assert len(run.episodes()[0]) == 30
