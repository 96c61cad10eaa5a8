"""The viewer: many episodes in one HTML file that needs no network, no server and no build.

`index.py` makes the table's columns, `pack.py` the bytes of an episode, `page.py` the file.
"""

import base64
import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jaxarc_trace.analysis import failure_modes
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.files import write
from jaxarc_trace.render.report.index import Index
from jaxarc_trace.render.report.pack import deflate, pack
from jaxarc_trace.render.report.page import page
from jaxarc_trace.render.text import plural
from jaxarc_trace.render.theme import Theme
from jaxarc_trace.render.theme import theme as find_theme

__all__ = ["Report", "report"]

_MEGABYTE = 1_000_000
_CHUNK = 1 << 18  # characters of base64 in one element of the page; the first is waited for


@dataclass(frozen=True)
class Report:
    """What `report` wrote.

    Attributes:
        path: the file.
        episodes: how many episodes it holds.
        size: its size in bytes.
    """

    path: Path
    episodes: int
    size: int

    def __fspath__(self) -> str:
        return str(self.path)


def report(
    episodes: Iterable[Episode],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    theme: str | Theme = "default",
    warn_above: int = 10 * _MEGABYTE,
    refuse_above: int = 100 * _MEGABYTE,
) -> Report:
    """Writes episodes as one HTML file that anybody can open: a table, and every step of each.

    The same episodes give the same bytes. Episodes are read one at a time, so a lazy sequence
    stays lazy; the file is put together in memory and appears under its name when it is whole.

    Args:
        episodes: at least one; of any environment, also mixed. Those without grids are shown
            as numbers, bars and pictures.
        path: the file to write; one that is there is replaced.
        title: heading of the page; the name of the file if None.
        theme: the palette to begin with, whether cells hold digits, and whether the page is dark;
            the reader can change all three.
        warn_above: size in bytes above which a `UserWarning` is given.
        refuse_above: size in bytes above which nothing is written.

    Raises:
        RenderError: without an episode, above `refuse_above`, for an unknown theme, or where the
            folder cannot be written.
    """
    look = find_theme(theme)
    target = Path(path)
    index = Index()
    chunks = _chunks(episodes, index, refuse_above)
    if not len(index):
        raise RenderError(
            "A report shows at least one episode; none was given. "
            "Check the filter, or that the run kept any."
        )
    heading = target.stem if title is None else title
    data = index.data(heading, look)
    text = json.dumps(data, separators=(",", ":")).encode("ascii")
    content = page(heading, str(data["mode"]), deflate(text), chunks)
    if len(content) > refuse_above:
        raise _too_large(len(content), len(index), refuse_above)
    if len(content) > warn_above:
        warnings.warn(
            f"{target.name} is {_megabytes(len(content))} ({plural(len(index), 'episode')}). A "
            "browser opens it, but it is slow to send; pass fewer episodes for a smaller file.",
            stacklevel=2,
        )
    return Report(write(target, content), len(index), len(content))


def _chunks(episodes: Iterable[Episode], index: Index, refuse_above: int) -> list[str]:
    """Packs every episode; returns the base64 of all blocks in runs of about a megabyte."""
    chunks: list[str] = []
    run: list[str] = []
    start = total = 0
    for episode in episodes:
        failures = failure_modes(episode)
        text = base64.b64encode(pack(episode, failures)).decode("ascii")
        index.add(episode, failures, chunk=len(chunks), start=start, length=len(text))
        run.append(text)
        start += len(text)
        total += len(text)
        if total > refuse_above:
            raise _too_large(total, len(index), refuse_above)
        if start >= _CHUNK:
            chunks.append("".join(run))
            run, start = [], 0
    return [*chunks, "".join(run)] if run else chunks


def _too_large(size: int, count: int, limit: int) -> RenderError:
    return RenderError(
        f"The report would be larger than {_megabytes(limit)}: {plural(count, 'episode')} take "
        f"{_megabytes(size)}. Pass fewer episodes (`episodes[:1000]`, or only those kept by "
        "`best` and `worst`), write several reports, or raise refuse_above."
    )


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
