"""How many bytes a trace takes, from shapes alone; and the spec that fits a budget."""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp

from jaxarc_trace.errors import SpecError
from jaxarc_trace.lanebox import LaneBox
from jaxarc_trace.plan import Plan, plan_for
from jaxarc_trace.probe import Probe
from jaxarc_trace.probes import default_probe, sampled_action
from jaxarc_trace.slots import LaneTrace
from jaxarc_trace.spec import TraceSpec
from jaxarc_trace.verbs import empty

__all__ = ["fit", "measure", "parse_bytes"]

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}


def measure(
    spec: TraceSpec,
    env: Any,
    num_lanes: int | None = None,
    *,
    probe: Probe | None = None,
    env_params: Any = None,
) -> dict[str, int]:
    """See `TraceSpec.memory`."""
    if spec.level == "off":
        return dict.fromkeys(("total", "ring", "recent", "shelf", "other", "record"), 0)
    plan, lanes = _plan(spec, env, num_lanes, probe, env_params)
    return _bytes(plan, lanes)


def fit(
    cls: type[TraceSpec],
    env: Any,
    budget: str | int,
    num_lanes: int | None = None,
    *,
    probe: Probe | None = None,
    env_params: Any = None,
    **fields: Any,
) -> TraceSpec:
    """See `TraceSpec.fit`."""
    allowed = parse_bytes(budget)
    wanted = cls(**fields)
    if wanted.level == "off":
        return wanted
    plan, lanes = _plan(wanted, env, num_lanes, probe, env_params)

    def total(spec: TraceSpec) -> int:
        return _bytes(Plan(spec, plan.schema, plan.metrics, plan.environment), lanes)["total"]

    most = lanes or 1
    tried = wanted
    for spec in (wanted, *_fewer_slots(wanted)):
        traced = min(spec.lanes or most, most)
        if total(_with(spec, lanes=traced if lanes else spec.lanes)) <= allowed:
            return spec
        if lanes and total(_with(spec, lanes=1)) <= allowed:
            return _with(spec, lanes=_most_lanes(spec, traced, total, allowed))
        tried = spec
    least = total(_with(tried, lanes=1 if lanes else tried.lanes))
    raise SpecError(
        f"budget {budget!r} is {allowed:,} bytes, but one lane with one slot a policy takes "
        f"{least:,}; raise the budget, lower max_steps ({wanted.max_steps}) or capacity "
        f"({wanted.capacity}), or use level='minimal'"
    )


def parse_bytes(budget: str | int) -> int:
    """A number of bytes from an integer or a text such as `"64MiB"`, `"1.5 GB"` or `"800"`.

    Raises:
        SpecError: when the text is not of that form, or the number not positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", str(budget), re.IGNORECASE)
    size = int(Decimal(match[1]) * _UNITS[(match[2] or "").lower()]) if match else 0
    if size < 1:
        raise SpecError(
            f"expected a number of bytes or a text such as '64MiB' or '1.5 GB', found {budget!r}"
        )
    return size


def _with(spec: TraceSpec, lanes: int | None) -> TraceSpec:
    return spec.replace(lanes=lanes, slots=None)


def _fewer_slots(spec: TraceSpec) -> list[TraceSpec]:
    """The same spec with half the slots, a quarter, ..., down to one a policy."""
    specs: list[TraceSpec] = []
    counts = [policy.slots for policy in spec.policies]
    while max(counts, default=1) > 1:
        counts = [math.ceil(count / 2) for count in counts]
        keep = {p.score or p.name: n for p, n in zip(spec.policies, counts, strict=True)}
        specs.append(spec.replace(keep=keep))
    return specs


def _most_lanes(spec: TraceSpec, high: int, total: Callable[[TraceSpec], int], allowed: int) -> int:
    """The most lanes that fit, given that one does."""
    low = 1
    while low < high:
        middle = (low + high + 1) // 2
        fits = total(_with(spec, lanes=middle)) <= allowed
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _plan(
    spec: TraceSpec, env: Any, num_lanes: int | None, probe: Probe | None, env_params: Any
) -> tuple[Plan, int | None]:
    probe = default_probe(env) if probe is None else probe
    action = sampled_action(env)
    key = jax.random.key(0)
    state, timestep = jax.eval_shape(lambda k: env.reset(k, env_params), key)
    lead = timestep.reward.shape if num_lanes is None else (num_lanes,)
    if num_lanes is not None:
        state = _batched(state, lead)
    action = _batched(action, lead)

    def step(state: Any, action: Any) -> Any:
        return env.step(state, action, env_params)

    step = step if num_lanes is None else jax.vmap(step)
    result = jax.eval_shape(step, state, action)[1]
    return plan_for(spec, probe, state, action, result)


def _batched(tree: Any, lead: tuple[int, ...]) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*lead, *leaf.shape), leaf.dtype), tree)


def _bytes(plan: Plan, lanes: int | None) -> dict[str, int]:
    trace = jax.eval_shape(lambda: empty(plan, lanes))

    def size(tree: Any) -> int:
        return sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree))

    trace = trace.trace if isinstance(trace, LaneBox) else trace
    if isinstance(trace, LaneTrace):
        parts = {"ring": 0, "recent": 0, "shelf": size(trace.slots)}
    else:
        parts = {name: size(getattr(trace, name)) for name in ("ring", "recent", "shelf")}
    total = size(trace)
    other = total - sum(parts.values())
    record = plan.schema.record_bytes if plan.spec.records_steps else 0
    return {"total": total, **parts, "other": other, "record": record}
