"""The error policy as one table: what each fault of the provider does to the item, its budget, the pace, the ledger
and the incidents, through the real SDK and a real connection; one file because it is one table.

A lone item is tried in a silent lane, so that no answer proves that the model serves others; faults among answered
neighbours follow below.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from anthropic_standin.testing import Endpoint
from lanes.provider import client as provider_client
from lanes.realtime.state import DrainState
from lanes.settling import attempts
from lanes.store.batch import ready_work
from lanes.words import Lane, Outcome
from tasks.connections import Connections, opening
from tasks.departure import send_waiting
from tasks.sweep import move_refused
from tasks.watch import evaluate
from tests.conftest import NOON
from tests.examples import version
from tests.flows import raw_provider
from tests.flows.conftest import Nap, Sender, quick
from tests.flows.raw_provider import Say, saying
from tests.flows.realtime import a_state, answer

MODEL = "claude-haiku-5-5"
HAIKU, OPUS = version(realtime_model=MODEL), version(realtime_model="claude-opus-5-5")
PATIENCE_S = 1.0  # how long a call may take if the provider never ends it


@dataclass(frozen=True)
class Then:
    """The expected state of one item afterwards."""

    state: str = "routed"
    outcome: Outcome | None = None  # of its attempt; None: it was returned and has none
    failures: int = 0
    bounded: bool = False  # whether it may have been billed
    rests: str = "nothing"  # nothing, model or account
    incident: str | None = None


FROZEN = Then(rests="account", incident="provider_frozen")
FROZEN_MODEL = replace(FROZEN, rests="model")
LIMITED = Then(rests="model")
FAULT = Then(outcome=Outcome.UNKNOWN, bounded=True, rests="model")
UNBILLED_FAULT = Then(outcome=Outcome.UNSERVED, rests="model")
POISON = Then(state="failed", outcome=Outcome.POISON, failures=1, incident="items_failed")
ASKED_AGAIN = Then(outcome=Outcome.UNSERVED)  # asked again: its version may be at fault

# One status of each consequence; tests/provider/test_statuses.py says which statuses and words have which meaning.
STATUSES: dict[str, tuple[dict[str, Any], Then]] = {
    "401": ({"status": 401, "error_type": "authentication_error"}, FROZEN),
    "402": ({"status": 402, "error_type": "billing_error"}, FROZEN),
    "403": ({"status": 403, "error_type": "permission_error"}, FROZEN_MODEL),
    "404 model": ({"status": 404, "error_type": "not_found_error"}, FROZEN_MODEL),
    "408": ({"status": 408, "error_type": "api_error"}, UNBILLED_FAULT),
    "413": ({"status": 413, "error_type": "request_too_large"}, POISON),
    "400": ({"status": 400, "error_type": "invalid_request_error"}, ASKED_AGAIN),
    "429": ({"status": 429, "error_type": "rate_limit_error"}, LIMITED),
    "500": ({"status": 500, "error_type": "api_error"}, FAULT),
    "529": ({"status": 529, "error_type": "overloaded_error"}, UNBILLED_FAULT),
}
STREAMS: dict[str, tuple[Say, Then]] = {
    "reset before an answer": (raw_provider.reset, FAULT),
    "hang": (raw_provider.silence, FAULT),
    "trickle": (raw_provider.trickle, FAULT),
    "200 that is no JSON": (raw_provider.body(b"<html>hello</html>", kind=b"text/html"), FAULT),
    "200 with broken JSON": (raw_provider.body(b'{"id": "msg_1", "content": ['), FAULT),
    "200 that is another thing": (raw_provider.body(b'{"type": "pong"}'), FAULT),
    "200 without usage": (
        raw_provider.body(b'{"id": "msg_1", "type": "message", "content": []}'),
        FAULT,
    ),
    "200 with nothing": (raw_provider.body(b""), FAULT),
    "200 with null": (raw_provider.body(b"null"), FAULT),
}


QUICK = {"401", "403", "413", "400", "429", "500", "529"}
BY_STATUS = pytest.mark.parametrize("name", quick(STATUSES, QUICK))
BY_STREAM = pytest.mark.parametrize(
    "name", quick(STREAMS, {"reset before an answer", "200 with null"})
)


@BY_STATUS
async def test_a_status_has_the_consequences_of_the_table_for_an_item(
    at: Connections, endpoint: Endpoint, sender: Sender, name: str
) -> None:
    said, then = STATUSES[name]
    endpoint.fault("messages", "status", **{"message": f"no: {name}", **said})
    await met(at, sender, then)


@pytest.mark.parametrize("kind", ["drop", "cut"])
async def test_an_answer_that_was_billed_and_lost_is_unknown_within_a_bound(
    at: Connections, endpoint: Endpoint, sender: Sender, kind: str
) -> None:
    endpoint.fault("messages", kind)
    await met(at, sender, FAULT)
    ((bound,),) = await sender.rows("select sum(bound_usd) from lanes.attempt_log")
    assert 0 < float(endpoint.bill()["usd"]) <= float(str(bound))
    assert endpoint.bill()["responses"] == 1


@BY_STREAM
async def test_after_any_broken_response_the_item_has_its_attempt_and_waits(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    say, then = STREAMS[name]
    monkeypatch.setattr(provider_client, "longest_call_s", lambda *_, **__: PATIENCE_S)
    async with (
        saying(say) as url,
        opening(at.provider.model_copy(update={"base_url": url})) as client,
    ):
        await met(replace(at, opening=client), sender, then)


async def test_a_refused_connection_is_never_billed(at: Connections, sender: Sender) -> None:
    async with saying(raw_provider.reset) as url:
        pass  # no server listens there now
    async with opening(at.provider.model_copy(update={"base_url": url})) as client:
        await met(replace(at, opening=client), sender, UNBILLED_FAULT)


async def met(at: Connections, sender: Sender, then: Then) -> None:
    """Ask a lone item once and check everything that the table says."""
    await sender.items("a", lane=Lane.REALTIME)
    state = a_state()
    outcomes = await answer(at, state)
    await evaluate(at.db)
    now = await at.db.now()
    assert outcomes == ({then.outcome: 1} if then.outcome else {})
    assert await sender.states() == {"a": then.state}
    assert await sender.rows("select failures from lanes.work") == [(then.failures,)]
    assert await sender.rows("select count(*) from lanes.spend") == [(0,)]
    assert await sender.rows("select count(*) from lanes.attempt where bound_usd > 0") == [
        (int(then.bounded),)
    ]
    frozen = state.backpressure.is_frozen(now)
    asked = [limiter.room(HAIKU, now) for limiter in (state.health, state.backpressure)]
    resting = {"account": frozen, "model": asked != [None, None] and not frozen}
    if then.rests != "account":
        assert state.health.room(OPUS, now) is state.backpressure.room(OPUS, now) is None
    assert [what for what, rests in resting.items() if rests] == (
        [then.rests] if then.rests != "nothing" else []
    )
    open_ = await sender.rows("select promise from lanes.incident_log where state = 'open'")
    assert open_ == ([(then.incident,)] if then.incident else [])


@pytest.mark.slow
async def test_a_lone_item_fails_after_repeated_refusals(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault(
        "messages", "status", status=400, error_type="invalid_request_error", message="no"
    )
    await sender.items("a", lane=Lane.REALTIME)
    for outcome in (Outcome.UNSERVED, Outcome.UNSERVED, Outcome.POISON):
        assert await answer(at) == {outcome: 1}
        await sender.work_rests()
    assert await sender.states() == {"a": "failed"}


@pytest.mark.slow
async def test_a_refused_version_stops_until_it_is_corrected_while_its_neighbours_are_answered(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    keys = [f"k{number}" for number in range(8)]
    endpoint.fault(
        "messages",
        "status",
        match="letter k",
        status=400,
        error_type="invalid_request_error",
        message="no",
    )
    await sender.items("far", lane=Lane.BATCH, realtime_pack=4)
    await sender.items(*keys, lane=Lane.REALTIME, realtime_pack=4)
    await sender.items("x", "y", lane=Lane.REALTIME, workload="others")
    state = a_state()
    for _ in range(4):
        await answer(at, state)
        await sender.work_rests()
    calls = endpoint.bill()["responses"]
    assert await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now()) == []
    await evaluate(at.db)
    assert await sender.states() == dict.fromkeys([*keys, "far"], "routed") | dict.fromkeys(
        ["x", "y"], "settled"
    )
    assert await sender.rows(
        "select distinct failures from lanes.work where workload = 'letters'"
    ) == [(0,)]
    assert await sender.rows("select promise, subject, state from lanes.incident") == [
        ("provider_frozen", "version 1", "open")
    ]
    endpoint.control("DELETE", "faults")
    await sender.items("new", lane=Lane.REALTIME, realtime_pack=4, instructions="Sort them well.")
    assert await move_refused(at.db, await at.db.now()) is None
    await sender.work_rests()
    await answer(at)
    assert endpoint.bill()["responses"] > calls
    assert await sender.states() == {"far": "routed"} | dict.fromkeys(
        [*keys, "new", "x", "y"], "settled"
    )
    assert [
        each.workload
        for each in await at.db.run(ready_work.list_waiting_kinds, None, now=await at.db.now())
    ] == ["letters"]
    assert await sender.rows("select state from lanes.incident") == [("resolved",)]


@pytest.mark.slow
async def test_a_long_outage_fails_no_item_and_opens_one_incident_until_all_items_are_answered(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    """Each item meets five faults, more than its retry budget."""
    state = DrainState(NOON, jitter=lambda: 0.0)
    await sender.items("before", lane=Lane.REALTIME, max_failures=3)
    await answer(at, state)
    endpoint.fault("messages", "status", status=503)
    keys = [f"k{number}" for number in range(6)]
    await sender.items(*keys, lane=Lane.REALTIME, max_failures=3)
    for _ in range(5):
        await sender.work_rests()
        await answer(at, state)
        await evaluate(at.db)
    assert set((await sender.states()).values()) == {"settled", "routed"}
    assert await sender.rows(
        "select promise, workload, subject, state from lanes.incident_log where parent_id is null"
    ) == [("provider_down", "*", at.provider.account, "open")]
    endpoint.reset()
    await sender.work_rests()
    await answer(at, state)
    await evaluate(at.db)
    await evaluate(at.db)
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows(
        "select promise, state from lanes.incident_log where parent_id is null"
    ) == [("provider_down", "resolved")]
    assert await sender.rows("select distinct state from lanes.incident_log") == [("resolved",)]


@pytest.mark.slow
async def test_items_of_a_pack_that_faults_among_answered_packs_are_asked_alone_and_spend_nothing(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    state = a_state()
    await sender.items("fine", lane=Lane.REALTIME, workload="others")
    await answer(at, state)
    endpoint.fault("messages", "status", status=500, match="letter p2")
    await sender.items("p1", "p2", "p3", lane=Lane.REALTIME, realtime_pack=10)
    await answer(at, state)
    assert await sender.rows(
        "select distinct failures, alone, state from lanes.work where workload = 'letters'"
    ) == [(0, True, "ready")]
    assert await answer(at, state) == {Outcome.VALID: 2, Outcome.UNKNOWN: 1}


@pytest.mark.slow
async def test_the_parts_of_a_divided_pack_are_saved_as_they_arrive(
    at: Connections, endpoint: Endpoint, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the pack is answered; the other half hangs until long afterwards."""
    monkeypatch.setattr(provider_client, "longest_call_s", lambda *_, **__: PATIENCE_S)
    endpoint.fault("messages", "status", status=413, error_type="request_too_large", times=1)
    endpoint.fault("messages", "stall", match="letter d")
    await sender.items("a", "b", "c", "d", lane=Lane.REALTIME, realtime_pack=4)
    await answer(at)
    assert await sender.states() == {"a": "settled", "b": "settled", "c": "routed", "d": "routed"}
    assert await sender.rows("select sum(items) from lanes.spend") == [(2,)]


async def test_one_pack_that_breaks_harms_no_other_pack(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = provider_client.ask

    async def ask(client: Any, body: bytes, **how: Any) -> Any:
        if b"letter r3" in body:
            raise RuntimeError("nobody foresaw it")
        return await real(client, body, **how)

    monkeypatch.setattr(provider_client, "ask", ask)
    await sender.items(*(f"r{number}" for number in range(6)), lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.VALID: 5, Outcome.UNKNOWN: 1}
    assert await sender.rows("select count(*) from lanes.spend") == [(5,)]


async def test_an_answer_that_breaks_the_judge_is_billed_and_harms_no_other_answer(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = attempts.judge, iter([True])

    def judge(response: Any, ids: Any, check: Any) -> Any:
        if next(first, False):
            raise RuntimeError("nobody foresaw it")
        return real(response, ids, check)

    monkeypatch.setattr(attempts, "judge", judge)
    await sender.items(*(f"r{number}" for number in range(6)), lane=Lane.REALTIME)
    assert await answer(at) == {Outcome.VALID: 5, Outcome.INVALID: 1}
    assert await sender.rows("select count(*) from lanes.spend") == [(6,)]


@dataclass(frozen=True)
class Left:
    """The expected state after a run of `depart` met the fault at the create: the batch, its work, the incident."""

    batch: str
    work: str
    incident: str | None = None
    subject: str | None = None  # None: the account
    again: bool = False  # whether another run is requested soon


REFUSED = Left("released", "ready")
NO_ANSWER = Left("intended", "submitted", again=True)
CREATES: dict[str, Left] = {
    **dict.fromkeys(["401", "402"], Left("released", "ready", "provider_frozen")),
    **dict.fromkeys(
        ["403", "404 model"], Left("released", "ready", "provider_frozen", f"model {MODEL}")
    ),
    **dict.fromkeys(["400", "413"], REFUSED),
    **dict.fromkeys(["429", "529"], replace(REFUSED, again=True)),
    **dict.fromkeys(["408", "500"], NO_ANSWER),
}


@BY_STATUS
async def test_a_status_has_the_consequences_of_the_table_for_a_batch(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, name: str
) -> None:
    said, _ = STATUSES[name]
    endpoint.fault("batches.create", "status", **{"message": f"no: {name}", **said})
    await departs(at, sender, nap, CREATES[name])
    assert endpoint.bill()["batches_created"] == 0


@pytest.mark.parametrize("kind", ["drop"])
async def test_a_batch_that_was_created_but_whose_answer_was_lost_is_created_once(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, kind: str
) -> None:
    endpoint.fault("batches.create", kind)
    await departs(at, sender, nap, NO_ANSWER)
    endpoint.reset()
    await send_waiting(at, None, sleep=nap)
    assert endpoint.bill()["batches_created"] == 1


@BY_STREAM
async def test_after_any_broken_response_a_create_is_not_retried(
    at: Connections, sender: Sender, nap: Nap, name: str
) -> None:
    say, _ = STREAMS[name]
    brief = at.provider.model_copy(update={"create_within_s": PATIENCE_S})
    async with (
        saying(say) as url,
        opening(at.provider.model_copy(update={"base_url": url})) as client,
    ):
        await departs(replace(at, opening=client, provider=brief), sender, nap, NO_ANSWER)


@pytest.mark.slow
async def test_a_create_that_reached_no_server_leaves_its_work_ready(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    async with saying(raw_provider.reset) as url:
        pass  # no server listens there now
    async with opening(at.provider.model_copy(update={"base_url": url})) as client:
        await departs(replace(at, opening=client), sender, nap, replace(REFUSED, again=True))


async def departs(at: Connections, sender: Sender, nap: Nap, then: Left) -> None:
    """Send a lone item of the batch lane once and check everything that the table says."""
    await sender.items("a", lane=Lane.BATCH)
    departed = await send_waiting(at, None, sleep=nap)
    assert (departed.items, bool(departed.failed)) == (0, True)
    assert await sender.rows("select distinct state from lanes.batch_status") == [(then.batch,)]
    assert await sender.rows("select state, failures from lanes.work") == [(then.work, 0)]
    assert await sender.rows("select count(*) from lanes.spend") == [(0,)]
    open_ = await sender.rows(
        "select promise, subject from lanes.incident_log where state = 'open'"
    )
    assert open_ == (
        [(then.incident, then.subject or at.provider.account)] if then.incident else []
    )
    assert await sender.rows("select submit_at is not null from lanes.workload") == [(then.again,)]
