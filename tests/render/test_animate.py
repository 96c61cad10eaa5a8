"""Animations: every frame is the raster frame, and little is stored twice."""

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxarc_trace import render
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import MissingExtraError, RenderError
from jaxarc_trace.render import animate, raster, theme
from jaxarc_trace.render.animate import animation
from jaxarc_trace.render.theme import THEMES
from tests.render.stored import NAMES, stored, with_environment

EXACT = (".gif", ".apng", ".png", ".webp")


def shown(data: bytes) -> tuple[list[np.ndarray], list[float]]:
    """Frames `[height, width, 3]` as a viewer shows them, and how long each in milliseconds."""
    with Image.open(io.BytesIO(data)) as image:
        frames, times = [], []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
            times.append(float(image.info.get("duration", 0)))
    return frames, times


def without_steps(episode: Episode) -> Episode:
    """The episode as it was before its first action."""
    return replace(
        episode,
        states={name: values[:1] for name, values in episode.states.items()},
        actions={name: values[:0] for name, values in episode.actions.items()},
        extras={name: values[:0] for name, values in episode.extras.items()},
        rewards=episode.rewards[:0],
        terminated=episode.terminated[:0],
        truncated=episode.truncated[:0],
    )


@pytest.mark.parametrize("suffix", EXACT)
@pytest.mark.parametrize("name", ["hasty", "crop", "solved"])
def test_frames_decode_to_exactly_the_raster_frames(name: str, suffix: str) -> None:
    episode = stored(name)
    frames, _ = shown(animation(episode, suffix))
    assert len(frames) == len(episode)
    for frame, drawn in zip(frames, raster.film(episode), strict=True):
        np.testing.assert_array_equal(frame, drawn)


@pytest.mark.parametrize("look", sorted(THEMES))
@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_black_cells_survive_being_unchanged_before(look: str, suffix: str) -> None:
    # Colour 0 stands for "as before"; a cell that turns black must not be taken for it.
    episode = stored("operations")
    frames, _ = shown(animation(episode, suffix, theme=look))
    for frame, drawn in zip(frames, raster.film(episode, look), strict=True):
        np.testing.assert_array_equal(frame, drawn)


@pytest.mark.parametrize("name", NAMES)
def test_a_film_is_frame_after_frame_in_few_colours(name: str) -> None:
    episode = stored(name)
    film = list(raster.film(episode, "colorblind"))
    assert len(film) == len(episode)
    np.testing.assert_array_equal(film[2], raster.frame(episode, 2, "colorblind"))
    pixels = np.concatenate(film).reshape(-1, 3).astype(np.uint32)
    assert len(np.unique(pixels @ np.array([1 << 16, 1 << 8, 1], np.uint32))) <= 64


@pytest.mark.parametrize("suffix", EXACT)
def test_the_same_episode_gives_the_same_bytes(suffix: str) -> None:
    episode = stored("hasty")
    assert animation(episode, suffix) == animation(episode, suffix)


@pytest.mark.parametrize(("suffix", "most"), [(".gif", 250_000), (".apng", 250_000)])
def test_a_hundred_steps_are_small(suffix: str, most: int) -> None:
    assert len(animation(stored("long"), suffix)) <= most


def test_each_frame_has_its_time_and_the_last_one_more() -> None:
    episode = stored("hasty")
    for suffix in (".gif", ".png", ".webp"):
        assert shown(animation(episode, suffix, fps=4, hold=2))[1] == [250] * 7 + [2250]
    assert shown(animation(episode, ".gif", duration=4, hold=0))[1] == [500] * 8
    # Pillow gives the delay of an animated PNG as a fraction of a second, so not 333.
    assert shown(animation(episode, ".png", fps=3, hold=0))[1] == [330] * 8


def test_it_loops_unless_told_not_to() -> None:
    for suffix, once in ((".gif", None), (".png", 1), (".webp", 1)):
        for loop, wanted in ((True, 0), (False, once)):
            with Image.open(io.BytesIO(animation(stored("hasty"), suffix, loop=loop))) as image:
                assert image.info.get("loop") == wanted


def test_a_scale_repeats_pixels() -> None:
    frames, _ = shown(animation(stored("hasty"), ".gif", scale=2))
    drawn = raster.frame(stored("hasty"), 3)
    np.testing.assert_array_equal(frames[3], drawn.repeat(2, axis=0).repeat(2, axis=1))


def test_a_theme_sets_the_colours_and_the_size() -> None:
    look = theme("dark", cell_size=4)
    frames, _ = shown(animation(stored("hasty"), ".gif", theme=look))
    np.testing.assert_array_equal(frames[0], raster.frame(stored("hasty"), 0, look))


def test_an_episode_of_one_step_is_an_animation_too() -> None:
    whole = stored("hasty")
    one = replace(
        whole,
        states={name: values[:2] for name, values in whole.states.items()},
        actions={name: values[:1] for name, values in whole.actions.items()},
        extras={name: values[:1] for name, values in whole.extras.items()},
        rewards=whole.rewards[:1],
        terminated=whole.terminated[:1],
        truncated=whole.truncated[:1],
    )
    for suffix in EXACT:
        frames, _ = shown(animation(one, suffix))
        np.testing.assert_array_equal(frames[0], raster.frame(one, 0))


def test_a_film_plays_what_was_drawn() -> None:
    av = pytest.importorskip("av", reason="the extra 'video' is not installed")
    episode = stored("hasty")
    with av.open(io.BytesIO(animation(episode, ".mp4", fps=4, hold=1))) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 4
    assert len(frames) == len(episode) + 4
    drawn = raster.frame(episode, 3)
    height, width, _ = drawn.shape
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)
    apart = np.abs(frames[3][:height, :width].astype(int) - drawn).mean()
    assert apart < 6


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = render.animate(stored("hasty"), tmp_path / "a.GIF")
    assert path.read_bytes() == animation(stored("hasty"), ".gif")
    assert [file.name for file in tmp_path.iterdir()] == ["a.GIF"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.svg", {}, r"ends in \.gif, \.apng, \.png, \.webp, \.mp4; found '\.svg'\. For a still"),
        ("a", {}, r"found ''"),
        ("a.gif", {"fps": 0}, r"shows 0\.01 to 50 steps a second; found 0\. Pass an fps"),
        ("a.gif", {"fps": float("nan")}, "found nan"),
        ("a.gif", {"duration": 0}, "found duration=0, which is 0"),
        ("a.gif", {"fps": 2, "duration": 3}, "Pass fps or duration, not both"),
        ("a.gif", {"scale": 0}, r"whole number of pixels from 1 to 8; found 0\. .* cell_size"),
        ("a.gif", {"scale": 1.5}, r"found 1\.5"),
        ("a.gif", {"hold": -1}, r"number of seconds from 0 to 600; found -1"),
        ("a.gif", {"theme": "drak"}, r"no theme 'drak'\. Did you mean 'dark'"),
    ],
)
def test_what_cannot_be_animated_is_said(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        animate(stored("hasty"), tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_episode_needs_grids_and_steps(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="no grids to draw as pixels"):
        animate(with_environment(stored("hasty"), roles={}), tmp_path / "a.gif")
    with pytest.raises(RenderError, match="has no steps; step 0 was asked for"):
        animate(without_steps(stored("hasty")), tmp_path / "a.gif")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"Cannot write .*gone.*Choose a folder that exists"):
        animate(stored("hasty"), tmp_path / "gone" / "a.gif")


@pytest.mark.parametrize(
    ("module", "suffix", "extra"), [("PIL.Image", ".gif", "png"), ("av", ".mp4", "video")]
)
def test_a_missing_extra_gives_the_command(
    monkeypatch: pytest.MonkeyPatch, module: str, suffix: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'jaxarc-trace\[{extra}\]'"):
        animation(stored("hasty"), suffix)
