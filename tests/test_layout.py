"""One package from three folders: a wheel, an editable install and a bare checkout agree.

The folders `render` and `conf` stand at the top of the repository and are imported as
`jaxarc_trace.render` and `jaxarc_trace.conf`, with all the files in them.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.imports import PACKAGE, ROOT

FOLDERS = ("render", "conf")
BUILD_FILES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore")

# Prints where each package was found and every file that its resources hold.
LOOK = f"""
import importlib, json
from importlib import resources

def files(folder, before=""):
    for each in folder.iterdir():
        if each.is_dir():
            yield from files(each, before + each.name + "/")
        else:
            yield before + each.name

seen = {{}}
for name in ("{PACKAGE}", "{PACKAGE}.render", "{PACKAGE}.conf"):
    module = importlib.import_module(name)
    found = sorted(each for each in files(resources.files(name)) if "__pycache__" not in each)
    seen[name] = {{"file": module.__file__, "resources": found}}
print(json.dumps(seen))
"""


def contents(folder: Path) -> list[str]:
    """Files below a folder as `a/b.js`, sorted, without compiled Python."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Runs a command outside the checkout and gives its output; fails with all that it said."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def look(python: str | Path, cwd: Path, **environment: str) -> dict[str, Any]:
    return json.loads(run(python, "-c", LOOK, cwd=cwd, **environment))


def assert_complete(seen: dict[str, Any], home: Path) -> None:
    """All three packages come from `home`, and no file of the two folders is missing."""
    for name, found in seen.items():
        assert Path(found["file"]).is_relative_to(home), f"{name} is at {found['file']}"
    for folder in FOLDERS:
        assert seen[f"{PACKAGE}.{folder}"]["resources"] == contents(ROOT / folder)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is needed to build, with the links as links."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in (PACKAGE, *FOLDERS):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=skip)
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", out, cwd=checkout)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the sdist, as an installer would."""
    unpacked, out = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "tarfile", "-e", sdist, unpacked, cwd=unpacked)
    (source,) = unpacked.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=source)
    (built,) = out.iterdir()
    return built


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The Python of a new environment that sees this one's distributions, but not this package.

    A folder that a `.pth` file adds has its own `.pth` files ignored, and an editable install is
    one of those.
    """
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    libraries = sysconfig.get_path("purelib", "venv", {"base": str(home)})
    (Path(libraries) / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin" / "python"


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_is_reached_through_a_relative_link(folder: str) -> None:
    assert (ROOT / PACKAGE / folder).readlink() == Path("..") / folder


def test_a_bare_checkout_imports(checkout: Path, elsewhere: Path) -> None:
    seen = look(sys.executable, elsewhere, PYTHONPATH=str(checkout))
    assert_complete(seen, checkout)


@pytest.mark.slow
def test_the_sdist_holds_the_folders_and_no_link(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if not member.isfile()]
    inside = {member.name.partition("/")[2] for member in members}
    assert not [name for name in inside if name.startswith(f"{PACKAGE}/render")]
    assert not [name for name in inside if name.startswith(f"{PACKAGE}/conf/")]
    for folder in FOLDERS:
        assert {f"{folder}/{name}" for name in contents(ROOT / folder)} <= inside


@pytest.mark.slow
def test_the_wheel_built_from_the_sdist_equals_the_one_built_from_the_checkout(
    wheel: Path, checkout: Path, tmp_path: Path
) -> None:
    out = tmp_path / "direct"
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=checkout)
    (direct,) = out.iterdir()
    assert direct.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_wheel_holds_one_top_level_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {PACKAGE, f"{wheel.name.rpartition('-py3')[0]}.dist-info"}
    assert f"{PACKAGE}/py.typed" in names


@pytest.mark.slow
def test_an_installed_wheel_imports(wheel: Path, fresh: Path, elsewhere: Path) -> None:
    run(fresh, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=elsewhere)
    assert_complete(look(fresh, elsewhere), fresh.parent.parent)
    command = fresh.parent / "jaxarc-trace"
    assert "demo" in run(command, "--help", cwd=elsewhere)


@pytest.mark.slow
def test_an_editable_install_imports(checkout: Path, fresh: Path, elsewhere: Path) -> None:
    options = ("-q", "--no-deps", "--no-index", "--no-build-isolation")
    run(fresh, "-m", "pip", "install", *options, "-e", checkout, cwd=elsewhere)
    assert_complete(look(fresh, elsewhere), checkout)
