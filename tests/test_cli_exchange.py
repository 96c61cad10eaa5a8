"""The commands that take episodes out of stores and bring them in, as a user types them."""

from pathlib import Path

import polars as pl
import pytest

import jaxarc_trace as jt
from tests.commands import Command
from tests.recordings import spoil
from tests.test_arc_agi_3 import answer, cells, written


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.npz"])
def test_what_is_exported_is_imported(
    command: Command, root: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("export", root / "demo", "--out", name)
    assert said.code == 0, said.err
    assert f"{name}: 6 episodes" in said.out
    assert f"jaxarc-trace import {name}" in said.out
    data = command("import", name, "--json").data
    assert (data["path"], data["episodes"]) == (str(tmp_path / "a"), 6)
    assert [str(e) for e in jt.load(tmp_path / "a")] == [
        str(e) for e in jt.load(root / "demo/trace")
    ]


def test_a_selection_is_exported(command: Command, root: Path, tmp_path: Path) -> None:
    episodes = jt.load(root / "demo" / "trace")
    out = tmp_path / "a.parquet"
    words = ("export", root / "demo", "--where", "length > 4", "--best", 2, "--worst", 1)
    data = command(*words, "--out", out, "--json").data
    assert set(data) == {"path", "episodes", "bytes", "skipped"}
    chosen = episodes.where("length > 4")
    expected = [e.lane for e in (*chosen.best(2), *chosen.worst(1))]
    assert pl.read_parquet(out)["lane"].to_list() == expected
    said = command("export", root / "demo", "--where", "length > 999", "--out", tmp_path / "b.npz")
    assert said.code == 2
    assert "none of 6 fits --where" in said.err
    said = command("export", root / "demo", "--out", tmp_path / "b.csv")
    assert said.code == 2
    assert "choose one of them, which is the format" in said.err


def test_several_stores_come_back_as_several(command: Command, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.npz"
    assert command("export", root / "demo", "--failed", 1, "--out", tmp_path / "f.npz").code == 0
    run = next(path for path in root.iterdir() if path.name != "demo")
    assert "4 episodes" in command("export", run, "--out", out).out
    assert "4 episodes in 4 stores" in command("import", out, "--out", tmp_path / "again").out
    assert command("verify", tmp_path / "again").out.startswith("4 saves, 4 episodes")
    assert command("info", tmp_path / "again" / "000001", "--json").data["steps"] == 3


def test_damaged_episodes_can_be_left_out(command: Command, root: Path, tmp_path: Path) -> None:
    spoil(root / "demo" / "trace")
    out = tmp_path / "a.jsonl"
    said = command("export", root / "demo", "--out", out)
    assert said.code == 2
    assert not out.exists()
    said = command("export", root / "demo", "--out", out, "--skip-damaged", "--json")
    assert said.code == 1
    assert said.data["episodes"] + len(said.data["skipped"]) == 6


def test_an_arc_agi_3_recording_is_imported(command: Command, tmp_path: Path) -> None:
    lines = (answer(0, cells(3, 4)), answer(1, cells(2, 4), score=1, state="WIN"))
    file = written(tmp_path / "game.jsonl", *lines)
    words = ("import", "--from", "arc-agi-3", file, "--out", tmp_path / "game")
    said = command(*words)
    assert said.code == 0, said.err
    assert jt.load(tmp_path / "game")[0].outcome == "solved"
    again = command(*words)
    assert again.code == 2
    assert "expected a path where nothing exists" in again.err
    assert command("import", "--from", "elsewhere", file).code == 2
    assert "expected what export writes" in command("import", file).err
