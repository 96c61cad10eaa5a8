"""One demo from end to end: load, compile, run, save, draw. Says what it does, prints nothing."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jaxarc_trace.config_fields import shown
from jaxarc_trace.config_sections import Capture, Keep, TraceConfig
from jaxarc_trace.demo.tasks import DEMO_TASKS
from jaxarc_trace.errors import ConfigError, NotATraceError, SpecError

__all__ = ["KEEP", "Demo", "Played", "played_before", "plural", "run", "settings"]

KEEP: Mapping[str, int] = {"best": 4, "worst": 4, "failed": 4, "random": 4}
"""What the demo keeps: policy to number of episodes."""

# With this many steps an episode, about a third of them are solved, a third submitted with
# mistakes, and a third run out of steps or cannot be solved at all.
_EPISODE_STEPS = 60

_NODE = "demo"
_NUMBERS = ("seed", "lanes", "steps")

Stage = Callable[[str], AbstractContextManager[None]]


def settings() -> TraceConfig:
    """What the demo starts from: the defaults, but for episodes of its own length and policies."""
    return TraceConfig(Capture(max_steps=_EPISODE_STEPS, keep=Keep(**KEEP)))


@dataclass(frozen=True)
class Demo:
    """What to play. The same values give the same episodes.

    Attributes:
        out: folder to write to; where it holds something already, a fresh name beside it is used.
        seed: seed of everything random, 0 to 2**32 - 1.
        lanes: environments side by side.
        steps: steps of each; an episode ends after 60 at the latest, and a new one starts.
        tasks: ARC-1 task ids; a lane draws one of them for each episode.
        config: what is recorded, kept and drawn. Its `storage.root` and `storage.name` do not
            count, because `out` says where.

    Raises:
        SpecError: a number outside its range, or no task.
    """

    out: Path
    seed: int = 0
    lanes: int = 64
    steps: int = 128
    tasks: tuple[str, ...] = field(default_factory=lambda: tuple(DEMO_TASKS))
    config: TraceConfig = field(default_factory=settings)

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
    """What a demo left; with `level=off` nothing.

    Attributes:
        folder: everything it wrote is in here: a run directory.
        trace: the saved trace, for `jaxarc_trace.load`.
        episodes: the loaded trace.
        kept: positions in `episodes` of those that a policy chose, best return first.
        pictures: files that were drawn, episode by episode, each one's summary first.
    """

    folder: Path | None = None
    trace: Path | None = None
    episodes: Any = ()
    kept: tuple[int, ...] = ()
    pictures: tuple[Path, ...] = ()


def run(demo: Demo, stage: Stage) -> Played:
    """Plays a demo, saves its trace as a run, loads it again and draws some of what was kept.

    Args:
        demo: what to play.
        stage: entered with a short description for each part of the work.

    Raises:
        SpecError: an unknown task.
        StoreError, RenderError, OSError: something cannot be written.
    """
    watch = _Watch(stage)
    with watch(f"Loading {plural(len(demo.tasks), 'ARC task')}", "loading"):
        # Imported here, because it takes seconds and the stage shows them.
        from jaxarc_trace.demo.tasks import environment, quiet_jaxarc

        quiet_jaxarc()
        env = environment(demo.tasks, max_steps=demo.episode_steps)
    recording = demo.config.capture.level != "off"
    folder = _fresh_folder(demo.out) if recording else demo.out
    try:
        size = f"{plural(demo.lanes, 'lane')} x {plural(demo.steps, 'step')}"
        with watch(f"Compiling one scan of {size}", "compiling"):
            program, key = _compile(demo, env)
        with watch("Playing", "playing"):
            trace = _wait(program(key))
        return _keep(demo, folder, trace, watch) if recording else Played()
    except BaseException:
        # A demo that failed or was stopped before it saved anything leaves no empty folder.
        if recording and not any(folder.iterdir()):
            folder.rmdir()
        raise


class _Watch:
    """Stages that know how long each of them took.

    Attributes:
        seconds: wall time of each stage that is over.
    """

    def __init__(self, stage: Stage) -> None:
        self.seconds: dict[str, float] = {}
        self._stage = stage

    @contextmanager
    def __call__(self, words: str, name: str) -> Iterator[None]:
        start = time.perf_counter()
        with self._stage(words):
            yield
        self.seconds[name] = time.perf_counter() - start


def _keep(demo: Demo, folder: Path, trace: Any, watch: _Watch) -> Played:
    """Saves, loads and draws."""
    import jaxarc_trace as jt
    from jaxarc_trace.config_run import begin_run, draw

    with watch("Saving and loading again", "saving"):
        metadata = _metadata(demo)
        if demo.config.capture.level == "full":
            metadata["host_seconds"] = dict(watch.seconds)
        with begin_run(demo.config, _told(demo), folder=folder) as kept_in:
            background = demo.config.storage.background
            saved = kept_in.save(trace, demo.steps, metadata, background=background)
            kept_in.wait()
            if not kept_in.saves():
                raise NotATraceError(f"{folder}: expected a save, found that it failed; see above")
        episodes = jt.load(saved)
    kept = _kept(episodes)
    with watch("Drawing", "drawing"):
        pictures = draw(demo.config, episodes, folder)
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

    spec = demo.config.spec()
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


def _kept(episodes: Any) -> tuple[int, ...]:
    """Positions of the episodes that a policy chose, best return first."""
    from jaxarc_trace.config_run import kept_by

    returns = episodes.columns["return"]
    chosen = [i for i in range(len(episodes)) if kept_by(episodes, i)]
    return tuple(sorted(chosen, key=lambda i: (-returns[i], i)))


def _told(demo: Demo) -> dict[str, Any]:
    """What a run says of the demo that made it, beside the settings of the trace."""
    numbers = {name: getattr(demo, name) for name in _NUMBERS}
    return {_NODE: {**numbers, "tasks": list(demo.tasks)}}


def played_before(run: Path, out: Path) -> Demo:
    """The demo that made a run.

    Args:
        run: its directory.
        out: where to play it again.

    Raises:
        ConfigError: when there is no configuration of a demo, or it is wrong.
    """
    from jaxarc_trace.config_compose import from_yaml, read_yaml
    from jaxarc_trace.config_run import CONFIG

    file = run / CONFIG
    given = read_yaml(file).get(_NODE)
    known = (*_NUMBERS, "tasks")
    if not isinstance(given, Mapping) or set(given) != set(known):
        raise ConfigError(
            f"{file}: expected a node {_NODE} with {', '.join(known)}, found {shown(given)}; give "
            "the run of a demo"
        )
    tasks = given["tasks"]
    numbers = all(isinstance(given[name], int) for name in _NUMBERS)
    if not numbers or not isinstance(tasks, list) or not all(isinstance(t, str) for t in tasks):
        raise ConfigError(
            f"{file}: expected whole numbers and a list of task ids under {_NODE}, found "
            f"{shown(dict(given))}; restore the file from a copy"
        )
    numbers = {name: given[name] for name in _NUMBERS}
    return Demo(out, tasks=tuple(tasks), config=from_yaml(file), **numbers)
