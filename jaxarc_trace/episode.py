"""What was recorded, on the host: one frozen `Episode` of NumPy arrays.

Nothing here touches a device, a file or a picture.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Real, Shaped, UInt32

__all__ = ["Episode"]


@dataclass(frozen=True, eq=False, repr=False)
class Episode:
    """One recorded episode of `T = len(episode)` transitions.

    Transition `t` takes the environment from `states[name][t]` to `states[name][t + 1]` by
    `actions[...][t]`, which earned `rewards[t]` and the flags `terminated[t]` and
    `truncated[t]`. The last state is the true terminal one, before any auto-reset. (The
    alignment is Minari's: https://minari.farama.org/content/dataset_standards/.)

    Attributes:
        states: recorded state fields by name, each `[T + 1, ...]`. A field that is constant
            within an episode is a read-only broadcast view and is also in `constants`.
        constants: fields recorded once an episode, by name, each `[...]`.
        actions: leaves of the action by name, each `[T, ...]`; a bare array is `"action"`.
        rewards: `[T]`, of the dtype that was recorded: float32 as a rule.
        terminated: bool `[T]`; true where the environment ended the episode.
        truncated: bool `[T]`; true where a limit ended it.
        extras: what else came of each transition, by name, each `[T, ...]`.
        digests: uint32 `[T]`, a 32-bit digest of the state before each action; None when the
            trace has none.
        lane: which of the vectorised environments, counted from 0.
        number: which episode of that lane, counted from 0.
        length: transitions the episode had in all; `T + dropped`.
        dropped: transitions at its start that were not kept.
        complete: false for an episode that was still running when the trace was taken.
        total_return: undiscounted sum of all its rewards, dropped ones included, as the device
            accumulated it in float32.
        success: whether it reached its goal; None where the environment does not define one.
        kept_by: the policies that chose it, for instance `("best", "random")`; `"last"` for
            one that is kept because it is recent.
        metrics: summary numbers of the environment's own, by name.
        environment: JSON-like description of the environment: name, versions, roles of fields,
            operation names, task ids.
        metadata: what the user stored beside the trace.
    """

    states: Mapping[str, Shaped[np.ndarray, "states ..."]]
    actions: Mapping[str, Shaped[np.ndarray, "T ..."]]
    rewards: Real[np.ndarray, " T"]
    terminated: Bool[np.ndarray, " T"]
    truncated: Bool[np.ndarray, " T"]
    constants: Mapping[str, Shaped[np.ndarray, "..."]] = field(default_factory=dict)
    extras: Mapping[str, Shaped[np.ndarray, "T ..."]] = field(default_factory=dict)
    digests: UInt32[np.ndarray, " T"] | None = None
    lane: int = 0
    number: int = 0
    dropped: int = 0
    complete: bool = True
    total_return: float = 0.0
    success: bool | None = None
    kept_by: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of transitions that were kept, `T`."""
        return len(self.rewards)

    @property
    def length(self) -> int:
        """Number of transitions the episode had, dropped ones included."""
        return len(self) + self.dropped

    @property
    def id(self) -> str:
        """Short identity that sorts, for instance `lane003-ep0012`."""
        return f"lane{self.lane:04d}-ep{self.number:06d}"

    @property
    def outcome(self) -> str:
        """How it ended: `running`, `solved`, `failed`, `terminated` or `truncated`."""
        if not self.complete:
            return "running"
        if self.success is not None:
            return "solved" if self.success else "failed"
        return "terminated" if bool(self.terminated[-1:].any()) else "truncated"

    def _repr_svg_(self) -> str:
        """What a notebook shows: the summary."""
        # By name, since pictures stand above the data; they are needed here only when shown.
        return importlib.import_module("jaxarc_trace.render").summary(self).as_svg()

    def __repr__(self) -> str:
        dropped = f", {self.dropped} dropped" if self.dropped else ""
        kept = f", kept by {','.join(self.kept_by)}" if self.kept_by else ""
        return (
            f"<Episode {self.id}: {len(self)} steps{dropped}, return {self.total_return:.3f}, "
            f"{self.outcome}{kept}>"
        )
