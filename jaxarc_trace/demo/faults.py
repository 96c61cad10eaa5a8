"""Scripted players that each make one mistake: a labelled set to measure failure modes with.

JaxARC steps every action; what is made up are the actions and the limit of each episode. A label
is what the script was written to do, never what a rule found.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Int64

from jaxarc_trace.episode import Episode

__all__ = ["Labelled", "Score", "labelled", "measure", "scripts"]

SUBMIT = 34
LONG = 512
# Same size in and out, at least 30 cells, few colours; then two whose output is smaller.
TASKS = ("05269061", "0ca9ddb6", "22168020", "a5313dff", "d364b489", "4258a5f9")
SHRINKING = ("28bf18c6", "a68b268e")
EACH = 14

Action = tuple[int, Bool[np.ndarray, "H W"]]


@dataclass(frozen=True)
class Labelled:
    """An episode and the failure modes that were planted in it.

    Attributes:
        name: what its script does.
        episode: the episode.
        modes: the planted modes; none for a clean one.
    """

    name: str
    episode: Episode
    modes: frozenset[str]


@dataclass(frozen=True)
class Score:
    """How well a failure mode is found.

    Attributes:
        mode: its name.
        planted: episodes that have it.
        found: episodes in which it is found.
        right: those that are both.
    """

    mode: str
    planted: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        """Share of what is found that was planted."""
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """Share of what was planted that is found."""
        return self.right / self.planted if self.planted else float("nan")


class _Board:
    """A task's grid under way, as far as a script needs it."""

    def __init__(self, start: Mapping[str, Any], random: np.random.Generator) -> None:
        self.mask = start["working_grid_mask"]
        self.target_mask = start["target_grid_mask"]
        self.grid = np.array(start["working_grid"])
        self.target = start["target_grid"]
        self.random = random
        self.actions: list[Action] = []
        self.shape = self.mask.shape

    @property
    def wrong(self) -> Int64[np.ndarray, "n 2"]:
        """Cells that differ from the target, `[n, 2]` in random order."""
        cells = np.argwhere(self.mask & self.target_mask & (self.grid != self.target))
        return self.random.permutation(cells)

    @property
    def right(self) -> Int64[np.ndarray, "n 2"]:
        """Cells as in the target, `[n, 2]` in random order."""
        cells = np.argwhere(self.mask & self.target_mask & (self.grid == self.target))
        return self.random.permutation(cells)

    @property
    def palette(self) -> list[int]:
        """The target's colours."""
        return [int(c) for c in np.unique(self.target[self.target_mask])]

    def paint(self, cells: Int64[np.ndarray, "*n 2"], colour: int) -> None:
        """One fill of some cells `[n, 2]`."""
        where = np.zeros(self.shape, bool)
        where[tuple(np.atleast_2d(cells).T)] = True
        self.actions.append((colour, where))
        self.grid[where & self.mask] = colour

    def mend(self, count: int | None = None) -> None:
        """Puts wrong cells right, one each time; all of them by default."""
        for cell in self.wrong[:count]:
            self.paint(cell, int(self.target[tuple(cell)]))

    def other(self, cell: Int64[np.ndarray, "2"]) -> int:
        """A colour of the target's that the cell neither has nor should have."""
        not_these = {int(self.grid[tuple(cell)]), int(self.target[tuple(cell)])}
        return int(self.random.choice([c for c in self.palette if c not in not_these]))

    def submit(self) -> None:
        """The last action."""
        self.actions.append((SUBMIT, np.zeros(self.shape, bool)))


Script = Callable[[_Board], None]


def _clean(board: _Board) -> None:
    board.mend()
    board.submit()


def _slips(board: _Board) -> None:
    """Mistakes that are too few to be a mode: all are put right again."""
    board.mend(len(board.wrong) // 2)
    for cell in board.right[:3]:
        board.paint(cell, int(board.grid[tuple(cell)]))
    for cell in board.right[:2]:
        board.paint(cell, board.other(cell))
        board.paint(cell, int(board.target[tuple(cell)]))
    _clean(board)


def _idle(board: _Board) -> None:
    board.mend(len(board.wrong) // 2)
    for cell in board.right[: int(board.random.integers(4, 8))]:
        board.paint(cell, int(board.grid[tuple(cell)]))
    _clean(board)


def _stubborn(board: _Board) -> None:
    board.mend(len(board.wrong) // 2)
    cell = board.right[0]
    for _ in range(int(board.random.integers(5, 9))):
        board.paint(cell, int(board.grid[tuple(cell)]))
    _clean(board)


def _wavering(board: _Board) -> None:
    board.mend(len(board.wrong) // 2)
    cell = board.right[0]
    colour, right = board.other(cell), int(board.grid[tuple(cell)])
    for _ in range(int(board.random.integers(3, 6))):
        board.paint(cell, colour)
        board.paint(cell, right)
    _clean(board)


def _astray(board: _Board) -> None:
    board.mend(len(board.wrong) // 2)
    outside = np.argwhere(~board.mask)
    for row in board.random.choice(len(outside), int(board.random.integers(1, 4)), replace=False):
        board.paint(outside[row], int(board.random.integers(0, 10)))
    _clean(board)


def _wiping(board: _Board) -> None:
    board.mend(len(board.wrong) // 2)
    right = board.right
    held = board.target[tuple(right.T)]
    colour = min(board.palette, key=lambda c: int((held == c).sum()))
    board.paint(
        right[board.target[tuple(right.T)] != colour][: int(0.4 * board.mask.sum())], colour
    )
    _clean(board)


def _undoing(board: _Board) -> None:
    board.mend(max(len(board.wrong) - 2, 1))
    for cell in board.right[: int(0.06 * board.mask.sum()) + 2]:
        board.paint(cell, board.other(cell))
    board.submit()


def _stuck(board: _Board) -> None:
    board.mend(3)
    cells = board.wrong
    # Wrong cells become wrong in another way, and the score stays.
    for colour in board.palette:
        for cell in cells:
            now = len(board.actions)
            if now < 19 and colour not in (board.grid[tuple(cell)], board.target[tuple(cell)]):
                board.paint(cell, colour)


def _misfit(board: _Board) -> None:
    # Not all: what lies beyond the target's size does not count in JaxARC's similarity.
    board.mend(min(6, len(board.wrong) - 1))
    board.submit()


def _colourful(board: _Board) -> None:
    board.mend(len(board.wrong) - 1)
    foreign = [c for c in range(10) if c not in board.palette]
    board.paint(board.right[0], int(board.random.choice(foreign)))
    board.submit()


def _hasty(board: _Board) -> None:
    board.mend(len(board.wrong) // 2)
    board.submit()


def _forgetful(board: _Board) -> None:
    board.mend()


def _slow(board: _Board) -> None:
    board.mend(max(int(len(board.wrong) * 0.7), 3))


_SCRIPTS: tuple[tuple[str, Script, frozenset[str], bool], ...] = (
    ("solves and submits", _clean, frozenset(), False),
    ("slips and mends it", _slips, frozenset(), False),
    ("paints what is there", _idle, frozenset({"no-op run"}), False),
    ("repeats itself", _stubborn, frozenset({"repeated action", "no-op run"}), False),
    ("wavers", _wavering, frozenset({"oscillation"}), False),
    ("paints beside the grid", _astray, frozenset({"outside the grid"}), False),
    ("wipes the grid", _wiping, frozenset({"collapse"}), False),
    ("undoes it", _undoing, frozenset({"regression", "premature submit"}), False),
    ("gets nowhere", _stuck, frozenset({"stagnation"}), True),
    ("keeps the size", _misfit, frozenset({"wrong dimensions", "premature submit"}), False),
    ("paints a new colour", _colourful, frozenset({"foreign colour", "premature submit"}), False),
    ("submits too early", _hasty, frozenset({"premature submit"}), False),
    ("does not submit", _forgetful, frozenset({"unsubmitted solution"}), True),
    ("is too slow", _slow, frozenset({"out of budget"}), True),
)  # fmt: skip
"""Name, script, planted modes, and whether the limit ends it."""


def scripts() -> tuple[str, ...]:
    """The names of the scripts."""
    return tuple(name for name, *_ in _SCRIPTS)


def labelled(each: int = EACH, seed: int = 0) -> list[Labelled]:
    """So many episodes of each script, as JaxARC steps them.

    Args:
        each: episodes of each script, clean ones included.
        seed: of tasks, places and colours.
    """
    from jaxarc_trace.demo.tasks import environment, quiet_jaxarc
    from jaxarc_trace.simulate import simulator

    quiet_jaxarc()
    env = environment((*TASKS, *SHRINKING), action="mask", max_steps=LONG)
    sim = simulator(env, ("operation", "selection"))
    random = np.random.default_rng(seed)
    starts = list(_starts(sim, each, random))
    boards = []
    for start, (_, script, _, _) in zip(starts, _all(each), strict=True):
        board = _Board(start, random)
        script(board)
        boards.append(board)
    return _played(sim, starts, boards, each)


def _all(each: int) -> Iterator[tuple[str, Script, frozenset[str], bool]]:
    return (entry for entry in _SCRIPTS for _ in range(each))


def _starts(sim: Any, each: int, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """First states that the scripts can work with: enough to paint, and three colours."""
    import jax

    keys = jax.random.split(jax.random.key(int(random.integers(2**31))), 2048)
    count = len(TASKS)
    task = np.concatenate(
        [random.integers(0, count, 1536), random.integers(count, count + len(SHRINKING), 512)]
    )
    pairs = random.integers(0, 2, 2048)
    begun = sim.recreated(
        {
            "task_idx": task.astype(np.int32),
            "pair_idx": pairs.astype(np.int32),
            "key": np.asarray(jax.random.key_data(keys)),
        }
    )
    rows = [{name: value[i] for name, value in begun.items()} for i in range(2048)]
    same = iter([row for row in rows[:1536] if _usable(row)])
    small = iter([row for row in rows[1536:] if _size(row, "working") != _size(row, "target")])
    for name, *_ in _all(each):
        yield next(small if name == "keeps the size" else same)


def _usable(row: Mapping[str, Any]) -> bool:
    """A start from the pair's own input, with 14 to 60 cells to paint."""
    mask, target = row["working_grid_mask"], row["target_grid"]
    wrong = int((mask & (row["working_grid"] != target)).sum())
    own = np.array_equal(row["working_grid"], row["input_grid"])
    fits = np.array_equal(mask, row["target_grid_mask"])
    colours = len(np.unique(target[row["target_grid_mask"]]))
    right = int(mask.sum()) - wrong
    enough = right >= max(12, 0.45 * int(mask.sum()))
    return own and fits and 14 <= wrong <= 60 and colours >= 3 and enough


def _size(row: Mapping[str, Any], which: str) -> tuple[int, int]:
    mask = row[f"{which}_grid_mask"]
    return int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())


def _played(sim: Any, starts: list[Any], boards: list[_Board], each: int) -> list[Labelled]:
    """The episodes that JaxARC makes of the scripts."""
    found: list[Labelled] = []
    entries = list(_all(each))
    longest = max(len(board.actions) for board in boards)
    for first in range(0, len(boards), 64):
        part = range(first, min(first + 64, len(boards)))
        run = sim.run(
            {name: np.stack([starts[i][name] for i in part]) for name in starts[0]},
            {
                "operation": np.stack([_operations(boards[i], longest) for i in part]),
                "selection": np.stack([_selections(boards[i], longest) for i in part]),
            },
            [longest] * len(part),
        )
        for place, i in enumerate(part):
            name, _, modes, limited = entries[i]
            one = run.episode(place, len(boards[i].actions))
            found.append(Labelled(name, _episode(sim, one, boards[i], i, limited=limited), modes))
    return found


def _operations(board: _Board, longest: int) -> Int32[np.ndarray, " longest"]:
    taken = [operation for operation, _ in board.actions]
    return np.array(taken + [SUBMIT] * (longest - len(taken)), np.int32)


def _selections(board: _Board, longest: int) -> Bool[np.ndarray, "longest H W"]:
    places = np.zeros((longest, *board.shape), bool)
    places[: len(board.actions)] = [where for _, where in board.actions]
    return places


def _episode(sim: Any, run: Any, board: _Board, number: int, *, limited: bool) -> Episode:
    """What a recorder would have kept of it; a limited one has as many steps as it took."""
    steps = len(board.actions)
    truncated = np.zeros(steps, bool)
    truncated[-1] = limited
    solved = bool(run.steps["terminated"][-1]) and float(run.leaves["similarity_score"][-1]) >= 1
    described = sim.probe.describe()
    described["max_episode_steps"] = steps if limited else LONG
    return Episode(
        states=run.leaves,
        actions={
            "operation": _operations(board, steps),
            "selection": _selections(board, steps),
        },
        rewards=run.steps["reward"],
        terminated=run.steps["terminated"],
        truncated=truncated,
        extras={"operation": run.steps["extra.operation"]},
        digests=run.digests[:-1],
        number=number,
        total_return=float(run.steps["reward"].sum()),
        success=solved,
        environment=described,
    )


def measure(found: list[Labelled], detect: Callable[[Episode], Any]) -> list[Score]:
    """Precision and recall of each failure mode.

    Args:
        found: the labelled episodes.
        detect: gives the failures of an episode, each with its `mode`.
    """
    from jaxarc_trace.failures import MODES

    seen = [{failure.mode for failure in detect(each.episode)} for each in found]
    return [
        Score(
            mode,
            sum(mode in each.modes for each in found),
            sum(mode in modes for modes in seen),
            sum(mode in each.modes and mode in m for each, m in zip(found, seen, strict=True)),
        )
        for mode in MODES
    ]
