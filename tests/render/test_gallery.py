"""The gallery shows every operation and is what its script draws."""

import subprocess
import sys
from pathlib import Path

from tests.render.drawn import words
from tests.render.stored import OPERATIONS

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


def test_the_gallery_is_what_its_script_draws(tmp_path: Path) -> None:
    script = GALLERY / "make.py"
    subprocess.run([sys.executable, script, "--to", tmp_path], check=True, capture_output=True)
    drawn = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    kept = {
        p.relative_to(GALLERY): p.read_bytes()
        for p in GALLERY.rglob("*")
        if p.is_file() and p.suffix in (".svg", ".md")
    }
    assert sorted(drawn) == sorted(kept)
    stale = [str(name) for name in drawn if drawn[name] != kept[name]]
    assert not stale, f"run python docs/gallery/make.py; stale: {stale}"


def test_every_operation_is_in_the_gallery() -> None:
    page = (GALLERY / "README.md").read_text(encoding="utf-8")
    shown = words((GALLERY / "pictures" / "operations.svg").read_text(encoding="utf-8"))
    for number, name in enumerate(OPERATIONS):
        assert f"| {number} {name} |" in page
        assert name in shown
