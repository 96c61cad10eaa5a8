"""The ring is written in place: no second copy of it, in time or in memory."""

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import AddRNGKey

import jaxarc_trace as jt
from tests import toy
from tests.histories import own_action, own_history
from tests.oracle import check

# Numbers that no other array of the programs has for an axis.
LANES, CAPACITY, MAX_STEPS, SLOTS = 11, 1031, 97, 7
SPEC = jt.TraceSpec(keep={"best": 4, "random": 3}, max_steps=MAX_STEPS, capacity=CAPACITY, recent=2)
RING = rf"\w+\[{CAPACITY},{LANES}[\d,]*\]"
SHELF = rf"\w+\[{SLOTS},{MAX_STEPS}[\d,]*\]"


def own_loop() -> tuple[Any, tuple[Any, ...]]:
    script = toy.example_script((LANES, 60))
    step = jt.wrap_step(toy.scripted_step, SPEC, probe=toy.probe())

    def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
        carry, outcome = step(carry, own_action(index, carry.state.lane))
        over = outcome["terminated"] | outcome["truncated"]
        return replace(carry, state=toy.restarted(script, carry.state, over)), None

    lane = jnp.arange(LANES, dtype=jnp.int32)
    start = jax.jit(lambda: jt.attach(step, toy.lane_states(script, lane), lane))()
    return lambda carry: jax.lax.scan(body, carry, jnp.arange(50, dtype=jnp.int32))[0], (start,)


def wrapped_loop() -> tuple[Any, tuple[Any, ...]]:
    single = AddRNGKey(toy.ScriptedEnv(toy.example_script((8,))))
    env = jt.TraceWrapper(VmapWrapper(single), SPEC, probe=toy.probe())

    def body(carry: Any, word: jax.Array) -> tuple[Any, None]:
        state, before = carry
        state, timestep = env.step(state, toy.numbered(word, state, before))
        return (state, jax.tree.map(lambda n, o: n.astype(o.dtype), timestep, before)), None

    start = jax.jit(env.reset)(jax.random.split(jax.random.key(0), LANES))
    words = jax.random.split(jax.random.key(1), 50)
    return lambda carry: jax.lax.scan(body, carry, words)[0], (start,)


class NothingConstant(toy.MarkedProbe):
    """Every leaf may change in an episode, so that an array of the trace has no values."""

    def constants(self, state: Any) -> dict[str, jax.Array]:
        del state
        return {}

    def state(self, state: Any) -> dict[str, jax.Array]:
        return {**super().constants(state), **super().state(state)}


def rolled_out(
    num_lanes: int = LANES, probe: toy.MarkedProbe | None = None
) -> tuple[Any, tuple[Any, ...]]:
    """A policy that looks at nothing: what it writes depends on no branch taken before."""
    env = toy.ScriptedEnv(toy.example_script((8,)))

    def run(carry: Any, num_steps: int = 50) -> Any:
        start, trace = carry
        return jt.rollout(
            env,
            toy.numbered,
            jax.random.key(0),
            spec=SPEC.replace(lanes=LANES),
            num_lanes=num_lanes,
            num_steps=num_steps,
            probe=probe or toy.probe(),
            start=start,
            trace=trace,
        )

    return run, (jax.jit(lambda: run((None, None), 1))(),)


PROGRAMS = {
    "wrap_step": own_loop,
    "TraceWrapper": wrapped_loop,
    "rollout": rolled_out,
    "rollout, some of the lanes": functools.partial(rolled_out, LANES + 2),
    "rollout, some of the lanes, nothing constant": functools.partial(
        rolled_out, LANES + 2, NothingConstant(name="toy")
    ),
}


@functools.cache
def compiled(name: str) -> tuple[Any, int]:
    """The donated program of that name, and the bytes of its ring."""
    program, arguments = PROGRAMS[name]()
    leaves = jax.tree.leaves(arguments)
    ring = sum(leaf.nbytes for leaf in leaves if leaf.shape[:2] == (CAPACITY, LANES))
    return jax.jit(program, donate_argnums=0).lower(*arguments).compile(), ring


def results(text: str, shape: str) -> Iterator[tuple[str, str]]:
    """Opcode and name of every instruction of optimized HLO whose one result has that shape."""
    for match in re.finditer(rf"%(\S+) = {shape}\S* ([a-z-]+)\(", text):
        yield match[2], match[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_optimized_program_makes_no_second_ring(name):
    text = compiled(name)[0].as_text()
    found = list(results(text, RING))
    assert any(opcode == "fusion" for opcode, _ in found)
    for opcode, instruction in found:
        written = "dynamic-update-slice" in instruction
        passed_on = opcode in ("parameter", "get-tuple-element", "dynamic-update-slice", "bitcast")
        assert passed_on or (opcode == "fusion" and written), instruction


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_branch_returns_the_ring_or_copies_the_shelf(name):
    text = compiled(name)[0].as_text()
    branches = re.findall(r"= (.*) conditional\(", text)
    assert branches
    assert not [result for result in branches if re.search(RING, result)]
    assert list(results(text, SHELF))
    assert not [name for opcode, name in results(text, SHELF) if opcode.startswith("copy")]


@pytest.mark.parametrize("name", PROGRAMS)
def test_starts_and_ends_of_episodes_are_not_copied_at_every_step(name):
    text = compiled(name)[0].as_text()
    # Those of an environment without constants have no bytes, which cost nothing to copy.
    starts = rf"u8\[\d+,{LANES},[1-9]\d*\]"
    assert list(results(text, starts))
    assert not [name for opcode, name in results(text, starts) if opcode.startswith("copy")]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_donated_trace_is_updated_where_it_lies(name):
    program, ring = compiled(name)
    memory = program.memory_analysis()
    assert ring > 200_000
    assert memory.alias_size_in_bytes >= ring
    assert memory.temp_size_in_bytes < ring / 4


@pytest.mark.parametrize("max_steps", [31, 70])
def test_episodes_as_long_as_the_blocks_they_are_copied_in(max_steps):
    steps, lanes = 260, 2
    spec = jt.TraceSpec(keep={"first": 4, "best": 3}, max_steps=max_steps, capacity=max_steps + 9)
    script = toy.example_script((lanes, 20))
    lengths = [31, 32, 33, 1, 63, 64, 65, 2, 70, 30, 71, 34, 100]
    script = script._replace(
        length=np.array([(lengths * 2)[i : i + 20] for i in range(lanes)], "int32")
    )
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())

    @jax.jit
    def run() -> Any:
        def body(carry: Any, index: jax.Array) -> tuple[Any, None]:
            carry, outcome = step(carry, own_action(index, carry.state.lane))
            over = outcome["terminated"] | outcome["truncated"]
            return replace(carry, state=toy.restarted(script, carry.state, over)), None

        lane = jnp.arange(lanes, dtype=jnp.int32)
        carry = jt.attach(step, toy.lane_states(script, lane), lane)
        carry, _ = jax.lax.scan(body, carry, jnp.arange(steps, dtype=jnp.int32))
        return jt.detach(step, carry)[1]

    check(jt.take(run()), spec, own_history(script, steps))
