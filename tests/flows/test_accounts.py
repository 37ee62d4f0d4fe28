"""Workloads of several accounts: each account answers and bills its own, and no account's failure blocks another."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from anthropic_standin.testing import Endpoint, Host, asking
from blocks.provider import Provider
from lanes.store.batch import batches
from lanes.words import Lane
from tasks import collect
from tasks.collect import collect_batch
from tasks.connections import Accounts, Connections
from tasks.departure import send_waiting
from tasks.drain import drain
from tasks.reconcile import compare_bill, reconcile_unresolved
from tasks.second_look import look_again
from tests.flows.conftest import Nap, Sender, running_host
from tests.flows.test_drain import turns
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn

SPENT = "select workload, lane, count(*) from lanes.response group by 1, 2 order by 1, 2"
OPEN = "select promise, subject from lanes.incident where state = 'open' and parent_id is null order by 1, 2"
REFUSED = {"status": 401, "error_type": "authentication_error", "message": "invalid x-api-key"}


another_host = pytest.fixture(running_host, scope="module", name="another_host")


@pytest.fixture
def abroad(another_host: Host, tmp_path: Path, passing_time: PassingTime) -> Iterator[Endpoint]:
    """Yield the endpoint of another account."""
    with another_host.standin(tmp_path / "abroad", machine=passing_time.of_host) as running:
        yield running


class Blocks:
    """The provider blocks that can be loaded, by name."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}

    def put(self, name: str, endpoint: Endpoint, **fields: object) -> None:
        keys = {"api_key": SecretStr("y"), "base_url": endpoint.url, "account": f"acme-{name}"}
        self.providers[name] = Provider.model_validate({**keys, "poll_s": 0.2, **fields})

    async def load(self, name: str) -> Provider:
        if name not in self.providers:
            raise ValueError(f"no block {name}")
        return self.providers[name]


@pytest.fixture
def blocks(abroad: Endpoint) -> Blocks:
    """Return the blocks that can be loaded: `eu`, of the other account."""
    made = Blocks()
    made.put("eu", abroad, listing_grace_s=5, create_within_s=10)
    return made


@pytest_asyncio.fixture
async def both(at: Connections, blocks: Blocks) -> AsyncIterator[Connections]:
    """Yield the connections of the main account, which open the other accounts."""
    opened = Accounts(at, blocks.load)
    yield opened.main
    await opened.close()


def billed(endpoint: Endpoint) -> int:
    """Return how many messages the account was billed for."""
    return int(endpoint.bill()["responses"])


async def answered(at: Connections, sender: Sender, *keys: str) -> None:
    """Run a drain until these items are answered."""
    wanted = set(keys)

    async def done() -> bool:
        rows = await sender.rows("select key from lanes.item where answered_at is not null")
        return wanted <= {str(key) for (key,) in rows}

    async with drain(at, standing=False) as opened:
        await opened.open_accounts()
        await turns(opened, done)


async def test_each_account_answers_and_is_billed_for_its_own_workloads(
    both: Connections, endpoint: Endpoint, abroad: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("a", "b", lane=Lane.REALTIME, workload="letters")
    await sender.items("c", lane=Lane.REALTIME, workload="bills", provider="eu")
    await answered(both, sender, "a", "b", "c")
    assert (billed(endpoint), billed(abroad)) == (2, 1)
    assert await sender.rows(SPENT) == [("bills", "realtime", 1), ("letters", "realtime", 2)]
    accounts = "select name, account from lanes.workload order by 1"
    assert await sender.rows(accounts) == [("bills", "acme-eu"), ("letters", "127.0.0.1")]


async def test_a_refused_account_blocks_no_other_account_on_either_lane(
    both: Connections,
    endpoint: Endpoint,
    abroad: Endpoint,
    sender: Sender,
    prefect: PrefectStandIn,
    nap: Nap,
) -> None:
    for where in ("messages", "batches.create"):
        abroad.fault(where, "status", **REFUSED)
    await sender.items("c", lane=Lane.REALTIME, workload="bills", provider="eu")
    await sender.items("a", lane=Lane.REALTIME, workload="letters")
    await sender.items("e", lane=Lane.BATCH, workload="dues", provider="eu")
    await sender.items("b", lane=Lane.BATCH, workload="notes")
    await answered(both, sender, "a")
    assert (await send_waiting(both, None, sleep=nap)).items == 1
    assert await sender.rows(OPEN) == [("provider_frozen", "acme-eu")]
    assert billed(abroad) == 0
    held = "select i.key from lanes.item i where i.answered_at is null order by 1"
    assert await sender.rows(held) == [("b",), ("c",), ("e",)]


async def test_batches_of_two_accounts_are_submitted_and_collected_by_their_own_account(
    both: Connections,
    endpoint: Endpoint,
    abroad: Endpoint,
    sender: Sender,
    passing_time: PassingTime,
    nap: Nap,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await sender.items("a", "b", lane=Lane.BATCH, workload="letters")
    await sender.items("c", lane=Lane.BATCH, workload="bills", provider="eu")
    assert (await send_waiting(both, None, sleep=nap)).items == 3
    of = {each.workload: each for each in await both.db.run(batches.open_batches)}
    assert {name: each.provider for name, each in of.items()} == {"letters": "lanes", "bills": "eu"}
    # The workload moves to the main account, but the account that created its batch still collects it.
    await sender.items("d", lane=Lane.BATCH, workload="bills", provider="lanes")
    for each, there in ((of["letters"], endpoint), (of["bills"], abroad)):
        assert each.provider_batch_id is not None
        there.ended(each.provider_batch_id)
    monkeypatch.setattr(collect, "collect_batch", collect_batch.fn)
    collecting = collect.Collector(both)
    await collecting.tick()
    await collecting.idle()
    assert collecting.items == 3
    assert await sender.rows(SPENT) == [("bills", "batch", 1), ("letters", "batch", 2)]


async def test_a_create_without_an_answer_blocks_its_own_account_only(
    both: Connections, abroad: Endpoint, sender: Sender, nap: Nap
) -> None:
    await sender.items("c", lane=Lane.BATCH, workload="bills", provider="eu")
    abroad.fault("batches.create", "drop", times=1)
    assert (await send_waiting(both, None, sleep=nap)).items == 0
    await sender.items("a", lane=Lane.BATCH, workload="letters")
    await sender.items("d", lane=Lane.BATCH, workload="bills", provider="eu")
    departed = await send_waiting(both, None, sleep=nap)
    assert departed.items == 1
    assert "has no answer" in departed.waiting[0]
    sender.time.passes(seconds=30)
    await reconcile_unresolved(both)
    states = "select workload, state from lanes.batch order by 1"
    assert await sender.rows(states) == [("bills", "submitted"), ("letters", "submitted")]


async def test_work_of_an_account_whose_block_cannot_be_loaded_waits_and_opens_an_incident(
    both: Connections,
    blocks: Blocks,
    endpoint: Endpoint,
    abroad: Endpoint,
    sender: Sender,
    prefect: PrefectStandIn,
) -> None:
    del blocks.providers["eu"]
    await sender.items("c", lane=Lane.REALTIME, workload="bills", provider="eu")
    await sender.items("a", lane=Lane.REALTIME, workload="letters")
    await answered(both, sender, "a")
    assert await sender.rows(OPEN) == [("provider_frozen", "eu")]
    ((said,),) = await sender.rows("select sentence from lanes.incident where state = 'open'")
    assert 'block "Lanes provider/eu" cannot be loaded (ValueError): create it' in str(said)
    blocks.put("eu", abroad)
    await answered(both, sender, "c")
    assert billed(abroad) == 1


async def test_the_load_of_each_account_contains_only_its_own_work(
    both: Connections, sender: Sender
) -> None:
    await sender.items("c", "d", lane=Lane.REALTIME, workload="bills", provider="eu")
    await sender.items("a", lane=Lane.REALTIME, workload="letters")
    seen: dict[str | None, list[tuple[str, int]]] = {}

    async def looks(lanes: object) -> None:
        assert isinstance(lanes, dict)
        for of, lane in lanes.items():
            seen[of.provider] = [(each.workload, each.items) for each in lane.queues]

    await look_again(both, [looks])
    assert seen == {"lanes": [("letters", 1)], "eu": [("bills", 2)]}


async def test_the_bill_of_each_account_is_compared_with_its_own_answers(
    at: Connections, blocks: Blocks, abroad: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    now = await at.db.now()
    noon = now.replace(hour=12, minute=0, second=0) + timedelta(days=1)
    sender.time.passes(seconds=(noon - now).total_seconds())
    blocks.put("eu", abroad, admin_key=SecretStr("sk-ant-admin-1"), listing_grace_s=5)
    opened = Accounts(at, blocks.load)
    await sender.items("a", lane=Lane.REALTIME, workload="letters")
    await sender.items("c", lane=Lane.REALTIME, workload="bills", provider="eu")
    await answered(opened.main, sender, "a", "c")
    sender.time.passes(days=1)
    (said,) = await compare_bill.fn(opened.main)
    assert said.startswith("the bill of account acme-eu of 7 days until ")
    async with abroad.async_client() as client:
        await client.messages.create(**asking("a stranger's"))
    sender.time.passes(days=1)
    (said,) = await compare_bill.fn(opened.main)
    assert " of account acme-eu: " in said
    assert await sender.rows(OPEN) == [
        ("bill_differs", f"bill of {noon + timedelta(days=1):%Y-%m-%d} for account acme-eu")
    ]
    # Days on which a workload moved to another account are not compared.
    await sender.items("d", lane=Lane.REALTIME, workload="bills", provider="lanes")
    await opened.main.each_account()
    assert await compare_bill.fn(opened.main) == []
    await opened.close()
