"""The batch lane's health: its open incidents, and the batches that wait for a person."""

from dataclasses import dataclass

import pytest

from lanes.ids import BatchId, IncidentId
from lanes.promises.batches import health, trouble
from lanes.promises.incident import TERMS, Incident, IncidentState, Promise
from lanes.words import BatchState
from tests.examples import incident_of

NUMBER = BatchId(41)


@dataclass(frozen=True)
class BatchFields:
    state: BatchState = BatchState.COLLECTED
    batch_id: BatchId = NUMBER
    workload: str = "tickets"


def breach(
    promise: Promise, subject: str = "", *, state: IncidentState = IncidentState.OPEN
) -> Incident:
    unit = TERMS[promise].unit
    return incident_of(
        promise, "tickets", subject, id=IncidentId(1), uid="u", state=state, unit=unit
    )


@pytest.mark.parametrize(
    ("batch", "incidents", "wrong", "of_lane"),
    [
        (BatchFields(), [], None, "batch healthy"),
        (BatchFields(BatchState.HELD), [], "held", "1 batch held"),
        (
            BatchFields(BatchState.HELD),
            [breach(Promise.BATCH_UNCLEAR, "batch 41")],
            "batch needs a decision",
            "batch needs a decision",
        ),
        (BatchFields(BatchState.SUBMITTED), [], None, "batch healthy"),
        (BatchFields(BatchState.INTENDED), [], None, "batch healthy"),
        (
            BatchFields(),
            [breach(Promise.BATCH_SLOW, "batch 41")],
            "batch runs too long",
            "batch runs too long",
        ),
        (BatchFields(), [breach(Promise.BATCH_SLOW, "batch 4")], None, "batch runs too long"),
        (
            BatchFields(workload="letters"),
            [breach(Promise.BATCH_SLOW, "batch 41")],
            None,
            "batch runs too long",
        ),
        (
            BatchFields(),
            [breach(Promise.BATCH_SLOW, "batch 41", state=IncidentState.RESOLVED)],
            None,
            "batch healthy",
        ),
        (BatchFields(), [breach(Promise.BATCH_FAILING)], None, "batch items fail"),
        (
            BatchFields(),
            [breach(Promise.BATCH_FAILING), breach(Promise.BATCH_FAILING)],
            None,
            "batch items fail (2)",
        ),
        (BatchFields(), [breach(Promise.AUTHORITATIVE_FAILED)], None, "authoritative pass failed"),
        (
            BatchFields(),
            [breach(Promise.PROVIDER_FROZEN, "acme")],
            None,
            "the provider takes nothing",
        ),
        (BatchFields(), [breach(Promise.PROVIDER_DOWN, "acme")], None, "batch healthy"),
        (BatchFields(), [breach(Promise.REALTIME_SLOW)], None, "batch healthy"),
    ],
)
def test_a_batch_is_in_trouble_when_a_promise_is_broken_or_a_person_has_to_decide(
    batch: BatchFields, incidents: list[Incident], wrong: str | None, of_lane: str
) -> None:
    assert trouble(batch, incidents) == wrong
    assert health([batch], incidents) == of_lane


def test_work_that_never_left_is_reported_even_without_a_batch() -> None:
    assert health([], []) == "no batches"
    assert health([], [breach(Promise.BATCH_NEVER_STARTED)]) == "batch never started"
