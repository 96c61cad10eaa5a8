"""The stored episodes of the picture tests as `Episode`s."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from jaxarc_trace.episode import Episode

DATA = Path(__file__).parent / "data"
TASKS = ("0e206a2e", "09c534e7", "d364b489", "1cf80156")
OPERATIONS = (
    *(f"Fill {i}" for i in range(10)),
    *(f"Flood Fill {i}" for i in range(10)),
    *("Move Up", "Move Down", "Move Left", "Move Right"),
    *("Rotate CW", "Rotate CCW", "Flip H", "Flip V"),
    *("Copy", "Paste", "Cut", "Clear", "Copy Input", "Resize", "Submit"),
)
KINDS = (
    *["fill"] * 10, *["flood"] * 10, *["move"] * 4, *["rotate"] * 2, *["flip"] * 2,
    *["clipboard"] * 3, *["grid"] * 3, "submit",
)  # fmt: skip
ROLES = {
    "grid": "working_grid",
    "grid_mask": "working_grid_mask",
    "input": "input_grid",
    "input_mask": "input_grid_mask",
    "target": "target_grid",
    "target_mask": "target_grid_mask",
    "score": "similarity_score",
    "selected": "selected",
    "operation": "operation",
}
ENVIRONMENT: dict[str, Any] = {
    "name": "jaxarc",
    "version": "1.0.3",
    "operations": list(OPERATIONS),
    "operation_kinds": list(KINDS),
    "task_ids": list(TASKS),
    "max_episode_steps": 60,
    "roles": ROLES,
}
NAMES = ("solved", "wandering", "hasty", "large", "crop", "operations", "long")


@cache
def stored(name: str) -> Episode:
    """One episode that JaxARC 1.0.3 really played; see `make_episodes.py`."""
    with np.load(DATA / f"{name}.npz") as file:
        arrays = dict(file)
    steps = len(arrays["rewards"])
    states = {
        key.split("/")[1]: value for key, value in arrays.items() if key.startswith("states/")
    }
    constants = {key: value[0] for key, value in states.items() if len(value) != steps + 1}
    for key, value in constants.items():
        states[key] = np.broadcast_to(value, (steps + 1, *value.shape))
    states = {k: v.astype(np.int32) if v.dtype == np.int8 else v for k, v in states.items()}
    operation = arrays["actions/operation"]
    score = float(states["similarity_score"][-1])
    submitted = bool(arrays["terminated"][-1])
    return Episode(
        states=states,
        constants={key: states[key][0] for key in constants},
        actions={"operation": operation, "selection": arrays["actions/selection"]},
        extras={"operation": operation},
        rewards=arrays["rewards"],
        terminated=arrays["terminated"],
        truncated=arrays["truncated"],
        lane=NAMES.index(name),
        number=12,
        total_return=float(arrays["rewards"].sum()),
        success=submitted and score >= 1.0,
        kept_by=("best",),
        environment={
            **ENVIRONMENT,
            "max_episode_steps": 100 if name in ("operations", "long") else 60,
        },
    )


def with_environment(episode: Episode, **changes: Any) -> Episode:
    """The same episode from an environment that describes itself differently."""
    return replace(episode, environment={**episode.environment, **changes})


def with_states(episode: Episode, **changes: np.ndarray) -> Episode:
    """The same episode with some of its state fields replaced."""
    return replace(episode, states={**episode.states, **changes})
