"""What ways of reducing cost: the digest of JaxARC states, and the check of a grid's range.

    python benchmarks/folding.py [--lanes 256] [--rounds 15]

Each program does it 100 times in a scan; the ways of one work run interleaved. Printed are the
median of the CPU time of one turn and that of the ratios to the way that the package goes.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from timing import compile_program, measure, ratio

from jaxarc_trace import codec, digest, folding
from jaxarc_trace.folding import in_columns

TURNS = 100

Reduce = Callable[..., jax.Array]


def states(lanes: int) -> dict[str, jax.Array]:
    """Two grids and two masks a lane, as many leaves of 900 as a JaxARC state changes."""
    rng = np.random.default_rng(0)
    grids = {name: rng.integers(-1, 10, (lanes, 30, 30), np.int32) for name in ("one", "two")}
    masks = {name: rng.random((lanes, 30, 30)) < 0.5 for name in ("mask", "selected")}
    return jax.tree.map(jnp.asarray, {**grids, **masks})


def at_once(reduce: Reduce, values: jax.Array) -> list[jax.Array]:
    """`in_columns` that leaves all to the second turn."""
    del reduce
    return [values]


def filled_up(reduce: Reduce, values: jax.Array) -> list[jax.Array]:
    """`in_columns` with zeros behind the values where the last row is short."""
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % 64)]
    return in_columns(reduce, jnp.pad(values, padding))


def repeated(function: Callable[[Any], jax.Array]) -> Callable[[Any], jax.Array]:
    """A scan that carries the states, as a rollout does: they lie in memory when a turn begins."""

    def turn(carry: Any, _: None) -> tuple[Any, None]:
        values, total = carry
        odd = total.sum(dtype=jnp.uint32) == 1
        values = jax.lax.cond(odd, _other, lambda same: same, values)
        return (values, total + function(values).astype(jnp.uint32)), None

    def run(values: Any) -> jax.Array:
        lanes = jax.tree.leaves(values)[0].shape[0]
        return jax.lax.scan(turn, (values, jnp.zeros(lanes, jnp.uint32)), None, TURNS)[0][1]

    return run


def _other(values: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf ^ jnp.ones((), leaf.dtype), values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    given = states(args.lanes)
    unfit = functools.partial(codec.unfit, codec.Encoding.between(-1, 14), lead=1)
    ways = {
        "two turns": in_columns,
        "two, the last row filled up": filled_up,
        "one turn": at_once,
    }
    works = {
        "digest": (functools.partial(digest.digest, lanes=args.lanes), given),
        "range check": (unfit, given["one"]),
    }
    for work, (function, values) in works.items():
        rows = []
        for name, way in ways.items():
            with (
                mock.patch.object(digest, "in_columns", way),
                mock.patch.object(folding, "in_columns", way),
            ):
                rows.append(compile_program(name, repeated(function), values))
        measure(rows, args.rounds)
        for row in rows:
            took = 1e6 * statistics.median(row.cpu) / TURNS
            print(f"{work}, {row.name}: {took:.0f} µs, {ratio(row.cpu, rows[0].cpu)}")


if __name__ == "__main__":
    main()
