"""Flashbax' Vault and Minari's HDF5 for `storage.py`, where they are installed.

    pip install flashbax 'minari[hdf5]'

Both hold the same packed records. Vault keeps one long sequence and reads the newest so many steps
of it, so that one episode costs all that came after it. Minari writes an episode at a time.
"""

import importlib
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxarc_trace.recording import Recording

__all__ = ["opened", "peers"]

Work = Callable[[Recording, Path, int], dict[str, Any]]


def peers() -> dict[str, Work]:
    """The rows that can be run here, by name."""
    rows: dict[str, tuple[str, Work]] = {
        "flashbax Vault": ("flashbax", vault),
        "Minari (HDF5)": ("minari", minari_file),
    }
    installed = {name: importlib.util.find_spec(needs) for name, (needs, _) in rows.items()}
    return {name: work for name, (_, work) in rows.items() if installed[name]}


def opened(one: Callable[[int], Any], index: int) -> dict[str, float]:
    """Seconds to open and read an episode, `one`, and then four others, `again` (their median)."""
    times = []
    for number in range(index, index + 5):
        started = time.perf_counter()
        one(number)
        times.append(time.perf_counter() - started)
    return {"one": times[0], "again": float(np.median(times[1:]))}


def vault(recording: Recording, path: Path, index: int) -> dict[str, Any]:
    """One round of flashbax' Vault."""
    buffers = importlib.import_module("flashbax.buffers.trajectory_buffer")
    Vault = importlib.import_module("flashbax.vault").Vault

    steps = len(recording.records)
    experience = {"record": jnp.asarray(recording.records)[None]}
    full = buffers.TrajectoryBufferState(
        experience=experience,
        is_full=jnp.asarray(False),
        current_index=jnp.asarray(steps - 1, jnp.int32),
    )
    # Vault writes what is new since the call before, and leaves out the newest step.
    started = time.perf_counter()
    written = Vault("vault", experience_structure=experience, rel_dir=str(path), vault_uid="a")
    written.write(full)
    saved = time.perf_counter() - started

    def one(index: int) -> Any:
        newest = steps - 1 - int(recording.offsets[index])
        return Vault("vault", rel_dir=str(path), vault_uid="a").read(timesteps=newest)

    found = opened(one, index)
    started = time.perf_counter()
    Vault("vault", rel_dir=str(path), vault_uid="a").read()
    return {"save": saved, **found, "all": time.perf_counter() - started}


def minari_file(recording: Recording, path: Path, index: int) -> dict[str, Any]:
    """One round of Minari."""
    os.environ["MINARI_DATASETS_PATH"] = str(path)
    import gymnasium

    minari = importlib.import_module("minari")
    EpisodeBuffer = importlib.import_module("minari.data_collector").EpisodeBuffer

    cut = recording.schema.state.nbytes
    buffers = []
    for number in range(len(recording)):
        records, _, final = recording.read(number)
        rest = np.zeros(recording.schema.record_bytes - cut, np.uint8)
        frames = np.concatenate([records, np.concatenate([final, rest])[None]])
        zeros = np.zeros(len(records))
        flags = zeros.astype(bool).tolist()
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=list(frames),
                actions=zeros.astype(np.int64).tolist(),
                rewards=zeros.tolist(),
                terminations=flags,
                truncations=[*flags[:-1], True][: len(flags)],
                infos={},
            )
        )
    started = time.perf_counter()
    minari.create_dataset_from_buffers(
        "bench/storage-v0",
        buffers,
        action_space=gymnasium.spaces.Discrete(2),
        observation_space=gymnasium.spaces.Box(0, 255, (recording.schema.record_bytes,), np.uint8),
        algorithm_name="none",
        author="none",
        author_email="none@example.org",
        code_permalink="https://example.org",
    )
    saved = time.perf_counter() - started
    found = opened(lambda number: minari.load_dataset("bench/storage-v0")[number], index)
    started = time.perf_counter()
    list(minari.load_dataset("bench/storage-v0").iterate_episodes())
    return {"save": saved, **found, "all": time.perf_counter() - started}
