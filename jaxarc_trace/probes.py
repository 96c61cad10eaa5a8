"""What suits an environment when the caller says nothing: a probe, and the shapes of an action."""

from typing import Any

import jax

from jaxarc_trace import jaxarc
from jaxarc_trace.environment import Environment
from jaxarc_trace.probe import GenericProbe, Probe

__all__ = ["default_probe", "sampled_action"]


def default_probe(env: Any) -> Probe:
    """The probe of a known environment, or one that records every leaf of the state.

    Args:
        env: an environment, with any wrappers.
    """
    if jaxarc.is_jaxarc(env):
        return jaxarc.probe(env)
    inner = getattr(env, "unwrapped", env)
    if isinstance(inner, Environment):
        return inner.probe
    return GenericProbe(name=type(inner).__name__)


def sampled_action(env: Any) -> Any:
    """`jax.ShapeDtypeStruct`s of what an environment's action space samples, without lanes.

    Args:
        env: a Stoa environment, with any wrappers.
    """
    # Stoa's spaces compare arrays when they are built, and the caller may be under jit already.
    with jax.ensure_compile_time_eval():
        space = env.action_space()
    # They mix dtypes when they sample, also where the caller's own code may not.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return jax.eval_shape(space.sample, jax.random.key(0))
