"""The ledger: every billed response once, priced once, and divided among the items that shared it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import cache
from operator import itemgetter
from typing import Any, Protocol

from sqlalchemy import Connection, column
from sqlalchemy.dialects.postgresql import Insert, insert

from lanes.ids import BatchId, WorkId
from lanes.money.cost import Part, divided
from lanes.settling.outcome import Attempt, Response
from lanes.store.bulk import split, split_records
from lanes.store.tables import response
from lanes.words import Lane, Purpose
from lanes.workload.prices import cost, price_version

NOTHING = Part()
BOOKED = (
    "message_id", "workload", "lane", "purpose", "model", "batch_id", "items", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "cost_usd", "price_version", "billed_at",
)  # fmt: skip


class Payer(Protocol):
    """Whose work an attempt tried."""

    @property
    def workload(self) -> str: ...
    @property
    def purpose(self) -> Purpose: ...
    def model(self, lane: Lane) -> str: ...


def book(
    connection: Connection, attempts: Sequence[Attempt], payers: Mapping[WorkId, Payer], *, batch_id: BatchId | None
) -> list[Part]:
    """Every response is in the ledger; each attempt's part of it, in the order of the attempts.

    `payers` are by id of the work. Who asked is told by the response: a batch's are booked with its id, all others are real
    time's, on whichever lane the work is by now. The attempts know their shares, so that the parts of one response sum exactly
    to it even when they are saved apart. A response that answers one of its items first is for answers. No row of an item or
    its work is locked or waited for.
    """
    shared: dict[str, list[Part]] = {}
    rows: dict[str, dict[str, Any]] = {}
    parts: list[Part] = []
    priced_by, lane = price_version(), Lane.REALTIME if batch_id is None else Lane.BATCH
    for each in attempts:
        said, share = each.response, each.share
        if said is None:
            parts.append(NOTHING)
            continue
        those, payer = shared.get(said.message_id), payers[each.claim.work_id]
        if those is None:
            used = said.usage
            usd, price_of = _priced(said, payer, lane, each.ended_at)
            those = shared[said.message_id] = divided(used, usd, share.of)
            rows[said.message_id] = {
                "message_id": said.message_id, "workload": payer.workload, "lane": lane, "purpose": payer.purpose,
                "model": said.model or payer.model(lane), "batch_id": batch_id, "items": share.of, "input_tokens": used.input,
                "output_tokens": used.output, "cache_read_tokens": used.cache_read,
                "cache_write_tokens": used.cache_write, "cost_usd": usd, "price_version": priced_by + price_of,
                "billed_at": each.ended_at,
            }  # fmt: skip
        elif payer.purpose is Purpose.ANSWER:
            rows[said.message_id]["purpose"] = payer.purpose
        parts.append(those[share.index])
    if rows:
        in_order = sorted(rows.values(), key=itemgetter("message_id"))  # two savers of the same never deadlock
        connection.execute(_booked(), split(in_order))
    return parts


@cache
def _booked() -> Insert:
    """The responses are in the ledger, once."""
    given = split_records([column(name, response.c[name].type) for name in BOOKED])
    return insert(response).from_select(list(BOOKED), given).on_conflict_do_nothing()


def _priced(said: Response, payer: Payer, lane: Lane, at: datetime) -> tuple[Decimal, str]:
    """What the response cost, and what the table's name says of it: by the model it names, or else by the one we asked.

    Where neither has a price any more it is booked at 0, and that is said: nothing billed goes unrecorded.
    """
    asked = payer.model(lane)
    for model in (said.model or asked, asked):
        with suppress(LookupError):
            return cost(said.usage, model=model, lane=lane, at=at), ""
    return Decimal(0), f", no price for {asked}"
