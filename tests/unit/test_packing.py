"""Packs, ids within a pack, and chunks: no item is lost or mixed, and an item that failed once is sent alone."""

import itertools
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId, WorkId
from lanes.packing import (
    Claim,
    ClaimedWork,
    avoid_counts,
    chunks,
    fill_packs,
    new_nonce,
    pack_ids,
    packs,
)
from lanes.words import PackScope, Purpose
from tests.conftest import NOON

NONCES = st.binary(min_size=8, max_size=8).map(bytes.hex)


def claimed(
    number: int,
    version_id: int = 1,
    failures: int = 0,
    purpose: Purpose = Purpose.ANSWER,
    alone: bool = False,
    consumer: str | None = None,
) -> ClaimedWork:
    return ClaimedWork(
        Claim(WorkId(number), 1),
        VersionId(version_id),
        "letters",
        f"k{number}",
        {},
        purpose,
        failures,
        NOON,
        alone=alone,
        consumer=consumer,
    )


kinds = st.tuples(
    st.integers(1, 3),
    st.sampled_from([0, 0, 0, 1, 4]),
    st.sampled_from(Purpose),
    st.sampled_from([False, False, True]),
    st.sampled_from([None, "crm", "shop"]),
)
claims = st.lists(kinds, max_size=60).map(
    lambda drawn: [claimed(n, *kind) for n, kind in enumerate(drawn)]
)
sizes = st.integers(1, 50)


@given(claims, sizes)
def test_packs_never_lose_or_duplicate_an_item_and_never_exceed_their_size(
    waiting: list[ClaimedWork], size: int
) -> None:
    full = packs(waiting, size)
    assert Counter(each.claim for pack in full for each in pack) == Counter(
        each.claim for each in waiting
    )
    assert all(1 <= len(pack) <= size for pack in full)


@given(claims, sizes)
def test_packs_never_mix_versions_or_purposes(waiting: list[ClaimedWork], size: int) -> None:
    for pack in packs(waiting, size):
        assert len({(each.version_id, each.purpose) for each in pack}) == 1


@given(claims, sizes, st.integers(1, 2_000))
def test_packs_never_mix_consumers_if_their_workload_separates_them(
    waiting: list[ClaimedWork], size: int, most: int
) -> None:
    for made in (
        packs(waiting, size, most=most, scope=PackScope.CONSUMER),
        list(fill_packs(waiting, size, most=most, scope=PackScope.CONSUMER)),
    ):
        assert Counter(each.claim for pack in made for each in pack) == Counter(
            each.claim for each in waiting
        )
        assert all(len({each.consumer for each in pack}) == 1 for pack in made)
        for taken in (set(range(1, 9)), {len(made)}):
            assert all(
                len({each.consumer for each in pack}) == 1 for pack in avoid_counts(made, taken)
            )


def test_consumers_share_a_call_unless_their_workload_says_otherwise() -> None:
    waiting = [
        claimed(n, consumer=consumer)
        for n, consumer in enumerate(["crm", None, "shop", "crm", None])
    ]
    numbers = [
        [each.claim.work_id for each in pack]
        for pack in packs(waiting, 5, scope=PackScope.CONSUMER)
    ]
    assert numbers == [[0, 3], [1, 4], [2]]
    assert len(packs(waiting, 5)) == 1


@given(claims, sizes)
def test_an_item_that_failed_once_or_whose_pack_was_refused_is_sent_alone(
    waiting: list[ClaimedWork], size: int
) -> None:
    for pack in packs(waiting, size):
        assert len(pack) == 1 or all(each.failures == 0 and not each.alone for each in pack)


@given(claims, sizes)
def test_packs_keep_the_order_of_their_items_and_are_ordered_by_their_first_item(
    waiting: list[ClaimedWork], size: int
) -> None:
    numbers = [[each.claim.work_id for each in pack] for pack in packs(waiting, size)]
    assert all(pack == sorted(pack) for pack in numbers)
    assert [pack[0] for pack in numbers] == sorted(pack[0] for pack in numbers)


@given(st.integers(0, 200), sizes)
def test_items_of_one_kind_fill_as_few_calls_as_possible(items: int, size: int) -> None:
    assert len(packs([claimed(n) for n in range(items)], size)) == -(-items // size)


counts = st.sets(st.integers(1, 12))


@given(claims, st.integers(1, 5), counts)
def test_a_batch_never_has_a_number_of_requests_that_is_already_in_use(
    waiting: list[ClaimedWork], size: int, taken: set[int]
) -> None:
    full = packs(waiting, size)
    kept = avoid_counts(full, taken)
    if not kept:
        assert set(range(1, len(waiting) + 1)) <= taken
        return
    assert len(kept) not in taken
    assert all(kept)
    before, after = ([each for pack in some for each in pack] for some in (full, kept))
    assert after == before[: len(after)]
    if len(kept) > len(full):
        assert len(after) == len(before)


@given(claims, st.integers(1, 5), counts)
def test_only_as_many_requests_as_necessary_are_left_for_the_next_batch(
    waiting: list[ClaimedWork], size: int, taken: set[int]
) -> None:
    full = packs(waiting, size)
    kept = avoid_counts(full, taken)
    if len(kept) <= len(full):
        assert set(range(len(kept) + 1, len(full) + 1)) <= taken


def test_a_pack_is_divided_if_its_number_of_requests_is_already_in_use() -> None:
    (pack,) = packs([claimed(n) for n in range(5)], 5)
    assert [len(each) for each in avoid_counts([pack], {1})] == [2, 3]
    assert [len(each) for each in avoid_counts([pack], {1, 2})] == [2, 1, 2]
    assert avoid_counts([pack[:1]], {1}) == []


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 10), st.integers(1, 100))
def test_no_chunk_exceeds_its_limits_except_by_its_last_input(
    sizes: list[int], most: int, most_bytes: int
) -> None:
    made = list(chunks(sizes, most=most, most_bytes=most_bytes, weight=lambda size: size))
    assert list(itertools.chain(*made)) == sizes
    for chunk in made:
        assert 1 <= len(chunk) <= most
        assert sum(chunk[:-1]) < most_bytes
    for chunk in made[:-1]:  # no chunk ends too early
        assert len(chunk) == most or sum(chunk) >= most_bytes


def test_an_endless_source_is_read_only_as_far_as_needed() -> None:
    numbers = itertools.count()
    assert next(chunks(numbers, most=10, most_bytes=3, weight=lambda _: 1)) == [0, 1, 2]
    assert next(numbers) == 3


@given(NONCES, st.integers(0, 100_000), st.integers(1, 100))
def test_the_ids_of_a_pack_are_reproducible_and_distinct(
    nonce: str, request_no: int, items: int
) -> None:
    ids = pack_ids(nonce, request_no, items)
    assert ids == pack_ids(nonce, request_no, items)
    assert len(set(ids)) == items
    assert all(re.fullmatch("[a-z2-7]{8}", each) for each in ids)


@given(NONCES, st.integers(0, 100_000))
def test_the_ids_of_one_request_or_batch_never_occur_in_another(
    nonce: str, request_no: int
) -> None:
    here = set(pack_ids(nonce, request_no, 20))
    assert here.isdisjoint(pack_ids(nonce, request_no + 1, 20))
    assert here.isdisjoint(pack_ids(new_nonce(), request_no, 20))
