"""The comparison for events: one plain flow run for each event, through an automation and a worker."""

import time
from uuid import uuid4

from sqlalchemy import text

from tests.running_stand import RunningStand

PLAIN = "bench.item.arrived"
POLL_S = 0.01
LOST_AFTER_S = 60.0


def deploy(stand: RunningStand) -> None:
    """Deploy the flow of `plain_flow`, triggered by each event."""
    with stand.pool.begin() as connection:
        connection.execute(text("create table plain (key text primary key, message_id text)"))
    ask = stand.prefect.post
    flow = ask("flows/", json={"name": "plain"}).raise_for_status().json()
    body = {
        "name": "plain",
        "flow_id": flow["id"],
        "entrypoint": "tests.benchmarks.plain_flow.plain",
        "work_pool_name": "realtime",
        "job_variables": {"command": "python -m prefect.engine"},
        "parameter_openapi_schema": {"type": "object", "properties": {"key": {"type": "string"}}},
    }
    deployment = ask("deployments/", json=body).raise_for_status().json()
    key = {"__prefect_kind": "jinja", "template": "{{ event.payload.key }}"}
    trigger = {
        "type": "event",
        "posture": "Reactive",
        "expect": [PLAIN],
        "threshold": 1,
        "within": 0,
    }
    action = {
        "type": "run-deployment",
        "deployment_id": deployment["id"],
        "parameters": {"key": key},
    }
    ask(
        "automations/", json={"name": "plain", "trigger": trigger, "actions": [action]}
    ).raise_for_status()


def flow_run(stand: RunningStand) -> float | None:
    """Return the seconds from an event to the row that its flow run commits; None where no row came within a minute."""
    key = uuid4().hex
    began = time.perf_counter()
    stand.emit("bench", {"key": key}, event=PLAIN)
    with stand.pool.connect() as opened:
        connection = opened.execution_options(isolation_level="AUTOCOMMIT")
        while (
            connection.execute(text("select 1 from plain where key = :k"), {"k": key}).first()
            is None
        ):
            if time.perf_counter() - began > LOST_AFTER_S:
                return None
            time.sleep(POLL_S)
    return time.perf_counter() - began
