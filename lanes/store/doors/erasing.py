"""What some items said is erased wherever it stands; their keys, their hashes and what they cost stay."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from lanes.ids import ItemId

# An item's row is written by those who know why it is erased.
ERASE = (
    "update lanes.revision set payload = '{}' where item_id = any (:items)",
    "update lanes.result set output = null where item_id = any (:items)",
    "update lanes.pack_check set alone = null where item_id = any (:items) and alone is not null",
    "update lanes.attempt set error = null where item_id = any (:items) and error is not null",
    "update lanes.route set explanation = :why where item_id = any (:items)",
)


def erase(connection: Connection, items: Sequence[ItemId], why: str) -> None:
    """Nothing is left of the payloads, answers, errors and explanations of these items; `why` stands in their stead."""
    for statement in ERASE:
        connection.execute(
            text(statement),
            {"items": list(items), "why": why} if ":why" in statement else {"items": list(items)},
        )
