"""States that hold something all lanes share: it is seen whole, however few lanes are traced."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt

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
