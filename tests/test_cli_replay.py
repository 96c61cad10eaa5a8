"""The command `replay`, as a user types it."""

import functools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxarc_trace as jt
from tests import toy
from tests.commands import Command

GOLDEN = Path(__file__).parent / "golden" / "replay_v1"


@functools.cache
def made() -> Any:
    """What `--env tests.test_cli_replay:made` gives."""
    return toy.ScriptedEnv(toy.example_script((16,), seed=2))


@functools.cache
def taken() -> jt.Recording:
    spec = jt.TraceSpec(max_steps=8, keep="last", capacity=32, recent=16)

    def program(key: jax.Array) -> Any:
        return jt.rollout(made(), toy.numbered, key, spec=spec, num_lanes=2, num_steps=12)[1]

    return jt.take(jax.jit(program)(jax.random.key(0)))


def stepped(state: object, action: object) -> tuple[object, object]:
    """A step function, which is no environment."""
    return state, action


ENV = ("--env", "tests.test_cli_replay:made")


def test_replay_confirms_what_is_true(command: Command, tmp_path: Path) -> None:
    path = jt.save(tmp_path / "trace", taken())
    said = command("replay", path, *ENV)
    assert said.code == 0, said.err
    assert said.out.rstrip().endswith(f"24 steps: {len(taken())} exact")
    said = command("replay", path, 0, -1, "--json", *ENV)
    found = json.loads(said.out)
    assert (found["ok"], found["exact"], len(found["episodes"])) == (True, 2, 2)
    assert found["episodes"][0]["first"] is None


def test_replay_says_where_a_recording_is_not_true(command: Command, tmp_path: Path) -> None:
    good = taken()
    records = np.array(good.records)
    start = good.schema.state.nbytes + next(
        field.offset for field in good.schema.step.fields if field.name == "action.action"
    )
    records[1, start] ^= 1
    path = jt.save(tmp_path / "trace", replace(good, records=records))
    said = command("replay", path, *ENV)
    assert said.code == 1
    row = next(line for line in said.out.splitlines() if "diverged" in line)
    assert row.startswith("lane0000-ep000000")
    assert "step 2, path: 1 of 5 differ, first [0] recorded 1, found 0" in row
    found = json.loads(command("replay", path, "--json", *ENV).out)
    assert not found["ok"]
    assert found["episodes"][0]["first"]["step"] == 2


def test_an_environment_that_cannot_be_made_is_one_line(command: Command, tmp_path: Path) -> None:
    path = jt.save(tmp_path / "trace", taken())
    said = command("replay", path)
    assert said.code == 2
    assert "expected a recording of JaxARC on named tasks, found 'ScriptedEnv'" in said.err
    assert "--env module:name" in said.err
    assert "expected module:name, found 'toy'" in command("replay", path, "--env", "toy").err
    assert "cannot be imported" in command("replay", path, "--env", "no.such:thing").err
    assert "which none of them has" in command("replay", path, 99, *ENV).err
    said = command("replay", path, "--env", "tests.test_cli_replay:stepped")
    assert said.code == 2
    assert "expected an environment, or a function without arguments" in said.err.replace("\n", " ")


@pytest.mark.slow
def test_replay_makes_jaxarc_as_it_was_recorded(command: Command) -> None:
    said = command("replay", GOLDEN, "lane0000-ep000001", -1)
    assert said.code == 0, said.err
    assert "2 episodes, 47 steps: 2 exact" in said.out


def test_the_page_has_the_figures_of_the_benchmark() -> None:
    root = GOLDEN.parents[2]
    results = root / "benchmarks" / "results" / "replay.json"
    program = [sys.executable, root / "benchmarks" / "replay.py", "--table", results]
    table = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    assert table.count("\n") > 12
    assert table in (root / "docs" / "replay.md").read_text(encoding="utf-8")
