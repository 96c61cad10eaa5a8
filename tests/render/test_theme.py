"""Themes: their errors, their contrast, and how far apart their colours are for every eye."""

import itertools
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from jaxarc_trace.errors import RenderError
from jaxarc_trace.render.theme import THEMES, Theme, contrast, ink, theme

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency" (2009), severity 1.0, on linear RGB:
# https://www.inf.ufrgs.br/~oliveira/pubs_files/CVD_Simulation/CVD_Simulation.html
MACHADO = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colours: tuple[str, ...]) -> np.ndarray:
    """Linear RGB `[n, 3]` of sRGB colours."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB under D65 `[n, 3]` of linear sRGB."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
         [0.0193339, 0.1191920, 0.9503041]]
    )  # fmt: skip
    xyz = rgb @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def ciede2000(one: np.ndarray, two: np.ndarray) -> float:
    """Colour difference of Sharma, Wu and Dalal (2005), from two CIELAB colours."""
    (l1, a1, b1), (l2, a2, b2) = one.tolist(), two.tolist()
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25.0**7)))
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)
    h1 = np.degrees(np.arctan2(b1, (1 + g) * a1)) % 360
    h2 = np.degrees(np.arctan2(b2, (1 + g) * a2)) % 360
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    big_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    middle = h1 + h2 if c1 * c2 == 0 else (h1 + h2) / 2 + (180 if abs(h1 - h2) > 180 else 0)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(middle - 30))
        + 0.24 * np.cos(np.radians(2 * middle))
        + 0.32 * np.cos(np.radians(3 * middle + 6))
        - 0.20 * np.cos(np.radians(4 * middle - 63))
    )
    sl = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    around = 30 * np.exp(-(((middle % 360 - 275) / 25) ** 2))
    twist = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.radians(2 * around))
    dl, dc, dh = (l2 - l1) / sl, (c2 - c1) / sc, big_h / sh
    return float(np.sqrt(dl**2 + dc**2 + dh**2 + twist * dc * dh))


def smallest(colours: tuple[str, ...], sight: str | None) -> float:
    """The smallest difference over all pairs of colours, as seen with a deficiency."""
    rgb = linear(colours)
    if sight is not None:
        rgb = np.clip(rgb @ np.array(MACHADO[sight]).T, 0, 1)
    seen = lab(rgb)
    return min(ciede2000(seen[i], seen[j]) for i, j in itertools.combinations(range(len(seen)), 2))


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([22.7233, 20.0904, -46.6940], [23.0331, 14.9730, -42.5619], 2.0373),
        ([2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514], 0.9082),
    ],
)
def test_the_difference_formula_gives_the_values_of_its_paper(
    one: list[float], two: list[float], expected: float
) -> None:
    assert ciede2000(np.array(one), np.array(two)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("sight", sorted(MACHADO))
def test_the_safe_colours_stay_apart_with_each_deficiency(sight: str) -> None:
    assert smallest(THEMES["colorblind"].cells, sight) >= 19.0


def test_the_safe_colours_are_apart_in_normal_vision() -> None:
    assert smallest(THEMES["colorblind"].cells, None) >= 20.0


def test_the_canonical_colours_would_not_do() -> None:
    assert min(smallest(THEMES["default"].cells, sight) for sight in MACHADO) < 6.0


def test_the_strong_hues_are_told_apart_by_their_digits() -> None:
    # By colour alone they would not do, so the theme writes the value into each cell.
    assert min(smallest(THEMES["high_contrast"].cells, sight) for sight in MACHADO) < 19.0
    assert THEMES["high_contrast"].digits
    for name in ("default", "colorblind", "dark"):
        assert not THEMES[name].digits


def test_the_high_contrast_colours_are_further_apart_than_the_canonical_ones() -> None:
    assert smallest(THEMES["high_contrast"].cells, None) > smallest(THEMES["default"].cells, None)


@pytest.mark.parametrize("name", sorted(THEMES))
def test_words_can_be_read_on_their_page(name: str) -> None:
    look = THEMES[name]
    for ground in (look.page, look.panel):
        assert contrast(look.text, ground) >= 7.0
        assert contrast(look.muted, ground) >= 4.5
        assert contrast(look.positive, ground) >= 4.5
        assert contrast(look.negative, ground) >= 4.5
    for colour in look.series:
        assert contrast(colour, look.page) >= 3.0
    for colour in (*look.cells, look.positive, look.negative, look.accent, look.muted):
        assert contrast(ink(colour), colour) >= 4.5


@pytest.mark.parametrize("name", sorted(THEMES))
def test_a_theme_is_a_frozen_value(name: str) -> None:
    look = theme(name)
    assert look is THEMES[name]
    assert look.name == name
    assert hash(look) == hash(theme(look))
    with pytest.raises(FrozenInstanceError):
        look.page = "#000000"  # type: ignore[misc]


def test_values_of_a_theme_can_be_replaced() -> None:
    look = theme("dark", digits=True, cell_size=12)
    assert (look.digits, look.cell_size, look.page) == (True, 12, THEMES["dark"].page)
    assert theme(look) is look


def test_the_palette_indexes_padding_with_minus_one() -> None:
    look = theme("default")
    assert look.rgb.dtype == np.uint8
    assert look.rgb.shape == (11, 3)
    assert look.rgb[2].tolist() == [0xFF, 0x41, 0x36]
    assert look.rgb[-1].tolist() == [0xE9, 0xE6, 0xE0]
    assert look.colour(-1) == look.colour(12) == look.padding


def test_an_unknown_theme_names_the_nearest() -> None:
    with pytest.raises(RenderError, match=r"no theme 'colourblind'\. Did you mean 'colorblind'\?"):
        theme("colourblind")
    with pytest.raises(RenderError, match=r"no theme 'zzz'. Known: default, colorblind"):
        theme("zzz")
    with pytest.raises(RenderError, match=r"no theme option 'digit'\. Did you mean 'digits'\?"):
        theme(digit=True)


def test_a_theme_refuses_what_cannot_be_drawn() -> None:
    with pytest.raises(RenderError, match=r"10 cell colours, for the values 0..9; found 2"):
        theme(cells=("#000000", "#FFFFFF"))
    with pytest.raises(RenderError, match="'page' holds colours as '#RRGGBB'; found 'red\"/>'"):
        theme(page='red"/>')
    with pytest.raises(RenderError, match="cell_size is a number of pixels from 1 to 200"):
        theme(cell_size=0)
    assert isinstance(theme(cell_size=None), Theme)
