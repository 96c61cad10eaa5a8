"""Lanes spread over eight devices: each traces its own, and one store holds what all of them kept.

On a machine with one CPU the eight devices are made up, as below; on a real one leave that line
out. Each device keeps a ring of its lanes and a shelf of its own, and nothing travels between
devices while it runs; saving chooses once more among all of them. The result is, byte for byte,
that of one device with all the lanes, which is checked at the end.

    python examples/sharded.py --out sharded
"""

# ruff: noqa: E402 - XLA reads its flags when JAX is imported
import argparse
import os
from pathlib import Path

flags = os.environ.get("XLA_FLAGS", "")
if "host_platform_device_count" not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

import jaxarc_trace as jt

STEPS = 200
SPEC = jt.TraceSpec(max_steps=64, keep={"best": 4, "random": 4})


def start(key, params):
    del params
    at = jax.random.randint(key, (2,), 0, 8, jnp.int32)
    return {"at": at, "board": board(at)}, at


def move(key, state, action, params):
    del params
    ways = jnp.array([[0, 1], [1, 0], [0, -1], [-1, 0]], jnp.int32)
    slips = jax.random.bernoulli(key, 0.1)
    at = jnp.clip(state["at"] + jnp.where(slips, 0, ways[action]), 0, 7)
    home = (at == 7).all()
    outcome = {"reward": jnp.where(home, 1.0, -0.02), "terminated": home}
    return {"at": at, "board": board(at)}, at, outcome


def board(at):
    return jnp.zeros((8, 8), jnp.int32).at[7, 7].set(3).at[at[0], at[1]].set(2)


ENV = jt.Environment("corner", start, move)


def policy(key, state, timestep):
    """Every lane draws from a key of its own, wherever it runs."""
    del key, timestep

    def one(key, count):
        return jax.random.randint(jax.random.fold_in(key, count + 1000), (), 0, 4, jnp.int32)

    return jax.vmap(one)(state.step_key, state.step_count)


def play(key, lanes, first_lane):
    found = jt.rollout(
        ENV, policy, key, spec=SPEC, num_lanes=lanes, num_steps=STEPS, first_lane=first_lane
    )
    return found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("sharded"))
    parser.add_argument("--lanes", type=int, default=64, help="on each device")
    args = parser.parse_args()
    devices = jax.device_count()
    mesh = jax.make_mesh((devices,), ("lanes",), axis_types=(AxisType.Auto,))

    def part(key):
        return play(key, args.lanes, jax.lax.axis_index("lanes") * args.lanes)

    # How the trace lies over the devices, from its shapes alone.
    shapes = jax.eval_shape(lambda: play(jax.random.key(0), args.lanes, 0))
    split = jt.partition_specs(shapes, "lanes")
    whole = PartitionSpec()
    mapped = jax.shard_map(part, mesh=mesh, in_specs=whole, out_specs=split, check_vma=False)
    trace = jax.jit(mapped)(jax.random.key(0))
    jt.save(args.out / "trace", trace)
    episodes = jt.load(args.out / "trace")
    lanes = sorted({e.lane for e in episodes if "best" in e.kept_by})
    print(f"{devices} devices, {devices * args.lanes} lanes; the best episodes are of {lanes}")

    alone = jax.jit(lambda key: play(key, devices * args.lanes, 0))(jax.random.key(0))
    ours, theirs = jt.take(trace), jt.take(alone)
    same = all(np.array_equal(ours.columns[n], theirs.columns[n]) for n in ours.columns)
    same &= np.array_equal(ours.records, theirs.records)
    print(f"equal to one device with all lanes: {same}")


if __name__ == "__main__":
    main()
