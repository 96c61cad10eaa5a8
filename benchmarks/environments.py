"""What is recorded of the environments of other libraries, and how true it is when stepped again.

    python benchmarks/environments.py --json benchmarks/results/environments.json --pictures out
    python benchmarks/environments.py --table benchmarks/results/environments.json

Each environment of `tests/worlds.py` that is installed is played at random inside one jitted scan
over a vmapped environment, saved, loaded, verified, stepped again and drawn, once through
`jt.environment` and once through Stoa's own adapter where Stoa has one. Those that are not
installed, and adapters that fail, are named with their error. `--only` takes names of libraries;
an earlier file's other rows are kept, so that libraries that cannot live beside each other can be
measured one after the other.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("EQX_ON_ERROR", "off")
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax

import jaxarc_trace as jt
from benchmarks.timing import machine
from jaxarc_trace.render import generic
from tests.worlds import WORLDS, World, played

LANES, STEPS = 4, 40
SPEC = jt.TraceSpec(max_steps=STEPS, keep={"first": 4, "random": 4})


def measured(world: World, pictures: Path | None) -> dict[str, Any]:
    """One row of the table."""
    row: dict[str, Any] = {"library": world.library, "environment": world.name}
    if not world.installed:
        return {**row, "error": "not installed"}
    begun = time.perf_counter()
    parts = world.make()
    env = jt.environment(*parts)
    trace = played(env, LANES, STEPS, SPEC)
    with tempfile.TemporaryDirectory() as folder:
        path = jt.save(Path(folder) / "trace", trace)
        verified = jt.verify(path).ok
        episodes = list(jt.load(path))
    reports = jt.replay(episodes, env)
    words = {report.verdict for report in reports}
    longest = max(episodes, key=len)
    if pictures is not None:
        stem = f"{world.module}_{world.name}".replace(" ", "_").replace(",", "")
        jt.render.step(longest, len(longest) - 1).save_png(pictures / f"{stem}.png")
    schema = trace.plan.schema
    return {
        **row,
        "version": longest.environment["version"],
        "jax": jax.__version__,
        "fields": len(schema.state.fields),
        "constants": len(schema.constant.fields),
        "bytes_a_step": schema.record_bytes,
        "bytes_an_episode": schema.constant.nbytes,
        "largest": [field.name for field in schema.state.fields[:3]],
        "episodes": len(episodes),
        "verified": verified,
        "replay": "exact" if words == {"exact"} else ", ".join(sorted(words)),
        "tolerance": max(report.tolerance for report in reports),
        "drift": max((v for r in reports for v in (r.drift or {}).values()), default=0.0),
        "picture": kind(longest),
        "stoa": through_stoa(world, parts),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def kind(episode: jt.Episode) -> str:
    """What the picture of a state shows."""
    if "operations" in episode.environment:
        return "ARC grids"
    svg = jt.render.step(episode, 0).as_svg()
    first = next(iter(generic.fields(episode)), "")
    if "<image" in svg:
        return f"image of `{first}`"
    return f"grid of `{first}`" if "crispEdges" in svg else "bars"


def through_stoa(world: World, parts: tuple[Any, ...]) -> str:
    """Whether the same works through Stoa's own adapter; the error where it does not."""
    if world.stoa is None:
        return "is one of Stoa's" if world.library == "JaxARC" else "none"
    try:
        env = world.stoa(*parts)
        space = env.action_space()

        def policy(key: jax.Array, state: Any, timestep: Any) -> Any:
            del state, timestep
            return jax.vmap(space.sample)(jax.random.split(key, LANES))

        trace = played(env, LANES, STEPS, SPEC, policy)
        reports = jt.replay(list(jt.Episodes.of(jt.take(trace))), env)
        return "ok" if all(report.ok for report in reports) else str(reports[0])
    except (TypeError, ValueError, ImportError, AttributeError) as error:
        words = str(error).partition(" (/")[0]  # without the place on this machine
        return f"{type(error).__name__}: {words.splitlines()[0][:90]}"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, for `docs/environments.md`."""
    heads = "library, environment, version, fields of a state, bytes a step, stepped again, picture"
    names = [*heads.split(", "), "Stoa's adapter"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        if "error" in row:
            cells = [row["library"], row["environment"], row["error"], "", "", "", "", ""]
        else:
            fields = f"{row['fields']}" + f" + {row['constants']}" * bool(row["constants"])
            # With a tolerance it was each step from its own state, because the chain drifted.
            tried = f"each step {row['replay']}, of {row['tolerance']:g} allowed"
            true = tried if row["tolerance"] else row["replay"]
            cells = [row["library"], row["environment"], f"{row['version']}, jax {row['jax']}"]
            cells += [fields, f"{row['bytes_a_step']:,}", true, row["picture"]]
            cells += [row["stoa"].replace("|", "/")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    args = parser.parse_args()
    if args.table:
        print(table(json.loads(args.table.read_text())["rows"]))
        return
    warnings.simplefilter("ignore")  # of libraries that are not ours
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    old: list[dict[str, Any]] = []
    if args.json and args.json.exists():
        old = json.loads(args.json.read_text())["rows"]
    known = {(row["library"], row["environment"]): row for row in old}
    for world in WORLDS:
        key = world.library, world.name
        if not args.only or world.library in args.only:
            known[key] = measured(world, args.pictures)
            print(json.dumps(known[key]), flush=True)
        if args.json:
            rows = [known[w.library, w.name] for w in WORLDS if (w.library, w.name) in known]
            found = {"machine": machine(), "lanes": LANES, "steps": STEPS, "rows": rows}
            args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
