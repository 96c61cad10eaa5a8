"""One tree of errors, and a missing package is named with the line to type."""

import inspect
import re
import sys
from pathlib import Path

import pytest

from jaxarc_trace import errors
from jaxarc_trace.errors import MissingExtraError, TraceError, require

BUILT_IN = {
    "TraceError": Exception,
    "SpecError": ValueError,
    "ConfigError": errors.SpecError,
    "SchemaError": ValueError,
    "StoreError": TraceError,
    "NotATraceError": errors.StoreError,
    "FormatVersionError": errors.StoreError,
    "CorruptEpisodeError": errors.StoreError,
    "RenderError": ValueError,
    "MissingExtraError": ImportError,
}


def classes() -> dict[str, type]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }


def test_every_error_is_a_trace_error_and_has_its_built_in_parent():
    assert set(classes()) == set(BUILT_IN)
    for name, error in classes().items():
        assert issubclass(error, TraceError)
        assert issubclass(error, BUILT_IN[name]), name
        assert error.__doc__
        assert name in errors.__all__


def test_the_drawing_shows_the_tree_as_it_is():
    drawn: dict[str, tuple[int, str]] = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^( +[│├└─ ]*)([A-Z]\w+Error)\b(.*)", line):
            drawn[found[2]] = (len(found[1]), found[3])
    assert set(drawn) == set(classes())
    above: list[tuple[int, str]] = []
    for name, (depth, words) in drawn.items():
        while above and above[-1][0] >= depth:
            above.pop()
        bases = {base.__name__ for base in classes()[name].__bases__}
        if above:
            assert above[-1][1] in bases, name
        built_in = bases - set(classes()) - {"Exception"}
        assert all(f"({base})" in words for base in built_in), name
        above.append((depth, name))


def test_require_gives_the_module():
    assert require("json", "demo", "nothing") is sys.modules["json"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inner"])
def test_a_missing_package_gives_the_line_to_type(module: str):
    with pytest.raises(MissingExtraError) as caught:
        require(module, "analysis", "a table of episodes")
    assert str(caught.value) == (
        f"a table of episodes needs the package {module!r}, which is not installed. "
        "Run: pip install 'jaxarc-trace[analysis]'"
    )
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_package_that_lacks_something_itself_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "installed_but_broken.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        require("installed_but_broken", "analysis", "a table of episodes")
    assert not isinstance(caught.value, TraceError)
