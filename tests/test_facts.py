"""The episode table: what only the steps tell, computed once, kept in the run, asked for in SQL."""

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.analysis import FACTS, facts, measured, summarise
from jaxarc_trace.facts import _file
from jaxarc_trace.run import Run
from tests.recordings import ENVIRONMENT, recording, spoil
from tests.render.stored import stored
from tests.test_store_scale import COUNT, resident

GOLDEN = Path(__file__).parent / "golden" / "replay_v1"
ROLES = {"grid": "grid", "grid_mask": "mask", "operation": "operation", "task": "task"}
GRIDS = {**ENVIRONMENT, "roles": {**ROLES, "score": "level"}}


def test_the_facts_of_an_episode_are_those_of_its_steps():
    found = facts(stored("hasty"))
    assert list(found) == list(FACTS)
    assert (found["submits"], found["step_of_best"], found["dimension_match"]) == (1, 7, 1)
    assert found["score_best"] == pytest.approx(0.976, abs=1e-3)
    assert found["failures"] == "premature submit"
    assert found["no_op_share"] == 1 / 8


def test_without_a_grid_nothing_is_said_of_it(tmp_path: Path):
    without = {**ENVIRONMENT, "roles": {}}
    found = facts(jt.load(jt.save(tmp_path / "trace", recording([3], environment=without)))[0])
    assert np.isnan(found["no_op_share"])
    assert found["revisits"] == -1


def test_the_table_has_the_facts_and_conditions_can_ask_for_them():
    episodes = measured(jt.load(GOLDEN), cache=False)
    assert set(FACTS) <= set(episodes.table.columns)
    assert {"task", "pair", "lane", "return", "length", "solved", "outcome"} <= set(
        episodes.table.columns
    )
    hasty = episodes.where("failures LIKE '%premature submit%' AND submits = 1")
    assert len(hasty)
    assert all("premature submit" in text for text in hasty.columns["failures"])
    # A choice made before sees the same values as one made after.
    later = measured(jt.load(GOLDEN)[5:9], cache=False)
    for name in ("revisits", "score_best", "failures"):
        assert later.columns[name].tolist() == episodes.columns[name][5:9].tolist()
    for index in (0, 7):
        assert facts(episodes[index])["revisits"] == episodes.columns["revisits"][index]


def test_the_facts_are_kept_in_the_run_and_read_from_there(tmp_path: Path):
    with Run.create(tmp_path, "kept") as run:
        run.save(recording([3, 5], environment=GRIDS), step=10)
        run.save(recording([4], seed=3, environment=GRIDS), step=20)
        asked: list[int] = []

        def counted(numbers, total):
            asked.append(total)
            return numbers

        first = measured(run.episodes(), progress=counted)
        again = measured(run.episodes(), progress=counted)
    assert asked == [3, 0]
    assert len(list((run.path / "analysis").iterdir())) == 2
    assert sorted(set(first.columns["update"].tolist())) == [10, 20]
    for name in FACTS:
        assert [str(v) for v in again.columns[name]] == [str(v) for v in first.columns[name]]


@pytest.mark.parametrize("harm", ["cut", "other", "empty"])
def test_a_kept_file_that_is_not_whole_is_computed_again(tmp_path: Path, harm: str):
    path = jt.save(tmp_path / "trace", recording([3, 5], environment=GRIDS))
    first = measured(jt.load(path)).columns["revisits"]
    file = _file(jt.load(path).sources[0])
    raw = file.read_bytes()
    if harm == "other":
        np.savez(file, revisits=np.zeros(7))
        file.with_suffix(".npz.npz").unlink(missing_ok=True)
    else:
        file.write_bytes(raw[: len(raw) // 2] if harm == "cut" else b"")
    assert measured(jt.load(path)).columns["revisits"].tolist() == first.tolist()


def test_a_damaged_episode_is_in_the_table_as_unreadable(tmp_path: Path):
    path = jt.save(tmp_path / "a", recording([40] * 400, environment=GRIDS))
    spoil(path)
    columns = measured(jt.load(path), cache=False).columns
    lost = ~columns["readable"]
    assert 0 < lost.sum() < 400
    assert set(columns["revisits"][lost].tolist()) == {-1}


def test_columns_of_another_length_are_refused():
    episodes = jt.Episodes.of(recording([3, 5]))
    with pytest.raises(jt.SpecError, match="expected a value for each of the 2 episodes"):
        episodes.with_columns({"x": np.zeros(3)})


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_episodes(tmp_path: Path):
    def peak(count: int) -> int:
        path = jt.save(tmp_path / str(count), recording([12] * count, environment=GRIDS))
        episodes = jt.load(path)
        tracemalloc.start()
        measured(episodes, cache=False)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(500), peak(4000)
    # What grows is a row of numbers an episode: well below the 1.7 KB that its steps take.
    assert (large - small) / 3500 < 1000


@pytest.mark.slow
def test_a_hundred_thousand_episodes_are_measured_once_and_in_bounded_memory(tmp_path: Path):
    made = recording([2] * COUNT, environment=GRIDS)
    path = jt.save(tmp_path / "run" / "traces" / "0", made)
    sample = [facts(jt.Episodes.of(made)[index]) for index in (0, 1, COUNT - 1)]
    del made
    held: list[float] = []
    asked: list[int] = []

    def watched(numbers: Iterable[int], total: int) -> Iterator[int]:
        asked.append(total)
        for number in numbers:
            if number % 10_000 == 0:
                held.append(resident())
            yield number

    columns = measured(jt.load(path), progress=watched).columns
    assert asked == [COUNT]
    # Ten numbers an episode; all the steps would be more than these.
    assert max(held) - held[1] < 60
    for index, expected in zip((0, 1, COUNT - 1), sample, strict=True):
        assert columns["revisits"][index] == expected["revisits"]
        assert columns["failures"][index] == expected["failures"]
    again = measured(jt.load(path), progress=watched).columns
    assert asked == [COUNT, 0]
    assert np.array_equal(again["no_op_share"], columns["no_op_share"])
    assert sum(group.episodes for group in summarise(jt.load(path), "task")) == COUNT


def test_facts_without_any_role_are_unknown():
    found = facts(replace(stored("hasty"), environment={}))
    assert np.isnan(found["score_final"])
    assert (found["submits"], found["dimension_match"], found["step_of_best"]) == (-1, -1, -1)
