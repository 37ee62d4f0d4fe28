"""The batch lane from submit to collect, and every way to interrupt it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from anthropic_standin.testing import Endpoint
from lanes.batch.batch import REPEATED
from lanes.batch.reconcile import BatchFinding
from lanes.ids import WorkId
from lanes.provider import batches as provider
from lanes.provider.errors import CallFailed
from lanes.provider.results import ResultsCut
from lanes.settling.outcome import Attempt, SaveResult
from lanes.store.batch import batches
from lanes.store.doors import full_data
from lanes.store.settling import outcomes
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tasks import collect
from tasks.connections import Connections
from tasks.reconcile import describe_unconfirmed, reconcile_unresolved
from tasks.send_batch import BatchSize, prepare, send_batch
from tasks.watch import evaluate
from tests.examples import admit, batch_body, publish, route
from tests.flows.batches import collect_all, kind, submit, submit_and_end
from tests.flows.conftest import Sender

KEYS = [f"k{n:02d}" for n in range(12)]


async def test_a_batch_settles_its_items_and_its_bill_equals_the_endpoints(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    before = endpoint.bill()
    await sender.items(*KEYS, lane=Lane.BATCH)
    assert await submit(at) == len(KEYS)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    ((responses, usd),) = await sender.rows("select count(*), sum(cost_usd) from lanes.spend")
    after = endpoint.bill()
    assert responses == after["responses"] - before["responses"] == len(KEYS)
    assert float(str(usd)) == pytest.approx(float(after["usd"]) - float(before["usd"]))
    ((succeeded, missing, state),) = await sender.rows(
        "select succeeded, missing, state from lanes.batch_status"
    )
    assert (succeeded, missing, state) == (len(KEYS), 0, "collected")


@pytest.mark.slow
async def test_collecting_a_batch_twice_changes_nothing(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    (batch,) = await at.db.run(batches.open_batches)
    await collect_all(at, endpoint)
    everything = (
        "select (select count(*) from lanes.attempt), (select count(*) from lanes.result),"
        " (select sum(cost_usd) from lanes.spend)"
    )
    before = await sender.rows(everything)
    await collect.bring_home(at, batch)
    assert await sender.rows(everything) == before


@pytest.mark.slow
async def test_a_broken_results_stream_is_read_again_without_duplicates(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    (batch,) = await at.db.run(batches.open_batches)
    assert batch.provider_batch_id is not None
    endpoint.ended(batch.provider_batch_id)
    endpoint.fault("batches.results", "cut", after_lines=7, times=1)
    await collect.poll(at, batch)
    with pytest.raises(ResultsCut):
        await collect.bring_home(at, batch, chunk=3)
    ((applied,),) = await sender.rows("select count(*) from lanes.result")
    assert 0 < int(str(applied)) < len(KEYS)
    await collect.bring_home(at, batch)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select count(*), count(distinct key) from lanes.attempt_log") == [
        (12, 12)
    ]


@pytest.mark.slow
async def test_a_batch_whose_create_answer_was_lost_is_adopted_and_paid_once(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    before = endpoint.bill()["batches_created"]
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "drop", times=1)
    with pytest.raises(CallFailed) as failure:
        await submit(at)
    assert failure.value.maybe_billed
    assert await reconcile_unresolved(at) is BatchFinding.WAIT
    sender.time.passes(seconds=6)
    assert await reconcile_unresolved(at) is BatchFinding.ADOPT
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    assert endpoint.bill()["batches_created"] == before + 1


@pytest.mark.slow
async def test_work_of_a_batch_that_was_never_created_is_submitted_once_after_the_grace_period(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    before = endpoint.bill()["batches_created"]
    await sender.items(*KEYS, lane=Lane.BATCH)
    now = await at.db.now()
    assert await prepare(at, await kind(at), now=now) is not None
    assert await reconcile_unresolved(at) is BatchFinding.WAIT
    (sentence,) = await describe_unconfirmed(at)
    assert sentence.startswith("batch 1 of letters, 12 items, has been intended since ")
    # A create may take 10 seconds, and a created batch is listed within 5 more.
    sender.time.passes(seconds=10)
    assert await reconcile_unresolved(at) is BatchFinding.WAIT
    sender.time.passes(seconds=5)
    assert await reconcile_unresolved(at) is BatchFinding.RELEASE
    assert await describe_unconfirmed(at) == []
    assert await submit(at) == len(KEYS)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    assert endpoint.bill()["batches_created"] == before + 1
    assert await sender.rows("select distinct attempts from lanes.item_status") == [(1,)]


@pytest.mark.slow
async def test_a_refused_create_returns_the_work_without_spending_retry_budget(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault(
        "batches.create",
        "status",
        status=401,
        error_type="authentication_error",
        message="bad key",
        times=1,
    )
    with pytest.raises(CallFailed, match="ANTHROPIC_API_KEY"):
        await submit(at)
    assert await sender.rows("select distinct state, failures from lanes.work") == [("ready", 0)]
    frozen = "select subject, value, severity from lanes.incident_log where promise = 'provider_frozen' and state = 'open'"
    await evaluate(at.db)
    assert await sender.rows(frozen) == [(at.provider.account, len(KEYS), "critical")]
    assert await submit(at) == len(KEYS)
    await evaluate(at.db)
    assert await sender.rows(frozen) == []


async def test_one_invalid_request_of_a_batch_fails_alone(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    fault = {"status": 400, "error_type": "invalid_request_error", "message": "no"}
    endpoint.fault("batch_request", "status", match="letter k03", **fault)
    await submit(at)
    await collect_all(at, endpoint)
    states = await sender.states()
    assert states.pop("k03") == "failed"
    assert set(states.values()) == {"settled"}


async def test_expired_requests_return_alone_and_spend_no_retry_budget(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batch_request", "expire", match="letter k05")
    await submit(at)
    await collect_all(at, endpoint)
    ready = "select i.key, w.failures from lanes.work w join lanes.item i on i.id = w.item_id where w.state = 'ready'"
    assert await sender.rows(ready) == [("k05", 0)]
    endpoint.reset()
    assert await submit(at) == 1
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}


@pytest.mark.slow
async def test_packs_of_a_batch_split_cost_and_tokens_exactly_and_wrong_ids_are_retried(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH, batch_pack=4)
    endpoint.fault("batch_request", "wrong_ids", times=1)
    await submit(at)
    await collect_all(at, endpoint)
    states = list((await sender.states()).values())
    assert states.count("settled") >= 9
    ((requests,),) = await sender.rows("select requests from lanes.batch_status")
    assert requests == 3
    await submit(at)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    sums = "select (select sum(cost_usd) from lanes.attempt_log), (select sum(cost_usd) from lanes.spend)"
    ((parts, whole),) = await sender.rows(sums)
    assert parts == whole
    tokens = (
        "select (select sum(input_tokens + output_tokens) from lanes.attempt_log),"
        " (select sum(input_tokens + output_tokens) from lanes.spend)"
    )
    ((part_tokens, whole_tokens),) = await sender.rows(tokens)
    assert part_tokens == whole_tokens


async def test_results_are_saved_in_transactions_of_chunk_items_whatever_the_pack_size(
    at: Connections, endpoint: Endpoint, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []

    def counting(connection: Connection, attempts: Sequence[Attempt], **more: Any) -> SaveResult:
        saved.append(len(attempts))
        return save(connection, attempts, **more)

    save = outcomes.save
    monkeypatch.setattr(outcomes, "save", counting)
    await sender.items(*KEYS, lane=Lane.BATCH, batch_pack=3)
    await collect.bring_home(at, await submit_and_end(at, endpoint), chunk=6)
    assert saved == [6, 6]
    assert set((await sender.states()).values()) == {"settled"}


async def test_work_without_a_result_is_recorded_as_missing_and_becomes_ready_again(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS[:2], lane=Lane.BATCH)
    await submit(at)
    (batch,) = await at.db.run(batches.open_batches)
    await at.db.run(
        lambda c: c.exec_driver_sql(
            "update lanes.batch_member set request_no = 99 where request_no = 1"
        )
    )
    assert batch.provider_batch_id is not None
    endpoint.ended(batch.provider_batch_id)
    await collect.poll(at, batch)
    for _ in range(REPEATED - 1):
        with pytest.raises(collect.ShortRead):
            await collect.bring_home(at, batch)
        sender.time.passes(minutes=1)
    await collect.bring_home(at, batch)
    ((missing, succeeded),) = await sender.rows("select missing, succeeded from lanes.batch_status")
    assert (missing, succeeded) == (1, 1)
    assert await sender.rows("select state, failures from lanes.work where state <> 'done'") == [
        ("ready", 1)
    ]
    ((lost,),) = await sender.rows("select outcome from lanes.attempt_log where outcome <> 'valid'")
    assert lost == Outcome.MISSING


async def test_a_batch_created_long_before_an_intent_is_never_adopted(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": "x"}],
    }
    foreign = await provider.create(await at.client(), batch_body("f" * 16, body))
    await sender.items("only", lane=Lane.BATCH)
    assert foreign.created_at is not None
    later = foreign.created_at + timedelta(hours=1)
    await prepare(at, await kind(at), now=later)
    assert await reconcile_unresolved(at) is BatchFinding.WAIT


async def test_items_with_histories_fill_a_batch_up_to_its_byte_limit_and_the_rest_stays_ready(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Histories are loaded only as far as they fit: at most one read of two items is in vain."""
    now = await at.db.now()

    def put(connection: Connection) -> None:
        publish(connection, now=now, history_items=10)
        for number in range(20):
            occurred_at = now - timedelta(minutes=60 - number)
            more = {
                "entity": "customer 7",
                "occurred_at": occurred_at,
                "payload": {"text": f"{number} " + "x" * 1_000},
            }
            admit(connection, f"k{number:02d}", now=now, lane=Lane.BATCH, **more)
        route(connection, now=now)

    await at.db.run(put)
    loaded: list[int] = []
    read = full_data.read

    def counted(
        connection: Connection, version: Version, works: Mapping[WorkId, Any]
    ) -> full_data.History:
        loaded.append(len(works))
        return read(connection, version, works)

    monkeypatch.setattr(full_data, "read", counted)
    await send_batch(at, await kind(at), most=BatchSize(bytes=20_000, read=2))
    ((requests, size),) = await sender.rows("select requests, bytes from lanes.batch")
    assert 0 < cast(int, requests) < 20
    assert cast(int, size) <= 20_000
    assert sum(loaded) <= cast(int, requests) + 2
    assert await sender.rows("select count(*) from lanes.work where state = 'ready'") == [
        (20 - cast(int, requests),)
    ]
