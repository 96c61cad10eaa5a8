"""Jobs given out, and what comes of them counted."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol

from jaxarc_trace.render.worker import Drawn, Job, clear_parts, draw, missing

__all__ = ["Borrowed", "Progress", "Tally", "run"]

_WINDOW = 64
_GONE = ("KilledWorker", "CommClosedError", "FutureCancelledError", "FutureLostError")


@dataclass(frozen=True)
class Progress:
    """How far it is.

    Attributes:
        episodes: how many there are.
        finished: of these, how many are done, failed ones included.
        pictures: files wanted in all, without those that were there.
        written: files written so far.
        failed: episodes that failed so far.
        seconds: time since the first was begun.
    """

    episodes: int
    finished: int
    pictures: int
    written: int
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Files a second."""
        return self.written / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float:
        """Seconds to go at this rate; infinite while nothing is known."""
        to_go = self.pictures - self.written
        return to_go / self.rate if self.rate else float("inf") if to_go else 0.0


class Tally:
    """Counts what came of the jobs, and tells whoever wants to know."""

    def __init__(
        self,
        episodes: int,
        finished: int,
        todo: Sequence[tuple[str, Job]],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.failed: list[tuple[str, str]] = []
        self.written: int = 0
        self._episodes, self._finished = episodes, finished
        self._pictures = sum(len(job.wants) for _, job in todo)
        self._progress = progress
        self._start = time.perf_counter()
        self._tell()

    @property
    def seconds(self) -> float:
        """Time since it was made."""
        return time.perf_counter() - self._start

    def add(self, name: str, drawn: Drawn) -> None:
        """Takes in what came of an episode."""
        self.written += drawn.written
        self._finished += 1
        if drawn.error:
            self.failed.append((name, drawn.error))
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            now = Progress(
                self._episodes,
                self._finished,
                self._pictures,
                self.written,
                len(self.failed),
                self.seconds,
            )
            self._progress(now)


class Slots(Protocol):
    """Where jobs run, so many at a time."""

    @property
    def room(self) -> int:
        """How many jobs can begin now."""
        ...

    def submit(self, work: Any, job: Any) -> "Future[Any]":
        """Begins a job."""
        ...

    def finish(self, future: "Future[Any]") -> None:
        """Takes back what a finished job held."""
        ...

    def stop(self) -> None:
        """Lets what is running end early, where that is possible."""
        ...


class Borrowed:
    """Somebody's executor, with a bounded number of jobs in it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._running = 0

    @property
    def room(self) -> int:
        """How many jobs can begin now."""
        return _WINDOW - self._running

    def submit(self, work: Any, job: Any) -> "Future[Any]":
        """Begins a job; in an executor that is broken it fails at once."""
        self._running += 1
        try:
            return self._executor.submit(work, job)
        except BrokenExecutor as error:
            lost: Future[Any] = Future()
            lost.set_exception(error)
            return lost

    def finish(self, future: "Future[Any]") -> None:
        """Makes room for the next."""
        del future
        self._running -= 1

    def stop(self) -> None:
        """Nothing: it is not ours."""


def run(slots: Slots, todo: Sequence[tuple[str, Job]], tally: Tally) -> None:
    """Gives out jobs in order, as many at a time as there is room for, until all are done."""
    waiting = iter(todo)
    running: dict[Future[Any], tuple[str, Job]] = {}
    try:
        while True:
            for name, job in _next(waiting, slots.room):
                running[slots.submit(draw, job)] = (name, job)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, job = running.pop(future)
                slots.finish(future)
                tally.add(name, _outcome(future, job))
    finally:
        slots.stop()
        for future in running:
            future.cancel()
        # What is being drawn is finished before anybody looks at the folder.
        wait(running)


def _next(waiting: Iterator[tuple[str, Job]], room: int) -> Iterator[tuple[str, Job]]:
    for _, entry in zip(range(room), waiting, strict=False):
        yield entry


def _outcome(future: "Future[Any]", job: Job) -> Drawn:
    problem = future.exception()
    if problem is None:
        return future.result()
    if isinstance(problem, BrokenExecutor) or _of_a_cluster(problem):
        clear_parts(job.folder)
        left = len(job.wants) - len(missing(job))
        words = "its worker process was killed, perhaps for want of memory; run it again"
        return Drawn(left, words)
    raise problem


def _of_a_cluster(problem: BaseException) -> bool:
    """Whether it tells of a worker that is gone, in the words of Dask."""
    kind = type(problem)
    return kind.__module__.partition(".")[0] == "distributed" and kind.__name__ in _GONE
