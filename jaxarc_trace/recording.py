"""Episodes as they leave the device: one row of columns each, and bytes still packed.

A `Recording` is what a trace becomes on the host, what a store writes and what `Episode`s are
decoded from. NumPy only.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.schema import RecordSchema

__all__ = ["COLUMNS", "EpisodeBytes", "Recording", "decode"]

COLUMNS: Mapping[str, str] = {
    "lane": "int32",
    "number": "uint32",
    "kept": "int32",
    "dropped": "uint32",
    "complete": "bool",
    "terminated": "bool",
    "truncated": "bool",
    "success": "int8",
    "total_return": "float32",
    "end_step": "uint32",
    "kept_by": "uint32",
}
"""Dtype of each column that every recording has, one row an episode.

`kept` is T, the number of transitions kept, `dropped` how many were lost before them. `success`
is 1, 0, or -1 where the environment defines none. `end_step` is the step of the trace at which
the last transition was recorded. Bit `i` of `kept_by` stands for the i-th name of `policies`.
"""


EpisodeBytes = tuple[
    UInt8[np.ndarray, "T record_bytes"],
    UInt8[np.ndarray, " constant_bytes"],
    UInt8[np.ndarray, " state_bytes"],
]
"""Records, constants and final state of one episode."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Packed episodes on the host.

    Attributes:
        schema: the layout of the bytes.
        policies: names of the retention policies, in the order of the bits of `kept_by`.
        columns: `[N]` arrays, those of `COLUMNS` and `metric.<name>` float32 ones.
        constants: uint8 `[N, schema.constant.nbytes]`.
        finals: uint8 `[N, schema.state.nbytes]`, the state after the last transition.
        records: uint8 `[S, schema.record_bytes]`, the transitions of all episodes one after
            the other; S is the sum of `columns["kept"]`.
        environment: JSON-like description of the environment.
        spec: JSON-like description of what was asked to be kept, and how much was seen.
    """

    schema: RecordSchema
    policies: tuple[str, ...]
    columns: Mapping[str, Shaped[np.ndarray, " N"]]
    constants: UInt8[np.ndarray, "N constant_bytes"]
    finals: UInt8[np.ndarray, "N state_bytes"]
    records: UInt8[np.ndarray, "S record_bytes"]
    environment: Mapping[str, Any]
    spec: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuses parts that do not belong together."""
        count = len(self.columns.get("lane", ()))
        metrics = dict.fromkeys(sorted(self.columns.keys() - COLUMNS.keys()), "float32")
        for name, dtype in {**COLUMNS, **metrics}.items():
            column = self.columns.get(name)
            if column is None or column.dtype != dtype or column.shape != (count,):
                found = "nothing" if column is None else f"{column.dtype} {list(column.shape)}"
                raise SchemaError(
                    f"column {name!r}: expected {dtype} [{count}], found {found}; "
                    "give one row an episode in each column"
                )
        if (self.columns["kept"] < 0).any():
            raise SchemaError(
                f"column 'kept': expected numbers of transitions, found "
                f"{self.columns['kept'].min()}; give for each episode how many of the records "
                "are its own"
            )
        expected = {
            "constants": (count, self.schema.constant.nbytes),
            "finals": (count, self.schema.state.nbytes),
            "records": (int(self.columns["kept"].sum()), self.schema.record_bytes),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.uint8:
                raise SchemaError(
                    f"{name}: expected uint8 {list(shape)}, found {array.dtype} "
                    f"{list(array.shape)}; take all parts from one recording"
                )

    def __len__(self) -> int:
        return len(self.columns["lane"])

    @functools.cached_property
    def offsets(self) -> Int64[np.ndarray, " bounds"]:
        """int64 `[N + 1]`: episode `i` is `records[offsets[i] : offsets[i + 1]]`."""
        return np.concatenate([[0], np.cumsum(self.columns["kept"], dtype=np.int64)])

    def read(self, index: int) -> EpisodeBytes:
        """The packed bytes of one episode.

        Returns:
            Its records uint8 `[T, record_bytes]`, its constants and its final state.
        """
        start, stop = self.offsets[index : index + 2]
        return self.records[start:stop], self.constants[index], self.finals[index]


def decode(
    schema: RecordSchema,
    packed: EpisodeBytes,
    row: Mapping[str, Any],
    *,
    policies: Sequence[str] = (),
    environment: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Episode:
    """One episode from its packed bytes.

    Args:
        schema: the layout of the bytes.
        packed: records uint8 `[T, record_bytes]`, constants and final state, as `read` gives.
        row: the episode's value in each column.
        policies: names of the bits of `kept_by`.
        environment: description of the environment.
        metadata: what the user stored beside the trace.

    Raises:
        SchemaError: when bytes and schema disagree, or a recorded value did not fit its field.
    """
    records, constant, final = packed
    where = f"lane {row['lane']} episode {row['number']}"
    cut = schema.state.nbytes
    frames = np.concatenate([records[:, :cut], final[None]])
    states = schema.state.unpack(frames, where=where)
    constants = schema.constant.unpack(constant, where=where)
    step = schema.step.unpack(records[:, cut:], where=where)
    count = len(frames)
    for name, value in constants.items():
        states[name] = np.broadcast_to(value, (count, *value.shape))
    kept_by = int(row["kept_by"])
    success = int(row["success"])
    return Episode(
        states=states,
        constants=constants,
        actions=_group(step, "action."),
        extras=_group(step, "extra."),
        rewards=step.get("reward", np.zeros(0, np.float32)),
        terminated=step.get("terminated", np.zeros(0, np.bool_)),
        truncated=step.get("truncated", np.zeros(0, np.bool_)),
        digests=step.get("digest"),
        lane=int(row["lane"]),
        number=int(row["number"]),
        dropped=int(row["dropped"]),
        complete=bool(row["complete"]),
        total_return=float(row["total_return"]),
        success=None if success < 0 else bool(success),
        kept_by=tuple(name for bit, name in enumerate(policies) if kept_by >> bit & 1),
        metrics=_group({name: float(v) for name, v in row.items() if "." in name}, "metric."),
        environment=environment or {},
        metadata=metadata or {},
    )


def _group(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name[len(prefix) :]: v for name, v in values.items() if name.startswith(prefix)}
