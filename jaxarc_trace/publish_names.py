"""Names that W&B takes, from text that may hold anything; and text without secrets.

W&B refuses slashes, `#`, `?`, `%` and `:` in ids and projects, long names and empty tags. What a
name was before stands in the run's config and in the table, unchanged but for characters that no
UTF-8 file holds.
"""

import base64
import contextlib
import hashlib
import netrc
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jaxarc_trace.names import slug

__all__ = ["HIDDEN", "known_secrets", "plain", "project", "run_id", "shown", "tags", "without"]

HIDDEN = "(hidden)"
LONGEST = 128
LONGEST_TAG = 64
_REFUSED = re.compile(r"[/\\#?%:\r\n\x00-\x1f\x7f]+")
_HEX = re.compile(r"[0-9a-f]{32}")
_SECRET_NAME = re.compile(
    r"(api|access|private|secret|auth)_?key|token|secret|passw|credential", re.IGNORECASE
)
_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_SHORTEST_SECRET = 8
_LOGIN = re.compile(r"(\w+://)[^/@\s]+@")


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


def known_secrets(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Values that must not be written anywhere, the longest first.

    Those of environment variables that are called a key, token, secret or password, and the
    passwords of `.netrc`, where W&B keeps its key.
    """
    given = os.environ if environment is None else environment
    found = {value for name, value in given.items() if _SECRET_VARIABLE.search(name.upper())}
    with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        found.update(held[2] or "" for held in netrc.netrc().hosts.values())
    found.update(base64.b64encode(f"api:{value}".encode()).decode() for value in list(found))
    return tuple(sorted((v for v in found if len(v) >= _SHORTEST_SECRET), key=len, reverse=True))


def without(data: Any, secrets: Iterable[str]) -> Any:
    """JSON without secrets: the known ones, what is called a secret, and logins in addresses.

    Args:
        data: text, numbers, lists and mappings.
        secrets: see `known_secrets`.
    """
    words = tuple(secrets)
    if isinstance(data, str):
        for word in words:
            data = data.replace(word, HIDDEN)
        return _LOGIN.sub(rf"\1{HIDDEN}@", plain(data))
    if isinstance(data, Mapping):
        return {
            plain(name): HIDDEN
            if _SECRET_NAME.search(str(name)) and isinstance(value, str) and value
            else without(value, words)
            for name, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [without(value, words) for value in data]
    return data
