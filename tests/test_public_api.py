"""What `import jaxarc_trace as jt` gives: these names, each with its docstring, and no other."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import jaxarc_trace as jt

NAMES = """
    ConfigError CorruptEpisodeError Counterfactuals Encoding Environment Episode Episodes Evaluation
    FormatVersionError GenericProbe LaneTrace Minimal MissingExtraError NotATraceError Outcome
    Overhead Policy Probe Published Recording RenderError Replay RolloutState Run SchemaError
    SpecError Stats StoreError TimeStep Trace TraceError TraceSpec TraceWrapper TracedState
    TracedStep Trigger attach config counterfactuals detach environment keep_fields load
    measure_overhead merge minimize partition_specs publish render replay rollout save stoix_envs
    stoix_evaluator take triggers verify with_fields wrap_step
""".split()


def test_these_are_the_names_and_no_other():
    assert jt.__all__ == NAMES
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_can_be_imported_and_is_documented(name: str):
    value = getattr(jt, name)
    assert inspect.getdoc(value)
    # Not the docstring of a base class or of the type.
    assert (value.__doc__ or "").strip(), name
    assert value is getattr(jt, name)
    if not inspect.ismodule(value):
        assert value.__module__.startswith("jaxarc_trace."), name


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isclass(getattr(jt, name))])
def test_what_a_class_offers_is_documented(name: str):
    for member, value in vars(getattr(jt, name)).items():
        function = value.fget if isinstance(value, property) else value
        function = getattr(function, "__func__", function)
        ours = inspect.isfunction(function) and function.__module__.startswith("jaxarc_trace.")
        if ours and not member.startswith("_"):
            assert function.__doc__, f"{name}.{member}"


def printed(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_dir_shows_them_before_they_are_used_and_a_star_import_gives_them():
    before = "import jaxarc_trace as jt; print(*(n for n in jt.__all__ if n in dir(jt)))"
    star = "from jaxarc_trace import *; print(*sorted(n for n in dir() if n in jt.__all__))"
    assert printed(f"{before}; {star}") == [*NAMES, *NAMES]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError) as caught:
        _ = jt.no_such_name  # type: ignore[attr-defined]
    assert str(caught.value) == "module 'jaxarc_trace' has no attribute 'no_such_name'"
    assert not hasattr(jt, "__wrapped__")


def test_a_type_checker_sees_an_import_of_every_name():
    # Also of those that are imported when they are first used.
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(inspect.getsource(jt)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(NAMES) <= imported


def modules() -> list[str]:
    return sorted(info.name for info in pkgutil.iter_modules(jt.__path__) if not info.ispkg)


@pytest.mark.parametrize("module", modules())
def test_what_a_module_says_it_offers_is_there_and_documented(module: str):
    found = importlib.import_module(f"jaxarc_trace.{module}")
    assert found.__doc__
    for name in getattr(found, "__all__", ()):
        value = getattr(found, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__doc__, f"{module}.{name}"
