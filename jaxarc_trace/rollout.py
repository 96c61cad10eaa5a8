"""Evaluation by one scan, traced: the fastest way to see what a policy does.

Lanes are reset late: the loop carries the true state after a step, terminal or not, and the lanes
whose episode is over are reset at the start of the next step, those and no others, under one
`cond`. So the terminal state is in the carry when the trace files it, and nothing is computed
twice. The first reset of all lanes is that of the first step, so that the program has a reset only
once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Int32, PRNGKeyArray

from jaxarc_trace.blocks import block_size
from jaxarc_trace.errors import SpecError
from jaxarc_trace.plan import plan_for
from jaxarc_trace.probe import Probe
from jaxarc_trace.probes import default_probe
from jaxarc_trace.renewal import Resets, like
from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.verbs import AnyTrace, close, empty, record, turn

__all__ = ["Loop", "RolloutState", "rollout"]


class RolloutState(eqx.Module):
    """Where a rollout stands; give it back to `rollout` to go on.

    Attributes:
        state: states of the environment, `[lane, ...]`. Of a lane whose episode ended with the
            last step it is the terminal state; the next call starts with the lane's reset.
        timestep: what the environment last returned for each lane.
        step: int32 scalar, steps taken since the first call.
    """

    state: Any
    timestep: Any
    step: Int32[Array, ""]


def rollout(  # noqa: PLR0913 - the whole experiment is named here
    env: Any,
    policy: Callable[[PRNGKeyArray, Any, Any], Any],
    key: PRNGKeyArray,
    *,
    spec: TraceSpec,
    num_lanes: int,
    num_steps: int,
    probe: Probe | None = None,
    env_params: Any = None,
    start: RolloutState | None = None,
    trace: AnyTrace | None = None,
    first_lane: int | Int[Array, ""] = 0,
) -> tuple[RolloutState, AnyTrace | None]:
    """Steps `num_lanes` copies of an environment `num_steps` times in one scan, and traces them.

    Episodes that end are followed by new ones. Jittable; `env`, `policy`, `spec` and the numbers
    are static. The same key gives the same episodes, in one call or in several.

    Args:
        env: a single Stoa environment without auto-reset.
        policy: `policy(key, state, timestep) -> action`, called once a step for all lanes: every
            leaf has a leading lane axis.
        key: PRNG key.
        spec: what to keep; with `level="off"` the program is the untraced one.
        num_lanes: number of copies.
        num_steps: steps of each.
        probe: how to look at the environment; default one that suits it.
        env_params: passed on to the environment.
        start: where an earlier call stopped; default a fresh reset of all lanes.
        trace: the trace of that call, to go on with.
        first_lane: identity of the first lane, for programs that split the lanes.

    Returns:
        Where it stands, and the trace (None with `level="off"`).

    Raises:
        SpecError: when an argument does not fit the others.
    """
    if (start is None) != (trace is None) and spec.level != "off":
        raise SpecError(
            "to go on with a rollout give both start= and trace= of the earlier call, found one"
        )
    loop = Loop(
        env=env,
        policy=policy,
        spec=spec,
        probe=default_probe(env) if probe is None else probe,
        params=env_params,
        key=key,
        lane=jnp.arange(num_lanes, dtype=jnp.int32) + first_lane,
        goes_on=start is not None,
    )
    carry = loop.start() if start is None else (start, trace)
    if not num_steps:
        carry = loop.turn(*carry)
    carry, _ = jax.lax.scan(loop.step, carry, None, num_steps)
    return loop.stop(*carry)


@dataclass(frozen=True)
class Loop:
    """The pieces of one rollout that share its arguments.

    `goes_on` says that an earlier call has reset the lanes; otherwise step 0 does.
    """

    env: Any
    policy: Callable[[PRNGKeyArray, Any, Any], Any]
    spec: TraceSpec
    probe: Probe
    params: Any
    key: PRNGKeyArray
    lane: Int32[Array, " lanes"]
    goes_on: bool = False

    def start(self) -> tuple[RolloutState, AnyTrace | None]:
        """Where it begins: lanes of zeros that the turn of step 0 resets, and an empty trace."""
        step = jnp.zeros((), jnp.int32)
        count = self.lane.shape[0]
        # As many lanes as a turn resets at once, so that the reset is traced for no other number.
        shapes = jax.eval_shape(self.reset, step, self.lane[: block_size(count) or count])
        _refuse_other(self.env, shapes[1])
        state, timestep = jax.tree.map(
            lambda leaf: jax.lax.full((count, *leaf.shape[1:]), 0, leaf.dtype), shapes
        )
        trace = None if self.spec.level == "off" else self.empty_trace(state, timestep)
        return RolloutState(state, timestep, step), trace

    def stop(
        self, now: RolloutState, trace: AnyTrace | None
    ) -> tuple[RolloutState, AnyTrace | None]:
        """After the last step: the trace with every episode filed, over or under way."""
        return now, None if trace is None else close(trace, self.probe, now.state)

    def empty_trace(self, state: Any, timestep: Any) -> AnyTrace:
        """A trace laid out for this environment and policy, from the shapes of both."""

        def one(state: Any, timestep: Any) -> tuple[Any, Any]:
            action = self.policy(self.key, state, timestep)
            _refuse_action(action, self.lane.shape[0])
            return action, self.env_step(state, action)[1]

        action, result = jax.eval_shape(one, state, timestep)
        plan, _ = plan_for(self.spec, self.probe, state, action, result)
        return empty(plan, self.lane.shape[0], self.lane)

    def reset(self, step: Int32[Array, ""], lane: Int32[Array, " n"]) -> tuple[Any, Any]:
        """The lanes of these identities reset, with the keys that belong to this step."""
        base = jax.random.fold_in(jax.random.split(self.key)[0], step)
        keys = jax.vmap(lambda lane: jax.random.fold_in(base, lane))(lane)
        return jax.vmap(self.env.reset, in_axes=(0, None))(keys, self.params)

    def env_step(self, state: Any, action: Any) -> tuple[Any, Any]:
        """Every lane stepped."""
        return jax.vmap(self.env.step, in_axes=(0, 0, None))(state, action, self.params)

    def step(self, carry: Any, _: None) -> tuple[Any, None]:
        """One step of the scan."""
        now, trace = self.turn(*carry)
        key = jax.random.fold_in(jax.random.split(self.key)[1], now.step)
        action = self.policy(key, now.state, now.timestep)
        _refuse_action(action, self.lane.shape[0])
        state, timestep = self.env_step(now.state, action)
        if trace is not None:
            trace = record(trace, self.probe, now.state, action, timestep)
        timestep = jax.tree.map(like, timestep, now.timestep)
        return (RolloutState(state, timestep, now.step + 1), trace), None

    def turn(
        self, now: RolloutState, trace: AnyTrace | None
    ) -> tuple[RolloutState, AnyTrace | None]:
        """Files the episodes that are over, and starts new ones in their lanes; at first in all."""
        done = now.timestep.last()
        if not self.goes_on:
            done |= now.step == 0
        resets = Resets(
            lambda: self.reset(now.step, self.lane),
            lambda some: self.reset(now.step, self.lane.at[some].get(mode="clip")),
        )
        state, timestep, trace = turn(trace, self.probe, done, now.state, now.timestep, resets)
        return RolloutState(state, timestep, now.step), trace


def _refuse_other(env: Any, timestep: Any) -> None:
    """Refuses an environment whose reset gives no Stoa time step.

    Raises:
        SpecError: naming what makes one of it.
    """
    if not callable(getattr(timestep, "last", None)):
        raise SpecError(
            "rollout: expected a Stoa environment, whose reset gives a state and a TimeStep, found "
            f"{type(env).__name__}, whose reset gives {type(timestep).__name__} second; wrap it: "
            "jt.environment(env)"
        )


def _refuse_action(action: Any, lanes: int) -> None:
    """Refuses actions of another number of lanes.

    Raises:
        SpecError: saying the shape that was found.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(action):
        if jnp.shape(leaf)[:1] != (lanes,):
            raise SpecError(
                f"rollout: expected an action of each of the {lanes} lanes from the policy, found "
                f"shape {list(jnp.shape(leaf))}{_at(path)}; policy(key, state, timestep) is called "
                "once for all lanes"
            )


def _at(path: Any) -> str:
    """Where in the action a leaf is, if it is not all of it."""
    return f" at {jax.tree_util.keystr(path)}" if path else ""
