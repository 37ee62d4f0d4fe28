"""How the items of a batch add up."""

import pytest

from lanes.batch.collection import COUNTED, Tally, counts
from lanes.words import Outcome

ELSEWHERE = {Outcome.GIVEN_UP}  # no request of a batch ends so


def test_every_outcome_of_a_request_counts_under_one_column() -> None:
    assert COUNTED.keys() == set(Outcome) - ELSEWHERE
    assert counts(
        {Outcome.REFUSED: 2, Outcome.INVALID: 1, Outcome.VALID: 4, Outcome.GIVEN_UP: 9}
    ) == {
        "invalid": 3,
        "succeeded": 4,
    }


def test_a_later_outcome_of_a_claim_takes_the_earlier_one_back() -> None:
    assert counts({Outcome.VALID: 1, Outcome.MISSING: -1}) == {"succeeded": 1, "missing": -1}


@pytest.mark.parametrize(
    ("tally", "surplus", "wrong"),
    [
        (Tally(3, 3, 0), 0, 0),
        (Tally(3, 3, 2), 0, 2),
        (Tally(3, 4, 0), 1, 1),
        (Tally(3, 1, 1), -2, 3),
    ],
)
def test_a_batch_is_whole_when_every_item_has_one_outcome_from_a_result_of_its_own(
    tally: Tally, surplus: int, wrong: int
) -> None:
    assert (tally.surplus, tally.wrong) == (surplus, wrong)
