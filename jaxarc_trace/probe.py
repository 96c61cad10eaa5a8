"""What one transition of an environment is: the only thing capture asks of an environment.

A probe turns an environment's own objects into named arrays. All its methods are pure, are
called under jit, and see whatever leading axes the arrays have (a lane axis, or none); they
select and rename, they do not reduce.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Real, Shaped

from jaxarc_trace.codec import Encoding
from jaxarc_trace.errors import SchemaError

__all__ = ["GenericProbe", "Outcome", "Probe", "leaf_names", "named_leaves", "plain_leaves"]

# Stoa's StepType; see stoa.env_types.
TERMINATED, TRUNCATED = 2, 3


class Outcome(NamedTuple):
    """What came of one step.

    Attributes:
        reward: real `[*lanes]`.
        terminated: bool `[*lanes]`; the environment ended the episode.
        truncated: bool `[*lanes]`; a limit ended it.
        extras: whatever else is worth keeping, by name, each `[*lanes, ...]`.
    """

    reward: Real[Array, "*lanes"]
    terminated: Bool[Array, "*lanes"]
    truncated: Bool[Array, "*lanes"]
    extras: Mapping[str, Shaped[Array, "..."]] = {}


@runtime_checkable
class Probe(Protocol):
    """How to look at one environment. See `GenericProbe` for one that suits most."""

    @property
    def encodings(self) -> Mapping[str, Encoding]:
        """Encodings of fields that need not be kept raw, by field name."""
        ...

    def constants(self, state: Any) -> Mapping[str, Shaped[Array, "..."]]:
        """State fields that do not change within an episode."""
        ...

    def state(self, state: Any) -> Mapping[str, Shaped[Array, "..."]]:
        """State fields that do."""
        ...

    def carried(self, state: Any) -> Any:
        """The pytree whose discrete leaves the digest of a state covers."""
        ...

    def metrics(self, state: Any) -> Mapping[str, Real[Array, "*lanes"]]:
        """Scalars whose last and largest value the summary of an episode keeps, float32.

        At the first step of a rollout it is also computed of states of zeros, and not used.
        """
        ...

    def success(
        self, state: Any, terminated: Bool[Array, "*#lanes"]
    ) -> Bool[Array, "*#lanes"] | None:
        """bool: whether an episode that ended in this state reached its goal; None if undefined.

        It is computed of every lane, and used where an episode ended.
        """
        ...

    def action(self, action: Any) -> Mapping[str, Shaped[Array, "..."]]:
        """Leaves of an action."""
        ...

    def outcome(self, result: Any, action: Any) -> Outcome:
        """What came of a step, from what `step` returned beside the next state."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-like facts for the reader: name, versions, roles of fields."""
        ...


@dataclass(frozen=True)
class GenericProbe:
    """Records every leaf of any environment's state, by its path in the pytree.

    `step` may return a Stoa `TimeStep`, or a mapping or object with `reward` and `terminated` or
    `done`, and `truncated` if a limit can end episodes. `done` is either of the two.

    Attributes:
        name: the environment's name, shown with its episodes; empty where it has none.
        encodings: declared integer ranges, by field name; everything else is kept raw.
        skip: fields that are not recorded, by name or prefix.
        constant: fields that do not change within an episode, by name.
        goal: `goal(state, terminated) -> bool [*lanes]`, what success means here.
        facts: more facts for `describe`.

    Its methods raise `SchemaError` where `encodings`, `skip` or `constant` name nothing that is
    there, with the nearest name that is.
    """

    name: str = ""
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    goal: Any = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        """So that a probe can be a static argument of jit; equal probes have equal hashes."""
        encodings = tuple(sorted(self.encodings.items(), key=lambda item: item[0]))
        facts = json.dumps(self.facts, sort_keys=True, default=str)
        return hash((type(self), self.name, encodings, self.skip, self.constant, self.goal, facts))

    def constants(self, state: Any) -> dict[str, Shaped[Array, "..."]]:
        """Leaves named in `constant`."""
        return {k: v for k, v in self._recorded(state).items() if k in self.constant}

    def state(self, state: Any) -> dict[str, Shaped[Array, "..."]]:
        """All other leaves."""
        return {k: v for k, v in self._recorded(state).items() if k not in self.constant}

    def carried(self, state: Any) -> Any:
        """The whole state."""
        return state

    def metrics(self, state: Any) -> dict[str, Real[Array, "*lanes"]]:
        """None."""
        del state
        return {}

    def success(
        self, state: Any, terminated: Bool[Array, "*#lanes"]
    ) -> Bool[Array, "*#lanes"] | None:
        """What `goal` says."""
        return None if self.goal is None else self.goal(state, terminated)

    def action(self, action: Any) -> dict[str, Shaped[Array, "..."]]:
        """The leaves of the action; a bare array is called `action`."""
        leaves = named_leaves(action, root="action")
        asked = [name for name in self.encodings if name.startswith("action.")]
        _refuse_unknown("encodings", asked, [f"action.{name}" for name in leaves])
        return leaves

    def outcome(self, result: Any, action: Any) -> Outcome:
        """Reward and flags from a `TimeStep`, a mapping or an object."""
        del action
        return outcome_of(result)

    def describe(self) -> dict[str, Any]:
        """The name, where there is one, and the facts given."""
        return {**({"name": self.name} if self.name else {}), **self.facts}

    def _recorded(self, state: Any) -> dict[str, Shaped[Array, "..."]]:
        leaves = named_leaves(state, root="state")
        _refuse_unknown("constant", self.constant, leaves)
        asked = [name for name in self.encodings if not name.startswith(("action.", "extra."))]
        _refuse_unknown("encodings", asked, [*leaves, *_OF_STEPS])
        unused = [name for name in self.skip if not any(leaf.startswith(name) for leaf in leaves)]
        _refuse_unknown("skip", unused, leaves)
        return {k: v for k, v in leaves.items() if not k.startswith(self.skip or ("\0",))}


_OF_STEPS = ("reward", "terminated", "truncated")


def _refuse_unknown(what: str, asked: Iterable[str], known: Iterable[str]) -> None:
    """A name that is nobody's would otherwise do nothing, silently."""
    known = list(known)
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            nearest = f"; nearest: {near[0]!r}" if near else ""
            raise SchemaError(
                f"GenericProbe({what}=...): {name!r} is no field; expected of "
                f"{', '.join(known) or 'none'}{nearest}"
            )


def named_leaves(tree: Any, root: str) -> dict[str, Shaped[Array, "..."]]:
    """The array leaves of a pytree by dotted path, wrapper levels of Stoa left out of the path.

    Args:
        tree: any pytree; PRNG keys become their key data.
        root: the name of a tree that is a bare array.
    """
    leaves = dict(zip(leaf_names(tree, root), jax.tree.leaves(tree), strict=True))
    return plain_leaves(leaves)


def leaf_names(tree: Any, root: str) -> list[str]:
    """The names that `named_leaves` gives, in the order of the leaves."""
    names: list[str] = []
    for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or root
        name = name.replace("base_env_state.", "")
        number = len(names)
        while name in names:
            name, number = f"{name}.{number}", number + 1
        names.append(name)
    return names


def plain_leaves(leaves: Mapping[str, Any]) -> dict[str, Shaped[Array, "..."]]:
    """The same leaves as plain arrays: Python scalars become arrays, PRNG keys their key data."""

    def plain(leaf: Any) -> Shaped[Array, "..."]:
        array = leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)
        is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(array) if is_key else array

    return {name: plain(leaf) for name, leaf in leaves.items()}


def outcome_of(result: Any) -> Outcome:
    """Reward and flags of what a step returned.

    Raises:
        SchemaError: when there is no reward, or nothing says whether the episode ended.
    """
    read = result.get if isinstance(result, Mapping) else lambda name: getattr(result, name, None)
    reward, step_type = read("reward"), read("step_type")
    if reward is not None and step_type is not None:
        return Outcome(reward, step_type == TERMINATED, step_type == TRUNCATED)
    terminated, truncated, done = read("terminated"), read("truncated"), None
    if terminated is None:
        terminated = done = read("done")
    if reward is None or terminated is None or callable(terminated):
        raise SchemaError(
            "a step must return (next_state, outcome) where the outcome is a Stoa TimeStep, or "
            "has `reward` and `terminated` (or `done`); found "
            f"{type(result).__name__}; return such a mapping, or write a probe with `outcome`"
        )
    reward = jnp.asarray(reward)
    terminated = jnp.asarray(terminated).astype(jnp.bool_)
    if truncated is None:
        return Outcome(reward, terminated, jnp.zeros_like(terminated))
    truncated = jnp.asarray(truncated).astype(jnp.bool_)
    return Outcome(reward, terminated if done is None else terminated & ~truncated, truncated)
