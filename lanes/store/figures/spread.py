"""Durations as figures hold them, added up by whoever asks: of arrays that takes less than grouping their elements by SQL."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from lanes.figures.durations import Durations


def added_up(rows: Iterable[Any], *by: str) -> dict[Any, Durations]:
    """The durations of rows with `buckets` and `counts`, by these columns: by one's value, or by those of several in a tuple.

    What holds none is left out.
    """
    found = defaultdict[Any, Durations](Durations)
    for row in rows:
        found[
            getattr(row, by[0]) if len(by) == 1 else tuple(getattr(row, name) for name in by)
        ].add(row.buckets, row.counts)
    return {key: each for key, each in found.items() if each.timed > 0}
