"""A wait for a condition that comes true by itself."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
FIRST_REST_S, LONGEST_REST_S = 0.005, 0.1


def until(told: Callable[[], T], *, within_s: float = 60, what: str = "it") -> T:
    """Return the value of `told` once it is true; poll at once, and then at growing intervals.

    Raises:
        AssertionError: the value is still false after `within_s` seconds.
    """
    end, rest_s = time.monotonic() + within_s, FIRST_REST_S
    while not (value := told()):
        assert time.monotonic() < end, f"{what} did not happen within {within_s:g} s"
        time.sleep(rest_s)
        rest_s = min(2 * rest_s, LONGEST_REST_S)
    return value
