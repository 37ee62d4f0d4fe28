"""The event door's record of admitted, kept and missed events."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lanes.doors.stream import OVERLAP, SMALL, SPAN, Stream, find_unread_spans, span_start
from tests.conftest import NOON, later


@dataclass(frozen=True)
class StoredEvent:
    id: str
    occurred: datetime = NOON


def names(events: Iterable[StoredEvent]) -> list[str]:
    return [each.id for each in events]


A, B, C = StoredEvent("a"), StoredEvent("b"), StoredEvent("c")


def test_an_event_is_new_until_it_is_admitted() -> None:
    books = Stream[StoredEvent]()
    assert books.select_new([A, B]) == [A, B]
    books.record_admitted([A])
    assert books.select_new([A, B]) == [B]


def test_only_a_bounded_number_of_the_newest_ids_is_remembered() -> None:
    books = Stream[StoredEvent](remembered=2)
    many = [StoredEvent(str(number)) for number in range(100)]
    for number, each in enumerate(many):
        books.record_admitted([each])
        remembered = len(many[: number + 1]) - len(books.select_new(many[: number + 1]))
        assert min(number + 1, 2) <= remembered <= 4
        assert (
            books.select_new(many[number + 1 - min(number + 1, 2) : number + 1]) == []
        )  # the newest are remembered


def test_an_event_that_met_a_lock_is_kept_and_later_events_of_its_subject_wait() -> None:
    books = Stream[StoredEvent]()
    books.keep(A, "k")
    assert (books.select_new([A]), books.has_kept("k"), books.has_kept("other")) == (
        [],
        True,
        False,
    )
    books.keep(B, "k")
    books.keep(C, "other")
    assert [each for _, each in books.next_kept(5)] == [A, C]
    books.record_try("k", admitted=True)
    books.record_try("other", admitted=False)
    assert [each for _, each in books.next_kept(5)] == [B, C]
    books.record_try("k", admitted=False)
    assert [each for _, each in books.next_kept(1)] == [C]  # subjects take turns
    books.record_try("other", admitted=True)
    books.record_try("k", admitted=True)
    assert books.next_kept(5) == []
    assert not books.has_kept("k")
    assert books.select_new([A, B, C]) == []


def test_the_watermark_never_passes_a_kept_event_while_reading_continues() -> None:
    books = Stream[StoredEvent]()
    books.keep(StoredEvent("old", later(seconds=-40)), "k")
    until = books.read_until(later(minutes=9), later(minutes=9))
    assert (until, books.watermark(until)) == (later(minutes=9), later(seconds=-40))
    books.record_try("k", admitted=True)
    assert books.watermark(until) == later(minutes=9)


def test_reading_restarts_at_a_missed_event_until_it_must_have_been_stored() -> None:
    books = Stream[StoredEvent]()
    books.record_missed(StoredEvent("late", later(seconds=5)))
    books.record_missed(StoredEvent("early", later(seconds=2)))
    assert books.select_new([StoredEvent("early")]) != []
    ended = later(seconds=20)
    assert books.read_until(later(seconds=10), ended) == later(seconds=2)
    assert books.read_until(ended + OVERLAP / 2, later(minutes=2)) == later(seconds=2)
    assert books.read_until(ended + OVERLAP, later(minutes=2)) == ended + OVERLAP
    assert books.read_until(later(minutes=5), later(minutes=5)) == later(minutes=5)


def test_an_event_beyond_the_limit_of_kept_events_counts_as_missed() -> None:
    books = Stream[StoredEvent](most_kept=1)
    books.keep(A, "k")
    books.keep(B, "other")
    assert books.select_new([A, B]) == [B]
    assert books.read_until(later(hours=1), later(hours=1)) == NOON


def test_a_five_minute_span_is_unread_while_it_contains_more_events_than_were_read() -> None:
    assert span_start(later(minutes=4, seconds=59)) == NOON
    stored = {later(minutes=-10): 3, later(minutes=-15): 1, later(minutes=-20): 2}
    assert find_unread_spans(stored, {}, NOON) == [
        later(minutes=-10),
        later(minutes=-15),
        later(minutes=-20),
    ]
    assert find_unread_spans(
        stored, {later(minutes=-10): 3, later(minutes=-15): 2, later(minutes=-20): 1}, NOON
    ) == [later(minutes=-20)]


def test_an_unfinished_span_is_read_again_only_while_it_is_small() -> None:
    now = later(minutes=4)
    assert find_unread_spans({NOON: SMALL}, {}, now) == [NOON]
    assert find_unread_spans({NOON: SMALL + 1}, {}, now) == []
    assert find_unread_spans({NOON: SMALL + 1}, {}, NOON + SPAN + OVERLAP) == [NOON]


def test_a_span_has_unadmitted_events_if_one_is_kept_in_it_or_was_missed_before_its_end() -> None:
    books = Stream[StoredEvent]()
    books.keep(A, "k")
    assert books.has_unadmitted(NOON, later(minutes=5))
    assert not books.has_unadmitted(later(minutes=5), later(minutes=10))
    books.record_try("k", admitted=True)
    assert not books.has_unadmitted(NOON, later(minutes=5))
    books.record_missed(StoredEvent("lost", later(minutes=1)))
    assert [
        books.has_unadmitted(later(minutes=start), later(minutes=start + 5)) for start in (-5, 0, 5)
    ] == [False, True, True]
