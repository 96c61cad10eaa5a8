"""The command `bench`: one small measurement from end to end, and what it refuses."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import jax
import pytest

import jaxarc_trace as jt
from jaxarc_trace import bench as module
from jaxarc_trace.bench import above_budget, bench, environment_named, picture, specs_for
from jaxarc_trace.overhead import Side, compared
from tests import toy
from tests.commands import Command

ROWS = ["ring, all lanes", "ring and shelf, all lanes"]


def made() -> toy.ScriptedEnv:
    """What `--env tests.test_bench:made` names."""
    return toy.ScriptedEnv(toy.example_script((5,)))


@pytest.mark.slow
def test_the_command_measures_every_row_and_writes_json_and_a_picture(command: Command, tmp_path):
    out = tmp_path / "bench.svg"
    words = "bench --env tests.test_bench:made --lanes 4 --steps 6 --max-steps 4 --rounds 2"
    said = command(*words.split(), "--budget", "0.001", "--json", "--out", out)
    assert said.code == 0, said.err
    told = said.data
    assert [row["name"] for row in told["rows"]] == ROWS
    assert (told["lanes"], told["steps"]) == (4, 6)
    assert told["machine"]["jax"] == jax.__version__
    for row in told["rows"]:
        assert len(row["traced"]["wall"]) == len(row["untraced"]["wall"]) == 2
        assert row["traced"]["trace_bytes"] > 0
        assert row["untraced"]["trace_bytes"] == 0
        assert row["verdict"] == "above"
        assert row["name"] in said.out
    assert said.err.count("is above the budget of 0.001, surely") == len(ROWS)
    shown = "".join(ET.fromstring(out.read_text()).itertext())  # noqa: S314 - our own
    assert all(row in shown for row in ROWS)
    assert "budget 0" in shown


def test_a_few_lanes_are_a_row_of_their_own_where_there_are_more():
    assert list(specs_for(16, 8)) == ROWS
    few = specs_for(17, 8)
    assert list(few) == ["ring, 16 lanes", "ring and shelf, 16 lanes", *ROWS]
    assert [spec.lanes for spec in few.values()] == [16, 16, None, None]


def test_a_warning_says_how_sure_it_is():
    base = Side((1.0,) * 9, (1.0,) * 9, (1.0,), 1, 0)

    def against(*cpu: float):
        return compared(base, Side(cpu, cpu, (1.0,), 2, 1), budget=1.05, name="ring")

    found = above_budget([against(*[1.04] * 9), against(*[1.2] * 9), against(*[1.0, 1.2] * 4, 1.2)])
    assert [line.rpartition(", ")[2] for line in found] == [
        "surely",
        "not surely: measure more rounds",
    ]


def test_the_picture_holds_every_row():
    base = Side((1.0,) * 6, (1.0,) * 6, (1.0,), 1, 0)
    row = compared(base, Side((2.0,) * 6, (1.5,) * 6, (1.0,), 2, 1), budget=1.05, name="<ring>")
    shown = picture(module.Bench("toy", 2, 3, (row,))).as_svg()
    assert "&lt;ring&gt;" in shown
    assert ">1.5<" in shown or ">1.500<" in shown
    assert ">2<" in shown or ">2.000<" in shown


@pytest.mark.slow
def test_jaxarc_is_measured_from_a_shell_in_which_nothing_is_set():
    shell = {k: v for k, v in os.environ.items() if k not in ("EQX_ON_ERROR", "XLA_FLAGS")}
    words = "bench --lanes 2 --steps 2 --max-steps 2 --rounds 1 --json"
    command = [sys.executable, "-m", "jaxarc_trace.cli", *words.split()]
    done = subprocess.run(command, env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["env"] == "jaxarc"


def test_a_gymnax_environment_is_known_by_its_name():
    env = environment_named("CartPole-v1", 100)
    state, timestep = jax.eval_shape(env.reset, jax.random.key(0))
    after, result = jax.eval_shape(env.step, state, jax.ShapeDtypeStruct((), "int32"))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert result.observation.shape == timestep.observation.shape == (4,)
    assert env.action_space().num_values == 2


def test_what_cannot_be_measured_is_refused(command: Command):
    for words, message in (
        ("--env NoSuch-v0", "gymnax environment of"),
        ("--env no.such:thing", "cannot be imported"),
        ("--out picture.gif", "expected --out to end in .svg or .png"),
    ):
        said = command("bench", *words.split())
        assert said.code == 2
        assert message in said.err.replace("\n", " ")
    with pytest.raises(jt.SpecError, match="rounds: expected at least 1, found 0"):
        bench("CartPole-v1", rounds=0)
