"""Export and import: nothing is lost, nothing is half written, nothing is written over."""

import base64
import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxarc_trace.catalog import describe, episodes_at, list_runs, verify_all
from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import CorruptEpisodeError, NotATraceError, SpecError, StoreError
from jaxarc_trace.exchange import export, import_file
from jaxarc_trace.fresh import UNFINISHED, fresh_file
from jaxarc_trace.run import Run
from jaxarc_trace.store import load, save
from tests.recordings import interrupted, recording, spoil

LENGTHS = [5, 0, 17, 3]
BOTH_WAYS = ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.npz")


@pytest.fixture
def episodes(tmp_path: Path) -> Episodes:
    return load(save(tmp_path / "store", recording(LENGTHS), {"step": 3}, run="r", process=2))


def same(left: Episodes, right: Episodes) -> None:
    assert len(left) == len(right)
    for index in range(len(left)):
        (a, row_a), (b, row_b) = left.locate(index), right.locate(index)
        assert a.key == b.key
        assert a.metadata == b.metadata
        assert a.environment == b.environment
        assert a.schema == b.schema
        assert all(map(np.array_equal, a.packed(row_a), b.packed(row_b)))
        for name in a.columns.keys() - {"start"}:
            ours, theirs = a.columns[name][row_a], b.columns[name][row_b]
            assert ours.dtype == theirs.dtype
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_what_is_exported_is_imported(tmp_path: Path, episodes: Episodes, name: str):
    done = export(episodes, tmp_path / name)
    assert (done.episodes, done.skipped) == (4, ())
    (path,) = import_file(done.path, tmp_path / "again")
    same(load(path), episodes)


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_selections_of_several_stores_become_several(tmp_path: Path, name: str):
    with Run.create(tmp_path / "runs") as run:
        for index in range(3):
            run.save(recording([4, 5], seed=index, side=5 + index), step=index)
    chosen = Episodes.join(list(run.episodes().sources))
    for index in range(3):
        save(tmp_path / str(index), recording([4, 5], side=5 + index), run=str(index))
    chosen = load([tmp_path / str(i) for i in range(3)]).take([5, 0, 2])
    paths = import_file(export(chosen, tmp_path / name).path, tmp_path / "again")
    assert [path.name for path in paths] == ["000001", "000002", "000003"]
    same(load(paths), chosen.take([1, 2, 0]))


def test_a_line_can_be_read_without_this_package(tmp_path: Path, episodes: Episodes):
    export(episodes, tmp_path / "a.jsonl.gz")
    with gzip.open(tmp_path / "a.jsonl.gz", "rt") as file:
        header, *lines, end = map(json.loads, file)
    assert header["schema"]["state"]["nbytes"] == episodes.sources[0].schema.state.nbytes
    assert header["metadata"] == {"step": 3}
    assert end == {"kind": "end", "episodes": 4}
    for line, episode in zip(lines, episodes, strict=True):
        assert line["lane"] == episode.lane
        assert line["outcome"] == episode.outcome
        assert line["actions"]["move"] == episode.actions["move"].tolist()
        finite = np.isfinite(episode.rewards)
        assert [r is None for r in line["rewards"]] == (~finite).tolist()
        assert base64.b64decode(line["packed"]["final"])


def test_the_same_episodes_give_the_same_bytes(tmp_path: Path, episodes: Episodes):
    for name in ("a.jsonl", "a.jsonl.gz"):
        first = export(episodes, tmp_path / "1" / name).path.read_bytes()
        assert export(episodes, tmp_path / "2" / name).path.read_bytes() == first


def test_parquet_holds_the_columns_the_rewards_and_the_bytes(tmp_path: Path, episodes: Episodes):
    export(episodes, tmp_path / "a.parquet")
    table = pl.read_parquet(tmp_path / "a.parquet")
    assert table["kept"].to_list() == LENGTHS
    assert table["metric.level_max"].dtype == pl.Float32
    assert table["checksum"].dtype == pl.UInt64
    for index, episode in enumerate(episodes):
        assert len(table["rewards"][index]) == len(episode)
        source, row = episodes.locate(index)
        assert table["packed.records"][index] == source.packed(row)[0].tobytes()
    (header,) = json.loads(pl.read_parquet_metadata(tmp_path / "a.parquet")["jaxarc_trace"])
    assert header["metadata"] == {"step": 3}


@pytest.mark.parametrize("name", [*BOTH_WAYS, "a.parquet"])
def test_no_episodes_can_be_exported(tmp_path: Path, episodes: Episodes, name: str):
    assert export(episodes[:0], tmp_path / name).episodes == 0
    if name in BOTH_WAYS:
        (path,) = import_file(tmp_path / name, tmp_path / "again")
        assert len(load(path)) == 0


def test_a_taken_path_and_an_unknown_ending_are_refused(tmp_path: Path, episodes: Episodes):
    (tmp_path / "a.npz").write_text("mine")
    with pytest.raises(StoreError, match="expected a path where nothing exists"):
        export(episodes, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_text() == "mine"
    with pytest.raises(SpecError, match=r"one of \.jsonl\.gz, .*\.npz, found '\.csv'"):
        export(episodes, tmp_path / "a.csv")
    with pytest.raises(SpecError, match="export as one of these, for Parquet is for other"):
        import_file(tmp_path / "a.parquet", tmp_path / "x")


def test_a_damaged_episode_stops_the_export_or_is_left_out(tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxarc_trace.store_format.CHUNK_BYTES", 4096)
        path = save(tmp_path / "store", recording([30] * 20, side=16))
    spoil(path)
    with pytest.raises(CorruptEpisodeError):
        export(load(path), tmp_path / "a.jsonl")
    assert not [p for p in tmp_path.iterdir() if p.name != "store"]
    done = export(load(path), tmp_path / "a.jsonl", skip_damaged=True)
    assert done.episodes + len(done.skipped) == 20
    assert 0 < len(done.skipped) < 6


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_a_damaged_file_is_refused(tmp_path: Path, episodes: Episodes, name: str):
    raw = export(episodes, tmp_path / name).path.read_bytes()
    half = tmp_path / f"half-{name}"
    half.write_bytes(raw[: len(raw) * 2 // 3])
    with pytest.raises(StoreError, match=f"half-{name}"):
        import_file(half, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_bytes_that_were_changed_are_refused(tmp_path: Path, episodes: Episodes):
    lines = export(episodes, tmp_path / "a.jsonl").path.read_text().splitlines()
    line = json.loads(lines[1])
    final = bytearray(base64.b64decode(line["packed"]["final"]))
    final[0] ^= 1
    line["packed"]["final"] = base64.b64encode(final).decode()
    (tmp_path / "b.jsonl").write_text("\n".join([lines[0], json.dumps(line), *lines[2:]]) + "\n")
    with pytest.raises(CorruptEpisodeError, match=r"b\.jsonl: lane 0 number 0 does not match"):
        import_file(tmp_path / "b.jsonl", tmp_path / "x")
    (tmp_path / "d.jsonl").write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(StoreError, match="says 2 episodes, found none; the file is cut short"):
        import_file(tmp_path / "d.jsonl", tmp_path / "x")
    (tmp_path / "c.jsonl").write_text("hello\n")
    with pytest.raises(StoreError, match=r"c\.jsonl line 1: expected what export writes"):
        import_file(tmp_path / "c.jsonl", tmp_path / "x")


def test_an_export_of_a_newer_version_is_refused(tmp_path: Path, episodes: Episodes):
    text = export(episodes, tmp_path / "a.jsonl").path.read_text()
    (tmp_path / "b.jsonl").write_text(text.replace('"version": 1', '"version": 2', 1))
    with pytest.raises(StoreError, match=r"expected an export of version 1 or older, found .* 2"):
        import_file(tmp_path / "b.jsonl", tmp_path / "x")


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path: Path, episodes: Episodes):
    (tmp_path / f"{UNFINISHED}dead").write_text("half")
    with fresh_file(tmp_path / "other") as other:
        other.write_text("under way")
        export(episodes, tmp_path / "a.jsonl")
        assert other.read_text() == "under way"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "other", "store"]


def test_ctrl_c_while_an_export_clears_up_leaves_nothing_behind(
    tmp_path: Path, episodes: Episodes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Path, "unlink", interrupted(Path.unlink))
    with pytest.raises(KeyboardInterrupt):
        export(episodes, tmp_path / "a.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "store"]


def test_runs_are_listed_described_verified_and_opened(tmp_path: Path):
    with Run.create(tmp_path, "one", {"lr": 1}) as run:
        run.save(recording([3, 4]), step=7)
        run.pin()
        (line,) = list_runs(tmp_path)
        assert line.writer is not None
    Run.create(tmp_path, "two").close()
    lines = list_runs(tmp_path)
    assert [(one.name, one.saves, one.last_step, one.pinned) for one in lines] == [
        ("one", 1, 7, True),
        ("two", 0, None, False),
    ]
    assert lines[0].writer is None
    assert lines[0].bytes > 0
    assert describe(run.path)["config"] == {"lr": 1}
    store = run.saves()[0].path
    assert describe(store)["episodes"] == 2
    json.dumps([describe(run.path), describe(store)])
    assert [v.ok for v in verify_all(tmp_path)] == [v.ok for v in verify_all(store)] == [True]
    assert len(episodes_at(tmp_path)) == len(episodes_at(run.path)) == len(episodes_at(store)) == 2
    (run.path / "run.json").write_text("{")
    assert "expected the manifest of a run" in list_runs(tmp_path)[0].problem
    for verb in (describe, verify_all, episodes_at):
        with pytest.raises(NotATraceError):
            verb(tmp_path / "nothing")
