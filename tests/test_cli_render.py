"""The commands that draw, as a user types them."""

import re
from pathlib import Path

import pytest

import jaxarc_trace as jt
from jaxarc_trace import commands_render
from jaxarc_trace.demo import show
from tests.commands import Command
from tests.recordings import ENVIRONMENT, recording

GRIDS = {**ENVIRONMENT, "roles": {"grid": "grid", "operation": "operation", "task": "task"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a demo leaves: a trace of ten episodes of 3 to 12 steps in a folder."""
    path = tmp_path_factory.mktemp("run")
    jt.save(path / "trace", recording(range(3, 13), environment=GRIDS))
    return path


def test_show_prints_one_step_or_all(command: Command, folder: Path) -> None:
    said = command("show", folder, "lane0001-ep000001", "--step", 2)
    assert said.code == 0, said.err
    assert said.out.startswith("Step 2 of 8 · ")
    assert said.out == command("show", folder / "trace", 5, "--step", 2).out
    whole = command("show", folder, -1).out
    assert re.findall(r"^Step (\d+) of 12", whole, re.MULTILINE) == [str(n) for n in range(1, 13)]
    assert command("show", folder, "5", "--step", "-1").out.startswith("Step 8 of 8")


def test_render_draws_what_is_chosen(command: Command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    said = command("render", folder, "--best", 2, "--worst", 1, "--kind", "summary", "--out", out)
    assert said.code == 0, said.err
    assert said.out.startswith("3 files drawn in ")
    episodes = jt.load(folder / "trace")
    chosen = [*episodes.best(2), *episodes.worst(1)]
    assert sorted(p.name for p in out.iterdir()) == sorted(episode.id for episode in chosen)
    again = command("render", folder, "--best", 2, "--worst", 1, "--kind", "summary", "--out", out)
    assert "0 files drawn" in again.out
    assert "3 were there already" in again.out


def test_render_takes_a_condition_formats_and_a_theme(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    words = ("--where", "length > 11", "--format", "svg,gif", "--theme", "dark", "--out", tmp_path)
    said = command("render", folder, *words, "--workers", 1)
    assert said.code == 0, said.err
    files = sorted(p.name for p in next(tmp_path.iterdir()).iterdir())
    assert {"episode.gif", "summary.svg", "step_0012.svg"} <= set(files)
    episode = jt.load(folder / "trace")[-1]
    drawn = (tmp_path / episode.id / "summary.svg").read_text()
    assert drawn == jt.render.summary(episode, "dark").as_svg()


def test_render_goes_beside_the_trace(command: Command, tmp_path: Path) -> None:
    jt.save(tmp_path / "trace", recording([3], environment=GRIDS))
    for run in (tmp_path, tmp_path / "trace"):
        assert command("render", run, "--kind", "summary").code == 0
    assert (tmp_path / "renders" / "lane0000-ep000000" / "summary.svg").exists()
    assert jt.verify(tmp_path / "trace").ok


def test_some_pictures_that_fail_are_exit_code_1(command: Command, tmp_path: Path) -> None:
    jt.save(tmp_path / "trace", recording([3, 4]))  # no roles, so no grids
    said = command("render", tmp_path, "--format", "gif,svg")
    assert said.code == 1
    assert "2 episodes failed" in said.out
    assert "lane0001-ep000000: Episode lane0001-ep000000 has no grids" in said.out


def test_report_and_compare_write_their_file(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    said = command("report", folder, "--out", tmp_path / "r.html", "--where", "length > 8")
    assert said.code == 0, said.err
    assert "r.html: 4 episodes, " in said.out.replace("\n", "")
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!")
    assert f"<title>{folder.name}</title>" in page
    for name in ("c.svg", "c.png"):
        said = command("compare", folder, 0, "lane0003-ep000000", "--out", tmp_path / name)
        assert said.code == 0, said.err
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize("words", [("render=high_contrast",), ("--theme", "high_contrast"), ()])
def test_show_and_compare_look_as_the_run_or_as_they_are_told(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    asked = () if words else ("render=high_contrast",)
    settings = jt.config.compose(overrides=[*asked, f"storage.root={tmp_path}/runs"])
    with jt.config.begin_run(settings) as run:
        run.save(recording([3, 4], environment=GRIDS))
    plain = command("show", run.path, 0, "--step", -1, "render=default")
    told = command("show", run.path, 0, "--step", -1, *words)
    assert (plain.code, told.code) == (0, 0), told.err
    assert told.out != plain.out
    drawn = {}
    for name, given in (("told", words), ("plain", ("render=default",))):
        file = tmp_path / f"{name}.svg"
        said = command("compare", run.path, 0, 1, "--out", file, *given)
        assert said.code == 0, said.err
        drawn[name] = file.read_text()
    assert drawn["told"] != drawn["plain"]
    said = command("show", run.path, 0, "capture.max_steps=9")
    assert said.code == 2
    assert "expected settings of render" in said.err


def test_a_report_of_a_choice_and_of_none(command: Command, folder: Path, tmp_path: Path) -> None:
    said = command("report", folder, "--best", 2, "--worst", 1, "--out", tmp_path / "r.html")
    assert ": 3 episodes, " in said.out.replace("\n", "")
    unsaid = recording([3, 4], environment=GRIDS)
    unsaid.columns["success"][:] = -1
    store = jt.save(tmp_path / "plain", unsaid)
    for words in (("--failed", 2), ("--failed", 2, "--best", 1)):
        said = command("report", store, *words, "--out", tmp_path / "f.html")
        assert said.code == 2
        assert "record with GenericProbe(goal=...)" in said.err


def test_pictures_of_two_traces_in_one_folder_never_mix(command: Command, tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b", "traces/0001_step1", "trace")):
        jt.save(tmp_path / name, recording([3], seed=seed, environment=GRIDS))
        assert command("render", tmp_path / name, "--kind", "summary").code == 0
    drawn = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("summary.svg")}
    folders = ("a-renders", "b-renders", "renders/0001_step1", "renders")
    assert drawn == {f"{folder}/lane0000-ep000000/summary.svg" for folder in folders}


def test_a_run_may_hold_several_traces(command: Command, tmp_path: Path) -> None:
    for seed, name in enumerate(("0001_step10", "0002_step20")):
        jt.save(tmp_path / "traces" / name, recording([3, 4], seed=seed, environment=GRIDS))
    (tmp_path / "traces" / "unfinished").mkdir()
    assert len(commands_render.open_run(tmp_path)) == 4
    said = command("render", tmp_path, "--kind", "summary")
    assert said.out.startswith("4 files")
    assert len(list((tmp_path / "renders").iterdir())) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "gone", "0"), "expected a saved trace at gone, or one in gone/trace or"),
        (("show", "RUN", "10"), "expected an index from 0 to 9 or an id such as"),
        (("show", "RUN", "lane9"), "found 'lane9', which none of them has"),
        (("show", "RUN", "0", "--step", "0"), "expected --step from 1 to 3, or -1 for the last"),
        (("show", "RUN", "0", "--step", "4"), "found 4; that is what episode lane0000-ep000000"),
        (("show", "RUN", "0", "--theme", "drak"), "Did you mean 'dark'?"),
        (("render", "RUN", "--best", "0"), "expected --best of at least 1, found 0."),
        (("render", "RUN", "--format", "bmp"), "sequence of formats from svg, png, gif"),
        (("render", "RUN", "--where", "length > 99"), "none of 10 fits --where"),
        (("render", "RUN", "--where", "nothing = 1"), "expected a condition over the columns"),
        (("render", "RUN", "--first", "lane9"), "first names episode 'lane9'"),
        (("render", "RUN", "--out", "RUN/trace/COMMIT/x"), "Cannot write into "),
        (("report", "RUN", "--out", "gone/r.html"), "Choose a folder that exists"),
        (("report", "RUN", "--out", "r.pdf"), "expected --out to end in .html, found 'r.pdf'"),
        (("compare", "RUN", "0", "1", "--out", "c.gif"), "to end in .svg or .png, found 'c.gif'"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    command: Command,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command(*(word.replace("RUN", str(folder)) for word in words))
    assert said.code == 2
    assert said.err.startswith("Error: ")
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["show", "render", "report", "compare"])
def test_help_has_an_example(command: Command, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    said = command(name, "--help")
    assert said.code == 0
    assert f"$ jaxarc-trace {name} jaxarc-trace-demo" in said.out


def test_the_demo_names_the_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As they can be typed in the working directory, whatever environment is active."""
    place = tmp_path / ".venv" / "bin"
    place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(place / "python"))
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert show._command().endswith(" -m jaxarc_trace.cli")
    (place / "jaxarc-trace").touch()
    assert show._command() == ".venv/bin/jaxarc-trace"
    monkeypatch.setattr("shutil.which", lambda name: str(place / name))
    assert show._command() == "jaxarc-trace"
