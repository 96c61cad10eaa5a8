"""One episode as a block of bytes for the viewer: grids as nibbles, frames as differences.

A block is raw deflate (RFC 1951) of these parts, one after the other, little-endian:

    u8        kind: 1 grids, 0 any other environment
    u32       T, the number of transitions
    u32, text JSON of that length: `moments` [[state, kind, label], …], `failures` [[mode, label,
              first, distance, …], …] with the states that show it, each as its distance from the
              one before, `scored`, `operations`, and for grids `shape` [H, W], `bits`, `input`,
              `target`, `selected`; otherwise `fields` [{name, group, dtype, recorded, shape,
              rows}, …] (`recorded` is the dtype that the trace has)
    f32[T]    rewards, as four planes: all first bytes, all second bytes, and so on
    u8[T]     flags: 1 terminated, 2 truncated
    f32[T+1]  score of every state, as planes, if `scored`
    u8[2][T]  operation, low bytes then high bytes, 65535 for unknown, if `operations`
    grids:    input, target (if there) and T+1 states, `bits` a cell, the low nibble first; a cell
              is its value plus one, 0 is padding; each state is its exclusive or with the one
              before. Then one bit a cell for the selection of each transition, low bit first.
    fields:   `rows` times `shape` values of `dtype` each; one row if it is constant.

All grids of an episode are cut to the box that holds the real cells of all of them.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt

from jaxarc_trace import analysis
from jaxarc_trace.analysis import Failure, role
from jaxarc_trace.episode import Episode
from jaxarc_trace.render.frames import ArcFrames, frames

__all__ = ["deflate", "pack"]

_LEVEL = 4
_LARGEST_CELL = 65534
_TERMINATED, _TRUNCATED = 1, 2
_FIELD_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32)


def pack(episode: Episode, failures: Sequence[Failure] | None = None) -> bytes:
    """The block of an episode, deflated; its failure modes may be given if they are known."""
    failures = analysis.failure_modes(episode) if failures is None else failures
    found = frames(episode)
    grids = None if found is None else _grids(found)
    extra: dict[str, Any] = {
        "moments": _moments(episode),
        "failures": [[f.mode, f.label, *_gaps(f.steps)] for f in failures],
    }
    scores = analysis.scores(episode)
    operations = _operations(episode) if found is None else found.operations
    extra |= {"scored": scores is not None, "operations": operations is not None}
    parts = [_planes(episode.rewards), _flags(episode)]
    if scores is not None:
        parts.append(_planes(scores))
    if operations is not None:
        parts.append(_words(operations))
    if grids is not None:
        header, cells = grids
        extra |= header
        parts += cells
    else:
        fields = list(_fields(episode))
        extra["fields"] = [header for header, _ in fields]
        parts += [values for _, values in fields]
    text = json.dumps(extra, separators=(",", ":")).encode("ascii")
    head = struct.pack("<BII", grids is not None, len(episode), len(text)) + text
    return deflate(head + b"".join(parts))


def _gaps(steps: Sequence[int]) -> list[int]:
    """The first step, and from each to the next: small numbers deflate well."""
    return [b - a for a, b in zip([0, *steps], steps, strict=False)]


def _moments(episode: Episode) -> list[list[Any]]:
    if not len(episode):
        return []
    return [[m.step, m.kind, m.label] for m in analysis.key_moments(episode)]


def deflate(data: bytes) -> bytes:
    """Raw deflate, the same bytes for the same zlib."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _planes(values: Shaped[np.ndarray, " n"]) -> bytes:
    """float32 values as four planes, which deflate better than the values themselves."""
    values = np.asarray(values, "<f4")
    return np.ascontiguousarray(values.view(np.uint8).reshape(-1, 4).T).tobytes()


def _flags(episode: Episode) -> bytes:
    terminated = np.asarray(episode.terminated, bool)
    truncated = np.asarray(episode.truncated, bool)
    return (terminated * _TERMINATED + truncated * _TRUNCATED).astype(np.uint8).tobytes()


def _words(values: Shaped[np.ndarray, " n"]) -> bytes:
    values = np.asarray(values).astype(np.int64)
    known = (values >= 0) & (values < 0xFF00)
    words = np.where(known, values, 0xFFFF).astype("<u2")
    return np.ascontiguousarray(words.view(np.uint8).reshape(-1, 2).T).tobytes()


def _operations(episode: Episode) -> Shaped[np.ndarray, " T"] | None:
    name = (episode.environment.get("roles") or {}).get("operation")
    values = None if name is None else episode.extras.get(name, episode.actions.get(name))
    return None if values is None or np.ndim(values) != 1 else np.asarray(values)


# ---- Grids


def _grids(found: ArcFrames) -> tuple[dict[str, Any], list[bytes]]:
    """Header and bytes of the grids."""
    episode = found.episode
    states, mask = role(episode, "grid"), role(episode, "grid_mask")
    assert states is not None  # noqa: S101 - `frames` has found it
    shape = states.shape[1:]
    mask = mask if mask is not None and mask.shape == states.shape else None
    fixed = [
        (name, cells)
        for name in ("input", "target")
        if (cells := _constant(episode, name, shape)) is not None
    ]
    box = _union(shape, mask, [cells for _, cells in fixed])
    cells = _stored(states[:, *box], None if mask is None else mask[:, *box])
    parts = [cells[box] for _, cells in fixed]
    bits = _bits([cells, *parts])
    selected = _selection(episode, states.shape, mask, box)
    present = {name for name, _ in fixed}
    header = {
        "shape": list(cells.shape[1:]),
        "bits": bits,
        "input": "input" in present,
        "target": "target" in present,
        "selected": selected is not None,
    }
    changes = cells.copy()
    np.bitwise_xor(cells[1:], cells[:-1], out=changes[1:])
    packed = [_pack_cells(part, bits) for part in (*parts, changes)]
    if selected is not None:
        packed.append(np.packbits(selected, bitorder="little").tobytes())
    return header, packed


def _stored(
    values: Shaped[np.ndarray, "*lead H W"], mask: Shaped[np.ndarray, "*lead H W"] | None
) -> UInt[np.ndarray, "*lead H W"]:
    """Cells as they are stored: the value plus one, 0 outside the mask; the smallest dtype."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    dtype = np.uint8 if high < 255 else np.uint16
    if low < -1 or high > _LARGEST_CELL:
        values = values.clip(-1, _LARGEST_CELL)
    cells = values.astype(dtype) + dtype(1)  # -1 wraps round to 0
    if mask is not None:
        cells *= np.asarray(mask, bool)
    return cells


def _constant(
    episode: Episode, name: str, shape: tuple[int, ...]
) -> UInt[np.ndarray, "H W"] | None:
    """A grid that is the same all along, as stored cells `[H, W]`; None where there is none."""
    grid, mask = role(episode, name), role(episode, f"{name}_mask")
    if grid is None or grid.shape[1:] != shape:
        return None
    chosen = None if mask is None or mask.shape[1:] != shape else np.asarray(mask[0], bool)
    if chosen is not None and not chosen.any():
        return None
    return _stored(np.asarray(grid[0]), chosen)


def _union(
    shape: tuple[int, ...],
    mask: Shaped[np.ndarray, "states H W"] | None,
    fixed: list[UInt[np.ndarray, "_ _"]],
) -> tuple[slice, slice]:
    """Rows and columns that hold every real cell of the episode."""
    if mask is None:
        return slice(0, shape[0]), slice(0, shape[1])
    real = np.logical_or.reduce(mask, axis=0)
    for cells in fixed:
        real = real | (cells != 0)
    if not real.any():
        return slice(0, 1), slice(0, 1)
    rows, columns = np.flatnonzero(real.any(axis=1)), np.flatnonzero(real.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _selection(
    episode: Episode,
    shape: tuple[int, ...],
    mask: Shaped[np.ndarray, "states H W"] | None,
    box: tuple[slice, slice],
) -> Bool[np.ndarray, "T h w"] | None:
    """Cells each action acted on, bool `[T, h, w]`, as `ArcFrames.selection` defines them."""
    recorded = role(episode, "selected")
    if recorded is not None:
        return np.asarray(recorded[1:, *box], bool)
    chosen = episode.actions.get("selection")
    if chosen is None or chosen.shape[1:] != shape[1:]:
        return None
    chosen = np.asarray(chosen[:, *box], bool)
    return chosen if mask is None else chosen & np.asarray(mask[:-1, *box], bool)


def _bits(grids: list[UInt[np.ndarray, "..."]]) -> int:
    highest = max((int(cells.max(initial=0)) for cells in grids), default=0)
    return 4 if highest < 16 else 8 if highest < 256 else 16


def _pack_cells(cells: UInt[np.ndarray, "..."], bits: int) -> bytes:
    flat = cells.ravel()
    if bits == 16:
        return flat.astype("<u2").tobytes()
    flat = flat.astype(np.uint8, copy=False)
    if bits == 8:
        return flat.tobytes()
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return (flat[::2] | (flat[1::2] << 4)).tobytes()


# ---- Any other environment


def _fields(episode: Episode) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Every numeric field: what it is, and its values."""
    steps = len(episode)
    groups = (
        ("state", episode.states, steps + 1),
        ("action", episode.actions, steps),
        ("extra", episode.extras, steps),
    )
    for group, fields, rows in groups:
        for name, values in fields.items():
            array = np.asarray(values)
            if array.dtype.kind not in "biuf" or array.ndim < 1 or not array.size:
                continue
            if len(array) != rows:
                continue
            if group == "state" and (name in episode.constants or array.strides[0] == 0):
                array = array[:1]
            array = _numeric(array)
            yield (
                {
                    "name": name,
                    "group": group,
                    "dtype": array.dtype.name,
                    "recorded": np.asarray(values).dtype.name,
                    "shape": list(array.shape[1:]),
                    "rows": len(array),
                },
                array.astype(array.dtype.newbyteorder("<")).tobytes(),
            )


def _numeric(array: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """The same values in a type that a browser has: the smallest integer, or a float."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
    low, high = int(array.min()), int(array.max())
    for kind in _FIELD_INTEGERS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    return array.astype(np.float64)
