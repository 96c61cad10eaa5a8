"""What each key of JaxARC's own configuration becomes here: of today's, and of July 2025's.

A rule takes the old value and gives settings of ours, or the reason why there is none; it raises
ConfigError for a value that it cannot read.
"""

from collections.abc import Callable
from typing import Any

from jaxarc_trace.config_fields import knobs, shown
from jaxarc_trace.config_groups import GROUPS, choice
from jaxarc_trace.config_sections import TraceConfig
from jaxarc_trace.errors import ConfigError

__all__ = ["DROPPED", "RULES", "Values", "reason"]

Values = dict[str, Any]


def _level(value: Any) -> Values:
    word = "off" if value is False else str(value)
    word = {"on": "standard", "True": "standard"}.get(word, word)
    if word not in GROUPS["level"]:
        raise ConfigError(f"expected one of {', '.join(GROUPS['level'])}, found {shown(value)}")
    return dict(choice("level", word).values)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"expected true or false, found {shown(value)}")
    return value


def _word(key: str) -> Callable[[Any], Values | str]:
    """The value as it is, under another name."""
    own = next(each for each in knobs(TraceConfig) if each.key == key)

    def rule(value: Any) -> Values | str:
        if value is None and own.check(None) is not None:
            return "null was JaxARC's word for its default, as ours is to leave it out"
        value = list(value) if isinstance(value, tuple) else value
        if wrong := own.check(value):
            raise ConfigError(wrong)
        return {key: value}

    return rule


def _either(key: str, yes: Any, no: Any = None) -> Callable[[Any], Values | str]:
    """A switch as a word; where nothing stands for false, nothing is the same."""

    def rule(value: Any) -> Values | str:
        chosen = yes if _flag(value) else no
        return "false is what happens without it" if chosen is None else {key: chosen}

    return rule


def _formats(value: Any) -> Values | str:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"expected a list of formats, found {shown(value)}")
    known = [word for word in value if word in ("svg", "png", "gif", "apng", "webp", "mp4")]
    became: Values = {"render.formats": known} if known else {}
    if "html" in value:
        became["render.report"] = True
    if not became:
        return "no format of ours is among them; what is drawn is said by render.steps"
    return became


def _scheme(value: Any) -> Values:
    word = {"colourblind": "colorblind", "colorblind_friendly": "colorblind"}.get(value, value)
    if word not in ("default", "colorblind", "high_contrast", "dark"):
        raise ConfigError(
            f"expected one of default, colorblind, high_contrast, dark, found {shown(value)}"
        )
    return {"render.theme": word}


def _log_frequency(value: Any) -> Values:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"expected a whole number of at least 1, found {shown(value)}")
    return {"render.steps": "all" if value == 1 else "key"}


def _debug_group(value: Any) -> Values:
    """`debug: verbose` and `visualization: debug_verbose`."""
    return _level(value if isinstance(value, bool) else str(value).removeprefix("debug_"))


def _logging_group(value: Any) -> Values:
    words = {"local_only": "local", "wandb_basic": "wandb_basic", "wandb_full": "wandb_full"}
    if value not in words:
        raise ConfigError(f"expected one of {', '.join(words)}, found {shown(value)}")
    return dict(choice("publish", words[value]).values)


def _storage_group(value: Any) -> Values:
    if value not in GROUPS["storage"]:
        raise ConfigError(f"expected one of {', '.join(GROUPS['storage'])}, found {shown(value)}")
    return dict(choice("storage", value).values)


def _megabytes(_: Any) -> Values | str:
    return "a trace has a fixed size: TraceSpec.fit(env, budget=...) chooses what fits"


RULES: dict[str, Callable[[Any], Values | str]] = {
    "environment.debug_level": _level,
    "visualization.debug_level": _level,
    "enhanced_visualization.level": _level,
    "defaults.debug": _debug_group,
    "defaults.visualization": _debug_group,
    "defaults.logging": _logging_group,
    "defaults.storage": _storage_group,
    "visualization.step_visualizations": _either("render.steps", "key", "none"),
    "visualization.output_formats": _formats,
    "visualization.color_scheme": _scheme,
    "visualization.log_frequency": _log_frequency,
    "visualization.memory_limit_mb": _megabytes,
    "storage.base_output_dir": _word("storage.root"),
    "storage.run_name": _word("storage.name"),
    "storage.max_storage_gb": _word("storage.limit_gb"),
    "storage.cleanup_policy": _word("storage.policy"),
    "storage.fail_on_storage_full": _either("storage.on_full", "raise", "warn"),
    "wandb.project_name": _word("publish.project"),
    "wandb.entity": _word("publish.entity"),
    "wandb.group": _word("publish.group"),
    "wandb.job_type": _word("publish.job_type"),
    "wandb.tags": _word("publish.tags"),
    "wandb.enabled": _either("publish.mode", "online", "local"),
    "wandb.offline_mode": _either("publish.mode", "offline"),
    "episode.base_output_dir": _word("storage.root"),
    "episode.max_storage_gb": _word("storage.limit_gb"),
    "episode.cleanup_policy": _word("storage.policy"),
}
"""What a key becomes: settings of ours, or the reason why there is none."""

DROPPED: dict[str, str] = {
    "visualization.enabled": "pictures are drawn afterwards, from what level kept",
    "visualization.episode_summaries": "every episode that is drawn has its summary",
    "visualization.image_quality": "SVG has none; a PNG is drawn at its size",
    "visualization.show_coordinates": "grids are drawn without; render.digits writes the values",
    "visualization.show_operation_names": "always shown",
    "visualization.highlight_changes": "always shown",
    "visualization.include_metrics": "always shown",
    "visualization.enable_comparisons": "jaxarc-trace compare, when it is wanted",
    "visualization.lazy_loading": "episodes are always read one at a time",
    "visualization.output_dir": "pictures go into the run, in renders/",
    "storage.max_episodes_per_run": "capture.keep says how many episodes each policy keeps",
    "storage.clear_output_on_start": "no run is ever overwritten; jaxarc-trace clean removes",
    "storage.create_run_subdirs": "every run has a directory of its own",
    "wandb.notes": "a sentence for people; write it on the run's page",
    "wandb.save_code": "the revision is in run.json",
    "wandb.log_frequency": "publishing is an act of its own, after or beside the program",
    "wandb.image_format": "pictures are sent as they were drawn: render.formats",
    "wandb.retry_attempts": "the client repeats by itself; publish.deadline bounds it",
    "wandb.retry_delay": "the client repeats by itself; publish.deadline bounds it",
    "logging.log_operations": "every transition has its operation at level standard",
    "logging.log_rewards": "every transition has its reward at level standard",
    "logging.log_frequency": "every step is kept of the episodes that are",
    "logging.batched_logging_enabled": "lanes are always recorded as a batch",
    "logging.include_full_states": "level=full keeps every leaf",
    "logging.compression": "a trace is always compressed",
}
"""Why a key has no place here."""

_WHOLE: dict[str, str] = {
    "async_logger": "there is no logger; storage.background writes beside the program",
    "logging": "there is no logger; data is recorded, and read afterwards",
    "visualization": "the pictures have no such switch",
    "enhanced_visualization": "the pictures have no such switch",
    "storage": "a run has one layout, and run.json says what is in it",
    "episode": "a run has one layout, and run.json says what is in it",
    "wandb": "the client's own setting",
    "environment": "JaxARC's own; it stays in JaxARC's configuration",
    "defaults": "a group that is not about recording",
}


def reason(key: str) -> str:
    """Why a key of JaxARC's has no place here."""
    if key in DROPPED:
        return DROPPED[key]
    return _WHOLE.get(key.partition(".")[0], "JaxARC's own; it stays in JaxARC's configuration")
