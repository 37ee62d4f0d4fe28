"""Replay and late data through the same submit and collect as live work, against a real endpoint."""

import json

import pytest
from prefect.events import Event, Resource
from sqlalchemy import Connection

from anthropic_standin.testing import Endpoint
from lanes.rollouts.replays import Selection
from lanes.store.batch import ready_work
from lanes.store.replays import promotions, replays
from lanes.words import Lane, ReplayState
from tasks.arrivals import admit_events
from tasks.connections import Connections
from tasks.replay import begin_replay, read_stream
from tasks.router import route_received
from tasks.send_batch import prepare
from tests.examples import FORCED, SCHEMA, admit, publish, route, version
from tests.flows.batches import collect_all, kind, submit
from tests.flows.conftest import Sender
from tests.flows.realtime import answer, claim

KEYS = [f"k{n:02d}" for n in range(12)]
# The echo engine picks a category by its place in this list.
TURNED = {
    **SCHEMA,
    "properties": {"category": {"type": "string", "enum": ["b", "a"]}},
}
CURRENT = "select key, output, generation, standing from lanes.current_results order by key"
BEGIN = {
    "version_no": None,
    "reads": (None, None),
    "selection": FORCED,
    "who": "ada",
    "why": "another prompt",
}


async def test_a_replay_goes_through_submit_and_collect_and_is_promoted_and_demoted(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    await collect_all(at, endpoint)
    live = await sender.rows(CURRENT)
    now = await at.db.now()
    await at.db.run(lambda c: publish(c, now=now, output_schema=TURNED))

    begun = await begin_replay.fn(at.db, "letters", **BEGIN)
    await at.db.run(replays.read_some, begun.id, limit=5, now=now)  # and its reader dies
    again = await begin_replay.fn(at.db, "letters", **BEGIN)
    assert (again.id, again.cursor_position) == (begun.id, 5)
    assert (await read_stream.fn(at.db, again)).items == len(KEYS)
    before = endpoint.bill()["batches_created"]
    assert await submit(at) == len(KEYS)
    await collect_all(at, endpoint)
    assert endpoint.bill()["batches_created"] == before + 1
    assert await sender.rows(CURRENT) == live

    (complete,) = await at.db.run(replays.finish, now=now)
    assert complete.state is ReplayState.COMPLETE
    found = await at.db.run(promotions.compare, complete)
    assert (found.items, found.share, found.fields["category"]) == (len(KEYS), 1.0, len(KEYS))
    _, changed = await at.db.run(promotions.promote, "letters", now=now)
    assert changed == len(KEYS)
    assert await sender.rows("select distinct generation, version from lanes.current_results") == [
        (1, 2)
    ]
    await at.db.run(promotions.demote, "letters", now=now)
    assert await sender.rows(CURRENT) == live
    ((responses, usd),) = await sender.rows("select count(*), sum(cost_usd) from lanes.spend")
    assert (responses, float(str(usd))) == (2 * len(KEYS), float(endpoint.bill()["usd"]))


@pytest.mark.slow
async def test_one_invalid_request_of_a_replay_harms_no_neighbour(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    await collect_all(at, endpoint)
    await read_stream.fn(at.db, await begin_replay.fn(at.db, "letters", **BEGIN))
    fault = {"status": 400, "error_type": "invalid_request_error", "message": "no"}
    endpoint.fault("batch_request", "status", match="letter k03", **fault)
    await submit(at)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    await at.db.run(replays.finish, now=await at.db.now())
    said = await sender.rows("select state, items, answered, failed, open from lanes.replay_log")
    assert said == [("complete", 12, 11, 1, 0)]


@pytest.mark.slow
@pytest.mark.parametrize("bad", [("k03",), ("k03", "k07")])
async def test_a_replay_ends_and_is_promoted_even_if_a_request_always_faults(
    at: Connections, endpoint: Endpoint, sender: Sender, bad: tuple[str, ...]
) -> None:
    """The request faults among its neighbours at first, then alone in its batches while nothing else is asked."""
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    await collect_all(at, endpoint)
    await read_stream.fn(at.db, await begin_replay.fn(at.db, "letters", **BEGIN))
    for key in bad:
        endpoint.fault(
            "batch_request",
            "status",
            match=f"letter {key}",
            status=500,
            error_type="api_error",
            message="no",
        )
    rounds = 0
    while await at.db.run(replays.finish, now=await at.db.now()) == []:
        rounds += 1
        await submit(at)
        await collect_all(at, endpoint)
        await sender.work_rests()
    assert rounds == version().spec.max_failures
    said = await sender.rows("select state, items, answered, failed, open from lanes.replay_log")
    assert said == [("complete", 12, 12 - len(bad), len(bad), 0)]
    await at.db.run(promotions.promote, "letters", now=await at.db.now())
    assert set((await sender.states()).values()) == {"settled"}


@pytest.mark.slow
async def test_a_lone_request_spends_its_retry_budget_only_once_others_are_answered(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    fault = {"status": 500, "error_type": "api_error", "message": "no"}
    await sender.items("bad", lane=Lane.BATCH, max_failures=2)
    endpoint.fault("batch_request", "status", **fault)

    async def turn() -> list[tuple[object, ...]]:
        await submit(at)
        await collect_all(at, endpoint)
        await sender.work_rests()
        return await sender.rows(
            "select i.key, w.failures, w.state from lanes.work w join lanes.item i on i.id = w.item_id order by 1"
        )

    for _ in range(4):
        assert await turn() == [("bad", 0, "ready")]
    endpoint.control("DELETE", "faults")
    endpoint.fault("batch_request", "status", match="letter bad", **fault)
    await sender.items("good", lane=Lane.REALTIME, workload="others")
    await answer(at)
    assert (await turn())[0] == ("bad", 1, "ready")
    assert (await turn())[0] == ("bad", 2, "failed")


async def test_a_batch_request_contains_the_history_of_the_entity_of_its_item(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    now = await at.db.now()

    def put(connection: Connection) -> None:
        publish(connection, now=now, history_items=5)
        for key in ("first", "second"):
            admit(
                connection,
                key,
                now=now,
                lane=Lane.BATCH,
                entity="ann",
                occurred_at=now.replace(minute=len(key)),
            )
        admit(connection, "stranger", now=now, lane=Lane.BATCH, entity="bob")
        route(connection, now=now)

    await at.db.run(put)
    prepared = await prepare(at, await kind(at), now=await at.db.now())
    assert prepared is not None
    with prepared.body as body:
        sent = json.loads(b"".join([block async for block in body]))
    said = sorted(each["params"]["messages"][0]["content"] for each in sent["requests"])
    assert said == [
        "<history>\nletter first\n</history>\nletter second",
        "letter first",
        "letter stranger",
    ]


def event(name: str, payload: dict[str, object]) -> Event:
    resource = Resource.model_validate({"prefect.resource.id": "lanes.workload.letters"})
    return Event.model_validate({"event": name, "resource": resource, "payload": payload})


async def test_amendments_that_arrived_with_or_before_their_items_are_applied_once(
    at: Connections, sender: Sender
) -> None:
    now = await at.db.now()
    await at.db.run(lambda c: publish(c, now=now))
    early = event("lanes.item.amended", {"key": "b", "payload": {"text": "early"}})
    beside = event("lanes.item.amended", {"key": "a", "payload": {"text": "beside"}})
    broken = event("lanes.item.amended", {"payload": {"text": "no key"}})
    arrived = event("lanes.item.arrived", {"key": "a", "payload": {"text": "first"}})
    for _ in range(2):
        await admit_events(at.db, [early, beside, broken, arrived], now=now)
    await admit_events(
        at.db, [event("lanes.item.arrived", {"key": "b", "payload": {"text": "first"}})], now=now
    )
    await route_received(at.db)
    items = await sender.rows(
        "select key, payload ->> 'text', revision from lanes.item order by key"
    )
    assert items == [("a", "beside", 1), ("b", "early", 1)]
    assert await sender.rows("select reason, position from lanes.rejected_log") == [
        ("malformed", str(broken.id))
    ]
    assert await sender.rows("select revision, state from lanes.work") == [
        (1, "ready"),
        (1, "ready"),
    ]


@pytest.mark.slow
async def test_an_amended_item_is_answered_again_and_its_correction_is_recorded(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items("k", lane=Lane.BATCH, compare_fields=["category"])
    await submit(at)
    await collect_all(at, endpoint)
    ((before,),) = await sender.rows("select output ->> 'category' from lanes.current_results")
    number = 0
    # The echo engine answers by the text's checksum, so that some text gets the other answer.
    for number in range(20):
        amended = event(
            "lanes.item.amended", {"key": "k", "payload": {"text": f"amended {number}"}}
        )
        await admit_events(at.db, [amended], now=await at.db.now())
        assert await sender.states() == {"k": "answered"}
        await submit(at)
        await collect_all(at, endpoint)
        if await sender.rows("select 1 from lanes.correction_log"):
            break
    ((after, revision),) = await sender.rows(
        "select output ->> 'category', revision from lanes.current_results"
    )
    assert after != before
    assert revision == number + 1
    assert await sender.states() == {"k": "settled"}
    assert await sender.rows("select changed_fields from lanes.correction_log") == [(["category"],)]


@pytest.mark.slow
@pytest.mark.parametrize("lane", Lane)
async def test_a_replay_by_a_condition_is_killed_resumed_paused_compared_and_promoted_on_each_lane(
    at: Connections, endpoint: Endpoint, sender: Sender, lane: Lane
) -> None:
    await sender.items(*KEYS, lane=Lane.BATCH)
    await submit(at)
    await collect_all(at, endpoint)
    now = await at.db.now()
    await at.db.run(lambda c: publish(c, now=now, output_schema=TURNED))
    some = Selection(where="payload.text != 'letter k03'", lane=lane.value)
    asked = {**BEGIN, "selection": some}

    begun = await begin_replay.fn(at.db, "letters", **asked)
    await at.db.run(replays.read_some, begun.id, limit=5, now=now)  # and its reader dies
    await at.db.run(promotions.pause, "letters", now=now)
    assert await claim(at) == []
    assert await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now()) == []
    await at.db.run(promotions.resume, "letters", now=await at.db.now())
    again = await begin_replay.fn(at.db, "letters", **asked)
    assert (await read_stream.fn(at.db, again)).items == len(KEYS) - 1
    if lane is Lane.BATCH:
        await submit(at)
        await collect_all(at, endpoint)
    await answer(at)

    (complete,) = await at.db.run(replays.finish, now=await at.db.now())
    found = await at.db.run(promotions.compare, complete)
    assert (found.items, found.share) == (len(KEYS) - 1, 1.0)
    await at.db.run(promotions.promote, "letters", now=await at.db.now())
    shown = "select generation, lane, count(*) from lanes.current_results group by 1, 2 order by 1"
    assert await sender.rows(shown) == [(0, "batch", 1), (1, lane, len(KEYS) - 1)]
    assert endpoint.bill()["responses"] == 2 * len(KEYS) - 1, "nothing was paid twice"
    ((usd,),) = await sender.rows("select sum(cost_usd) from lanes.spend")
    assert float(str(usd)) == float(endpoint.bill()["usd"])
