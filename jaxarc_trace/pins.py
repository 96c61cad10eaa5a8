"""What a person wants to keep of a run whatever its limits say: `pins.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxarc_trace.errors import StoreError
from jaxarc_trace.locks import exclusive
from jaxarc_trace.manifest import read_manifest, write_json

__all__ = ["Pins", "pin", "read_pins"]

PINS = "pins.json"


@dataclass(frozen=True)
class Pins:
    """What is pinned.

    Attributes:
        run: whether all of the run is.
        episodes: process, lane and number of single episodes.
    """

    run: bool = False
    episodes: frozenset[tuple[int, int, int]] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """As JSON for scripts."""
        names = ("process", "lane", "number")
        episodes = [dict(zip(names, one, strict=True)) for one in sorted(self.episodes)]
        return {"run": self.run, "episodes": episodes}


def read_pins(run: Path) -> Pins:
    """The pins of a run.

    Raises:
        StoreError: when they cannot be read; nothing may be removed then.
    """
    try:
        data = json.loads((run / PINS).read_text(encoding="utf-8"))
        episodes = ((int(p), int(lane), int(n)) for p, lane, n in data["episodes"])
        return Pins(bool(data["run"]), frozenset(episodes))
    except FileNotFoundError:
        return Pins()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{run}/{PINS}: expected what is pinned, found something else ({error!r}); restore "
            "the file, or remove it to unpin everything"
        ) from error


def pin(run: Path, episode: tuple[int, int, int] | None = None, *, pinned: bool = True) -> Pins:
    """Pins or unpins a run, or one episode of it by process, lane and number.

    Returns:
        All pins of the run.

    Raises:
        NotATraceError: when there is no run at the path.
        StoreError: when the run cannot be written to.
    """
    read_manifest(run)
    with exclusive(run):
        now = read_pins(run)
        if episode is None:
            new = Pins(pinned, now.episodes)
        else:
            one = frozenset({episode})
            new = Pins(now.run, now.episodes | one if pinned else now.episodes - one)
        try:
            write_json(run / PINS, {"run": new.run, "episodes": sorted(new.episodes)})
        except OSError as error:
            raise StoreError(
                f"{run}/{PINS}: could not be written ({error.strerror}); check the permissions of "
                "the run, and its space"
            ) from error
    return new
