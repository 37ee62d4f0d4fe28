"""The ledger: every billed response once, priced once, and divided among the items that shared it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from sqlalchemy import Connection

from lanes.cost import allocate, allocate_usd
from lanes.outcome import Attempt, Response
from lanes.prices import cost, price_version
from lanes.store.bulk import insert_rows
from lanes.store.tables import response
from lanes.words import Lane, Purpose


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


@dataclass(frozen=True)
class Part:
    """An attempt's part of its response: tokens, and US dollars."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class Booked:
    """Ids of the responses that were not in the ledger before, and each attempt's part, in the order of the attempts."""

    new: set[str]
    parts: list[Part]


def book(
    connection: Connection, attempts: Sequence[Attempt], payers: Mapping[int, Payer], *, batch_id: int | None
) -> Booked:
    """Every response is in the ledger; `payers` are by id of the work. The parts of one response sum exactly to it."""
    sharers: dict[str, list[int]] = {}
    for index, each in enumerate(attempts):
        if each.response is not None:
            sharers.setdefault(each.response.message_id, []).append(index)
    parts = [Part()] * len(attempts)
    rows: list[dict[str, Any]] = []
    for indexes in sharers.values():
        first = attempts[indexes[0]]
        assert first.response is not None
        said, payer = first.response, payers[first.claim.work_id]
        usd = _usd(said, payer, first.ended_at)
        rows.append(
            {
                "message_id": said.message_id, "workload": payer.workload, "lane": payer.lane, "purpose": payer.purpose,
                "model": said.model, "batch_id": batch_id, "items": len(indexes), "input_tokens": said.usage.input,
                "output_tokens": said.usage.output, "cache_read_tokens": said.usage.cache_read,
                "cache_write_tokens": said.usage.cache_write, "cost_usd": usd, "price_version": price_version(),
                "billed_at": first.ended_at,
            }
        )  # fmt: skip
        for index, part in zip(indexes, _divided(said, usd, len(indexes)), strict=True):
            parts[index] = part
    if not rows:
        return Booked(set(), parts)
    added = connection.execute(insert_rows(response, rows).on_conflict_do_nothing().returning(response.c.message_id))
    return Booked(set(added.scalars()), parts)


def _divided(said: Response, usd: Decimal, number: int) -> list[Part]:
    used = said.usage
    if number == 1:
        return [Part(used.input, used.output, used.cache_read, used.cache_write, usd)]
    even = [1] * number
    shares = zip(
        allocate(used.input, even), allocate(used.output, even), allocate(used.cache_read, even),
        allocate(used.cache_write, even), allocate_usd(usd, even), strict=True,
    )  # fmt: skip
    return [Part(*share) for share in shares]


def _usd(said: Response, payer: Payer, at: datetime) -> Decimal:
    """What the response cost: by the model it names, or else by the one we asked, whose price is known."""
    try:
        return cost(said.usage, model=said.model, lane=payer.lane, at=at)
    except LookupError:
        return cost(said.usage, model=payer.model, lane=payer.lane, at=at)
