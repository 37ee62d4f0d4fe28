"""How long a call may take, and for how long its work is ours."""

from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.calltime import FIRST_TOKEN_S, LONGEST_S, RENEW_EVERY, WORTH_S, lease, longest_call_s

tokens = st.integers(16, 50 * 32_032)


@given(tokens, st.none() | st.floats(-1e6, 1e6))
def test_a_call_is_always_given_up_at_some_time_and_never_before_it_can_have_begun(max_tokens: int, due: float | None) -> None:
    assert min(FIRST_TOKEN_S, WORTH_S) <= longest_call_s(max_tokens, due_in_s=due) <= LONGEST_S


def test_a_longer_answer_gets_more_time_and_a_due_time_shortens_it() -> None:
    assert longest_call_s(300) == 32
    assert longest_call_s(3_000) == 140
    assert longest_call_s(3_000, due_in_s=45) == 45


def test_a_call_that_is_due_at_once_or_was_due_is_not_cut_short() -> None:
    assert longest_call_s(300, due_in_s=3) == longest_call_s(300, due_in_s=-60) == longest_call_s(300)


@given(st.floats(0, LONGEST_S))
def test_a_lease_outlives_its_call_and_is_renewed_in_time(call_s: float) -> None:
    assert lease(call_s).total_seconds() > call_s
    assert lease(call_s) >= 2 * RENEW_EVERY
