"""The ledger: every billed response once, priced once, and divided among the items that shared it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from sqlalchemy import Connection

from lanes.ids import BatchId, WorkId
from lanes.money.cost import Part, divided
from lanes.settling.outcome import Attempt, Response
from lanes.store.bulk import insert_rows
from lanes.store.tables import response
from lanes.words import Lane, Purpose
from lanes.workload.prices import cost, price_version


class Payer(Protocol):
    """Whose work an attempt tried."""

    @property
    def workload(self) -> str: ...
    @property
    def lane(self) -> Lane: ...
    @property
    def purpose(self) -> Purpose: ...
    @property
    def model(self) -> str: ...


def book(
    connection: Connection, attempts: Sequence[Attempt], payers: Mapping[WorkId, Payer], *, batch_id: BatchId | None
) -> list[Part]:
    """Every response is in the ledger; each attempt's part of it, in the order of the attempts.

    `payers` are by id of the work. The attempts know their shares, so that the parts of one response sum exactly to it
    even when they are saved apart. No row of an item or its work is locked or waited for.
    """
    shared: dict[str, list[Part]] = {}
    rows: dict[str, dict[str, Any]] = {}
    parts: list[Part] = []
    for each in attempts:
        said, share = each.response, each.share
        if said is None or share is None:
            parts.append(Part())
            continue
        if said.message_id not in rows:
            payer = payers[each.claim.work_id]
            usd, priced_by = _priced(said, payer, each.ended_at)
            shared[said.message_id] = divided(said.usage, usd, share.of)
            rows[said.message_id] = {
                "message_id": said.message_id, "workload": payer.workload, "lane": payer.lane, "purpose": payer.purpose,
                "model": said.model, "batch_id": batch_id, "items": share.of, "input_tokens": said.usage.input,
                "output_tokens": said.usage.output, "cache_read_tokens": said.usage.cache_read,
                "cache_write_tokens": said.usage.cache_write, "cost_usd": usd, "price_version": priced_by,
                "billed_at": each.ended_at,
            }  # fmt: skip
        parts.append(shared[said.message_id][share.index])
    if rows:
        in_one_order = [rows[message_id] for message_id in sorted(rows)]  # two savers of the same never deadlock
        connection.execute(insert_rows(response, in_one_order).on_conflict_do_nothing())
    return parts


def _priced(said: Response, payer: Payer, at: datetime) -> tuple[Decimal, str]:
    """What the response cost, and by which table: by the model it names, or else by the one we asked.

    Where neither has a price any more it is booked at 0, and the table's name says so: nothing billed goes unrecorded.
    """
    for model in (said.model, payer.model):
        with suppress(LookupError):
            return cost(said.usage, model=model, lane=payer.lane, at=at), price_version()
    return Decimal(0), f"{price_version()}, no price for {payer.model}"
