"""The ledger's side of the provider's bill, by period, model and lane, and the incidents about it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select, text

from lanes.money.bill import KINDS, BillDifference, BillKey, LedgerRow, Tokens
from lanes.promises.breaches import bill_differs
from lanes.promises.incident import EVERYBODY, IncidentState, Promise
from lanes.store import incidents
from lanes.store.money.budgets import ANSWERED
from lanes.store.statements import is_
from lanes.store.tables import incident
from lanes.words import Lane

EXAMPLES = 3
OVER = "The provider's bill of that day agrees with the ledger, or is not compared any more."
# A call is billed between its start and its end, a request of a batch between its intent and its end.
SERVED = """
  select r.message_id, r.model, case when r.batch_id is null then 'realtime' else 'batch' end as lane, r.input_tokens as input,
         r.output_tokens as output, r.cache_read_tokens as cache_read, r.cache_write_tokens as cache_write,
         r.billed_at + interval '1 minute' as last,
         case when r.batch_id is null then r.billed_at - interval '10 minutes' else b.intended_at end as first
    from lanes.response r left join lanes.batch b on b.id = r.batch_id left join lanes.workload f on f.name = r.workload
   where coalesce(b.provider, f.provider) = :provider
     and r.billed_at >= :since - interval '1 minute' and r.billed_at < :until + interval '2 days'"""
PERIODS = "generate_series(cast(:since as timestamptz), :until - cast(:width as interval), :width, 'UTC') p (at)"
SUMS = ", ".join(f"'{kind}', coalesce(sum({kind}) {{within}}, 0)" for kind in KINDS)
LEDGER = f"""
select at, model, lane, json_build_object({SUMS.format(within="filter (where first >= at and last < at + :width)")}) as least,
       json_build_object({SUMS.format(within="")}) as most
  from {PERIODS} join ({SERVED}) s on s.first < at + :width and s.last >= at group by 1, 2, 3
"""
UNKNOWN = f"""
select at, a.model, a.lane, count(*) as attempts, sum(a.bound_usd) as usd
  from {PERIODS} join lanes.workload f on f.provider = :provider
  join lanes.attempt a on a.workload = f.name and a.lane in ('realtime', 'batch') and a.ended_at >= at
   and a.ended_at < :until + interval '2 days' and a.started_at < at + :width
 where a.bound_usd <> 0 and not {ANSWERED} group by 1, 2, 3
"""
# The largest of the responses that the missing tokens can hold: the one, where one is missing.
FIT = f"""
select message_id from ({SERVED}) s
 where model = :model and lane = :lane and first < :until and last >= :since
   and {" and ".join(f"{kind} <= :{kind}" for kind in KINDS)}
 order by input + cache_read + cache_write desc, output desc, message_id limit {EXAMPLES}
"""


def ledger(
    connection: Connection, provider: str, since: datetime, until: datetime, width: timedelta
) -> dict[BillKey, LedgerRow]:
    """Return what the ledger knows of a block's account in each period of `width` between two moments, by model and lane."""
    given = {"provider": provider, "since": since, "until": until, "width": width}
    found = defaultdict[BillKey, LedgerRow](LedgerRow)
    for row in connection.execute(text(LEDGER), given):
        found[_key(row)] = LedgerRow(Tokens(row.least), Tokens(row.most))
    for row in connection.execute(text(UNKNOWN), given):
        of = found[_key(row)]
        of.unknown, of.unknown_usd = row.attempts, row.usd
    return found


def _key(row: Any) -> BillKey:
    return BillKey(row.at.astimezone(UTC), row.model, Lane(row.lane))


def examples(
    connection: Connection, provider: str, of: BillDifference, width: timedelta
) -> Sequence[str]:
    """Return ids of responses of a block's account in the ledger that the missing tokens may be of."""
    at, model, lane = of.of
    sums = {kind: of.missing[kind] for kind in KINDS}
    given = {"since": at, "until": at + width, "model": model, "lane": lane, **sums}
    given["provider"] = provider
    return connection.execute(text(FIT), given).scalars().all() if of.missing else []


def record(
    connection: Connection,
    found: Mapping[str, Sequence[BillDifference]],
    *,
    complete: bool = True,
    now: datetime,
) -> None:
    """Keep an incident open for each day on which an account's bill differs.

    `found` has the differences by account; "" stands for the only one. If they are `complete`, incidents of all other days
    end.
    """
    breaches = [
        bill_differs(day, [*rows], account=account)
        for account, differences in found.items()
        for day, rows in groupby(differences, lambda each: each.of.at.date())
    ]
    for each in breaches:
        incidents.open(connection, each, now=now)
    if not complete:
        return
    column, differ = incident.c, {each.subject for each in breaches}
    is_open = is_(column.state, IncidentState.OPEN)
    known = select(column.subject).where(is_open, column.promise == Promise.BILL_DIFFERS)
    for subject in set(connection.execute(known).scalars()) - differ:
        of = Promise.BILL_DIFFERS, EVERYBODY, subject
        incidents.resolve(connection, *of, sentence=OVER, now=now)
