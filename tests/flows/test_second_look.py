"""The loop of the second look: a batch that is stuck at a real endpoint, due items, and a chosen clock."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest

from anthropic_standin.testing import Endpoint
from lanes.realtime.circuit import Fault
from lanes.routing.load import Load
from lanes.store.batch import batches
from lanes.store.database import Database
from lanes.store.realtime import circuits, load
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Mode, Outcome
from tasks import collect, second_look
from tasks.connections import Connections
from tasks.second_look import look_again, looking_again, rescue_late
from tests.examples import version
from tests.flows.batches import end, submit
from tests.flows.conftest import Sender
from tests.flows.realtime import answer

KEYS = [f"k{n}" for n in range(8)]


async def stuck(at: Connections, sender: Sender, endpoint: Endpoint, mode: Mode) -> int:
    """Submit eight items that are due in six hours, in a batch that stays at the provider; return its id."""
    endpoint.fault("batch_request", "stall")
    due_at = await at.db.now() + timedelta(hours=6)
    await sender.items(*KEYS, lane=None, due_at=due_at, split_percent=0, mode=mode)
    await submit(at)
    (batch,) = await at.db.run(batches.open_batches)
    return batch.id


async def look(at: Connections) -> int:
    """Look once at the lane as it is; return how many items were rescued."""
    now = await at.db.now()
    of = at.lane_account
    return await rescue_late(at.db, {of: await at.db.look(load.snapshot, of, now=now)})


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
async def test_due_items_of_a_stuck_batch_are_answered_in_time_and_late_results_are_billed_correctly(
    at: Connections, sender: Sender, endpoint: Endpoint, mode: Mode
) -> None:
    await stuck(at, sender, endpoint, mode)
    sender.time.passes(hours=5, minutes=50)
    assert await look(at) == 0
    sender.time.passes(minutes=9, seconds=45)
    assert await look(at) == len(KEYS)
    assert await look(at) == 0
    assert await answer(at) == {Outcome.VALID: len(KEYS)}
    ((late,),) = await sender.rows(
        "select count(*) from lanes.item where answered_at is null or answered_at > due_at"
    )
    assert late == 0

    endpoint.reset()
    assert await collect.bring_home(at, await end(at, endpoint)) == len(KEYS)
    assert set((await sender.states()).values()) == {"settled"}
    shown = await sender.rows(
        "select lane, count(*) filter (where shown) from lanes.attempt_log group by 1 order by 1"
    )
    assert shown == [("batch", 0 if mode is Mode.PLAIN else len(KEYS)), ("realtime", len(KEYS))]
    ((spent, bills),) = await sender.rows("select sum(cost_usd), count(*) from lanes.spend")
    assert bills == 2 * len(KEYS)
    assert float(str(spent)) == pytest.approx(float(endpoint.bill()["usd"]))


@pytest.mark.slow
async def test_one_due_item_probes_a_model_in_an_outage_and_the_others_are_at_risk_until_it_answers(
    at: Connections, sender: Sender, endpoint: Endpoint
) -> None:
    account, model = at.provider.account, version().spec.realtime_model
    await stuck(at, sender, endpoint, Mode.PLAIN)
    sender.time.passes(hours=5, minutes=59, seconds=30)
    began = await at.db.now()
    await at.db.run(circuits.record_fault, account, model, Fault("529", 3, began, began), now=began)
    sender.time.passes(seconds=12)
    assert await look(at) == 1
    assert await look(at) == 0
    ((value, why),) = await sender.rows(
        "select value, why from lanes.incident where promise = 'deadline_at_risk'"
    )
    assert value == len(KEYS) - 1
    assert str(why).startswith(
        f"real time answers nothing of 7 items: {model} has not answered since "
    )
    ((lane,),) = await sender.rows("select count(*) from lanes.work where lane = 'realtime'")
    assert lane == 1

    await at.db.run(circuits.record_answer, account, model, began_at=await at.db.now())
    assert await look(at) == len(KEYS) - 1
    assert await answer(at) == {Outcome.VALID: len(KEYS)}
    ((late,),) = await sender.rows(
        "select count(*) from lanes.item where answered_at is null or answered_at > due_at"
    )
    assert late == 0


async def test_a_look_that_fails_does_not_prevent_the_other_look_at_its_lane(
    at: Connections,
) -> None:
    looked: list[Load] = []
    now, model = await at.db.now(), version().spec.realtime_model
    await at.db.run(
        circuits.record_fault, at.provider.account, model, Fault("529", 3, now, now), now=now
    )

    async def breaks(_: Mapping[LaneAccount, Load]) -> None:
        raise ValueError("no")

    async def looks(seen: Mapping[LaneAccount, Load]) -> None:
        looked.extend(seen.values())

    with pytest.raises(ExceptionGroup, match="ValueError: no"):
        await look_again(at, [breaks, looks])
    assert [set(each.rests) for each in looked] == [{model}]


async def test_the_loop_rescues_items_by_itself_and_ends_with_its_run(
    at: Connections, sender: Sender, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stuck(at, sender, endpoint, Mode.PLAIN)
    sender.time.passes(hours=5, minutes=59, seconds=45)
    taken: asyncio.Queue[int] = asyncio.Queue()

    async def told(db: Database, seen: Mapping[LaneAccount, Load]) -> None:
        taken.put_nowait(await rescue_late(db, seen))

    monkeypatch.setattr(second_look, "rescue_late", told)
    async with looking_again(at), asyncio.timeout(10):
        assert await taken.get() == len(KEYS)
    assert not [each for each in asyncio.all_tasks() if each.get_name() == "the second look"]
