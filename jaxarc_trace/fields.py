"""One field of a record: its name, dtype and shape, and the encoding that suits these.

Which fields stand side by side is the business of `schema`, how values become bytes of `codec`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxarc_trace import codec
from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import SchemaError

__all__ = ["Field", "encoding_for"]


@dataclass(frozen=True)
class Field:
    """One named array of fixed shape and where its bytes lie in its section.

    Attributes:
        name: the field's name.
        dtype: NumPy's name of its dtype, for instance `"int32"` or `"bfloat16"`.
        shape: shape of one value, without lanes or time.
        encoding: how it is laid out.
        offset: its first byte within the section.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    encoding: Encoding
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes one value of the field takes."""
        return codec.nbytes(self.encoding, self.dtype, self.shape)

    @property
    def checked(self) -> bool:
        """Whether a value of the dtype exists that the encoding cannot hold."""
        if self.encoding.kind != "bits":
            return self.encoding.kind == "box"
        lowest, highest = codec.integer_range(self.dtype)
        return lowest < self.encoding.low or highest > self.encoding.high

    @property
    def allowed(self) -> str:
        """What a `checked` field can hold, in words."""
        if self.encoding.kind == "box":
            return "one filled rectangle"
        return f"[{self.encoding.low}, {self.encoding.high}]"


def encoding_for(name: str, struct: jax.ShapeDtypeStruct, wanted: Encoding | None) -> Encoding:
    """The encoding of a field: the one wanted, or the one that keeps every value.

    Args:
        name: the field's name, for errors.
        struct: shape and dtype of one value.
        wanted: what was asked for, or None.

    Raises:
        SchemaError: when it does not suit the dtype or shape, or no bytes hold the dtype.
    """
    dtype = _plain_dtype(name, struct)
    found = f"found {dtype.name} {list(struct.shape)}"
    if wanted is not None and wanted.kind == "box":
        sides = struct.shape if len(struct.shape) == 2 else (0,)
        if dtype == jnp.bool_ and min(sides) >= 1 and max(sides) <= 255:
            return wanted
        raise SchemaError(
            f"field {name!r}: a box needs a boolean [H, W] of 1 to 255 a side, {found}; "
            "leave its encoding out"
        )
    if dtype == jnp.bool_:
        return Encoding("bits", 0, 1)
    integer = jnp.issubdtype(dtype, jnp.integer)
    if wanted is None or wanted.kind == "raw":
        if integer and jnp.iinfo(dtype).bits < 8:
            return Encoding.between(*codec.integer_range(dtype.name))
        return Encoding()
    if not integer:
        raise SchemaError(
            f"field {name!r}: a range in bits needs an integer or boolean dtype, {found}; "
            "leave its range out"
        )
    lowest, highest = codec.integer_range(dtype.name)
    if wanted.low > highest or wanted.high < lowest:
        raise SchemaError(
            f"field {name!r}: the range [{wanted.low}, {wanted.high}] holds no value of its dtype, "
            f"{found}; correct the range or leave it out"
        )
    return wanted


def _plain_dtype(name: str, struct: jax.ShapeDtypeStruct) -> np.dtype:
    """The field's dtype, if values of it have bytes of their own in NumPy."""
    key = jnp.issubdtype(struct.dtype, jax.dtypes.extended)
    narrow = jnp.issubdtype(struct.dtype, jnp.floating) and jnp.finfo(struct.dtype).bits < 8
    if key or narrow:
        cure = "jax.random.key_data of it" if key else "it as bfloat16"
        raise SchemaError(
            f"field {name!r}: expected a boolean, an integer, or a float or complex number of at "
            f"least 8 bits, found {struct.dtype} {list(struct.shape)}; record {cure}"
        )
    return jnp.dtype(struct.dtype)
