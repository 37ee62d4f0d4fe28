"""Budget reserves: drains and batches together never exceed a budget, and use it to the last call."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from lanes.errors import StillLocked
from lanes.ids import BatchId
from lanes.money.budget import Budget, Period
from lanes.packing import ClaimedWork
from lanes.settling.outcome import Attempt
from lanes.store import work
from lanes.store.batch import doubts
from lanes.store.database import wait_at_most
from lanes.store.doors import items
from lanes.store.money import budgets
from lanes.store.money.budgets import BudgetUsedUp
from lanes.store.realtime import paid_claims
from lanes.words import Lane
from lanes.workload.prices import Usage
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.money.budgeted import PRICE, bound, put, stands, take, waits
from tests.store.tries import LEASE, claim, home, intend, rows, said, save, submit, tried


@pytest.mark.slow
def test_a_claim_reserves_its_bound_until_it_is_saved_given_back_or_rescued(
    connection: Connection,
) -> None:
    of = bound(publish(connection, now=NOON))
    put(connection, str(3 * of))
    waits(connection, *"abcd")
    saved, back, lost = take(connection)
    assert (stands(connection).calls_usd, stands(connection).rest_usd) == (3 * of, 0)
    save(connection, tried(saved))
    assert (stands(connection).calls_usd, stands(connection).spent_usd) == (2 * of, PRICE)
    work.give_back(connection, [back.claim], ready_at=later(days=1))
    assert stands(connection).calls_usd == of
    gone = work.list_abandoned(connection, now=later(minutes=10))
    assert [(each.claim, each.bound_usd) for each in gone] == [(lost.claim, of)]
    save(connection, *gone, now=later(minutes=10))
    assert (stands(connection).calls_usd, stands(connection).unknown_usd) == (0, of)


@pytest.mark.slow
def test_a_claim_takes_only_work_that_fits_the_budget_and_later_claims_use_freed_money(
    connection: Connection,
) -> None:
    of = bound(publish(connection, now=NOON))
    put(connection, str(2 * of))
    waits(connection, *"abc")
    first = take(connection)
    assert [each.key for each in first] == ["a", "b"]
    assert take(connection) == []
    assert (stands(connection).waits, stands(connection).is_used_up) == (True, False)
    save(connection, tried(first[0]))
    # Its bill is spent: less than one bound is left.
    assert [each.key for each in take(connection)] == []
    save(connection, tried(first[1]))
    assert [each.key for each in take(connection)] == ["c"]
    assert not stands(connection).waits


@pytest.mark.slow
def test_a_workload_without_a_hard_budget_reserves_nothing(connection: Connection) -> None:
    publish(connection, now=NOON)
    put(connection, None, "1")
    waits(connection, "a")
    assert work.read_waiting(connection, Lane.REALTIME, now=NOON).limited == set()
    (only,) = claim(connection)
    assert connection.execute(text("select bound_usd from lanes.work")).scalar_one() is None
    save(connection, tried(only))
    assert stands(connection).spent_usd == PRICE


@pytest.mark.slow
def test_a_budget_set_while_calls_are_in_flight_reserves_their_bounds(
    connection: Connection,
) -> None:
    of = bound(publish(connection, now=NOON))
    waits(connection, "a", "b")
    (before,) = claim(connection, places=1)
    put(connection, str(of))
    assert work.read_waiting(connection, Lane.REALTIME, now=NOON).limited == {"letters"}
    assert take(connection) == []
    assert stands(connection).calls_usd == of
    save(connection, tried(before))
    assert stands(connection).calls_usd == 0


@pytest.mark.slow
def test_only_the_expensive_item_waits_and_a_raised_budget_lets_a_drain_claim_it(
    connection: Connection,
) -> None:
    of = bound(publish(connection, now=NOON))
    put(connection, str(2 * of))
    waits(connection, "dear", payload={"text": "x" * 90_000}, urgent=True)
    waits(connection, "cheap", payload={"text": "letter a"})
    assert [each.key for each in take(connection)] == ["cheap"]
    rests = "select ready_at, bound_usd from lanes.work where state = 'ready'"
    ready_at, dear = connection.execute(text(rests)).one()
    assert (ready_at, dear) == (
        stands(connection).ends_at,
        bound(publish(connection, now=NOON), "x" * 90_000),
    )
    assert stands(connection).calls_usd == of  # waiting work reserves nothing
    put(connection, str(2 * of + dear))
    assert connection.execute(text(rests)).one() == (NOON, None)
    assert [each.key for each in take(connection)] == ["dear"]


@pytest.mark.slow
def test_canceled_work_in_flight_keeps_its_reserve_until_its_call_ends(
    connection: Connection,
) -> None:
    of = bound(publish(connection, now=NOON))
    put(connection, str(2 * of))
    waits(connection, "a", "b")
    answered, lost = take(connection)
    for key in "ab":
        items.cancel(connection, "letters", key)
    assert stands(connection).calls_usd == 2 * of
    save(connection, tried(answered))
    assert (stands(connection).calls_usd, stands(connection).spent_usd) == (of, PRICE)
    save(connection, *work.list_abandoned(connection, now=later(minutes=10)), now=later(minutes=10))
    assert (stands(connection).calls_usd, stands(connection).unknown_usd) == (0, of)
    assert work.list_abandoned(connection, now=later(minutes=20)) == []
    assert [each.work_id for each in rows(connection, "attempt") if each.outcome == "unknown"] == [
        lost.claim.work_id
    ]


@pytest.mark.slow
@pytest.mark.parametrize("consumer", [None, "crm"])
def test_the_late_answer_of_a_lost_call_replaces_its_unknown_cost(
    connection: Connection, consumer: str | None
) -> None:
    of = bound(publish(connection, now=NOON))
    put(connection, str(2 * of), consumer=consumer)
    waits(connection, "a", consumer="crm")
    (first,) = take(connection)
    save(connection, *work.list_abandoned(connection, now=later(minutes=10)), now=later(minutes=10))
    (again,) = take(connection, now=later(minutes=11))
    assert (stands(connection).unknown_usd, stands(connection).calls_usd) == (of, of)
    save(connection, tried(first), now=later(minutes=12))
    assert (stands(connection).unknown_usd, stands(connection).spent_usd) == (0, PRICE)
    assert stands(connection).calls_usd == of  # the newer claim's bound
    save(connection, tried(again), now=later(minutes=13))
    assert (stands(connection).used_usd, stands(connection).calls_usd) == (2 * PRICE, 0)
    put(connection, "9", consumer=consumer, zone="Asia/Tokyo")  # recounts the whole period
    assert (stands(connection).unknown_usd, stands(connection).spent_usd) == (0, 2 * PRICE)


@pytest.mark.slow
def test_a_budget_of_0_pays_nothing_and_a_new_period_pays_for_refused_work(
    connection: Connection,
) -> None:
    of = bound(publish(connection, now=NOON))
    waits(connection, "a", "b")
    put(connection, "0")
    assert take(connection) == []
    assert stands(connection).is_used_up
    put(connection, str(of))
    save(connection, tried(take(connection)[0]))
    assert take(connection) == []
    assert stands(connection).is_used_up
    assert not stands(connection, later(days=1)).is_used_up
    assert [each.key for each in take(connection, now=later(days=1))] == ["b"]


@pytest.mark.slow
def test_a_call_in_flight_at_midnight_reserves_and_spends_in_the_new_period(
    connection: Connection,
) -> None:
    of = bound(publish(connection, now=NOON))
    put(connection, str(of))
    waits(connection, "a", "b")
    (asked,) = take(connection)
    midnight = stands(connection).ends_at
    assert take(connection, now=midnight) == []
    assert stands(connection, midnight).waits
    save(connection, tried(asked, at=midnight), now=midnight)
    assert stands(connection, midnight).spent_usd == PRICE
    assert stands(connection, midnight).calls_usd == 0


@pytest.mark.slow
def test_a_batch_keeps_its_bound_until_it_is_collected_or_released(connection: Connection) -> None:
    version = publish(connection, now=NOON)
    id_ = put(connection, str(bound(version) * 2))
    half = bound(version) * Decimal("1.2")
    for end in ("collected", "released"):
        admit(connection, end, now=NOON, lane=Lane.BATCH)
        route(connection, now=NOON)
        batch_id, _ = (submit if end == "collected" else intend)(connection, version)
        budgets.reserve(connection, batch_id, {id_: half}, now=NOON)
        with pytest.raises(BudgetUsedUp, match="reserved for what is under way"):
            budgets.reserve(connection, batch_id, {id_: half}, now=NOON)
        if end == "collected":
            home(connection, batch_id)
        else:
            doubts.release(connection, batch_id, note="refused", now=NOON)
        assert stands(connection).reserved_usd == 0


@pytest.mark.slow
def test_a_budget_locked_by_another_transaction_delays_no_other_workload(pool: Engine) -> None:
    with pool.begin() as connection:
        for name in ("letters", "bills"):
            publish(connection, name, now=NOON)
            budgets.put(
                connection,
                Budget(name, None, Period.DAY, "UTC", None, Decimal(1)),
                who="a",
                why="b",
                now=NOON,
            )
            admit(connection, name, workload=name, now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
    with pool.begin() as held, pool.begin() as drain:
        held.execute(text("select from lanes.budget where workload = 'letters' for update"))
        wait_at_most(drain, timedelta(milliseconds=1))
        then = paid_claims.claim(
            drain, {"letters": 9, "bills": 9}, worker="w", lease=LEASE, now=NOON
        )
        assert ([each.key for each in then.claimed], then.held_back) == (["bills"], {"letters"})
    with pool.begin() as drain:
        assert [each.key for each in take(drain)] == ["letters"]


@pytest.mark.slow
def test_a_batch_waits_only_up_to_a_limit_for_a_locked_budget(
    pool: Engine,
) -> None:
    with pool.begin() as connection:
        version = publish(connection, now=NOON)
        id_ = put(connection)
        admit(connection, "a", now=NOON, lane=Lane.BATCH)
        route(connection, now=NOON)
        batch_id, _ = intend(connection, version)
    with pool.begin() as held, pool.begin() as other:
        held.execute(text("select from lanes.budget for update"))
        wait = timedelta(milliseconds=50)
        with pytest.raises(StillLocked):
            budgets.reserve(other, batch_id, {id_: Decimal("0.1")}, now=NOON, wait=wait)


def test_concurrent_drains_never_reserve_more_than_the_budget(pool: Engine) -> None:
    with pool.begin() as connection:
        of = bound(publish(connection, now=NOON))
        put(connection, str(2 * of))
        waits(connection, *"abcdef")
    taken: list[ClaimedWork] = []

    def draw() -> None:
        for _ in range(3):
            with pool.begin() as connection:
                taken.extend(take(connection, 1))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    with pool.begin() as connection:
        assert stands(connection).calls_usd == len(taken) * of <= 2 * of


deeds = st.sampled_from(
    [
        "claim",
        "save",
        "give back",
        "die",
        "answer late",
        "rescue",
        "batch",
        "collect",
        "raise",
        "midnight",
    ]
)
steps = st.lists(st.tuples(st.integers(0, 1), deeds), max_size=40)


@pytest.mark.slow
@given(steps=steps, sizes=st.lists(st.integers(1, 9_000), min_size=12, max_size=12))
def test_drains_and_batches_together_never_spend_beyond_a_budget(
    pool: Engine, steps: list[tuple[int, str]], sizes: list[int]
) -> None:
    """Give each drain its own connection, and bill every call at its bound, the worst case."""
    with pool.begin() as connection:
        connection.execute(text("truncate lanes.workload, lanes.budget_use cascade"))
        version = publish(connection, now=NOON, max_failures=9)
        hard = 2 * bound(version, "x" * 9_000)
        id_ = put(connection, str(hard))
        for number, size in enumerate(sizes):
            waits(connection, f"k{number}", payload={"text": "x" * size})
    now, held, late, batches = (
        NOON,
        list[list[ClaimedWork]]([[], []]),
        list[ClaimedWork](),
        list[tuple[BatchId, Decimal]](),
    )

    def dearest(each: ClaimedWork) -> Attempt:
        usd_per_token = Decimal("0.0000005")  # of output; the bill has no other tokens
        tokens = int(bound(version, each.payload["text"]) / usd_per_token)
        return tried(each, response=said()._replace(usage=Usage(output=tokens)), at=now)

    with pool.connect() as one, pool.connect() as other:
        sessions = (one, other)
        for who, what in steps:
            connection, mine = sessions[who], held[who]
            if what == "claim":
                mine += take(connection, 2, now=now)
            elif what == "save" and mine:
                save(connection, dearest(mine.pop()), now=now)
            elif what == "give back" and mine:
                work.give_back(connection, [mine.pop().claim], ready_at=now)
            elif what == "die":
                late += mine
                mine.clear()
                now += timedelta(minutes=3)
            elif what == "rescue":
                save(connection, *work.list_abandoned(connection, now=now), now=now)
            elif what == "answer late" and late:
                save(connection, dearest(late.pop()), now=now)
            elif what == "batch":
                admit(connection, f"b{len(batches)}-{now}", now=now, lane=Lane.BATCH)
                route(connection, now=now)
                batch_id, _ = submit(connection, version)
                try:
                    budgets.reserve(connection, batch_id, {id_: hard / 3}, now=now)
                    batches.append((batch_id, hard / 3))
                except BudgetUsedUp:
                    connection.rollback()
            elif what == "collect" and batches:
                home(connection, batches.pop()[0], now=now)
            elif what == "raise":
                hard += bound(version)
                put(connection, str(hard), now=now)
            elif what == "midnight":
                now = stands(connection, now).ends_at
            connection.commit()
            stood = stands(connection, now)
            spent = text(
                "select coalesce(sum(cost_usd), 0) from lanes.spend where billed_at >= :since"
            )
            assert (
                stood.spent_usd == connection.execute(spent, {"since": stood.began_at}).scalar_one()
            )
            assert stood.used_usd + stood.reserved_usd <= hard
            connection.rollback()
