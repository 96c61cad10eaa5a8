"""`TraceWrapper`: a Stoa environment that records, resets by itself and loses no terminal state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, PRNGKeyArray, Shaped, UInt32
from stoa.core_wrappers.auto_reset import add_obs_to_extras
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import Wrapper, WrapperState, wrapper_state_replace
from stoa.stoa_struct import dataclass

from jaxarc_trace.plan import plan_for
from jaxarc_trace.probe import Probe
from jaxarc_trace.probes import default_probe, sampled_action
from jaxarc_trace.renewal import Resets
from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.verbs import AnyTrace, begin, empty, record, turn

__all__ = ["TraceState", "TraceWrapper"]

# Keeps the keys of resets apart from the keys the environment itself was given.
_RESETS = 0x7ACE


@dataclass(custom_replace_fn=wrapper_state_replace)
class TraceState(WrapperState):
    """State of a `TraceWrapper`.

    Attributes:
        base_env_state: the environment's own state, never a terminal one.
        trace: what was recorded so far; read it through `jt.detach(env, state)`.
        reset_key: what the keys of resets are made of where the state has no `rng_key`: one key,
            or one a lane, as the first reset was given.
    """

    trace: AnyTrace
    # JAX builds this class through its constructor, also of what is no array.
    reset_key: Any


class TraceWrapper(Wrapper[Any]):
    """Records any Stoa environment, single or batched, and resets finished lanes.

    Use it in place of Stoa's `AutoResetWrapper`, outside `VmapWrapper` where there is one. Where
    the state has an `rng_key` (Stoa's `AddRNGKey`) episodes are the very ones that
    `AutoResetWrapper` gives.

    Args:
        env: the environment, without auto-reset.
        spec: what to keep; with `level="off"` the constructor returns `env` itself, which then
            does not reset.
        probe: how to look at the environment; default one that suits it.
        next_obs_in_extras: keep the observation before a reset in `extras["next_obs"]`.
        action: an example action with its lane axis, where the action space does not sample one
            of the right dtypes.
    """

    def __new__(cls, env: Any, spec: TraceSpec, **kw: Any) -> Any:
        """The environment itself where nothing is to be recorded."""
        del kw
        return env if spec.level == "off" else super().__new__(cls)

    def __init__(
        self,
        env: Any,
        spec: TraceSpec,
        *,
        probe: Probe | None = None,
        next_obs_in_extras: bool = False,
        action: Any = None,
    ) -> None:
        super().__init__(env)
        self.spec = spec
        self.probe: Probe = default_probe(env) if probe is None else probe
        self.next_obs_in_extras = next_obs_in_extras
        self._action = action
        if action is None:
            self._sample = sampled_action(env)

    def reset(
        self, rng_key: Shaped[Array, "..."], env_params: Any = None
    ) -> tuple[TraceState, Any]:
        """Resets all lanes and starts an empty trace.

        Raises:
            SchemaError: when the action or state of the environment cannot be laid out.
            SpecError: when the spec asks for what the probe does not define.
        """
        state, timestep = self._env.reset(rng_key, env_params)
        timestep = self._with_observation(timestep)
        action = self._example(timestep)
        result = jax.eval_shape(lambda s, a: self._env.step(s, a, env_params), state, action)[1]
        plan, lanes = plan_for(self.spec, self.probe, state, action, result)
        keys = _each(lambda key: jax.random.fold_in(key, _RESETS), rng_key)
        salt = None if lanes is not None else jax.random.bits(keys, dtype="uint32")
        trace = begin(empty(plan, lanes, salt=salt), self.probe, state)
        return TraceState(base_env_state=state, trace=trace, reset_key=keys), timestep

    def step(
        self, state: TraceState, action: Any, env_params: Any = None
    ) -> tuple[TraceState, Any]:
        """Steps, records, and resets the lanes whose episode is over.

        Returns:
            The next state, and the time step: reward, flags and discount of the step just taken,
            and the observation of the new episode where one began.
        """
        inner: Any
        inner, timestep = self._env.step(state.base_env_state, action, env_params)
        recorded = record(state.trace, self.probe, state.base_env_state, action, timestep)
        timestep = self._with_observation(timestep)

        step = jnp.ravel(recorded.cursor)[0]
        resets = self._resets(getattr(inner, "rng_key", None), state.reset_key, step, env_params)
        inner, observation, trace = turn(
            recorded, self.probe, timestep.last(), inner, timestep.observation, resets
        )
        timestep = timestep.replace(observation=observation)
        return TraceState(inner, trace, state.reset_key), timestep

    def _resets(
        self, own: Any, ours: Shaped[Array, "*keys"], step: UInt32[Array, ""], env_params: Any
    ) -> Resets[tuple[Any, Any]]:
        """With the keys in the state as AutoResetWrapper does, or else with ours of this step."""
        env = self._env
        if not isinstance(env, VmapWrapper):

            def every() -> tuple[Any, Any]:
                keys = _of_step(ours, step) if own is None or _many(own) else _first_half(own)
                return _observed(env.reset(keys, env_params))

            return Resets(every)

        # Not the wrapper's `reset`, which splits one key where it knows the number of lanes.
        reset, lanes, params_each = env._vmap_reset, env._num_envs, env._vectorize_over_env_params  # noqa: SLF001 - see above

        def some(at: Int32[Array, " n"] | None = None) -> tuple[Any, Any]:
            def of(leaf: Any) -> Any:
                return leaf if at is None else jnp.asarray(leaf).at[at].get(mode="clip")

            if own is not None:
                keys = _first_half(of(own))
            elif lanes is None:
                keys = _of_step(of(ours), step)
            else:
                keys = of(jax.random.split(_of_step(ours, step), lanes))
            params = jax.tree.map(of, env_params) if params_each else env_params
            return _observed(reset(keys, params))

        return Resets(some, some)

    def _example(self, timestep: Any) -> Any:
        """Shapes of an action of every lane."""
        if self._action is not None:
            return self._action
        lead = timestep.reward.shape
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), leaf.dtype), self._sample
        )

    def _with_observation(self, timestep: Any) -> Any:
        return add_obs_to_extras(timestep) if self.next_obs_in_extras else timestep


def _observed(begun: tuple[Any, Any]) -> tuple[Any, Any]:
    """The state that a reset gives, and the first observation."""
    state, timestep = begun
    return state, timestep.observation


def _many(keys: Shaped[Array, "*keys"]) -> bool:
    """Whether there is one key a lane; raw keys are uint32 words, typed ones are scalars."""
    return keys.ndim > (0 if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) else 1)


def _each(function: Callable[[PRNGKeyArray], Any], keys: Shaped[Array, "*keys"]) -> Any:
    """`function` of the key, or of each key."""
    return jax.vmap(function)(keys) if _many(keys) else function(keys)


def _of_step(keys: Shaped[Array, "*keys"], step: UInt32[Array, ""]) -> Shaped[Array, "*keys"]:
    """What each key gives for a step of the trace."""
    return _each(lambda key: jax.random.fold_in(key, step), keys)


def _first_half(keys: Shaped[Array, "*keys"]) -> Shaped[Array, "*keys"]:
    """The first of the two that each key splits into."""
    return _each(lambda key: jax.random.split(key)[0], keys)
