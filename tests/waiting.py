"""Waiting for what comes true of the world by itself."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
FIRST_REST_S, LONGEST_REST_S = 0.005, 0.1


def until(told: Callable[[], T], *, within_s: float = 60, what: str = "it") -> T:
    """Return what `told` returns once that is true; it is asked at once, and then less and less often."""
    end, rest_s = time.monotonic() + within_s, FIRST_REST_S
    while not (value := told()):
        assert time.monotonic() < end, f"{what} did not happen within {within_s:g} s"
        time.sleep(rest_s)
        rest_s = min(2 * rest_s, LONGEST_REST_S)
    return value
