"""Batches whose create had no answer are adopted once, never guessed; request labels let a restored database find work."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.batch.reconcile import (
    MARGIN,
    BatchFinding,
    FoundBatch,
    ListedBatch,
    LostCreate,
    create_end,
    digest,
    find,
    read_label,
    span,
    write_label,
)
from lanes.ids import VersionId, WorkId
from lanes.packing import Claim, ClaimedWork
from lanes.provider.batches import CUSTOM_ID, custom_id
from lanes.words import Purpose
from tests.conftest import NOON, later

GRACE = timedelta(minutes=15)
INSTANT = timedelta(microseconds=1)
OVER = later(minutes=1)  # when the create ended
NONCE, TAG = "0123456789abcdef", b"ab"
NUMBERS = st.integers(1, 2**40)
AT = datetime(2026, 11, 24, tzinfo=UTC)


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


def test_the_only_matching_batch_is_adopted_after_the_grace_period() -> None:
    others = listed("msgbatch_2", requests=41), listed("msgbatch_3", created_at=later(minutes=-3))
    assert found(*others, listed()) == FoundBatch(BatchFinding.ADOPT, "msgbatch_1")
    assert found(*others, listed(), now=later(hours=1)) == FoundBatch(
        BatchFinding.ADOPT, "msgbatch_1"
    )


@pytest.mark.parametrize(
    "odd",
    [ListedBatch("odd", None, NOON), ListedBatch("odd", 40, None), ListedBatch("odd", None, None)],
)
def test_a_listed_batch_with_missing_details_may_be_ours_and_prevents_a_release(
    odd: ListedBatch,
) -> None:
    assert found(odd) == FoundBatch(
        BatchFinding.ADOPT, "odd"
    )  # until its results prove that it is not ours
    assert found(odd, listed()) == FoundBatch(BatchFinding.HOLD)
    assert found(odd, taken={"odd"}) == FoundBatch(BatchFinding.RELEASE)
    assert found(ListedBatch("odd", 41, None)) == FoundBatch(BatchFinding.RELEASE)


def test_a_matching_foreign_batch_is_not_adopted_before_the_grace_period_has_ended() -> None:
    assert found(listed("stranger"), now=OVER + GRACE - INSTANT) == FoundBatch(BatchFinding.WAIT)
    assert found(listed("stranger"), listed("ours"), now=OVER + GRACE - INSTANT) == FoundBatch(
        BatchFinding.HOLD
    )


def test_the_grace_period_runs_from_the_end_of_the_create() -> None:
    assert found(now=NOON + GRACE) == FoundBatch(BatchFinding.WAIT)
    assert found(now=OVER + GRACE - INSTANT) == FoundBatch(BatchFinding.WAIT)
    assert found(now=OVER + GRACE) == FoundBatch(BatchFinding.RELEASE)


def test_a_create_ends_when_its_submitter_saw_the_end_or_else_after_the_longest_create() -> None:
    longest = timedelta(minutes=10)
    assert create_end(NOON, later(seconds=61), longest=longest) == later(seconds=61)
    assert create_end(NOON, None, longest=longest) == later(minutes=10)


def test_a_batch_that_is_already_taken_is_never_adopted() -> None:
    assert found(listed(), taken={"msgbatch_1"}) == FoundBatch(BatchFinding.RELEASE)
    assert found(listed(), listed("msgbatch_2"), taken={"msgbatch_1"}) == FoundBatch(
        BatchFinding.ADOPT, "msgbatch_2"
    )


def test_a_batch_created_before_the_intent_or_long_after_the_create_is_not_ours() -> None:
    within = span(LostCreate(40, NOON, OVER), grace=GRACE, ahead=timedelta(0))
    assert (within.first, within.last) == (NOON - MARGIN, OVER + GRACE + MARGIN)
    for moment in (within.first, within.last):
        assert found(listed(created_at=moment), now=later(days=3)).finding is BatchFinding.ADOPT
    for moment in (within.first - INSTANT, within.last + INSTANT):
        assert found(listed(created_at=moment), now=later(days=3)).finding is BatchFinding.RELEASE


@pytest.mark.parametrize("minutes", [-3, 3, 90])
def test_times_are_compared_on_the_providers_clock(minutes: int) -> None:
    ahead = timedelta(minutes=minutes)
    assert found(listed(created_at=NOON + ahead), ahead=ahead) == FoundBatch(
        BatchFinding.ADOPT, "msgbatch_1"
    )


def test_several_matching_batches_are_held_for_a_person() -> None:
    for now in (NOON, later(hours=1)):
        assert found(listed(), listed("msgbatch_2"), now=now) == FoundBatch(BatchFinding.HOLD)


def test_the_search_for_a_held_batch_continues_and_never_releases_its_work() -> None:
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
def test_nothing_is_released_while_a_batch_matches_and_only_a_matching_batch_is_adopted(
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


def work(number: int, version: int = 1, key: str = "k", text: str = "t") -> ClaimedWork:
    claim = Claim(WorkId(number), 1)
    payload = {"text": text}
    return ClaimedWork(claim, VersionId(version), "letters", key, payload, Purpose.ANSWER, 0, AT)


@given(st.lists(NUMBERS, min_size=1, max_size=30), NUMBERS, st.integers(0, 99_999))
def test_a_label_names_the_work_of_its_request_if_the_custom_id_has_room(
    numbers: list[int], version: int, number: int
) -> None:
    pack = [work(each, version) for each in numbers]
    label = write_label(TAG, pack)
    name = custom_id(NONCE, number, label)
    assert len(name) <= 64
    match = CUSTOM_ID.fullmatch(name)
    assert match is not None
    assert (match["nonce"], int(match["number"])) == (NONCE, number)
    if label:
        read = read_label(match["label"])
        assert read is not None
        assert (read.version_id, [*read.work_ids]) == (version, numbers)
        assert (read.version, read.digest) == (TAG, digest(pack))


def test_a_label_has_room_for_a_pack_of_twelve_neighboring_ids_in_the_millions() -> None:
    assert write_label(TAG, [work(7_000_000 + 5 * each, 300) for each in range(12)])


@given(st.text("abcXYZ019_-", max_size=41))
def test_any_text_is_read_as_a_label_with_work_ids_or_as_none(label: str) -> None:
    read = read_label(label)
    assert read is None or read.work_ids


def test_another_item_with_the_same_work_id_has_another_digest() -> None:
    told = {digest([work(1)]), digest([work(1, key="k2")]), digest([work(1, text="t2")])}
    assert len(told) == 3
