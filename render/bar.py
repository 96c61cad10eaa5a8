"""A progress bar for `render_all` on the terminal: rate and time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jaxarc_trace.render.dispatch import Progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["bar"]


@contextmanager
def bar(console: "Console") -> Iterator[Callable[[Progress], None]]:
    """Shows how far `render_all` is, for its argument `progress`; nothing off a terminal.

    Args:
        console: where to show it.
    """
    from rich import progress as rich

    columns = (
        rich.TextColumn("Drawing"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("files  {task.fields[rate]}"),
    )
    with rich.Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("Drawing", total=None, rate="")

        def tell(now: Progress) -> None:
            words = f"{now.rate:.0f}/s, {_time(now.left)} left" if now.written else "starting"
            if now.failed:
                words += f", {now.failed} failed"
            shown.update(task, total=now.pictures, completed=now.written, rate=words)

        yield tell


def _time(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
