"""A whole stand for tests: all processes of `lanes up`, in a folder of the test session, with the echo engine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psutil
from sqlalchemy import Engine, create_engine, text

from lanes.mainjob.mainjob import ENDED
from lanes.stand.info import StandInfo, load_info
from lanes.stand.local import birth_mark
from lanes.stand.prefect_api import credentials
from lanes.stand.processes import Processes
from lanes.standing.roles import Role
from tests.waiting import until

HOLDER = """
    select a.pid as session, a.client_port as port from pg_locks l join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.granted and l.objid = :role and l.database = a.datid and a.datname = current_database()
"""
OWN = ("LANES_", "PREFECT_", "ANTHROPIC_", "SLACK_")


@dataclass
class RunningStand:
    """A running stand, and the means by which a test uses it."""

    home: Path
    asked: dict[str, str]  # the environment of `lanes up`
    environment: dict[str, str]  # the environment of the stand's users
    info: StandInfo
    started: frozenset[str]
    pool: Engine
    prefect: httpx2.Client
    endpoint: httpx2.Client
    # resources that a test opened, closed when the stand is taken down
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def login(self) -> str:
        """The login of the stand's own Prefect."""
        return self.environment["PREFECT_API_AUTH_STRING"]

    def emit(
        self, workload: str, payload: Mapping[str, Any], *, event: str = "lanes.item.arrived"
    ) -> str:
        """Send an event of the workload to Prefect and return its id."""
        event_id = str(uuid4())
        resource = {
            "prefect.resource.id": f"lanes.workload.{workload}",
            "prefect.resource.name": workload,
        }
        body = [
            {
                "id": event_id,
                "event": event,
                "occurred": _now(),
                "resource": resource,
                "payload": dict(payload),
            }
        ]
        self.prefect.post("events", json=body).raise_for_status()
        return event_id

    def run(self, flow: str, parameters: Mapping[str, Any] | None = None) -> str:
        """Create a run of a deployment and return its id."""
        found = self.prefect.get(f"deployments/name/{flow}/{flow}").raise_for_status().json()
        asked = self.prefect.post(
            f"deployments/{found['id']}/create_flow_run", json={"parameters": parameters or {}}
        )
        return asked.raise_for_status().json()["id"]

    def wait_for_end(self, run: str) -> str:
        """Wait until the run has ended, and return the type of its last state."""

        def read_type() -> str:
            return self.prefect.get(f"flow_runs/{run}").raise_for_status().json()["state_type"]

        until(lambda: read_type() in ENDED, what=f"the end of run {run}")
        return read_type()

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Return the rows of a query."""
        with self.pool.begin() as connection:
            return list(connection.execute(text(query), values))

    def value(self, query: str, **values: Any) -> Any:
        """Return the first column of the first row, or None without rows."""
        rows = self.rows(query, **values)
        return rows[0][0] if rows else None

    def state(self, workload: str, key: str) -> str | None:
        """Return an item's state, or None for an unknown item."""
        return self.value(
            "select state from lanes.item_status where workload = :w and key = :k",
            w=workload,
            k=key,
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the newest 50 events of this name that Prefect has stored."""
        asked = {"filter": {"event": {"name": [name]}, "order": "DESC"}, "limit": 50}
        return self.prefect.post("events/filter", json=asked).raise_for_status().json()["events"]

    def trouble(self) -> str:
        """Return the waiting events, the newest warnings and errors of all runs, and the end of the Prefect server's log."""
        waiting = self.rows(
            "select event, count(*), min(occurred_at) from lanes.event_outbox group by event"
        )
        publisher = self.rows("select * from lanes.publisher")
        asked = {"logs": {"level": {"ge_": 30}}, "sort": "TIMESTAMP_DESC", "limit": 40}
        logs = self.prefect.post("logs/filter", json=asked).raise_for_status().json()
        told = [f"{each['timestamp']} {each['name']} {each['message']}" for each in reversed(logs)]
        server = (self.home / "logs" / "prefect-server.log").read_text()[-20_000:]
        return "\n".join([f"the outbox: {waiting}, published by {publisher}", *told, server])

    def holder(self, role: Role) -> Any:
        """Return the session that holds the role, or None while the role is free."""
        found = self.rows(HOLDER, role=int(role))
        return found[0] if found else None

    def kill_holder(self, role: Role) -> int:
        """Kill the process that holds the role, and return the session of its lock."""
        held = self.holder(role)
        ports = held.port, self.pool.url.port

        def find_one() -> set[int]:
            """Return the process of the session; nothing while a child that it has just forked shares the connection."""
            found = {
                each.pid
                for each in psutil.net_connections("tcp")
                if each.pid
                and each.laddr
                and each.raddr
                and (each.laddr.port, each.raddr.port) == ports
            }
            return found if len(found) == 1 else set()

        (pid,) = until(find_one, what=f"one process that holds {role.name}")
        os.kill(pid, signal.SIGKILL)
        return held.session

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `lanes` command."""
        return cli(self.environment, *arguments)


def put_up(home: Path, **more: str) -> RunningStand:
    """Start a stand under `home`."""
    asked = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    asked |= {
        "LANES_HOME": str(home),
        "LANES_LOCAL_ENGINE": "echo",
        "LANES_LOCAL_TURNAROUND_S": "1",
        **more,
    }
    done = cli(asked, "up", "--json")
    assert done.returncode == 0, done.stderr
    info = load_info(home)
    assert info is not None
    return opened(home, asked, info, frozenset(data(done)["started"]))


def opened(
    home: Path, asked: dict[str, str], info: StandInfo, started: frozenset[str]
) -> RunningStand:
    """Return the connections to a running stand."""
    environment = asked | info.environment()
    return RunningStand(
        home,
        asked,
        environment,
        info,
        started,
        create_engine(environment["LANES_DATABASE_URL"]),
        httpx2.Client(
            base_url=f"{info.prefect_api_url}/",
            headers=credentials(environment),
            trust_env=False,
            timeout=20,
        ),
        httpx2.Client(
            base_url=f"{environment['ANTHROPIC_BASE_URL']}/", trust_env=False, timeout=20
        ),
    )


def take_down(stand: RunningStand) -> None:
    """Stop the stand, and assert that Postgres stopped last and that no process is left."""
    stand.held.close()
    stand.pool.dispose()
    stand.prefect.close()
    stand.endpoint.close()
    processes = Processes(stand.home / "processes", stand.home / "logs")
    running = processes.list_recorded()
    done = stand.cli("down", "--json")
    assert done.returncode == 0, done.stderr
    assert data(done)["stopped"][-1] == "postgres"
    assert [each.name for each in running if birth_mark(each.pid) is not None] == []
    assert processes.list_recorded() == []


def cli(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `lanes` command."""
    return subprocess.run(
        [sys.executable, "-m", "lanes", *arguments],
        env=dict(environment),
        text=True,
        capture_output=True,
        timeout=480,
    )


def data(done: subprocess.CompletedProcess[str]) -> Any:
    """Return the JSON that a command printed."""
    return json.loads(done.stdout)


def _now() -> str:
    return datetime.now(UTC).isoformat()
