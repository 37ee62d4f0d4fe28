"""The buffer: who waits for whom, and for how long at most."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lanes.claims import Claim, Claimed
from lanes.ids import VersionId, WorkId
from lanes.realtime.buffer import Buffer
from lanes.words import Purpose
from tests.conftest import NOON, later
from tests.examples import version


def claimed(number: int, *, rank_at: datetime | None = None, failures: int = 0, alone: bool = False) -> Claimed:
    rank_at = rank_at or later(hours=1)
    return Claimed(
        Claim(WorkId(number), 1), VersionId(1), "letters", f"k{number}", {}, Purpose.ANSWER, failures, rank_at, alone=alone
    )


def test_without_a_window_items_leave_at_once() -> None:
    buffer, versions = Buffer(), {VersionId(1): version(buffer_s=0, realtime_pack=5)}
    assert len(buffer.add([claimed(1)], versions, NOON)) == 1
    assert len(buffer) == 0


def test_the_clock_starts_with_the_first_item_of_a_window() -> None:
    buffer, versions = Buffer(), {VersionId(1): version(buffer_s=2, realtime_pack=10)}
    buffer.add([claimed(1)], versions, later(seconds=10))
    buffer.add([claimed(2)], versions, later(seconds=11))
    assert buffer.next_leave(versions) == later(seconds=12)
    assert buffer.take(versions, later(seconds=11.9)) == []
    assert len(buffer.take(versions, later(seconds=12))) == 2


def test_a_full_pack_leaves_before_its_window_is_over() -> None:
    buffer, versions = Buffer(), {VersionId(1): version(buffer_s=5, realtime_pack=3)}
    buffer.add([claimed(1), claimed(2)], versions, NOON)
    assert buffer.take(versions, NOON) == []
    buffer.add([claimed(3)], versions, NOON)
    assert len(buffer.take(versions, NOON)) == 3


def test_a_pressing_item_takes_its_window_along_early() -> None:
    buffer, versions = Buffer(), {VersionId(1): version(buffer_s=5, realtime_pack=9)}
    buffer.add([claimed(1), claimed(2, rank_at=later(seconds=1))], versions, NOON)
    assert len(buffer.take(versions, later(seconds=1))) == 2


def test_what_failed_before_never_waits() -> None:
    buffer, versions = Buffer(), {VersionId(1): version(buffer_s=5)}
    assert len(buffer.add([claimed(1, failures=1)], versions, NOON)) == 1


def test_what_is_asked_alone_never_waits_for_others() -> None:
    buffer, versions = Buffer(), {VersionId(1): version(buffer_s=5)}
    assert len(buffer.add([claimed(1, alone=True)], versions, NOON)) == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 2), st.integers(0, 30)), max_size=30))
def test_nobody_waits_longer_than_the_window_and_nobody_is_lost(arrivals: list[tuple[int, int, int]]) -> None:
    buffer = Buffer()
    versions = {VersionId(1): version(1, buffer_s=2, realtime_pack=4), VersionId(2): version(2, buffer_s=0.5)}
    arrivals.sort()
    since: dict[int, datetime] = {}
    left: list[int] = []
    for second in range(26):
        now = later(seconds=second)
        for number, (at, version_id, rank) in enumerate(arrivals):
            if at == second:
                item = Claimed(
                    Claim(WorkId(number), 1),
                    VersionId(version_id),
                    "letters",
                    "k",
                    {},
                    Purpose.ANSWER,
                    0,
                    later(seconds=second + rank),
                )
                since[number] = now
                left += [each.claim.work_id for each in buffer.add([item], versions, now)]
        for each in buffer.take(versions, now):
            assert now - since[each.claim.work_id] <= timedelta(seconds=3)
            left.append(each.claim.work_id)
    assert sorted(left) == list(range(len(arrivals)))
    assert len(buffer) == 0


def test_what_gathers_when_a_drain_ends_comes_out_of_its_windows() -> None:
    buffer, versions = Buffer(), {VersionId(1): version(buffer_s=5, realtime_pack=9)}
    buffer.add([claimed(1), claimed(2)], versions, NOON)
    assert (buffer.of("letters"), buffer.of("others")) == (2, 0)
    assert [each.claim.work_id for each in buffer.drain()] == [1, 2]
    assert len(buffer) == 0
