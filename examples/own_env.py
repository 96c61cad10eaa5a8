"""An environment of your own: two functions are enough to record, save, replay and draw it.

A walker on a line of 21 cells looks for one end, and slips now and then. Nothing here is known to
the package: `start` and `move` are the whole of it. `python examples/own_env.py` writes `walk/` and
`walk.svg`.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

import jaxarc_trace as jt


# --- The environment, in less than twenty lines.
def start(key, params):
    at = jax.random.randint(key, (), 5, 16, jnp.int32)
    return {"line": jnp.zeros((1, 21), jnp.int32).at[0, at].set(2), "at": at}, at


def move(key, state, action, params):
    slips = jax.random.bernoulli(key, params["slip"])
    at = jnp.clip(state["at"] + jnp.where(slips, -action, action), 0, 20)
    outcome = {"reward": jnp.where(at == 20, 1.0, -0.05), "done": (at == 0) | (at == 20)}
    return {"line": jnp.zeros((1, 21), jnp.int32).at[0, at].set(2), "at": at}, at, outcome


env = jt.Environment("walk", start, move, params={"slip": 0.1})


# --- A policy for all lanes at once, and what to keep.
def policy(key, state, timestep):
    away = jax.random.bernoulli(key, 0.3, timestep.observation.shape)
    return jnp.where(away, -1, 1)


def main(out: Path) -> None:
    spec = jt.TraceSpec(max_steps=64, keep={"best": 4, "worst": 4})
    _, trace = jax.jit(
        lambda key: jt.rollout(env, policy, key, spec=spec, num_lanes=32, num_steps=200)
    )(jax.random.key(0))
    jt.save(out / "walk", trace)

    # --- Afterwards: load, check that the recording is true, look.
    episodes = jt.load(out / "walk")
    best = episodes.best(1)[0]
    print(best)
    print(jt.replay(best, env))
    jt.render.filmstrip(best).save_svg(out / "walk.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
