"""The byte layout of a trace: named fields of fixed shape, side by side.

A `RecordSchema` holds three sections. `constant` is written once an episode, `state` once a
state, `step` once an action. A record on disk is the `state` bytes followed by the `step` bytes.
How one field becomes bytes is the business of `codec`.

Where a field's encoding cannot hold every value of its dtype, the section ends in a bit set, one
bit for each such field in order: a set bit says that a value did not fit. Reading it is refused.
"""

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped, UInt, UInt8

from jaxarc_trace import codec
from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.fields import Field, encoding_for

__all__ = ["RecordSchema", "Section"]

SECTIONS = ("constant", "state", "step")

# Words of a field that a device still writes together with its neighbours'.
_FEW = 8


@dataclass(frozen=True)
class Section:
    """Fields side by side, and behind them one bit for each field that can be unfit.

    Attributes:
        fields: the fields, in the order of their bytes.
    """

    fields: tuple[Field, ...]

    @classmethod
    def of(
        cls,
        shapes: Mapping[str, jax.ShapeDtypeStruct],
        encodings: Mapping[str, Encoding] | None = None,
    ) -> "Section":
        """Lays out fields, those with most values first, then by name.

        Args:
            shapes: shape and dtype of each field, without lanes.
            encodings: the encoding of those that are not `raw`; booleans and integers narrower
                than a byte are always `bits`.

        Raises:
            SchemaError: when an encoding does not suit the dtype or shape of its field.
        """
        fields: list[Field] = []
        offset = 0
        # Large fields first: the small ones behind them can then be handled as one.
        for name, struct in sorted(shapes.items(), key=lambda item: (-_size(item[1]), item[0])):
            encoding = encoding_for(name, struct, (encodings or {}).get(name))
            field = Field(name, jnp.dtype(struct.dtype).name, tuple(struct.shape), encoding, offset)
            fields.append(field)
            offset += field.nbytes
        return cls(tuple(fields))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return tuple(field.name for field in self.fields)

    @property
    def unfit_bytes(self) -> int:
        """Bytes of the trailing bit set."""
        return -(-sum(field.checked for field in self.fields) // 8)

    @property
    def nbytes(self) -> int:
        """Bytes of the section, the bit set included."""
        return sum(field.nbytes for field in self.fields) + self.unfit_bytes

    def pack(self, values: Mapping[str, Shaped[Array, "..."]]) -> UInt8[Array, "*lead nbytes"]:
        """Packs values into bytes; pure, works under any transformation.

        Args:
            values: one array a field, each `[*lead, *field.shape]` with the same leading axes.

        Returns:
            uint8 `[*lead, nbytes]`.

        Raises:
            SchemaError: at trace time, naming the field, when a name, dtype or shape differs.
        """
        return jnp.concatenate(self._packed(values, codec.pack), axis=-1)

    def pack_words(
        self, values: Mapping[str, Shaped[Array, "..."]]
    ) -> list[UInt[Array, "*lead _"]]:
        """As `pack`, but the arrays of `words`; their bytes side by side are the same."""
        parts = self._packed(values, codec.pack_words)
        runs = [parts[run] for run in self._runs]
        return [jnp.concatenate(run, axis=-1) if len(run) > 1 else run[0] for run in runs]

    @property
    def words(self) -> tuple[tuple[int, np.dtype], ...]:
        """Length and dtype of the arrays that `pack_words` gives.

        One array a field, but small neighbours of one dtype share theirs.
        """
        parts = self._parts
        return tuple((sum(size for size, _ in parts[run]), parts[run][0][1]) for run in self._runs)

    @property
    def _parts(self) -> list[tuple[int, np.dtype]]:
        """Words and dtype of each field, and of the bit set."""
        parts = []
        for field in self.fields:
            dtype = codec.word(field.encoding, field.dtype)
            parts.append((field.nbytes // dtype.itemsize, dtype))
        return parts + [(self.unfit_bytes, np.dtype(np.uint8))] * bool(self.unfit_bytes)

    @property
    def _runs(self) -> list[slice]:
        """Which of `_parts` make one array: each write costs more than a few words do."""
        runs: list[slice] = []
        before = None
        for index, (size, dtype) in enumerate(self._parts):
            shares = dtype if size <= _FEW else None
            if shares is not None and shares == before:
                runs[-1] = slice(runs[-1].start, index + 1)
            else:
                runs.append(slice(index, index + 1))
            before = shares
        return runs

    def _packed(
        self,
        values: Mapping[str, Shaped[Array, "..."]],
        pack: Callable[[Encoding, jax.Array, int], jax.Array],
    ) -> list[UInt[Array, "*lead _"]]:
        lead = _lead_axes(self.fields, values)
        rank = len(lead)
        parts = [pack(field.encoding, values[field.name], rank) for field in self.fields]
        bits = [
            codec.unfit(field.encoding, values[field.name], rank, part)
            for field, part in zip(self.fields, parts, strict=True)
            if field.checked
        ]
        if bits:
            parts.append(codec.pack(Encoding("bits", 0, 1), jnp.stack(bits, axis=-1), rank))
        return parts

    def unpack(
        self, data: UInt8[np.ndarray, "*lead nbytes"], *, where: str = "record"
    ) -> dict[str, Shaped[np.ndarray, "..."]]:
        """The values back from bytes.

        Args:
            data: uint8 `[*lead, nbytes]`.
            where: what the bytes are, for error messages.

        Returns:
            One array `[*lead, *field.shape]` a field, in its own dtype.

        Raises:
            SchemaError: when the width differs, or a value did not fit its field.
        """
        if data.dtype != np.uint8 or data.ndim < 1 or data.shape[-1] != self.nbytes:
            raise SchemaError(
                f"{where}: expected uint8 [..., {self.nbytes}], found {data.dtype} "
                f"{list(data.shape)}; take the schema that packed these bytes"
            )
        self._refuse_unfit(data, where)
        return {
            field.name: codec.unpack(
                field.encoding,
                field.dtype,
                field.shape,
                data[..., field.offset : field.offset + field.nbytes],
            )
            for field in self.fields
        }

    def _refuse_unfit(self, data: UInt8[np.ndarray, "*lead nbytes"], where: str) -> None:
        checked = [field for field in self.fields if field.checked]
        if not checked:
            return
        bits = np.unpackbits(data[..., -self.unfit_bytes :], axis=-1, bitorder="little")
        for index, field in enumerate(checked):
            rows = np.flatnonzero(bits[..., index])
            if len(rows):
                raise SchemaError(
                    f"{where}: field {field.name!r} held a value outside {field.allowed} at row "
                    f"{rows[0]} ({len(rows)} in all), so its bytes were not kept; give its probe "
                    f"a wider encoding (encodings={{{field.name!r}: Encoding()}} keeps every bit)"
                )


@dataclass(frozen=True)
class RecordSchema:
    """The byte layout of a trace.

    Attributes:
        constant: fields that do not change within an episode.
        state: fields of one state.
        step: action, reward, flags and the rest of what came of one step.
    """

    constant: Section
    state: Section
    step: Section

    @property
    def record_bytes(self) -> int:
        """Bytes of one transition: its state before the action, and the step."""
        return self.state.nbytes + self.step.nbytes

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` gives an equal schema back."""
        return {
            name: {
                "nbytes": getattr(self, name).nbytes,
                "unfit_bytes": getattr(self, name).unfit_bytes,
                "fields": [
                    {**asdict(field), "shape": list(field.shape), "nbytes": field.nbytes}
                    for field in getattr(self, name).fields
                ],
            }
            for name in SECTIONS
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RecordSchema":
        """The schema that `to_json` wrote.

        Raises:
            SchemaError: when a section is missing or malformed, or its sizes and offsets are not
                those that its fields have.
        """
        try:
            return _schema_from_text(json.dumps(data))
        except (KeyError, TypeError, SchemaError) as error:
            raise SchemaError(
                f"expected a schema with the sections {', '.join(SECTIONS)}, found "
                f"{json.dumps(data, default=str)[:200]} ({error}); restore the file from a copy"
            ) from error


@functools.lru_cache(maxsize=32)
def _schema_from_text(text: str) -> RecordSchema:
    """Checked once: the saves of a run have one schema, and checking it takes a millisecond."""
    data = json.loads(text)
    return RecordSchema(**{name: _section_from_json(data[name]) for name in SECTIONS})


def _section_from_json(data: Mapping[str, Any]) -> Section:
    fields: list[Field] = []
    offset = 0
    for entry in data["fields"]:
        struct = jax.ShapeDtypeStruct(tuple(entry["shape"]), codec.numpy_dtype(entry["dtype"]))
        encoding = Encoding(**entry["encoding"])
        same = encoding_for(entry["name"], struct, encoding) == encoding
        if not same or struct.dtype.name != entry["dtype"]:
            raise SchemaError(
                f"field {entry['name']!r} of {entry['dtype']}: expected an encoding "
                f"of that dtype, found {encoding}"
            )
        field = Field(entry["name"], entry["dtype"], struct.shape, encoding, offset)
        if (entry["offset"], entry["nbytes"]) != (offset, field.nbytes):
            raise SchemaError(
                f"field {field.name!r} is {field.nbytes} bytes at {offset}, not "
                f"{entry['nbytes']} at {entry['offset']}"
            )
        fields.append(field)
        offset += field.nbytes
    section = Section(tuple(fields))
    if (data["nbytes"], data["unfit_bytes"]) != (section.nbytes, section.unfit_bytes):
        raise SchemaError(
            f"its fields take {section.nbytes} bytes, {section.unfit_bytes} of them for those "
            f"that did not fit, not {data['nbytes']} and {data['unfit_bytes']}"
        )
    return section


def _size(struct: jax.ShapeDtypeStruct) -> int:
    return math.prod(struct.shape)


def _lead_axes(
    fields: Sequence[Field], values: Mapping[str, Shaped[Array, "..."]]
) -> tuple[int, ...]:
    """The leading axes all values share, after checking names, dtypes and shapes."""
    missing = [field.name for field in fields if field.name not in values]
    extra = sorted(set(values) - {field.name for field in fields})
    if missing or extra:
        raise SchemaError(
            f"expected the fields {[field.name for field in fields]}, found {sorted(values)}: "
            f"missing {missing}, unexpected {extra}; give the environment that was recorded"
        )
    lead: tuple[int, ...] | None = None
    for field in fields:
        value = values[field.name]
        rank = max(value.ndim - len(field.shape), 0)
        same = jnp.dtype(value.dtype).name == field.dtype and value.shape[rank:] == field.shape
        if not same or (lead is not None and value.shape[:rank] != lead):
            axes = value.shape[:rank] if lead is None else lead
            raise SchemaError(
                f"field {field.name!r}: expected {field.dtype} {[*axes, *field.shape]}, "
                f"found {jnp.dtype(value.dtype).name} {list(value.shape)}; dtypes and shapes "
                "must not change between steps"
            )
        lead = value.shape[:rank]
    return lead or ()
