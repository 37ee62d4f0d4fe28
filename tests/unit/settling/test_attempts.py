"""The outcome of an attempt for each item, on either lane, and the answers that have an event of their own."""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import pytest

from lanes.ids import WorkId
from lanes.packing import Claim
from lanes.settling import attempts
from lanes.settling.attempts import LOST, CallTimes
from lanes.settling.outcome import Judgment, Response
from lanes.settling.settle import is_announced_alone
from lanes.words import Announces, Lane, Outcome
from lanes.workload.prices import Usage
from tests.conftest import NOON, later
from tests.examples import version

CLAIMS = [Claim(WorkId(1), 1), Claim(WorkId(2), 1)]
TIMES = CallTimes(NOON, later(minutes=3))
IDS = ["one", "two"]


def said(text: str) -> Response:
    return Response("msg_1", "claude-haiku-5-5", text, "end_turn", Usage(input=100, output=20))


def outcomes(made: Sequence[attempts.Attempt]) -> list[Outcome]:
    return [each.judged.outcome for each in made]


def test_the_items_of_a_request_share_its_response_and_each_is_judged_by_its_own_answer() -> None:
    response = said('{"answers": [{"id": "two", "answer": {"category": "a"}}]}')
    made = attempts.build_for_request(version(), CLAIMS, response, TIMES, ids=IDS)
    assert outcomes(made) == [Outcome.INVALID, Outcome.VALID]
    assert [each.claim for each in made] == CLAIMS
    assert {each.response for each in made} == {response}
    assert {(each.started_at, each.ended_at, each.latency_ms) for each in made} == {
        (NOON, later(minutes=3), 180_000)
    }


def test_a_request_without_a_response_has_the_same_outcome_for_all_of_its_items() -> None:
    expired = Judgment(Outcome.EXPIRED, error="the batch expired before it ran")
    made = attempts.build_for_request(version(), CLAIMS, expired, TIMES, ids=IDS)
    assert [(each.judged, each.response) for each in made] == [(expired, None)] * 2


def test_an_answer_that_cannot_be_judged_is_invalid_and_paid_for() -> None:
    made = attempts.build_for_request(
        version(), CLAIMS, said(cast(str, None)), TIMES, ids=IDS
    )  # no text at all: an unforeseen case
    assert outcomes(made) == [Outcome.INVALID] * 2
    assert made[0].judged.error == "the answer cannot be judged: AttributeError"
    assert all(each.response is not None for each in made)


def test_an_item_without_a_result_is_missing_and_not_billed() -> None:
    (first, second) = attempts.build_missing(CLAIMS, started_at=NOON, now=NOON + timedelta(hours=1))
    assert (first.claim, second.claim) == tuple(CLAIMS)
    assert (first.judged, first.response, first.latency_ms) == (LOST, None, 0)
    assert first.ended_at - first.started_at == timedelta(hours=1)


@pytest.mark.parametrize(
    ("announces", "of"),
    [
        (Announces.EACH, {Lane.REALTIME, Lane.BATCH}),
        (Announces.REALTIME, {Lane.REALTIME}),
        (Announces.SUMMARY, set()),
    ],
)
def test_a_workloads_announces_setting_selects_the_answers_with_their_own_event(
    announces: Announces, of: set[Lane]
) -> None:
    assert {lane for lane in Lane if is_announced_alone(announces, lane, acknowledged=False)} == of


@pytest.mark.parametrize("announces", list(Announces))
@pytest.mark.parametrize("lane", list(Lane))
def test_an_item_with_an_acknowledgement_always_gets_its_own_answer_event(
    announces: Announces, lane: Lane
) -> None:
    assert is_announced_alone(announces, lane, acknowledged=True)
