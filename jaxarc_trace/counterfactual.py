"""What else could have been done: every other action at a step, and the actions that mattered.

Both step the environment again, many times side by side in one program. Nothing is drawn here.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import SpecError
from jaxarc_trace.probe import Probe, named_leaves
from jaxarc_trace.renewal import like
from jaxarc_trace.replay import replay
from jaxarc_trace.replay_parts import rebuilt
from jaxarc_trace.simulate import Simulator, simulator

__all__ = ["Counterfactuals", "Minimal", "counterfactuals", "minimize"]

_POINT = frozenset({"operation", "row", "col"})
_BOX = frozenset({"operation", "r1", "c1", "r2", "c2"})
_MASK = frozenset({"operation", "selection"})
_AT_ONCE = 32


@dataclass(frozen=True)
class Counterfactuals:
    """What each action of one cell would have led to, from the state before a transition.

    Attributes:
        t: the transition.
        scores: float32 `[operation, H, W]`, the score right after.
        rewards: float32, likewise.
        ends: bool, likewise: whether the episode would have ended.
        before: the score before the action.
        taken: operation, and row and column where the action named one cell, else -1.
        reached: the score after the action that was taken.
        operations: names of the operations.
        kinds: kinds of the operations.
        size: rows and columns of the working grid; what lies beyond is no cell of it.
    """

    t: int
    scores: Float32[np.ndarray, "operation H W"]
    rewards: Float32[np.ndarray, "operation H W"]
    ends: Bool[np.ndarray, "operation H W"]
    before: float
    taken: tuple[int, int, int]
    reached: float
    operations: tuple[str, ...]
    kinds: tuple[str, ...]
    size: tuple[int, int]

    @property
    def best(self) -> tuple[int, int, int]:
        """Operation, row and column of the first action with the highest score."""
        where = np.unravel_index(int(np.argmax(self.scores)), self.scores.shape)
        return int(where[0]), int(where[1]), int(where[2])

    @property
    def better(self) -> int:
        """How many actions would have led to a higher score than the one taken."""
        return int((self.scores > self.reached).sum())


@dataclass(frozen=True)
class Minimal:
    """The actions of an episode without which it would not have ended in the same grid.

    Attributes:
        kept: indices of the transitions that are needed, in order. No single one of them can be
            left out; whether a shorter choice of others exists is not known.
        of: transitions that the episode has.
        tried: subsequences that were stepped.
        episode: the episode of the kept actions alone.
    """

    kept: tuple[int, ...]
    of: int
    tried: int
    episode: Episode

    def __str__(self) -> str:
        return f"{len(self.kept)} of {self.of} actions reach the same grid"


def counterfactuals(
    episode: Episode, t: int, env: Any, *, probe: Probe | None = None, env_params: Any = None
) -> Counterfactuals:
    """The score that each other action on one cell would have reached, in one vmapped program.

    Point and flat actions are all there are, 35 x 900 for JaxARC at 30 x 30; of box and mask
    actions those of a single cell.

    Args:
        episode: an episode of JaxARC, from its start.
        t: the transition to replace, -T to T - 1.
        env: the environment that it was recorded in.
        probe: what it was recorded with.
        env_params: passed on to the environment.

    Raises:
        SpecError: when there is no such transition, the actions name no cells, or the state
            before it cannot be rebuilt.
    """
    count = len(episode)
    if not -count <= t < count:
        raise SpecError(f"t: expected a transition from 0 to {count - 1}, found {t}")
    t %= count
    whole = _rebuilt(episode, env, probe, env_params)
    sim = simulator(_unflattened(env), sorted(_cell(0, 0, 0, _point(episode), (1, 1))),
                    probe=probe, env_params=env_params)  # fmt: skip
    states = {name: value[t] for name, value in whole.states.items()}
    program = _alternatives(sim, _point(episode), len(_operations(episode)))
    scores, rewards, ends = jax.device_get(program(sim.assembled(states)))
    values = whole.states[_role(episode, "score")]
    mask = whole.states.get(_role(episode, "grid_mask"))
    shape = scores.shape[1:]
    rows = shape if mask is None else (mask[t].any(axis=1).sum(), mask[t].any(axis=0).sum())
    return Counterfactuals(
        t=t,
        scores=scores,
        rewards=rewards,
        ends=ends,
        before=float(values[t]),
        taken=_taken(episode, t, shape),
        reached=float(values[t + 1]),
        operations=_operations(episode),
        kinds=tuple(episode.environment.get("operation_kinds") or ()),
        size=(int(rows[0]), int(rows[1])),
    )


def minimize(
    episode: Episode, env: Any, *, probe: Probe | None = None, env_params: Any = None
) -> Minimal:
    """The actions of an episode that are needed to end in the same grid, by delta debugging.

    Ever smaller runs of actions are left out (Zeller and Hildebrandt 2002), many choices stepped
    side by side, until no single action can be left out.

    Args:
        episode: an episode from its start, in an environment with a grid.
        env: the environment that it was recorded in.
        probe: what it was recorded with.
        env_params: passed on to the environment.

    Raises:
        SpecError: when there is no grid, or the states cannot be rebuilt.
    """
    whole = _rebuilt(episode, env, probe, env_params)
    sim = simulator(env, sorted(episode.actions), probe=probe, env_params=env_params)
    names = [n for n in (_role(episode, "grid"), _role(episode, "grid_mask")) if n in whole.states]
    if not names:
        raise SpecError(
            f"{episode.id}: expected an environment whose `roles` name a grid, found none, so "
            "there is no final grid to reach; give one with such a probe"
        )
    search = _Search(sim, whole, tuple(names))
    kept = _minimal(search)
    states = {name: value[:1] for name, value in whole.states.items()}
    taken = list(kept) or [0]
    actions = {name: value[taken][None] for name, value in episode.actions.items()}
    run = sim.run(states, actions, [len(taken)]).episode(0, len(kept))
    return Minimal(tuple(kept), len(episode), search.tried, _shortened(episode, run, kept))


def _minimal(search: "_Search") -> list[int]:
    """Indices of the needed transitions."""
    kept = list(range(search.steps))
    size = max(1, len(kept) // 2)
    while kept:
        parts = [kept[i : i + size] for i in range(0, len(kept), size)]
        without = [[t for t in kept if t not in set(part)] for part in parts]
        good = search.reaches(without)
        fine = [part for part, ok in zip(parts, good, strict=True) if ok]
        if fine:
            # What can be left out one by one can often be left out together.
            gone = {t for part in fine for t in part}
            together = [t for t in kept if t not in gone]
            kept = together if search.reaches([together])[0] else without[good.index(True)]
        elif size == 1:
            break
        size = size if fine else max(1, size // 2)
        size = min(size, max(1, len(kept)))
    return kept


class _Search:
    """Steps subsequences of an episode's actions and compares the grids that they end in."""

    def __init__(self, sim: Simulator, episode: Episode, names: tuple[str, ...]) -> None:
        self.steps = len(episode)
        self.tried = 0
        self._padded = max(8, 1 << (self.steps - 1).bit_length())
        self._wanted = [episode.states[name][-1] for name in names]
        self._run = _chooser(sim, names)
        self._start = sim.assembled({n: v[0] for n, v in episode.states.items()})
        self._actions = sim.acted({n: self._grown(v) for n, v in episode.actions.items()})

    def reaches(self, choices: Sequence[Sequence[int]]) -> list[bool]:
        """Whether each choice of transitions ends in the episode's final grid."""
        found: list[bool] = []
        self.tried += len(choices)
        for start in range(0, len(choices), _AT_ONCE):
            part = choices[start : start + _AT_ONCE]
            taken = np.zeros((_AT_ONCE, self._padded), bool)
            for row, choice in enumerate(part):
                taken[row, list(choice)] = True
            grids = jax.device_get(self._run(self._start, self._actions, jnp.asarray(taken)))
            same = np.ones(_AT_ONCE, bool)
            for grid, wanted in zip(grids, self._wanted, strict=True):
                same &= (grid == wanted).reshape(_AT_ONCE, -1).all(axis=1)
            found += same[: len(part)].tolist()
        return found

    def _grown(self, values: Shaped[np.ndarray, "T ..."]) -> Shaped[np.ndarray, "padded ..."]:
        return np.concatenate([values, np.repeat(values[-1:], self._padded - self.steps, axis=0)])


@functools.lru_cache(maxsize=4)
def _chooser(sim: Simulator, names: tuple[str, ...]) -> Callable[..., Any]:
    """`(start, actions, taken [choice, T]) -> the named leaves at the end, [choice, ...]`."""

    def one(start: Any, actions: Any, taken: Bool[Array, " T"]) -> Any:
        def body(state: Any, step: Any) -> tuple[Any, None]:
            action, wanted = step
            after, _ = sim.step(state, action)
            after = jax.tree.map(like, after, state)
            return jax.tree.map(lambda new, old: jnp.where(wanted, new, old), after, state), None

        last, _ = jax.lax.scan(body, start, (actions, taken))
        leaves = named_leaves(last, root="state")
        return [leaves[name] for name in names]

    return jax.jit(jax.vmap(one, in_axes=(None, None, 0)))


@functools.lru_cache(maxsize=4)
def _alternatives(sim: Simulator, form: frozenset[str], operations: int) -> Callable[[Any], Any]:
    """`state -> score, reward and end [operation, H, W]`.

    A loop over operations around a vmap over cells: so the operation is one number for a whole
    vmap, and only its own branch is stepped.
    """
    score = (sim.probe.describe().get("roles") or {})["score"]

    def program(state: Any) -> Any:
        grid = named_leaves(state, root="state")[sim.probe.describe()["roles"]["grid"]]
        height, width = grid.shape

        def step(
            operation: Int32[Array, ""], row: Int32[Array, ""], column: Int32[Array, ""]
        ) -> Any:
            action = sim.acted(_cell(operation, row, column, form, (height, width)))
            after, result = sim.step(state, action)
            outcome = sim.probe.outcome(result, action)
            ended = outcome.terminated | outcome.truncated
            return named_leaves(after, root="state")[score], outcome.reward, ended

        rows, columns = jnp.arange(height, dtype=jnp.int32), jnp.arange(width, dtype=jnp.int32)
        cells = jax.vmap(jax.vmap(step, (None, None, 0)), (None, 0, None))
        return jax.lax.map(
            lambda operation: cells(operation, rows, columns),
            jnp.arange(operations, dtype=jnp.int32),
        )

    return jax.jit(program)


def _cell(
    operation: Any, row: Any, column: Any, form: frozenset[str], shape: tuple[int, int]
) -> dict[str, Any]:
    """An action on one cell."""
    if form == _BOX:
        return {"operation": operation, "r1": row, "c1": column, "r2": row, "c2": column}
    if form == _MASK:
        rows, columns = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None, :]
        return {"operation": operation, "selection": (rows == row) & (columns == column)}
    return {"operation": operation, "row": row, "col": column}


def _point(episode: Episode) -> frozenset[str]:
    """Which form the environment's actions have, flat ones being points."""
    form = frozenset(episode.actions)
    if form in (_POINT, _BOX, _MASK):
        return form
    if form == {"action"} and episode.environment.get("name") == "jaxarc":
        return _POINT
    raise SpecError(
        f"{episode.id}: expected point, box, mask or flat actions on a grid, found the leaves "
        f"{', '.join(sorted(form))}; give an episode of such actions, "
        "for others have no cells to map"
    )


def _unflattened(env: Any) -> Any:
    """The environment beneath a wrapper that makes a point one number."""
    while type(env).__name__ == "FlattenActionWrapper":
        env = env._env  # noqa: SLF001 - Stoa's wrappers have no other way in
    return env


def _rebuilt(episode: Episode, env: Any, probe: Probe | None, env_params: Any) -> Episode:
    report = replay(episode, env, probe=probe, env_params=env_params, mode="chain")
    if report.episode is None or not report.ok or episode.dropped:
        raise SpecError(
            f"{report}: expected an episode from its start that is stepped again exactly; give the "
            "environment that it was recorded in"
        )
    return report.episode


def _role(episode: Episode, name: str) -> str:
    return str((episode.environment.get("roles") or {}).get(name))


def _operations(episode: Episode) -> tuple[str, ...]:
    return tuple(str(name) for name in episode.environment.get("operations") or ())


def _taken(episode: Episode, t: int, shape: Sequence[int]) -> tuple[int, int, int]:
    """The action that was taken, and its cell if it named just one."""
    actions = {name: value[t] for name, value in episode.actions.items()}
    if set(actions) == {"action"}:
        operation, cell = divmod(int(actions["action"]), shape[0] * shape[1])
        return operation, cell // shape[1], cell % shape[1]
    operation = int(actions["operation"])
    row, column = _one_cell(actions)
    return operation, row, column


def _one_cell(actions: Mapping[str, Any]) -> tuple[int, int]:
    if "row" in actions:
        return int(actions["row"]), int(actions["col"])
    if "selection" in actions:
        cells = np.argwhere(actions["selection"])
        return (int(cells[0][0]), int(cells[0][1])) if len(cells) == 1 else (-1, -1)
    same = actions["r1"] == actions["r2"] and actions["c1"] == actions["c2"]
    return (int(actions["r1"]), int(actions["c1"])) if same else (-1, -1)


def _shortened(episode: Episode, run: Any, kept: Sequence[int]) -> Episode:
    """The kept actions as an episode of their own."""
    rows = list(kept)
    found = replace(
        episode,
        actions={name: value[rows] for name, value in episode.actions.items()},
        extras={name: run.steps[f"extra.{name}"] for name in episode.extras},
        rewards=run.steps["reward"],
        terminated=run.steps["terminated"],
        truncated=run.steps["truncated"],
        digests=run.digests[:-1],
        total_return=float(run.steps["reward"].sum()),
        kept_by=(),
    )
    return rebuilt(found, run)
