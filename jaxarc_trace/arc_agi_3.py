"""Recordings of ARC-AGI-3 games as episodes.

A recording is a file of JSON lines, each `{"timestamp", "data": {"game_id", "frame", "state",
"score", "action_input": {"id", "data", "reasoning"}, "guid", "full_reset"}}`: what a game
answered to one action. `frame` is a list of one or more grids of up to 64x64
cells 0 to 15: the last is the state afterwards, those before it are an animation.

A line whose action is RESET, or that belongs to another game or session than the one before,
begins an episode; each line after it is one transition. `state` WIN ends an episode as solved,
GAME_OVER as failed; one that is followed by a RESET is truncated.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import StoreError
from jaxarc_trace.recording import COLUMNS, Recording
from jaxarc_trace.schema import RecordSchema, Section
from jaxarc_trace.store import save

__all__ = ["import_arc_agi_3", "read_arc_agi_3"]

LARGEST = 64
ENDS = ("WIN", "GAME_OVER")
EMPTY: Int32[np.ndarray, "0 0"] = np.zeros((0, 0), np.int32)
OPERATIONS: tuple[str, ...] = ("RESET", *(f"ACTION{number}" for number in range(1, 8)))
ENVIRONMENT: Mapping[str, Any] = {
    "name": "arc-agi-3",
    "operations": list(OPERATIONS),
    "roles": {"grid": "grid", "grid_mask": "grid_mask", "operation": "operation"},
}


@dataclass(frozen=True)
class _Answer:
    """One line.

    Attributes:
        frames: the grids, each `[H, W]`.
        state: `NOT_FINISHED`, `WIN`, `GAME_OVER`, or what else the file says.
        score: points.
        action: number of the action, 0 for RESET.
        x: column that the action names, or -1.
        y: row that the action names, or -1.
        session: game and guid.
        time: when it came, as the file says it.
        reasoning: what the player wrote down, any JSON.
    """

    frames: tuple[Int32[np.ndarray, "_ _"], ...]
    state: str
    score: int
    action: int
    x: int
    y: int
    session: tuple[str, str]
    time: str
    reasoning: Any


def import_arc_agi_3(file: str | os.PathLike[str], destination: str | os.PathLike[str]) -> Path:
    """Makes a store of an ARC-AGI-3 recording.

    Raises:
        StoreError: when the file is not such a recording, or the destination is taken.
    """
    recording, metadata = read_arc_agi_3(file)
    return save(destination, recording, metadata)


def read_arc_agi_3(file: str | os.PathLike[str]) -> tuple[Recording, dict[str, Any]]:
    """The episodes of an ARC-AGI-3 recording.

    Recorded are the states `grid` (int32 `[H, W]`, 0 beyond the game's own size), `grid_mask` and
    `score`; the actions `id`, `x`, `y`; the extras `operation` and, where there are
    animations, `frame_count` and `frames`. The reward is the change of the score.

    Returns:
        The recording, and metadata: source, games, times, and the player's reasoning by episode
        and step.

    Raises:
        StoreError: naming the line, when the file is not such a recording.
    """
    path = Path(file)
    episodes = list(_episodes(list(_answers(path))))
    if not episodes:
        raise StoreError(f"{path}: expected an ARC-AGI-3 recording, found no line in it")
    every = [answer for episode in episodes for answer in episode]
    side = tuple(max(frame.shape[i] for a in every for frame in a.frames) for i in (0, 1))
    extra = max(len(answer.frames) for answer in every) - 1
    schema = _schema(side, extra)
    befores = [answer for episode in episodes for answer in episode[:-1]]
    recording = Recording(
        schema=schema,
        policies=("last",),
        columns=_columns(episodes),
        constants=np.zeros((len(episodes), 0), np.uint8),
        finals=_packed(schema.state, _states([e[-1] for e in episodes], side)),
        records=np.concatenate(
            [
                _packed(schema.state, _states(befores, side)),
                _packed(schema.step, _steps(episodes, side, extra)),
            ],
            axis=1,
        ),
        environment={**ENVIRONMENT, "task_ids": sorted({a.session[0] for a in every})},
        spec={},
    )
    reasoning = {
        str(number): {str(t): a.reasoning for t, a in enumerate(e[1:]) if a.reasoning is not None}
        for number, e in enumerate(episodes)
    }
    return recording, {
        "source": path.name,
        "games": [list(e[0].session) for e in episodes],
        "times": [[answer.time for answer in e] for e in episodes],
        "reasoning": {number: said for number, said in reasoning.items() if said},
    }


def _answers(path: Path) -> Iterator[_Answer]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); check the path") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            yield _answer(entry["data"], entry.get("timestamp"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} line {number}: expected an answer of an ARC-AGI-3 game, found "
                f"{line[:60]!r} ({error!r}); check the file"
            ) from error


def _answer(data: Mapping[str, Any], timestamp: Any) -> _Answer:
    asked = data.get("action_input") or {}
    where = asked.get("data") or {}
    action = asked.get("id", 0)
    if isinstance(action, str):
        action = OPERATIONS.index(action)
    frames = tuple(_grid(frame) for frame in data["frame"])
    if not frames:
        raise ValueError("no frame")
    return _Answer(
        frames=frames,
        state=str(data["state"]),
        score=int(data.get("score", 0)),
        action=0 if data.get("full_reset") else int(action),
        x=int(where.get("x", -1)),
        y=int(where.get("y", -1)),
        session=(str(data.get("game_id", "")), str(data.get("guid", ""))),
        time=str(timestamp or ""),
        reasoning=asked.get("reasoning"),
    )


def _grid(frame: Any) -> Int32[np.ndarray, "H W"]:
    grid = np.asarray(frame)
    if grid.ndim != 2 or not 0 < max(grid.shape) <= LARGEST or grid.dtype.kind != "i":
        raise ValueError(f"a frame {grid.dtype} {list(grid.shape)}, expected integers up to 64x64")
    if grid.min() < 0 or grid.max() > 15:
        raise ValueError(f"cells {grid.min()} to {grid.max()}, expected 0 to 15")
    return grid.astype(np.int32)


def _episodes(answers: Sequence[_Answer]) -> Iterator[list[_Answer]]:
    """Runs of answers, the first of each being what a reset gave."""
    now: list[_Answer] = []
    for answer in answers:
        if now and (answer.action == 0 or answer.session != now[-1].session):
            yield now
            now = []
        now.append(answer)
    if now:
        yield now


def _schema(side: tuple[int, ...], extra: int) -> RecordSchema:
    def struct(dtype: str, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, np.dtype(dtype))

    cells = Encoding.between(0, 15)
    state = {"grid": struct("int32", *side), "grid_mask": struct("bool", *side)}
    step = {
        "reward": struct("float32"),
        "terminated": struct("bool"),
        "truncated": struct("bool"),
        **{f"action.{name}": struct("int32") for name in ("id", "x", "y")},
        "extra.operation": struct("int32"),
    }
    if extra:
        step["extra.frame_count"] = struct("int32")
        step["extra.frames"] = struct("int32", extra, *side)
    return RecordSchema(
        constant=Section(()),
        state=Section.of(
            {**state, "score": struct("int32")}, {"grid": cells, "grid_mask": Encoding("box")}
        ),
        step=Section.of(step, {"extra.frames": cells} if extra else {}),
    )


def _padded(
    grids: Sequence[Int32[np.ndarray, "_ _"]], side: tuple[int, ...]
) -> Int32[np.ndarray, "n H W"]:
    out = np.zeros((len(grids), *side), np.int32)
    for row, grid in zip(out, grids, strict=True):
        row[: grid.shape[0], : grid.shape[1]] = grid
    return out


def _states(
    answers: Sequence[_Answer], side: tuple[int, ...]
) -> dict[str, Shaped[np.ndarray, "n ..."]]:
    last = [answer.frames[-1] for answer in answers]
    return {
        "grid": _padded(last, side),
        "grid_mask": _padded([np.ones_like(grid) for grid in last], side) > 0,
        "score": np.array([answer.score for answer in answers], np.int32),
    }


def _steps(
    episodes: Sequence[Sequence[_Answer]], side: tuple[int, ...], extra: int
) -> dict[str, Shaped[np.ndarray, "S ..."]]:
    steps = [(b, a) for e in episodes for b, a in pairwise(e)]
    # An episode that is neither won nor lost and is followed by another was cut short by a reset.
    cut = np.array(
        [
            a is e[-1] and a.state not in ENDS and e is not episodes[-1]
            for e in episodes
            for a in e[1:]
        ],
        np.bool_,
    )
    before, after = [b for b, _ in steps], [a for _, a in steps]
    ended = np.array([answer.state in ENDS for answer in after], np.bool_)
    values: dict[str, Shaped[np.ndarray, "S ..."]] = {
        "reward": np.array(
            [a.score - b.score for b, a in zip(before, after, strict=True)], np.float32
        ),
        "terminated": ended,
        "truncated": cut,
        "action.id": np.array([a.action for a in after], np.int32),
        "action.x": np.array([a.x for a in after], np.int32),
        "action.y": np.array([a.y for a in after], np.int32),
        "extra.operation": np.array([a.action for a in after], np.int32),
    }
    if extra:
        animations = [[*a.frames[:-1], *[EMPTY] * extra][:extra] for a in after]
        flat = _padded([frame for frames in animations for frame in frames], side)
        values["extra.frame_count"] = np.array([len(a.frames) - 1 for a in after], np.int32)
        values["extra.frames"] = flat.reshape(len(steps), extra, *side)
    return values


def _packed(
    section: Section, values: Mapping[str, Shaped[np.ndarray, "n ..."]]
) -> UInt8[np.ndarray, "n section_bytes"]:
    return np.asarray(section.pack({name: jnp.asarray(value) for name, value in values.items()}))


def _columns(episodes: Sequence[Sequence[_Answer]]) -> dict[str, Shaped[np.ndarray, " N"]]:
    count = len(episodes)
    kept = np.array([len(episode) - 1 for episode in episodes])
    over = np.array([episode[-1].state in ENDS for episode in episodes], np.bool_)
    won = np.array([episode[-1].state == "WIN" for episode in episodes], np.bool_)
    followed = np.arange(count) < count - 1
    columns = {
        "lane": np.zeros(count),
        "number": np.arange(count),
        "kept": kept,
        "dropped": np.zeros(count),
        "complete": over | followed,
        "terminated": over,
        "truncated": followed & ~over,
        "success": np.where(over | followed, won, -1),
        "total_return": [episode[-1].score - episode[0].score for episode in episodes],
        "end_step": np.cumsum(kept),
        "kept_by": np.ones(count),
    }
    return {name: np.asarray(columns[name]).astype(dtype) for name, dtype in COLUMNS.items()}
