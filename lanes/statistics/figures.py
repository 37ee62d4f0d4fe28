"""The kinds of figures, their grains, and the buckets in which durations are counted.

A fact is counted in the minute in which it happened, or in which its item was received or its batch intended: the outcome of a
period's items is then a sum, however late it is known. Kinds are counted by version, except ITEM, DUE to READ, CALL and
DEADLINE.
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
    """The span of a figure from its moment on; days are of UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Kind(StrEnum):
    """The facts that a figure counts. The comment names its word, its second count or sums, and what it times."""

    # in the minute in which it happened
    ROUTE = "route"  # decisions; the reason; what each lane would cost
    RAISED = "raised"  # decisions for which a rule could not be evaluated; the rule
    ATTEMPT = "attempt"  # tries; the outcome; `items` were shown
    CALL = "call"  # billed responses; no word; the items that shared them
    RESULT = "result"  # live answers; the standing; from received to answered
    AGREEMENT = (
        "agreement"  # items that both lanes answered, once each; no word; `items` were corrected
    )
    CORRECTION = "correction"  # corrections; no word
    BUFFER = "buffer"  # billed items of real time; no word; from received to asked, window included
    # due items that were answered or failed, in that minute; the reason of their newest route then; `items` were in time
    DEADLINE = "deadline"
    GATHERED = "gathered"  # tries of items from a window; why they left it; their time in it
    # counted by `watch` itself once the minute is 15 minutes old, by its promises of then (`WATCHED`)
    TIMELY = "timely"  # items answered in real time, or late; no word; `items` began to be late
    TRIED = "tried"  # tries in real time; no word; `items` failed
    # in which its batch was intended
    BATCH = "batch"  # batches; how they stand (`BatchState`); the items they carry; from submitted to ended
    REQUEST = "request"  # their requests; no word; the items that shared them
    CARRIED = "carried"  # their items that are back; what came of them, as `batch_status` names it
    # in which its item was received: in the minute, or what is asked of many days alone (`HOURLY`), in the hour
    ITEM = "item"  # routed or canceled items by the lane of their newest route; how they stand; `items` were answered
    ASKED = "asked"  # items that are not canceled by their first route; its reason; what each lane would cost
    DUE = "due"  # those of them that are due; no word; from received to due
    URGENT = "urgent"  # those of them that are urgent; no word
    FIRST = "first"  # those of them that are answered, by the lane that was first; no word; from received to answered
    # (timed for all consumers together)
    READ = "read"  # those first answered in real time and read since; `items` within a minute; how late
    ANSWER = "answer"  # live answers; the standing; from received to answered
    TRY = "try"  # tries; the outcome; what they cost, and what the valid ones were estimated at
    COMPARED = (
        "compared"  # items that both lanes answered, once each; no word; `items` were corrected
    )


class Stands(StrEnum):
    """The state of an item as far as its own row shows it."""

    OPEN = "open"
    ANSWERED = "answered"
    SETTLED = "settled"
    FAILED = "failed"
    CANCELED = "canceled"


# Folded into hours and days alone.
HOURLY = (Kind.ASKED, Kind.DUE, Kind.URGENT, Kind.FIRST, Kind.READ, Kind.COMPARED)
# Not counted from facts: no rebuild touches them.
WATCHED = (Kind.TIMELY, Kind.TRIED)


WIDTH = 1.04
NONE = -1  # less than a millisecond, or a clock that went back


def bucket_of(span: timedelta) -> int:
    """Return the bucket of a duration: bucket n holds 1.04^n to 1.04^(n + 1) milliseconds."""
    ms = span / timedelta(milliseconds=1)
    return floor(log(ms) / log(WIDTH)) if ms >= 1 else NONE


def seconds_of(bucket: int) -> float:
    """Return the middle of a bucket."""
    return WIDTH ** (bucket + 0.5) / 1_000 if bucket > NONE else 0.0


class Durations:
    """Counts by duration: how many, how long together, and percentiles."""

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
        held = sorted(bucket for bucket, n in self._counts.items() if n > 0)
        return held, list(accumulate(self._counts[bucket] for bucket in held))

    @property
    def count(self) -> int:
        """Return how many durations there are."""
        _, upto = self._ranking
        return upto[-1] if upto else 0

    @property
    def total_s(self) -> float:
        """Return their sum."""
        return sum((seconds * n for seconds, n in self.list_counts()), 0.0)

    def list_counts(self) -> list[tuple[float, int]]:
        """Return length in seconds and count of each used bucket."""
        held, _ = self._ranking
        return [(seconds_of(bucket), self._counts[bucket]) for bucket in held]

    def percentile_s(self, share: float) -> float:
        """Return a percentile, interpolated as percentile_cont does; `share` is 0 to 1.

        Raises:
            IndexError: there are no durations.
        """
        place = share * (self.count - 1)
        above = place - floor(place)
        return (1 - above) * self._number(floor(place)) + above * self._number(ceil(place))

    def _number(self, number: int) -> float:
        """Return the duration at a place, from 0."""
        held, upto = self._ranking
        return seconds_of(held[bisect_right(upto, number)])
