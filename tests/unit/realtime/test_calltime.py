"""How long a call may take, and for how long its work is ours."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.pace import (
    FIRST_TOKEN_S,
    LEASE,
    LONGEST_S,
    MOST_PATIENCE,
    RENEW_EVERY,
    RENEWED_WITHIN_S,
    longest_call_s,
)

tokens = st.integers(16, 50 * 32_032)


@given(tokens, st.integers(1, MOST_PATIENCE))
def test_a_call_is_always_given_up_at_some_time_and_never_before_it_can_have_begun(
    max_tokens: int, patience: int
) -> None:
    assert (
        FIRST_TOKEN_S
        <= longest_call_s(max_tokens)
        <= longest_call_s(max_tokens, patience=patience)
        <= LONGEST_S
    )


def test_a_longer_answer_gets_more_time_and_so_does_what_was_cut_before() -> None:
    assert longest_call_s(300) == 32
    assert longest_call_s(3_000) == 140
    assert longest_call_s(300, patience=2) == 64


def test_a_lease_outlasts_two_renewals_that_fail_after_the_call_began() -> None:
    assert LEASE.total_seconds() >= RENEWED_WITHIN_S + 2 * RENEW_EVERY.total_seconds()
