"""A recording is stepped again: it comes out exactly, and a planted fault is found where it is."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.probe import leaf_names, named_leaves
from tests import toy
from tests.arc import SMALL, arc
from tests.recordings import recording, spoil

LIMIT = 24
SHAPES = {
    "point": {"operation": 35, "row": 30, "col": 30},
    "bbox": {"operation": 35, "r1": 30, "c1": 30, "r2": 30, "c2": 30},
}


def random_policy(action: str) -> Any:
    """Any of the 35 operations; places mostly within the small grids; few submissions."""

    def whole(key: jax.Array, lanes: int, high: int) -> jax.Array:
        near, far, which = jax.random.split(key, 3)
        small = jax.random.randint(near, (lanes,), 0, min(high, 9), jnp.int32)
        large = jax.random.randint(far, (lanes,), 0, high, jnp.int32)
        return jnp.where(jax.random.bernoulli(which, 0.8, (lanes,)), small, large)

    def operation(key: jax.Array, lanes: int) -> jax.Array:
        drawn, again, which = jax.random.split(key, 3)
        first = jax.random.randint(drawn, (lanes,), 0, 35, jnp.int32)
        second = jax.random.randint(again, (lanes,), 0, 34, jnp.int32)
        rare = (first == 34) & jax.random.bernoulli(which, 0.7, (lanes,))
        return jnp.where(rare, second, first)

    def policy(key: jax.Array, state: Any, timestep: Any) -> Any:
        del state
        lanes = timestep.reward.shape[0]
        names = SHAPES.get("point" if action in ("flat", "mask") else action, {})
        keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
        values = {
            name: operation(keys[name], lanes)
            if name == "operation"
            else whole(keys[name], lanes, high)
            for name, high in names.items()
        }
        if action == "flat":
            return (values["operation"] * 30 + values["row"]) * 30 + values["col"]
        if action == "mask":
            rows = jnp.arange(30, dtype=jnp.int32)
            inside = (rows[None] <= values["row"][:, None])[:, :, None]
            columns = (rows[None] <= values["col"][:, None])[:, None, :]
            return {"operation": values["operation"], "selection": inside & columns}
        return values

    return policy


ROOT = Path(__file__).parent


@functools.cache
def stored() -> jt.Episodes:
    """Eight lanes of 64 steps, recorded once and for all by `played("point")`."""
    return jt.load(ROOT / "golden" / "replay_v1")


@functools.cache
def played(action: str = "point", lanes: int = 8, steps: int = 64, **fields: Any) -> jt.Episodes:
    env = arc(SMALL, action=action, max_steps=LIMIT)
    spec = jt.TraceSpec(max_steps=LIMIT, keep="last", capacity=steps, recent=steps, **fields)

    def program(key: jax.Array) -> Any:
        return jt.rollout(
            env, random_policy(action), key, spec=spec, num_lanes=lanes, num_steps=steps
        )[1]

    return jt.Episodes.of(jt.take(jax.jit(program)(jax.random.key(3))))


def world(action: str = "point") -> Any:
    return arc(SMALL, action=action, max_steps=LIMIT)


def long_one(minimum: int = 20) -> jt.Episode:
    return next(e for e in stored() if len(e) >= minimum and e.complete)


def put(values: np.ndarray, where: Any, value: Any) -> np.ndarray:
    changed = np.array(values)
    changed[where] = value
    return changed


def with_state(episode: jt.Episode, name: str, values: np.ndarray) -> jt.Episode:
    return replace(episode, states={**episode.states, name: values})


def test_every_recorded_value_comes_out_again_bit_for_bit():
    episodes = stored()
    reports = jt.replay(episodes, world())
    assert [r.verdict for r in reports] == ["exact"] * len(episodes)
    assert sum(r.steps for r in reports) == 8 * 64
    assert all(r.digests and r.verified == r.steps and r.episode is None for r in reports)


@pytest.mark.slow
def test_one_by_one_is_the_same_as_side_by_side():
    episodes = stored()[:3]
    together = jt.replay(episodes, world(), states=True)
    alone = jt.replay(episodes, world(), states=True, batch=1)
    for one, other in zip(together, alone, strict=True):
        assert one.verdict == other.verdict == "exact"
        assert one.episode.states.keys() == other.episode.states.keys()
        for name, value in one.episode.states.items():
            assert np.array_equal(value, other.episode.states[name]), name


@pytest.mark.slow
def test_the_rebuilt_episode_has_every_leaf_of_every_state():
    episode, env = long_one(), world()
    report = jt.replay(episode, env)
    step = jax.jit(env.step)
    names = leaf_names(jax.eval_shape(env.reset, jax.random.key(0))[0], "state")
    assert sorted(report.episode.states) == sorted(names)
    assert {len(v) for v in report.episode.states.values()} == {len(episode) + 1}
    # The truth by a plain loop over the public step.
    from jaxarc_trace.simulate import simulator

    sim = simulator(env, sorted(episode.actions))
    state = jax.tree.map(
        lambda leaf: leaf[0], sim.assembled({n: v[:1] for n, v in report.episode.states.items()})
    )
    for t in range(len(episode)):
        state, _ = step(state, {name: jnp.asarray(v[t]) for name, v in episode.actions.items()})
        for name, value in named_leaves(state, root="state").items():
            assert np.array_equal(report.episode.states[name][t + 1], value), (t, name)


@pytest.mark.parametrize("t", [0, 1, 7, 19])
def test_a_changed_action_is_found_at_its_step(t: int):
    episode = long_one()
    operation = int(episode.actions["operation"][t])
    other = (operation + 1) % 34
    changed = replace(
        episode,
        actions={**episode.actions, "operation": put(episode.actions["operation"], t, other)},
    )
    first = jt.replay(changed, world()).first
    assert first.step == t + 1
    assert first.leaf == "extra.operation"


@pytest.mark.parametrize("state", [0, 1, 11, 20])
def test_a_flipped_cell_is_found_at_its_state_and_leaf(state: int):
    episode = long_one()
    grid = episode.states["working_grid"]
    colour = (int(grid[state, 1, 2]) + 1) % 10
    report = jt.replay(
        with_state(episode, "working_grid", put(grid, (state, 1, 2), colour)), world()
    )
    assert (report.verdict, report.first.step, report.first.leaf) == (
        "diverged",
        state,
        "working_grid",
    )
    difference = report.first.leaves[0]
    assert (difference.differing, difference.of, difference.where) == (1, 900, (1, 2))
    assert difference.recorded == colour
    assert f"step {state}, working_grid: 1 of 900 differ, first [1, 2] recorded {colour}" in str(
        report
    )
    if 0 < state < len(episode):
        assert "the recorded values were changed" in report.first.cause


def test_a_changed_digest_reward_or_flag_is_found_at_its_step():
    episode = long_one()
    reports = {
        "digest": jt.replay(
            replace(episode, digests=put(episode.digests, 5, episode.digests[5] ^ 1)), world()
        ),
        "reward": jt.replay(
            replace(episode, rewards=put(episode.rewards, 5, episode.rewards[5] + 1e-7)), world()
        ),
        "terminated": jt.replay(
            replace(episode, terminated=put(episode.terminated, 5, True)), world()
        ),
    }
    assert {n: (r.first.step, r.first.leaf) for n, r in reports.items()} == {
        "digest": (5, "digest"),
        "reward": (6, "reward"),
        "terminated": (6, "terminated"),
    }
    assert reports["digest"].first.cause == "a leaf that was not recorded differs"


@pytest.mark.slow
def test_another_configuration_is_found_where_it_first_matters():
    episode = next(e for e in stored() if e.complete and bool(e.truncated[-1]))
    shorter = arc(SMALL, action="point", max_steps=LIMIT - 4)
    report = jt.replay(episode, shorter)
    assert (report.first.step, report.first.leaf) == (LIMIT - 4, "truncated")
    assert f"max_episode_steps: recorded {LIMIT}, given {LIMIT - 4}" in report.notes
    dearer = arc(SMALL, action="point", max_steps=LIMIT, reward="evaluation")
    report = jt.replay(episode, dearer)
    assert (report.first.step, report.first.leaf) == (1, "reward")
    assert any(note.startswith("config.reward.") for note in report.notes)


@pytest.mark.slow
def test_another_task_is_found_in_the_state_it_begins_with():
    other = arc(tuple(reversed(SMALL)), action="point", max_steps=LIMIT)
    report = jt.replay(long_one(), other)
    assert report.first.step == 0
    assert {"input_grid", "target_grid"} & {leaf.leaf for leaf in report.first.leaves}
    assert any(note.startswith("task_ids: recorded") for note in report.notes)


@pytest.mark.slow
def test_a_dropped_head_is_said_and_the_rest_verified():
    env = world()
    spec = jt.TraceSpec(max_steps=8, keep="last", capacity=16, recent=8)
    run = jax.jit(
        lambda key: jt.rollout(
            env, random_policy("point"), key, spec=spec, num_lanes=4, num_steps=40
        )[1]
    )
    reports = jt.replay(jt.Episodes.of(jt.take(run(jax.random.key(1)))), env)
    cut = [r for r in reports if any("were not kept" in note for note in r.notes)]
    assert cut
    assert {r.verdict for r in cut} <= {"exact", "diverged"}
    assert any(r.verdict == "exact" for r in cut)
    # Where something lay in the clipboard, what is not known is named.
    assert all(
        r.first.leaf == "digest" or "clipboard" in "".join(r.notes)
        for r in cut
        if r.verdict == "diverged"
    )


def test_an_episode_under_way_is_verified_as_far_as_it_goes():
    running = next(e for e in stored() if not e.complete)
    report = jt.replay(running, world())
    assert report.verdict == "exact"
    assert report.notes == ("it was still running, so its end cannot be verified",)


def test_an_episode_of_another_environment_or_shape_is_named():
    foreign = jt.Episodes.of(recording([4]))[0]
    report = jt.replay(foreign, world())
    assert report.verdict == "unknown"
    assert "recorded in another environment" in report.notes[0]
    assert "name: recorded 'synthetic', given 'jaxarc'" in report.notes
    # A leaf or two that have the same name do not make it the same environment.
    near = replace(long_one(), environment={"name": "maze"})
    near = with_state(near, "walls", np.zeros((len(near) + 1, 3), np.int32))
    report = jt.replay(near, world())
    assert (report.verdict, "its fields walls are none" in report.notes[0]) == ("unknown", True)
    episode = long_one()
    smaller = with_state(episode, "working_grid", episode.states["working_grid"][:, :10, :10])
    report = jt.replay(smaller, world())
    assert report.verdict == "unknown"
    assert (
        "field 'working_grid' is int32 [10, 10], this environment's is int32 [30, 30]"
        in (report.notes[0])
    )


def test_an_episode_without_transitions_and_a_damaged_one_are_named(tmp_path):
    bare = replace(
        long_one(),
        rewards=np.zeros(0, np.float32),
        terminated=np.zeros(0, bool),
        truncated=np.zeros(0, bool),
        dropped=3,
    )
    assert "no transition was kept" in jt.replay(bare, world()).notes[0]
    path = jt.save(tmp_path / "a", recording([40] * 400))
    store = jt.load(path).sources[0]
    spoil(path)
    reports = jt.replay(jt.load(path), world())
    assert len(reports) == len(store)
    damaged = [r for r in reports if r.notes[0].startswith("damaged: ")]
    assert 0 < len(damaged) < len(reports)
    report = damaged[0]
    assert report.verdict == "unknown"
    assert report.notes[0].startswith("damaged: ")


@pytest.mark.slow
def test_fields_can_be_added_to_episodes_recorded_long_ago():
    def cells(state: Any, action: Any, after: Any) -> jax.Array:
        del action
        return (state.working_grid != after.working_grid).sum(dtype=jnp.int32)

    def taken(state: Any, action: Any, after: Any) -> jax.Array:
        del state, after
        return action["row"]

    episode = long_one()
    report = jt.replay(episode, world(), probes={"changed": cells, "row": taken})
    grid = episode.states["working_grid"]
    assert np.array_equal(report.episode.extras["changed"], (grid[1:] != grid[:-1]).sum((1, 2)))
    assert np.array_equal(report.episode.extras["row"], episode.actions["row"])


@pytest.mark.slow
def test_single_steps_need_every_leaf_and_say_so():
    report = jt.replay(long_one(), world(), mode="step")
    assert any(
        "single steps cannot be verified: the leaves allowed_operations_mask, clipboard were"
        in note
        and "level=full" in note
        for note in report.notes
    ), report.notes


def test_the_arguments_are_checked():
    with pytest.raises(jt.SpecError, match="mode: expected auto, chain or step, found 'fast'"):
        jt.replay(long_one(), world(), mode="fast")
    with pytest.raises(jt.SpecError, match="tolerance: expected a number from 0"):
        jt.replay(long_one(), world(), tolerance=-1)
    with pytest.raises(jt.SpecError, match=r"a step function with an example .* found int"):
        jt.replay(long_one(), 3)


def test_an_environment_of_the_toys_is_exact():
    script = toy.example_script((16,), seed=2)
    env = toy.ScriptedEnv(script)
    spec = jt.TraceSpec(max_steps=8, keep="last", capacity=32, recent=16)
    probe = toy.probe()
    run = jax.jit(
        lambda key: jt.rollout(
            env, toy.numbered, key, spec=spec, num_lanes=4, num_steps=24, probe=probe
        )[1]
    )
    reports = jt.replay(jt.Episodes.of(jt.take(run(jax.random.key(0)))), env, probe=probe)
    assert {r.verdict for r in reports} == {"exact"}
