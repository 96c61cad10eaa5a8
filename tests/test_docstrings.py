"""Every public name says what it takes, gives and raises, and stands in the API reference."""

import dataclasses
import importlib
import inspect
import re
from typing import Any

import pytest

import jaxarc_trace as jt
from jaxarc_trace import config, errors, render
from tests.imports import ROOT

API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
SHOWN = set(re.findall(r"^::: (\S+)$", API, flags=re.MULTILINE))


def public() -> dict[str, Any]:
    """Every public function and class by the name that a user writes."""
    found = {f"jt.{name}": getattr(jt, name) for name in jt.__all__}
    found |= {f"jt.render.{name}": getattr(render, name) for name in render.__all__}
    found |= {f"jt.config.{name}": getattr(config, name) for name in config.__all__}
    return {name: value for name, value in found.items() if not inspect.ismodule(value)}


PUBLIC = public()


def callables() -> dict[str, Any]:
    """Public functions, and the public methods of public classes."""
    found = {}
    for name, value in PUBLIC.items():
        if inspect.isfunction(value):
            found[name] = value
        for member, own in vars(value).items() if inspect.isclass(value) else ():
            function = getattr(own, "__func__", own)
            ours = inspect.isfunction(function) and function.__module__.startswith("jaxarc_trace")
            if ours and not member.startswith("_"):
                found[f"{name}.{member}"] = function
    return found


def arguments(function: Any) -> list[str]:
    names = inspect.signature(function).parameters
    return [name for name in names if name not in ("self", "cls")]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    value = PUBLIC[name]
    assert f"{value.__module__}.{value.__name__}" in SHOWN, f"add {name} to docs/api.md"


def test_the_reference_shows_no_name_that_is_gone() -> None:
    missing = [name for name in sorted(SHOWN) if not found(name)]
    assert missing == []


def found(path: str) -> bool:
    module, _, name = path.rpartition(".")
    return hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", callables())
def test_a_function_of_several_arguments_explains_each(name: str) -> None:
    function = callables()[name]
    text = inspect.getdoc(function) or ""
    assert text.partition("\n")[0].strip(), name
    names = arguments(function)
    if len(names) > 1 and not trivial(text):
        described = set(re.findall(r"^ {4}\*{0,2}(\w+): ", text, flags=re.MULTILINE))
        assert set(names) <= described, f"{name}: no words for {set(names) - described}"


def trivial(text: str) -> bool:
    """Whether one sentence is all there is, which then names its arguments, or none is needed."""
    return "Args:" not in text and len(text.split()) < 40


@pytest.mark.parametrize("name", callables())
def test_what_a_function_raises_by_itself_is_documented(name: str) -> None:
    function = callables()[name]
    raised = set(re.findall(r"raise (\w+Error)\(", inspect.getsource(function)))
    text = inspect.getdoc(function) or ""
    own = {each for each in raised if hasattr(errors, each)}
    assert all(each in text for each in own), f"{name} raises {own}"


@pytest.mark.parametrize("name", [n for n, v in PUBLIC.items() if dataclasses.is_dataclass(v)])
def test_every_field_of_a_dataclass_is_explained(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    fields = [each for each in dataclasses.fields(PUBLIC[name]) if not each.name.startswith("_")]
    knobs = all("help" in each.metadata for each in fields)  # settings explain themselves
    for each in fields:
        if not knobs and "Attributes:" in text:
            assert re.search(rf"^ {{4}}(\w+, )*{each.name}\b.*: ", text, flags=re.MULTILINE), (
                each.name
            )
