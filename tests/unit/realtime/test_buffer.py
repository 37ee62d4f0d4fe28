"""The buffer: the items that wait for each other, their longest wait, and the timeout of a call."""

import random
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId, WorkId
from lanes.packing import Claim, ClaimedWork, packs
from lanes.realtime.buffer import UNSURE, Buffer, ServiceTimes
from lanes.realtime.pace import (
    FIRST_TOKEN_S,
    LEASE,
    LONGEST_S,
    MOST_PATIENCE,
    RENEW_EVERY,
    RENEWED_WITHIN_S,
    longest_call_s,
)
from lanes.words import FlushReason, Purpose
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import version

ONE = VersionId(1)
tokens = st.integers(16, 50 * 32_032)


def claimed(
    number: int,
    *,
    rank_at: datetime | None = None,
    failures: int = 0,
    alone: bool = False,
    of: int = 1,
    purpose: Purpose = Purpose.ANSWER,
    urgent: bool = False,
    due_at: datetime | None = None,
    consumer: str | None = None,
) -> ClaimedWork:
    rank_at = rank_at or later(hours=1)
    return ClaimedWork(
        Claim(WorkId(number), 1),
        VersionId(of),
        "letters",
        f"k{number}",
        {},
        purpose,
        failures,
        rank_at,
        alone=alone,
        urgent=urgent,
        due_at=due_at,
        consumer=consumer,
    )


def windows(size: int | None = None, **fields: Any) -> tuple[Buffer, dict[VersionId, Version]]:
    """Return a buffer and the version of its items; `size` is the number of items that may share a call by evidence."""
    buffer = Buffer() if size is None else Buffer(lambda _: size)
    return buffer, {ONE: version(**fields)}


def busy(per_s: float, **fields: Any) -> tuple[Buffer, dict[VersionId, Version], datetime]:
    """Return a buffer after half a minute of arrivals, each in a window of its own, its versions, and the time afterwards."""
    buffer, versions = windows(**fields)
    for number in range(round(30 * per_s)):
        buffer.add([claimed(10_000 + number)], versions, later(seconds=number / per_s))
        buffer.drain()
    return buffer, versions, later(seconds=30)


def left(taken: list[ClaimedWork]) -> list[tuple[int, FlushReason, int]]:
    """Return the work, the flush reason and the wait in milliseconds of each item that left."""
    return [
        (each.claim.work_id, each.gathered.left, each.gathered.ms)
        for each in taken
        if each.gathered is not None
    ]


def test_without_a_window_items_leave_at_once() -> None:
    buffer, versions = windows(buffer_s=0, realtime_pack=5)
    assert len(buffer.add([claimed(1)], versions, NOON)) == 1
    assert len(buffer) == 0


def test_items_wait_for_the_whole_window_of_the_first_while_the_arrival_rate_is_unknown() -> None:
    buffer, versions = windows(buffer_s=2, realtime_pack=10)
    buffer.add([claimed(1), claimed(2)], versions, later(seconds=10))
    assert buffer.next_leave(versions) == later(seconds=12)
    assert buffer.take(versions, later(seconds=11.9)) == []
    assert left(buffer.take(versions, later(seconds=12))) == [
        (1, FlushReason.OVER, 2_000),
        (2, FlushReason.OVER, 2_000),
    ]


def test_a_full_pack_leaves_before_its_window_ends() -> None:
    buffer, versions = windows(buffer_s=5, realtime_pack=3)
    buffer.add([claimed(1), claimed(2)], versions, NOON)
    assert buffer.take(versions, NOON) == []
    buffer.add([claimed(3)], versions, NOON)
    assert left(buffer.take(versions, NOON)) == [(n, FlushReason.FULL, 0) for n in (1, 2, 3)]


def test_a_full_pack_takes_the_most_urgent_items_and_the_others_stay_buffered() -> None:
    buffer, versions = windows(buffer_s=5, realtime_pack=2)
    buffer.add(
        [claimed(1), claimed(2, rank_at=later(minutes=1)), claimed(3, rank_at=later(minutes=2))],
        versions,
        NOON,
    )
    assert [each.claim.work_id for each in buffer.take(versions, NOON)] == [2, 3]
    assert (len(buffer), buffer.next_leave(versions)) == (1, later(seconds=5))


def test_a_pressing_item_makes_its_whole_window_leave_early() -> None:
    buffer, versions = windows(buffer_s=5, realtime_pack=9)
    buffer.add([claimed(1), claimed(2, rank_at=later(seconds=1))], versions, NOON)
    assert left(buffer.take(versions, later(seconds=1))) == [
        (1, FlushReason.PRESSED, 1_000),
        (2, FlushReason.PRESSED, 1_000),
    ]


def test_a_pack_leaves_early_enough_for_its_call_to_end_by_the_first_due_time() -> None:
    due, versions = later(seconds=20), {ONE: version(buffer_s=5, realtime_pack=9)}
    buffer = Buffer(takes=lambda _, items: 10.0 + 3 * items)
    for number in range(2):
        buffer.add(
            [claimed(number, rank_at=due - timedelta(seconds=2))._replace(due_at=due)],
            versions,
            NOON,
        )
    assert buffer.next_leave(versions) == later(seconds=4)
    (first, _) = buffer.take(versions, later(seconds=4))
    assert first.gathered is not None
    assert first.gathered.left is FlushReason.PRESSED


def test_urgent_items_wait_until_their_window_ends_or_their_due_time_requires_the_call() -> None:
    buffer, versions = windows(buffer_s=5, realtime_pack=9)
    buffer.add([claimed(1, urgent=True)], versions, NOON)
    assert buffer.next_leave(versions) == later(seconds=5)
    buffer.add([claimed(2, urgent=True, due_at=later(seconds=3))], versions, NOON)
    assert buffer.next_leave(versions) == later(seconds=1)


def test_an_item_leaves_at_once_if_no_other_item_is_expected_within_the_window() -> None:
    buffer, versions, now = busy(0.1, buffer_s=5, realtime_pack=9)
    buffer.add([claimed(1)], versions, now)
    assert left(buffer.take(versions, now)) == [(1, FlushReason.HOPELESS, 0)]


def test_a_waiting_item_leaves_one_mean_gap_before_the_end_of_the_window() -> None:
    buffer, versions, now = busy(2, buffer_s=3, realtime_pack=20)
    buffer.add([claimed(1)], versions, now)
    leaves = buffer.next_leave(versions)
    assert leaves is not None
    assert (leaves - now).total_seconds() == pytest.approx(2.5, abs=0.05)
    assert left(buffer.take(versions, leaves))[0][1] is FlushReason.HOPELESS


def test_an_item_leaves_soon_if_a_busy_stream_stops() -> None:
    buffer, versions, now = busy(20, buffer_s=5, realtime_pack=50)
    buffer.add([claimed(1)], versions, now)
    assert buffer.next_leave(versions) == now + timedelta(seconds=0.5)


def test_items_do_not_wait_if_evidence_limits_packs_to_one_item() -> None:
    buffer, versions = windows(1, buffer_s=5, realtime_pack=9)
    assert len(buffer.add([claimed(1)], versions, NOON)) == 1


def test_a_workload_with_single_item_calls_still_uses_its_window() -> None:
    buffer, versions = windows(buffer_s=2, realtime_pack=1)
    buffer.add([claimed(1), claimed(2)], versions, NOON)
    assert buffer.take(versions, later(seconds=1)) == []
    assert len(buffer.take(versions, later(seconds=2))) == 2


def test_retries_lone_items_and_shadows_never_wait_for_other_items() -> None:
    buffer, versions = windows(buffer_s=5, realtime_pack=9)
    some = [claimed(1, failures=1), claimed(2, alone=True), claimed(3, purpose=Purpose.SHADOW)]
    assert buffer.add(some, versions, NOON) == some


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 2), st.integers(0, 300), st.integers(1, 9)),
    min_size=1,
    max_size=30,
)


@given(ARRIVALS, st.integers(1, 6), st.floats(0.1, 5))
def test_items_leave_by_their_window_and_rank_none_is_lost_and_packs_keep_their_largest_size(
    arrivals: list[tuple[int, int, int, int]], size: int, buffer_s: float
) -> None:
    """Replay arrivals: a time and a rank after it, both in tenths of a second, a version, and a number of items."""
    versions = {
        ONE: version(1, buffer_s=buffer_s, realtime_pack=8),
        VersionId(2): version(2, buffer_s=0.5, realtime_pack=3),
    }
    buffer = Buffer(lambda of: min(size, of.spec.realtime_pack))
    since: dict[int, datetime] = {}
    ranks: dict[int, datetime] = {}
    seen: list[int] = []
    moments = sorted(later(seconds=at / 10) for at, *_ in arrivals)

    def leave(now: datetime) -> None:
        taken = buffer.take(versions, now)
        for of, each in ((versions[each.version_id], each) for each in taken):
            waited = now - since[each.claim.work_id]
            assert waited <= timedelta(seconds=of.spec.buffer_s) + timedelta(milliseconds=1)
            assert waited == timedelta(0) or now <= max(
                ranks[each.claim.work_id], since[each.claim.work_id]
            )
            assert each.gathered is not None
            assert each.gathered.ms == round(waited.total_seconds() * 1000)
            seen.append(each.claim.work_id)
        assert all(len(pack) <= size for pack in packs(taken, size))

    def run_until(moment: datetime) -> None:
        """Let every window leave at the time that it named, as the drain's loop does."""
        while (leaves := buffer.next_leave(versions)) is not None and leaves < moment:
            leave(leaves)

    number = 0
    for (_, of, rank, many), now in zip(sorted(arrivals), moments, strict=True):
        run_until(now)
        some = [
            claimed(number + n, of=of, rank_at=now + timedelta(seconds=rank / 10))
            for n in range(many)
        ]
        number += many
        since |= {each.claim.work_id: now for each in some}
        ranks |= {each.claim.work_id: each.rank_at for each in some}
        seen += [each.claim.work_id for each in buffer.add(some, versions, now)]
        leave(now)
    run_until(later(hours=1))
    assert sorted(seen) == list(range(number))
    assert len(buffer) == 0


def test_consumers_that_may_not_share_a_call_have_separate_windows() -> None:
    buffer, versions = windows(buffer_s=5, realtime_pack=2, pack_scope="consumer")
    buffer.add(
        [claimed(1, consumer="crm"), claimed(2, consumer="shop"), claimed(3)], versions, NOON
    )
    assert buffer.take(versions, NOON) == []
    buffer.add([claimed(4, consumer="crm")], versions, NOON)
    assert [each.claim.work_id for each in buffer.take(versions, NOON)] == [1, 4]
    assert (buffer.version_ids, len(buffer)) == ({ONE}, 2)
    assert {each.claim.work_id for each in buffer.take(versions, later(seconds=5))} == {2, 3}


def test_the_buffer_stores_the_arrival_rates_of_a_limited_number_of_consumers() -> None:
    _, versions = windows(buffer_s=1, realtime_pack=2, pack_scope="consumer")
    buffer = Buffer(most_groups=10)
    for number in range(100):
        buffer.add([claimed(number, consumer=f"c{number}")], versions, later(seconds=number))
        buffer.take(versions, later(seconds=number + 1))
    assert len(buffer._arrivals) == 10


def test_draining_the_buffer_returns_all_buffered_items_and_empties_it() -> None:
    buffer, versions = windows(buffer_s=5, realtime_pack=9)
    buffer.add([claimed(1), claimed(2)], versions, NOON)
    assert (buffer.of("letters"), buffer.of("others")) == (2, 0)
    assert [each.claim.work_id for each in buffer.drain()] == [1, 2]
    assert len(buffer) == 0


def waited_and_packed(
    per_s: float, *, buffer_s: float, size: int, most: int
) -> tuple[float, float, float, float]:
    """Return the mean wait of an item in seconds and the mean pack size: of the buffer, then of a window of fixed length.

    The arrivals are a Poisson stream of an hour, with at least 2,000 and at most `most` arrivals.
    """
    drawn = random.Random(7)
    arrivals = [0.0]
    while (arrivals[-1] < 3_600 or len(arrivals) < 2_000) and len(arrivals) < most:
        arrivals.append(arrivals[-1] + drawn.expovariate(per_s))
    buffer, versions = windows(buffer_s=buffer_s, realtime_pack=size)
    waits, made = [0.0], [0]

    def leave(now: datetime) -> None:
        taken = buffer.take(versions, now)
        waits.extend(each.gathered.ms / 1_000 for each in taken if each.gathered is not None)
        made.extend(map(len, packs(taken, size)))

    for number, at in enumerate(arrivals):
        while (leaves := buffer.next_leave(versions)) is not None and leaves < later(seconds=at):
            leave(leaves)
        buffer.add([claimed(number)], versions, later(seconds=at))
        leave(later(seconds=at))
    fixed, fixed_packs, gathering = [0.0], [0], list[float]()
    for at, following in pairwise([*arrivals, float("inf")]):
        gathering.append(at)
        ends = at if len(gathering) == size else gathering[0] + buffer_s
        if len(gathering) == size or following > ends:
            fixed.extend(ends - each for each in gathering)
            fixed_packs.append(len(gathering))
            gathering = []
    return (
        sum(waits) / (len(waits) - 1),
        sum(made) / (len(made) - 1),
        sum(fixed) / (len(fixed) - 1),
        sum(fixed_packs) / (len(fixed_packs) - 1),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("per_s", "most_of_the_fixed_wait", "least_of_the_fixed_pack"),
    [
        (0.05, 0.01, 0.85),
        (0.2, 0.02, 0.6),
        (1, 0.75, 0.75),
        (5, 0.96, 0.93),
        (10, 1.0, 0.99),
        (50, 1.0, 0.999),
    ],
)
@pytest.mark.parametrize("most", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_the_buffer_waits_less_than_fixed_windows_at_low_rates_and_packs_as_well_at_high_rates(
    per_s: float, most_of_the_fixed_wait: float, least_of_the_fixed_pack: float, most: int
) -> None:
    """Compare the buffer with a fixed window of 3 s and packs of 20.

    At 0.05 items a second the wait is 0.002 s instead of 2.8 s, with packs of 1.0 instead of 1.2. At 0.2 a second: 0.04 s
    instead of 2.4 s, 1.0 instead of 1.6. At 1 a second: 1.4 s instead of 1.9 s, 3.1 instead of 4.1. At 10 and 50: the same.
    """
    wait, pack, fixed_wait, fixed_pack = waited_and_packed(per_s, buffer_s=3, size=20, most=most)
    assert wait <= fixed_wait * most_of_the_fixed_wait + 0.001
    assert pack >= fixed_pack * least_of_the_fixed_pack


ONE, TWO = VersionId(1), VersionId(2)


def learned(*calls: tuple[int, float], of: VersionId = ONE) -> ServiceTimes:
    times = ServiceTimes()
    for items, seconds in calls:
        times.record_answer(of, items, seconds)
    return times


def test_the_time_of_an_unseen_call_size_is_on_the_line_through_the_observed_sizes() -> None:
    times = learned(*[(1, 1.5), (3, 2.5), (5, 3.5)] * 10)
    assert [times.takes_s(ONE, items) / UNSURE for items in (1, 4, 20)] == pytest.approx(
        [1.5, 3, 11]
    )


def test_the_expected_time_of_a_version_without_calls_is_zero() -> None:
    assert learned((4, 9.0)).takes_s(TWO, 4) == 0


def test_calls_of_one_size_predict_their_mean_time_for_every_size() -> None:
    assert learned((4, 9.0), (4, 11.0)).takes_s(ONE, 20) / UNSURE == pytest.approx(10, abs=0.1)


def test_old_call_times_fade() -> None:
    times = learned(*[(4, 30.0)] * 50, *[(4, 2.0)] * 300)
    assert times.takes_s(ONE, 4) / UNSURE == pytest.approx(2, abs=0.1)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 600)), min_size=1, max_size=50),
    st.integers(1, 50),
)
def test_the_expected_call_time_is_never_negative_and_never_falls_with_more_items(
    calls: list[tuple[int, float]], items: int
) -> None:
    times = learned(*calls)
    assert 0 <= times.takes_s(ONE, items) <= times.takes_s(ONE, items + 1)


@given(tokens, st.integers(1, MOST_PATIENCE))
def test_the_timeout_of_a_call_is_bounded_and_never_shorter_than_the_first_token_timeout(
    max_tokens: int, patience: int
) -> None:
    assert (
        FIRST_TOKEN_S
        <= longest_call_s(max_tokens)
        <= longest_call_s(max_tokens, patience=patience)
        <= LONGEST_S
    )


def test_the_timeout_of_a_call_grows_with_the_answer_length_and_with_patience() -> None:
    assert longest_call_s(300) == 32
    assert longest_call_s(3_000) == 140
    assert longest_call_s(300, patience=2) == 64


def test_a_lease_outlasts_two_renewals_that_fail_after_the_call_began() -> None:
    assert LEASE.total_seconds() >= RENEWED_WITHIN_S + 2 * RENEW_EVERY.total_seconds()
