"""The only file that knows the W&B client: begins a run, sends, and asks the server what it has.

Every call may raise whatever the client raises; `publish_child` is where that becomes a sentence.
Nothing counts as sent because the client said so: artifacts are waited for, rows and files are
asked for at the server.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxarc_trace.errors import StoreError, require
from jaxarc_trace.publish_config import Described
from jaxarc_trace.publish_content import Content
from jaxarc_trace.publish_names import project
from jaxarc_trace.publish_plan import Job
from jaxarc_trace.publish_rows import X_AXIS
from jaxarc_trace.saves import Save
from jaxarc_trace.store_read import open_store

__all__ = [
    "begin",
    "end_service",
    "files_there",
    "last_step",
    "send_gallery",
    "send_row",
    "send_table",
    "send_trace",
]

INIT_SECONDS = 30.0
TABLE = "episodes"
REPORT = "report"
GALLERY = "trace/gallery"
GALLERY_STEP = "trace/gallery_step"
_PATIENCE = 20.0


def begin(job: Job, told: Described, left: Callable[[], float]) -> Any:
    """Begins or resumes the run, online or offline by the job's mode."""
    wandb: Any = require("wandb", "wandb", "Publishing")
    online = job.publish.mode == "online"
    settings = wandb.Settings(
        init_timeout=max(1.0, min(INIT_SECONDS, 0.6 * left())),
        finish_timeout=max(1.0, left()),
        finish_timeout_raises=True,
        console="off",
        silent=True,
        disable_code=True,
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        program="jaxarc-trace",
    )
    run = wandb.init(
        project=project(job.publish.project),
        entity=job.publish.entity,
        id=told.id,
        name=told.name,
        config=told.config,
        group=told.group,
        job_type=told.job_type,
        tags=told.tags,
        dir=job.work,
        mode="online" if online else "offline",
        resume="allow" if online else None,
        settings=settings,
    )
    run.define_metric(X_AXIS, hidden=True)
    run.define_metric("*", step_metric=X_AXIS)
    return run


def end_service() -> None:
    """Ends the client's service, and with it the file of an offline run.

    `finish` of a run says when the service has everything; it writes to the file now and then.
    """
    import wandb

    wandb.teardown()


def send_row(run: Any, row: Mapping[str, Any], step: int) -> None:
    """Sends a row of the history; one that the server has already is left out by the client."""
    run.log(dict(row), step=step)


def send_trace(run: Any, save: Save, left: Callable[[], float], *, online: bool) -> dict[str, Any]:
    """Sends the store of a save as a version of the run's artifact `trace-<id>`.

    Returns:
        What the server confirmed: `artifact`, `digest`, `files`, `bytes`; offline without a name.

    Raises:
        StoreError: when the store is not what was committed.
    """
    import wandb

    store = open_store(save.path)
    damaged = store.damaged_files()
    if damaged:
        raise StoreError(
            f"{save.path}: expected a whole store, found that {', '.join(damaged)} changed or is "
            "gone; restore it from a copy"
        )
    about = {"save": save.name, "sequence": save.sequence, "step": save.step}
    metadata = {**about, "commit": store.commit, "episodes": len(store)}
    artifact = wandb.Artifact(f"trace-{run.id}", "trace", metadata=metadata)
    files = sorted(path for path in save.path.rglob("*") if path.is_file())
    for file in files:
        # A committed store never changes, so that it need not be copied before it is sent.
        name = file.relative_to(save.path).as_posix()
        artifact.add_file(str(file), name, policy="immutable", skip_cache=True)
    facts = {"files": len(files), "bytes": sum(file.stat().st_size for file in files)}
    aliases = ["latest", f"save-{save.sequence:06d}"]
    if save.step is not None:
        aliases.append(f"step-{save.step}")
    return {**facts, **_logged(run, artifact, aliases, left, online=online)}


def send_table(
    run: Any, content: Content, left: Callable[[], float], *, online: bool
) -> tuple[dict[str, Any], Any]:
    """Sends the table of episodes, with its pictures, as the artifact `episodes-<id>`.

    Returns:
        What the server confirmed, and the value by which a row of the history shows it.
    """
    wandb: Any = require("wandb", "wandb", "Publishing")
    table = wandb.Table(columns=content.columns, allow_mixed_types=True)
    for row in content.rows:
        table.add_data(*(_cell(wandb, content, cell) for cell in row))
    artifact = wandb.Artifact(f"{TABLE}-{run.id}", "episode-table")
    entry = artifact.add(table, TABLE)
    # Taken now: when it is sent the client moves the staged file away.
    whole = _sum(entry.local_path)
    facts = _logged(run, artifact, ["latest"], left, online=online)
    if not online:
        return facts, table
    # A table in `run.log` is sent once more, as files and as an artifact that nobody waits for.
    # So the row points into the artifact that is confirmed, as the client's own rows do.
    place = f"wandb-artifact://{base64.b64decode(artifact.id).hex()}/{entry.path}"
    shape = {"ncols": len(content.columns), "nrows": len(content.rows), "log_mode": "IMMUTABLE"}
    return facts, {"_type": "table-file", "artifact_path": place, **shape, **whole}


def send_gallery(
    run: Any, content: Content, table: Any, key: str, step: int, *, row: bool
) -> dict[str, dict[str, Any]]:
    """Sends the viewer and the row that shows it beside the table.

    Args:
        run: of the client.
        content: what was staged.
        table: the value from `send_table`.
        key: of the gallery.
        step: W&B's step of the row.
        row: false where the server has the row already, and may lack the file.

    Returns:
        Size and MD5 of each file that has to arrive, by its name at the server.
    """
    import wandb

    viewer = wandb.Html(str(content.report), inject=False)
    # Bound by hand, so that its name depends on the step and not on what was sent before.
    viewer.bind_to_run(run, REPORT, step)
    facts = viewer.to_json(run)
    if row:
        run.log({TABLE: table, REPORT: viewer, GALLERY: key, GALLERY_STEP: step}, step=step)
    data = content.report.read_bytes()
    digest = base64.b64encode(hashlib.md5(data).digest()).decode()  # noqa: S324 - as W&B has it
    return {str(facts["path"]): {"size": len(data), "md5": digest}}


def last_step(
    entity: str, project: str, run_id: str, wanted: int, left: Callable[[], float]
) -> int:
    """The last step that the server has; asks again for a while where it is below a wanted one."""
    found, until = -1, time.monotonic() + min(_PATIENCE, left())
    while True:
        found = _api_run(entity, project, run_id, left).lastHistoryStep
        if found >= wanted or time.monotonic() > until:
            return found
        time.sleep(0.5)


def files_there(
    entity: str,
    project: str,
    run_id: str,
    wanted: Mapping[str, Mapping[str, Any]],
    left: Callable[[], float],
) -> bool:
    """Whether the server has files with the right size and MD5; asks again for a while."""
    until = time.monotonic() + min(_PATIENCE, left())
    while True:
        held = _api_run(entity, project, run_id, left).files(names=list(wanted))
        if {file.name for file in held if _same(file, wanted.get(file.name))} >= set(wanted):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.5)


def _logged(
    run: Any, artifact: Any, aliases: Iterable[str], left: Callable[[], float], *, online: bool
) -> dict[str, Any]:
    """Logs an artifact and, online, waits until the server has all of it."""
    digest = artifact.digest
    run.log_artifact(artifact, aliases=list(aliases))
    if not online:
        return {"digest": digest}
    artifact.wait(timeout=max(1, int(left())))
    if artifact.digest != digest:
        raise OSError(f"{artifact.name}: expected digest {digest}, found {artifact.digest}")
    return {"artifact": artifact.qualified_name, "digest": digest}


def _cell(wandb: Any, content: Content, cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    file = content.picture(cell)
    return wandb.Video(str(file)) if file.suffix == ".gif" else wandb.Image(str(file))


def _sum(file: str | Path) -> dict[str, Any]:
    data = Path(file).read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _api_run(entity: str, project: str, run_id: str, left: Callable[[], float]) -> Any:
    import wandb

    api = wandb.Api(overrides={"entity": entity}, timeout=max(1, int(left())))
    return api.run(f"{entity}/{project}/{run_id}")


def _same(file: Any, wanted: Mapping[str, Any] | None) -> bool:
    return (
        wanted is not None and file.size == wanted["size"] and file.md5 in ("", None, wanted["md5"])
    )
