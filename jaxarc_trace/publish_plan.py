"""What there is to publish of a run, and how: values that a child process is given. No network."""

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from jaxarc_trace.config_fields import as_mapping
from jaxarc_trace.config_sections import Publish
from jaxarc_trace.errors import SpecError
from jaxarc_trace.publish_ledger import Ledger
from jaxarc_trace.saves import Save, folder_bytes, saves_of

__all__ = [
    "FOLDER",
    "Choice",
    "Job",
    "Parts",
    "lost",
    "parts_of",
    "place_of",
    "row_key",
    "trace_key",
]

FOLDER = "wandb"
"""Folder of a run for what waits to be sent."""

BEST, WORST = 8, 4
IMAGES = 64


@dataclass(frozen=True)
class Choice:
    """Which episodes are shown, and which of them with their steps.

    Attributes:
        best: so many with the largest return are shown with steps and animation.
        worst: so many with the smallest return likewise.
        where: only episodes for which it holds are in the table and in the viewer.
    """

    best: int = BEST
    worst: int = WORST
    where: str | None = None

    def __post_init__(self) -> None:
        """Refuses numbers below 0."""
        for name in ("best", "worst"):
            count = getattr(self, name)
            if not isinstance(count, int) or count < 0:
                raise SpecError(f"{name}: expected a whole number of 0 or more, found {count!r}")


@dataclass(frozen=True)
class Job:
    """One attempt to publish. Holds no secret: the key stays in the environment.

    Attributes:
        run: absolute path of the run.
        publish: the settings; `mode` says whether it is sent or prepared for later.
        choice: which episodes are shown.
        theme: of the pictures.
        seconds: how long the attempt may take.
        work: a folder for what the client writes: one that is cleared when all is sent, or one
            in the run, where it waits.
        gallery: whether table and viewer are sent, or numbers and traces only.
    """

    run: str
    publish: Publish
    choice: Choice = field(default_factory=Choice)
    theme: str = "default"
    seconds: float = 600.0
    work: str = ""
    gallery: bool = True

    def to_json(self) -> str:
        """The job as text for another process."""
        data = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(
            {**data, "publish": as_mapping(self.publish), "choice": vars(self.choice)}
        )

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """The job that `to_json` wrote."""
        data = json.loads(text)
        publish = {**data["publish"], "tags": tuple(data["publish"]["tags"])}
        return cls(**{**data, "publish": Publish(**publish), "choice": Choice(**data["choice"])})


@dataclass(frozen=True)
class Parts:
    """What a run has to publish.

    Attributes:
        saves: its committed saves in order.
        rows: those whose row is not confirmed.
        traces: those whose store is not confirmed, where stores are sent.
        gallery: key of table and viewer, or None when they are confirmed or not wanted.
    """

    saves: tuple[Save, ...]
    rows: tuple[Save, ...]
    traces: tuple[Save, ...]
    gallery: str | None

    @property
    def keys(self) -> list[str]:
        """Keys of all that is not confirmed."""
        found = [*map(row_key, self.rows), *map(trace_key, self.traces)]
        return [*found, self.gallery] if self.gallery else found

    def sizes(self) -> dict[str, int]:
        """How many rows, traces and galleries there are to send, and the bytes of the traces."""
        held = sum(folder_bytes(save.path) for save in self.traces)
        return {
            "rows": len(self.rows),
            "traces": len(self.traces),
            "trace_bytes": held,
            "galleries": int(self.gallery is not None),
        }


def row_key(save: Save) -> str:
    """Key of a save's row in the ledger."""
    return f"row:{save.sequence:06d}"


def trace_key(save: Save) -> str:
    """Key of a save's store in the ledger."""
    return f"trace:{save.sequence:06d}"


def gallery_key(job: Job, saves: tuple[Save, ...]) -> str:
    """Key of table and viewer: a digest of all that they are made of."""
    from jaxarc_trace.store_format import COMMIT

    digest = hashlib.sha256()
    for save in saves:
        digest.update((save.path / COMMIT).read_bytes())
    shown = (job.publish.images, job.publish.image_budget_mb, job.publish.image_megapixels)
    digest.update(json.dumps([vars(job.choice), job.theme, shown], sort_keys=True).encode())
    return f"gallery:{digest.hexdigest()[:20]}"


def parts_of(job: Job, ledger: Ledger) -> Parts:
    """What of a run is not confirmed yet.

    Raises:
        OSError: when a save cannot be read.
    """
    saves = tuple(saves_of(Path(job.run)))
    gallery = gallery_key(job, saves) if job.gallery and saves else None
    stores = saves if job.publish.artifact else ()
    return Parts(
        saves,
        tuple(save for save in saves if not ledger.confirmed(row_key(save))),
        tuple(save for save in stores if not ledger.confirmed(trace_key(save))),
        None if gallery is None or ledger.confirmed(gallery) else gallery,
    )


def lost(ledger: Ledger, saves: tuple[Save, ...]) -> list[str]:
    """Keys of what was to be sent and is gone: its save was removed before it was confirmed."""
    held = {key(save) for save in saves for key in (row_key, trace_key)}
    return [
        key
        for key in ledger.items
        if not ledger.confirmed(key) and not key.startswith("gallery:") and key not in held
    ]


def place_of(address: str, publish: Publish) -> str:
    """Name of the place that a run is published to, for the ledger."""
    return f"{address}|{publish.entity or ''}|{publish.project}"
