"""One cause is one message: a taken role explains what stands still because of it, and nothing else."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from lanes.promises.assessment import BATCH, REALTIME, Assessment
from lanes.promises.breaches import ForeignHolder, role_taken
from lanes.promises.incident import Promise
from lanes.standing.roles import Role
from lanes.store import incidents
from lanes.words import Verdict
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.promises.test_endings import told
from tests.store.tries import rows

SLOW = Assessment(
    Promise.REALTIME_SLOW, "letters", Verdict.FAILED, 9, 5, 40, "It is slow.", standstill=REALTIME
)
LATE = Assessment(
    Promise.BATCH_SLOW, "letters", Verdict.FAILED, 300, 120, 1, "Late.", "batch 1", standstill=BATCH
)
NEVER = replace(LATE, promise=Promise.BATCH_NEVER_STARTED, subject="")


@pytest.mark.parametrize(
    ("role", "explained"),
    [
        (Role.ROUTER, {"realtime_slow", "batch_slow", "batch_never_started"}),
        (Role.SUBMITTER, {"batch_never_started"}),
        (Role.COLLECTOR, {"batch_slow"}),
        (Role.DRAIN, {"realtime_slow"}),
        (Role.WATCHER, set[str]()),
    ],
)
def test_a_taken_role_explains_what_waits_for_it(
    connection: Connection, role: Role, explained: set[str]
) -> None:
    for name in ("letters", "bills"):
        publish(connection, name, now=NOON)
    holder = ForeignHolder(role, 4711, "grafana", "psql", None)
    cause = incidents.open(connection, role_taken(role, [holder]), now=NOON)
    breaches = [
        replace(each, workload=name)
        for each in (SLOW, LATE, NEVER)
        for name in ("letters", "bills")
    ]
    incidents.record(connection, breaches, now=later(minutes=1))
    found = rows(connection, "incident_log", state="open")
    assert {each.promise for each in found if each.parent_id == cause} == explained
    assert (
        set(told(connection))
        == {"role_taken", "realtime_slow", "batch_slow", "batch_never_started"} - explained
    )
    assert len(found) == 7
