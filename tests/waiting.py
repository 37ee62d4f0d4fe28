"""Waits for conditions that come true without further action of the test."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
FIRST_REST_S, LONGEST_REST_S = 0.005, 0.1
# The limit only ends a wait for something that will not happen. It states no speed: benchmarks do.
LONGEST_WAIT_S = 300


def until(condition: Callable[[], T], *, within_s: float = LONGEST_WAIT_S, what: str = "it") -> T:
    """Return the value of `condition` once it is true; poll at once, and then at growing intervals.

    Raises:
        AssertionError: the value is still false after `within_s` seconds.
    """
    end, rest_s = time.monotonic() + within_s, FIRST_REST_S
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {within_s:g} s"
        time.sleep(rest_s)
        rest_s = min(2 * rest_s, LONGEST_REST_S)
    return value


def wait_for_zero(count: Callable[[], int], *, stalls_s: float) -> int:
    """Return the count once it is 0, or once it has not decreased for `stalls_s` seconds."""
    least, decreased_at = count(), time.monotonic()
    while least and time.monotonic() < decreased_at + stalls_s:
        time.sleep(LONGEST_REST_S)
        if (left := count()) < least:
            least, decreased_at = left, time.monotonic()
    return least
