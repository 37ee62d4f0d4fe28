"""All records of one item, the causes that may hold its work, and counts of the open work of followed items."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.errors import UnknownItem
from lanes.settling.holds import FollowedBatch, Holds, OpenCounts, OpenWork, Row
from lanes.settling.story import ItemRecords
from lanes.store import asking
from lanes.store.asking import read_as
from lanes.store.batch.ready_work import find_awaited_primer
from lanes.store.money import budgets, caching
from lanes.store.realtime import call_waits, circuits, load
from lanes.store.states import OPEN_WORK, UNROUTED_ITEM
from lanes.store.workload import accounts, workloads
from lanes.words import BatchState, Lane, Purpose, WorkState

OF_ITEM = "workload = :workload and key = :key"
# Attempts with the number of items in their call, and the decision about the pack size that was in force.
ATTEMPTS = f"""
select l.*, r.items as shared, s.size, s.allowed, s.why
  from (select * from lanes.attempt_log where {OF_ITEM}) l
  left join lanes.response r on r.message_id = l.message_id
  left join lateral (
    select p.size, p.allowed, p.why from lanes.pack_size p
     where p.workload = l.workload and p.lane = l.lane and p.model = l.model and p.decided_at <= l.started_at
     order by p.id desc limit 1) s on l.purpose <> 'shadow'
 order by l.attempt
"""
QUERIES = {
    "routes": "select r.*, v.number as version from lanes.route r join lanes.version v on v.id = r.version_id"
    " where r.item_id = :item_id order by r.id",
    "attempts": ATTEMPTS,
    "corrections": f"select * from lanes.correction_log where {OF_ITEM} order by corrected_at",
    "revisions": f"select * from lanes.revision_log where {OF_ITEM} and revision > 0 order by revision",
    "work": "select w.*, i.urgent, case w.lane when 'batch' then v.batch_model else v.realtime_model end as model"
    " from lanes.work w join lanes.version v on v.id = w.version_id join lanes.item i on i.id = w.item_id"
    " where w.item_id = :item_id order by w.id",
    "results": "select r.*, v.number as version from lanes.result r join lanes.version v on v.id = r.version_id"
    " where r.item_id = :item_id order by r.id",
    "checks": "select * from lanes.pack_check where item_id = :item_id order by id",
    "reads": "select * from lanes.read where item_id = :item_id order by id",
}

INCIDENTS = """
select promise, subject, why, opened_at from lanes.incident
 where state = 'open' and (workload = :workload or workload = '*' and (:account = '' or subject = :account))
   and (promise in ('provider_frozen', 'batch_unclear', 'batch_slow') or subject = 'context')
 order by opened_at
"""
BATCHES = """
select b.*, d.create_ended_at from lanes.batch b left join lanes.batch_doubt d on d.batch_id = b.id
 where b.id = any(cast(:ids as bigint[]))
"""


def records(
    connection: Connection,
    workload: str,
    key: str,
    *,
    now: datetime,
    archived_at: datetime | None = None,
) -> ItemRecords:
    """Return all records of one item; an archived item needs `archives.restore_archived`, which yields `archived_at`.

    Raises:
        UnknownItem: the workload has no item with this key.
    """
    parameters: dict[str, Any] = {"workload": workload, "key": key}

    def read(query: str) -> list[Row]:
        return [dict(row) for row in connection.execute(text(query), parameters).mappings()]

    found = read(f"select * from lanes.item_status where {OF_ITEM}")
    if not found:
        raise UnknownItem(
            f'workload "{workload}" has no item "{key}": see lanes.rejected_log for what was refused'
        )
    parameters["item_id"] = found[0]["item_id"]
    kept = {name: read(query) for name, query in QUERIES.items()}
    return ItemRecords(
        found[0],
        **kept,
        holds=holds(connection, found[0], kept["work"], now=now),
        archived_at=archived_at,
        caching=[
            (lane, how) for _, lane, how in caching.states(asking.through(connection), workload)
        ],
    )


def holds(connection: Connection, item: Row, work: Sequence[Row], *, now: datetime) -> Holds:
    """Return the facts that may hold up the item's open work."""
    workload = item["workload"]
    account = accounts.read_account(connection, workload).name

    def read(query: str, **given: Any) -> list[Row]:
        at = {"workload": workload, "account": account, **given}
        return [dict(row) for row in connection.execute(text(query), at).mappings()]

    (paused,) = read("select paused_at from lanes.workload where name = :workload")
    open_circuits = circuits.list_open(connection).items()
    in_force = workloads.current(connection, workload)
    statuses = budgets.statuses(connection, [workload], now=now)
    batches = read(BATCHES, ids=[each["batch_id"] for each in work if each["batch_id"] is not None])
    waits = call_waits.current(asking.through(connection), now=now)
    return Holds(
        paused["paused_at"],
        [each for each in statuses if each.budget.pays_for(workload, item["consumer"])],
        read(INCIDENTS),
        {model: (of, circuit) for (of, model), circuit in open_circuits if account in ("", of)},
        load.recent_limits(connection, account, since=now - load.FRESH),
        {each["id"]: each for each in batches},
        find_awaited_primer(connection, workload),
        in_force.spec.window.next_departure(now) if in_force else None,
        [each for each in waits if each.workload == workload],
    )


MINE = "i.workload = :workload and i.key = any(:keys)"

UNROUTED = text(f"select count(*) from lanes.item i where {MINE} and {UNROUTED_ITEM}")

# Open work for each item's newest revision, without replays.
OWED = text(f"""
select w.lane, w.purpose, w.state, w.batch_id, w.ready_at > :now as rests, f.paused_at is not null as paused,
       count(*) as items
  from lanes.item i
  join lanes.work w on w.item_id = i.id and w.generation = 0 and w.revision = i.revision
  join lanes.workload f on f.name = i.workload
 where {MINE} and w.state in {OPEN_WORK}
 group by 1, 2, 3, 4, 5, 6
 order by 1, 2, 3, 4, 5, 6
""")

OUT = text("""
select id, state, requests, processed, coalesce(submitted_at, intended_at) as since, expected_end_at
  from lanes.batch where id = any(:ids) order by id
""")


def look(
    connection: Connection, keys_of: Mapping[str, Sequence[str]], *, now: datetime
) -> OpenCounts:
    """Count the unrouted items and the open work among these keys, by workload, with the batches that own the work."""
    unrouted, owed = 0, list[OpenWork]()
    for workload, keys in keys_of.items():
        of = {"workload": workload, "keys": list(keys), "now": now}
        unrouted += connection.execute(UNROUTED, of).scalar_one()
        owed += [
            read_as(
                OpenWork,
                row,
                workload=workload,
                lane=Lane(row.lane),
                purpose=Purpose(row.purpose),
                state=WorkState(row.state),
            )
            for row in connection.execute(OWED, of)
        ]
    submitted = (each.batch_id for each in owed if each.state is WorkState.SUBMITTED)
    ids = sorted({id_ for id_ in submitted if id_ is not None})
    rows = connection.execute(OUT, {"ids": ids}) if ids else ()
    out = [read_as(FollowedBatch, row, state=BatchState(row.state)) for row in rows]
    return OpenCounts(unrouted, owed, out)
