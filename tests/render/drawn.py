"""Reading drawn pictures back: what an SVG says and shows."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SVG = "{http://www.w3.org/2000/svg}"
GOLDEN = Path(__file__).parent / "golden"


def parsed(svg: str) -> Any:
    """The document, having checked what every picture has: a title, a description, a role."""
    root = ET.fromstring(svg)  # noqa: S314 - drawn by us a moment ago
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    names = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert names <= {"svg", "title", "desc", "defs", "g", "rect", "path", "circle", "text"} | {
        "tspan",
        "image",
        "use",
        "marker",
    }
    found = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(set(found)) == len(found)
    assert {use.get("href") for use in root.iter(f"{SVG}use")} <= {f"#{name}" for name in found}
    styles = {element.get("style") or "" for element in root.iter()}
    assert {style for style in styles if "url" in style} <= {
        f"marker:url(#{name})" for name in found
    }
    return root


def words(svg: str) -> list[str]:
    """Every line of text of the picture, as a reader sees it."""
    return [line.words for line in lines(svg)]


class Drawn(NamedTuple):
    """A line of text and where it begins."""

    words: str
    x: str
    y: str


def lines(svg: str) -> list[Drawn]:
    """Every line of text of the picture; a part that has a place of its own is one."""
    out = []
    for element in parsed(svg).iter(f"{SVG}text"):
        now = Drawn(element.text or "", element.get("x"), element.get("y"))
        for part in element:
            if part.get("x"):
                out.append(now)
                now = now._replace(words="", x=part.get("x"))
            now = now._replace(words=f"{now.words}{part.text or ''}{part.tail or ''}")
        out.append(now)
    return out


def paths(svg: str, **attributes: str) -> list[Any]:
    """The paths that have these attributes; `_` in a name stands for `-`."""
    wanted = {key.replace("_", "-"): value for key, value in attributes.items()}
    return [
        path
        for path in parsed(svg).iter(f"{SVG}path")
        if all(path.get(key) == value for key, value in wanted.items())
    ]


def same_as_golden(svg: str, name: str, *, update: bool) -> None:
    """Compares with the stored picture; with `--update-goldens` it is stored anew."""
    file = GOLDEN / f"{name}.svg"
    if update:
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(svg, encoding="utf-8", newline="\n")
    if not file.exists():
        pytest.fail(f"{file.name} is missing; run pytest tests/render --update-goldens and look.")
    stored = file.read_text(encoding="utf-8")
    if svg != stored:
        at = next(
            (i for i, (a, b) in enumerate(zip(svg, stored, strict=False)) if a != b),
            min(len(svg), len(stored)),
        )
        pytest.fail(
            f"{file.name} differs at character {at}: drawn {svg[at - 30 : at + 50]!r}, stored "
            f"{stored[at - 30 : at + 50]!r}. If it should, run with --update-goldens."
        )
