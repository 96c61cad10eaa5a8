"""JaxARC's own settings as ours: those of today, and those of July 2025 that were taken out again.

Whatever a file says is in one of three lists: mapped, dropped with the reason, or unreadable.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from jaxarc_trace.config_compose import read_yaml
from jaxarc_trace.config_fields import Problem, shown
from jaxarc_trace.config_groups import flat
from jaxarc_trace.config_jaxarc import DROPPED, RULES, Values, reason
from jaxarc_trace.config_sections import TraceConfig, checked
from jaxarc_trace.errors import ConfigError

__all__ = ["Migration", "from_jaxarc", "migrate"]

SECTIONS = ("environment", "logging", "storage", "visualization", "wandb")
"""The sections of JaxARC's configuration that have to do with recording."""


@dataclass(frozen=True)
class Migration:
    """What became of an older configuration.

    Attributes:
        config: ours.
        mapped: key and what it became, in words.
        dropped: key and why it has no place here.
        unreadable: key and what is wrong with it.
    """

    config: TraceConfig
    mapped: tuple[tuple[str, str], ...]
    dropped: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...]


def from_jaxarc(config: Any) -> TraceConfig:
    """Our settings for a `JaxArcConfig`, from its sections on logging, storage, pictures and W&B.

    Args:
        config: a `jaxarc.configs.JaxArcConfig`, or a mapping of the same sections.

    Raises:
        ConfigError: with what cannot be read.
    """
    if not isinstance(config, Mapping):
        missing = [name for name in SECTIONS if not hasattr(config, name)]
        if missing:
            raise ConfigError(
                f"expected a JaxArcConfig, found {shown(config)}, which has no {missing[0]}; give "
                "what JaxArcConfig.from_hydra returns"
            )
        config = {name: _plain(getattr(config, name)) for name in SECTIONS}
    found = _migrated(config)
    if found.unreadable:
        problems = tuple(Problem(key, text) for key, text in found.unreadable)
        raise ConfigError("; ".join(map(str, problems)), problems)
    return found.config


def migrate(path: Path) -> Migration:
    """Reads JaxARC's YAML, of today or of July 2025.

    Args:
        path: a whole configuration, or the file of one group.

    Raises:
        ConfigError: when it is no YAML, or holds nothing that JaxARC ever had.
    """
    given = read_yaml(path)
    if "trace" in given:
        raise ConfigError(f"{path}: expected JaxARC's settings, found ours; there is nothing to do")
    found = _migrated(_sectioned(given, path))
    if not (found.mapped or found.dropped):
        raise ConfigError(
            f"{path}: expected a configuration of JaxARC, with sections such as "
            f"{', '.join(SECTIONS)}, found {', '.join(map(shown, given)) or 'nothing'}"
        )
    return found


def _plain(section: Any) -> Any:
    """A section of JaxARC's, which is an Equinox module and so a dataclass, as a mapping."""
    if not is_dataclass(section):
        return section
    return {each.name: getattr(section, each.name, None) for each in fields(section)}


def _sectioned(given: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The same, with the file of a group put under the group's name, which Hydra would do."""
    group = path.parent.name
    own = {key.partition(".")[2] for key in (*RULES, *DROPPED) if key.startswith(f"{group}.")}
    if own & set(given) and not any(isinstance(value, Mapping) for value in given.values()):
        return {group: given}
    return given


def _migrated(given: Mapping[str, Any]) -> Migration:
    """Goes through every key of a configuration, in its order."""
    values: Values = {}
    mapped: list[tuple[str, str]] = []
    dropped: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    for key, value in _keys(given):
        rule = RULES.get(key)
        if rule is None:
            dropped.append((key, reason(key)))
            continue
        try:
            became = rule(value)
        except ConfigError as error:
            unreadable.append((key, str(error)))
            continue
        if isinstance(became, str):
            dropped.append((key, became))
            continue
        over = [name for name in became if name in values and values[name] != became[name]]
        values |= became
        note = f" (instead of what an earlier key says of {', '.join(over)})" if over else ""
        mapped.append((key, _said(became) + note))
    _settle(values, mapped, given)
    return Migration(_built(values, unreadable), tuple(mapped), tuple(dropped), tuple(unreadable))


def _keys(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every key with its section; Hydra's defaults list as the choices that it makes."""
    for name, value in given.items():
        if name == "defaults" and isinstance(value, list):
            for entry in value:
                if isinstance(entry, Mapping):
                    for group, chosen in entry.items():
                        bare = str(group).removeprefix("override ").lstrip("/")
                        yield f"defaults.{bare}", chosen
        elif name != "hydra":
            yield from flat({str(name): value}) if isinstance(value, Mapping) else [(name, value)]


def _built(values: Values, unreadable: list[tuple[str, str]]) -> TraceConfig:
    """The configuration; what our own checks refuse is left out and listed."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        place = nested
        *path, name = key.split(".")
        for part in path:
            place = place.setdefault(part, {})
        place[name] = value
    try:
        return checked(nested)
    except ConfigError as error:
        wrong = {problem.key: problem.text for problem in error.problems}
        kept = {key: value for key, value in values.items() if key not in wrong}
        if len(kept) == len(values):
            raise
        unreadable += list(wrong.items())
        return _built(kept, unreadable)


def _settle(values: Values, mapped: list[tuple[str, str]], given: Mapping[str, Any]) -> None:
    """What one old key says and another contradicts, where ours may not."""
    changed: Values = {}
    why = "which was JaxARC's default"
    limits = ("storage.limit_gb", "storage.max_saves")
    policy = values.get("storage.policy")
    limited = any(values.get(name) is not None for name in limits)
    if policy == "none" and limited:
        changed = dict.fromkeys(limits)
        why = "for its policy is none"
    elif limited and policy is None:
        changed = {"storage.policy": "size_based"}
    elif policy not in (None, "none") and not limited:
        changed = {"storage.limit_gb": 5.0}
    if changed:
        mapped.append(("storage", f"{_said(changed)}, {why}"))
    wandb = given.get("wandb")
    if isinstance(wandb, Mapping) and wandb.get("enabled") is False:
        changed["publish.mode"] = "local"
    if values.get("capture.level") in ("off", "minimal") and values.get("render.steps") != "none":
        changed["render.steps"] = "none"
        mapped.append(("visualization", "render.steps='none', for the level keeps no steps"))
    values |= changed


def _said(became: Values) -> str:
    return ", ".join(f"{name}={shown(each)}" for name, each in became.items())
