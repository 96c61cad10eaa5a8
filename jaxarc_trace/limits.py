"""The limits of a run, kept beside it for `clean` and `Run.resume`: `limits.json`."""

import json
from dataclasses import asdict, fields
from pathlib import Path

from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.manifest import write_json
from jaxarc_trace.retention import Retention

__all__ = ["read_limits", "write_limits"]

LIMITS = "limits.json"


def read_limits(run: Path) -> Retention:
    """The limits of a run; none when it was made without.

    Raises:
        StoreError: when they cannot be read; nothing may be removed then.
    """
    try:
        data = json.loads((run / LIMITS).read_text(encoding="utf-8"))
        known = {name: data[name] for name in (f.name for f in fields(Retention)) if name in data}
        return Retention(**{**known, "protect": tuple(known.get("protect", ()))})
    except FileNotFoundError:
        return Retention()
    except (OSError, ValueError, TypeError, AttributeError, SpecError) as error:
        raise StoreError(
            f"{run}/{LIMITS}: expected the limits of a run, found something else ({error!r}); "
            "restore the file, or remove it and give the limits again"
        ) from error


def write_limits(run: Path, retention: Retention) -> None:
    """Keeps the limits beside the run.

    Raises:
        StoreError: when the run cannot be written to.
    """
    try:
        write_json(run / LIMITS, asdict(retention))
    except OSError as error:
        raise StoreError(
            f"{run}/{LIMITS}: could not be written ({error.strerror}); check the permissions of "
            "the run, and its space"
        ) from error
