"""Reads all of a store and names what is damaged."""

from dataclasses import dataclass
from pathlib import Path

from jaxarc_trace.errors import (
    CorruptEpisodeError,
    FormatVersionError,
    NotATraceError,
    StoreError,
)
from jaxarc_trace.store_read import open_store

__all__ = ["Verification", "verify_store"]


@dataclass(frozen=True)
class Verification:
    """What reading all of a store found.

    Attributes:
        path: the store.
        episodes: number of episodes it holds; 0 when its index is damaged.
        damaged: positions of the episodes that cannot be read.
        files: files that differ from what was committed, relative to the path.
        problems: one sentence for each thing that is wrong.
    """

    path: Path
    episodes: int
    damaged: tuple[int, ...]
    files: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was written."""
        return not (self.damaged or self.files or self.problems)


def verify_store(path: Path) -> Verification:
    """Reads all of a store; see `Verification`.

    Raises:
        NotATraceError: when nothing was committed there.
        FormatVersionError: when a newer version of the format wrote it.
    """
    try:
        store = open_store(path)
    except (NotATraceError, FormatVersionError):
        raise
    except StoreError as error:
        return Verification(path, 0, (), (), (str(error),))
    files = store.damaged_files()
    problems: list[str] = [f"{path}/{name}: is not what was written" for name in files]
    damaged: list[int] = []
    for row, parts in enumerate(store.stream(range(len(store)))):
        if isinstance(parts, CorruptEpisodeError):
            damaged.append(row)
            problems.append(str(parts))
    for name in store.header.leaves:
        try:
            store.steps(name.removeprefix("steps."))
        except StoreError as error:
            problems.append(str(error))
    return Verification(path, len(store), tuple(damaged), tuple(files), tuple(problems))
