"""Which answers have an event of their own."""

import pytest

from lanes.settling.settle import told_alone
from lanes.words import Announces, Lane


@pytest.mark.parametrize(
    ("announces", "of"),
    [
        (Announces.EACH, {Lane.REALTIME, Lane.BATCH}),
        (Announces.REALTIME, {Lane.REALTIME}),
        (Announces.SUMMARY, set()),
    ],
)
def test_a_workload_says_which_answers_are_told_one_by_one(
    announces: Announces, of: set[Lane]
) -> None:
    assert {lane for lane in Lane if told_alone(announces, lane, acknowledged=False)} == of


@pytest.mark.parametrize("announces", list(Announces))
@pytest.mark.parametrize("lane", list(Lane))
def test_an_item_that_asked_for_an_acknowledgement_has_its_answer_told_always(
    announces: Announces, lane: Lane
) -> None:
    assert told_alone(announces, lane, acknowledged=True)
