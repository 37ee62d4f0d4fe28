"""Durations are counted in buckets, each 4 % longer than the one before: sums of them have percentiles within 2 %."""

from datetime import timedelta
from math import floor, log

WIDTH = 1.04
NONE = -1  # less than a millisecond, or a clock that went back


def bucket_of(span: timedelta) -> int:
    """Bucket n holds 1.04^n to 1.04^(n + 1) milliseconds."""
    ms = span / timedelta(milliseconds=1)
    return floor(log(ms) / log(WIDTH)) if ms >= 1 else NONE


def seconds_of(bucket: int) -> float:
    """The middle of a bucket."""
    return WIDTH ** (bucket + 0.5) / 1_000 if bucket > NONE else 0.0
