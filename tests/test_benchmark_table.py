"""The table and the charts of the benchmarks come from their JSON, and from nothing else."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests.imports import ROOT

BENCHMARKS = ROOT / "benchmarks"
MACHINE = {"date": "2026-01-31", "cpu": "A|B", "cores": "2", "jax": "0.10.2", "device": "cpu"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """`benchmarks/table.py`, which stands in no package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("table")
    finally:
        sys.path.remove(str(BENCHMARKS))


def ran(tmp_path: Path, results: Path) -> tuple[str, dict[str, str]]:
    """What the script makes of a folder of results: the page, and the pictures."""
    page, pictures = tmp_path / "README.md", tmp_path / "pictures"
    page.write_text("above\n<!-- table: begin -->\nold\n<!-- table: end -->\nbelow\n")
    words = ("--results", results, "--readme", page, "--pictures", pictures)
    command = [sys.executable, str(BENCHMARKS / "table.py"), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)
    return page.read_text(), {path.name: path.read_text() for path in pictures.iterdir()}


def test_every_result_of_the_repository_is_in_the_table(tmp_path: Path) -> None:
    page, pictures = ran(tmp_path, BENCHMARKS / "results")
    assert page.startswith("above\n<!-- table: begin -->\n| benchmark |")
    assert page.endswith("|\n<!-- table: end -->\nbelow\n")
    assert "old" not in page.splitlines()
    for file in (BENCHMARKS / "results").glob("*.json"):
        assert f"| {file.stem} | " in page
        assert f"| {file.name} | " in page
    assert {"overhead_jaxarc.svg", "overhead_cartpole.svg"} <= set(pictures)
    assert {"turns_jaxarc_256.svg", "turns_cartpole.svg"} <= set(pictures)
    for svg in pictures.values():
        ET.fromstring(svg)  # noqa: S314 - our own
    again = tmp_path / "again"
    again.mkdir()
    assert ran(again, BENCHMARKS / "results") == (page, pictures)


def test_a_figure_is_computed_from_the_rounds_in_the_file(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    rows = {
        "late": {"wall": [2.0] * 6, "cpu": [1.0, 10.0] * 3},
        "ring": {"wall": [3.0] * 6, "cpu": [1.2, 12.0] * 3},
    }
    data = {"machine": MACHINE, "env": "toy", "lanes": 2000, "steps": 5, "results": rows}
    (results / "overhead_toy.json").write_text(json.dumps(data))
    (results / "other.json").write_text(json.dumps({"machine": MACHINE, "what": 1}))
    page, pictures = ran(tmp_path, results)
    assert "| overhead_toy | ring | late; 2,000 lanes x 5 steps | 1.200 (1.2" in page
    assert "| other | in the file |  |  |" in page
    assert "| other.json | 2026-01-31 | A/B, 2 cores | jax 0.10.2 |" in page
    assert re.search(r">1\.2(00)?<", pictures["overhead_toy.svg"])
    assert re.search(r">1\.5(00)?<", pictures["overhead_toy.svg"])


def test_a_program_that_ran_twice_is_a_base_by_its_mean(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    timing = importlib.import_module("timing")
    once = {"off": {"cpu": [1.0, 2.0], "wall": [3.0, 4.0]}, "ring": {"cpu": [9.0], "wall": [9.0]}}
    assert (timing.base(once), timing.base_name(once)) == (once["off"], "off")
    again = {"off, a second time": {"cpu": [3.0, 2.0], "wall": [3.0, 6.0]}}
    assert timing.base(once | again) == {"cpu": [2.0, 2.0], "wall": [3.0, 5.0]}
    assert timing.base_name(once | again) == "off, the mean of two runs"


def test_a_page_without_markers_is_left_alone(
    script: ModuleType, tmp_path: Path, monkeypatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text("no markers")
    monkeypatch.setattr(sys, "argv", ["table.py", "--readme", str(page)])
    with pytest.raises(SystemExit, match="expected the lines <!-- table: begin -->"):
        script.main()
    assert page.read_text() == "no markers"


def test_an_exponent_is_the_slope_of_the_logarithms(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    growth = importlib.import_module("growth")
    x = np.array([1, 10, 100, 1000.0])
    curves = {"linear": [[a, 3 * a] for a in x], "constant": [[a, 7] for a in x]}
    curves["fixed cost"] = [[a, 5 + max(0, a - 50)] for a in x]
    found = growth.exponents(curves, {"constant": 0})
    assert found["linear"] == {"exponent": 1.0, "from": 55.0}
    assert found["constant"] == {"exponent": 0.0, "from": 0}
    assert found["fixed cost"]["exponent"] == pytest.approx(np.log10(955 / 55), abs=1e-3)
