"""What every file format of an export holds: descriptions of sources, and packed episodes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import CorruptEpisodeError, StoreError
from jaxarc_trace.recording import COLUMNS, EpisodeBytes, Recording
from jaxarc_trace.schema import RecordSchema
from jaxarc_trace.source import Source
from jaxarc_trace.store_format import episode_checksum

__all__ = ["Packed", "checked", "gathered", "header_of", "selected"]

FORMAT = "jaxarc-trace-export"
VERSION = 1


@dataclass(frozen=True)
class Packed:
    """One episode on its way.

    Attributes:
        source: index of its source.
        row: its value in each column.
        parts: records uint8 `[T, record_bytes]`, constants and final state.
    """

    source: int
    row: Mapping[str, Any]
    parts: EpisodeBytes


def selected(episodes: Episodes, skipped: list[str], *, skip_damaged: bool) -> Iterator[Packed]:
    """The episodes in order; with `skip_damaged`, why one is left out goes into `skipped`."""
    sources = {id(source): index for index, source in enumerate(episodes.sources)}
    for source, row, parts in episodes.stream():
        if isinstance(parts, CorruptEpisodeError):
            if not skip_damaged:
                raise parts
            skipped.append(str(parts))
            continue
        yield Packed(sources[id(source)], source.values(row), parts)


def header_of(source: Source) -> dict[str, Any]:
    """The description of a source, as JSON."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "schema": source.schema.to_json(),
        "policies": list(source.policies),
        "environment": dict(source.environment),
        "spec": dict(source.spec),
        "metadata": dict(source.metadata),
        "run": source.key[0],
        "process": source.key[1],
        "columns": {name: column.dtype.str for name, column in source.columns.items()},
    }


def checked(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """A description that was read, if it is one this package knows; else raises StoreError."""
    if data["format"] != FORMAT or data["version"] > VERSION:
        raise StoreError(
            f"{path}: expected an export of version {VERSION} or older, found {data['format']!r} "
            f"{data['version']}; run: pip install --upgrade jaxarc-trace"
        )
    return data


def gathered(header: Mapping[str, Any], group: Sequence[Packed], path: Path) -> Recording:
    """The episodes of one source as a recording.

    Raises:
        CorruptEpisodeError: when one does not match its checksum.
    """
    schema = RecordSchema.from_json(header["schema"])
    for packed in group:
        if episode_checksum(*packed.parts) != int(packed.row["checksum"]):
            raise CorruptEpisodeError(
                f"{path}: lane {packed.row['lane']} number {packed.row['number']} does not match "
                "its checksum; export the episodes again"
            )
    stored = {**COLUMNS, **{n: d for n, d in header["columns"].items() if n.startswith("metric.")}}
    empty = np.zeros((0, schema.record_bytes), np.uint8)
    return Recording(
        schema=schema,
        policies=tuple(header["policies"]),
        columns={
            name: np.array(
                [packed.row[name] for packed in group], np.dtype(dtype).newbyteorder("=")
            )
            for name, dtype in stored.items()
        },
        constants=_stacked([p.parts[1] for p in group], schema.constant.nbytes),
        finals=_stacked([p.parts[2] for p in group], schema.state.nbytes),
        records=np.concatenate([empty, *(p.parts[0] for p in group)]),
        environment=header["environment"],
        spec=header["spec"],
    )


def _stacked(
    rows: Sequence[UInt8[np.ndarray, " width"]], width: int
) -> UInt8[np.ndarray, "N width"]:
    return np.stack(rows) if rows else np.zeros((0, width), np.uint8)
