"""Items that arrived minutes before a run: they wait for a batch but are now due too soon for one."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from lanes.mainjob.samples import sample_appeals, sample_workloads
from lanes.mainjob.scene import DUE_IN, admit_earlier, samples
from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.routing.second_look import MARGIN, latest
from lanes.store.routing import routes, second_look
from tests.conftest import NOON
from tests.examples import publish
from tests.store.late import doubted
from tests.store.tries import rows

APPEALS = samples("run", sample_appeals(), now=NOON)
KEYS = [each.key for each in APPEALS]


@pytest.fixture
def moderation(connection: Connection) -> Connection:
    """Publish the comments' workload and return the connection."""
    fields = {
        field: value for field, value in sample_workloads()["moderation"].items() if field != "name"
    }
    publish(connection, "moderation", now=NOON, **fields)
    return connection


def test_earlier_items_were_routed_to_batch_with_enough_probability_when_they_arrived(
    moderation: Connection,
) -> None:
    assert admit_earlier(moderation, "moderation", APPEALS, now=NOON) == KEYS
    logged = rows(moderation, "route_log", "key")
    assert [(each.key, each.lane, each.reason) for each in logged] == [
        (key, "batch", "split") for key in KEYS
    ]
    assert all(
        NOON - timedelta(minutes=15) < each.decided_at < NOON - timedelta(minutes=2)
        for each in logged
    )
    assert all(each.probability >= 0.95 for each in rows(moderation, "route"))
    assert {each.received_at for each in rows(moderation, "item")} == {
        each.decided_at for each in logged
    }


def test_earlier_items_are_too_late_for_a_batch_and_are_rescued_within_seconds(
    moderation: Connection,
) -> None:
    admit_earlier(moderation, "moderation", APPEALS, now=NOON)
    late = doubted(moderation, now=NOON, until=NOON + DUE_IN)
    assert len(late) == len(KEYS)
    begins = latest(NOON + DUE_IN, 0, EXPECTED_CALL)
    assert NOON < begins < NOON + timedelta(seconds=10)
    assert MARGIN + EXPECTED_CALL < DUE_IN
    assert second_look.rescue(moderation, late, now=begins) == len(KEYS)
    rescued = [each for each in rows(moderation, "route_log") if each.reason == "rescue"]
    assert {(each.key, each.lane) for each in rescued} == {(key, "realtime") for key in KEYS}


def test_earlier_items_are_not_admitted_when_their_workload_is_not_in_force(
    connection: Connection,
) -> None:
    assert admit_earlier(connection, "moderation", APPEALS, now=NOON) == []
    assert rows(connection, "item") == []


def test_earlier_items_are_not_admitted_while_another_session_routes(
    pool: Engine, moderation: Connection
) -> None:
    with pool.begin() as router:
        assert routes.begin(router, timedelta(seconds=1)).alone
        assert admit_earlier(moderation, "moderation", APPEALS, now=NOON) is None
    assert rows(moderation, "item") == []
    assert admit_earlier(moderation, "moderation", APPEALS, now=NOON) == KEYS
