"""Processes that draw: each takes one job at a time, so that one that dies costs its own only.

They are spawned, never forked: a forked JAX process may hang. Each is an executor with a single
worker, because a pool of several gives up all of its work when one of them is killed.
"""

import contextlib
import functools
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self

from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.worker import ready

__all__ = ["Lanes"]


class Lanes:
    """As many processes as asked for, each with its own queue of one job.

    Use as a context manager; leaving it waits for the pictures that are being drawn.
    """

    def __init__(self, count: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._free: list[Executor] = []
        self._busy: dict[Future[Any], Executor] = {}
        self._count = count
        self._proven = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for lane in (*self._free, *self._busy.values()):
            lane.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        """Lets each process end after the picture that it is drawing."""
        self._stop.set()

    @property
    def room(self) -> int:
        """How many jobs can begin now."""
        return self._count - len(self._busy)

    def submit(self, work: Any, job: Any) -> "Future[Any]":
        """Begins a job in a free process, starting one where there is none.

        Raises:
            RenderError: when processes do not start at all.
        """
        lane = self._free.pop() if self._free else self._started()
        future = lane.submit(work, job)
        self._busy[future] = lane
        return future

    def finish(self, future: "Future[Any]") -> None:
        """Takes back the process of a finished job; one that died is not used again."""
        lane = self._busy.pop(future)
        if isinstance(future.exception(), BrokenProcessPool):
            lane.shutdown(wait=True)
        else:
            self._free.append(lane)

    def _started(self) -> Executor:
        lane = ProcessPoolExecutor(
            1, mp_context=self._context, initializer=functools.partial(ready, self._stop)
        )
        with _without_interrupts():
            first = lane.submit(int)
        if not self._proven:
            self._prove(lane, first)
        return lane

    def _prove(self, lane: Executor, first: "Future[Any]") -> None:
        try:
            first.result()
        except BrokenProcessPool as error:
            lane.shutdown(wait=True)
            raise RenderError(
                "Worker processes do not start; what they said stands above. In a script, call "
                'this under `if __name__ == "__main__":`, or pass workers=1.'
            ) from error
        self._proven = True


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process started within inherits that Ctrl-C does not reach it, not even while it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
