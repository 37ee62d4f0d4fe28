"""Percentiles of durations that are counted in buckets."""


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
