"""Steps an environment again, from recorded fields: the programs behind replay.

A state is put together by the names of its leaves, which are the names of the recorded fields. One
jitted program steps many episodes side by side, padded to one length; what lies behind the end of
an episode means nothing. What is made of the results belongs to `replay`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, Shaped, UInt32

from jaxarc_trace.digest import digest
from jaxarc_trace.errors import SpecError
from jaxarc_trace.probe import GenericProbe, Probe, leaf_names, named_leaves, plain_leaves
from jaxarc_trace.probes import default_probe, sampled_action
from jaxarc_trace.wrap import TracedStep

__all__ = ["Simulated", "Simulator", "simulator"]

Named = Mapping[str, Shaped[np.ndarray, "..."]]
Added = Callable[[Any, Any, Any], Any]
_KEPT_PROGRAMS = 4
_SHORTEST = 8


@dataclass(frozen=True)
class Simulated:
    """What came of stepping, `[episode, ...]` on the host.

    Attributes:
        leaves: every leaf of every state, `[episode, T + 1, ...]`, by name.
        fields: what the probe makes of each state, likewise, where that is no leaf.
        digests: uint32 `[episode, T + 1]`.
        steps: `reward`, `terminated`, `truncated` and `extra.<name>`, `[episode, T, ...]`.
        added: what the caller's own functions gave, `[episode, T, ...]`.
    """

    leaves: Named
    fields: Named
    digests: UInt32[np.ndarray, "*episode states"]
    steps: Named
    added: Named

    def episode(self, index: int, length: int) -> "Simulated":
        """One of the episodes, cut to its length and without the leading axis."""

        def cut(values: Named, count: int) -> dict[str, Shaped[np.ndarray, "..."]]:
            return {name: value[index, :count] for name, value in values.items()}

        return Simulated(
            cut(self.leaves, length + 1),
            cut(self.fields, length + 1),
            self.digests[index, : length + 1],
            cut(self.steps, length),
            cut(self.added, length),
        )


@dataclass(frozen=True, eq=False)
class Simulator:
    """An environment as pure functions of named fields.

    Attributes:
        env: what the caller gave.
        step: `(state, action) -> (next_state, result)` of one environment.
        probe: how to look at it.
        params: the environment's parameters, or None.
        state: `jax.ShapeDtypeStruct`s of a state.
        action: likewise of an action, or None where the names of its leaves say enough.
        reset: `key -> state`, or None.
        added: the caller's own functions of state, action and next state.
    """

    env: Any
    step: Callable[[Any, Any], tuple[Any, Any]]
    probe: Probe
    params: Any
    state: Any
    action: Any = None
    reset: Callable[[PRNGKeyArray], Any] | None = None
    added: Mapping[str, Added] = field(default_factory=dict)

    @functools.cached_property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each leaf of a state, by name; keys as their key data."""
        return jax.eval_shape(lambda state: named_leaves(state, root="state"), self.state)

    @functools.cached_property
    def beginning(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """The leaves of a state after a reset with a fixed key: for those that nobody recorded."""
        if self.reset is None:
            return {}
        leaves = jax.jit(lambda key: named_leaves(self._began(key), root="state"))
        return jax.tree.map(np.asarray, leaves(jax.random.key(0)))

    def recreated(self, constants: Named) -> dict[str, Shaped[np.ndarray, "episode ..."]] | None:
        """The leaves of the states that episodes began with, `[episode, ...]`.

        Args:
            constants: what is constant in each episode, `[episode, ...]`.

        Returns:
            What the environment's reset gives for them; None where its probe does not know.
        """
        if not hasattr(self.probe, "beginning"):
            return None
        found = self._recreate(dict(constants))
        return None if found is None else jax.tree.map(np.asarray, found)

    @functools.cached_property
    def _recreate(self) -> Callable[[Any], Any]:
        def one(constants: Any) -> Any:
            begun = self.probe.beginning(self.env, self.params, constants)  # pyright: ignore[reportAttributeAccessIssue]
            return None if begun is None else named_leaves(begun, root="state")

        return jax.jit(jax.vmap(one))

    def run(self, starts: Named, actions: Named, lengths: Sequence[int]) -> Simulated:
        """Takes the actions of several episodes one after the other, each from its start.

        Args:
            starts: every leaf of the states they begin with, `[episode, ...]`, by name.
            actions: leaves of the actions, `[episode, T, ...]`, padded to the longest.
            lengths: transitions of each.
        """
        count, longest = len(lengths), max(lengths)
        lanes, steps = _rounded(count, 1), _rounded(longest, 1 if longest == 1 else _SHORTEST)
        state = self.assembled({name: _grown(value, lanes, 0) for name, value in starts.items()})
        action = self.acted(
            {name: _grown(_grown(v, lanes, 0), steps, 1) for name, v in actions.items()}
        )
        looks, seen, added = jax.device_get(self._chains(state, action))
        leaves, fields, digests = looks
        return Simulated(leaves, fields, digests, seen, added)

    @functools.cached_property
    def _chains(self) -> Callable[[Any, Any], Any]:
        return jax.jit(jax.vmap(self.chain))

    def chain(self, start: Any, actions: Any) -> Any:
        """One episode: what `Simulated` holds, without the leading axis. Pure."""

        def body(state: Any, action: Any) -> tuple[Any, Any]:
            after, result = self.step(state, action)
            after = jax.tree.map(_as, after, self.state)
            outcome = self.probe.outcome(result, action)
            seen = {f"extra.{name}": v for name, v in plain_leaves(outcome.extras).items()}
            seen["reward"] = jnp.asarray(outcome.reward)
            seen["terminated"] = jnp.asarray(outcome.terminated).astype(jnp.bool_)
            seen["truncated"] = jnp.asarray(outcome.truncated).astype(jnp.bool_)
            added = {name: function(state, action, after) for name, function in self.added.items()}
            return after, (self._look(after), seen, added)

        _, (looks, seen, added) = jax.lax.scan(body, start, actions)
        first = self._look(start)
        looks = jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, looks)
        return looks, seen, added

    def _look(self, state: Any) -> tuple[Any, Any, UInt32[Array, ""]]:
        leaves = named_leaves(state, root="state")
        fields = {
            **plain_leaves(self.probe.constants(state)),
            **plain_leaves(self.probe.state(state)),
        }
        # Most fields are leaves, and are not brought to the host twice.
        own = {name: value for name, value in fields.items() if value is not leaves.get(name)}
        return leaves, own, digest(self.probe.carried(state))

    def assembled(self, values: Named) -> Any:
        """States `[*lead, ...]` from all of their leaves by name."""
        structs, treedef = jax.tree.flatten(self.state)
        leaves = [
            _wrapped(jnp.asarray(values[name]), struct)
            for name, struct in zip(leaf_names(self.state, "state"), structs, strict=True)
        ]
        return jax.tree.unflatten(treedef, leaves)

    def acted(self, values: Named) -> Any:
        """Actions `[*lead, ...]` from their leaves by name."""
        template = self.action
        if template is None:
            return _nested({name: jnp.asarray(value) for name, value in values.items()})
        structs, treedef = jax.tree.flatten(template)
        names = leaf_names(template, "action")
        return jax.tree.unflatten(
            treedef,
            [
                _wrapped(jnp.asarray(values[name]), struct)
                for name, struct in zip(names, structs, strict=True)
            ],
        )

    def _began(self, key: PRNGKeyArray) -> Any:
        if self.reset is None:
            raise SpecError("expected an environment with a reset, found a step function")
        return self.reset(key)


def simulator(
    env: Any,
    names: Sequence[str],
    *,
    probe: Probe | None = None,
    env_params: Any = None,
    state: Any = None,
    action: Any = None,
    terminal: Callable[[Any, Any], Any] | None = None,
    added: Mapping[str, Added] | None = None,
) -> Simulator:
    """An environment ready to be stepped again; compiled programs of the last few are kept.

    Args:
        env: a single Stoa environment with its action wrappers, or a function
            `(state, action) -> (next_state, outcome)` as `wrap_step` takes it, or what
            `wrap_step` returned, with its probe and `terminal`.
        names: names of the leaves of the recorded actions.
        probe: what it was recorded with; default one that suits the environment.
        env_params: passed on to the environment.
        state: an example state, where `env` is a function.
        action: an example action, where it is neither an array nor a mapping.
        terminal: for a step function that resets by itself, as `wrap_step` takes it.
        added: functions `(state, action, next_state) -> array` whose values are wanted.

    Raises:
        SpecError: when the environment is not one that can be stepped.
    """
    if isinstance(env, TracedStep):
        probe, terminal, env = probe or env.probe, terminal or env.terminal, env.untraced
    given = (env, probe, env_params, state, action, terminal, added)
    for known, found in _recent:
        if all(a is b for a, b in zip(known, given, strict=True)):
            return found
    made = _made(env, names, probe, env_params, state, action, terminal=terminal, added=added or {})
    _recent.insert(0, (given, made))
    del _recent[_KEPT_PROGRAMS:]
    return made


_recent: list[tuple[tuple[Any, ...], Simulator]] = []


def _made(
    env: Any,
    names: Sequence[str],
    probe: Any,
    params: Any,
    state: Any,
    action: Any,
    *,
    terminal: Any,
    added: Any,
) -> Simulator:
    if not hasattr(env, "step"):
        if not callable(env) or state is None:
            raise SpecError(
                "expected an environment with reset and step, or a step function with an example "
                f"of its state (state=...), found {type(env).__name__}; give one of the two"
            )
        return Simulator(
            env,
            cast("Any", env) if terminal is None else _before_reset(env, terminal),
            probe or GenericProbe(),
            params,
            _shape(state),
            _shape(action),
            None,
            added,
        )

    if terminal is not None:
        raise SpecError(
            "terminal: expected with a step function only, found an environment; leave it out"
        )

    def reset(key: PRNGKeyArray) -> Any:
        return env.reset(key, params)[0]

    shapes, timestep = jax.eval_shape(lambda k: env.reset(k, params), jax.random.key(0))
    if getattr(getattr(timestep, "reward", None), "ndim", 0):
        raise SpecError(
            "expected a single environment, found a batch of "
            f"{timestep.reward.shape[0]} lanes; give the one that was vectorised"
        )
    if action is None and "action" not in names:
        # Where the space gives the recorded names, it knows whether they are a mapping or more.
        action = _space_of(env, names)
    return Simulator(
        env,
        lambda s, a: env.step(s, a, params),
        default_probe(env) if probe is None else probe,
        params,
        shapes,
        _shape(action),
        reset,
        added,
    )


def _before_reset(step: Any, terminal: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A step whose next state is the true one, not that of a reset, as episodes hold it."""

    def stepped(state: Any, action: Any) -> tuple[Any, Any]:
        following, outcome = step(state, action)
        return terminal(following, outcome), outcome

    return stepped


def _space_of(env: Any, names: Sequence[str]) -> Any:
    """The shapes of what the action space samples, if its leaves have the recorded names."""
    if not hasattr(env, "action_space"):
        return None
    sampled = sampled_action(env)
    return sampled if set(leaf_names(sampled, "action")) == set(names) else None


def _shape(tree: Any) -> Any:
    return None if tree is None else jax.eval_shape(lambda: tree)


def _as(new: Any, struct: jax.ShapeDtypeStruct) -> Shaped[Array, "..."]:
    """In the dtype that the carry of the scan has."""
    new = new if isinstance(new, jax.Array) else jnp.asarray(new)
    return new if new.dtype == struct.dtype else new.astype(struct.dtype)


def _wrapped(value: Shaped[Array, "..."], struct: Any) -> Shaped[Array, "..."]:
    """A leaf in the form the environment has it: key data become keys again."""
    if jnp.issubdtype(struct.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(
            value, impl=str(jax.random.key_impl(jnp.empty((), struct.dtype)))
        )
    return value


def _nested(values: Mapping[str, Shaped[Array, "..."]]) -> Any:
    """A mapping by dotted names; a bare array is called `action`."""
    if set(values) == {"action"}:
        return values["action"]
    found: dict[str, Any] = {}
    for name, value in values.items():
        *above, last = name.split(".")
        place = found
        for word in above:
            place = place.setdefault(word, {})
        place[last] = value
    return found


def _rounded(count: int, least: int) -> int:
    """The next power of two, so that few programs are compiled."""
    return max(least, 1 << (count - 1).bit_length())


def _grown(value: Shaped[np.ndarray, "..."], size: int, axis: int) -> Shaped[np.ndarray, "..."]:
    """Padded along an axis with copies of the last entry, which any step can take."""
    missing = size - value.shape[axis]
    if missing <= 0:
        return value
    last = np.take(value, [-1], axis=axis)
    return np.concatenate([value, np.repeat(last, missing, axis=axis)], axis=axis)
