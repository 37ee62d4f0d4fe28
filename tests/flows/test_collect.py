"""Collecting results that end early, come twice, belong to others or report trouble of the account:
one file because each test makes one stand-in send other lines of the same batch."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text

from anthropic_standin.testing import Endpoint
from blocks.provider import Provider
from lanes.batch.batch import OpenBatch
from lanes.batch.reconcile import BatchFinding
from lanes.provider.errors import CallFailed
from lanes.provider.results import ResultsCut
from lanes.store.batch import batches, ready_work
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.promises import recording
from lanes.store.settling import decisions
from lanes.words import Lane
from tasks import collect
from tasks.collect import Collector
from tasks.connections import Connections, opening
from tasks.reconcile import reconcile_unresolved
from tasks.saving import save
from tasks.send_batch import send_batch
from tasks.watch import evaluate
from tests.flows.batches import submit_and_end
from tests.flows.conftest import Sender
from tests.flows.tampering import Lines, Tampering
from tests.flows.test_saving import refuse

KEYS = [f"k{n:02d}" for n in range(12)]
INCIDENTS = (
    "select promise, value, severity from lanes.incident_log where state = 'open' order by promise"
)


@pytest.fixture
def tampering(endpoint: Endpoint) -> Iterator[Tampering]:
    between = Tampering(endpoint.url)
    yield between
    between.stop()


@pytest_asyncio.fixture
async def at(db: Database, tampering: Tampering) -> AsyncIterator[Connections]:
    """Yield connections to a fresh database, and to the endpoint through a proxy that tampers with its results."""
    block = Provider(api_key=SecretStr("x"), base_url=tampering.url, poll_s=0.2, listing_grace_s=5)
    async with opening(block) as client:
        yield Connections(db, client, block)


@pytest.mark.parametrize("ahead_s", [-180, 180])
async def test_the_duration_of_a_batch_does_not_depend_on_the_clock_of_its_provider(
    at: Connections, endpoint: Endpoint, sender: Sender, ahead_s: int
) -> None:
    endpoint.reset(clock_ahead_s=ahead_s)
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    ((begun, ended),) = await sender.rows(
        "select submitted_at, ended_at from lanes.batch where id = :id", id=batch.id
    )
    assert isinstance(begun, datetime)
    assert isinstance(ended, datetime)
    assert begun <= ended <= await at.db.now()
    assert ended - begun < timedelta(seconds=20)


async def test_an_ended_batch_without_an_end_time_ended_when_its_end_was_seen(
    at: Connections, tampering: Tampering, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    tampering.view = lambda view: view | {"ended_at": None}
    before = await at.db.now()
    batch = await submit_and_end(at, endpoint)
    ((ended,),) = await sender.rows("select ended_at from lanes.batch where id = :id", id=batch.id)
    assert isinstance(ended, datetime)
    assert before < ended <= await at.db.now()


async def run_sql(at: Connections, query: str) -> None:
    await at.db.run(lambda c: c.execute(text(query)))


def without(*numbers: int) -> Any:
    """Return a change that removes the results of these requests."""
    endings = tuple(f"-{number}" for number in numbers)
    return lambda lines: [line for line in lines if not line["custom_id"].endswith(endings)]


# -- results that end early


@pytest.mark.slow
async def test_results_that_end_before_their_last_line_are_read_again_and_nothing_is_paid_twice(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    tampering.body = lambda body: body[: body.rstrip(b"\n").rindex(b"\n") + 1]
    for _ in range(5):
        with pytest.raises(
            ResultsCut, match=r"ended without 1 of its 12 requests: read 1 of 3 times"
        ):
            await collect.bring_home(at, batch)
    assert await sender.rows("select state, count(*) from lanes.work group by 1 order by 1") == [
        ("done", 11),
        ("submitted", 1),
    ]
    tampering.honest()
    assert await collect.bring_home(at, batch) == len(KEYS)
    assert await sender.rows("select distinct state, attempts from lanes.item_status") == [
        ("settled", 1)
    ]
    assert await sender.rows("select succeeded, missing, state from lanes.batch_status") == [
        (12, 0, "collected")
    ]


def counting(**counts: int) -> Any:
    """Return a change of a batch's view that sets these counts of requests, and all others to 0."""
    return lambda view: (
        view | {"request_counts": {**dict.fromkeys(view["request_counts"], 0), **counts}}
    )


async def read_short(at: Connections, sender: Sender, batch: OpenBatch, *, times: int = 2) -> None:
    """Read the results `times` times, a minute apart, while they end early."""
    for _ in range(times):
        with pytest.raises(collect.ShortRead):
            await collect.bring_home(at, batch)
        sender.time.passes(minutes=1)


@pytest.mark.slow
async def test_three_equal_short_reads_a_minute_apart_make_the_rest_missing_and_open_an_incident(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    tampering.lines(without(3, 7))
    tampering.view = counting(succeeded=10)
    await read_short(at, sender, batch)
    await collect.bring_home(at, batch)
    assert await sender.rows("select succeeded, missing, state from lanes.batch_status") == [
        (10, 2, "collected")
    ]
    assert await sender.rows("select distinct failures from lanes.work where state = 'ready'") == [
        (1,)
    ]
    assert await sender.rows(INCIDENTS) == [("batch_incomplete", 2, "warning")]
    ((sentence,),) = await sender.rows("select sentence from lanes.incident")
    assert (
        sentence
        == "2 of 12 items of batch 1 came back without a result, however often the results were read."
    )
    await evaluate(at.db)
    assert ("batch_incomplete", 2, "warning") in await sender.rows(INCIDENTS)
    sender.time.passes(hours=25)
    await evaluate(at.db)
    assert "batch_incomplete" not in [row[0] for row in await sender.rows(INCIDENTS)]


@pytest.mark.slow
@pytest.mark.parametrize("lacking", [range(12), [3, 7]])
async def test_items_that_the_provider_counts_as_answered_are_never_missing_and_never_paid_again(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    tampering: Tampering,
    lacking: Sequence[int],
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    tampering.lines(without(*lacking))
    await read_short(at, sender, batch, times=5)
    assert await sender.rows("select missing, state from lanes.batch_status") == [(0, "ended")]
    assert await sender.rows(INCIDENTS) == [("batch_unclear", 12, "critical")]
    ((sentence,),) = await sender.rows("select sentence from lanes.incident")
    read = 12 - len(lacking)
    assert (
        f"the provider counts 12 answers, but its results hold {read}, however often they are read"
        in str(sentence)
    )
    assert await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now()) == []
    await evaluate(at.db)
    assert ("batch_unclear", 12, "critical") in await sender.rows(INCIDENTS)
    tampering.honest()  # the lines appear
    assert await collect.bring_home(at, batch) == len(KEYS)
    assert await sender.rows("select succeeded, missing, state from lanes.batch_status") == [
        (12, 0, "collected")
    ]
    assert await sender.rows("select distinct state, attempts from lanes.item_status") == [
        ("settled", 1)
    ]
    assert await sender.rows("select count(*), count(distinct message_id) from lanes.spend") == [
        (12, 12)
    ]
    assert endpoint.bill()["responses"] == len(KEYS)
    assert "batch_unclear" not in [row[0] for row in await sender.rows(INCIDENTS)]


@pytest.mark.slow
@pytest.mark.parametrize("decide", [decisions.give_up, decisions.resubmit])
async def test_a_decision_on_an_unreadable_batch_bounds_its_cost_and_closes_the_batch(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering, decide: Any
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    tampering.body = lambda _: b""
    await read_short(at, sender, batch, times=3)
    await at.db.run(decide, batch.id, who="ada", why="cannot be read", now=await at.db.now())
    assert await sender.rows(INCIDENTS) == []
    (batch,) = await at.db.run(batches.open_batches)
    before = await sender.states()
    await collect.bring_home(at, batch)
    assert await sender.rows("select state, missing from lanes.batch") == [("released", 0)]
    assert await sender.states() == before
    ((bound,),) = await sender.rows("select sum(bound_usd) from lanes.attempt")
    assert float(str(bound)) >= float(endpoint.bill()["usd"]) > 0
    assert await sender.rows("select count(*) from lanes.spend") == [(0,)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoiled", [{"result": None}, {}, {"result": {"type": "succeeded", "message": None}}]
)
async def test_a_line_without_a_result_is_read_again_and_harms_no_other_line(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    tampering: Tampering,
    spoiled: dict[str, Any],
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    tampering.lines(lambda lines: [{"custom_id": lines[0]["custom_id"], **spoiled}, *lines[1:]])
    with pytest.raises(collect.ShortRead, match="with 1 line that cannot be read"):
        await collect.bring_home(at, batch)
    assert list((await sender.states()).values()).count("settled") == 11
    tampering.honest()
    await collect.bring_home(at, batch)
    assert set((await sender.states()).values()) == {"settled"}


# -- results that come twice, or belong to others


@pytest.mark.slow
async def test_duplicate_lines_are_one_attempt_and_all_outcomes_add_up_to_the_items(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH, batch_pack=3)
    endpoint.fault("batch_request", "wrong_ids", times=1)
    endpoint.fault("batch_request", "expire", times=1)
    batch = await submit_and_end(at, endpoint)
    # Duplicates within a chunk, and across chunks.
    tampering.lines(lambda lines: [lines[0], *lines, *lines[:2], *reversed(lines)])
    await collect.bring_home(at, batch, chunk=6)
    await collect.bring_home(at, batch, chunk=6)
    assert await sender.rows("select count(*), count(distinct key) from lanes.attempt_log") == [
        (12, 12)
    ]
    assert await sender.rows(
        "select succeeded + invalid + errored + canceled + expired + missing, items, state from lanes.batch_status"
    ) == [(12, 12, "collected")]
    parts = "select (select sum(cost_usd) from lanes.attempt_log) = (select sum(cost_usd) from lanes.spend)"
    assert await sender.rows(parts) == [(True,)]
    assert await sender.rows(INCIDENTS) == []


@pytest.mark.slow
async def test_lines_of_other_batches_and_of_unknown_requests_change_nothing(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)

    def add(lines: Lines) -> Lines:
        ids = [
            f"{batch.nonce}-12",
            f"{batch.nonce}-{10**8}",
            f"{batch.nonce}-{10**15}",
            f"{'f' * 16}-0",
            "somebody-1",
        ]
        return [*({**lines[0], "custom_id": id_} for id_ in ids), *lines]

    tampering.lines(add)
    await collect.bring_home(at, batch)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select count(*) from lanes.attempt_log") == [(12,)]
    assert await sender.rows("select succeeded, items from lanes.batch_status") == [(12, 12)]


@pytest.mark.slow
async def test_a_batch_without_a_line_of_ours_is_foreign_and_none_of_our_items_is_missing(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    tampering.lines(
        lambda lines: [{**line, "custom_id": f"their-{n}"} for n, line in enumerate(lines)]
    )
    for _ in range(4):
        with pytest.raises(collect.ForeignResults, match="are not those of batch 1"):
            await collect.bring_home(at, batch)
        sender.time.passes(minutes=1)
    assert await sender.rows("select distinct state from lanes.work") == [("submitted",)]


async def test_outcomes_that_do_not_add_up_open_an_incident_and_block_nothing(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    await run_sql(at, "update lanes.batch set expired = 3")
    await collect.bring_home(at, batch)
    assert await sender.rows("select state from lanes.batch_status") == [("collected",)]
    assert await sender.rows(INCIDENTS) == [("batch_incomplete", 3, "warning")]
    assert await sender.rows("select sentence from lanes.incident") == [
        ("Batch 1 has 15 outcomes of 12 items.",)
    ]


# -- adopted batches, and batches whose items went elsewhere


async def adopted(at: Connections, endpoint: Endpoint, sender: Sender) -> OpenBatch:
    """Submit the waiting work; return its adopted batch, which has ended and which no result has proved ours yet."""
    (kind,) = await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now())
    endpoint.fault("batches.create", "drop", times=1)
    with pytest.raises(CallFailed):
        await send_batch(at, kind)
    sender.time.passes(seconds=6)
    assert await reconcile_unresolved(at) is BatchFinding.ADOPT
    (batch,) = await at.db.run(batches.open_batches)
    assert batch.unproved
    assert batch.provider_batch_id is not None
    endpoint.ended(batch.provider_batch_id)
    assert await collect.poll(at, batch)
    return batch


@pytest.mark.slow
async def test_an_adopted_batch_without_a_readable_line_is_neither_proved_nor_missing(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await adopted(at, endpoint, sender)
    tampering.view = counting()  # counts no answers, so that every item might be missing
    for nothing in (b"{}\n" * 12, b""):
        tampering.body = lambda _, nothing=nothing: nothing
        await read_short(at, sender, batch, times=4)
    assert await sender.rows(INCIDENTS) == [("batch_unclear", 12, "critical")]
    assert await sender.rows("select state, unproved, missing from lanes.batch") == [
        ("ended", True, 0)
    ]
    assert await sender.rows("select distinct state from lanes.work") == [("submitted",)]
    tampering.honest()
    assert await collect.bring_home(at, batch) == len(KEYS)
    assert await sender.rows("select state, unproved from lanes.batch") == [("collected", False)]


async def test_the_first_readable_line_decides_that_an_adopted_batch_is_not_ours(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await adopted(at, endpoint, sender)
    tampering.lines(lambda lines: [{}, {}, {**lines[0], "custom_id": "their-1"}, *lines])
    assert await collect.bring_home(at, batch, chunk=1) == 0
    assert await sender.rows("select state, provider_batch_id, missing from lanes.batch") == [
        ("held", None, 0)
    ]
    assert await sender.rows("select distinct state from lanes.work") == [("submitted",)]
    assert await sender.rows(
        "select (select count(*) from lanes.attempt), (select count(*) from lanes.spend)"
    ) == [(0, 0)]


@pytest.mark.slow
@pytest.mark.parametrize("decide", [decisions.give_up, decisions.resubmit])
async def test_a_given_up_or_resubmitted_batch_is_billed_to_its_last_line_and_never_incomplete(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering, decide: Any
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batch_request", "expire", times=1)
    batch = await submit_and_end(at, endpoint)
    await at.db.run(decide, batch.id, who="ada", why="no longer wanted", now=await at.db.now())
    (batch,) = await at.db.run(batches.open_batches)
    before = await sender.states()
    tampering.lines(without(3, 7))
    with pytest.raises(collect.ShortRead, match="without 2 of its 12 requests"):
        await collect.bring_home(at, batch)
    tampering.honest()
    assert await collect.bring_home(at, batch) == 0
    assert await sender.rows("select state from lanes.batch") == [("released",)]
    assert await sender.rows("select count(*), count(distinct message_id) from lanes.spend") == [
        (11, 11)
    ]
    assert await sender.states() == before
    await evaluate(at.db)
    assert "batch_incomplete" not in [row[0] for row in await sender.rows(INCIDENTS)]


# -- faults of an item, of the account and of the provider


@pytest.mark.slow
async def test_every_item_of_a_refused_pack_is_asked_alone_and_only_the_one_refused_alone_is_poison(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH, batch_pack=4)
    fault = {"status": 400, "error_type": "invalid_request_error", "message": "no"}
    endpoint.fault("batch_request", "status", match="letter k05", **fault)
    await collect.bring_home(at, await submit_and_end(at, endpoint))
    states = await sender.states()
    assert sorted(key for key, state in states.items() if state != "settled") == [
        "k04",
        "k05",
        "k06",
        "k07",
    ]
    assert await sender.rows(
        "select distinct state, failures, alone from lanes.work where state <> 'done'"
    ) == [("ready", 0, True)]
    assert await sender.rows("select succeeded, errored from lanes.batch_status") == [(8, 4)]
    again = await submit_and_end(at, endpoint)
    assert (again.requests, again.items) == (4, 4)
    await collect.bring_home(at, again)
    states = await sender.states()
    assert states.pop("k05") == "failed"
    assert set(states.values()) == {"settled"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "error_type", "message"),
    [
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
        ),
        (400, "invalid_request_error", "You have reached your specified API usage limits."),
        (402, "billing_error", "no"),
        (403, "permission_error", "no"),
        (401, "authentication_error", "no"),
        (404, "not_found_error", "model: claude-haiku-5-5"),
    ],
)
async def test_an_account_error_within_a_batch_spends_no_retry_budget_and_opens_an_incident(
    at: Connections, endpoint: Endpoint, sender: Sender, status: int, error_type: str, message: str
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH, batch_pack=3)
    endpoint.fault("batch_request", "status", status=status, error_type=error_type, message=message)
    before = await at.db.now()
    await collect.bring_home(at, await submit_and_end(at, endpoint))
    assert await sender.rows("select distinct state, failures, alone from lanes.work") == [
        ("ready", 0, False)
    ]
    ((soonest,),) = await sender.rows("select min(ready_at) from lanes.work")
    assert soonest >= before + timedelta(minutes=5)  # type: ignore[operator]
    assert await sender.rows(INCIDENTS) == [("provider_frozen", 12, "critical")]
    endpoint.reset()
    await sender.work_rests()
    again = await submit_and_end(at, endpoint)
    await at.db.run(lambda c: recording.thaw(c, now=before))
    # A successful create proves nothing.
    assert await sender.rows(INCIDENTS) == [("provider_frozen", 12, "critical")]
    await collect.bring_home(at, again)
    await at.db.run(lambda c: recording.thaw(c, now=before))
    assert await sender.rows(INCIDENTS) == []
    assert set((await sender.states()).values()) == {"settled"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "error_type"),
    [(529, "overloaded_error"), (429, "rate_limit_error"), (500, "api_error")],
)
async def test_an_outage_within_a_batch_spends_no_retry_budget_and_opens_no_incident(
    at: Connections, endpoint: Endpoint, sender: Sender, status: int, error_type: str
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batch_request", "status", status=status, error_type=error_type)
    await collect.bring_home(at, await submit_and_end(at, endpoint))
    assert await sender.rows("select distinct state, failures, alone from lanes.work") == [
        ("ready", 0, False)
    ]
    assert await sender.rows(INCIDENTS) == []


@pytest.mark.slow
async def test_a_pack_that_faults_among_answered_packs_is_asked_item_by_item_and_spends_nothing(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH, batch_pack=4)
    endpoint.fault("batch_request", "status", status=500, match="letter k05")
    await collect.bring_home(at, await submit_and_end(at, endpoint))
    back = "select count(*), max(failures), bool_and(alone) from lanes.work where state = 'ready'"
    assert await sender.rows(back) == [(4, 0, True)]


# -- many batches


class ManualSeconds:
    """A clock in seconds that a test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualSeconds:
    return ManualSeconds()


@pytest.fixture
def many(at: Connections, clock: ManualSeconds, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """Return a collector outside a run, whose tasks are called as functions."""
    monkeypatch.setattr(collect, "collect_batch", collect.collect_batch.fn)
    return Collector(at, clock=clock)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the warnings of the collector."""
    said: list[str] = []

    class ErrorLog:
        def warning(self, message: str, *args: object) -> None:
            said.append(message % args)

        def info(self, message: str, *args: object) -> None:
            """Ignore information, which is no trouble."""

    monkeypatch.setattr(collect, "get_run_logger", ErrorLog)
    return said


async def several(
    at: Connections, endpoint: Endpoint, sender: Sender, number: int
) -> list[OpenBatch]:
    """Submit a batch per workload, the n-th (from 1) with n items; each has ended at the provider but was not polled."""
    for n in range(1, number + 1):
        await sender.items(*KEYS[:n], lane=Lane.BATCH, workload=f"letters{n}")
        (kind,) = await at.db.run(
            ready_work.list_waiting_kinds, f"letters{n}", now=await at.db.now()
        )
        await send_batch(at, kind)
    opened = await at.db.run(batches.open_batches)
    for batch in opened:
        assert batch.provider_batch_id is not None
        endpoint.ended(batch.provider_batch_id)
    return opened


async def test_every_tick_records_when_collect_looked_at_the_open_batches(
    at: Connections, many: Collector
) -> None:
    before = await at.db.now()
    await many.tick()
    looked = await at.db.run(items.read_watermark, items.COLLECT)
    assert looked is not None
    assert looked >= before


async def states(sender: Sender) -> dict[int, str]:
    return dict(await sender.rows("select batch_id, state from lanes.batch_status"))  # type: ignore[arg-type]


async def tick(many: Collector) -> None:
    await many.tick()
    await many.idle()


@pytest.mark.slow
async def test_an_error_of_one_batch_is_logged_once_and_retried_while_all_others_are_collected(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    many: Collector,
    clock: ManualSeconds,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, third, fourth = await several(at, endpoint, sender, 4)
    unpollable = {first.id: RuntimeError("no idea"), second.id: KeyError("usage")}
    uncollectable = {third.id: ZeroDivisionError("third")}

    async def breaking_poll(at: Connections, batch: OpenBatch) -> bool:
        if error := unpollable.get(batch.id):
            raise error
        return await poll(at, batch)

    async def breaking_collect(at: Connections, batch: OpenBatch) -> collect.CollectResult:
        if error := uncollectable.get(batch.id):
            raise error
        return await collect_batch(at, batch)

    poll, collect_batch = collect.poll, collect.collect_batch
    monkeypatch.setattr(collect, "poll", breaking_poll)
    monkeypatch.setattr(collect, "collect_batch", breaking_collect)
    for _ in range(4):
        await tick(many)
        clock.now += 300
    assert await states(sender) == {
        first.id: "submitted",
        second.id: "submitted",
        third.id: "ended",
        fourth.id: "collected",
    }
    assert told == [
        f"batch {first.id} will be tried again: RuntimeError: no idea",
        f"batch {second.id} will be tried again: KeyError: 'usage'",
        f"batch {third.id} will be tried again: ZeroDivisionError: third",
    ]
    unpollable.clear()
    uncollectable.clear()
    await tick(many)
    assert set((await states(sender)).values()) == {"collected"}
    assert many.items == 1 + 2 + 3 + 4


@pytest.mark.slow
async def test_a_failing_batch_backs_off_longer_each_time_while_others_are_polled_at_every_tick(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    many: Collector,
    clock: ManualSeconds,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = await several(at, endpoint, sender, 2)
    asked: list[tuple[int, float]] = []

    async def poll(at: Connections, batch: OpenBatch) -> bool:
        asked.append((batch.id, clock.now))
        if batch.id == first.id:
            raise OSError("down")
        return False

    monkeypatch.setattr(collect, "poll", poll)
    for _ in range(31):
        await tick(many)
        clock.now += 1
    assert [moment for id_, moment in asked if id_ == first.id] == [0, 2, 6, 14, 30]
    assert [moment for id_, moment in asked if id_ == second.id] == list(range(31))
    assert len(told) == 1


@pytest.mark.slow
async def test_only_a_few_batches_are_polled_or_collected_at_once(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    many: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await several(at, endpoint, sender, 7)
    doing = {"poll": 0, "collect": 0}
    most = dict(doing)

    async def counted(what: str) -> None:
        doing[what] += 1
        most[what] = max(most[what], doing[what])
        await asyncio.sleep(0.02)
        doing[what] -= 1

    async def poll(at: Connections, batch: OpenBatch) -> bool:
        await counted("poll")
        return True

    async def collect_batch(at: Connections, batch: OpenBatch) -> collect.CollectResult:
        await counted("collect")
        return collect.CollectResult(batch.items)

    monkeypatch.setattr(collect, "poll", poll)
    monkeypatch.setattr(collect, "collect_batch", collect_batch)
    await tick(many)
    assert most == {"poll": collect.POLLED_AT_ONCE, "collect": collect.COLLECTED_AT_ONCE}
    assert many.items == sum(range(1, 8))


@pytest.mark.slow
async def test_a_slow_batch_delays_neither_a_tick_nor_another_batch_nor_the_end_of_the_run(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    many: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, third = await several(at, endpoint, sender, 3)
    begun: list[int] = []
    again = asyncio.Event()

    async def collect_batch(at: Connections, batch: OpenBatch) -> collect.CollectResult:
        begun.append(batch.id)
        if batch.id == first.id:
            if begun.count(first.id) == 2:
                again.set()
            await asyncio.Event().wait()
        return await whole(at, batch)

    whole = collect.collect_batch
    monkeypatch.setattr(collect, "collect_batch", collect_batch)
    await many.tick()
    # Close waits for the batches that end in time and gives up the other.
    await many.close(within_s=2.0)
    assert await states(sender) == {
        first.id: "ended",
        second.id: "collected",
        third.id: "collected",
    }
    await many.tick()
    await again.wait()
    await many.tick()
    await many.close(within_s=0.1)
    assert begun.count(first.id) == 2  # once before, and once in these two ticks


@pytest.mark.slow
async def test_archived_results_are_logged_once_and_noted_on_their_batch_while_others_are_collected(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    many: Collector,
    clock: ManualSeconds,
    told: list[str],
    tampering: Tampering,
) -> None:
    first, second = await several(at, endpoint, sender, 2)
    tampering.view = lambda view: (
        view | ({"results_url": None} if view["id"] == first.provider_batch_id else {})
    )
    for _ in range(3):
        await tick(many)
        clock.now += 300
    assert await states(sender) == {first.id: "ended", second.id: "collected"}
    (sentence,) = told
    assert f"the provider offers no results of {first.provider_batch_id}" in sentence
    ((note,),) = await sender.rows(
        f"select note from lanes.batch_status where batch_id = {first.id}"
    )
    assert str(note) in sentence
    tampering.honest()
    await tick(many)
    assert await sender.rows("select distinct state, note from lanes.batch_status") == [
        ("collected", None)
    ]


@pytest.mark.slow
async def test_items_locked_by_an_open_transaction_keep_their_batch_open_and_are_never_missing(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    many: Collector,
    clock: ManualSeconds,
    told: list[str],
    tampering: Tampering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collect, "save", partial(save, patience=timedelta(milliseconds=20)))
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit_and_end(at, endpoint)
    async with at.db.transaction() as run:
        await run(lambda c: c.execute(text("select lanes.cancel('letters', 'k04')")))
        for _ in range(8):
            await tick(many)
            clock.now += 1
        assert await sender.rows("select succeeded, missing, state from lanes.batch_status") == [
            (11, 0, "ended")
        ]
    assert len(tampering.reads) == 3  # at 0, 2 and 6 s
    assert told == [
        "batch 1 will be tried again: open transactions of others hold 1 item of batch 1"
    ]
    clock.now += 300
    await tick(many)
    assert await sender.rows("select succeeded, missing, state from lanes.batch_status") == [
        (12, 0, "collected")
    ]
    assert await sender.rows("select count(*), count(distinct message_id) from lanes.spend") == [
        (12, 12)
    ]


# -- results that the database refuses


@pytest.mark.slow
async def test_a_result_that_the_database_refuses_is_invalid_and_blocks_no_neighbour_and_no_batch(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    ((bad,),) = await sender.rows("select min(id) from lanes.work")
    await at.db.run(refuse, "result", f"new.work_id = {bad}")
    await collect.bring_home(at, batch)
    assert await sender.rows("select succeeded, invalid, state from lanes.batch_status") == [
        (11, 1, "collected")
    ]
    assert await sender.rows("select count(*) from lanes.spend") == [(12,)]


@pytest.mark.slow
async def test_an_attempt_that_the_database_refuses_keeps_its_batch_open_and_blocks_no_neighbour(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    batch = await submit_and_end(at, endpoint)
    ((bad,),) = await sender.rows("select min(id) from lanes.work")
    await at.db.run(refuse, "attempt", f"new.work_id = {bad}")
    with pytest.raises(
        collect.Unsaved, match="refuses 1 result of batch 1, even without its answer"
    ):
        await collect.bring_home(at, batch)
    assert await sender.rows("select succeeded, missing, state from lanes.batch_status") == [
        (11, 0, "ended")
    ]
    await run_sql(at, "drop trigger refuses on lanes.attempt")
    await collect.bring_home(at, batch)
    assert await sender.rows("select succeeded, state from lanes.batch_status") == [
        (12, "collected")
    ]


# -- ids of the items in a pack


def answers(line: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answers that a line contains for the items of its pack; `saying` writes changes back."""
    return json.loads(line["result"]["message"]["content"][0]["text"])["answers"]


def saying(line: dict[str, Any], said: list[dict[str, Any]]) -> dict[str, Any]:
    line["result"]["message"]["content"][0]["text"] = json.dumps({"answers": said})
    return line


@pytest.mark.slow
async def test_answers_under_ids_that_an_input_guessed_are_ignored(
    at: Connections, endpoint: Endpoint, sender: Sender, tampering: Tampering
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH, batch_pack=4)
    batch = await submit_and_end(at, endpoint)

    def obeyed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer as an input demanded of the model: for its neighbours too, under the ids that one would guess."""
        guesses = [{"id": str(slot), "answer": {"category": "guessed"}} for slot in range(5)]
        return [saying(line, [*guesses, *answers(line), *guesses]) for line in lines]

    tampering.lines(obeyed)
    await collect.bring_home(at, batch)
    assert await sender.rows("select distinct state, attempts from lanes.item_status") == [
        ("settled", 1)
    ]
    assert await sender.rows(
        "select count(*) from lanes.current_results where output->>'category' = 'guessed'"
    ) == [(0,)]
