"""A scripted ARC player: a pure policy over a whole batch of JaxARC states.

It paints the cells that differ from the target, errs, overlooks, and submits. No environment is
built here and nothing is recorded.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, Shaped

from jaxarc_trace.errors import SpecError

__all__ = ["ACTIONS", "scripted_player"]

ACTIONS = ("point", "bbox", "mask", "flat")

_RESIZE = 33
_SUBMIT = 34
_COLOURS = 10
# Share of the cells that a lane overlooks, for each unit of its error probability.
_OVERSIGHT = 0.7
# Probability a step that a player gives up on a grid it cannot bring to the right size.
_RESIGN = 0.1
# Keeps the draw of overlooked cells apart from the environment's own use of the state's key.
_OVERSIGHT_STREAM = 0x5EE

Policy = Callable[[PRNGKeyArray, Any, Any], Any]
_T = TypeVar("_T")


class _View(NamedTuple):
    """What the player sees of one lane; grids are `[H, W]`."""

    working: Int32[Array, "*lanes H W"]
    working_mask: Bool[Array, "*lanes H W"]
    target: Int32[Array, "*lanes H W"]
    target_mask: Bool[Array, "*lanes H W"]
    step: Int32[Array, "*lanes"]
    key: Shaped[Array, "*lanes key"]


class _Box(NamedTuple):
    """A rectangle of cells, both corners included; int32 scalars."""

    r1: Int32[Array, "*lanes"]
    c1: Int32[Array, "*lanes"]
    r2: Int32[Array, "*lanes"]
    c2: Int32[Array, "*lanes"]


class _Stroke(NamedTuple):
    """What to do next: one operation on the cells of `box`, of which `cells` are meant."""

    operation: Int32[Array, "*lanes"]
    box: _Box
    cells: Bool[Array, "*lanes H W"]


def scripted_player(action: str = "point", *, max_error: float = 0.5) -> Policy:
    """A policy `(key, state, timestep) -> action` on batched JaxARC states.

    Every leaf of `state` has a leading lane axis. Lane i of n errs with probability
    `max_error * i / (n - 1)` a stroke, half the time in the colour and half in the place, and
    does not see a share of the grid's cells, drawn anew each episode. So the first lanes solve
    what fits into an episode, and the last submit what still has mistakes. A grid that is too
    large is cut to size first; a grid that is too small cannot grow in JaxARC 1.0.3: the player
    tries, paints what is there, and gives up in the end.

    The same key and state give the same action. Works under jit, in a scan, not under grad.

    >>> policy = scripted_player("bbox", max_error=0.2)

    Args:
        action: which of `ACTIONS` the environment takes. `"point"` and `"flat"` paint one cell a
            step, `"bbox"` a rectangle of wrong cells of one colour, `"mask"` all wrong cells of
            one colour in one row.
        max_error: error probability of the last lane, 0 to 1.

    Raises:
        SpecError: an unknown action or a probability outside its range.
    """
    if action not in ACTIONS:
        raise SpecError(f"expected action to be one of {', '.join(ACTIONS)}, found {action!r}.")
    if not 0.0 <= max_error <= 1.0:
        raise SpecError(f"expected max_error between 0 and 1, found {max_error}.")

    def policy(key: PRNGKeyArray, state: Any, timestep: Any) -> Any:
        del timestep
        view = _View(
            working=state.working_grid,
            working_mask=state.working_grid_mask,
            target=state.target_grid,
            target_mask=state.target_grid_mask,
            step=state.step_count,
            key=state.key,
        )
        lanes = view.working.shape[0]
        error = jnp.linspace(0.0, max_error, lanes)
        strokes = jax.vmap(lambda k, e, v: _decide(k, e, v, action))(
            jax.random.split(key, lanes), error, view
        )
        return _encode(strokes, action)

    return policy


def _decide(key: PRNGKeyArray, error: Float32[Array, ""], view: _View, action: str) -> _Stroke:
    """The next stroke of one lane."""
    blind = jax.random.uniform(jax.random.fold_in(view.key, _OVERSIGHT_STREAM), view.working.shape)
    wrong = view.working_mask & view.target_mask & (view.working != view.target)
    wrong = wrong & (blind >= _OVERSIGHT * error**2)
    key_paint, key_resign = jax.random.split(key)
    paint = _paint(key_paint, error, view, wrong, action)

    size, goal = _size(view.working_mask), _size(view.target_mask)
    too_large = (goal > 0).all() & (size > goal).any()
    too_small = (size < goal).any()
    resigns = jax.random.bernoulli(key_resign, _RESIGN)
    # A selection is clipped to the grid, so cutting must aim inside it; growing cannot succeed.
    corner = jnp.where(too_large, jnp.minimum(size, goal), goal) - 1
    stuck = too_small & ((view.step == 0) | (~wrong.any() & ~resigns))

    stroke = _choose(wrong.any(), paint, _whole(view, _SUBMIT, jnp.zeros(2, jnp.int32)))
    return _choose(too_large | stuck, _whole(view, _RESIZE, corner), stroke)


def _paint(
    key: PRNGKeyArray,
    error: Float32[Array, ""],
    view: _View,
    wrong: Bool[Array, "H W"],
    action: str,
) -> _Stroke:
    """Paints the first wrong cells in reading order, unless the hand slips."""
    height, width = wrong.shape
    first = jnp.argmax(wrong.ravel()).astype(jnp.int32)
    row, col = first // width, first % width
    colour = view.target[row, col]
    alike = wrong & (view.target == colour)

    slip, kind, down, right, shift = jax.random.uniform(key, (5,))
    wrong_colour = (slip < error) & (kind < 0.5)
    wrong_place = (slip < error) & (kind >= 0.5)
    size = _size(view.working_mask)
    row = jnp.where(wrong_place, _below(down, size[0]), row)
    col = jnp.where(wrong_place, _below(right, size[1]), col)
    other = (colour + 1 + _below(shift, _COLOURS - 1)) % _COLOURS
    colour = jnp.where(wrong_colour, other, colour)

    box = _Box(row, col, row, col)
    if action in ("bbox", "mask"):
        box = _choose(wrong_place, box, _rectangle(alike, row, col))
    cells = _cells(box, height, width)
    if action == "mask":
        in_row = alike & (jnp.arange(height)[:, None] == row)
        cells = jnp.where(wrong_place, cells, in_row)
    return _Stroke(colour.astype(jnp.int32), box, cells)


def _rectangle(alike: Bool[Array, "H W"], row: Int32[Array, ""], col: Int32[Array, ""]) -> _Box:
    """The cells alike to the right of a cell, and as many rows below as are alike throughout."""
    rows, cols = jnp.arange(alike.shape[0]), jnp.arange(alike.shape[1])
    blocked = (cols >= col) & ~alike[row]
    right = jnp.min(jnp.where(blocked, cols, alike.shape[1])) - 1
    within = (cols >= col) & (cols <= right)
    broken = (rows >= row) & (within[None, :] & ~alike).any(axis=1)
    bottom = jnp.min(jnp.where(broken, rows, alike.shape[0])) - 1
    # A hand that slipped may start on a cell that is not alike: then it is one cell.
    return _Box(row, col, jnp.maximum(bottom, row), jnp.maximum(right, col))


def _whole(view: _View, operation: int, corner: Int32[Array, "2"]) -> _Stroke:
    """An operation on everything from the top left to `corner`, int32 [row, column]."""
    zero = jnp.zeros((), corner.dtype)
    box = _Box(zero, zero, corner[0], corner[1])
    return _Stroke(jnp.asarray(operation, jnp.int32), box, _cells(box, *view.working.shape))


def _cells(box: _Box, height: int, width: int) -> Bool[Array, "H W"]:
    """bool [height, width]: the cells of a rectangle."""
    rows, cols = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    return (rows >= box.r1) & (rows <= box.r2) & (cols >= box.c1) & (cols <= box.c2)


def _below(uniform: Float32[Array, ""], bound: Int32[Array, ""] | int) -> Int32[Array, ""]:
    """int32: a uniform number in [0, 1) as a whole number below a bound."""
    return (uniform * jnp.asarray(bound, jnp.float32)).astype(jnp.int32)


def _size(mask: Bool[Array, "H W"]) -> Int32[Array, "2"]:
    """int32 [2]: rows and columns that a mask touches."""
    return jnp.stack([mask.any(axis=1).sum(), mask.any(axis=0).sum()]).astype(jnp.int32)


def _choose(condition: Bool[Array, ""], yes: _T, no: _T) -> _T:
    """One of two strokes, or of two boxes."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _encode(stroke: _Stroke, action: str) -> Any:
    """Strokes `[lane, ...]` as the action the environment takes.

    A point has no extent: it stands for the bottom right corner, which is what a resize reads.
    """
    operation = stroke.operation
    box = _Box(*(corner.astype(jnp.int32) for corner in stroke.box))
    if action == "mask":
        return {"operation": operation, "selection": stroke.cells}
    if action == "bbox":
        return {"operation": operation, **box._asdict()}
    if action == "point":
        return {"operation": operation, "row": box.r2, "col": box.c2}
    height, width = stroke.cells.shape[1:]
    return (operation * height + box.r2) * width + box.c2
