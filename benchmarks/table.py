"""One table of all results, and the charts, from the JSON that the benchmarks wrote.

    python benchmarks/table.py

reads `benchmarks/results/*.json`, writes the table between the markers in `benchmarks/README.md`
and the charts into `docs/pictures`. Nothing is measured here, and the same files give the same
bytes. A file that no rule here knows is listed with its machine and date alone.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from timing import Ratio, base, base_name, ratio

from jaxarc_trace.render import figures
from jaxarc_trace.render.figures import Interval, Panel, Row, Series

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
UNKNOWN = "not recorded"
Line = tuple[str, str, str]
"""What was measured, against what, and the figure."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--readme", type=Path, default=ROOT / "benchmarks" / "README.md")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "pictures")
    args = parser.parse_args()
    files = {
        path.stem: json.loads(path.read_text()) for path in sorted(args.results.glob("*.json"))
    }
    text = args.readme.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{args.readme}: expected the lines {BEGIN} and {END}; add them")
    args.readme.write_text(f"{head}{BEGIN}\n{table(files)}\n{END}{tail}")
    args.pictures.mkdir(parents=True, exist_ok=True)
    for name, picture in charts(files):
        print(picture.save_svg(args.pictures / f"{name}.svg"))


def table(files: Mapping[str, Any]) -> str:
    """All results as Markdown: a row each, then where and when each file was measured."""
    rows = ["| benchmark | what | against | figure |", "|---|---|---|---|"]
    places = ["| file | date | machine | versions |", "|---|---|---|---|"]
    for name, data in files.items():
        rows += [f"| {name} | {' | '.join(map(cell, line))} |" for line in lines(data)]
        places.append(f"| {name}.json | {' | '.join(map(cell, place(data)))} |")
    return "\n".join([*rows, "", *places])


def cell(words: str) -> str:
    """Text that stays in its cell."""
    return words.replace("|", "/").replace("\n", " ").replace("<", "&lt;")


def place(data: Any) -> Line:
    """When, on which machine and with which versions."""
    machine = data.get("machine", {}) if isinstance(data, Mapping) else {}
    if not machine:
        return UNKNOWN, UNKNOWN, UNKNOWN
    device = "" if machine.get("device", "cpu") == "cpu" else f"{machine['device']}, "
    where = f"{device}{machine.get('cpu', '')}, {machine.get('cores', '?')} cores"
    known = ("python", "jax", "jaxlib", "numpy")
    versions = ", ".join(f"{name} {machine[name]}" for name in known if name in machine)
    return machine.get("date", UNKNOWN), where, versions


def lines(data: Any) -> Iterator[Line]:
    """The figures of one file."""
    if "figures" in data:
        yield from _of_figures(data["figures"])
    elif "results" in data and "env" in data:
        yield from _of_overhead(data)
    elif "rounds" in data and isinstance(data["rounds"], Mapping):
        yield from _of_storage(data)
    elif "growth" in data:
        yield from _of_growth(data["growth"])
    else:
        yield "in the file", "", ""


def _of_overhead(data: Mapping[str, Any]) -> Iterator[Line]:
    name = base_name(data["results"])
    against = f"{name}; {data['lanes']:,} lanes x {data['steps']:,} steps"
    for name, cpu, _ in overheads(data):
        yield name, against, f"{cpu.median:.3f} ({cpu.low:.3f} to {cpu.high:.3f}) CPU time"


def overheads(data: Mapping[str, Any]) -> list[tuple[str, Ratio, Ratio]]:
    """Each program of an overhead benchmark against the first: ratios of CPU and of wall time."""
    first = base(data["results"])
    return [
        (name, ratio(row["cpu"], first["cpu"]), ratio(row["wall"], first["wall"]))
        for name, row in list(data["results"].items())[1:]
    ]


def _of_storage(data: Mapping[str, Any]) -> Iterator[Line]:
    titles = {"save": "save, s", "one": "open and read one episode, ms", "all": "load all, s"}
    for way, rounds in data["rounds"].items():
        for key, title in titles.items():
            value = statistics.median(entry[key] for entry in rounds)
            yield f"{way}: {title}", "", f"{value * (1000 if key == 'one' else 1):.2f}"
        yield f"{way}: on disk, MB", "", f"{rounds[0]['bytes'] / 1e6:.1f}"


def _of_figures(figures: list[Mapping[str, Any]]) -> Iterator[Line]:
    for entry in figures:
        yield entry["what"], entry["against"], f"{entry['value']:.3g} {entry['unit']}"


def _of_growth(data: Mapping[str, Any]) -> Iterator[Line]:
    for name, part in data.items():
        unit = "bytes" if name == "memory" else "seconds"
        for curve, fit in part["exponents"].items():
            what = f"{unit} of {curve} against {'episodes' if name == 'memory' else name}"
            yield what, f"from {fit['from']:,g}", f"exponent {fit['exponent']:.2f}"


def charts(files: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Pictures by name."""
    for name, data in files.items():
        if name.startswith(("overhead_", "turns_")) and "results" in data:
            yield name, _overhead_chart(data)
        elif isinstance(data, Mapping) and "growth" in data:
            yield name, _growth_chart(data)


def _overhead_chart(data: Mapping[str, Any]) -> Any:
    def interval(found: Ratio) -> Interval:
        return Interval(found.median, found.low, found.high)

    # Forty times as slow: on one scale with it nothing else could be told apart.
    rows = [
        Row(name, (interval(cpu), interval(wall)))
        for name, cpu, wall in overheads(data)
        if cpu.median < 5
    ]
    title = f"{data['env']}: {data['lanes']:,} lanes x {data['steps']:,} steps"
    return figures.ratios(
        title,
        f"Time of each program / {base_name(data['results'])}. {' · '.join(place(data))}",
        rows,
        ("CPU time", "wall time"),
        budget=1.05,
    )


def _growth_chart(data: Mapping[str, Any]) -> Any:
    titles = {
        "lanes": ("CPU seconds of 64 steps of CartPole", "lanes"),
        "steps": ("CPU seconds of 64 lanes of CartPole", "steps"),
        "slots": ("CPU seconds, 256 lanes x 128 steps", "slots of the shelf"),
        "record": ("CPU seconds, 256 lanes x 128 steps", "bytes of a state"),
        "episodes": ("Seconds", "episodes stored"),
        "memory": ("Largest memory of a command, bytes", "episodes stored"),
    }
    panels = [
        Panel(*titles[name], tuple(_series(part, skip=("added",))))
        for name, part in data["growth"].items()
        if name in titles
    ]
    return figures.growth("How costs grow", " · ".join(place(data)), panels)


def _series(part: Mapping[str, Any], skip: tuple[str, ...] = ()) -> Iterator[Series]:
    for name, points in part["curves"].items():
        if name not in skip and points:
            fit = part["exponents"].get(name)
            words = f"{name}, exponent {fit['exponent']:.2f}" if fit else name
            yield Series(words, tuple((x, y) for x, y in points))


if __name__ == "__main__":
    main()
