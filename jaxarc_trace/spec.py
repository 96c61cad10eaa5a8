"""What to keep: one small immutable value, checked when it is built."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, get_args

from jaxarc_trace.errors import SpecError
from jaxarc_trace.triggers import Trigger

__all__ = ["Level", "Policy", "TraceSpec"]

Level = Literal["off", "minimal", "standard", "verbose", "full"]
Layout = Literal["auto", "batch", "lane"]
Record = Literal["frames", "actions"]
Score = Callable[[Any], Any]

TRIGGER = "trigger"
POLICIES = ("last", "first", "best", "worst", "random", "failed")
DEFAULT_SLOTS = 16


@dataclass(frozen=True)
class Policy:
    """One rule for choosing episodes, and how many it may keep.

    Attributes:
        name: `first`, `best`, `worst`, `random`, `failed`, or the name of a scoring function.
        slots: how many episodes it keeps.
        score: the scoring function of an episode's `Stats`, for a policy of the user's own.
    """

    name: str
    slots: int
    score: Score | None = None


@dataclass(frozen=True)
class TraceSpec:
    """What a trace keeps. Static and hashable, so that it can be closed over or be static in jit.

    Attributes:
        level: `off` records nothing; `minimal` a summary and the final frame of each episode;
            `standard` and `verbose` every transition (they differ in what is drawn); `full`
            every leaf of the state as well, raw.
        max_steps: transitions kept of one episode; of a longer one the last `max_steps`.
        slots: episodes kept by a policy other than `last`. Default 16; with a mapping in `keep`
            it is the sum of its counts.
        keep: a policy, a mapping of policies to slot counts, or a function of an episode's
            `Stats` to a score (larger is kept). `last` alone needs no slots: the ring is it.
            `trigger` is a black box: the ring, which stops around the step that `trigger` names.
        capacity: length of the ring, in steps a lane. Default and least: `2 * max_steps`, resp.
            `max_steps`; with `level="minimal"`, which has no ring of transitions, least 1.
        lanes: trace only the first so many lanes. Default: all.
        score: what `best` and `worst` rank by, instead of the return.
        recent: finished episodes a lane whose start and terminal state the ring remembers.
            Default `max(4, capacity // 32)`.
        layout: `batch` keeps one ring and one shelf for all lanes; `lane` a shelf in each lane,
            which also works under a `vmap` of the caller's. Default `auto`: `batch` where a lane
            axis is seen.
        seed: seed of the `random` policy.
        record: `frames` keeps the state before each action. `actions` keeps the state that an
            episode begins with, and of each step only the action, what came of it and a digest of
            the state; `load(path, env=...)` steps the environment again to get the frames back,
            so it is for environments that give the same bits again.
        trigger: with `keep="trigger"`, when the ring stops and how many steps it holds, which is
            its `capacity`. All lanes stop together; with `layout="lane"` each by itself.

    Raises:
        SpecError: on arguments that contradict each other, with what to change.
    """

    level: Level = "standard"
    max_steps: int = 128
    slots: int | None = None
    keep: Any = "best"
    capacity: int | None = None
    lanes: int | None = None
    score: Score | None = None
    recent: int | None = None
    layout: Layout = "auto"
    seed: int = 0
    record: Record = "frames"
    trigger: Trigger | None = None

    def __post_init__(self) -> None:
        """Checks every argument and stores `keep` in its canonical, hashable form."""
        set_field = object.__setattr__
        _choose("level", self.level, get_args(Level))
        _choose("layout", self.layout, get_args(Layout))
        _choose("record", self.record, get_args(Record))
        if self.record == "actions" and self.level == "minimal":
            raise SpecError(
                "level='minimal' keeps no step, so there is no action to record; leave record out, "
                "or use level='standard'"
            )
        set_field(self, "seed", _whole("seed", self.seed))
        set_field(self, "max_steps", _whole("max_steps", self.max_steps, least=1))
        for name in ("capacity", "lanes", "recent"):
            if getattr(self, name) is not None:
                set_field(self, name, _whole(name, getattr(self, name), least=1))
        policies = _policies("last" if _is_black_box(self) else self.keep, self.slots)
        set_field(self, "keep", policies)
        set_field(self, "slots", sum(policy.slots for policy in policies))
        least = self.max_steps if self.level != "minimal" else 1
        if self.trigger is not None:
            set_field(self, "capacity", self.trigger.steps)
            # An episode may take one step, and each of them has a start and an end.
            set_field(self, "recent", self.recent or self.trigger.steps)
        elif self.capacity is None:
            set_field(self, "capacity", 2 * self.max_steps)
        elif self.capacity < least:
            raise SpecError(
                f"capacity is the ring's length and must hold one whole episode: expected at "
                f"least max_steps = {self.max_steps}, found {self.capacity}; raise capacity or "
                "lower max_steps"
            )
        if self.recent is None:
            set_field(self, "recent", max(4, self.ring_steps // 32))
        if self.score is not None:
            _function("score", self.score)
        if self.score is not None and not {"best", "worst"} & set(self.policy_names):
            raise SpecError(
                f"score changes what best and worst rank by, but keep is {self.policy_names}; "
                "use keep='best', or give the function itself as keep"
            )

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies that fill the shelf."""
        return self.keep

    @property
    def policy_names(self) -> tuple[str, ...]:
        """Their names, in order; bit `i` of `kept_by` is the i-th, and `last` comes behind."""
        if self.trigger is not None:
            return (TRIGGER,)
        return tuple(policy.name for policy in self.policies)

    @property
    def shelf(self) -> int:
        """Slots of the shelf, over all policies."""
        return sum(policy.slots for policy in self.policies)

    @property
    def ring_steps(self) -> int:
        """Length of the ring in steps a lane."""
        return self.capacity or 2 * self.max_steps

    @property
    def recent_episodes(self) -> int:
        """Finished episodes a lane that the ring can give back whole."""
        return self.recent or max(4, self.ring_steps // 32)

    @property
    def records_steps(self) -> bool:
        """Whether transitions are kept, and not summaries alone."""
        return self.level not in ("off", "minimal")

    def memory(self, env: Any, num_lanes: int | None = None, **arguments: Any) -> dict[str, int]:
        """Bytes a trace of this spec takes on the device; nothing is allocated or compiled.

        Args:
            env: a Stoa environment, single or batched.
            num_lanes: lanes of the rollout, where `env` is a single environment.
            arguments: `probe` and `env_params`, as for `rollout`.

        Returns:
            `total`, `ring`, `recent`, `shelf`, `other`, and `record`, the bytes of one transition.
        """
        from jaxarc_trace.memory import measure

        return measure(self, env, num_lanes, **arguments)

    @classmethod
    def fit(
        cls, env: Any, budget: str | int, num_lanes: int | None = None, **fields: Any
    ) -> "TraceSpec":
        """The spec that keeps as much as fits into a memory budget.

        All lanes and the slots asked for, if they fit; otherwise fewer lanes, then fewer slots.

        Args:
            env: a Stoa environment, single or batched.
            budget: bytes, or a text such as `"64MiB"` or `"1.5 GB"`.
            num_lanes: lanes of the rollout, where `env` is a single environment.
            fields: the other fields of the spec; `probe` and `env_params` as for `rollout`.

        Raises:
            SpecError: when even one lane and one slot do not fit; the message says what would.
        """
        from jaxarc_trace.memory import fit

        return fit(cls, env, budget, num_lanes, **fields)

    def replace(self, **fields: Any) -> "TraceSpec":
        """A copy with other fields; checked again.

        `slots` alone resizes the only policy. `capacity` and `recent` follow the other fields
        where they had their defaults.
        """
        slots = fields.pop("slots", None)
        if slots is not None and "keep" not in fields and len(self.policies) == 1:
            fields["keep"] = (replace(self.policies[0], slots=slots),)
            slots = None
        black_box = self.trigger is not None
        if black_box and fields.get("trigger", self.trigger) is None:
            fields.setdefault("keep", "last")
        if black_box or self.capacity == 2 * self.max_steps:
            fields.setdefault("capacity", None)
        if self.recent == (self.ring_steps if black_box else max(4, self.ring_steps // 32)):
            fields.setdefault("recent", None)
        return replace(self, slots=slots, **fields)

    def describe(self) -> dict[str, Any]:
        """The spec as plain JSON; functions become their names."""
        trigger = {} if self.trigger is None else {"trigger": self.trigger.describe()}
        return {
            "level": self.level,
            "max_steps": self.max_steps,
            "keep": {policy.name: policy.slots for policy in self.policies},
            "capacity": self.capacity,
            "lanes": self.lanes,
            "score": getattr(self.score, "__name__", None),
            "recent": self.recent,
            "layout": self.layout,
            "seed": self.seed,
            "record": self.record,
            **trigger,
        }


def _is_black_box(spec: TraceSpec) -> bool:
    """Whether the ring stops at a trigger; refuses what contradicts that."""
    asked = isinstance(spec.keep, str) and spec.keep == TRIGGER
    trigger = spec.trigger
    if trigger is None:
        if asked:
            raise SpecError(
                "keep='trigger' needs to know when: give trigger=jt.Trigger(when=jt.triggers.nan)"
            )
        return False
    if not isinstance(trigger, Trigger):
        raise SpecError(f"trigger: expected a jt.Trigger, found {trigger!r}")
    if not asked and spec.keep != ():
        raise SpecError(
            f"trigger= belongs to keep='trigger', found keep={spec.keep!r}; a ring that stops "
            "fills no shelf, so leave the other policies out, or trigger"
        )
    if spec.level == "minimal" or spec.record == "actions":
        found = "level='minimal'" if spec.level == "minimal" else "record='actions'"
        raise SpecError(
            f"keep='trigger' keeps the steps around an event, found {found}, which keeps no "
            "states of them; leave it out"
        )
    if spec.capacity not in (None, trigger.steps):
        raise SpecError(
            f"capacity={spec.capacity} contradicts trigger, which keeps before + 1 + after = "
            f"{trigger.steps} steps; leave capacity out"
        )
    return True


def _choose(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value in allowed:
        return
    near = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SpecError(f"{name}: expected one of {', '.join(allowed)}, found {value!r}{hint}")


def _whole(name: str, value: Any, least: int | None = None) -> int:
    """`value` as a plain integer; NumPy's are accepted."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or (least is not None and value < least):
        expected = "a whole number" if least is None else f"a whole number of at least {least}"
        raise SpecError(f"{name}: expected {expected}, found {value!r}")
    return int(value)


def _function(name: str, value: Any) -> None:
    if not callable(value):
        raise SpecError(f"{name}: expected a function of an episode's Stats, found {value!r}")
    if type(value).__hash__ is None:
        raise SpecError(
            f"{name}: expected a hashable function, because a TraceSpec is static, found one of "
            f"{type(value).__name__}; give a plain function, or make it a frozen dataclass"
        )


def _policies(keep: Any, slots: Any) -> tuple[Policy, ...]:
    """The canonical form of `keep`: the policies that need slots."""
    if isinstance(keep, tuple) and keep and all(isinstance(item, Policy) for item in keep):
        return _together(tuple(_checked(policy) for policy in keep), slots)
    if isinstance(keep, Mapping):
        return _together(_from_mapping(keep), slots)
    if keep in ("last", ()):
        if slots not in (None, 0):
            raise SpecError(
                f"keep='last' is the ring itself and takes no slots, found slots={slots}; leave "
                "slots out, or choose how much is kept by capacity"
            )
        return ()
    count = DEFAULT_SLOTS if slots is None else _whole("slots", slots, least=1)
    return (_policy(keep, count),)


def _from_mapping(keep: Mapping[Any, Any]) -> tuple[Policy, ...]:
    if not keep:
        raise SpecError("keep: expected at least one policy, found none; say keep='last'")
    if keep.get("last") is not None:
        raise SpecError(
            f"keep: 'last' is the ring itself and takes no slots, found {keep['last']!r}; leave it "
            "out, since the ring is always there"
        )
    return tuple(_policy(name, count) for name, count in keep.items() if name != "last")


def _together(policies: tuple[Policy, ...], slots: Any) -> tuple[Policy, ...]:
    names = [policy.name for policy in policies]
    if len(set(names)) != len(names):
        raise SpecError(f"keep names a policy twice: {names}; give each function its own name")
    if len(policies) > 31:
        raise SpecError(f"keep: expected at most 31 policies, found {len(policies)}")
    total = sum(policy.slots for policy in policies)
    if slots not in (None, total):
        raise SpecError(
            f"slots={slots} contradicts keep, whose counts add up to {total}; leave slots out"
        )
    return policies


def _policy(keep: Any, slots: Any) -> Policy:
    if callable(keep):
        name = getattr(keep, "__name__", type(keep).__name__)
        return _checked(Policy(name, slots, keep))
    if not isinstance(keep, str):
        raise SpecError(
            "keep: expected the name of a policy, a mapping of policies to slot counts, or a "
            f"function of an episode's Stats, found {keep!r}"
        )
    return _checked(Policy(keep, slots))


def _checked(policy: Policy) -> Policy:
    """The same policy, after looking at each of its parts."""
    if policy.name == TRIGGER:
        raise SpecError(
            "keep: 'trigger' stops the ring and goes with no other policy; say keep='trigger', "
            "trigger=jt.Trigger(...)"
        )
    if policy.score is None:
        _choose("keep", policy.name, POLICIES)
    else:
        _function(f"keep, policy {policy.name!r}", policy.score)
        if policy.name in POLICIES:
            raise SpecError(
                f"keep: a scoring function may not be called {policy.name!r}, which is a policy; "
                "rename it"
            )
    if policy.name == "last":
        raise SpecError("keep: 'last' is the ring itself and takes no slots; leave it out")
    slots = _whole(f"slots of keep {policy.name!r}", policy.slots, least=1)
    return replace(policy, slots=slots)
