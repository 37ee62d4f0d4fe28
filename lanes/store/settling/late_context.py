"""Late context: settled items whose context has changed get one more authoritative pass, once a day in the off-peak window."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import ItemId, WorkId
from lanes.json_data import characters, dumps
from lanes.packing import history_chars
from lanes.store.doors import full_data
from lanes.store.doors.full_data import ReferenceFailed
from lanes.store.money import sharing
from lanes.store.routing import traffic
from lanes.store.statements import document_of
from lanes.store.states import ANSWERING
from lanes.store.workload import workloads
from lanes.units import pluralize, usd
from lanes.workload.context import LATE, ContextTag, fingerprint, late, part_chars
from lanes.workload.version import Version

STEPS = 4  # steps per workload and turn; a step covers `traffic.STEP` items of all workloads
DONE, NEWEST = ItemId(0), ItemId(2**62)
BEGUN = "select late_context from lanes.workload where name = :name and paused_at is null for no key update skip locked"
WRITE = "update lanes.workload set late_context = cast(:state as jsonb) where name = :name"
NOTE = """
update lanes.work w set context = g.context
  from jsonb_to_recordset(cast(:rows as jsonb)) g (id bigint, context jsonb) where w.id = g.id
"""
# Settled items, each with the newest work that answered it or should have answered it.
SETTLED = f"""
select i.id, i.revision, i.payload, i.consumer, i.settled_at, w.id as work_id, w.version_id, w.context
  from lanes.item i
 cross join lateral (
   select w.id, w.version_id, w.context, w.finished_at from lanes.work w
    where w.item_id = i.id and w.generation = 0 and w.revision = i.revision and w.purpose in {ANSWERING}
    order by w.id desc limit 1) w
 where i.id >= :first and i.id < :before and i.workload = :name and i.received_at >= :since and i.position > 0
   and i.settled_at is not null and i.canceled_at is null and i.emptied_at is null and w.finished_at is not null
 order by i.id desc
"""
# The pass works like an amendment with the same payload: it has a revision of its own, and corrects the answer if it differs.
OWE = f"""
with late as (
  select i.*, l.parts, (select coalesce(max(r.number), 0) + 1 from lanes.revision r where r.item_id = i.id) as newest
    from unnest(cast(:ids as bigint[]), cast(:revisions as int[]), cast(:parts as text[])) l (of, number, parts)
    join lanes.item i on i.id = l.of and i.revision = l.number
   where i.settled_at is not null and i.canceled_at is null
     for no key update of i skip locked),
first as (
  insert into lanes.revision (item_id, number, payload, source, received_at, occurred_at)
  select id, revision, payload, source, received_at, occurred_at from late on conflict do nothing),
again as (
  insert into lanes.revision (item_id, number, payload, source, place, received_at, occurred_at)
  select id, newest, payload, '{LATE}', parts, :now, as_of from late),
moved as (
  update lanes.item i set revision = late.newest, settled_at = null, settled_reason = null, failure = null
    from late where i.id = late.id)
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
select id, workload, :version, 'batch', 'authoritative', newest, 'ready', :now, :now, :now from late
"""


@dataclass
class LateRound:
    """The progress of a workload's comparison in the window that opened at `opened`: items below `before` are left."""

    opened: str
    before: ItemId = NEWEST
    items: int = 0
    usd: float = 0


def note(connection: Connection, read: Mapping[WorkId, Any]) -> None:
    """Store the digests of the context that each piece of work was sent with."""
    if read:
        rows = [{"id": id_, "context": digests} for id_, digests in read.items()]
        connection.execute(text(NOTE), {"rows": document_of(rows)})


def owe(connection: Connection, *, now: datetime) -> list[str]:
    """Insert passes for the next items with late context; return a sentence for each round that ended or failed.

    In a workload's off-peak window, its items within the horizon are compared once, newest first, some at each call, until its
    budget of the day is exhausted.
    """
    sentences = list[str]()
    for version in workloads.read_versions(connection).values():
        opened = version.spec.window.find_opening(now) if version.spec.corrects_late else None
        if opened is None:
            continue
        row = connection.execute(text(BEGUN), {"name": version.workload}).first()
        if row is None:
            continue
        state = LateRound(opened.isoformat())
        if row.late_context is not None and row.late_context["opened"] == state.opened:
            state = LateRound(**row.late_context)
        if state.before == DONE:
            continue
        try:
            with connection.begin_nested():
                ending = _compare(connection, version, state, now)
        except ReferenceFailed as failure:
            sentences.append(f"late context of {version.workload} is not looked for: {failure}")
            continue
        connection.execute(text(WRITE), {"name": version.workload, "state": dumps(vars(state))})
        if ending:
            what = f"{pluralize(state.items, 'item')} of {version.workload} for about {usd(Decimal(str(state.usd)))}"
            sentences.append(f"late context asks again for {what}{ending}")
    return sentences


def _compare(connection: Connection, version: Version, state: LateRound, now: datetime) -> str:
    """Compare the next items; return how the round ended as the end of a sentence, or "" if it continues."""
    since = now - timedelta(days=version.spec.context.horizon_days)
    for _ in range(STEPS):
        part = connection.execute(traffic.step(state.before)).one()
        if part.first is None or part.last < since:
            state.before = DONE
            return ", the last of them"
        asked = {"name": version.workload, "since": since, "first": part.first}
        rows = connection.execute(text(SETTLED), {**asked, "before": state.before}).all()
        state.before = part.first
        if not _owe(connection, version, rows, state, now):
            state.before = DONE
            return ": the budget of the day is used up"
    return ""


def _owe(
    connection: Connection, version: Version, rows: Any, state: LateRound, now: datetime
) -> bool:
    """Insert a pass for each item with late context; return False once the budget is exhausted."""
    estimates, owed = sharing.estimates(connection, now=now), list[tuple[ItemId, int, str]]()
    unread, affordable = dict[WorkId, Any](), True
    for work_version in workloads.versions(connection, {row.version_id for row in rows}).values():
        version_rows = [row for row in rows if row.version_id == work_version.id]
        keyed = {
            row.work_id: {"payload": row.payload, "consumer": row.consumer} for row in version_rows
        }
        parts = full_data.read(connection, work_version, keyed)
        for row in version_rows:
            context_parts = parts.get(row.work_id, ())
            changed = late(context_parts, row.context, row.settled_at)
            if not changed:
                if row.context is None and context_parts:
                    unread[row.work_id] = fingerprint(context_parts)
                continue
            lengths = [
                part_chars(each) for each in context_parts if each.part is ContextTag.HISTORY
            ]
            size = characters(row.payload), history_chars(lengths)
            cost = float(estimates.of(version, *size).batch)
            if state.usd + cost > version.spec.context.budget_usd:
                affordable = False
                break
            owed.append((row.id, row.revision, ", ".join(changed)))
            state.usd, state.items = state.usd + cost, state.items + 1
    note(connection, unread)
    if owed:
        ids, revisions, changed = map(list, zip(*owed, strict=True))
        given = {"ids": ids, "revisions": revisions, "parts": changed}
        connection.execute(text(OWE), given | {"version": version.id, "now": now})
    return affordable
