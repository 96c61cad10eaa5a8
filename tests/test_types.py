"""The shapes and dtypes in signatures, held by beartype to what really arrives."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import ROOT

CHECKED = "stats probe rollout stoix episode recording episodes digest".split()
"""Modules whose annotations say shapes."""

PROGRAM = f"""
import sys
from jaxtyping import TypeCheckError, install_import_hook

names = [f"jaxarc_trace.{{name}}" for name in {CHECKED!r}]
with install_import_hook(names, "beartype.beartype"):
    import jaxarc_trace as jt
    from jaxarc_trace import stats, probe, rollout, stoix, episode, recording, episodes, digest

import dataclasses
import jax, jax.numpy as jnp, numpy as np
from tests import toy

assert set(names) <= sys.modules.keys()
env = toy.ScriptedEnv(toy.example_script((11,)))
spec = jt.TraceSpec(max_steps=8, keep={{"best": 2, "random": 2}})
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
        dataclasses.replace(one, **{{part: wrong}})
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
    well, *refused = done.stdout.splitlines()
    assert well.startswith("well ")
    parts = ("terminated", "rewards", "truncated", "digests", "reward")
    assert refused == [f"refused {part}" for part in parts]


def test_every_checked_module_has_shapes_in_its_signatures() -> None:
    for name in CHECKED:
        text = (ROOT / "jaxarc_trace" / f"{name}.py").read_text(encoding="utf-8")
        assert "from jaxtyping import" in text, name
