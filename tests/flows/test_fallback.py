"""In plain mode a batch answers items that may wait and that real time cannot answer, by the real SDK over HTTP."""

from collections.abc import Awaitable, Callable

import pytest

from anthropic_standin.testing import Endpoint
from lanes.provider import client as provider_client
from lanes.realtime.state import DrainState
from lanes.store.rollouts import rollouts
from lanes.words import Lane
from tasks.connections import Connections
from tasks.sweep import give_up
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.realtime import a_state, answer

PATIENCE_S = 1.0  # how long a call may take


async def errors(at: Connections, endpoint: Endpoint, sender: Sender, state: DrainState) -> None:
    """Fail every call of the item with a 500 after others were answered."""
    endpoint.fault("messages", "status", status=500, match="letter bad")
    for turn in range(2):
        await sender.items(f"good{turn}", lane=Lane.REALTIME, workload="others")
        await at.db.run(rollouts.pause_workload, "letters", now=await at.db.now())
        await answer(at, state)
        await at.db.run(rollouts.resume_workload, "letters")
        await answer(at, state)
        await sender.work_rests()


async def times_out(at: Connections, endpoint: Endpoint, sender: Sender, state: DrainState) -> None:
    """Stall every call of the item while others are answered."""
    endpoint.fault("messages", "stall", match="letter bad")
    for turn in range(2):
        await sender.items(f"good{turn}", lane=Lane.REALTIME, workload="others")
        await answer(at, state)
        await sender.work_rests()


async def is_overloaded(
    at: Connections, endpoint: Endpoint, sender: Sender, state: DrainState
) -> None:
    """Overload the model for a day, which spends no retry budget."""
    endpoint.fault("messages", "status", status=529, error_type="overloaded_error")
    for _ in range(3):
        await answer(at, state)
        await sender.work_rests()
    sender.time.passes(hours=25)
    await give_up(at.db, await at.db.now())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "last"),
    [
        (errors, "unknown (after 2 failed attempts)"),
        (times_out, "unknown (after 2 failed attempts)"),
        (is_overloaded, "given_up (after 1 failed attempt)"),
    ],
)
async def test_an_item_that_real_time_cannot_answer_is_answered_by_a_batch_and_billed_once(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[[Connections, Endpoint, Sender, DrainState], Awaitable[None]],
    last: str,
) -> None:
    monkeypatch.setattr(provider_client, "longest_call_s", lambda *_, **__: PATIENCE_S)
    await sender.items("bad", lane=None, max_failures=2, split_percent=100)
    await fails(at, endpoint, sender, a_state())
    assert (await sender.states())["bad"] == "routed"
    of_bad = "from lanes.work w join lanes.item i on i.id = w.item_id where i.key = 'bad'"
    assert await sender.rows(f"select lane, w.state {of_bad} order by w.id") == [
        ("realtime", "failed"),
        ("batch", "ready"),
    ]
    assert await sender.rows("select failures from lanes.work where state = 'ready'") == [(0,)]
    ((said,),) = await sender.rows(
        "select explanation from lanes.route_log where reason = 'fallback'"
    )
    assert said == f"real time could not answer it: {last}; it may wait for a batch"
    endpoint.control("DELETE", "faults")
    assert await submit(at) == 1
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select count(*) from lanes.correction_log") == [(0,)]
    answers = len(await sender.states())
    assert await sender.rows("select count(*), count(nullif(cost_usd, 0)) from lanes.spend") == [
        (answers, answers)
    ]
