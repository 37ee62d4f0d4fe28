"""A batch and what is certain of it."""

import pytest

from lanes.batch.batch import AT_PROVIDER, OVER, UNCONFIRMED, OpenBatch
from lanes.ids import BatchId, VersionId
from lanes.words import BatchState
from tests.conftest import NOON


def batch(state: BatchState, *, unproved: bool = False) -> OpenBatch:
    return OpenBatch(
        BatchId(1),
        "nonce",
        "acme",
        "letters",
        VersionId(1),
        "claude-haiku-5-5",
        state,
        3,
        3,
        None,
        NOON,
        None,
        unproved=unproved,
    )


def test_every_state_but_superseded_says_whether_the_provider_has_the_batch() -> None:
    assert {*UNCONFIRMED, *AT_PROVIDER, *OVER} == set(BatchState) - {BatchState.SUPERSEDED}


@pytest.mark.parametrize("state", BatchState)
def test_a_batch_may_still_have_to_be_found_until_the_provider_confirmed_it_or_a_result_proved_it(
    state: BatchState,
) -> None:
    assert batch(state).unsure is (state in UNCONFIRMED)
    assert batch(state, unproved=True).unsure is (state in UNCONFIRMED or state in AT_PROVIDER)
