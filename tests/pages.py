"""Pages of documentation as programs: their code blocks, in order, in one folder.

A Python block runs in the page's own namespace; of a shell block each `jaxarc-trace` runs in this
process and everything else in a shell. A block ```text behind one is what it prints; `...` stands
for anything. A comment directly above a block changes that:

    <!-- not run: REASON -->        the block is only shown
    <!-- uses: jaxarc-trace-demo --> the folder of a small demo lies here from this place on

and a block inside a comment is run and not shown.
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxarc_trace import cli
from tests.imports import ROOT

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_SIGN = re.compile(r"<!-- (not run|uses|command): ?((?:(?!-->).)*) -->\s*\Z", re.DOTALL)
PROGRAMS = ("python", "bash", "sh")
_ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: `python`, `bash`, `text`, or whatever else stands there.
        code: what is in it.
        line: where it begins, from 1.
        sign: `not run`, `uses`, `command`, or nothing.
        words: what stands behind the sign.
    """

    language: str
    code: str
    line: int
    sign: str = ""
    words: str = ""


def pages() -> list[Path]:
    """README and every page of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        sign = _SIGN.search(text[: found.start()])
        code = re.sub(f"^{found['indent']}", "", found["code"], flags=re.MULTILINE)
        line = text.count("\n", 0, found.start()) + 1
        yield Block(found["language"], code, line, *(sign.groups() if sign else ()))


def run(page: Path, folder: Path, demo: Callable[[], Path]) -> int:
    """Runs a page's programs in a folder, in order; says how many.

    Args:
        page: the page.
        folder: an empty one, in which the caller is.
        demo: gives a folder that the demo wrote.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    variables = {"PWD": str(folder)}
    printed, count = None, 0
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.language == "text" and printed is not None and not block.sign:
            same = doctest.OutputChecker().check_output(block.code, printed, _ALIKE)
            assert same, f"{where}: this is printed:\n{printed}"
        printed = None
        if block.language not in PROGRAMS or block.sign in ("not run", "command"):
            continue
        if block.sign == "uses" and not (folder / block.words).exists():
            (folder / block.words).symlink_to(demo())
        count += 1
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                if block.language == "python":
                    exec(compile(block.code, where, "exec"), names)  # noqa: S102 - a page of ours
                else:
                    _shell(block.code, variables, folder, where)
        except BaseException as error:
            error.add_note(f"in {where}, which printed: {out.getvalue()[-2000:]}")
            raise
        printed = out.getvalue()
    return count


def _shell(code: str, variables: dict[str, str], folder: Path, where: str) -> None:
    """Lines of shell: our own command here, assignments kept, everything else by bash."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(os.path.expandvars(_filled(line, variables)), comments=True)
        if not words:
            continue
        name, equals, _ = words[0].partition("=")
        if equals and name.isidentifier():
            variables[name] = _bash(f"{line}\nprintf %s ${name}", variables, folder)
        elif words[0] == "jaxarc-trace" and not {"|", "&&", "||", ";"} & set(words):
            _own(words[1:], where)
        else:
            sys.stdout.write(_bash(line, variables, folder))


def _filled(line: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: variables.get(found[1], found[0]), line)


def _bash(line: str, variables: dict[str, str], folder: Path) -> str:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", line],  # noqa: S607 - as readers have it
        cwd=folder,
        env={**os.environ, **variables, "PATH": tools},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def _own(words: list[str], where: str) -> None:
    target = None
    if ">" in words:
        words, target = words[: words.index(">")], words[words.index(">") + 1]
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    code: Any = 0
    sys.argv = ["jaxarc-trace", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = before
    assert code == 0, f"{where}: jaxarc-trace {' '.join(words)}: {code}\n{err.getvalue()}"
    if target is None:
        sys.stdout.write(out.getvalue())
    else:
        Path(target).write_text(out.getvalue(), encoding="utf-8")
