"""Items at risk: a workload has one incident, which does not flap and ends a while after the last item at risk."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection

from lanes.promises.deadlines import CALM_FOR, AtRisk
from lanes.promises.incident import Incident, IncidentState, Promise
from lanes.store import incidents
from lanes.store.promises import recording
from tests.conftest import NOON, later

CALM = CALM_FOR.total_seconds() / 60


def risk(workload: str = "letters", bound: int = 1) -> AtRisk:
    return AtRisk(workload, bound, 0, NOON + timedelta(hours=1), 0.2, 0.95)


def standing(connection: Connection) -> list[Incident]:
    return incidents.list_newest(connection, states=[IncidentState.OPEN])


def looked(connection: Connection, *seen: AtRisk, now: datetime) -> tuple[int, int]:
    recorded = recording.record_at_risk(connection, seen, now=now)
    assert not recorded.refused
    return len(recorded.opened), len(recorded.resolved)


def test_items_at_risk_open_one_incident_and_later_looks_update_its_figures(
    connection: Connection,
) -> None:
    assert looked(connection, risk(), now=NOON) == (1, 0)
    assert looked(connection, risk(bound=3), now=later(seconds=5)) == (0, 0)
    (of,) = standing(connection)
    assert (of.promise, of.workload, of.value, of.why) == (
        Promise.DEADLINE_AT_RISK,
        "letters",
        3,
        "3 items are bound to batch",
    )


def test_the_incident_ends_only_after_a_calm_period_without_items_at_risk(
    connection: Connection,
) -> None:
    looked(connection, risk(), now=NOON)
    assert looked(connection, now=later(minutes=CALM - 1)) == (0, 0)
    looked(connection, risk(bound=2), now=later(minutes=CALM))
    assert looked(connection, now=later(minutes=2 * CALM - 1)) == (0, 0)
    assert looked(connection, now=later(minutes=2 * CALM)) == (0, 1)
    assert standing(connection) == []
    (over,) = incidents.list_newest(connection, states=[IncidentState.RESOLVED])
    assert over.sentence.startswith('No due item of workload "letters" is still at risk')


@pytest.mark.slow
def test_one_look_without_items_at_risk_does_not_end_a_long_incident(
    connection: Connection,
) -> None:
    for minute in range(60):
        looked(connection, risk(), now=later(minutes=minute))
    assert looked(connection, now=later(minutes=60)) == (0, 0)
    assert looked(connection, risk(), now=later(minutes=61)) == (0, 0)


def test_each_workload_has_its_own_incident(connection: Connection) -> None:
    looked(connection, risk(), risk("invoices"), now=NOON)
    assert looked(connection, risk("invoices", bound=4), now=later(minutes=CALM)) == (0, 1)
    assert [each.workload for each in standing(connection)] == ["invoices"]
