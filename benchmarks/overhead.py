"""What tracing costs: traced and untraced programs on the same work, in one run.

python benchmarks/overhead.py                    # JaxARC, 256 lanes x 128 steps
python benchmarks/overhead.py --env cartpole     # gymnax CartPole, 1,024 lanes x 512 steps
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

# Before jax is imported: JaxARC's checks would otherwise be host callbacks of their own.
os.environ.setdefault("EQX_ON_ERROR", "off")

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from timing import Program, compile_program, compiler_figures, measure, save_json, table

import jaxarc_trace as jt
from jaxarc_trace.plan import pack_step, plan_for
from jaxarc_trace.probes import default_probe

SHELF = {"best": 8, "random": 8}
BLOCKS = "late reset in blocks, untraced"
LATE = "late reset, untraced"


def specs(max_steps: int) -> dict[str, jt.TraceSpec]:
    """What each traced row keeps, by its name."""
    kept: dict[str, dict[str, Any]] = {
        "off": {"level": "off"},
        "ring, all lanes": {"keep": "last"},
        "ring + shelf (8 best, 8 random), all lanes": {"keep": SHELF},
        "ring + shelf, 16 of the lanes": {"keep": SHELF, "lanes": 16},
    }
    return {name: jt.TraceSpec(max_steps=max_steps, **fields) for name, fields in kept.items()}


def by_callback(how: str) -> str:
    """Name of the row whose records go to the host by a callback."""
    return f"late reset + {how}, same record"


def usual(env: Any, policy: Any, lanes: int, steps: int) -> Any:
    """The usual loop: step, reset every lane, choose by `where`, as auto-reset wrappers do."""
    reset, step = jax.vmap(env.reset), jax.vmap(env.step)

    def program(key: jax.Array) -> Any:
        first, acting = jax.random.split(key)
        now = reset(jax.random.split(first, lanes))

        def body(carry: Any, key: jax.Array) -> tuple[Any, Any]:
            state, timestep = carry
            act, again = jax.random.split(key)
            action = policy(act, state, timestep)
            after, result = step(state, action)
            fresh = reset(jax.random.split(again, lanes))
            done = result.last()
            carry = jax.tree.map(
                lambda n, o: (
                    jnp.where(done.reshape(done.shape + (1,) * (o.ndim - 1)), n.astype(o.dtype), o)
                    if jnp.issubdtype(o.dtype, jnp.number) or o.dtype == jnp.bool_
                    else n
                ),
                fresh,
                (after, result),
            )
            return carry, result.reward

        return jax.lax.scan(body, now, jax.random.split(acting, steps))

    return program


def like(new: Any, old: Any) -> Any:
    """A tree with the dtypes of another, as the carry of a scan needs it; PRNG keys as they are."""
    return jax.tree.map(lambda n, o: n if n.dtype == o.dtype else n.astype(o.dtype), new, old)


def every_lane(reset: Any, keys: jax.Array, done: jax.Array, now: Any) -> Any:
    """Resets all lanes, and chooses those that are done."""
    return jax.tree.map(
        lambda n, o: jnp.where(done.reshape(done.shape + (1,) * (o.ndim - 1)), n, o),
        like(reset(keys), now),
        now,
    )


def in_blocks(reset: Any, keys: jax.Array, done: jax.Array, now: Any) -> Any:
    """Resets the lanes that are done, a sixteenth of all at a time."""
    lanes = done.shape[0]
    size = -(-lanes // 16)
    place = jnp.where(done, jnp.cumsum(done) - 1, lanes)
    found = jnp.full(16 * size, lanes).at[place].set(jnp.arange(lanes), mode="drop")

    def fresh(at: jax.Array) -> Any:
        return like(reset(keys.at[at].get(mode="clip")), now)

    def block(index: jax.Array, now: Any) -> Any:
        at = jax.lax.dynamic_slice_in_dim(found, index * size, size)
        # Always so; left in the loop as it is, the reset would be compiled badly.
        new = jax.lax.cond(
            at[0] < lanes,
            fresh,
            lambda _: jax.tree.map(lambda o: jax.lax.full((size, *o.shape[1:]), 0, o.dtype), now),
            at,
        )
        return jax.tree.map(lambda o, n: o.at[at].set(n, mode="drop"), now, new)

    return jax.lax.fori_loop(0, (done.sum() + size - 1) // size, block, now)


def late(
    env: Any, policy: Any, lanes: int, steps: int, extra: Any = None, renew: Any = every_lane
) -> Any:
    """The fastest loop: the true state is carried, and reset under one cond a step later.

    Written here without the library, so that it is a base of comparison and not the library's own.
    The program goes on from the states and timesteps `now` that it is given, or resets all lanes.
    """
    reset, step = jax.vmap(env.reset), jax.vmap(env.step)

    def program(key: jax.Array, now: Any = None) -> Any:
        first, acting = jax.random.split(key)

        def turned(now: Any, key: jax.Array) -> Any:
            done = now[1].last()

            def fresh() -> Any:
                return renew(reset, jax.random.split(key, lanes), done, now)

            return jax.lax.cond(done.any(), fresh, lambda: now)

        def body(now: Any, key: jax.Array) -> tuple[Any, Any]:
            act, again = jax.random.split(key)
            state, timestep = turned(now, again)
            action = policy(act, state, timestep)
            after, result = step(state, action)
            kept = extra(state, action, result) if extra else ()
            return (after, like(result, timestep)), kept

        if now is None:
            now = reset(jax.random.split(first, lanes))
        now, kept = jax.lax.scan(body, now, jax.random.split(acting, steps))
        return turned(now, first), kept

    return program


def traced(env: Any, policy: Any, spec: jt.TraceSpec, lanes: int, steps: int) -> Any:
    """The library's rollout."""

    def program(key: jax.Array) -> Any:
        return jt.rollout(env, policy, key, spec=spec, num_lanes=lanes, num_steps=steps)

    return program


def carried_on(env: Any, policy: Any, spec: jt.TraceSpec, lanes: int, first: Program) -> Program:
    """`first` as a training loop has it: every call goes on where the last one stopped.

    The trace is donated, so that its arrays are made once, and the shelf has seen all episodes of
    the rounds before.
    """
    held = first.run()
    steps = int(held[0].step)

    def program(key: jax.Array, now: Any, trace: Any) -> Any:
        return jt.rollout(
            env, policy, key, spec=spec, num_lanes=lanes, num_steps=steps, start=now, trace=trace
        )

    key = jax.random.key(0)
    compiled = jax.jit(program, donate_argnums=(1, 2)).lower(key, *held).compile()

    def run() -> Any:
        nonlocal held
        held = jax.block_until_ready(compiled(key, *held))
        return held

    return Program(f"{first.name}, carried on", run, compiled)


def recorder(env: Any, policy: Any, lanes: int, how: str) -> Any:
    """A function that hands each step's packed record to the host by a callback."""
    probe = default_probe(env)
    state, timestep = jax.eval_shape(
        jax.vmap(env.reset), jax.random.split(jax.random.key(0), lanes)
    )
    action = jax.eval_shape(policy, jax.random.key(0), state, timestep)
    result = jax.eval_shape(jax.vmap(env.step), state, action)[1]
    plan, _ = plan_for(jt.TraceSpec(max_steps=128), probe, state, action, result)
    kept: list[np.ndarray] = []

    def keep(record: np.ndarray) -> None:
        kept.append(np.array(record))
        if len(kept) > 256:
            del kept[:128]

    def extra(state: Any, action: Any, result: Any) -> tuple[()]:
        record = jnp.concatenate(pack_step(plan, probe, state, action, result, lanes)[0], axis=-1)
        if how == "debug.callback":
            jax.debug.callback(keep, record)
        else:
            io_callback(keep, None, record, ordered=True)
        return ()

    return extra


def programs(env: Any, policy: Any, lanes: int, steps: int, max_steps: int) -> list[Program]:
    """All rows but JaxARC's own logging."""
    key = jax.random.key(0)

    traces = specs(max_steps)
    size = (lanes, steps)
    rows = [
        compile_program(BLOCKS, late(env, policy, *size, renew=in_blocks), key),
        compile_program(LATE, late(env, policy, *size), key),
        compile_program("usual auto-reset, untraced", usual(env, policy, *size), key),
    ]
    rows += [
        compile_program(name, traced(env, policy, chosen, *size), key)
        for name, chosen in traces.items()
    ]

    chosen = ("off", "ring, all lanes", "ring + shelf (8 best, 8 random), all lanes")
    firsts = {row.name: row for row in rows if row.name in chosen}
    rows += [carried_on(env, policy, traces[name], lanes, row) for name, row in firsts.items()]

    def full(state: Any, action: Any, result: Any) -> Any:
        return state, action, result.reward

    name = "late reset + scan outputs of the full state"
    rows.append(compile_program(name, late(env, policy, *size, full, in_blocks), key))
    for how in ("debug.callback", "ordered io_callback"):
        extra = recorder(env, policy, lanes, how)
        program = late(env, policy, *size, extra, in_blocks)
        rows.append(compile_program(by_callback(how), program, key))
    return rows


def jaxarc_world() -> tuple[Any, Any]:
    """JaxARC 30 x 30, and point actions at random over all 35 operations."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from jaxarc_trace.demo.tasks import environment, quiet_jaxarc

    quiet_jaxarc()
    env = environment(
        ("0ca9ddb6", "0d3d703e", "28bf18c6", "007bbfb7"), action="point", max_steps=100
    )

    def policy(key: jax.Array, state: Any, timestep: Any) -> dict[str, jax.Array]:
        del state
        ops, rows, columns = jax.random.split(key, 3)
        shape = timestep.reward.shape
        return {
            "operation": jax.random.randint(ops, shape, 0, 35),
            "row": jax.random.randint(rows, shape, 0, 30),
            "col": jax.random.randint(columns, shape, 0, 30),
        }

    return env, policy


def jaxarc_programs(lanes: int, steps: int) -> tuple[list[Program], str]:
    """All rows of JaxARC."""
    env, policy = jaxarc_world()
    return [*programs(env, policy, lanes, steps, 100), jaxarc_own(env, lanes, steps)], "flood_fill"


def jaxarc_own(env: Any, lanes: int, steps: int) -> Program:
    """JaxARC's own way: a host loop over one lane that draws each step as SVG, extrapolated."""
    from jaxarc.types import Grid
    from jaxarc.utils.visualization.rl_display import draw_rl_step_svg_enhanced

    measured = 8
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    folder = Path(tempfile.mkdtemp())

    def run() -> None:
        state, _ = reset(jax.random.key(0))
        for index in range(measured):
            action = {name: jnp.int32(5) for name in ("operation", "row", "col")}
            after, timestep = step(state, action)
            svg = draw_rl_step_svg_enhanced(
                before_grid=Grid(state.working_grid, state.working_grid_mask),
                after_grid=Grid(after.working_grid, after.working_grid_mask),
                action=action,
                reward=float(timestep.reward),
                info={},
                step_num=index,
            )
            (folder / f"{index}.svg").write_text(svg)
            state = after

    name = f"JaxARC's own step pictures, host loop (1 lane x {measured} steps, extrapolated)"
    return Program(name, run, None, measured / (lanes * steps))


def cartpole_programs(lanes: int, steps: int) -> tuple[list[Program], str]:
    """gymnax CartPole through a thin Stoa shell, with an MLP policy of 2 x 64."""
    from cartpole import CartPole, mlp_policy

    return programs(CartPole(), mlp_policy(), lanes, steps, 500), "cosine"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", choices=("jaxarc", "cartpole"), default="jaxarc")
    parser.add_argument("--lanes", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    lanes = args.lanes or {"jaxarc": 256, "cartpole": 1024}[args.env]
    steps = args.steps or {"jaxarc": 128, "cartpole": 512}[args.env]
    build = {"jaxarc": jaxarc_programs, "cartpole": cartpole_programs}[args.env]
    rows, marker = build(lanes, steps)
    measure(rows, args.rounds)
    bases = {"blocks": rows[0], "usual": rows[2]}
    print(f"{args.env}: {lanes} lanes x {steps} steps, {args.rounds} rounds, median (quartiles)\n")
    print(table(rows, bases), "\n")
    figures = {row.name: compiler_figures(row.compiled, marker) for row in rows if row.compiled}
    for name, values in figures.items():
        print(name, {key: round(value) for key, value in values.items()})
    if args.json:
        results = {
            row.name: {"wall": row.wall, "cpu": row.cpu, "compiler": figures.get(row.name, {})}
            for row in rows
        }
        save_json(args.json, env=args.env, lanes=lanes, steps=steps, results=results)


if __name__ == "__main__":
    main()
