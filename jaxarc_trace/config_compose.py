"""From overrides, Hydra's configurations and YAML files to a `TraceConfig`, and back to YAML.

Hydra composes; it keeps its state in global variables, which `_hydra` locks and puts back. What is
wrong is found here and reported all at once, where Hydra would stop at the first.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

from jaxarc_trace.config_fields import Problem, as_mapping, knobs, nearest, shown, unknown
from jaxarc_trace.config_groups import GROUPS, NODE, choice, flat, keys, sections
from jaxarc_trace.config_sections import TraceConfig, checked
from jaxarc_trace.errors import ConfigError, require

__all__ = ["compose", "from_hydra", "from_yaml", "read_yaml", "register", "to_yaml"]

SCHEMA = "trace_schema"

_LOCK = threading.RLock()
_MODULE = "jaxarc_trace.conf"


@dataclass
class _Asked:
    """What a list of overrides asks for: choices of groups, and settings."""

    groups: dict[str, str] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def compose(overrides: Iterable[str] = (), base: TraceConfig | None = None) -> TraceConfig:
    """The configuration of the command line's words.

    Safe inside a `@hydra.main` program, in threads, and as often as wanted: Hydra's global state
    is locked and put back.

    >>> compose(["level=full", "storage=research", "storage.limit_gb=2"]).storage.limit_gb
    2.0

    Args:
        overrides: Hydra's, with or without the node `trace` in front: choices of a group
            (`level=full`) and settings (`capture.max_steps=64`).
        base: what to start from; default what `conf/` says. A choice of a group replaces all that
            the group sets.

    Raises:
        ConfigError: with every unknown key, wrong value and contradiction.
        MissingExtraError: without Hydra.
    """
    require("hydra", "hydra", "Composing a configuration")
    problems: list[Problem] = []
    asked = _asked(overrides, problems)
    given = _given(asked, problems)
    if base is not None:
        chosen = {key for group, name in asked.groups.items() for key in choice(group, name).values}
        leaves = dict(flat(given))
        given = as_mapping(base)
        for key in (*chosen, *asked.keys):
            if key in leaves:
                _put(given, key, leaves[key])
    return checked(given, problems)


def from_hydra(cfg: Any) -> TraceConfig:
    """The configuration in what Hydra gave a program.

    Args:
        cfg: a configuration with the node `trace`, or that node itself. Other nodes are left to
            their owners.

    Raises:
        ConfigError: with all that is wrong.
    """
    omegaconf: Any = require("omegaconf", "hydra", "Reading a configuration")
    if isinstance(cfg, dict):
        cfg = omegaconf.OmegaConf.create(cfg)
    if not omegaconf.OmegaConf.is_dict(cfg):
        raise ConfigError(f"expected the configuration that Hydra gave, found {shown(cfg)}")
    node = _node(cfg, "the configuration")
    try:
        given = omegaconf.OmegaConf.to_container(node, resolve=True, enum_to_str=True)
    except omegaconf.errors.OmegaConfBaseException as error:
        raise ConfigError(f"{NODE}: cannot be resolved: {_first_line(error)}") from error
    return checked(given)


def from_yaml(path: str | PathLike[str]) -> TraceConfig:
    """The configuration in a YAML file, under its node `trace`.

    Raises:
        ConfigError: when there is no such file, it is not YAML, or with all that is wrong in it.
    """
    return checked(_node(read_yaml(path), str(path)))


def to_yaml(config: TraceConfig) -> str:
    """A configuration as the text of a YAML file; `from_yaml` reads it back."""
    yaml: Any = require("yaml", "hydra", "Writing a configuration")
    return yaml.safe_dump({NODE: as_mapping(config)}, sort_keys=False, allow_unicode=True)


def read_yaml(path: str | PathLike[str]) -> Mapping[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: saying which file, and where in it.
    """
    yaml: Any = require("yaml", "hydra", "Reading a configuration")
    file = Path(path)
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        others = [each.name for each in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        near = nearest(file.name, others)
        hint = f"did you mean {file.parent / near}?" if near else "check the path"
        raise ConfigError(f"{file}: expected a YAML file, found none; {hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected a YAML file that can be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        what = getattr(error, "problem", None) or _first_line(error)
        raise ConfigError(
            f"{where}: expected YAML, found an error: {what}; fix that line"
        ) from error
    if not isinstance(found, Mapping):
        raise ConfigError(f"{file}: expected settings under the node {NODE}, found {shown(found)}")
    return found


def register(name: str = SCHEMA) -> None:
    """Makes the types known to Hydra, which then checks them itself while it composes.

    Call it before `@hydra.main` runs and put `- trace_schema` in front of `- trace` in the defaults
    list. It is not needed: `from_hydra` checks more and says all problems at once.
    """
    require("hydra", "hydra", "Registering a configuration")
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name=name, node=_open(TraceConfig), package=NODE)


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra's compose API on our files; the global state is as before when it is left."""
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.utils import JobRuntime
    from hydra.version import VersionBase

    with _LOCK:
        running, version, job = (
            GlobalHydra.instance(),
            VersionBase.instance(),
            JobRuntime.instance(),
        )
        before = running.hydra, version.version_base, job.conf.copy()
        running.clear()
        try:
            with initialize_config_module(_MODULE, job_name="jaxarc_trace", version_base="1.3"):
                yield
        finally:
            # `initialize_config_module` puts a copy in the place of what it found.
            GlobalHydra.set_instance(running)
            running.hydra, version.version_base, job.conf = before


def _given(asked: _Asked, problems: list[Problem]) -> dict[str, Any]:
    """What stands under `trace` when Hydra has composed it."""
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices = [f"{group}={name}" for group, name in asked.groups.items()]
    try:
        with _hydra():
            cfg = hydra_compose("config", [*choices, *asked.texts])
            given: Any = OmegaConf.to_container(cfg[NODE], resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        problems.append(Problem("override", _first_line(error)))
        return {}
    return given


def _asked(overrides: Iterable[str], problems: list[Problem]) -> _Asked:
    """Takes overrides apart and looks at each of them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    asked, parser = _Asked(), OverridesParser.create()
    for text in overrides:
        try:
            found = parser.parse_override(text)
        except HydraException as error:
            said = f"expected KEY=VALUE, as in capture.max_steps=64: {_first_line(error)}"
            problems.append(Problem(shown(text), said))
            continue
        key = found.key_or_group.removeprefix(f"{NODE}.").removeprefix(f"{NODE}/")
        if found.type is not OverrideType.CHANGE or found.package is not None:
            said = "expected KEY=VALUE alone; every setting exists, so there is none to add or drop"
            problems.append(Problem(shown(text), said))
        elif found.is_sweep_override():
            said = (
                "expected one value, found several; a sweep is for --multirun of your own program"
            )
            problems.append(Problem(key, f"{said}, a list is written [a,b]"))
        elif key in GROUPS:
            _ask_choice(asked, key, found.value(), problems)
        else:
            _ask_key(asked, key, found.value(), text, problems)
    return asked


def _ask_choice(asked: _Asked, group: str, value: Any, problems: list[Problem]) -> None:
    name = str(value)
    if name in GROUPS[group]:
        asked.groups[group] = name
        return
    near = nearest(name, GROUPS[group])
    hint = f"; did you mean {near}?" if near else ""
    expected = f"expected one of {', '.join(GROUPS[group])}"
    problems.append(Problem(group, f"{expected}, found {shown(value)}{hint}"))


def _ask_key(asked: _Asked, key: str, value: Any, text: str, problems: list[Problem]) -> None:
    known = keys()
    inside = f"{key}." if key in sections() else None
    found = [key] if key in known else []
    if inside and not isinstance(value, Mapping):
        least = next(each for each in known if each.startswith(inside))
        problems.append(Problem(key, f"expected a setting in it, such as {least}={value}"))
        return
    if inside:
        found = [leaf for leaf, _ in flat(value, inside)]
    wrong = [leaf for leaf in found or [key] if leaf not in known]
    problems += [_no_such_key(leaf, known) for leaf in wrong]
    if not wrong:
        asked.keys += found
        asked.texts.append(f"{NODE}.{text.removeprefix(f'{NODE}.')}")


def _no_such_key(key: str, known: list[str]) -> Problem:
    if "." not in key:
        return unknown(key, [*GROUPS, *known])
    return unknown(
        key,
        [each for each in known if each.split(".")[0] == key.split(".", maxsplit=1)[0]] or known,
    )


def _node(cfg: Any, where: str) -> Any:
    """The node `trace` of a configuration, or the configuration itself where it is that node."""
    names = [str(name) for name in cfg]
    if NODE in names:
        return cfg[NODE]
    own = [each.name for each in fields(TraceConfig)]
    if names and set(names) <= set(own):
        return cfg
    near = nearest(NODE, names) if names else None
    hint = f"did you mean that by {near}?" if near else f"put the settings under {NODE}:"
    found = ", ".join(map(shown, names)) or "nothing"
    raise ConfigError(f"{where}: expected a node {NODE}, found {found}; {hint}")


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *path, name = key.split(".")
    for part in path:
        values = values[part]
    values[name] = value


def _open(section: Any) -> Any:
    """A twin of a dataclass for OmegaConf, which knows no Literal and locks what is frozen."""
    hints = get_type_hints(section)
    own = {each.key: each for each in knobs(section)}
    twin: list[Any] = []
    for each in fields(section):
        kind = hints[each.name]
        if is_dataclass(kind):
            inner = _open(kind)
            twin.append((each.name, inner, field(default_factory=inner)))
        elif words := own[each.name].choices:
            names: Any = Enum(each.name, {word: word for word in words})
            twin.append((each.name, names, names(each.default)))
        elif isinstance(each.default, tuple):
            words = list(each.default)
            twin.append((each.name, list[str], field(default_factory=words.copy)))
        else:
            twin.append((each.name, kind, each.default))
    return make_dataclass(section.__name__, twin)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
