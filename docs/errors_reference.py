# ruff: noqa: E501, INP001 - a script beside the pages; Markdown has longer lines
"""The page of every error and warning: their texts as they stand in the source, by what was done.

A message says what was expected, what was found and what to do. What to do is what follows its
last semicolon, or a sentence of its own; where it only says what was expected, that is to be given.
`FIXES` has the rest. `docs/reference.py` writes the page.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxarc_trace import errors

ROOT = Path(__file__).resolve().parents[1]
CLASSES = frozenset(name for name in errors.__all__ if name.endswith("Error"))
WARNING = "Warning"
PROBLEM = "Problem"
TOPICS = {
    "Recording": """spec schema codec folding digest probe probes plan stats shelf memory blackbox trace lanebox
        slots verbs merge shard jaxarc environment adapters wrap rollout stoa stoix triggers take recording overhead
        timing fresh""",
    "Saving and loading": """store store_write store_read store_pack store_format store_commit store_verify together
        episode episodes source query errors""",
    "Runs, cleaning, export and import": """run saves locks manifest names pins retention limits cleaning catalog
        background secrecy exchange exchange_jsonl exchange_parts exchange_tables compressed arc_agi_3""",
    "Settings": """config config_compose config_fields config_groups config_jaxarc config_migrate config_run
        config_sections""",
    "Replay and analysis": """replay replay_parts replay_report simulate divergence counterfactual added_fields
        recreate analysis clicks comparison facts failures moments statistics stepper""",
    "Pictures and the report": "render",
    "Publishing": "publish",
    "Command line, demo and benchmarks": "cli commands demo doctor bench bench_gymnax episode_json",
}
"""Which modules stand under which heading; a module belongs where its name, or how it begins, does."""
FIXES = {
    (
        "render/theme.py",
        "There is no {what}",
    ): "use one of the names that the text lists; it begins with the nearest one",
    (
        "jaxarc_trace/store_commit.py",
        "was never finished",
    ): "load another save; what a stopped program left is cleared by the next one that writes there",
    (
        "jaxarc_trace/config_compose.py",
        "a YAML file, found none",
    ): "check the path: the text names the nearest file",
    (
        "jaxarc_trace/config_compose.py",
        "expected a node",
    ): "put the settings under the node `trace`, as the text shows",
    ("jaxarc_trace/config_compose.py", "a list is written"): "write the value as the text says",
    (
        "jaxarc_trace/config_compose.py",
        "{expected}, found {value}{hint}",
    ): "use one of the names that the text lists; it ends with the nearest one",
    (
        "jaxarc_trace/config_compose.py",
        "expected a setting in it",
    ): "set what is in it, as the text shows",
    (
        "jaxarc_trace/config_fields.py",
        "there is no such key",
    ): "use the near name that the text ends with, or look with `jaxarc-trace config groups`",
    (
        "jaxarc_trace/config_sections.py",
        "render.steps=",
    ): "record steps (`capture.level=standard` or above), or set `render.steps=none`",
    (
        "jaxarc_trace/config_sections.py",
        "publish.images=",
    ): "record what the pictures need (`capture.level=standard` or above), or leave it null",
    (
        "jaxarc_trace/config_sections.py",
        "the animation",
    ): "record steps (`capture.level=standard` or above), or leave it out",
    (
        "jaxarc_trace/config_sections.py",
        "render.report=true needs",
    ): "set `capture.level` to minimal or above, or `render.report=false`",
    ("jaxarc_trace/config_sections.py", "expected at least one of"): "name a format",
    (
        "jaxarc_trace/config_run.py",
        "every picture",
    ): "mend what the text ends with, and draw again: what is drawn already is kept",
    (
        "jaxarc_trace/store_format.py",
        "{advice}",
    ): "give plain Python values; what the text ends with says how for what was found",
    (
        "jaxarc_trace/publish.py",
        "not all of it is at W&B",
    ): "run the command that is printed: it sends the rest, and nothing twice",
    (
        "jaxarc_trace/run.py",
        "going on without this save",
    ): 'the training goes on (`on_error="warn"`); mend what the text behind names, the next save is tried anew',
    (
        "jaxarc_trace/run.py",
        "{path}: {found}",
    ): "clean the run (`jaxarc-trace clean`) or raise its limits: the text says which limit is near or passed",
    (
        "jaxarc_trace/overhead.py",
        "above the budget",
    ): "trace fewer lanes (`lanes=16`), keep fewer steps (`capacity=`), or use `level='minimal'`",
    (
        "jaxarc_trace/episodes.py",
        "did you mean",
    ): "use one of the columns that the text lists, or the near one that it names",
    (
        "jaxarc_trace/demo/run.py",
        "a save, found that it failed",
    ): "mend what the warning before it names: space or permissions, most often",
    (
        "jaxarc_trace/run.py",
        "found 9999 runs",
    ): "move or remove runs of that name that were made in the same second, or give another name",
    (
        "jaxarc_trace/cleaning.py",
        "a directory of runs, found none",
    ): "name a run or the directory that holds runs; nothing was removed",
    (
        "jaxarc_trace/probe.py",
        "is no field",
    ): "use one of the names that the text lists; it begins with the nearest one",
    (
        "render/facts.py",
        "was asked for",
    ): "ask for a step that the episode has: the text says which",
    (
        "jaxarc_trace/saves.py",
        "left out a damaged save",
    ): "restore the save from a copy; `jaxarc-trace verify` names each damaged episode",
    (
        "jaxarc_trace/config_compose.py",
        "cannot be resolved",
    ): "define what the `${...}` in it refers to, or write the value itself",
    (
        "jaxarc_trace/config_compose.py",
        "that can be read",
    ): "mend the YAML at the line that the text names",
    (
        "jaxarc_trace/config_sections.py",
        "problems in the configuration",
    ): "each line names a setting, its value and what is allowed",
    (
        "jaxarc_trace/manifest.py",
        "cannot be read",
    ): "check the permissions of the file, or restore it from a copy",
    (
        "jaxarc_trace/schema.py",
        "cannot be",
    ): "the stored description contradicts itself: restore `trace.json` from a copy",
    (
        "jaxarc_trace/schema.py",
        "its fields take",
    ): "the stored description contradicts itself: restore `trace.json` from a copy",
    (
        "jaxarc_trace/schema.py",
        "bytes at",
    ): "the stored description contradicts itself: restore `trace.json` from a copy",
}
"""What to do, for texts that do not say it themselves: by file and a part of the text."""
_SENTENCE = re.compile(r"\. ([A-Z][^.]*(?:\{[^}]*\}[^.]*)*)\.?$")
_EXPECTED = re.compile(r"\bexpected (.+?),? found\b|\b(?:must be|give) (.+?)(?:, found|$)")
_PASSED_ON = re.compile(r"^[\w.]+: |\{[^{}]*\}")
_NO_ADVICE = re.compile("found |that is what ")
HEAD = """# Every error and warning

Every error that this package raises on purpose, and every warning, with its text as it stands in the source: `{...}`
is what differs from case to case. Search this page for a part of what you were told. [Troubleshooting](troubleshooting.md)
shows the commonest ones as they are printed, with the programs that lead to them. This page is made by
`python docs/reference.py`.

An *error* is a `jt.TraceError`; its class stands before the text. On the command line it is one line on stderr and exit
code 2, and `--traceback` shows where it came from. A *warning* is a `RuntimeWarning`, after which the program goes on.
"""


@dataclass(frozen=True)
class Entry:
    """One text, and where it comes from."""

    file: str
    kind: str
    text: str

    @property
    def said(self) -> tuple[str, str]:
        """What is wrong, and what to do; the latter is empty where nothing says it."""
        for (file, part), fix in FIXES.items():
            if file == self.file and part in self.text:
                return self.text, fix
        wanted, _, found = self.text.partition("; found ")
        if found:
            rest = found.partition(". ")[2].rstrip(".")
            return self.text, rest or f"see to what is wanted: {wanted}"
        said, _, fix = self.text.rpartition("; ")
        if not said and (sentence := _SENTENCE.search(self.text)):
            said, fix = self.text[: sentence.start()], sentence[1]
        if said and not _NO_ADVICE.match(fix):
            return said, fix.rstrip(".").replace("there are ", "use one of ")
        asked = _EXPECTED.search(self.text)
        return self.text, f"give {asked[1] or asked[2]}" if asked else ""


def entries() -> list[Entry]:
    """All of them, in the order of the files."""
    files = [
        *ROOT.glob("jaxarc_trace/*.py"),
        *ROOT.glob("jaxarc_trace/demo/*.py"),
        *ROOT.glob("render/**/*.py"),
    ]
    return [entry for file in sorted(files) for entry in _of_file(file)]


def _of_file(file: Path) -> Iterator[Entry]:
    name = file.relative_to(ROOT).as_posix()

    tree = ast.parse(file.read_text(encoding="utf-8"))

    def walk(node: ast.AST, around: ast.AST) -> Iterator[Entry]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call) and child.args and (kind := _kind(child.func)):
                for text in _messages(child, around, tree):
                    # What only passes on the text of another error is no text of its own.
                    if kind != "ConfigError" or re.search("[a-z]", _PASSED_ON.sub("", text)):
                        yield Entry(name, kind, text)
            yield from walk(child, child if isinstance(child, ast.FunctionDef) else around)

    yield from walk(tree, tree)


def _messages(call: ast.Call, around: ast.AST, tree: ast.AST) -> list[str]:
    """The text that a call is given, which a variable or a function of the file may give."""
    if ast.unparse(call.func) == PROBLEM:
        key, said = call.args[0], _text(call.args[1])
        return [f"{_text(key) if isinstance(key, ast.Constant) else '{key}'}: {said}"]
    first = call.args[0]
    for node in ast.walk(around) if isinstance(first, ast.Name) else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == ast.unparse(first):
            return [_text(node.value)]
    called = ast.unparse(first.func) if isinstance(first, ast.Call) else ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == called:
            returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
            return [_text(value) for value in returned if value is not None]
    return [_text(first)]


def _kind(called: ast.expr) -> str:
    """The class of the error that a call makes, "Warning", or nothing."""
    if isinstance(called, ast.Name) and called.id in (*CLASSES, PROBLEM):
        return called.id if called.id in CLASSES else "ConfigError"
    warns = isinstance(called, ast.Attribute) and ast.unparse(called) == "warnings.warn"
    return WARNING if warns else ""


def _text(node: ast.expr) -> str:
    """A message, with the source of what is filled in between braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return f"{{{_short(node.value)}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return f"{{{ast.unparse(node)}}}"


def _short(node: ast.expr) -> str:
    """What is filled in, by the name that says most."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if (
        isinstance(node, ast.Call)
        and node.args
        and not isinstance(node.args[0], ast.GeneratorExp | ast.ListComp)
    ):
        inner = _short(node.args[0])
        called = ast.unparse(node.func)
        return f"number of {inner}" if called == "len" else inner
    if isinstance(node, ast.BoolOp | ast.IfExp | ast.Subscript):
        first = (
            node.values[0]
            if isinstance(node, ast.BoolOp)
            else node.body
            if isinstance(node, ast.IfExp)
            else node.value
        )
        return _short(first)
    return ast.unparse(node)


def topic_of(file: str) -> str:
    """The heading under which the texts of a file stand."""
    parts = Path(file).with_suffix("").parts
    name = parts[1] if parts[0] == "jaxarc_trace" else parts[0]
    known = {word: topic for topic, words in TOPICS.items() for word in words.split()}
    while name not in known and "_" in name:
        name = name.rpartition("_")[0]
    return known.get(name, "")


def page() -> str:
    """The text of errors.md."""
    found = entries()
    parts = [HEAD]
    for topic in TOPICS:
        own = [entry for entry in found if topic_of(entry.file) == topic]
        # One text may be raised in several places.
        texts = dict.fromkeys((entry.kind, entry.text) for entry in own)
        parts += [f"## {topic}\n"] if own else []
        for kind, text in texts:
            places = [entry for entry in own if (entry.kind, entry.text) == (kind, text)]
            said, fix = places[0].said
            where = ", ".join(
                dict.fromkeys(f"`{e.file.removesuffix('.py').replace('/', '.')}`" for e in places)
            )
            parts.append(
                f"- **{kind}** {_code(said)}\n  <br>**Do:** {_plain(fix)}. <small>{where}</small>\n"
            )
    return "\n".join(parts)


def _code(text: str) -> str:
    """Text as code, whatever quotes it holds, on one line."""
    line = " ".join(text.replace("\n", " ").split())
    fence = "``" if "`" in line else "`"
    pad = " " if fence == "``" else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _plain(text: str) -> str:
    """What to do: what is filled in, and what looks like markup, as code."""
    line = " ".join(text.replace("\n", " ").split()).rstrip(".")
    return "".join(
        part
        if index % 2 == 0 and "`" in line
        else re.sub(r"(\{[^{}]*\}|\[[^\[\]]*\]|<[^<>]*>|\*+|\b\w*_\w+\b|\$\S+)", r"`\1`", part)
        if index % 2 == 0
        else f"`{part}`"
        for index, part in enumerate(line.split("`"))
    )
