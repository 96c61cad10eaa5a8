"""Saving and loading: what goes in comes out, fresh paths only, readable without this package."""

import json
import logging
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from jaxarc_trace.errors import (
    FormatVersionError,
    NotATraceError,
    SpecError,
    StoreError,
)
from jaxarc_trace.recording import Recording
from jaxarc_trace.schema import RecordSchema, Section
from jaxarc_trace.store import load, save, verify
from jaxarc_trace.store_format import Leaf
from tests.recordings import assert_round_trip, recording, same_bytes

ROOT = Path(__file__).parent.parent


def test_what_is_saved_is_loaded(tmp_path: Path):
    saved = recording([3, 1, 0, 40])
    path = save(tmp_path / "a", saved, {"step": 7, "nested": {"names": ("x", None)}})
    assert path == tmp_path / "a"
    assert_round_trip(path, saved)
    episodes = load(path)
    assert episodes.metadata == {"step": 7, "nested": {"names": ["x", None]}}
    assert episodes[0].metadata == episodes.metadata
    assert episodes.environment == saved.environment
    assert episodes.spec == saved.spec
    assert verify(path).ok


def test_an_empty_trace_is_saved_and_loaded(tmp_path: Path):
    episodes = load(save(tmp_path / "a", recording([])))
    assert len(episodes) == 0
    assert list(episodes) == []
    assert episodes.table.height == 0
    assert "0 episodes" in repr(episodes)
    assert verify(tmp_path / "a").ok
    assert episodes.steps("reward").shape == (0,)


def test_episodes_of_no_steps_are_saved_and_loaded(tmp_path: Path):
    saved = recording([0, 0])
    assert_round_trip(save(tmp_path / "a", saved), saved)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(lengths=st.lists(st.integers(0, 30), max_size=12), seed=st.integers(0, 99), data=st.data())
def test_any_recording_survives_with_any_chunk_size(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seed: int, data: st.DataObject
):
    chunk = data.draw(st.sampled_from([1, 64, 100, 1000, 2**19]))
    path = tmp_path_factory.mktemp("store") / "a"
    saved = recording(lengths, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxarc_trace.store_format.CHUNK_BYTES", chunk)
        save(path, saved)
    assert_round_trip(path, saved)


def test_a_schema_without_constants_or_state_is_stored(tmp_path: Path):
    reward = Section.of({"reward": jax.ShapeDtypeStruct((), jnp.float32)})
    base = recording([2, 3])
    saved = Recording(
        schema=RecordSchema(Section(()), Section(()), reward),
        policies=(),
        columns=base.columns,
        constants=np.zeros((2, 0), np.uint8),
        finals=np.zeros((2, 0), np.uint8),
        records=np.arange(20, dtype=np.float32).view(np.uint8).reshape(-1, 4)[:5],
        environment={},
        spec={},
    )
    path = save(tmp_path / "a", saved)
    assert load(path)[1].rewards.tolist() == [2.0, 3.0, 4.0]


def test_a_value_that_did_not_fit_spoils_neither_the_save_nor_other_episodes(tmp_path: Path):
    from jaxarc_trace.codec import Encoding
    from jaxarc_trace.errors import SchemaError

    step = Section.of(
        {"extra.operation": jax.ShapeDtypeStruct((), jnp.int32)},
        {"extra.operation": Encoding.between(0, 34)},
    )
    values = np.asarray(step.pack({"extra.operation": jnp.asarray([1, 99, 3, 4, 5], jnp.int32)}))
    base = recording([2, 3])
    saved = Recording(
        schema=RecordSchema(Section(()), Section(()), step),
        policies=(),
        columns=base.columns,
        constants=np.zeros((2, 0), np.uint8),
        finals=np.zeros((2, 0), np.uint8),
        records=values,
        environment=base.environment,
        spec={},
    )
    episodes = load(save(tmp_path / "a", saved))
    assert episodes[1].extras["operation"].tolist() == [3, 4, 5]
    with pytest.raises(SchemaError, match=r"'extra\.operation' held a value outside \[0, 63\]"):
        episodes[0]
    with pytest.raises(SpecError, match="not every source stores"):
        episodes.steps("operation")


def test_step_columns_are_those_of_the_records(tmp_path: Path):
    saved = recording([3, 0, 5])
    episodes = load(save(tmp_path / "a", saved))
    for name, of in {
        "reward": lambda e: e.rewards,
        "digest": lambda e: e.digests,
        "operation": lambda e: e.extras["operation"],
        "terminated": lambda e: e.terminated,
        "truncated": lambda e: e.truncated,
    }.items():
        assert same_bytes(episodes.steps(name), np.concatenate([of(e) for e in episodes]))
        part = episodes[::-2]
        assert same_bytes(part.steps(name), np.concatenate([of(e) for e in part]))


def test_what_is_not_a_trace_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, found in {
        "nothing": "found nothing; check the path",
        "file": "found a file",
        "folder": "found a directory without COMMIT",
    }.items():
        with pytest.raises(NotATraceError, match=re.escape(str(tmp_path / name)) + ".*" + found):
            load(tmp_path / name)


def test_a_store_without_its_marker_does_not_exist(tmp_path: Path):
    path = save(tmp_path / "a", recording([3]))
    (path / "COMMIT").unlink()
    with pytest.raises(NotATraceError, match="without COMMIT"):
        load(path)
    with pytest.raises(NotATraceError, match="without COMMIT"):
        verify(path)


def rewrite_header(path: Path, **changes: Any) -> None:
    """Writes another `trace.json` and commits it, as a future version would."""
    import hashlib

    text = json.dumps({**json.loads((path / "trace.json").read_text()), **changes})
    (path / "trace.json").write_text(text)
    lines = (path / "COMMIT").read_text().splitlines()
    lines = [line for line in lines if not line.endswith("  trace.json")]
    lines.append(hashlib.sha256(text.encode()).hexdigest() + "  trace.json")
    (path / "COMMIT").write_text("\n".join(lines) + "\n")


def test_a_newer_version_is_refused_naming_both(tmp_path: Path):
    path = save(tmp_path / "a", recording([3]))
    rewrite_header(path, version=2, leaves="of another kind")
    with pytest.raises(FormatVersionError, match=r"format version 2, .* up to version 1; run: pip"):
        load(path)


def test_fields_added_later_are_ignored_and_missing_ones_have_defaults(tmp_path: Path):
    path = save(tmp_path / "a", recording([3]))
    rewrite_header(path, something_new={"x": 1})
    assert len(load(path)[0]) == 3
    header = json.loads((path / "trace.json").read_text())
    for name in ("run", "process", "packages", "created", "metadata", "checksum"):
        del header[name]
    (path / "trace.json").write_text("{}")
    rewrite_header(path, **header)
    assert len(load(path)[0]) == 3


def test_another_format_is_refused(tmp_path: Path):
    path = save(tmp_path / "a", recording([3]))
    rewrite_header(path, format="something-else")
    with pytest.raises(StoreError, match="expected the description of a jaxarc-trace store"):
        load(path)


def test_a_replaced_store_is_read_afresh(tmp_path: Path):
    first, second = recording([3], seed=1), recording([3], seed=2)
    path = save(tmp_path / "a", first)
    old = load(path)
    assert_round_trip(path, first)
    handle = pickle.dumps(old)
    shutil.rmtree(path)
    assert_round_trip(save(path, second), second)
    with pytest.raises(StoreError, match="another trace is stored here"):
        pickle.loads(handle)


def test_a_recording_pickled_as_episodes_is_a_handle(tmp_path: Path):
    episodes = load(save(tmp_path / "a", recording([30] * 40)))
    text = pickle.dumps(episodes[3:9])
    assert len(text) < 2000
    again = pickle.loads(text)
    assert [repr(e) for e in again] == [repr(e) for e in episodes[3:9]]


def test_orbax_is_quiet(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any):
    with caplog.at_level(logging.DEBUG, logger="absl"):
        save(tmp_path / "a", recording([3]))
        logging.getLogger("absl").warning("the program's own")
    assert [r.message for r in caplog.records if r.name == "absl"] == ["the program's own"]
    assert capfd.readouterr().out == ""


def test_a_store_is_an_orbax_checkpoint(tmp_path: Path):
    import orbax.checkpoint as ocp

    saved = recording([3, 5])
    path = save(tmp_path / "a", saved)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.restore(path)
    assert np.array_equal(tree["records"].reshape(-1, saved.schema.record_bytes), saved.records)


def test_a_store_is_checked_by_sha256sum(tmp_path: Path):
    path = save(tmp_path / "a", recording([3, 5]))
    command = ["sha256sum", "--check", "--strict", "COMMIT"]
    assert subprocess.run(command, cwd=path, capture_output=True, check=False).returncode == 0


def test_the_reader_in_the_documentation_needs_nothing_of_ours(tmp_path: Path):
    saved = recording([3, 0, 17])
    path = save(tmp_path / "a", saved)
    page = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    script += (
        "\nout = {f'{i}.{kind}.{name}': value for i in range(count)"
        "\n    for kind, part in zip(('state', 'step', 'constant'), episode(i))"
        "\n    for name, value in part.items()}"
        "\nnp.savez(sys.argv[2], **out)"
        "\nassert not {'jaxarc_trace', 'jax', 'orbax'} & set(sys.modules)\n"
    )
    reader = tmp_path / "reader.py"
    reader.write_text(script)
    out = tmp_path / "out.npz"
    subprocess.run([sys.executable, "-I", reader, path, out], check=True, capture_output=True)
    values = np.load(out)
    episodes = load(path)
    compared = 0
    for index, episode in enumerate(episodes):
        expected = {
            **{f"state.{n}": v for n, v in episode.states.items() if n not in episode.constants},
            **{f"step.action.{n}": v for n, v in episode.actions.items()},
            **{f"step.extra.{n}": v for n, v in episode.extras.items()},
            **{f"constant.{n}": v for n, v in episode.constants.items()},
            "step.reward": episode.rewards,
            "step.digest": episode.digests,
            "step.terminated": episode.terminated,
            "step.truncated": episode.truncated,
        }
        for name, value in expected.items():
            assert same_bytes(values[f"{index}.{name}"], np.asarray(value)), name
            compared += 1
    assert compared == len(values.files)


@given(
    rows=st.integers(0, 50),
    width=st.integers(1, 40),
    data=st.data(),
)
def test_a_leaf_finds_its_rows(rows: int, width: int, data: st.DataObject):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxarc_trace.store_format.CHUNK_BYTES", data.draw(st.integers(1, 400)))
        array = np.arange(rows * width, dtype=np.int64).astype(np.uint8).reshape(rows, width)
        leaf = Leaf.of(array)
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    first, last = leaf.chunk_range(start, stop)
    part = leaf.chunked(array)[first:last].reshape(-1, width)
    skip = first * leaf.rows_per_chunk
    assert np.array_equal(part[start - skip : stop - skip], array[start:stop])


def test_a_store_of_version_1_is_read_for_ever():
    """The stored one; a change of the format that breaks it must raise the version."""
    golden = ROOT / "tests" / "golden" / "store_v1"
    saved = recording([3, 0, 5], seed=11)
    assert_round_trip(golden, saved)
    episodes = load(golden)
    assert verify(golden).ok
    assert episodes.metadata["step"] == 7
    assert episodes.columns["task"].tolist() == ["beta", "beta", "alpha"]
    assert episodes.columns["length"].tolist() == [3, 0, 5]
    assert episodes[2].states["grid"][5, 0].tolist() == [13, 7, 9, 6, 12, 9]
    assert episodes[0].extras["operation"].tolist() == [265945384, -556210864, -2027237690]
