"""Fields that were added to episodes after they were recorded, in files beside their run.

`replay(..., probes=...)` computes them; here they are kept, an `.npz` file an episode in `fields/`
of the run, and put back into the `extras` of the episodes that they belong to.
"""

import functools
import os
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.replay_report import Replay

__all__ = ["keep_fields", "with_fields"]

_FOLDER = "fields"


def keep_fields(run: str | os.PathLike[str], reports: Iterable[Replay], *names: str) -> list[Path]:
    """Writes added fields of replayed episodes beside their run.

    Args:
        run: the run's directory, or any other.
        reports: what `replay` gave with `probes`, its episodes included.
        names: which of the fields in `extras`.

    Returns:
        The files, one an episode; one that was there is replaced.

    Raises:
        SpecError: when a report has no episode or no such field.
        StoreError: when a file cannot be written.
    """
    folder = Path(run) / _FOLDER
    files: list[Path] = []
    for report in reports:
        episode = report.episode
        if episode is None or not set(names) <= episode.extras.keys():
            held = "no episode" if episode is None else f"only {', '.join(episode.extras)}"
            raise SpecError(
                f"{report.id}: expected the fields {', '.join(names)} of a replayed episode, found "
                f"{held}; name them in probes= of replay"
            )
        file = _file(folder, episode)
        partial = file.with_name(f".partial-{uuid.uuid4().hex}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as handle:
                values = {name: episode.extras[name] for name in names}
                np.savez_compressed(handle, **values)  # pyright: ignore[reportArgumentType]
            partial.replace(file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StoreError(
                f"{file}: cannot be written ({error}); check space and rights"
            ) from error
        files.append(file)
    return files


def with_fields(episodes: Episodes, run: str | os.PathLike[str]) -> Episodes:
    """The same episodes, each with what was added to it in its `extras` when it is read."""
    return episodes.shown_as(
        functools.partial(_with_fields, folder=Path(run) / _FOLDER, before=episodes.shown)
    )


def _with_fields(
    episode: Episode, folder: Path, before: Callable[[Episode], Episode] | None
) -> Episode:
    episode = episode if before is None else before(episode)
    file = _file(folder, episode)
    if not file.is_file():
        return episode
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            added = dict(held)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(
            f"{file}: is damaged ({error}); remove it and add the fields again"
        ) from error
    return replace(episode, extras={**episode.extras, **added})


def _file(folder: Path, episode: Episode) -> Path:
    """A name that says which episode it is, and by its digests that it is this very one."""
    digests = np.zeros(0, np.uint32) if episode.digests is None else episode.digests
    own = zlib.crc32(np.ascontiguousarray(digests, "<u4").tobytes())
    return folder / f"{episode.id}-{len(episode)}-{own:08x}.npz"
