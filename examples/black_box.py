"""Which lane met the first NaN, and what led up to it: a black box around one step of 128,000.

A controller pushes 256 carts towards the middle of their track, with a gain of each cart's own.
The reward is the square root of the room that is left, so a cart that swings past the end of its
track earns NaN, and a training loop would carry it into every weight. The ring stops two steps
after the first of them, and still holds the twelve steps before.

    python examples/black_box.py --out box
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxarc_trace as jt

LANES, STEPS, LENGTH = 256, 500, 100
BEFORE, AFTER = 12, 2


def step(state: dict, push: jax.Array) -> tuple[dict, dict]:
    """A cart on a track from -1 to 1; an episode has a hundred steps."""
    speed = 0.98 * state["speed"] + 0.1 * push
    place = state["place"] + 0.1 * speed
    time = state["time"] + 1
    over = time >= LENGTH
    outcome = {
        "reward": jnp.sqrt(1 - place**2),
        "terminated": jnp.zeros_like(over),
        "truncated": over,
        "ended_in": {"place": place, "speed": speed, "time": time},
    }
    following = {
        "place": jnp.where(over, 0.5, place),
        "speed": jnp.where(over, 0.0, speed),
        "time": jnp.where(over, 0, time),
    }
    return following, outcome


def traced() -> tuple:
    """The step with its black box, and the whole loop as one jitted program."""
    trigger = jt.Trigger(when=jt.triggers.nan, before=BEFORE, after=AFTER)
    spec = jt.TraceSpec(keep="trigger", trigger=trigger)
    own = jt.wrap_step(step, spec, terminal=lambda _, outcome: outcome["ended_in"])

    @jax.jit
    def loop(key: jax.Array) -> jt.Trace:
        gain_key, noise_key = jax.random.split(key)
        gain = jax.random.uniform(gain_key, (LANES,), minval=0.2, maxval=1.0)
        state = {
            "place": jnp.full(LANES, 0.5),
            "speed": jnp.zeros(LANES),
            "time": jnp.zeros(LANES, jnp.int32),
        }
        state = jt.attach(own, state, gain)

        def body(state: jt.TracedState, key: jax.Array) -> tuple:
            cart = state.state
            # To push with the motion, however little, is what goes wrong in the end.
            noise = jax.random.normal(key, (LANES,))
            push = gain * (0.2 * cart["speed"] - cart["place"] + 0.4 * noise)
            state, _ = own(state, push)
            return state, None

        state, _ = jax.lax.scan(body, state, jax.random.split(noise_key, STEPS))
        return jt.detach(own, state)[1]

    return own, loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("box"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    _, loop = traced()
    path = jt.save(args.out, loop(jax.random.key(args.seed)))

    episodes = jt.load(path)
    fired = episodes.spec["trigger"]["fired"]
    if not fired:
        print("No cart left its track.")
        return
    print(f"{path}: stopped at step {fired[0]['step']}, lane {fired[0]['lane']}")
    culprit = next(e for e in episodes if "trigger" in e.kept_by)
    bad = int(culprit.metrics["trigger_step"]) - 1 - culprit.dropped
    print(f"{'step':>5} {'place':>8} {'speed':>8} {'push':>8} {'reward':>8}")
    for t in range(len(culprit)):
        place, speed = culprit.states["place"][t], culprit.states["speed"][t]
        mark = " <- the first NaN" if t == bad else ""
        print(
            f"{culprit.dropped + t + 1:5} {place:8.3f} {speed:8.3f} "
            f"{culprit.actions['action'][t]:8.3f} {culprit.rewards[t]:8.3f}{mark}"
        )
    calm = [e for e in episodes if e.lane != culprit.lane]
    worst = max(float(np.abs(e.states["place"]).max()) for e in calm)
    print(f"The other {len({e.lane for e in calm})} lanes at the same time: |place| <= {worst:.3f}")


if __name__ == "__main__":
    main()
