"""The answers of a stand-in W&B server to the GraphQL operations of wandb 0.31 and wandb-workspaces 0.4."""

import base64
import json
from typing import Any
from urllib.parse import quote

from tests.wandb.served import ServedArtifact, ServedRun, ServedSweep, ServedView

ENTITY = "me"
"""The user to whom the key belongs, and the entity of a client that names none."""


class UnknownEntity(Exception):  # noqa: N818 - an answer of the server
    """The client wants to log as somebody whom the server does not know."""


class Content:
    """Content of the server, and the answer to each operation. An operation's method has its name.

    Args:
        address: the server's own address, where it tells clients to upload files.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.runs: dict[str, ServedRun] = {}
        self.artifacts: dict[str, ServedArtifact] = {}
        self.views: dict[str, ServedView] = {}
        self.projects: set[str] = set()
        self.sweeps: dict[str, ServedSweep] = {}

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the data of an operation; a KeyError if this server does not know the operation."""
        method = OPERATIONS[operation]
        answered: dict[str, Any] = method(self, given)
        return answered

    def key(self, project: str, run_id: str) -> str:
        """Return the key of a run: its id, or `PROJECT/ID` if a run of another project had the id first."""
        first = self.runs.get(run_id)
        return run_id if first is None or first.project == project else f"{project}/{run_id}"

    def stream(self, project: str, run_id: str, sent: dict[str, Any]) -> None:
        """Take rows, the summary, the console and the end of a run."""
        run = self.runs[self.key(project, run_id)]
        for name, chunk in (sent.get("files") or {}).items():
            for offset, line in enumerate(chunk["content"], chunk["offset"]):
                if name == "wandb-history.jsonl":
                    run.history[offset] = json.loads(line)
                elif name == "wandb-events.jsonl":
                    run.events[offset] = json.loads(line)
                elif name == "wandb-summary.json":
                    run.summary = json.loads(line)
                elif name == "output.log":
                    run.console[offset] = line
        if sent.get("complete"):
            run.exit_code = sent.get("exitcode")

    def upload(self, place: list[str], data: bytes) -> None:
        """Take an uploaded file. `place` is the kind, the id and the name that `_url` has put into the address."""
        kind, key, name = place
        if kind == "run":
            self.runs[key].files[name] = data
        elif kind == "manifest":
            self.artifacts[key].manifest = json.loads(data)
        else:
            self.artifacts[key].files[name] = data

    def _url(self, kind: str, key: str, name: str) -> str:
        return f"{self.address}/upload/{kind}/{quote(key, safe='')}/{quote(name, safe='')}"

    def viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        person = {"id": "u", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "", "admin": False, "flags": "{}"}
        return {"viewer": {**person, "teams": {"edges": []}, "apiKeys": {"edges": []}}}

    def features(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def nothing(self, given: dict[str, Any]) -> dict[str, Any]:
        """Answer what only W&B's own servers know: an organization, and the schema of an artifact's type."""
        return {"entity": None, "project": None}

    def internal_id(self, given: dict[str, Any]) -> dict[str, Any]:
        found = {"id": given["projectName"], "internalId": f"internal-{given['projectName']}"}
        return {"project": found if given["projectName"] in self.projects else None}

    def upsert_bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        """Open or change a run. A field that is not sent keeps its value."""
        if given.get("entity") not in (None, "", ENTITY):
            raise UnknownEntity(f"entity {given['entity']} not found during upsertBucket")
        entity, project = given.get("entity") or ENTITY, given.get("project") or "uncategorized"
        key = self.key(project, given["name"])
        is_new = key not in self.runs
        self.projects.add(project)
        run = self.runs.setdefault(key, ServedRun(given["name"], entity, project))
        run.starts += 1
        run.name = given.get("displayName") or run.name or run.id
        run.group = given.get("groupName") or run.group
        run.sweep = given.get("sweep") or run.sweep
        run.job_type = given.get("jobType") or run.job_type
        run.notes = given.get("notes") or run.notes
        run.tags = given["tags"] if given.get("tags") is not None else run.tags
        if given.get("config"):
            run.raw_config = json.loads(given["config"])
        if given.get("summaryMetrics"):
            run.summary |= json.loads(given["summaryMetrics"])
        return {"upsertBucket": {"inserted": is_new, "bucket": {**self._bucket(run), "sweepName": run.sweep}}}

    def resume_status(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(self.key(given["project"], given["name"]))
        here = {"id": "P", "name": given.get("project"), "entity": {"id": "E", "name": given.get("entity") or ENTITY}}
        if run is None:
            return {"model": {**here, "bucket": None}}
        tails = {
            "historyTail": json.dumps([json.dumps(row) for row in run.rows[-1:]]),
            "eventsTail": json.dumps([json.dumps(row) for _, row in sorted(run.events.items())[-1:]]),
            "logLineCount": len(run.console),
            "eventsLineCount": len(run.events),
            "wandbConfig": json.dumps({"t": run.raw_config.get("_wandb", {}).get("value", {}).get("t", {})}),
        }
        return {"model": {**here, "bucket": {**self._bucket(run), **tails}}}

    def _bucket(self, run: ServedRun) -> dict[str, Any]:
        """Return a run with the fields that clients ask for."""
        return {
            "id": run.id,
            "name": run.id,
            "displayName": run.name,
            "description": "",
            "notes": run.notes,
            "group": run.group,
            "jobType": run.job_type,
            "tags": run.tags,
            "state": "running" if run.exit_code is None else "finished" if run.exit_code == 0 else "failed",
            "config": json.dumps(run.raw_config),
            "summaryMetrics": json.dumps(run.summary),
            "systemMetrics": "{}",
            "historyLineCount": len(run.history),
            "historyKeys": {"lastStep": max((row.get("_step", 0) for row in run.rows), default=0), "keys": {}},
            "createdAt": "2026-01-01T00:00:00Z",
            "heartbeatAt": "2026-01-01T00:00:00Z",
            "commit": None,
            "readOnly": False,
            "projectId": "1",
            "user": {"name": ENTITY, "username": ENTITY},
            "project": {"id": "P", "name": run.project, "entity": {"id": "E", "name": run.entity}},
        }

    def run(self, given: dict[str, Any]) -> dict[str, Any]:
        found = self.runs.get(self.key(given["project"], given["name"]))
        return {"project": {"internalId": "1", "run": None if found is None else self._bucket(found)}}

    def list_runs(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return all runs of a project that pass a filter on the id, such as `{"name": {"$in": ["a", "b"]}}`."""
        if given["project"] not in self.projects:
            return {"project": None}
        wanted = json.loads(given.get("filters") or "{}")
        assert set(wanted) <= {"name"}, f"the stand-in server knows no filter {wanted}"
        ids = wanted.get("name", {}).get("$in")
        found = [run for run in self.runs.values() if run.project == given["project"] and (ids is None or run.id in ids)]
        edges = [{"node": self._bucket(run), "cursor": run.id} for run in found]
        page = {"endCursor": None, "hasNextPage": False}
        return {"project": {"internalId": "1", "runCount": len(found), "readOnly": False, "runs": {"edges": edges, "pageInfo": page}}}

    def create_run_files(self, given: dict[str, Any]) -> dict[str, Any]:
        key = self.key(given["project"], given["run"])
        files = [{"name": name, "uploadUrl": self._url("run", key, name)} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def mark_uploaded(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"markRunFilesUploaded": {"success": True}}

    def create_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        """Open a version of an artifact; one that is there already, by its digest, is complete and wants no files."""
        sent = given["input"]
        key = f"{sent['projectName']}.{sent['artifactCollectionName']}.{sent['digest']}"
        if key not in self.artifacts:
            self.artifacts[key] = ServedArtifact(
                key,
                sent["projectName"],
                sent.get("runName") or "",
                sent["artifactCollectionName"],
                sent["artifactTypeName"],
                sent["digest"],
                [alias["alias"] for alias in sent.get("aliases") or ()],
                json.loads(sent.get("metadata") or "{}"),
            )
        state = "COMMITTED" if self.artifacts[key].committed else "PENDING"
        return {"createArtifact": {"artifact": {"id": key, "state": state, "artifactSequence": {"id": "S", "latestArtifact": None}}}}

    def create_manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        key = given["artifactID"]
        file = {"id": "F", "uploadUrl": self._url("manifest", key, "manifest"), "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": key, "file": file}}}

    def update_manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        key = given["artifactManifestID"]
        file = {"id": "F", "uploadUrl": self._url("manifest", key, "manifest"), "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": key, "file": file}}}

    def create_artifact_files(self, given: dict[str, Any]) -> dict[str, Any]:
        edges = [{"node": self._artifact_file(file)} for file in given["input"]["artifactFiles"]]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _artifact_file(self, file: dict[str, Any]) -> dict[str, Any]:
        url = self._url("artifact", file["artifactID"], file["name"])
        shown = {"id": file["name"], "name": file["name"], "displayName": file["name"], "storagePath": file["name"]}
        return {**shown, "uploadUrl": url, "uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}}

    def commit_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        artifact = self.artifacts[given["artifactID"]]
        artifact.committed = True
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def use_artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"useArtifact": {"artifact": {"id": given["input"]["artifactID"]}}}

    def sweep(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a sweep with its settings, as an agent reads them when it starts."""
        found = self.sweeps.get(given["sweep"])
        return {"project": {"sweep": None if found is None else {"id": "S", "config": found.config, "runs": {"edges": []}}}}

    def create_agent(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": given["sweep"]}}}

    def heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give an agent that has no run the next one of its sweep."""
        sweep, commands = self.sweeps[given["id"]], []
        if not json.loads(given["runState"]) and sweep.settings:
            args = {name: {"value": value} for name, value in sweep.settings.pop(0).items()}
            commands = [{"type": "run", "run_id": f"drawn{len(sweep.settings)}", "program": "", "args": args}]
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    def list_projects(self, given: dict[str, Any]) -> dict[str, Any]:
        shown = {"entityName": ENTITY, "createdAt": "2026-01-01T00:00:00Z", "isBenchmark": False, "user": None}
        edges = [{"node": {"id": name, "name": name, **shown}, "cursor": name} for name in sorted(self.projects)]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def create_project(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.get("name") or given["input"]["name"]
        self.projects.add(name)
        return {"upsertModel": {"inserted": True, "project": {"id": name, "name": name, "entityName": ENTITY}, "model": {"name": name}}}

    def upsert_view(self, given: dict[str, Any]) -> dict[str, Any]:
        """Save a workspace or a report: a new one if its id is not given."""
        key = given.get("id") or base64.b64encode(f"View:{len(self.views) + 1}".encode()).decode()
        before = self.views.get(key)
        self.views[key] = view = ServedView(
            key,
            given.get("type") or "",
            given["entityName"],
            given["projectName"],
            given["name"],
            given["displayName"],
            given.get("description") or "",
            json.loads(given["spec"]),
            1 if before is None else before.saves + 1,
        )
        return {"upsertView": {"inserted": before is None, "view": _shown(view)}}

    def find_view(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the workspaces or reports of a project; with a name, the one of that name."""
        found = [view for view in self.views.values() if view.project == given.get("name") and view.kind == given.get("viewType")]
        named = [view for view in found if given.get("viewName") in (None, view.name)]
        page = {"endCursor": None, "hasNextPage": False}
        edges = [{"node": _shown(view), "cursor": view.id} for view in named]
        return {"project": {"allViews": {"edges": edges, "pageInfo": page}}}

    def one_view(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a report by its id."""
        view = self.views.get(given["reportId"])
        return {"view": None if view is None else _shown(view)}


def _shown(view: ServedView) -> dict[str, Any]:
    return {
        "id": view.id,
        "type": view.kind,
        "name": view.name,
        "displayName": view.title,
        "description": view.description,
        "project": {"id": "P", "name": view.project, "entityName": view.entity},
        "spec": json.dumps(view.spec),
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        "user": {"username": ENTITY, "name": ENTITY, "photoUrl": "", "email": "", "id": "u"},
        "previewUrl": "",
        "viewCount": 0,
    }


OPERATIONS = {
    "Viewer": Content.viewer,
    "GetViewer": Content.viewer,
    "GetDefaultEntity": Content.viewer,
    "ServerFeaturesQuery": Content.features,
    "OrganizationCoreWeaveOrganizationID": Content.nothing,
    "ArtifactType": Content.nothing,
    "ProjectInternalId": Content.internal_id,
    "UpsertBucket": Content.upsert_bucket,
    "RunResumeStatus": Content.resume_status,
    "Run": Content.run,
    "Runs": Content.list_runs,
    "CreateRunFiles": Content.create_run_files,
    "MarkRunFilesUploaded": Content.mark_uploaded,
    "CreateArtifact": Content.create_artifact,
    "CreateArtifactManifest": Content.create_manifest,
    "UpdateArtifactManifest": Content.update_manifest,
    "CreateArtifactFiles": Content.create_artifact_files,
    "CommitArtifact": Content.commit_artifact,
    "UseArtifact": Content.use_artifact,
    "SweepWithRuns": Content.sweep,
    "CreateAgent": Content.create_agent,
    "Heartbeat": Content.heartbeat,
    "GetProjects": Content.list_projects,
    "UpsertModel": Content.create_project,
    "CreateProject": Content.create_project,
    "UpsertView2": Content.upsert_view,
    "upsertView": Content.upsert_view,
    "View": Content.find_view,
    "SpecificReport": Content.one_view,
}
"""The method that answers each operation."""
