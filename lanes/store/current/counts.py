"""The facts that count for each figure; the triggers and the rebuild of the figures are generated from this declaration.

The triggers and the rebuild find their facts by different queries, but name the relations alike, for example `tried` or
`asked`. A row of such a relation has a minute, the counted values, and a number `n`, which is negative for facts that no
longer count. `COUNTS` states for which figures these rows count. Files in migrations/schema/current/ include these parts by
their names in braces (`fill_in`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lanes.statistics.figures import HOURLY, Grain, Kind

KEYS = {
    "workload": "text",
    "version_id": "bigint",
    "lane": "text",
    "purpose": "text",
    "consumer": "text",
    "word": "text",
}
COSTS = ("realtime_usd", "batch_usd")
TOKENS = ("input", "output", "cached", "written")
SUMS = ("items", "usd", "bound_usd", *COSTS, *TOKENS)
WHOLE = ("items", *TOKENS)  # whole numbers; the other sums are US dollars
OF = f"{', '.join(KEYS)}, kind"
COLUMNS = f"at, {OF}, n, {', '.join(SUMS)}, first_at, last_at, buckets, counts"
IN_PERIOD = "{at} >= :since and {at} < :until"
# comparing text by a locale's rules would take longer than everything else
BYTES = 'collate "C"'
MOMENTS = {"first_at": "min", "last_at": "max"}


@dataclass(frozen=True)
class Count:
    """One kind of figure for which the rows of the relation `of` count, in the minute `at`.

    `same` lists the columns that have the same name in the figure. `word`, `items` and `took` (the bucket of a duration) are
    SQL expressions. Kinds in `HOURLY` are rebuilt by the hour.
    """

    kind: Kind
    of: str
    at: str
    same: Sequence[str] = ()
    where: str = "true"
    word: str | None = None
    items: str | None = None
    took: str | None = None

    def select(self, *, rebuilt: bool) -> str:
        """Return a query of the counts with the columns `COLUMNS`; `rebuilt` limits it to facts from :since until :until."""
        grain = Grain.HOUR if self.kind in HOURLY else Grain.MINUTE
        at = f"date_trunc('{grain}', {self.at}, 'UTC')" if rebuilt else self.at
        where = f"{self.where} and {IN_PERIOD.format(at=self.at)}" if rebuilt else self.where
        own = {"workload": "workload", "word": self.word, "items": self.items, "n": "n"}
        own |= {name: name for name in self.same}
        keys = [name for name in KEYS if own.get(name)]
        sums = [name for name in ("n", *SUMS) if own.get(name)]
        inner_columns = [f"{at} as at"]
        for name in keys:
            inner_columns.append(
                f"{own[name]} {BYTES if rebuilt and KEYS[name] == 'text' else ''} as {name}"
            )
        if self.took is not None:
            inner_columns.append(f"{self.took} as bucket")
        by = ", ".join(str(place + 1) for place in range(len(inner_columns)))
        inner_columns += [f"{_select_sum(name, own[name])} as {name}" for name in sums]
        inner_columns += [
            f"{way}({name}) as {name}" for name, way in MOMENTS.items() if name in self.same
        ]
        outer_columns = ["at", *(name if name in keys else f"null::{KEYS[name]}" for name in KEYS)]
        outer_columns.append(f"'{self.kind}'::text")
        added = _select_sum if self.took is not None else lambda _, value: value
        outer_columns += [added(name, name) if name in sums else "0" for name in ("n", *SUMS)]
        outer_columns += [name if name in self.same else "null::timestamptz" for name in MOMENTS]
        together = f"group by {', '.join(['at', *keys])}"
        if self.took is None:
            outer_columns, together = [*outer_columns, "null::int[]", "null::bigint[]"], ""
        else:
            outer_columns += ["array_agg(bucket)", "array_agg(n)"]
        return f"""
  select {", ".join(outer_columns)}
    from (select {", ".join(inner_columns)}
            from {self.of} where {where} group by {by}) each {together}"""


def _select_sum(name: str, value: str | None) -> str:
    return f"sum({value})::bigint" if name in ("n", *WHOLE) else f"sum({value})"


TRY = ("version_id", "lane", "purpose")
SPENT = ("items", "usd", "bound_usd", *COSTS, *TOKENS)
COUNTS = (
    Count(Kind.ROUTE, "routed", "decided_at", ("version_id", "lane", *COSTS), word="reason"),
    Count(Kind.RAISED, "raised", "decided_at", ("version_id",), word="rule"),
    Count(Kind.ATTEMPT, "tried", "ended_at", (*TRY, *SPENT), word="outcome"),
    Count(Kind.TRY, "tried", "received_at", (*TRY, *SPENT, "first_at", "last_at"), word="outcome"),
    Count(Kind.BUFFER, "tried", "ended_at", TRY, "waited is not null", took="waited"),
    Count(
        Kind.GATHERED,
        "tried",
        "ended_at",
        TRY,
        "gathered is not null",
        word="left_because",
        took="gathered",
    ),
    Count(Kind.CALL, "billed", "billed_at", ("lane", "purpose", "items", "usd", *TOKENS)),
    Count(Kind.RESULT, "given", "created_at", ("version_id", "lane"), word="standing", took="took"),
    Count(
        Kind.ANSWER, "given", "received_at", ("version_id", "lane"), word="standing", took="took"
    ),
    Count(Kind.AGREEMENT, "compared", "created_at", ("version_id", "items")),
    Count(Kind.COMPARED, "compared", "received_at", ("version_id", "items"), "generation = 0"),
    Count(Kind.CORRECTION, "corrected", "corrected_at", ("version_id",)),
    Count(Kind.ITEM, "stood", "received_at", ("lane", "items", *COSTS), word="word"),
    Count(
        Kind.ASKED,
        "asked",
        "received_at",
        ("version_id", "lane", "consumer", *COSTS),
        word="reason",
    ),
    Count(Kind.URGENT, "asked", "received_at", where="urgent"),
    Count(
        Kind.DUE,
        "asked",
        "received_at",
        where="due_in is not null",
        took="lanes.figure_bucket(due_in)",
    ),
    Count(
        Kind.FIRST,
        "answered",
        "received_at",
        ("lane", "consumer"),
        took="lanes.figure_bucket(took)",
    ),
    Count(
        Kind.READ,
        "taken",
        "received_at",
        ("consumer",),
        "read_in is not null",
        items="case when read_in <= interval '1 minute' then n else 0 end",
        took="lanes.figure_bucket(read_in)",
    ),
    Count(Kind.DEADLINE, "decided", "decided_at", ("lane", "items"), word="reason"),
)


def select_counts(*relations: str, rebuilt: bool = False) -> str:
    """Return a query of the counts of these relations, or of all relations, with the columns `COLUMNS`."""
    return "\n  union all".join(
        each.select(rebuilt=rebuilt) for each in COUNTS if not relations or each.of in relations
    )


# The route in force at a moment, or the first route if none was in force yet.
ROUTE_AT = """(
      select r.lane, r.reason, r.realtime_usd, r.batch_usd from lanes.route r
       where {of}
       order by r.decided_at > {at}, case when r.decided_at > {at} then r.id else -r.id end limit 1) r"""

# Relations that the triggers and the rebuild derive in the same way: from `routes`, `tries`, `responses` and `results`, which
# have the columns of their tables (tries and results also have their item's workload and received_at), and from `ends`, the due
# items that were answered or failed.
MADE = {
    "routed": """routed as (
    select r.decided_at, v.workload, r.version_id, r.lane, r.reason, r.n, r.realtime_usd, r.batch_usd
      from (select date_trunc('minute', r.decided_at, 'UTC') as decided_at, r.version_id, r.lane, r.reason, count(*) as n,
                   sum(r.realtime_usd) as realtime_usd, sum(r.batch_usd) as batch_usd
              from routes r group by 1, 2, 3, 4) r
     cross join lateral (select v.workload from lanes.version v where v.id = r.version_id offset 0) v)""",
    "raised": """raised as (
    select date_trunc('minute', r.decided_at, 'UTC') as decided_at, v.workload, r.version_id, e.rule, 1 as n
      from routes r
     cross join lateral (select v.workload from lanes.version v where v.id = r.version_id offset 0) v
     cross join lateral jsonb_object_keys(r.raised) e (rule)
     where r.raised is not null)""",
    # a valid try is compared with the costs that the route in force at its end had stated
    "tried": f"""tried as materialized (
    select date_trunc('minute', a.ended_at, 'UTC') as ended_at, date_trunc('minute', a.received_at, 'UTC') as received_at,
           a.workload, a.version_id, a.lane, a.purpose, a.outcome,
           case when a.lane = 'realtime' and a.purpose = 'answer' and a.message_id is not null
                then lanes.figure_bucket(a.started_at - a.received_at) end as waited,
           a.left_because, case when a.gathered_ms is not null
                                then lanes.figure_bucket(a.gathered_ms * interval '1 millisecond') end as gathered,
           count(*) as n, count(*) filter (where a.shown) as items, sum(a.cost_usd) as usd, sum(a.bound_usd) as bound_usd,
           coalesce(sum(r.realtime_usd), 0) as realtime_usd, coalesce(sum(r.batch_usd), 0) as batch_usd,
           sum(a.input_tokens) as input, sum(a.output_tokens) as output, sum(a.cache_read_tokens) as cached,
           sum(a.cache_write_tokens) as written, min(a.started_at) as first_at, max(a.ended_at) as last_at
      from tries a left join lateral {
        ROUTE_AT.format(of="r.item_id = a.item_id and a.outcome = 'valid'", at="a.ended_at")
    } on true
     group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)""",
    "billed": """billed as (
    select date_trunc('minute', billed_at, 'UTC') as billed_at, workload, lane, purpose, 1 as n, items, cost_usd as usd,
           input_tokens as input, output_tokens as output, cache_read_tokens as cached, cache_write_tokens as written
      from responses)""",
    "given": """given as materialized (
    select date_trunc('minute', r.created_at, 'UTC') as created_at, date_trunc('minute', r.received_at, 'UTC') as received_at,
           r.workload, r.version_id, r.lane, r.standing, lanes.figure_bucket(r.created_at - r.received_at) as took,
           count(*) as n
      from results r where r.generation = 0 group by 1, 2, 3, 4, 5, 6, 7)""",
    # `overdue` means due before arrival here; as a route's reason it also covers items that became due before they were routed
    "decided": f"""decided as (
    select date_trunc('minute', e.at, 'UTC') as decided_at, e.workload, r.lane, e.n,
           case when e.answered_at <= e.due_at then e.n else 0 end as items,
           case when e.due_at <= e.received_at then 'overdue' when r.reason = 'overdue' then 'deadline'
                else r.reason end as reason
      from ends e cross join lateral {ROUTE_AT.format(of="r.item_id = e.item_id", at="e.at")})""",
}
_PIECE = re.compile(r"\{(columns|made|counted)((?: \w+)*)\}")


def fill_in(sql: str) -> str:
    """Return SQL with `{columns}`, `{made NAME}` and `{counted NAMES}` replaced by the parts that they name."""

    def piece(found: re.Match[str]) -> str:
        names = found[2].split()
        match found[1]:
            case "columns":
                return COLUMNS
            case "made":
                return MADE[names[0]]
            case _:
                return select_counts(*names).strip()

    return _PIECE.sub(piece, sql)
