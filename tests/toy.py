"""A tiny environment in which everything is known beforehand: episodes read from a script.

`ScriptedEnv` is the Stoa form: each reset draws a row of its script. `scripted_step` is a step
function of the caller's own, in which lane `l` plays the rows `[l, 0], [l, 1], ...` in order.
Both move by `advance`, and a transition is known by its action, which is never repeated.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from stoa import Environment, TimeStep
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey
from stoa.spaces import ArraySpace, DiscreteSpace

from jaxarc_trace import GenericProbe

__all__ = [
    "TRUNCATED",
    "LaneState",
    "MarkedProbe",
    "Script",
    "ScriptedEnv",
    "ToyState",
    "advance",
    "batches",
    "example_script",
    "lane_states",
    "numbered",
    "numbered_apart",
    "ones",
    "probe",
    "restarted",
    "same",
    "scripted_step",
]

TRUNCATED, FAILED, SOLVED = 0, 1, 2


class Script(NamedTuple):
    """Episodes to play, arrays `[row]` for `ScriptedEnv` and `[lane, row]` for `scripted_step`.

    Attributes:
        length: int32, transitions, at least 1.
        value: float32, the reward of each transition.
        mark: float32, a number of the episode that is no reward.
        kind: int8, how it ends: truncated, terminated, or terminated at the goal.
    """

    length: Any
    value: Any
    mark: Any
    kind: Any


class ToyState(eqx.Module):
    """One episode under way.

    Attributes:
        row: what the script says of it.
        time: int32, transitions so far.
        last: int32, the last action; -1 before the first.
        path: bool `[5]`, bits that depend on all actions so far.
    """

    row: Script
    time: jax.Array
    last: jax.Array
    path: jax.Array


class LaneState(eqx.Module):
    """A lane of the caller's own loop: an episode, and which it is.

    Attributes:
        episode: the episode.
        lane: int32, its lane.
        number: int32, its number in the lane.
    """

    episode: ToyState
    lane: jax.Array
    number: jax.Array


class MarkedProbe(GenericProbe):
    """Records every leaf, knows the goal, and has the mark as its metric.

    In both forms of the toy the script's row is constant in an episode.
    """

    def constants(self, state: Any) -> dict[str, jax.Array]:
        return {k: v for k, v in self._recorded(state).items() if _of_row(k)}

    def state(self, state: Any) -> dict[str, jax.Array]:
        return {k: v for k, v in self._recorded(state).items() if not _of_row(k)}

    def metrics(self, state: Any) -> dict[str, jax.Array]:
        return {"mark": _episode(state).row.mark, "time": _episode(state).time}


def probe(**fields: Any) -> MarkedProbe:
    """The probe of both forms."""
    return MarkedProbe(name="toy", goal=_goal, **fields)


def _of_row(name: str) -> bool:
    return name.removeprefix("episode.").startswith("row.")


def beginning(row: Script) -> ToyState:
    """The first state of an episode; any leading axes."""
    zero = jnp.zeros_like(row.length)
    return ToyState(row, zero, zero - 1, jnp.zeros((*zero.shape, 5), jnp.bool_))


def advance(state: ToyState, action: jax.Array) -> tuple[ToyState, dict[str, jax.Array]]:
    """One transition; any leading axes."""
    time = state.time + 1
    bits = (action[..., None] >> jnp.arange(5, dtype=jnp.int32).reshape((*_ones(action), 5))) & 1
    path = jnp.roll(state.path, 1, axis=-1) ^ (bits == 1)
    over = time >= state.row.length
    ends = state.row.kind != TRUNCATED
    outcome = {"reward": state.row.value, "terminated": over & ends, "truncated": over & ~ends}
    return replace(state, time=time, last=action, path=path), outcome


def lane_states(script: Script, lane: jax.Array) -> LaneState:
    """The first states of lanes; `script` is `[lane, row]`, `lane` int32 `[lane]`."""
    zero = jnp.zeros_like(lane)
    return LaneState(beginning(rows_of(script, lane, zero)), lane, zero)


def rows_of(script: Script, lane: jax.Array, number: jax.Array) -> Script:
    """What the script `[lane, row]` says of one episode of each lane."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[lane, number], script)


def restarted(script: Script, state: LaneState, done: jax.Array) -> LaneState:
    """The states in which the lanes that are done begin their next episode."""
    number = state.number + done.astype(jnp.int32)
    fresh = LaneState(beginning(rows_of(script, state.lane, number)), state.lane, number)

    def pick(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(done.reshape(done.shape + (1,) * (old.ndim - done.ndim)), new, old)

    return jax.tree.map(pick, fresh, state)


def scripted_step(state: LaneState, action: jax.Array) -> tuple[LaneState, dict[str, jax.Array]]:
    """A step of the caller's own, for one lane or several, that does not reset."""
    episode, outcome = advance(state.episode, action)
    return replace(state, episode=episode), outcome


class ScriptedEnv(Environment):
    """Stoa's form of a single environment; a script given as `env_params` replaces its own."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    def reset(self, rng_key: jax.Array, env_params: Any = None) -> tuple[Any, Any]:
        script = self.script if env_params is None else env_params
        row = jax.random.randint(rng_key, (), 0, len(script.length), jnp.int32)
        state = beginning(jax.tree.map(lambda leaf: jnp.asarray(leaf)[row], script))
        return state, self._timestep(state, jnp.zeros((), jnp.int8), jnp.zeros((), jnp.float32))

    def step(self, state: Any, action: Any, env_params: Any = None) -> tuple[Any, Any]:
        del env_params
        state, outcome = advance(state, action)
        kind = (
            1 + outcome["terminated"].astype(jnp.int8) + 2 * outcome["truncated"].astype(jnp.int8)
        )
        return state, self._timestep(state, kind, outcome["reward"])

    def _timestep(self, state: ToyState, kind: jax.Array, reward: jax.Array) -> Any:
        observation = {"time": state.time, "last": state.last}
        return TimeStep(kind, reward, jnp.ones((), jnp.float32), observation, {})

    def action_space(self, env_params: Any = None) -> DiscreteSpace:
        del env_params
        return DiscreteSpace(2**31 - 1, jnp.int32)

    def observation_space(self, env_params: Any = None) -> ArraySpace:
        del env_params
        return ArraySpace((2,), jnp.int32)

    def state_space(self, env_params: Any = None) -> ArraySpace:
        del env_params
        return ArraySpace((2,), jnp.int32)


def batches(env: Environment, lanes: int) -> dict[str, tuple[Any, jax.Array]]:
    """A batch of an environment by each way of VmapWrapper to give keys, with what resets it."""
    one = jax.random.key(3)
    keys = jax.random.split(one, lanes)
    return {
        "a vmap, a key a lane": (VmapWrapper(env), keys),
        "a vmap, raw keys": (VmapWrapper(env), jax.random.key_data(keys)),
        "a vmap that splits one key": (VmapWrapper(env, num_envs=lanes), one),
        "keys in the states": (VmapWrapper(AddRNGKey(env)), keys),
        "keys in the states, one key": (VmapWrapper(AddRNGKey(env), lanes), one),
    }


def same(left: Any, right: Any) -> None:
    """Asserts that two trees are equal leaf by leaf, bit by bit; keys included."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(_plain(a), _plain(b))


def _plain(leaf: Any) -> np.ndarray:
    keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if keys else leaf)


def numbered(key: jax.Array, state: Any, timestep: Any) -> jax.Array:
    """A policy of a batch whose actions are, but for chance, never the same: random words."""
    del state
    return jax.random.bits(key, timestep.reward.shape, jnp.uint32).astype(jnp.int32)


def numbered_apart(key: jax.Array, state: Any, timestep: Any) -> jax.Array:
    """As `numbered`, from the state alone: a lane acts alike wherever the others are."""
    del key, timestep
    return state.last * 5 + state.time + (state.row.mark * 8).astype(jnp.int32)


def example_script(shape: tuple[int, ...], seed: int = 0, longest: int = 7) -> Script:
    """A script of that shape with all endings, ties and short and long episodes."""
    random = np.random.default_rng(seed)
    return Script(
        random.integers(1, longest + 1, shape).astype(np.int32),
        random.choice(np.array([-1, -0.5, 0, 0.5, 0.5, 1], np.float32), shape),
        random.choice(np.array([-2, -0.0, 0, 1, 3], np.float32), shape),
        random.integers(0, 3, shape).astype(np.int8),
    )


def ones(shape: tuple[int, ...]) -> Script:
    """A script of episodes of one step."""
    return example_script(shape, longest=1)


def _goal(state: Any, terminated: jax.Array) -> jax.Array:
    return terminated & (_episode(state).row.kind == SOLVED)


def _episode(state: Any) -> ToyState:
    while not isinstance(state, ToyState):
        state = state.episode if isinstance(state, LaneState) else state.base_env_state
    return state


def _ones(array: jax.Array) -> tuple[int, ...]:
    return (1,) * array.ndim
