"""Lanes' client of a Prefect server's HTTP API."""

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

from lanes.errors import StandError
from lanes.stand.info import StandInfo
from lanes.stand.local import LOOPBACK
from lanes.standing.roles import NEWEST, OPEN, DeploymentRun
from lanes.standing.runs import Deployment, WantedRun

PAGE = 200


class LoginRefused(StandError):
    """The Prefect server does not accept our login."""


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header that a protected server requires, from Prefect's own two settings."""
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def is_local(url: str) -> bool:
    """Return whether this address is on this machine, so that requests must not go through a proxy."""
    return urlsplit(url).hostname in (LOOPBACK, "localhost", "::1")


class PrefectApi:
    """A client of one Prefect server. Unless documented otherwise, a method without a usable answer raises StandError."""

    def __init__(
        self, url: str, *, environment: Mapping[str, str] | None = None, timeout_s: float = 10
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=f"{self.url}/",
            headers=credentials(os.environ if environment is None else environment),
            timeout=timeout_s,
            trust_env=not is_local(url),
        )

    @classmethod
    def at(cls, url: str, stand: StandInfo | None, *, timeout_s: float = 10) -> Self:
        """Return a client of the Prefect server at that address.

        It uses the stand's login for the stand's server, and this process's settings for another.
        """
        if stand is not None and url.rstrip("/") == stand.prefect_api_url.rstrip("/"):
            return cls.from_stand(stand, timeout_s=timeout_s)
        return cls(url, timeout_s=timeout_s)

    @classmethod
    def from_stand(cls, info: StandInfo, *, timeout_s: float = 10) -> Self:
        """Return a client of the Prefect server that a stand uses, with the login of that server."""
        return cls(info.prefect_api_url, environment=info.credentials(), timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def healthy(self) -> bool:
        """Return whether the server answers its health check; never raises."""
        try:
            return self._http.get("health").status_code == 200
        except httpx2.HTTPError:
            return False

    def home(self) -> str | None:
        """Return the PREFECT_HOME of the server, which distinguishes servers; None if the server does not report it."""
        try:
            return str(self._get("admin/settings").get("home"))
        except StandError:
            return None

    def version(self) -> str:
        return str(self._get("admin/version"))

    def read_flush_limits(self) -> tuple[int, int] | None:
        """Return the limits of the server's event queue; None if the server does not report its settings.

        These are the number of waiting events at which the server writes them, and of failed writes at which it drops them.
        """
        try:
            persister = self._get("admin/settings")["server"]["services"]["event_persister"]
            return int(persister["batch_size"]), int(persister["max_flush_retries"])
        except (StandError, KeyError, TypeError, ValueError):
            return None

    def work_pool(self, name: str) -> dict[str, Any] | None:
        """Return the pool, or None if there is none of that name."""
        answer = self._send("GET", f"work_pools/{name}", allowed=(404,))
        return None if answer.status_code == 404 else answer.json()

    def create_work_pool(self, name: str, *, description: str, limit: int | None) -> bool:
        """Create a process pool for up to `limit` runs at once; return False and change nothing if the pool exists."""
        about = {"description": description, "concurrency_limit": limit}
        body = {"name": name, "type": "process", **about}
        return self._send("POST", "work_pools/", body, allowed=(409,)).status_code != 409

    def workers(self, pool: str) -> list[dict[str, Any]]:
        """Return the workers of a pool, including recently stopped ones; empty if there is no such pool."""
        path = f"work_pools/{pool}/workers/filter"
        answer = self._send("POST", path, {"limit": PAGE}, allowed=(404,))
        return [] if answer.status_code == 404 else answer.json()

    def deployments(self) -> dict[str, dict[str, Any]]:
        """Return every deployment, by name."""
        return self._read_by_name("deployments")

    def automations(self) -> dict[str, dict[str, Any]]:
        """Return every automation, by name."""
        return self._read_by_name("automations")

    def _read_by_name(self, kind: str) -> dict[str, dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            asked = {"limit": PAGE, "offset": len(rows), "sort": "NAME_ASC"}
            rows += (page := self._post(f"{kind}/filter", asked))
            if len(page) < PAGE:
                return {str(each["name"]): each for each in rows}

    def block(self, slug: str, name: str, *, with_secrets: bool = False) -> dict[str, Any] | None:
        """Return the data of a block, including its secrets if `with_secrets` is set; None if there is no such block."""
        secrets = "?include_secrets=true" if with_secrets else ""
        path = f"block_types/slug/{slug}/block_documents/name/{name}{secrets}"
        answer = self._send("GET", path, allowed=(404,))
        return None if answer.status_code == 404 else answer.json()["data"]

    def keep_secret(self, name: str, value: str | None) -> None:
        """Store the value in the secret block of that name; None deletes the block."""
        path = "block_types/slug/secret"
        answer = self._send("GET", f"{path}/block_documents/name/{name}", allowed=(404,))
        known = None if answer.status_code == 404 else f"block_documents/{answer.json()['id']}"
        if value is None:
            if known:
                self._send("DELETE", known, allowed=(404,))
            return
        data: dict[str, Any] = {"data": {"value": value}}
        if known:
            self._send("PATCH", known, data)
            return
        kind = self._get(path)["id"]
        schemas = self._post(
            "block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        )
        about = {"name": name, "block_type_id": kind, "block_schema_id": schemas[0]["id"]}
        self._post("block_documents/", {**about, **data})

    def newest_event(self, *names: str, since: datetime, until: datetime) -> datetime | None:
        """Return the time of the newest event of these names between `since` and `until`; None if there was none."""
        within = {"since": since.isoformat(), "until": until.isoformat()}
        wanted = {"event": {"name": names}, "occurred": within, "order": "DESC"}
        found = self._post("events/filter", {"filter": wanted, "limit": 1})["events"]
        return datetime.fromisoformat(found[0]["occurred"]) if found else None

    def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Send the events in one request; the server answers before it has stored them."""
        self._send("POST", "events", list(events))

    def run(self, wanted: WantedRun) -> str:
        """Request the run and return its id; requests with the same key create only one run."""
        path = f"deployments/{self._deployment(wanted.deployment)}/create_flow_run"
        return str(self._post(path, wanted.request())["id"])

    def open_runs(self, of: Deployment, *, due_before: datetime) -> list[DeploymentRun]:
        """Return the newest runs of a deployment that are due and have not ended."""
        wanted = {
            "deployment_id": {"any_": [self._deployment(of)]},
            "state": {"type": {"any_": OPEN}},
            "expected_start_time": {"before_": due_before.isoformat()},
        }
        asked = {"flow_runs": wanted, "sort": "EXPECTED_START_TIME_DESC", "limit": NEWEST}
        return [_read_run(each) for each in self._post("flow_runs/filter", asked)]

    def cancel_open(self, flows: Sequence[str], *, why: str) -> int:
        """Cancel the pending and running runs of these flows' deployments, and return their number.

        Prefect does not notify the runs: a run that still has a process continues.
        """
        wanted = {
            "deployments": {"name": {"any_": list(flows)}},
            "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}},
            "limit": PAGE,
        }
        found = self._post("flow_runs/filter", wanted)
        state = {"type": "CANCELLED", "name": "Cancelled", "message": why}
        for each in found:
            self._post(f"flow_runs/{each['id']}/set_state", {"state": state, "force": True})
        return len(found)

    def resume(self, run_id: str, answer: Mapping[str, Any]) -> str | None:
        """Resume a suspended run with the answer that it waits for; return the reason if Prefect refuses, else None."""
        reply = self._post(f"flow_runs/{run_id}/resume", {"run_input": answer})
        if reply["status"] == "ACCEPT":
            return None
        return str((reply.get("details") or {}).get("reason") or reply["status"])

    def cancel_suspended(self, run_id: str, *, why: str) -> None:
        """Cancel the run if it is suspended."""
        if self.run_state(run_id) == "PAUSED":
            state = {"type": "CANCELLED", "name": "Cancelled", "message": why}
            self._post(f"flow_runs/{run_id}/set_state", {"state": state})

    def write_artifact(self, key: str, markdown: str, *, description: str) -> str:
        """Write the newest version of a markdown artifact and return its id."""
        body = {"key": key, "type": "markdown", "data": markdown, "description": description}
        return str(self._post("artifacts/", body)["id"])

    def newest_artifact(self, key: str) -> str | None:
        """Return the id of the newest artifact of that key, or None without any."""
        asked = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", "limit": 1}
        return next((str(each["id"]) for each in self._post("artifacts/filter", asked)), None)

    def run_state(self, run_id: str) -> str:
        """Return the type of a flow run's state, for example RUNNING or COMPLETED."""
        return str(self._get(f"flow_runs/{run_id}")["state_type"])

    def _deployment(self, of: Deployment) -> str:
        return str(self._get(f"deployments/name/{of.address}")["id"])

    def _get(self, path: str) -> Any:
        return self._send("GET", path).json()

    def _post(self, path: str, body: object) -> Any:
        return self._send("POST", path, body).json()

    def _send(
        self, method: str, path: str, body: object = None, *, allowed: tuple[int, ...] = ()
    ) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise StandError(
                f"the Prefect API at {self.url} gives no answer ({type(error).__name__}): start it, or correct PREFECT_API_URL"
            ) from error
        if answer.status_code in (401, 403):
            raise LoginRefused(
                f"the Prefect API at {self.url} refuses us: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
            )
        if answer.status_code >= 400 and answer.status_code not in allowed:
            raise StandError(
                f"the Prefect API at {self.url} answered {answer.status_code} to {method} {path}: {answer.text[:200]}"
            )
        return answer


def _read_run(run: Mapping[str, Any]) -> DeploymentRun:
    state = str(run["state_type"])
    since = run["expected_start_time"] if state == "SCHEDULED" else run["state"]["timestamp"]
    return DeploymentRun(state, datetime.fromisoformat(str(since)))
