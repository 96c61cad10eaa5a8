"""Is a recording true? Each episode is stepped again and compared with what was recorded.

The answer is always one of: exact, within a stated tolerance, the first step and leaf that
diverges and by how much, or why it cannot be said. Nothing is changed; the rebuilt episode has
every leaf of every state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.divergence import Divergence, Summary, first_divergence
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.plan import START
from jaxarc_trace.probe import Probe
from jaxarc_trace.replay_parts import (
    Restored,
    assumed,
    checks,
    facts_that_differ,
    rebuilt,
    restored,
    stepwise,
)
from jaxarc_trace.replay_report import Replay, Verdict
from jaxarc_trace.simulate import Simulated, Simulator, simulator

__all__ = ["Replay", "actions_only", "replay", "replays", "with_frames"]

Mode = Literal["auto", "chain", "step"]
TOLERANCE = 1e-5
BATCH_BYTES = 2**27
MOST_AT_ONCE = 64


@overload
def replay(episode: Episode, env: Any, **options: Any) -> Replay: ...
@overload
def replay(episode: Iterable[Episode], env: Any, **options: Any) -> list[Replay]: ...
def replay(episode: Any, env: Any, **options: Any) -> Any:
    """Steps recorded episodes again and says whether they come out as they were recorded.

    Args:
        episode: an episode, or any number of them.
        env: the single environment they were recorded in, with its action wrappers; or its step
            function `(state, action) -> (next_state, outcome)`, or what `wrap_step` made of it,
            with `state=` an example.
        options: those of `replays`; one episode is given back rebuilt unless `states=False`.

    Returns:
        A `Replay`, or a list of them.

    Raises:
        SpecError: when the arguments do not fit each other.
    """
    if isinstance(episode, Episode):
        return next(replays([episode], env, **{"states": True, **options}))
    return list(replays(episode, env, **options))


def replays(  # noqa: PLR0913 - one argument a choice
    episodes: Iterable[Episode],
    env: Any,
    *,
    probe: Probe | None = None,
    env_params: Any = None,
    state: Any = None,
    action: Any = None,
    terminal: Callable[[Any, Any], Any] | None = None,
    mode: Mode = "auto",
    tolerance: float = TOLERANCE,
    probes: Mapping[str, Callable[[Any, Any, Any], Any]] | None = None,
    states: bool = False,
    batch: int | None = None,
) -> Iterator[Replay]:
    """As `replay`, one report after the other, in bounded memory.

    Args:
        episodes: the episodes; one that cannot be read gets a report that says so.
        env: as for `replay`.
        probe: what they were recorded with; default the one that suits the environment.
        env_params: passed on to the environment.
        state: an example state, where `env` is a step function.
        action: an example action, where it is neither an array nor a mapping.
        terminal: for a step function that resets by itself, as `wrap_step` takes it; what
            `wrap_step` made has its own.
        mode: `chain`, `step`, or `auto`: the chain, and where only real numbers drift in it, each
            step from its own recorded state.
        tolerance: for mode `step`, times `max(1, |value|)`.
        probes: functions `(state, action, next_state) -> array`, by name, whose values are added
            to the rebuilt episodes' `extras`.
        states: whether the reports hold the rebuilt episodes.
        batch: episodes stepped side by side; default by the size of a state.

    Raises:
        SpecError: when the arguments do not fit each other.
    """
    if mode not in ("auto", "chain", "step"):
        raise SpecError(f"mode: expected auto, chain or step, found {mode!r}")
    if not 0 <= tolerance < 1:
        raise SpecError(f"tolerance: expected a number from 0 to below 1, found {tolerance!r}")
    options = {
        "probe": probe, "env_params": env_params, "state": state, "action": action,
        "terminal": terminal, "added": probes,
    }  # fmt: skip
    for group in _groups(_readable(episodes), batch):
        if isinstance(group, Replay):
            yield group
            continue
        sim = simulator(env, sorted(group[0].actions), **options)
        reports = _reports(sim, group, mode, tolerance)
        yield from reports if states or probes else (replace(r, episode=None) for r in reports)


def with_frames(episode: Episode, env: Any, **options: Any) -> Episode:
    """An episode of which only actions were recorded, with its states; any other as it is.

    Args:
        episode: the episode.
        env: as for `replay`.
        options: `probe`, `env_params`, `state`, `action` and `terminal` of `replays`.

    Raises:
        StoreError: when it does not come out as its digests say.
    """
    if not actions_only(episode):
        return episode
    report = replay(episode, env, mode="chain", **options)
    if report.verdict != "exact" or report.episode is None:
        raise StoreError(
            f"{report}: expected the states that its digests tell of; give the environment that it "
            "was recorded in, with the same tasks, configuration and versions"
        )
    return report.episode


def _readable(episodes: Iterable[Episode]) -> Iterator[Episode | Replay]:
    """Each episode, or what keeps it from being read."""
    index = -1
    iterator = iter(episodes) if not isinstance(episodes, Sequence) else None
    while True:
        index += 1
        try:
            if iterator is not None:
                yield next(iterator)
            elif index < len(episodes):  # pyright: ignore[reportArgumentType]
                yield episodes[index]  # pyright: ignore[reportIndexIssue]
            else:
                return
        except StopIteration:
            return
        except StoreError as error:
            yield Replay(f"episode {index}", "unknown", notes=(f"damaged: {error}",))


def _groups(
    episodes: Iterable[Episode | Replay], batch: int | None
) -> Iterator[list[Episode] | Replay]:
    """Runs of neighbours that one program can step, in order."""
    held: list[Episode] = []
    for found in episodes:
        full = held and (isinstance(found, Replay) or not _alike(held, found, batch))
        if full:
            yield held
            held = []
        if isinstance(found, Replay):
            yield found
        elif found.dropped and actions_only(found):
            yield Replay(found.id, "unknown", notes=(_no_beginning(found),))
        elif len(found) == 0:
            yield Replay(found.id, "unknown", notes=(_nothing_kept(found),))
        else:
            held = [*held, found]
    if held:
        yield held


def _alike(held: Sequence[Episode], found: Episode, batch: int | None) -> bool:
    """Whether one more episode fits beside those held."""
    first = held[0]
    same = _layout(first) == _layout(found) and first.environment == found.environment
    if batch is not None:
        return same and len(held) < batch
    longest = max(len(found), *(len(episode) for episode in held)) + 1
    size = longest * sum(value[0].nbytes for value in found.states.values())
    return same and len(held) < MOST_AT_ONCE and (len(held) + 1) * size <= BATCH_BYTES


def _layout(episode: Episode) -> tuple[Any, ...]:
    parts = (episode.states, episode.actions, episode.constants)
    return tuple(
        sorted((name, str(value.dtype), value.shape[index != 2 :]) for name, value in part.items())
        for index, part in enumerate(parts)
    )


def actions_only(episode: Episode) -> bool:
    """Whether nothing but the first state, the actions and digests were recorded."""
    return any(name.startswith(START) for name in episode.constants)


def _no_beginning(episode: Episode) -> str:
    return (
        f"only actions were recorded, and its first {episode.dropped} are lost, so no state of it "
        "can be rebuilt; record with a larger max_steps"
    )


def _nothing_kept(episode: Episode) -> str:
    return (
        f"no transition was kept (level=minimal, or all {episode.dropped} were dropped), so there "
        "is nothing to step again; record with level=standard"
    )


def _reports(
    sim: Simulator, episodes: Sequence[Episode], mode: Mode, tolerance: float
) -> list[Replay]:
    """One report for each of several episodes of the same layout."""
    notes = facts_that_differ(sim, episodes[0])
    start = restored(sim, episodes)
    if start.problem:
        return [Replay(e.id, "unknown", notes=(start.problem, *notes)) for e in episodes]
    actions = {
        name: np.concatenate([_padded(e.actions[name], episodes) for e in episodes]).reshape(
            len(episodes), -1, *value.shape[1:]
        )
        for name, value in episodes[0].actions.items()
    }
    run = sim.run(start.leaves, actions, [len(e) for e in episodes])
    found = [
        _chained(episode, run.episode(i, len(episode)), start, i, notes)
        for i, episode in enumerate(episodes)
    ]
    if mode == "chain":
        return found
    return [
        _stepped(sim, episode, report, start, tolerance)
        if mode == "step" or _only_drifts(report)
        else report
        for episode, report in zip(episodes, found, strict=True)
    ]


def _padded(
    values: Shaped[np.ndarray, "T ..."], episodes: Sequence[Episode]
) -> Shaped[np.ndarray, "longest ..."]:
    missing = max(len(episode) for episode in episodes) - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])


def _chained(
    episode: Episode,
    run: Simulated,
    start: Restored,
    index: int,
    notes: Sequence[str],
) -> Replay:
    """The report of a chain from the first kept state."""
    summary = first_divergence(checks(episode, run, start.recreated(index, episode)))
    limits = (*_limits(episode), *assumed(episode, start), *notes)
    return _report(episode, run, summary, limits)


def _report(episode: Episode, run: Simulated, summary: Summary, notes: tuple[str, ...]) -> Replay:
    first = summary.first
    if first is not None:
        first = replace(first, cause=_cause(episode, run, first))
    return Replay(
        id=episode.id,
        verdict="exact" if first is None else "diverged",
        steps=len(episode),
        verified=len(episode) if first is None else max(first.step - 1, 0),
        first=first,
        largest=summary.largest,
        digests=episode.digests is not None,
        notes=notes,
        episode=rebuilt(episode, run),
    )


def _stepped(
    sim: Simulator, episode: Episode, chain: Replay, start: Restored, tolerance: float
) -> Replay:
    """The report of single steps, each from its own recorded state."""
    missing = sorted(set(sim.shapes) - set(episode.states))
    if missing:
        note = (
            f"single steps cannot be verified: the leaves {', '.join(missing)} were not recorded; "
            "record with level=full"
        )
        return replace(chain, notes=(*chain.notes, note))
    run = stepwise(sim, episode)
    summary = first_divergence(checks(episode, run, start.nothing), tolerance)
    report = _report(episode, run, summary, chain.notes)
    verdict: Verdict = "diverged" if summary.first else "close" if summary.largest else "exact"
    return replace(
        report,
        verdict=verdict,
        mode="step",
        tolerance=tolerance,
        drift=chain.largest,
        episode=chain.episode,
    )


def _only_drifts(report: Replay) -> bool:
    """Whether all that differs first in a chain are real numbers."""
    first = report.first
    if first is None or report.largest is None or first.step == 0:
        return False
    return all(leaf.leaf in report.largest for leaf in first.leaves)


def _limits(episode: Episode) -> Iterator[str]:
    if episode.dropped:
        yield (
            f"its first {episode.dropped} steps were not kept, so what led to step "
            f"{episode.dropped} cannot be verified"
        )
    if not episode.complete:
        yield "it was still running, so its end cannot be verified"


def _cause(episode: Episode, run: Simulated, first: Divergence) -> str:
    """What a divergence means, where it can be told."""
    names = [leaf.leaf for leaf in first.leaves]
    if names == ["digest"]:
        return "a leaf that was not recorded differs"
    digests = episode.digests
    if digests is None or first.step >= len(digests) or "digest" in names:
        return ""
    # Digests cover what is discrete, and say nothing of real numbers.
    if (
        all(name in episode.states and episode.states[name].dtype.kind in "biu" for name in names)
        and run.digests[first.step] == digests[first.step]
    ):
        return "its digest is that of the state found now, so the recorded values were changed"
    return ""
