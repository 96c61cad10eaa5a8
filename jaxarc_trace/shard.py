"""Where the axes of a trace lie when its lanes are spread over devices."""

from typing import Any

import jax
from jax.sharding import PartitionSpec

from jaxarc_trace.errors import SpecError
from jaxarc_trace.lanebox import LaneBox
from jaxarc_trace.slots import LaneTrace
from jaxarc_trace.trace import Trace

__all__ = ["partition_specs"]


def partition_specs(trace: Any, axis: str, *, one_shelf: bool = False) -> Any:
    """How a trace is split along its lanes, for `jax.shard_map` and `NamedSharding`.

    Under `shard_map`, which needs `check_vma=False`, every device keeps a shelf of its own;
    `merge`, or saving, makes one of them. Each device must be told the identities of its lanes,
    by `rollout(first_lane=...)` or `attach(lane=...)`.

    Args:
        trace: a trace, or `jax.eval_shape` of one.
        axis: name of the mesh axis the lanes are spread over.
        one_shelf: for `NamedSharding` under plain `jit`, where one shelf serves all devices and
            is replicated.

    Returns:
        The same tree with a `PartitionSpec` for each array.

    Raises:
        SpecError: when it is not a trace.
    """
    lanes, rows = PartitionSpec(axis), PartitionSpec(None, axis)
    if isinstance(trace, LaneTrace | LaneBox):
        return jax.tree.map(lambda _: lanes, trace)
    if not isinstance(trace, Trace):
        raise SpecError(
            f"partition_specs: expected a trace or jax.eval_shape of one, found "
            f"{type(trace).__name__}; take it out of the state by jt.detach first"
        )
    whole = ("cursor", "shelf", "seen", "eligible", "framed") if one_shelf else ("cursor",)
    named = dict.fromkeys(whole, PartitionSpec()) | dict.fromkeys(("ring", "recent"), rows)
    return jax.tree_util.tree_map_with_path(lambda path, _: named.get(path[0].name, lanes), trace)
