"""What the tests of the viewer show it: real, synthetic, hostile and non-ARC episodes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from jaxarc_trace.episode import Episode
from tests.render.stored import ENVIRONMENT, NAMES, stored

SIDE = 30
SUBMIT = 34
HOSTILE = (
    "</script><img src=x onerror=document.title='owned'>",
    "\"'><svg onload=document.title='owned'>",
    "line\nfeed\ttab\x00nul\x1b[31m",
    "lone \ud800 surrogate",
    "\u202egnp.elif\u202c right to left \u05e9\u05dc\u05d5\u05dd",
    "x" * 10_000,
    "{{script}} {{index}} ${title}",
    "<!--<script>",
)


def real() -> list[Episode]:
    """Episodes that JaxARC 1.0.3 played on tasks of the ARC data set."""
    return [stored(name) for name in NAMES]


def numbered(episodes: list[Episode], count: int) -> Iterator[Episode]:
    """`count` episodes that repeat the given ones under other lanes and numbers."""
    for index in range(count):
        found = episodes[index % len(episodes)]
        yield replace(found, lane=index % 64, number=index // 64)


def painted(seed: int, steps: int, side: int | None = None) -> Episode:
    """An ARC-like episode: rectangles are filled, mostly with the colours of the target.

    Arrays are padded to 30 x 30 as JaxARC's are. The score is the share of right cells.
    """
    rng = np.random.default_rng(seed)
    height, width = (side, side) if side else rng.integers(6, 21, 2)
    target = _rectangles(rng, height, width, 6)
    grid = np.where(rng.random((height, width)) < 0.7, 0, target)
    grids, chosen, operations = [grid], [], []
    for _ in range(steps - 1):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        area = np.zeros((height, width), bool)
        area[top : top + int(rng.integers(1, 4)), left : left + int(rng.integers(1, 4))] = True
        colour = int(target[top, left]) if rng.random() < 0.8 else int(rng.integers(10))
        grid = np.where(area, colour, grid)
        grids.append(grid)
        chosen.append(area)
        operations.append(colour)
    grids.append(grid)
    chosen.append(np.zeros((height, width), bool))
    operations.append(SUBMIT)
    return _episode(np.stack(grids), np.stack(chosen), operations, target, seed)


def _rectangles(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    out = np.zeros((height, width), np.int64)
    for _ in range(count):
        top, left = rng.integers(height), rng.integers(width)
        out[top : top + rng.integers(1, 6), left : left + rng.integers(1, 6)] = rng.integers(1, 10)
    return out


def _padded(values: np.ndarray, fill: int) -> np.ndarray:
    out = np.full((*values.shape[:-2], SIDE, SIDE), fill, values.dtype)
    out[..., : values.shape[-2], : values.shape[-1]] = values
    return out


def _episode(
    grids: np.ndarray, chosen: np.ndarray, operations: list[int], target: np.ndarray, seed: int
) -> Episode:
    count, steps = len(grids), len(operations)
    mask = _padded(np.ones(target.shape, bool), fill=False)
    score = (grids == target).mean(axis=(1, 2)).astype(np.float32)
    rewards = np.diff(score).astype(np.float32) - np.float32(0.01)
    constants: dict[str, np.ndarray] = {
        "target_grid": _padded(target, -1).astype(np.int32),
        "target_grid_mask": mask,
        "input_grid": _padded(grids[0], -1).astype(np.int32),
        "input_grid_mask": mask,
        "task_idx": np.array(seed % len(ENVIRONMENT["task_ids"]), np.int32),
        "pair_idx": np.array(seed % 3, np.int32),
    }
    repeated = {k: np.broadcast_to(v, (count, *np.shape(v))) for k, v in constants.items()}
    ends = np.arange(steps) == steps - 1
    return Episode(
        states={
            "working_grid": _padded(grids, -1).astype(np.int32),
            "working_grid_mask": np.broadcast_to(mask, (count, SIDE, SIDE)).copy(),
            "similarity_score": score,
            "step_count": np.arange(count, dtype=np.int32),
            "selected": np.concatenate(
                [np.zeros((1, SIDE, SIDE), bool), _padded(chosen, fill=False)]
            ),
            **repeated,
        },
        constants=constants,
        actions={"operation": np.array(operations, np.int32)},
        extras={"operation": np.array(operations, np.int32)},
        rewards=rewards,
        terminated=ends,
        truncated=np.zeros(steps, bool),
        lane=seed,
        total_return=float(rewards.sum()),
        success=bool(score[-1] >= 1.0),
        kept_by=("best",) if seed % 2 else ("random", "worst"),
        metrics={"cells": float(target.size)},
        environment=ENVIRONMENT,
    )


def hostile() -> list[Episode]:
    """Episodes whose every text tries to become markup, to hide, or to fill the page."""
    out = []
    for number, text in enumerate(HOSTILE):
        environment: dict[str, Any] = {
            **ENVIRONMENT,
            "name": text,
            "task_ids": [text] * 4,
            "operations": [text] * 35,
        }
        out.append(
            replace(
                painted(number, 5),
                lane=number,
                kept_by=(text,),
                metrics={text: float("nan"), "plain": float("-inf")},
                environment=environment,
                metadata={text: [text, {"deep": text}]},
            )
        )
    return out


def balancing(seed: int = 0, steps: int = 40) -> Episode:
    """An episode without grids: a vector, a number, a picture, small integers and a long vector."""
    rng = np.random.default_rng(seed)
    position = rng.normal(0, 0.3, (steps + 1, 4)).cumsum(axis=0).astype(np.float32)
    rewards = np.ones(steps, np.float32)
    return Episode(
        states={
            "position": position,
            "clock": np.arange(steps + 1, dtype=np.int32),
            "board": rng.integers(0, 3, (steps + 1, 5, 6)).astype(np.int8),
            "heights": rng.integers(0, 500, (steps + 1, 6, 6)).astype(np.int32),
            "camera": rng.integers(0, 256, (steps + 1, 12, 16, 3)).astype(np.uint8),
            "embedding": rng.normal(size=(steps + 1, 64)).astype(np.float32),
            "gravity": np.broadcast_to(np.float32(9.8), (steps + 1,)),
        },
        constants={"gravity": np.array(9.8, np.float32)},
        actions={"action": rng.integers(0, 2, steps).astype(np.int32)},
        rewards=rewards,
        terminated=np.arange(steps) == steps - 1,
        truncated=np.zeros(steps, bool),
        lane=900 + seed,
        total_return=float(steps),
        environment={"name": "CartPole"},
    )
