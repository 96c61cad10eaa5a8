"""All that is known of JaxARC: its probe, the widths of its fields, its operations, its tasks.

Nothing is imported from `jaxarc` itself until an environment is at hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Shaped

from jaxarc_trace.codec import Encoding
from jaxarc_trace.probe import Outcome, named_leaves, outcome_of

__all__ = ["OPERATIONS", "JaxArcProbe", "is_jaxarc", "probe"]

_COLOURS = range(10)
OPERATIONS: tuple[tuple[str, str], ...] = (
    *((f"Fill {colour}", "fill") for colour in _COLOURS),
    *((f"Flood Fill {colour}", "flood") for colour in _COLOURS),
    *((f"Move {way}", "move") for way in ("Up", "Down", "Left", "Right")),
    ("Rotate CW", "rotate"),
    ("Rotate CCW", "rotate"),
    ("Flip H", "flip"),
    ("Flip V", "flip"),
    ("Copy", "clipboard"),
    ("Paste", "clipboard"),
    ("Cut", "clipboard"),
    ("Clear", "grid"),
    ("Copy Input", "grid"),
    ("Resize", "grid"),
    ("Submit", "submit"),
)
"""Name and kind of each of the 35 operations, by id; the names are JaxARC's own."""

_CELL = Encoding.between(-1, 9)
_BOX = Encoding("box")
_CONSTANT = (
    "input_grid",
    "input_grid_mask",
    "target_grid",
    "target_grid_mask",
    "task_idx",
    "pair_idx",
    "key",
)
_VARYING = ("working_grid", "working_grid_mask", "step_count", "similarity_score")
_CARRIED = (
    "working_grid",
    "working_grid_mask",
    "selected",
    "clipboard",
    "step_count",
    "allowed_operations_mask",
)


@dataclass(frozen=True)
class JaxArcProbe:
    """Looks at JaxARC, with any of its action wrappers.

    Kept of a state: the working grid (4 bits a cell), its mask (a rectangle: 4 bytes), step count
    and similarity, and the selection unless the action is itself a mask; once an episode, input
    and target, task and pair. `level="full"` keeps every leaf. The digest covers every leaf that
    can change.

    Attributes:
        masks: whether actions are masks, which makes `state.selected` redundant: it is the last
            action's selection within the grid.
        task_ids: names of the tasks, in the order of the environment's buffer.
        max_episode_steps: the environment's limit.
        config: what else decides about a step, by name: mode, rewards, action policy.
    """

    masks: bool = True
    task_ids: tuple[str, ...] = ()
    max_episode_steps: int | None = None
    config: tuple[tuple[str, Any], ...] = ()

    @property
    def encodings(self) -> Mapping[str, Encoding]:
        """Grids hold -1 to 9; valid cells are one rectangle, also when rotated."""
        return {
            "working_grid": _CELL,
            "input_grid": _CELL,
            "target_grid": _CELL,
            "working_grid_mask": _BOX,
            "input_grid_mask": _BOX,
            "target_grid_mask": _BOX,
            "extra.operation": Encoding.between(-1, len(OPERATIONS) - 1),
            # ARCActionSpace samples int32 masks of 0 and 1.
            "action.selection": Encoding.between(0, 1),
        }

    def constants(self, state: Any) -> dict[str, Shaped[Array, "..."]]:
        """Input, target, task, pair and key."""
        inner = arc_state(state)
        return {name: getattr(inner, name) for name in _CONSTANT}

    def state(self, state: Any) -> dict[str, Shaped[Array, "..."]]:
        """What an action can change and a picture needs."""
        inner = arc_state(state)
        names = _VARYING if self.masks else (*_VARYING, "selected")
        return {name: getattr(inner, name) for name in names}

    def carried(self, state: Any) -> Any:
        """Every leaf that an action can change."""
        inner = arc_state(state)
        return [getattr(inner, name) for name in _CARRIED]

    def metrics(self, state: Any) -> dict[str, Float32[Array, "*lanes"]]:
        """The similarity of the working grid and the target, 0 to 1."""
        return {"similarity": arc_state(state).similarity_score}

    def success(self, state: Any, terminated: Bool[Array, "*#lanes"]) -> Bool[Array, "*#lanes"]:
        """Submitted, with every cell right."""
        return terminated & (arc_state(state).similarity_score >= 1.0)

    def action(self, action: Any) -> dict[str, Shaped[Array, "..."]]:
        """The leaves of the action as it was given."""
        return named_leaves(action, root="action")

    def outcome(self, result: Any, action: Any) -> Outcome:
        """Reward, flags, and the operation whatever the action wrapper."""
        outcome = outcome_of(result)
        extras = getattr(result, "extras", None) or {}
        operation = extras.get("operation_id")
        if operation is None:
            operation = named_leaves(action, root="action").get("operation")
        if operation is None:
            return outcome
        return outcome._replace(extras={"operation": operation.astype(jnp.int32)})

    def beginning(
        self, env: Any, params: Any, constants: Mapping[str, Shaped[Array, "..."]]
    ) -> Any:
        """The state that JaxARC's reset gives for one task, pair and key.

        Args:
            env: the environment, with any wrappers.
            params: what was passed to its reset, or None for its own.
            constants: `task_idx`, `pair_idx` and `key` of one episode.
        """
        if not {"task_idx", "pair_idx", "key"} <= constants.keys():
            return None
        return _beginning(env.unwrapped.params if params is None else params, constants)

    def describe(self) -> dict[str, Any]:
        """Names, versions and the roles that fields play in pictures and analysis."""
        roles = {
            "grid": "working_grid",
            "grid_mask": "working_grid_mask",
            "input": "input_grid",
            "input_mask": "input_grid_mask",
            "target": "target_grid",
            "target_mask": "target_grid_mask",
            "task": "task_idx",
            "pair": "pair_idx",
            "score": "similarity_score",
            "operation": "operation",
        }
        if not self.masks:
            roles["selected"] = "selected"
        return {
            "name": "jaxarc",
            "version": _version(),
            "operations": [name for name, _ in OPERATIONS],
            "operation_kinds": [kind for _, kind in OPERATIONS],
            "task_ids": list(self.task_ids),
            "max_episode_steps": self.max_episode_steps,
            "config": {k: list(v) if isinstance(v, tuple) else v for k, v in self.config},
            "roles": roles,
        }


def is_jaxarc(env: Any) -> bool:
    """Whether an environment, wrapped or not, is JaxARC's."""
    inner = getattr(env, "unwrapped", env)
    return type(inner).__module__.startswith("jaxarc.")


def probe(env: Any, task_ids: Sequence[str] = ()) -> JaxArcProbe:
    """The probe for a JaxARC environment.

    Args:
        env: a `jaxarc` environment, with any Stoa or JaxARC wrappers.
        task_ids: names of its tasks in the order of its buffer; where none are given, those that
            JaxARC's own task index knows.
    """
    params = env.unwrapped.params
    # A rollout may be under jit already.
    with jax.ensure_compile_time_eval():
        names = tuple(task_ids) or _task_ids(params)
    return JaxArcProbe(_takes_masks(env), names, int(params.max_episode_steps), _config(params))


def arc_state(state: Any) -> Any:
    """The JaxARC state inside the states of wrappers."""
    while "base_env_state" in getattr(type(state), "__dataclass_fields__", ()):
        state = state.base_env_state
    return state


def _beginning(params: Any, constants: Mapping[str, Shaped[Array, "..."]]) -> Any:
    """What `jaxarc.envs.functional.reset` does once it has drawn task, pair and key."""
    from jaxarc.envs import functional

    task_idx, pair_idx, key = (constants[name] for name in ("task_idx", "pair_idx", "key"))
    single = jax.tree.map(lambda leaf: leaf[task_idx], params.buffer)
    mode = jnp.asarray(params.episode_mode, jnp.int32)
    grid, target, mask, target_mask, start, start_mask = functional._initialize_grids(  # noqa: SLF001 - its steps have no other name
        single, pair_idx, mode, params, key
    )
    return functional._create_initial_state(  # noqa: SLF001 - the same
        grid, target, mask, start, start_mask, target_mask, key, task_idx, pair_idx
    )


def _takes_masks(env: Any) -> bool:
    """Whether an action selects cells by a mask, and not by a point, a box or a number.

    JaxARC's own environment does, unless a wrapper says otherwise. Only a wrapper that is not
    JaxARC's is asked for its action space: building one compiles programs, for a quarter second.
    """
    from jaxarc.wrappers import BboxActionWrapper, FlattenActionWrapper, PointActionWrapper
    from stoa.core_wrappers.wrapper import Wrapper

    while isinstance(env, Wrapper) and type(env).action_space is Wrapper.action_space:
        env = env._env  # noqa: SLF001 - Stoa names it nowhere else
    if env is env.unwrapped:
        return True
    if isinstance(env, PointActionWrapper | BboxActionWrapper | FlattenActionWrapper):
        return False
    # Stoa's spaces compare arrays when they are built.
    with jax.ensure_compile_time_eval():
        return "selection" in getattr(env.action_space(), "spaces", {})


def _config(params: Any) -> tuple[tuple[str, Any], ...]:
    """The numbers and words of the configuration that decide what a reset and a step do."""
    found: dict[str, Any] = {"episode_mode": int(params.episode_mode)}
    for part in ("reward", "action", "grid_initialization"):
        for name, value in sorted(vars(getattr(params, part)).items()):
            if isinstance(value, bool | int | float | str | tuple) or value is None:
                found[f"{part}.{name}"] = value
    return tuple(found.items())


def _task_ids(params: Any) -> tuple[str, ...]:
    """Names of the buffer's tasks, from the index that JaxARC's parsers fill."""
    import numpy as np
    from jaxarc.utils.task_manager import get_task_id_globally

    indices = np.atleast_1d(np.asarray(params.buffer.task_index))
    return tuple(get_task_id_globally(int(index)) or f"task {index}" for index in indices)


def _version() -> str:
    try:
        return version("jaxarc")
    except PackageNotFoundError:
        return "unknown"
