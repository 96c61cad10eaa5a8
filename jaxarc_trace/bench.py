"""What `jaxarc-trace bench` measures: a random player in an environment, traced and untraced.

The untraced program is `rollout` with `level="off"`, the fastest loop that there is: the one a
test holds to be the caller's own. Every traced program does the same steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from jaxarc_trace.errors import SpecError, require
from jaxarc_trace.overhead import Overhead, compared, sides
from jaxarc_trace.render import figures
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.figures import Interval, Row
from jaxarc_trace.spec import TraceSpec

__all__ = [
    "Bench",
    "above_budget",
    "bench",
    "environment_named",
    "picture",
    "random_player",
    "specs_for",
]

_SHELF = {"best": 8, "random": 8}
_FEW = 16
_TASKS = ("0ca9ddb6", "0d3d703e", "28bf18c6", "007bbfb7")


@dataclass(frozen=True)
class Bench:
    """What was measured.

    Attributes:
        env: name of the environment.
        lanes: environments side by side.
        steps: of each of them.
        rows: each traced program against the untraced one.
    """

    env: str
    lanes: int
    steps: int
    rows: tuple[Overhead, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything measured, as plain JSON."""
        told = asdict(self)
        for row, found in zip(told["rows"], self.rows, strict=True):
            row["verdict"] = found.verdict
        return {"machine": self.rows[0].machine, **told}


def bench(
    env_name: str,
    *,
    lanes: int = 256,
    steps: int = 128,
    max_steps: int = 100,
    rounds: int = 15,
    compiles: int = 1,
    budget: float | None = 1.05,
) -> Bench:
    """Measures what tracing costs in an environment.

    Args:
        env_name: `jaxarc` (for it set `EQX_ON_ERROR=off` before Equinox is imported, as the command
            does), the name of a gymnax environment, or `module:name` of a Stoa one.
        lanes: environments side by side.
        steps: of each of them.
        max_steps: of an episode; also the most that is kept of one.
        rounds: how often each program is run.
        compiles: how often each is compiled for the compile times.
        budget: as `measure_overhead`.

    Raises:
        SpecError: for an unknown environment, or a number below 1.
        MissingExtraError: when the environment's package is not installed.
    """
    numbers = {"lanes": lanes, "steps": steps, "max_steps": max_steps, "rounds": rounds}
    for name, value in {**numbers, "compiles": compiles}.items():
        if value < 1:
            raise SpecError(f"bench: {name}: expected at least 1, found {value}")
    env = environment_named(env_name, max_steps)
    specs = specs_for(lanes, max_steps)
    off = TraceSpec(level="off")
    programs = {
        name: _program(env, spec, lanes, steps) for name, spec in {"untraced": off, **specs}.items()
    }
    key = jax.random.key(0)
    base, *traced = sides({n: (f, (key,)) for n, f in programs.items()}, rounds, compiles)
    rows = tuple(
        compared(base, side, budget=budget, name=name)
        for name, side in zip(specs, traced, strict=True)
    )
    return Bench(env_name, lanes, steps, rows)


def picture(found: Bench, theme: str = "default") -> Picture:
    """The ratios of CPU and wall time with their intervals, and the budget."""
    machine, first = found.rows[0].machine, found.rows[0]
    rows = [
        Row(
            row.name,
            tuple(Interval(r.median, r.low, r.high) for r in (row.cpu, row.wall)),
        )
        for row in found.rows
    ]
    sure = f"median and {100 * first.wall.coverage:.0f}% interval"
    where = f"{machine['device']}, {machine['cores']} cores, jax {machine['jax']}"
    under = f"{first.wall.rounds} interleaved rounds, {sure}; {where}, {machine['date']}"
    title = f"Traced / untraced: {found.env}, {found.lanes:,} lanes x {found.steps:,} steps"
    kinds = ("CPU time", "wall time")
    return figures.ratios(title, under, rows, kinds, budget=first.budget, theme=theme)


def specs_for(lanes: int, max_steps: int) -> dict[str, TraceSpec]:
    """What is compared with the untraced program: the ring alone and with a shelf; few and all."""
    kinds: dict[str, Any] = {"ring": "last", "ring and shelf": _SHELF}
    few = {"16 lanes": _FEW} if lanes > _FEW else {}
    return {
        f"{kind}, {who}": TraceSpec(max_steps=max_steps, keep=keep, lanes=traced)
        for who, traced in {**few, "all lanes": None}.items()
        for kind, keep in kinds.items()
    }


def environment_named(name: str, max_steps: int) -> Any:
    """A Stoa environment by its name; see `bench`."""
    if ":" in name:
        from jaxarc_trace.recreate import environment_of

        return environment_of({}, (), name)
    if name == "jaxarc":
        from jaxarc_trace.demo.tasks import environment, quiet_jaxarc

        quiet_jaxarc()
        return environment(_TASKS, max_steps=max_steps)
    require("gymnax", "bench", f"The environment {name!r}")
    require("stoa", "bench", f"The environment {name!r}")
    from jaxarc_trace.bench_gymnax import GymnaxEnv

    return GymnaxEnv(name)


def random_player(env: Any) -> Callable[[PRNGKeyArray, Any, Any], Any]:
    """Draws every action from the environment's action space."""
    # Stoa's spaces compare arrays when they are built.
    with jax.ensure_compile_time_eval():
        space = env.action_space()

    def policy(key: PRNGKeyArray, state: Any, timestep: Any) -> Any:
        del state
        keys = jax.random.split(key, timestep.reward.shape[0])
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jax.vmap(space.sample)(keys)

    return policy


def _program(env: Any, spec: TraceSpec, lanes: int, steps: int) -> Callable[[PRNGKeyArray], Any]:
    from jaxarc_trace.rollout import rollout

    policy = random_player(env)

    def run(key: PRNGKeyArray) -> Any:
        return rollout(env, policy, key, spec=spec, num_lanes=lanes, num_steps=steps)

    return run


def above_budget(rows: Sequence[Overhead]) -> list[str]:
    """One line for each program whose median is above its budget."""
    found = []
    for row in rows:
        if row.budget is not None and row.judged.median > row.budget:
            sure = "surely" if row.verdict == "above" else "not surely: measure more rounds"
            found.append(f"{row.name}: {row.judged} is above the budget of {row.budget:g}, {sure}")
    return found
