"""The flight recorder for JAX environments.

Episodes are captured inside jit, vmap and scan as fixed-size ring buffers, saved with Orbax, and
read, drawn and replayed afterwards. Capture gives a pytree; everything else reads it.

Names are imported when they are first used: capture brings in jax, equinox and NumPy, and only what
reads, writes or draws brings in more.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxarc_trace import config, render, triggers
    from jaxarc_trace.adapters import environment
    from jaxarc_trace.added_fields import keep_fields, with_fields
    from jaxarc_trace.codec import Encoding
    from jaxarc_trace.counterfactual import Counterfactuals, Minimal, counterfactuals, minimize
    from jaxarc_trace.environment import Environment, TimeStep
    from jaxarc_trace.episode import Episode
    from jaxarc_trace.episodes import Episodes
    from jaxarc_trace.errors import (
        ConfigError,
        CorruptEpisodeError,
        FormatVersionError,
        MissingExtraError,
        NotATraceError,
        RenderError,
        SchemaError,
        SpecError,
        StoreError,
        TraceError,
    )
    from jaxarc_trace.merge import merge
    from jaxarc_trace.overhead import Overhead, measure_overhead
    from jaxarc_trace.probe import GenericProbe, Outcome, Probe
    from jaxarc_trace.publish import Published, publish
    from jaxarc_trace.recording import Recording
    from jaxarc_trace.replay import replay
    from jaxarc_trace.replay_report import Replay
    from jaxarc_trace.rollout import RolloutState, rollout
    from jaxarc_trace.run import Run
    from jaxarc_trace.shard import partition_specs
    from jaxarc_trace.slots import LaneTrace
    from jaxarc_trace.spec import Policy, TraceSpec
    from jaxarc_trace.stats import Stats
    from jaxarc_trace.stoa import TraceWrapper
    from jaxarc_trace.stoix import Evaluation, stoix_envs, stoix_evaluator
    from jaxarc_trace.store import load, save, verify
    from jaxarc_trace.take import take
    from jaxarc_trace.trace import Trace
    from jaxarc_trace.triggers import Trigger
    from jaxarc_trace.wrap import TracedState, TracedStep, attach, detach, wrap_step

__version__ = "0.1.0"

_LAZY = {
    "ConfigError": "errors",
    "CorruptEpisodeError": "errors",
    "Counterfactuals": "counterfactual",
    "Encoding": "codec",
    "Environment": "environment",
    "Episode": "episode",
    "Episodes": "episodes",
    "Evaluation": "stoix",
    "FormatVersionError": "errors",
    "GenericProbe": "probe",
    "LaneTrace": "slots",
    "Minimal": "counterfactual",
    "MissingExtraError": "errors",
    "NotATraceError": "errors",
    "Outcome": "probe",
    "Overhead": "overhead",
    "Policy": "spec",
    "Probe": "probe",
    "Published": "publish",
    "Recording": "recording",
    "RenderError": "errors",
    "Replay": "replay_report",
    "RolloutState": "rollout",
    "Run": "run",
    "SchemaError": "errors",
    "SpecError": "errors",
    "Stats": "stats",
    "StoreError": "errors",
    "TimeStep": "environment",
    "Trace": "trace",
    "TraceError": "errors",
    "TraceSpec": "spec",
    "TraceWrapper": "stoa",
    "TracedState": "wrap",
    "TracedStep": "wrap",
    "Trigger": "triggers",
    "attach": "wrap",
    "counterfactuals": "counterfactual",
    "detach": "wrap",
    "environment": "adapters",
    "keep_fields": "added_fields",
    "load": "store",
    "measure_overhead": "overhead",
    "merge": "merge",
    "minimize": "counterfactual",
    "partition_specs": "shard",
    "publish": "publish",
    "replay": "replay",
    "rollout": "rollout",
    "save": "store",
    "stoix_envs": "stoix",
    "stoix_evaluator": "stoix",
    "take": "take",
    "verify": "store",
    "with_fields": "added_fields",
    "wrap_step": "wrap",
}

__all__ = [
    "ConfigError",
    "CorruptEpisodeError",
    "Counterfactuals",
    "Encoding",
    "Environment",
    "Episode",
    "Episodes",
    "Evaluation",
    "FormatVersionError",
    "GenericProbe",
    "LaneTrace",
    "Minimal",
    "MissingExtraError",
    "NotATraceError",
    "Outcome",
    "Overhead",
    "Policy",
    "Probe",
    "Published",
    "Recording",
    "RenderError",
    "Replay",
    "RolloutState",
    "Run",
    "SchemaError",
    "SpecError",
    "Stats",
    "StoreError",
    "TimeStep",
    "Trace",
    "TraceError",
    "TraceSpec",
    "TraceWrapper",
    "TracedState",
    "TracedStep",
    "Trigger",
    "attach",
    "config",
    "counterfactuals",
    "detach",
    "environment",
    "keep_fields",
    "load",
    "measure_overhead",
    "merge",
    "minimize",
    "partition_specs",
    "publish",
    "render",
    "replay",
    "rollout",
    "save",
    "stoix_envs",
    "stoix_evaluator",
    "take",
    "triggers",
    "verify",
    "with_fields",
    "wrap_step",
]


def __getattr__(name: str) -> Any:
    if name in ("config", "render", "triggers"):
        return importlib.import_module(f"jaxarc_trace.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _LAZY[name] in ("stoa", "stoix"):
        from jaxarc_trace.errors import require

        require("stoa", "stoa", name)
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps the functions that share a name with their module in view.

    Importing `take.py` would set the package's attribute `take` to that module; here the name
    means the function, so such an assignment is passed over.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _LAZY and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
