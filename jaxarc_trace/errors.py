"""Every exception this package raises on purpose.

    TraceError
    ├── SpecError            arguments that contradict themselves or each other (ValueError)
    │   └── ConfigError          settings that do, with every problem there is
    ├── SchemaError          data that has not the declared dtype, shape or range (ValueError)
    ├── StoreError           a trace on disk that cannot be used
    │   ├── NotATraceError       nothing was committed at that path
    │   ├── FormatVersionError   written by a newer format than this package reads
    │   └── CorruptEpisodeError  the bytes of one episode do not match their checksum
    ├── RenderError          an episode that cannot be drawn the way that was asked (ValueError)
    └── MissingExtraError    an optional dependency is not installed (ImportError)

Each message says what was expected, what was found, where, and what to do.
"""

import importlib
from types import ModuleType
from typing import Any

__all__ = [
    "ConfigError",
    "CorruptEpisodeError",
    "FormatVersionError",
    "MissingExtraError",
    "NotATraceError",
    "RenderError",
    "SchemaError",
    "SpecError",
    "StoreError",
    "TraceError",
    "require",
]


class TraceError(Exception):
    """Base class of every error of this package."""


class SpecError(TraceError, ValueError):
    """Arguments that contradict each other or lie outside their range."""


class ConfigError(SpecError):
    """Settings that do not exist, have a wrong value, or contradict each other.

    Attributes:
        problems: each of them, with a `key` and a `text`.
    """

    def __init__(self, message: str, problems: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class SchemaError(TraceError, ValueError):
    """Data whose dtype, shape or range is not the declared one."""


class StoreError(TraceError):
    """A trace on disk that cannot be read or written."""


class NotATraceError(StoreError):
    """No committed trace at the path."""


class FormatVersionError(StoreError):
    """The trace was written in a newer format than this package knows."""


class CorruptEpisodeError(StoreError):
    """The bytes of one episode do not match the checksum stored with it."""


class RenderError(TraceError, ValueError):
    """An episode that cannot be drawn as asked."""


class MissingExtraError(TraceError, ImportError):
    """An optional dependency is missing; the message holds the pip command."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports an optional dependency.

    Args:
        module: name of the module to import, for instance `"polars"`.
        extra: the extra of this package that brings it, for instance `"analysis"`.
        purpose: what needs it, as the start of the error's sentence.

    Raises:
        MissingExtraError: when the module is not installed.
        ModuleNotFoundError: when it is, and something that it imports is not.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs the package {module!r}, which is not installed. "
            f"Run: pip install 'jaxarc-trace[{extra}]'"
        ) from error
