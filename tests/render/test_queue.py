"""Many episodes: resumable, on any executor, and no failure spreads."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import jaxarc_trace as jt
from jaxarc_trace import render
from jaxarc_trace.errors import MissingExtraError, RenderError
from jaxarc_trace.render import files, generic, queue, worker
from jaxarc_trace.render.bar import _time
from jaxarc_trace.render.dispatch import Progress
from jaxarc_trace.render.lanes import Lanes
from jaxarc_trace.render.queue import render_all
from tests.recordings import ENVIRONMENT, recording
from tests.render.stored import stored

ROOT = Path(__file__).parents[2]
GRIDS = {**ENVIRONMENT, "roles": {"grid": "grid", "operation": "operation", "task": "task"}}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten stored episodes of 3 to 12 steps."""
    found = recording(range(3, 13), environment=GRIDS)
    return jt.save(tmp_path_factory.mktemp("stored") / "trace", found)


def tree(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def times(out: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in out.rglob("*.svg")}


def test_each_episode_gets_a_folder_with_its_pictures(trace: Path, tmp_path: Path) -> None:
    episodes = jt.load(trace)
    report = render_all(episodes, tmp_path, workers=1, formats=("svg", "gif"))
    assert report.ok
    assert report.written == sum(range(3, 13)) + 20
    assert report.folders == tuple(tmp_path / episode.id for episode in episodes)
    first = tmp_path / "lane0000-ep000000"
    assert sorted(p.name for p in first.iterdir()) == [
        "episode.gif", "pictures.json", "step_0001.svg", "step_0002.svg", "step_0003.svg",
        "summary.svg",
    ]  # fmt: skip
    assert (first / "step_0002.svg").read_text() == render.step(episodes[0], 1).as_svg()
    assert (first / "summary.svg").read_text() == render.summary(episodes[0]).as_svg()


def test_what_is_whole_is_not_drawn_again(trace: Path, tmp_path: Path) -> None:
    episodes = jt.load(trace)
    render_all(episodes, tmp_path, workers=1)
    before = times(tmp_path)
    again = render_all(episodes, tmp_path, workers=1)
    assert (again.written, again.skipped) == (0, len(before))
    assert f"{len(before)} were there already" in str(again)
    assert times(tmp_path) == before
    cut = tmp_path / "lane0001-ep000000" / "step_0002.svg"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:100])
    (tmp_path / "lane0002-ep000000" / "summary.svg").unlink()
    assert render_all(episodes, tmp_path, workers=1).written == 2
    assert cut.read_bytes() == whole


def test_another_look_or_other_contents_are_drawn_again(trace: Path, tmp_path: Path) -> None:
    episodes = jt.load(trace)[:2]
    plain = render_all(episodes, tmp_path, workers=1)
    assert render_all(episodes, tmp_path, workers=1, theme="dark").written == plain.written
    other = jt.Episodes.of(recording(range(3, 13), seed=1, environment=GRIDS))[:2]
    assert render_all(other, tmp_path, workers=1, theme="dark").skipped == 0


def test_a_damaged_ledger_vouches_for_nothing(trace: Path, tmp_path: Path) -> None:
    render_all(jt.load(trace)[:1], tmp_path, workers=1)
    for text in ("{", "[]", '{"key": 3}'):
        (tmp_path / "lane0000-ep000000" / "pictures.json").write_text(text)
        assert render_all(jt.load(trace)[:1], tmp_path, workers=1).written == 4


def test_episodes_with_the_same_id_do_not_collide(tmp_path: Path) -> None:
    one = stored("crop")
    other = replace(one, rewards=one.rewards + 1)
    report = render_all([one, other, one], tmp_path, kinds=("summary",))
    assert len(set(report.folders)) == 3
    assert all(folder.name.startswith(one.id) for folder in report.folders)
    assert len(list(tmp_path.rglob("summary.svg"))) == 3


def test_asked_for_episodes_come_first(trace: Path, tmp_path: Path) -> None:
    episodes = jt.load(trace)
    report = render_all(
        episodes, tmp_path, workers=1, kinds=("summary",), first=["lane0001-ep000001", -1, 0]
    )
    names = [folder.name for folder in report.folders]
    assert names[:3] == ["lane0001-ep000001", episodes[-1].id, episodes[0].id]
    assert len(set(names)) == 10
    stamps = [(folder / "summary.svg").stat().st_mtime_ns for folder in report.folders]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("many", [1, 4])
def test_any_executor_gives_the_same_files(trace: Path, tmp_path: Path, many: int) -> None:
    episodes = jt.load(trace)
    render_all(episodes, tmp_path / "here", workers=1)
    with ThreadPoolExecutor(many) as pool:
        assert render_all(episodes, tmp_path / "there", executor=pool).ok
    assert tree(tmp_path / "here") == tree(tmp_path / "there")


def test_progress_tells_how_far_it_is(trace: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    report = render_all(jt.load(trace), tmp_path, workers=1, progress=told.append)
    assert [now.finished for now in told] == list(range(11))
    assert told[0].left == float("inf")
    assert told[-1].written == told[-1].pictures == report.written
    assert told[-1].left == 0
    half = Progress(10, 5, 100, 25, 0, 5.0)
    assert (half.rate, half.left) == (5.0, 15.0)
    assert [_time(s) for s in (float("inf"), 5.4, 75, 3700)] == ["?", "0:05", "1:15", "1:01:40"]


def test_a_handle_travels_as_a_path(trace: Path) -> None:
    episodes = jt.load(trace)
    packed = pickle.dumps(worker.Handle(episodes))
    assert len(packed) < 2000
    opened = pickle.loads(packed)
    assert opened is pickle.loads(packed)
    assert opened.episodes[3].id == episodes[3].id


def test_an_episode_that_cannot_be_drawn_costs_itself(tmp_path: Path) -> None:
    episodes = [stored("crop"), replace(stored("hasty"), environment={}), stored("solved")]
    report = render_all(episodes, tmp_path, kinds=("summary",), formats=("gif",))
    assert not report.ok
    assert [name for name, _ in report.failed] == [episodes[1].id]
    assert "has no grids to draw as pixels" in str(report)
    assert report.written == 2


def test_a_stored_episode_that_is_damaged_costs_itself(tmp_path: Path) -> None:
    found = recording(range(3, 7), environment=GRIDS)
    path = jt.save(tmp_path / "trace", found)
    episodes = jt.load(path)
    source = episodes.sources[0]
    columns = dict(source.columns)
    columns["checksum"] = columns["checksum"].copy()
    columns["checksum"][2] ^= 1
    vars(source)["_columns"] = columns
    report = render_all(episodes, tmp_path / "out", workers=1)
    assert [name for name, _ in report.failed] == [f"lane{2:04d}-ep000000"]
    assert "does not match its checksum" in report.failed[0][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ("bmp",)}, r"sequence of formats from svg, png, gif, .*; found \('bmp',\)"),
        ({"formats": "svg"}, r"found 'svg'"),
        ({"formats": ()}, "at least one format"),
        ({"kinds": ("steps",)}, r"sequence of kinds from summary, step; found"),
        ({"workers": 0}, "workers is at least 1, or None .*; found 0"),
        ({"theme": "drak"}, "Did you mean 'dark'"),
        ({"first": ["lane9"]}, r"first names episode 'lane9', which is not among the 1 episode"),
        ({"first": [7]}, "first names episode 7"),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        render_all([stored("crop")], tmp_path, **options)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RenderError, match=r"Cannot write into .*file/out.*Choose a folder"):
        render_all([stored("crop")], tmp_path / "file" / "out")


def test_a_missing_extra_is_said_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'jaxarc-trace\[png\]'"):
        render_all([stored("crop")], tmp_path, formats=("svg", "png"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_was_writing_is_removed(trace: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "lane0000-ep000000"
    folder.mkdir()
    (folder / f".a.svg.{gone.pid}-0.part").write_text("half")
    (folder / f".b.svg.{os.getpid()}-0.part").write_text("being written")
    render_all(jt.load(trace)[:1], tmp_path, workers=1)
    assert [p.name for p in folder.glob(".*")] == [f".b.svg.{os.getpid()}-0.part"]


def test_a_broken_executor_fails_what_is_left(trace: Path, tmp_path: Path) -> None:
    class Broken(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
            del fn, args, kwargs
            from concurrent.futures.process import BrokenProcessPool

            raise BrokenProcessPool("gone")

    report = render_all(jt.load(trace), tmp_path, executor=Broken(), kinds=("summary",))
    assert len(report.failed) == 10
    assert "was killed, perhaps for want of memory; run it again" in str(report)


def test_ctrl_c_in_this_process_leaves_whole_files(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = files.write

    def interrupted(path: Any, data: bytes) -> Path:
        written.append(str(path))
        if len(written) == 6:
            raise KeyboardInterrupt
        return write(path, data)

    monkeypatch.setattr(files, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render_all(jt.load(trace), tmp_path, workers=1)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.part"))
    there = len(list(tmp_path.rglob("*.svg")))
    assert there == 5 - 1  # one of the five is the ledger of the first episode
    assert render_all(jt.load(trace), tmp_path, workers=1).skipped == there


# ------------------------------------------------------------------------------- processes


def test_only_stored_episodes_and_enough_work_are_spread(trace: Path) -> None:
    episodes = jt.load(trace)
    job = worker.Job(
        worker.Handle(episodes),
        0,
        Path(),
        worker.wanted(100, 0, ("step",), ("png",)),
        render.theme(),
        "",
    )
    little, much = [("a", job)] * 3, [("a", job)] * 1000
    assert queue._processes(episodes, little, None) == 1
    assert queue._processes(episodes, much, None) == min(len(os.sched_getaffinity(0)), 1000)
    assert queue._processes(episodes, little, 2) == 2
    memory = jt.Episodes.of(recording([3], environment=GRIDS))
    assert queue._processes(memory, much, 4) == 1
    assert queue._processes([stored("crop")], much, 4) == 1


def marked(*_: object) -> str:
    """A renderer that other processes can import."""
    return "<text>mine</text>"


def test_processes_draw_with_what_was_registered_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generic, "_RENDERERS", {})
    trace = jt.save(tmp_path / "trace", recording([2, 2, 2], environment={"name": "walkers"}))
    episodes, out = jt.load(trace), tmp_path / "out"

    def drawn(workers: int | None) -> int:
        render_all(episodes, out, kinds=("step",), workers=workers)
        files = list(out.rglob("step_*.svg"))
        assert len(files) == 6
        return sum("<text>mine</text>" in file.read_text() for file in files)

    assert drawn(2) == 0
    render.register_renderer("walkers", marked)
    assert drawn(2) == 6
    # Another function makes other pictures, and what a process cannot import is drawn in this one.
    render.register_renderer("walkers", lambda *_: "<text>other</text>")
    assert drawn(None) == 0
    with pytest.raises(RenderError, match="a renderer that other processes can import, found"):
        render_all(episodes, tmp_path / "more", workers=2)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(RenderError, match="put it at the top of a module of its own"),
    ):
        render_all(episodes, tmp_path / "more", executor=pool)


def kill_on_third(job: worker.Job) -> worker.Drawn:
    """Draws; the process that gets the third episode is killed in the middle of a file."""
    if job.folder.name == "lane0002-ep000000":
        part = job.folder / f".step_0001.svg.{os.getpid()}-9.part"
        job.folder.mkdir(parents=True)
        part.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return worker.draw(job)


@pytest.mark.slow
def test_a_killed_worker_costs_its_own_episode_only(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jaxarc_trace.render import dispatch

    monkeypatch.setattr(dispatch, "draw", kill_on_third)
    report = render_all(jt.load(trace), tmp_path, workers=2)
    monkeypatch.undo()
    assert [name for name, _ in report.failed] == ["lane0002-ep000000"]
    assert report.written == sum(range(3, 13)) + 10 - 6
    assert not list(tmp_path.rglob("*.part"))
    again = render_all(jt.load(trace), tmp_path, workers=1)
    assert again.ok
    assert (again.written, again.skipped) == (6, report.written)


@pytest.mark.slow
def test_a_pool_of_the_standard_library_will_do(trace: Path, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        report = render_all(jt.load(trace), tmp_path, executor=pool)
    assert report.ok
    assert report.written == sum(range(3, 13)) + 10


SCRIPT = """
import sys, jaxarc_trace as jt
from jaxarc_trace.render.queue import render_all
if {guard}:
    def tell(now):
        print(now.written, flush=True)
    render_all(jt.load(sys.argv[1]), sys.argv[2], workers=2, formats=("svg", "png"), progress=tell)
"""


def script(tmp_path: Path, words: Sequence[str], guard: str) -> "subprocess.Popen[str]":
    (tmp_path / "script.py").write_text(SCRIPT.format(guard=guard))
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_and_leaves_whole_files(tmp_path: Path) -> None:
    path = jt.save(tmp_path / "trace", recording([60] * 60, environment=GRIDS))
    out = tmp_path / "out"
    running = script(tmp_path, [str(path), str(out)], '__name__ == "__main__"')
    assert running.stdout is not None
    while int(running.stdout.readline()) == 0:
        pass
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to parent and workers
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0
    assert said.count("KeyboardInterrupt") == 1
    time.sleep(0.5)
    assert not list(out.rglob("*.part"))
    for ledger in out.rglob("pictures.json"):
        for name, size in json.loads(ledger.read_text())["files"].items():
            assert (ledger.parent / name).stat().st_size == size
    pictures = [p for p in out.rglob("*") if p.suffix in (".svg", ".png")]
    assert 0 < len(pictures) < 60 * 122
    for file in out.rglob("*.svg"):
        assert file.read_text().endswith("</svg>")


@pytest.mark.slow
def test_a_script_without_a_guard_is_told(trace: Path, tmp_path: Path) -> None:
    running = script(tmp_path, [str(trace), str(tmp_path / "out")], "True")
    _, said = running.communicate(timeout=120)
    assert running.returncode == 1
    assert 'In a script, call this under `if __name__ == "__main__":`' in said


@pytest.mark.slow
def test_processes_are_replaced_not_reused_after_a_death() -> None:
    with Lanes(1) as lanes:
        future = lanes.submit(os._exit, 3)
        assert future.exception(timeout=60) is not None
        lanes.finish(future)
        assert lanes.room == 1
        after = lanes.submit(abs, -3)
        assert after.result(timeout=60) == 3
        lanes.finish(after)
