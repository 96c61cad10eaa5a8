"""One process of a JAX program of several: `python -m tests.together_worker PORT COUNT INDEX OUT`.

Further words: `layout=lane`, `shelf=one` (plain jit with one shelf for all devices), `trigger`,
`alone` (each saves a trace of its own), and how it is to die: `die=before` saving, or
`die=within` it, after all have agreed to save.
"""

import os
import sys
from typing import Any

LANES, STEPS = 16, 20


def rollout(key: Any, lanes: int, first: Any, spec: Any) -> Any:
    """The program; the same episodes in a lane, wherever the others are."""
    import jaxarc_trace as jt
    from tests import toy

    return jt.rollout(
        toy.ScriptedEnv(toy.example_script((9,), 2)),
        toy.numbered_apart,
        key,
        spec=spec,
        num_lanes=lanes,
        num_steps=STEPS,
        probe=toy.probe(),
        first_lane=first,
    )[1]


def spec_of(words: list[str]) -> Any:
    """What is kept."""
    import jaxarc_trace as jt

    layout = "lane" if "layout=lane" in words else "auto"
    if "trigger" in words:
        trigger = jt.Trigger(jt.triggers.first_solve, before=6, after=2)
        return jt.TraceSpec(keep="trigger", trigger=trigger, layout=layout)
    keep = {"best": 3, "random": 3, "failed": 2}
    return jt.TraceSpec(keep=keep, max_steps=4, capacity=9, recent=2, layout=layout)


def main() -> None:
    port, count, index, out, *words = sys.argv[1:]
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    import jax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    # Read from a cache, the program with one shelf waits for itself for ever: docs/clusters.md.
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        f"127.0.0.1:{port}", int(count), int(index), heartbeat_timeout_seconds=10
    )
    import jaxarc_trace as jt

    spec = spec_of(words)
    mesh = jax.make_mesh((jax.device_count(),), ("lanes",), axis_types=(AxisType.Auto,))
    each = LANES // jax.device_count()
    shapes = jax.eval_shape(lambda: rollout(jax.random.key(0), each, 0, spec))

    def part(key: Any) -> Any:
        return rollout(key, each, jax.lax.axis_index("lanes") * each, spec)

    if "shelf=one" in words:
        whole = jax.eval_shape(lambda: rollout(jax.random.key(0), LANES, 0, spec))
        specs = jt.partition_specs(whole, "lanes", one_shelf=True)
        shardings = jax.tree.map(
            lambda leaf: NamedSharding(mesh, leaf),
            specs,
            is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
        )
        program = jax.jit(
            lambda: rollout(jax.random.key(1), LANES, 0, spec), out_shardings=shardings
        )
        trace = program()
    else:
        specs = jt.partition_specs(shapes, "lanes")
        mapped = jax.shard_map(
            part, mesh=mesh, in_specs=PartitionSpec(), out_specs=specs, check_vma=False
        )
        trace = jax.jit(mapped)(jax.random.key(1))
    jax.block_until_ready(trace)
    last = int(index) == int(count) - 1
    if "alone" in words:
        mine = jax.jit(lambda: rollout(jax.random.key(1), 2, 0, spec))()
        trace = jax.device_put(mine, jax.local_devices()[0])
        out = f"{out}-{index}"
    if "die=before" in words and last:
        os._exit(3)
    if "die=within" in words and last:
        from jaxarc_trace import together

        together._put = lambda *_: os._exit(3)  # type: ignore[assignment]
    try:
        jt.save(out, trace, {"note": "together"}, timeout=4.0 if "die=within" in words else 60.0)
    except jt.StoreError as error:
        print(error, file=sys.stderr, flush=True)
        if "alone" in words:
            raise SystemExit(2) from None
        # Not by way of JAX's own exit, which waits for the process that is gone.
        os._exit(2)


if __name__ == "__main__":
    main()
