"""What the demo says on the terminal: progress, the table of kept episodes, what to type next."""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from jaxarc_trace.analysis import role
from jaxarc_trace.config_run import kept_by
from jaxarc_trace.demo.run import Demo, Played, plural
from jaxarc_trace.demo.tasks import DEMO_TASKS

__all__ = ["episode_table", "played_json", "show_played", "stages"]

# From this terminal width on the table has room for what the tasks ask for.
_WIDE = 108
_STYLES = {"solved": "green", "failed": "red", "running": "yellow"}


@contextmanager
def stages(console: Console) -> Iterator[Callable[[str], AbstractContextManager[None]]]:
    """Shows stages with their elapsed time, live on a terminal, else a line when each ends.

    Yields:
        A function that makes a stage: `with stage("Compiling"): ...`.
    """
    if not console.is_terminal:
        yield lambda name: _line(console, name)
        return
    columns = (SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:

        @contextmanager
        def stage(name: str) -> Iterator[None]:
            task = progress.add_task(name, total=1)
            yield
            progress.update(task, completed=1)

        yield stage


@contextmanager
def _line(console: Console, name: str) -> Iterator[None]:
    console.print(f"{name} ...", highlight=False)
    start = time.perf_counter()
    yield
    console.print(f"  done in {time.perf_counter() - start:.1f} s", highlight=False)


def show_played(console: Console, demo: Demo, played: Played, seconds: float) -> None:
    """Prints what was kept, where the pictures are and what to type next."""
    console.print()
    if played.folder is None or played.trace is None:
        text = f"With level=off nothing is recorded or written. It took {seconds:.0f} s in all."
        console.print(Text(text), soft_wrap=True)
        return
    console.print(episode_table(played.episodes, played.kept, titles=console.width >= _WIDE))
    words = [_counts(played), f"It took {seconds:.0f} s in all."]
    if played.folder != demo.out:
        words.append(f"{demo.out} holds something already, so this is in {_short(played.folder)}.")
    console.print(Text(" ".join(words)), soft_wrap=True)
    summaries = [file for file in played.pictures if file.stem == "summary"]
    folder, trace = _short(played.folder), _short(played.trace)
    console.print(_next_steps(played, folder, trace, summaries), soft_wrap=True)


def episode_table(episodes: Any, positions: tuple[int, ...], *, titles: bool = True) -> Table:
    """One row for each episode: task, steps, return, similarity, outcome, who kept it.

    Args:
        episodes: what `jaxarc_trace.load` gave.
        positions: which of them; a row starts with the position.
        titles: whether to say what each of the demo's own tasks asks for.
    """
    table = Table(
        title="Kept episodes",
        title_justify="left",
        title_style="bold",
        caption="final, best: similarity to the target, 1 where every cell is right",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    numbers = ("#", "steps", "return", "final", "best")
    for heading in ("#", "task", "asks to", "steps", "return", "final", "best", "outcome"):
        if titles or heading != "asks to":
            table.add_column(
                heading, justify="right" if heading in numbers else "left", no_wrap=True
            )
    table.add_column("kept by")
    for position in positions:
        cells = _cells(episodes, position)
        if not titles:
            del cells[1]
        table.add_row(str(position), *cells)
    return table


def _cells(episodes: Any, position: int) -> list[Text]:
    row = {name: column[position] for name, column in episodes.columns.items()}
    task = row["task"] if "task" in row else _task(episodes, position)
    outcome = row["outcome"]
    if outcome == "failed":
        outcome = "out of steps" if row["truncated"] else "submitted wrong"
    # Names come from files, so they are text and never markup.
    return [
        Text(task),
        Text(DEMO_TASKS.get(task, "")),
        Text(str(row["length"])),
        Text(f"{row['return']:.2f}"),
        Text(f"{row['similarity_final']:.3f}"),
        Text(f"{row['similarity_best']:.3f}"),
        Text(outcome, style=_STYLES.get(row["outcome"], "")),
        Text(", ".join(kept_by(episodes, position))),
    ]


def _task(episodes: Any, position: int) -> str:
    """The task at level full, where it is a leaf of the state like any other, and no column."""
    episode = episodes[position]
    index = role(episode, "task")
    names = episode.environment["task_ids"]
    return "" if index is None else str(names[int(index[-1])])


def _counts(played: Played) -> str:
    """How many episodes ended, and how many of them are where."""
    ended, solved = _ended(played)
    recent = len(played.episodes) - len(played.kept)
    return (
        f"{plural(ended, 'episode')} ended, {solved} of them solved. The trace holds "
        f"{len(played.kept)} that were kept by policy, and {recent} more because they are recent."
    )


def _ended(played: Played) -> tuple[int, int]:
    """How many episodes ended in all, kept or not, and how many of them were solved."""
    spec = played.episodes.spec
    seen, failed = spec["episodes_seen"], spec["eligible"]["failed"]
    return seen, seen - failed


def _next_steps(played: Played, folder: str, trace: str, summaries: list[Path]) -> Text:
    """Where things are and what to type, as text that can be copied."""
    lines = Text(f"\nTrace      {trace}\n")
    for number, file in enumerate(summaries):
        lines.append(f"{'Pictures' if number == 0 else '':10} {_short(file)}\n")
    if more := len(played.pictures) - len(summaries):
        lines.append(f"{'':10} and {more} more beside them\n")
    first = played.kept[0] if played.kept else 0
    # json.dumps quotes with ", so that the whole fits between the shell's '.
    program = (
        f"import jaxarc_trace as jt; episode = jt.load({json.dumps(trace)})[{first}]; "
        'print(episode); jt.render.summary(episode).save_svg("summary.svg")'
    )
    lines.append(
        "\nType next, to look at an episode here, to draw more, to browse all:\n", style="bold"
    )
    for words in _commands(folder, first):
        lines.append(f"  {words}\n")
    lines.append("\nOr load an episode and draw it yourself:\n", style="bold")
    lines.append(f"  {_python()} -c {shlex.quote(program)}\n")
    return lines


def played_json(demo: Demo, played: Played, seconds: float) -> dict[str, Any]:
    """The same for scripts, with whole paths; with `level=off` nothing was kept or written."""
    found: dict[str, Any] = {
        "path": None if played.folder is None else str(played.folder.absolute()),
        "trace": None if played.trace is None else str(played.trace.absolute()),
        **{name: getattr(demo, name) for name in ("seed", "lanes", "steps", "tasks")},
        "seconds": round(seconds, 3),
        "episodes": len(played.episodes),
        "ended": None,
        "solved": None,
        "kept": _rows(played),
        "pictures": [str(file.absolute()) for file in played.pictures],
        "next": [],
    }
    if played.folder is not None:
        ended, solved = _ended(played)
        first = played.kept[0] if played.kept else 0
        commands = _commands(str(played.folder.absolute()), first)
        found |= {"ended": ended, "solved": solved, "next": commands}
    return found


_ROW = (
    "index", "id", "task", "length", "return", "similarity_final", "similarity_best", "outcome",
    "truncated", "kept_by",
)  # fmt: skip


def _rows(played: Played) -> list[dict[str, Any]]:
    """The rows of the table, each with the id that other commands take."""
    if not played.kept:
        return []
    from jaxarc_trace.render.queue import ids

    episodes, names, found = played.episodes, ids(played.episodes), []
    for position in played.kept:
        row = {name: column[position] for name, column in episodes.columns.items()}
        row["task"] = row["task"] if "task" in row else _task(episodes, position)
        row |= {"index": position, "id": names[position], "kept_by": kept_by(episodes, position)}
        found.append({name: row[name] for name in _ROW})
    return found


def _commands(folder: str, first: int) -> list[str]:
    """What to type next: to look at an episode, to draw more, to browse all."""
    name = shlex.quote(folder)
    words = (f"show {name} {first}", f"render {name} --best 4", f"report {name}")
    return [f"{_command()} {each}" for each in words]


def _short(path: Path) -> str:
    """A path from the working directory where that is above it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _command() -> str:
    """How to call the command line of this Python's environment."""
    script, found = Path(sys.executable).with_name("jaxarc-trace"), shutil.which("jaxarc-trace")
    if found is not None and Path(found) == script:
        return script.name
    return shlex.quote(_short(script)) if script.exists() else f"{_python()} -m jaxarc_trace.cli"


def _python() -> str:
    """How to call this Python: its environment may not be the one that is active."""
    return "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
