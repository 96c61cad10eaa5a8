"""The examples run as their readers run them: as programs of their own, here in a small size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxarc_trace as jt
from tests.imports import ROOT

EXAMPLES = ROOT / "examples"
OURS = ("XLA_FLAGS", "EQX_ON_ERROR")  # what tests/conftest.py sets and a reader has not


def ran(where: Path, *words: str) -> str:
    """What a Python program printed; it runs in a folder of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in OURS}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=where,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def example(where: Path, name: str, *words: str) -> str:
    return ran(where, str(EXAMPLES / name), *words)


@pytest.mark.slow
def test_an_environment_of_one_s_own(tmp_path: Path) -> None:
    out = example(tmp_path, "own_env.py", str(tmp_path))
    assert "exact, " in out
    assert (tmp_path / "walk.svg").read_text().startswith("<svg")
    best = jt.load(tmp_path / "walk").best(1)[0]
    assert best.states["at"][-1] == 20
    assert best.total_return > 0


def test_an_environment_of_one_s_own_takes_at_most_twenty_lines() -> None:
    text = (EXAMPLES / "own_env.py").read_text()
    lines = text.partition("# --- The environment")[2].partition("# --- A policy")[0].splitlines()
    assert 5 < len([line for line in lines[1:] if line.strip()]) <= 20


@pytest.mark.slow
def test_every_policy(tmp_path: Path) -> None:
    out = example(tmp_path, "policies.py").splitlines()
    kept = {out[i].partition(":")[0]: out[i + 1] for i in range(0, 14, 2)}
    words = "last first best worst random failed".split()
    assert list(kept) == [*words, "a score of one's own"]
    assert all(line.strip().startswith("5 episodes, returns ") for line in kept.values())
    returns = {
        name: [float(word) for word in line.partition("returns ")[2].split(", ")]
        for name, line in kept.items()
    }
    for name in ("last", "first", "random"):
        assert max(returns["worst"]) <= min(returns[name])
        assert min(returns["best"]) >= max(returns[name])
    assert out[-1].startswith("together: ")


@pytest.mark.slow
def test_every_level(tmp_path: Path) -> None:
    rows = [line.split() for line in example(tmp_path, "levels.py").splitlines()[1:]]
    assert [row[0] for row in rows] == ["off", "minimal", "standard", "verbose", "full"]
    steps = [int(row[1].replace(",", "")) for row in rows]
    assert steps[0] == steps[1] == 0 < steps[2] == steps[3] < steps[4]


@pytest.mark.slow
def test_lanes_over_eight_devices(tmp_path: Path) -> None:
    out = example(tmp_path, "sharded.py", "--lanes", "4")
    assert out.startswith("8 devices, 32 lanes;")
    assert "equal to one device with all lanes: True" in out
    assert {e.lane for e in jt.load(tmp_path / "sharded" / "trace")} == set(range(32))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo_jaxarc", "ppo_stoix"])
def test_ppo_learns_traced(tmp_path: Path, name: str) -> None:
    """A small size: enough to see it run, and to see that it gets better, not that it is good."""
    out = example(tmp_path, f"{name}.py", "--out", "ppo", "--lanes", "64", "--updates", "12")
    assert "solved: " in out
    found = json.loads((tmp_path / "ppo" / "curve.json").read_text())
    assert found["environment_steps"] == 12 * 32 * 64
    assert found["episodes"] > 1000
    for picture in ("curve.png", "first_last.png"):
        assert (tmp_path / "ppo" / picture).read_bytes().startswith(b"\x89PNG")
    episodes = jt.load(tmp_path / "ppo" / "trace")
    first = [e for e in episodes if "first" in e.kept_by]
    last = [e for e in episodes if e.complete and e.kept_by == ("last",)]

    def best_similarity(some: list[jt.Episode]) -> float:
        return sum(float(e.states["similarity_score"].max()) for e in some) / len(some)

    assert best_similarity(last) > best_similarity(first)
    if name == "ppo_stoix":
        assert "greedy evaluation: a return of " in out
        assert len(jt.load(tmp_path / "ppo" / "evaluation")) >= 16


RUN = """
import json, sys
cells = json.load(open(sys.argv[1]))["cells"]
names = {}
for cell in cells:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
print(len(names["solved"]), names["report"].verdict, names["best"]._repr_svg_()[:4])
"""


@pytest.mark.slow
def test_the_notebook(tmp_path: Path) -> None:
    """Its cells in order, in one namespace; they are plain Python."""
    solved, verdict, shown = ran(tmp_path, "-c", RUN, str(EXAMPLES / "notebook.ipynb")).split()[-3:]
    assert int(solved) > 0
    assert verdict == "exact"
    assert shown == "<svg"
