"""A configuration at the ends of a program: a run directory, and pictures of what it kept.

run = jt.config.begin_run(config)
run.save(trace, step, background=config.storage.background)
jt.config.draw(config, run.episodes(), run.path)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxarc_trace.analysis import key_moments
from jaxarc_trace.config_fields import as_mapping
from jaxarc_trace.config_groups import NODE
from jaxarc_trace.config_sections import TraceConfig
from jaxarc_trace.errors import ConfigError, RenderError, require
from jaxarc_trace.manifest import MANIFEST, new_manifest, write_json
from jaxarc_trace.run import RENDERS, Run
from jaxarc_trace.saves import TRACES
from jaxarc_trace.secrecy import concealed

if TYPE_CHECKING:
    from jaxarc_trace.episodes import Episodes

__all__ = ["CONFIG", "begin_run", "draw", "kept_by"]

CONFIG = "config.yaml"
"""The file of a run that says what it was made with."""

_ORDER = ("best", "worst", "failed", "random", "first")
_STILL = ("svg", "png")
_PICTURES = (*_STILL, "gif", "webp", "mp4")


def begin_run(
    config: TraceConfig,
    nodes: Mapping[str, Any] | None = None,
    *,
    folder: Path | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Run:
    """Makes a run directory with the limits and the name of a configuration, and writes it there.

    Args:
        config: all settings; `config.yaml` in the run holds them under the node `trace`.
        nodes: settings of the program's own, JSON by name, which stand beside them.
        folder: an empty folder to use as it is, instead of a fresh one in `storage.root`.
        environment: JSON that describes the environment.

    What looks like a secret is written as `(hidden)`, and a warning says so.

    Raises:
        ConfigError: with `level=off`, which leaves nothing behind.
        StoreError, OSError: when it cannot be written.
    """
    yaml: Any = require("yaml", "hydra", "Saving the configuration of a run")
    if config.capture.level == "off":
        raise ConfigError(
            "level=off leaves nothing at all: expected no run, found one asked for; make it only "
            'where config.capture.level != "off"'
        )
    whole = concealed({**(nodes or {}), NODE: as_mapping(config)}, "config")
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
    held, limits = config.storage, config.retention()
    if folder is None:
        run = Run.create(
            held.root,
            held.name or None,
            whole,
            environment=environment,
            retention=limits,
            on_error=held.on_error,
        )
    else:
        (folder / TRACES).mkdir()
        write_json(folder / MANIFEST, new_manifest(held.name, whole, environment))
        run = Run.resume(folder, retention=limits, on_error=held.on_error)
    (run.path / CONFIG).write_text(text, encoding="utf-8")
    return run


def draw(config: TraceConfig, episodes: "Episodes", folder: Path) -> tuple[Path, ...]:
    """Draws what `render` asks for of the episodes that policies kept.

    Args:
        config: all settings.
        episodes: what was saved.
        folder: pictures go to `renders/<episode>/` in it, and the viewer to `report.html`.

    Returns:
        The files, episode by episode, each one's summary first; nothing with `level=off`.

    Raises:
        RenderError: when some could not be drawn.
    """
    from jaxarc_trace import render

    rows = _portraits(episodes, config.render.per_policy)
    if config.capture.level == "off" or not rows:
        return ()
    look, theme = config.render, config.theme()
    done = render.render_all(
        episodes.take(rows),
        folder / RENDERS,
        formats=look.formats,
        kinds=("summary", "step") if look.steps == "all" else ("summary",),
        theme=theme,
        workers=look.workers,
    )
    if not done.ok:
        raise RenderError(f"expected every picture, found that some failed: {done.failed[0][1]}")
    files: list[Path] = []
    for row, place in zip(rows, done.folders, strict=True):
        if look.steps == "key":
            _draw_key_steps(episodes[row], place, config)
        drawn = (each for each in place.iterdir() if each.suffix[1:] in _PICTURES)
        files += sorted(drawn, key=lambda file: (not file.stem.startswith("summary"), file.name))
    if look.report:
        files.append(render.report(episodes, folder / "report.html", theme=theme).path)
    return tuple(files)


def kept_by(episodes: "Episodes", position: int) -> tuple[str, ...]:
    """The policies that chose an episode; being recent is none."""
    names = episodes.columns["kept_by"][position].split(",")
    return tuple(name for name in _ORDER if name in names)


def _portraits(episodes: "Episodes", per_policy: int | None) -> list[int]:
    """So many episodes of each policy, none twice; of the failed ones those that came nearest.

    Where no policy kept any, the most recent ones.
    """
    columns = episodes.columns
    returns = columns["return"]
    nearness = columns.get("similarity_final", returns)
    chosen: list[int] = []
    kept = sorted(range(len(episodes)), key=lambda i: (-returns[i], i))
    for policy in _ORDER:
        of_policy = [i for i in kept if policy in kept_by(episodes, i) and i not in chosen]
        if policy == "worst":
            of_policy.reverse()
        if policy == "failed":
            of_policy.sort(key=lambda i: -nearness[i])
        chosen += of_policy[:per_policy]
    return chosen or list(range(len(episodes)))[-(per_policy or len(episodes)) :]


def _draw_key_steps(episode: Any, place: Path, config: TraceConfig) -> None:
    """Each key moment as a picture of the step that led to it, in the still formats."""
    from jaxarc_trace import render

    # State t + 1 is what transition t led to; the picture counts steps from 1.
    for t in sorted({moment.step - 1 for moment in key_moments(episode) if moment.step}):
        picture = render.step(episode, t, config.theme())
        name = f"step_{t + 1 + episode.dropped:04d}"
        for kind in config.render.formats:
            if kind in _STILL:
                save = picture.save_svg if kind == "svg" else picture.save_png
                save(place / f"{name}.{kind}")
