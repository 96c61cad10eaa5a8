"""Reads the texts of errors and warnings out of the source, without running it.

`entries` finds each place that makes an error of the package, lists a problem of the settings, or
warns. What is filled in stands between braces, by the name that says most; constants, and what a
function of the same file puts together, are filled in. What to do about a text is not said here.
"""

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxarc_trace import errors

__all__ = ["CLASSES", "ROOT", "Entry", "entries", "said_by"]

ROOT = Path(__file__).resolve().parents[1]
CLASSES = frozenset(name for name in errors.__all__ if name.endswith("Error")) | {"IndexError"}
"""Whose calls are collected; an `Episodes` raises Python's own IndexError, as sequences do."""
_WARNING = "RuntimeWarning"
_PROBLEM = "Problem"
_FILLED = re.compile(r"\{[^{}]*\}")
_PASSED_ON = re.compile(rf"^[\w.]+: |{_FILLED.pattern}")
_CONSTANT = re.compile(r"_?[A-Z][A-Z_]*")
_LIKE_ITS_OWNER = ("describe", "min", "max", "tolist", "strip", "lower", "items", "keys")
_NAMES = {"__name__": "type", "__module__": "module", "strerror": "error", "self": "it"}
_MOST_CALLERS = 4
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Entry:
    """One text, and where it comes from: the file, and the function in it."""

    file: str
    function: str
    kind: str
    text: str


def entries() -> list[Entry]:
    """All of them, in the order of the files."""
    patterns = ("jaxarc_trace/*.py", "jaxarc_trace/demo/*.py", "render/**/*.py", "conf/*.py")
    files = sorted(file for pattern in patterns for file in ROOT.glob(pattern))
    return [entry for file in files for entry in _Source(file).entries()]


def said_by(module: str, function: str) -> list[str]:
    """The texts that a function returns or adds to a list, for another one to pass on."""
    source = _Source(ROOT / "jaxarc_trace" / f"{module}.py")
    found = []
    for node in ast.walk(source.functions[function]):
        value = node.value if isinstance(node, ast.Return) else None
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".append"):
            value = node.args[0]
        if isinstance(value, ast.JoinedStr | ast.Constant) and isinstance(
            text := source.text(value, source.tree), str
        ):
            found += [text] if " " in text else []
    return found


class _Source:
    """One file, read."""

    def __init__(self, file: Path) -> None:
        self.name = file.relative_to(ROOT).as_posix()
        self.tree = ast.parse(file.read_text(encoding="utf-8"))
        found = (node for node in ast.walk(self.tree) if isinstance(node, _Function))
        self.functions = {node.name: node for node in found}

    def entries(self) -> Iterator[Entry]:
        """What the file raises, lists or warns of."""
        yield from self._under(self.tree, self.tree, "")

    def _under(self, node: ast.AST, around: ast.AST, path: str) -> Iterator[Entry]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call) and child.args and (kind := _kind(child.func)):
                for text in self._messages(child, around):
                    own = kind != "ConfigError" or re.search("[a-z]", _PASSED_ON.sub("", text))
                    if own or text in _OF_OTHERS:
                        yield Entry(self.name, path, kind, text)
            name = child.name if isinstance(child, _Function | ast.ClassDef) else ""
            yield from self._under(
                child,
                child if isinstance(child, _Function) else around,
                ".".join(filter(None, (path, name))),
            )

    def _messages(self, call: ast.Call, around: ast.AST) -> list[str]:
        """The texts that a call may be given, which a variable or a function may make."""
        key = ""
        first = call.args[0]
        if ast.unparse(call.func) == _PROBLEM:
            key = f"{first.value}: " if isinstance(first, ast.Constant) else "{key}: "
            first = call.args[1]
        texts: list[str] = []
        for value in self._assigned(first, around):
            called = self.functions.get(_last(value.func)) if isinstance(value, ast.Call) else None
            returned = self._returned(called) if called else []
            texts += returned or [self.text(value, around)]
        return [f"{key}{text}" for text in texts]

    def _returned(self, function: _Function) -> list[str]:
        """The texts that a function returns."""
        found = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)]
        return [self.text(value, function) for value in found if _says(value)]

    def _assigned(self, node: ast.expr, around: ast.AST) -> list[ast.expr]:
        """What a variable of the function may hold, where that is text; else the node itself."""
        if not isinstance(node, ast.Name):
            return [node]
        blocks = [block for each in ast.walk(around) for block in _blocks(each)]
        held = [each for each in ast.walk(around) if isinstance(each, ast.Assign | ast.NamedExpr)]
        held = [each for each in held if _target(each) == node.id]
        called = len(held) == 1 and isinstance(held[0].value, ast.Call)
        if not called and not all(_says(each.value) for each in held):
            return [node]
        found: list[ast.expr] = []
        before = [each for each in held if each.lineno <= node.lineno]
        for each in sorted(before, key=lambda held: -held.lineno):
            found.insert(0, each.value)
            # What was put there before is gone, unless this is done in a branch alone.
            if any(_spans(block, node) for block in blocks if each in block):
                break
        return found or [node]

    def text(self, node: ast.expr | None, around: ast.AST) -> str:
        """A message, with a name between braces for what is filled in."""
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(self.text(part, around) for part in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.text(node.left, around) + self.text(node.right, around)
        if isinstance(node, ast.IfExp):
            return _either(self.text(part, around) for part in _parts(node))
        if isinstance(node, ast.FormattedValue):
            return self._filled(node.value, around)
        return f"{{{_short(node)}}}" if node is not None else ""

    def _filled(self, node: ast.expr, around: ast.AST) -> str:
        """What stands in a place of an f-string."""
        if (known := self._known(node)) is not None:
            return known
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            behind = self._known(node.right) or "1"
            # A path with a name behind it, or a number in another unit.
            return self._filled(node.left, around) + ("" if behind[0].isdigit() else f"/{behind}")
        called = self.functions.get(_last(node.func)) if isinstance(node, ast.Call) else None
        texts = self._returned(called) if called else []
        if any(re.search("[a-z]", _FILLED.sub("", text.replace("(or:", ""))) for text in texts):
            return _either(texts)
        values = self._assigned(node, around)
        if all(map(_says, values)):
            return _either(self.text(value, around) for value in values)
        return _either(self._given(node, around)) or f"{{{_short(node)}}}"

    def _given(self, node: ast.expr, around: ast.AST) -> list[str]:
        """What a function is given for an argument, where all who call it give plain words."""
        if not isinstance(around, _Function) or not isinstance(node, ast.Name):
            return []
        names = [each.arg for each in around.args.args if each.arg != "self"]
        place = names.index(node.id) if node.id in names else len(names)
        calls = [each for each in ast.walk(self.tree) if isinstance(each, ast.Call)]
        given = [call.args[place:] for call in calls if _last(call.func) == around.name]
        if not all(each and _says(each[0]) for each in given) or len(given) > _MOST_CALLERS:
            return []
        # Not looked for any further: a function may give its arguments to itself.
        texts = [self.text(each[0], ast.Pass()) for each in given]
        return texts if any(" " in text for text in texts) else []

    def _known(self, node: ast.expr) -> str | None:
        """The value of an expression that is made of the module's constants alone."""
        names = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
        if not names or not all(map(_CONSTANT.fullmatch, names)):
            return None
        path = self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        module = importlib.import_module(path if "jaxarc" in path else f"jaxarc_trace.{path}")
        code = compile(ast.Expression(node), self.name, "eval")
        value = eval(code, vars(module).copy())  # noqa: S307 - an expression of our own source
        number = isinstance(value, int | float)
        return f"{value:g}" if number else value if isinstance(value, str) else None


def _either(texts: Iterable[str]) -> str:
    """One of several texts, as one."""
    first, *others = [*dict.fromkeys(filter(None, texts)), ""]
    behind = ", or: ".join(other.removeprefix("; ") for other in others[:-1])
    return first + (f" (or: {behind})" if behind else "")


def _parts(node: ast.expr) -> list[ast.expr]:
    """What a conditional expression may be, each of them."""
    return [node.body, *_parts(node.orelse)] if isinstance(node, ast.IfExp) else [node]


def _target(node: ast.Assign | ast.NamedExpr) -> str:
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def _blocks(node: ast.AST) -> list[list[ast.stmt]]:
    """The lists of statements that a statement has under it."""
    found = [getattr(node, name, None) for name in ("body", "orelse", "finalbody")]
    return [block for block in found if isinstance(block, list)]


def _spans(block: list[ast.stmt], node: ast.expr) -> bool:
    return block[:1] != [] and block[0].lineno <= node.lineno <= (block[-1].end_lineno or 0)


def _says(node: ast.expr | None) -> bool:
    """Whether an expression is text that can be read here, and not nothing."""
    if isinstance(node, ast.IfExp):
        return any(map(_says, _parts(node)))
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)
    )


def _kind(called: ast.expr) -> str:
    """The class of the error that a call makes, "Warning", or nothing."""
    name = ast.unparse(called)
    if name == "warnings.warn":
        return _WARNING
    return {_PROBLEM: "ConfigError"}.get(name, name if name in CLASSES else "")


def _last(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _short(node: ast.AST) -> str:  # noqa: PLR0911 - one for each kind of expression
    """What is filled in, by the name that says most."""
    if isinstance(node, ast.Attribute | ast.Name):
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        return _NAMES.get(name, name.lstrip("_").lower())
    if isinstance(node, ast.Call):
        return _of_call(node)
    if isinstance(node, ast.Subscript):
        inside = node.slice
        index = inside.value if isinstance(inside, ast.Constant) else None
        return index if isinstance(index, str) else _short(node.value)
    if isinstance(node, ast.BinOp):
        less = f" - {_short(node.right)}" if isinstance(node.op, ast.Sub) else ""
        return f"{_short(node.left)}{less}"
    if isinstance(node, ast.BoolOp | ast.IfExp):
        parts = node.values if isinstance(node, ast.BoolOp) else [node.body, node.orelse]
        return _short(next((p for p in parts if not isinstance(p, ast.Constant)), parts[0]))
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return f"{_short(node.elt)}s"
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        return _short(node.elts[-1])
    if isinstance(node, ast.Starred):
        return _short(node.value)
    return str(node.value) if isinstance(node, ast.Constant) else "value"


def _of_call(node: ast.Call) -> str:  # noqa: PLR0911 - the same
    """A call by its first argument, or by what it is a method of."""
    called = node.func
    if _last(called) == "get" and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value)
    if ast.unparse(node) == "len(self)":
        return "count"
    if _last(called) == "len":
        return f"number of {_short(node.args[0])}"
    if isinstance(called, ast.Attribute) and _last(called) in _LIKE_ITS_OWNER:
        return _short(called.value)
    if node.args and not isinstance(node.args[0], ast.Constant):
        return _short(node.args[0])
    if isinstance(called, ast.Attribute) and not isinstance(called.value, ast.Name):
        return _short(called.value)
    return _short(called)


_OF_OTHERS = ("override: {error}", "capture: {error}")
"""Texts that Hydra and `TraceSpec` give, under a name of ours."""
