"""One piece of work at a time beside the program, finished before the program ends."""

import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as done
from typing import TypeVar

__all__ = ["THREADS_END_EARLY", "Background", "snapshot"]

THREADS_END_EARLY = (3, 12, 0) <= sys.version_info[:3] < (3, 12, 2)
"""Whether this Python starts no thread once the main one has ended, though others still run."""

Tree = TypeVar("Tree")


class Background:
    """Runs work on a thread of its own, one piece after the other.

    Submitting waits for the piece before, so that no more than one is held in memory. An error
    is raised by the next `submit` or `wait`, once.

    On Python 3.12.0 and 3.12.1 work is done by `submit` itself: these forbid new threads as soon as
    the main one ends (https://github.com/python/cpython/issues/113964), and a save that was under
    way then would be lost.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jaxarc-trace")
        self._pending: Future[None] | None = None
        # The executor's own exit handler comes first otherwise, and forbids the new threads
        # that Orbax starts for its work; Python has no public hook that is early enough.
        threading._register_atexit(_finish, weakref.ref(self))  # type: ignore[attr-defined] # noqa: SLF001 - see above

    def submit(self, work: Callable[[], None]) -> None:
        """Begins work once the piece before is done; raises what that one raised."""
        self.wait()
        self._pending = self._pool.submit(work)
        if THREADS_END_EARLY:
            done([self._pending])

    def wait(self) -> None:
        """Returns when nothing is pending; raises what the last piece raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                pending.result()
            except KeyboardInterrupt:
                # Whoever interrupts the waiting does not interrupt the work.
                self._pending = pending
                raise

    def close(self) -> None:
        """Waits, and ends the thread."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()


def snapshot(tree: Tree) -> Tree:
    """A pytree on the host that stays whole when the arrays of the first are donated.

    From an accelerator it is copied. On the CPU it is a view, and nothing is copied now: XLA does
    not reuse memory that NumPy looks at, so that the next call to which the array is donated
    copies it, once.
    """
    import jax

    return jax.device_get(tree)


def _finish(reference: "weakref.ref[Background]") -> None:
    background = reference()
    if background is not None:
        background.close()
