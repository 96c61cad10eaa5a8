"""The command `episodes`: its lines, their order, and the numbers that other commands take."""

import re
from pathlib import Path

import numpy as np
import pytest

import jaxarc_trace as jt
from tests.commands import Command, uncoloured
from tests.recordings import recording


def test_the_number_in_front_is_what_show_takes(command: Command, real_trace: Path) -> None:
    words = ("--where", "length > 20", "--worst", 3, "--sort", "return")
    data = command("episodes", real_trace, *words, "--json").data
    assert (data["total"], len(data["episodes"])) == (3, 3)
    said = command("episodes", real_trace, *words)
    assert said.code == 0, said.err
    for one in data["episodes"]:
        shown = command("show", real_trace, one["index"], "--json").data["episode"]
        assert (shown["id"], shown["length"]) == (one["id"], one["columns"]["length"])
        assert one["columns"]["length"] > 20
        assert re.search(rf"^ *{one['index']} +{one['id']} ", said.out, re.MULTILINE)
    returns = [one["columns"]["return"] for one in data["episodes"]]
    columns = jt.load(real_trace).columns
    long = columns["return"][columns["complete"] & (columns["length"] > 20)]
    assert returns == pytest.approx(np.sort(long)[:3].tolist())
    assert f"To see one: jaxarc-trace show {real_trace} {data['episodes'][0]['index']}" in said.out


def test_episodes_of_a_run_are_numbered_over_all_saves(command: Command, tmp_path: Path) -> None:
    with jt.Run.create(tmp_path) as run:
        for seed in (1, 2):
            run.save(recording([3, 4, 5], seed=seed), step=seed)
    whole = run.episodes()
    for one in command("episodes", run.path, "--sort", "-length", "--json").data["episodes"]:
        assert whole[one["index"]].id == one["id"]
        assert whole[one["index"]].length == one["columns"]["length"]


def test_a_measured_column_can_be_sorted_by_and_is_shown(
    command: Command, real_trace: Path
) -> None:
    said = command("episodes", real_trace, "--sort", "-no_op_share", "--limit", 5)
    assert "no_op_share" in said.out
    assert "29 episodes, 24 more than are shown; --limit 0 shows all" in said.out
    everything = command(
        "episodes", real_trace, "--sort", "-no_op_share", "--limit", 0, "--json"
    ).data
    shares = [one["columns"]["no_op_share"] for one in everything["episodes"]]
    assert len(shares) == 29
    assert shares == sorted(shares, reverse=True)
    said = command("episodes", real_trace, "--sort", "retrun")
    assert said.code == 2
    assert "did you mean 'return'" in said.err


def test_lines_fit_a_narrow_terminal_and_hostile_text_is_inert(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = {"name": "x", "task_ids": ["\x1b[2J[red]\n"] * 9, "roles": {}}
    store = jt.save(tmp_path / "a", recording([3] * 9, environment=evil))
    assert "\x1b[2J" not in command("episodes", store).out
    monkeypatch.setenv("FORCE_COLOR", "1")  # what a terminal is to rich
    lines = uncoloured(command("episodes", store, columns=80).out).splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert all(re.search(r"lane\d{4}-ep\d{6} ", line) for line in lines[2:4])
