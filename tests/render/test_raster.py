"""Pixels: the bundled font, step frames, files that are whole."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxarc_trace import render
from jaxarc_trace.errors import MissingExtraError, RenderError
from jaxarc_trace.render import files, frames, pixels, raster
from jaxarc_trace.render.theme import rgb, theme
from tests.render.stored import NAMES, stored, with_environment


def decoded(png: bytes) -> np.ndarray:
    """Pixels `[height, width, 3]` of a PNG."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def test_text_is_really_there_without_system_fonts() -> None:
    picture = render.step(stored("solved"), 4)
    assert "font-family" in picture.as_svg()
    title = decoded(picture.as_png(2.0))[24:80, 120:1000]
    ink = (title.sum(axis=-1) < 200).sum()
    assert 1500 < ink < 12_000


@pytest.mark.parametrize("character", list("Aé−→▲▼×·…∞0שж"))
def test_the_bundled_font_has_what_pictures_write(character: str) -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">'
        '<text x="8" y="30" font-size="24" font-family="Inter,sans-serif">@</text></svg>'
    )
    drawn = decoded_alpha(pixels.png(svg.replace("@", character), 40, 40, 1.0))
    missing = decoded_alpha(pixels.png(svg.replace("@", "\U0001f9ff"), 40, 40, 1.0))
    assert (drawn > 128).sum() > 5
    assert not np.array_equal(drawn, missing)


def decoded_alpha(png: bytes) -> np.ndarray:
    """Opacity `[height, width]` of a PNG."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))[..., 3]


def test_the_fonts_are_small_and_come_with_their_licence() -> None:
    sizes = {file.name: file.stat().st_size for file in pixels.FONTS.iterdir()}
    assert set(sizes) == {"DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "LICENSE_DEJAVU"}
    assert sizes["DejaVuSans.ttf"] + sizes["DejaVuSans-Bold.ttf"] < 150_000


def test_frames_have_digits_where_the_theme_has() -> None:
    arc = frames.frames(stored("large"))
    assert arc is not None
    assert arc.target is not None
    height, width = arc.target.shape
    plain, digits = (
        raster.frame(stored("large"), 0, name) for name in ("default", "high_contrast")
    )
    assert digits.shape > plain.shape
    look = theme("high_contrast")
    right = digits[66:, -16 - 12 * width - 1 :]
    for row, column in np.ndindex(height, width):
        # The lower left of a cell, clear of its corner mark: its colour, and its digit's.
        cell = right[12 * row + 2 : 12 * row + 12, 12 * column + 2 : 12 * column + 12]
        seen = {tuple(pixel) for pixel in cell[3:].reshape(-1, 3).tolist()}
        value = int(arc.target[row, column])
        ground = np.array(rgb(look.colour(value)))
        assert rgb(look.colour(value)) in seen
        assert max(np.abs(np.array(pixel) - ground).max() for pixel in seen) > 70


def test_a_picture_is_rasterised_at_the_scale_asked_for() -> None:
    picture = render.step(stored("crop"), 3)
    for scale in (1.0, 2.0, 0.5):
        shape = decoded(picture.as_png(scale)).shape
        assert shape[:2] == pytest.approx((picture.height * scale, picture.width * scale), abs=1)


@pytest.mark.parametrize("scale", [0.0, -1.0, 500.0, float("nan")])
def test_a_scale_that_cannot_be_is_refused(scale: float) -> None:
    with pytest.raises(RenderError, match=r"1 to 64 million pixels; .* Pass a smaller positive"):
        render.step(stored("crop"), 3).as_png(scale)


def test_colours_survive_rasterising() -> None:
    arc = frames.frames(stored("crop"))
    picture = render.step(stored("crop"), 3)
    seen = {tuple(c) for c in decoded(picture.as_png(1.0)).reshape(-1, 3).tolist()}
    for value in np.unique(arc.after(3)).tolist():
        assert tuple(rgb(theme().colour(value))) in seen


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_an_episode_have_one_size(name: str) -> None:
    episode = stored(name)
    shapes = {raster.frame(episode, t).shape for t in range(0, len(episode), 3)}
    assert len(shapes) == 1
    assert raster.frame(episode, 0).dtype == np.uint8


def test_a_frame_shows_cells_outlines_and_words() -> None:
    episode = stored("solved")
    arc = frames.frames(episode)
    drawn = raster.frame(episode, 4)
    cell = 11
    inside = drawn[66 + cell // 2 :: cell, 16 + cell // 2 :: cell][:16, :14]
    grid = arc.before(4)
    plain = ~arc.selection(4)
    wanted = theme().rgb[grid]
    assert np.array_equal(inside[plain], wanted[plain])
    assert (drawn[:60].sum(axis=-1) < 200).sum() > 300
    assert not np.array_equal(drawn, raster.frame(episode, 5))


def test_a_frame_is_a_png() -> None:
    png = raster.frame_png(stored("large"), -1, "dark")
    assert np.array_equal(decoded(png), raster.frame(stored("large"), -1, "dark"))


def test_frames_need_grids() -> None:
    with pytest.raises(RenderError, match=r"no grids to draw as pixels\. Ask for svg or png"):
        raster.frame(with_environment(stored("solved"), roles={}), 0)


def test_grids_become_pixels() -> None:
    look = theme()
    out = raster.enlarge(np.array([[1, -1], [12, 9]]), 3, look)
    assert out.shape == (6, 6, 3)
    assert out[0, 0].tolist() == list(rgb(look.cells[1]))
    assert out[0, 3].tolist() == out[3, 0].tolist() == list(rgb(look.padding))
    assert raster.enlarge(np.zeros((2, 3), int), 8, look).shape == (17, 25, 3)


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = render.summary(stored("crop")).save_svg(tmp_path / "a.svg")
    assert target.read_text(encoding="utf-8") == render.summary(stored("crop")).as_svg()
    render.summary(stored("crop")).save_png(tmp_path / "a.png", scale=0.5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.svg"
    target.write_bytes(b"before")

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RenderError, match=r"Cannot write .*a.svg.*No space left on device"):
        files.write(target, b"after")
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]
    assert target.read_bytes() == b"before"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"Cannot write .*gone.*Choose a folder that exists"):
        render.step(stored("crop"), 1).save_svg(tmp_path / "gone" / "a.svg")


def test_a_missing_extra_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'jaxarc-trace\[png\]'"):
        render.step(stored("crop"), 1).as_png()


def test_importing_render_brings_in_no_drawing_package() -> None:
    code = (
        "import sys, jaxarc_trace.render as r; "
        "print(sorted({'drawsvg', 'PIL', 'resvg_py', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
