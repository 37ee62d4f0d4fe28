"""A batch: its confirmation, the totals of its items, and the time that a run waits for a busy provider."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.batch.batch import AT_PROVIDER, COUNTED, UNCONFIRMED, OpenBatch, Tally, counts
from lanes.batch.departure import Patience
from lanes.ids import BatchId, VersionId
from lanes.words import FINISHED_BATCH, BatchState, Outcome
from tests.conftest import NOON

ELSEWHERE = {Outcome.GIVEN_UP}  # no request of a batch has this outcome
chances = st.floats(0, 1)


def batch(state: BatchState, *, unproved: bool = False) -> OpenBatch:
    return OpenBatch(
        BatchId(1),
        "nonce",
        "acme",
        "letters",
        VersionId(1),
        "claude-haiku-5-5",
        state,
        3,
        3,
        None,
        NOON,
        None,
        unproved=unproved,
    )


def test_every_state_but_superseded_says_whether_the_provider_has_the_batch() -> None:
    assert {*UNCONFIRMED, *AT_PROVIDER, *FINISHED_BATCH} == set(BatchState) - {
        BatchState.SUPERSEDED
    }


@pytest.mark.parametrize("state", BatchState)
def test_a_batch_is_unsure_until_the_provider_confirms_it_or_a_result_proves_it(
    state: BatchState,
) -> None:
    assert batch(state).unsure is (state in UNCONFIRMED)
    assert batch(state, unproved=True).unsure is (state in UNCONFIRMED or state in AT_PROVIDER)


def test_every_outcome_of_a_request_counts_under_one_column() -> None:
    assert COUNTED.keys() == set(Outcome) - ELSEWHERE
    assert counts(
        {Outcome.REFUSED: 2, Outcome.INVALID: 1, Outcome.VALID: 4, Outcome.GIVEN_UP: 9}
    ) == {"invalid": 3, "succeeded": 4}


def test_a_later_outcome_of_a_claim_reverses_the_earlier_one() -> None:
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
def test_a_tally_counts_surplus_and_wrong_outcomes(tally: Tally, surplus: int, wrong: int) -> None:
    assert (tally.surplus, tally.wrong) == (surplus, wrong)


@given(st.lists(st.tuples(st.none() | st.floats(0, 1e7), chances), max_size=30))
def test_the_pauses_of_a_run_never_add_up_to_more_than_its_patience(
    busy: list[tuple[float | None, float]],
) -> None:
    patience = Patience(60)
    pauses = [patience.pause(retry_after_s=after, chance=chance) for after, chance in busy]
    assert sum(pause or 0 for pause in pauses) <= 60.0001


@given(st.floats(0, 40), chances)
def test_a_pause_is_at_least_as_long_as_the_provider_says(after: float, chance: float) -> None:
    pause = Patience(60).pause(retry_after_s=after, chance=chance)
    assert pause is not None
    assert after <= pause


def test_pauses_double_up_to_a_bound_and_are_short_again_after_an_answer() -> None:
    patience = Patience(1_000)
    pauses = [patience.pause(retry_after_s=None, chance=0) for _ in range(6)]
    assert pauses == [2, 4, 8, 16, 30, 30]
    patience.record_answer()
    assert patience.pause(retry_after_s=None, chance=1) == 3


def test_a_retry_after_of_a_day_ends_the_run_without_a_pause() -> None:
    assert Patience(60).pause(retry_after_s=86_400, chance=0) is None
