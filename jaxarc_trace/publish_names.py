"""Names that W&B takes, from text that may hold anything; and text without secrets.

W&B refuses slashes, `#`, `?`, `%` and `:` in ids and projects, long names and empty tags. What a
name was before stands in the run's config and in the table, unchanged but for characters that no
UTF-8 file holds.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from jaxarc_trace import secrecy
from jaxarc_trace.names import slug

__all__ = ["plain", "project", "run_id", "shown", "tags", "without"]

LONGEST = 128
LONGEST_TAG = 64
_REFUSED = re.compile(r"[/\\#?%:\r\n\x00-\x1f\x7f]+")
_HEX = re.compile(r"[0-9a-f]{32}")


def plain(text: Any) -> str:
    """Text that can be written as UTF-8: a lone surrogate becomes its code, all else stays."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def run_id(identity: str) -> str:
    """The W&B id of a run: the same for the same run, always.

    Args:
        identity: what `run.json` has as `id`; 32 hexadecimal digits unless somebody changed it.
    """
    if _HEX.fullmatch(identity):
        return identity
    digest = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return f"{slug(identity)[:40]}-{digest}"


def project(text: str) -> str:
    """A project, group or type: at most 128 characters, none of which W&B refuses."""
    return _REFUSED.sub("-", plain(text)).strip(" -")[:LONGEST].strip(" -") or "jaxarc-trace"


def shown(text: str) -> str:
    """A name to show: one line of at most 128 characters that can be printed, or empty."""
    line = "".join(c if c.isprintable() else " " for c in plain(text))
    return " ".join(line.split())[:LONGEST]


def tags(words: Iterable[str]) -> tuple[str, ...]:
    """Tags of 1 to 64 characters, each once, in order."""
    found = (shown(word)[:LONGEST_TAG].strip() for word in words)
    return tuple(dict.fromkeys(word for word in found if word))


def without(data: Any, secrets: Iterable[str]) -> Any:
    """JSON as W&B takes it, without secrets; see `secrecy.without`."""
    return secrecy.without(data, secrets, clean=plain)
