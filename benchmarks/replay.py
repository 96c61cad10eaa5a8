"""How true recordings of several environments are: each is recorded, then stepped again.

    python benchmarks/replay.py --json benchmarks/results/replay.json
    python benchmarks/replay.py --table benchmarks/results/replay.json   # that of docs/replay.md

An episode is recorded inside one program (many lanes, a random policy, resets within) and replayed
by others: side by side, and one by one. Chain: all steps one after the other from the first state.
Step: each from its own recorded state. Differences are divided by the value where that is larger
than 1. An environment that is not installed is named as such; gymnax comes with the extra `bench`,
the others with `pip install xminigrid jumanji navix brax`.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# JaxARC checks its state through a host callback unless it is told not to.
os.environ.setdefault("EQX_ON_ERROR", "off")
sys.path.insert(0, str(Path(__file__).parents[1]))

ALONE = 16
"""Episodes that are also replayed one by one, which takes its time."""

HEAD = (
    "environment",
    "version",
    "recorded",
    "episodes",
    "steps",
    "exact as a chain",
    "largest drift of a chain",
    "verdict",
    "tolerance",
    "largest in single steps",
)


def recorded(env: Any, policy: Any, lanes: int, steps: int) -> Any:
    """Everything that the lanes did, in one compiled scan."""
    import jax

    import jaxarc_trace as jt

    spec = jt.TraceSpec(max_steps=steps, keep="last", capacity=steps, recent=steps)

    def program(key: Any) -> Any:
        return jt.rollout(env, policy, key, spec=spec, num_lanes=lanes, num_steps=steps)[1]

    return jt.Episodes.of(jt.take(jax.jit(program)(jax.random.key(0))))


def stepped(env: Any, policy: Any, lanes: int = 8, steps: int = 64) -> Any:
    """The same by a Python loop in which nothing is compiled as a whole, without resets."""
    import jax

    import jaxarc_trace as jt

    spec = jt.TraceSpec(max_steps=steps, keep="last", capacity=steps, recent=steps)
    probe = jt.GenericProbe(name=type(env).__name__)
    step = jt.wrap_step(jax.vmap(env.step), spec, probe=probe)
    state, timestep = jax.vmap(env.reset)(jax.random.split(jax.random.key(1), lanes))
    held = jt.attach(step, state, policy(jax.random.key(0), state, timestep))
    for t in range(steps):
        held, _ = step(held, policy(jax.random.key(t), None, timestep))
    return jt.Episodes.of(jt.take(jt.detach(step, held)[1]))


def figures(episodes: Any, env: Any, tolerance: float) -> dict[str, Any]:
    """What replays of the same episodes by several programs gave, taken together."""
    from jaxarc_trace.replay import replays

    some = episodes[:ALONE]
    chains = [
        *replays(episodes, env, mode="chain"),
        *replays(some, env, mode="chain", batch=1),
    ]
    found = [
        *replays(episodes, env, tolerance=tolerance),
        *replays(some, env, tolerance=tolerance, batch=1),
    ]
    verdicts = [report.verdict for report in found]
    single = [report for report in found if report.mode == "step"]
    return {
        "episodes": len(episodes),
        "alone": len(some),
        "steps": sum(report.steps for report in chains[: len(episodes)]),
        "replays": len(chains),
        "exact chains": sum(report.ok for report in chains),
        "drift": largest(chains),
        "verdicts": {word: verdicts.count(word) for word in dict.fromkeys(verdicts)},
        "tolerance": max((report.tolerance for report in single), default=0.0),
        "single steps": largest(single),
        "first wrong": next((str(report) for report in found if not report.ok), None),
    }


def largest(reports: Sequence[Any]) -> list[Any]:
    """The largest difference of a real number, and of which leaf."""
    found = [(v, n) for report in reports for n, v in (report.largest or {}).items()]
    return list(max((pair for pair in found if pair[0] < float("inf")), default=(0.0, "")))


def measured(lanes: int, steps: int) -> list[dict[str, Any]]:
    """One entry for each environment and way of recording."""
    from replay_worlds import WORLDS

    rows: list[dict[str, Any]] = []
    for world in WORLDS:
        row: dict[str, Any] = {"environment": world.name, "package": world.package[1]}
        if find_spec(world.package[0]) is None:
            rows.append(row)
            continue
        env, policy = world.make()
        row["version"] = world.version
        ways = {"one scan": recorded(env, policy, lanes, steps)}
        if world.uncompiled:
            ways["uncompiled loop"] = stepped(env, policy)
        for how, episodes in ways.items():
            rows.append({**row, "recorded": how, **figures(episodes, env, world.tolerance)})
            print(cells(rows[-1]), flush=True)
    return rows


def cells(row: Mapping[str, Any]) -> str:
    """One line of the table."""
    if "version" not in row:
        filling = ["not installed", *["" for _ in HEAD[2:]]]
        return f"| {' | '.join([row['environment'], *filling])} |"

    def size(found: Sequence[Any]) -> str:
        return f"{found[0]:.1e} (`{found[1]}`)" if found[0] else "0"

    chains = f"{row['exact chains']:,} of {row['replays']:,}"
    values = (
        row["environment"],
        row["version"],
        row["recorded"],
        f"{row['episodes']:,}",
        f"{row['steps']:,}",
        chains,
        size(row["drift"]),
        ", ".join(f"{count:,} {word}" for word, count in row["verdicts"].items()),
        f"{row['tolerance']:g}" if row["tolerance"] else "bits",
        size(row["single steps"]) if row["tolerance"] else "",
    )
    return f"| {' | '.join(values)} |"


def table(results: Mapping[str, Any]) -> str:
    """The results as a Markdown table."""
    head = f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}"
    return "\n".join([head, *map(cells, results["rows"])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--table", type=Path, help="print those of this file and measure nothing")
    chosen = parser.parse_args()
    if chosen.table is not None:
        print(table(json.loads(chosen.table.read_text())))
        return
    from timing import save_json

    found = measured(chosen.lanes, chosen.steps)
    print(table({"rows": found}))
    if chosen.json is not None:
        save_json(chosen.json, lanes=chosen.lanes, steps=chosen.steps, rows=found)


if __name__ == "__main__":
    main()
