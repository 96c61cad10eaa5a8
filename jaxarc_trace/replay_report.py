"""What re-simulating an episode showed: a frozen report that prints itself and becomes JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxarc_trace.divergence import Divergence
from jaxarc_trace.episode import Episode

__all__ = ["Replay", "Verdict"]

Verdict = Literal["exact", "close", "diverged", "unknown"]


@dataclass(frozen=True)
class Replay:
    """What re-simulating one episode showed.

    Attributes:
        id: the episode's id.
        verdict: `exact`: every recorded value came out again, bit for bit. `close`: each step,
            taken from its own recorded state, came out within `tolerance`. `diverged`: see
            `first`. `unknown`: it could not be re-simulated, see `notes`.
        mode: `chain`, all steps one after the other from the first state, or `step`, each from
            its own recorded state.
        steps: transitions that were re-simulated.
        verified: transitions before the first divergence; all of them if there is none.
        first: the first divergence, or None.
        tolerance: what real numbers may differ by, times `max(1, |value|)`; 0 for bits.
        largest: largest such difference of each leaf that differs at all, by name.
        drift: in mode `step`, the same of the chain from the first state, for comparison.
        digests: whether the digest of each kept record was recomputed and compared.
        notes: what limits the answer: dropped steps, other configuration, leaves not recorded.
        episode: the episode with every leaf of every state as it came out, and with the added
            fields in `extras`; None where nothing was re-simulated or it was not asked for.
    """

    id: str
    verdict: Verdict
    mode: Literal["chain", "step"] = "chain"
    steps: int = 0
    verified: int = 0
    first: Divergence | None = None
    tolerance: float = 0.0
    largest: Mapping[str, float] | None = None
    drift: Mapping[str, float] | None = None
    digests: bool = False
    notes: tuple[str, ...] = ()
    episode: Episode | None = None

    @property
    def ok(self) -> bool:
        """Whether the recording was confirmed."""
        return self.verdict in ("exact", "close")

    def to_json(self) -> dict[str, Any]:
        """Everything but the episode, as plain JSON."""
        found = {
            name: getattr(self, name)
            for name in "id verdict mode steps verified tolerance digests".split()
        }
        first = None
        if self.first is not None:
            leaves = [{**leaf.__dict__, "where": list(leaf.where)} for leaf in self.first.leaves]
            leaves = [{k: _finite(v) for k, v in leaf.items()} for leaf in leaves]
            first = {"step": self.first.step, "cause": self.first.cause, "leaves": leaves}
        sizes = {
            name: None if value is None else {k: _finite(v) for k, v in value.items()}
            for name, value in (("largest", self.largest), ("drift", self.drift))
        }
        return {**found, "first": first, **sizes, "notes": list(self.notes)}

    def __str__(self) -> str:
        how = {
            "exact": f"exact, {self.steps} steps",
            "close": f"each of {self.steps} steps within {self.tolerance:g}",
            "diverged": f"diverged after {self.verified} of {self.steps} steps: {self.first}",
            "unknown": "not re-simulated",
        }[self.verdict]
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{self.id}: {how}{notes}"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
