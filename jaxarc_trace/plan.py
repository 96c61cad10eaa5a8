"""From a spec, a probe and example shapes to the layout of a trace, and from states to bytes.

Nothing here holds an array: a `Plan` is static and rides in the treedef of a trace.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped, UInt, UInt8

from jaxarc_trace.codec import Encoding
from jaxarc_trace.digest import digest
from jaxarc_trace.errors import SchemaError, SpecError
from jaxarc_trace.probe import Outcome, Probe, named_leaves, plain_leaves
from jaxarc_trace.schema import RecordSchema, Section
from jaxarc_trace.spec import TraceSpec

__all__ = [
    "START",
    "Plan",
    "constant_fields",
    "lane_axis",
    "pack_constants",
    "pack_fields",
    "pack_state",
    "pack_step",
    "plan_for",
    "record_words",
    "state_fields",
]

START = "start."
"""Prefix of the constants that hold an episode's first state, where only actions are recorded."""


@dataclass(frozen=True)
class Plan:
    """The static part of a trace.

    Attributes:
        spec: what is kept.
        schema: the layout of its bytes.
        metrics: names of the probe's metrics.
        environment: the probe's description, as JSON text.
    """

    spec: TraceSpec
    schema: RecordSchema
    metrics: tuple[str, ...]
    environment: str


def plan_for(
    spec: TraceSpec, probe: Probe, state: Any, action: Any, result: Any
) -> tuple[Plan, int | None]:
    """Lays out a trace for an environment, from shapes alone.

    Args:
        spec: what to keep.
        probe: how to look at the environment.
        state: a state, or `jax.ShapeDtypeStruct`s of one.
        action: an action, likewise.
        result: what the step returns beside the next state, likewise.

    Returns:
        The plan, and the number of lanes: the length of the reward's only axis, or None where
        the reward is a scalar.

    Raises:
        SchemaError: when the probe's arrays do not agree with each other.
        SpecError: when the spec asks for what the environment does not define.
    """
    outcome: Outcome = jax.eval_shape(lambda r, a: _arrays(probe.outcome(r, a)), result, action)
    lanes = _lanes(outcome)
    described = jax.eval_shape(lambda s: _described(spec, probe, s, lanes), state)
    steps = jax.eval_shape(lambda a, r: _step_fields(probe, a, r), action, result)
    steps = _without_lanes("action and outcome", steps, lanes)
    constants, states, metrics, success = described
    _check_policies(spec, success)
    if both := sorted(constants.keys() & states.keys()):
        raise SchemaError(
            f"the fields {both} are among the probe's constants and in its state; leave one "
            "that changes within an episode in the state alone, any other in the constants"
        )
    encodings: Mapping[str, Encoding] = {} if spec.level == "full" else probe.encodings
    encodings = {**encodings, **{f"{START}{name}": e for name, e in encodings.items()}}
    nothing = not spec.records_steps
    schema = RecordSchema(
        constant=Section.of(_without_lanes("constants", constants, lanes), encodings),
        state=Section.of(_without_lanes("state", states, lanes), encodings),
        step=Section(()) if nothing else Section.of(steps, encodings),
    )
    environment = json.dumps(probe.describe(), sort_keys=True)
    return Plan(spec, schema, tuple(metrics), environment), lanes


def pack_constants(
    plan: Plan, probe: Probe, state: Any, lanes: int | None
) -> UInt8[Array, "*lanes constant_bytes"]:
    """The constants of an episode, uint8 `[*lanes, constant bytes]`; `lanes` as for `digest`."""
    fields = constant_fields(plan.spec, probe, state)
    return pack_fields(plan.schema.constant, fields, () if lanes is None else (lanes,))


def pack_state(
    plan: Plan, probe: Probe, state: Any, lanes: int | None
) -> UInt8[Array, "*lanes state_bytes"]:
    """A state, uint8 `[*lanes, state bytes]`; `lanes` as for `digest`."""
    fields = state_fields(plan.spec, probe, state, lanes)
    return pack_fields(plan.schema.state, fields, () if lanes is None else (lanes,))


def pack_step(
    plan: Plan, probe: Probe, state: Any, action: Any, result: Any, lanes: int | None
) -> tuple[list[UInt[Array, "*lanes _"]], Outcome]:
    """A transition, as the arrays `[*lanes, ...]` of `record_words`; `lanes` as for `digest`."""
    outcome = _arrays(probe.outcome(result, action))
    if not plan.spec.records_steps:
        return [], outcome
    fields = _step_fields(probe, action, result)
    fields["digest"] = digest(probe.carried(state), lanes)
    parts = plan.schema.state.pack_words(state_fields(plan.spec, probe, state, lanes))
    parts += plan.schema.step.pack_words(fields)
    return parts, outcome


def record_words(plan: Plan) -> tuple[tuple[int, Any], ...]:
    """Length and dtype of each array that a record is kept in on the device.

    Words as wide as the fields' own: their little-endian bytes side by side are the record. Putting
    all small fields into one array of bytes would make XLA CPU assemble it byte by byte, which
    costs a cheap environment more than separate writes (`benchmarks/README.md`).
    """
    if not plan.spec.records_steps:
        return ()
    return plan.schema.state.words + plan.schema.step.words


def pack_fields(
    section: Section, values: Mapping[str, Shaped[Array, "..."]], lead: tuple[int, ...]
) -> UInt8[Array, "*lead section_bytes"]:
    """The fields of a section that may have none, uint8 `[*lead, section bytes]`."""
    return section.pack(values) if section.fields else jnp.zeros((*lead, 0), jnp.uint8)


def constant_fields(spec: TraceSpec, probe: Probe, state: Any) -> dict[str, Shaped[Array, "..."]]:
    """What is constant in an episode, by name, each `[*lanes, ...]`; level full has none.

    Where only actions are recorded, the state that it begins with is among them.
    """
    fields = {} if spec.level == "full" else plain_leaves(probe.constants(state))
    if spec.record == "actions":
        fields |= {f"{START}{name}": v for name, v in _frame(spec, probe, state).items()}
    return fields


def state_fields(
    spec: TraceSpec, probe: Probe, state: Any, lanes: int | None
) -> dict[str, Shaped[Array, "..."]]:
    """What is kept of a state, by name, each `[*lanes, ...]`; at level full every leaf.

    Where only actions are recorded it is the digest alone; `lanes` as it has them.
    """
    if spec.record == "actions":
        return {"digest": digest(probe.carried(state), lanes)}
    return _frame(spec, probe, state)


def lane_axis(probe: Probe, state: Any) -> int | None:
    """How many lanes a batch of states has: the first axis of the fields that a probe shows of it.

    Leaves whose first axis is another are shared by the lanes.
    """

    def shown(state: Any) -> Any:
        return {**plain_leaves(probe.constants(state)), **plain_leaves(probe.state(state))}

    shapes = [field.shape for field in jax.eval_shape(shown, state).values()]
    shapes = shapes or [jnp.shape(leaf) for leaf in jax.tree.leaves(state)]
    return shapes[0][0] if shapes and shapes[0] else None


def _frame(spec: TraceSpec, probe: Probe, state: Any) -> dict[str, Shaped[Array, "..."]]:
    full = spec.level == "full"
    return named_leaves(state, root="state") if full else plain_leaves(probe.state(state))


def _described(
    spec: TraceSpec, probe: Probe, state: Any, lanes: int | None
) -> tuple[Any, Any, Any, Any]:
    flags = jnp.zeros((), jnp.bool_)
    return (
        constant_fields(spec, probe, state),
        state_fields(spec, probe, state, lanes),
        dict(probe.metrics(state)),
        probe.success(state, flags),
    )


def _step_fields(probe: Probe, action: Any, result: Any) -> dict[str, Shaped[Array, "..."]]:
    outcome = _arrays(probe.outcome(result, action))
    actions, extras = plain_leaves(probe.action(action)), plain_leaves(outcome.extras)
    fields = {f"action.{name}": value for name, value in actions.items()}
    fields |= {f"extra.{name}": value for name, value in extras.items()}
    fields["reward"] = outcome.reward
    fields["terminated"] = outcome.terminated
    fields["truncated"] = outcome.truncated
    fields["digest"] = jnp.zeros(outcome.reward.shape, jnp.uint32)
    return fields


def _arrays(outcome: Outcome) -> Outcome:
    reward = jnp.asarray(outcome.reward)
    flags = [jnp.asarray(flag).astype(jnp.bool_) for flag in outcome[1:3]]
    return Outcome(reward, flags[0], flags[1], dict(outcome.extras))


def _lanes(outcome: Outcome) -> int | None:
    shape = outcome.reward.shape
    if len(shape) > 1 or outcome.terminated.shape != shape or outcome.truncated.shape != shape:
        raise SchemaError(
            "reward, terminated and truncated must be scalars (one environment) or [lanes] "
            f"(a batch), found {list(shape)}, {list(outcome.terminated.shape)} and "
            f"{list(outcome.truncated.shape)}; vmap over further axes outside the traced step"
        )
    return shape[0] if shape else None


def _without_lanes(what: str, fields: Mapping[str, Any], lanes: int | None) -> dict[str, Any]:
    """Shapes of single values, after checking that each has the lane axis."""
    if lanes is None:
        return dict(fields)
    for name, struct in fields.items():
        if not struct.shape or struct.shape[0] != lanes:
            raise SchemaError(
                f"{what}: field {name!r} has shape {list(struct.shape)}, expected a leading axis "
                f"of {lanes} lanes as the reward has; give it that axis, or leave it out of the "
                f"probe, for instance probe=GenericProbe(skip=({name!r},))"
            )
    return {
        name: jax.ShapeDtypeStruct(struct.shape[1:], struct.dtype)
        for name, struct in fields.items()
    }


def _check_policies(spec: TraceSpec, success: Any) -> None:
    if spec.trigger is not None and spec.trigger.when.needs_success and success is None:
        raise SpecError(
            "triggers.first_solve needs to know what success is, which this probe does not define; "
            "give GenericProbe(goal=lambda state, terminated: ...), or a condition of your own"
        )
    if "failed" in spec.policy_names and success is None:
        raise SpecError(
            "keep='failed' needs to know what success is, which this probe does not define; give "
            "GenericProbe(goal=lambda state, terminated: ...), or keep 'worst' instead"
        )
