"""Executors by name, for the command line: threads here, a Dask cluster, or the processes of MPI.

`render_all` takes any `concurrent.futures.Executor`; these are the ones that are tested with it.
Whatever runs the workers, they have to see the run and the folder that the files go to under the
same paths, and to have this package in the same version.
"""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from jaxarc_trace.errors import RenderError, require
from jaxarc_trace.render.text import visible

__all__ = ["EXECUTORS", "executor_named"]

EXECUTORS = ("process", "thread", "dask", "mpi")
_PATIENCE = 30


@contextmanager
def executor_named(
    name: str, *, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Executor | None]:
    """An executor to give to `render_all`; it ends with the block.

    Args:
        name: `process` is None, which makes `render_all` spawn its own; `thread` draws in threads
            of this process; `dask` on a Dask cluster; `mpi` in the processes that `mpiexec`
            started, or can start.
        workers: how many; None leaves it to the executor. With a scheduler it is the cluster's.
        scheduler: address of a running Dask scheduler, for instance `tcp://host:8786`; without it a
            cluster of processes is started on this machine.

    Raises:
        RenderError: for an unknown name, a scheduler for anything but Dask, or one that cannot be
            reached.
        MissingExtraError: when `distributed` or `mpi4py` is not installed.
    """
    if name not in EXECUTORS:
        raise RenderError(
            f"Expected an executor of {', '.join(EXECUTORS)}; found {visible(repr(name), 60)}."
        )
    if scheduler is not None and name != "dask":
        raise RenderError(
            f"A scheduler's address is for the executor dask; found it with {name}. Leave it out, "
            "or choose dask."
        )
    if name == "process":
        yield None
    elif name == "thread":
        with ThreadPoolExecutor(workers) as pool:
            yield pool
    elif name == "dask":
        with _dask(workers, scheduler) as client, client.get_executor() as pool:
            yield pool
    else:
        futures: Any = require("mpi4py.futures", "mpi", "Drawing by MPI")
        with futures.MPIPoolExecutor(workers) as pool:
            yield pool


@contextmanager
def _dask(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    distributed: Any = require("distributed", "dask", "Drawing on a Dask cluster")
    if scheduler is None:
        with (
            distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=_PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise RenderError(
            f"Cannot reach a Dask scheduler at {visible(scheduler, 200)} ({visible(error, 200)}); "
            "start one with `dask scheduler`, and give its address, such as tcp://host:8786."
        ) from error
    with client:
        yield client
