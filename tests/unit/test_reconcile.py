"""What became of a batch whose create ended without an answer: adopted once, never guessed."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lanes.reconcile import SKEW, Finding, Found, Listed, find, since
from tests.conftest import NOON, later

GRACE = timedelta(minutes=15)


def listed(id: str = "msgbatch_1", requests: int = 40, created_at: datetime = NOON) -> Listed:
    return Listed(id, requests, created_at)


def found(*batches: Listed, owned: set[str] | None = None, now: datetime = NOON) -> Found:
    return find(40, NOON, batches, owned or set(), grace=GRACE, now=now)


def test_the_one_batch_that_fits_is_adopted_at_once_and_after_the_grace_period() -> None:
    others = listed("msgbatch_2", requests=41), listed("msgbatch_3", created_at=later(minutes=-3))
    for now in (NOON, later(hours=1)):
        assert found(*others, listed(), now=now) == Found(Finding.ADOPT, "msgbatch_1")


def test_a_batch_somebody_owns_is_never_adopted() -> None:
    assert found(listed(), owned={"msgbatch_1"}) == Found(Finding.WAIT)
    assert found(listed(), listed("msgbatch_2"), owned={"msgbatch_1"}) == Found(Finding.ADOPT, "msgbatch_2")


def test_a_batch_created_before_the_intent_is_none_of_ours_but_clocks_may_differ() -> None:
    assert since(NOON) == NOON - SKEW
    assert found(listed(created_at=NOON - SKEW)).finding is Finding.ADOPT
    assert found(listed(created_at=NOON - SKEW - timedelta(microseconds=1))).finding is Finding.WAIT


def test_several_batches_that_fit_are_a_persons_to_decide() -> None:
    for now in (NOON, later(hours=1)):
        assert found(listed(), listed("msgbatch_2"), now=now) == Found(Finding.HOLD)


def test_absence_proves_nothing_until_the_grace_period_is_over() -> None:
    assert found(now=NOON + GRACE - timedelta(microseconds=1)) == Found(Finding.WAIT)
    assert found(now=NOON + GRACE) == Found(Finding.RELEASE)


batches = st.lists(
    st.builds(
        Listed, st.sampled_from("abcdef"), st.sampled_from([39, 40]), st.integers(-5, 5).map(lambda m: later(minutes=m))
    ),
    max_size=6, unique_by=lambda batch: batch.id,
)  # fmt: skip


@given(batches, st.sets(st.sampled_from("abcdef")), st.integers(0, 30))
def test_nothing_is_released_while_a_batch_fits_and_nothing_is_adopted_that_does_not(
    seen: list[Listed], owned: set[str], minutes: int
) -> None:
    told = found(*seen, owned=owned, now=later(minutes=minutes))
    fitting = {b.id for b in seen if b.requests == 40 and b.created_at >= since(NOON)} - owned
    assert (told.batch_id is not None) == (told.finding is Finding.ADOPT)
    match told.finding:
        case Finding.ADOPT:
            assert fitting == {told.batch_id}
        case Finding.HOLD:
            assert len(fitting) > 1
        case Finding.WAIT | Finding.RELEASE:
            assert not fitting
