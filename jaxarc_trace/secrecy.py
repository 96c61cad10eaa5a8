"""Text and settings without secrets: what a run directory holds may be read by anybody."""

import base64
import contextlib
import netrc
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = ["HIDDEN", "concealed", "known_secrets", "without"]

HIDDEN = "(hidden)"
_NAME = re.compile(
    r"(api|access|private|secret|auth)_?key|token(?!i[sz])|secret|passw|credential", re.IGNORECASE
)
_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_SHORTEST = 8
_LOGIN = re.compile(r"(\w+://)[^/@\s]+@")


def known_secrets(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Values that must not be written anywhere, the longest first.

    Those of environment variables that are called a key, token, secret or password, and the
    passwords of `.netrc`, where W&B keeps its key; of 8 characters at least.
    """
    given = os.environ if environment is None else environment
    found = {value for name, value in given.items() if _VARIABLE.search(name.upper())}
    with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        found.update(held[2] or "" for held in netrc.netrc().hosts.values())
    found.update(base64.b64encode(f"api:{value}".encode()).decode() for value in list(found))
    return tuple(sorted((v for v in found if len(v) >= _SHORTEST), key=len, reverse=True))


def without(data: Any, secrets: Iterable[str], clean: Callable[[str], str] = str) -> Any:
    """JSON without secrets: the known ones, what is called a secret, and logins in addresses.

    Args:
        data: text, numbers, lists and mappings.
        secrets: see `known_secrets`.
        clean: what each text goes through besides.
    """
    words = tuple(secrets)
    if isinstance(data, str):
        for word in words:
            data = data.replace(word, HIDDEN)
        return _LOGIN.sub(rf"\1{HIDDEN}@", clean(data))
    if isinstance(data, Mapping):
        return {
            clean(str(name)): HIDDEN if _secret(name, value) else without(value, words, clean)
            for name, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [without(value, words, clean) for value in data]
    return data


def concealed(data: Any, what: str) -> Any:
    """JSON for a file of a run: as `without` gives it, and a warning that says what was hidden.

    Args:
        data: text, numbers, lists and mappings.
        what: what it is, for the warning.
    """
    found = without(data, known_secrets())
    places = list(_changed(data, found, what))
    if places:
        warnings.warn(
            f"{', '.join(places)}: written as {HIDDEN}, because it looks like a secret and "
            "whoever may read the run could read it; keep secrets in environment variables, or "
            "call it by another name if it is none",
            RuntimeWarning,
            stacklevel=2,
        )
    return found


def _secret(name: Any, value: Any) -> bool:
    return isinstance(value, str) and bool(value) and bool(_NAME.search(str(name)))


def _changed(before: Any, after: Any, where: str) -> Iterator[str]:
    """The places of texts that are not what they were."""
    if isinstance(before, Mapping):
        for name, value in before.items():
            yield from _changed(value, after[str(name)], f"{where}[{str(name)!r}]")
    elif isinstance(before, list | tuple):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changed(old, new, f"{where}[{index}]")
    elif before != after:
        yield where
