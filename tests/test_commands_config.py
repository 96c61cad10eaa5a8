"""Settings on the command line: shown, checked, explained, completed, and one line if wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import jaxarc_trace as jt
from jaxarc_trace import cli
from jaxarc_trace.commands_config import completions
from jaxarc_trace.config import TraceConfig, compose, to_yaml
from jaxarc_trace.config_groups import GROUPS, keys
from jaxarc_trace.errors import ConfigError
from tests.commands import Command
from tests.recordings import ENVIRONMENT, recording

GRIDS = {**ENVIRONMENT, "roles": {"grid": "grid", "operation": "operation", "task": "task"}}


def test_show_prints_what_the_words_compose(command: Command, tmp_path: Path) -> None:
    words = ("level=full", "storage=research", "render=colorblind", "storage.limit_gb=2")
    said = command("config", "show", *words)
    assert said.code == 0, said.err
    (tmp_path / "c.yaml").write_text(said.out)
    assert jt.config.from_yaml(tmp_path / "c.yaml") == compose(words)
    again = command("config", "show", "--config", tmp_path / "c.yaml", "level=minimal", "--json")
    shown = yaml.safe_load(again.out)["trace"]
    assert shown["capture"]["level"] == "minimal"
    assert shown["storage"]["limit_gb"] == 2.0


def test_check_says_what_is_not_the_default(command: Command, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        to_yaml(compose(["capture.max_steps=7", "render.digits=true"]))
    )
    said = command("config", "check", tmp_path / "c.yaml")
    assert said.code == 0, said.err
    assert f"fine; 2 of {len(keys())} are not the default." in said.out
    assert said.out.splitlines()[1:] == ["  capture.max_steps=7", "  render.digits=true"]


def test_check_says_all_that_is_wrong(command: Command, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("trace: {capture: {levle: full, max_steps: 0}, storge: 1}")
    said = command("config", "check", tmp_path / "c.yaml")
    assert said.code == 2
    assert said.err.splitlines() == [
        "Error: 3 things are wrong",
        "  capture.levle: there is no such key; did you mean capture.level?",
        "  capture.max_steps: expected a whole number of at least 1, found 0",
        "  storge: there is no such key; did you mean storage?",
    ]


def test_groups_lists_every_choice(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = command("config", "groups").out
    for group, names in GROUPS.items():
        assert group in said
        assert all(name in said for name in names)
    assert "storage.limit_gb=50.0" in said


def test_explain_says_what_a_setting_is(command: Command) -> None:
    said = command("config", "explain", "storage.policy").out
    assert "oldest_first removes the oldest saves" in said
    assert "Allowed: one of none, manual, oldest_first, size_based. Default: none." in said
    assert "Set by the group storage: none by development, manual by research" in said
    assert command("config", "explain", "trace.capture.keep").out.count("Allowed:") == 5
    assert "wandb_full" in command("config", "explain", "publish").out
    wrong = command("config", "explain", "storage.polcy")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "did you mean storage.policy?" in wrong.err


@pytest.mark.parametrize("key", keys())
def test_every_setting_can_be_explained(command: Command, key: str) -> None:
    assert command("config", "explain", key).out.startswith(f"{key}\n  ")


def test_a_shell_is_offered_groups_settings_and_values() -> None:
    assert "level=" in set(completions(""))
    assert set(completions("capture.l")) == {
        "capture.level=", "capture.lanes=", "capture.layout=",
    }  # fmt: skip
    assert list(completions("storage=")) == [f"storage={name}" for name in GROUPS["storage"]]
    assert list(completions("render.theme=d")) == ["render.theme=default", "render.theme=dark"]
    assert list(completions("storage.background=")) == [
        "storage.background=true", "storage.background=false",
    ]  # fmt: skip
    assert list(completions("zebra")) == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("demo", "lev"), ["level="]),
        (("demo", "level=f"), ["level=full"]),
        # As bash breaks it.
        (("demo", "level", "=", "f"), ["full"]),
        (("demo", "storage", "="), ["development", "research", "production"]),
        (("config", "sh"), ["show"]),
        # After a run that is recorded, what belongs to its pictures alone.
        (("report", "run", "render", "=", "c"), ["colorblind"]),
        (("report", "run", "render.them"), ["render.theme="]),
        (("report", "run", "lev"), []),
    ],
)
def test_the_shell_completes_an_override(words: tuple[str, ...], offered: list[str]) -> None:
    asked = {
        "_JAXARC_TRACE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("jaxarc-trace", *words)),
        "COMP_CWORD": str(len(words)),
    }
    program = "import sys; sys.argv = ['jaxarc-trace']; from jaxarc_trace.cli import app; "
    done = subprocess.run(
        [sys.executable, "-c", f"{program}app(prog_name='jaxarc-trace')"],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == offered, done.stderr


@pytest.mark.parametrize("words", [("config", "--help"), ("config", "show", "--help")])
def test_help_has_examples(command: Command, words: tuple[str, ...]) -> None:
    said = command(*words)
    assert said.code == 0
    if words[1] == "show":
        assert "$ jaxarc-trace config show level=full" in re.sub(r"\s+", " ", said.out)


WRONG = [
    (("levl=full",), "levl: there is no such key; did you mean level?"),
    (("level=ful",), "level: expected one of off, minimal, standard, verbose, full, found 'ful'"),
    (("capture.max_step=3",), "did you mean capture.max_steps?"),
    (("capture.max_steps=many",), "expected a whole number of at least 1, found 'many'"),
    (("render.cell_size=0",), "expected a number from 1 to 200 or null, found 0"),
    (("render.theme=drak",), "expected one of default, colorblind, high_contrast, dark"),
    (("storage.limit_gb=2",), "storage.limit_gb needs a policy"),
    (("level=minimal", "publish.images=3"), "publish.images=3 needs capture.level standard"),
    (("--config", "gone.yaml"), "gone.yaml: expected a YAML file, found none; did you mean go"),
    (("--config", "bad.yaml"), "bad.yaml:2:1: expected YAML, found an error"),
    (("level",), "'level': expected KEY=VALUE"),
]


@pytest.mark.parametrize("before", [("config", "show"), ("demo",)], ids=" ".join)
@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_each_kind_of_mistake_is_one_line_and_exit_code_2(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[str, ...],
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gne.yaml").touch()
    Path("bad.yaml").write_text("trace: [\n")
    message = message.replace("did you mean go", "did you mean gne.yaml")
    said = command(*before, *words)
    assert said.code == 2
    assert said.err.startswith("Error: ")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad.yaml", "gne.yaml"]


def test_traceback_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["jaxarc-trace", "config", "show", "levl=3", "--traceback"])
    with pytest.raises(ConfigError, match="did you mean level"):
        cli.main()


def test_what_came_from_outside_is_shown_on_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text('trace: {"a\\n\\e[31mb": 1, capture: {level: "x\\ny"}}')
    said = command("config", "check", tmp_path / "c.yaml")
    assert said.code == 2
    assert len(said.err.splitlines()) == 3
    assert "\x1b" not in said.err


# ----------------------------------------------------------------- the words of other commands


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run made with the colours for colour-blind readers."""
    config = compose(["render=colorblind", f"storage.root={tmp_path}", "storage.name=one"])
    with jt.config.begin_run(config) as begun:
        begun.save(recording([3, 4], environment=GRIDS))
    return begun.path


def test_pictures_look_as_the_run_says_unless_told_otherwise(
    command: Command, run: Path, tmp_path: Path
) -> None:
    episode = next(iter(jt.Run.open(run).episodes()))

    def drawn(*words: str) -> str:
        said = command(
            "render", run, *words, "--kind", "summary", "--out", tmp_path / "".join(words)
        )
        assert said.code == 0, said.err
        return (tmp_path / "".join(words) / episode.id / "summary.svg").read_text()

    assert drawn() == jt.render.summary(episode, "colorblind").as_svg()
    assert drawn("render=high_contrast") == jt.render.summary(episode, "high_contrast").as_svg()
    dark = jt.render.summary(episode, jt.render.theme("dark", digits=True)).as_svg()
    assert drawn("render.theme=dark", "render.digits=true") == dark
    plain = jt.render.summary(episode, "dark").as_svg()
    assert drawn("--theme", "dark") == plain == drawn("render=dark")
    assert command("report", run, "render=default", "--out", tmp_path / "r.html").code == 0
    said = command(
        "render", run, "render.formats=[png]", "--kind", "summary", "--out", tmp_path / "p"
    )
    assert said.code == 0, said.err
    assert (tmp_path / "p" / episode.id / "summary.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("storage=research",), "storage=research: expected settings of render, for the run is"),
        (("render=drak",), "render: expected one of default, colorblind, high_contrast, dark"),
        (("render.theme=dark", "--theme", "dark"), "write render.theme=dark instead of --theme"),
    ],
)
def test_a_run_that_is_recorded_takes_words_of_render_alone(
    command: Command, run: Path, words: tuple[str, ...], message: str
) -> None:
    for name in ("render", "report"):
        said = command(name, run, *words)
        assert said.code == 2
        assert message in said.err


def test_a_run_says_what_it_was_made_with(run: Path) -> None:
    config = jt.config.from_yaml(run / "config.yaml")
    assert config.render.theme == "colorblind"
    assert jt.Run.open(run).manifest["config"]["trace"]["render"]["theme"] == "colorblind"
    assert run.name.endswith("_one")
    with pytest.raises(ConfigError, match="level=off leaves nothing at all"):
        jt.config.begin_run(compose(["level=off"]))


def test_a_run_keeps_the_limits_of_its_settings(tmp_path: Path) -> None:
    words = ("storage=production", "storage.max_saves=1", "storage.protect=[]")
    config = compose([*words, f"storage.root={tmp_path}"])
    with jt.config.begin_run(config, {"app": {"lr": 0.1}}) as begun:
        for step in range(3):
            begun.save(recording([3]), step)
    assert [save.step for save in begun.saves()] == [2]
    assert yaml.safe_load((begun.path / "config.yaml").read_text())["app"] == {"lr": 0.1}


def test_pictures_are_those_that_the_settings_ask_for(tmp_path: Path) -> None:
    episodes = jt.load(jt.save(tmp_path / "t", recording([3, 4, 5], environment=GRIDS)))

    def drawn(*words: str) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        files = jt.config.draw(compose(words), episodes, folder)
        assert sorted(files) == sorted(
            each for each in folder.rglob("*.*") if each.suffix not in ("", ".json")
        )
        return [file.name for file in files]

    assert drawn("level=off") == []
    assert drawn("level=minimal") == ["summary.svg"]
    every = [f"step_{n:04d}.svg" for n in range(1, 6)]
    assert drawn("level=full")[0] == "summary.svg"
    assert drawn("level=verbose", "render.per_policy=null").count("summary.svg") >= 1
    assert set(drawn("level=standard")) <= {"summary.svg", *every}
    assert "report.html" in drawn("render.report=true", "render.steps=none")
    assert drawn("render.formats=[png]", "render.steps=none") == ["summary.png"]
    assert "episode.gif" in drawn("render.formats=[svg,gif]", "render.steps=none")


def test_the_default_of_a_configuration_is_a_run_of_its_defaults(tmp_path: Path) -> None:
    config = compose([f"storage.root={tmp_path}"])
    with jt.config.begin_run(config) as begun:
        assert jt.config.from_yaml(begun.path / "config.yaml") == config
    assert compose() == TraceConfig()
