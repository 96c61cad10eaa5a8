"""What is recorded is what happened: bit for bit, beside a plain Python loop over the same keys."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stoa.core_wrappers.auto_reset import AutoResetWrapper
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey

import jaxarc_trace as jt
from jaxarc_trace.digest import digest
from jaxarc_trace.jaxarc import arc_state
from jaxarc_trace.probes import default_probe
from jaxarc_trace.recording import decode
from tests.arc import SMALL, arc, on_host, player

LANES, FIRST, SECOND, LIMIT = 6, 40, 24, 20
SPEC = jt.TraceSpec(
    max_steps=LIMIT, capacity=128, recent=16, keep={"best": 3, "worst": 2, "failed": 4, "random": 3}
)


def env(action: str) -> Any:
    return arc(SMALL, action=action, max_steps=LIMIT)


@functools.cache
def programs(action: str, level: str) -> tuple[Any, Any]:
    """The first rollout, and the one that goes on from it."""
    spec = SPEC.replace(level=level)
    options = {"spec": spec, "num_lanes": LANES}

    def first(key: jax.Array) -> Any:
        return jt.rollout(env(action), player(action), key, num_steps=FIRST, **options)

    def second(key: jax.Array, start: Any, trace: Any) -> Any:
        return jt.rollout(
            env(action),
            player(action),
            key,
            num_steps=SECOND,
            start=start,
            trace=trace,
            **options,
        )

    return jax.jit(first), jax.jit(second)


@functools.cache
def played(action: str, seed: int, level: str = "standard") -> tuple[jt.Recording, jt.Recording]:
    """What was recorded after the first rollout, and after the second."""
    first, second = programs(action, level)
    key = jax.random.key(seed)
    now, trace = first(key)
    early = jt.take(trace)
    _, trace = second(key, now, trace)
    return early, jt.take(trace)


@functools.cache
def looped(action: str, seed: int, steps: int) -> list[dict[str, Any]]:
    """The same by a Python loop that resets lane by lane: one entry an episode."""
    world, act = env(action), jax.jit(player(action))
    probe = default_probe(world)
    reset, step = jax.jit(world.reset), jax.jit(jax.vmap(world.step))
    put = jax.jit(
        lambda batch, one, lane: jax.tree.map(lambda old, new: old.at[lane].set(new), batch, one)
    )
    digests = jax.jit(lambda s: digest(probe.carried(s), s.step_count.shape[0]))
    resets, acts = jax.random.split(jax.random.key(seed))

    def fresh(lane: int, at: int) -> Any:
        return reset(jax.random.fold_in(jax.random.fold_in(resets, at), lane))

    lanes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(fresh(i, 0) for i in range(LANES)))
    episodes = [{"lane": lane, "number": 0, "steps": []} for lane in range(LANES)]
    finished: list[dict[str, Any]] = []
    for at in range(steps):
        state, _ = lanes
        action_taken = act(jax.random.fold_in(acts, at), *lanes)
        lanes = step(state, action_taken)
        seen = jax.tree.map(on_host, (state, action_taken, *lanes, digests(state)))
        over = np.asarray(lanes[1].last())
        for lane in range(LANES):
            one = jax.tree.map(operator.itemgetter(lane), seen)
            episodes[lane]["steps"].append(one)
            if over[lane]:
                finished.append(episodes[lane])
                number = episodes[lane]["number"] + 1
                episodes[lane] = {"lane": lane, "number": number, "steps": []}
                lanes = put(lanes, fresh(lane, at + 1), lane)
    return finished + [episode for episode in episodes if episode["steps"]]


def episodes_of(recording: jt.Recording) -> list[jt.Episode]:
    return [
        decode(
            recording.schema,
            recording.read(index),
            {name: column[index] for name, column in recording.columns.items()},
            policies=recording.policies,
            environment=recording.environment,
        )
        for index in range(len(recording))
    ]


def words(value: Any) -> np.ndarray:
    """The bytes of an array, PRNG keys included, so that NaN and -0.0 count as they are."""
    value = on_host(value) if isinstance(value, jax.Array) else value
    return np.ascontiguousarray(value).view(np.uint8)


def assert_same(episode: jt.Episode, truth: dict[str, Any]) -> None:
    steps = truth["steps"]
    assert episode.dropped == 0
    assert len(episode) == len(steps)
    sequence = [arc_state(s[0]) for s in steps] + [arc_state(steps[-1][2])]
    for name, recorded in episode.states.items():
        for t, state in enumerate(sequence):
            expected = getattr(state, name)
            assert np.array_equal(words(recorded[t]), words(expected)), (episode, name, t)
    total = np.float32(0)
    for t, (_, action, _, result, mark) in enumerate(steps):
        for name, recorded in episode.actions.items():
            expected = action[name] if isinstance(action, dict) else action
            assert np.array_equal(words(recorded[t]), words(expected)), (episode, name, t)
        assert words(episode.rewards[t]).tolist() == words(result.reward).tolist()
        assert episode.terminated[t] == bool(result.terminated())
        assert episode.truncated[t] == bool(result.truncated())
        assert episode.extras["operation"][t] == int(result.extras["operation_id"])
        assert episode.digests is not None
        assert episode.digests[t] == int(mark)
        total = np.float32(total + np.float32(result.reward))
    assert np.float32(episode.total_return) == total
    similarity = [float(state.similarity_score) for state in sequence]
    assert episode.metrics["similarity_final"] == similarity[-1]
    assert episode.metrics["similarity_best"] == max(similarity)


@pytest.mark.parametrize(
    ("action", "level"), [("point", "standard"), ("mask", "full")], ids=["point", "mask, full"]
)
def test_every_kept_episode_equals_a_python_loop(action: str, level: str) -> None:
    truth = {(e["lane"], e["number"]): e for e in looped(action, 3, FIRST + SECOND)}
    _, recording = played(action, 3, level)
    episodes = episodes_of(recording)
    assert len({(e.lane, e.number) for e in episodes}) == len(episodes)
    for episode in episodes:
        assert_same(episode, truth[episode.lane, episode.number])
    # The ring was long enough for everything: nothing is missing.
    assert {(e.lane, e.number) for e in episodes} == set(truth)


def test_the_sample_holds_every_kind_of_ending() -> None:
    episodes = episodes_of(played("point", 3)[1])
    endings = {e.outcome for e in episodes}
    assert {"solved", "failed", "running"} <= endings
    assert any(e.truncated[-1] for e in episodes if e.complete)
    assert any(e.terminated[-1] and not e.success for e in episodes if e.complete)
    assert max(e.number for e in episodes) >= 2, "some lane should finish several episodes"


def test_an_episode_that_spans_two_scans_is_whole() -> None:
    early, late = played("point", 3)
    was_running = {(e.lane, e.number): e for e in episodes_of(early) if not e.complete}
    spanning = [e for e in episodes_of(late) if (e.lane, e.number) in was_running]
    assert spanning
    for episode in spanning:
        before = was_running[episode.lane, episode.number]
        grids = "working_grid"
        assert len(episode) > len(before) or not episode.complete
        assert np.array_equal(episode.states[grids][: len(before) + 1], before.states[grids])


def test_the_terminal_state_is_not_the_reset_one() -> None:
    for episode in episodes_of(played("point", 3)[1]):
        count = episode.states["step_count"]
        assert count.tolist() == list(range(len(episode) + 1)), episode


def test_the_wrapper_gives_the_episodes_of_stoas_auto_reset() -> None:
    """Same observations, rewards and flags as `AutoResetWrapper`, and the states it throws away."""
    base = AddRNGKey(env("point"))
    wrapped = jt.TraceWrapper(VmapWrapper(base), SPEC)
    usual = VmapWrapper(AutoResetWrapper(base))
    keys = jax.random.split(jax.random.key(11), LANES)

    def run(world: Any) -> Any:
        def body(carry: Any, key: jax.Array) -> Any:
            state, timestep = carry
            action = player("point")(key, arc_state(state), timestep)
            state, timestep = world.step(state, action)
            seen = timestep.observation, timestep.reward, timestep.step_type, timestep.discount
            return (state, timestep), (seen, action)

        carry = world.reset(keys)
        return jax.lax.scan(body, carry, jax.random.split(jax.random.key(12), FIRST))

    (state, _), (seen, actions) = jax.jit(lambda: run(wrapped))()
    _, (expected, _) = jax.jit(lambda: run(usual))()
    for ours, theirs in zip(seen, expected, strict=True):
        assert np.array_equal(words(ours), words(theirs))
    recording = jt.take(jt.detach(wrapped, state)[1])
    step = jax.jit(env("point").step)
    for episode in episodes_of(recording):
        count = episode.states["step_count"]
        assert count.tolist() == list(range(len(episode) + 1))
        end = int(recording.columns["end_step"][_index(recording, episode)])
        taken = {k: np.asarray(v)[end, episode.lane] for k, v in actions.items()}
        assert {k: int(v[-1]) for k, v in episode.actions.items()} == {
            k: int(v) for k, v in taken.items()
        }
        _assert_last_step(step, episode)


def _index(recording: jt.Recording, episode: jt.Episode) -> int:
    same = (recording.columns["lane"] == episode.lane) & (
        recording.columns["number"] == episode.number
    )
    return int(np.flatnonzero(same)[0])


@functools.cache
def _template() -> Any:
    return jax.jit(env("point").reset)(jax.random.key(0))[0]


def _assert_last_step(step: Any, episode: jt.Episode) -> None:
    """The final state is what the environment makes of the last recorded state and action."""
    template = _template()
    leaves = {name: jnp.asarray(value[-2]) for name, value in episode.states.items()}
    key = jax.random.wrap_key_data(leaves.pop("key"))
    state = type(template)(**{**template.__dict__, **leaves, "key": key})
    action = {name: jnp.asarray(value[-1]) for name, value in episode.actions.items()}
    after, _ = step(state, action)
    for name in ("working_grid", "working_grid_mask", "similarity_score", "step_count"):
        assert np.array_equal(words(getattr(after, name)), words(episode.states[name][-1])), name
