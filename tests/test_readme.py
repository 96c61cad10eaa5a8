"""The README's programs are run as they stand, and its links lead somewhere."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_each_program_runs(
    index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    # A reader's JAX promotes dtypes as it does by default.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(BLOCKS[index], f"README.md, program {index}", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out
    if "print(" in BLOCKS[index]:
        assert "Episode lane" in printed
    assert any(tmp_path.iterdir())


def test_there_are_programs_to_run() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_to_files(target: str) -> None:
    assert target.startswith("http") or (ROOT / target).exists()
