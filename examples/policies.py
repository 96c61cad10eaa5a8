"""What each policy of `keep` keeps, on the same 20,000 steps.

An episode is a ball that is thrown and rolls out, or falls into a hole on the way. The trace sees
some hundreds of them; each policy below keeps five, and prints their returns. `python
examples/policies.py`
"""

import jax
import jax.numpy as jnp

import jaxarc_trace as jt

LANES, STEPS = 100, 200


def start(key, params):
    del params
    speed = jax.random.uniform(key, (), minval=1.0, maxval=12.0)
    return {"place": jnp.zeros(()), "speed": speed}, speed


def move(key, state, action, params):
    del key, params
    speed = state["speed"] * 0.8 + 0.1 * action
    place = state["place"] + speed
    hole = (place > 20) & (place < 22)
    outcome = {"reward": speed, "terminated": hole | (speed < 0.5)}
    return {"place": place, "speed": speed}, speed, outcome


def policy(key, state, timestep):
    del state
    return jax.random.normal(key, timestep.observation.shape)


def in_the_hole(state, terminated):
    """What success is, for `failed`: everything but this."""
    return terminated & (state["place"] > 20) & (state["place"] < 22)


def longest(stats):
    """A score of one's own: any number made of an episode's `jt.Stats`."""
    return stats.length.astype(jnp.float32)


KEEPS = {
    "last": "last: the ring itself, whatever ended most recently in each lane",
    "first": "first: the first that ended",
    "best": "best: the largest returns",
    "worst": "worst: the smallest returns",
    "random": "random: a uniform sample of all that ended",
    "failed": "failed: the most recent that missed the goal",
    longest: "a score of one's own: the longest",
}


def main() -> None:
    # `goal` looks at the state; the recorder wraps it with what its keys are made of.
    look = jt.GenericProbe(
        "ball", constant=("step_key",), goal=lambda s, end: in_the_hole(s.base_env_state, end)
    )
    env = jt.Environment("ball", start, move, look=look)
    for keep, words in KEEPS.items():
        slots = None if keep == "last" else 5
        spec = jt.TraceSpec(max_steps=24, keep=keep, slots=slots)
        trace = play(env, spec)
        episodes = [e for e in jt.Episodes.of(jt.take(trace)) if e.complete]
        name = keep if isinstance(keep, str) else keep.__name__
        kept = [e for e in episodes if name in e.kept_by][:5]
        returns = ", ".join(f"{e.total_return:.1f}" for e in kept)
        print(f"{words}\n    {len(kept)} episodes, returns {returns}")
    # Several at once share one ring; an episode can be kept by more than one.
    spec = jt.TraceSpec(max_steps=24, keep={"best": 3, "worst": 3, "random": 6})
    found = jt.Episodes.of(jt.take(play(env, spec)))
    print("together:", sorted({e.kept_by for e in found if e.kept_by != ("last",)}))


def play(env, spec):
    def run(key):
        return jt.rollout(env, policy, key, spec=spec, num_lanes=LANES, num_steps=STEPS)[1]

    return jax.jit(run)(jax.random.key(0))


if __name__ == "__main__":
    main()
