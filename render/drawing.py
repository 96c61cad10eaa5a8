"""`Picture`: a finished drawing that can be shown, saved and rasterised."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jaxarc_trace.render import files, pixels
from jaxarc_trace.render.marks import BASE_SIZE, brief, num
from jaxarc_trace.render.text import escape
from jaxarc_trace.render.theme import Theme

if TYPE_CHECKING:
    import drawsvg

__all__ = ["Picture"]

# CSS takes names of plain words without quotes; in an attribute each quote takes five characters.
_QUOTED = re.compile("'([A-Za-z]+(?: [A-Za-z]+)*)'")


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A drawing of fixed size. The same episode and theme give the same bytes.

    Attributes:
        width: pixels.
        height: pixels.
        title: one line that names it; what a screen reader says first. Not yet escaped.
        description: what can be seen in it, in words. Not yet escaped.
        body: SVG elements, already escaped.
        theme: how it looks.
    """

    width: float
    height: float
    title: str
    description: str
    body: str
    theme: Theme

    @cached_property
    def drawing(self) -> "drawsvg.Drawing":
        """The picture as a `drawsvg.Drawing`, to add to or to combine with others."""
        import drawsvg

        out = drawsvg.Drawing(self.width, self.height, role="img")
        out.append(drawsvg.Raw(self._head() + self.body + "</g>"))
        return out

    def as_svg(self) -> str:
        """The SVG document, without an XML declaration so that it can stand in a page."""
        wide, high = num(self.width), num(self.height)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
            f'viewBox="0 0 {wide} {high}" role="img">{self._head()}{self.body}</g></svg>'
        )

    def as_png(self, scale: float = 2.0) -> bytes:
        """The picture as PNG bytes, `scale` device pixels to a pixel, in the bundled font.

        Raises:
            MissingExtraError: when resvg-py is not installed.
            RenderError: for a scale that is not positive or gives more than 64 megapixels.
        """
        return pixels.png(self.as_svg(), self.width, self.height, scale)

    def save_svg(self, path: str | os.PathLike[str]) -> Path:
        """Writes the SVG document; the file appears only when it is whole.

        Raises:
            RenderError: where the folder cannot be written.
        """
        return files.write(path, self.as_svg().encode())

    def save_png(self, path: str | os.PathLike[str], scale: float = 2.0) -> Path:
        """Writes the picture as PNG; see `as_png` and `save_svg`."""
        return files.write(path, self.as_png(scale))

    def _repr_svg_(self) -> str:
        return self.as_svg()

    def __repr__(self) -> str:
        return f"<Picture {num(self.width)} x {num(self.height)}: {escape(self.title, 80)}>"

    def _head(self) -> str:
        style = self.theme
        family = _QUOTED.sub(r"\1", style.font_family)
        return (
            f"<title>{escape(self.title, 300)}</title><desc>{escape(self.description, 2000)}</desc>"
            f'<path d="M0 0h{num(self.width)}v{num(self.height)}H0z" '
            f'fill="{brief(style.page)}"/><g font-family="{escape(family, 300)}" '
            f'font-size="{BASE_SIZE}" '
            f'fill="{style.text}">'
        )
