"""Claims in turns: consumers with waiting work, and claims for some consumers or for urgent and due work."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.packing import ClaimedWork
from lanes.realtime.turns import MOST_CONSUMERS
from lanes.store import work
from lanes.store.realtime import paid_claims
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.money.budgeted import put
from tests.store.tries import keys, rows

HOW: dict[str, Any] = {"worker": "w", "lease": timedelta(minutes=1), "now": later(minutes=1)}


def sent(connection: Connection, consumer: str | None, *names: str, **fields: Any) -> None:
    admit(connection, *names, now=NOON, lane=Lane.REALTIME, consumer=consumer, **fields)


@pytest.fixture
def flooded(connection: Connection) -> Connection:
    """Route a hundred items of one consumer, one due and one urgent, before two of another and one without a consumer."""
    publish(connection, now=NOON)
    sent(connection, "crm", *(f"crm {n:03d}" for n in range(98)))
    sent(connection, "crm", "crm due", due_at=later(seconds=30))
    sent(connection, "crm", "crm urgent", urgent=True)
    sent(connection, "shop", "shop 1", "shop 2")
    sent(connection, None, "without consumer")
    route(connection, now=NOON)
    return connection


def claim(connection: Connection, most: int, within: work.ClaimBounds) -> list[ClaimedWork]:
    return work.claim(connection, Lane.REALTIME, {"letters": most}, within=within, **HOW)


def test_consumers_with_waiting_work_are_listed_by_name_with_their_first_rank(
    flooded: Connection,
) -> None:
    found = work.read_waiting_consumers(flooded, {"letters": "", "bills": ""})
    assert list(found) == ["letters"]
    listed = {each.consumer: each.rank_at for each in found["letters"]}
    plain = later(minutes=1)
    assert listed == {"": plain, "crm": NOON, "shop": plain}
    behind = work.read_waiting_consumers(flooded, {"letters": "crm"})["letters"]
    assert [each.consumer for each in behind] == ["shop"]


def test_waiting_consumers_are_listed_in_pages_of_limited_size(connection: Connection) -> None:
    publish(connection, now=NOON)
    for number in range(MOST_CONSUMERS + 2):
        sent(connection, f"c{number:03d}", f"k{number}")
    route(connection, now=NOON)
    first = work.read_waiting_consumers(connection, {"letters": ""})["letters"]
    assert len(first) == MOST_CONSUMERS
    rest = work.read_waiting_consumers(connection, {"letters": first[-1].consumer})["letters"]
    assert [each.consumer for each in rest] == ["c064", "c065"]


def test_a_claim_in_turns_takes_at_most_the_given_number_of_each_consumer(
    flooded: Connection,
) -> None:
    within = work.ClaimBounds(turns={"crm": 1, "shop": 5, "": 1})
    assert set(keys(claim(flooded, 7, within))) == {
        "crm urgent",
        "shop 1",
        "shop 2",
        "without consumer",
    }


def test_a_claim_of_pressing_work_takes_only_urgent_and_due_work_by_rank(
    flooded: Connection,
) -> None:
    within = work.ClaimBounds(pressing=True, before=later(minutes=1))
    assert keys(claim(flooded, 9, within)) == ["crm urgent", "crm due"]
    assert keys(claim(flooded, 9, within)) == []


def test_a_workload_with_a_hard_budget_is_also_claimed_in_turns(flooded: Connection) -> None:
    put(flooded)
    within = work.ClaimBounds(turns={"shop": 1, "": 1})
    how = {**HOW, "now": later(minutes=1)}
    paid = paid_claims.claim(flooded, {"letters": 2}, within=within, **how)
    assert set(keys(paid.claimed)) == {"shop 1", "without consumer"}


def test_amended_work_keeps_its_consumer(flooded: Connection) -> None:
    flooded.execute(text("""select lanes.amend('letters', 'shop 1', '{"text": "new"}')"""))
    ready = [row for row in rows(flooded, "work") if row.state == "ready" and row.revision == 1]
    assert [row.consumer for row in ready] == ["shop"]


def test_a_claim_in_turns_starts_at_the_given_rank_of_each_consumer(flooded: Connection) -> None:
    begins = {"crm": later(minutes=2), "shop": later(minutes=1)}
    within = work.ClaimBounds(turns={"crm": 2, "shop": 2}, since=begins)
    assert {each.consumer for each in claim(flooded, 4, within)} == {"shop"}
