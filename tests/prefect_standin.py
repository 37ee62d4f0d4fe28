"""A stand-in for a Prefect server: accepts events, creates runs of deployments, and hangs, refuses or fails on request."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any
from uuid import UUID, uuid4

Event = dict[str, Any]
# id of the provider block `lanes`; the ids of further ones follow it
PROVIDER_BLOCK = UUID(int=770)
BLOCK = UUID(int=77)  # id of the first block; the ids of further ones follow it


@dataclass
class StoredRun:
    """A flow run as the server stores it."""

    id: str
    flow: str
    parameters: dict[str, Any]
    key: str | None
    state: str
    since: datetime
    name: str = ""  # of the state, if it differs from its type's name
    message: str | None = None
    keys: dict[str, str] | None = None  # the key set of the form that a suspended run shows

    def shown(self, deployment: str) -> dict[str, Any]:
        """Return the run as the API shows it."""
        at = self.since.isoformat()
        name = self.name or self.state.title()
        state = {
            "id": str(uuid4()),
            "type": self.state,
            "name": name,
            "message": self.message,
            "timestamp": at,
            "state_details": {"run_input_keyset": self.keys},
        }
        return {
            "id": self.id,
            "name": self.flow,
            "flow_id": deployment,
            "deployment_id": deployment,
            "state": state,
            "state_type": self.state,
            "parameters": self.parameters,
            "expected_start_time": at,
            "idempotency_key": self.key,
        }


class PrefectStandIn:
    """A running stand-in; its address for PREFECT_API_URL is `api_url`. Set `hangs`, `status` or `refuses` to break it."""

    def __init__(self) -> None:
        self.events: list[Event] = []  # in the order of acceptance, including repetitions
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []  # of each request, by lower-case name
        self.runs: list[StoredRun] = []
        self.provider_blocks: dict[str, dict[str, Any]] = {"lanes": {}}  # like `blocks`
        # the content of each workload's block, by its name
        self.blocks: dict[str, dict[str, Any]] = {}
        self.schedules: dict[str, list[dict[str, Any]]] = {}  # by flow, as the API shows them
        # the status of each existing work pool, by name
        self.pools: dict[str, str] = {"realtime": "READY"}
        self.limits: dict[str, int] = {}  # concurrency limits, by pool
        self.schedule_writes = 0
        self.answers: dict[str, Any] = {}  # the input of each resumed run, by run
        self.inputs: dict[tuple[str, str], Any] = {}  # the content of a run's form, by run and key
        # the schema of its deployment's parameters, by flow
        self.forms: dict[str, dict[str, Any]] = {}
        self.form_writes: list[str] = []  # the flow of each write of a form, in order
        self.refused_forms: set[str] = set()  # the flows whose forms it refuses to change
        self.workers: dict[str, list[tuple[str, str]]] = {}  # name and status, by pool
        # all deployments as the list endpoint shows them
        self.deployed: dict[str, dict[str, Any]] = {}
        self.automations: dict[str, dict[str, Any]] = {}
        self.undeployed: set[str] = set()  # flows without a deployment
        self.paused: set[str] = set()  # flows whose deployment is paused
        # name and message of every state that a run was set to, in order
        self.states: list[tuple[str, str]] = []
        # id, key, flow_run_id, data and description of each, oldest first
        self.artifacts: list[dict[str, Any]] = []
        self.hangs = False  # accepts requests, but never answers them
        self.status: int | None = None  # the status of all answers
        # a request that contains such an event is answered with 422
        self.refuses: Callable[[Event], bool] = lambda _: False
        self._deployments: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()  # ends hanging requests
        standin = self

        class PrefectHandler(BaseHTTPRequestHandler):
            # Send an answer in one piece: half of one would wait 40 ms for its acknowledgement.
            wbufsize = -1
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                standin._serve(self)

            def do_GET(self) -> None:
                standin._serve(self)

            def do_DELETE(self) -> None:
                standin._serve(self)

            def do_PATCH(self) -> None:
                standin._serve(self)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), PrefectHandler)
        self._server.daemon_threads = True
        self.api_url = f"http://127.0.0.1:{self._server.server_address[1]}/api"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def has_run(self, flow: str, state: str, *, age: timedelta = timedelta(0)) -> None:
        """Add a run of the deployment that entered this state, or has been due, since `age` ago."""
        self.runs.append(StoredRun(str(uuid4()), flow, {}, None, state, datetime.now(UTC) - age))

    def has_stored(self, event: str, occurred: datetime, *, workload: str = "letters") -> None:
        """Store an event of the workload in the server's database."""
        resource = {"prefect.resource.id": f"lanes.workload.{workload}"}
        stored = {
            "id": str(uuid4()),
            "event": event,
            "occurred": occurred.isoformat(),
            "resource": resource,
            "payload": {},
        }
        self.events.append(stored)

    def asked(self, flow: str) -> list[dict[str, Any]]:
        """Return the parameters of each requested run of the deployment; requests with the same key count once."""
        return [each.parameters for each in self.runs if each.flow == flow]

    def breaks(self, *, hangs: bool = False, status: int | None = None) -> None:
        """Answer no request, or all requests with this status, from now on."""
        self.hangs, self.status = hangs, status

    def heals(self) -> None:
        """Answer all requests normally from now on."""
        self.breaks()

    def stop(self) -> None:
        """Stop the server, including hanging requests."""
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = request.path.removeprefix("/api/").strip("/").partition("?")[0]
        self.requests.append(path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.hangs:
            self._ending.wait()
            request.close_connection = True
            return
        with self._lock:
            said = json.loads(body or b"null")
            status, answer = (
                (self.status, {}) if self.status else self._answer(request.command, path, said)
            )
        text = b"" if status == 204 else json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _answer(self, method: str, path: str, said: Any) -> tuple[int, Any]:
        match path.split("/"):
            case ["health"]:
                return 200, True
            case ["admin", "version"]:
                return 200, version("prefect")
            case ["block_types", "slug", slug]:
                return 200, {"id": str(uuid4()), "name": "Lanes workload", "slug": slug}
            case ["block_types", _] if method == "PATCH":
                return 204, None
            case ["block_schemas", "filter"]:
                return 200, [{"id": str(uuid4())}]
            case ["block_documents", id_] if method == "DELETE":
                (name,) = [name for name in self.blocks if self._block(name)["id"] == id_]
                del self.blocks[name]
                return 204, None
            case ["block_schemas", "checksum", checksum]:
                return 200, {
                    "id": str(uuid4()),
                    "block_type_id": str(uuid4()),
                    "checksum": checksum,
                    "fields": {},
                }
            case ["block_types", "slug", "lanes-provider", "block_documents"]:
                return 200, [self._provider_block(name) for name in self.provider_blocks]
            case ["block_types", "slug", "lanes-provider", "block_documents", "name", name]:
                return 200, self._provider_block(name)
            case ["block_types", "slug", _, "block_documents"]:
                return 200, [self._block(name, data) for name, data in self.blocks.items()]
            case ["block_types", "slug", _, "block_documents", "name", name]:
                return (
                    (200, self._block(name))
                    if name in self.blocks
                    else (404, {"detail": "Not Found"})
                )
            case ["block_documents"] if method == "POST":
                if said["name"] in self.blocks:
                    return 409, {"detail": "exists"}
                self.blocks[said["name"]] = said["data"]
                return 201, self._block(said["name"])
            case ["block_documents", id_] if method == "PATCH":
                (name,) = [name for name in self.blocks if self._block(name)["id"] == id_]
                kept = self.blocks[name] if said.get("merge_existing_data", True) else {}
                self.blocks[name] = kept | said["data"]
                return 204, None
            case ["deployments", id_] if (
                method == "PATCH" and self._flow(id_) in self.refused_forms
            ):
                return 409, {
                    "detail": "Error updating deployment: 'gone' is not one of ['letters']"
                }
            case ["deployments", id_] if method == "PATCH":
                self.form_writes.append(self._flow(id_))
                self.forms[self._flow(id_)] = said["parameter_openapi_schema"]
                return 204, None
            case ["deployments", id_, "schedules"] if method == "POST":
                theirs = {each["slug"] for each in self.schedules.get(self._flow(id_), [])}
                if theirs & {each["slug"] for each in said}:
                    return 409, {"detail": "Schedule slugs must be unique within a deployment."}
                self.schedule_writes += 1
                made = [{"id": str(uuid4()), "deployment_id": id_, **each} for each in said]
                self.schedules.setdefault(self._flow(id_), []).extend(made)
                return 201, made
            case ["deployments", id_, "schedules", gone] if method == "DELETE":
                self.schedule_writes += 1
                theirs = self.schedules[self._flow(id_)]
                theirs[:] = [each for each in theirs if each["id"] != gone]
                return 204, None
            case ["events"]:
                if any(self.refuses(each) for each in said):
                    return 422, {"exception_message": "Invalid request received."}
                self.events += said
                return 204, None
            case ["events", "filter"]:
                found = self._stored(said["filter"])
                return 200, {
                    "events": found[: said["limit"]],
                    "total": len(found),
                    "next_page": None,
                }
            case ["events", "count-by", "time"]:
                width = timedelta(minutes=said["time_interval"]).total_seconds()
                moments = (
                    datetime.fromisoformat(each["occurred"]).timestamp()
                    for each in self._stored(said["filter"])
                )
                spans = Counter(moment // width * width for moment in moments)
                return 200, [
                    {"start_time": datetime.fromtimestamp(at, UTC).isoformat(), "count": n}
                    for at, n in spans.items()
                ]
            case ["deployments", "filter"] if "deployments" not in said:
                return 200, list(self.deployed.values())
            case ["work_pools", pool, "workers", "filter"] if pool in self.workers:
                theirs = self.workers[pool]
                return 200, [{"name": name, "status": status} for name, status in theirs]
            case ["automations", "filter"]:
                return 200, list(self.automations.values())
            case ["deployments", "filter"]:
                asked = said["deployments"]["name"]["any_"]
                return 200, [
                    self._deployment(flow) for flow in asked if flow not in self.undeployed
                ]
            case ["deployments", "name", flow, _] if flow in self.undeployed:
                return 404, {"detail": "Not Found"}
            case ["deployments", id_] if method == "DELETE":
                self.undeployed.add(self._flow(id_))
                return 204, None
            case ["deployments", "name", flow, _]:
                return 200, self._deployment(flow)
            case ["deployments", id_, "create_flow_run"]:
                return 201, self._create(id_, said).shown(id_)
            case ["flow_runs", "filter"]:
                return 200, self._filtered(said)
            case ["flow_runs", id_, "set_state"]:
                (run,) = [each for each in self.runs if each.id == id_]
                wanted = said["state"]
                run.state, run.name, run.message = (
                    wanted["type"],
                    wanted["name"] or "",
                    wanted.get("message"),
                )
                self.states.append((run.name, run.message or ""))
                shown = run.shown(run.flow)["state"]
                return 201, {
                    "status": "ACCEPT",
                    "state": shown,
                    "details": {"type": "accept_details"},
                }
            case ["flow_runs", id_, "resume"]:
                (run,) = [each for each in self.runs if each.id == id_]
                if run.state != "PAUSED":
                    return 200, {"status": "ABORT", "details": {"reason": "the run is not paused"}}
                run.state = "SCHEDULED"
                self.answers[id_] = said["run_input"]
                return 201, {"status": "ACCEPT", "details": {}}
            case ["flow_runs", id_, "input"]:
                if (id_, said["key"]) in self.inputs:
                    return 409, {"detail": "A flow run input with this key already exists."}
                self.inputs[id_, said["key"]] = json.loads(said["value"])
                return 201, None
            case ["flow_runs", id_, "input", key] if method == "DELETE":
                is_known = self.inputs.pop((id_, key), None) is not None
                return (204, None) if is_known else (404, {"detail": "Not Found"})
            case ["artifacts"]:
                self.artifacts.append({"id": str(uuid4()), **said})
                return 201, self.artifacts[-1]
            case ["artifacts", "filter"]:
                ((field, wanted),) = said["artifacts"].items()
                return 200, [
                    each for each in reversed(self.artifacts) if each[field] in wanted["any_"]
                ][: said["limit"]]
            case ["work_pools"] if said["name"] in self.pools:
                return 409, {"detail": "exists"}
            case ["work_pools"]:
                self.pools[said["name"]] = "READY"
                if (limit := said["concurrency_limit"]) is not None:
                    self.limits[said["name"]] = limit
                return 201, said
            case ["work_pools", name] if name in self.pools:
                queue = {"id": str(uuid4()), "default_queue_id": str(uuid4()), "type": "process"}
                limit = {"concurrency_limit": self.limits.get(name)}
                return 200, {"name": name, "status": self.pools[name], **limit, **queue}
            case ["flow_runs", id_] if found := [each for each in self.runs if each.id == id_]:
                return 200, found[0].shown(id_)
            case _:
                return 404, {"detail": "Not Found"}

    def _create(self, deployment: str, said: dict[str, Any]) -> StoredRun:
        flow, key = self._flow(deployment), said.get("idempotency_key")
        known = next(
            (
                each
                for each in self.runs
                if key is not None and each.key == key and each.flow == flow
            ),
            None,
        )
        if known is None:
            known = StoredRun(
                str(uuid4()), flow, said["parameters"], key, "SCHEDULED", datetime.now(UTC)
            )
            self.runs.append(known)
        return known

    def _filtered(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        wanted = said["flow_runs"]
        if said.get("deployments"):  # the SDK sends every filter, null if it has no value
            flows, states = said["deployments"]["name"]["any_"], wanted["state"]["type"]["any_"]
            return [
                each.shown(self._id(each.flow))
                for each in self.runs
                if each.flow in flows and each.state in states
            ]
        (deployment,) = wanted["deployment_id"]["any_"]
        states = wanted["state"]["type"]["any_"]
        before = datetime.fromisoformat(
            wanted["expected_start_time"]["before_"].replace("Z", "+00:00")
        )
        flow = self._flow(deployment)
        found = [
            each
            for each in self.runs
            if each.flow == flow and each.state in states and each.since <= before
        ]
        return [each.shown(deployment) for each in found]

    def _stored(self, wanted: dict[str, Any]) -> list[Event]:
        """Return the events with the wanted names that occurred in the wanted period, oldest first."""
        since, until = (
            datetime.fromisoformat(wanted["occurred"][end].replace("Z", "+00:00"))
            for end in ("since", "until")
        )
        found = [each for each in self.events if each["event"] in wanted["event"]["name"]]
        between = [
            each for each in found if since <= datetime.fromisoformat(each["occurred"]) <= until
        ]
        return sorted(
            ({"received": each["occurred"], **each} for each in between),
            key=lambda each: each["occurred"],
        )

    def _deployment(self, flow: str) -> dict[str, Any]:
        """Return the deployment as the API shows it, including the schema of its parameters."""
        id_, theirs = self._id(flow), self.schedules.get(flow, [])
        shown: dict[str, Any] = {
            "id": id_,
            "name": flow,
            "flow_id": id_,
            "parameters": {},
            "schedules": theirs,
        }
        shown["paused"] = flow in self.paused
        return {**shown, "parameter_openapi_schema": self.forms.get(flow)}

    def _id(self, flow: str) -> str:
        """Return the id of the flow's deployment."""
        return self._deployments.setdefault(flow, str(uuid4()))

    def _flow(self, deployment: str) -> str:
        return next(flow for flow, id_ in self._deployments.items() if id_ == deployment)

    def _block(self, name: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a workload's block as the API shows it."""
        number = BLOCK.int + list(self.blocks).index(name)
        return _document(number, name, self.blocks[name] if data is None else data)

    def _provider_block(self, name: str) -> dict[str, Any]:
        number = PROVIDER_BLOCK.int + list(self.provider_blocks).index(name)
        return _document(number, name, self.provider_blocks[name])


def _document(number: int, name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(UUID(int=number)),
        "name": name,
        "data": data,
        "block_type_id": str(uuid4()),
        "block_schema_id": str(uuid4()),
    }
