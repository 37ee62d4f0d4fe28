"""Budgets on both lanes, against a real endpoint: unpaid work waits and resumes by itself; the bill never exceeds them.

A batch departs with the items that its budgets can pay; the others wait, and an item that no period can pay is reported.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from anthropic_standin.testing import Endpoint
from lanes.json_data import call_bytes
from lanes.money.budget import Budget, Period
from lanes.money.cost import pack_bound, upper_bound
from lanes.realtime.limiter import Pack
from lanes.realtime.state import USED_UP
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.money import budgets
from lanes.store.realtime import load, paid_claims
from lanes.store.realtime.paid_claims import PaidClaims
from lanes.words import Lane
from tasks.connections import Connections
from tasks.departure import send_waiting
from tasks.drain import drain
from tasks.router import route_received
from tasks.watch import evaluate
from tests.conftest import NOON
from tests.examples import admit, publish, version
from tests.flows.conftest import Nap, Sender
from tests.flows.realtime import a_state, ask_packs, versions_of
from tests.flows.test_drain import turns, until_answered
from tests.prefect_standin import PrefectStandIn

KEYS = [f"r{n:02d}" for n in range(8)]
SIZE = call_bytes({"text": "letter r00"})
# The bound of one item, whose key may have another digit.
CALL = upper_bound(version(), SIZE + 1, lane=Lane.REALTIME, at=NOON)
IN_BATCH = upper_bound(version(), SIZE, lane=Lane.BATCH, marked=False, at=NOON)
STATES = "select state, count(*) from lanes.work group by 1 order by 1"
BILL = "select coalesce(sum(cost_usd), 0) from lanes.spend"
OPEN = "select promise, subject, samples from lanes.incident where state = 'open' order by 1, 2"
WAITING = "select i.key from lanes.work w join lanes.item i on i.id = w.item_id where w.state = 'ready' order by 1"


async def put(
    db: Database,
    hard: str | None,
    soft: str | None = None,
    *,
    consumer: str | None = None,
    workload: str = "letters",
) -> None:
    limits = [None if each is None else Decimal(each) for each in (soft, hard)]
    wanted = Budget(workload, consumer, Period.DAY, "UTC", *limits)
    await db.run(budgets.put, wanted, who="ada", why="test", now=await db.now())


class Paying:
    """The parts of a drain that claim and ask, one step at a time."""

    def __init__(self, at: Connections) -> None:
        self.at = at

    async def step(self, *, together: bool = False) -> PaidClaims:
        """Claim the work that budgets can pay, ask each item alone or all in one call, and save the results."""
        async with self.at.db.transaction() as run:
            then = await run(
                paid_claims.claim,
                {"letters": 50},
                worker="w",
                lease=timedelta(minutes=2),
                now=run.now,
            )
        packs = (
            [list(then.claimed)] if together and then.claimed else [[each] for each in then.claimed]
        )
        versions = await versions_of(self.at, then.claimed)
        made = [Pack(versions[pack[0].version_id], pack, NOON) for pack in packs]
        await ask_packs(self.at, made, a_state())
        return then


async def test_a_budget_of_0_pays_nothing_and_its_work_waits_without_a_failure(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME)
    await put(at.db, "0")
    assert (await Paying(at).step()).stopped == {"letters"}
    assert await sender.rows(STATES) == [("ready", 8)]
    assert await sender.rows("select sum(failures) from lanes.work") == [(0,)]
    assert await sender.rows("select count(*) from lanes.attempt") == [(0,)]
    assert (await at.db.run(load.backlog, Lane.REALTIME, now=await at.db.now())).ready == 0
    sender.time.passes(hours=2)
    await evaluate(at.db)
    assert await sender.rows("select promise from lanes.incident_log where parent_id is null") == [
        ("budget",)
    ]
    sender.time.passes(hours=24)
    # A budget of 0 pays in no period.
    assert (await at.db.run(load.backlog, Lane.REALTIME, now=await at.db.now())).ready == 0
    await put(at.db, "1")
    assert (await at.db.run(load.backlog, Lane.REALTIME, now=await at.db.now())).ready == 8


@pytest.mark.slow
async def test_a_budget_is_spent_to_within_the_bound_of_one_item_and_never_exceeded(
    at: Connections, sender: Sender
) -> None:
    await sender.items(*(f"r{n:03d}" for n in range(200)), lane=Lane.REALTIME)
    hard = 3 * CALL
    await put(at.db, str(hard))
    paying, parts = Paying(at), list[int]()
    while (then := await paying.step()).claimed:
        parts.append(len(then.claimed))
        (stands,) = await at.db.run(budgets.statuses, now=await at.db.now())
        assert (stands.reserved_usd, stands.unknown_usd) == (0, 0)
        assert stands.used_usd <= hard
    (stands,) = await at.db.run(budgets.statuses, now=await at.db.now())
    ((billed,),) = await sender.rows(BILL)
    assert billed == stands.spent_usd
    assert hard - CALL < stands.spent_usd <= hard
    assert parts[0] > parts[-1] == 1  # claims shrink as the budget runs out
    assert stands.is_used_up or then.stopped
    assert {str(state) for state, _ in await sender.rows(STATES)} == {"done", "ready"}


async def test_items_that_share_a_call_stay_within_their_reservations(
    at: Connections, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME, realtime_pack=8)
    await put(at.db, str(8 * CALL))
    await Paying(at).step(together=True)
    assert await sender.rows(STATES) == [("done", 8)]
    assert await sender.rows("select count(*), sum(items) from lanes.spend") == [(1, 8)]


async def test_the_parts_of_a_refused_pack_are_asked_within_the_reservation_of_each_item(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME, realtime_pack=8)
    fault = {"status": 400, "error_type": "invalid_request_error", "message": "no"}
    endpoint.fault("messages", "status", match="letter r07", **fault)
    await put(at.db, str(8 * CALL))
    await Paying(at).step(together=True)
    # No answer began after the refusal, so the version may be to blame.
    assert await sender.rows(STATES) == [
        ("done", 7),
        ("ready", 1),
    ]
    (stands,) = await at.db.run(budgets.statuses, now=await at.db.now())
    assert (stands.reserved_usd, stands.unknown_usd) == (0, 0)


async def test_a_pack_with_an_unknown_outcome_is_booked_with_the_bound_of_one_call(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME, realtime_pack=8)
    size = sum(call_bytes({"text": f"letter {key}"}) for key in KEYS)
    bound = pack_bound(version(), size, items=8, lane=Lane.REALTIME, at=NOON)
    await put(at.db, str(8 * CALL))
    endpoint.fault("messages", "status", status=500, error_type="api_error", message="no")
    await Paying(at).step(together=True)
    (stands,) = await at.db.run(budgets.statuses, now=await at.db.now())
    assert stands.unknown_usd == bound < 8 * CALL


async def test_an_item_that_exceeds_the_remaining_budget_does_not_block_urgent_neighbours(
    at: Connections, sender: Sender
) -> None:
    now = await at.db.now()
    await at.db.run(publish, now=now)
    await at.db.run(admit, "dear", now=now, lane=Lane.REALTIME, payload={"text": "x" * 90_000})
    for key in ("u1", "u2", "u3"):
        await at.db.run(admit, key, now=now, lane=Lane.REALTIME, urgent=True)
    await route_received(at.db)
    await put(at.db, str(10 * CALL))
    await Paying(at).step()
    assert await sender.states() == {
        "dear": "routed",
        "u1": "settled",
        "u2": "settled",
        "u3": "settled",
    }
    assert (await at.db.run(budgets.statuses, now=await at.db.now()))[0].is_used_up is False
    await put(at.db, "1")
    await Paying(at).step()
    assert set((await sender.states()).values()) == {"settled"}


@pytest.mark.slow
async def test_a_drain_resumes_by_itself_once_the_budget_is_raised(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME)
    await put(at.db, "0")

    async def refused() -> bool:
        return await sender.rows("select refused_at is not null from lanes.budget") == [(True,)]

    async with drain(at, standing=False) as opened:
        await turns(opened, refused)
        assert await sender.rows("select count(*) from lanes.attempt") == [(0,)]
        await put(at.db, "1")
        sender.time.passes(seconds=USED_UP.total_seconds())
        await until_answered(opened, sender, *KEYS)
    assert await sender.rows("select count(*) from lanes.work where bound_usd is not null") == [
        (0,)
    ]


@pytest.mark.slow
async def test_a_batch_reserves_its_bound_and_contains_only_items_that_the_budget_can_pay(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    await put(at.db, "0.0001")
    departed = await send_waiting(at, None, sleep=nap)
    assert departed.items == 0
    assert "too little is left of its budget" in departed.waiting[0]
    assert await sender.rows(STATES) == [("ready", 8)]
    await put(at.db, str(3 * IN_BATCH))
    assert 0 < (departed := await send_waiting(at, None, sleep=nap)).items < 8
    (stands,) = await at.db.run(budgets.statuses, now=await at.db.now())
    assert 0 < stands.reserved_usd <= 3 * IN_BATCH
    await put(at.db, "5")
    assert departed.items + (await send_waiting(at, None, sleep=nap)).items == 8


async def test_a_batch_reserves_the_cost_of_cache_writes_only_for_its_marked_requests(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await sender.items(*(f"k{n:02d}" for n in range(12)), lane=Lane.BATCH)
    await put(at.db, "5")
    assert (await send_waiting(at, None, sleep=nap)).items == 12
    (stands,) = await at.db.run(budgets.statuses, now=await at.db.now())
    assert await sender.rows("select marked_requests from lanes.batch") == [(1,)]
    plain, marked = (
        upper_bound(version(), SIZE, lane=Lane.BATCH, marked=marks, at=NOON)
        for marks in (False, True)
    )
    assert stands.reserved_usd == 11 * plain + marked


async def test_beyond_a_soft_limit_only_items_that_may_wait_go_to_batch(
    at: Connections, sender: Sender
) -> None:
    now = await at.db.now()
    await at.db.run(publish, now=now, split_percent=100)
    await put(at.db, None, "0")
    await at.db.run(admit, "free", now=now)
    await at.db.run(admit, "urgent", now=now, urgent=True)
    await at.db.run(admit, "pinned", now=now, lane=Lane.REALTIME)
    await route_received(at.db)
    routes = await sender.rows("select key, lane, reason from lanes.route_log order by key")
    assert routes == [
        ("free", "batch", "budget"),
        ("pinned", "realtime", "pinned"),
        ("urgent", "realtime", "urgent"),
    ]


@pytest.mark.slow
async def test_a_budget_opens_one_incident_at_80_and_100_percent_and_a_higher_budget_resolves_it(
    at: Connections, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME)
    await put(at.db, "1")
    incidents = (
        "select severity, state, round(value) from lanes.incident_log where promise = 'budget'"
    )
    spend = (
        "insert into lanes.budget_use (budget_id, began_at, usd) select budget_id, began_at, {} "
    )
    spend += "from lanes.budgets_at(:now)"
    for usd, then in (
        ("0.5", []),
        ("0.35", [("warning", "open", 85)]),
        ("0.15", [("critical", "open", 100)]),
    ):
        await at.db.run(run, spend.format(usd), await at.db.now())
        await evaluate(at.db)
        assert await sender.rows(incidents) == then
    assert await sender.rows("select count(*) from lanes.slack_post") == [(1,)]
    await put(at.db, "2")
    await evaluate(at.db)
    assert await sender.rows(incidents) == [("critical", "resolved", 100)]


def run(connection: Connection, query: str, now: datetime) -> None:
    connection.execute(text(query), {"now": now})


async def dear(at: Connections, sender: Sender, *, chars: int = 40_000, **spec: Any) -> Decimal:
    """Admit one large item, then eight small ones; return the bound of the large one in a batch."""
    await sender.items("dear", payload={"text": "x" * chars}, lane=Lane.BATCH, **spec)
    await sender.items(*KEYS, lane=Lane.BATCH, **spec)
    return upper_bound(version(**spec), chars, lane=Lane.BATCH, marked=False, at=NOON)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [1, 4, 20])
async def test_an_item_that_no_day_can_pay_waits_alone_and_is_reported_until_it_is_canceled(
    at: Connections, sender: Sender, nap: Nap, pack: int
) -> None:
    cost = await dear(at, sender, batch_pack=pack)
    await put(at.db, str(cost * Decimal("0.9")))
    for _ in range(2):
        assert (await send_waiting(at, None, sleep=nap)).waiting == []
        assert await sender.rows(WAITING) == [("dear",)]
        assert await sender.rows(OPEN) == [("budget", "day budget: item too dear", 1)]
        assert (await evaluate(at.db)).resolved == []
    ((said,),) = await sender.rows("select sentence from lanes.incident")
    assert str(said).startswith("1 item may cost more than the whole day budget of $")
    assert 'the dearest, "dear", up to $' in str(said)
    (stands,) = await at.db.run(budgets.statuses, now=await at.db.now())
    assert not stands.is_used_up
    await at.db.run(items.cancel, "letters", "dear")
    assert len((await evaluate(at.db)).resolved) == 1


@pytest.mark.slow
async def test_an_item_that_no_day_can_pay_departs_once_its_budget_is_raised(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    cost = await dear(at, sender)
    await put(at.db, str(cost * Decimal("0.9")))
    await send_waiting(at, None, sleep=nap)
    await put(at.db, "5")
    assert len((await evaluate(at.db)).resolved) == 1
    assert (await send_waiting(at, None, sleep=nap)).items == 1
    assert await sender.rows(OPEN) == []


@pytest.mark.slow
async def test_items_beyond_the_rest_of_today_wait_without_an_incident_and_the_others_depart(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    cost = await dear(at, sender)
    await put(at.db, str(cost + IN_BATCH / 2))
    await send_waiting(at, None, sleep=nap)
    # The large item was first, and it fits.
    assert await sender.rows(WAITING) == [(each,) for each in KEYS]
    await put(at.db, str(cost + 10 * IN_BATCH))
    await sender.items("dear2", payload={"text": "x" * 40_000}, lane=Lane.BATCH)
    departed = await send_waiting(at, None, sleep=nap)
    assert (departed.items, await sender.rows(WAITING)) == (8, [("dear2",)])
    assert "too little is left of its budget" in departed.waiting[0]
    assert [each for each in await sender.rows(OPEN) if "too dear" in str(each)] == []
