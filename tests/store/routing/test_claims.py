"""Claims: order, shares, and no work claimed twice."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.packing import Claim
from lanes.store import work
from lanes.store.realtime import load
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, crowd, explained, keys, row, rows, save, tried


def realtime(connection: Connection, *names: str, workload: str = "letters", **fields: Any) -> None:
    """Admit and route items whose real-time work is ready at noon."""
    admit(connection, *names, now=NOON, workload=workload, lane=Lane.REALTIME, **fields)
    route(connection, now=NOON)


def test_urgent_work_that_ranks_before_the_cursor_is_still_claimed(connection: Connection) -> None:
    publish(connection, now=NOON, patience_s=600)
    admit(connection, "plain", now=NOON, lane=Lane.REALTIME)
    admit(connection, "urgent", now=NOON, lane=Lane.REALTIME, urgent=True)
    route(connection, now=NOON)
    begin = {"letters": later(hours=1)}
    found = work.read_waiting(connection, Lane.REALTIME, since=begin, now=NOON)
    assert found.since == {"letters": NOON}
    how = {"worker": "w", "lease": timedelta(minutes=1), "now": NOON}
    (first,) = work.claim(
        connection, Lane.REALTIME, {"letters": 1}, within=work.ClaimBounds(found.since), **how
    )
    assert first.key == "urgent"
    assert work.read_waiting(connection, Lane.REALTIME, since=begin, now=NOON).since == {}


def test_a_claim_contains_the_data_that_a_call_needs(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    realtime(connection, "k", consumer="crm")
    (ours,) = claim(connection, worker="ada", now=NOON)
    assert (ours.workload, ours.key, ours.payload) == ("letters", "k", {"text": "letter k"})
    assert (ours.version_id, ours.purpose, ours.failures, ours.claim.number) == (
        letters.id,
        "answer",
        0,
        1,
    )
    assert ours.consumer == "crm"
    kept = row(connection, "work")
    assert (kept.state, kept.claimed_by, kept.lease_until) == (
        "claimed",
        "ada",
        NOON + timedelta(minutes=2),
    )


def test_two_workers_never_claim_the_same_work(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        realtime(setup, *(f"k{n}" for n in range(10)))
    with pool.connect() as one, pool.connect() as two:
        first = claim(one, places=6)
        second = claim(two, places=6)  # does not wait for the first, which has not committed
        assert (len(first), len(second)) == (6, 4)
        assert not {each.claim.work_id for each in first} & {each.claim.work_id for each in second}


def test_many_workers_at_once_claim_each_work_exactly_once(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        realtime(setup, *(f"k{n}" for n in range(120)))

    def drain(worker: str) -> list[str]:
        taken: list[str] = []
        while True:
            with pool.begin() as connection:
                some = claim(connection, worker=worker, places=7)
            if not some:
                return taken
            taken += keys(some)

    with ThreadPoolExecutor(4) as workers:
        claimed = [key for taken in workers.map(drain, "abcd") for key in taken]
    with pool.begin() as connection:
        claimed += keys(claim(connection))  # rows that were locked at the last claim
    assert Counter(claimed) == Counter({f"k{n}": 1 for n in range(120)})


def test_the_most_urgent_work_is_claimed_first_and_in_order(connection: Connection) -> None:
    publish(connection, now=NOON, patience_s=60)
    realtime(connection, "patient")
    realtime(connection, "due late", due_at=later(minutes=30))
    realtime(connection, "due soon", due_at=later(seconds=20))
    assert keys(claim(connection, places=2)) == ["due soon", "patient"]
    assert keys(claim(connection)) == ["due late"]


def test_a_claim_that_starts_at_a_rank_includes_that_rank_and_skips_earlier_work(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=60)
    publish(connection, "bills", now=NOON, patience_s=60)
    for seconds in (10, 20, 30):
        realtime(connection, f"due in {seconds} s", due_at=later(seconds=seconds))
    realtime(connection, "bill", workload="bills", due_at=later(seconds=5))
    (second,) = [row.rank_at for row in rows(connection, "work", "rank_at")][2:3]
    begin = {"letters": second}
    assert work.read_waiting(connection, Lane.REALTIME, since=begin, now=NOON).versions.keys() == {
        "letters",
        "bills",
    }
    most, how = (
        {"letters": 9, "bills": 9},
        {"worker": "ada", "lease": timedelta(minutes=2), "now": NOON},
    )
    assert keys(
        work.claim(connection, Lane.REALTIME, most, within=work.ClaimBounds(begin), **how)
    ) == ["bill", "due in 20 s", "due in 30 s"]
    assert work.read_waiting(connection, Lane.REALTIME, since=begin, now=NOON).versions == {}
    assert work.read_waiting(connection, Lane.REALTIME, now=NOON).versions.keys() == {"letters"}
    assert keys(work.claim(connection, Lane.REALTIME, most, **how)) == ["due in 10 s"]


def test_waiting_work_is_reported_with_the_first_ready_rank_of_each_workload(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=60)
    publish(connection, "bills", now=NOON)
    for seconds in (10, 20, 30):
        realtime(connection, f"due in {seconds} s", due_at=later(seconds=seconds))
    claim(connection, places=1)
    work.give_back(
        connection, [each.claim for each in claim(connection, places=1)], ready_at=later(minutes=1)
    )
    _, resting, first = (row.rank_at for row in rows(connection, "work", "rank_at"))
    assert work.read_waiting(connection, Lane.REALTIME, now=NOON).since == {"letters": first}
    assert work.read_waiting(connection, Lane.REALTIME, now=later(minutes=1)).since == {
        "letters": resting
    }


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_claim_from_a_rank_has_the_rank_in_its_index_condition(
    connection: Connection, plans: str
) -> None:
    publish(connection, now=NOON)
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    within = work.ClaimBounds({"letters": NOON})
    query = work.most_urgent(Lane.REALTIME, {"letters": 16}, within, now=NOON)
    plan = explained(connection, query, name="claiming_on")
    (condition,) = [line for line in plan.splitlines() if "Index Cond" in line]
    assert "rank_at >= " in condition


def test_due_work_is_claimed_by_its_due_time_less_the_expected_call_time(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=60)
    realtime(connection, "older")
    realtime(connection, "due", due_at=later(seconds=61))
    assert keys(claim(connection, places=1)) == ["due"]


def test_work_whose_patience_has_ended_is_claimed_before_newer_due_work(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=60)
    realtime(connection, "old")
    admit(connection, "new", now=later(seconds=61), due_at=later(seconds=65), lane=Lane.REALTIME)
    route(connection, now=later(seconds=61))
    assert keys(claim(connection, now=later(seconds=61), places=1)) == ["old"]


def test_work_is_not_claimed_before_it_is_ready(connection: Connection) -> None:
    publish(connection, now=NOON)
    realtime(connection, "k")
    assert claim(connection, now=later(seconds=-1)) == []
    assert len(claim(connection, now=NOON)) == 1


def test_failed_work_is_claimed_again_only_after_its_back_off(connection: Connection) -> None:
    publish(connection, now=NOON)
    realtime(connection, "k")
    (ours,) = claim(connection)
    save(connection, tried(ours, Outcome.ERRORED))
    assert claim(connection, now=later(seconds=1.9)) == []
    (again,) = claim(connection, now=later(seconds=2))
    assert (again.claim.number, again.failures) == (2, 1)


def test_a_lane_claims_only_its_own_work(connection: Connection) -> None:
    publish(connection, now=NOON)
    realtime(connection, "now")
    admit(connection, "later", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    assert keys(claim(connection, Lane.REALTIME)) == ["now"]
    assert keys(claim(connection, Lane.BATCH)) == ["later"]


def test_work_of_a_paused_workload_is_not_claimed(connection: Connection) -> None:
    publish(connection, now=NOON)
    publish(connection, "invoices", now=NOON)
    realtime(connection, "k")
    realtime(connection, "k", workload="invoices")
    workloads.pause(connection, "letters", since=NOON)
    assert [each.workload for each in claim(connection)] == ["invoices"]
    assert load.backlog(connection, Lane.REALTIME, now=NOON).ready == 0
    workloads.pause(connection, "letters", since=None)
    assert [each.workload for each in claim(connection)] == ["letters"]


def test_a_large_backlog_is_limited_to_its_largest_share_while_other_work_waits(
    connection: Connection,
) -> None:
    publish(connection, "bulk", now=NOON, max_share_percent=75, weight=9)
    publish(connection, now=NOON, weight=1)
    realtime(connection, *(f"b{n}" for n in range(300)), workload="bulk", due_at=later(hours=-1))
    realtime(connection, *(f"k{n}" for n in range(5)))
    taken = Counter(each.workload for each in claim(connection, places=20))
    assert taken == {"bulk": 15, "letters": 5}


def test_a_workload_that_waits_alone_is_claimed_beyond_its_largest_share(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_share_percent=10)
    realtime(connection, *(f"k{n}" for n in range(30)))
    assert len(claim(connection, places=20)) == 20


def test_a_claim_for_zero_places_returns_nothing(connection: Connection) -> None:
    publish(connection, now=NOON)
    realtime(connection, "k")
    assert claim(connection, places=0) == []


def test_work_given_back_is_ready_again_without_a_counted_failure(connection: Connection) -> None:
    publish(connection, now=NOON)
    realtime(connection, "k")
    (ours,) = claim(connection)
    work.give_back(connection, [ours.claim], ready_at=later(seconds=5))
    assert claim(connection, now=later(seconds=4)) == []
    (again,) = claim(connection, now=later(seconds=5))
    assert (again.claim.number, again.failures) == (2, 0)


def test_only_the_newest_claim_can_give_work_back(connection: Connection) -> None:
    publish(connection, now=NOON)
    realtime(connection, "k")
    (ours,) = claim(connection)
    work.give_back(connection, [Claim(ours.claim.work_id, ours.claim.number - 1)], ready_at=NOON)
    assert row(connection, "work").state == "claimed"
    work.give_back(connection, [], ready_at=NOON)


def test_the_backlog_counts_claimable_work_and_reports_how_long_it_has_waited(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    assert load.backlog(connection, Lane.REALTIME, now=NOON) == load.Backlog(0, None)
    realtime(connection, "a", "b")
    assert load.backlog(connection, Lane.REALTIME, now=later(minutes=3)) == load.Backlog(2, NOON)
    claim(connection)
    assert load.backlog(connection, Lane.REALTIME, now=NOON).ready == 0


@pytest.mark.slow
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_the_claim_query_stays_on_its_index_with_20000_rows(
    connection: Connection, plans: str
) -> None:
    letters = publish(connection, now=NOON)
    crowd(connection, letters, Lane.REALTIME, done_every=2)
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    query = work.most_urgent(Lane.REALTIME, {"letters": 16}, work.ClaimBounds(), now=NOON)
    plan = explained(connection, query, name="claiming")
    assert "ix_work_claimable" in plan
    assert "Seq Scan on work" not in plan
    assert "Sort" not in plan
    assert len(claim(connection, places=16)) == 16
    assert len(rows(connection, "work", state="claimed")) == 16
