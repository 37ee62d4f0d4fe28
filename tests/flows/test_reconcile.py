"""Creates without an answer, or with a late one: batches of others, other clocks, slow submitters and kills."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from anthropic_standin.testing import Endpoint
from blocks.provider import Provider
from lanes.batch.batch import CreateAnswer, OpenBatch
from lanes.batch.reconcile import BatchFinding
from lanes.ids import BatchId
from lanes.promises.incident import Promise
from lanes.provider import batches as provider
from lanes.provider.errors import CallFailed
from lanes.store.batch import batches, collection, creates
from lanes.store.settling import decisions
from lanes.words import BatchState, Lane
from tasks import collect
from tasks.connections import Connections, opening
from tasks.reconcile import reconcile_unresolved
from tasks.send_batch import Prepared, prepare
from tests.examples import batch_body
from tests.flows.batches import collect_all, kind, submit
from tests.flows.conftest import Sender
from tests.flows.test_batch_lane import KEYS

BODY = {
    "model": "claude-haiku-5-5",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "x"}],
}
FOREIGN = "f" * 16
UNCLEAR = f"select count(*) from lanes.incident_log where promise = '{Promise.BATCH_UNCLEAR}' and state = 'open'"


async def stranger(at: Connections, requests: int = len(KEYS)) -> str:
    """Create a foreign batch in the same account and return its id."""
    with batch_body(FOREIGN, *[BODY] * requests) as body:
        return (await provider.create(await at.client(), body)).id


async def intended(at: Connections, sender: Sender) -> Prepared:
    """Commit the intent of a batch of all keys, which its submitter does not create."""
    await sender.items(*KEYS, lane=Lane.BATCH)
    prepared = await prepare(at, await kind(at), now=await at.db.now())
    assert prepared is not None
    return prepared


async def answered(at: Connections, prepared: Prepared) -> CreateAnswer:
    """Answer the create now, which was only slow."""
    created = await provider.create(await at.client(), prepared.body)
    now = await at.db.now()
    later = now + timedelta(hours=1)
    return await at.db.run(
        creates.mark_submitted, prepared.batch_id, created.id, expected_end_at=later, now=now
    )


async def the_batch(at: Connections) -> OpenBatch:
    (only,) = await at.db.run(batches.open_batches)
    return only


async def wrongly_adopted(at: Connections, sender: Sender) -> tuple[Prepared, str]:
    """Adopt a foreign batch as ours."""
    prepared, foreign = await intended(at, sender), await stranger(at)
    sender.time.passes(seconds=16)
    assert await reconcile_unresolved(at) is BatchFinding.ADOPT
    return prepared, foreign


async def test_a_foreign_batch_of_equal_count_is_not_adopted_before_ours_would_be_listed(
    at: Connections, sender: Sender
) -> None:
    prepared = await intended(at, sender)
    await stranger(at)
    sender.time.passes(seconds=10)
    assert await reconcile_unresolved(at) is BatchFinding.WAIT
    assert await answered(at, prepared) is CreateAnswer.SUBMITTED


async def test_a_submitter_records_when_its_create_ended_without_an_answer(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "drop", times=1)
    with pytest.raises(CallFailed):
        await submit(at)
    batch = await the_batch(at)
    assert batch.create_ended_at is not None
    assert batch.create_ended_at >= batch.intended_at


async def test_a_create_that_takes_too_long_ends_without_an_answer(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault("batches.create", "latency", latency_s=5, times=1)
    with pytest.raises(CallFailed) as failure:
        await provider.create(await at.client(), batch_body(FOREIGN, BODY), within_s=0.05)
    assert failure.value.maybe_billed


@pytest.mark.parametrize("minutes", [-3, 3])
async def test_a_clock_of_the_provider_that_differs_does_not_release_a_live_batch(
    at: Connections, endpoint: Endpoint, sender: Sender, minutes: int
) -> None:
    endpoint.reset(clock_ahead_s=60 * minutes)
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "drop", times=1)
    with pytest.raises(CallFailed):
        await submit(at)
    sender.time.passes(seconds=6)
    assert await reconcile_unresolved(at) is BatchFinding.ADOPT
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}


@pytest.mark.parametrize("days", [-400, 400])
async def test_a_clock_of_the_provider_that_cannot_be_right_leads_to_no_conclusion(
    at: Connections, endpoint: Endpoint, sender: Sender, days: int
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "drop", times=1)
    with pytest.raises(CallFailed):
        await submit(at)
    endpoint.reset(clock_ahead_s=86_400 * days)
    sender.time.passes(seconds=6)
    assert await reconcile_unresolved(at) is BatchFinding.WAIT
    endpoint.reset()
    assert await reconcile_unresolved(at) is BatchFinding.ADOPT


async def test_the_nonce_of_the_first_result_proves_an_adoption(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "drop", times=1)
    with pytest.raises(CallFailed):
        await submit(at)
    sender.time.passes(seconds=6)
    await reconcile_unresolved(at)
    assert (await the_batch(at)).unproved
    await collect_all(at, endpoint)
    assert await sender.rows("select state, unproved from lanes.batch") == [("collected", False)]


async def test_a_foreign_batch_that_was_adopted_is_disowned_and_its_results_change_nothing(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    _, foreign = await wrongly_adopted(at, sender)
    await collect_all(at, endpoint)
    batch = await the_batch(at)
    assert (batch.state, batch.provider_batch_id) == (BatchState.HELD, None)
    assert await sender.rows("select distinct state from lanes.work") == [("submitted",)]
    assert await sender.rows("select count(*) from lanes.attempt") == [(0,)]
    assert await sender.rows(UNCLEAR) == [(1,)]
    # The same foreign batch is never adopted again.
    assert await reconcile_unresolved(at) is BatchFinding.HOLD
    assert await sender.rows("select provider_batch_id from lanes.disowned") == [(foreign,)]
    assert await sender.rows("select distinct state from lanes.work") == [("submitted",)]


async def test_after_a_wrong_adoption_the_search_continues_until_our_batch_is_found(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    prepared, _ = await wrongly_adopted(at, sender)
    await collect_all(at, endpoint)
    await provider.create(await at.client(), prepared.body)  # the batch is finally listed
    assert await reconcile_unresolved(at) is BatchFinding.ADOPT
    assert await sender.rows(UNCLEAR) == [(0,)]
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}


async def test_the_answer_of_a_slow_submitter_corrects_a_wrong_adoption(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    prepared, foreign = await wrongly_adopted(at, sender)
    assert await answered(at, prepared) is CreateAnswer.SUBMITTED
    assert not (await the_batch(at)).unproved
    assert await sender.rows("select provider_batch_id from lanes.disowned") == [(foreign,)]
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}


@pytest.fixture
def one_tick(at: Connections, monkeypatch: pytest.MonkeyPatch) -> Connections:
    monkeypatch.setattr(collect, "collect_batch", collect.collect_batch.fn)
    return at


async def tick(at: Connections) -> None:
    """Poll and collect every batch of the provider once, as a run does at its beginning."""
    many = collect.Collector(at)
    await many.tick()
    await many.idle()


async def test_a_batch_that_the_provider_forgot_opens_an_incident_and_is_closed_once_resubmitted(
    one_tick: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    at = one_tick
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    gone = (await the_batch(at)).provider_batch_id
    assert gone is not None
    endpoint.ended(gone)
    endpoint.client().messages.batches.delete(gone)
    await tick(at)
    assert await sender.rows(UNCLEAR) == [(0,)]
    sender.time.passes(seconds=6)
    await tick(at)
    assert await sender.rows(UNCLEAR) == [(1,)]
    await at.db.run(
        decisions.resubmit, BatchId(1), who="ada", why="forgotten", now=await at.db.now()
    )
    await tick(at)
    assert await sender.rows("select state from lanes.batch") == [("released",)]
    assert await submit(at) == len(KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("from_start", [True, False])
async def test_a_batch_with_archived_results_opens_an_incident_and_is_closed_once_given_up(
    one_tick: Connections, endpoint: Endpoint, sender: Sender, from_start: bool
) -> None:
    at = one_tick
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    batch = await the_batch(at)
    assert batch.provider_batch_id is not None
    endpoint.ended(batch.provider_batch_id)
    if not from_start:  # the batch was seen to end, and archived before it was collected
        await collect.poll(at, batch)
    endpoint.fault("batches.retrieve", "archive")
    for _ in range(2):
        await tick(at)
    assert await sender.rows(UNCLEAR) == [(1,)]
    await at.db.run(decisions.give_up, batch.id, who="ada", why="archived", now=await at.db.now())
    assert set((await sender.states()).values()) == {"failed"}
    await tick(at)
    assert await sender.rows("select state from lanes.batch") == [("released",)]
    assert await sender.rows(UNCLEAR) == [(0,)]


async def test_a_running_batch_that_is_given_up_is_canceled_and_its_bill_is_recorded(
    one_tick: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    at = one_tick
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batch_request", "stall", match="letter k00")
    await submit(at)
    batch = await the_batch(at)
    assert batch.provider_batch_id is not None
    await at.db.run(
        decisions.give_up, batch.id, who="ada", why="no longer wanted", now=await at.db.now()
    )
    await tick(at)
    endpoint.reset()
    endpoint.ended(batch.provider_batch_id)
    await tick(at)
    assert await sender.rows("select state from lanes.batch") == [("released",)]
    ((booked,),) = await sender.rows("select count(*) from lanes.spend")
    assert booked == endpoint.bill()["responses"]
    assert set((await sender.states()).values()) == {"failed"}


@pytest.mark.parametrize(
    ("base_url", "given", "account"),
    [
        ("https://api.anthropic.com", "", "api.anthropic.com"),
        ("http://127.0.0.1:8080/", "", "127.0.0.1"),
        ("https://api.anthropic.com", " research ", "research"),
    ],
)
def test_an_account_is_named_after_its_host_unless_a_name_is_given(
    base_url: str, given: str, account: str
) -> None:
    for key in ("old", "new"):
        block = Provider(api_key=SecretStr(key), base_url=base_url, account=given)
        assert (block.account, block.given_account) == (account, given.strip())


@pytest.mark.slow
async def test_an_intent_of_the_old_key_is_found_after_the_rotation_of_the_key(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batches.create", "drop", times=1)
    with pytest.raises(CallFailed):
        await submit(at)
    sender.time.passes(seconds=6)
    rotated = Provider(
        api_key=SecretStr("another"),
        base_url=at.provider.base_url,
        listing_grace_s=5,
        create_within_s=10,
    )
    async with opening(rotated) as client:
        assert await reconcile_unresolved(Connections(at.db, client, rotated)) is BatchFinding.ADOPT
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}


class Killed(BaseException):
    """The death of the process at this point, without a trace."""


async def late_create(at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> str:
    """Submit with a create that is answered after its work was released; return the batch's id at the provider."""
    real, ids = provider.create, list[str]()

    async def slow(*args: Any, **kwargs: Any) -> provider.ProviderBatch:
        sender.time.passes(seconds=16)
        assert await reconcile_unresolved(at) is BatchFinding.RELEASE
        created = await real(*args, **kwargs)
        ids.append(created.id)
        return created

    monkeypatch.setattr(provider, "create", slow)
    with suppress(Killed):
        await submit(at)
    monkeypatch.setattr(provider, "create", real)
    return ids[0]


# Where the process dies and how often: first the submitter, then collect.
KILLS = {
    "never": (provider, "cancel", 0),
    "before the submitter cancels it": (provider, "cancel", 1),
    "before collect cancels it": (provider, "cancel", 2),
    "before its bill is booked": (collect, "save", 2),
    "before it is closed": (collection, "mark_collected", 1),
}


@pytest.mark.parametrize("killed", KILLS)
async def test_a_create_answered_after_the_release_is_canceled_and_billed_once_and_takes_no_work(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
    killed: str,
) -> None:
    module, name, times = KILLS[killed]
    real, kills = getattr(module, name), iter(range(times))

    def dies(*args: Any, **kwargs: Any) -> Any:
        if next(kills, None) is not None:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, dies)
    await sender.items(*KEYS, lane=Lane.BATCH)
    endpoint.fault("batch_request", "stall", match="letter k00")
    id_ = await late_create(at, sender, monkeypatch)
    (late,) = await at.db.run(batches.open_batches)
    assert (late.state, late.provider_batch_id) == (BatchState.SUPERSEDED, id_)
    assert await sender.rows("select distinct state, claim_no from lanes.work") == [("ready", 1)]
    for _ in range(2):
        with suppress(Killed):
            await collect.poll(at, late)
    assert endpoint.client().messages.batches.retrieve(id_).processing_status != "in_progress"
    endpoint.reset()
    assert await submit(at) == len(KEYS)
    for _ in range(3):
        with suppress(Killed):
            await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select state from lanes.batch order by id") == [
        ("released",),
        ("collected",),
    ]
    ((booked,),) = await sender.rows("select count(*) from lanes.spend")
    assert booked == endpoint.bill()["responses"]
    shown = "select distinct b.state from lanes.attempt a join lanes.batch b on b.id = a.batch_id where a.shown"
    assert await sender.rows(shown) == [("collected",)]
