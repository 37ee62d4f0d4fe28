"""How long a call may take, and for how long the work that it carries is claimed."""

from datetime import timedelta

CONNECT_S = 5.0
FIRST_TOKEN_S = 20.0  # the longest wait for a well provider's first token
TOKENS_PER_S = 25.0  # the slowest that a model writes while it is well
LONGEST_S = 600.0  # the provider asks for streaming beyond ten minutes
MOST_PATIENCE = 4  # times as long: what was cut before may take so much longer
# for how long work is claimed; renewed for as long as it is held, however long its call takes
LEASE = timedelta(seconds=20)
RENEW_EVERY = timedelta(seconds=5)
RENEWED_WITHIN_S = 10.0  # a call begins only for work that was claimed or renewed so lately: half of its lease is left


def longest_call_s(max_tokens: int, *, patience: int = 1) -> float:
    """Return the seconds after which a call of at most `max_tokens` is given up, whatever trickles in.

    A due time never shortens a call: the provider bills a call that was cut, and the item would only be asked again.
    `patience` is how many times as long it may take, because calls like it were cut before.
    """
    return min(LONGEST_S, patience * (FIRST_TOKEN_S + max_tokens / TOKENS_PER_S))
