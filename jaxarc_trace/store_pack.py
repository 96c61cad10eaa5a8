"""A recording as the arrays of a checkpoint and the text beside them. NumPy only, no files."""

import importlib.metadata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from jaxarc_trace import codec
from jaxarc_trace.errors import SpecError
from jaxarc_trace.recording import COLUMNS, Recording
from jaxarc_trace.schema import Section
from jaxarc_trace.store_format import Header, Leaf, episode_checksum, json_ready

__all__ = ["constant_columns", "describe", "episode_columns", "leaves", "step_columns", "versions"]

PACKAGES = ("jaxarc-trace", "jax", "orbax-checkpoint", "tensorstore", "numpy", "jaxarc")
STEP_FIELDS = ("reward", "terminated", "truncated", "digest")
OWN_CHECKSUM = ("records", "constants", "finals")
"""Leaves that the checksum of each episode covers; the others have one for all their rows."""


def episode_columns(recording: Recording) -> dict[str, Shaped[np.ndarray, " N"]]:
    """Every per-episode value that is stored, `[N]` each.

    Those of the recording, one for each constant that is a single number, where the records of
    the episode start, and its checksum.
    """
    sums = [episode_checksum(*recording.read(index)) for index in range(len(recording))]
    return {
        **{name: recording.columns[name] for name in COLUMNS},
        **{name: column for name, column in recording.columns.items() if name not in COLUMNS},
        **constant_columns(recording),
        "start": recording.offsets[:-1].astype(np.uint64),
        "checksum": np.array(sums, np.uint64),
    }


def constant_columns(recording: Recording) -> dict[str, Shaped[np.ndarray, " N"]]:
    """Constants that are one number, for instance the index of the task: `constant.<name>`."""
    section = recording.schema.constant
    values = _scalars(section, section.names, recording.constants)
    return {f"constant.{name}": value for name, value in values.items()}


def step_columns(recording: Recording) -> dict[str, Shaped[np.ndarray, " S"]]:
    """What queries over all steps need: reward, flags, digest and operation, each `[S]`."""
    role = (recording.environment.get("roles") or {}).get("operation")
    fields = {name: name for name in STEP_FIELDS}
    if role:
        fields[f"extra.{role}"] = "operation"
    step_bytes = recording.records[:, recording.schema.state.nbytes :]
    values = _scalars(recording.schema.step, tuple(fields), step_bytes)
    return {fields[name]: value for name, value in values.items()}


def leaves(
    recording: Recording, columns: Mapping[str, Shaped[np.ndarray, " N"]]
) -> dict[str, tuple[Leaf, Shaped[np.ndarray, "..."]]]:
    """Every array of the checkpoint by name, and its rows; one without bytes is left out."""
    rows = {
        "columns": _side_by_side(columns),
        "records": recording.records,
        "constants": recording.constants,
        "finals": recording.finals,
        **{f"steps.{name}": column for name, column in step_columns(recording).items()},
    }
    return {
        name: (
            Leaf.of(
                array,
                single=name in ("columns", "constants", "finals"),
                summed=name not in OWN_CHECKSUM,
                by_chunk=name == "columns",
            ),
            array,
        )
        for name, array in rows.items()
        if 0 not in array.shape[1:]
    }


def describe(
    recording: Recording,
    columns: Mapping[str, Shaped[np.ndarray, " N"]],
    leaves: Mapping[str, Leaf],
    metadata: Mapping[str, Any] | None,
    *,
    run: str = "",
    process: int = 0,
) -> Header:
    """The text beside the arrays.

    Raises:
        SpecError: when metadata, environment or spec is not JSON.
    """
    if metadata is not None and not isinstance(metadata, Mapping):
        raise SpecError(
            f"metadata: expected a dict with string keys, found {type(metadata).__name__}; "
            "put it under a key of its own"
        )
    return Header(
        episodes=len(recording),
        steps=len(recording.records),
        leaves=leaves,
        columns=_layout(columns),
        schema=recording.schema.to_json(),
        policies=list(recording.policies),
        environment=json_ready(recording.environment, "environment"),
        spec=json_ready(recording.spec, "spec"),
        metadata=json_ready(metadata or {}, "metadata"),
        packages=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        process=process,
        run=run,
    )


def _scalars(
    section: Section, names: tuple[str, ...], data: UInt8[np.ndarray, "rows section_bytes"]
) -> dict[str, Shaped[np.ndarray, " rows"]]:
    """Those of the named fields that are one number of NumPy's own and fitted in every row."""
    checked = [field.name for field in section.fields if field.checked]
    found: dict[str, Shaped[np.ndarray, " rows"]] = {}
    for field in section.fields:
        if field.name not in names or field.shape or field.dtype not in np.sctypeDict:
            continue
        if field.name in checked:
            byte, bit = divmod(checked.index(field.name), 8)
            if (data[:, section.nbytes - section.unfit_bytes + byte] >> bit & 1).any():
                continue
        raw = data[:, field.offset : field.offset + field.nbytes]
        found[field.name] = codec.unpack(field.encoding, field.dtype, (), raw)
    return found


def _layout(columns: Mapping[str, Shaped[np.ndarray, " N"]]) -> list[dict[str, Any]]:
    """Name, dtype and first byte of each column within a row."""
    layout: list[dict[str, Any]] = []
    offset = 0
    for name, column in columns.items():
        dtype = column.dtype.newbyteorder("<").str
        layout.append({"name": name, "dtype": dtype, "offset": offset})
        offset += column.dtype.itemsize
    return layout


def _side_by_side(
    columns: Mapping[str, Shaped[np.ndarray, " N"]],
) -> UInt8[np.ndarray, "N row_bytes"]:
    """Columns as rows: uint8 `[N, row bytes]`, little-endian, without gaps."""
    parts = [
        np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        .view(np.uint8)
        .reshape(len(column), column.dtype.itemsize)
        for column in columns.values()
    ]
    return np.concatenate(parts, axis=1)


def versions() -> dict[str, str]:
    """Versions of the packages that shape what is stored."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
