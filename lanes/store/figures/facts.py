"""What the facts of a period count for, all at once, as the triggers of migrations/schema/current/figures/ count each.

Here whole tables are joined and summed, there each fact is looked up; a test compares the two.
"""

from collections.abc import Collection

from lanes.figures.kinds import HOURLY, Grain, Kind

CONSUMERS = 50  # of each workload are counted apart
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
BYTES = (
    'collate "C"'  # comparing words by a language's rules would take longer than everything else
)
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
    """Return a query that counts the facts of :since to :until, as `COLUMNS`, by the minute or hour of `at`.

    `facts` is a relation, perhaps with a condition. Columns in `of` have the same name there; others are given as `said`, and
    the rest is not counted. `took` is the duration of each fact.
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


# The name that a consumer is counted by.
APART = "left join lanes.figure_consumer f on f.workload = i.workload and f.consumer = i.consumer"
NAMED = "case when i.consumer is null or f.consumer is not null then i.consumer else 'other' end as consumer"

# Items that were received in the period, a row for each of their routes, or one without a route.
STOOD = f"""
select i.id, i.received_at, i.workload, {NAMED}, i.urgent, i.due_at, i.answered_at, i.canceled_at,
       lanes.figure_stands(i.answered_at, i.settled_at, i.failed_at, i.canceled_at) as word,
       r.lane, r.reason, r.realtime_usd, r.batch_usd, row_number() over of_item = 1 as is_first,
       lead(r.id) over of_item is null as is_newest
  from lanes.item i left join lanes.route r on r.item_id = i.id {APART}
 where i.received_at >= :since and i.received_at < :until
window of_item as (partition by i.id order by r.id)
"""

# Their first answers, and the first read of those from real time.
ANSWERED = f"""
select a.*,
       (select min(r.read_at) from lanes.read r
         where r.item_id = a.id and a.lane = 'realtime' and r.result_id is not null and r.read_at >= a.answered_at) as read_at
  from (select distinct on (i.id) i.id, i.received_at, i.workload, {NAMED}, i.answered_at, r.lane
          from lanes.item i join lanes.result r on r.item_id = i.id and r.generation = 0 {APART}
         where i.received_at >= :since and i.received_at < :until and i.answered_at is not null and i.canceled_at is null
         order by i.id, r.created_at, r.id) a
"""

# Due items that were answered or failed in the period, with their route then. `overdue` means due before it arrived: a route's
# reason also covers items that became due before they were routed.
DECIDED = """
select d.*, r.lane,
       case when d.due_at <= d.received_at then 'overdue' when r.reason = 'overdue' then 'deadline' else r.reason end as reason
  from (select i.id, i.workload, i.received_at, i.due_at, i.answered_at, coalesce(i.answered_at, i.failed_at) as decided_at
          from lanes.item i
         where i.due_at is not null and i.canceled_at is null and coalesce(i.answered_at, i.failed_at) >= :since
           and coalesce(i.answered_at, i.failed_at) < :until) d
 cross join lateral (
   select r.lane, r.reason from lanes.route r
    where r.item_id = d.id
    order by r.decided_at > d.decided_at, case when r.decided_at > d.decided_at then r.id else -r.id end limit 1) r
"""

# Tries that ended in the period, and tries of items that were received in it, each once.
TRIED = """
with ended as (
  select a.*, i.received_at from lanes.attempt a join lanes.item i on i.id = a.item_id
   where a.ended_at >= :since and a.ended_at < :until
  union all
  select a.*, i.received_at from lanes.item i join lanes.attempt a on a.item_id = i.id
   where i.received_at >= :since and i.received_at < :until and not (a.ended_at >= :since and a.ended_at < :until))
select e.workload, e.version_id, e.lane, e.purpose, e.outcome, e.shown, e.message_id, e.cost_usd, e.bound_usd, e.input_tokens,
       e.output_tokens, e.cache_read_tokens, e.cache_write_tokens, e.started_at, e.ended_at, e.gathered_ms, e.left_because,
       e.received_at, r.realtime_usd, r.batch_usd
  from ended e
  left join lateral (
    select r.realtime_usd, r.batch_usd from lanes.route r
     where r.item_id = e.item_id and e.outcome = 'valid'
     order by r.decided_at > e.ended_at, case when r.decided_at > e.ended_at then r.id else -r.id end limit 1) r on true
"""

# The newest answer of both lanes, of each generation of an item.
COMPARED = """
select c.*, i.workload, i.received_at,
       exists (select from lanes.correction n where n.item_id = c.item_id and n.authoritative_id = c.id) as corrected
  from (select distinct on (r.item_id, r.generation) r.item_id, r.generation, r.id, r.version_id, r.created_at
          from lanes.result r
          join lanes.result p on p.item_id = r.item_id and p.generation = r.generation and p.revision = r.revision
                             and p.standing = 'provisional'
         where r.standing = 'authoritative'
         order by r.item_id, r.generation, r.id desc) c
  join lanes.item i on i.id = c.item_id
"""

COSTS = ("realtime_usd", "batch_usd")
SPENT = {
    "items": "t.shown::int",
    "usd": "t.cost_usd",
    "bound_usd": "t.bound_usd",
    "input": "t.input_tokens",
    "output": "t.output_tokens",
    "cached": "t.cache_read_tokens",
    "written": "t.cache_write_tokens",
    "word": "t.outcome",
}
TRY = ("workload", "version_id", "lane", "purpose", *COSTS)
ANSWERS = "lanes.result r join lanes.item i on i.id = r.item_id where r.generation = 0"
ANSWER = {"workload": "i.workload", "word": "r.standing", "took": "r.created_at - i.received_at"}
ASKED = "stood s where s.is_first and s.lane is not null and s.canceled_at is null"
COUNTED = (
    counted(
        Kind.ROUTE,
        "lanes.route r join lanes.version v on v.id = r.version_id",
        "r.decided_at",
        workload="v.workload",
        word="r.reason",
        of=("version_id", "lane", *COSTS),
    ),
    counted(Kind.ATTEMPT, "tried t", "t.ended_at", of=TRY, **SPENT),
    counted(
        Kind.TRY,
        "tried t",
        "t.received_at",
        of=TRY,
        first_at="t.started_at",
        last_at="t.ended_at",
        **SPENT,
    ),
    counted(
        Kind.BUFFER,
        "tried t where t.lane = 'realtime' and t.purpose = 'answer' and t.message_id is not null",
        "t.ended_at",
        took="t.started_at - t.received_at",
        of=("workload", "version_id", "lane", "purpose"),
    ),
    counted(
        Kind.GATHERED,
        "tried t where t.gathered_ms is not null",
        "t.ended_at",
        word="t.left_because",
        took="t.gathered_ms * interval '1 millisecond'",
        of=("workload", "version_id", "lane", "purpose"),
    ),
    counted(
        Kind.CALL,
        "lanes.response r",
        "r.billed_at",
        of=("workload", "lane", "purpose", "items"),
        usd="r.cost_usd",
        input="r.input_tokens",
        output="r.output_tokens",
        cached="r.cache_read_tokens",
        written="r.cache_write_tokens",
    ),
    counted(Kind.RESULT, ANSWERS, "r.created_at", of=("version_id", "lane"), **ANSWER),
    counted(
        Kind.ANSWER, ANSWERS, "i.received_at", version_id="r.version_id", lane="r.lane", **ANSWER
    ),
    counted(
        Kind.AGREEMENT,
        "compared c",
        "c.created_at",
        of=("workload", "version_id"),
        items="c.corrected::int",
    ),
    counted(
        Kind.COMPARED,
        "compared c where c.generation = 0",
        "c.received_at",
        of=("workload", "version_id"),
        items="c.corrected::int",
    ),
    counted(
        Kind.CORRECTION,
        "lanes.correction c join lanes.item i on i.id = c.item_id join lanes.result r on r.id = c.authoritative_id",
        "c.corrected_at",
        workload="i.workload",
        version_id="r.version_id",
    ),
    counted(
        Kind.ITEM,
        "stood s where s.is_newest and (s.lane is not null or s.canceled_at is not null)",
        "s.received_at",
        of=("workload", "lane", "word", *COSTS),
        items="(s.answered_at is not null)::int",
    ),
    counted(
        Kind.ASKED,
        ASKED,
        "s.received_at",
        of=("workload", "lane", "consumer", *COSTS),
        word="s.reason",
    ),
    counted(Kind.URGENT, f"{ASKED} and s.urgent", "s.received_at", of=("workload",)),
    counted(
        Kind.DUE,
        f"{ASKED} and s.due_at is not null",
        "s.received_at",
        of=("workload",),
        took="s.due_at - s.received_at",
    ),
    counted(
        Kind.FIRST,
        "answered a",
        "a.received_at",
        of=("workload", "lane", "consumer"),
        took="a.answered_at - a.received_at",
    ),
    counted(
        Kind.DEADLINE,
        "decided d",
        "d.decided_at",
        of=("workload", "lane"),
        word="d.reason",
        items="coalesce((d.answered_at <= d.due_at)::int, 0)",
    ),
    counted(
        Kind.READ,
        "answered a where a.read_at is not null",
        "a.received_at",
        of=("workload", "consumer"),
        took="a.read_at - a.answered_at",
        items="(a.read_at <= a.answered_at + interval '1 minute')::int",
    ),
)

# All counts as `COLUMNS`, by minute or by hour.
EVERYTHING = f"""
with stood as ({STOOD}), answered as ({ANSWERED}), tried as ({TRIED}), compared as ({COMPARED}),
decided as ({DECIDED}),
every ({COLUMNS}) as (
{" union all ".join(COUNTED)}
  union all
  select f.at, f.workload, f.version_id, 'batch', null, null, f.word, f.kind, f.n, f.items, 0, 0, 0, 0, 0, 0, 0, 0, null, null,
         f.buckets, f.counts
    from lanes.batch_figures('{{}}', array(select b from lanes.batch b
                                          where b.intended_at >= :since and b.intended_at < :until)) f)
select * from every
"""


OF = f"{', '.join(KEYS)}, kind"
MEASURED = f"n, {', '.join(SUMS)}, first_at, last_at"
SUMMED = f"{', '.join(f'sum({name}) as {name}' for name in ('n', *SUMS))}, min(first_at) as first_at, max(last_at) as last_at"
IS_BY_MINUTE = f"kind not in ({', '.join(repr(each.value) for each in HOURLY)})"
# First answers are timed for all consumers together.
TIMED = OF.replace("consumer", f"case when kind <> '{Kind.FIRST}' then consumer end as consumer")

# New consumers, up to `CONSUMERS` of a workload.
HEARD = f"""
insert into lanes.figure_consumer (workload, consumer)
select workload, consumer
  from (select i.workload, i.consumer,
               row_number() over (partition by i.workload order by min(i.received_at), i.consumer) as place
          from lanes.item i
         where i.received_at >= :since and i.received_at < :until and i.consumer is not null
           and not exists (select from lanes.figure_consumer c where c.workload = i.workload and c.consumer = i.consumer)
         group by i.workload, i.consumer) u
 where place + (select count(*) from lanes.figure_consumer c where c.workload = u.workload) <= {CONSUMERS}
"""
FIGURES = f"""
with every as materialized ({EVERYTHING}),
hours as materialized (
  select date_trunc('hour', at, 'UTC') as at, {OF}, {SUMMED} from every group by date_trunc('hour', at, 'UTC'), {OF}),
days as (
  select date_trunc('day', at, 'UTC') as at, {OF}, {SUMMED} from hours group by date_trunc('day', at, 'UTC'), {OF}),
counted as (
  insert into lanes.figure (grain, at, {OF}, {MEASURED})
  select 'minute', at, {OF}, {MEASURED} from every where {IS_BY_MINUTE}
  union all
  select 'hour', at, {OF}, {MEASURED} from hours
  union all
  select 'day', at, {OF}, {MEASURED} from days),
timed as materialized (
  select date_trunc('hour', at, 'UTC') as at, {OF}, b.bucket, sum(b.n)::bigint as n
    from (select at, {TIMED}, buckets, counts from every where buckets is not null) each
   cross join lateral unnest(buckets, counts) b (bucket, n)
   group by date_trunc('hour', at, 'UTC'), {OF}, b.bucket)
insert into lanes.figure_spread (grain, at, {OF}, buckets, counts)
select 'minute', at, {OF}, buckets, counts from every where buckets is not null and {IS_BY_MINUTE}
union all
select 'hour', at, {OF}, array_agg(bucket), array_agg(n) from timed group by at, {OF}
union all
select 'day', at, {OF}, array_agg(bucket), array_agg(n)
  from (select date_trunc('day', at, 'UTC') as at, {OF}, bucket, sum(n)::bigint as n
          from timed group by date_trunc('day', at, 'UTC'), {OF}, bucket) days_timed
 group by at, {OF}
"""
PEAKED = """
insert into lanes.figure_peak (workload, at, n)
select workload, date_trunc('hour', at, 'UTC'), max(n)
  from (select workload, at, sum(n) as n from lanes.figure
         where grain = 'minute' and kind = 'item' and word <> 'canceled' and at >= :since and at < :until
         group by workload, at) minutes
 group by 1, 2
"""
FILLED = (HEARD, FIGURES, PEAKED)
