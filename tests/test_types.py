"""The shapes and dtypes in signatures, held by beartype to what really arrives."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import ROOT

RUN = (
    "test_merge.py test_black_box.py test_plan.py test_probe.py test_schema.py",
    "test_transforms.py test_sharding.py test_levels.py test_folding.py",
    "test_renewal.py test_wrap.py test_stoix.py test_jaxarc_probe.py",
    "test_codec.py test_digest.py test_memory.py test_shared_leaves.py test_store.py",
    (
        "test_replay.py test_replay_steps.py test_replay_faults.py test_replay_floats.py "
        "test_actions_only.py"
    ),
    (
        "test_counterfactual.py test_facts.py test_comparison.py test_exchange.py "
        "test_arc_agi_3.py test_analysis.py test_failures.py test_cli_stats.py "
        "test_publish_parts.py test_episodes.py test_recording.py"
    ),
    "render",
)
"""Tests that between them call all that has shapes, in each layout, and take least; a program for
each entry."""

DELIBERATE = (
    "tests/test_cli_stats.py::test_of_what_cannot_be_read_no_failure_is_known",
    "tests/test_codec.py::test_between_refuses",
    "tests/test_codec.py::test_an_encoding_that_is_none_is_refused",
    "tests/test_exchange.py::test_a_damaged_episode_stops_the_export_or_is_left_out",
    "tests/test_facts.py::test_a_damaged_episode_is_in_the_table_as_unreadable",
    "tests/test_recording.py::test_parts_that_do_not_belong_together_are_refused",
    "tests/test_replay.py::test_an_episode_without_transitions_and_a_damaged_one_are_named",
    "tests/test_replay.py::test_the_arguments_are_checked",
    "tests/test_schema.py::test_bytes_of_another_schema_are_refused",
    "tests/test_store.py::test_a_schema_without_constants_or_state_is_stored",
    "tests/test_store.py::test_a_value_that_did_not_fit_spoils_neither_the_save_nor_other_episodes",
    "tests/test_wrap.py::test_a_traced_step_refuses_a_state_without_a_trace",
    "tests/test_wrap.py::test_what_is_no_trace_is_not_saved_and_how_to_come_by_one_is_said",
    "tests/render/test_animate.py::test_what_cannot_be_animated_is_said",
    "tests/render/test_generic.py::test_a_renderer_must_be_a_function_with_a_name",
    "tests/render/test_queue.py::test_a_stored_episode_that_is_damaged_costs_itself",
)
"""Tests that hand over what no signature allows, to see it refused, or a schema without flags; and
those with a damaged episode, which beartype may draw when it looks at one of a sequence."""

LONG = (
    "tests/render/test_animate.py::test_a_film_is_frame_after_frame_in_few_colours[large]",
    "tests/render/test_animate.py::test_a_film_is_frame_after_frame_in_few_colours[long]",
)
"""Tests that call often what others call as well."""

PROGRAM = """
import sys
import tests.typed
import dataclasses
import jax, jax.numpy as jnp, numpy as np
from jaxtyping import TypeCheckError
import jaxarc_trace as jt
from tests import toy

env = toy.ScriptedEnv(toy.example_script((11,)))
spec = jt.TraceSpec(max_steps=8, keep={"best": 2, "random": 2})
_, trace = jax.jit(
    lambda key: jt.rollout(
        env, toy.numbered, key, spec=spec, num_lanes=4, num_steps=20, probe=toy.probe()
    )
)(jax.random.key(0))
found = jt.load(jt.save(sys.argv[1], trace))
assert len(found.steps("reward")) == found.columns["kept"].sum()
one = found.best(1)[0]
print("well", len(one))

for part, wrong in (
    ("terminated", np.zeros(len(one) + 1, bool)),
    ("rewards", np.zeros((len(one), 1), np.float32)),
    ("truncated", np.zeros(len(one), np.int32)),
    ("digests", np.zeros(len(one), np.int64)),
):
    try:
        dataclasses.replace(one, **{part: wrong})
    except TypeCheckError:
        print("refused", part)
try:
    jt.Stats.zeros((3,), ()).stepped(jnp.zeros(4), jnp.zeros(3, bool), jnp.zeros(3, bool))
except TypeCheckError:
    print("refused", "reward")
"""


@pytest.mark.slow
def test_what_arrives_has_the_shapes_that_signatures_say(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "store")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    # Libraries of other environments, where they are installed, say things of their own.
    said = [line for line in done.stdout.splitlines() if line.startswith(("well ", "refused "))]
    well, *refused = said
    assert well.startswith("well ")
    parts = ("terminated", "rewards", "truncated", "digests", "reward")
    assert refused == [f"refused {part}" for part in parts]


@pytest.mark.slow
@pytest.mark.parametrize("files", RUN)
def test_shapes_hold_in_whatever_other_tests_do(files: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "tests.typed", "-p", "no:cacheprovider"]
    command += ["-q", "--no-header", "--tb=short", "-W", "ignore"]
    command += [word for name in (*DELIBERATE, *LONG) for word in ("--deselect", name)]
    command += [f"tests/{name}" for name in files.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_no_signature_has_an_array_without_a_shape() -> None:
    bare = [
        f"{file.relative_to(ROOT)}:{array.lineno}"
        for folder in ("jaxarc_trace", "render")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for annotation in _annotations(ast.parse(file.read_text(encoding="utf-8")))
        for array in _bare_arrays(annotation)
    ]
    assert not bare, f"say which axes and dtype, as jaxtyping writes them: {bare}"


def _annotations(module: ast.Module) -> list[ast.expr]:
    """Every annotation: of parameters, results, attributes and variables."""
    found: list[ast.expr | None] = []
    for node in ast.walk(module):
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.returns)
    return [annotation for annotation in found if annotation is not None]


def _bare_arrays(node: ast.expr) -> list[ast.expr]:
    """Arrays outside `Float32[array, "axes"]`; in `Callable[...]` they may stand for any."""
    if isinstance(node, ast.Attribute):
        return [node] if ast.unparse(node) in ("np.ndarray", "jax.Array") else []
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        named = len(inner) == 2 and isinstance(inner[1], ast.Constant)
        if named or ast.unparse(node.value) == "Callable":
            return []
        return [array for part in inner for array in _bare_arrays(part)]
    parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    return [array for part in parts for array in _bare_arrays(part)]
