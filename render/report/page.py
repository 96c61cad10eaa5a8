"""The viewer's files and the data put together as one HTML page that needs nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jaxarc_trace.render.text import escape

__all__ = ["fixed_size", "page"]

_PACKAGE = "jaxarc_trace.render.report"
_SHEETS = ("viewer.css", "viewer_small.css")


def page(title: str, mode: str, index: bytes, chunks: Sequence[str]) -> bytes:
    """The whole file.

    Args:
        title: name of the report. Untrusted text; escaped here.
        mode: `auto`, `light` or `dark`.
        index: the deflated index.
        chunks: base64 text of the blocks, in runs.
    """
    style, script = _style(), _script()
    policy = (
        "default-src 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    elements = [
        f'<script type="text/plain" class="chunk" id="chunk-{number}">{text}</script>\n'
        for number, text in enumerate(chunks)
    ]
    values = {
        "policy": policy,
        "title": escape(title, 200),
        "mode": mode,
        "style": style,
        "index": base64.b64encode(index).decode("ascii"),
        "script": script,
        "chunks": "".join(elements),
    }
    return _filled(_read("viewer.html"), values).encode("utf-8")


def fixed_size() -> int:
    """Bytes of a page without any data."""
    return len(page("", "auto", b"", ()))


def _filled(template: str, values: dict[str, str]) -> str:
    """The template with each `{{name}}` replaced, once: a value may hold braces of its own."""
    head, *rest = template.split("{{")
    parts = [head]
    for piece in rest:
        name, _, after = piece.partition("}}")
        parts += [values[name], after]
    return "".join(parts)


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style by."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


@cache
def _style() -> str:
    return "".join(_read(name) for name in _SHEETS)


@cache
def _script() -> str:
    """The parts of the viewer in the order of their numbers, in a scope of their own."""
    folder = files(_PACKAGE) / "viewer"
    parts = sorted((part for part in folder.iterdir() if part.name.endswith(".js")), key=_name)
    text = "\n".join(part.read_text(encoding="utf-8") for part in parts)
    return f'(() => {{\n"use strict";\n\n{text}}})();\n'


def _name(part: object) -> str:
    return str(getattr(part, "name", ""))


@cache
def _read(name: str) -> str:
    return (files(_PACKAGE) / name).read_text(encoding="utf-8")
