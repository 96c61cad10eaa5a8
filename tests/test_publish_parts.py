"""What publishing is made of: names, secrets, rows, the ledger, the plan."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxarc_trace as jt
from jaxarc_trace.config_compose import compose
from jaxarc_trace.config_sections import Publish
from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.facts import measured
from jaxarc_trace.publish import Published, job_of, status
from jaxarc_trace.publish_config import address, describe
from jaxarc_trace.publish_content import stage
from jaxarc_trace.publish_ledger import LEDGER, Ledger, publishing, read_ledger
from jaxarc_trace.publish_names import plain, project, run_id, shown, tags
from jaxarc_trace.publish_outcome import command_of
from jaxarc_trace.publish_plan import Choice, Job, lost, parts_of
from jaxarc_trace.publish_process import environment
from jaxarc_trace.publish_rows import history_row, step_of
from jaxarc_trace.run import Run
from jaxarc_trace.saves import Save
from tests.recordings import ENVIRONMENT, recording

GOLDEN = Path(__file__).parent / "golden" / "replay_v1"
ANY = st.text(st.characters())
REFUSED = set("/\\#?%:\r\n")

# --------------------------------------------------------------------------------- names


@given(ANY)
def test_any_text_becomes_a_name_that_is_taken(text: str) -> None:
    text = f"{text}\ud800" if len(text) % 2 else text
    for name in (project(text), run_id(text)):
        assert 0 < len(name) <= 128
        assert not REFUSED & set(name)
        name.encode()
    assert len(shown(text)) <= 128
    assert shown(text).isprintable()
    for tag in tags([text, text]):
        assert 0 < len(tag) <= 64
    assert len(tags([text, text])) <= 1
    plain(text).encode()


def test_an_id_is_the_runs_own_or_never_another_ones() -> None:
    assert run_id("0123456789abcdef" * 2) == "0123456789abcdef" * 2
    assert run_id("a/b") != run_id("a?b")
    assert plain("\ud800é\x00") == "\\ud800é\x00"


def test_the_address_is_the_one_that_the_client_goes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    assert address() == "https://api.wandb.ai"
    (tmp_path / "settings").write_text("[default]\nbase_url = https://ours.example/\n")
    assert address() == "https://ours.example"
    monkeypatch.setenv("WANDB_BASE_URL", "http://there:8080")
    assert address() == "http://there:8080"


def test_group_job_type_and_tags_come_from_the_config_when_not_given(tmp_path: Path) -> None:
    config = {
        "trace": {"capture": {"level": "full"}},
        "dataset": {"dataset_name": "ARC-AGI-1"},
        "training": {"learning_rate": 3e-4},
    }
    manifest = {"id": "a" * 32, "name": "", "config": config}
    found = describe(manifest, {"name": "jaxarc"}, tmp_path / "run", Publish())
    assert (found.group, found.job_type) == ("jaxarc", "training")
    assert found.tags == ("jaxarc", "ARC-AGI-1", "full")
    assert found.name == "run"
    given_ = Publish(group="g/1", job_type="final", tags=("one", "one", " "))
    found = describe(manifest, {}, tmp_path, given_)
    assert (found.group, found.job_type, found.tags) == ("g-1", "final", ("one",))
    plain_ = describe({"id": "a" * 32, "config": {}}, {}, tmp_path, Publish())
    assert (plain_.group, plain_.job_type) == ("traces", "evaluation")


# --------------------------------------------------------------------------------- rows


def test_a_row_has_similarity_and_the_shares_of_failure_modes() -> None:
    episodes = measured(jt.load(GOLDEN), cache=False)
    columns = episodes.columns
    row = history_row(Save(7, "x", GOLDEN, 30), episodes)
    ended = columns["complete"]
    assert row["trace/save"] == 7
    assert row["trace/step"] == 30
    assert row["similarity/final"] == pytest.approx(columns["score_final"][ended].mean(dtype="f8"))
    assert row["similarity/best"] == pytest.approx(columns["score_best"][ended].mean(dtype="f8"))
    texts = [text.split(",") for text in columns["failures"][ended]]
    share = np.mean(["stagnation" in modes for modes in texts])
    assert row["failures/stagnation"] == pytest.approx(share)
    assert all(np.isfinite(value) for value in row.values())
    assert not [name for name in row if name.startswith("overhead")]


def test_what_a_save_says_of_its_cost_is_in_its_row() -> None:
    metadata = {"overhead": {"ratio": 1.02, "note": "x", "ok": True}, "host_seconds": {"a b": 2}}
    episodes = measured(jt.Episodes.of(recording([3]), metadata), cache=False)
    row = history_row(Save(1, "x", Path(), None), episodes)
    found = {name: value for name, value in row.items() if name.startswith("overhead")}
    assert found == {"overhead/ratio": 1.02, "overhead/host_seconds/a-b": 2.0}


def test_a_save_without_episodes_is_a_row_too() -> None:
    row = history_row(Save(2, "x", Path(), None), measured(jt.Episodes.of(recording([]))))
    assert row == {"trace/save": 2, "trace/step": 2, "trace/episodes": 0}


def test_steps_grow_with_the_saves_and_leave_room_between() -> None:
    steps = [step_of(Save(n, "x", Path())) for n in (1, 2, 3)]
    assert steps == [1000, 2000, 3000]


# --------------------------------------------------------------------------------- the ledger


def test_a_ledger_keeps_what_is_confirmed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "here||p")
    ledger.note("pending", {"row:000001": {"step": 1000}, "row:000002": {}})
    ledger.note("confirmed", {"row:000001": {}}, url="u")
    ledger.note("pending", {"row:000001": {}})
    ledger.note("failed", {"row:000002": {"why": "broken"}})
    ledger.forget(["row:000001", "nothing"])
    again = Ledger(tmp_path, "here||p")
    assert again.confirmed("row:000001")
    assert again.items["row:000001"]["step"] == 1000
    assert again.items["row:000002"]["why"] == "broken"
    assert again.facts == {"url": "u"}
    again.note("pending", {"row:000002": {}})
    assert "why" not in Ledger(tmp_path, "here||p").items["row:000002"]
    assert not Ledger(tmp_path, "elsewhere||p").items
    again.forget(["row:000002"])
    assert set(Ledger(tmp_path, "here||p").items) == {"row:000001"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": "x"}'])
def test_a_damaged_ledger_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / LEDGER).write_text(text)
    assert read_ledger(tmp_path) == {}
    Ledger(tmp_path, "p").note("pending", {"row:000001": {}})
    assert read_ledger(tmp_path)["p"]["items"]["row:000001"]["state"] == "pending"


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text('{"version": 9, "places": {}}')
    with pytest.raises(StoreError, match="expected a ledger of version 1, found 9"):
        read_ledger(tmp_path)


@pytest.mark.slow
def test_a_ledger_whose_writer_is_killed_is_whole(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from jaxarc_trace.publish_ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]), 'p')\n"
        "for n in range(10**9): ledger.note('pending', {f'row:{n % 40}': {'why': 'x' * 20000}})"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    while not (tmp_path / LEDGER).exists():
        assert writer.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    writer.kill()
    writer.wait()
    assert json.loads((tmp_path / LEDGER).read_text())["version"] == 1
    (tmp_path / f".{LEDGER}.0123").write_text("{")
    with publishing(tmp_path):
        assert not list(tmp_path.glob(f".{LEDGER}.*"))


def test_one_process_publishes_a_run_at_a_time(tmp_path: Path) -> None:
    with (
        publishing(tmp_path),
        pytest.raises(StoreError, match="found another process at it"),
        publishing(tmp_path, patience=0.1),
    ):
        pass
    with publishing(tmp_path, patience=0):
        pass


# --------------------------------------------------------------------------------- the plan


@pytest.fixture
def run(tmp_path: Path) -> Any:
    with Run.create(tmp_path / "runs", "planned") as made:
        for index in range(3):
            grids = {**ENVIRONMENT, "roles": {"grid": "grid"}}
            made.save(recording([4, 6], seed=index, environment=grids), step=index)
        yield made


def test_what_is_left_follows_from_saves_and_ledger(run: Run) -> None:
    job = Job(str(run.path), Publish(mode="online", artifact=True))
    ledger = Ledger(run.path, "p")
    parts = parts_of(job, ledger)
    assert parts.sizes() | {"trace_bytes": 0} == {
        "rows": 3, "traces": 3, "trace_bytes": 0, "galleries": 1,
    }  # fmt: skip
    ledger.note("confirmed", {key: {} for key in parts.keys})
    assert parts_of(job, ledger).keys == []
    other = replace(job, choice=Choice(where="length > 4"))
    assert parts_of(other, ledger).keys != []
    assert parts_of(replace(other, gallery=False), ledger).keys == []
    without_stores = replace(job, publish=Publish(mode="online"))
    assert parts_of(without_stores, Ledger(run.path, "q")).traces == ()


def test_what_was_removed_before_it_was_confirmed_is_lost(run: Run) -> None:
    ledger = Ledger(run.path, "http://here||p")
    ledger.note("pending", {"row:000001": {}, "row:000009": {}, "gallery:x": {}})
    ledger.note("confirmed", {"row:000008": {}})
    assert lost(ledger, tuple(run.saves())) == ["row:000009"]
    (place,) = status(run.path)
    assert place["lost"] == ["row:000009"]
    assert place["unpublished"] == [run.saves()[1].name, run.saves()[2].name]


def test_a_job_reaches_another_process_as_it_is_and_without_the_key(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    monkeypatch.setenv("WANDB_SERVICE", "another")
    settings = Publish(mode="online", tags=("a", "b"), images=3)
    job = job_of(run, settings, {"best": 2, "worst": None, "where": "length > 4"}, deadline=9)
    job = replace(job, work="/w")
    assert Job.from_json(job.to_json()) == job
    assert "k" * 40 not in job.to_json()
    online = environment(job, "/t")
    offline = environment(replace(job, publish=Publish(mode="offline")), "/t")
    assert online["WANDB_API_KEY"] == "k" * 40
    assert "WANDB_API_KEY" not in offline
    assert online["WANDB_DATA_DIR"] == "/w/data"
    assert not {"WANDB_RUN_ID", "WANDB_SERVICE"} & set(online)
    assert online["JAX_PLATFORMS"] == "cpu"


def test_the_command_repeats_the_settings(run: Run) -> None:
    given_ = Publish(mode="online", project="a b", tags=("x", "y"), artifact=True, images=3)
    job = replace(
        job_of(run, given_, {"best": 2, "where": "length > 4"}), theme="dark", gallery=False
    )
    assert command_of(job) == (
        f"jaxarc-trace publish {run.path} --project 'a b' --tags x,y --best 2 "
        "--where 'length > 4' --no-gallery publish.artifact=true publish.images=3 "
        "render.theme=dark"
    )


def test_local_sends_nothing(run: Run) -> None:
    done = jt.publish(run, compose(["publish=local"]))
    assert (done.mode, done.exit_code, str(done)) == (
        "local", 0, "publish.mode=local: nothing was sent",
    )  # fmt: skip
    assert not (run.path / LEDGER).exists()
    assert not (run.path / "wandb").exists()


def test_levels_differ_in_what_they_send() -> None:
    local, basic, full = (
        compose([f"publish={name}"]).publish for name in ("local", "wandb_basic", "wandb_full")
    )
    assert (local.mode, basic.mode, full.mode) == ("local", "online", "online")
    assert (basic.artifact, full.artifact) == (False, True)
    assert basic.image_budget_mb < full.image_budget_mb


def test_a_wrong_choice_is_refused(run: Run) -> None:
    with pytest.raises(SpecError, match="best: expected a whole number of 0 or more, found -1"):
        job_of(run, None, {"best": -1})


def test_exit_codes() -> None:
    path = Path("run")
    assert Published(path, "online").exit_code == 0
    assert Published(path, "online", pending=("row:000001",)).exit_code == 3
    assert Published(path, "offline", pending=("row:000001",)).exit_code == 0
    assert Published(path, "online", failed={"row:000001": "gone"}).exit_code == 1
    assert Published(path, "offline", problem="no room").exit_code == 3


# --------------------------------------------------------------------------------- pictures


def staged(run: Run, **settings: Any) -> Any:
    job = Job(str(run.path), Publish(**settings), Choice(1, 1))
    episodes = measured(run.episodes())
    return stage(job, f"gallery:{os.urandom(4).hex()}", episodes, "title", lambda *_: None)


def kinds(content: Any) -> dict[str, int]:
    names = ("summary", "steps", "animation")
    rows = [dict(zip(content.columns, row, strict=True)) for row in content.rows]
    return {name: sum(row[name] is not None for row in rows) for name in names}


def test_pictures_stay_within_count_bytes_and_pixels(run: Run) -> None:
    from PIL import Image

    whole = staged(run)
    # Two episodes, since the same one is in every save.
    assert kinds(whole) == {"summary": 2, "steps": 2, "animation": 2}
    assert whole.notes == []
    assert kinds(staged(run, images=1)) == {"summary": 1, "steps": 1, "animation": 1}
    none = staged(run, image_budget_mb=0.0)
    assert kinds(none) == {"summary": 0, "steps": 0, "animation": 0}
    assert none.notes == ["6 pictures were left out to stay within the image budget"]
    files = [whole.picture(cell) for row in whole.rows for cell in row if isinstance(cell, dict)]
    first = sum(file.stat().st_size for file in files if "summary" in file.name)
    some = staged(run, image_budget_mb=(first + 1) / 1e6)
    # Summaries come before the rest.
    assert kinds(some)["summary"] == 2
    assert sum(kinds(some).values()) < 6
    small = staged(run, image_megapixels=0.2)
    for row in small.rows:
        for cell in row:
            if isinstance(cell, dict):
                with Image.open(small.picture(cell)) as picture:
                    assert picture.width * picture.height <= 0.2e6


def test_what_was_drawn_is_not_drawn_again(run: Run) -> None:
    first = staged(run)
    times = {p: p.stat().st_mtime_ns for p in (run.path / "wandb" / "pictures").iterdir()}
    second = staged(run)
    assert second.rows == first.rows
    assert times == {p: p.stat().st_mtime_ns for p in (run.path / "wandb" / "pictures").iterdir()}
    assert second.report.read_bytes() == first.report.read_bytes()
    second.report.unlink()
    assert [path.name for path in second.missing()] == ["report.html"]


def test_no_episode_that_fits_is_an_error_with_the_condition(run: Run) -> None:
    job = Job(str(run.path), Publish(), Choice(where="length > 99"))
    with pytest.raises(SpecError, match="found none of 2 that fits 'length > 99'"):
        stage(job, "gallery:x", measured(run.episodes()), "t", lambda *_: None)
