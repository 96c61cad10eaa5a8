"""The parts of a replay: states from recorded fields, what is compared, and the rebuilt episode."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxarc_trace.divergence import Check
from jaxarc_trace.episode import Episode
from jaxarc_trace.plan import START
from jaxarc_trace.simulate import Named, Simulated, Simulator

__all__ = [
    "Restored",
    "assumed",
    "checks",
    "facts_that_differ",
    "rebuilt",
    "restored",
    "stepwise",
]

# NumPy has a scalar of its own for a value without axes.
_Value = Shaped[np.ndarray, "..."] | np.generic
_STEP_BATCH = 256
_FACTS = ("name", "version", "task_ids", "max_episode_steps", "config")


@dataclass(frozen=True)
class Restored:
    """The states that several episodes begin with.

    Attributes:
        leaves: every leaf, `[episode, ...]`, by name.
        begun: what the environment's reset gives for their task and key, likewise; may be empty.
        assumed: leaves that nobody recorded and that are taken from a reset.
        problem: why the states cannot be put together; empty if they can.
    """

    leaves: Named = field(default_factory=dict)
    begun: Named = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    problem: str = ""

    nothing: Named = field(default_factory=dict, init=False)

    def recreated(self, index: int, episode: Episode) -> Named:
        """What one episode must have begun with; nothing where its start was dropped."""
        if episode.dropped:
            return {}
        return {name: value[index] for name, value in self.begun.items()}


def restored(sim: Simulator, episodes: Sequence[Episode]) -> Restored:
    """The first kept states of episodes of the same layout."""
    first = episodes[0]
    recorded = _first_fields(first)
    problem = _unlike(sim, recorded, first.environment.get("name"))
    if problem:
        return Restored(problem=problem)
    begun = sim.recreated(_stacked([_constants(episode) for episode in episodes])) or {}
    leaves: dict[str, Shaped[np.ndarray, "episode ..."]] = {}
    unknown: list[str] = []
    for name in sim.shapes:
        if name in recorded:
            leaves[name] = np.stack([_first_fields(episode)[name] for episode in episodes])
        elif name in begun:
            leaves[name] = begun[name]
        elif name in sim.beginning:
            value = sim.beginning[name]
            leaves[name] = np.broadcast_to(value, (len(episodes), *value.shape))
            unknown.append(name)
        else:
            return Restored(
                problem=f"the leaf {name!r} of the state was not recorded, and a step function "
                "alone does not say what it begins with; record with level=full"
            )
    return Restored(leaves, begun, tuple(unknown))


def _first_fields(episode: Episode) -> Mapping[str, _Value]:
    """The recorded fields of the first kept state."""
    held = {name: value[0] for name, value in episode.states.items()}
    starts = {n.removeprefix(START): v for n, v in episode.constants.items() if n.startswith(START)}
    return {**held, **starts}


def _constants(episode: Episode) -> Mapping[str, _Value]:
    """What does not change; with level=full it lies among the states."""
    held = {n.removeprefix(START): v for n, v in episode.constants.items()}
    return held or {n: v[0] for n, v in episode.states.items()}


def _stacked(
    values: Sequence[Mapping[str, _Value]],
) -> dict[str, Shaped[np.ndarray, "episode ..."]]:
    return {name: np.stack([value[name] for value in values]) for name in values[0]}


def _unlike(sim: Simulator, recorded: Mapping[str, _Value], environment: str | None) -> str:
    """Why the recorded fields cannot be a state of this environment; empty if they can."""
    known = [name for name in recorded if name in sim.shapes]
    given = sim.probe.describe().get("name")
    named = bool(environment and given) and environment != given
    # What a probe computed is no leaf; of an environment of another name it is none of its.
    if not known or (named and len(known) < len(recorded)):
        other = [name for name in sorted(recorded) if name not in known]
        return (
            f"recorded in another environment: its fields {', '.join(other[:6])} are "
            f"none of the leaves {', '.join(list(sim.shapes)[:6])} that this one's state has"
        )
    for name in known:
        struct, value = sim.shapes[name], recorded[name]
        if struct.shape != value.shape or np.dtype(struct.dtype) != value.dtype:
            return (
                f"recorded with other shapes: field {name!r} is {value.dtype} {list(value.shape)}, "
                f"this environment's is {np.dtype(struct.dtype)} {list(struct.shape)}"
            )
    return ""


def assumed(episode: Episode, start: Restored) -> Iterator[str]:
    """What the leaves that were not recorded mean for the answer."""
    if start.assumed:
        yield f"the leaves {', '.join(start.assumed)} were not recorded and are taken from a reset"
    hidden = [n for n in start.begun if n not in _first_fields(episode)]
    if episode.dropped and hidden:
        yield (
            f"the leaves {', '.join(hidden)} were not recorded, and without its start are taken "
            "as after a reset; the digests tell whether that is so"
        )


def facts_that_differ(sim: Simulator, episode: Episode) -> tuple[str, ...]:
    """How this environment describes itself otherwise than the recorded one did."""
    given, recorded = sim.probe.describe(), episode.environment
    found: list[str] = []
    for name in _FACTS:
        if name not in recorded or name not in given or recorded[name] == given[name]:
            continue
        if isinstance(given[name], Mapping) and isinstance(recorded[name], Mapping):
            one, other = recorded[name], given[name]
            found += [
                f"{name}.{k}: recorded {one.get(k)!r}, given {other.get(k)!r}"
                for k in sorted({*one, *other})
                if one.get(k) != other.get(k)
            ]
        else:
            found.append(f"{name}: recorded {_short(recorded[name])}, given {_short(given[name])}")
    return tuple(found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def checks(episode: Episode, run: Simulated, begun: Named) -> Iterator[Check]:
    """Everything that was recorded of an episode, beside what came out."""
    found = {**run.leaves, **run.fields}
    for name, value in _first_fields(episode).items():
        # The state it must have begun with, by its task and key.
        if name in begun:
            yield Check(f"{name}", "state", np.asarray(value)[None], begun[name][None], 0)
    for name, value in episode.states.items():
        if name in found:
            yield Check(name, "state", value, found[name], 0)
    for name, value in episode.extras.items():
        if f"extra.{name}" in run.steps:
            yield Check(f"extra.{name}", "extra", value, run.steps[f"extra.{name}"], 1)
    for name in ("reward", "terminated", "truncated"):
        recorded = episode.rewards if name == "reward" else getattr(episode, name)
        yield Check(name, name, recorded, run.steps[name].astype(recorded.dtype), 1)
    if "digest" in episode.states and any(n.startswith(START) for n in episode.constants):
        yield Check("digest", "digest", episode.states["digest"], run.digests, 0)
    elif episode.digests is not None:
        yield Check("digest", "digest", episode.digests, run.digests[: len(episode)], 0)


def stepwise(sim: Simulator, episode: Episode) -> Simulated:
    """Each transition from its own recorded state, as if it were one run."""
    parts: list[Simulated] = []
    for start in range(0, len(episode), _STEP_BATCH):
        rows = slice(start, min(start + _STEP_BATCH, len(episode)))
        states = {name: episode.states[name][rows] for name in sim.shapes}
        actions = {name: value[rows, None] for name, value in episode.actions.items()}
        count = rows.stop - rows.start
        parts.append(sim.run(states, actions, [1] * count))
    counts = [min(_STEP_BATCH, len(episode) - i * _STEP_BATCH) for i in range(len(parts))]

    def after(name: str, which: str) -> Shaped[np.ndarray, "states ..."]:
        values = [getattr(part, which)[name] for part in parts]
        first = values[0][:1, 0]
        return np.concatenate([first, *(v[:n, 1] for v, n in zip(values, counts, strict=True))])

    def flat(name: str, which: str) -> Shaped[np.ndarray, "T ..."]:
        values = [getattr(part, which)[name] for part in parts]
        return np.concatenate([v[:n, 0] for v, n in zip(values, counts, strict=True)])

    before = [part.digests[:n, 0] for part, n in zip(parts, counts, strict=True)]
    last = parts[-1].digests[counts[-1] - 1 : counts[-1], 1]
    return Simulated(
        leaves={name: after(name, "leaves") for name in parts[0].leaves},
        fields={name: after(name, "fields") for name in parts[0].fields},
        # Of the recorded states themselves, which is what each record's digest must be.
        digests=np.concatenate([*before, last]),
        steps={name: flat(name, "steps") for name in parts[0].steps},
        added={name: flat(name, "added") for name in parts[0].added},
    )


def rebuilt(episode: Episode, run: Simulated) -> Episode:
    """The episode with every leaf of every state as it came out, and what was added."""
    constants = {n: v for n, v in episode.constants.items() if not n.startswith(START)}
    return replace(
        episode,
        states={**run.fields, **run.leaves},
        constants=constants,
        extras={**episode.extras, **run.added},
        digests=run.digests[: len(episode)],
    )
