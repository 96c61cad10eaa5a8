"""Reads one store through TensorStore: its index when it is opened, then one episode at a time.

Nothing that is read is trusted: `COMMIT` vouches for `trace.json`, that for the columns, and the
columns hold the checksum of each episode.
"""

import contextlib
import functools
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped, UInt8

from jaxarc_trace.errors import CorruptEpisodeError, StoreError
from jaxarc_trace.names import located
from jaxarc_trace.recording import EpisodeBytes
from jaxarc_trace.schema import RecordSchema
from jaxarc_trace.store_arrays import UNREADABLE, forget, handles_of
from jaxarc_trace.store_commit import committed_files, marker_of
from jaxarc_trace.store_format import (
    COMMIT,
    HEADER,
    Header,
    Leaf,
    checksum,
    episode_checksum,
)

__all__ = ["StoredTrace", "open_store"]

_READERS = 3
_BLOCK_BYTES = 2**24
_BLOCK_ROWS = 512
"""Decoded bytes and episodes that one reader of a stream has in hand at most."""
_PLACES = ("start", "kept", "checksum")


class StoredTrace:
    """An open store, a `Source`. Pickles by path.

    Attributes:
        path: absolute path of the store.
        header: what its `trace.json` says.
        files: SHA-256 of each of its files, by relative name.
        commit: SHA-256 of its `COMMIT`, which no other store has.
        lease: what keeps the store from being cleaned away, if anything; it lives as long.
    """

    lease: object = None

    def __init__(self, path: Path, header: Header, files: Mapping[str, str], commit: str) -> None:
        self.path = path
        self.header = header
        self.files = files
        self.commit = commit
        self.name: str = str(path)
        self.key: tuple[str, int] = (header.run, header.process)
        self.schema: RecordSchema = RecordSchema.from_json(header.schema)
        self.policies: tuple[str, ...] = tuple(header.policies)
        self.environment: Mapping[str, Any] = header.environment
        self.metadata: Mapping[str, Any] = header.metadata
        self.spec: Mapping[str, Any] = header.spec
        self._some: tuple[int, Shaped[np.ndarray, " rows"]] | None = None

    @property
    def columns(self) -> Mapping[str, Shaped[np.ndarray, " N"]]:
        """`[N]` arrays, one value an episode; read when they are first asked for.

        Raises:
            StoreError: when they are damaged.
        """
        return self._columns

    @functools.cached_property
    def _columns(self) -> Mapping[str, Shaped[np.ndarray, " N"]]:
        rows = self._whole("columns").reshape(-1).view(self.header.row_dtype)
        return {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}

    def values(self, row: int) -> Mapping[str, Any]:
        """What the columns say of one episode; of a large store only a part of them is read.

        Raises:
            StoreError: when that part is damaged.
        """
        leaf = self.header.leaves["columns"]
        index, place = divmod(row, leaf.rows_per_chunk)
        if "_columns" in self.__dict__ or not leaf.chunk_sha256:
            return {name: column[row] for name, column in self.columns.items()}
        if self._some is None or self._some[0] != index:
            octets = self._read("columns", leaf, index)
            self._some = (index, octets.reshape(-1).view(self.header.row_dtype))
        found = self._some[1][place]
        return {name: found[name] for name in found.dtype.names or ()}

    def __len__(self) -> int:
        return self.header.episodes

    def __reduce__(self) -> tuple[Callable[..., "StoredTrace"], tuple[Path, str]]:
        return _reopen, (self.path, self.commit)

    def packed(self, row: int) -> EpisodeBytes:
        """The packed bytes of one episode, checked.

        Returns:
            Its records uint8 `[T, record_bytes]`, its constants and its final state.

        Raises:
            CorruptEpisodeError: when they cannot be read or are not what was written.
        """
        self._expect(row)
        values = self.values(row)
        start = int(values["start"])
        stop = start + int(values["kept"])
        try:
            records = self._rows("records", start, stop)
            constants = self._rows("constants", row, row + 1)
            finals = self._rows("finals", row, row + 1)
        except UNREADABLE as error:
            raise self._corrupt(row, f"cannot be read ({_first_line(error)})") from error
        if episode_checksum(records, constants, finals) != int(values["checksum"]):
            raise self._corrupt(row, "does not match its checksum")
        return records, constants[0], finals[0]

    def _expect(self, row: int) -> None:
        """Sets about reading what `packed` needs of an episode, all at once."""
        handles = handles_of(self.path, self.commit)
        by_row = ("constants", "finals")
        if "_columns" not in self.__dict__ and self.header.leaves["columns"].chunk_sha256:
            by_row = ("columns", *by_row)
        leaves = self.header.leaves
        handles.expect(name for name in (*by_row, "records") if name in leaves)
        for name in by_row:
            if leaf := leaves.get(name):
                # Whoever reads it is told what is wrong with it.
                with contextlib.suppress(*UNREADABLE):
                    handles.begin(name, leaf, row // leaf.rows_per_chunk)

    def stream(self, rows: Sequence[int]) -> Iterator[EpisodeBytes | CorruptEpisodeError]:
        """`packed` of each of these rows in turn, or the error that it raises.

        Rows that lie side by side are decoded and checked some 50 megabytes ahead of the reader, by
        three threads.
        """
        wanted = np.asarray(rows, np.int64)
        if len(wanted) < 2 or (np.diff(wanted) != 1).any():
            yield from map(self._packed_or_error, wanted.tolist())
            return
        first = int(wanted[0])
        sizes = self.columns["kept"][first : first + len(wanted)] * self.schema.record_bytes
        with ThreadPoolExecutor(_READERS, "jaxarc-trace-read") as pool:
            jobs = (pool.submit(self._run, first + i, first + j) for i, j in _blocks(sizes))
            ahead = deque(itertools.islice(jobs, _READERS))
            while ahead:
                found = ahead.popleft().result()
                ahead.extend(itertools.islice(jobs, 1))
                yield from found

    def _run(self, first: int, stop: int) -> list[EpisodeBytes | CorruptEpisodeError]:
        """The episodes in the rows `first:stop`, read at once."""
        starts, kept, sums = (self.columns[n][first:stop].tolist() for n in _PLACES)
        begin, end = starts[0], starts[-1] + kept[-1]
        try:
            records = self._span("records", begin, end)
            constants, finals = (self._span(n, first, stop) for n in ("constants", "finals"))
        except UNREADABLE:
            return list(map(self._packed_or_error, range(first, stop)))
        found: list[EpisodeBytes | CorruptEpisodeError] = []
        for index, (start, length, expected) in enumerate(zip(starts, kept, sums, strict=True)):
            own = records[start - begin : start - begin + length]
            parts = (own, constants[index], finals[index])
            right = episode_checksum(*parts) == expected
            found.append(parts if right else self._packed_or_error(first + index))
        return found

    def _packed_or_error(self, row: int) -> EpisodeBytes | CorruptEpisodeError:
        try:
            return self.packed(row)
        except CorruptEpisodeError as error:
            return error

    def steps(self, name: str) -> Shaped[np.ndarray, " S"] | None:
        """A value of every transition `[S]`, the episodes one after the other, or None.

        Raises:
            StoreError: when the column is damaged.
        """
        leaf = f"steps.{name}"
        return self._whole(leaf) if leaf in self.header.leaves else None

    def damaged_files(self) -> list[str]:
        """Files that are missing or not what was committed, in order."""
        return [name for name, digest in self.files.items() if _sha256(self.path / name) != digest]

    def _whole(self, name: str) -> Shaped[np.ndarray, "rows ..."]:
        """All rows of a leaf that has a checksum of its own."""
        return self._read(name, self.header.leaves[name], None)

    def _read(self, name: str, leaf: Leaf, index: int | None) -> Shaped[np.ndarray, "rows ..."]:
        """The rows of one chunk of a leaf, or all, that are what was written."""
        expected = leaf.sha256 if index is None else leaf.chunk_sha256[index]
        size = leaf.rows_per_chunk
        count = leaf.rows if index is None else min(size, leaf.rows - index * size)
        try:
            handles = handles_of(self.path, self.commit)
            if index is None:
                rows = handles.open(name, leaf).read().result()
            else:
                rows = handles.chunk(name, leaf, index)
            rows = rows.reshape(-1, *leaf.row_shape)[:count]
            problem = "" if checksum(rows).hexdigest() == expected else "its checksum differs"
        except UNREADABLE as error:
            rows, problem = np.zeros(0), _first_line(error)
        if problem:
            forget()
            raise StoreError(
                f"{self.path}: the part {name!r} is damaged ({problem}; files that changed: "
                f"{', '.join(self.damaged_files()) or 'none'}); restore the store from a copy"
            )
        return rows

    def _rows(self, name: str, start: int, stop: int) -> UInt8[np.ndarray, "rows row_bytes"]:
        """The rows `start:stop` of a leaf; an absent leaf has rows without bytes."""
        leaf = self.header.leaves.get(name)
        if leaf is None or start == stop:
            return np.zeros((stop - start, *(leaf.row_shape if leaf else (0,))), np.uint8)
        handles = handles_of(self.path, self.commit)
        first, last = leaf.chunk_range(start, stop)
        size = leaf.rows_per_chunk
        parts = [
            handles.chunk_in_order(name, leaf, index)[
                max(start - index * size, 0) : stop - index * size
            ]
            for index in range(first, last)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _span(self, name: str, start: int, stop: int) -> UInt8[np.ndarray, "rows row_bytes"]:
        """As `_rows`, of many chunks that nobody asks for again."""
        leaf = self.header.leaves.get(name)
        if leaf is None or start == stop:
            return self._rows(name, start, stop)
        first, last = leaf.chunk_range(start, stop)
        chunks = handles_of(self.path, self.commit).open(name, leaf)[first:last].read().result()
        chunks.flags.writeable = False
        skipped = first * leaf.rows_per_chunk
        return chunks.reshape(-1, *leaf.row_shape)[start - skipped : stop - skipped]

    def _corrupt(self, row: int, problem: str) -> CorruptEpisodeError:
        forget()
        values = self.values(row)
        lane, number = (int(values[name]) for name in ("lane", "number"))
        return CorruptEpisodeError(
            f"{self.path}: episode {row} (lane {lane}, number {number}) {problem}; files that "
            f"changed since they were written: {', '.join(self.damaged_files()) or 'none'}. The "
            "other episodes are unaffected; restore the store from a copy to get this one back"
        )


def open_store(path: Path, *, whole: bool = True) -> StoredTrace:
    """Opens the store at a path: reads its index, no episode.

    Args:
        path: where it is.
        whole: also read the columns of a large store now, so that damage to them shows now.

    Raises:
        NotATraceError: when nothing was committed there.
        FormatVersionError: when a newer version of the format wrote it.
        StoreError: when its index is damaged.
    """
    path = located(path)
    marker = marker_of(path)
    files = committed_files(path, marker)
    try:
        text = (path / HEADER).read_bytes()
    except OSError as error:
        raise StoreError(
            f"{path}/{HEADER}: was committed and cannot be read ({error}); restore it from a copy"
        ) from error
    if hashlib.sha256(text).hexdigest() != files[HEADER]:
        raise StoreError(
            f"{path}/{HEADER}: does not match the checksum in {COMMIT}, one of the two is "
            "damaged; restore both from a copy"
        )
    header = Header.from_json(text.decode(), str(path))
    store = StoredTrace(path, header, files, hashlib.sha256(marker.encode()).hexdigest())
    if whole or header.leaves["columns"].chunks == 1:
        _ = store.columns
    return store


def _reopen(path: Path, commit: str) -> StoredTrace:
    store = open_store(path)
    if store.commit != commit:
        raise StoreError(
            f"{path}: another trace is stored here than when this handle was made; load it again"
        )
    return store


def _blocks(sizes: Integer[np.ndarray, " episodes"]) -> Iterator[tuple[int, int]]:
    """Splits episodes of so many bytes into runs of growing size, the first one soon read."""
    ends = np.cumsum(sizes, dtype=np.int64)
    start, room = 0, _BLOCK_BYTES // 32
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + room, side="right"))
        stop = min(max(stop, start + 1), start + _BLOCK_ROWS)
        yield start, stop
        start, room = stop, min(2 * room, _BLOCK_BYTES)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def _first_line(error: BaseException) -> str:
    text = str(error).split(" [tensorstore_spec=", maxsplit=1)[0]
    return text.split(" [source locations=", maxsplit=1)[0].splitlines()[0][:300]
