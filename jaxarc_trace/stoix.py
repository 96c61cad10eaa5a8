"""Stoix's two environments and its evaluator, traced, from Stoa alone.

Stoix itself is not imported: it takes `(train_env, eval_env)` from any function, wrapped in the
order AddRNGKey, RecordEpisodeMetrics, auto-reset, vmap; and an evaluator is a function of
parameters and a key that gives `episode_metrics`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped
from stoa.core_wrappers.auto_reset import AutoResetWrapper
from stoa.core_wrappers.episode_metrics import RecordEpisodeMetrics
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey

from jaxarc_trace.errors import SpecError
from jaxarc_trace.probe import Probe
from jaxarc_trace.probes import default_probe
from jaxarc_trace.rollout import Loop
from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.stoa import TraceWrapper
from jaxarc_trace.verbs import AnyTrace

__all__ = ["Evaluation", "stoix_envs", "stoix_evaluator"]

ActFn = Callable[[Any, Any, PRNGKeyArray], Any]


class Evaluation(NamedTuple):
    """What an evaluation found.

    Attributes:
        episode_metrics: of the first episode of each lane, arrays `[lane]`: `episode_return`
            float32, `episode_length` int32, and `finished` bool, which is false where
            `num_steps` were not enough; return and length are those so far then.
        trace: the trace of all that was played; None with `level="off"`.
    """

    episode_metrics: dict[str, Shaped[Array, " lane"]]
    trace: AnyTrace | None


def stoix_envs(
    train_env: Any, eval_env: Any, *, spec: TraceSpec, probe: Probe | None = None
) -> tuple[Any, Any]:
    """A traced training environment, and the evaluation environment, as Stoix takes them.

    The training environment has Stoix's wrappers in Stoix's order, and gives the very episodes,
    rewards and `extras` (`next_obs`, `episode_metrics`) that it gives untraced; only the reset is
    done outside the vmap, where one `cond` is enough for all lanes. Read the trace in the learner's
    state by `jt.detach(train_env, state)`. With `level="off"` it is Stoix's own chain.

    Args:
        train_env: a single Stoa environment, with whatever wrappers it needs, without auto-reset.
        eval_env: another, for evaluation; it is given back as it is, because Stoix's evaluator
            maps it by itself. To trace the evaluation use `stoix_evaluator`.
        spec: what to keep of training.
        probe: how to look at the environment; default one that suits it.

    Returns:
        `(train_env, eval_env)`; the first takes a key a lane, `[lane, ...]`.
    """
    env = RecordEpisodeMetrics(AddRNGKey(train_env))
    if spec.level == "off":
        return VmapWrapper(AutoResetWrapper(env, next_obs_in_extras=True)), eval_env
    look = default_probe(train_env) if probe is None else probe
    return TraceWrapper(VmapWrapper(env), spec, probe=look, next_obs_in_extras=True), eval_env


def stoix_evaluator(
    eval_env: Any,
    act_fn: ActFn,
    *,
    spec: TraceSpec,
    num_episodes: int,
    num_steps: int,
    probe: Probe | None = None,
) -> Callable[[Any, PRNGKeyArray], Evaluation]:
    """An evaluator that is one scan, for use instead of Stoix's vmapped `while_loop`.

    Lanes whose episode is over go on with another until all steps are done, so that the trace sees
    more episodes than the metrics, which are those of the first of each lane, as Stoix's are.

    Args:
        eval_env: a single Stoa environment without auto-reset.
        act_fn: `act_fn(params, observation, key) -> action`, called once a step for all lanes:
            every leaf has a leading lane axis.
        spec: what to keep.
        num_episodes: lanes, one measured episode each.
        num_steps: steps of each lane; at least the longest episode, for all to finish.
        probe: how to look at the environment; default one that suits it.

    Returns:
        `evaluate(params, key) -> Evaluation`, jittable.

    Raises:
        SpecError: when a number is below 1.
    """
    for name, value in (("num_episodes", num_episodes), ("num_steps", num_steps)):
        if value < 1:
            raise SpecError(f"{name}: expected at least 1, found {value}")
    look = default_probe(eval_env) if probe is None else probe

    def evaluate(params: Any, key: PRNGKeyArray) -> Evaluation:
        def policy(key: PRNGKeyArray, state: Any, timestep: Any) -> Any:
            del state
            return act_fn(params, timestep.observation, key)

        lanes = jnp.arange(num_episodes, dtype=jnp.int32)
        loop = Loop(eval_env, policy, spec, look, None, key, lanes)
        start = loop.start(), _nothing_yet(num_episodes)
        (carry, metrics), _ = jax.lax.scan(
            lambda held, _: (_step(loop, held), None), start, None, num_steps
        )
        return Evaluation(metrics, loop.stop(*carry)[1])

    return evaluate


def _nothing_yet(lanes: int) -> dict[str, Shaped[Array, " lane"]]:
    return {
        "episode_return": jnp.zeros(lanes, jnp.float32),
        "episode_length": jnp.zeros(lanes, jnp.int32),
        "finished": jnp.zeros(lanes, jnp.bool_),
    }


def _step(loop: Loop, held: Any) -> Any:
    """One step of all lanes; only first episodes add to the metrics."""
    carry, metrics = held
    carry, _ = loop.step(carry, None)
    timestep = carry[0].timestep
    first = ~metrics["finished"]
    reward = jnp.where(first, timestep.reward.astype(jnp.float32), 0.0)
    return carry, {
        "episode_return": metrics["episode_return"] + reward,
        "episode_length": metrics["episode_length"] + first.astype(jnp.int32),
        "finished": metrics["finished"] | timestep.last(),
    }
