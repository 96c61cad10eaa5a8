"""What is installed and what works here, each with the fix. Asks no network and shows no secret."""

import fcntl
import netrc
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["EXTRAS", "Finding", "examine", "fits"]

State = Literal["ok", "absent", "warning", "wrong"]

DISTRIBUTION = "jaxarc-trace"
EXTRAS = {
    "demo": "JaxARC environments and the demo",
    "stoa": "TraceWrapper, and Stoix's environments",
    "analysis": "tables, --where, Parquet",
    "png": "PNG, GIF, APNG, WebP",
    "video": "MP4",
    "hydra": "settings from groups and YAML",
    "wandb": "Weights & Biases",
    "bench": "the benchmark's environments",
    "dask": "drawing on a Dask cluster",
    "mpi": "drawing by MPI",
}
"""Extra to what it is for."""

_PYTHON = (3, 11), (3, 13)
_LITTLE = 2_000_000_000
_REQUIREMENT = re.compile(r"\s*([\w.-]+)(?:\[[^\]]*\])?([^;]*)(?:;(.*))?")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: `python`, `packages`, `devices`, `extras`, `fonts`, `disk` or `wandb`.
        name: what it is.
        state: `ok`; `absent`, which is no fault of an optional part; `warning`; or `wrong`.
        found: what was found, in a few words; never a secret.
        fix: what to do, as a command where there is one; empty where there is nothing to do.
    """

    part: str
    name: str
    state: State
    found: str
    fix: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Looks at everything, the quick things first.

    Args:
        folder: where runs are to be written.
    """
    yield _python()
    yield from _packages()
    yield from _extras()
    yield from _fonts()
    yield from _disk(folder)
    yield from _wandb()
    yield from _devices()


def fits(version: str, wanted: str) -> bool:
    """Whether a version such as `0.9.1` is in a range such as `>=0.9,<0.11`.

    >>> fits("0.10.2", ">=0.9,<0.11"), fits("1.0", "==1.0.3")
    (True, False)
    """
    have = _numbers(version)
    for rule in filter(None, (part.strip() for part in wanted.split(","))):
        sign, number = rule[:2].rstrip("0123456789"), rule.lstrip("<>=!~ ")
        limit = _numbers(number)
        width = max(len(have), len(limit))
        ours, theirs = (v + (0,) * (width - len(v)) for v in (have, limit))
        holds = {">=": ours >= theirs, "<": ours < theirs, "==": ours == theirs}
        if not holds.get(sign, True):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version; what comes after it does not count."""
    found = re.match(r"\d+(\.\d+)*", version.strip())
    return tuple(map(int, found[0].split("."))) if found else ()


def _python() -> Finding:
    least, most = _PYTHON
    ok = least <= sys.version_info[:2] <= most
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    fix = "" if ok else "use Python 3.11, 3.12 or 3.13"
    return Finding("python", "Python", "ok" if ok else "wrong", found, fix)


def _requirements(extra: str = "") -> list[tuple[str, str]]:
    """Distribution and range of each requirement, of an extra or of the package itself."""
    found: list[tuple[str, str]] = []
    for line in metadata.requires(DISTRIBUTION) or ():
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, wanted, marker = match.groups(default="")
        asked = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        if (asked[1] if asked else "") == extra and name != DISTRIBUTION:
            found.append((name, wanted.strip()))
    return found


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    own = _installed(DISTRIBUTION)
    if own is None:
        fix = "pip install -e . in the checkout"
        yield Finding("packages", DISTRIBUTION, "wrong", "not installed", fix)
        return
    yield Finding("packages", DISTRIBUTION, "ok", own)
    for name, wanted in _requirements():
        yield _package("packages", name, wanted, _installed(name))


def _package(part: str, name: str, wanted: str, version: str | None) -> Finding:
    if version is None:
        return Finding(part, name, "wrong", "not installed", f"pip install '{name}{wanted}'")
    if fits(version, wanted):
        return Finding(part, name, "ok", version)
    fix = f"pip install '{name}{wanted}'"
    return Finding(part, name, "warning", f"{version}, tried with {wanted}", fix)


def _extras() -> Iterator[Finding]:
    for extra, purpose in EXTRAS.items():
        needed = _requirements(extra)
        found = [_package("extras", name, wanted, _installed(name)) for name, wanted in needed]
        missing = [each.name for each in found if each.state == "wrong"]
        old = [f"{each.name} {each.found}" for each in found if each.state == "warning"]
        fix = f"pip install '{DISTRIBUTION}[{extra}]'"
        if missing:
            text = f"for {purpose}: {', '.join(missing)} not installed"
            yield Finding("extras", extra, "absent", text, fix)
        elif old:
            yield Finding("extras", extra, "warning", "; ".join(old), fix)
        else:
            yield Finding("extras", extra, "ok", purpose)


def _fonts() -> Iterator[Finding]:
    for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"):
        there = resources.files("jaxarc_trace").joinpath("render", "fonts", name).is_file()
        fix = "" if there else f"pip install --force-reinstall {DISTRIBUTION}"
        found = "bundled" if there else "missing: PNG would have no text"
        yield Finding("fonts", name, "ok" if there else "wrong", found, fix)


def _disk(folder: Path) -> Iterator[Finding]:
    place = next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free
    little = free < _LITTLE
    fix = "jaxarc-trace clean runs --max-bytes 1GB --dry-run, or another root" if little else ""
    found = f"{free / 1e9:.1f} GB free in {place}"
    yield Finding("disk", "space", "warning" if little else "ok", found, fix)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        found, fix = f"{place}: {error.strerror}", "write runs to a local folder of your own"
        yield Finding("disk", "writing and locks", "wrong", found, fix)
    else:
        yield Finding("disk", "writing and locks", "ok", "both work")


def _wandb() -> Iterator[Finding]:
    if _installed("wandb") is None:
        found, fix = "wandb is not installed", f"pip install '{DISTRIBUTION}[wandb]'"
        yield Finding("wandb", "login", "absent", found, fix)
        return
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    where = "WANDB_API_KEY is set" if os.environ.get("WANDB_API_KEY") else _netrc(host)
    mode = os.environ.get("WANDB_MODE", "")
    if mode and mode != "online":
        found, fix = f"WANDB_MODE is {mode}: nothing is sent", "unset WANDB_MODE"
        yield Finding("wandb", "mode", "warning", found, fix)
    if where:
        yield Finding("wandb", "login", "ok", f"{where}, for {host}; not tried")
    else:
        yield Finding("wandb", "login", "absent", f"no key for {host}", "wandb login")


def _netrc(host: str) -> str:
    """Where the key is, if it is in the user's netrc; the key itself is looked at by nobody."""
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return f"a key in {path}" if host in netrc.netrc(path).hosts else ""
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return ""


def _devices() -> Iterator[Finding]:
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        found, fix = str(error).splitlines()[0], "JAX_PLATFORMS=cpu, or install the right jax"
        yield Finding("devices", "JAX", "wrong", found, fix)
        return
    kinds = sorted({each.device_kind for each in devices})
    found = f"{len(devices)} x {', '.join(kinds)}, backend {jax.default_backend()}"
    unused = jax.default_backend() == "cpu" and shutil.which("nvidia-smi") is not None
    if unused:
        found += ", though nvidia-smi is here"
    fix = "pip install -U 'jax[cuda12]', and unset JAX_PLATFORMS" if unused else ""
    yield Finding("devices", "JAX", "warning" if unused else "ok", found, fix)
    if _installed("jaxarc") is not None and os.environ.get("EQX_ON_ERROR") != "off":
        found = "not off: JaxARC's checks are host callbacks inside the program"
        fix = "export EQX_ON_ERROR=off before the program starts, where speed counts"
        yield Finding("devices", "EQX_ON_ERROR", "warning", found, fix)
