"""Synthetic recordings for the tests of everything that comes after capture."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorstore as ts

from jaxarc_trace.codec import Encoding
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.recording import COLUMNS, Recording
from jaxarc_trace.schema import RecordSchema, Section
from jaxarc_trace.store import load
from jaxarc_trace.store_arrays import fresh_context, open_array

ENVIRONMENT = {
    "name": "synthetic",
    "task_ids": ["alpha", "beta"],
    "roles": {"operation": "operation", "task": "task"},
}
POLICIES = ("best", "random", "last")


def schema(side: int = 6) -> RecordSchema:
    """A grid of 4-bit cells, a mask and a float as state; a full-range operation as action."""

    def struct(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    return RecordSchema(
        constant=Section.of(
            {"goal": struct((side, side), jnp.uint8), "task": struct((), jnp.int32)}
        ),
        state=Section.of(
            {
                "grid": struct((side, side), jnp.int32),
                "mask": struct((side, side), jnp.bool_),
                "level": struct((), jnp.float32),
            },
            {"grid": Encoding.between(-1, 9)},
        ),
        step=Section.of(
            {
                "reward": struct((), jnp.float32),
                "terminated": struct((), jnp.bool_),
                "truncated": struct((), jnp.bool_),
                "digest": struct((), jnp.uint32),
                "action.move": struct((2,), jnp.int16),
                "extra.operation": struct((), jnp.int32),
            }
        ),
    )


def recording(lengths: Sequence[int], *, seed: int = 0, side: int = 6, **changes: Any) -> Recording:
    """A recording of one episode for each length, with random contents.

    Args:
        lengths: transitions of each episode.
        seed: of the contents.
        side: of the grids.
        changes: other attributes than the defaults.
    """
    layout = schema(side)
    rng = np.random.default_rng(seed)
    count, steps = len(lengths), int(sum(lengths))

    columns: dict[str, Any] = {
        "lane": np.arange(count) % 4,
        "number": np.arange(count) // 4,
        "kept": np.asarray(lengths, np.int32),
        "dropped": np.zeros(count),
        "complete": np.ones(count),
        "terminated": rng.integers(0, 2, count),
        "truncated": np.zeros(count),
        "success": rng.integers(-1, 2, count),
        "total_return": rng.standard_normal(count),
        "end_step": np.cumsum(np.asarray(lengths, np.int64)),
        "kept_by": rng.integers(0, 8, count),
    }
    columns = {name: np.asarray(columns[name]).astype(dtype) for name, dtype in COLUMNS.items()}
    columns["metric.level_max"] = rng.random(count).astype(np.float32)
    parts = {
        "schema": layout,
        "policies": POLICIES,
        "columns": columns,
        "constants": _random(layout.constant, count, rng),
        "finals": _random(layout.state, count, rng),
        "records": np.concatenate(
            [_random(layout.state, steps, rng), _random(layout.step, steps, rng)], axis=1
        ),
        "environment": ENVIRONMENT,
        "spec": {"max_steps": 64},
    }
    return Recording(**{**parts, **changes})


def _random(section: Section, rows: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 `[rows, section.nbytes]`: any bytes at all, and no value that did not fit."""
    data = rng.integers(0, 256, (rows, section.nbytes), dtype=np.uint8)
    data[:, section.nbytes - section.unfit_bytes :] = 0
    for field in section.fields:
        if field.name == "task":
            data[:, field.offset : field.offset + 4] = [0, 0, 0, 0]
            data[:, field.offset] = rng.integers(0, 2, rows)
    return data


def same_bytes(left: np.ndarray, right: np.ndarray) -> bool:
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


def assert_round_trip(path: Path, saved: Recording) -> None:
    loaded, direct = load(path), Episodes.of(saved)
    assert len(loaded) == len(saved)
    for name, column in saved.columns.items():
        assert same_bytes(loaded.sources[0].columns[name], column)
    for index in range(len(saved)):
        for ours, theirs in zip(loaded.sources[0].packed(index), saved.read(index), strict=True):
            assert same_bytes(ours, theirs)
        ours, theirs = loaded[index], direct[index]
        for part in ("states", "actions", "extras", "constants"):
            assert getattr(ours, part).keys() == getattr(theirs, part).keys()
            for name, value in getattr(theirs, part).items():
                assert same_bytes(getattr(ours, part)[name], value)
        assert same_bytes(ours.rewards, theirs.rewards)
        assert repr(ours) == repr(theirs)


def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
    """As the function, but a Ctrl-C falls into its first call, before anything was done."""
    calls = itertools.count()

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == 0:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return call


def spoil(path: Path, leaf: str = "records", place: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Flips a bit of an array `[chunk, row, byte]` of a store, as a second writer would.

    TensorStore and Orbax find nothing wrong with it: only our own checksums can tell.
    """
    context = fresh_context()
    spec = open_array(path, leaf, context).result().spec()
    array = ts.open(spec, open=True, read=True, write=True, context=context).result()
    array[place] = np.uint8(array[place].read().result() ^ 1)
