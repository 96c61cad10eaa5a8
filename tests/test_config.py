"""Settings: one default in one place, everything wrong said at once, and Hydra left as it was."""

import itertools
import threading
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import OmegaConf

import jaxarc_trace as jt
from jaxarc_trace.config import Capture, Keep, Publish, Render, Storage, TraceConfig, compose
from jaxarc_trace.config_fields import knobs
from jaxarc_trace.config_groups import GROUPS, choice, flat, keys
from jaxarc_trace.errors import ConfigError, SpecError
from jaxarc_trace.render.theme import THEMES
from jaxarc_trace.retention import Retention
from jaxarc_trace.spec import POLICIES, TraceSpec

CONF = resources.files("jaxarc_trace.conf")
ALL = [
    tuple(f"{group}={name}" for group, name in zip(GROUPS, names, strict=True))
    for names in itertools.product(*GROUPS.values())
]


def problems(*overrides: str, base: TraceConfig | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose(overrides, base)
    assert len(caught.value.problems) == max(1, str(caught.value).count("\n"))
    return [str(problem) for problem in caught.value.problems]


# ---------------------------------------------------------------------- defaults, in one place


def test_the_files_say_the_same_as_the_dataclasses() -> None:
    assert compose() == TraceConfig()


def test_each_setting_stands_in_one_file_and_all_choices_of_a_group_set_the_same() -> None:
    trace = yaml.safe_load((CONF / "trace.yaml").read_text())["trace"]
    places = [key for key, _ in flat(trace)]
    for group, names in GROUPS.items():
        sets = {tuple(sorted(choice(group, name).values)) for name in names}
        assert len(sets) == 1, group
        places += sets.pop()
    assert sorted(places) == sorted(keys())


def test_the_files_are_the_choices() -> None:
    for group, names in GROUPS.items():
        files = {each.name for each in (CONF / group).iterdir()}
        assert files == {f"{name}.yaml" for name in names}
        assert all(choice(group, name).about.endswith(".") for name in names)


def test_what_other_parts_default_to_is_the_default_here() -> None:
    assert TraceConfig().spec() == TraceSpec(keep={"best": 16})
    assert TraceConfig().spec().policy_names == TraceSpec().policy_names
    assert TraceConfig().retention() == Retention()
    assert TraceConfig().theme() == THEMES["default"]
    assert {each.name for each in fields(Keep)} == set(POLICIES) - {"last"}
    theme = next(each for each in knobs(TraceConfig) if each.key == "render.theme")
    assert set(theme.choices) == set(THEMES)
    # Every field of TraceSpec is a setting, but for those that hold a function, and for `record`:
    # who keeps actions only must hold the environment in the program that reads them.
    assert {each.name for each in fields(TraceSpec)} - {"score", "trigger", "slots", "record"} <= {
        each.name for each in fields(Capture)
    } | {"keep"}


def test_every_setting_has_a_sentence_and_a_default_that_is_allowed() -> None:
    for each in knobs(TraceConfig):
        assert each.help.endswith("."), each.key
        assert each.check(each.default) is None, each.key
        assert each.allowed


@pytest.mark.parametrize("overrides", ALL, ids=" ".join)
def test_every_combination_of_groups_composes_and_builds(overrides: tuple[str, ...]) -> None:
    config = compose(overrides)
    assert f"level={config.capture.level}" in overrides
    assert config.spec().level == config.capture.level
    assert config.retention().policy == config.storage.policy
    assert f"render={config.theme().name}" in overrides
    assert jt.config.from_hydra(OmegaConf.create(jt.config.to_yaml(config))) == config


# ----------------------------------------------------------------------------- what it becomes


def test_a_configuration_becomes_what_the_other_parts_take() -> None:
    words = "level=full capture.keep={best:0,failed:3,random:2} capture.max_steps=9 capture.lanes=4"
    more = "storage=production storage.max_age_days=2 storage.max_saves=5 render=high_contrast"
    config = compose([*words.split(), *more.split(), "render.digits=false"])
    kept = {"random": 2, "failed": 3}
    assert config.spec() == TraceSpec("full", max_steps=9, keep=kept, lanes=4)
    assert config.retention() == Retention(
        "oldest_first", 5, 10_000_000_000, 172_800.0, protect=("best",)
    )
    assert config.theme() == replace(THEMES["high_contrast"], digits=False)


def test_no_policy_keeps_what_is_recent() -> None:
    assert compose(["capture.keep.best=0"]).spec() == TraceSpec(keep="last")


def test_a_base_keeps_what_is_not_asked_for_anew() -> None:
    base = compose(["capture.max_steps=9", "render=colorblind", "render.cell_size=7"])
    changed = compose(["level=full", "capture.keep.first=2"], base)
    assert changed.capture == Capture("full", max_steps=9, keep=Keep(first=2))
    assert changed.render == replace(base.render, steps="all")
    assert compose(["render=high_contrast"], base).render.cell_size == 7


def test_the_node_may_stand_in_front() -> None:
    assert compose(["trace.capture.max_steps=3"]) == compose(["capture.max_steps=3"])


# -------------------------------------------------------------------------- everything wrong


def test_all_problems_are_said_at_once() -> None:
    assert problems(
        "storage.limt_gb=2", "levl=full", "render=colourblind", "capture.max_steps=0",
        "render.formats=[svg,pgn]", "capture.layout=batc", "publish.tags=3", "level=minimal",
        "publish.images=2",
    ) == [
        "storage.limt_gb: there is no such key; did you mean storage.limit_gb?",
        "levl: there is no such key; did you mean level?",
        ("render: expected one of default, colorblind, high_contrast, dark, found "
        "'colourblind'; did you mean colorblind?"),
        "capture.max_steps: expected a whole number of at least 1, found 0",
        "capture.layout: expected one of auto, batch, lane, found 'batc'; did you mean 'batch'?",
        ("render.formats: expected a list of svg, png, gif, apng, webp, mp4, found "
        "['svg', 'pgn']; did you mean 'png'?"),
        "publish.tags: expected a list of words, found 3",
        ("publish.images: publish.images=2 needs capture.level standard or above, found "
        "capture.level=minimal; or leave it null"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("capture.max_step=3", "did you mean capture.max_steps?"),
        ("limit_gb=3", "did you mean storage.limit_gb?"),
        ("zebra=3", "there is no such key; known: level, storage, publish, render, capture.level"),
        ("capture.keep={bst:4}", "capture.keep.bst: there is no such key; did you mean"),
        ("capture=3", "expected a setting in it, such as capture.level=3"),
        ("capture.max_steps=ten", "expected a whole number of at least 1, found 'ten'"),
        ("capture.max_steps=true", "expected a whole number of at least 1, found True"),
        ("render.cell_size=999", "expected a number from 1 to 200 or null, found 999"),
        ("capture.max_steps=???", "expected a whole number of at least 1, found no value"),
        ("storage.background=maybe", "expected true or false, found 'maybe'"),
        ("publish.deadline=nan", "expected a number of at least 1, found nan"),
        ("level=1,2", "expected one value, found several"),
        ("+capture.more=1", "expected KEY=VALUE alone"),
        ("~level", "expected KEY=VALUE alone"),
        ("level", "expected KEY=VALUE, as in capture.max_steps=64"),
        ("capture.capacity=5", "must hold one whole episode: expected at least max_steps = 128"),
        ("storage.limit_gb=2", "set storage.policy to manual, oldest_first or size_based"),
        ("storage.policy=manual", "needs a limit, found none"),
        ("storage.policy=size_based", "needs storage.limit_gb, found null"),
        ("capture.level=minimal", "render.steps=key needs capture.level standard or above"),
        ("storage.name=${oc.env:NO_SUCH_NAME}", "Environment variable 'NO_SUCH_NAME' not found"),
    ],
)
def test_one_thing_that_is_wrong_is_one_line(override: str, message: str) -> None:
    (said,) = problems(override)
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("storage.on_full=raise", "storage.on_error=warn"), "is never seen with"),
        (("level=minimal", "render.formats=[svg,gif]"), "the animation gif needs capture.level"),
        (("level=off", "render.report=true"), "needs capture.level minimal or above"),
        (("publish=wandb_basic", "publish.project=''"), "publish.project: expected a name"),
        (("render.formats=[]",), "expected at least one of svg, png"),
        (("storage.root=''",), "storage.root: expected a folder"),
    ],
)
def test_values_that_contradict_each_other(overrides: tuple[str, ...], message: str) -> None:
    (said,) = problems(*overrides)
    assert message in said


def test_limits_are_refused_just_where_a_retention_refuses_them() -> None:
    for policy, saves, size in itertools.product(
        ("none", "manual", "oldest_first", "size_based"), (None, 3), (None, 2.0)
    ):
        try:
            Retention(policy, saves, None if size is None else 2_000_000_000)
        except SpecError:
            with pytest.raises(ConfigError):
                TraceConfig(storage=Storage(policy=policy, max_saves=saves, limit_gb=size))
        else:
            TraceConfig(storage=Storage(policy=policy, max_saves=saves, limit_gb=size)).retention()


def test_python_is_checked_as_well() -> None:
    with pytest.raises(ConfigError) as caught:
        TraceConfig(Capture(level="hgih", max_steps=0), render=Render(theme="drak"))  # type: ignore[arg-type]
    assert [problem.key for problem in caught.value.problems] == [
        "capture.level", "capture.max_steps", "render.theme",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="publish: expected a Publish, found"):
        TraceConfig(publish={"mode": "local"})  # type: ignore[arg-type]
    assert isinstance(caught.value, SpecError)


# -------------------------------------------------------------------------------- YAML files


def test_yaml_is_read_back(tmp_path: Path) -> None:
    config = TraceConfig(
        Capture("verbose", keep=Keep(0, 1, 2, 3, 4), capacity=300, seed=-1),
        Storage("there", "a name: [odd]", "size_based", None, 0.5, 1.5, ("best", "solved")),
        Render("dark", digits=True, steps="none", per_policy=None, formats=("png", "gif")),
        Publish("offline", "p", "e", "g", "j", ("off", "1"), 5.0, 3, 0.5, artifact=True),
    )
    (tmp_path / "c.yaml").write_text(jt.config.to_yaml(config))
    assert jt.config.from_yaml(tmp_path / "c.yaml") == config
    assert jt.config.to_yaml(jt.config.from_yaml(tmp_path / "c.yaml")) == jt.config.to_yaml(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trace: {capture: {level: [}}", "c.yaml:1:27: expected YAML, found an error"),
        ("a: 1\nb: [", "c.yaml:2:5: expected YAML, found an error"),
        ("3", "c.yaml: expected settings under the node trace, found 3"),
        ("trcae: {}", "expected a node trace, found 'trcae'; did you mean that by trcae?"),
        ("dataset: {}\nlogging: {}", "found 'dataset', 'logging'; put the settings under trace:"),
        ("{}", "expected a node trace, found nothing"),
        ("trace: 3", "trace: expected settings such as capture, found 3"),
        ("trace: {capture: 3}", "capture: expected settings such as level, found 3"),
        ("trace: {captur: {}}", "captur: there is no such key; did you mean capture?"),
        ("trace: {capture: {level: off}}", "found False; YAML reads a bare off as false"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        jt.config.from_yaml(tmp_path / "c.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_gives_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"expected a YAML file, found none; did you mean .*/con"):
        jt.config.from_yaml(tmp_path / "confg.yaml")
    with pytest.raises(ConfigError, match="found none; check the path"):
        jt.config.from_yaml(tmp_path / "gone" / "config.yaml")
    with pytest.raises(ConfigError, match="expected a YAML file that can be read"):
        jt.config.from_yaml(tmp_path)


def test_other_nodes_are_left_to_their_owners(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("dataset: {x: 1}\ntrace: {capture: {seed: 3}}")
    assert jt.config.from_yaml(tmp_path / "c.yaml").capture == Capture(seed=3)


# ----------------------------------------------------------------------- Hydra's global state


def state() -> tuple[Any, ...]:
    return (
        GlobalHydra.instance(),
        GlobalHydra.instance().hydra,
        VersionBase.instance().version_base,
        str(JobRuntime.instance().conf),
    )


def test_composing_twice_leaves_nothing_behind() -> None:
    before = state()
    assert compose(["level=full"]) == compose(["level=full"])
    problems("level=ful")
    assert state() == before


def test_composing_inside_another_program_leaves_it_as_it_was() -> None:
    with hydra.initialize_config_module("jaxarc.conf", version_base="1.2", job_name="theirs"):
        before = state()
        assert before[1] is not None
        assert compose(["level=minimal"]).capture.level == "minimal"
        problems("storage.name=${oc.env:NO_SUCH_NAME}")
        assert state() == before
        assert hydra.compose("config").dataset.dataset_name == "ARC-AGI-2"
        assert JobRuntime.instance().get("name") == "theirs"


def test_threads_compose_at_the_same_time() -> None:
    before, found = state(), {}

    def work(number: int) -> None:
        level = GROUPS["level"][number % 5]
        for turn in range(3):
            found[number, turn] = compose([f"level={level}", f"capture.seed={number}"]).capture

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    for (number, _), capture in found.items():
        assert (capture.level, capture.seed) == (GROUPS["level"][number % 5], number)
    assert state() == before


def test_what_hydra_composed_is_taken_with_interpolations() -> None:
    cfg = OmegaConf.create({"seed": 4, "trace": {"capture": {"seed": "${seed}", "level": "full"}}})
    assert jt.config.from_hydra(cfg).capture == Capture("full", seed=4)
    assert jt.config.from_hydra(cfg.trace).capture.seed == 4
    assert jt.config.from_hydra({"trace": {"render": {"theme": "dark"}}}).render.theme == "dark"
    with pytest.raises(ConfigError, match="trace: cannot be resolved: Interpolation key 'sed'"):
        jt.config.from_hydra(OmegaConf.create({"trace": {"capture": {"seed": "${sed}"}}}))
    with pytest.raises(ConfigError, match="expected the configuration that Hydra gave, found 3"):
        jt.config.from_hydra(3)


def test_registered_types_are_checked_by_hydra_itself(tmp_path: Path) -> None:
    jt.config.register()
    (tmp_path / "app.yaml").write_text("defaults: [trace_schema, trace, _self_]\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base=None):
        path = "hydra.searchpath=[pkg://jaxarc_trace.conf]"

        def composed(*overrides: str) -> Any:
            return hydra.compose("app", [path, *overrides])

        config = jt.config.from_hydra(composed("level=off", "storage=production"))
        assert config == compose(["level=off", "storage=production"])
        for override, said in (
            ("trace.capture.max_steps=ten", "could not be converted to Integer"),
            ("trace.capture.layout=batc", "expected one of [auto, batch, lane]"),
            ("trace.capture.max_step=3", "Key 'max_step' not in"),
        ):
            with pytest.raises(hydra.errors.HydraException) as caught:
                composed(override)
            assert said in f"{caught.value} {caught.value.__cause__}"
