"""Reads the `.wandb` file of an offline run: LevelDB's log format, with the client's protobufs.

The format is that of https://github.com/google/leveldb/blob/main/doc/log_format.md after a header
of seven bytes.
"""

import json
import struct
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_HEADER = 7
_BLOCK = 32768
_LAST = (1, 4)


def records(folder: Path) -> list[Any]:
    """All records of the offline run in a folder, in order."""
    (file,) = folder.glob("*.wandb")
    data = file.read_bytes()
    assert data[:4] == b":W&B"
    found, parts, at = [], b"", _HEADER
    while at + _HEADER <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in _LAST:
            found.append(Record.FromString(parts))
            parts = b""
    return found


def rows(found: list[Any]) -> list[dict[str, Any]]:
    """The rows of the history."""
    history = [one.history for one in found if one.WhichOneof("record_type") == "history"]
    return [{_name(item): json.loads(item.value_json) for item in row.item} for row in history]


def _name(item: Any) -> str:
    return ".".join(item.nested_key) or item.key


def artifacts(found: list[Any]) -> dict[str, list[Any]]:
    """The artifacts by name, each version in order."""
    held: dict[str, list[Any]] = {}
    for one in found:
        if one.WhichOneof("record_type") == "request":
            log = one.request.log_artifact.artifact
            if log.name:
                held.setdefault(log.name, []).append(log)
        if one.WhichOneof("record_type") == "artifact":
            held.setdefault(one.artifact.name, []).append(one.artifact)
    return held
