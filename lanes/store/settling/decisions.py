"""Decisions that people make: adopt, resubmit or give up an open batch, retry failed items, and label items for review.

The review queue lists items that a person should label: a uniform sample, and items with two different answers. The uniform
sample comes first, ordered by hash, so that the labels of a partly labeled queue are also a fair sample. A differing answer
does not move an item of the uniform sample forward.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, select, text

from lanes.batch.batch import REPEATED, UNCONFIRMED, Stakes
from lanes.errors import ActionRefused, StillLocked
from lanes.ids import BatchId, ItemId, WorkId
from lanes.money.cost import upper_bound
from lanes.packing import Claim, history_chars
from lanes.settling import attempts
from lanes.settling.outcome import Attempt, Judgment
from lanes.store import signals
from lanes.store.batch import batches, doubts
from lanes.store.database import LOCK_PATIENCE, limit_waits
from lanes.store.doors.full_data import read_lengths
from lanes.store.money import sharing
from lanes.store.routing import turnarounds
from lanes.store.settling import outcomes
from lanes.store.statements import call_bytes, characters, one_of
from lanes.store.states import ANSWERING, OPEN_WORK
from lanes.store.tables import batch, item, work
from lanes.store.workload import workloads
from lanes.units import pluralize
from lanes.words import FINISHED_BATCH, BatchState, Lane, WorkState
from lanes.workload.version import Version

CHUNK = 500  # items given up in one statement
MOST_BYTES_PER_CHAR = 4  # upper bound with UTF-8 and escapes


def stakes(
    connection: Connection, batch_id: BatchId, *, workload: str | None = None, now: datetime
) -> Stakes:
    """Return the stakes of an open batch (items and costs), which must belong to `workload` if it is given.

    Raises:
        ActionRefused: no open batch matches.
    """
    return _stakes(connection, _open(connection, batch_id, workload), now)


def list_stakes(
    connection: Connection, *, now: datetime
) -> list[tuple[Stakes, datetime, str | None]]:
    """Return the stakes, the time of the intent and the note of every open batch, oldest first."""
    rows = connection.execute(batches.select_doubts(batch.c.state.not_in(FINISHED_BATCH))).all()
    return [(_stakes(connection, row, now), row.intended_at, row.note) for row in rows]


def adopt(
    connection: Connection,
    batch_id: BatchId,
    provider_batch_id: str,
    *,
    workload: str | None = None,
    now: datetime,
) -> str:
    """Adopt the provider's batch as unproved until its first result proves it; return the new state as a sentence.

    Raises:
        ActionRefused: no open batch matches, the batch is proved to be another one at the provider, or the provider's batch
            belongs to another batch.
        StillLocked: another open transaction has locked the batch.
    """
    with limit_waits(connection, LOCK_PATIENCE):
        return _adopt(connection, batch_id, provider_batch_id, workload, now)


def _adopt(
    connection: Connection,
    batch_id: BatchId,
    provider_batch_id: str,
    workload: str | None,
    now: datetime,
) -> str:
    row = _read_owned(connection, batch_id, workload, lock=True)
    if row.provider_batch_id is not None and not row.unproved:
        raise ActionRefused(
            f"batch {batch_id} is {row.provider_batch_id} for certain; it can be resubmitted or given up"
        )
    if batches.find_owned_ids(connection, [provider_batch_id]) - {row.provider_batch_id}:
        raise ActionRefused(
            f"another batch of ours is {provider_batch_id} already: see lanes.batch_status"
        )
    if doubts.strangers(connection, row.account, [provider_batch_id]):
        raise ActionRefused(
            f"{provider_batch_id} is a stranger's: its results carry another's nonce"
        )
    if row.provider_batch_id is not None and row.provider_batch_id != provider_batch_id:
        doubts.let_go(connection, batch_id)
    expected = turnarounds.estimate_end(connection, batch_id, now=now)
    doubts.adopt(connection, batch_id, provider_batch_id, expected_end_at=expected, now=now)
    return f"batch {batch_id} of {row.workload} is {provider_batch_id}: `collect` fetches its results when it has ended"


def resubmit(
    connection: Connection,
    batch_id: BatchId,
    *,
    workload: str | None = None,
    who: str,
    why: str,
    now: datetime,
) -> str:
    """Make the batch's items wait for the next batch; return the new state as a sentence.

    Results that the provider still produces are paid twice: `collect` cancels the batch there, and books it when it has ended.

    Raises:
        ActionRefused: no open batch matches, or it no longer owns items.
        StillLocked: another open transaction has locked the batch or some of its items.
    """
    row = _read_owned(connection, batch_id, workload)
    items = _stakes(connection, row, now).items
    _part(connection, row, f"resubmitted by {who}: {why}", now)
    return (
        f"batch {batch_id} of {row.workload} is resubmitted: {pluralize(items, 'item')} wait for the next batch, and may be "
        "paid twice"
    )


def give_up(
    connection: Connection,
    batch_id: BatchId,
    *,
    workload: str | None = None,
    who: str,
    why: str,
    now: datetime,
) -> str:
    """Give up the batch and its items, which fail with this reason until they are retried; return the new state as a sentence.

    Raises:
        ActionRefused: no open batch matches, or it no longer owns items.
        StillLocked: another open transaction has locked the batch or some of its items; roll this transaction back.
    """
    row = _read_owned(connection, batch_id, workload)
    items = 0
    reason = f"batch {batch_id} was given up by {who}: {why}"
    for given_up in _build_given_up(connection, row, reason, now):
        saved = outcomes.save(connection, given_up, now=now, wait=LOCK_PATIENCE)
        if saved.passed_over:
            raise StillLocked(
                f"another open transaction holds some items of batch {batch_id}; nothing is done, try again"
            )
        items += len(given_up)
    _part(connection, row, f"given up by {who}: {why}", now)
    return (
        f"batch {batch_id} of {row.workload} is given up with {pluralize(items, 'item')}: `lanes retry {row.workload}` "
        "brings back what failed"
    )


def build_unread(
    connection: Connection, batch_id: BatchId, judged: Mapping[Claim, Judgment], *, now: datetime
) -> list[Attempt]:
    """Return an attempt for each claim of the batch whose unreadable answer may be billed, with the upper bound of its cost."""
    row = connection.execute(batches.select_doubts(batch.c.id == batch_id)).one()
    version = workloads.versions(connection, [row.version_id]).get(row.version_id)
    wanted = _select_sized_work().where(one_of([claim.work_id for claim in judged], work.c.id))
    sizes = _sizes(connection, version, connection.execute(wanted).all())
    started = row.submitted_at or row.intended_at
    bounds = {
        claim: _compute_bound_if_priced(version, sizes.get(claim.work_id, 0), row, now)
        for claim in judged
    }
    return [
        attempts.build_unread(claim, judged[claim], started_at=started, now=now, bound_usd=bound)
        for claim, bound in bounds.items()
    ]


def _part(connection: Connection, row: Any, note: str, now: datetime) -> None:
    """Separate the batch from its items: release it if the provider never confirmed it, else supersede it.

    Raises:
        ActionRefused: the batch has changed since it was read.
        StillLocked: another open transaction has locked the batch or some of its items.
    """
    with limit_waits(connection, LOCK_PATIENCE):
        if row.state in UNCONFIRMED:
            note = f"{note}; the provider may have it all the same"
            parted = doubts.release(connection, row.id, note=note, now=now)
        else:
            parted = doubts.supersede(connection, row.id, note=note, now=now)
    if not parted:
        raise ActionRefused(f"batch {row.id} changed meanwhile; look again, then decide")


def _build_given_up(
    connection: Connection, row: Any, why: str, now: datetime
) -> Iterator[list[Attempt]]:
    """Yield attempts for all items of the batch, in chunks; cost bounds are 0 if the real cost can still be booked later."""
    version = workloads.versions(connection, [row.version_id]).get(row.version_id)
    started, last = row.submitted_at or row.intended_at, 0
    while True:
        theirs = work.c.batch_id == row.id, work.c.state == WorkState.SUBMITTED, work.c.id > last
        wanted = _select_sized_work().where(*theirs).order_by(work.c.id).limit(CHUNK)
        owned = connection.execute(wanted).all()
        if not owned:
            return
        last = owned[-1].id
        booked_later = row.provider_batch_id is not None and (row.short_reads or 0) < REPEATED
        bounds = [
            Decimal(0) if booked_later else _compute_bound_if_priced(version, size, row, now)
            for size in _sizes(connection, version, owned).values()
        ]
        yield [
            attempts.build_given_up(
                Claim(each.id, each.claim_no), why, started_at=started, now=now, bound_usd=bound
            )
            for each, bound in zip(owned, bounds, strict=True)
        ]


def _select_sized_work() -> Select[*tuple[Any, ...]]:
    """Select work with its claim number and the upper bound of its payload's bytes in a call."""
    size = call_bytes(item.c.payload).label("size")
    wanted = select(work.c.id, work.c.item_id, work.c.claim_no, size)
    return wanted.join(item, item.c.id == work.c.item_id)


def _stakes(connection: Connection, row: Any, now: datetime) -> Stakes:
    version = workloads.versions(connection, [row.version_id]).get(row.version_id)
    size = call_bytes(item.c.payload).label("size")
    owned = connection.execute(
        select(item.c.id, characters(item.c.payload).label("chars"), size)
        .select_from(work.join(item, item.c.id == work.c.item_id))
        .where(work.c.batch_id == row.id, work.c.state == WorkState.SUBMITTED)
    ).all()
    lengths = read_lengths(connection, {each.id: version for each in owned})
    chars = Counter((each.chars, history_chars(lengths.get(each.id, ()))) for each in owned)
    sizes = Counter(
        each.size + _compute_context_bytes(version, lengths.get(each.id, ())) for each in owned
    )
    repeat_usd = most = None
    if version is not None:  # None if the version is no longer readable
        estimates = sharing.estimates(connection, now=now)
        estimated = (estimates.of(version, *each).batch * many for each, many in chars.items())
        bounds = (_compute_bound(version, size, row, now) * many for size, many in sizes.items())
        with suppress(LookupError):  # the model's price is no longer known
            repeat_usd = sum(estimated, Decimal(0))
            most = sum(bounds, Decimal(0))
    return Stakes(
        row.id, row.workload, row.state, row.provider_batch_id, len(owned), repeat_usd, most
    )


def _sizes(
    connection: Connection, version: Version | None, rows: Sequence[Any]
) -> dict[WorkId, int]:
    """Return the upper bound of each item's bytes in a call, with its history, by work id in the order of the rows."""
    lengths = read_lengths(connection, {each.item_id: version for each in rows})
    return {
        each.id: each.size + _compute_context_bytes(version, lengths.get(each.item_id, ()))
        for each in rows
    }


def _compute_context_bytes(version: Version | None, lengths: Sequence[int]) -> int:
    """Return the upper bound of the bytes that the context takes in a call: reference rows, and earlier items.

    `lengths` are the earlier items' sizes in characters.
    """
    rows = 0 if version is None else version.spec.context.reference_chars
    return MOST_BYTES_PER_CHAR * (history_chars(lengths) + rows)


def _compute_bound_if_priced(
    version: Version | None, size: int, row: Any, now: datetime
) -> Decimal:
    """Return the value of `_compute_bound`, or 0 if the version is unreadable or its model's price is no longer known."""
    with suppress(LookupError):
        return Decimal(0) if version is None else _compute_bound(version, size, row, now)
    return Decimal(0)


def _compute_bound(version: Version, size: int, row: Any, now: datetime) -> Decimal:
    return upper_bound(version, size, lane=Lane.BATCH, marked=row.marked_requests > 0, at=now)


def _read_owned(
    connection: Connection, batch_id: BatchId, workload: str | None, *, lock: bool = False
) -> Any:
    row = _open(connection, batch_id, workload, lock=lock)
    if row.state == BatchState.SUPERSEDED:
        raise ActionRefused(f"batch {batch_id} no longer owns items; `collect` closes it")
    return row


def _open(
    connection: Connection, batch_id: BatchId, workload: str | None, *, lock: bool = False
) -> Any:
    """Return the row of an open batch; with `lock`, lock it until this transaction ends."""
    wanted = batches.select_doubts(batch.c.id == batch_id)
    locked = wanted.with_for_update(key_share=True, of=batch)
    row = connection.execute(locked if lock else wanted).first()
    if row is None or workload not in (None, row.workload):
        named = f'workload "{workload}" has' if workload is not None else "there is"
        raise ActionRefused(f"{named} no batch {batch_id}: see `lanes batches`")
    if row.state in FINISHED_BATCH:
        raise ActionRefused(f"batch {batch_id} is {row.state}: it no longer needs a decision")
    return row


RETRY = f"""
with chosen as (
  select distinct on (i.id) i.id as item_id, w.id as work_id
    from lanes.item i
    join lanes.work w on w.item_id = i.id and w.revision = i.revision and w.state = 'failed' and w.generation = 0
                     and w.purpose in {ANSWERING}
   where i.workload = :workload and i.failure is not null and i.canceled_at is null and i.emptied_at is null
     and (cast(:keys as text[]) is null or i.key = any (:keys))
     and not exists (select from lanes.work o where o.item_id = i.id and o.generation = 0
                        and o.state in {OPEN_WORK})
   order by i.id, w.id desc),
free as (
  select i.id from lanes.item i where i.id in (select item_id from chosen) and i.failure is not null order by i.id
     for no key update skip locked),
again as (
  update lanes.work w
     set state = 'ready', failures = 0, ready_at = :now, waits_since = :now, version_id = :version_id, finished_at = null
    from chosen join free on free.id = chosen.item_id where w.id = chosen.work_id)
update lanes.item i set failed_at = null, settled_at = null, failure = null from free where i.id = free.id
returning i.key
"""


def retry(
    connection: Connection, workload: str, keys: Sequence[str] | None, *, now: datetime
) -> list[str]:
    """Make the failed items among `keys` (None: all of the workload) ready again with a full retry budget; return their keys.

    An item that was settled on its provisional answer because its authoritative pass failed waits for that pass again. All are
    tried with the version in force, which may be a corrected one; past attempts keep the version that they tried. An item that
    another transaction has locked is skipped.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    version = workloads.require(connection, workload)
    keys = None if keys is None else list(keys)
    given = {"workload": workload, "keys": keys, "now": now, "version_id": version.id}
    again = list(connection.execute(text(RETRY), given).scalars())
    signals.wake(connection)
    return sorted(again)


LABELS_A_DAY = 40  # labels that a workload requests per day
REVIEWED_WITHIN = timedelta(days=30)
REVIEWED_AMONG, DIFFERING_AMONG = 200_000, 20_000  # newest items, and newest differing answers

ANSWERED = "i.answered_at is not null and i.canceled_at is null and i.emptied_at is null and i.forgotten_at is null"
# The answers of the chosen items alone are read.
UNIFORM = f"""
select i.id, i.key, i.payload, r.output, array['uniform'] as why
  from (select i.*, lanes.review_chance(i.workload, i.key) as chance
          from (select i.id, i.workload, i.key, i.payload, i.result_id from lanes.item i
                 where i.workload = :workload and i.received_at >= :since and {ANSWERED}
                 order by i.received_at desc, i.id desc limit :among) i
         where lanes.review_chance(i.workload, i.key) < :share
           and not exists (select from lanes.label l where l.item_id = i.id and l.basis <> 'given')
         order by chance limit :most) i
  join lanes.result r on r.id = i.result_id
 order by i.chance
"""
# The reasons for which a label is informative. Each query returns items, of all workloads or of `:workload`, and when the
# reason was detected. Add another reason here.
DIFFERING = {
    "corrected": "select item_id, corrected_at from lanes.correction order by id desc limit :among",
    "lanes differ": """
        select p.item_id, p.answered_at from lanes.shadow_pair p join lanes.rollout o on o.id = p.rollout_id
          join lanes.item i on i.id = p.item_id and i.revision = p.revision join lanes.result r on r.id = i.result_id
         where o.workload = :workload and p.output is not null
           and coalesce((select bool_or(p.output -> f is distinct from r.output -> f) from unnest(cast(:fields as text[])) f),
                        p.output <> r.output)""",
    "alone and packed differ": """
        select c.item_id, c.compared_at from (select * from lanes.pack_check order by id desc limit :among) c
         where not c.agrees""",
    "class that drifts": """
        select e.id::bigint, q.updated_at from lanes.quality q
         cross join jsonb_array_elements_text(q.watch -> 'item_ids' -> (q.watch #>> '{drift,place}')) e (id)
         where q.workload = :workload and q.has_drift and q.watch #> '{drift,ended_at}' = 'null'""",
}
EACH = " union all ".join(
    f"select *, '{why}' as why from ({items}) d (item_id, at)" for why, items in DIFFERING.items()
)
DIFFER = f"""
select i.id, i.key, i.payload, r.output, d.why
  from (select item_id, max(at) as at, array_agg(distinct why) as why from ({EACH}) e group by 1) d
  join lanes.item i on i.id = d.item_id
  join lanes.result r on r.id = i.result_id
 where i.workload = :workload and d.at >= :since and {ANSWERED} and lanes.review_chance(i.workload, i.key) >= :share
   and not exists (select from lanes.label l where l.item_id = i.id)
 order by d.at desc, i.id limit :most
"""
ASKED = """
select count(*) from lanes.label l
 where l.workload = :workload and l.basis <> 'given' and l.labeled_at >= date_trunc('day', cast(:now as timestamptz), 'UTC')
"""


@dataclass(frozen=True)
class ReviewedItem:
    """An item of the review queue with its answer, and the reasons for requesting a label."""

    id: ItemId
    key: str
    payload: Any
    answer: Any
    why: Sequence[str]


def review_queue(
    connection: Connection, version: Version, *, now: datetime, most: int | None = None
) -> list[ReviewedItem]:
    """Return up to `most` items (default: the rest of today's `LABELS_A_DAY`), if possible half from the uniform sample."""
    given: dict[str, Any] = {"workload": version.workload, "now": now}
    given["since"] = now - REVIEWED_WITHIN
    asked: int = connection.execute(text(ASKED), given).scalar_one()
    count = max(LABELS_A_DAY - asked, 0) if most is None else most
    given |= {
        "share": version.spec.review_share,
        "fields": version.spec.compare_fields,
        "most": count,
    }
    uniform = connection.execute(text(UNIFORM), {**given, "among": REVIEWED_AMONG}).all()
    differ = connection.execute(text(DIFFER), {**given, "among": DIFFERING_AMONG}).all()
    first = max(count - len(differ), (count + 1) // 2)
    return [ReviewedItem(*row) for row in [*uniform[:first], *differ][:count]]


def take_back_label(connection: Connection, item: ItemId, *, source: str) -> None:
    """Delete the label that the source gave to the item."""
    query = text("delete from lanes.label where item_id = :item and source = :source")
    connection.execute(query, {"item": item, "source": source})
