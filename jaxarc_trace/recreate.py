"""The environment of a recording, from what the recording says of it, for the command line."""

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jaxarc_trace.episodes import Episodes
from jaxarc_trace.errors import SpecError

__all__ = ["environment_of", "with_states"]

_ACTIONS = {
    frozenset({"operation", "row", "col"}): "point",
    frozenset({"operation", "r1", "c1", "r2", "c2"}): "bbox",
    frozenset({"operation", "selection"}): "mask",
    frozenset({"action"}): "flat",
}


def environment_of(described: Mapping[str, Any], actions: Sequence[str], given: str | None) -> Any:
    """The environment that recorded episodes can be stepped in.

    Args:
        described: what the recording says of its environment.
        actions: names of the leaves of its actions.
        given: `module:name` of an environment, or of a function without arguments that makes one;
            None for JaxARC on ARC tasks, which the description is enough for.

    Raises:
        SpecError: when it cannot be made; the message says what to give.
    """
    if given is not None:
        return _imported(given)
    if described.get("name") != "jaxarc" or not described.get("task_ids"):
        raise SpecError(
            f"expected a recording of JaxARC on named tasks, found {described.get('name')!r}; name "
            "the environment with --env module:name (it, or a function that makes it)"
        )
    return _jaxarc(described, frozenset(actions))


def with_states(episodes: Episodes) -> Episodes:
    """Episodes of which only actions were recorded, so that their states are rebuilt when read.

    Where the environment cannot be made from what the recording says, they stay as they are.
    """
    fields = episodes.sources[0].schema.step.fields
    actions = [f.name.removeprefix("action.") for f in fields if f.name.startswith("action.")]
    try:
        env = environment_of(episodes.environment, actions, None)
    except SpecError:
        return episodes
    from jaxarc_trace.replay import with_frames

    return episodes.shown_as(functools.partial(with_frames, env=env))


def _imported(given: str) -> Any:
    module, colon, name = given.partition(":")
    if not colon or not module or not name:
        raise SpecError(f"--env: expected module:name, found {given!r}; write it as my.envs:make")
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - an entry of sys.path is a text
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"--env {given}: cannot be imported ({error}); check both names") from error
    if hasattr(found, "step"):
        return found
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"--env {given}: expected an environment, or a function without arguments that makes "
            f"one, found {type(found).__name__} ({error}); a step function is replayed in Python, "
            "by jt.replay(episode, step, state=...)"
        ) from error
    return found()


def _jaxarc(described: Mapping[str, Any], actions: frozenset[str]) -> Any:
    """JaxARC on the recorded tasks, configured as far as it can be told from the description."""
    # JaxARC raises through host callbacks unless it is told not to, before it is imported.
    os.environ.setdefault("EQX_ON_ERROR", "off")
    from jaxarc_trace import jaxarc
    from jaxarc_trace.demo.tasks import environment, known_tasks, quiet_jaxarc

    kind = _ACTIONS.get(actions)
    tasks = tuple(described["task_ids"])
    dataset = next((d for d in ("arc1", "arc2") if set(tasks) <= set(known_tasks(d))), None)
    if kind is None or dataset is None:
        what = "actions " + ", ".join(sorted(actions)) if kind is None else "tasks of no dataset"
        raise SpecError(
            f"expected ARC tasks and point, bbox, mask or flat actions, found {what}; name the "
            "environment with --env module:name"
        )
    quiet_jaxarc()
    config = dict(described.get("config") or {})
    mixed = config.get("grid_initialization.random_weight", 0.0) > 0
    options = {
        "action": kind,
        "max_steps": int(described.get("max_episode_steps") or 128),
        "dataset": dataset,
        "mode": "test" if config.get("episode_mode") else "train",
        "start": "mixed" if mixed else "demo",
    }
    made = environment(tasks, reward="training", **options)
    rewards = {name: value for name, value in config.items() if name.startswith("reward.")}
    if rewards and not rewards.items() <= dict(jaxarc.probe(made).config).items():
        made = environment(tasks, reward="evaluation", **options)
    return made
