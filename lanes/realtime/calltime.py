"""How long a call may take, and for how long the work it carries is claimed."""

from datetime import timedelta

CONNECT_S = 5.0
FIRST_TOKEN_S = 20.0  # the longest wait for a well provider's first token
TOKENS_PER_S = 25.0  # the slowest that a model writes while it is well
LONGEST_S = 600.0  # the provider asks for streaming beyond ten minutes
WORTH_S = 10.0  # a due time nearer than this shortens no call: cut short, it would only be paid twice
LEASE_BEYOND_CALL = timedelta(seconds=30)
RENEW_EVERY = timedelta(seconds=15)


def longest_call_s(max_tokens: int, *, due_in_s: float | None = None) -> float:
    """The seconds after which a call of at most `max_tokens` is given up, whatever trickles in.

    One that is due sooner is given up at that moment, so that another try is not later than it must be.
    """
    whole = min(LONGEST_S, FIRST_TOKEN_S + max_tokens / TOKENS_PER_S)
    return whole if due_in_s is None or due_in_s < WORTH_S else min(whole, due_in_s)


def lease(call_s: float) -> timedelta:
    """For how long work is claimed whose call takes at most `call_s`; it is renewed for as long as it is held."""
    return timedelta(seconds=call_s) + LEASE_BEYOND_CALL
