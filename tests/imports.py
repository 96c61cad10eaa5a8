"""Reads which modules a Python file imports, without running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGE", "ROOT", "Import", "imports", "modules"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "jaxarc_trace"


@dataclass(frozen=True)
class Import:
    """One imported module.

    Attributes:
        target: its absolute dotted name; of `from a import b`, `a.b`.
        line: where it stands, counted from 1.
        eager: true where it runs when the file is imported, so neither in a function nor under
            `if TYPE_CHECKING`.
    """

    target: str
    line: int
    eager: bool


def modules() -> dict[str, Path]:
    """The package's modules by dotted name, without the package's own: `{"render.step": path}`.

    The package itself is `""`. `render` and `conf` are read at their place in the repository.
    """
    homes = [(ROOT / PACKAGE, "")] + [(ROOT / name, f"{name}.") for name in ("render", "conf")]
    found = {}
    for home, prefix in homes:
        for path in sorted(home.rglob("*.py")):
            inside = path.relative_to(home)
            if not prefix and inside.parts[0] in {"render", "conf"}:
                continue  # through the link: the same file once more
            dotted = prefix + ".".join(inside.with_suffix("").parts)
            found[dotted.removesuffix("__init__").removesuffix(".")] = path
    return found


def imports(path: Path) -> list[Import]:
    """Every import of a file in order of lines, those made by `require("name", ...)` included."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return sorted(_visit(tree, eager=True), key=lambda found: (found.line, found.target))


def _visit(node: ast.AST, *, eager: bool) -> Iterator[Import]:
    for name in _targets(node):
        yield Import(name, getattr(node, "lineno", 0), eager)
    inner = eager and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _visit(child, eager=inner and not _only_for_types(node, child))


def _targets(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=0):
            return [f"{module}.{alias.name}" for alias in names]
        case ast.ImportFrom(module=module, level=level):
            return ["." * level + (module or "")]
        case ast.Call(
            func=ast.Name(id="require" | "import_module")
            | ast.Attribute(attr="require" | "import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def _only_for_types(parent: ast.AST, child: ast.AST) -> bool:
    """Whether `child` stands in the body of an `if TYPE_CHECKING:` that is `parent`."""
    return (
        isinstance(parent, ast.If)
        and ast.unparse(parent.test).rpartition(".")[2] == "TYPE_CHECKING"
        and child in parent.body
    )
