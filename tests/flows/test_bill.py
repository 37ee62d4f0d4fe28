"""The provider's bill against the ledger: both lanes, requests of others, lost answers, and the incident of a day."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from anthropic_standin.testing import Endpoint, asking
from blocks.provider import Provider
from lanes.store.database import Database
from lanes.words import Lane, Outcome
from tasks.connections import Connections, opening
from tasks.reconcile import compare_bill
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.realtime import answer
from tests.passing_time import PassingTime

INCIDENTS = "select subject, state, sentence from lanes.incident_log where promise = 'bill_differs'"


@pytest_asyncio.fixture
async def at(
    db: Database, endpoint: Endpoint, passing_time: PassingTime
) -> AsyncIterator[Connections]:
    """Yield connections with an admin key, at noon of the next day, far from the end of a billing day."""
    now = await db.now()
    noon = now.replace(hour=12, minute=0, second=0) + timedelta(days=1)
    passing_time.passes(seconds=(noon - now).total_seconds())
    keys: dict[str, Any] = {"api_key": SecretStr("x"), "admin_key": SecretStr("sk-ant-admin-1")}
    provider = Provider(**keys, base_url=endpoint.url, poll_s=0.2, listing_grace_s=5)
    async with opening(provider) as client:
        yield Connections(db, client, provider, None)


async def served(at: Connections, endpoint: Endpoint, sender: Sender) -> None:
    """Answer some items on both lanes, then let a day pass."""
    await sender.items("r1", "r2", "r3", lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.VALID: 3}
    await sender.items("b1", "b2", lane=Lane.BATCH)
    await submit(at)
    await collect_all(at, endpoint)
    sender.time.passes(days=1)


async def compared(at: Connections) -> list[str]:
    return await compare_bill.fn(at)


async def message(sender: Sender, key: str) -> str:
    """Return the id of the message that answered an item."""
    query = "select a.message_id from lanes.attempt a join lanes.item i on i.id = a.item_id where i.key = :key"
    ((found,),) = await sender.rows(query, key=key)
    return str(found)


async def a_strangers_call(endpoint: Endpoint) -> str:
    """Make a call that the ledger does not know and return the id of its message."""
    async with endpoint.async_client() as client:
        return (await client.messages.create(**asking("a stranger's"))).id


async def test_a_day_on_which_bill_and_ledger_agree_opens_no_incident(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await served(at, endpoint, sender)
    (said,) = await compared(at)
    assert said.endswith("agrees with the ledger")
    assert await sender.rows(INCIDENTS) == []


async def test_usage_of_another_api_key_is_not_compared(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await served(at, endpoint, sender)
    endpoint.fault("bill", "foreign", match=await a_strangers_call(endpoint))
    sender.time.passes(days=1)
    (said,) = await compared(at)
    assert said.endswith("agrees with the ledger")


async def test_usage_missing_from_the_ledger_is_an_incident_until_the_bill_agrees(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await served(at, endpoint, sender)
    endpoint.fault("bill", "repeat", match=await message(sender, "r2"))
    (told,) = await compared(at)
    assert "claude-haiku-5-5 on realtime: " in told
    assert "more than the ledger (from 12:00)" in told
    ((subject, state, sentence),) = await sender.rows(INCIDENTS)
    assert (state, str(subject)[:8]) == ("open", "bill of ")
    assert "more than the ledger" in str(sentence)
    await compared(at)
    assert len(await sender.rows(INCIDENTS)) == 1
    endpoint.control("DELETE", "faults")
    await compared(at)
    ((_, state, sentence),) = await sender.rows(INCIDENTS)
    assert (state, sentence) == (
        "resolved",
        "The provider's bill of that day agrees with the ledger, or is no longer compared.",
    )


@pytest.mark.parametrize(("key", "lane"), [("r2", Lane.REALTIME), ("b1", Lane.BATCH)])
async def test_a_response_missing_from_the_bill_is_named(
    at: Connections, endpoint: Endpoint, sender: Sender, key: str, lane: Lane
) -> None:
    await served(at, endpoint, sender)
    lost = await message(sender, key)
    endpoint.fault("bill", "omit", match=lost)
    (told,) = await compared(at)
    assert f"on {lane}: " in told
    assert "less than the ledger" in told
    assert lost in told


async def test_a_lost_answer_explains_a_surplus_of_the_bill_up_to_its_bound(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault("messages", "drop", times=1)
    await sender.items("r1", lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.UNKNOWN: 1}
    await sender.work_rests()
    assert await answer(at) == {Outcome.VALID: 1}
    assert endpoint.bill()["responses"] == 2
    sender.time.passes(days=1)
    (said,) = await compared(at)
    assert said.endswith("agrees with the ledger")
    endpoint.control("DELETE", "faults")
    await a_strangers_call(endpoint)  # on a day without a lost answer
    sender.time.passes(days=1)
    (told,) = await compared(at)
    assert "more than the ledger" in told


async def test_a_refused_admin_key_is_reported_and_resolves_no_incident(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await served(at, endpoint, sender)
    endpoint.fault("bill", "repeat", match=await message(sender, "r2"))
    await compared(at)
    endpoint.fault("organizations", "status", status=403, message="no admin key")
    (said,) = await compared(at)
    assert "the provider answered 403" in said
    assert "no admin key" in said
    assert said.endswith("check ANTHROPIC_ADMIN_KEY")
    assert "sk-ant" not in said
    ((_, state, _),) = await sender.rows(INCIDENTS)
    assert state == "open"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"currency": "EUR"}, "its costs are in EUR, not in USD"),
        ({"amount": "NaN"}, "no answer that can be read (ValueError)"),
        ({"model": 3, "amount": {}}, "no answer that can be read (TypeError)"),
        ({"starting_at": "2026-01-01"}, "no answer that can be read (TypeError)"),
        ({"starting_at": "2026-01-01T00:00:00Z"}, ""),  # a day that was not requested
    ],
    ids=str,
)
async def test_an_unexpected_bill_opens_no_incident(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch, wrong: Any, said: str
) -> None:
    row = {"workspace_id": None, "model": "claude-haiku-5-5", "service_tier": "standard"}
    row |= {"amount": "100", "currency": "USD", "starting_at": "2026-11-28T00:00:00Z", **wrong}
    key = {"id": "apikey_1", "partial_key_hint": "x...x", "workspace_id": None}

    async def pages(_: Any, path: str, __: Any) -> AsyncIterator[Any]:
        if path == "api_keys":
            yield key
        if path == "cost_report":
            yield {"starting_at": row["starting_at"], "results": [row]}

    monkeypatch.setattr("lanes.provider.bill._pages", pages)
    (told,) = await compared(at)
    assert told.endswith("it is read again tomorrow" if said else "agrees with the ledger")
    assert said in told
    assert await sender.rows(INCIDENTS) == []


async def test_without_an_admin_key_nothing_is_compared(at: Connections) -> None:
    provider = at.provider.model_copy(update={"admin_key": None})
    assert await compared(Connections(at.db, at.opening, provider)) == []
