"""What reducing in two turns gains: the digest of JaxARC states, and the check of a grid's range.

    python benchmarks/folding.py [--lanes 256] [--rounds 15]

Each program does it 100 times in a scan, once with `folded` and once with one reduction; they run
interleaved, the median of the CPU time of one turn is printed, and that of the ratios.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import compile_program, measure, ratio

from jaxarc_trace import codec, digest

TURNS = 100


def states(lanes: int) -> dict[str, jax.Array]:
    """Two grids and two masks a lane, as many leaves of 900 as a JaxARC state changes."""
    rng = np.random.default_rng(0)
    grids = {name: rng.integers(-1, 10, (lanes, 30, 30), np.int32) for name in ("one", "two")}
    masks = {name: rng.random((lanes, 30, 30)) < 0.5 for name in ("mask", "selected")}
    return jax.tree.map(jnp.asarray, {**grids, **masks})


def at_once(reduce: Callable[..., jax.Array], values: jax.Array) -> jax.Array:
    """What `folded` stands for."""
    return reduce(values, axis=-1)


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
    works = {
        "digest": (functools.partial(digest.digest, lanes=args.lanes), given, digest),
        "range check": (unfit, given["one"], codec),
    }
    for name, (function, values, module) in works.items():
        folding = module.folded
        rows = [compile_program("folded", repeated(function), values)]
        module.folded = at_once
        rows.append(compile_program("at once", repeated(function), values))
        module.folded = folding
        measure(rows, args.rounds)
        took = [1e6 * statistics.median(row.cpu) / TURNS for row in rows]
        gained = ratio(rows[1].cpu, rows[0].cpu)
        print(f"{name}: {took[0]:.0f} µs instead of {took[1]:.0f} µs, ratio {gained.median:.2f}")


if __name__ == "__main__":
    main()
