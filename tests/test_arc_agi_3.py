"""ARC-AGI-3 recordings open as episodes; the samples are written here, in the game's format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxarc_trace.arc_agi_3 import import_arc_agi_3
from jaxarc_trace.errors import StoreError
from jaxarc_trace.store import load, verify


def answer(action: int | str, *frames: Any, state: str = "NOT_FINISHED", **more: Any) -> str:
    """One line of a recording."""
    where = more.pop("where", {})
    data = {
        "game_id": "ls20-abc",
        "frame": [np.asarray(frame).tolist() for frame in frames],
        "state": state,
        "score": 0,
        "action_input": {"id": action, "data": where, "reasoning": more.pop("reasoning", None)},
        "guid": "one",
        "full_reset": False,
        **more,
    }
    return json.dumps({"timestamp": "2025-08-01T10:00:00.000001+00:00", "data": data})


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def cells(value: int, side: int = 64) -> np.ndarray:
    return np.full((side, side), value)


def test_a_game_opens_as_episodes(tmp_path: Path):
    file = written(
        tmp_path / "game.jsonl",
        answer(0, cells(1), full_reset=True),
        answer(1, cells(2), cells(3), cells(4), reasoning={"why": "up"}),
        answer(6, cells(5), score=1, where={"x": 7, "y": 63}),
        answer("ACTION2", cells(15), score=3, state="WIN"),
        answer("RESET", cells(1)),
        answer(3, cells(2)),
        answer(0, cells(1)),
        answer(3, cells(0), state="GAME_OVER"),
        answer(0, cells(1)),
        answer(4, cells(9)),
    )
    path = import_arc_agi_3(file, tmp_path / "store")
    assert verify(path).ok
    episodes = load(path)
    assert [len(e) for e in episodes] == [3, 1, 1, 1]
    assert [e.outcome for e in episodes] == ["solved", "failed", "failed", "running"]
    assert [e.truncated.tolist() for e in episodes] == [[False] * 3, [True], [False], [False]]
    first = episodes[0]
    assert first.states["grid"].shape == (4, 64, 64)
    assert first.states["grid"][:, 0, 0].tolist() == [1, 4, 5, 15]
    assert first.states["grid_mask"].all()
    assert first.states["score"].tolist() == [0, 0, 1, 3]
    assert first.rewards.tolist() == [0.0, 1.0, 2.0]
    assert first.total_return == 3.0
    assert first.actions["id"].tolist() == first.extras["operation"].tolist() == [1, 6, 2]
    assert first.actions["x"].tolist() == [-1, 7, -1]
    assert first.actions["y"].tolist() == [-1, 63, -1]
    assert first.extras["frame_count"].tolist() == [2, 0, 0]
    assert first.extras["frames"][0, :, 5, 5].tolist() == [2, 3]
    assert first.environment["roles"]["grid"] == "grid"
    assert episodes.metadata["reasoning"] == {"0": {"0": {"why": "up"}}}
    assert episodes.metadata["games"][0] == ["ls20-abc", "one"]
    assert episodes.metadata["times"][1] == ["2025-08-01T10:00:00.000001+00:00"] * 2


def test_grids_of_other_sizes_are_padded_and_masked(tmp_path: Path):
    file = written(tmp_path / "g.jsonl", answer(0, cells(3, 4)), "", answer(1, np.full((2, 6), 5)))
    (episode,) = load(import_arc_agi_3(file, tmp_path / "store"))
    assert episode.states["grid"].shape == (2, 4, 6)
    assert episode.states["grid_mask"].sum(axis=(1, 2)).tolist() == [16, 12]
    assert "frames" not in episode.extras


def test_another_session_is_another_episode(tmp_path: Path):
    file = written(tmp_path / "g.jsonl", answer(1, cells(3, 4)), answer(1, cells(3, 4), guid="b"))
    assert [len(e) for e in load(import_arc_agi_3(file, tmp_path / "store"))] == [0, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: expected an answer of an ARC-AGI-3 game, found '{'"),
        (answer(1, [[16]]), r"cells 16 to 16, expected 0 to 15"),
        (answer(1, cells(1, 65)), r"\[65, 65\], expected integers up to 64x64"),
        (answer(1), "no frame"),
        (answer("JUMP", cells(1)), "is not in tuple|x not in tuple"),
        ('{"timestamp": 1}', "KeyError"),
    ],
)
def test_what_is_not_a_recording_is_named_by_line(tmp_path: Path, line: str, message: str):
    file = written(tmp_path / "g.jsonl", answer(0, cells(3, 4)), line)
    with pytest.raises(StoreError, match=message):
        import_arc_agi_3(file, tmp_path / "store")
    with pytest.raises(StoreError, match="found no line in it"):
        import_arc_agi_3(written(tmp_path / "empty.jsonl"), tmp_path / "store")
