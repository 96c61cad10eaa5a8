"""Fixtures: a directory with a run and a trace outside of it, for tests of the command line."""

import shutil
from pathlib import Path

import pytest

import jaxarc_trace as jt
from jaxarc_trace.run import Run
from tests.recordings import recording

__all__ = ["LENGTHS", "pristine", "real_trace", "root", "run"]

LENGTHS = [5, 40, 17, 3, 30, 9]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a run of four saves, and one folder as the demo leaves it."""
    from tests.test_retention import numbered

    root = tmp_path_factory.mktemp("shared") / "root"
    with Run.create(root, "first [red]x", {"lr": 0.1}) as run:
        for index in range(4):
            run.save(numbered(index, success=[index % 2]), step=100 * index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxarc_trace.store_format.CHUNK_BYTES", 4096)
        jt.save(root / "demo" / "trace", recording(LENGTHS, side=16), {"note": "hello"})
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(pristine, tmp_path / "root")


@pytest.fixture
def real_trace(tmp_path: Path) -> Path:
    """Real episodes of JaxARC: a copy, because what is computed is kept beside a trace."""
    golden = Path(__file__).parent / "golden" / "replay_v1"
    return Path(shutil.copytree(golden, tmp_path / "run" / "trace"))


@pytest.fixture
def run(root: Path) -> Run:
    """The run in it."""
    return Run.open(next(path for path in root.iterdir() if path.name != "demo"))
