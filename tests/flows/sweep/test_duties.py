"""The duties of a sweep: a chosen clock, a real endpoint, and a Prefect that answers over HTTP, or does not."""

from datetime import timedelta
from typing import Any

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, text

from anthropic_standin.testing import Endpoint
from lanes.doors.item import Amendment
from lanes.realtime.circuit import Fault
from lanes.store import work
from lanes.store.batch import batches, ready_work
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.realtime import circuits
from lanes.store.replays import replays
from lanes.store.signals import Role, RoleLock, holder_exists
from lanes.words import Lane
from tasks import collect
from tasks.connections import Connections
from tasks.saving import end_lost_claims
from tasks.send_batch import prepare, send_batch
from tasks.sweep import (
    BackgroundRequests,
    amend_arrived,
    cancel_unwanted,
    depart_early,
    duties,
    finish_replays,
    fold,
    give_up,
    look_for_batches,
)
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route
from tests.flows.batches import collect_all, submit_and_end
from tests.flows.conftest import Sender, until
from tests.flows.sweep.conftest import Put
from tests.flows.test_saving import refuse
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import claim, row, rows, save, submit, tried


async def test_work_whose_lease_has_expired_is_ready_again_and_its_lost_try_is_recorded(
    db: Database, put: Put
) -> None:
    await put("a", lane=Lane.REALTIME)
    await db.run(
        work.claim,
        Lane.REALTIME,
        {"letters": 1},
        worker="gone",
        lease=timedelta(minutes=1),
        now=NOON,
    )
    await end_lost_claims(db, later(seconds=60))
    assert (await db.run(row, "work")).state == "claimed"
    await end_lost_claims(db, later(seconds=61))
    assert (await db.run(row, "work")).state == "ready"
    assert [each.outcome for each in await db.run(rows, "attempt_log")] == ["unknown"]


async def test_a_lost_claim_that_the_database_refuses_blocks_no_other(
    db: Database, put: Put
) -> None:
    await put("bad", "a", "b", lane=Lane.REALTIME)
    await db.run(
        work.claim,
        Lane.REALTIME,
        {"letters": 3},
        worker="gone",
        lease=timedelta(minutes=1),
        now=NOON,
    )
    (bad,) = [each.id for each in await db.run(rows, "work", "id")][:1]
    await db.run(refuse, "attempt", f"new.work_id = {bad}")
    with disable_run_logger():
        await end_lost_claims(db, later(minutes=2))
    assert [each.state for each in await db.run(rows, "work", "id")] == [
        "claimed",
        "ready",
        "ready",
    ]


async def test_a_lost_claim_of_a_model_without_a_price_blocks_no_other(
    db: Database, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpriced(*_: object, **__: object) -> None:
        raise LookupError

    await put("a", "b", lane=Lane.REALTIME)
    await db.run(
        work.claim,
        Lane.REALTIME,
        {"letters": 2},
        worker="gone",
        lease=timedelta(minutes=1),
        now=NOON,
    )
    monkeypatch.setattr(work, "upper_bound", unpriced)
    await end_lost_claims(db, later(minutes=2))
    assert {each.state for each in await db.run(rows, "work")} == {"ready"}


async def test_work_that_could_not_be_answered_for_a_day_is_given_up(
    db: Database, put: Put
) -> None:
    await put("a", lane=Lane.REALTIME)
    await db.run(
        circuits.record_fault,
        "acme",
        "claude-haiku-5-5",
        Fault("529", 3, later(), later()),
        now=later(),
    )
    await give_up(db, later(hours=24))
    assert (await db.run(row, "item_status")).state == "routed"
    await give_up(db, later(hours=24.1))
    assert (await db.run(row, "item_status")).state == "failed"
    assert [each.outcome for each in await db.run(rows, "attempt_log")] == ["given_up"]


@pytest.mark.slow
async def test_a_batch_whose_items_were_all_canceled_is_canceled_and_bills_only_requests_that_ran(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault("batch_request", "stall", match="b.")
    await sender.items("a", lane=Lane.BATCH, payload={"text": "a."})
    await sender.items("b", lane=Lane.BATCH, payload={"text": "b."})
    (kind,) = await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now())
    await send_batch(at, kind)
    await sender.rows("select lanes.cancel('letters', key) from lanes.item")
    await cancel_unwanted(at.db, await at.db.now())
    (batch,) = await at.db.run(batches.open_batches)
    assert batch.cancel_at is not None
    assert batch.provider_batch_id is not None
    assert not await collect.poll(at, batch)
    endpoint.ended(batch.provider_batch_id)
    assert await collect.poll(at, batch)
    assert await collect.bring_home(at, batch) == 2
    tries = await sender.rows("select key, outcome from lanes.attempt_log")
    assert ("b", "canceled") in tries
    assert await sender.rows("select count(*) from lanes.spend") == [(tries.count(("a", "valid")),)]


EARLY = Amendment("letters", "a", {"text": "amended"}, "0198c000-0000-7000-8000-000000000001")


async def test_an_amendment_that_arrived_before_its_item_is_applied_to_the_item(
    db: Database, put: Put
) -> None:
    await db.run(lambda c: publish(c, now=NOON))
    await db.run(items.amend, EARLY, door="event", now=NOON)
    await amend_arrived(db, NOON)
    await put("a", lane=Lane.BATCH)
    assert (await db.run(row, "item")).revision == 0
    await amend_arrived(db, later(seconds=1))
    item = await db.run(row, "item")
    assert (item.revision, item.payload) == (1, {"text": "amended"})


SEARCHED = (
    "select searched_at is not null from lanes.batch left join lanes.batch_doubt on batch_id = id"
)


@pytest.fixture
async def intended(at: Connections, sender: Sender) -> None:
    """Leave a batch unresolved: its create returned no answer."""
    await sender.items("in batch", lane=Lane.BATCH)
    (kind,) = await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now())
    assert await prepare(at, kind, now=await at.db.now())


def asked(endpoint: Endpoint) -> int:
    """Return how often the provider's list was requested since its fault was set."""
    return endpoint.control("GET", "faults")["data"][0]["hits"]


@pytest.mark.usefixtures("intended")
async def test_an_intent_whose_submitter_is_gone_is_searched_for(
    at: Connections, background: BackgroundRequests, sender: Sender
) -> None:
    await look_for_batches(at, background, NOON)
    await background.wait()
    assert await sender.rows(SEARCHED) == [(True,)]


@pytest.mark.usefixtures("intended")
async def test_an_intent_is_left_to_a_submitter_that_is_at_work(
    at: Connections, background: BackgroundRequests, sender: Sender
) -> None:
    async with RoleLock(at.db.url, Role.SUBMITTER) as submitter:
        assert await submitter.try_take()
        await look_for_batches(at, background, NOON)
        await background.wait()
    assert await sender.rows(SEARCHED) == [(False,)]


@pytest.mark.usefixtures("intended")
async def test_a_list_that_hangs_is_requested_once_at_a_time_and_its_end_releases_the_role(
    at: Connections, endpoint: Endpoint, background: BackgroundRequests
) -> None:
    endpoint.fault("batches.list", "latency", latency_s=30)
    await look_for_batches(at, background, NOON)
    await until(lambda: asked(endpoint))
    await look_for_batches(at, background, NOON)
    await look_for_batches(at, background, NOON)
    assert asked(endpoint) == 1
    assert await at.db.run(holder_exists, Role.SUBMITTER)
    await background.close()
    async with RoleLock(at.db.url, Role.SUBMITTER) as submitter:
        assert await submitter.take_over(within_s=3)


def answered_again(connection: Connection) -> None:
    """Answer an item and its replay."""
    letters = publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *map(tried, claim(connection)))
    begun = begin_replay(connection)
    replays.read_some(connection, begun.id, now=NOON)
    _, waiting = submit(connection, letters)
    save(connection, *map(tried, waiting))


@pytest.mark.slow
async def test_a_replay_that_has_ended_is_complete_and_its_artifact_is_written_once(
    db: Database, background: BackgroundRequests, prefect: PrefectStandIn
) -> None:
    await db.run(answered_again)
    await finish_replays(db, background, later(hours=1))
    await finish_replays(db, background, later(hours=2))
    await background.wait()
    assert (await db.run(row, "replay_log")).state == "complete"
    assert [each["key"] for each in prefect.artifacts] == ["lanes-replay-letters"]


@pytest.mark.parametrize("trouble", [{"hangs": True}, {"status": 503}])
async def test_a_replay_is_complete_whatever_prefect_does(
    db: Database, background: BackgroundRequests, prefect: PrefectStandIn, trouble: dict[str, Any]
) -> None:
    prefect.breaks(**trouble)
    await db.run(answered_again)
    await finish_replays(db, background, later(hours=1))
    assert (await db.run(row, "replay_log")).state == "complete"


WINDOW_MISSES = later(hours=11, minutes=1)  # the window opens at 22:00, and a batch takes an hour
DEPARTURE = {"departure": {"workload": "letters"}}


async def test_an_early_run_of_depart_is_requested_once_a_minute(
    db: Database, put: Put, background: BackgroundRequests, prefect: PrefectStandIn
) -> None:
    await put("a", lane=Lane.BATCH, due_at=WINDOW_MISSES)
    for s in (0, 30, 59, 60):
        await depart_early(db, background, later(seconds=s))
        await background.wait()
    assert prefect.asked("depart") == [DEPARTURE] * 2
    assert {each.key for each in prefect.runs} == {
        "deadline letters 2026-11-24T12:00",
        "deadline letters 2026-11-24T12:01",
    }


async def test_no_run_is_requested_for_items_that_the_schedule_sends_in_time(
    db: Database, put: Put, background: BackgroundRequests, prefect: PrefectStandIn
) -> None:
    await put("a", lane=Lane.BATCH, due_at=later(hours=24))
    await depart_early(db, background, NOON)
    await background.wait()
    assert prefect.requests == []


async def test_a_request_that_prefect_failed_is_repeated(
    db: Database, put: Put, background: BackgroundRequests, prefect: PrefectStandIn
) -> None:
    prefect.status = 500
    await put("a", lane=Lane.BATCH, due_at=WINDOW_MISSES)
    await depart_early(db, background, NOON)
    await background.wait()
    prefect.heals()
    await depart_early(db, background, NOON)
    await background.wait()
    assert prefect.asked("depart") == [DEPARTURE]


async def test_a_prefect_that_hangs_receives_one_request_at_a_time(
    db: Database, put: Put, background: BackgroundRequests, prefect: PrefectStandIn
) -> None:
    prefect.hangs = True
    await put("a", lane=Lane.BATCH, due_at=WINDOW_MISSES)
    await depart_early(db, background, NOON)
    await until(lambda: prefect.requests)
    asked = len(prefect.requests)
    await depart_early(db, background, NOON)
    await depart_early(db, background, NOON)
    assert len(prefect.requests) == asked


def decided(connection: Connection) -> list[tuple[str, int]]:
    return [(each.lane, each.items) for each in rows(connection, "routing_mix")]


def unfolded(connection: Connection) -> int:
    return connection.execute(text("select count(*) from lanes.figure_delta")).scalar_one()


async def test_folding_deltas_does_not_change_the_figures(db: Database, put: Put) -> None:
    await db.run(lambda c: publish(c, now=NOON))
    await put("a", lane=Lane.BATCH)
    await db.run(lambda c: route(c, now=NOON))
    before = await db.run(decided)
    assert before == [("batch", 1)]
    assert await db.run(unfolded) > 0
    await fold(db, NOON)
    assert await db.run(unfolded) == 0
    assert await db.run(decided) == before


async def test_a_late_label_triggers_another_pass_of_items_that_read_the_labelled_item(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    now = await at.db.now()
    context = {"entity": {"items": 2, "labels": True}}
    all_day = {"off_peak_start": "00:00", "off_peak_end": "00:00"}

    def begin(connection: Connection) -> None:
        publish(connection, now=now, mode="lambda", context=context, **all_day)
        for days, key in enumerate("ba", start=1):
            at = now - timedelta(days=days)
            admit(connection, key, now=now, lane=Lane.BATCH, entity="ann", occurred_at=at)
        route(connection, now=now)

    await at.db.run(begin)
    await submit_and_end(at, endpoint)
    await collect_all(at, endpoint)
    await sender.rows("select lanes.label('letters', 'a', '{\"category\": \"b\"}')")
    (turn,) = (each for each in duties(at, BackgroundRequests()) if each.name == "late context")
    with disable_run_logger():
        await turn.act(await at.db.now())
    assert await sender.states() == {"a": "settled", "b": "answered"}
