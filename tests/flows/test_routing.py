"""The router's task: it routes one bounded chunk at a time, and a failure of one workload affects no other."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from lanes.money import cost
from lanes.money.estimates import Estimates
from lanes.routing.room import FEW, PortionBounds
from lanes.routing.split import version_bucket
from lanes.store import work
from lanes.store.database import LOCK_PATIENCE, Database
from lanes.store.doors import items
from lanes.store.routing import routes
from lanes.store.settling import outcomes
from lanes.store.workload import candidates, workloads
from lanes.words import Lane, Outcome
from lanes.workload import prices
from tasks import router
from tests.conftest import NOON, later
from tests.examples import admit, publish, spec
from tests.store.tries import claimed_item, row, rows, said, tried


async def test_a_call_routes_one_bounded_chunk_with_urgent_items_first(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, *"abcd", now=NOON)
        admit(setup, "urgent", now=NOON, urgent=True)
    assert await router.route_received(db, 3) == 3
    with pool.begin() as reader:
        assert {each.key for each in rows(reader, "route_log")} == {"urgent", "a", "b"}
    assert [await router.route_received(db) for _ in range(2)] == [2, 0]


async def test_many_urgent_items_of_a_flood_share_one_portion_before_a_few_other_items(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        publish(setup, "archive", now=NOON)
        admit(setup, *"abcd", now=NOON, workload="archive")
        admit(setup, *"uvwxyz", now=NOON, urgent=True)
    bounds = PortionBounds(most=100, if_urgent=2, urgent=10)
    first = await router.route_portion(db, bounds)
    assert (first.items, first.urgent) == (7, 6)
    assert first.waited_s > 0  # since noon of a day long ago
    second = await router.route_portion(db, bounds)
    assert (second.items, second.urgent, second.waited_s, second.full) == (3, 0, 0, set())


async def test_while_a_backlog_rests_only_what_presses_and_other_workloads_are_routed(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        publish(setup, "notes", now=NOON)
        admit(setup, *(f"k{n}" for n in range(2 * FEW + 2)), now=NOON)
    first = await router.route_portion(db, PortionBounds(FEW + 1))
    assert (first.items, first.full) == (FEW + 1, {"letters"})
    with pool.begin() as setup:
        admit(setup, "urgent", now=NOON, urgent=True)
        admit(setup, "due", now=NOON, due_at=later(hours=1))
        admit(setup, "neighbour", now=NOON, workload="notes")
    resting = PortionBounds(FEW, resting=first.full)
    assert (await router.route_portion(db, resting)).items == 3
    with pool.begin() as reader:
        keys = {each.key for each in rows(reader, "route_log")}
        assert keys >= {"urgent", "due", "neighbour"}
    assert (await router.route_portion(db, resting)).items == 0
    assert (await router.route_portion(db, PortionBounds())).items == FEW + 1


async def test_a_canary_routes_its_share_by_the_candidate_and_explains_it(
    db: Database, pool: Engine
) -> None:
    rule = 'payload.text == "letter k3"'  # of the candidate alone: its rules read payloads
    with pool.begin() as setup:
        publish(setup, now=NOON)
        candidates.store(setup, "letters", spec(urgent_when=rule), now=NOON)
        candidates.set_share(setup, "letters", 5_000)
        admit(setup, *(f"k{n}" for n in range(9)), now=NOON)
    assert await router.route_received(db) == 9
    with pool.begin() as reader:
        told = {each.key: each for each in rows(reader, "route_log")}
    for key, each in told.items():
        place = version_bucket("letters", entity=None, key=key)
        number, where = (2, "inside") if place < 5_000 else (1, "outside")
        assert each.version == number
        assert each.explanation.endswith(
            f"; version {number}: the canary sends 50 % to version 2, and version bucket {place:,} of 10,000 is {where}"
        )
        assert (each.reason == "urgent_rule") is (key == "k3" and number == 2)
    assert {each.version for each in told.values()} == {1, 2}


async def test_the_cost_of_a_batch_includes_the_history_that_it_would_read(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON, history_items=3)
        publish(setup, "tickets", now=NOON)
        for workload in ("letters", "tickets"):
            for n in range(2):
                admit(
                    setup,
                    f"k{n}",
                    now=NOON,
                    workload=workload,
                    entity="ann",
                    occurred_at=later(minutes=n - 9),
                )
    assert await router.route_received(db) == 4
    with pool.begin() as reader:
        costs = {
            (each.workload, each.key): (each.realtime_usd, each.batch_usd)
            for each in rows(reader, "route_log")
        }
    assert costs["letters", "k0"][0] == costs["letters", "k1"][0]
    assert costs["letters", "k0"][1] < costs["letters", "k1"][1]
    assert costs["tickets", "k0"] == costs["tickets", "k1"]


async def test_items_that_are_saved_in_halves_are_routed_once_in_their_order(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, *"cabed", now=NOON)
    assert await router.route_received(db, halved=4) == 5
    with pool.begin() as reader:
        assert [each.key for each in rows(reader, "item", "position")] == [*"cabed"]
        assert [each.key for each in rows(reader, "route_log")] == [*"cabed"]
        assert len(rows(reader, "work")) == 5


async def test_a_half_that_cannot_be_decided_or_saved_rolls_back_the_other_half(
    db: Database, pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, *"abcd", now=NOON)
    save, decided = routes.save, router.decide
    for at, broken in ((routes, "save"), (router, "decide")):
        with monkeypatch.context() as breaking:
            breaking.setattr(at, broken, failing_from("c", save if at is routes else decided))
            with pytest.raises(RuntimeError, match="at c"):
                await router.route_received(db, halved=4)
    assert await router.route_received(db, halved=4) == 4


def failing_from(key: str, act: Callable[..., Any]) -> Callable[..., Any]:
    """Return `act`, but with an error for every call that names the item with that key."""

    def acted(*args: Any, **kwargs: Any) -> Any:
        if f"key='{key}'" in repr(args):
            raise RuntimeError(f"at {key}")
        return act(*args, **kwargs)

    return acted


async def test_a_router_routes_the_items_that_open_transactions_do_not_hold(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "held", "free", now=NOON)
    with pool.connect() as caller, pool.connect() as etl:
        items.cancel(caller, "letters", "held")
        admit(etl, *(f"new {n}" for n in range(10)), now=NOON)
        assert await router.route_received(db) == 1
    assert await router.route_received(db) == 1


async def test_a_router_routes_nothing_while_another_router_is_at_work(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "a", now=NOON)
    with pool.connect() as other:
        assert routes.begin(other, LOCK_PATIENCE).alone
        assert await router.route_received(db) == 0
    assert await router.route_received(db) == 1


async def test_a_version_that_cannot_be_read_stops_only_its_own_items(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, "broken", now=NOON)
        publish(setup, now=NOON)
        admit(setup, "a", now=NOON, workload="broken")
        admit(setup, "a", now=NOON)
        setup.execute(
            text(
                """update lanes.version set spec = spec || '{"weight": 0}' where workload = 'broken'"""
            )
        )
    assert [await router.route_received(db) for _ in range(2)] == [1, 0]
    with pool.begin() as operator:
        assert row(operator, "route_log").workload == "letters"
        publish(operator, "broken", now=NOON, patience_s=5)
    assert await router.route_received(db) == 1


def forget_price(pool: Engine, workload: str) -> None:
    """Drop the price of the workload's model, as a newer release does; its programs have yet to read the version."""
    with pool.begin() as connection:
        connection.execute(
            text("""
            update lanes.version
               set spec = spec || '{"realtime_model": "claude-gone", "batch_model": "claude-gone"}',
                   realtime_model = 'claude-gone', batch_model = 'claude-gone'
             where workload = :name
            """),
            {"name": workload},
        )


async def test_a_model_without_a_price_stops_only_the_routing_of_its_own_workload(
    db: Database, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, "gone", now=NOON)
        publish(setup, now=NOON)
        admit(setup, "a", now=NOON, workload="gone")
        admit(setup, "a", now=NOON)
    forget_price(pool, "gone")
    assert [await router.route_received(db) for _ in range(2)] == [1, 0]
    with pool.begin() as reader:
        assert row(reader, "route_log").workload == "letters"


async def test_an_answer_of_a_model_without_a_price_is_billed_and_harms_no_neighbour(
    database_url: str, pool: Engine
) -> None:
    with pool.begin() as setup:
        publish(setup, "gone", now=NOON)
        publish(setup, now=NOON)
        lost, gone = (claimed_item(setup, key, workload="gone") for key in ("lost", "answered"))
        sound = claimed_item(setup)
    forget_price(pool, "gone")
    answered = tried(gone, response=said(model="claude-gone"))
    newer = create_engine(database_url)
    with newer.begin() as saver:
        assert outcomes.save(saver, [answered, tried(sound)], now=NOON).answered == 2
        booked = row(saver, "spend", workload="gone")
        assert (booked.cost_usd, booked.price_version) == (
            0,
            f"{prices.price_version()}, no price for claude-gone",
        )
        assert row(saver, "spend", workload="letters").cost_usd > 0
        (unknown,) = work.list_abandoned(saver, now=later(hours=1))
        assert (unknown.claim, unknown.judged.outcome, unknown.bound_usd) == (
            lost.claim,
            Outcome.UNKNOWN,
            0,
        )
        version = workloads.read_versions(saver)["gone"]
    newer.dispose()
    with pytest.raises(LookupError):
        Estimates(NOON).of(version, 10)
    assert cost.upper_bound(version, 10, lane=Lane.BATCH, at=NOON) == 0
