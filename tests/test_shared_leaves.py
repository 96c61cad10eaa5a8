"""States that hold something all lanes share: it is seen whole, however few lanes are traced."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.errors import SchemaError

LANES, TRACED, STEPS = 6, 2, 12


class TableProbe(jt.GenericProbe):
    """Its metric is looked up in the table, beyond the number of traced lanes."""

    def carried(self, state: Any) -> Any:
        return state["at"]

    def metrics(self, state: Any) -> dict[str, jax.Array]:
        return {"worth": state["table"][state["at"]]}


def step(state: Any, action: jax.Array) -> tuple[Any, Any]:
    at = (state["at"] + action) % 10
    done = at == 9
    outcome = {"reward": state["table"][at], "done": done}
    return {"at": jnp.where(done, 0, at), "table": state["table"]}, outcome


@pytest.mark.parametrize("layout", ["batch", "lane"])
def test_a_table_that_the_lanes_share_is_not_cut(layout: Any) -> None:
    spec = jt.TraceSpec(max_steps=16, keep={"best": 4}, lanes=TRACED, layout=layout)
    traced = jt.wrap_step(step, spec, probe=TableProbe(skip=("table",)))
    table = jnp.arange(10, dtype=jnp.float32) ** 2
    state = {"at": jnp.arange(LANES, dtype=jnp.int32), "table": table}
    action = jnp.ones(LANES, jnp.int32)
    held = jt.attach(traced, state, action)
    held, _ = jax.jit(lambda s: jax.lax.scan(lambda s, _: traced(s, action), s, None, STEPS))(held)
    state, trace = jt.detach(traced, held)
    assert state["table"].shape == (10,)
    episodes = jt.Episodes.of(jt.take(trace))
    assert {episode.lane for episode in episodes} == set(range(TRACED))
    for episode in episodes:
        # The last state seen of an episode is the one after its reset, where the table says 0.
        assert episode.metrics["worth_best"] == (episode.states["at"] ** 2).max()
        np.testing.assert_array_equal(episode.rewards[:-1], episode.states["at"][1:-1] ** 2)


@pytest.mark.parametrize("typed", [True, False])
def test_one_key_for_all_lanes_is_left_out_and_still_told_by_the_digest(*, typed: bool) -> None:
    def walk(state: Any, action: jax.Array) -> tuple[Any, Any]:
        key, noise = jax.random.split(state["key"])
        at = state["at"] + action + jax.random.randint(noise, (LANES,), 0, 2)
        done = at > 9
        return {"at": jnp.where(done, 0, at), "key": key}, {
            "reward": at.astype(jnp.float32),
            "done": done,
        }

    key = jax.random.key(7) if typed else jax.random.PRNGKey(7)
    state = {"at": jnp.arange(LANES, dtype=jnp.int32), "key": key}
    action = jnp.ones(LANES, jnp.int32)
    spec = jt.TraceSpec(max_steps=16, keep="last")
    with pytest.raises(
        SchemaError, match=r"'key' has shape \[2\].*GenericProbe\(skip=\('key',\)\)"
    ):
        jt.attach(jt.wrap_step(walk, spec), state, action)
    found = {}
    for layout in ("batch", "lane"):
        probe = jt.GenericProbe(skip=("key",))
        traced = jt.wrap_step(walk, dataclasses.replace(spec, layout=layout), probe=probe)

        def run(state: Any, step: Any = traced) -> Any:
            return jax.lax.scan(lambda s, _: step(s, action), state, None, STEPS)[0]

        held = jax.jit(run)(jt.attach(traced, state, action))
        episodes = jt.Episodes.of(jt.take(jt.detach(traced, held)[1]))
        found[layout] = {e.id: (e.states["at"].tolist(), e.digests.tolist()) for e in episodes}
        assert all(set(episode.states) == {"at"} for episode in episodes)
    both = found["batch"].keys() & found["lane"].keys()
    assert len(both) >= LANES
    assert all(found["batch"][name] == found["lane"][name] for name in both)
