"""JaxARC's own settings become ours, and no key of them goes without a word."""

import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jaxarc.configs import JaxArcConfig
from jaxarc.configs.environment_config import EnvironmentConfig
from jaxarc.configs.storage_config import StorageConfig
from jaxarc.configs.visualization_config import VisualizationConfig
from jaxarc.configs.wandb_config import WandbConfig
from omegaconf import OmegaConf

import jaxarc_trace as jt
from jaxarc_trace import cli
from jaxarc_trace.config import Migration, compose, from_jaxarc, migrate
from jaxarc_trace.config_groups import flat
from jaxarc_trace.config_jaxarc import DROPPED, RULES
from jaxarc_trace.errors import ConfigError

TODAY = Path(str(resources.files("jaxarc") / "conf" / "config.yaml"))

# The keys that the groups of July 2025 had, with values of each kind.
JULY = """
defaults:
  - _self_
  - dataset: arc_agi_2
  - debug: "verbose"
  - logging: wandb_full
log_rl_steps: true
enhanced_visualization: {enabled: true, level: verbose}
visualization:
  debug_level: full
  output_formats: [svg, png, html]
  image_quality: high
  show_coordinates: true
  color_scheme: high_contrast
  log_frequency: 10
  memory_limit_mb: 500
  lazy_loading: true
storage:
  base_output_dir: outputs/research
  max_storage_gb: 50.0
  cleanup_policy: manual
  fail_on_storage_full: true
  keep_recent_episodes: 100
wandb:
  enabled: true
  project_name: jaxarc-research
  tags: [jaxarc, research]
  group: research
  job_type: research
  retry_attempts: 5
  offline_mode: true
logging: {log_level: DEBUG, include_full_states: true}
async_logger: {queue_size: 2000}
episode: {max_episodes_per_run: 1000}
"""


def written(folder: Path, text: str, name: str = "old.yaml") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def listed(found: Migration) -> set[str]:
    return {key for key, _ in (*found.mapped, *found.dropped, *found.unreadable)}


def keys_of(text: str) -> set[str]:
    given = yaml.safe_load(text)
    given.pop("hydra", None)
    chosen = {
        f"defaults.{group}"
        for entry in given.pop("defaults", [])
        if isinstance(entry, dict)
        for group in entry
    }
    return chosen | {key for key, _ in flat(given)}


def test_todays_configuration_becomes_ours() -> None:
    found = migrate(TODAY)
    config = found.config
    assert config.capture.level == "minimal"
    assert (config.storage.policy, config.storage.limit_gb) == ("manual", 50.0)
    assert config.storage.root == "outputs/research"
    assert config.publish.mode == "online"
    assert config.publish.tags == ("jaxarc", "basic")
    assert found.unreadable == ()
    assert keys_of(TODAY.read_text()) <= listed(found)


def test_the_configuration_of_july_becomes_ours(tmp_path: Path) -> None:
    found = migrate(written(tmp_path, JULY))
    config = found.config
    assert config.capture.level == "full"
    assert config.render == compose(["level=standard", "render.theme=high_contrast",
        "render.formats=[svg,png]", "render.report=true"]).render  # fmt: skip
    assert config.publish == compose([
        "publish=wandb_full", "publish.mode=offline", "publish.project=jaxarc-research",
        "publish.tags=[jaxarc,research]", "publish.group=research", "publish.job_type=research",
    ]).publish  # fmt: skip
    assert (config.storage.policy, config.storage.on_full) == ("manual", "raise")
    assert found.unreadable == ()
    assert keys_of(JULY) <= listed(found)
    reasons = dict(found.dropped)
    assert "jaxarc-trace" not in reasons["wandb.retry_attempts"]
    assert reasons["visualization.memory_limit_mb"].endswith("chooses what fits")
    assert reasons["async_logger.queue_size"].startswith("there is no logger")
    said = dict(found.mapped)["visualization.debug_level"]
    assert said.startswith("capture.level='full', render.steps='all' (instead of what an earlier")


@pytest.mark.parametrize("level", ["off", "minimal", "standard", "verbose", "full"])
def test_the_file_of_a_group_is_read_alone(tmp_path: Path, level: str) -> None:
    text = f'debug_level: "{level}"\nimage_quality: high\ncolor_scheme: default\n'
    found = migrate(written(tmp_path, text, f"visualization/debug_{level}.yaml"))
    assert found.config == compose([f"level={level}"])
    assert listed(found) == {
        "visualization.debug_level", "visualization.image_quality", "visualization.color_scheme",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ("debug: off", "level=off"),
        ("debug: on", "level=standard"),
        ("/visualization: debug_full", "level=full"),
        ("override /storage: production", "storage=production"),
        ("logging: local_only", "publish=local"),
        ("logging: wandb_basic", "publish=wandb_basic"),
    ],
)
def test_a_choice_of_an_old_group_is_a_choice_of_ours(
    tmp_path: Path, defaults: str, expected: str
) -> None:
    found = migrate(written(tmp_path, f"defaults:\n  - {defaults}\n"))
    assert found.config == compose([expected])
    assert found.dropped == found.unreadable == ()


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("visualization: {debug_level: loud}", "visualization.debug_level", "expected one of off"),
        ("visualization: {output_formats: svg}", "visualization.output_formats", "a list of form"),
        ("visualization: {color_scheme: neon}", "visualization.color_scheme", "found 'neon'"),
        ("visualization: {log_frequency: 0}", "visualization.log_frequency", "found 0"),
        ("visualization: {step_visualizations: 3}", "visualization.step_visualizations", "true or"),
        ("storage: {max_storage_gb: lots}", "storage.max_storage_gb", "found 'lots'"),
        ("storage: {cleanup_policy: daily}", "storage.cleanup_policy", "found 'daily'"),
        ("wandb: {tags: {a: 1}, enabled: maybe}", "wandb.enabled", "expected true or false"),
        ("defaults: [logging: basic]", "defaults.logging", "expected one of local_only"),
        ("defaults: [storage: big]", "defaults.storage", "expected one of development"),
    ],
)
def test_what_cannot_be_read_is_listed_and_the_rest_is_read(
    tmp_path: Path, text: str, key: str, message: str
) -> None:
    found = migrate(written(tmp_path, f"{text}\nenvironment: {{debug_level: verbose}}\n"))
    assert message in dict(found.unreadable)[key]
    assert found.config.capture.level == "verbose"


def test_old_keys_that_contradict_each_other_are_settled_with_a_word(tmp_path: Path) -> None:
    text = "storage: {cleanup_policy: none, max_storage_gb: 5}\nenvironment: {debug_level: off}\n"
    found = migrate(written(tmp_path, f"{text}visualization: {{step_visualizations: true}}\n"))
    assert found.config.storage.limit_gb is None
    assert found.config.render.steps == "none"
    assert ("storage", "storage.limit_gb=None, storage.max_saves=None, for its policy is none") in (
        found.mapped
    )
    alone = migrate(written(tmp_path, "storage: {cleanup_policy: oldest_first}"))
    assert alone.config.storage.limit_gb == 5.0
    quiet = migrate(written(tmp_path, "wandb: {enabled: false, offline_mode: true}"))
    assert quiet.config.publish.mode == "local"


def test_a_file_without_anything_of_jaxarcs_is_refused(tmp_path: Path) -> None:
    for text, message in (
        ("{}", "expected a configuration of JaxARC, with sections such as environment, logging"),
        ("trace: {}", "expected JaxARC's settings, found ours; there is nothing to do"),
        ("a: [", "expected YAML, found an error"),
    ):
        with pytest.raises(ConfigError) as caught:
            migrate(written(tmp_path, text))
        assert message in str(caught.value)


def test_a_jaxarc_config_becomes_ours() -> None:
    config = JaxArcConfig(
        environment=EnvironmentConfig(debug_level="verbose"),
        storage=StorageConfig(base_output_dir="there", max_storage_gb=2.0, run_name="mine"),
        visualization=VisualizationConfig(step_visualizations=False),
        wandb=WandbConfig(enabled=True, project_name="p", tags=("a", "b"), offline_mode=True),
    )
    found = from_jaxarc(config)
    assert found.capture == compose(["level=verbose"]).capture
    assert found.render.steps == "none"
    assert (found.storage.root, found.storage.name) == ("there", "mine")
    assert (found.storage.policy, found.storage.limit_gb) == ("size_based", 2.0)
    assert (found.publish.mode, found.publish.tags) == ("offline", ("a", "b"))


@pytest.mark.parametrize("level", ["off", "minimal", "verbose"])
def test_every_debug_level_of_jaxarc_builds(level: Any) -> None:
    found = from_jaxarc(JaxArcConfig(environment=EnvironmentConfig(debug_level=level)))
    assert found.capture.level == found.spec().level == level


def test_what_hydra_composed_of_jaxarcs_files_is_read() -> None:
    cfg = OmegaConf.load(TODAY)
    assert from_jaxarc(JaxArcConfig.from_hydra(cfg)) == migrate(TODAY).config


def test_what_is_no_jaxarc_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a JaxArcConfig, found 3, which has no envir"):
        from_jaxarc(3)
    with pytest.raises(ConfigError, match=r"environment\.debug_level: expected one of off"):
        from_jaxarc({"environment": {"debug_level": "loud"}})


def test_no_key_is_in_both_lists() -> None:
    assert not set(RULES) & set(DROPPED)


def test_the_command_writes_ours_and_lists_every_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = written(tmp_path, JULY.replace("high_contrast", '"neon\\e[31m"'))

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jaxarc-trace", "migrate", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    code, out, err = command(old, "-o", tmp_path / "new.yaml")
    assert (code, err) == (1, "")
    for words in ("Mapped:", "Dropped:", "Could not be read:", "\n  wandb.tags: publish.tags="):
        assert words in out
    assert "\x1b" not in out
    config = jt.config.from_yaml(tmp_path / "new.yaml")
    assert config.capture.level == "full"
    code, out, err = command(TODAY)
    assert (code, yaml.safe_load(out)["trace"]["capture"]["level"]) == (0, "minimal")
    assert "Mapped:" in err
    code, _, err = command(old, "-o", tmp_path / "new.yaml")
    assert code == 2
    assert "found a file; choose one" in err
    assert command(tmp_path / "gone.yaml")[0] == 2
