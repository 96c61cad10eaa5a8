"""Two episodes or runs beside each other, numbers with intervals, and where agents act."""

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.analysis import clicks, compare, compare_runs, interval, measured, summarise
from jaxarc_trace.stats import Stats, priorities
from tests.recordings import recording
from tests.render.stored import stored

GOLDEN = Path(__file__).parent / "golden" / "replay_v1"


def test_the_same_episode_does_not_part_from_itself():
    episode = stored("hasty")
    found = compare(episode, episode)
    assert (found.same_start, found.first_action, found.first_state) == (True, None, None)
    assert set(found.deltas.values()) == {0}


def test_two_episodes_part_where_their_actions_do():
    episode = stored("hasty")
    name = next(iter(episode.actions))
    actions = {**episode.actions, name: np.array(episode.actions[name])}
    actions[name][5] = actions[name][5] + 1 if actions[name].dtype != bool else ~actions[name][5]
    grid = np.array(episode.states["working_grid"])
    grid[6, 0, 0] = (grid[6, 0, 0] + 1) % 10
    other = replace(episode, actions=actions, states={**episode.states, "working_grid": grid})
    found = compare(episode, replace(other, total_return=episode.total_return + 2))
    assert (found.first_action, found.first_state) == (5, 6)
    assert found.differing == ("working_grid",)
    assert found.deltas["return"] == pytest.approx(2)
    assert not compare(episode, stored("large")).same_start


def returns(column: list[float], **changes: object) -> jt.Episodes:
    made = recording([2] * len(column), **changes)
    columns = {**made.columns, "total_return": np.array(column, np.float32)}
    return jt.Episodes.of(replace(made, columns=columns))


def test_runs_are_compared_task_by_task():
    first = returns([1, 2, 3, 4], seed=1)
    second = returns([2, 3, 4, 5], seed=1)
    found = compare_runs(first, second)
    assert set(found.tasks) == {"alpha", "beta"}
    assert list(found.tasks.values()) == [1, 1]
    assert (found.mean.value, found.better) == (1, 1)
    with pytest.raises(jt.SpecError, match="expected a column of numbers, found 'colour'"):
        compare_runs(first, second, "colour")


def test_pairing_takes_out_that_tasks_differ():
    # Task alpha is worth 100 more; the second run plays it less, and is better at both.
    environment = {"task_ids": ["alpha", "beta"], "roles": {"task": "task"}}
    first = returns([100, 100, 100, 0], seed=1, environment=environment)
    tasks = first.columns["task"]
    second = returns([a + 1 for a in first.columns["return"]], seed=1, environment=environment)
    found = compare_runs(first, second)
    assert set(found.tasks) == set(tasks)
    assert all(delta == pytest.approx(1) for delta in found.tasks.values())


def test_an_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        found = interval(random.normal(3, 1, 60), "mean", seed=seed)
        covered += found.low <= 3 <= found.high
    # 95 % of 200 is 190, with a standard deviation of 3.
    assert 178 <= covered <= 199
    assert str(interval(np.array([1.0]))) == "1"
    assert str(interval(np.zeros(0))) == "-"


@pytest.mark.parametrize("what", ["median", "mean"])
def test_the_interval_of_very_many_values_is_that_of_the_bootstrap(what: str):
    random = np.random.default_rng(1)
    # Skewed, so that the ends are not alike.
    data = random.gamma(2, 1, 5001)
    found, drawn = interval(data, what), interval(data[:5000], what)
    assert found.value == pytest.approx(drawn.value, abs=0.01)
    width = drawn.high - drawn.low
    assert abs(found.low - drawn.low) < 0.2 * width
    assert abs(found.high - drawn.high) < 0.2 * width


def test_groups_by_task_outcome_and_failure_add_up():
    episodes = measured(jt.load(GOLDEN), cache=False)
    whole = summarise(episodes)[0]
    assert (whole.group, whole.episodes) == ("all", len(episodes))
    for by in ("task", "outcome", "lane"):
        assert sum(s.episodes for s in summarise(episodes, by)) == len(episodes)
    by_failure = {s.group: s.episodes for s in summarise(episodes, "failure")}
    texts = episodes.columns["failures"].tolist()
    assert by_failure["collapse"] == sum("collapse" in text for text in texts)
    assert by_failure.get("none", 0) == sum(not text for text in texts)
    assert summarise(episodes, "task")[0].medians["length"].value == np.median(
        episodes.columns["length"][episodes.columns["task"] == summarise(episodes, "task")[0].group]
    )
    with pytest.raises(jt.SpecError, match="--by: expected a column of these episodes, or failure"):
        summarise(episodes, "colour")
    with pytest.raises(jt.SpecError, match="real numbers of 'return'"):
        summarise(episodes, "return")


def test_clicks_count_every_selected_cell_and_operation():
    episodes = jt.load(GOLDEN)
    found = clicks(episodes)
    rows = np.concatenate([e.actions["row"] for e in episodes])
    columns = np.concatenate([e.actions["col"] for e in episodes])
    expected = np.zeros((30, 30), np.int64)
    np.add.at(expected, (rows, columns), 1)
    assert np.array_equal(found.cells, expected)
    assert found.actions == len(rows) == sum(found.by_kind.values()).sum()
    assert sum(sum(tasks.values()) for tasks in found.operations.values()) == len(rows)
    assert len(found.operations) > 1


def test_random_retention_estimates_rates_without_bias():
    """A uniform sample of what ended, with the number seen: the mean over draws is the rate."""
    outcomes = np.array([i % 5 == 0 or i in (3, 4) for i in range(60)])
    zeros = Stats.zeros((60,), ())
    number = jnp.asarray(np.arange(60) // 6, jnp.uint32)
    lane = jnp.asarray(np.arange(60) % 6, jnp.uint32)

    def kept(seed: int) -> np.ndarray:
        spec = jt.TraceSpec(keep={"random": 12}, seed=seed)
        wanted, _ = priorities(spec, zeros, lane, number, number)
        return np.argsort(-np.asarray(wanted[:, 0]).astype(np.int64), kind="stable")[:12]

    draws = np.stack([kept(seed) for seed in range(400)])
    rates = outcomes[draws].mean(axis=1)
    truth = outcomes.mean()
    # Without replacement: variance p(1-p)/12 * (60-12)/59 of one draw.
    deviation = np.sqrt(truth * (1 - truth) / 12 * 48 / 59 / 400)
    assert abs(rates.mean() - truth) < 3.5 * deviation
    # Every episode is as likely as any other: 12 of 60.
    counts = np.bincount(draws.ravel(), minlength=60) / 400
    assert np.abs(counts - 0.2).max() < 4.5 * np.sqrt(0.2 * 0.8 / 400)
