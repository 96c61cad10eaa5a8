# ruff: noqa: E402 - it finds the package beside it
"""Draws the gallery: every operation, picture and theme, from episodes that JaxARC played.

    python docs/gallery/make.py            # writes README.md and pictures/ beside this file
    python docs/gallery/make.py --to DIR

The episodes are the stored ones of the tests, so the gallery shows what the tests hold.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from jaxarc_trace import render
from jaxarc_trace.episode import Episode
from jaxarc_trace.render import cards, grid, icons
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.frames import ArcFrames, frames
from jaxarc_trace.render.marks import path, text
from jaxarc_trace.render.text import slug
from jaxarc_trace.render.theme import THEMES, Theme, theme
from tests.render.stored import KINDS, NAMES, OPERATIONS, stored

SIDE = 112.0
CARD = (272.0, 172.0)
COLUMNS = 5


def step_of(episode: Episode, operation: int) -> int:
    """The step of an episode that does an operation; of several, the one that changes most."""
    arc = frames(episode)
    if arc is None:
        message = f"episode {episode.id} has no grids"
        raise SystemExit(message)
    steps = np.flatnonzero(episode.extras["operation"] == operation).tolist()
    return max(steps, key=lambda t: int(arc.changed(t).sum()))


def all_operations(look: Theme) -> Picture:
    """Each of the 35 operations as a card: its sign, its name, before and after."""
    episode = stored("operations")
    arc = frames(episode)
    if arc is None:
        message = "the stored episode of operations has no grids"
        raise SystemExit(message)
    parts = [
        cards.heading(
            "The 35 operations of JaxARC",
            "Before, with the selection dashed; after, with the changed cells in a double line",
            24,
            24 + COLUMNS * CARD[0],
            look,
        )
    ]
    for operation in range(len(OPERATIONS)):
        row, column = divmod(operation, COLUMNS)
        x, y = 24 + column * CARD[0], 92 + row * CARD[1]
        parts.append(card(arc, operation, x, y, look))
    rows = -(-len(OPERATIONS) // COLUMNS)
    return Picture(
        width=24 + COLUMNS * CARD[0],
        height=92 + rows * CARD[1],
        title="The 35 operations of JaxARC",
        description=", ".join(OPERATIONS),
        body="".join(parts),
        theme=look,
    )


def card(arc: ArcFrames, operation: int, x: float, y: float, look: Theme) -> str:
    """One operation at `x, y`."""
    t = step_of(arc.episode, operation)
    before, after, chosen = arc.before(t), arc.after(t), arc.selection(t)
    cell = cards.cell_of(before, SIDE)
    note = "no change" if not arc.changed(t).any() and before.shape == after.shape else ""
    parts = [
        icons.icon(KINDS[operation], OPERATIONS[operation], x, y - 8, 20, look),
        text(x + 28, y + 7, OPERATIONS[operation], size=13, bold=True),
        text(x + SIDE + 18 + SIDE, y + 7, note, size=11, fill=look.muted, anchor="end"),
        grid.grid(before, x, y + 20, cell, look),
        path(f"M{x + SIDE + 3:g} {y + 76:g}h10m-4-4l4 4l-4 4", stroke=look.muted, thickness=1.6),
        grid.grid(after, x + SIDE + 18, y + 20, cell, look),
    ]
    if chosen is not None:
        parts.append(grid.selected(chosen, x, y + 20, cell, look))
    parts.append(grid.changed(arc.changed(t), x + SIDE + 18, y + 20, cell, look))
    if before.shape != after.shape:
        size = (before.shape[1] * cell, before.shape[0] * cell)
        parts.append(grid.ghost(x + SIDE + 18, y + 20, *size, look))
    return "".join(parts)


def other_environment() -> Episode:
    """A short episode of an environment that is not ARC: a swinging pole."""
    time = np.linspace(0, 3, 25)
    values = np.stack([np.cos(3 * time), np.sin(3 * time), -3 * np.exp(-time)], -1)
    return Episode(
        states={"observation": values.astype(np.float32)},
        actions={"action": np.sin(time[1:]).astype(np.float32)},
        rewards=-np.abs(np.sin(3 * time[1:])).astype(np.float32),
        terminated=np.zeros(24, bool),
        truncated=np.arange(24) == 23,
        total_return=float(-np.abs(np.sin(3 * time[1:])).sum()),
        environment={"name": "Pendulum-v1"},
    )


def pictures() -> dict[str, Picture]:
    """All pictures of the gallery by file name."""
    solved, long = stored("solved"), stored("long")
    out = {"operations": all_operations(theme("default"))}
    out |= {f"step-{name}": render.step(solved, 4, name) for name in THEMES}
    out |= {f"summary-{name}": render.summary(solved, name) for name in THEMES}
    out["summary-long"] = render.summary(long)
    out["compare"] = render.compare([solved, stored("wandering"), stored("crop")])
    out["band"] = render.compare([stored(name) for name in NAMES] * 2)
    out["filmstrip"] = render.filmstrip(solved)
    out["resize"] = render.step(stored("crop"), 0)
    out["submit"] = render.step(solved, -1)
    out["no-op"] = render.step(solved, 9)
    out["failure"] = render.step(stored("operations"), -1)
    out["digits"] = render.step(stored("crop"), 3, theme("colorblind", digits=True))
    out["other"] = render.step(other_environment(), 11)
    episode = stored("operations")
    for operation, name in enumerate(OPERATIONS):
        out[f"op-{operation:02d}-{slug(name.lower().replace(' ', '-'))}"] = render.step(
            episode, step_of(episode, operation)
        )
    return out


PAGE = """# Gallery

Every picture here is drawn by `docs/gallery/make.py` from episodes that JaxARC 1.0.3 played on
public ARC tasks. The same episode gives the same bytes: this page changes only when a picture does.

## Every operation

![The 35 operations of JaxARC, before and after](pictures/operations.svg)

## A step: `render.step(episode, t)`

![A step in the canonical colours](pictures/step-default.svg)

What was selected is dashed, what changed has a double line, what still differs from the target
has a corner. Cells are never tinted.

| | |
|---|---|
| A resize | ![A resize](pictures/resize.svg) |
| Submit | ![Submit](pictures/submit.svg) |
| A no-op | ![A no-op](pictures/no-op.svg) |
| Part of failure modes | ![What failed](pictures/failure.svg) |
| Digits in the cells | ![Digits](pictures/digits.svg) |

## Themes

| | `render.step(episode, t, theme)` |
|---|---|
{themes}

## An episode: `render.summary(episode)`

![A solved episode](pictures/summary-default.svg)

![A long episode](pictures/summary-long.svg)

## Episodes against each other: `render.compare(episodes)`

![Three episodes](pictures/compare.svg)

More than eight become a median with its bands:

![Fourteen episodes](pictures/band.svg)

## A filmstrip: `render.filmstrip(episode)`

![A filmstrip](pictures/filmstrip.svg)

## Any other environment

![A vector as labelled bars](pictures/other.svg)

## Each operation as a step

| operation | |
|---|---|
{operations}
"""


def page(names: list[str]) -> str:
    """The Markdown page that shows the pictures."""
    themes = "\n".join(f"| `{n}` | ![{n}](pictures/step-{n}.svg) |" for n in THEMES)
    steps = [name for name in names if name.startswith("op-")]
    rows = "\n".join(
        f"| {number} {OPERATIONS[number]} | ![{OPERATIONS[number]}](pictures/{name}.svg) |"
        for number, name in enumerate(steps)
    )
    return PAGE.format(themes=themes, operations=rows)


def main() -> None:
    """Writes the page and its pictures."""
    parser = argparse.ArgumentParser(description="Draws the gallery.")
    parser.add_argument("--to", type=Path, default=HERE, help="folder to write to")
    to = parser.parse_args().to
    (to / "pictures").mkdir(parents=True, exist_ok=True)
    drawn = pictures()
    for name, picture in drawn.items():
        picture.save_svg(to / "pictures" / f"{name}.svg")
    (to / "README.md").write_text(page(list(drawn)), encoding="utf-8", newline="\n")
    print(f"{len(drawn)} pictures in {to / 'pictures'}")


if __name__ == "__main__":
    main()
