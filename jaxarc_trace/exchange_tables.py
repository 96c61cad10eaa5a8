"""Episodes as NumPy's NPZ and as Parquet; the selection is held in memory, packed."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.errors import StoreError, require
from jaxarc_trace.exchange_parts import Packed, checked, gathered, header_of
from jaxarc_trace.recording import decode
from jaxarc_trace.source import Source

__all__ = ["read_npz", "write_npz", "write_parquet"]

UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile, zlib.error)


def write_npz(path: Path, _: str, sources: Sequence[Source], selected: Iterator[Packed]) -> int:
    """For each source `s`: `s<i>.column.<name>`, `s<i>.records`, `.constants`, `.finals`."""
    found = list(selected)
    headers = [header_of(source) for source in sources]
    text = json.dumps(headers).encode()
    arrays: dict[str, Shaped[np.ndarray, ...]] = {"sources": np.frombuffer(text, np.uint8)}
    for index, (source, header) in enumerate(zip(sources, headers, strict=True)):
        group = [packed for packed in found if packed.source == index]
        recording = gathered(header, group, path)
        for name, column in source.columns.items():
            arrays[f"s{index}.column.{name}"] = np.array([p.row[name] for p in group], column.dtype)
        arrays[f"s{index}.records"] = recording.records
        arrays[f"s{index}.constants"] = recording.constants
        arrays[f"s{index}.finals"] = recording.finals
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return len(found)


def read_npz(path: Path) -> tuple[list[dict[str, Any]], list[Packed]]:
    """The descriptions of the sources, and the episodes, of a file that `write_npz` wrote."""
    found: list[Packed] = []
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            headers = [checked(h, path) for h in json.loads(file["sources"].tobytes())]
            for index, header in enumerate(headers):
                columns = {n: file[f"s{index}.column.{n}"] for n in header["columns"]}
                records, constants, finals = (
                    file[f"s{index}.{part}"] for part in ("records", "constants", "finals")
                )
                ends = np.cumsum(columns["kept"], dtype=np.int64)
                for row, end in enumerate(ends):
                    values = {name: column[row] for name, column in columns.items()}
                    parts = (records[end - values["kept"] : end], constants[row], finals[row])
                    found.append(Packed(index, values, parts))
    except UNREADABLE as error:
        raise StoreError(
            f"{path}: expected what export writes, found something else ({error!r}); export the "
            "episodes again"
        ) from error
    return headers, found


def write_parquet(path: Path, _: str, sources: Sequence[Source], selected: Iterator[Packed]) -> int:
    """One row an episode: its columns, its rewards, and its bytes; the sources as metadata."""
    pl = require("polars", "analysis", "a Parquet file")
    found = list(selected)
    names = dict.fromkeys(name for source in sources for name in source.columns)
    episodes = [
        decode(sources[p.source].schema, p.parts, p.row, policies=sources[p.source].policies)
        for p in found
    ]
    columns: dict[str, Any] = {"source": [packed.source for packed in found]}
    for name in names:
        dtype = next(s.columns[name].dtype for s in sources if name in s.columns)
        values = [None if name not in p.row else p.row[name].item() for p in found]
        columns[name] = pl.Series(name, values, dtype=pl.Series([np.zeros((), dtype)[()]]).dtype)
    columns["outcome"] = pl.Series([e.outcome for e in episodes], dtype=pl.String)
    columns["rewards"] = pl.Series(
        [e.rewards.tolist() for e in episodes], dtype=pl.List(pl.Float32)
    )
    for index, name in enumerate(("records", "constants", "final")):
        parts = [packed.parts[index].tobytes() for packed in found]
        columns[f"packed.{name}"] = pl.Series(parts, dtype=pl.Binary)
    headers = json.dumps([header_of(source) for source in sources])
    pl.DataFrame(columns).write_parquet(path, metadata={"jaxarc_trace": headers})
    return len(found)
