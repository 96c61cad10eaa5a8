"""How much of a run is kept: the limits, and which saves they remove. No files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from jaxarc_trace.errors import SpecError
from jaxarc_trace.saves import Save

__all__ = ["Candidate", "Retention", "choose"]

Policy = Literal["none", "manual", "oldest_first", "size_based"]


@dataclass(frozen=True)
class Retention:
    """Limits of what a run, or all runs under a root, may hold.

    Attributes:
        policy: `none` has no limits; `manual` warns of them, and only `clean` removes;
            `oldest_first` removes the oldest saves after each save, `size_based` the largest.
        max_saves: most saves.
        max_bytes: most bytes of all saves.
        max_age: most seconds since a save was written.
        protect: policies or outcomes, for instance `("best", "failed")`: a save that holds an
            episode kept by such a policy or with such an outcome stays, unless a newer save
            holds the same episode.
        on_full: what to do when a limit cannot be kept: `warn` or `raise`.

    Raises:
        SpecError: when the values contradict each other.
    """

    policy: Policy = "none"
    max_saves: int | None = None
    max_bytes: int | None = None
    max_age: float | None = None
    protect: tuple[str, ...] = ()
    on_full: Literal["warn", "raise"] = "warn"

    def __post_init__(self) -> None:
        """Refuses what contradicts itself."""
        if isinstance(self.protect, str):
            object.__setattr__(self, "protect", tuple(filter(None, self.protect.split(","))))
        policies = ("none", "manual", "oldest_first", "size_based")
        if self.policy not in policies:
            raise SpecError(f"policy: expected one of {', '.join(policies)}, found {self.policy!r}")
        if self.on_full not in ("warn", "raise"):
            raise SpecError(f"on_full: expected 'warn' or 'raise', found {self.on_full!r}")
        limits = {"max_saves": self.max_saves, "max_bytes": self.max_bytes, "max_age": self.max_age}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        for name, limit in given.items():
            if limit <= 0:
                raise SpecError(f"{name}: expected more than 0, found {limit}")
        if (self.policy == "none") == bool(given):
            raise SpecError(
                f"policy {self.policy!r} with {', '.join(given) or 'no limit'}: expected limits "
                "with a policy, or neither; give max_saves, max_bytes or max_age, or leave both out"
            )
        if self.policy == "size_based" and self.max_bytes is None:
            raise SpecError("policy 'size_based': expected max_bytes, found none; give max_bytes")


@dataclass
class Candidate:
    """A save that might be removed.

    Attributes:
        save: the save.
        bytes: how much it holds.
        age: seconds since it was written.
        keeps: why it must stay, in words; empty if it need not.
        reasons: the limits that would remove it, in words.
    """

    save: Save
    bytes: int
    age: float
    keeps: str = ""
    reasons: list[str] = field(default_factory=list)


def choose(candidates: list[Candidate], retention: Retention) -> tuple[list[Candidate], list[str]]:
    """Which saves to remove and which limits remain exceeded.

    Args:
        candidates: all saves, oldest first. `reasons` of those that go, or would if they need
            not stay, are filled in.
        retention: the limits.

    Returns:
        What to remove, in order, and a sentence for each limit that cannot be kept.
    """
    left = list(candidates)
    order = list(candidates)
    if retention.policy == "size_based":
        order.sort(key=lambda candidate: -candidate.bytes)
    removed: list[Candidate] = []
    over: list[str] = []

    def enforce(limit: str, exceeded: Callable[[Candidate], bool]) -> None:
        for candidate in order:
            if candidate in left and exceeded(candidate):
                candidate.reasons.append(limit)
                if not candidate.keeps:
                    left.remove(candidate)
                    removed.append(candidate)
        if any(exceeded(candidate) for candidate in left):
            over.append(f"{limit} although all that may go is gone")

    if (age := retention.max_age) is not None:
        enforce(f"older than {age:g} s", lambda candidate: candidate.age > age)
    if (most := retention.max_saves) is not None:
        enforce(f"more than {most} saves", lambda _: len(left) > most)
    if (room := retention.max_bytes) is not None:
        enforce(f"more than {room} bytes", lambda _: sum(c.bytes for c in left) > room)
    return removed, over
