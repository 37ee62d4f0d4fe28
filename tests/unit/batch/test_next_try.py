"""Retries of a failed batch create: as soon as one may help, and never if only a person can fix the cause."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.batch.departure import AGAIN_AFTER, AGAIN_WITHIN, NotCreated, next_try
from lanes.provider.errors import Action, CallFailed, unforeseen

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)

chances = st.floats(0, 1)
waits = st.none() | st.floats(0, 1e6)


def tried(
    why: NotCreated, *, retry_after_s: float | None = None, chance: float = 0.5
) -> timedelta | None:
    at = next_try(why, retry_after_s=retry_after_s, listing_grace_s=900, chance=chance, now=NOON)
    return None if at is None else at - NOON


@given(waits, chances)
def test_a_busy_provider_is_retried_after_two_minutes_to_an_hour(
    after: float | None, chance: float
) -> None:
    wait = tried(NotCreated.FOR_NOW, retry_after_s=after, chance=chance)
    assert wait is not None
    assert AGAIN_AFTER <= wait <= AGAIN_WITHIN
    assert wait >= min(AGAIN_WITHIN, timedelta(seconds=after or 0))


@given(waits, chances)
def test_a_batch_that_may_exist_is_not_retried_before_the_listing_grace_has_ended(
    after: float | None, chance: float
) -> None:
    assert tried(NotCreated.MAYBE, retry_after_s=after, chance=chance) == timedelta(seconds=900)


@given(waits, chances)
def test_a_create_that_only_a_person_can_fix_is_not_retried(
    after: float | None, chance: float
) -> None:
    assert tried(NotCreated.FOR_GOOD, retry_after_s=after, chance=chance) is None


@pytest.mark.parametrize(
    ("failure", "meaning"),
    [
        (CallFailed(Action.SLOW_DOWN, "429", maybe_billed=False), NotCreated.FOR_NOW),
        (CallFailed(Action.SHED, "529", maybe_billed=False), NotCreated.FOR_NOW),
        (unforeseen(ConnectionRefusedError(), unsent=True), NotCreated.FOR_NOW),
        (unforeseen(TimeoutError()), NotCreated.MAYBE),
        (CallFailed(Action.RETRY, "500", maybe_billed=False), NotCreated.MAYBE),
        (CallFailed(Action.SHED, "529 after a lost answer", maybe_billed=True), NotCreated.MAYBE),
        *(
            (CallFailed(action, "no", maybe_billed=False), NotCreated.FOR_GOOD)
            for action in Action
            if action not in (Action.SLOW_DOWN, Action.SHED, Action.RETRY)
        ),
    ],
)
def test_a_failed_create_shows_whether_its_batch_may_exist(
    failure: CallFailed, meaning: NotCreated
) -> None:
    assert failure.as_create is meaning
