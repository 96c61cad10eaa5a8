"""A damaged store: an error that names file and episode, or unaffected data; never wrong data."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import CorruptEpisodeError, NotATraceError, StoreError
from jaxarc_trace.recording import Recording
from jaxarc_trace.store import load, save, verify
from tests.recordings import recording, spoil

LENGTHS = [5, 40, 0, 17, 30, 1, 25, 60, 8, 33, 12, 50]
STEP_COLUMNS = ("reward", "digest", "operation", "terminated", "truncated")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recording]:
    """A store of many small chunks, so that damage to one does not reach all episodes."""
    saved = recording(LENGTHS, side=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxarc_trace.store_format.CHUNK_BYTES", 4096)
        path = save(tmp_path_factory.mktemp("pristine") / "a", saved)
    return path, saved


@pytest.fixture
def store(pristine: tuple[Path, Recording], tmp_path: Path) -> Path:
    return shutil.copytree(pristine[0], tmp_path / "a")


def files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def data_files(path: Path) -> list[Path]:
    return sorted((path / "ocdbt.process_0" / "d").iterdir(), key=lambda f: f.stat().st_size)


def attempt(read: Callable[[], Any]) -> tuple[Any, StoreError | None]:
    """What reading gives, or the error that it raises."""
    try:
        return read(), None
    except StoreError as error:
        return None, error


def intact(path: Path, saved: Recording) -> list[bool]:
    """Whether each episode is read as it was written; else its error must name it."""
    episodes, direct = load(path), Episodes.of(saved)
    assert len(episodes) == len(saved)
    for name, column in saved.columns.items():
        assert np.array_equal(episodes.sources[0].columns[name], column)
    good: list[bool] = []
    for index in range(len(saved)):
        packed, error = attempt(lambda index=index: episodes.sources[0].packed(index))
        if error is None:
            assert all(map(np.array_equal, packed, saved.read(index)))
        else:
            assert isinstance(error, CorruptEpisodeError)
            assert f"{path}: episode {index} (lane {index % 4}, number {index // 4})" in str(error)
            assert "other episodes are unaffected" in str(error)
        good.append(error is None)
    # Going through all of them finds the same, and goes on after each damaged one.
    streamed = [parts for _, _, parts in episodes.stream()]
    assert [not isinstance(parts, CorruptEpisodeError) for parts in streamed] == good
    for index in np.flatnonzero(good):
        assert all(map(np.array_equal, streamed[index], saved.read(index)))
    for name in STEP_COLUMNS:
        values, error = attempt(lambda name=name: episodes.steps(name))
        if error is None:
            assert values.tobytes() == direct.steps(name).tobytes()
        else:
            assert f"{path}: the part 'steps.{name}' is damaged" in str(error)
    return good


def check(path: Path, saved: Recording) -> str:
    """What became of a store after damage; fails where anything wrong passed for right."""
    good, error = attempt(lambda: intact(path, saved))
    if error is not None:
        assert str(path) in str(error)
        if not (path / "COMMIT").exists():
            assert isinstance(error, NotATraceError)
            return "no store"
        assert not verify(path).ok
        return "index"
    found = verify(path)
    assert found.episodes == len(saved)
    assert found.damaged == tuple(np.flatnonzero(~np.array(good)))
    if not found.damaged and found.ok:
        return "unaffected"
    return "episodes" if found.damaged else "elsewhere"


def mutate(path: Path, rng: random.Random) -> str:
    """Damages one file somewhere; says how."""
    chosen = files(path)
    file = rng.choices(chosen, [max(f.stat().st_size, 1) for f in chosen])[0]
    if rng.random() < 0.3:
        file = rng.choice(chosen)
    how = rng.choice(["flip", "flip", "flip", "truncate", "zero", "remove", "swap", "append"])
    raw = bytearray(file.read_bytes())
    at = rng.randrange(len(raw))
    if how == "flip":
        raw[at] ^= 1 << rng.randrange(8)
    elif how == "truncate":
        del raw[at:]
    elif how == "zero":
        raw[at : at + 512] = bytes(len(raw[at : at + 512]))
    elif how == "swap":
        raw = bytearray(rng.choice(chosen).read_bytes())
    elif how == "append":
        raw += b"more"
    if how == "remove":
        file.unlink()
    else:
        file.write_bytes(raw)
    return f"{how} {file.relative_to(path)} at {at}"


def mutations(pristine: tuple[Path, Recording], folder: Path, seeds: range) -> dict[str, int]:
    origin, saved = pristine
    counts: dict[str, int] = {}
    for seed in seeds:
        path = shutil.copytree(origin, folder / str(seed))
        what = mutate(path, random.Random(seed))
        try:
            outcome = check(path, saved)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {what}") from error
        counts[outcome] = counts.get(outcome, 0) + 1
        shutil.rmtree(path)
    return counts


def test_30_random_mutations_are_noticed_or_harmless(
    pristine: tuple[Path, Recording], tmp_path: Path
):
    mutations(pristine, tmp_path, range(30))


@pytest.mark.slow
def test_300_random_mutations_are_noticed_or_harmless(
    pristine: tuple[Path, Recording], tmp_path: Path
):
    counts = mutations(pristine, tmp_path, range(1000, 1300))
    # The mutations reach every part of a store.
    assert {"episodes", "index", "elsewhere", "no store"} <= set(counts)
    assert sum(counts.values()) == 300


def test_a_flipped_bit_costs_the_episodes_in_its_chunk_only(
    store: Path, pristine: tuple[Path, Recording]
):
    file = data_files(store)[-1]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    good = intact(store, pristine[1])
    assert 1 <= good.count(False) <= 4
    found = verify(store)
    assert found.files == (str(file.relative_to(store)),)
    assert len(found.problems) == len(found.files) + len(found.damaged)
    with pytest.raises(CorruptEpisodeError, match=file.name):
        load(store)[good.index(False)]


def test_an_error_can_be_skipped_while_the_rest_is_read(store: Path):
    file = data_files(store)[-1]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    damaged = verify(store).damaged
    episodes = load(store)
    rest = episodes.take([i for i in range(len(episodes)) if i not in damaged])
    assert sum(len(episode) for episode in rest) == rest.columns["kept"].sum()


@pytest.mark.parametrize("name", ["trace.json", "COMMIT"])
@pytest.mark.parametrize("how", ["flip", "truncate", "empty"])
def test_a_damaged_index_is_named(store: Path, name: str, how: str):
    file = store / name
    raw = bytearray(file.read_bytes())
    if how == "flip":
        raw[raw.index(b"trace.json" if name == "COMMIT" else b"version") - 5] ^= 4
    raw = raw[: {"flip": len(raw), "truncate": len(raw) // 3, "empty": 0}[how]]
    file.write_bytes(raw)
    with pytest.raises(StoreError, match=f"{name}.*restore"):
        load(store)
    assert verify(store).problems != ()


def test_a_missing_header_is_named(store: Path):
    (store / "trace.json").unlink()
    with pytest.raises(StoreError, match=r"trace\.json: was committed and cannot be read"):
        load(store)


def test_an_episode_lost_to_one_missing_file_is_named_with_it(store: Path):
    file = data_files(store)[-1]
    file.unlink()
    with pytest.raises(CorruptEpisodeError, match=rf"episode 1 .*cannot be read.*{file.name}"):
        load(store)[1]


def test_reading_twice_does_not_forget_the_damage(store: Path):
    file = data_files(store)[-1]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for _ in range(2):
        outcomes = intact(store, recording(LENGTHS, side=16))
        assert False in outcomes


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recording]:
    """A store of many short episodes, what is known of which takes several chunks."""
    saved = recording([1, 2, 0, 1] * 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxarc_trace.store_format.CHUNK_BYTES", 4096)
        path = save(tmp_path_factory.mktemp("long") / "a", saved)
    return path, saved


def test_of_a_long_store_only_what_is_asked_for_is_read(long: tuple[Path, Recording]):
    path, saved = long
    episodes = load(path)
    (source,) = episodes.sources
    assert source.header.leaves["columns"].chunks > 3
    assert [len(episodes[index]) for index in (0, 101, 239)] == [1, 2, 1]
    assert "_columns" not in vars(source)
    for row in (0, 5, 100, 239):
        found = source.values(row)
        assert all(found[name] == column[row] for name, column in saved.columns.items())
    assert "_columns" not in vars(source)
    assert np.array_equal(episodes.columns["lane"], saved.columns["lane"])
    assert source.values(7)["lane"] == saved.columns["lane"][7]


def test_a_changed_part_of_what_is_known_never_passes_for_right(
    long: tuple[Path, Recording], tmp_path: Path
):
    origin, saved = long
    path = shutil.copytree(origin, tmp_path / "a")
    leaf = load(path).sources[0].header.leaves["columns"]
    spoil(path, "columns", (1, 3, 5))
    (source,) = load(path).sources
    inside = range(leaf.rows_per_chunk, 2 * leaf.rows_per_chunk)
    for row in range(len(saved)):
        values, error = attempt(lambda row=row: source.values(row))
        if row in inside:
            assert f"{path}: the part 'columns' is damaged (its checksum differs" in str(error)
        else:
            assert all(values[name] == column[row] for name, column in saved.columns.items())
    with pytest.raises(StoreError, match="the part 'columns' is damaged"):
        _ = source.columns
    with pytest.raises(StoreError, match="the part 'columns' is damaged"):
        load([path, origin])
    assert not verify(path).ok
