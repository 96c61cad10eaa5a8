"""What else could have been done, which actions mattered, and fields added afterwards."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxarc_trace as jt
from jaxarc_trace.counterfactual import _minimal
from jaxarc_trace.replay_report import Replay
from tests.recordings import recording
from tests.test_replay import LIMIT, arc, long_one, stored, world
from tests.test_replay import SMALL as TASKS


class Needs:
    """A search in which some transitions are needed, and perhaps one of two others."""

    def __init__(self, steps: int, needed: set[int], either: tuple[int, int] | None = None) -> None:
        self.steps, self.needed, self.either, self.tried = steps, needed, either, 0

    def reaches(self, choices: Sequence[Sequence[int]]) -> list[bool]:
        self.tried += len(choices)
        return [
            self.needed <= set(choice)
            and (self.either is None or bool(set(self.either) & set(choice)))
            for choice in choices
        ]


@given(steps=st.integers(1, 60), data=st.data())
def test_what_is_needed_is_kept_and_nothing_else(steps: int, data: st.DataObject):
    needed = data.draw(st.sets(st.integers(0, steps - 1)))
    search: Any = Needs(steps, needed)
    assert _minimal(search) == sorted(needed)


def test_of_two_that_do_the_same_one_is_kept_and_few_are_tried():
    search: Any = Needs(64, {3, 40}, either=(10, 50))
    kept = _minimal(search)
    assert set(kept) - {10, 50} == {3, 40}
    assert len(kept) == 3
    assert search.tried < 120


@pytest.mark.slow
@pytest.mark.parametrize("action", ["point", "flat", "bbox", "mask"])
def test_every_other_action_is_stepped_as_the_environment_does(action: str):
    env = arc(TASKS, action=action, max_steps=LIMIT)
    from tests.test_replay import played

    episode = next(e for e in played(action) if len(e) >= 12 and e.complete)
    found = jt.counterfactuals(episode, 7, env)
    assert found.scores.shape == found.rewards.shape == found.ends.shape == (35, 30, 30)
    score = episode.states["similarity_score"]
    assert (found.before, found.reached) == (score[7], score[8])
    operation, row, column = found.taken
    if action in ("point", "flat"):
        assert found.scores[found.taken] == found.reached
        assert found.rewards[found.taken] == episode.rewards[7]
    assert operation == episode.extras["operation"][7]
    assert found.ends[34].all()
    assert not found.ends[:34].any()
    # Some of them one by one, through the environment's own step.
    from jaxarc_trace.simulate import simulator

    whole = jt.replay(episode, env).episode
    sim = simulator(env, sorted(episode.actions))
    state = sim.assembled({name: value[7] for name, value in whole.states.items()})
    step = jax.jit(env.step)
    for o, r, c in ((3, 1, 2), (12, 0, 0), (30, 4, 4), (33, 1, 1)):
        one: Any = {"operation": o, "row": r, "col": c}
        if action == "flat":
            one = (o * 30 + r) * 30 + c
        elif action == "bbox":
            one = {"operation": o, "r1": r, "c1": c, "r2": r, "c2": c}
        elif action == "mask":
            one = {"operation": o, "selection": np.zeros((30, 30), bool)}
            one["selection"][r, c] = True
        after, timestep = step(state, jax.tree.map(jnp.asarray, one))
        inner = after
        assert found.scores[o, r, c] == inner.similarity_score
        assert found.rewards[o, r, c] == timestep.reward
    del row, column


@pytest.mark.slow
def test_the_needed_actions_reach_the_same_grid_and_none_can_be_left_out():
    episode = max((e for e in stored() if e.complete), key=lambda e: e.rewards.sum())
    found = jt.minimize(episode, world())
    assert len(found.kept) < len(episode)
    assert list(found.kept) == sorted(set(found.kept))
    for name in ("working_grid", "working_grid_mask"):
        assert np.array_equal(found.episode.states[name][-1], episode.states[name][-1])
    assert len(found.episode) == len(found.kept)
    from jaxarc_trace.counterfactual import _Search
    from jaxarc_trace.simulate import simulator

    whole = jt.replay(episode, world()).episode
    sim = simulator(world(), sorted(episode.actions))
    search = _Search(sim, whole, ("working_grid", "working_grid_mask"))
    one_less = [[t for t in found.kept if t != gone] for gone in found.kept]
    assert search.reaches([found.kept]) == [True]
    assert not any(search.reaches(one_less))


@pytest.mark.slow
def test_what_cannot_be_asked_is_refused():
    with pytest.raises(jt.SpecError, match="t: expected a transition from 0 to"):
        jt.counterfactuals(long_one(), 99, world())
    foreign = jt.Episodes.of(recording([4]))[0]
    with pytest.raises(jt.SpecError, match="expected an episode from its start"):
        jt.minimize(foreign, world())


def added(episode: jt.Episode) -> Replay:
    values = np.arange(len(episode), dtype=np.float32)
    held = replace(episode, extras={**episode.extras, "value": values})
    return Replay(episode.id, "exact", episode=held)


def test_added_fields_are_kept_beside_the_run_and_come_back(tmp_path: Path):
    episodes = jt.Episodes.of(recording([4, 6, 3]))
    files = jt.keep_fields(tmp_path, [added(e) for e in episodes[:2]], "value")
    assert [file.parent.name for file in files] == ["fields", "fields"]
    found = jt.with_fields(episodes, tmp_path)
    assert found[1].extras["value"].tolist() == [0, 1, 2, 3, 4, 5]
    assert "value" not in found[2].extras
    assert "value" not in episodes[1].extras
    # Another episode of the same lane and number does not get them.
    other = jt.with_fields(jt.Episodes.of(recording([4, 6, 3], seed=5)), tmp_path)
    assert "value" not in other[1].extras
    files[0].write_bytes(files[0].read_bytes()[:40])
    with pytest.raises(jt.StoreError, match=r"is damaged .*; remove it"):
        _ = found[0]
    with pytest.raises(jt.SpecError, match="expected the fields speed of a replayed episode"):
        jt.keep_fields(tmp_path, [added(episodes[0])], "speed")
