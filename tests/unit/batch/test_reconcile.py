"""What became of a batch whose create ended without an answer: adopted once, never guessed."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.batch.reconcile import (
    MARGIN,
    BatchFinding,
    FoundBatch,
    ListedBatch,
    LostCreate,
    find,
    over_at,
    span,
)
from tests.conftest import NOON, later

GRACE = timedelta(minutes=15)
INSTANT = timedelta(microseconds=1)
OVER = later(minutes=1)  # when the create ended


def listed(id: str = "msgbatch_1", requests: int = 40, created_at: datetime = NOON) -> ListedBatch:
    return ListedBatch(id, requests, created_at)


def found(
    *batches: ListedBatch,
    taken: set[str] | None = None,
    now: datetime = OVER + GRACE,
    ahead: timedelta = timedelta(0),
    held: bool = False,
) -> FoundBatch:
    return find(
        LostCreate(40, NOON, OVER, held), batches, taken or set(), grace=GRACE, ahead=ahead, now=now
    )


def test_the_one_batch_that_fits_is_adopted_once_the_grace_period_is_over() -> None:
    others = listed("msgbatch_2", requests=41), listed("msgbatch_3", created_at=later(minutes=-3))
    assert found(*others, listed()) == FoundBatch(BatchFinding.ADOPT, "msgbatch_1")
    assert found(*others, listed(), now=later(hours=1)) == FoundBatch(
        BatchFinding.ADOPT, "msgbatch_1"
    )


@pytest.mark.parametrize(
    "odd",
    [ListedBatch("odd", None, NOON), ListedBatch("odd", 40, None), ListedBatch("odd", None, None)],
)
def test_a_listed_batch_that_does_not_say_what_it_is_may_be_ours_and_nothing_is_released_beside_it(
    odd: ListedBatch,
) -> None:
    assert found(odd) == FoundBatch(
        BatchFinding.ADOPT, "odd"
    )  # until its results prove it another's
    assert found(odd, listed()) == FoundBatch(BatchFinding.HOLD)
    assert found(odd, taken={"odd"}) == FoundBatch(BatchFinding.RELEASE)
    assert found(ListedBatch("odd", 41, None)) == FoundBatch(BatchFinding.RELEASE)


def test_a_strangers_batch_that_fits_is_not_adopted_while_ours_may_still_appear() -> None:
    assert found(listed("stranger"), now=OVER + GRACE - INSTANT) == FoundBatch(BatchFinding.WAIT)
    assert found(listed("stranger"), listed("ours"), now=OVER + GRACE - INSTANT) == FoundBatch(
        BatchFinding.HOLD
    )


def test_the_grace_period_runs_from_the_end_of_the_create() -> None:
    assert found(now=NOON + GRACE) == FoundBatch(BatchFinding.WAIT)
    assert found(now=OVER + GRACE - INSTANT) == FoundBatch(BatchFinding.WAIT)
    assert found(now=OVER + GRACE) == FoundBatch(BatchFinding.RELEASE)


def test_a_create_is_over_when_its_submitter_saw_it_end_and_else_after_the_longest_create() -> None:
    longest = timedelta(minutes=10)
    assert over_at(NOON, later(seconds=61), longest=longest) == later(seconds=61)
    assert over_at(NOON, None, longest=longest) == later(minutes=10)


def test_a_batch_that_is_somebody_elses_is_never_adopted() -> None:
    assert found(listed(), taken={"msgbatch_1"}) == FoundBatch(BatchFinding.RELEASE)
    assert found(listed(), listed("msgbatch_2"), taken={"msgbatch_1"}) == FoundBatch(
        BatchFinding.ADOPT, "msgbatch_2"
    )


def test_a_batch_created_before_the_intent_or_long_after_the_create_is_none_of_ours() -> None:
    within = span(LostCreate(40, NOON, OVER), grace=GRACE, ahead=timedelta(0))
    assert (within.first, within.last) == (NOON - MARGIN, OVER + GRACE + MARGIN)
    for moment in (within.first, within.last):
        assert found(listed(created_at=moment), now=later(days=3)).finding is BatchFinding.ADOPT
    for moment in (within.first - INSTANT, within.last + INSTANT):
        assert found(listed(created_at=moment), now=later(days=3)).finding is BatchFinding.RELEASE


@pytest.mark.parametrize("minutes", [-3, 3, 90])
def test_times_are_compared_in_the_providers_clock(minutes: int) -> None:
    ahead = timedelta(minutes=minutes)
    assert found(listed(created_at=NOON + ahead), ahead=ahead) == FoundBatch(
        BatchFinding.ADOPT, "msgbatch_1"
    )


def test_several_batches_that_fit_are_a_persons_to_decide() -> None:
    for now in (NOON, later(hours=1)):
        assert found(listed(), listed("msgbatch_2"), now=now) == FoundBatch(BatchFinding.HOLD)


def test_the_search_for_a_held_batch_goes_on_and_never_releases_its_work() -> None:
    assert found(listed(), held=True) == FoundBatch(BatchFinding.ADOPT, "msgbatch_1")
    assert found(held=True, now=later(days=3)) == FoundBatch(BatchFinding.HOLD)


batches = st.lists(
    st.builds(
        ListedBatch,
        st.sampled_from("abcdef"),
        st.sampled_from([39, 40]),
        st.integers(-25, 25).map(lambda m: later(minutes=m)),
    ),
    max_size=6,
    unique_by=lambda batch: batch.id,
)


@given(
    batches,
    st.sets(st.sampled_from("abcdef")),
    st.integers(0, 30),
    st.integers(-9, 9),
    st.booleans(),
)
def test_nothing_is_released_while_a_batch_fits_and_nothing_is_adopted_that_does_not(
    seen: list[ListedBatch], taken: set[str], minutes: int, ahead_minutes: int, held: bool
) -> None:
    now, ahead = later(minutes=minutes), timedelta(minutes=ahead_minutes)
    told = found(*seen, taken=taken, now=now, ahead=ahead, held=held)
    first, last = NOON + ahead - MARGIN, OVER + GRACE + ahead + MARGIN
    fitting = {
        b.id for b in seen if b.requests == 40 and b.created_at and first <= b.created_at <= last
    } - taken
    assert (told.batch_id is not None) == (told.finding is BatchFinding.ADOPT)
    match told.finding:
        case BatchFinding.ADOPT:
            assert fitting == {told.batch_id}
            assert now >= OVER + GRACE
        case BatchFinding.HOLD:
            assert len(fitting) > 1 or (held and not fitting)
        case BatchFinding.WAIT:
            assert now < OVER + GRACE
        case BatchFinding.RELEASE:
            assert not fitting
            assert not held
            assert now >= OVER + GRACE
