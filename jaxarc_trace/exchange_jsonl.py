"""Episodes as lines of JSON, plain or compressed, in bounded memory."""

import base64
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.compressed import opened
from jaxarc_trace.errors import StoreError
from jaxarc_trace.exchange_parts import Packed, checked, header_of
from jaxarc_trace.recording import decode
from jaxarc_trace.schema import RecordSchema
from jaxarc_trace.source import Source

__all__ = ["read_jsonl", "write_jsonl"]


def write_jsonl(
    path: Path, ending: str, sources: Sequence[Source], selected: Iterator[Packed]
) -> int:
    """One line for each source, one for each episode as they come, and one that says how many."""
    count = 0
    with opened(path, "w", ending) as file:
        for source in sources:
            file.write(json.dumps({"kind": "source", **header_of(source)}) + "\n")
        for packed in selected:
            file.write(json.dumps(_line(packed, sources[packed.source])) + "\n")
            count += 1
        file.write(json.dumps({"kind": "end", "episodes": count}) + "\n")
    return count


def _line(packed: Packed, source: Source) -> dict[str, Any]:
    episode = decode(source.schema, packed.parts, packed.row, policies=source.policies)
    names = ("records", "constants", "final")
    return {
        "kind": "episode",
        "source": packed.source,
        **{name: _plain(packed.row[name]) for name in packed.row},
        "outcome": episode.outcome,
        "rewards": _plain(episode.rewards),
        "actions": {name: _plain(value) for name, value in episode.actions.items()},
        "extras": {name: _plain(value) for name, value in episode.extras.items()},
        "row": {name: _text(np.asarray(value)) for name, value in packed.row.items()},
        "packed": {name: _text(part) for name, part in zip(names, packed.parts, strict=True)},
    }


def _plain(value: Any) -> Any:
    """As JSON for reading; what JSON has no number for is null, and exact in the bytes."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            value = value.astype(np.float64)
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(array: Shaped[np.ndarray, "..."]) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def read_jsonl(path: Path) -> tuple[list[dict[str, Any]], list[Packed]]:
    """The descriptions of the sources, and the episodes, of a file that `write_jsonl` wrote."""
    headers: list[dict[str, Any]] = []
    schemas: list[RecordSchema] = []
    found: list[Packed] = []
    end: int | None = None
    for number, line in enumerate(_lines(path), 1):
        try:
            data = json.loads(line)
            if data["kind"] == "source":
                headers.append(checked(data, path))
                schemas.append(RecordSchema.from_json(data["schema"]))
            elif data["kind"] == "end":
                end = data["episodes"]
            else:
                index = data["source"]
                found.append(_parsed(data, headers[index], schemas[index]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise StoreError(
                f"{path} line {number}: expected what export writes, found {line[:60]!r} "
                f"({error!r}); export the episodes again"
            ) from error
    if end != len(found):
        raise StoreError(
            f"{path}: expected a last line that says {len(found)} episodes, found "
            f"{'none' if end is None else end}; the file is cut short: export it again"
        )
    return headers, found


def _lines(path: Path) -> Iterator[str]:
    try:
        with opened(path, "r", path.name) as file:
            yield from file
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise StoreError(
            f"{path}: cannot be read to its end ({error}); check the path, or export it again"
        ) from error


def _parsed(data: Mapping[str, Any], header: Mapping[str, Any], schema: RecordSchema) -> Packed:
    records, constants, final = (
        np.frombuffer(base64.b64decode(data["packed"][name], validate=True), np.uint8)
        for name in ("records", "constants", "final")
    )
    row = {
        name: np.frombuffer(base64.b64decode(data["row"][name], validate=True), dtype)[0]
        for name, dtype in header["columns"].items()
    }
    parts = (records.reshape(int(row["kept"]), schema.record_bytes), constants, final)
    return Packed(data["source"], row, parts)
