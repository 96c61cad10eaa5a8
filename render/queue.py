"""Many episodes drawn, in this process, in several, or on any executor.

What is drawn already is left alone, what was asked for first is drawn first, and whatever goes
wrong with an episode costs that episode only.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import RenderError, require
from jaxarc_trace.render.animate import SUFFIXES
from jaxarc_trace.render.dispatch import Borrowed, Progress, Tally, run
from jaxarc_trace.render.generic import Renderer, renderer_of
from jaxarc_trace.render.lanes import Lanes
from jaxarc_trace.render.text import number, plural, visible
from jaxarc_trace.render.theme import Theme
from jaxarc_trace.render.theme import theme as find_theme
from jaxarc_trace.render.worker import (
    Handle,
    Job,
    draw,
    folder_key,
    identity,
    missing,
    portable,
    wanted,
)
from jaxarc_trace.source import InMemory

__all__ = ["FORMATS", "KINDS", "Progress", "RenderReport", "ids", "render_all"]

KINDS = ("summary", "step")
FORMATS = ("svg", "png", *(suffix[1:] for suffix in SUFFIXES if suffix != ".png"))
# Episodes of one handle: it is made once for all of them.
_BLOCK = 64
# Seconds that a picture of a kind and format takes, roughly; a process takes some to start.
_COST = {("summary", "svg"): 0.006, ("step", "svg"): 0.002, ("summary", "png"): 0.08}
_ENOUGH = 10.0
_SAMPLE = 64


@dataclass(frozen=True)
class RenderReport:
    """What `render_all` did.

    Attributes:
        out: the folder.
        episodes: how many episodes were asked for.
        written: files that were drawn.
        skipped: files that were there, whole, and of the same contents and look.
        failed: id of each episode that is not complete, and why.
        folders: where each episode's files are, in the order asked for.
        seconds: time it took.
    """

    out: Path
    episodes: int
    written: int
    skipped: int
    failed: tuple[tuple[str, str], ...]
    folders: tuple[Path, ...] = field(repr=False)
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every picture is there."""
        return not self.failed

    def __str__(self) -> str:
        words = [
            f"{plural(self.written, 'file')} drawn in {self.seconds:.1f} s, for "
            + plural(self.episodes, "episode")
        ]
        if self.skipped:
            verb = "was" if self.skipped == 1 else "were"
            words.append(f"{number(self.skipped)} {verb} there already")
        if self.failed:
            words.append(f"{plural(len(self.failed), 'episode')} failed")
        lines = ["; ".join(words) + "."]
        lines += [f"  {name}: {visible(why, 300)}" for name, why in self.failed[:20]]
        if len(self.failed) > 20:
            lines.append(f"  and {len(self.failed) - 20} more")
        return "\n".join(lines)


def render_all(  # noqa: PLR0913 - each is a choice of its own
    episodes: Sequence[Episode],
    out: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    formats: Sequence[str] = ("svg",),
    kinds: Sequence[str] = KINDS,
    theme: str | Theme = "default",
    first: Sequence[int | str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> RenderReport:
    """Draws many episodes into `out/<episode>/`: `summary.svg`, `step_0001.svg`, `episode.gif`.

    Calling it again draws only what is not there. Stored episodes travel to other processes as
    their path; those in memory are drawn in this process, unless an executor is given. Ctrl-C
    finishes the pictures being drawn, leaves nothing half-written and raises KeyboardInterrupt.

    Args:
        episodes: of any environment.
        out: a folder, made if needed.
        executor: any executor; its processes must see `out` and the stored trace. It is not
            shut down. A process pool of the standard library gives up all that is left when
            one of its processes is killed; the default does not.
        workers: processes to spawn where no executor is given; 1 draws in this one. None decides
            by the number of cores and the amount of work.
        formats: of `svg`, `png` for the kinds; `gif`, `apng`, `webp`, `mp4` for an animation.
        kinds: of `summary` and `step`.
        theme: a theme or its name.
        first: episodes to draw before the others, by index or id.
        progress: called after each episode.

    Raises:
        RenderError: for an unknown format, kind, theme or episode in `first`, no worker that
            starts, a registered renderer that workers cannot import, or a folder that cannot be
            written.
        MissingExtraError: when a format needs a package that is not installed.
        KeyboardInterrupt: after Ctrl-C, when everything has been put in order.
    """
    look = find_theme(theme)
    _check(formats, kinds, workers)
    folder = _folder(out)
    names = ids(episodes)
    order = _order(names, first)
    jobs = list(_jobs(episodes, names, order, folder, (kinds, formats), look))
    todo = [(name, replace(job, wants=wants)) for name, job in jobs if (wants := missing(job))]
    skipped = sum(len(job.wants) for _, job in jobs) - sum(len(job.wants) for _, job in todo)
    tally = Tally(len(jobs), len(jobs) - len(todo), todo, progress)
    if todo:
        count = _processes(episodes, todo, workers) if executor is None else 0
        if isinstance(executor, ProcessPoolExecutor) and (bound := _bound(todo)) is not None:
            raise _unportable(bound)
        if executor is not None:
            run(Borrowed(executor), todo, tally)
        elif count > 1:
            with Lanes(count) as lanes:
                run(lanes, todo, tally)
        else:
            for name, job in todo:
                tally.add(name, draw(job))
    return RenderReport(
        out=folder,
        episodes=len(jobs),
        written=tally.written,
        skipped=skipped,
        failed=tuple(tally.failed),
        folders=tuple(job.folder for _, job in jobs),
        seconds=tally.seconds,
    )


def _check(formats: Sequence[str], kinds: Sequence[str], workers: int | None) -> None:
    for what, given, known in (("format", formats, FORMATS), ("kind", kinds, KINDS)):
        for name in (given,) if isinstance(given, str) else given:
            if isinstance(given, str) or name not in known:
                raise RenderError(
                    f"Expected a sequence of {what}s from {', '.join(known)}; found "
                    f"{visible(repr(given), 80)}."
                )
    if not formats:
        raise RenderError(f"Expected at least one format of {', '.join(FORMATS)}; found none.")
    if workers is not None and workers < 1:
        raise RenderError(f"workers is at least 1, or None to decide by the work; found {workers}.")
    if "png" in formats:
        require("resvg_py", "png", "Drawing PNG files")
    if set(formats) - {"svg"}:
        require("PIL.Image", "png", "Drawing pixels")
    if "mp4" in formats:
        require("av", "video", "An MP4 animation")


def _folder(out: str | os.PathLike[str]) -> Path:
    folder = Path(out).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise RenderError(
            f"Cannot write into {str(out)!r}: {problem}. Choose a folder that you may write to."
        )
    return folder


def ids(episodes: Sequence[Episode]) -> list[str]:
    """The id of each episode, without reading stored ones."""
    if not isinstance(episodes, Episodes):
        return [episode.id for episode in episodes]
    columns = episodes.columns
    if not columns:
        return []
    pairs = zip(columns["lane"].tolist(), columns["number"].tolist(), strict=True)
    return [f"lane{lane:04d}-ep{number:06d}" for lane, number in pairs]


def _order(names: Sequence[str], first: Sequence[int | str]) -> list[int]:
    """Positions: those asked for, in the order asked for, then the others."""
    asked: list[int] = []
    for entry in first:
        if isinstance(entry, str):
            found = [index for index, name in enumerate(names) if name == entry]
        else:
            found = [entry % len(names)] if -len(names) <= entry < len(names) else []
        if not found:
            raise RenderError(
                f"first names episode {visible(repr(entry), 60)}, which is not among the "
                f"{plural(len(names), 'episode')} to draw; pass an index or an id such as "
                f"{names[0] if names else 'lane0000-ep000000'!r}."
            )
        asked += found
    return list(dict.fromkeys([*asked, *range(len(names))]))


def _jobs(
    episodes: Sequence[Episode],
    names: Sequence[str],
    order: Sequence[int],
    out: Path,
    what: tuple[Sequence[str], Sequence[str]],
    look: Theme,
) -> Iterator[tuple[str, Job]]:
    """A job for each episode, with all of its pictures. No two have the same folder."""
    count = Counter(names)
    used: set[str] = set()
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        part = episodes.take(block) if isinstance(episodes, Episodes) else None
        handle = Handle([episodes[i] for i in block] if part is None else part)
        for row, index in enumerate(block):
            facts, environment = identity(handle.episodes, row)
            renderer = renderer_of(environment)
            key = folder_key(facts, environment, look, renderer)
            name = names[index]
            if count[name] > 1:
                # Two runs may have the same lane and number: what is in them tells them apart.
                name = f"{name}-{folder_key(facts, environment, find_theme())[:8]}"
            while name in used:
                name += "-again"
            used.add(name)
            wants = wanted(facts["kept"], facts["dropped"], *what)
            yield name, Job(handle, row, out / name, wants, look, key, renderer)


def _processes(
    episodes: Sequence[Episode], todo: Sequence[tuple[str, Job]], workers: int | None
) -> int:
    """How many processes to spawn; 1 is this one."""
    stored = isinstance(episodes, Episodes) and not any(
        isinstance(source, InMemory) for source in episodes.sources
    )
    if not stored:
        return 1
    if workers != 1 and (bound := _bound(todo)) is not None:
        if workers is None:
            return 1
        raise _unportable(bound)
    if workers is not None:
        return min(workers, len(todo))
    cost = sum(
        _COST.get((want.kind, want.format), 0.005)
        if want.kind != "animation"
        else 0.005 * len(job.handle.episodes[job.row])
        for _, job in todo[:_SAMPLE]
        for want in job.wants
    )
    whole = cost * len(todo) / len(todo[:_SAMPLE])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, len(todo)) if whole > _ENOUGH else 1


def _bound(todo: Sequence[tuple[str, Job]]) -> Renderer | None:
    """A renderer that only this process can draw with, if one of the jobs has such."""
    renderers = {id(job.renderer): job.renderer for _, job in todo if job.renderer is not None}
    return next((each for each in renderers.values() if not portable(each)), None)


def _unportable(renderer: Renderer) -> RenderError:
    return RenderError(
        "render_all: expected a renderer that other processes can import, found "
        f"{visible(repr(renderer), 80)}; put it at the top of a module of its own, or draw in this "
        "process with workers=1"
    )
