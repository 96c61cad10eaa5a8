"""The commands that draw: `show`, `render`, `report` and `compare`.

RUN is what `jaxarc_trace.save` wrote, a folder that holds such a thing as `trace` (what the demo
leaves), or a run directory with several under `traces`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from jaxarc_trace.commands_common import (
    BEST,
    FAILED,
    JSON,
    RUN,
    TRACEBACK,
    WHERE,
    WORST,
    chosen,
    ending,
    number_of,
    open_run,
    selected,
    show_json,
)
from jaxarc_trace.commands_config import LOOKS, look_of
from jaxarc_trace.errors import SpecError

if TYPE_CHECKING:
    from jaxarc_trace.config_sections import Render
    from jaxarc_trace.episode import Episode
    from jaxarc_trace.episodes import Episodes
    from jaxarc_trace.render.theme import Theme

__all__ = ["add_commands"]

_FAILED, _STOPPED = 1, 130
_EPISODE = Annotated[
    str,
    typer.Argument(help="Index, -1 for the last, or an id: lane0003-ep000012.", show_default=False),
]
_LOOK = Annotated[
    str | None,
    typer.Option(
        "--theme",
        help="default, colorblind, high_contrast or dark; short for render.theme=...",
        show_default=False,
    ),
]
_SHOW_KEYS = (
    "path, episode (id, lane, number, environment, task, pair, outcome, success, complete, length, "
    "dropped, return, score_final, score_best, no_ops, kept_by, failures, moments, input, target), "
    "steps (step, operation, action, reward, return, similarity, similarity_change, terminated, "
    "truncated, submit, valid, no_op, badges, failures, shapes, grids, fields)"
)
_RENDER_KEYS = "path, episodes, written, skipped, failed"
_COMPARE_KEYS = (
    "path, a (as the episode of show), b (likewise), deltas (length, return, score_final, "
    "score_best, no_ops), same_start, first_action, first_state, differing, first_divergence "
    "(step, a, b)"
)


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    drawn = "--best 3 --format svg,gif", '--where "length > 9" render=colorblind --out drawn'
    written = "--best 20 --out report.html", '--where "solved = false" --out failed.html'
    for name, command, words, keys, found in (
        ("show", show, ("0 --step -1", "lane0003-ep000001 --json"), _SHOW_KEYS, ""),
        ("render", render, drawn, _RENDER_KEYS, "some could not be drawn"),
        ("report", report, written, "path, episodes, bytes", ""),
        ("compare", compare, ("0 5 --json", "0 -1 --out compare.png"), _COMPARE_KEYS, ""),
    ):
        # So that an index of -1 is an argument and not an option.
        settings = {"ignore_unknown_options": True} if name in ("show", "compare") else None
        examples = (f"jaxarc-trace {name} jaxarc-trace-demo {each}" for each in words)
        text = ending(*examples, keys=keys, found=found)
        app.command(name, epilog=text, context_settings=settings)(command)


def show(
    run: RUN,
    episode: _EPISODE,
    overrides: LOOKS = None,
    *,
    step: Annotated[
        int | None,
        typer.Option(
            help="Which step, as the pictures count; -1 for the last.", show_default=False
        ),
    ] = None,
    theme: _LOOK = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Show an episode on the terminal: all of its steps, or one.

    With --json its facts, and those of each step, grids as lists of rows; cells are named by row
    and column, from 0.
    """
    look = _look(_settings(run, overrides, theme), theme)
    found = _episode(open_run(run), episode)
    steps = range(len(found)) if step is None else [_index(found, step)]
    if as_json:
        from jaxarc_trace.episode_json import episode_facts, step_facts

        told = [step_facts(found, t) for t in steps]
        show_json({"path": str(run.absolute()), "episode": episode_facts(found), "steps": told})
        return
    _show_steps(found, steps, look)


def render(  # noqa: PLR0913 - one argument an option
    run: RUN,
    overrides: LOOKS = None,
    *,
    best: BEST = None,
    worst: WORST = None,
    failed: FAILED = None,
    where: WHERE = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format", help="svg, png, gif, apng, webp, mp4; several by comma.", show_default=False
        ),
    ] = None,
    kinds: Annotated[str, typer.Option("--kind", help="summary, step.")] = "summary,step",
    theme: _LOOK = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder; default: `renders` in RUN, or RUN-renders.",
            show_default=False,
        ),
    ] = None,
    first: Annotated[
        list[str] | None,
        typer.Option(help="Draw this episode first; repeat for several.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; default: by the amount of work.", show_default=False),
    ] = None,
    executor: Annotated[
        str, typer.Option(help="Who draws: process, thread, dask or mpi; see docs/clusters.md.")
    ] = "process",
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler: tcp://host:8786.", show_default=False),
    ] = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Draw episodes into files; what is there already is not drawn again.

    Without --best, --worst and --failed all of them, else those that any of the three chooses.
    The look is the one that the run was made with, unless KEY=VALUE says otherwise, for instance
    render=colorblind.
    """
    from jaxarc_trace.render.bar import bar
    from jaxarc_trace.render.executors import executor_named
    from jaxarc_trace.render.queue import render_all

    episodes = selected(open_run(run), where)
    picked = chosen(episodes, best=best, worst=worst, failed=failed)
    folder = _renders(run) if out is None else out
    asked = _settings(run, overrides, theme)
    errors = Console(stderr=True)
    count = asked.workers if workers is None else workers
    chosen_executor = executor_named(executor, workers=count, scheduler=scheduler)
    try:
        with bar(errors) as progress, chosen_executor as pool:
            done = render_all(
                picked,
                folder,
                executor=pool,
                workers=count,
                formats=asked.formats if formats is None else _words(formats),
                kinds=_words(kinds),
                theme=_look(asked, theme),
                first=[number_of(word) for word in first or ()],
                progress=progress,
            )
    except KeyboardInterrupt:
        errors.print("Stopped. Every file in place is whole; run it again to go on.")
        raise typer.Exit(_STOPPED) from None
    if as_json:
        counts = {"episodes": done.episodes, "written": done.written, "skipped": done.skipped}
        show_json({"path": str(folder.absolute()), **counts, "failed": dict(done.failed)})
    else:
        typer.echo(f"{done}\nIn {folder}")
    if not done.ok:
        raise typer.Exit(_FAILED)


def report(  # noqa: PLR0913 - one argument an option
    run: RUN,
    overrides: LOOKS = None,
    *,
    best: BEST = None,
    worst: WORST = None,
    failed: FAILED = None,
    where: WHERE = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")] = Path(
        "report.html"
    ),
    theme: _LOOK = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Write episodes into one HTML file that needs no network.

    Without --best, --worst and --failed all of them, else those that any of the three chooses.
    """
    from jaxarc_trace.render import report as write_report

    if out.suffix.lower() not in (".html", ".htm"):
        raise SpecError(f"expected --out to end in .html, found {out.name!r}.")
    look = _look(_settings(run, overrides, theme), theme)
    found = chosen(selected(open_run(run), where), best=best, worst=worst, failed=failed)
    done = write_report(found, out, title=run.absolute().name, theme=look)
    if as_json:
        show_json({"path": str(out.absolute()), "episodes": done.episodes, "bytes": done.size})
    else:
        typer.echo(f"{done.path}: {done.episodes} episodes, {done.size / 1e6:.1f} MB")


def compare(
    run: RUN,
    a: Annotated[str, typer.Argument(help="Index or id of one episode.", show_default=False)],
    b: Annotated[str, typer.Argument(help="Index or id of the other.", show_default=False)],
    overrides: LOOKS = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="An .svg or .png file; default: compare.svg, with --json none.",
            show_default=False,
        ),
    ] = None,
    theme: _LOOK = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Draw two episodes beside each other.

    With --json what B has more than A, and the first step at which they part.
    """
    from jaxarc_trace.render import compare as draw

    if out is None and not as_json:
        out = Path("compare.svg")
    if out is not None and out.suffix not in (".svg", ".png"):
        raise SpecError(f"expected --out to end in .svg or .png, found {out.name!r}.")
    look = _look(_settings(run, overrides, theme), theme)
    episodes = open_run(run)
    pair = _episode(episodes, a), _episode(episodes, b)
    if out is not None:
        picture = draw(pair, look)
        written = picture.save_png(out) if out.suffix == ".png" else picture.save_svg(out)
        if not as_json:
            typer.echo(written)
    if as_json:
        from jaxarc_trace.episode_json import comparison_facts

        path = None if out is None else str(out.absolute())
        show_json({"path": path, **comparison_facts(*pair)})


def _show_steps(found: "Episode", steps: Sequence[int], theme: "Theme") -> None:
    """The steps as pictures made of characters."""
    from jaxarc_trace.render import terminal

    # A terminal that cannot show a character shows its code.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    if not steps:
        typer.echo(repr(found))
    for number, t in enumerate(steps):
        if number:
            typer.echo()
        typer.echo(terminal(found, t, theme=theme), color=True)


def _is_trace(path: Path) -> bool:
    from jaxarc_trace.store_format import COMMIT

    return (path / COMMIT).is_file()


def _settings(run: Path, overrides: list[str] | None, theme: str | None) -> "Render":
    """What the run, and the words behind it, say of pictures; a theme is asked for once."""
    words = overrides or []
    if theme is not None and words:
        raise SpecError(
            f"expected --theme or KEY=VALUE, found --theme {theme} and {' '.join(words)}; write "
            f"render.theme={theme} instead of --theme"
        )
    return look_of(run, words)


def _look(asked: "Render", theme: str | None) -> "Theme":
    """The theme that is named, or else that of the settings."""
    from jaxarc_trace.render.theme import theme as named

    return asked.as_theme() if theme is None else named(theme)


def _renders(run: Path) -> Path:
    """Where the pictures of a run go: beside its trace, never in it, and never among another's."""
    from jaxarc_trace.catalog import DEMO
    from jaxarc_trace.run import RENDERS
    from jaxarc_trace.saves import TRACES

    if not _is_trace(run):
        return run / RENDERS
    folder, name = run.absolute().parent, run.absolute().name
    if name == DEMO:
        return folder / RENDERS
    return folder.parent / RENDERS / name if folder.name == TRACES else folder / f"{name}-{RENDERS}"


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in text.replace(" ", "").split(",") if word))


def _episode(episodes: "Episodes", word: str) -> "Episode":
    """The episode of an index or an id."""
    found = number_of(word)
    if isinstance(found, str):
        from jaxarc_trace.render.queue import ids

        names = ids(episodes)
        found = names.index(word) if word in names else len(episodes)
    if not -len(episodes) <= found < len(episodes):
        raise SpecError(
            f"expected an index from 0 to {len(episodes) - 1} or an id such as "
            f"lane0003-ep000012, found {word[:60]!r}, which none of them has."
        )
    return episodes[found]


def _index(episode: "Episode", step: int) -> int:
    """The index of a step that is counted as the pictures do: from 1, dropped ones included."""
    first, last = episode.dropped + 1, episode.length
    t = step - first if step > 0 else len(episode) + step
    if step == 0 or not 0 <= t < len(episode):
        raise SpecError(
            f"expected --step from {first} to {last}, or -1 for the last, found {step}; that is "
            f"what episode {episode.id} has."
        )
    return t
