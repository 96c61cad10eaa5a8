"""Episodes: a lazy sequence with columns, a table, selections, and joins without repeats."""

import pickle
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from jaxarc_trace.episode import Episode
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError
from jaxarc_trace.recording import Recording
from jaxarc_trace.store import load, save
from tests.recordings import recording

LENGTHS = [5, 0, 17, 30, 1, 25, 9, 8]


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Episodes:
    return load(save(tmp_path_factory.mktemp("runs") / "a", recording(LENGTHS), {"step": 3}))


def with_columns(base: Recording, **columns: Sequence[float]) -> Recording:
    new = {name: np.asarray(v).astype(base.columns[name].dtype) for name, v in columns.items()}
    return replace(base, columns={**base.columns, **new})


def ids(episodes: Episodes) -> list[str]:
    return [episode.id for episode in episodes]


def test_it_is_a_sequence(episodes: Episodes):
    assert len(episodes) == len(LENGTHS)
    assert [len(e) for e in episodes] == LENGTHS
    assert episodes[-1].id == episodes[len(LENGTHS) - 1].id
    assert isinstance(episodes[np.int64(2)], Episode)
    assert isinstance(episodes, Sequence)
    assert next(reversed(episodes)).id == episodes[-1].id
    for index in (len(LENGTHS), -len(LENGTHS) - 1):
        with pytest.raises(IndexError, match=f"expected an episode of 8, found index {index}"):
            episodes[index]


@given(cut=st.slices(len(LENGTHS)), again=st.slices(len(LENGTHS)))
def test_slices_are_views_as_those_of_a_list(episodes: Episodes, cut: slice, again: slice):
    expected = list(range(len(LENGTHS)))[cut][again]
    view = episodes[cut][again]
    assert view.positions.tolist() == expected
    assert view.sources == episodes.sources
    assert view.columns["length"].tolist() == [LENGTHS[i] for i in expected]


def test_columns_agree_with_the_episodes(episodes: Episodes):
    columns = episodes.columns
    for index, episode in enumerate(episodes):
        assert columns["lane"][index] == episode.lane
        assert columns["number"][index] == episode.number
        assert columns["return"][index] == np.float32(episode.total_return)
        assert columns["length"][index] == episode.length
        assert columns["complete"][index] == episode.complete
        assert columns["outcome"][index] in {episode.outcome, "terminated", "truncated"}
        assert columns["kept_by"][index] == ",".join(episode.kept_by)
        assert columns["task"][index] == ["alpha", "beta"][int(episode.constants["task"])]
        assert columns["level_max"][index] == np.float32(episode.metrics["level_max"])
        assert (columns["solved"][index] == 1) == (episode.success is True)


def test_the_table_is_the_columns_with_null_where_unknown(episodes: Episodes):
    table = episodes.table
    assert table.columns == ["episode", *episodes.columns]
    assert table["episode"].to_list() == list(range(len(episodes)))
    assert table.schema["solved"] == pl.Boolean
    assert table.schema["task"] == pl.String
    expected = [{1: True, 0: False, -1: None}[int(v)] for v in episodes.columns["solved"]]
    assert table["solved"].to_list() == expected


def test_three_ways_to_filter_agree(episodes: Episodes):
    by_function = episodes.filter(lambda episode: len(episode) > 8)
    by_expression = episodes.filter(pl.col("length") > 8)
    by_sql = episodes.where("length > 8")
    assert [len(e) for e in by_function] == [n for n in LENGTHS if n > 8]
    assert ids(by_function) == ids(by_expression) == ids(by_sql)
    with pytest.raises(SpecError, match="use where"):
        episodes.filter("length > 8")  # pyright: ignore[reportArgumentType]
    assert ids(by_sql.where("return > 0")) == ids(episodes.where("return > 0 AND length > 8"))
    assert ids(episodes.where("solved IS NULL OR NOT solved")) == ids(
        episodes.filter(lambda e: e.success is not True)
    )


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("lengt > 3", "over the columns episode, lane, .* found 'lengt > 3' .*mean 'length'"),
        ("zzz > 3", "found 'zzz > 3' .unable to find column \"zzz\".; check the names"),
        ("length >", "expected a condition such as .* found 'length >'"),
        ("DROP TABLE x", "expected a condition such as"),
        ("length", "true or false for each episode, found 'length' of type Int64; compare it"),
        ("length > 'x'", "over the columns"),
    ],
)
def test_a_condition_that_is_none_is_refused(episodes: Episodes, sql: str, message: str):
    with pytest.raises(SpecError, match=message):
        episodes.where(sql)


def test_sorting_is_stable_and_puts_nan_last():
    base = recording([1] * 6)
    held = Episodes.of(with_columns(base, total_return=[2, float("nan"), 1, 2, float("nan"), 3]))
    assert held.sort_by("return").positions.tolist() == [2, 0, 3, 5, 1, 4]
    assert held.sort_by("return", descending=True).positions.tolist() == [5, 0, 3, 2, 1, 4]
    assert held.sort_by("lane", descending=True).positions.tolist() == [3, 2, 1, 5, 0, 4]
    tasks = held.sort_by("task").columns["task"].tolist()
    assert tasks == sorted(tasks)


def test_a_column_that_is_not_there_is_named_with_the_nearest(episodes: Episodes):
    with pytest.raises(SpecError, match=r"found 'retrun'; did you mean 'return'\?"):
        episodes.sort_by("retrun")


def test_best_worst_and_failed_take_complete_episodes():
    base = recording([1] * 6)
    held = Episodes.of(
        with_columns(
            base,
            total_return=[5, 9, 1, 3, 7, 0],
            complete=[1, 0, 1, 1, 1, 0],
            success=[1, -1, 0, 0, 1, 0],
        )
    )
    assert held.best(2).positions.tolist() == [4, 0]
    assert held.worst(2).positions.tolist() == [2, 3]
    assert held.best(1, by="length").positions.tolist() == [0]
    assert held.failed().positions.tolist() == [2, 3]
    assert held.failed(1).positions.tolist() == [2]
    assert len(held.best(99)) == 4
    assert len(held.best(0)) == len(held.best(-1)) == 0


def test_a_sample_is_reproducible_without_repeats_and_in_order(episodes: Episodes):
    drawn = episodes.sample(4, seed=1).positions.tolist()
    assert drawn == episodes.sample(4, seed=1).positions.tolist() == sorted(set(drawn))
    assert len(drawn) == 4
    assert any(episodes.sample(4, seed=s).positions.tolist() != drawn for s in range(2, 9))
    assert ids(episodes.sample(99)) == ids(episodes)


def test_a_handle_is_small_and_works_in_a_spawned_process(episodes: Episodes, tmp_path: Path):
    handle = tmp_path / "handle"
    handle.write_bytes(pickle.dumps(episodes[2:5]))
    assert handle.stat().st_size < 2000
    program = (
        "import pickle, sys; e = pickle.loads(open(sys.argv[1], 'rb').read());"
        "print([x.id for x in e]); assert 'orbax' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, handle], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(ids(episodes[2:5]))


def test_the_repr_is_a_short_table(episodes: Episodes):
    text = repr(episodes)
    assert text.startswith("<Episodes: 8 episodes, 95 steps, from ")
    assert len(text.splitlines()) == 10
    assert len(repr(Episodes.of(recording([1] * 30))).splitlines()) == 13
    odd = {"task_ids": ["\x1b[31mred\n" * 9, "b"], "roles": {"task": "task"}}
    shown = repr(Episodes.of(recording([1] * 4, environment=odd)))
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 6


def test_metadata_is_what_all_sources_agree_on(tmp_path: Path):
    for name, step in (("a", 1), ("b", 2)):
        save(tmp_path / name, recording([2]), {"step": step, "seed": 0, "tags": ["x"]}, run=name)
    both = load([tmp_path / "a", tmp_path / "b"])
    assert both.metadata == {"seed": 0, "tags": ["x"]}
    assert both.environment["name"] == "synthetic"
    assert [e.metadata["step"] for e in both] == [1, 2]
    assert both[1:].columns["task"].shape == (1,)


def test_saves_of_one_run_join_without_repeats(tmp_path: Path):
    early = with_columns(recording([3, 4, 5], seed=1), complete=[1, 1, 0], dropped=[0, 2, 0])
    late = with_columns(recording([3, 6, 9], seed=1), complete=[1, 1, 1])
    for name, saved in (("1", early), ("2", late)):
        save(tmp_path / name, saved, {"save": name}, run="r")
    save(tmp_path / "other", early, {"save": "other"}, run="other")
    joined = load([tmp_path / "1", tmp_path / "2"])
    # The same in both: the later. One with fewer lost, one that is complete now: those.
    assert [len(e) for e in joined] == [3, 6, 9]
    assert [e.metadata["save"] for e in joined] == ["2", "2", "2"]
    assert len(load([tmp_path / "1", tmp_path / "2", tmp_path / "other"])) == 6
    assert len(load([tmp_path / "1", tmp_path / "1"])) == 3


def test_saves_without_a_run_are_joined_only_where_they_agree(tmp_path: Path):
    # Two programs with other seeds record the same lanes and numbers.
    for seed in (1, 2):
        save(tmp_path / str(seed), recording([3, 3, 3], seed=seed))
    save(tmp_path / "again", recording([3, 3, 3], seed=1))
    assert len(load([tmp_path / "1", tmp_path / "2"])) == 6
    assert len(load([tmp_path / "1", tmp_path / "again"])) == 3
    assert len(load([tmp_path / "1", tmp_path / "2", tmp_path / "again"])) == 6


def test_an_episode_under_way_gives_way_to_its_own_end(tmp_path: Path):
    running = with_columns(recording([3]), complete=[0], end_step=[13])
    ended = with_columns(recording([7]), end_step=[17])
    elsewhere = with_columns(recording([7]), end_step=[99])
    for name, saved in (("r", running), ("e", ended), ("x", elsewhere)):
        save(tmp_path / name, saved)
    assert [len(e) for e in load([tmp_path / "r", tmp_path / "e"])] == [7]
    assert [len(e) for e in load([tmp_path / "r", tmp_path / "x"])] == [3, 7]


def test_metrics_that_one_source_lacks_are_nan(tmp_path: Path):
    base = recording([2])
    plain = replace(
        base, columns={n: c for n, c in base.columns.items() if not n.startswith("metric")}
    )
    joined = Episodes.join([*Episodes.of(base).sources, *Episodes.of(plain).sources])
    assert len(joined) == 1
    save(tmp_path / "a", base, run="a")
    save(tmp_path / "b", plain, run="b")
    level = load([tmp_path / "a", tmp_path / "b"]).columns["level_max"]
    assert np.isfinite(level[0])
    assert np.isnan(level[1])


def test_nothing_at_all_is_an_empty_sequence():
    nothing = load([])
    assert list(nothing) == []
    assert nothing.columns == {}
    assert nothing.metadata == {}
    assert repr(nothing) == "<Episodes: 0 episodes, 0 steps, from >"
    assert len(nothing.best(3)) == len(nothing.failed()) == len(nothing.sample(2)) == 0
    assert nothing.table.height == 0


@pytest.mark.parametrize("room", [1, 5000, 2**21])
def test_going_through_any_view_gives_each_episode_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
):
    monkeypatch.setattr("jaxarc_trace.store_read._BLOCK_BYTES", 32 * room)
    first, second = recording([3, 0, 40, 7] * 9), recording([5, 1] * 8, seed=1)
    memory = Episodes.of(recording([2, 2], seed=2))
    save(tmp_path / "a", first, run="a")
    save(tmp_path / "b", second, run="b")
    joined = Episodes.join([*load([tmp_path / "a", tmp_path / "b"]).sources, *memory.sources])
    rng = np.random.default_rng(0)
    for view in (joined, joined[::-3], joined.take(rng.permutation(len(joined))), joined[:0]):
        places = [view.locate(index) for index in range(len(view))]
        assert [(source, row) for source, row, _ in view.stream()] == places
        for (source, row), (_, _, parts) in zip(places, view.stream(), strict=True):
            assert all(map(np.array_equal, parts, source.packed(row)))
        assert [len(episode) for episode in view] == view.columns["length"].tolist()
    # Whoever stops half-way leaves no thread behind.
    next(iter(joined))
    assert not [t for t in threading.enumerate() if t.name.startswith("jaxarc-trace-read")]


def test_opening_reads_no_episode_and_iterating_holds_memory_flat(tmp_path: Path):
    saved = recording([40] * 400, side=40)
    path = save(tmp_path / "a", saved)
    total = saved.records.nbytes
    del saved
    tracemalloc.start()
    try:
        episodes = load(path)
        assert len(episodes.columns["length"]) == 400
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.reset_peak()
        for episode in episodes:
            assert len(episode) == 40
        assert tracemalloc.get_traced_memory()[1] < min(8_000_000, total / 2)
    finally:
        tracemalloc.stop()
