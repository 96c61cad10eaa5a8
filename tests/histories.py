"""Untraced programs over the scripted environment that give every transition: the ground truth."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxarc_trace.probe import named_leaves
from tests import toy
from tests.oracle import History

FIELDS = ("row.length", "row.value", "row.mark", "row.kind", "time", "last", "path")


def own_action(step: jax.Array, lane: jax.Array) -> jax.Array:
    """The action that lane takes at that step, in the caller's own loop; never taken again."""
    return step * 64 + lane


@functools.partial(jax.jit, static_argnums=1)
def _own(script: toy.Script, steps: int) -> Any:
    def body(state: toy.LaneState, step: jax.Array) -> Any:
        action = own_action(step, state.lane)
        after, outcome = toy.scripted_step(state, action)
        over = outcome["terminated"] | outcome["truncated"]
        seen = _fields(state), _fields(after), action, outcome
        return toy.restarted(script, after, over), seen

    lane = jnp.arange(len(script.length), dtype=jnp.int32)
    steps_taken = jnp.arange(steps, dtype=jnp.int32)
    return jax.lax.scan(body, toy.lane_states(script, lane), steps_taken)[1]


def own_history(script: toy.Script, steps: int) -> History:
    """The caller's own loop over `scripted_step`, resetting the lanes that are done."""
    return _history(_own(script, steps), len(script.length))


def untraced_rollout(
    env: Any, policy: Callable[..., Any], num_lanes: int, num_steps: int
) -> Callable[..., Any]:
    """The program that `rollout` is without a trace, with what it saw beside its result."""
    lane = jnp.arange(num_lanes, dtype=jnp.int32)

    def run(key: jax.Array, params: Any) -> Any:
        def reset(step: jax.Array) -> Any:
            base = jax.random.fold_in(jax.random.split(key)[0], step)
            keys = jax.vmap(lambda one: jax.random.fold_in(base, one))(lane)
            return jax.vmap(env.reset, in_axes=(0, None))(keys, params)

        def late_reset(state: Any, timestep: Any, step: jax.Array) -> Any:
            done = timestep.last()
            return jax.tree.map(
                lambda new, old: pick(done, new, old), reset(step), (state, timestep)
            )

        def body(carry: Any, _: None) -> Any:
            state, timestep, step = carry
            state, timestep = late_reset(state, timestep, step)
            word = jax.random.fold_in(jax.random.split(key)[1], step)
            action = policy(word, state, timestep)
            after, timestep = jax.vmap(env.step, in_axes=(0, 0, None))(state, action, params)
            outcome = {
                "reward": timestep.reward,
                "terminated": timestep.terminated(),
                "truncated": timestep.truncated(),
            }
            timestep = jax.tree.map(lambda new, old: new.astype(old.dtype), timestep, carry[1])
            return (after, timestep, step + 1), (_fields(state), _fields(after), action, outcome)

        zero = jnp.zeros((), jnp.int32)
        return jax.lax.scan(body, (*reset(zero), zero), None, num_steps)

    return run


def wrapper_history(
    env: Any, policy: Callable[..., Any], num_lanes: int, num_steps: int
) -> Callable[..., Any]:
    """What Stoa's `AutoResetWrapper` does to an environment with an `rng_key`, and the states."""

    @jax.jit
    def run(key: jax.Array, params: Any) -> Any:
        reset = jax.vmap(env.reset, in_axes=(0, None))

        def body(carry: Any, word: jax.Array) -> Any:
            state, timestep = carry
            action = policy(word, state, timestep)
            after, timestep = jax.vmap(env.step, in_axes=(0, 0, None))(state, action, params)
            keys = jax.vmap(lambda one: jax.random.split(one)[0])(after.rng_key)
            done = timestep.last()
            fresh, _ = reset(keys, params)
            following = jax.tree.map(lambda new, old: pick(done, new, old), fresh, after)
            outcome = {
                "reward": timestep.reward,
                "terminated": timestep.terminated(),
                "truncated": timestep.truncated(),
            }
            timestep = jax.tree.map(lambda new, old: new.astype(old.dtype), timestep, carry[1])
            return (following, timestep), (_fields(state), _fields(after), action, outcome)

        start, words = jax.random.split(key)
        carry = reset(jax.random.split(start, num_lanes), params)
        return jax.lax.scan(body, carry, jax.random.split(words, num_steps))[1]

    return lambda key, params: _history(run(key, params), num_lanes)


def rollout_history(
    env: Any, policy: Callable[..., Any], num_lanes: int, num_steps: int
) -> Callable[..., Any]:
    """The history of a rollout with that key and script."""
    run = jax.jit(untraced_rollout(env, policy, num_lanes, num_steps))
    return lambda key, params: _history(run(key, params)[1], num_lanes)


def pick(done: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """`new` in the lanes that are done; PRNG keys as well."""
    return jnp.where(done.reshape(done.shape + (1,) * (old.ndim - done.ndim)), new, old)


def _fields(state: Any) -> dict[str, jax.Array]:
    leaves = named_leaves(state, root="state")
    leaves |= {name.removeprefix("episode."): leaf for name, leaf in leaves.items()}
    return {name: leaves[name] for name in FIELDS}


def _history(seen: Any, lanes: int) -> History:
    before, after, action, outcome = jax.tree.map(np.asarray, seen)
    lane, began = np.arange(lanes), np.zeros(lanes, np.int64)
    return History(before=before, after=after, action=action, lane=lane, began=began, **outcome)
