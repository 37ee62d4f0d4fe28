"""Queries that add up facts, with the columns in which transactions add to the figures."""

from collections.abc import Collection

from lanes.figures.kinds import HOURLY, Grain, Kind

KEYS = {
    "workload": "text",
    "version_id": "bigint",
    "lane": "text",
    "purpose": "text",
    "consumer": "text",
    "word": "text",
}
SUMS = (
    "items",
    "usd",
    "bound_usd",
    "realtime_usd",
    "batch_usd",
    "input",
    "output",
    "cached",
    "written",
)
COLUMNS = f"at, {', '.join(KEYS)}, kind, n, {', '.join(SUMS)}, first_at, last_at, buckets, counts"
BYTES = 'collate "C"'  # words are compared as bytes: as a language has them would take longer than everything else
BY = ", ".join(str(place + 1) for place in range(len(KEYS) + 2))


def counted(
    kind: Kind,
    facts: str,
    at: str,
    *,
    of: Collection[str] = (),
    took: str | None = None,
    **said: str,
) -> str:
    """A query of what the facts of :since to :until count for, as `COLUMNS`, by the minute of `at`, or by its hour.

    `facts` is a relation, perhaps with a condition. Columns named in `of` have the same name there, beside `at`; others are
    `said`, and what is not named is not counted. `took` is how long each fact took.
    """
    whose = at.partition(".")[0]
    said |= {name: f"{whose}.{name}" for name in of}
    grain = Grain.HOUR if kind in HOURLY else Grain.MINUTE
    keys = ", ".join(
        f"{said.get(name, 'null')}::{kept} {BYTES if kept == 'text' else ''} as {name}"
        for name, kept in KEYS.items()
    )
    sums = ", ".join(
        f"sum({said[name]}) as {name}" if name in said else f"0 as {name}" for name in SUMS
    )
    first, last = (said.get(name, "null::timestamptz") for name in ("first_at", "last_at"))
    bucket = f"lanes.figure_bucket({took})" if took else "null::int"
    each = f"""
        select date_trunc('{grain}', {at}, 'UTC') as at, {keys}, {bucket} as bucket, count(*) as n, {sums},
               min({first}) as first_at, max({last}) as last_at
          from {facts} {"and" if " where " in facts else "where"} {at} >= :since and {at} < :until
         group by {BY}"""
    if not took:
        return f"""
            select at, {", ".join(KEYS)}, '{kind}', n, {_all(SUMS, "coalesce({}, 0)")}, first_at, last_at, null::int[],
                   null::bigint[]
              from ({each}) each"""
    return f"""
        select at, {", ".join(KEYS)}, '{kind}', sum(n), {_all(SUMS, "coalesce(sum({}), 0)")}, min(first_at), max(last_at),
               array_agg(bucket), array_agg(n)
          from ({each}) each group by at, {", ".join(KEYS)}"""


def _all(columns: Collection[str], shape: str) -> str:
    return ", ".join(shape.format(each) for each in columns)
