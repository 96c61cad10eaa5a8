"""No secret lands in a run directory, and whoever wrote one is told."""

from pathlib import Path
from typing import Any

import pytest

import jaxarc_trace as jt
from jaxarc_trace import publish_names
from jaxarc_trace.config_run import begin_run
from jaxarc_trace.secrecy import HIDDEN, known_secrets, without
from tests.recordings import recording
from tests.test_publish import holders

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a `.netrc`, and a key in the environment."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api.wandb.ai login user password netrcnetrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("SOME_TOKEN", "short")
    return tmp_path


def test_secrets_are_taken_out_of_text_and_settings(home: Path) -> None:
    del home
    known = known_secrets()
    assert {KEY, "netrcnetrc"} <= set(known)
    assert "short" not in known
    told = {"note": f"with {KEY} in it", "lr": 0.1, "deep": [{"db_password": "a", "key": 3}]}
    assert without(told, known) == {
        "note": f"with {HIDDEN} in it",
        "lr": 0.1,
        "deep": [{"db_password": HIDDEN, "key": 3}],
    }
    assert without("https://me:word@host/x", ()) == f"https://{HIDDEN}@host/x"
    assert publish_names.without({"a\ud800": "b\ud800"}, ()) == {"a\\ud800": "b\\ud800"}
    assert without({"tokenizer": "words", "max_tokens": 5}, ()) == {
        "tokenizer": "words",
        "max_tokens": 5,
    }


def test_a_run_holds_no_secret_and_says_what_it_hides(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", f"--wandb-key={KEY}"])
    config: dict[str, Any] = {
        "wandb": {"api_key": "another-one", "project": "p"},
        "urls": ["https://me:pass-word@host/x", f"https://host/?k={KEY}"],
    }
    with pytest.warns(RuntimeWarning) as said:
        run = jt.Run.create(home / "runs", f"mine {KEY}", config, environment={"auth_token": "t0k"})
    words = [str(each.message) for each in said]
    assert [text.split(":")[0] for text in words] == [
        "name",
        "command[1]",
        "config['wandb']['api_key'], config['urls'][0], config['urls'][1]",
        "environment['auth_token']",
    ]
    assert all("keep secrets in environment variables" in text for text in words)
    with run, pytest.warns(RuntimeWarning, match=r"metadata\['note'\]: written as \(hidden\)"):
        run.save(recording([2]), metadata={"note": KEY, "lr": 0.5})
    for secret in (KEY, "another-one", "pass-word", "t0k"):
        assert holders(home / "runs", secret) == []
        assert not [path for path in (home / "runs").rglob("*") if secret in path.name]
    assert run.manifest["config"]["wandb"] == {"api_key": HIDDEN, "project": "p"}
    assert run.episodes().metadata["lr"] == 0.5


def test_a_run_of_the_command_line_holds_none_either(home: Path) -> None:
    config = jt.config.compose([f"storage.root={home}/runs"])
    with pytest.warns(RuntimeWarning, match=r"config\['login'\]\['password'\]: written"):
        begin_run(config, {"login": {"password": "very-secret"}, "seed": 3}).close()
    assert holders(home / "runs", "very-secret") == []
    (text,) = [path.read_text() for path in (home / "runs").rglob("config.yaml")]
    assert "seed: 3" in text
    assert f"password: {HIDDEN}" in text.replace("'", "")
