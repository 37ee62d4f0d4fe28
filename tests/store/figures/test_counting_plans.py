"""Plans of the counting statements: a session plans them once, maybe on empty tables, and they must suit grown ones."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text

from lanes.store.doors import items
from lanes.words import Lane
from tests.conftest import NOON
from tests.databases import Databases
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, save, tried

CHUNK, CHUNKS = 50, 3
FACTS = {"item", "route", "attempt", "result", "correction", "read"}
TOLD = """
load 'auto_explain'; set local auto_explain.log_min_duration = 0; set local auto_explain.log_nested_statements = on;
set local auto_explain.log_format = json; set local client_min_messages = log
"""


@pytest.mark.slow
@pytest.mark.parametrize("lived_in", [False, True])
def test_counting_finds_each_row_by_an_index_when_a_session_planned_it_on_empty_tables(
    databases: Databases, database_url: str, lived_in: bool
) -> None:
    told: list[str] = []
    with create_engine(
        databases.as_superuser(database_url), poolclass=NullPool
    ).begin() as connection:
        publish(connection, now=NOON, mode="lambda")
        # After a rollback the tables are empty but have pages, and the indexes have more of them.
        if lived_in:
            with connection.begin_nested() as all_of_it:
                live(connection, "before")
                all_of_it.rollback()
        for fact in FACTS:
            connection.execute(text(f"analyze lanes.{fact}"))
        connection.execute(text("discard plans"))
        connection.execute(text(TOLD))
        driver: Any = connection.connection.dbapi_connection
        driver.add_notice_handler(lambda notice: told.append(notice.message_primary))
        live(connection, "now")
    scans = [scan for plan in plans(told) for scan in scans_of(plan)]
    assert {scan["Relation Name"] for scan in scans} == FACTS - {"attempt"}
    assert not [scan for scan in scans if "Index Cond" not in scan]


def live(connection: Connection, name: str) -> None:
    """Answer items on both lanes, differently; label, read, empty and cancel some of them."""
    for chunk in range(CHUNKS):
        admit(
            connection, *(f"{name}-{chunk}-{n}" for n in range(CHUNK)), now=NOON, lane=Lane.REALTIME
        )
        route(connection, now=NOON)
        save(connection, *(tried(each) for each in claim(connection)))
        items.label(connection, "letters", {f"{name}-{chunk}-1": A}, source="team")
        save(connection, *(tried(each, output=B) for each in claim(connection, Lane.BATCH)))
        key = {"key": f"{name}-{chunk}-0"}
        connection.execute(text("select lanes.read_result('letters', :key, 'app')"), key)
        connection.execute(
            text("update lanes.result r set output = null from lanes.item i where i.id = r.item_id")
        )
        connection.execute(
            text("update lanes.item set canceled_at = received_at where key = :key"), key
        )


def plans(told: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the plans of the counting statements."""
    for message in told:
        said = json.loads(message[message.index("{") :]) if message.startswith("duration") else {}
        query = said.get("Query Text", "")
        if (
            "lanes.figure_delta" in query
            or "from added a)" in query
            or "unnest(gone || come)" in query
        ):
            yield said["Plan"]


def scans_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the scans of fact tables in a plan; a bitmap scan gets the condition of its index scan."""
    if plan.get("Relation Name") in FACTS and plan["Node Type"] != "ModifyTable":
        inner = plan.get("Plans", [])
        yield plan | {
            name: value for each in inner for name, value in each.items() if name == "Index Cond"
        }
    for each in plan.get("Plans", []):
        yield from scans_of(each)
