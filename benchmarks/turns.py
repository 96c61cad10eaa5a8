"""What tracing costs a loop that goes on: many short turns, each where the last one stopped.

A training loop calls its program again and again with the trace donated. Here every program takes
a few steps and the next one follows at once, hundreds of times, so that a machine whose speed
drifts from second to second moves both sides of a ratio, and the interval around its median is
narrow. The untraced program runs twice, each with arrays of its own: ratios are taken to the mean
of the two in each round, and what their own rows show is chance.

    python benchmarks/turns.py                                       # JaxARC, 256 lanes x 32 steps
    python benchmarks/turns.py --lanes 1024 --steps 8 --rounds 30
    python benchmarks/turns.py --env cartpole                        # 1,024 lanes x 128 steps
"""

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from cartpole import CartPole, mlp_policy
from overhead import (
    BLOCKS,
    by_callback,
    in_blocks,
    jaxarc_world,
    late,
    recorder,
    specs,
    traced,
)
from timing import AGAIN, Program, base, measure, ratio, save_json

import jaxarc_trace as jt

CALLBACKS = ("debug.callback", "ordered io_callback")
WORLDS: dict[str, tuple[Callable[[], tuple[Any, Any]], int, int, int]] = {
    "jaxarc": (jaxarc_world, 256, 32, 100),
    "cartpole": (lambda: (CartPole(), mlp_policy()), 1024, 128, 500),
}
"""How to make an environment and its policy; its lanes, steps a turn and longest episode."""


def going_on(name: str, compiled: Any, *held: Any) -> Program:
    """A program whose calls take a key and what the last call gave, which is given away.

    Args:
        name: the row's name.
        compiled: the program, of a key and of what is held; gives what the next call is to hold.
        held: what the first call holds. It is copied, because other rows begin with the same.
    """
    now = jax.tree.map(jnp.copy, held)
    turns = itertools.count()
    key = jax.random.key(0)

    def prepare() -> None:
        nonlocal key
        key = jax.block_until_ready(jax.random.key(next(turns)))

    def run() -> None:
        nonlocal now
        now = jax.block_until_ready(compiled(key, *now))

    return Program(name, run, compiled, prepare=prepare)


def compiled(program: Any, *held: Any) -> Any:
    """A function of a key and of `held`, all of which is donated, compiled."""
    donated = tuple(range(1, 1 + len(held)))
    return jax.jit(program, donate_argnums=donated).lower(jax.random.key(0), *held).compile()


def programs(env: Any, policy: Any, lanes: int, steps: int, max_steps: int) -> Iterator[Program]:
    """The untraced rollout first, then itself once more, and all others."""
    for name, spec in specs(max_steps).items():

        def rollout(key: jax.Array, now: Any, trace: Any, spec: jt.TraceSpec = spec) -> Any:
            return jt.rollout(
                env,
                policy,
                key,
                spec=spec,
                num_lanes=lanes,
                num_steps=steps,
                start=now,
                trace=trace,
            )

        held = jax.jit(traced(env, policy, spec, lanes, 1))(jax.random.key(0))
        program = compiled(rollout, *held)
        yield going_on(name, program, *held)
        if name == "off":
            yield going_on(name + AGAIN, program, *held)

    now = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), lanes))
    extras = {by_callback(how): recorder(env, policy, lanes, how) for how in CALLBACKS}
    for name, extra in {BLOCKS: None, **extras}.items():
        loop = late(env, policy, lanes, steps, extra, in_blocks)
        program = compiled(lambda key, now, loop=loop: (loop(key, now)[0],), now)
        yield going_on(name, program, now)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", choices=tuple(WORLDS), default="jaxarc")
    parser.add_argument("--lanes", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    world, lanes, steps, max_steps = WORLDS[args.env]
    lanes, steps = args.lanes or lanes, args.steps or steps
    rows = list(programs(*world(), lanes, steps, max_steps))
    measure(rows, args.rounds)
    print(f"{args.env}: {lanes} lanes x {steps} steps, {args.rounds} rounds\n")
    results = {row.name: {"wall": row.wall, "cpu": row.cpu} for row in rows}
    print(table(results))
    if args.json:
        save_json(args.json, env=args.env, lanes=lanes, steps=steps, results=results)


def table(results: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Ratios to the untraced program, each with an interval that holds the true median."""
    off = base(results)
    lines = ["| program | ms | CPU time / off | wall time / off |", "|---|---|---|---|"]
    for name, row in results.items():
        cpu, wall = ratio(row["cpu"], off["cpu"]), ratio(row["wall"], off["wall"])
        lines.append(f"| {name} | {1000 * statistics.median(row['wall']):.1f} | {cpu} | {wall} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
