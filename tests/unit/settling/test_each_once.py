"""Attempts identified by claim and response, each with its share of the response's cost."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import WorkId
from lanes.packing import Claim
from lanes.settling.outcome import WHOLE, Attempt, Judgment, PackShare, Response, drop_repeats
from lanes.words import Outcome
from lanes.workload.prices import Usage
from tests.conftest import NOON

LINES = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 2), st.sampled_from([None, "m1", "m2"])),
    max_size=12,
)


def attempts(lines: list[tuple[int, int, str | None]]) -> list[Attempt]:
    return [
        Attempt(
            Claim(WorkId(work), number),
            Judgment(Outcome.VALID if said else Outcome.ERRORED),
            Response(said, "m", "", None, Usage()) if said else None,
            NOON,
            NOON,
            1,
        )
        for work, number, said in lines
    ]


@given(LINES)
def test_repeats_are_dropped_and_the_shares_of_a_response_are_complete(
    lines: list[tuple[int, int, str | None]],
) -> None:
    once = drop_repeats(attempts(lines))
    assert [each.name for each in once] == list(
        dict.fromkeys(each.name for each in attempts(lines))
    )
    for message_id in ("m1", "m2"):
        shares = [
            each.share for each in once if each.response and each.response.message_id == message_id
        ]
        assert shares == [PackShare(index, len(shares)) for index in range(len(shares))]
    assert all(each.share == WHOLE for each in once if each.response is None)


@given(LINES, st.data())
def test_an_attempt_keeps_its_share_when_it_is_saved_separately(
    lines: list[tuple[int, int, str | None]], data: st.DataObject
) -> None:
    once = drop_repeats(attempts(lines))
    apart = [each for each in once if data.draw(st.booleans())]
    assert drop_repeats(apart) == apart
