"""Selections of episodes as JSONL, Parquet or NPZ, without loss; JSONL and NPZ back again.

Every format holds the packed bytes of each episode and the description that a store has, and
beside them what a person or another program reads at once: rewards, flags, actions, numbers.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxarc_trace.compressed import SUFFIXES
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError
from jaxarc_trace.exchange_jsonl import read_jsonl, write_jsonl
from jaxarc_trace.exchange_parts import Packed, gathered, selected
from jaxarc_trace.exchange_tables import read_npz, write_npz, write_parquet
from jaxarc_trace.fresh import fresh_file
from jaxarc_trace.names import located
from jaxarc_trace.source import Source
from jaxarc_trace.store import save

__all__ = ["Exported", "export", "import_file"]

Write = Callable[[Path, str, Sequence[Source], Iterator[Packed]], int]
_LINES = tuple(f".jsonl{suffix}" for suffix in SUFFIXES)
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: the file.
        episodes: how many it holds.
        skipped: why an episode was left out, one sentence each.
    """

    path: Path
    episodes: int
    skipped: tuple[str, ...]


def export(episodes: Episodes, path: PathLike, *, skip_damaged: bool = False) -> Exported:
    """Writes a selection to one file, whose format is that of its ending.

    Args:
        episodes: what to write.
        path: a fresh path that ends in `.jsonl`, `.jsonl.gz`, `.jsonl.zst` (these three are
            written in bounded memory), `.parquet` or `.npz`.
        skip_damaged: leave damaged episodes out instead of stopping.

    Raises:
        SpecError: when the ending is none of these.
        StoreError: when the path is taken or cannot be written.
        CorruptEpisodeError: when an episode is damaged.
        MissingExtraError: when polars or zstandard is needed and not installed.
    """
    target = located(path)
    ending, write = _format(target)
    skipped: list[str] = []
    with fresh_file(target) as partial:
        chosen = selected(episodes, skipped, skip_damaged=skip_damaged)
        count = write(partial, ending, episodes.sources, chosen)
    return Exported(target, count, tuple(skipped))


def import_file(path: PathLike, destination: PathLike) -> list[Path]:
    """Makes stores of a JSONL or NPZ file that `export` wrote.

    Returns:
        The stores: `destination` itself, or where the file holds episodes of several stores,
        numbered directories in it, which `load` takes together.

    Raises:
        StoreError: when the file is not such an export, or the destination is taken.
        CorruptEpisodeError: when the bytes of an episode are not what was exported.
    """
    file, target = located(path), located(destination)
    if file.suffix == ".npz":
        headers, found = read_npz(file)
    elif file.name.endswith(_LINES):
        headers, found = read_jsonl(file)
    else:
        raise SpecError(
            f"{file}: expected a file ending in .jsonl, .jsonl.gz, .jsonl.zst or .npz, found "
            f"{''.join(file.suffixes) or 'no ending'}; export as one of these, "
            "for Parquet is for other programs to read"
        )
    groups = [[e for e in found if e.source == index] for index in range(len(headers))]
    several = len(headers) > 1
    paths: list[Path] = []
    for index, (header, group) in enumerate(zip(headers, groups, strict=True), 1):
        place = target / f"{index:06d}" if several else target
        paths.append(
            save(
                place,
                gathered(header, group, file),
                header["metadata"],
                run=header["run"],
                process=header["process"],
            )
        )
    return paths


def _format(path: Path) -> tuple[str, Write]:
    endings: dict[str, Write] = dict.fromkeys(_LINES, write_jsonl)
    endings.update({".parquet": write_parquet, ".npz": write_npz})
    for ending, write in endings.items():
        if path.name.endswith(ending):
            return ending, write
    raise SpecError(
        f"{path}: expected a name that ends in one of {', '.join(endings)}, found "
        f"{path.suffix or 'no ending'!r}; choose one of them, which is the format"
    )
