"""A batch leaves with what its budgets can pay: what does not fit stays behind alone, and what no period can pay is told."""

from decimal import Decimal
from typing import Any

import pytest

from lanes.money.cost import upper_bound
from lanes.store.doors import items
from lanes.store.money import budgets
from lanes.words import Lane
from tasks.connections import Connections
from tasks.departure import send_waiting
from tasks.watch import evaluate
from tests.conftest import NOON
from tests.examples import version
from tests.flows.conftest import Nap, Sender
from tests.flows.test_budgets import IN_BATCH, KEYS, put

OPEN = "select promise, subject, samples from lanes.incident where state = 'open' order by 1, 2"
WAITING = "select i.key from lanes.work w join lanes.item i on i.id = w.item_id where w.state = 'ready' order by 1"


async def dear(at: Connections, sender: Sender, *, chars: int = 40_000, **spec: Any) -> Decimal:
    """One large item came first, and then eight small ones: what the large one may cost in a batch."""
    await sender.items("dear", payload={"text": "x" * chars}, lane=Lane.BATCH, **spec)
    await sender.items(*KEYS, lane=Lane.BATCH, **spec)
    return upper_bound(version(**spec), chars, lane=Lane.BATCH, marked=False, at=NOON)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [1, 4, 20])
async def test_an_item_that_no_day_can_pay_stays_behind_alone_and_is_told_until_it_is_gone(
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
async def test_an_item_that_no_day_can_pay_leaves_once_its_budget_is_raised(
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
async def test_what_does_not_fit_today_waits_untold_and_what_fits_leaves(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    cost = await dear(at, sender)
    await put(at.db, str(cost + IN_BATCH / 2))
    await send_waiting(at, None, sleep=nap)
    assert await sender.rows(WAITING) == [
        (each,) for each in KEYS
    ]  # the dear one was first, and fits
    await put(at.db, str(cost + 10 * IN_BATCH))
    await sender.items("dear2", payload={"text": "x" * 40_000}, lane=Lane.BATCH)
    departed = await send_waiting(at, None, sleep=nap)
    assert (departed.items, await sender.rows(WAITING)) == (8, [("dear2",)])
    assert "too little is left of its budget" in departed.waiting[0]
    assert [each for each in await sender.rows(OPEN) if "too dear" in str(each)] == []
