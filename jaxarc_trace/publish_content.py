"""What people look at: a table of episodes with pictures, and the viewer, staged as files.

Everything is written below `wandb/` of the run before anything is sent, so that the same bytes go
out whether the network is there now or later. No network, and no clock in what is made.
"""

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import MissingExtraError, RenderError, SpecError, StoreError
from jaxarc_trace.manifest import write_json
from jaxarc_trace.publish_names import plain
from jaxarc_trace.publish_plan import FOLDER, IMAGES, Job

__all__ = ["Content", "pictured", "stage", "staged"]

ROWS = 10_000
"""Rows of a table; the W&B page shows no more."""
VIEWED = 2_000
FRAMES = 24
_PICTURES = "pictures"
_LEFT_OUT = frozenset({"episode", "lane", "number", "kept", "dropped", "terminated", "truncated"})
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Content:
    """Staged files.

    Attributes:
        folder: where they are.
        columns: of the table.
        rows: its rows; a picture is `{"file": name}`, below `pictures`.
        notes: what was left out, and why, in sentences.
    """

    folder: Path
    columns: list[str]
    rows: list[list[Any]]
    notes: list[str]

    @property
    def report(self) -> Path:
        """The viewer."""
        return self.folder / "report.html"

    def picture(self, cell: Any) -> Path:
        """The file of a picture cell."""
        return self.folder.parent.parent / _PICTURES / cell["file"]

    def missing(self) -> list[Path]:
        """Staged files that are not there any more."""
        cells = [cell for row in self.rows for cell in row if isinstance(cell, dict)]
        files = [self.report, *map(self.picture, cells)]
        return [file for file in files if not file.is_file()]


def staged(run: Path, key: str) -> Content | None:
    """What was staged under a key, or None where it is not, or not all of it."""
    folder = _folder(run, key)
    try:
        data = json.loads((folder / "content.json").read_text(encoding="utf-8"))
        found = Content(folder, data["columns"], data["rows"], data["notes"])
    except (OSError, ValueError, KeyError):
        return None
    return None if found.missing() else found


def stage(job: Job, key: str, episodes: Episodes, title: str, progress: Progress) -> Content:
    """Draws and writes what is shown; what is there already is not drawn again.

    Args:
        job: settings and choice.
        key: names the folder; see `publish_plan`.
        episodes: all episodes of the run, with the columns of `facts.measured`.
        title: heading of the viewer.
        progress: told what is being done, how much of it is done and how much there is.

    Raises:
        SpecError: when no episode fits the choice.
        OSError: when there is no room.
    """
    found = staged(Path(job.run), key)
    if found is not None:
        return found
    shown, detailed = pictured(episodes, job)
    folder = _folder(Path(job.run), key)
    folder.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    if len(shown) < len(episodes) and job.choice.where is None:
        notes.append(f"the table holds {len(shown)} of {len(episodes)} episodes")
    cells = _Drawing(job, folder.parent.parent / _PICTURES, notes).draw(shown, detailed, progress)
    columns, rows = _table(shown)
    made = [[*row, *(cells[i].get(kind) for kind in _KINDS)] for i, row in enumerate(rows)]
    progress("viewer", 0, 1)
    _report(shown, folder / "report.html", title, job.theme, notes)
    progress("viewer", 1, 1)
    data = {"columns": [*columns, *_KINDS], "rows": made, "notes": notes}
    write_json(folder / "content.json", data)
    return Content(folder, **data)


def pictured(episodes: Episodes, job: Job) -> tuple[Episodes, int]:
    """The episodes that are shown, and how many of the first ones with their steps.

    Raises:
        SpecError: when the condition fits none, or is none.
    """
    choice = job.choice
    found = episodes if choice.where is None else episodes.where(choice.where)
    if not len(found):
        raise SpecError(
            f"expected at least one episode, found none of {len(episodes)} that fits "
            f"{choice.where!r}; ask for others"
        )
    place = {position: row for row, position in enumerate(found.positions.tolist())}
    picked = [*found.best(choice.best).positions, *found.worst(choice.worst).positions]
    first = list(dict.fromkeys(place[position] for position in map(int, picked)))
    chosen = set(first)
    rest = [row for row in range(len(found)) if row not in chosen]
    return found.take([*first, *rest][:ROWS]), len(first)


def clear(run: Path, keep: str) -> None:
    """Removes staged files that no longer wait to be sent, but for those of one key."""
    folder = _folder(run, keep)
    kept = staged(run, keep)
    used = set()
    if kept is not None:
        used = {cell["file"] for row in kept.rows for cell in row if isinstance(cell, dict)}
    with contextlib.suppress(OSError):
        for file in (folder.parent.parent / _PICTURES).glob("*"):
            if file.name not in used:
                file.unlink()
        for other in folder.parent.glob("*"):
            for file in other.glob("*") if other != folder else ():
                file.unlink()
            if other != folder:
                other.rmdir()


_KINDS = ("summary", "steps", "animation")


class _Drawing:
    """Draws pictures into a folder until the budget is used up."""

    def __init__(self, job: Job, folder: Path, notes: list[str]) -> None:
        self.job = job
        self.folder = folder
        self.notes = notes
        self.left = round(job.publish.image_budget_mb * 1_000_000)
        self.pixels = job.publish.image_megapixels * 1_000_000
        self.full = 0

    def draw(self, shown: Episodes, detailed: int, progress: Progress) -> list[dict[str, Any]]:
        """The picture cells of each episode; summaries come before steps, steps before films."""
        most = self.job.publish.images
        count = min(len(shown), IMAGES if most is None else most)
        detailed = min(detailed, count)
        cells: list[dict[str, Any]] = [{} for _ in range(len(shown))]
        plan = [("summary", count), ("steps", detailed), ("animation", detailed)]
        total, done = sum(number for _, number in plan), 0
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            for kind, number in plan:
                for row in range(number):
                    progress("pictures", done, total)
                    name = self._drawn(shown, row, kind)
                    if name:
                        cells[row][kind] = {"file": name}
                    done += 1
        except MissingExtraError as error:
            self.notes.append(str(error))
        progress("pictures", total, total)
        if self.full:
            self.notes.append(f"{self.full} pictures were left out to stay within the image budget")
        return cells

    def _drawn(self, shown: Episodes, row: int, kind: str) -> str | None:
        """Name of the file of one picture, or None where there is none or no room for it."""
        source, at = shown.locate(row)
        name = f"p{source.key[1]:04d}_lane{source.columns['lane'][at]:06d}"
        name += f"_ep{source.columns['number'][at]:010d}_{int(source.columns['checksum'][at]):08x}"
        ending = "gif" if kind == "animation" else "png"
        look = f"{self.job.theme}_{self.pixels:.0f}"
        file = self.folder / f"{name}_{kind}_{look}.{ending}"
        if not file.is_file():
            try:
                made = self._picture(shown[row], file, kind)
            except (RenderError, StoreError) as error:
                if isinstance(error.__cause__, OSError):
                    # A full disk is no property of the episode.
                    raise
                self.notes.append(f"{kind} of {name}: {error}")
                return None
            if not made:
                return None
        size = file.stat().st_size
        if size > self.left:
            self.full += 1
            return None
        self.left -= size
        return file.name

    def _picture(self, episode: Episode, file: Path, kind: str) -> bool:
        from jaxarc_trace import render

        if kind != "summary" and not len(episode):
            return False
        if kind == "animation":
            from jaxarc_trace.render import raster

            try:
                high, wide = raster.frame(episode, 0, self.job.theme).shape[:2]
            except RenderError:
                # Without grids there is no film, which is no fault.
                return False
            if high * wide > self.pixels:
                self.full += 1
                return False
            render.animate(episode, file, theme=self.job.theme)
            return True
        if kind == "summary":
            picture = render.summary(episode, self.job.theme)
        else:
            picture = render.filmstrip(episode, self.job.theme, most=FRAMES)
        picture.save_png(file, fitting(picture.width, picture.height, self.pixels))
        return True


def fitting(width: float, height: float, pixels: float) -> float:
    """The scale, at most 2, at which a picture has at most so many pixels."""
    scale = min(2.0, math.sqrt(pixels / (width * height)))
    while math.ceil(width * scale) * math.ceil(height * scale) > pixels:
        scale *= 0.998
    return scale


def _table(shown: Episodes) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows without pictures; what is no number is null."""
    from jaxarc_trace.render.queue import ids

    columns = {k: v for k, v in shown.columns.items() if k not in _LEFT_OUT}
    lists = [ids(shown), *(_plain(name, values) for name, values in columns.items())]
    return ["episode", *columns], [list(row) for row in zip(*lists, strict=True)]


def _plain(name: str, values: Shaped[np.ndarray, " episodes"]) -> list[Any]:
    if values.dtype == object:
        return [plain(value) for value in values]
    if name == "solved":
        return [None if value < 0 else bool(value) for value in values]
    if values.dtype.kind == "f":
        return [float(value) if np.isfinite(value) else None for value in values]
    return values.tolist()


def _report(shown: Episodes, path: Path, title: str, theme: str, notes: list[str]) -> None:
    """Writes the viewer of as many episodes as a page takes."""
    from jaxarc_trace import render

    count = min(len(shown), VIEWED)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                render.report(_readable(shown[:count], notes), path, title=title, theme=theme)
            break
        except RenderError as error:
            if count <= 1 or isinstance(error.__cause__, OSError):
                raise
            count //= 2
    if count < len(shown):
        notes.append(f"the viewer holds {count} of {len(shown)} episodes")


def _readable(shown: Episodes, notes: list[str]) -> Iterator[Episode]:
    for index in range(len(shown)):
        try:
            yield shown[index]
        except StoreError as error:
            text = f"not in the viewer: {error}"
            if text not in notes:
                notes.append(text)


def _folder(run: Path, key: str) -> Path:
    return run / FOLDER / "content" / key.replace(":", "-")
