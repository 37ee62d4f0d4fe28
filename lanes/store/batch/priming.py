"""Whether a version's next batch is a primer for the provider's cache, waits for one, or leaves whole."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from lanes.money.caching import (
    SHORTEST_CACHED,
    WARM_FOR,
    BatchCache,
    Marks,
    PrimerStep,
    marked_requests,
    primer_saves,
)
from lanes.money.cost import shared_tokens
from lanes.money.pack_size import PackSizes
from lanes.routing.prospect import Prospect
from lanes.store import asking
from lanes.store.asking import Ask, read_as
from lanes.store.batch.ready_work import due_before, safe_from
from lanes.store.money import sharing
from lanes.store.routing import turnarounds
from lanes.store.tables import work
from lanes.store.work import claimable
from lanes.units import clock
from lanes.words import Lane
from lanes.workload.version import Version

COUNTED = 100_000  # items of the next batch

# The version's newest batches that marked requests. One that was never created wrote nothing; of one of which most items were
# answered, a request that marked probably was.
LEFT_IN_CACHE = """
select coalesce(bool_or(state = 'collected' and ended_at > :lately and 2 * answered > items), false) as warm,
       max(id) filter (where is_primer and is_out) as primer,
       max(stated_back_at) filter (where is_primer and is_out) as until,
       coalesce(bool_or(is_primer and (is_out or coalesce(ended_at, intended_at) > :lately)), false) as primed
  from (select *, succeeded + invalid as answered, requests = 1 as is_primer, state in ('submitted', 'ended') as is_out
          from lanes.batch
         where version_id = :version and marked_requests > 0 and state <> 'released'
         order by id desc limit 50) b
"""


@dataclass(frozen=True)
class CachePlan:
    """The step of a version's next batch, and which of its requests mark their prefix; `until` bounds a primer's wait."""

    marked: range
    step: PrimerStep = PrimerStep.NONE
    until: datetime | None = None
    said: str = ""


def plan(connection: sa.Connection, version: Version, marks: Marks, *, now: datetime) -> CachePlan:
    """Return the plan of the version's next batch, whose requests mark their prefix as `marks` says."""
    shared = shared_tokens(version.spec)
    if marks is Marks.NONE or (marks is Marks.SOME and shared < SHORTEST_CACHED):
        return CachePlan(marked_requests(marks))
    cache = left_in_cache(asking.through(connection), version, now=now)
    whole = CachePlan(marked_requests(marks, warm=cache.warm))
    if cache.warm:
        return whole
    prospects = turnarounds.prospects(connection, now=now)
    until = cache.until or prospects.of_size(version, 1).stated_back_at
    named = {version.workload: safe_from(prospects.of(version), until, now)}
    endangers = bool(connection.execute(due_before(named, now)).first())
    saves = _saved_usd(connection, version, shared, prospects.of(version), now)
    match step := cache.step(saves=saves, endangers=endangers, now=now):
        case PrimerStep.NONE:
            return whole
        case PrimerStep.SEND:
            return CachePlan(whole.marked, step, until)
        case PrimerStep.WAIT:
            at_latest = clock(until, beside=now)
            said = f"it waits for batch {cache.primer}, which primes the provider's cache, until {at_latest} at the latest"
            return CachePlan(whole.marked, step, until, said)


def left_in_cache(ask: Ask, version: Version, *, now: datetime) -> BatchCache:
    """Return what earlier batches of the version left in the provider's cache."""
    (row,) = ask(LEFT_IN_CACHE, version=version.id, lately=now - WARM_FOR)
    return read_as(BatchCache, row)


def _saved_usd(
    connection: sa.Connection, version: Version, shared: int, prospect: Prospect, now: datetime
) -> Decimal:
    """Return what a primer saves, less what the value of all items loses while they wait for it."""
    spec, size = version.spec, PackSizes(sharing.in_force(connection)).of(version, Lane.BATCH)
    ready = claimable(Lane.BATCH, now), work.c.workload == version.workload
    some = sa.select(work.c.id).where(*ready, work.c.version_id == version.id).limit(COUNTED)
    items = connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
    saved = primer_saves(-(-items // size), shared, model=spec.batch_model, at=now)
    if not spec.value_usd:
        return saved
    lost = prospect.lost(early=True)
    return saved - Decimal(items * spec.value_usd * lost * (1 - lost))
