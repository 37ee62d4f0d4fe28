"""The kinds of figures, their grains, and the buckets in which durations are counted.

A fact is counted in the minute in which it happened, or in which its item was received or its batch intended. In the second
case the outcome of a period's items is a sum, however late the outcome is known. Kinds are counted by version, except ITEM, DUE
to READ, CALL and DEADLINE.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from math import ceil, floor, log


class Grain(StrEnum):
    """The length of the span that starts at a figure's time; days are UTC days."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Kind(StrEnum):
    """The facts that a figure counts.

    Each comment names the counted facts; the figure's word; its second count (`items`) or its sums; the timed duration.
    """

    # Counted in the minute in which the fact happened:
    ROUTE = "route"  # decisions; the reason; what each lane would cost
    RAISED = "raised"  # decisions for which a rule could not be evaluated; the rule
    ATTEMPT = "attempt"  # attempts; the outcome; `items` were shown
    CALL = "call"  # billed responses; no word; the items that shared them
    RESULT = "result"  # live answers; the standing; from received to answered
    AGREEMENT = (
        "agreement"  # items that both lanes answered, once each; no word; `items` were corrected
    )
    CORRECTION = "correction"  # corrections; no word
    BUFFER = "buffer"  # billed real-time items; no word; from received to call, window included
    # due items that were answered or failed in that minute; the reason of their newest route then; `items` were in time
    DEADLINE = "deadline"
    GATHERED = "gathered"  # attempts for items from a window; why they left it; their time in it
    # Counted by `watch` once the minute is 15 minutes old, by the promises in force at that time (`WATCHED`):
    TIMELY = "timely"  # items answered in real time, given up or late; no word; `items` missed their promised latency
    TRIED = "tried"  # real-time attempts; no word; `items` failed
    # Counted in the minute in which the batch was intended:
    BATCH = "batch"  # batches; their `BatchState`; the items they carry; from submitted to ended
    REQUEST = "request"  # the batches' requests; no word; the items that shared them
    CARRIED = "carried"  # the batches' returned items; the outcome, as `batch_status` names it
    # Counted in the minute in which the item was received, or, for kinds read over many days only (`HOURLY`), in the hour:
    ITEM = "item"  # routed or canceled items by the lane of their newest route; the state; `items` were answered
    ASKED = "asked"  # items that are not canceled, by their first route; its reason; what each lane would cost
    DUE = "due"  # of ASKED, the items with a due time; no word; from received to due
    URGENT = "urgent"  # of ASKED, the urgent items; no word
    FIRST = "first"  # of ASKED, the answered items, by the lane that answered first; no word; from received to answered
    # (FIRST has durations for all consumers together only)
    READ = "read"  # items first answered in real time and read since; `items` within a minute; the delay of the read
    ANSWER = "answer"  # live answers; the standing; from received to answered
    TRY = "try"  # attempts; the outcome; their cost, and the estimated cost of the valid ones
    COMPARED = (
        "compared"  # items that both lanes answered, once each; no word; `items` were corrected
    )


class Stands(StrEnum):
    """The state of an item, as far as its own row shows it."""

    OPEN = "open"
    ANSWERED = "answered"
    SETTLED = "settled"
    FAILED = "failed"
    CANCELED = "canceled"


# Folded into hours and days only.
HOURLY = (Kind.ASKED, Kind.DUE, Kind.URGENT, Kind.FIRST, Kind.READ, Kind.COMPARED)
# Not counted from facts, so that no rebuild changes them.
WATCHED = (Kind.TIMELY, Kind.TRIED)


WIDTH = 1.04
NONE = -1  # less than a millisecond, or a negative duration because a clock was set back


def bucket_of(span: timedelta) -> int:
    """Return the bucket of a duration: bucket n holds 1.04^n to 1.04^(n + 1) milliseconds."""
    ms = span / timedelta(milliseconds=1)
    return floor(log(ms) / log(WIDTH)) if ms >= 1 else NONE


def seconds_of(bucket: int) -> float:
    """Return the middle of a bucket, in seconds."""
    return WIDTH ** (bucket + 0.5) / 1_000 if bucket > NONE else 0.0


class Durations:
    """Counts by duration, with their number, their sum and percentiles."""

    def __init__(self) -> None:
        self._counts = defaultdict[int, int](int)

    def add(self, buckets: Iterable[int], counts: Iterable[int]) -> None:
        """Add counts to buckets; a negative count removes."""
        self.__dict__.pop("_ranking", None)
        mine = self._counts
        for bucket, n in zip(buckets, counts, strict=True):
            mine[bucket] += n

    @cached_property
    def _ranking(self) -> tuple[list[int], list[int]]:
        """Return the used buckets, the shortest first, and the running count up to each."""
        buckets = sorted(bucket for bucket, n in self._counts.items() if n > 0)
        return buckets, list(accumulate(self._counts[bucket] for bucket in buckets))

    @property
    def count(self) -> int:
        """Return the number of durations."""
        _, upto = self._ranking
        return upto[-1] if upto else 0

    @property
    def total_s(self) -> float:
        """Return the sum of all durations, in seconds."""
        return sum((seconds * n for seconds, n in self.list_counts()), 0.0)

    def list_counts(self) -> list[tuple[float, int]]:
        """Return the length in seconds and the count of each used bucket."""
        buckets, _ = self._ranking
        return [(seconds_of(bucket), self._counts[bucket]) for bucket in buckets]

    def percentile_s(self, share: float) -> float:
        """Return a percentile, interpolated as percentile_cont does; `share` is 0 to 1.

        Raises:
            IndexError: there are no durations.
        """
        place = share * (self.count - 1)
        above = place - floor(place)
        return (1 - above) * self._number(floor(place)) + above * self._number(ceil(place))

    def _number(self, number: int) -> float:
        """Return the duration at a position in ascending order, counted from 0."""
        buckets, upto = self._ranking
        return seconds_of(buckets[bisect_right(upto, number)])
