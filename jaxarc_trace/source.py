"""Where episodes come from: an open store, or a recording in memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.errors import CorruptEpisodeError
from jaxarc_trace.recording import EpisodeBytes, Recording
from jaxarc_trace.schema import RecordSchema
from jaxarc_trace.store_pack import episode_columns, step_columns

__all__ = ["InMemory", "Source"]


@runtime_checkable
class Source(Protocol):
    """Packed episodes, and what is known of them without unpacking."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        ...

    @property
    def key(self) -> tuple[str, int]:
        """Run and process that wrote it; an empty run is no run."""
        ...

    @property
    def columns(self) -> Mapping[str, Shaped[np.ndarray, " N"]]:
        """`[N]` arrays: those of `store_pack.episode_columns`."""
        ...

    @property
    def schema(self) -> RecordSchema:
        """Layout of the packed bytes."""
        ...

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the bits of `kept_by`."""
        ...

    @property
    def environment(self) -> Mapping[str, Any]:
        """Description of the environment."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the user stored beside the trace."""
        ...

    @property
    def spec(self) -> Mapping[str, Any]:
        """What was asked to be kept, and how much was seen."""
        ...

    def __len__(self) -> int:
        """Number of episodes."""
        ...

    def values(self, row: int) -> Mapping[str, Any]:
        """What the columns say of one episode."""
        ...

    def packed(self, row: int) -> EpisodeBytes:
        """Records uint8 `[T, record_bytes]`, constants and final state of one episode."""
        ...

    def stream(self, rows: Sequence[int]) -> Iterator[EpisodeBytes | CorruptEpisodeError]:
        """`packed` of each of these rows in turn, or the error that it raises."""
        ...

    def steps(self, name: str) -> Shaped[np.ndarray, " S"] | None:
        """A value of every transition `[S]`, the episodes one after the other, or None."""
        ...


class InMemory:
    """A recording as a source."""

    def __init__(self, recording: Recording, metadata: Mapping[str, Any]) -> None:
        self.recording = recording
        self.metadata = metadata
        self.columns: Mapping[str, Shaped[np.ndarray, " N"]] = episode_columns(recording)
        self.name: str = "memory"
        self.key: tuple[str, int] = ("", 0)
        self.schema: RecordSchema = recording.schema
        self.policies: tuple[str, ...] = tuple(recording.policies)
        self.environment: Mapping[str, Any] = recording.environment
        self.spec: Mapping[str, Any] = recording.spec

    def __len__(self) -> int:
        return len(self.recording)

    def values(self, row: int) -> Mapping[str, Any]:
        """What the columns say of one episode."""
        return {name: column[row] for name, column in self.columns.items()}

    def packed(self, row: int) -> EpisodeBytes:
        """The packed bytes of one episode."""
        return self.recording.read(row)

    def stream(self, rows: Sequence[int]) -> Iterator[EpisodeBytes | CorruptEpisodeError]:
        """The packed bytes of these episodes in turn."""
        return map(self.packed, rows)

    def steps(self, name: str) -> Shaped[np.ndarray, " S"] | None:
        """A value of every transition `[S]`, or None."""
        return step_columns(self.recording).get(name)
