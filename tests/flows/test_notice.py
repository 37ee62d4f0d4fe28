"""A drain without answers reports an outage once, in its run's state and an artifact, and Prefect delays no answer."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from anthropic_standin.testing import Endpoint
from lanes.words import Lane
from tasks import pages
from tasks.account_drain import DrainPace
from tasks.connections import Connections
from tasks.drain import Drain, drain
from tests.flows.conftest import RUN, Sender
from tests.flows.test_drain import PROMPTLY_S, turns, until_answered
from tests.prefect_standin import PrefectStandIn, StoredRun

MODEL = "claude-haiku-5-5"
LOOKS_ALWAYS = DrainPace(notice_s=0.05)  # a drain checks itself all the time


@pytest.fixture
def prefect(prefect: PrefectStandIn) -> PrefectStandIn:
    """Return a Prefect server that has the run of the drain."""
    prefect.runs.append(
        StoredRun(str(RUN), "answer", {}, None, "RUNNING", datetime.now(UTC) - timedelta(hours=1))
    )
    return prefect


def down(endpoint: Endpoint) -> None:
    endpoint.fault(
        "messages", "status", status=529, error_type="overloaded_error", message="Overloaded"
    )


async def until_it_says(
    opened: Drain, prefect: PrefectStandIn, name: str, *, artifacts: int = 1
) -> str:
    """Wait for the run's state of that name and for its artifact; return the state's message."""

    async def said() -> bool:
        return (
            bool(prefect.states)
            and prefect.states[-1][0] == name
            and len(prefect.artifacts) >= artifacts
        )

    async with asyncio.timeout(20):
        await turns(opened, said)
    return prefect.states[-1][1]


@pytest.mark.slow
async def test_a_drain_reports_an_outage_once_and_reports_its_end(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items(*(f"k{n}" for n in range(8)), lane=Lane.REALTIME)
    down(endpoint)
    async with drain(at, standing=False, pace=LOOKS_ALWAYS) as opened:
        said = await until_it_says(opened, prefect, "Provider down")
        assert said.startswith(f"{MODEL} has not answered since ")
        assert "the provider answered 529: Overloaded" in said
        assert prefect.runs[0].state == "RUNNING"
        (page,) = prefect.artifacts
        assert (page["key"], page["flow_run_id"]) == ("lanes-outage", str(RUN))
        assert page["description"] == f"{MODEL} does not answer"
        assert (
            "On the real-time lane: 8 unanswered items; none of them has a due time to come."
            in page["data"]
        )
        hits = endpoint.control("GET", "faults")["data"][0]["hits"]
        await turns(opened, lambda: _more(endpoint, hits + 2))
        assert len(prefect.states) == len(prefect.artifacts) == 1  # per outage, not per call
        endpoint.reset()
        said = await until_it_says(opened, prefect, "Running", artifacts=2)
        assert said.startswith("The provider answers again, since ")
        assert prefect.artifacts[-1]["description"] == "The provider answers again"
        await until_answered(opened, sender, "k0", "k7")
        assert opened.ending() == 8 + await _unserved(sender)
    assert len(prefect.states) == 2


async def _more(endpoint: Endpoint, hits: int) -> bool:
    return endpoint.control("GET", "faults")["data"][0]["hits"] >= hits


async def _unserved(sender: Sender) -> int:
    ((number,),) = await sender.rows("select count(*) from lanes.attempt where outcome <> 'valid'")
    assert isinstance(number, int)
    return number


@pytest.mark.slow
async def test_a_drain_that_ends_in_an_outage_fails_with_the_error_of_the_provider(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("a", lane=Lane.REALTIME)
    down(endpoint)
    async with drain(at, standing=False, pace=LOOKS_ALWAYS) as opened:
        await until_it_says(opened, prefect, "Provider down")
        ending: Any = opened.ending()
    assert isinstance(ending, State)
    assert (ending.type, ending.name) == (StateType.FAILED, "Unanswered")
    assert "529: Overloaded" in str(ending.message)


@pytest.mark.slow
async def test_a_drain_whose_account_is_refused_reports_it_too(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("a", lane=Lane.REALTIME)
    endpoint.fault(
        "messages",
        "status",
        status=402,
        error_type="billing_error",
        message="Your credit balance is too low",
    )
    async with drain(at, standing=False, pace=LOOKS_ALWAYS) as opened:
        said = await until_it_says(opened, prefect, "Provider down")
        assert said.startswith("the account has not answered since ")
        assert "Your credit balance is too low" in said


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["hangs", "answers 503"])
async def test_prefect_in_trouble_delays_no_answer_and_receives_the_outage_report_later(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn, trouble: str
) -> None:
    pace = replace(LOOKS_ALWAYS, notice_limit_s=0.5)
    prefect.hangs, prefect.status = trouble == "hangs", None if trouble == "hangs" else 503
    await sender.items("a", "b", "c", lane=Lane.REALTIME)
    down(endpoint)
    async with drain(at, standing=False, pace=pace) as opened:
        await turns(opened, lambda: _more(endpoint, 4))
        endpoint.reset()
        async with asyncio.timeout(PROMPTLY_S):
            await until_answered(opened, sender, "a", "b", "c")
        assert prefect.states == []
        down(endpoint)
        await sender.items("d", lane=Lane.REALTIME)
        await turns(opened, lambda: _more(endpoint, 4))
        prefect.heals()
        await until_it_says(opened, prefect, "Provider down")


@pytest.mark.slow
async def test_a_drain_completes_its_last_request_to_prefect_before_it_ends(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    prefect: PrefectStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request that is in flight when the drain ends is completed, so that nothing follows the last state of the run."""
    begun, answered, told = asyncio.Event(), asyncio.Event(), list[str]()

    async def slowly(*_: object, **__: object) -> None:
        begun.set()
        await answered.wait()
        told.append("artifact")

    monkeypatch.setattr(pages, "write_artifact", slowly)
    await sender.items("a", lane=Lane.REALTIME)
    down(endpoint)
    async with drain(at, standing=False, pace=LOOKS_ALWAYS) as opened:
        async with asyncio.timeout(20):
            await turns(opened, lambda: _set(begun))
        assert told == []
        asyncio.get_running_loop().call_later(0.3, answered.set)
    assert told == ["artifact"]


async def _set(event: asyncio.Event) -> bool:
    return event.is_set()
