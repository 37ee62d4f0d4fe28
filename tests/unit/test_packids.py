"""What items are called within a pack: apart, repeatable by whoever knows the nonce, and by nobody else."""

import re

from hypothesis import given
from hypothesis import strategies as st

from lanes.packing import new_nonce, pack_ids

NONCES = st.binary(min_size=8, max_size=8).map(bytes.hex)


@given(NONCES, st.integers(0, 100_000), st.integers(1, 100))
def test_ids_are_derived_again_and_stand_apart(nonce: str, request_no: int, items: int) -> None:
    ids = pack_ids(nonce, request_no, items)
    assert ids == pack_ids(nonce, request_no, items)
    assert len(set(ids)) == items
    assert all(re.fullmatch("[a-z2-7]{8}", each) for each in ids)


@given(NONCES, st.integers(0, 100_000))
def test_an_id_of_one_request_or_batch_names_nothing_in_another(
    nonce: str, request_no: int
) -> None:
    here = set(pack_ids(nonce, request_no, 20))
    assert here.isdisjoint(pack_ids(nonce, request_no + 1, 20))
    assert here.isdisjoint(pack_ids(new_nonce(), request_no, 20))
