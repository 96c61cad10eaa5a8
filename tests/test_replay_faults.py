"""Ten thousand steps of every operation and action wrapper replay exactly; every fault is found."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.probe import named_leaves
from tests.arc import SMALL
from tests.test_replay import played, put, with_state, world


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "level"),
    [
        ("point", "standard"),
        ("bbox", "standard"),
        ("mask", "standard"),
        ("flat", "standard"),
        ("point", "full"),
    ],
)
def test_ten_thousand_steps_of_all_operations_and_action_wrappers_are_exact(
    action: str, level: str
):
    # 2,560 steps for each of the four wrappers.
    episodes = played(action, 16, 160, level=level)
    reports = jt.replay(episodes, world(action))
    assert {r.verdict for r in reports} == {"exact"}, next(r for r in reports if not r.ok)
    assert sum(r.steps for r in reports) == 16 * 160
    taken = np.concatenate([e.extras["operation"] for e in episodes])
    assert set(taken.tolist()) == set(range(35))
    key = "task_idx"
    assert len({int(e.states[key][0]) for e in episodes}) == len(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["point", "bbox", "mask", "flat"])
def test_ten_thousand_steps_one_by_one_lead_to_the_very_states(action: str):
    """A plain loop over the environment's own step, beside what replay has rebuilt."""
    from jaxarc_trace.simulate import simulator

    env = world(action)
    episodes = played(action, 16, 160)
    sim = simulator(env, sorted(episodes[0].actions))
    step = jax.jit(lambda state, taken: env.step(state, taken)[0])
    for report in jt.replay(episodes, env, states=True):
        episode = report.episode
        states = sim.assembled(episode.states)
        actions = sim.acted(episode.actions)
        state = jax.tree.map(lambda leaf: leaf[0], states)
        for t in range(len(episode)):
            state = step(state, jax.tree.map(lambda leaf: leaf[t], actions))  # noqa: B023 - at once
            found = named_leaves(state, root="state")
            for name in ("working_grid", "working_grid_mask", "clipboard", "similarity_score"):
                assert np.array_equal(episode.states[name][t + 1], found[name]), (t, name)
        for name, value in named_leaves(state, root="state").items():
            assert np.array_equal(episode.states[name][-1], value), name


def other_operation(episode: jt.Episode, t: int, by: int) -> jt.Episode:
    """The episode with another operation at one step, its place unchanged."""
    actions = {name: np.array(value) for name, value in episode.actions.items()}
    name, cells = ("action", 900) if "action" in actions else ("operation", 1)
    operation, rest = divmod(int(actions[name][t]), cells)
    actions[name][t] = (operation + by) % 34 * cells + rest
    return replace(episode, actions=actions)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["point", "bbox", "mask", "flat"])
def test_a_changed_action_anywhere_is_found_exactly_there(action: str):
    random = np.random.default_rng(2)
    faulty, expected = [], []
    for episode in played(action, 16, 160):
        t = int(random.integers(0, len(episode)))
        by = int(random.integers(1, 34))
        if (int(episode.extras["operation"][t]) + by) % 34 == episode.extras["operation"][t]:
            continue
        faulty.append(other_operation(episode, t, by))
        expected.append((t + 1, "extra.operation", t))
    assert len(faulty) > 16
    reports = jt.replay(faulty, world(action))
    assert [(r.first.step, r.first.leaf, r.verified) for r in reports] == expected


@pytest.mark.slow
@pytest.mark.parametrize("action", ["point", "bbox", "mask", "flat"])
def test_a_fault_planted_anywhere_is_found_exactly_there(action: str):
    episodes = [e for e in played(action, 16, 160) if e.complete and len(e) > 4]
    random = np.random.default_rng(1)
    faulty, expected = [], []
    for episode in episodes:
        state = int(random.integers(0, len(episode) + 1))
        grid = episode.states["working_grid"]
        row, column = random.integers(0, 3, 2)
        colour = (int(grid[state, row, column]) + 1 + int(random.integers(0, 8))) % 10
        if colour == grid[state, row, column]:
            continue
        faulty.append(with_state(episode, "working_grid", put(grid, (state, row, column), colour)))
        expected.append((state, "working_grid", (row, column)))
    reports = jt.replay(faulty, world(action))
    found = [(r.first.step, r.first.leaf, r.first.leaves[0].where) for r in reports]
    assert found == expected
