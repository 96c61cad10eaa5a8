"""What a trace must hold, worked out in NumPy from all that happened.

`History` is every transition of every lane, as an untraced program gives it. `expected` says
which of its episodes a trace keeps, and how much of each; `check` compares a recording with that,
transition by transition.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxarc_trace as jt
from jaxarc_trace.recording import decode
from jaxarc_trace.stats import _random_bits

SOLVED = 2


@dataclass(frozen=True)
class History:
    """Every transition, arrays `[step, lane, ...]`.

    Attributes:
        before: fields of the states before the actions, by name.
        after: fields of the true states after them.
        action: int32.
        reward: float32.
        terminated: bool.
        truncated: bool.
        lane: int `[lane]`, identities of the lanes.
        began: int `[lane]`, the first step of each; what is before it means nothing.
    """

    before: Mapping[str, np.ndarray]
    after: Mapping[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    lane: np.ndarray
    began: np.ndarray

    def until(self, steps: int) -> "History":
        """The first steps."""
        return self._map(lambda array: array[:steps])

    def lanes(self, stop: int, start: int = 0) -> "History":
        """Some of the lanes."""
        part = self._map(lambda array: array[:, start:stop])
        return replace(part, lane=self.lane[start:stop], began=self.began[start:stop])

    def beside(self, other: "History") -> "History":
        """Both, so that they end at the same step; the shorter begins later."""
        steps = max(len(self.action), len(other.action))
        left, right = self._delayed(steps), other._delayed(steps)

        def join(name: str, axis: int) -> Any:
            ours, theirs = getattr(left, name), getattr(right, name)
            if isinstance(ours, Mapping):
                return {key: np.concatenate([ours[key], theirs[key]], axis) for key in ours}
            return np.concatenate([ours, theirs], axis)

        names = self.__dict__
        return History(**{name: join(name, int(name not in ("lane", "began"))) for name in names})

    def _delayed(self, steps: int) -> "History":
        by = steps - len(self.action)

        def padded(array: np.ndarray) -> np.ndarray:
            return np.concatenate([np.zeros((by, *array.shape[1:]), array.dtype), array])

        return replace(self._map(padded), began=self.began + by)

    def _map(self, function: Any) -> "History":
        arrays = {}
        for name, value in self.__dict__.items():
            if isinstance(value, Mapping):
                arrays[name] = {key: function(array) for key, array in value.items()}
            else:
                arrays[name] = value if name in ("lane", "began") else function(value)
        return History(**arrays)

    def episodes(self) -> list["Past"]:
        """All episodes, those under way at the end included."""
        found = []
        steps = len(self.action)
        over = self.terminated | self.truncated
        for column in range(len(self.lane)):
            ends = [*np.flatnonzero(over[:, column]), steps - 1]
            start = int(self.began[column])
            for number, end in enumerate(ends):
                if end >= start:
                    found.append(self._episode(column, number, start, int(end)))
                start = int(end) + 1
        return found

    def total(self, column: int, start: int, stop: int) -> np.float32:
        """The sum of some rewards of a lane, in the order and the type of the device."""
        total = np.float32(0)
        with np.errstate(over="ignore", invalid="ignore"):
            for reward in self.reward[start:stop, column]:
                total = np.float32(total + reward)
        return total

    def _episode(self, column: int, number: int, start: int, end: int) -> "Past":
        done = bool(self.terminated[end, column] or self.truncated[end, column])
        return Past(
            column=column,
            lane=int(self.lane[column]),
            number=number,
            start=start,
            end=end,
            complete=done,
            total_return=self.total(column, start, end + 1),
            mark=self.before["row.mark"][start, column],
            terminated=bool(self.terminated[end, column]),
            truncated=bool(self.truncated[end, column]),
            solved=bool(self.terminated[end, column])
            and int(self.before["row.kind"][end, column]) == SOLVED,
        )


@dataclass(frozen=True)
class Past:
    """One episode of a history: where it lies, and its summary."""

    column: int
    lane: int
    number: int
    start: int
    end: int
    complete: bool
    total_return: np.float32
    mark: np.float32
    terminated: bool
    truncated: bool
    solved: bool

    @property
    def length(self) -> int:
        return self.end - self.start + 1

    @property
    def identity(self) -> tuple[int, int]:
        return self.lane, self.number


@dataclass
class Kept:
    """What a trace keeps of an episode."""

    past: Past
    kept: int
    length: int
    by: set[str]


def expected(
    spec: jt.TraceSpec, history: History, *, per_lane: bool = False, framed: bool = True
) -> dict[tuple[int, int], Kept]:
    """What a trace of that spec holds after that history, by (lane, number).

    Args:
        spec: what to keep.
        history: all that happened in the traced lanes.
        per_lane: whether each lane has a shelf of its own, and none a ring.
        framed: whether the states at the end are known.
    """
    pasts = history.episodes()
    finished = [past for past in pasts if past.complete]
    groups = [[p for p in finished if p.lane == lane] for lane in history.lane.tolist()]
    found: dict[tuple[int, int], Kept] = {}
    for group in groups if per_lane else [finished]:
        for name, past in chosen(spec, group, per_lane=per_lane):
            _add(found, past, min(past.length, spec.max_steps), past.length, name, spec)
    oldest = len(history.action) - spec.ring_steps
    for past in [] if per_lane else [p for g in groups for p in g[-spec.recent_episodes :]]:
        kept = min(past.length, spec.max_steps, past.end - oldest + 1)
        _add(found, past, kept, past.length, "last", spec)
    for past in pasts:
        if past.complete or (not framed and not spec.records_steps):
            continue
        length = past.length - (not framed)
        # Of a lane's own slot the unfinished transition has taken one row.
        room = spec.max_steps - (per_lane and not framed)
        kept = min(length, room if per_lane else min(spec.max_steps, past.end - oldest + framed))
        _add(found, past, kept, length, "last", spec)
    return found


def chosen(
    spec: jt.TraceSpec, finished: list[Past], *, per_lane: bool = False
) -> list[tuple[str, Past]]:
    """What each policy keeps of the finished episodes: of equals the older, then the lower lane."""
    if not spec.policies:
        count = max(1, spec.ring_steps // spec.max_steps)
        return [("last", past) for past in finished[-count:]] if per_lane else []
    return [
        (policy.name, past)
        for policy in spec.policies
        for past in sorted(
            (p for p in finished if policy.name != "failed" or not p.solved),
            key=lambda past, policy=policy: (_rank(spec, policy, past), past.end, past.lane),
        )[: policy.slots]
    ]


def _rank(spec: jt.TraceSpec, policy: jt.Policy, past: Past) -> tuple[bool, float]:
    """Smaller is kept; NaN counts as the worst there is, for a policy of the user's own as well."""
    if policy.name == "first":
        return False, past.end
    if policy.name == "failed":
        return False, -past.end
    if policy.name == "random":
        return False, -int(draws(spec.seed)[past.lane, past.number])
    marked = policy.score is not None or spec.score is not None
    value = float(past.mark if marked else past.total_return)
    if policy.name == "worst":
        return not math.isnan(value), 0.0 if math.isnan(value) else value
    return math.isnan(value), 0.0 if math.isnan(value) else -value


_DRAWS: dict[int, np.ndarray] = {}


def draws(seed: int, lanes: int = 64, episodes: int = 128) -> np.ndarray:
    """uint32 `[lane, episode]`: the random policy's priorities; their use is what is tested."""
    if seed not in _DRAWS:
        lane, number = jnp.meshgrid(jnp.arange(lanes), jnp.arange(episodes), indexing="ij")
        bits = _random_bits(seed, lane.astype(jnp.uint32), number.astype(jnp.uint32))
        _DRAWS[seed] = np.asarray(bits)
    return _DRAWS[seed]


def _add(
    found: dict[tuple[int, int], Kept],
    past: Past,
    kept: int,
    length: int,
    name: str,
    spec: jt.TraceSpec,
) -> None:
    kept = kept if spec.records_steps else 0
    if kept <= 0 and spec.records_steps:
        return
    entry = found.setdefault(past.identity, Kept(past, kept, length, set()))
    entry.kept = max(entry.kept, kept)
    entry.by.add(name)


def check(
    recording: jt.Recording,
    spec: jt.TraceSpec,
    history: History,
    *,
    per_lane: bool = False,
    framed: bool = True,
) -> None:
    """Asserts that a recording is what the history asks for, and nothing else."""
    wanted = expected(spec, history, per_lane=per_lane, framed=framed)
    columns = recording.columns
    found = list(zip(columns["lane"].tolist(), columns["number"].tolist(), strict=True))
    assert found == sorted(wanted)
    for index, identity in enumerate(found):
        row = {name: column[index] for name, column in columns.items()}
        _check_row(row, wanted[identity], recording.policies)
        _check_return(row["total_return"], wanted[identity], history)
        _check_transitions(recording, index, wanted[identity], history)
    finished = [past for past in history.episodes() if past.complete]
    failed = sum(not past.solved for past in finished)
    assert recording.spec["episodes_seen"] == len(finished)
    assert recording.spec["steps_seen"] == len(history.action)
    assert {name: recording.spec["eligible"][name] for name in spec.policy_names} == {
        name: failed if name == "failed" else len(finished) for name in spec.policy_names
    }


def _check_row(row: Mapping[str, Any], kept: Kept, policies: tuple[str, ...]) -> None:
    past = kept.past
    by = {name for bit, name in enumerate(policies) if int(row["kept_by"]) >> bit & 1}
    assert by == kept.by, past
    assert int(row["kept"]) == kept.kept, past
    assert int(row["dropped"]) == kept.length - kept.kept, past
    assert bool(row["complete"]) == past.complete, past
    assert bool(row["terminated"]) == past.terminated, past
    assert bool(row["truncated"]) == past.truncated, past
    assert int(row["success"]) == (int(past.solved) if past.complete else -1), past
    assert int(row["end_step"]) == past.start + kept.length - 1, past
    for which in ("final", "best"):
        assert same_bits(row[f"metric.mark_{which}"], past.mark), past
        assert float(row[f"metric.time_{which}"]) == kept.length, past


def _check_return(found: np.ndarray, kept: Kept, history: History) -> None:
    past = kept.past
    total = history.total(past.column, past.start, past.start + kept.length)
    if kept.length in (past.length, kept.kept):
        assert same_bits(found, total), past
    elif np.isfinite(past.total_return):
        # The last reward is taken back from a sum whose first rewards are gone.
        assert np.isclose(found, total, rtol=1e-5, atol=1e-5), past


def _check_transitions(recording: jt.Recording, index: int, kept: Kept, history: History) -> None:
    row = {name: column[index] for name, column in recording.columns.items()}
    episode = decode(recording.schema, recording.read(index), row)
    column, stop = kept.past.column, kept.past.start + kept.length
    steps = slice(stop - kept.kept, stop)
    states = {name.removeprefix("episode."): value for name, value in episode.states.items()}
    for name, before in history.before.items():
        final = history.after[name][stop - 1, column]
        assert same_bits(states[name], np.concatenate([before[steps, column], final[None]])), name
    if recording.schema.step.fields:
        assert same_bits(episode.actions["action"], history.action[steps, column])
        assert same_bits(episode.rewards, history.reward[steps, column])
        assert same_bits(episode.terminated, history.terminated[steps, column])
        assert same_bits(episode.truncated, history.truncated[steps, column])
    else:
        assert len(episode) == 0


def same_bits(left: Any, right: Any) -> bool:
    """Equal in dtype, shape and every bit, except that all NaNs are one."""
    left, right = np.asarray(left), np.asarray(right)
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind == "f":
        left, right = (np.where(np.isnan(x), np.float32(np.nan), x) for x in (left, right))
    return left.tobytes() == right.tobytes()
