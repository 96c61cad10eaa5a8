"""The arrays of a store as TensorStore opens them, and their chunks that were decoded last."""

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorstore as ts
from jaxtyping import Shaped

from jaxarc_trace.store_format import HEADER, Leaf

__all__ = ["UNREADABLE", "Handles", "forget", "fresh_context", "handles_of", "open_array"]

CACHED_CHUNKS = 12
"""Decoded chunks kept of one store, so that going through its episodes decodes each chunk once."""
CACHED_STORES = 8
"""Stores that keep their handles and chunks; the others open theirs again, in 1.5 ms."""
_INDEX_BYTES = 2**22
"""Bytes of a store's own index, where each chunk lies, that are remembered at most."""
UNREADABLE = (ValueError, IndexError, OSError, RuntimeError, NotImplementedError, MemoryError)
"""What TensorStore raises for damaged bytes and missing files."""


def open_array(path: Path, name: str, context: ts.Context) -> ts.Future[ts.TensorStore]:
    """One array of the checkpoint at an absolute path; its result raises one of `UNREADABLE`."""
    base = {"driver": "file", "path": f"{path}/"}
    spec = {
        "driver": "zarr3",
        "kvstore": {
            "driver": "ocdbt",
            "base": base,
            "path": f"{name}/",
            "cache_pool": "cache_pool#index",
        },
        "recheck_cached_data": "open",
        "recheck_cached_metadata": "open",
    }
    return ts.open(spec, open=True, read=True, context=context)


def fresh_context() -> ts.Context:
    """A context of its own, since TensorStore takes a path for the same database for ever.

    It remembers where the chunks of the arrays lie, and no chunk.
    """
    return ts.Context(
        {
            "cache_pool": {"total_bytes_limit": 0},
            "cache_pool#index": {"total_bytes_limit": _INDEX_BYTES},
        }
    )


class Handles:
    """The open arrays of one store, and the chunks of them that were decoded last.

    Attributes:
        begin: `begin(name, leaf, index)` sets about reading a chunk, and gives its future.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays: dict[str, ts.TensorStore] = {}
        self._opening: dict[str, ts.Future[ts.TensorStore]] = {}
        self._context = fresh_context()
        self.begin = functools.lru_cache(maxsize=CACHED_CHUNKS)(self._begin)
        self._last: dict[str, int] = {}

    def expect(self, names: Iterable[str]) -> None:
        """Sets about opening arrays, side by side."""
        for name in names:
            if name not in self._opening:
                self._opening[name] = open_array(self._path, name, self._context)

    def open(self, name: str, leaf: Leaf) -> ts.TensorStore:
        """An array that is as `leaf` says; raises one of `UNREADABLE`."""
        if name in self._arrays:
            return self._arrays[name]
        self.expect((name,))
        array = self._opening[name].result()
        if array.shape != leaf.shape or array.dtype.name != leaf.dtype:
            raise ValueError(
                f"array {name!r} is {array.dtype.name} {list(array.shape)}, {HEADER} says "
                f"{leaf.dtype} {list(leaf.shape)}"
            )
        self._arrays[name] = array
        return array

    def chunk(self, name: str, leaf: Leaf, index: int) -> Shaped[np.ndarray, "rows ..."]:
        """Rows of one chunk, read-only `[rows_per_chunk, *row_shape]`; may raise `UNREADABLE`."""
        rows = self.begin(name, leaf, index).result()
        rows.flags.writeable = False
        return rows

    def chunk_in_order(self, name: str, leaf: Leaf, index: int) -> Shaped[np.ndarray, "rows ..."]:
        """As `chunk`; whoever reads one after the other finds the next one decoded already."""
        rows = self.chunk(name, leaf, index)
        if index == self._last.get(name, -1) + 1 < leaf.chunks - 1:
            self.begin(name, leaf, index + 1)
        self._last[name] = index
        return rows

    def _begin(self, name: str, leaf: Leaf, index: int) -> ts.Future:
        return self.open(name, leaf)[index].read()


@functools.lru_cache(maxsize=CACHED_STORES)
def handles_of(path: Path, commit: str) -> Handles:
    """Those of the store at a path, as long as the same one lies there."""
    del commit  # part of the key only: another store may have taken the place
    return Handles(path)


def forget() -> None:
    """Lets go of all that was read: something was damaged, and may be restored by the next time."""
    handles_of.cache_clear()
