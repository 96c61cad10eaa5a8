"""The commands `config show`, `check`, `groups` and `explain`, and what others share of them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from jaxarc_trace.commands_common import (
    JSON,
    TRACEBACK,
    Commands,
    ending,
    say,
    show_json,
    show_table,
    table,
    visible,
)
from jaxarc_trace.errors import ConfigError

if TYPE_CHECKING:
    from jaxarc_trace.config_fields import Knob
    from jaxarc_trace.config_migrate import Migration
    from jaxarc_trace.config_sections import Render, TraceConfig

__all__ = ["FILE", "LOOKS", "OVERRIDES", "add_commands", "completions", "look_of", "settings"]


def completions(incomplete: str, section: str = "") -> Iterator[str]:
    """What a shell offers for the beginning of an override: groups, settings, and their values.

    Args:
        incomplete: what is there of it.
        section: offer what belongs to this one alone, for instance `render`.
    """
    from jaxarc_trace.config_fields import knobs
    from jaxarc_trace.config_groups import GROUPS
    from jaxarc_trace.config_sections import TraceConfig

    values: dict[str, tuple[str, ...]] = {group: tuple(names) for group, names in GROUPS.items()}
    for each in knobs(TraceConfig):
        values[each.key] = each.choices or (("true", "false") if each.kind is bool else ())
    if section:
        values = {key: each for key, each in values.items() if key.split(".")[0] == section}
    key, equals, _ = incomplete.partition("=")
    offers = [f"{key}={value}" for value in values.get(key, ())] if equals else values
    for offer in offers:
        if offer.startswith(incomplete):
            yield offer if equals else f"{offer}="


def _offered(incomplete: str, section: str) -> Iterator[str]:
    """The completions in the form that the shell at hand wants."""
    asked = os.environ.get("COMP_WORDS", "").split()[: int(os.environ.get("COMP_CWORD", "0")) + 1]
    # Bash ends a word at =, and so completes the value alone.
    for before, value in ((asked[:-1], ""), (asked[:-2], asked[-1:])):
        if asked[len(before) : len(before) + 1] == ["="] and before:
            for offer in completions(f"{before[-1]}={''.join(value)}", section):
                yield offer.partition("=")[2]
            return
    yield from completions(incomplete, section)


def _words(examples: str, complete: Callable[[str], Iterator[str]]) -> Any:
    """The argument of a command that takes settings."""
    return typer.Argument(
        metavar="[KEY=VALUE]...",
        help=f"{examples}, ... See: jaxarc-trace config groups",
        autocompletion=complete,
        show_default=False,
    )


def _settings(incomplete: str) -> Iterator[str]:
    """Completions of any setting."""
    return _offered(incomplete, "")


def _looks(incomplete: str) -> Iterator[str]:
    """Completions of the settings of pictures."""
    return _offered(incomplete, "render")


OVERRIDES = Annotated[
    list[str] | None,
    _words("Settings: level=full, storage=research, capture.max_steps=64", _settings),
]
LOOKS = Annotated[
    list[str] | None,
    _words("Settings of pictures: render=colorblind, render.digits=true", _looks),
]
FILE = Annotated[
    Path | None,
    typer.Option("--config", help="A YAML file of settings to start from.", show_default=False),
]

_app = Commands(name="config", no_args_is_help=True, help="Look at settings and check them.")


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    own = "my.yaml", "my.yaml render=colorblind storage.limit_gb=2"
    written = "level=full storage=research > my.yaml", "--config my.yaml --json"
    explained = "settings (key, default, allowed, help); or groups, as config groups"
    for name, command, words, keys in (
        ("show", show, written, "trace"),
        ("check", check, own, "path, ok, changed"),
        ("groups", groups, ("", "--json"), "groups"),
        ("explain", explain, ("storage.policy", "level --json"), explained),
    ):
        examples = (f"jaxarc-trace config {name} {each}".rstrip() for each in words)
        _app.command(name, epilog=ending(*examples, keys=keys))(command)
    app.add_typer(_app, name="config")
    examples = (
        "jaxarc-trace migrate conf/config.yaml -o trace.yaml",
        "jaxarc-trace migrate conf/visualization/debug_verbose.yaml --json",
    )
    keys = "path, ok, mapped (key, became), dropped (key, why), unreadable (key, why), trace"
    text = ending(*examples, keys=keys, found="a key could not be read")
    app.command("migrate", epilog=text)(migrate)


def show(
    overrides: OVERRIDES = None,
    *,
    config: FILE = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Print all settings as YAML, with those given; a file of it is for --config."""
    from jaxarc_trace.config_compose import to_yaml

    found = settings(config, overrides or [])
    if as_json:
        show_json({"trace": asdict(found)})
    else:
        typer.echo(to_yaml(found), nl=False)


def check(
    file: Annotated[
        Path, typer.Argument(help="A YAML file with a node `trace`.", show_default=False)
    ],
    overrides: OVERRIDES = None,
    *,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Say everything that is wrong with a file of settings; anything is an error."""
    from jaxarc_trace.config_fields import knobs
    from jaxarc_trace.config_groups import flat
    from jaxarc_trace.config_sections import TraceConfig, as_mapping

    found = dict(flat(as_mapping(settings(file, overrides or []))))
    defaults = {each.key: _listed(each.default) for each in knobs(TraceConfig)}
    changed = {key: found[key] for key, default in defaults.items() if found[key] != default}
    if as_json:
        show_json({"path": str(file.absolute()), "ok": True, "changed": changed})
        return
    say(f"{file}: ", ("fine", "green"), f"; {len(changed)} of {len(found)} are not the default.")
    for key, value in changed.items():
        say(f"  {key}={_word(value)}")


def groups(
    *,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """List the groups, what there is to choose in each, and what each choice sets."""
    from jaxarc_trace.config_groups import GROUPS

    if as_json:
        show_json({"groups": {group: _choices(group) for group in GROUPS}})
        return
    for group in GROUPS:
        _show_group(group)


def explain(
    key: Annotated[
        str,
        typer.Argument(
            help="A setting or a group.", autocompletion=completions, show_default=False
        ),
    ],
    *,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Say what a setting does, what it may be, its default, and which groups set it."""
    from jaxarc_trace.config_fields import knobs, unknown
    from jaxarc_trace.config_groups import GROUPS
    from jaxarc_trace.config_sections import TraceConfig

    word = key.rstrip("=").removeprefix("trace.")
    if word in GROUPS:
        if as_json:
            show_json({"groups": {word: _choices(word)}})
        else:
            _show_group(word)
        return
    every = list(knobs(TraceConfig))
    found = [each for each in every if each.key == word or each.key.startswith(f"{word}.")]
    if not found:
        problem = unknown(word, [*GROUPS, *(each.key for each in every)])
        raise ConfigError(str(problem), (problem,))
    if as_json:
        show_json({"settings": [_plain(each) for each in found]})
        return
    for each in found:
        _show_setting(each)


def migrate(
    old: Annotated[
        Path, typer.Argument(help="JaxARC's YAML, of today or of July 2025.", show_default=False)
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Where to write ours; default: print it.", show_default=False
        ),
    ] = None,
    as_json: JSON = False,
    traceback: TRACEBACK = False,  # noqa: ARG001 - read by `main`
) -> None:
    """Turn JaxARC's own settings into ours, and list what became of every key."""
    from jaxarc_trace.config_compose import to_yaml
    from jaxarc_trace.config_migrate import migrate as migrated

    found = migrated(old)
    if out is not None and out.exists():
        raise ConfigError(f"{out}: expected a path where nothing is yet, found a file; choose one")
    text = to_yaml(found.config)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if as_json:
        show_json(_plain_migration(found, out))
    else:
        _show_migration(found, out)
        if out is None:
            typer.echo(text, nl=False)
    if found.unreadable:
        raise typer.Exit(1)


def settings(file: Path | None, overrides: list[str]) -> "TraceConfig":
    """The settings of a file, or the defaults, with some of them changed.

    Raises:
        ConfigError: with all that is wrong.
    """
    from jaxarc_trace.config_compose import compose, from_yaml

    base = None if file is None else from_yaml(file)
    return compose(overrides, base) if overrides or base is None else base


def look_of(run: Path, overrides: list[str]) -> "Render":
    """How pictures of a run shall look: as its own settings say, with some of them changed.

    Raises:
        ConfigError: when something else than `render` shall be changed, or something is wrong.
    """
    from jaxarc_trace.config_compose import compose, from_yaml
    from jaxarc_trace.config_fields import Problem
    from jaxarc_trace.config_run import CONFIG
    from jaxarc_trace.config_sections import TraceConfig, raise_all

    file = run / CONFIG
    base = from_yaml(file) if file.is_file() else TraceConfig()
    other = [word for word in overrides if not _of_render(word)]
    text = "expected settings of render, for the run is recorded already; leave it out"
    raise_all([Problem(word, text) for word in other])
    return (compose(overrides, base) if overrides else base).render


def _of_render(word: str) -> bool:
    return word.removeprefix("trace.").startswith(("render=", "render."))


def _show_migration(found: "Migration", out: Path | None) -> None:
    """What became of every key; where the settings themselves are printed it is no part of them."""
    console = Console(stderr=out is None)
    for title, pairs in (
        ("Mapped", found.mapped),
        ("Dropped", found.dropped),
        ("Could not be read", found.unreadable),
    ):
        if pairs:
            console.print(Text(f"{title}:", style="bold"))
        for key, text in pairs:
            console.print(Text(f"  {visible(key)}: {visible(text)}"), soft_wrap=True)
    if out is not None:
        console.print(Text(f"Written to {visible(out)}"), soft_wrap=True)


def _plain_migration(found: "Migration", out: Path | None) -> dict[str, Any]:
    """The same for scripts, with the settings themselves; a key may be there more than once."""
    return {
        "path": None if out is None else str(out.absolute()),
        "ok": not found.unreadable,
        "mapped": [{"key": key, "became": text} for key, text in found.mapped],
        "dropped": [{"key": key, "why": text} for key, text in found.dropped],
        "unreadable": [{"key": key, "why": text} for key, text in found.unreadable],
        "trace": asdict(found.config),
    }


def _show_setting(each: "Knob") -> None:
    from jaxarc_trace.config_groups import GROUPS, choice

    say((each.key, "bold"))
    say(f"  {each.help}")
    say(f"  Allowed: {each.allowed}. Default: {_word(each.default)}.")
    for group, names in GROUPS.items():
        sets = {name: choice(group, name).values for name in names}
        if each.key in sets[names[0]]:
            words = ", ".join(f"{_word(sets[name][each.key])} by {name}" for name in names)
            say(f"  Set by the group {group}: {words}.")


def _show_group(group: str) -> None:
    from jaxarc_trace.config_groups import GROUPS, choice

    made = table(group, "what it is for", "what it sets")
    for name in GROUPS[group]:
        found = choice(group, name)
        sets = ", ".join(f"{key}={_word(value)}" for key, value in found.values.items())
        made.add_row(Text(name), Text(found.about), Text(sets))
    show_table(made)
    Console().print()


def _choices(group: str) -> dict[str, Any]:
    """What there is to choose in a group, for scripts."""
    from jaxarc_trace.config_groups import GROUPS, choice

    found = {name: choice(group, name) for name in GROUPS[group]}
    return {name: {"about": one.about, "sets": dict(one.values)} for name, one in found.items()}


def _plain(each: "Knob") -> dict[str, Any]:
    """A setting, for scripts."""
    default = _listed(each.default)
    return {"key": each.key, "default": default, "allowed": each.allowed, "help": each.help}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    """A value as an override writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value) if value != "" else "''"
