"""Packed episodes on the host: parts that belong together, decoding, and episodes cut short."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.errors import SchemaError
from jaxarc_trace.recording import COLUMNS, Recording, decode
from jaxarc_trace.schema import Section
from tests import toy
from tests.recordings import POLICIES, recording, schema

LENGTHS = [3, 0, 5, 1]


def without(columns: Any, name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in columns.items() if key != name}


def test_episodes_lie_one_after_the_other():
    saved = recording(LENGTHS)
    assert len(saved) == 4
    assert saved.offsets.tolist() == [0, 3, 3, 8, 9]
    assert saved.offsets.dtype == np.int64
    records, constant, final = saved.read(2)
    assert np.array_equal(records, saved.records[3:8])
    assert np.array_equal(constant, saved.constants[2])
    assert np.array_equal(final, saved.finals[2])
    assert saved.read(1)[0].shape == (0, saved.schema.record_bytes)


def test_a_recording_of_nothing():
    saved = recording([])
    assert len(saved) == 0
    assert saved.offsets.tolist() == [0]


def test_more_transitions_than_int32_counts():
    saved = recording([1, 1, 1])
    width = saved.schema.record_bytes
    many = replace(
        saved,
        columns={**saved.columns, "kept": np.full(3, 2**30, np.int32)},
        # Takes no memory: every row is the same one.
        records=np.broadcast_to(np.zeros((1, width), np.uint8), (3 * 2**30, width)),
    )
    assert many.offsets.tolist() == [0, 2**30, 2**31, 3 * 2**30]
    assert many.read(2)[0].shape == (2**30, width)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_column_must_be_there_in_its_dtype(name: str):
    saved = recording(LENGTHS)
    count = 0 if name == "lane" else 4
    tail = "give one row an episode in each column"
    expected = f"column {name!r}: expected {COLUMNS[name]} [{count}], found"
    with pytest.raises(SchemaError) as caught:
        replace(saved, columns=without(saved.columns, name))
    assert str(caught.value) == f"{expected} nothing; {tail}"
    wrong = saved.columns[name].astype(np.float64)
    with pytest.raises(SchemaError) as caught:
        replace(saved, columns={**saved.columns, name: wrong})
    assert str(caught.value) == (
        f"column {name!r}: expected {COLUMNS[name]} [4], found float64 [4]; {tail}"
    )


@pytest.mark.parametrize(
    "column", [np.zeros(3, np.float32), np.zeros(4), np.zeros((4, 1), np.float32)]
)
def test_a_metric_has_one_row_an_episode_too(column: np.ndarray):
    saved = recording(LENGTHS)
    with pytest.raises(SchemaError) as caught:
        replace(saved, columns={**saved.columns, "metric.x": column})
    assert str(caught.value) == (
        f"column 'metric.x': expected float32 [4], found {column.dtype} {list(column.shape)}; "
        "give one row an episode in each column"
    )


def test_a_negative_number_of_transitions_is_refused():
    saved = recording(LENGTHS)
    kept = np.array([3, -1, 6, 1], np.int32)
    with pytest.raises(SchemaError) as caught:
        replace(saved, columns={**saved.columns, "kept": kept})
    assert str(caught.value) == (
        "column 'kept': expected numbers of transitions, found -1; give for each episode how "
        "many of the records are its own"
    )


@pytest.mark.parametrize("name", ["constants", "finals", "records"])
def test_parts_that_do_not_belong_together_are_refused(name: str):
    saved = recording(LENGTHS)
    part = getattr(saved, name)
    for wrong in (part[:-1], part[:, :-1], part.astype(np.int16)):
        with pytest.raises(SchemaError) as caught:
            replace(saved, **{name: wrong})
        assert str(caught.value) == (
            f"{name}: expected uint8 {list(part.shape)}, found {wrong.dtype} {list(wrong.shape)}; "
            "take all parts from one recording"
        )


def decoded(saved: Recording, index: int, **changes: Any) -> jt.Episode:
    row = {name: column[index] for name, column in saved.columns.items()} | changes
    return decode(
        saved.schema,
        saved.read(index),
        row,
        policies=saved.policies,
        environment=saved.environment,
        metadata={"note": 1},
    )


def test_an_episode_is_decoded_by_its_schema():
    saved = recording(LENGTHS)
    episode = decoded(saved, 2)
    cut = saved.schema.state.nbytes
    states = saved.schema.state.unpack(saved.records[3:8, :cut])
    final = saved.schema.state.unpack(saved.finals[2])
    step = saved.schema.step.unpack(saved.records[3:8, cut:])
    assert len(episode) == 5
    for name in ("grid", "mask", "level"):
        assert episode.states[name].shape == (6, *states[name].shape[1:])
        assert episode.states[name][:-1].tobytes() == states[name].tobytes()
        assert episode.states[name][-1].tobytes() == final[name].tobytes()
    assert episode.actions.keys() == {"move"}
    assert episode.extras.keys() == {"operation"}
    assert np.array_equal(episode.actions["move"], step["action.move"])
    assert episode.rewards.tobytes() == step["reward"].tobytes()
    assert np.array_equal(episode.terminated, step["terminated"])
    assert np.array_equal(episode.digests, step["digest"])  # type: ignore[arg-type]
    constants = saved.schema.constant.unpack(saved.constants[2])
    assert np.array_equal(episode.constants["goal"], constants["goal"])
    assert np.array_equal(episode.states["goal"], np.stack([constants["goal"]] * 6))
    assert not episode.states["goal"].flags.writeable
    assert episode.metadata == {"note": 1}


def test_the_row_says_the_rest():
    saved = recording(LENGTHS)
    episode = decoded(saved, 2, kept_by=np.uint32(5), success=np.int8(0), dropped=np.uint32(7))
    assert episode.kept_by == (POLICIES[0], POLICIES[2])
    assert (episode.success, episode.dropped, episode.length) == (False, 7, 12)
    assert (episode.lane, episode.number) == (2, 0)
    assert episode.metrics == {"level_max": pytest.approx(saved.columns["metric.level_max"][2])}
    assert decoded(saved, 2, success=np.int8(-1)).success is None
    assert decoded(saved, 2, success=np.int8(1)).success is True


def test_an_episode_of_a_minimal_trace_has_its_final_state_alone():
    saved = recording([0, 0])
    nothing = replace(saved.schema, step=Section(()))
    minimal = replace(saved, schema=nothing, records=np.zeros((0, nothing.record_bytes), np.uint8))
    episode = decoded(minimal, 1, dropped=np.uint32(9))
    assert (len(episode), episode.length) == (0, 9)
    assert episode.states["grid"].shape == (1, 6, 6)
    assert episode.digests is None
    assert (episode.rewards.dtype, episode.terminated.dtype) == (np.float32, np.bool_)


def test_a_value_that_did_not_fit_is_refused_by_the_name_of_its_episode():
    layout = schema()
    assert layout.state.unfit_bytes == 1
    saved = recording(LENGTHS)
    records = saved.records.copy()
    records[4, layout.state.nbytes - 1] = 1
    damaged = replace(saved, records=records)
    with pytest.raises(SchemaError) as caught:
        decoded(damaged, 2)
    assert str(caught.value).startswith(
        "lane 2 episode 0: field 'grid' held a value outside [-1, 14] at row 1 (1 in all)"
    )
    decoded(damaged, 0)


LANES, MAX = 2, 5


@functools.cache
def stepper(layout: str, level: str) -> tuple[Any, Any]:
    """A traced step of the toy environment, and a jitted loop of `n` of them."""
    spec = jt.TraceSpec(level=level, max_steps=MAX, capacity=MAX, layout=layout, keep={"best": 1})  # type: ignore[arg-type]
    step = jt.wrap_step(toy.scripted_step, spec, probe=toy.probe())

    @jax.jit
    def run(state: Any, steps: jax.Array) -> Any:
        def body(index: jax.Array, state: Any) -> Any:
            return step(state, jnp.broadcast_to(index, (LANES,)))[0]

        return jax.lax.fori_loop(0, steps, body, state)

    return step, run


def under_way(layout: str, level: str, steps: int) -> tuple[jt.Recording, jt.Recording]:
    """Episodes that are still running: taken as they are, and after `detach`."""
    step, run = stepper(layout, level)
    script = toy.Script(
        *(
            np.full((LANES, 1), v, d)
            for v, d in ((99, np.int32), (1, np.float32), (0, np.float32), (0, np.int8))
        )
    )
    state = toy.lane_states(script, jnp.arange(LANES, dtype=jnp.int32))
    attached = jt.attach(step, state, jax.ShapeDtypeStruct((LANES,), jnp.int32))
    after = run(attached, jnp.asarray(steps, jnp.int32))
    return jt.take(after.trace), jt.take(jt.detach(step, after)[1])


@pytest.mark.parametrize("layout", ["batch", "lane"])
@pytest.mark.parametrize("steps", [1, 2, MAX, MAX + 1, 2 * MAX + 3])
def test_an_episode_under_way_is_taken_up_to_the_last_state_that_is_known(layout: str, steps: int):
    early, whole = under_way(layout, "standard", steps)
    kept = min(steps, MAX)
    assert whole.columns["kept"].tolist() == [kept] * LANES
    assert whole.columns["dropped"].tolist() == [steps - kept] * LANES
    assert whole.columns["end_step"].tolist() == [steps - 1] * LANES
    for index in range(LANES):
        episode = decoded(whole, index)
        assert episode.actions["action"].tolist() == list(range(steps - kept, steps))
        assert episode.states["episode.time"].tolist() == list(range(steps - kept, steps + 1))
        assert not episode.complete
    # The last transition is left out, and the row of the ring that it took is not shown.
    known = min(steps - 1, MAX - 1)
    assert early.columns["total_return"].tolist() == [float(steps - 1)] * len(early)
    assert early.columns["kept"].tolist() == ([known] * LANES if known else [])
    for index in range(len(early)):
        episode = decoded(early, index)
        assert early.columns["dropped"][index] == steps - 1 - known
        assert early.columns["end_step"][index] == steps - 2
        assert episode.actions["action"].tolist() == list(range(steps - 1 - known, steps - 1))
        assert episode.states["episode.time"].tolist() == list(range(steps - 1 - known, steps))


@pytest.mark.parametrize("layout", ["batch", "lane"])
def test_a_minimal_trace_invents_no_final_state(layout: str):
    early, whole = under_way(layout, "minimal", 3)
    assert len(early) == 0
    assert whole.columns["dropped"].tolist() == [3] * LANES
    final = whole.schema.state.unpack(whole.finals)
    assert final["episode.time"].tolist() == [3] * LANES
