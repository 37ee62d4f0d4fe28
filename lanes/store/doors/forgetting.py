"""An item is withdrawn and what it said erased, at the doors too; what it cost stays in the ledger."""

from datetime import datetime

from sqlalchemy import Connection, text

from lanes.errors import UnknownItem
from lanes.store.doors.erasing import erase
from lanes.store.states import OUTSIDE_BATCHES

AT_THE_DOOR = (
    "update lanes.rejected set content = '', detail = 'forgotten' where workload = :workload and (key = :key or place = :key)",
    "update lanes.amendment set payload = null, outcome = coalesce(outcome, 'canceled'),"
    " decided_at = coalesce(decided_at, :now) where workload = :workload and key = :key",
)
OF_ITEM = (
    "update lanes.item set payload = '{}', entity = null, failure = null, result_id = null,"
    " canceled_at = coalesce(canceled_at, :now), forgotten_at = :now where id = :item",
    f"update lanes.work set state = 'canceled', finished_at = :now where item_id = :item and state in {OUTSIDE_BATCHES}",
    "delete from lanes.label where item_id = :item",
    "update lanes.event_outbox set payload = payload - 'reason' - 'detail'"
    " where resource = 'lanes.workload.' || :workload and payload->>'key' = :key",
)


def forget(connection: Connection, workload: str, key: str, *, now: datetime) -> None:
    """The item is canceled, and nothing of its input, its answers and its labels is left, nor of what was refused under
    its key; its key and its costs are. Nothing of it is written again: an answer that is still out is billed only.

    What the provider keeps of it is not ours to erase: a batch's results stay there for 29 days.

    Raises:
        UnknownItem: the workload has no item of that key, and refused none.
    """
    of = {"workload": workload, "key": key, "now": now}
    found = text(
        "select id from lanes.item where workload = :workload and key = :key for no key update"
    )
    item = connection.execute(found, of).scalar_one_or_none()
    refused = sum(connection.execute(text(statement), of).rowcount for statement in AT_THE_DOOR)
    if item is None and not refused:
        raise UnknownItem(f'workload "{workload}" has no item "{key}"')
    for statement in OF_ITEM:
        connection.execute(text(statement), {**of, "item": item})
    if item is not None:
        erase(connection, [item], "forgotten")
