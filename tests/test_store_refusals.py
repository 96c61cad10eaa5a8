"""Saving to any path and with any metadata: it works, or it is refused and nothing is left."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxarc_trace.errors import SpecError, StoreError
from jaxarc_trace.store import load, save
from tests.recordings import assert_round_trip, interrupted, recording, spoil


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


ODD_NAMES = [
    *("a b", "weird*[0]{1}~", "x=[1,2]", "ünïcode 🂡", "new\nline", "%41", "#frag?x=1", "-dash"),
    "x" * 255,
    "deep/er/path",
]


def test_a_taken_path_is_refused_and_left_alone(tmp_path: Path):
    save(tmp_path / "a", recording([3]))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    before = (tmp_path / "a" / "COMMIT").read_text()
    for name in ("a", "file", "link"):
        with pytest.raises(
            StoreError, match=r"expected a path where nothing exists.*choose another"
        ):
            save(tmp_path / name, recording([4]))
    assert (tmp_path / "a" / "COMMIT").read_text() == before
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["a", "file", "link"]


def test_a_path_taken_while_writing_is_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from jaxarc_trace import store_write

    real = store_write._commit

    def other_writer_first(partial: Path) -> None:
        real(partial)
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "theirs").write_text("theirs")

    monkeypatch.setattr(store_write, "_commit", other_writer_first)
    with pytest.raises(StoreError, match="expected a path where nothing exists"):
        save(tmp_path / "a", recording([4]))
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["theirs"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_file_name_works(tmp_path: Path, name: str):
    saved = recording([2])
    assert_round_trip(save(tmp_path / name, saved), saved)
    assert_round_trip(save(tmp_path / name / "inside", saved), saved)


def test_a_name_that_is_too_long_is_a_clear_error(tmp_path: Path):
    with pytest.raises(StoreError, match=r"could not be written.*File name too long"):
        save(tmp_path / ("x" * 256), recording([2]))
    assert names(tmp_path) == []


def full(*_: Any) -> None:
    """What a full disk does to the last step of a save."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jaxarc_trace.store_write._commit", full)
    with pytest.raises(StoreError, match=r"No space left on device.*has space"):
        save(tmp_path / "a", recording([2]))
    assert names(tmp_path) == []


def test_ctrl_c_while_a_failed_write_is_cleared_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("jaxarc_trace.store_write._commit", full)
    monkeypatch.setattr("jaxarc_trace.store_write.shutil.rmtree", interrupted(shutil.rmtree))
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "a", recording([2]))
    assert names(tmp_path) == []


def test_an_address_is_refused():
    with pytest.raises(StoreError, match="gs://bucket/x: expected a path of this machine"):
        save("gs://bucket/x", recording([1]))


@pytest.mark.parametrize("name", ["a\\b", "a\udc80b"])
def test_a_name_that_tensorstore_cannot_open_is_refused(tmp_path: Path, name: str):
    with pytest.raises(StoreError, match="expected a path that TensorStore can open"):
        save(tmp_path / name / "c", recording([1]))
    with pytest.raises(StoreError, match="expected a path that TensorStore can open"):
        load(tmp_path / name / "c")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": np.zeros(3)}, r"metadata\['a'\]: expected JSON .* found an array float64 \[3\]"),
        ({"a": [1, jnp.zeros((2,))]}, r"metadata\['a'\]\[1\]: .* found an array float32 \[2\]"),
        ({"a": {1: 2}}, r"metadata\['a'\]: the key 1: .* found int"),
        ({"a": float("nan")}, r"metadata\['a'\]: .* found nan; JSON has no such number"),
        ({"a": object()}, r"metadata\['a'\]: .* found object; give plain Python values"),
        ([1], "metadata: expected a dict with string keys, found list"),
    ],
)
def test_metadata_that_is_not_json_is_refused_by_place(tmp_path: Path, metadata: Any, message: str):
    with pytest.raises(SpecError, match=message):
        save(tmp_path / "a", recording([1]), metadata)
    assert names(tmp_path) == []


def test_metadata_that_contains_itself_is_refused(tmp_path: Path):
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(SpecError, match="more than 64 levels"):
        save(tmp_path / "a", recording([1]), loop)


def test_text_of_any_kind_survives_in_metadata(tmp_path: Path):
    text = {"name\\*[]": "newline\n\x00 🂡 \udc80 </script>", "big": 2**80, "flag": np.bool_(True)}
    loaded = load(save(tmp_path / "a", recording([1]), text)).metadata
    assert loaded == {**text, "flag": True}


@pytest.mark.parametrize("leaf", ["records", "constants", "finals", "columns"])
def test_a_store_restored_from_a_copy_is_read_in_the_same_process(tmp_path: Path, leaf: str):
    path = save(tmp_path / "a", recording([4] * 5000))
    shutil.copytree(path, tmp_path / "copy")
    spoil(path, leaf)
    episodes = load(path)
    for _ in range(2):
        with pytest.raises(StoreError, match="restore the store from a copy"):
            episodes[0]
    shutil.rmtree(path)
    shutil.copytree(tmp_path / "copy", path)
    assert len(episodes[0]) == len(load(path)[0]) == 4
