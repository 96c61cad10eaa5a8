"""A stand-in for the W&B server: what the client asks, kept in memory, with faults on request.

It is strict where the client is not: an artifact is committed only when every file of its manifest
has arrived with the digest that the manifest says. Lines of a stream are kept by their offset and
files by their name, as the real server does, so that what is sent twice is there once.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = "tester"
TIME = "2026-01-01T00:00:00Z"
Fault = Callable[[str, "Server"], int | str | None]
"""Given what is asked (`UpsertBucket`, `stream`, `upload`, ...), gives a status, `hang`, `drop`."""


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()  # noqa: S324 - as W&B does


@dataclass
class Run:
    """One run as the server holds it."""

    project: str
    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def history(self) -> list[dict[str, Any]]:
        lines = self.lines.get("wandb-history.jsonl", {})
        return [json.loads(lines[offset]) for offset in sorted(lines)]

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.lines.get("wandb-summary.json", {})
        return json.loads(lines[max(lines)]) if lines else {}

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(self.fields.get("config") or "{}")


@dataclass
class Artifact:
    """One version of an artifact, committed or not."""

    id: str
    name: str
    type: str
    digest: str
    project: str
    state: str = "PENDING"
    version: int | None = None
    metadata: str | None = None
    aliases: tuple[str, ...] = ()
    manifest: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def entries(self) -> dict[str, Any]:
        return json.loads(self.manifest)["contents"]


class Server:
    """What arrived, and what to do wrong.

    Attributes:
        asked: name of every request, in order.
        fault: what to do to the next ones.
        url: where it listens.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.artifacts: list[Artifact] = []
        self.asked: list[str] = []
        self.sent = 0
        self.keys: set[str] = set()
        self.fault: Fault | None = None
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.url = ""

    def committed(self, prefix: str = "") -> list[Artifact]:
        held = [a for a in self.artifacts if a.state == "COMMITTED" and a.name.startswith(prefix)]
        return sorted(held, key=lambda artifact: (artifact.name, artifact.version))

    @property
    def run(self) -> Run:
        """The only run."""
        (found,) = self.runs.values()
        return found

    # ------------------------------------------------------------------------------ GraphQL

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        found = getattr(self, f"on_{name}", None)
        if found is None:
            raise KeyError(name)
        return found(variables)

    def on_Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "viewer": {
                "id": "u1",
                "entity": ENTITY,
                "username": ENTITY,
                "name": ENTITY,
                "email": "t@example.com",
                "flags": "{}",
                "admin": False,
                "deletedAt": None,
                "teams": {"edges": []},
                "apiKeys": {"edges": []},
            }
        }

    def on_ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def on_OrganizationCoreWeaveOrganizationID(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def on_XXHashDigestsEnabled(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": None}}

    def on_RunResumeStatus(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(asked["name"])
        project = asked.get("project")
        bucket = None
        if run is not None:
            lines = [json.dumps(row) for row in run.history]
            bucket = {
                "id": run.name,
                "name": run.name,
                "displayName": run.fields["displayName"],
                "summaryMetrics": json.dumps(run.summary),
                "config": run.fields.get("config") or "{}",
                "historyLineCount": len(lines),
                "logLineCount": 0,
                "eventsLineCount": 0,
                "historyTail": json.dumps(lines[-1:]),
                "eventsTail": "[]",
                "tags": run.fields.get("tags") or [],
                "notes": None,
                "wandbConfig": json.dumps({"t": 1}),
            }
        entity = {"id": "e1", "name": ENTITY}
        return {"model": {"id": "p1", "name": project, "entity": entity, "bucket": bucket}}

    def on_UpsertBucket(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["name"]
        fresh = name not in self.runs
        run = self.runs.setdefault(name, Run(asked["project"], name))
        run.fields.update({k: v for k, v in asked.items() if v is not None})
        run.fields.setdefault("displayName", name)
        entity = {"id": "e1", "name": ENTITY}
        bucket = {
            "id": name,
            "name": name,
            "displayName": run.fields["displayName"],
            "description": "",
            "config": run.fields.get("config") or "{}",
            "sweepName": None,
            "project": {"id": "p1", "name": run.project, "entity": entity},
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": fresh}}

    def on_ArtifactType(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = str(asked.get("name")).partition(":")[0]
        known = next((a for a in self.artifacts if a.name == name), None)
        return {"project": {"artifact": known and {"artifactType": {"name": known.type}}}}

    def on_CreateArtifact(self, asked: dict[str, Any]) -> dict[str, Any]:
        given = asked["input"]
        (name,) = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
        family = [a for a in self.artifacts if a.name == name]
        same = [a for a in family if a.digest == given["digest"]]
        if same:
            found = same[-1]
        else:
            number = f"{len(self.artifacts):012d}"
            found = Artifact(
                base64.b64encode(f"Artifact:{number}".encode()).decode(),
                name,
                given["artifactTypeName"],
                given["digest"],
                given["projectName"],
                metadata=given.get("metadata"),
                aliases=tuple(alias["alias"] for alias in given.get("aliases") or ()),
            )
            self.artifacts.append(found)
        latest = next((a for a in reversed(family) if a.state == "COMMITTED"), None)
        sequence = {"latestArtifact": None if latest is None else {"id": latest.id}}
        made = {"id": found.id, "state": found.state, "artifactSequence": sequence}
        return {"createArtifact": {"artifact": made}}

    def on_CreateArtifactManifest(self, asked: dict[str, Any]) -> dict[str, Any]:
        place = f"{self.url}/put/manifest/{quote(asked['artifactID'], safe='')}"
        file = {"id": "f1", "uploadUrl": place, "uploadHeaders": []}
        manifest = {"id": f"m-{asked['artifactID']}", "file": file}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def on_CreateArtifactFiles(self, asked: dict[str, Any]) -> dict[str, Any]:
        edges = []
        for given in asked["input"]["artifactFiles"]:
            words = (given["artifactID"], given["name"], given["md5"])
            place = "/".join(quote(word, safe="") for word in words)
            node = {
                "storagePath": f"store/{given['md5']}",
                "uploadUrl": f"{self.url}/put/artifact/{place}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": given["artifactID"]},
            }
            held = next((a.files for a in self.artifacts if a.id == given["artifactID"]), {})
            stored = (data for a in self.artifacts for data in a.files.values())
            kept = next((data for data in stored if md5(data) == given["md5"]), None)
            if kept is not None:
                held[given["name"]] = kept
                node["uploadUrl"] = None
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def on_CommitArtifact(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = next(a for a in self.artifacts if a.id == asked["artifactID"])
        for name, entry in found.entries.items():
            if md5(found.files.get(name, b"not here")) != entry["digest"]:
                raise ValueError(f"{name} has not arrived")
        if found.state != "COMMITTED":
            family = [a for a in self.artifacts if a.name == found.name]
            found.version = sum(a.state == "COMMITTED" for a in family)
            found.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": found.id, "digest": found.digest}}}

    def on_ArtifactByID(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = next(a for a in self.artifacts if a.id == asked["id"])
        project = {"id": "p1", "internalId": "1", "name": found.project, "entity": {"name": ENTITY}}
        sequence = {"__typename": "ArtifactSequence", "name": found.name, "project": project}
        return {
            "artifact": {
                "__typename": "Artifact",
                "id": found.id,
                "artifactSequence": sequence,
                "versionIndex": found.version,
                "artifactType": {"name": found.type},
                "description": None,
                "metadata": found.metadata,
                "ttlDurationSeconds": -2,
                "ttlIsInherited": True,
                "tags": [],
                "historyStep": None,
                "state": found.state,
                "size": sum(map(len, found.files.values())),
                "digest": found.digest,
                "commitHash": "c1",
                "fileCount": len(found.files),
                "createdAt": TIME,
                "updatedAt": None,
                "aliases": [],
            }
        }

    def on_CreateRunFiles(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = quote(asked["run"], safe="")
        files = [
            {"name": name, "uploadUrl": f"{self.url}/put/run/{run}/{quote(name, safe='')}"}
            for name in asked["files"]
        ]
        return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}

    # What the public API asks, with which the end is checked.

    def on_Run(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(asked["name"])
        if run is None:
            return {"project": {"run": None}}
        return {
            "project": {
                "run": {
                    "projectId": "1",
                    "id": run.name,
                    "name": run.name,
                    "tags": [],
                    "displayName": run.fields["displayName"],
                    "sweepName": None,
                    "state": "finished",
                    "group": None,
                    "jobType": None,
                    "commit": None,
                    "readOnly": False,
                    "createdAt": TIME,
                    "heartbeatAt": TIME,
                    "notes": None,
                    "description": "",
                    "systemMetrics": "{}",
                    "user": {"name": ENTITY, "username": ENTITY},
                    "historyLineCount": len(run.history),
                    "config": run.fields.get("config"),
                    "summaryMetrics": json.dumps(run.summary),
                    "historyKeys": self._keys(run),
                }
            }
        }

    def on_RunHistoryKeys(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[asked["name"]]
        return {"project": {"run": {"historyKeys": self._keys(run)}}}

    def on_RunFiles(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[asked["name"]]
        wanted = asked.get("fileNames") or list(run.files)
        edges = [
            {
                "node": {
                    "id": name,
                    "name": name,
                    "url": "",
                    "directUrl": "",
                    "mimetype": "",
                    "sizeBytes": len(data),
                    "updatedAt": TIME,
                    "md5": md5(data),
                },
                "cursor": name,
            }
            for name, data in run.files.items()
            if name in wanted
        ]
        page = {"endCursor": None, "hasNextPage": False}
        found = {"fileCount": len(run.files), "files": {"edges": edges, "pageInfo": page}}
        return {"project": {"internalId": "1", "run": found}}

    @staticmethod
    def _keys(run: Run) -> dict[str, Any]:
        return {"lastStep": max((row["_step"] for row in run.history), default=-1), "keys": {}}

    # ------------------------------------------------------------------------ streams and files

    def stream(self, name: str, data: dict[str, Any]) -> None:
        run = self.runs[name]
        for file, chunk in (data.get("files") or {}).items():
            lines = run.lines.setdefault(file, {})
            for index, line in enumerate(chunk["content"]):
                lines[chunk.get("offset", 0) + index] = line

    def put(self, kind: str, words: list[str], data: bytes) -> None:
        self.sent += len(data)
        if kind == "run":
            self.runs[words[0]].files[words[1]] = data
            return
        found = next(a for a in self.artifacts if a.id == words[0])
        if kind == "manifest":
            found.manifest = data
        else:
            found.files[words[1]] = data
