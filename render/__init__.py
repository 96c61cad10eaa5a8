"""Pictures of episodes: data in, the same bytes out. No clock, no network, no device.

`step`, `summary`, `compare` and `filmstrip` return a `Picture`, which shows itself in a notebook
and saves itself as SVG or PNG. `animate` and `report` write files, `terminal` returns text,
`render_all` draws many episodes at once.
`counterfactuals`, `clicks` and `distributions` draw what analysis found.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jaxarc_trace.render.compare import compare
from jaxarc_trace.render.drawing import Picture
from jaxarc_trace.render.filmstrip import filmstrip
from jaxarc_trace.render.generic import register_renderer
from jaxarc_trace.render.maps import clicks, counterfactuals, distributions
from jaxarc_trace.render.step import step
from jaxarc_trace.render.summary import summary
from jaxarc_trace.render.theme import Theme, theme

if TYPE_CHECKING:
    from jaxarc_trace.render.animate import animate
    from jaxarc_trace.render.queue import render_all
    from jaxarc_trace.render.report import report
    from jaxarc_trace.render.terminal import terminal

__all__ = [
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

_LATER = {
    "animate": "jaxarc_trace.render.animate",
    "render_all": "jaxarc_trace.render.queue",
    "report": "jaxarc_trace.render.report",
    "terminal": "jaxarc_trace.render.terminal",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps the functions that share their name with their module in view.

    Importing `render/animate.py` sets the package's attribute `animate` to that module; here the
    name means the function, so such an assignment is passed over.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in __all__ and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
