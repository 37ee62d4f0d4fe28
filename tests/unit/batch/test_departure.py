"""The announcement before a workload's batch leaves, and the limits of a batch: count, size, distinct request counts."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.batch.departure import OutstandingWork, announcement, fill, whole_from
from lanes.ids import VersionId, WorkId
from lanes.packing import Claim, ClaimedWork
from lanes.words import Purpose
from tests.conftest import NOON, later

EMPTY = OutstandingWork(
    "archive",
    paused_at=None,
    ready=0,
    resting=0,
    rested_at=None,
    unrouted=0,
    realtime=0,
    at_provider=0,
    held=0,
    held_batches=(),
    in_the_way=(),
)
PER_REQUEST = 10  # bytes of a request's body in addition to its items


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "nothing of archive is ready to leave"),
        ({"ready": 1}, "1 item of archive will leave now"),
        (
            {"ready": 1_204, "realtime": 3, "at_provider": 40},
            "1,204 items of archive will leave now: 3 on the real-time lane; 40 in batches already",
        ),
        (
            {"resting": 2, "rested_at": later(minutes=5), "unrouted": 7},
            "nothing of archive is ready to leave: 7 received and not routed yet, which takes a few seconds while a drain "
            "runs; 2 resting after a failed try, the first until 12:05 UTC",
        ),
        (
            {"ready": 2, "in_the_way": (41,), "held": 5, "held_batches": (7, 9)},
            "2 items of archive will leave now: they leave once the create of batch 41 is answered or reconciled; 5 in "
            "batches 7, 9, held until a person decides: `lanes batches`",
        ),
        ({"in_the_way": (41,)}, "nothing of archive is ready to leave"),
        (
            {"ready": 3, "paused_at": later(hours=-2)},
            "archive has been paused since 10:00 UTC, with 3 items ready: no batch of it leaves until `lanes resume archive`",
        ),
    ],
)
def test_the_announcement_counts_the_items_that_leave_and_those_that_stay(
    changes: dict[str, object], said: str
) -> None:
    assert announcement(replace(EMPTY, **changes), NOON) == said  # pyright: ignore[reportArgumentType]


def test_only_ready_work_of_a_workload_that_is_not_paused_may_leave() -> None:
    assert not EMPTY.may_leave
    assert replace(EMPTY, ready=1).may_leave
    assert not replace(EMPTY, ready=1, paused_at=NOON).may_leave


def packs(*sizes: int) -> list[list[ClaimedWork]]:
    numbers = itertools.count(1)

    def claimed(number: int) -> ClaimedWork:
        return ClaimedWork(
            Claim(WorkId(number), 1),
            VersionId(1),
            "letters",
            f"k{number}",
            {},
            Purpose.ANSWER,
            0,
            NOON,
        )

    return [[claimed(next(numbers)) for _ in range(size)] for size in sizes]


class Written:
    """The requests of a batch, each with its number when it was added."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, list[ClaimedWork]]] = []

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def size(self) -> int:
        return sum(PER_REQUEST + len(pack) for _, pack in self.requests)

    @property
    def packs(self) -> list[list[ClaimedWork]]:
        return [pack for _, pack in self.requests]

    def add(self, pack: Sequence[ClaimedWork]) -> None:
        self.requests.append((len(self.requests), [*pack]))

    def keep(self, requests: int) -> None:
        del self.requests[requests:]


def fit(
    given_packs: list[list[ClaimedWork]],
    *,
    most_requests: int = 100,
    most_bytes: int = 10_000,
    taken: Collection[int] = (),
) -> Written:
    found = Written()
    fitted = fill(
        found, iter(given_packs), most_requests=most_requests, most_bytes=most_bytes, taken=taken
    )
    assert bool(fitted) == bool(given_packs)
    return found


def ids(of: Sequence[Sequence[ClaimedWork]]) -> list[int]:
    return [each.claim.work_id for pack in of for each in pack]


def test_requests_are_numbered_in_order_and_the_rest_waits() -> None:
    found = fit(packs(2, 2, 2), most_requests=2)
    assert [number for number, _ in found.requests] == [0, 1]
    assert ids(found.packs) == [1, 2, 3, 4]
    assert len(fit(packs(2, 2, 2), most_bytes=2 * 12)) == 2
    assert len(fit(packs(2, 2, 2), most_bytes=3 * 12 - 1)) == 2


def test_a_pack_larger_than_the_byte_limit_leaves_in_a_batch_of_its_own() -> None:
    assert len(fit(packs(50, 1), most_bytes=20)) == 1
    assert len(fit([])) == 0


def test_a_batch_avoids_request_counts_that_are_already_taken() -> None:
    assert len(fit(packs(1, 1, 1), taken={3})) == 2
    assert len(fit(packs(4), taken={1})) == 2
    assert len(fit(packs(1), taken={1})) == 0


def test_a_batch_limited_by_bytes_also_avoids_taken_request_counts() -> None:
    assert len(fit(packs(1, 1, 1), most_bytes=2 * 11, taken={2})) == 1
    # Divided, the pack would not fit; as one request, its batch could not be identified.
    assert len(fit(packs(2, 2), most_bytes=12, taken={1})) == 0


@given(
    st.lists(st.integers(1, 6), max_size=12),
    st.integers(1, 12),
    st.integers(1, 200),
    st.sets(st.integers(1, 14), max_size=14),
)
def test_a_batch_is_a_prefix_of_the_waiting_work_within_its_limits_with_a_free_count(
    sizes: list[int], most_requests: int, most_bytes: int, taken: set[int]
) -> None:
    waiting = packs(*sizes)
    found = fit(waiting, most_requests=most_requests, most_bytes=most_bytes, taken=taken)
    assert ids(found.packs) == ids(waiting)[: sum(map(len, found.packs))]
    assert len(found) not in taken
    assert len(found) <= 1 or found.size <= most_bytes
    assert bool(found) or not waiting or taken


@given(st.lists(st.integers(1, 6), max_size=12), st.sets(st.integers(1, 14), max_size=14))
def test_no_pack_is_divided_once_enough_packs_wait_for_a_free_request_count(
    sizes: list[int], taken: set[int]
) -> None:
    waiting = packs(*sizes)
    found = fit(waiting, taken=taken)
    if len(waiting) >= whole_from(taken):
        assert found.packs == waiting[: len(found)]
