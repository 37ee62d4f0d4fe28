"""A failed micro-batch or batch is a warning in its run's log, with error and counts, but without content of items."""

import pytest

from anthropic_standin.testing import Endpoint
from lanes.promises.briefing import FailureReport
from lanes.words import Lane
from tasks import collect
from tasks.connections import Connections
from tasks.departure import send_waiting
from tasks.weighing import FailureLog
from tests.flows.batches import submit_and_end
from tests.flows.conftest import Nap, RunLog, Sender
from tests.flows.realtime import answer

SECRET = "Winterbourne"
ROOMS = ("tasks.weighing", "tasks.collect", "tasks.send_batch", "tasks.departure")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the warnings of the run, from every module."""
    warnings: list[str] = []
    for room in ROOMS:
        monkeypatch.setattr(f"{room}.get_run_logger", lambda: RunLog(warnings))
    return warnings


async def test_a_failed_micro_batch_logs_its_error_calls_and_items(
    at: Connections, endpoint: Endpoint, sender: Sender, said: list[str]
) -> None:
    endpoint.fault("messages", "status", status=500, message="Internal server error")
    await sender.items("a", "b", "c", lane=Lane.REALTIME, realtime_pack=3)
    await answer(at)
    assert said == [
        "1 call of letters failed, with 3 items: the provider answered 500: Internal server error"
    ]


async def test_unusable_answers_are_logged_with_their_fault(
    at: Connections, endpoint: Endpoint, sender: Sender, said: list[str]
) -> None:
    endpoint.fault("messages", "invalid_output")
    await sender.items("a", "b", lane=Lane.REALTIME, realtime_pack=2)
    await answer(at)
    assert len(said) == 1
    assert said[0].startswith("2 answers of letters cannot be used: the pack has no list ")


async def test_a_refusal_that_quotes_its_input_is_logged_without_the_input(
    at: Connections, endpoint: Endpoint, sender: Sender, said: list[str]
) -> None:
    await sender.items(SECRET, lane=Lane.REALTIME)  # the payload contains the key
    endpoint.fault(
        "messages", "status", status=400, message=f"there is {SECRET} in it", match=SECRET
    )
    await answer(at)
    (only,) = said
    assert only.startswith("1 call of letters failed, with 1 item: the provider answered 400 (")
    assert SECRET not in only


async def test_a_repeated_failure_is_summed_up_and_logged_again_after_it_had_ended(
    at: Connections, endpoint: Endpoint, sender: Sender, said: list[str]
) -> None:
    log = FailureLog()
    down = FailureReport(
        "letters", "the provider answered 529: Overloaded (req_1)", items=1, calls=1
    )
    for _ in range(500):
        log.report([down])
    assert said == [down.sentence]
    log.report(
        [FailureReport("bills", down.error, 1, 1), FailureReport("letters", "no answer", 1, 1)]
    )
    assert len(said) == 3
    log.sum_up()
    assert said[3:] == [
        "again since then: 499 calls of letters failed, with 499 items: the provider answered 529: Overloaded (req_1)"
    ]
    log.sum_up()
    assert len(said) == 4
    log.report([down])
    assert said[4:] == [down.sentence]


async def test_a_collected_batch_with_failures_logs_how_many_and_which(
    at: Connections, endpoint: Endpoint, sender: Sender, said: list[str]
) -> None:
    await sender.items(*(f"k{n:02d}" for n in range(12)), lane=Lane.BATCH)
    endpoint.fault("batch_request", "expire", times=3)
    endpoint.fault(
        "batch_request", "status", status=400, message=f"there is {SECRET} in it", times=1
    )
    batch = await submit_and_end(at, endpoint)
    await collect.bring_home(at, batch)
    (only,) = said
    assert only.startswith(
        f"batch {batch.id} of letters came back, and 4 of its 12 items have no usable answer: "
        "3x expired: the batch expired before it ran; 1x poison: invalid_request_error ("
    )
    assert SECRET not in only


async def test_a_collected_batch_without_failures_logs_no_warning(
    at: Connections, endpoint: Endpoint, sender: Sender, said: list[str]
) -> None:
    await sender.items("a", lane=Lane.BATCH)
    await collect.bring_home(at, await submit_and_end(at, endpoint))
    assert said == []


async def test_a_refused_batch_logs_its_workload_and_its_number_of_items(
    at: Connections, endpoint: Endpoint, sender: Sender, said: list[str], nap: Nap
) -> None:
    endpoint.fault(
        "batches.create", "status", status=401, error_type="authentication_error", message="bad key"
    )
    await sender.items("a", "b", lane=Lane.BATCH)
    await send_waiting(at, None, sleep=nap)
    assert said[0].startswith(
        "batch 1 of letters with 2 items was refused, and its items are ready again: the provider"
    )


@pytest.mark.slow
async def test_every_attempt_and_every_batch_names_its_run(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    await sender.items("a", lane=Lane.REALTIME)
    await answer(at)
    await sender.items("b", lane=Lane.BATCH)
    await collect.bring_home(at, await submit_and_end(at, endpoint))
    assert await sender.rows("select distinct flow_run_id from lanes.attempt_log") == [
        (at.flow_run_id,)
    ]
    assert await sender.rows("select flow_run_id from lanes.batch_status") == [(at.flow_run_id,)]
