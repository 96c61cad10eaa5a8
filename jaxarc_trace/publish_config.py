"""What a run is called at W&B: name, config, group, job type and tags, from what it says."""

import configparser
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxarc_trace.config_sections import Publish
from jaxarc_trace.publish_names import plain, project, run_id, shown, tags, without
from jaxarc_trace.secrecy import known_secrets

__all__ = ["Described", "address", "describe"]

DEFAULT_ADDRESS = "https://api.wandb.ai"
_GROUP = ("experiment", "experiment_name", "group", "study")
_JOB = ("job_type", "mode", "stage")
_LEARNS = (
    "learning_rate",
    "lr",
    "optimizer",
    "total_timesteps",
    "num_updates",
    "total_num_updates",
)
_TAGS = ("algorithm", "algo", "agent", "dataset_name", "dataset", "env_name")
_DEPTH = 3


@dataclass(frozen=True)
class Described:
    """What W&B is told of a run.

    Attributes:
        id: its id there: the same for the same run.
        name: its name there.
        config: the program's own config, and beside it `trace_run` and `trace_environment`.
        group: which runs belong together.
        job_type: what kind of run it is.
        tags: words to find it by.
    """

    id: str
    name: str
    config: dict[str, Any]
    group: str
    job_type: str
    tags: tuple[str, ...]


def describe(
    manifest: Mapping[str, Any], environment: Mapping[str, Any], path: Path, given: Publish
) -> Described:
    """What to tell W&B, without secrets; what the settings do not give is found in the config.

    The group is `experiment`, `experiment_name`, `group` or `study` of the config, else the name
    of the environment. The job type is its `job_type`, `mode` or `stage`, else `training` where
    there is a learning rate or the like, else `evaluation`. Tags are the environment, the dataset,
    the algorithm and the level.

    Args:
        manifest: what `run.json` says.
        environment: what the saves say of the environment.
        path: the run.
        given: the settings.
    """
    config = dict(manifest.get("config") or {})
    known = {**environment, **(manifest.get("environment") or {})}
    kind = str(known.get("name") or "")
    words = dict(_words(config))
    own = {
        "name": plain(manifest.get("name") or ""),
        "id": manifest["id"],
        "directory": path.name,
        **{k: manifest[k] for k in ("created", "packages", "python", "git") if manifest.get(k)},
    }
    learns = any(name in words for name in _LEARNS)
    found = (words[name] for name in _TAGS if isinstance(words.get(name), str))
    level = words.get("level")
    labels = given.tags or (kind, *found, *([level] if isinstance(level, str) else []))
    secrets = known_secrets()
    whole = {**config, "trace_run": own, "trace_environment": known}
    return Described(
        id=run_id(str(manifest["id"])),
        name=shown(without(str(manifest.get("name") or ""), secrets)) or shown(path.name),
        config=without(whole, secrets),
        group=project(given.group or _first(words, _GROUP) or kind or "traces"),
        job_type=project(
            given.job_type or _first(words, _JOB) or ("training" if learns else "evaluation")
        ),
        tags=tags(without(list(map(str, labels)), secrets)),
    )


def address() -> str:
    """Where W&B is, as its variable or its settings file says; a label, nothing is sent by it."""
    given = os.environ.get("WANDB_BASE_URL")
    if not given:
        folder = os.environ.get("WANDB_CONFIG_DIR") or Path("~/.config/wandb").expanduser()
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(Path(folder) / "settings", encoding="utf-8")
            given = parser.get("default", "base_url", fallback=None)
        except (configparser.Error, UnicodeDecodeError):
            given = None
    return without((given or DEFAULT_ADDRESS).rstrip("/"), ())


def _words(config: Mapping[str, Any], depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings by their own names; outer ones come last, and so win."""
    for value in config.values():
        if isinstance(value, Mapping) and depth:
            yield from _words(value, depth - 1)
    for name, value in config.items():
        if isinstance(value, str | int | float) and value != "":
            yield str(name).lower(), value


def _first(words: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of some settings that is a text."""
    return next((words[name] for name in names if isinstance(words.get(name), str)), None)
