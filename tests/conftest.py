"""Makes the whole suite strict, before JAX or Equinox is imported.

Nothing converts a dtype or broadcasts a rank without being asked, in this package and in the
JaxARC that it records. gymnax environments do not hold to that: a test that runs one does so
under `jax.numpy_dtype_promotion("standard")`.
"""

import os

# Eight CPU devices, for the tests that shard lanes; Equinox raises through a host callback unless
# it is told not to, and "no callback at all" is a claim that the suite checks.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
os.environ["EQX_ON_ERROR"] = "off"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from hypothesis import settings
from loguru import logger

from tests.commands import command  # noqa: F401 - a fixture of every test
from tests.stored_runs import pristine, real_trace, root, run  # noqa: F401 - likewise

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# JaxARC logs each task that it loads.
logger.disable("jaxarc")

# The first example of a test compiles, so no example has a deadline.
settings.register_profile("suite", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("suite")
