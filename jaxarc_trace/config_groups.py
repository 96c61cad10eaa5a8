"""The groups of `conf/`: what there is to choose from, and which settings each choice sets."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from jaxarc_trace.config_fields import knobs
from jaxarc_trace.config_sections import TraceConfig
from jaxarc_trace.errors import require

__all__ = ["GROUPS", "NODE", "Choice", "choice", "flat", "keys", "sections"]

NODE = "trace"
"""All settings stand under this node, so that they live beside those of other packages."""

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "level": ("off", "minimal", "standard", "verbose", "full"),
        "storage": ("development", "research", "production"),
        "publish": ("local", "wandb_basic", "wandb_full"),
        "render": ("default", "colorblind", "high_contrast", "dark"),
    }
)
"""The choices of each group. The first of `storage`, `publish` and `render` is the default."""

_PACKAGE = re.compile(r"#\s*@package\s+(\S+)")


@dataclass(frozen=True)
class Choice:
    """One file of a group.

    Attributes:
        about: what it is for, from its comment.
        values: the settings that it sets, key to value.
    """

    about: str
    values: Mapping[str, Any]


def choice(group: str, name: str) -> Choice:
    """What a choice of a group says.

    Raises:
        MissingExtraError: without the package that reads YAML.
    """
    yaml = require("yaml", "hydra", "Reading a configuration")
    file = resources.files("jaxarc_trace.conf") / group / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    package = _PACKAGE.match(lines[0])
    start = "" if package is None else package[1].removeprefix(NODE).lstrip(".")
    comment = [line[1:].strip() for line in lines[1:] if line.startswith("#")]
    return Choice(" ".join(comment), dict(flat(yaml.safe_load(text), f"{start}." if start else "")))


def keys() -> list[str]:
    """Every setting, in order."""
    return [each.key for each in knobs(TraceConfig)]


def sections() -> list[str]:
    """What settings stand in, in order: `capture`, `capture.keep`, `storage`, ..."""
    found = dict.fromkeys(
        key.rsplit(".", depth)[0] for key in keys() for depth in (2, 1) if key.count(".") >= depth
    )
    return list(found)


def flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, with their keys joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
