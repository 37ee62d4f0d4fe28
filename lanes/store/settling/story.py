"""What the database keeps of one item."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.errors import UnknownItem
from lanes.settling.story import Records, Row
from lanes.store import asking
from lanes.store.money import budgets, caching

OF_ITEM = "workload = :workload and key = :key"
# Each with how many shared its call, and why no more might.
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
    "work": "select * from lanes.work where item_id = :item_id order by id",
    "results": "select r.*, v.number as version from lanes.result r join lanes.version v on v.id = r.version_id"
    " where r.item_id = :item_id order by r.id",
    "checks": "select * from lanes.pack_check where item_id = :item_id order by id",
    "reads": "select * from lanes.read where item_id = :item_id order by id",
}


def records(connection: Connection, workload: str, key: str, *, now: datetime) -> Records:
    """Everything about one item.

    Raises:
        UnknownItem: the workload has no item of that key.
    """
    at: dict[str, Any] = {"workload": workload, "key": key}

    def read(query: str) -> list[Row]:
        return [dict(row) for row in connection.execute(text(query), at).mappings()]

    found = read(f"select * from lanes.item_status where {OF_ITEM}")
    if not found:
        raise UnknownItem(f'workload "{workload}" has no item "{key}": see lanes.rejected_log for what was refused')
    at["item_id"] = found[0]["item_id"]
    (paused,) = read("select paused_at from lanes.workload where name = :workload")
    return Records(
        found[0], **{name: read(query) for name, query in QUERIES.items()}, paused_at=paused["paused_at"],
        budgets=budgets.statuses(connection, [workload], now=now),
        caching=[(lane, how) for _, lane, how in caching.states(asking.through(connection), workload)],
    )  # fmt: skip
