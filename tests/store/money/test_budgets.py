"""Budgets: what counts against them, what is kept of them, and that drains and batches never spend beyond them together."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, text

from lanes.errors import ActionRefused, StillLocked, UnknownWorkload
from lanes.ids import BudgetId
from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.realtime.calltime import LEASE
from lanes.settling.outcome import Share
from lanes.store import work
from lanes.store.batch import releases
from lanes.store.locks import wait_at_most
from lanes.store.money import budgets, holds
from lanes.store.money.holds import BudgetUsedUp, Want
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claimed_item, home, intend, rows, said, save, submit, tried

ZERO = Decimal(0)
PRICE = Decimal("0.00011")  # of what `said()` uses
ZONES = ("UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "America/Sao_Paulo")


def put(
    connection: Connection, hard: str | None = "1", soft: str | None = None, *, consumer: str | None = None,
    period: Period = Period.DAY, zone: str = "UTC", now: datetime = NOON,
) -> BudgetId:  # fmt: skip
    limits = [None if each is None else Decimal(each) for each in (soft, hard)]
    budgets.put(connection, Budget("letters", consumer, period, zone, *limits), who="ada", why="test", now=now)
    stored = rows(connection, "budget")
    return next(each.id for each in stored if (each.consumer, each.period) == (consumer, period))


def stands(connection: Connection, now: datetime = NOON) -> BudgetStatus:
    (only,) = budgets.statuses(connection, now=now)
    return only


def want(need: str = "0.1", *, outstanding: str = "0", minute: str = "0") -> Want:
    return Want(Decimal(outstanding), Decimal(need), Decimal(minute))


def take(
    connection: Connection, id_: BudgetId, wanted: Want, *, holder: UUID | None = None, now: datetime = NOON
) -> Decimal | None:
    return holds.take(connection, holder or uuid4(), None, {id_: wanted}, now=now)[id_]


def test_what_is_billed_and_what_may_have_been_counts_from_the_budgets_period_on(connection: Connection) -> None:
    publish(connection, now=NOON)
    put(connection)
    save(connection, tried(claimed_item(connection, "a")))
    save(connection, tried(claimed_item(connection, "b"), Outcome.UNKNOWN, bound_usd=Decimal("0.3")))
    assert (stands(connection).spent_usd, stands(connection).unknown_usd) == (PRICE, Decimal("0.3"))
    assert stands(connection, later(days=1)).used_usd == 0


def test_a_budget_that_is_set_later_knows_what_its_period_has_cost(connection: Connection) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "a"), at=later(days=-1)))
    save(connection, tried(claimed_item(connection, "b", consumer="crm")))
    save(connection, tried(claimed_item(connection, "c", consumer="web"), Outcome.UNKNOWN, bound_usd=Decimal("0.3")))
    put(connection)
    put(connection, consumer="crm")
    put(connection, period=Period.MONTH)
    known = {each.budget.subject: (each.spent_usd, each.unknown_usd) for each in budgets.statuses(connection, now=NOON)}
    assert known == {
        "day budget": (PRICE, Decimal("0.3")), "month budget": (2 * PRICE, Decimal("0.3")), "day budget of crm": (PRICE, ZERO),
    }  # fmt: skip


@pytest.mark.parametrize("consumer", [None, "crm"])
def test_saves_go_on_while_a_new_budget_adds_up_what_was_spent_and_count_once(pool: Engine, consumer: str | None) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        before, meanwhile, after = (claimed_item(setup, key, consumer="crm") for key in "abc")
        save(setup, tried(before))
    with pool.connect() as operator:
        left = [meanwhile]

        @event.listens_for(operator, "after_cursor_execute")
        def _(*told: Any) -> None:
            if "sum(" in told[2] and left:
                with pool.begin() as saver:
                    wait_at_most(saver, timedelta(seconds=1))
                    save(saver, tried(left.pop()))

        put(operator, consumer=consumer)
        operator.commit()
    with pool.begin() as connection:
        assert not left
        assert stands(connection).spent_usd == 2 * PRICE
        save(connection, tried(after))
        assert stands(connection).spent_usd == 3 * PRICE


def test_a_consumer_pays_its_part_of_a_pack(connection: Connection) -> None:
    publish(connection, now=NOON)
    put(connection, consumer="crm")
    shared = said(tokens=1_000)
    one, other = claimed_item(connection, "a", consumer="crm"), claimed_item(connection, "b", consumer="web")
    save(
        connection,
        replace(tried(one, response=shared), share=Share(0, 2)), replace(tried(other, response=shared), share=Share(1, 2)),
    )  # fmt: skip
    assert stands(connection).spent_usd == PRICE / 2


def test_saving_twice_counts_once(connection: Connection) -> None:
    publish(connection, now=NOON)
    put(connection)
    put(connection, consumer="crm")
    attempt = tried(claimed_item(connection, "a", consumer="crm"))
    save(connection, attempt)
    save(connection, attempt)
    assert [each.spent_usd for each in budgets.statuses(connection, now=NOON)] == [PRICE, PRICE]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("period", Period)
def test_the_database_and_the_domain_agree_when_a_period_begins_and_ends(
    connection: Connection, zone: str, period: Period
) -> None:
    publish(connection, now=NOON)
    put(connection, zone=zone, period=period)
    for hour in range(0, 24 * 370, 23):
        at = datetime(2016, 9, 1, tzinfo=UTC) + timedelta(hours=hour)
        seen = stands(connection, at)
        assert (seen.began_at, seen.ends_at) == (seen.budget.begins(at), seen.budget.ends(at))


def test_a_budget_that_makes_no_sense_or_is_of_an_unknown_workload_is_refused(connection: Connection) -> None:
    publish(connection, now=NOON)
    with pytest.raises(ActionRefused, match="is above hard_usd"):
        put(connection, "1", "2")
    with pytest.raises(ActionRefused, match="no IANA time zone"):
        put(connection, zone="Europe/Atlantis")
    with pytest.raises(UnknownWorkload):
        budgets.put(connection, Budget("none", None, Period.DAY, "UTC", None, ZERO), who="a", why="b", now=NOON)
    with pytest.raises(ActionRefused, match="no such budget"):
        budgets.remove(connection, "letters", None, Period.DAY, now=NOON)
    assert rows(connection, "budget_status") == []


def test_a_slice_is_kept_of_the_budget_and_what_was_not_used_comes_back(connection: Connection) -> None:
    publish(connection, now=NOON)
    id_, me = put(connection), uuid4()
    assert take(connection, id_, want("0.1", minute="10"), holder=me) == Decimal("0.25")
    assert stands(connection).rest_usd == Decimal("0.75")
    assert take(connection, id_, want("0.1", outstanding="0.2"), holder=me) == Decimal("0.1")
    assert stands(connection).reserved_usd == Decimal("0.3")
    holds.give_back(connection, me, {id_: Decimal("0.2")}, now=NOON)
    assert stands(connection).reserved_usd == Decimal("0.2")
    holds.give_back(connection, me, {}, now=NOON)
    assert stands(connection).reserved_usd == 0


def test_what_is_not_left_is_refused_and_given_again_once_the_budget_is_raised(connection: Connection) -> None:
    publish(connection, now=NOON)
    id_ = put(connection, "0.05")
    assert take(connection, id_, want("0.1")) is None
    assert stands(connection).is_used_up
    assert put(connection, "5") == id_
    assert not stands(connection).is_used_up
    assert take(connection, id_, want("0.1")) == Decimal("0.1")


def test_nothing_is_paid_of_a_budget_of_0(connection: Connection) -> None:
    publish(connection, now=NOON)
    assert take(connection, put(connection, "0"), want("0.000001")) is None


def test_a_new_period_gives_what_the_last_one_refused(connection: Connection) -> None:
    publish(connection, now=NOON)
    id_ = put(connection, "0.0002")
    save(connection, tried(claimed_item(connection, "a")))
    assert take(connection, id_, want("0.0001")) is None
    assert take(connection, id_, want("0.0001"), now=later(days=1)) == Decimal("0.0001")


def test_a_dead_drains_slice_counts_until_long_after_its_claims_have_become_unknown(connection: Connection) -> None:
    publish(connection, now=NOON)
    id_, dead = put(connection), 2_000_000_000
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    work.claim(connection, Lane.REALTIME, {"letters": 1}, worker="gone", lease=LEASE, now=NOON)
    holds.take(connection, uuid4(), dead, {id_: want("0.9")}, now=NOON)
    assert take(connection, id_, want("0.2"), now=later(seconds=20)) is None
    lost = work.abandoned(connection, now=later(seconds=21))
    save(connection, *lost, now=later(seconds=21))
    assert take(connection, id_, want("0.2"), now=later(seconds=21)) is None
    assert take(connection, id_, want("0.2"), now=later(minutes=10)) == Decimal("0.2")
    assert stands(connection).unknown_usd == lost[0].bound_usd > 0


def test_a_batch_keeps_its_bound_until_it_is_collected_or_released(connection: Connection) -> None:
    version = publish(connection, now=NOON)
    id_ = put(connection)
    for end in ("collected", "released"):
        admit(connection, end, now=NOON, lane=Lane.BATCH)
        route(connection, now=NOON)
        batch_id, _ = (submit if end == "collected" else intend)(connection, version)
        holds.reserve(connection, batch_id, {id_: Decimal("0.6")}, now=NOON)
        assert take(connection, id_, want("0.5")) is None
        with pytest.raises(BudgetUsedUp, match=r"\$0.600 kept for what is under way"):
            holds.reserve(connection, batch_id, {id_: Decimal("0.5")}, now=NOON)
        if end == "collected":
            home(connection, batch_id)
        else:
            releases.release(connection, batch_id, note="refused", now=NOON)
        assert stands(connection).reserved_usd == 0


def test_two_drains_at_once_never_take_more_than_is_left(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        id_ = put(connection, "1")
    taken: list[Decimal | None] = []

    def draw() -> None:
        with pool.begin() as connection:
            taken.append(take(connection, id_, want("0.4")))

    threads = [threading.Thread(target=draw) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(map(str, taken)) == ["0.4", "0.4", *["None"] * 4]


def test_a_budget_that_somebody_holds_is_not_waited_for_without_a_limit(pool: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "WAIT", timedelta(milliseconds=50))
    with pool.begin() as connection:
        publish(connection, now=NOON)
        id_ = put(connection)
    with pool.begin() as held, pool.begin() as other:
        held.execute(text("select from lanes.budget for update"))
        with pytest.raises(StillLocked):
            take(other, id_, want())


amounts = st.integers(1, 40).map(lambda n: Decimal(n) / 100)
deeds = st.sampled_from(["take", "call", "save", "lose", "give back"])
steps = st.lists(st.tuples(st.integers(0, 1), deeds, amounts), max_size=40)


@given(steps=steps)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_drains_together_never_spend_beyond_a_budget(pool: Engine, steps: list[tuple[int, str, Decimal]]) -> None:
    """Each drain has a connection of its own; a call is billed what its bound says, the worst that can be."""
    hard, billed = Decimal(1), ZERO
    with pool.begin() as connection:
        connection.execute(text("truncate lanes.workload, lanes.budget_use cascade"))
        publish(connection, now=NOON)
        id_ = put(connection, str(hard))
    drains = [uuid4(), uuid4()]
    left, open_calls = [ZERO, ZERO], list[list[Decimal]]([[], []])
    with pool.connect() as one, pool.connect() as other:
        sessions = (one, other)
        for who, what, amount in steps:
            connection, calls = sessions[who], open_calls[who]
            if what == "take":
                given = take(connection, id_, Want(sum(calls, ZERO), amount, amount * 3), holder=drains[who])
                left[who] = given or ZERO
            elif what == "call" and amount <= left[who]:
                left[who] -= amount
                calls.append(amount)
            elif what in ("save", "lose") and calls:
                used = calls.pop()
                billed += used
                column = "usd" if what == "save" else "bound_usd"
                connection.execute(
                    text(f"insert into lanes.budget_use (budget_id, began_at, {column}) values (:id, :began, :usd)"),
                    {"id": id_, "began": NOON.replace(hour=0), "usd": used},
                )
            elif what == "give back":
                left[who] = ZERO
                holds.give_back(connection, drains[who], {id_: sum(calls, ZERO)}, now=NOON)
            connection.commit()
            stood = stands(connection)
            connection.rollback()
            assert billed + sum(map(sum, open_calls), ZERO) <= hard
            assert stood.used_usd == billed
