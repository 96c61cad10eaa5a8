"""Saving and loading traces. `docs/format.md` says what the files hold, byte for byte."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import StoreError
from jaxarc_trace.names import located
from jaxarc_trace.recording import Recording
from jaxarc_trace.store_read import open_store
from jaxarc_trace.store_verify import Verification, verify_store

if TYPE_CHECKING:
    from jaxarc_trace.trace import Trace

__all__ = ["Verification", "load", "local_path", "save", "verify"]

PathLike = str | os.PathLike[str]


def save(
    path: PathLike,
    trace: "Trace | Recording",
    metadata: Mapping[str, Any] | None = None,
    *,
    run: str = "",
    process: int = 0,
    timeout: float = 600.0,
) -> Path:
    """Writes a trace to a fresh path: all of it or nothing.

    A trace that is spread over the processes of one JAX program is saved by all of them: each
    calls this with the same path, on a file system that all see. `docs/clusters.md` shows it.

    Args:
        path: where nothing exists yet; its parent directories are made.
        trace: what to save.
        metadata: anything that JSON holds, for instance the training step.
        run: identity of the run that it belongs to. `load` takes the same episode of the same
            run, saved twice, once.
        process: index of the JAX process.
        timeout: seconds that the processes of a program wait for each other.

    Returns:
        The absolute path.

    Raises:
        SpecError: when metadata is not JSON, naming the place.
        StoreError: when the path is taken or cannot be written, or a process is gone or late;
            nothing is left behind.
    """
    from jaxarc_trace import store_write

    target = local_path(path)
    store_write.refuse_taken(target)
    if isinstance(trace, Recording):
        _write(target, trace, metadata, run, process)
        return target
    from jaxarc_trace import together

    if not together.is_spread(trace):
        together.refuse_alone(target)
        _write(target, _take(trace), metadata, run, process)
        return target
    with together.gathered(target, trace, timeout) as recording:
        if recording is not None:
            _write(target, recording, metadata, run, process)
    return target


def _write(
    target: Path,
    recording: Recording,
    metadata: Mapping[str, Any] | None,
    run: str,
    process: int,
) -> None:
    from jaxarc_trace import store_pack, store_write

    columns = store_pack.episode_columns(recording)
    leaves = store_pack.leaves(recording, columns)
    header = store_pack.describe(
        recording,
        columns,
        {name: leaf for name, (leaf, _) in leaves.items()},
        metadata,
        run=run,
        process=process,
    )
    arrays = {name: leaf.chunked(rows) for name, (leaf, rows) in leaves.items()}
    store_write.write(target, arrays, header.to_json())


def load(path: PathLike | Sequence[PathLike], *, env: Any = None, **options: Any) -> Episodes:
    """Opens one stored trace or several: reads their index, no episode.

    Of one, what there is to know of all episodes is read when it is first asked for, if it is
    long: opening takes the same time however many there are.

    Of several, an episode that was saved more than once is there once; see `Episodes.join`.

    Args:
        path: what `save` returned, or a list of such.
        env: the environment, for episodes of which only actions were recorded
            (`TraceSpec(record="actions")`): their states are rebuilt when they are read, and
            checked by their digests.
        options: `probe`, `env_params`, `state`, `action` and `terminal`, as for `replay`.

    Raises:
        NotATraceError: when nothing was committed there.
        FormatVersionError: when a newer version of the format wrote it.
        StoreError: when its index is damaged. (A damaged episode raises CorruptEpisodeError
            when it is read.)
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    whole = len(paths) > 1
    episodes = Episodes.join([open_store(local_path(entry), whole=whole) for entry in paths])
    if env is None:
        return episodes
    from jaxarc_trace.replay import with_frames

    return episodes.shown_as(functools.partial(with_frames, env=env, **options))


def verify(path: PathLike) -> Verification:
    """Reads every episode and file of a stored trace and says which are damaged.

    Raises:
        NotATraceError: when nothing was committed there.
        FormatVersionError: when a newer version of the format wrote it.
    """
    return verify_store(local_path(path))


def _take(trace: "Trace") -> Recording:
    from jaxarc_trace.take import take

    return take(trace)


def local_path(path: PathLike) -> Path:
    """The absolute path, if it is one at which a store can be.

    Raises:
        StoreError: when it is an address, or one that TensorStore cannot open.
    """
    text = os.fspath(path)
    if "://" in text:
        raise StoreError(
            f"{text}: expected a path of this machine's file system, found an address; save to a "
            "local path and copy the directory"
        )
    path = located(text)
    if "\\" in str(path) or _not_utf8(str(path)):
        raise StoreError(
            f"{str(path)!r}: expected a path that TensorStore can open, found a backslash, which "
            "it takes for a separator, or bytes that are not UTF-8; choose another name"
        )
    return path


def _not_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
