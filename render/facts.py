"""The words that pictures share: which episode this is, how it ended, which step, what failed."""

from bisect import bisect_left

import numpy as np
from jaxtyping import Float64

from jaxarc_trace.analysis import Failure, failure_modes
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.text import plural, visible
from jaxarc_trace.render.theme import Theme

__all__ = [
    "check_step",
    "failing",
    "failing_words",
    "first_value",
    "identity",
    "outcome_colour",
    "outcome_words",
    "position",
    "returns",
    "size_words",
    "task_id",
]

_OUTCOMES = {
    "solved": "Solved",
    "failed": "Not solved",
    "running": "Still running",
    "terminated": "Terminated",
    "truncated": "Out of steps",
}


# Modes whose steps are no run but a place to look from and one to look at.
_ENDS = {
    "regression": ("best", "end"),
    "stagnation": ("best", "end"),
    "out of budget": ("best", "end"),
    "unsubmitted solution": ("first", "last"),
}


def check_step(episode: Episode, t: int) -> int:
    """The index 0..T-1 of a step; a negative one counts from the end.

    Raises:
        RenderError: for a step that the episode does not have.
    """
    steps = len(episode)
    if not -steps <= t < steps:
        held = f"steps 0 to {steps - 1} (or −{steps} to −1 from the end)" if steps else "no steps"
        raise RenderError(f"Episode {episode.id} has {held}; step {t} was asked for.")
    return t % steps


def position(episode: Episode, t: int) -> str:
    """`Step 13 of 47`, counted from 1 and with the steps that were not kept."""
    more = " so far" if not episode.complete else ""
    return f"Step {t + episode.dropped + 1} of {episode.length}{more}"


def failing(episode: Episode, state: int) -> tuple[Failure, ...]:
    """The failure modes that a state, 0..T, is part of: what transition `state - 1` led to."""
    return tuple(mode for mode in failure_modes(episode) if _place(mode, state) is not None)


def failing_words(episode: Episode, state: int) -> tuple[str, ...]:
    """What `failing` finds, in words: `oscillation 3 of 6`, `collapse`, `regression: end`."""
    return tuple(_part(mode, state) for mode in failing(episode, state))


def _place(mode: Failure, state: int) -> int | None:
    """Where among the steps of a failure mode, which are in order, a state is."""
    place = bisect_left(mode.steps, state)
    return place if place < len(mode.steps) and mode.steps[place] == state else None


def _part(mode: Failure, state: int) -> str:
    place, count = _place(mode, state), len(mode.steps)
    if place is None or count == 1:
        return mode.mode
    ends = _ENDS.get(mode.mode)
    return f"{mode.mode} {place + 1} of {count}" if ends is None else f"{mode.mode}: {ends[place]}"


def task_id(episode: Episode) -> str | None:
    """The task an episode was played on. Untrusted text."""
    names = episode.environment.get("task_ids")
    index = first_value(episode, "task_idx")
    if index is None:
        return None
    if names is not None and 0 <= index < len(names):
        return str(names[index])
    return f"task {index}"


def first_value(episode: Episode, field: str) -> int | None:
    """A whole number that is the same at every step, or None."""
    values = episode.states.get(field)
    return None if values is None or values.ndim != 1 or not len(values) else int(values[0])


def identity(episode: Episode, *, limit: int = 48, numbered: bool = True) -> str:
    """Task, pair, lane and number of an episode, as a line of text that hides nothing."""
    parts = []
    task = task_id(episode)
    if task is not None:
        parts.append(f"Task {visible(task, limit)}")
    elif episode.environment.get("name"):
        parts.append(visible(str(episode.environment["name"]), limit))
    pair = first_value(episode, "pair_idx")
    if pair is not None:
        parts.append(f"pair {pair}")
    if numbered:
        parts.append(f"lane {episode.lane}, episode {episode.number}")
        parts += not_kept(episode)
    return " · ".join(parts)


def not_kept(episode: Episode) -> list[str]:
    """That its first steps are gone, in words; empty where none are."""
    dropped = episode.dropped
    return [f"first {plural(dropped, 'step')} not kept"] if dropped else []


def outcome_words(episode: Episode) -> str:
    """How it ended, in words: `Solved`, `Not solved, out of steps`, `Still running` and so on."""
    words = _OUTCOMES[episode.outcome]
    if episode.outcome == "failed":
        truncated = bool(np.asarray(episode.truncated[-1:]).any())
        return f"{words}, out of steps" if truncated else f"{words}, submitted"
    return words


def outcome_colour(episode: Episode, theme: Theme) -> str:
    """The colour that goes with the outcome's words."""
    if episode.outcome == "solved":
        return theme.positive
    return theme.negative if episode.outcome == "failed" else theme.muted


def returns(episode: Episode) -> Float64[np.ndarray, " states"]:
    """Sum of rewards up to each state, float64 `[T + 1]`, dropped steps included."""
    rewards = np.asarray(episode.rewards, np.float64)
    # Infinities of both signs add up to NaN, which pictures show as such.
    with np.errstate(invalid="ignore"):
        start = episode.total_return - rewards.sum() if episode.dropped else 0.0
        return np.concatenate([[start], start + rewards.cumsum()])


def size_words(shape: tuple[int, ...]) -> str:
    """`16 × 14`: height by width, as ARC counts."""
    return " × ".join(str(side) for side in shape)
