"""Labels of requests, by which a restored database finds the work of an answer."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lanes.batch.orphans import digest, read_label, write_label
from lanes.ids import VersionId, WorkId
from lanes.packing import Claim, ClaimedWork
from lanes.provider.batches import CUSTOM_ID, custom_id
from lanes.words import Purpose

NONCE, TAG = "0123456789abcdef", b"ab"
NUMBERS = st.integers(1, 2**40)
AT = datetime(2026, 11, 24, tzinfo=UTC)


def work(number: int, version: int = 1, key: str = "k", text: str = "t") -> ClaimedWork:
    claim = Claim(WorkId(number), 1)
    payload = {"text": text}
    return ClaimedWork(claim, VersionId(version), "letters", key, payload, Purpose.ANSWER, 0, AT)


@given(st.lists(NUMBERS, min_size=1, max_size=30), NUMBERS, st.integers(0, 99_999))
def test_a_label_names_the_work_of_its_request_wherever_a_custom_id_has_room(
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


def test_a_pack_of_twelve_neighbors_has_room_among_millions() -> None:
    assert write_label(TAG, [work(7_000_000 + 5 * each, 300) for each in range(12)])


@given(st.text("abcXYZ019_-", max_size=41))
def test_a_label_of_others_is_read_as_one_or_as_none(label: str) -> None:
    read = read_label(label)
    assert read is None or read.work_ids


def test_another_item_under_the_same_number_has_another_digest() -> None:
    told = {digest([work(1)]), digest([work(1, key="k2")]), digest([work(1, text="t2")])}
    assert len(told) == 3
