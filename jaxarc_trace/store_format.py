"""The storage format, version 1: what is where in a stored trace. `docs/format.md` is its text.

A stored trace is one Orbax checkpoint directory with two files of ours beside Orbax's own:
`trace.json` describes everything, `COMMIT` lists the SHA-256 of every file and is written last.
Nothing here reads or writes a file.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from jaxarc_trace.errors import FormatVersionError, SpecError, StoreError

__all__ = [
    "COMMIT",
    "HEADER",
    "MANIFEST",
    "VERSION",
    "Header",
    "Leaf",
    "episode_checksum",
    "json_ready",
]

NAME = "jaxarc-trace"
VERSION = 1
HEADER = "trace.json"
COMMIT = "COMMIT"
MANIFEST = "run.json"
"""Stands in the directory of a run, which is no store and holds many."""
CHUNK_BYTES = 2**18
"""Raw bytes of one storage chunk. `benchmarks/storage.py --layout` compares 128 KiB to 2 MiB: one
episode is read fastest at 256 KiB, a large store has fewest keys at 2 MiB; damage costs a chunk."""
_PARTS = 128
"""Chunks of an array of which one row is read for an episode; small, until there are so many."""
MAX_DEPTH = 64


@dataclass(frozen=True)
class Leaf:
    """One array of the checkpoint: equal rows, cut into chunks, the last one padded with zeros.

    On disk it is `[chunks, rows_per_chunk, *row_shape]`, each `[1, rows_per_chunk, ...]` a chunk
    of its own. Row `i` is at `[i // rows_per_chunk, i % rows_per_chunk]`.

    Attributes:
        dtype: NumPy's name of its dtype.
        rows: rows that carry data.
        row_shape: shape of one row.
        rows_per_chunk: rows of one chunk.
        sha256: checksum of the rows that carry data, in order, as hexadecimal; empty where
            each episode's own checksum covers them.
        chunk_sha256: the same of the rows of each chunk, where single rows are asked for.
    """

    dtype: str
    rows: int
    row_shape: tuple[int, ...]
    rows_per_chunk: int
    sha256: str = ""
    chunk_sha256: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        rows: Shaped[np.ndarray, "n ..."],
        *,
        single: bool = False,
        summed: bool = False,
        by_chunk: bool = False,
    ) -> "Leaf":
        """How `rows` `[n, *row_shape]` are stored.

        Args:
            rows: the rows.
            single: whether one of them is read at a time, so that smaller chunks pay.
            summed: whether there is a checksum of all of them.
            by_chunk: whether there is one of each chunk.
        """
        row_bytes = max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize)
        small = max(CHUNK_BYTES // 4, rows.nbytes // _PARTS) if single else CHUNK_BYTES
        per_chunk = max(1, min(small // row_bytes, CHUNK_BYTES // row_bytes, len(rows)))
        total = checksum(rows).hexdigest() if summed else ""
        starts = range(0, len(rows), per_chunk) if by_chunk else ()
        parts = tuple(checksum(rows[start : start + per_chunk]).hexdigest() for start in starts)
        return cls(rows.dtype.name, len(rows), rows.shape[1:], per_chunk, total, parts)

    @property
    def chunks(self) -> int:
        """Number of chunks; at least one, since zarr knows no empty array."""
        return max(1, -(-self.rows // self.rows_per_chunk))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape on disk."""
        return (self.chunks, self.rows_per_chunk, *self.row_shape)

    def chunked(
        self, rows: Shaped[np.ndarray, "n ..."]
    ) -> Shaped[np.ndarray, "chunks rows_per_chunk ..."]:
        """`rows` in the shape on disk; a copy where they must be padded."""
        if len(rows) == self.chunks * self.rows_per_chunk:
            return rows.reshape(self.shape)
        padded = np.zeros((self.chunks * self.rows_per_chunk, *self.row_shape), self.dtype)
        padded[: self.rows] = rows
        return padded.reshape(self.shape)

    def chunk_range(self, start: int, stop: int) -> tuple[int, int]:
        """First chunk that holds one of the rows `start:stop`, and the one after the last."""
        return start // self.rows_per_chunk, max(1, -(-stop // self.rows_per_chunk))


@dataclass(frozen=True)
class Header:
    """What `trace.json` says. Fields added in later versions have defaults.

    Attributes:
        episodes: number of episodes.
        steps: number of transitions of all of them.
        leaves: the arrays of the checkpoint by name.
        columns: name, dtype and first byte of each per-episode value within its row of the leaf
            `columns`.
        schema: the layout of records, constants and final states, as `RecordSchema.to_json`.
        policies: names of the bits of the column `kept_by`.
        environment: description of the environment.
        spec: what was asked to be kept, and how much was seen.
        metadata: the user's own.
        packages: versions of the packages that wrote it.
        created: UTC time of writing, ISO 8601.
        process: index of the JAX process that wrote it.
        run: identity of the run it belongs to; empty outside a run.
        checksum: what the column `checksum` holds.
        version: version of the format.
        format: name of the format.
    """

    episodes: int
    steps: int
    leaves: Mapping[str, Leaf]
    columns: Sequence[Mapping[str, Any]]
    schema: Mapping[str, Any]
    policies: Sequence[str] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    process: int = 0
    run: str = ""
    checksum: str = "first 8 bytes, little-endian, of SHA-256 of records + constants + final"
    version: int = VERSION
    format: str = NAME

    @property
    def row_dtype(self) -> np.dtype:
        """Structured dtype of one row of the leaf `columns`."""
        return np.dtype(
            {
                "names": [column["name"] for column in self.columns],
                "formats": [column["dtype"] for column in self.columns],
                "offsets": [column["offset"] for column in self.columns],
                "itemsize": self.leaves["columns"].row_shape[0],
            }
        )

    def to_json(self) -> str:
        """The text of `trace.json`."""
        first = {"format": self.format, "version": self.version}
        return json.dumps({**first, **asdict(self)}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Header":
        """Reads `trace.json`.

        Raises:
            FormatVersionError: when a newer version of the format wrote it.
            StoreError: when it is not such a text.
        """
        try:
            data = json.loads(text)
            version = _version(data)
            if version <= VERSION:
                known = {entry.name for entry in fields(cls)}
                data = {name: value for name, value in data.items() if name in known}
                return cls(**{**data, "leaves": _leaves(data["leaves"])})
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{where}/{HEADER}: expected the description of a {NAME} store, found "
                f"{text[:80]!r} ({error!r}); restore the file from a copy"
            ) from error
        raise FormatVersionError(
            f"{where}: written in format version {version}, this package reads up to version "
            f"{VERSION}; run: pip install --upgrade jaxarc-trace"
        )


def _version(data: Mapping[str, Any]) -> int:
    if data["format"] != NAME:
        raise ValueError(f"the format is {data['format']!r}")
    return int(data["version"])


_LEAF = frozenset(entry.name for entry in fields(Leaf))


def _leaves(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Leaf]:
    found: dict[str, Leaf] = {}
    for name, leaf in data.items():
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in leaf.items()
            if key in _LEAF
        }
        found[name] = Leaf(**values)
    return found


def checksum(*parts: Shaped[np.ndarray, "..."]) -> "hashlib._Hash":
    """SHA-256 over the bytes of C-ordered arrays, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).data.cast("B") if part.size else b"")
    return digest


def episode_checksum(
    records: UInt8[np.ndarray, "T record_bytes"],
    constants: UInt8[np.ndarray, "..."],
    final: UInt8[np.ndarray, "..."],
) -> int:
    """64-bit checksum of one episode's packed bytes.

    SHA-256 runs at 1 GB/s where the CPU has instructions for it, blake2b at 0.4; the standard
    library has no other one of 64 bits or more that is as fast.
    """
    return int.from_bytes(checksum(records, constants, final).digest()[:8], "little")


def json_ready(value: Any, where: str, depth: int = 0) -> Any:
    """`value` as plain JSON: NumPy scalars become Python's, tuples become lists.

    Raises:
        SpecError: naming the place, for anything that JSON cannot hold exactly.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _unfit_json(f"{where}: the key {key!r}", key)
        return {
            key: json_ready(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()
        }
    if depth < MAX_DEPTH and isinstance(value, list | tuple):
        return [json_ready(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise _unfit_json(where, value)


def _unfit_json(where: str, value: Any) -> SpecError:
    found = type(value).__name__
    advice = "give plain Python values"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        found = f"an array {value.dtype} {list(value.shape)}"
        advice = "arrays belong in the trace; for a few numbers use .tolist()"
    elif isinstance(value, float):
        found = repr(value)
        advice = "JSON has no such number; use None or a string"
    elif isinstance(value, Mapping | list | tuple):
        found = f"more than {MAX_DEPTH} levels"
        advice = "flatten it"
    return SpecError(
        f"{where}: expected JSON (dict with string keys, list, str, int, finite float, bool or "
        f"None), found {found}; {advice}"
    )
