"""The collection of a batch: its progress at the provider, the requests that still lack results, and its end."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, exists, or_, select, text

from lanes.batch.batch import COUNTS, PRIMER, OpenBatch, ShortReads, Tally, count_short_read, counts
from lanes.ids import BatchId
from lanes.json_data import replace_unstorable
from lanes.packing import Claim
from lanes.realtime.health import PastFaults, find_faulty
from lanes.store.batch import batches, doubts
from lanes.store.batch.creates import is_orphan
from lanes.store.statements import one_of
from lanes.store.tables import attempt, batch, batch_doubt, batch_member, work
from lanes.words import BatchState, Outcome

# The history of each faulted request, by its work; earlier faults are found in the batch attempts of that work.
PAST_FAULTS = """
with faulted as (
  select f.request,
         bool_and(exists (
           select from lanes.attempt a where a.work_id = f.work_id and a.batch_id is not null and a.outcome = 'errored'
         )) as beside_answers,
         max((select min(a.ended_at) from lanes.attempt a
               where a.work_id = f.work_id and a.batch_id is not null and a.outcome in ('errored', 'unserved'))) as first_at,
         min((select max(a.ended_at) from lanes.attempt a
               where a.work_id = f.work_id and a.batch_id is not null and a.outcome in ('errored', 'unserved'))) as last_at
    from unnest(cast(:requests as int[]), cast(:works as bigint[])) f(request, work_id)
   group by 1),
asking as (
  select w.name, l.lane
    from lanes.version v
    join lanes.workload w on w.version_id = v.id
   cross join lateral (values ('batch', v.batch_model), ('realtime', v.realtime_model)) l(lane, model)
   where l.model = :model and coalesce(w.account, :account) = :account)
select f.request, f.beside_answers,
       exists (
         select from asking of join lanes.attempt a on a.workload = of.name and a.lane = of.lane and a.ended_at > f.first_at
          where a.message_id is not null) as answered_since,
       exists (
         select from asking of join lanes.attempt a on a.workload = of.name and a.lane = of.lane and a.ended_at > :begun_at
          where a.message_id is not null) as answered_meanwhile,
       exists (
         select from lanes.outage o
          where o.account = :account and o.model = :model and o.over_at is null and o.state <> 'closed')
       or exists (
         select from asking of join lanes.attempt a on a.workload = of.name and a.lane = 'batch' and a.ended_at > f.last_at
          where of.lane = 'batch' and a.outcome = 'unserved' and a.work_id <> all(cast(:works as bigint[]))) as others_faulted
  from faulted f
"""
NOT_COUNTED: Mapping[str, int] = {}
_OF_CLAIM = and_(
    attempt.c.work_id == batch_member.c.work_id, attempt.c.claim_no == batch_member.c.claim_no
)


def progress(connection: Connection, batch_id: BatchId, *, processed: int) -> None:
    """Record how many of the batch's requests the provider has finished."""
    batches.change(connection, batch_id, processed=processed)


def mark_ended(
    connection: Connection,
    batch_id: BatchId,
    *,
    at: datetime,
    now: datetime,
    outcomes: Mapping[str, int] = NOT_COUNTED,
) -> None:
    """Record that the provider finished the batch at `at`, and emit an event once, with the requests' outcomes."""
    superseded = and_(batch.c.state == BatchState.SUPERSEDED, batch.c.ended_at.is_(None))
    submitted = batch.c.state == BatchState.SUBMITTED
    row = batches.change(
        connection,
        batch_id,
        or_(submitted, superseded),
        state=case((submitted, BatchState.ENDED), else_=batch.c.state),
        ended_at=at,
        processed=batch.c.requests,
    )
    if row is not None:
        payload = {"requests": row.requests, "items": row.items, **outcomes}
        batches.announce(connection, "lanes.batch.ended", batch_id, row.workload, payload, now=now)


def members(
    connection: Connection, batch_id: BatchId, request_nos: Sequence[int]
) -> dict[int, list[Claim]]:
    """Return the claims behind those requests, in the order of their slots."""
    return _claims(connection, batch_id, one_of(request_nos, batch_member.c.request_no))


def find_own_faults(
    connection: Connection, open_batch: OpenBatch, faulted: Mapping[int, Sequence[Claim]]
) -> set[int]:
    """Return the requests that caused their faults themselves, in a batch without any answered request."""
    if not faulted:
        return set()
    each = [(number, claim.work_id) for number, claims in faulted.items() for claim in claims]
    given = {"requests": [number for number, _ in each], "works": [work for _, work in each]}
    asked = {
        **given,
        "account": open_batch.account,
        "model": open_batch.model,
        "begun_at": open_batch.begun_at,
    }
    rows = connection.execute(text(PAST_FAULTS), asked).all()
    return find_faulty(
        {row.request: PastFaults(row.beside_answers, row.answered_since) for row in rows},
        answered_meanwhile=any(row.answered_meanwhile for row in rows),
        others_faulted=any(row.others_faulted for row in rows),
    )


def read_outstanding(connection: Connection, batch_id: BatchId) -> dict[int, list[Claim]]:
    """Return the batch's claims that have no attempt yet, by request number; archived work needs none."""
    is_kept = exists().where(work.c.id == batch_member.c.work_id)
    return _claims(connection, batch_id, and_(is_kept, ~exists().where(_OF_CLAIM)))


def find_given_up(connection: Connection, batch_id: BatchId) -> set[int]:
    """Return the requests with items that were given up before one of their results was booked."""
    booked = exists().where(_OF_CLAIM, attempt.c.outcome != Outcome.GIVEN_UP)
    given = exists().where(_OF_CLAIM, attempt.c.outcome == Outcome.GIVEN_UP)
    wanted = select(batch_member.c.request_no).where(given, ~booked)
    its = wanted.where(batch_member.c.batch_id == batch_id).distinct()
    return set(connection.execute(its).scalars())


def _claims(
    connection: Connection, batch_id: BatchId, only: ColumnElement[bool]
) -> dict[int, list[Claim]]:
    """Return the claims of the matching members of the batch by request number, in the order of their slots."""
    member = batch_member.c
    rows = connection.execute(
        select(member.request_no, member.work_id, member.claim_no)
        .where(member.batch_id == batch_id, only)
        .order_by(member.request_no, member.slot)
    )
    found: dict[int, list[Claim]] = {}
    for row in rows:
        found.setdefault(row.request_no, []).append(Claim(row.work_id, row.claim_no))
    return found


def short_read(
    connection: Connection, batch_id: BatchId, lacking: Collection[int], *, now: datetime
) -> ShortReads:
    """Count a read of the results that ended without these requests; return the number of such reads in a row."""
    doubt = select(batch_doubt).where(batch_doubt.c.batch_id == batch_id)
    row = connection.execute(doubt.with_for_update()).first()
    before = None
    if row and row.short_read_lacking is not None and row.short_read_at is not None:
        before = ShortReads(row.short_reads, row.short_read_lacking, row.short_read_at)
    after = count_short_read(before, lacking, now=now)
    doubts.note(
        connection,
        batch_id,
        short_reads=after.times,
        short_read_lacking=after.lacking,
        short_read_at=after.counted_at,
    )
    return after


def write_note(connection: Connection, batch_id: BatchId, note: str | None) -> None:
    """Write the reason why the batch cannot be collected into its note; a collected batch keeps its note."""
    there = batch.c.state.in_([BatchState.SUBMITTED, BatchState.ENDED])
    batches.change(connection, batch_id, there, note=note and replace_unstorable(note))


def count(connection: Connection, batch_id: BatchId, outcomes: Mapping[Outcome, int]) -> None:
    """Change the batch's item counts by these outcomes; only `outcomes.save` calls this function."""
    if sums := counts(outcomes):
        values = {name: batch.c[name] + n for name, n in sums.items()}
        batches.change(connection, batch_id, **values)


def mark_collected(connection: Connection, batch_id: BatchId, *, now: datetime) -> Tally | None:
    """Close the batch after its last result; return the tally of its outcomes, None if it was not `ended`.

    A superseded batch, whose work went elsewhere, is released without a tally: items without an outcome were never counted.
    """
    superseded = batch.c.state == BatchState.SUPERSEDED
    row = batches.change(
        connection,
        batch_id,
        batch.c.state.in_([BatchState.ENDED, BatchState.SUPERSEDED]),
        state=case((superseded, BatchState.RELEASED), else_=BatchState.COLLECTED),
        collected_at=now,
        note=case((superseded | (batch.c.note == PRIMER) | is_orphan(), batch.c.note)),
    )
    if row is None:
        return None
    outcomes: dict[str, int] = {name: getattr(row, name) for name in COUNTS}
    payload = {"items": row.items, **outcomes}
    batches.announce(connection, "lanes.batch.collected", batch_id, row.workload, payload, now=now)
    doubts.resolve_incident(connection, batch_id, f"Batch {batch_id} came back.", now=now)
    if row.state != BatchState.COLLECTED:
        return None
    return Tally(row.items, sum(outcomes.values()), row.missing)
