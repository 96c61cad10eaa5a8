"""The bytes of an episode in a report, read back by an independent decoder."""

import json
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jaxarc_trace import analysis
from jaxarc_trace.episode import Episode
from jaxarc_trace.render.frames import frames
from jaxarc_trace.render.report.pack import pack
from tests.render.report_fixtures import balancing, painted
from tests.render.stored import NAMES, stored


def unpacked(block: bytes) -> dict[str, Any]:
    """An independent reading of the format that `pack.py` documents; grids only."""
    kind, steps, size = struct.unpack_from("<BII", block)
    assert kind == 1
    at = struct.calcsize("<BII")
    extra = json.loads(block[at : at + size])
    at += size

    def take(count: int) -> np.ndarray:
        nonlocal at
        at += count
        return np.frombuffer(block[at - count : at], np.uint8)

    def planes(count: int, width: int, dtype: str) -> np.ndarray:
        return np.ascontiguousarray(take(count * width).reshape(width, count).T).view(dtype)[:, 0]

    def cells(count: int) -> np.ndarray:
        packed = take({4: (count + 1) // 2, 8: count, 16: 2 * count}[extra["bits"]])
        if extra["bits"] == 4:
            return np.stack([packed & 15, packed >> 4], 1).ravel()[:count].astype(np.int64)
        return packed.view({8: "u1", 16: "<u2"}[extra["bits"]]).astype(np.int64)

    out: dict[str, Any] = {"extra": extra, "rewards": planes(steps, 4, "<f4"), "flags": take(steps)}
    if extra["scored"]:
        out["scores"] = planes(steps + 1, 4, "<f4")
    if extra["operations"]:
        out["operations"] = planes(steps, 2, "<u2")
    height, width = extra["shape"]
    area = height * width
    for name in ("input", "target"):
        if extra[name]:
            out[name] = cells(area).reshape(height, width) - 1
    changes = cells((steps + 1) * area).reshape(steps + 1, height, width)
    out["grids"] = np.bitwise_xor.accumulate(changes, axis=0) - 1
    if extra["selected"]:
        bits = np.unpackbits(take((steps * area + 7) // 8), bitorder="little")
        out["selections"] = bits[: steps * area].reshape(steps, height, width).astype(bool)
    assert at == len(block)
    return out


def trimmed(cells: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero((cells >= 0).any(1)), np.flatnonzero((cells >= 0).any(0))
    return cells[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def inflated(episode: Episode) -> bytes:
    return zlib.decompress(pack(episode), -15)


@pytest.mark.parametrize("name", NAMES)
def test_a_block_holds_what_the_pictures_show(name: str) -> None:
    episode = stored(name)
    found, got = frames(episode), unpacked(inflated(episode))
    assert found is not None
    for state in range(len(episode) + 1):
        np.testing.assert_array_equal(trimmed(got["grids"][state]), found.grid(state))
    np.testing.assert_array_equal(trimmed(got["target"]), found.target)
    np.testing.assert_array_equal(trimmed(got["input"]), found.input)
    for t in range(len(episode)):
        grid = got["grids"][t]
        rows, columns = np.flatnonzero((grid >= 0).any(1)), np.flatnonzero((grid >= 0).any(0))
        chosen = got["selections"][t][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.testing.assert_array_equal(chosen, found.selection(t))
    np.testing.assert_array_equal(got["rewards"], episode.rewards)
    np.testing.assert_array_equal(got["scores"], found.score)
    np.testing.assert_array_equal(got["operations"], found.operations)
    np.testing.assert_array_equal(got["flags"] & 1, episode.terminated)


@pytest.mark.parametrize("name", NAMES)
def test_a_block_holds_the_key_moments_of_the_analysis(name: str) -> None:
    episode = stored(name)
    moments = [[m.step, m.kind, m.label] for m in analysis.key_moments(episode)]
    assert unpacked(inflated(episode))["extra"]["moments"] == moments


@pytest.mark.parametrize(("highest", "bits"), [(9, 4), (14, 4), (15, 8), (254, 8), (255, 16)])
def test_cells_take_as_many_bits_as_the_largest_value_needs(highest: int, bits: int) -> None:
    episode = painted(3, 4)
    grid = episode.states["working_grid"].copy()
    grid[2, 1, 1] = highest
    got = unpacked(inflated(replace(episode, states={**episode.states, "working_grid": grid})))
    assert got["extra"]["bits"] == bits
    assert got["grids"][2, 1, 1] == highest


def test_mask_actions_without_a_recorded_selection_are_cut_to_the_grid() -> None:
    episode = painted(3, 4)
    everything = np.ones((4, 30, 30), bool)
    states = {k: v for k, v in episode.states.items() if k != "selected"}
    roles = {k: v for k, v in episode.environment["roles"].items() if k != "selected"}
    got = unpacked(
        inflated(
            replace(
                episode,
                states=states,
                actions={"operation": episode.actions["operation"], "selection": everything},
                environment={**episode.environment, "roles": roles},
            )
        )
    )
    np.testing.assert_array_equal(got["selections"], got["grids"][:-1] >= 0)


@pytest.mark.parametrize("name", NAMES)
def test_failure_modes_come_with_the_states_that_show_them(name: str) -> None:
    episode = stored(name)
    found = unpacked(inflated(episode))["extra"]["failures"]
    assert [
        (mode, label, tuple(np.cumsum(distances).tolist())) for mode, label, *distances in found
    ] == [(f.mode, f.label, f.steps) for f in analysis.failure_modes(episode)]
    assert pack(episode, analysis.failure_modes(episode)) == pack(episode)


def test_a_target_that_is_hidden_is_not_there() -> None:
    episode = painted(3, 4)
    hidden = np.broadcast_to(np.zeros((30, 30), bool), (5, 30, 30))
    states = {**episode.states, "target_grid_mask": hidden}
    assert not unpacked(inflated(replace(episode, states=states)))["extra"]["target"]


def test_numbers_are_packed_tight_and_the_dtype_that_was_recorded_is_told() -> None:
    episode = replace(
        balancing(), states={"count": np.arange(len(balancing()) + 1, dtype=np.int32)}
    )
    block = inflated(episode)
    at = struct.calcsize("<BII")
    (size,) = struct.unpack_from("<I", block, at - 4)
    fields = json.loads(block[at : at + size])["fields"]
    (count,) = (field for field in fields if field["name"] == "count")
    assert (count["dtype"], count["recorded"]) == ("uint8", "int32")


def test_an_episode_without_a_step_is_one_state() -> None:
    episode = painted(3, 4)
    empty = replace(
        episode,
        states={k: v[:1] for k, v in episode.states.items()},
        actions={"operation": episode.actions["operation"][:0]},
        extras={"operation": episode.extras["operation"][:0]},
        rewards=episode.rewards[:0],
        terminated=episode.terminated[:0],
        truncated=episode.truncated[:0],
        complete=False,
    )
    assert unpacked(inflated(empty))["grids"].shape[0] == 1
