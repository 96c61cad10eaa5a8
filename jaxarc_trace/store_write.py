"""Writes a store to a fresh path: all of it or nothing. The only file that imports Orbax.

The order that makes a crash harmless: everything is written to a hidden sibling, `COMMIT` last,
every file is flushed to the device, then the sibling is renamed to the path that was asked for.
"""

import contextlib
import errno
import functools
import glob
import hashlib
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorstore as ts
from jaxtyping import Shaped

from jaxarc_trace.errors import StoreError
from jaxarc_trace.fresh import although_interrupted
from jaxarc_trace.store_arrays import fresh_context, open_array
from jaxarc_trace.store_format import COMMIT, HEADER

__all__ = ["PARTIAL", "refuse_taken", "write"]

PARTIAL = ".partial-"
"""How the name of an unfinished store begins; one that no process is writing may be deleted."""
REMOVALS = 12


def write(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]], header: str) -> None:
    """Writes one store.

    Args:
        path: absolute path at which nothing exists yet.
        arrays: leaves by name, in their shape on disk: `[chunks, ...]`.
        header: the text of `trace.json`.

    Raises:
        StoreError: when the path is taken or cannot be written; nothing is left behind.
    """
    refuse_taken(path)
    partial = path.parent / f"{PARTIAL}{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _without_wildcards(path.parent) as folder:
            _write_checkpoint(folder / partial.name, arrays)
        context = fresh_context()
        for name, array in arrays.items():
            _expect(open_array(partial, name, context).result(), name, array)
        (partial / HEADER).write_text(header, encoding="utf-8")
        _commit(partial)
        # A rename onto a directory that holds something fails, so two writers cannot mix.
        partial.rename(path)
        _flush(path.parent)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            refuse_taken(path)
        raise StoreError(
            f"{path}: could not be written ({_reason(error)}); nothing was left there. Check "
            "that the directory can be written and has space, or choose another path"
        ) from error
    finally:
        although_interrupted(lambda: _remove(path.parent, partial.name))


def refuse_taken(path: Path) -> None:
    """Raises StoreError when something exists at the path."""
    if os.path.lexists(path):
        raise StoreError(
            f"{path}: expected a path where nothing exists, found something there; a store is "
            "never overwritten: choose another path or remove it first"
        )


@contextlib.contextmanager
def _without_wildcards(folder: Path) -> Iterator[Path]:
    """The folder under a name that Orbax does not take for a pattern.

    Orbax finds the parts of its own database with `glob`; in a folder named `x=[1,2]` it finds
    none and commits a checkpoint without data.
    """
    if glob.escape(str(folder)) == str(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="jaxarc-trace-") as plain:
        link = Path(plain) / "folder"
        link.symlink_to(folder, target_is_directory=True)
        yield link


def _write_checkpoint(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
    import orbax.checkpoint as ocp

    _quieten()
    # The arrays are copies already; Orbax would copy each of them once more.
    numpy_handler = ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)
    # One process writes, whatever others the program has; Orbax would wait for all of them.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix=uuid.uuid4().hex
    )
    handler = ocp.PyTreeCheckpointHandler(
        use_ocdbt=True,
        use_zarr3=True,
        multiprocessing_options=alone,
        type_handler_registry=ocp.type_handlers.create_type_handler_registry(
            (np.ndarray, numpy_handler)
        ),
    )
    # Splits the first axis into single rows: every `[1, rows_per_chunk, ...]` becomes a chunk.
    chunked = ocp.SaveArgs(shard_axes=(0,))
    with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        checkpointer.save(
            path,
            args=ocp.args.PyTreeSave(item=dict(arrays), save_args=dict.fromkeys(arrays, chunked)),
        )


def _expect(found: ts.TensorStore, name: str, array: Shaped[np.ndarray, "..."]) -> None:
    """Orbax commits without an error where it did not find its own parts; see above."""
    if found.shape != array.shape or found.dtype.name != array.dtype.name:
        raise ValueError(f"array {name!r} is {found.dtype.name} {list(found.shape)} on disk")


def _commit(path: Path) -> None:
    """Flushes every file, then lists them with their SHA-256, as `sha256sum` does."""
    lines: list[str] = []
    folders = [path]
    for file in sorted(path.rglob("*")):
        if file.is_dir():
            folders.append(file)
            continue
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        lines.append(f"{digest}  {file.relative_to(path).as_posix()}\n")
    for folder in folders[1:]:
        _flush(folder)
    with (path / COMMIT).open("x", encoding="utf-8") as marker:
        marker.writelines(lines)
        marker.flush()
        os.fsync(marker.fileno())
    _flush(path)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path, prefix: str) -> None:
    """Removes what lies in the folder under that name; Orbax adds a suffix to its own temporary.

    When one array cannot be written, Orbax returns while the others are still under way, so that
    the directory may come back for a moment.
    """
    for attempt in range(REMOVALS):
        found = _named(folder, prefix)
        if not found and attempt != 1:
            return
        for leftover in found:
            shutil.rmtree(leftover, ignore_errors=True)
        time.sleep(0.05 * attempt)


def _named(folder: Path, prefix: str) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.name.startswith(prefix)]
    except OSError:
        return []


def _reason(error: Exception) -> str:
    """What an error says, without the long annotations of TensorStore."""
    text = str(error).split(" [tensorstore_spec=", maxsplit=1)[0]
    return f"{type(error).__name__}: {text.split(' [source locations=')[0]}"[:400]


class _NotFromOrbax(logging.Filter):
    """Drops what Orbax tells of its own working; what the program logs through absl passes.

    Its errors are raised as well, and their text is in the StoreError.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "/orbax/" not in record.pathname


@functools.cache
def _quieten() -> None:
    logging.getLogger("absl").addFilter(_NotFromOrbax())
