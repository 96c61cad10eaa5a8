"""The commands `stats` and `failures`, as a user types them."""

from pathlib import Path

import numpy as np
import pytest

import jaxarc_trace as jt
from jaxarc_trace.analysis import MODES, failure_modes
from tests.commands import Command, uncoloured
from tests.recordings import recording, spoil

MEDIANS = ("return", "length", "score_final", "score_best", "step_of_best", "no_op_share")


def test_stats_gives_medians_with_intervals(command: Command, real_trace: Path) -> None:
    said = command("stats", real_trace)
    assert said.code == 0, said.err
    assert all(name in said.out for name in MEDIANS)
    episodes = jt.load(real_trace)
    (group,) = command("stats", real_trace, "--json").data["groups"]
    assert (group["group"], group["episodes"]) == ("all", len(episodes))
    length = group["medians"]["length"]
    assert length["value"] == np.median(episodes.columns["length"])
    assert length["low"] <= length["value"] <= length["high"]
    row = next(line.split() for line in said.out.splitlines() if line.startswith("length"))
    assert row == [
        "length",
        f"{length['value']:.3g}",
        f"[{length['low']:.3g},",
        f"{length['high']:.3g}]",
    ]
    assert (real_trace.parent / "analysis").is_dir()


def test_stats_fit_the_terminal_and_leave_out_what_is_not_known(
    command: Command, real_trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = command("stats", real_trace, "--by", "task")
    assert "[" in wide.out
    monkeypatch.setenv("FORCE_COLOR", "1")  # what a terminal is to rich
    narrow = command("stats", real_trace, "--by", "task", columns=80)
    *lines, note = uncoloured(narrow.out).splitlines()
    assert max(map(len, lines)) <= 80
    assert "--json, shows their 95 % intervals" in note
    for name in MEDIANS:
        assert all(part in narrow.out for part in name.split("_"))
    store = jt.save(tmp_path / "plain", recording([3, 4]))  # no score, and no best step
    said = command("stats", store)
    assert "length" in said.out
    assert "score" not in said.out
    assert "step_of_best" not in said.out


@pytest.mark.parametrize("by", ["task", "outcome", "failure"])
def test_stats_groups_episodes(command: Command, real_trace: Path, by: str) -> None:
    groups = command("stats", real_trace, "--by", by, "--json").data["groups"]
    found = {group["group"]: group["episodes"] for group in groups}
    episodes = jt.load(real_trace)
    expected: dict[str, int] = {}
    for index, episode in enumerate(episodes):
        names = [str(episodes.columns[by][index])] if by != "failure" else [
            failure.mode for failure in failure_modes(episode)
        ] or ["none"]  # fmt: skip
        for name in names:
            expected[name] = expected.get(name, 0) + 1
    assert found == expected
    assert len(found) > 1


def test_of_what_cannot_be_read_no_failure_is_known(command: Command, tmp_path: Path) -> None:
    store = jt.save(tmp_path / "store", recording([3, 4, 5]))
    spoil(store)
    found = command("stats", store, "--by", "failure", "--json").data["groups"]
    counts = {group["group"]: group["episodes"] for group in found}
    assert counts["unreadable"] == 1
    assert sum(counts.values()) - counts["unreadable"] >= 2


def test_stats_of_those_for_which_a_condition_holds(command: Command, real_trace: Path) -> None:
    where = "failures LIKE '%collapse%' AND no_op_share < 0.9"
    (group,) = command("stats", real_trace, "--where", where, "--json").data["groups"]
    known = [(failure_modes(e), e) for e in jt.load(real_trace)]
    collapsed = [e for failures, e in known if "collapse" in {f.mode for f in failures}]
    assert 0 < group["episodes"] <= len(collapsed)
    said = command("stats", real_trace, "--where", "colour = 3")
    assert said.code == 2
    assert "colour" in said.err


def test_a_bar_shows_how_far_the_reading_is(
    command: Command, real_trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what a terminal is to rich
    assert "Reading episodes" in command("stats", real_trace).err
    # The second time everything is known already.
    assert "Reading episodes" not in command("stats", real_trace).err


def test_failures_says_what_each_mode_means(command: Command) -> None:
    said = command("failures")
    assert said.code == 0
    for mode in MODES:
        assert mode in said.out


@pytest.mark.slow
def test_failures_check_prints_precision_and_recall(command: Command) -> None:
    said = command("failures", "--check", "--each", 12)
    assert said.code == 0, said.out
    for mode in MODES:
        row = next(line for line in said.out.splitlines() if line.startswith(mode))
        *_, precision, recall = row.split()
        assert min(float(precision), float(recall)) >= 0.95, row
    assert "24 of them clean" in said.out
