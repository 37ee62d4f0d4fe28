"""The ledger: every billed response once, priced once, and divided among the items that shared it.

The provider's bill is compared with the ledger by period, model and lane; incidents report differences.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from sqlalchemy import Connection, column, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert

from lanes.ids import BatchId, WorkId
from lanes.money.bill import KINDS, BillDifference, BillKey, LedgerRow, Tokens
from lanes.money.cost import BillPart, divide
from lanes.promises.breaches import bill_differs
from lanes.promises.incident import EVERYBODY, IncidentState, Promise
from lanes.settling.outcome import Attempt, Response
from lanes.store import incidents
from lanes.store.money.budgets import ANSWERED
from lanes.store.statements import is_, split, split_records
from lanes.store.tables import incident, response
from lanes.words import Lane, Purpose
from lanes.workload.prices import cost, price_version

NOTHING = BillPart()
BOOKED = [each.name for each in response.c if each.name != "id"]


class Payer(Protocol):
    """The work that an attempt tried."""

    @property
    def workload(self) -> str: ...
    @property
    def purpose(self) -> Purpose: ...
    def model(self, lane: Lane) -> str: ...


@dataclass(frozen=True)
class BookedAttempts:
    """Booked attempts with their parts of the responses.

    `apart` contains new message ids for responses whose own id another response has; the attempts use the new ids too.
    """

    attempts: list[Attempt]
    parts: list[BillPart]
    apart: frozenset[str]


def book(
    connection: Connection,
    attempts: Sequence[Attempt],
    payers: Mapping[WorkId, Payer],
    *,
    batch_id: BatchId | None,
) -> BookedAttempts:
    """Book every response in the ledger; return the attempts in order, with their parts.

    `payers` has the payer of each work id. A batch's responses are booked with the batch's id, all others for real time, even
    if the work is on another lane by now. Each attempt contains its share, so the parts of one response sum exactly to it even
    if they are saved separately. A response has the purpose `answer` if any of its items has. This function neither locks nor
    waits for rows of items and work.
    """
    shared: dict[Response, list[BillPart]] = {}
    rows: dict[Response, dict[str, Any]] = {}
    parts: list[BillPart] = []
    priced_by, lane = price_version(), Lane.REALTIME if batch_id is None else Lane.BATCH
    for attempt in attempts:
        billed_response, share = attempt.response, attempt.share
        if billed_response is None:
            parts.append(NOTHING)
            continue
        response_parts, payer = shared.get(billed_response), payers[attempt.claim.work_id]
        if response_parts is None:
            usage = billed_response.usage
            usd, price_of = _price(billed_response, payer, lane, attempt.ended_at)
            response_parts = shared[billed_response] = divide(usage, usd, share.of)
            rows[billed_response] = {
                "message_id": billed_response.message_id,
                "workload": payer.workload,
                "lane": lane,
                "purpose": payer.purpose,
                "model": billed_response.model or payer.model(lane),
                "batch_id": batch_id,
                "items": share.of,
                "input_tokens": usage.input,
                "output_tokens": usage.output,
                "cache_read_tokens": usage.cache_read,
                "cache_write_tokens": usage.cache_write,
                "cost_usd": usd,
                "price_version": priced_by + price_of,
                "billed_at": attempt.ended_at,
                "digest": billed_response.digest,
                "service_tier": billed_response.tier,
                "inference_geo": billed_response.geo,
                "speed": billed_response.speed,
            }
        elif payer.purpose is Purpose.ANSWER:
            rows[billed_response]["purpose"] = payer.purpose
        parts.append(response_parts[share.index])
    named = _book(connection, rows)
    if not named:
        return BookedAttempts([*attempts], parts, frozenset())
    renamed = [
        attempt
        if attempt.response is None or attempt.response not in named
        else attempt._replace(
            response=attempt.response._replace(message_id=named[attempt.response])
        )
        for attempt in attempts
    ]
    return BookedAttempts(renamed, parts, frozenset(named.values()))


def _book(connection: Connection, rows: Mapping[Response, dict[str, Any]]) -> dict[Response, str]:
    """Insert the responses once; return new message ids for responses whose own id another response has.

    A new id consists of the message id and the digest, so it is the same whenever the response is saved again.
    """
    if not rows:
        return {}
    inserted_ids = _insert(connection, rows.values())
    if len(inserted_ids) == len(rows):
        return {}
    known_responses = [
        billed_response
        for billed_response in rows
        if (billed_response.message_id, billed_response.digest) not in inserted_ids
    ]
    wanted = select(response.c.message_id, response.c.digest)
    known = wanted.where(
        response.c.message_id.in_(
            {billed_response.message_id for billed_response in known_responses}
        )
    )
    digests = {row.message_id: row.digest for row in connection.execute(known)}
    # None: the response was booked before digests were stored
    apart = {
        billed_response
        for billed_response in known_responses
        if digests[billed_response.message_id] not in (None, billed_response.digest)
    }
    if not apart:
        return {}
    named = {
        billed_response: f"{billed_response.message_id}~{billed_response.digest}"
        for billed_response in apart
    }
    _insert(
        connection,
        [rows[billed_response] | {"message_id": name} for billed_response, name in named.items()],
    )
    return named


def _insert(connection: Connection, rows: Iterable[dict[str, Any]]) -> set[tuple[str, str | None]]:
    """Insert the rows whose message ids are not in the ledger yet; return (message id, digest) of each inserted row."""
    in_order = sorted(rows, key=itemgetter("message_id"))  # so that two transactions never deadlock
    return {
        (row.message_id, row.digest) for row in connection.execute(_build_insert(), split(in_order))
    }


@cache
def _build_insert() -> ReturningInsert[*tuple[Any, ...]]:
    """Build the statement that inserts responses once."""
    given = split_records([column(name, response.c[name].type) for name in BOOKED])
    added = insert(response).from_select(BOOKED, given).on_conflict_do_nothing()
    return added.returning(response.c.message_id, response.c.digest)


def _price(
    billed_response: Response, payer: Payer, lane: Lane, at: datetime
) -> tuple[Decimal, str]:
    """Return the cost of a response by the model that it names, or else by the requested model, and a remark on the price.

    Without a price the response is booked at 0 and the remark says so, so that every billed response is recorded.
    """
    asked = payer.model(lane)
    for model in (billed_response.model or asked, asked):
        with suppress(LookupError):
            return cost(billed_response.usage, model=model, lane=lane, at=at), ""
    return Decimal(0), f", no price for {asked}"


EXAMPLES = 3
OVER = "The provider's bill of that day agrees with the ledger, or is no longer compared."
# A call is billed between its start and its end, a request of a batch between the batch's intent and the request's end.
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
# The largest responses that fit into the missing tokens; if only one response is missing, the first of them is that one.
FIT = f"""
select message_id from ({SERVED}) s
 where model = :model and lane = :lane and first < :until and last >= :since
   and {" and ".join(f"{kind} <= :{kind}" for kind in KINDS)}
 order by input + cache_read + cache_write desc, output desc, message_id limit {EXAMPLES}
"""


def sum_by_period(
    connection: Connection, provider: str, since: datetime, until: datetime, width: timedelta
) -> dict[BillKey, LedgerRow]:
    """Return the ledger's sums for a block's account in each period of `width` between two moments, by model and lane."""
    given = {"provider": provider, "since": since, "until": until, "width": width}
    rows_by_key = defaultdict[BillKey, LedgerRow](LedgerRow)
    for row in connection.execute(text(LEDGER), given):
        rows_by_key[_bill_key(row)] = LedgerRow(Tokens(row.least), Tokens(row.most))
    for row in connection.execute(text(UNKNOWN), given):
        of = rows_by_key[_bill_key(row)]
        of.unknown, of.unknown_usd = row.attempts, row.usd
    return rows_by_key


def _bill_key(row: Any) -> BillKey:
    return BillKey(row.at.astimezone(UTC), row.model, Lane(row.lane))


def missing_examples(
    connection: Connection, provider: str, difference: BillDifference, width: timedelta
) -> Sequence[str]:
    """Return message ids of responses in the ledger, of a block's account, to which the missing tokens may belong."""
    at, model, lane = difference.of
    sums = {kind: difference.missing[kind] for kind in KINDS}
    given = {"since": at, "until": at + width, "model": model, "lane": lane, **sums}
    given["provider"] = provider
    return connection.execute(text(FIT), given).scalars().all() if difference.missing else []


def record_differences(
    connection: Connection,
    found: Mapping[str, Sequence[BillDifference]],
    *,
    complete: bool = True,
    now: datetime,
) -> None:
    """Keep an incident open for each day on which an account's bill differs.

    `found` has the differences by account; "" stands for the only account. If they are `complete`, the incidents of all other
    days are resolved.
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
