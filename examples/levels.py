"""What each level records, and what it takes, on one and the same program.

    python examples/levels.py

`off` gives back the untraced program; `minimal` keeps a summary and the last state of an episode;
`standard` and `verbose` every step (they differ in how much is drawn); `full` every leaf of the
state, raw. JaxARC on one small task.
"""

import os

os.environ.setdefault("EQX_ON_ERROR", "off")

import jax

import jaxarc_trace as jt
from jaxarc_trace.demo.player import scripted_player
from jaxarc_trace.demo.tasks import environment, quiet_jaxarc


def main() -> None:
    quiet_jaxarc()
    env, policy = environment(["25ff71a9"], max_steps=16), scripted_player()
    print(f"{'level':<9} {'bytes a step':>12} {'on the device':>14}  a kept episode")
    for level in ("off", "minimal", "standard", "verbose", "full"):
        spec = jt.TraceSpec(level=level, max_steps=16, keep={"best": 2})

        def program(key, spec=spec):
            return jt.rollout(env, policy, key, spec=spec, num_lanes=8, num_steps=32)[1]

        if level == "off":
            print(f"{level:<9} {0:>12} {'0 B':>14}  nothing: the program is the untraced one")
            continue
        trace = jax.jit(program)(jax.random.key(0))
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(trace))
        episode = jt.Episodes.of(jt.take(trace)).best(1)[0]
        schema = trace.plan.schema
        step = schema.record_bytes if len(episode) else 0
        words = f"{len(episode)} of {episode.length} steps, {len(episode.states)} fields of a state"
        print(f"{level:<9} {step:>12,} {size / 2**20:>10.2f} MiB  {words}")


if __name__ == "__main__":
    main()
