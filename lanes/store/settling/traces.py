"""The stored facts from which traces are built. Items of golden sets have no traces."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, text

from lanes.ids import BatchId, ItemId, WorkId
from lanes.packing import Claim
from lanes.settling.trace import (
    MOST_LINKS,
    ItemFacts,
    Span,
    TracedAttempt,
    TracedBatch,
    TracedCorrection,
    TracedItem,
    TracedRoute,
    attempt_ref,
    batch_span,
    call_span,
    is_part,
    item_ref,
    spans,
)

ITEM = "i.id, i.workload, i.received_at, i.trace, i.answered_at, i.failed_at, i.canceled_at"
ATTEMPT = """
a.item_id, a.id, a.work_id, a.claim_no, a.lane, a.purpose, a.outcome,
case a.lane when 'batch' then v.batch_model else v.realtime_model end, a.model, a.shown,
a.started_at, a.ended_at, a.gathered_ms,
a.input_tokens, a.output_tokens, a.cache_read_tokens, a.cache_write_tokens, a.message_id, r.id, r.billed_at, r.items,
a.batch_id, b.intended_at
"""
WITH_CARRIER = """
  join lanes.version v on v.id = a.version_id
  left join lanes.response r on r.message_id = a.message_id
  left join lanes.batch b on b.id = a.batch_id
"""
ITEMS = text(f"""
select {ITEM} from lanes.item i where i.id = any(:ids) and coalesce(i.position, 0) >= 0 order by i.id
""")
ROUTES = text("""
select t.item_id, t.id, t.lane, t.reason, v.number, t.decided_at
  from lanes.route t join lanes.version v on v.id = t.version_id
 where t.item_id = any(:ids) order by t.id
""")
ATTEMPTS = text(
    f"select {ATTEMPT} from lanes.attempt a {WITH_CARRIER} where a.item_id = any(:ids) order by a.id"
)
CORRECTIONS = text("""
select c.item_id, c.id, s.work_id, c.corrected_at
  from lanes.correction c join lanes.result s on s.id = c.authoritative_id
 where c.item_id = any(:ids) order by c.id
""")
SAVED = text(f"""
select {ITEM}, a.id
  from unnest(cast(:works as bigint[]), cast(:numbers as int[])) of (work_id, claim_no)
  join lanes.attempt a on a.work_id = of.work_id and a.claim_no = of.claim_no
  join lanes.item i on i.id = a.item_id
 where coalesce(i.position, 0) >= 0
 order by i.id
""")
SHARERS = text(f"""
select {ITEM}, {ATTEMPT}
  from lanes.attempt a join lanes.item i on i.id = a.item_id {WITH_CARRIER}
 where a.message_id = any(:messages) order by a.id
""")
BATCHES = text("""
select b.id, b.workload, b.model, b.requests, b.items, b.intended_at, b.collected_at
  from lanes.batch b where b.id = any(:ids) and b.collected_at is not null order by b.id
""")
MEMBERS = text(f"""
select {ITEM}, a.id as attempt_id
  from lanes.batch_member m
  join lanes.attempt a on a.work_id = m.work_id and a.claim_no = m.claim_no and a.batch_id = m.batch_id
  join lanes.item i on i.id = a.item_id
 where m.batch_id = :id order by m.request_no, m.slot limit {MOST_LINKS}
""")
ITEM_OF_WORK = text("select item_id from lanes.work where id = :id")
OF_ITEM = len(TracedItem._fields)
Sharers = list[tuple[TracedItem, TracedAttempt]]
Member = tuple[TracedItem, int]  # an item with the id of its attempt
T = TypeVar("T")


def read_saved(
    connection: Connection, claims: Collection[Claim]
) -> tuple[list[TracedItem], set[int]]:
    """Return the items of these claims, and the ids of the claims' attempts."""
    works, numbers = [each.work_id for each in claims], [each.number for each in claims]
    rows = connection.execute(SAVED, {"works": works, "numbers": numbers}).all()
    found = {row[0]: row for row in rows}
    return [TracedItem._make(row[:OF_ITEM]) for row in found.values()], {row[-1] for row in rows}


def items(connection: Connection, ids: Iterable[ItemId]) -> list[TracedItem]:
    """Return the items with these ids, except golden items."""
    return [TracedItem._make(row) for row in connection.execute(ITEMS, {"ids": sorted(ids)})]


def read_log_ids(connection: Connection, work_id: WorkId) -> dict[str, object]:
    """Return a work's item id and trace id as fields of a log line; empty if the work or its trace does not exist."""
    item_id = connection.execute(ITEM_OF_WORK, {"id": work_id}).scalar_one_or_none()
    found = [] if item_id is None else items(connection, [item_id])
    return {"item": found[0].id, "trace": item_ref(found[0]).trace_id.hex()} if found else {}


def facts(connection: Connection, traced_items: Sequence[TracedItem]) -> list[ItemFacts]:
    """Return the facts of these items, in the same order."""
    at = {"ids": [each.id for each in traced_items]}
    routes = _group_by_item(map(TracedRoute._make, connection.execute(ROUTES, at)))
    attempts = _group_by_item(map(TracedAttempt._make, connection.execute(ATTEMPTS, at)))
    corrections = _group_by_item(map(TracedCorrection._make, connection.execute(CORRECTIONS, at)))
    return [
        ItemFacts(each, routes[each.id], attempts[each.id], corrections[each.id])
        for each in traced_items
    ]


def sharers(connection: Connection, messages: Collection[str]) -> list[Sharers]:
    """Return, for each response, the attempts that shared it, each with its item."""
    found = defaultdict[str, Sharers](list)
    if messages:
        for row in connection.execute(SHARERS, {"messages": list(messages)}):
            attempt = TracedAttempt._make(row[OF_ITEM:])
            found[attempt.message_id or ""].append((TracedItem._make(row[:OF_ITEM]), attempt))
    return list(found.values())


def batches(
    connection: Connection, ids: Collection[BatchId]
) -> list[tuple[TracedBatch, list[Member]]]:
    """Return the collected batches among `ids`, each with up to `MOST_LINKS` members."""
    traced: list[tuple[TracedBatch, list[Member]]] = []
    for row in connection.execute(BATCHES, {"ids": list(ids)}).all():
        batch = TracedBatch._make(row)
        members = connection.execute(MEMBERS, {"id": batch.id}).all()
        traced.append((batch, [(TracedItem._make(it[:OF_ITEM]), it[OF_ITEM]) for it in members]))
    return traced


def whole(connection: Connection, item_id: ItemId) -> list[Span]:
    """Return an item's own spans, followed by the spans of its shared calls and its batches."""
    [item_facts] = facts(connection, items(connection, [item_id]))
    messages = {
        each.message_id for each in item_facts.attempts if each.message_id and is_part(each)
    }
    carried = {each.batch_id for each in item_facts.attempts if each.batch_id is not None}
    calls = map(call_span, sharers(connection, messages))
    return [
        *spans(item_facts),
        *calls,
        *(
            batch_span(each, [attempt_ref(*member) for member in members])
            for each, members in batches(connection, carried)
        ),
    ]


def _group_by_item(rows: Iterable[T]) -> dict[ItemId, list[T]]:
    found = defaultdict[ItemId, list[T]](list)
    for each in rows:
        found[each[0]].append(each)  # pyright: ignore[reportIndexIssue]
    return found
