"""Environments that are not ARC, and the package's names."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from jaxarc_trace import render
from jaxarc_trace.episode import Episode
from jaxarc_trace.errors import RenderError
from jaxarc_trace.render import generic
from jaxarc_trace.render.text import escape
from tests.render.drawn import SVG, parsed, same_as_golden, words
from tests.render.stored import stored

STEPS = 6


def other(name: str = "CartPole-v1", **states: np.ndarray) -> Episode:
    """An episode of another environment with these state fields."""
    return Episode(
        states=states,
        actions={"action": np.arange(STEPS)},
        rewards=np.ones(STEPS, np.float32),
        terminated=np.zeros(STEPS, bool),
        truncated=np.arange(STEPS) == STEPS - 1,
        total_return=float(STEPS),
        environment={"name": name},
    )


@pytest.fixture
def registered() -> Iterator[None]:
    """Forgets what a test registers."""
    before = dict(generic._RENDERERS)
    yield
    generic._RENDERERS.clear()
    generic._RENDERERS.update(before)


def test_a_vector_becomes_labelled_bars() -> None:
    values = np.linspace(-1, 1, 7 * 4).reshape(7, 4).astype(np.float32)
    shown = words(render.step(other(observation=values), 2).as_svg())
    for index in range(4):
        assert shown.count(f"observation[{index}]") == 2
    assert "−0.41" in shown


def test_whole_numbers_in_a_plane_become_a_grid() -> None:
    board = np.arange(7 * 12).reshape(7, 3, 4) % 5
    svg = render.step(other(board=board), 0).as_svg()
    grids = [g for g in parsed(svg).iter(f"{SVG}g") if g.get("shape-rendering") == "crispEdges"]
    assert len(grids) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_three_channels_become_an_image(dtype: type) -> None:
    image = np.ones((7, 4, 5, 3), dtype)
    svg = render.step(other(image=image), 0).as_svg()
    drawn = list(parsed(svg).iter(f"{SVG}image"))
    assert len(drawn) == 2
    assert drawn[0].get("href", "").startswith("data:image/png;base64,")


def test_more_values_than_colours_become_shades() -> None:
    svg = render.step(other(board=np.arange(7 * 100).reshape(7, 10, 10)), 0).as_svg()
    assert len(list(parsed(svg).iter(f"{SVG}image"))) == 2


def grids(svg: str) -> int:
    shown = parsed(svg).iter(f"{SVG}g")
    return sum(group.get("shape-rendering") == "crispEdges" for group in shown)


def test_layers_become_a_grid_of_the_last_that_is_set() -> None:
    layers = np.zeros((7, 4, 5, 4), bool)
    layers[:, 1, 2, 0] = layers[:, 1, 2, 3] = True
    assert generic._layers(layers[0])[1, 2] == 4
    assert generic._layers(layers[0]).sum() == 4
    assert grids(render.step(other(layers=layers), 0).as_svg()) == 2


def test_three_layers_of_small_numbers_are_symbols_and_no_colours() -> None:
    symbols = np.arange(7 * 4 * 5 * 3).reshape(7, 4, 5, 3) % 9
    np.testing.assert_array_equal(generic._layers(symbols[0]), symbols[0, ..., 0])
    svg = render.step(other(symbols=symbols), 0).as_svg()
    assert grids(svg) == 2
    assert not list(parsed(svg).iter(f"{SVG}image"))


def test_small_tensors_of_real_numbers_are_no_image() -> None:
    tensors = other(inertia=np.ones((7, 2, 3, 3), np.float32), x=np.ones(7, np.float32))
    svg = render.step(tensors, 0).as_svg()
    assert not list(parsed(svg).iter(f"{SVG}image"))
    assert words(svg).count("x") == 2


def test_a_plane_of_real_numbers_is_a_grid_where_all_are_whole() -> None:
    bricks = np.arange(7 * 16).reshape(7, 4, 4) % 3
    assert grids(render.step(other(bricks=bricks.astype(np.float32)), 0).as_svg()) == 2
    bricks = bricks.astype(np.float32)
    bricks[6] += 0.5
    assert grids(render.step(other(bricks=bricks), 0).as_svg()) == 0
    assert generic._planes(other(bricks=np.full((7, 4, 4), np.nan))) == []


def test_a_small_table_of_real_numbers_becomes_bars() -> None:
    places = np.linspace(0, 1, 7 * 6).reshape(7, 3, 2)
    shown = words(render.step(other(places=places, time=np.arange(7)), 0).as_svg())
    assert shown.count("places[2,1]") == shown.count("time") == 2
    assert generic.fields(other(places=np.full((7, 9, 2), 0.5))) == []


def test_the_picture_s_role_comes_first_and_constants_last() -> None:
    board = np.zeros((7, 3, 3), int)
    episode = other(rules=board, view=np.zeros((7, 5, 5, 2), int), board=board, x=np.zeros(7))
    assert generic.fields(episode) == ["view", "rules", "board", "x"]
    constant = replace(episode, constants={"rules": board[0]})
    assert generic.fields(constant) == ["view", "board", "rules", "x"]
    named = replace(constant, environment={"name": "a", "roles": {"picture": "board"}})
    assert generic.fields(named) == ["board", "view", "rules", "x"]


def test_every_number_has_its_bar_until_the_page_is_full() -> None:
    few = words(render.step(other(**{n: np.zeros(7) for n in "abcdef"}), 0).as_svg())
    assert all(few.count(name) == 2 for name in "abcdef")
    many = words(render.step(other(x=np.zeros((7, 20))), 0).as_svg())
    assert "and 4 more" in many


def test_a_few_numbers_take_little_room_and_whole_ones_no_decimals() -> None:
    episode = other(x=np.arange(7), seed=np.full(7, 942_811_712), on=np.arange(7) > 3)
    tall = other(board=np.zeros((7, 4, 4), int))
    for draw in (lambda e: render.step(e, 2), render.summary, render.filmstrip):
        assert draw(episode).height < draw(tall).height
    assert generic.height(tall, 232) == 232
    assert generic.height(episode, 232) == 3 * 28
    assert {"2", "3", "0", "9.4e+08"} <= set(words(render.step(episode, 2).as_svg()))


def test_what_cannot_be_drawn_is_said() -> None:
    empty = other(name="odd", text=np.array(["a"] * 7))
    assert "nothing here can be drawn" in words(render.step(empty, 0).as_svg())
    parsed(render.summary(empty).as_svg())
    parsed(render.filmstrip(empty).as_svg())


def test_numbers_that_are_none_appear_as_words() -> None:
    shown = words(render.step(other(x=np.full(7, np.nan), y=np.full(7, np.inf)), 0).as_svg())
    assert shown.count("NaN") == 2
    assert "∞" in shown


@pytest.mark.usefixtures("registered")
def test_a_renderer_of_your_own_draws_the_states() -> None:
    def mine(_episode: Episode, state: int, side: float, look: render.Theme) -> str:
        size = f'width="{side:g}" height="{side:g}"'
        return f'<rect {size} fill="{look.accent}"/><text y="9">{escape(state)}!</text>'

    render.register_renderer("CartPole-v1", mine)
    for picture in (
        render.step(other(x=np.zeros(7)), 3),
        render.summary(other(x=np.zeros(7))),
        render.filmstrip(other(x=np.zeros(7))),
    ):
        assert any(line.endswith("!") for line in words(picture.as_svg()))


def test_a_renderer_must_be_a_function_with_a_name() -> None:
    with pytest.raises(
        RenderError, match=r"takes an environment's name and a function .* found ''"
    ):
        render.register_renderer("", lambda *_: "")
    with pytest.raises(RenderError, match="found 'a' and 3"):
        render.register_renderer("a", 3)  # type: ignore[arg-type]


def test_golden_generic(*, update: bool) -> None:
    values = np.linspace(-1, 1, 7 * 4).reshape(7, 4).astype(np.float32)
    same_as_golden(render.step(other(x=values), 1).as_svg(), "generic_step", update=update)


def test_the_exported_names_are_these() -> None:
    assert render.__all__ == [
        "Picture",
        "Theme",
        "animate",
        "clicks",
        "compare",
        "counterfactuals",
        "distributions",
        "filmstrip",
        "register_renderer",
        "render_all",
        "report",
        "step",
        "summary",
        "terminal",
        "theme",
    ]
    assert all(callable(getattr(render, name)) for name in render.__all__)


def test_a_name_stays_a_function_when_its_module_is_imported() -> None:
    import importlib

    for name in ("step", "summary", "theme", "report"):
        importlib.import_module(f"jaxarc_trace.render.{name}")
        assert callable(getattr(render, name))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = render.nothing


def test_a_picture_shows_itself() -> None:
    picture = render.step(stored("crop"), 1)
    assert picture._repr_svg_() == picture.as_svg()
    size = f"{picture.width:g} x {picture.height:g}"
    assert repr(picture) == f"<Picture {size}: {picture.title}>"
    assert picture.drawing.width == picture.width
