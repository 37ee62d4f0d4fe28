"""Micro-batches of the real-time lane against a real endpoint, with and without faults."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from anthropic_standin.testing import Endpoint
from lanes.provider import client as provider_client
from lanes.provider.errors import Action, CallFailed
from lanes.realtime.limiter import Pack
from lanes.settling.outcome import Response
from lanes.words import Lane, Outcome
from tasks.connections import Connections
from tasks.watch import evaluate
from tests.conftest import NOON
from tests.examples import version
from tests.flows.conftest import Sender, until
from tests.flows.realtime import a_state, answer, begin, begun, claim, versions_of

FROZEN = "select severity, subject, sentence from lanes.incident_log where promise = 'provider_frozen' and state = 'open'"
HAIKU, SONNET = version(), version(realtime_model="claude-sonnet-5-5")
KEYS = [f"r{n:02d}" for n in range(8)]


async def test_a_micro_batch_is_answered_and_settled(at: Connections, sender: Sender) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.VALID: len(KEYS)}
    assert set((await sender.states()).values()) == {"settled"}


async def test_a_pack_is_one_call_for_several_items(at: Connections, sender: Sender) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME, realtime_pack=4)
    await answer(at)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select count(*), sum(items) from lanes.spend") == [(2, 8)]


async def test_an_invalid_item_of_a_pack_fails_alone(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME, realtime_pack=8)
    fault = {"status": 400, "error_type": "invalid_request_error", "message": "no"}
    endpoint.fault("messages", "status", match="letter r05", **fault)
    for _ in range(3):
        await answer(at)
        await sender.work_rests()
    states = await sender.states()
    assert states.pop("r05") == "failed"
    assert set(states.values()) == {"settled"}


async def test_items_with_wrong_ids_in_a_pack_are_retried_at_once_without_the_others(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME, realtime_pack=8)
    endpoint.fault("messages", "wrong_ids", times=1)
    first = await answer(at)
    assert first[Outcome.INVALID] >= 1
    again = await claim(at)
    assert len(again) == first[Outcome.INVALID]
    assert all(each.failures == 1 for each in again)


async def test_each_call_gives_its_items_new_ids_and_ignores_answers_under_guessed_ids(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME, realtime_pack=4)
    asked: list[list[str]] = []
    ask = provider_client.ask

    async def obeyed(client: Any, body: bytes, **how: Any) -> Response:
        """Answer as an input demanded of the model: for its neighbours too."""
        said = await ask(client, body, **how)
        asked.append(re.findall('<item id="(.*?)">', json.loads(body)["messages"][0]["content"]))
        guesses = [
            {"id": id_, "answer": {"category": "a"}}
            for id_ in ("1", "2", "3", "4", *asked[0][: len(asked) - 1])
        ]
        return said._replace(
            text=json.dumps({"answers": guesses + json.loads(said.text)["answers"]})
        )

    monkeypatch.setattr(provider_client, "ask", obeyed)
    assert await answer(at) == {Outcome.VALID: 8}
    assert len({id_ for ids in asked for id_ in ids}) == 8


async def test_the_due_time_of_an_item_never_cuts_its_call_short(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that takes 14 s, for an item due in 12 s, is billed once and answers late."""
    allowed_s: list[float] = []
    ask = provider_client.ask

    async def slow(client: Any, body: bytes, *, longest_s: float, **how: Any) -> Response:
        allowed_s.append(longest_s)
        if longest_s < 14:
            raise CallFailed(Action.RETRY, "cut", maybe_billed=True, cut=True)
        sender.time.passes(seconds=14)
        return await ask(client, body, longest_s=longest_s, **how)

    monkeypatch.setattr(provider_client, "ask", slow)
    await sender.items("a", lane=Lane.REALTIME, due_at=await at.db.now() + timedelta(seconds=12))
    assert await answer(at) == {Outcome.VALID: 1}
    assert (await sender.states(), len(allowed_s)) == ({"a": "settled"}, 1)
    assert await sender.rows(
        "select count(*), bool_and(settled_at > due_at) from lanes.item, lanes.spend"
    ) == [(1, True)]


@pytest.mark.slow
async def test_calls_that_outlast_the_due_times_of_their_items_are_billed_once_and_open_no_circuit(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.reset(latency_s=14.0)
    keys = [f"k{n}" for n in range(6)]
    await sender.items(*keys, lane=Lane.REALTIME, due_at=await at.db.now() + timedelta(seconds=12))
    assert await answer(at) == {Outcome.VALID: 6}
    assert endpoint.bill()["responses"] == 6
    assert await sender.rows("select count(*) from lanes.outage") == [(0,)]


@pytest.mark.slow
async def test_answers_that_arrive_while_many_calls_are_in_flight_are_saved_together(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault("messages", "stall", match="letter slow")
    await sender.items("slow", "a", "b", "c", lane=Lane.REALTIME)
    (of, *_), state = (await versions_of(at, all_ := await claim(at))).values(), a_state()
    packs = {each.key: Pack(of, [each], NOON) for each in all_}
    performer = await begun(at, [packs["slow"], packs["a"]], state)
    performer.many, performer.apart_s = 1, 2.0
    await until(lambda: len(state.claims) == 1)
    for responses, key in enumerate(("b", "c"), start=2):
        begin(performer, [packs[key]])
        await until(lambda responses=responses: endpoint.bill()["responses"] == responses)
    await until(lambda: len(state.claims) == 1)
    endpoint.reset()
    await performer.close()
    saved = await sender.rows(
        "select key, dense_rank() over (order by attempt.xmin::text::bigint)"
        " from lanes.attempt join lanes.item on item.id = item_id order by key"
    )
    assert saved == [("a", 1), ("b", 2), ("c", 2), ("slow", 3)]


async def test_a_rate_limit_halves_the_pace_and_spends_no_retry_budget(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME)
    limited = {
        "status": 429,
        "error_type": "rate_limit_error",
        "message": "slow",
        "retry_after_s": 7,
    }
    endpoint.fault("messages", "status", **limited)
    state = a_state(most_calls=16)
    await answer(at, state)
    now = await at.db.now()
    until = state.backpressure.compute_rest_end(HAIKU, now)
    assert 5 < (until - now).total_seconds() <= 7  # as long as the provider says
    assert await sender.rows("select distinct state, failures from lanes.work") == [("ready", 0)]
    rooms = [state.backpressure.room(HAIKU, moment) for moment in (now, until)]
    assert (rooms, state.places.free) == ([0, 8], 16)


@pytest.mark.slow
async def test_an_account_without_credit_freezes_payment_and_keeps_the_work(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items(*KEYS, lane=Lane.REALTIME)
    broke = {
        "status": 400,
        "error_type": "invalid_request_error",
        "message": "Your credit balance is too low",
    }
    endpoint.fault("messages", "status", **broke)
    state = a_state()
    await answer(at, state)
    assert state.backpressure.is_frozen(await at.db.now())
    assert await sender.rows("select distinct state, failures from lanes.work") == [("ready", 0)]
    ((severity, subject, sentence),) = await sender.rows(FROZEN)
    assert (severity, subject) == ("critical", at.provider.account)
    assert "Your credit balance is too low" in str(sentence)
    await evaluate(at.db)
    assert await sender.rows(FROZEN) == [(severity, subject, sentence)]
    endpoint.reset()
    await sender.work_rests()
    await answer(at)
    await evaluate(at.db)
    assert await sender.rows(FROZEN) == []


async def test_an_unknown_model_stops_only_its_own_calls(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items("a", lane=Lane.REALTIME)
    await sender.items(
        "b", lane=Lane.REALTIME, workload="others", realtime_model="claude-sonnet-5-5"
    )
    unknown = {"status": 404, "error_type": "not_found_error", "message": "model: claude-none"}
    endpoint.fault("messages", "status", match="letter a", **unknown)
    state = a_state()
    await answer(at, state)
    assert await sender.states() == {"a": "routed", "b": "settled"}
    now = await at.db.now()
    rooms = [state.backpressure.room(of, now) for of in (HAIKU, SONNET)]
    assert (rooms, state.places.free) == ([0, None], state.places.all)


async def test_a_call_without_an_answer_is_unknown_with_a_bound_and_not_in_spend(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    before = endpoint.bill()["responses"]
    await sender.items("lost", lane=Lane.REALTIME)
    endpoint.fault("messages", "drop", times=1)
    assert await answer(at) == {Outcome.UNKNOWN: 1}
    ((bound, cost),) = await sender.rows("select bound_usd, cost_usd from lanes.attempt_log")
    assert float(str(bound)) > 0
    assert float(str(cost)) == 0
    assert await sender.rows("select count(*) from lanes.spend") == [(0,)]
    assert endpoint.bill()["responses"] == before + 1


async def test_refused_and_truncated_answers_are_billed(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items("a", lane=Lane.REALTIME)
    endpoint.fault("messages", "truncate", times=1)
    assert await answer(at) == {Outcome.TRUNCATED: 1}
    endpoint.reset()
    endpoint.fault("messages", "refusal", times=1)
    assert await answer(at) == {Outcome.REFUSED: 1}
    endpoint.reset()
    assert await answer(at) == {Outcome.VALID: 1}
    assert await sender.rows("select count(*) from lanes.spend") == [(3,)]
    assert await sender.states() == {"a": "settled"}
