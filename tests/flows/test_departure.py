"""A run of `depart` tries every kind of waiting work, whatever fails, and reports what could not depart."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prefect.client.schemas.objects import State
from sqlalchemy import text

from anthropic_standin.testing import Endpoint
from lanes.batch.batch import BatchKind
from lanes.batch.reconcile import BatchFinding
from lanes.errors import LanesError, UnknownWorkload
from lanes.ids import BatchId
from lanes.settling.story import next_step
from lanes.store.batch import batches, doubts, ready_work
from lanes.store.database import Database
from lanes.store.settling.story import records
from lanes.words import Lane
from tasks.connections import Connections, opening
from tasks.departure import Departed, NotSubmitted, check_in, send_waiting, try_batch
from tasks.reconcile import reconcile_unresolved
from tasks.send_batch import BatchSize, Blocked, prepare
from tasks.watch import evaluate
from tests.flows.batches import collect_all, kind
from tests.flows.conftest import Nap, Sender
from tests.flows.test_batch_lane import KEYS

OVERLOADED = {"status": 529, "error_type": "overloaded_error", "message": "busy"}
LIMITED = {"status": 429, "error_type": "rate_limit_error", "message": "too many"}


async def intended_only(at: Connections, waiting: BatchKind) -> None:
    """Commit an intent of the account for a batch that is never created."""
    assert await prepare(at, waiting, now=await at.db.now()) is not None


async def asked_for(at: Connections, *, in_minutes: float) -> list[str]:
    """Return the workloads that request a run of `depart` within `in_minutes`."""
    now = await at.db.now()
    return await at.db.run(ready_work.list_pressing, now=now + timedelta(minutes=in_minutes))


@pytest.mark.slow
async def test_a_refused_kind_of_work_does_not_block_the_others(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    for workload in ("bills", "letters", "notes"):
        await sender.items(
            "a", "b", lane=Lane.BATCH, workload=workload, instructions=f"Sort the {workload}."
        )
    refused = {"status": 400, "error_type": "invalid_request_error", "message": "no"}
    endpoint.fault("batches.create", "status", match="Sort the letters", **refused)
    departed = await send_waiting(at, None, sleep=nap)
    assert departed.items == 4
    with pytest.raises(NotSubmitted, match=r"^letters: the provider answered 400: no$"):
        departed.ending()
    states = "select workload, state, failures from lanes.work group by 1, 2, 3 order by 1"
    assert await sender.rows(states) == [
        ("bills", "submitted", 0),
        ("letters", "ready", 0),
        ("notes", "submitted", 0),
    ]
    assert await asked_for(at, in_minutes=120) == []  # only a person can help


@pytest.mark.slow
async def test_a_kind_of_work_whose_version_is_broken_does_not_block_the_others(
    at: Connections, database_url: str, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", lane=Lane.BATCH, workload="bills")
    await sender.items("a", lane=Lane.BATCH, workload="letters")
    broken = """update lanes.version set spec = spec - 'instructions' where workload = 'bills'"""
    await at.db.run(lambda c: c.exec_driver_sql(broken))
    # A newer release cannot read the version.
    async with Database(database_url) as newer:
        departed = await send_waiting(replace(at, db=newer), None, sleep=nap)
    assert departed.items == 1
    assert [sentence.split(":")[0] for sentence in departed.failed] == ["bills"]


@pytest.mark.slow
async def test_a_run_records_its_start_and_how_many_items_it_sent_of_each_workload(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", "b", lane=Lane.BATCH)
    await sender.items("c", lane=Lane.REALTIME, workload="bills")
    asked = "select name, departed_at is not null, departed_items from lanes.workload order by 1"
    assert await sender.rows(asked) == [("bills", False, None), ("letters", False, None)]
    await check_in(at, None)
    assert await sender.rows(asked) == [("bills", True, None), ("letters", True, None)]
    await send_waiting(at, None, sleep=nap)
    assert await sender.rows(asked) == [("bills", True, 0), ("letters", True, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("busy", [OVERLOADED, LIMITED])
async def test_a_busy_provider_is_asked_again_within_the_run(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, busy: dict[str, object]
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "status", times=2, retry_after_s=7, **busy)
    assert (await send_waiting(at, None, sleep=nap)).ending() == len(KEYS)
    assert len(nap.slept) == 2
    assert all(7 <= seconds <= 10.5 for seconds in nap.slept)
    await collect_all(at, endpoint)
    assert await sender.rows("select distinct state, failures from lanes.work") == [("done", 0)]


@pytest.mark.slow
@pytest.mark.parametrize("busy", [OVERLOADED, LIMITED])
async def test_a_provider_that_stays_busy_is_asked_by_another_run_within_minutes(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, busy: dict[str, object]
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "status", **busy)
    departed = await send_waiting(at, None, sleep=nap)
    assert departed.items == 0
    assert len(departed.failed) == 1
    assert sum(nap.slept) <= 60
    assert await asked_for(at, in_minutes=1.9) == []
    assert await asked_for(at, in_minutes=3.1) == ["letters"]
    endpoint.reset()
    assert (await send_waiting(at, None, sleep=nap)).items == len(KEYS)
    assert await asked_for(at, in_minutes=120) == []


@pytest.mark.slow
async def test_an_unreachable_provider_created_nothing_and_is_asked_again(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    nowhere = at.provider.model_copy(update={"base_url": "http://127.0.0.1:9"})
    async with opening(nowhere) as client:
        departed = await send_waiting(Connections(at.db, client, at.provider), None, sleep=nap)
    assert nap.slept
    assert len(departed.failed) == 1
    assert await sender.rows("select distinct state from lanes.batch") == [("released",)]
    assert await sender.rows("select distinct state, failures from lanes.work") == [("ready", 0)]
    assert await asked_for(at, in_minutes=3.1) == ["letters"]
    assert (await send_waiting(at, None, sleep=nap)).ending() == len(KEYS)


@pytest.mark.slow
async def test_a_create_that_may_be_billed_is_never_retried_and_later_batches_wait_for_its_outcome(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", lane=Lane.BATCH, workload="bills")
    await sender.items("a", "b", lane=Lane.BATCH, workload="letters")
    endpoint.fault(
        "batches.create", "status", status=500, error_type="api_error", message="oh", times=1
    )
    departed = await send_waiting(at, None, sleep=nap)
    assert nap.slept == []
    assert departed.failed == ["bills: the provider answered 500: oh"]
    said = "letters: the create of batch 1 of bills has no answer yet; no other batch is created until it has"
    assert departed.waiting == [said]
    assert await asked_for(at, in_minutes=1) == ["letters"]
    sender.time.passes(seconds=6)
    assert await reconcile_unresolved(at) is BatchFinding.RELEASE
    assert (await send_waiting(at, None, sleep=nap)).items == 3


async def test_a_run_that_only_waits_for_another_batch_reports_it_and_does_not_fail(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", lane=Lane.BATCH)
    endpoint.fault("batches.create", "drop", times=1)
    await send_waiting(at, None, sleep=nap)
    await sender.items("b", lane=Lane.BATCH)
    ending = (await send_waiting(at, None, sleep=nap)).ending()
    assert isinstance(ending, State)
    assert (ending.name, ending.type) == ("Waiting", "COMPLETED")
    assert "has no answer" in str(ending.message)


async def test_a_batch_that_has_to_wait_does_not_fail_its_task(
    at: Connections, sender: Sender
) -> None:
    await sender.items("a", lane=Lane.BATCH)
    waiting = await kind(at)
    await intended_only(at, waiting)
    assert isinstance(await try_batch.fn(at, waiting, most=BatchSize()), Blocked)


@pytest.mark.slow
async def test_an_unresolved_create_does_not_block_another_account(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", lane=Lane.BATCH)
    waiting = await kind(at)
    other = Connections(at.db, at.opening, at.provider.model_copy(update={"account": "other"}))
    await intended_only(other, waiting)
    assert (await at.db.run(batches.find_unresolved, "other")) is not None
    await sender.items("b", lane=Lane.BATCH)
    assert (await send_waiting(at, None, sleep=nap)).ending() == 1


@pytest.mark.slow
async def test_a_batch_that_the_provider_rejects_as_too_large_is_halved(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    too_large = {"status": 413, "error_type": "request_too_large", "message": "too large"}
    endpoint.fault("batches.create", "status", times=2, **too_large)
    assert (await send_waiting(at, None, sleep=nap)).ending() == len(KEYS)
    sizes = "select items from lanes.batch where state <> 'released' order by id"
    assert await sender.rows(sizes) == [(3,)] * 4


@pytest.mark.slow
async def test_a_held_batch_does_not_block_another_batch_with_as_many_requests(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", "b", "c", lane=Lane.BATCH, workload="bills")
    await intended_only(at, await kind(at))
    await at.db.run(doubts.hold, BatchId(1), note="several fit", now=await at.db.now())
    await sender.items("d", "e", "f", lane=Lane.BATCH, workload="letters")
    assert (await send_waiting(at, None, sleep=nap)).ending() == 3
    sent = "select requests, items from lanes.batch where workload = 'letters' order by id"
    assert await sender.rows(sent) == [(2, 2), (1, 1)]  # one request moved to the next batch


@pytest.mark.slow
async def test_one_item_that_could_not_be_distinguished_waits_while_the_others_depart(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", lane=Lane.BATCH, workload="bills")
    await intended_only(at, await kind(at))
    await at.db.run(doubts.hold, BatchId(1), note="several fit", now=await at.db.now())
    await sender.items("d", lane=Lane.BATCH, workload="letters")
    await sender.items("e", "f", lane=Lane.BATCH, workload="notes")
    departed: Departed = await send_waiting(at, None, sleep=nap)
    assert departed.items == 2
    (sentence,) = departed.waiting
    assert sentence.startswith("letters: 1 request could not be told apart")
    assert await asked_for(at, in_minutes=11) == ["letters"]


async def test_a_run_that_failed_and_waits_reports_both() -> None:
    with pytest.raises(LanesError, match=r"^a: no; b: later$"):
        Departed(3, ["a: no"], ["b: later"]).ending()


async def test_an_unpublished_workload_is_refused_by_name(at: Connections) -> None:
    with pytest.raises(UnknownWorkload, match='there is no workload "nobody"'):
        await send_waiting(at, "nobody")


async def test_items_wait_while_their_reference_rows_cannot_be_read_and_other_items_depart(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    facts = {"name": "facts", "relation": "ops.facts", "key": "payload.text", "column": "said"}
    await sender.items("a", lane=Lane.BATCH, context={"reference": [facts]})
    await sender.items("a", lane=Lane.BATCH, workload="notes")
    departed = await send_waiting(at, None, sleep=nap)
    assert departed.items == 1
    (said,) = departed.waiting
    assert said == 'letters: reference "facts": there is no table or view ops.facts; create it'
    assert await asked_for(at, in_minutes=5) == ["letters"]
    opened = "select workload, subject, state, why from lanes.incident where promise = 'batch_never_started'"
    ((*of, state, why),) = await sender.rows(opened)
    assert (of, state) == (["letters", "context"], "open")
    assert said.endswith(str(why))
    found = await at.db.run(records, "letters", "a", now=await at.db.now())
    assert f"because its context cannot be read ({why})" in next_step(found, await at.db.now())
    await evaluate(at.db)
    assert len(await sender.rows(f"{opened} and state = 'open'")) == 1  # `watch` leaves it open
    await at.db.run(
        lambda c: c.execute(text("create schema ops; create table ops.facts (said text)"))
    )
    assert (await send_waiting(at, "letters", sleep=nap)).items == 1
    assert len(await sender.rows(f"{opened} and state = 'resolved'")) == 1
