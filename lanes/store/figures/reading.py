"""Percentiles of durations that are counted in buckets."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from lanes.figures.durations import Durations


def percentiles(durations: str, *, by: str, whole: str = "timed", **shares: float) -> str:
    """A query of the percentiles in seconds, named by their keywords, for each group of `by`; `whole` names the count.

    `durations` is a relation with those columns, `bucket` and `n`. Between two neighbours a percentile lies as
    percentile_cont has it; buckets make it right within 2 %.
    """
    named = "".join(
        f", sum(lanes.figure_seconds(bucket) * lanes.figure_weight({share}, upto, n, whole)) as {name}"
        for name, share in shares.items()
    )
    return f"""
        select {by}, max(whole) as {whole}{named}
          from (select {by}, bucket, n, (sum(n) over (partition by {by} order by bucket))::bigint as upto,
                       (sum(n) over (partition by {by}))::bigint as whole
                  from (select {by}, bucket, sum(n)::bigint as n from {durations}
                         group by {by}, bucket having sum(n) > 0) of_bucket) ranked
         group by {by}"""


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


def of_kind(rows: Iterable[Any], kind: str) -> list[Any]:
    """The rows that count this."""
    return [each for each in rows if each.kind == kind]


def summed(rows: Iterable[Any], measure: str) -> int:
    """That column of all of them."""
    return sum(getattr(each, measure) for each in rows)


def usd_of(rows: Iterable[Any], measure: str) -> Decimal:
    """The same of US dollars."""
    return sum((getattr(each, measure) for each in rows), Decimal(0))
