"""Free real-time work that is shed to batch in its row: once, never while claimed, and without waiting for locks."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from lanes.batch.batch import BatchKind
from lanes.ids import WorkId
from lanes.routing.second_look import DoubtfulItem
from lanes.routing.shedding import QueuedWork, Shed
from lanes.store import work
from lanes.store.doors import items
from lanes.store.routing import second_look
from lanes.store.routing.second_look import CHUNK, END, QueuePlace
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome
from lanes.workload.prices import Usage, cost
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import (
    A,
    claim,
    crowd,
    explained,
    home,
    keys,
    lock_for_batch,
    row,
    rows,
    said,
    save,
    submit,
    tried,
)

HAIKU = "claude-haiku-5-5"
DOWN = Shed("claude-haiku-5-5 has not answered since 11:58 UTC: 529")


def free(connection: Connection, *names: str, **fields: Any) -> Version:
    """Route items to real time by a split and return their version."""
    letters = publish(connection, now=NOON, split_percent=100, **fields)
    admit(connection, *names, now=NOON)
    route(connection, now=NOON)
    return letters


def shed(connection: Connection, *, at: timedelta = timedelta(minutes=2)) -> int:
    """Shed all work that may leave and return its number."""
    return second_look.shed(
        connection, {each.id: DOWN for each in waiting(connection)}, now=NOON + at
    )


def waiting(connection: Connection) -> list[QueuedWork]:
    """Return the free work at the end of the queue."""
    return [
        each
        for each in second_look.queue_tail(connection, ["letters"], now=NOON).waiting
        if each.bound_to is None
    ]


def test_shedding_changes_the_lane_of_the_work_row_with_a_route_and_a_new_claim_number(
    connection: Connection,
) -> None:
    free(connection, "k")
    before = row(connection, "work")
    assert shed(connection) == 1
    after = row(connection, "work")
    assert (after.id, after.lane, after.state, after.purpose) == (
        before.id,
        "batch",
        "ready",
        "answer",
    )
    assert (after.claim_no, after.rank_at, after.due_at) == (
        before.claim_no + 1,
        before.rank_at,
        before.due_at,
    )
    assert (after.ready_at, after.waits_since) == (
        later(minutes=2),
        later(minutes=2),
    )  # the wait on the batch lane begins here
    first, second = rows(connection, "route_log", "decided_at")
    assert (second.lane, second.reason, second.binds) == ("batch", "shed", None)
    assert (second.realtime_usd, second.batch_usd) == (first.realtime_usd, first.batch_usd)
    assert second.explanation == f"{DOWN.why}; it may wait for a batch"
    assert row(connection, "item_status").lane == "batch"
    assert claim(connection, now=later(minutes=3)) == []


def test_shed_work_keeps_its_due_time_for_a_later_rescue(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=100)
    admit(connection, "k", now=NOON, due_at=later(days=1))
    route(connection, now=NOON)
    (found,) = second_look.queue_tail(connection, ["letters"], now=NOON).waiting
    assert found.due_at == later(days=1)
    assert shed(connection) == 1
    assert row(connection, "work").due_at == later(days=1)


def test_the_queue_tail_lists_the_latest_rank_first_with_the_bound_lane_of_each_work(
    connection: Connection,
) -> None:
    free(connection, "early")
    admit(connection, "late", now=later(seconds=9), consumer="desk")
    admit(connection, "urgent", now=later(seconds=3), urgent=True)
    admit(connection, "batch", now=NOON, lane=Lane.BATCH)
    route(connection, now=later(seconds=9))
    found = second_look.queue_tail(connection, ["letters"], now=NOON)
    names = {each.id: each.key for each in rows(connection, "item")}
    of = {each.id: names[each.item_id] for each in rows(connection, "work")}
    assert [(of[each.id], each.consumer, each.bound_to) for each in found.waiting] == [
        ("late", "desk", None),
        ("early", None, None),
        ("urgent", None, Lane.REALTIME),
    ]
    assert all(each.answers for each in found.waiting)
    assert found.before is None
    assert second_look.queue_lengths(connection, ["letters", "others"], now=NOON) == {
        "letters": 3,
        "others": 0,
    }
    assert second_look.queue_tail(connection, ["others"], now=NOON).waiting == []


@pytest.mark.slow
def test_a_long_queue_is_read_from_its_end_in_chunks(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    crowd(connection, letters, Lane.REALTIME)
    seen: list[WorkId] = []
    before: QueuePlace | None = END
    for _ in range(3):
        assert before is not None
        found = second_look.queue_tail(connection, ["letters"], before=before, now=NOON)
        assert len(found.waiting) == CHUNK
        seen += [each.id for each in found.waiting]
        before = found.before
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 3 * CHUNK
    assert seen[0] == max(each.id for each in rows(connection, "work"))


@pytest.mark.slow
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_reading_a_long_queue_scans_its_index_backward(connection: Connection, plans: str) -> None:
    crowd(connection, publish(connection, now=NOON), Lane.REALTIME)
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    query = text(second_look.TAIL).bindparams(
        workloads=["letters"], rank_at="infinity", id=0, until=later(days=180)
    )
    assert "Scan Backward using ix_work_claimable" in explained(
        connection, query, name=f"last_by_{plans}"
    )


def test_work_is_shed_only_once(connection: Connection) -> None:
    free(connection, "k")
    assert shed(connection) == 1
    connection.execute(text("update lanes.work set lane = 'realtime'"))
    assert shed(connection) == 0
    assert row(connection, "work").lane == "realtime"


def test_rescued_work_is_never_shed(connection: Connection) -> None:
    free(connection, "k")
    connection.execute(text("update lanes.route set reason = 'rescue'"))
    assert shed(connection) == 0


def test_shed_work_returns_by_a_rescue_and_is_not_shed_again(connection: Connection) -> None:
    letters = publish(connection, now=NOON, split_percent=100)
    admit(connection, "k", now=NOON, due_at=later(days=1))
    route(connection, now=NOON)
    assert shed(connection) == 1
    (late,) = second_look.due_items(connection, until=later(days=2), now=later(hours=23))
    assert (
        second_look.rescue(
            connection, [DoubtfulItem(late, 0.03, "it is late")], now=later(hours=23)
        )
        == 1
    )
    assert [(each.lane, each.binds, each.version_id) for each in rows(connection, "work")] == [
        ("realtime", "realtime", letters.id)
    ]
    assert shed(connection) == 0
    assert keys(claim(connection, now=later(hours=23))) == ["k"]


def test_an_item_with_open_batch_work_is_not_shed(connection: Connection) -> None:
    free(connection, "k")
    connection.execute(
        text("""
        insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
        select item_id, workload, version_id, 'batch', 'answer', revision, 'ready', ready_at, rank_at, waits_since
          from lanes.work
    """)
    )
    assert shed(connection) == 0


def test_canceled_and_superseded_work_is_not_shed(connection: Connection) -> None:
    free(connection, "amended", "canceled")
    found = {each.id: DOWN for each in waiting(connection)}
    items.cancel(connection, "letters", "canceled")
    connection.execute(text("select lanes.amend('letters', 'amended', '{\"text\": \"anew\"}')"))
    assert second_look.shed(connection, found, now=NOON) == 0
    assert shed(connection) == 1  # the newest revision of the amended item


def test_amending_a_shed_item_leaves_only_batch_work_for_its_newest_revision(
    connection: Connection,
) -> None:
    free(connection, "k")
    claim(connection)  # a call in flight for the first revision
    connection.execute(text("select lanes.amend('letters', 'k', '{\"text\": \"anew\"}')"))
    assert shed(connection) == 1
    connection.execute(text("select lanes.amend('letters', 'k', '{\"text\": \"once more\"}')"))
    assert [(each.lane, each.revision, each.state) for each in rows(connection, "work", "id")] == [
        ("realtime", 0, "claimed"),
        ("batch", 1, "canceled"),
        ("batch", 2, "ready"),
    ]


def test_an_answer_under_a_returned_claim_of_shed_work_is_billed_but_stores_no_result(
    connection: Connection,
) -> None:
    free(connection, "k")
    (old,) = claim(connection)
    work.give_back(connection, [old.claim], ready_at=NOON)
    assert shed(connection) == 1
    save(connection, tried(old, response=said(tokens=1_000_000)))
    assert row(connection, "item_status").state == "routed"
    assert rows(connection, "result") == []
    billed, made = row(connection, "spend"), row(connection, "attempt")
    assert (billed.lane, billed.model, billed.cost_usd) == (
        "realtime",
        HAIKU,
        made.cost_usd,
    )  # the full price of a call, not half
    assert billed.cost_usd == cost(
        Usage(input=1_000_000, output=20), model=HAIKU, lane=Lane.REALTIME, at=NOON
    )
    assert (made.lane, made.model) == ("realtime", HAIKU)


def test_a_call_without_an_answer_for_shed_work_is_recorded_as_a_real_time_attempt(
    connection: Connection,
) -> None:
    free(connection, "k", batch_model="claude-sonnet-5-5")
    (old,) = claim(connection)
    work.give_back(connection, [old.claim], ready_at=NOON)
    assert shed(connection) == 1
    save(connection, tried(old, Outcome.UNKNOWN, bound_usd=Decimal("0.01")))
    assert [(each.lane, each.model) for each in rows(connection, "attempt")] == [
        ("realtime", HAIKU)
    ]


@pytest.mark.parametrize("mode", ["plain", "lambda"])
def test_the_batch_pass_of_shed_work_is_its_only_pass_and_authoritative_in_both_modes(
    connection: Connection, mode: str
) -> None:
    letters = free(connection, "k", mode=mode)
    assert shed(connection) == 1
    batch_id, (member,) = submit(connection, letters, now=later(minutes=5))
    save(
        connection,
        tried(member, output=A, at=later(minutes=9)),
        batch_id=batch_id,
        now=later(minutes=9),
    )
    home(connection, batch_id, now=later(minutes=9))
    status = row(connection, "item_status")
    assert (status.state, status.lane, status.route_reason) == ("settled", "batch", "shed")
    assert [(each.standing, each.lane) for each in rows(connection, "result")] == [
        ("authoritative", "batch")
    ]
    assert [each.state for each in rows(connection, "work")] == ["done"]


def test_shed_work_of_a_model_without_a_price_keeps_the_costs_of_its_last_route(
    connection: Connection,
) -> None:
    free(connection, "k")
    connection.execute(
        text("""update lanes.version set spec = spec || '{"batch_model": "claude-gone-1"}'""")
    )
    assert shed(connection) == 1
    first, second = rows(connection, "route_log", "decided_at")
    assert (second.realtime_usd, second.batch_usd) == (first.realtime_usd, first.batch_usd)


def test_a_paused_workload_is_not_considered_for_shedding(connection: Connection) -> None:
    free(connection, "k")
    assert list(second_look.list_unpaused_versions(connection)) == ["letters"]
    workloads.pause(connection, "letters", since=NOON)
    assert list(second_look.list_unpaused_versions(connection)) == []


@pytest.mark.slow
def test_shedding_skips_a_locked_item_without_waiting(pool: Engine) -> None:
    """An owner's open transaction locks one item: the other one is shed now, and the locked one later."""
    with pool.begin() as setup:
        free(setup, "a", "b")
    with pool.connect() as owner, pool.begin() as shedder:
        items.cancel(owner, "letters", "a")
        assert shed(shedder) == 1
        owner.rollback()
    with pool.begin() as shedder:
        assert shed(shedder) == 1


@pytest.mark.slow
def test_work_claimed_during_a_shed_is_not_shed_and_shed_work_is_not_claimed(
    pool: Engine,
) -> None:
    with pool.begin() as setup:
        free(setup, "a", "b", "c")
    with pool.connect() as drain, pool.connect() as shedder:
        found = {each.id: DOWN for each in waiting(shedder)}
        (claimed,) = claim(drain, places=1)
        assert (
            second_look.shed(shedder, found, now=NOON) == 2
        )  # work that the drain has locked is skipped
        assert claim(drain) == []  # and so is the work that the shed has locked
        drain.commit()
        shedder.commit()
    with pool.begin() as shedder:
        assert (
            second_look.shed(shedder, found, now=NOON) == 0
        )  # the third was free when found and is claimed now
        of = {each.id: (each.lane, each.state) for each in rows(shedder, "work")}
    assert of.pop(claimed.claim.work_id) == ("realtime", "claimed")
    assert set(of.values()) == {("batch", "ready")}


@pytest.mark.slow
@given(
    steps=st.lists(st.sampled_from(["find", "shed", "claim", "give back", "commit"]), max_size=12)
)
def test_any_order_of_claims_and_sheds_leaves_each_item_on_one_lane(
    pool: Engine, steps: list[str]
) -> None:
    with pool.begin() as setup:
        for table in ("route", "work", "item"):
            setup.execute(text(f"truncate lanes.{table} cascade"))
        free(setup, *"abcd")
    found: dict[WorkId, Shed] = {}
    claimed: list[work.ClaimedWork] = []
    with pool.connect() as drain, pool.connect() as shedder:
        for step in steps:
            match step:
                case "find":
                    found = {each.id: DOWN for each in waiting(shedder)[:2]}
                case "shed":
                    second_look.shed(shedder, found, now=NOON)
                case "claim":
                    claimed += claim(drain, places=1)
                case "give back":
                    held = work.give_back(
                        drain, [each.claim for each in claimed], ready_at=NOON
                    )  # locked by the shed until its transaction ends
                    claimed = [each for each in claimed if each.claim in held]
                case _:
                    drain.commit()
                    shedder.commit()
        drain.commit()
        shedder.commit()
    with pool.begin() as after:
        by_item = {each.item_id: each for each in rows(after, "work")}
        assert len(by_item) == 4
        assert {each.claim.work_id for each in claimed} == {
            each.id for each in rows(after, "work", state="claimed")
        }
        moved = {each.item_id for each in rows(after, "route", reason="shed")}
        assert moved == {id_ for id_, each in by_item.items() if each.lane == "batch"}
        assert len(rows(after, "route")) == 4 + len(moved)
        kind = BatchKind("letters", row(after, "version").id)
        assert len(keys(lock_for_batch(after, kind, limit=9, now=NOON))) == len(moved)
