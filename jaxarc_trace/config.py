"""Every setting there is, and the ways to them: overrides, Hydra, YAML, JaxARC's own configuration.

    config = jt.config.compose(["level=full", "storage=research", "storage.limit_gb=2"])
    spec, retention, theme = config.spec(), config.retention(), config.theme()

`docs/configuration.md` lists the settings, what each level writes, and how to use them in a Hydra
program of one's own.
"""

from jaxarc_trace.config_compose import compose, from_hydra, from_yaml, register, to_yaml
from jaxarc_trace.config_migrate import Migration, from_jaxarc, migrate
from jaxarc_trace.config_run import begin_run, draw
from jaxarc_trace.config_sections import Capture, Keep, Publish, Render, Storage, TraceConfig

__all__ = [
    "Capture",
    "Keep",
    "Migration",
    "Publish",
    "Render",
    "Storage",
    "TraceConfig",
    "begin_run",
    "compose",
    "draw",
    "from_hydra",
    "from_jaxarc",
    "from_yaml",
    "migrate",
    "register",
    "to_yaml",
]
