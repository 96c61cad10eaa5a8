"""`jaxarc-trace doctor`: what it looks at, what it advises, and what it never shows."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from jaxarc_trace.doctor import EXTRAS, examine, fits
from tests.commands import Command
from tests.imports import ROOT

PARTS = {"python", "packages", "extras", "fonts", "disk", "wandb", "devices"}


def test_here_all_that_is_needed_works(command: Command, tmp_path: Path) -> None:
    said = command("doctor", tmp_path, "--json")
    assert said.code == 0
    found = said.data["findings"]
    assert said.data["ok"]
    assert {each["part"] for each in found} == PARTS
    assert {each["name"] for each in found if each["part"] == "extras"} == set(EXTRAS)
    assert said.data["counts"] == {
        state: sum(each["state"] == state for each in found)
        for state in ("ok", "absent", "warning", "wrong")
    }
    # Whatever is not well comes with what to do.
    assert all(each["fix"] for each in found if each["state"] != "ok")


def test_people_see_every_part_and_every_fix(command: Command, tmp_path: Path) -> None:
    said = command("doctor", tmp_path)
    assert said.code == 0
    assert "All that is needed works." in said.out
    for each in examine(tmp_path):
        assert each.name in said.out
        assert each.fix in said.out


def test_every_extra_of_the_package_that_a_user_wants_is_looked_at() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    # The others are for those who work on the package, or sums of these.
    assert extras - {"all", "test", "dev", "docs", "envs", "examples"} == set(EXTRAS)


def test_a_folder_that_cannot_be_written_to_is_wrong(command: Command) -> None:
    said = command("doctor", "/proc/self/runs", "--json")
    assert said.code == 1
    (wrong,) = (each for each in said.data["findings"] if each["state"] == "wrong")
    assert wrong["part"] == "disk"
    assert wrong["fix"]


@pytest.mark.parametrize("place", ["environment", "netrc"])
def test_a_key_is_noticed_and_never_shown(
    place: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "0123456789abcdef" * 2
    file = tmp_path / "netrc"
    file.touch(mode=0o600)
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    if place == "netrc":
        file.write_text(f"machine api.wandb.ai\n  login user\n  password {secret}\n")
    else:
        monkeypatch.setenv("WANDB_API_KEY", secret)
    said = command("doctor", tmp_path, "--json")
    assert secret not in said.out + said.err
    (login,) = (each for each in said.data["findings"] if each["part"] == "wandb")
    assert login["state"] == "ok"


def test_an_extra_that_is_absent_is_no_fault_and_has_its_command(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version

    def without_av(name: str) -> str:
        if name == "av":
            raise metadata.PackageNotFoundError(name)
        return "0.1.0" if name == "hydra-core" else version(name)

    monkeypatch.setattr(metadata, "version", without_av)
    said = command("doctor", tmp_path, "--json")
    assert said.code == 0
    extras = {each["name"]: each for each in said.data["findings"] if each["part"] == "extras"}
    assert extras["video"]["state"] == "absent"
    assert extras["video"]["fix"] == "pip install 'jaxarc-trace[video]'"
    assert extras["hydra"]["state"] == "warning"


@pytest.mark.parametrize(
    ("version", "wanted", "holds"),
    [
        ("0.10.2", ">=0.9,<0.11", True),
        ("0.11", ">=0.9,<0.11", False),
        ("0.11.0rc1", "<0.11", False),
        ("1.0", "==1.0.3", False),
        ("1.0.3", "==1.0.3", True),
        ("2", ">=2.0.0", True),
        ("2.0.1.post1", "<3,>=2.0", True),
        ("5", "", True),
    ],
)
def test_a_version_is_in_a_range(version: str, wanted: str, *, holds: bool) -> None:
    assert fits(version, wanted) is holds
