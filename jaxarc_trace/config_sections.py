"""The settings themselves: `TraceConfig` and its four sections, checked as a whole.

Each default stands here and in `conf/`, which a test compares; where another part of the package
has a default of its own it is taken from there.
"""

# ruff: noqa: RUF009 - `knob` makes the field that the dataclass takes, as `field` does

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from jaxarc_trace.config_fields import Problem, as_mapping, build, knob, shown, unknown
from jaxarc_trace.errors import ConfigError, SpecError
from jaxarc_trace.spec import DEFAULT_SLOTS, Layout, Level, TraceSpec

if TYPE_CHECKING:
    from jaxarc_trace.render.theme import Theme
    from jaxarc_trace.retention import Retention

__all__ = ["Capture", "Keep", "Publish", "Render", "Storage", "TraceConfig", "checked", "raise_all"]

ThemeName = Literal["default", "colorblind", "high_contrast", "dark"]
Limits = Literal["none", "manual", "oldest_first", "size_based"]
Steps = Literal["none", "key", "all"]
Mode = Literal["local", "offline", "online"]

_STILL = ("svg", "png")
_FORMATS = (*_STILL, "gif", "apng", "webp", "mp4")
_PROTECTED = (*"best worst first random failed solved terminated truncated running".split(),)
_GIGABYTE = 1_000_000_000
_DAY = 86_400.0


def _spec(name: str) -> Any:
    """The default of a field of `TraceSpec`."""
    return next(each.default for each in fields(TraceSpec) if each.name == name)


@dataclass(frozen=True)
class Keep:
    """How many episodes each policy keeps; 0 switches a policy off.

    Where all are 0 only the recent episodes are kept: what the ring still holds.
    """

    best: int = knob(DEFAULT_SLOTS, "Episodes with the largest return.", least=0)
    worst: int = knob(0, "Episodes with the smallest return.", least=0)
    first: int = knob(0, "The first episodes that ended.", least=0)
    random: int = knob(0, "A uniform sample of all episodes that ended.", least=0)
    failed: int = knob(0, "A uniform sample of the episodes that did not succeed.", least=0)


@dataclass(frozen=True)
class Capture:
    """What a trace keeps on the device; becomes a `TraceSpec`."""

    level: Level = knob(
        _spec("level"),
        "How much of an episode is recorded: off nothing; minimal its summary and final frame; "
        "standard and verbose every transition; full every leaf of the state as well.",
    )
    max_steps: int = knob(
        _spec("max_steps"), "Transitions kept of one episode; of a longer one the last.", least=1
    )
    keep: Keep = field(default_factory=Keep)
    capacity: int | None = knob(
        _spec("capacity"), "Length of the ring in steps a lane; null: twice max_steps.", least=1
    )
    lanes: int | None = knob(
        _spec("lanes"), "Record only the first so many lanes; null: all.", least=1
    )
    recent: int | None = knob(
        _spec("recent"),
        "Finished episodes a lane whose ends the ring remembers; null: by its length.",
        least=1,
    )
    layout: Layout = knob(
        _spec("layout"), "One ring for all lanes, or one in each; auto decides by what it sees."
    )
    seed: int = knob(_spec("seed"), "Seed of the policies that draw.")


@dataclass(frozen=True)
class Storage:
    """Where runs go and how much of them stays; becomes a `Retention`."""

    root: str = knob("runs", "Folder that run directories are made in.")
    name: str = knob("", "Name of the run; its directory is called by the time and this.")
    policy: Limits = knob(
        "none",
        "What happens at a limit: none has no limits; manual warns; oldest_first removes the "
        "oldest saves, size_based the largest.",
    )
    max_saves: int | None = knob(None, "Most saves of a run; null: no limit.", least=1)
    limit_gb: float | None = knob(
        None, "Most gigabytes (10^9 bytes) of all saves of a run; null: no limit.", least=1e-6
    )
    max_age_days: float | None = knob(
        None, "Most days since a save was written; null: no limit.", least=1e-6
    )
    protect: tuple[str, ...] = knob(
        (), "Saves with an episode of such a policy or outcome stay.", items=_PROTECTED
    )
    on_full: Literal["warn", "raise"] = knob("warn", "What to do when a limit cannot be kept.")
    on_error: Literal["raise", "warn"] = knob(
        "raise", "Whether a save that fails stops the program, or warns and lets it go on."
    )
    background: bool = knob(default=False, text="Write saves beside the program.")


@dataclass(frozen=True)
class Render:
    """What is drawn and how it looks; becomes a `Theme`."""

    theme: ThemeName = knob("default", "Colours of pictures and of the viewer.")
    digits: bool | None = knob(None, "Write its value into each cell; null: as the theme has it.")
    cell_size: float | None = knob(
        None, "Side of a cell in pixels; null: as large as fits.", least=1, most=200
    )
    steps: Steps = knob("key", "Which steps of an episode are drawn beside its summary.")
    per_policy: int | None = knob(
        1, "Episodes drawn of each policy that kept some; null: all of them.", least=1
    )
    formats: tuple[str, ...] = knob(
        ("svg",), "Files for each picture; gif, apng, webp, mp4: an animation.", items=_FORMATS
    )
    report: bool = knob(default=False, text="Write the viewer, report.html, as well.")
    workers: int | None = knob(
        None, "Processes that draw; null: by the amount of work; 1: none beside this.", least=1
    )

    def as_theme(self) -> "Theme":
        """The theme, with the values that are given beside it."""
        from jaxarc_trace.render.theme import theme

        chosen = {"digits": self.digits, "cell_size": self.cell_size}
        return theme(self.theme, **{k: v for k, v in chosen.items() if v is not None})


@dataclass(frozen=True)
class Publish:
    """What is sent to Weights & Biases, and how."""

    mode: Mode = knob("local", "local sends nothing; offline prepares a run to be sent later.")
    project: str = knob("jaxarc-trace", "Project that the run belongs to.")
    entity: str | None = knob(None, "User or team; null: the one who is logged in.")
    group: str | None = knob(None, "Runs of one group are shown together; null: no group.")
    job_type: str | None = knob(None, "What kind of run it is, for instance evaluation.")
    tags: tuple[str, ...] = knob((), "Words to find the run by.")
    deadline: float = knob(600.0, "Seconds after which sending is given up.", least=1)
    images: int | None = knob(
        None, "Most episodes with pictures, best and worst first; null: 64.", least=0
    )
    image_budget_mb: float = knob(
        50.0, "Most megabytes (10^6 bytes) of pictures, summaries before steps.", least=0
    )
    image_megapixels: float = knob(
        2.0, "Most megapixels (10^6) of a picture, or of a frame.", least=0.01, most=64
    )
    artifact: bool = knob(default=False, text="Send the traces themselves, as an artifact.")


@dataclass(frozen=True)
class TraceConfig:
    """All settings of a program that records. Checked when it is built.

    >>> TraceConfig(Capture(level="full", max_steps=64)).spec().level
    'full'

    Attributes:
        capture: what a trace keeps.
        storage: where runs go and how much of them stays.
        render: what is drawn, and how it looks.
        publish: what is sent to Weights & Biases.

    Raises:
        ConfigError: with every value that has not its type or range, and every pair of values
            that contradict each other.
    """

    capture: Capture = field(default_factory=Capture)
    storage: Storage = field(default_factory=Storage)
    render: Render = field(default_factory=Render)
    publish: Publish = field(default_factory=Publish)

    def __post_init__(self) -> None:
        """Checks all values, each and together."""
        problems: list[Problem] = []
        for each in fields(self):
            section = getattr(self, each.name)
            if not isinstance(section, _SECTIONS[each.name]):
                expected = _SECTIONS[each.name].__name__
                problems.append(Problem(each.name, f"expected a {expected}, found {section!r}"))
            else:
                build(_SECTIONS[each.name], as_mapping(section), problems, f"{each.name}.")
        raise_all(problems or list(_contradictions(self)))

    def spec(self) -> TraceSpec:
        """What to capture. A score of your own is a function, so give it by `spec().replace`."""
        given = {each.name: getattr(self.capture, each.name) for each in fields(self.capture)}
        keep = {name: slots for name, slots in as_mapping(self.capture.keep).items() if slots}
        return TraceSpec(**{**given, "keep": keep or "last"})

    def retention(self) -> "Retention":
        """The limits of a run."""
        from jaxarc_trace.retention import Retention

        held = self.storage
        return Retention(
            policy=held.policy,
            max_saves=held.max_saves,
            max_bytes=None if held.limit_gb is None else round(held.limit_gb * _GIGABYTE),
            max_age=None if held.max_age_days is None else held.max_age_days * _DAY,
            protect=held.protect,
            on_full=held.on_full,
        )

    def theme(self) -> "Theme":
        """How pictures look."""
        return self.render.as_theme()


_SECTIONS: dict[str, type] = {
    "capture": Capture,
    "storage": Storage,
    "render": Render,
    "publish": Publish,
}


def checked(given: Mapping[str, Any], before: list[Problem] | None = None) -> TraceConfig:
    """A configuration from nested mappings; what they leave out has its default.

    Args:
        given: what stands under the node `trace`.
        before: problems found already, which are reported with the others.

    Raises:
        ConfigError: with all problems at once.
    """
    problems = list(before or ())
    sections: dict[str, Any] = {}
    if not isinstance(given, Mapping):
        raise_all([Problem("trace", f"expected settings such as capture, found {shown(given)}")])
    for name, value in given.items():
        if name in _SECTIONS:
            sections[name] = build(_SECTIONS[name], value, problems, f"{name}.")
        else:
            problems.append(unknown(str(name), list(_SECTIONS)))
    if problems:
        # Together as well, as far as those that are wrong have no part in it.
        wrong = [problem.key for problem in problems]
        for found in _contradictions(_unchecked(sections)):
            keys = tuple(_keys_in(found))
            if not any(f"{bad}.".startswith(f"{key}.") for bad in wrong for key in keys):
                problems.append(found)
        raise_all(problems)
    return TraceConfig(**sections)


def raise_all(problems: list[Problem]) -> None:
    """Raises one error that says all of them; nothing if there are none."""
    problems = list(dict.fromkeys(problems))
    if len(problems) == 1:
        raise ConfigError(str(problems[0]), tuple(problems))
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigError(f"{len(problems)} problems in the configuration:{lines}", tuple(problems))


def _unchecked(sections: dict[str, Any]) -> TraceConfig:
    """A configuration that may contradict itself."""
    config = object.__new__(TraceConfig)
    for name, kind in _SECTIONS.items():
        object.__setattr__(config, name, sections.get(name) or kind())
    return config


def _keys_in(problem: Problem) -> Iterator[str]:
    """The settings that a contradiction names."""
    for word in f"{problem.key} {problem.text}".replace("=", " ").replace(",", " ").split():
        if word.partition(".")[0] in _SECTIONS:
            yield word


def _contradictions(config: TraceConfig) -> Iterator[Problem]:
    """Values that are right alone and wrong together."""
    for rule in _RULES:
        yield from rule(config)


def _needs_transitions(config: TraceConfig) -> Iterator[Problem]:
    """What is drawn or sent of steps needs a level that records them."""
    level, render, publish = config.capture.level, config.render, config.publish
    if level not in ("off", "minimal"):
        return
    has = f"needs capture.level standard or above, found capture.level={level}"
    do = "; choose another level with level=..., which sets both"
    if render.steps != "none":
        yield Problem("render.steps", f"render.steps={render.steps} {has}{do}")
    if publish.images:
        yield Problem("publish.images", f"publish.images={publish.images} {has}; or leave it null")
    for name in render.formats:
        if name not in _STILL:
            yield Problem("render.formats", f"the animation {name} {has}; or leave it out")
    if level == "off" and render.report:
        yield Problem(
            "render.report", "render.report=true needs capture.level minimal or above, found "
            "capture.level=off; choose another level, or set render.report to false"
        )  # fmt: skip


def _limits(config: TraceConfig) -> Iterator[Problem]:
    """The rules of `Retention`, with the names that the settings have here."""
    held = config.storage
    names = ("max_saves", "limit_gb", "max_age_days")
    given = [f"storage.{name}" for name in names if getattr(held, name) is not None]
    if held.policy == "none" and given:
        yield Problem(
            given[0],
            f"{' and '.join(given)} needs a policy that does something at a limit, found "
            "storage.policy=none; set storage.policy to manual, oldest_first or size_based",
        )
    elif held.policy == "size_based" and held.limit_gb is None:
        yield Problem(
            "storage.policy", "size_based needs storage.limit_gb, found null; give a number"
        )
    elif held.policy != "none" and not given:
        yield Problem(
            "storage.policy",
            f"{held.policy} needs a limit, found none; give storage.max_saves, storage.limit_gb "
            "or storage.max_age_days, or set storage.policy to none",
        )
    if held.on_full == "raise" and held.on_error == "warn":
        yield Problem(
            "storage.on_full",
            "storage.on_full=raise is never seen with storage.on_error=warn; choose one",
        )


def _spec_builds(config: TraceConfig) -> Iterator[Problem]:
    """Whatever else `TraceSpec` refuses."""
    try:
        config.spec()
    except SpecError as error:
        yield Problem("capture", str(error))


def _named(config: TraceConfig) -> Iterator[Problem]:
    """What is sent has to go somewhere, and what is drawn to some file."""
    if config.publish.mode != "local" and not config.publish.project.strip():
        yield Problem("publish.project", "expected a name, found an empty text; give one")
    if not config.render.formats:
        yield Problem(
            "render.formats", f"expected at least one of {', '.join(_FORMATS)}, found none"
        )
    if not config.storage.root.strip():
        yield Problem("storage.root", "expected a folder, found an empty text; give one")


_RULES: tuple[Callable[[TraceConfig], Iterator[Problem]], ...] = (
    _needs_transitions,
    _limits,
    _spec_builds,
    _named,
)
