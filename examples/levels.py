"""What each level records, and what it takes, on one and the same program.

    python examples/levels.py

`off` gives back the untraced program; `minimal` keeps a summary and the last state of an episode;
`standard` and `verbose` every step (they differ in how much is drawn), packed as the probe says;
`full` every leaf of the state, raw. The walker of `own_env.py`.
"""

from dataclasses import replace

import jax

# The file beside this one.
from own_env import env, policy

import jaxarc_trace as jt

CELL, PLACE = jt.Encoding.between(0, 2), jt.Encoding.between(0, 20)


def main() -> None:
    look = jt.GenericProbe("walk", constant=("step_key",), encodings={"line": CELL, "at": PLACE})
    walk = replace(env, look=look)
    print(f"{'level':<9} {'bytes a step':>12} {'on the device':>14}  a kept episode")
    for level in ("off", "minimal", "standard", "verbose", "full"):
        spec = jt.TraceSpec(level=level, max_steps=64, keep={"best": 2})

        def program(key, spec=spec):
            return jt.rollout(walk, policy, key, spec=spec, num_lanes=32, num_steps=128)[1]

        if level == "off":
            print(f"{level:<9} {0:>12} {'0 KiB':>14}  nothing: the program is the untraced one")
            continue
        trace = jax.jit(program)(jax.random.key(0))
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(trace)) / 2**10
        episode = jt.Episodes.of(jt.take(trace)).best(1)[0]
        step = trace.plan.schema.record_bytes if len(episode) else 0
        words = f"{len(episode)} of {episode.length} steps, {len(episode.states)} fields of a state"
        print(f"{level:<9} {step:>12,} {size:>10.1f} KiB  {words}")


if __name__ == "__main__":
    main()
