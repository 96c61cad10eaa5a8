"""One demo from end to end: load, compile, run, save, draw. Says what it does, prints nothing."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jaxarc_trace.demo.tasks import DEMO_TASKS
from jaxarc_trace.errors import SpecError

__all__ = ["KEEP", "Demo", "Played", "kept_by", "plural", "run"]

KEEP: Mapping[str, int] = {"best": 4, "worst": 4, "failed": 4, "random": 4}
"""What the demo keeps: policy to number of episodes."""

# With this many steps an episode, about a third of them are solved, a third submitted with
# mistakes, and a third run out of steps or cannot be solved at all.
_EPISODE_STEPS = 60

Stage = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Demo:
    """What to play. The same values give the same episodes.

    Attributes:
        out: folder to write to; where it holds something already, a fresh name beside it is used.
        seed: seed of everything random, 0 to 2**32 - 1.
        lanes: environments side by side.
        steps: steps of each; an episode ends after 60 at the latest, and a new one starts.
        tasks: ARC-1 task ids; a lane draws one of them for each episode.

    Raises:
        SpecError: a number outside its range, or no task.
    """

    out: Path
    seed: int = 0
    lanes: int = 64
    steps: int = 128
    tasks: tuple[str, ...] = field(default_factory=lambda: tuple(DEMO_TASKS))

    def __post_init__(self) -> None:
        """Checks the numbers, so that nothing is compiled in vain."""
        for name, least, most in (("seed", 0, 2**32 - 1), ("lanes", 1, 4096), ("steps", 1, 16384)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise SpecError(f"expected {name} between {least} and {most}, found {value}.")
        if not self.tasks:
            raise SpecError("expected at least one task, found none; name one with --task.")

    @property
    def episode_steps(self) -> int:
        """Steps after which an episode is truncated."""
        return min(self.steps, _EPISODE_STEPS)


@dataclass(frozen=True)
class Played:
    """What a demo left.

    Attributes:
        folder: everything it wrote is in here.
        trace: the saved trace, for `jaxarc_trace.load`.
        episodes: the loaded trace.
        kept: positions in `episodes` of those that a policy of `KEEP` chose, best return first.
        pictures: files that were drawn, episode by episode, each one's summary first.
    """

    folder: Path
    trace: Path
    episodes: Any
    kept: tuple[int, ...]
    pictures: tuple[Path, ...]


def run(demo: Demo, stage: Stage) -> Played:
    """Plays a demo, saves its trace, loads it again and draws some of what was kept.

    Args:
        demo: what to play.
        stage: entered with a short description for each part of the work.

    Raises:
        SpecError: an unknown task.
        StoreError, RenderError, OSError: something cannot be written.
    """
    with stage(f"Loading {plural(len(demo.tasks), 'ARC task')}"):
        # Imported here, because it takes seconds and the stage shows them.
        import jaxarc_trace as jt
        from jaxarc_trace.demo.tasks import environment, quiet_jaxarc

        quiet_jaxarc()
        env = environment(demo.tasks, max_steps=demo.episode_steps)
    folder = _fresh_folder(demo.out)
    try:
        size = f"{plural(demo.lanes, 'lane')} x {plural(demo.steps, 'step')}"
        with stage(f"Compiling one scan of {size}"):
            program, key = _compile(demo, env)
        with stage("Playing"):
            trace = _wait(program(key))
        with stage("Saving and loading again"):
            saved = jt.save(folder / "trace", trace, metadata=_metadata(demo))
            episodes = jt.load(saved)
            kept = _kept(episodes)
        with stage("Drawing"):
            pictures = _draw(episodes, kept, folder / "renders")
    except BaseException:
        # A demo that failed or was stopped before it saved anything leaves no empty folder.
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    return Played(folder, saved, episodes, kept, pictures)


def plural(count: int, noun: str) -> str:
    """`1 lane`, `2 lanes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _fresh_folder(out: Path) -> Path:
    """Makes `out`, or where something is there already, the first free of `out-2`, `out-3`."""
    number = 1
    while True:
        folder = out if number == 1 else out.with_name(f"{out.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if folder.is_dir() and not any(folder.iterdir()):
                return folder
            number += 1
        else:
            return folder


def _compile(demo: Demo, env: Any) -> tuple[Callable[[Any], Any], Any]:
    """The traced rollout as a compiled program of a key, and the key."""
    import jax

    import jaxarc_trace as jt
    from jaxarc_trace.demo.player import scripted_player

    spec = jt.TraceSpec(max_steps=demo.episode_steps, keep=dict(KEEP), seed=demo.seed)
    play = partial(jt.rollout, env, scripted_player("point"), spec=spec)
    rollout = partial(play, num_lanes=demo.lanes, num_steps=demo.steps)
    key = jax.random.PRNGKey(demo.seed)
    return jax.jit(lambda key: rollout(key)[1]).lower(key).compile(), key


def _wait(trace: Any) -> Any:
    import jax

    return jax.block_until_ready(trace)


def _metadata(demo: Demo) -> dict[str, Any]:
    return {
        "made_by": "jaxarc-trace demo",
        "seed": demo.seed,
        "lanes": demo.lanes,
        "steps": demo.steps,
        "tasks": list(demo.tasks),
        "player": "errs with probability 0 in the first lane, 0.5 in the last",
    }


def kept_by(episodes: Any, position: int) -> tuple[str, ...]:
    """The policies of `KEEP` that chose an episode."""
    return tuple(name for name in KEEP if name in episodes.columns["kept_by"][position].split(","))


def _kept(episodes: Any) -> tuple[int, ...]:
    """Positions of the episodes that a policy chose, best return first."""
    returns = episodes.columns["return"]
    chosen = [i for i in range(len(episodes)) if kept_by(episodes, i)]
    return tuple(sorted(chosen, key=lambda i: (-returns[i], i)))


def _portraits(episodes: Any, kept: tuple[int, ...]) -> list[int]:
    """One episode of each policy: of the failed ones that which came nearest."""
    nearness = episodes.columns["similarity_final"]
    chosen: list[int] = []
    for policy in KEEP:
        of_policy = [i for i in kept if policy in kept_by(episodes, i) and i not in chosen]
        if policy == "worst":
            of_policy.reverse()
        if policy == "failed":
            of_policy.sort(key=lambda i: -nearness[i])
        chosen += of_policy[:1]
    return chosen


def _draw(episodes: Any, kept: tuple[int, ...], folder: Path) -> tuple[Path, ...]:
    """A summary and the key steps of a few episodes: SVG, and PNG of the summary if possible."""
    from jaxarc_trace import render
    from jaxarc_trace.analysis import key_moments

    rasterise = find_spec("resvg_py") is not None
    files: list[Path] = []
    for position in _portraits(episodes, kept):
        episode = episodes[position]
        place = folder / episode.id
        place.mkdir(parents=True)
        summary = render.summary(episode)
        files.append(summary.save_svg(place / "summary.svg"))
        if rasterise:
            files.append(summary.save_png(place / "summary.png"))
        # State t + 1 is what transition t led to; the picture counts steps from 1.
        for t in sorted({moment.step - 1 for moment in key_moments(episode) if moment.step}):
            name = f"step_{t + 1 + episode.dropped:04d}.svg"
            files.append(render.step(episode, t).save_svg(place / name))
    return tuple(files)
