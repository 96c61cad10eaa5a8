"""Running sums of an episode, and which of several episodes a policy would keep."""

from collections.abc import Mapping
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int8, Int32, Real, UInt32

from jaxarc_trace.digest import avalanche
from jaxarc_trace.spec import TraceSpec

__all__ = ["Stats", "choose", "later", "priorities"]


class Stats(eqx.Module):
    """What is known of an episode without its transitions; every leaf has the same axes.

    This is what a scoring function of the user's own is given.

    Attributes:
        total_return: float32, undiscounted sum of rewards so far.
        length: int32, number of transitions.
        terminated: bool, whether the environment ended it.
        truncated: bool, whether a limit ended it.
        success: int8: 1 reached its goal, 0 did not, -1 not defined (or still running).
        final: the last value of each metric of the probe, float32.
        best: the largest value of each metric, float32.
    """

    total_return: Float32[Array, "*axes"]
    length: Int32[Array, "*axes"]
    terminated: Bool[Array, "*axes"]
    truncated: Bool[Array, "*axes"]
    success: Int8[Array, "*axes"]
    final: Mapping[str, Float32[Array, "*axes"]]
    best: Mapping[str, Float32[Array, "*axes"]]

    @classmethod
    def zeros(cls, shape: tuple[int, ...], metrics: tuple[str, ...]) -> "Stats":
        """Those of an episode that has not begun."""
        flag = jnp.zeros(shape, jnp.bool_)
        return cls(
            jnp.zeros(shape, jnp.float32),
            jnp.zeros(shape, jnp.int32),
            flag,
            flag,
            jnp.full(shape, -1, jnp.int8),
            {name: jnp.zeros(shape, jnp.float32) for name in metrics},
            {name: jnp.full(shape, -jnp.inf, jnp.float32) for name in metrics},
        )

    @property
    def done(self) -> Bool[Array, "*axes"]:
        """bool, whether the episode has ended."""
        return self.terminated | self.truncated

    def seen(self, metrics: Mapping[str, Real[Array, "*axes"]]) -> "Stats":
        """With the metrics of one more state."""
        final = {name: value.astype(jnp.float32) for name, value in metrics.items()}
        best = {name: jnp.maximum(self.best[name], value) for name, value in final.items()}
        return replace(self, final=final, best=best)

    def stepped(
        self,
        reward: Real[Array, "*axes"],
        terminated: Bool[Array, "*axes"],
        truncated: Bool[Array, "*axes"],
    ) -> "Stats":
        """With one more transition."""
        return replace(
            self,
            total_return=self.total_return + reward.astype(jnp.float32),
            length=self.length + 1,
            terminated=terminated,
            truncated=truncated,
        )


def priorities(
    spec: TraceSpec,
    stats: Stats,
    salt: UInt32[Array, "*n"],
    number: UInt32[Array, "*n"],
    end_step: UInt32[Array, "*n"],
) -> tuple[UInt32[Array, "*n policies"], Bool[Array, "*n policies"]]:
    """How much each policy wants each episode.

    Args:
        spec: the policies.
        stats: `[n]` episodes that ended, or a single one.
        salt: uint32 `[n]`, one value a lane, so that lanes draw different random numbers.
        number: uint32 `[n]`, number of the episode within its lane.
        end_step: uint32 `[n]`, when it ended.

    Returns:
        uint32 `[n, policies]`, larger is kept (of equal ones the older, then the lower lane), and
        bool `[n, policies]`, whether the policy would have the episode at all.
    """
    wanted: list[UInt32[Array, "*n"]] = []
    eligible: list[Bool[Array, "*n"]] = []
    always = jnp.ones(stats.length.shape, jnp.bool_)
    for policy in spec.policies:
        allowed = always
        if policy.name == "random" and policy.score is None:
            key = _random_bits(spec.seed, salt, number)
        elif policy.name == "first" and policy.score is None:
            key = ~end_step
        elif policy.name == "failed" and policy.score is None:
            key, allowed = end_step, stats.success == 0
        else:
            score = policy.score or spec.score or (lambda s: s.total_return)
            value = jnp.broadcast_to(jnp.asarray(score(stats), jnp.float32), always.shape)
            key = _sortable(value, largest_nan=policy.name == "worst" and policy.score is None)
            if policy.name == "worst" and policy.score is None:
                key = _sortable(-value, largest_nan=True)
        wanted.append(key)
        eligible.append(allowed)
    if not wanted:
        none = jnp.zeros((*always.shape, 0))
        return none.astype(jnp.uint32), none.astype(jnp.bool_)
    return jnp.stack(wanted, axis=-1), jnp.stack(eligible, axis=-1)


def later(spec: TraceSpec, steps: UInt32[Array, ""]) -> UInt32[Array, " policies"]:
    """How much each policy's priorities change when an episode is moved forward in time.

    Args:
        spec: the policies.
        steps: uint32 scalar, by how much.

    Returns:
        uint32 `[policies]`, to be added modulo 2**32.
    """
    sign = {"first": -1, "failed": 1}
    signs = [sign.get(policy.name, 0) % 2**32 for policy in spec.policies]
    return jnp.asarray(signs, jnp.uint32) * steps


def choose(
    spec: TraceSpec,
    wanted: UInt32[Array, "n policies"],
    eligible: Bool[Array, "n policies"],
    end_step: UInt32[Array, " n"],
    lane: Int32[Array, " n"],
) -> Bool[Array, "n policies"]:
    """Which of `n` episodes each policy keeps: its `slots` most wanted.

    Args:
        spec: the policies and their slots.
        wanted: uint32 `[n, policies]`, as `priorities` gives.
        eligible: bool `[n, policies]`.
        end_step: uint32 `[n]`; of equally wanted episodes the older is kept,
        lane: int32 `[n]`; and of those the one in the lower lane.

    Returns:
        bool `[n, policies]`.
    """
    index = jnp.arange(wanted.shape[0], dtype=jnp.int32)
    columns = []
    for column, policy in enumerate(spec.policies):
        keys = (~eligible[:, column], ~wanted[:, column], end_step, lane, index)
        order = jax.lax.sort(keys, num_keys=4)[-1][: policy.slots]
        chosen = jnp.zeros(index.shape, jnp.bool_).at[order].set(True)
        columns.append(chosen & eligible[:, column])
    return jnp.stack(columns, axis=-1) if columns else eligible


def _random_bits(
    seed: int, salt: UInt32[Array, "*n"], number: UInt32[Array, "*n"]
) -> UInt32[Array, "*n"]:
    """uint32 `[n]`: a hash of (seed, lane, episode), so that any split of a run agrees.

    Each stage is the finalizer of MurmurHash3, a bijection of its argument. Every finisher of
    every step draws one, which with threefry cost more than all the rest of a cheap environment.
    """
    stream = avalanche(jnp.uint32((seed * 0x9E3779B1 + 0x7F4A7C15) % 2**32))
    lane = avalanche(stream ^ (salt * jnp.uint32(0x85EBCA77)))
    return avalanche(lane + number * jnp.uint32(0xC2B2AE3D))


def _sortable(value: Float32[Array, "*n"], *, largest_nan: bool) -> UInt32[Array, "*n"]:
    """uint32 with the order of float32: -0.0 equals 0.0, NaN below everything, or above."""
    bits = jax.lax.bitcast_convert_type(jnp.where(value == 0, 0.0, value), jnp.uint32)
    ordered = jnp.where(bits >> 31 != 0, ~bits, bits | jnp.uint32(1 << 31))
    extreme = 2**32 - 1 if largest_nan else 0
    return jnp.where(jnp.isnan(value), jnp.uint32(extreme), ordered)
