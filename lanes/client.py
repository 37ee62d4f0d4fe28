"""For programs that send items and read results, in a process of their own: sync, or async with an `a` in front.

    from lanes import client
    client.submit("tickets", {"text": "..."}, key="t-1", urgent=True)
    client.wait("tickets", "t-1", reader="support-desk", timeout_s=10)

The address comes from `LANES_DATABASE_URL`, else from the stand of this checkout (`lanes up`).
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine

from lanes import waiting
from lanes.chunks import MOST_BYTES, chunks
from lanes.doors.item import Submission, read_amendment, read_submission
from lanes.errors import Refused
from lanes.payload import weight
from lanes.stand.whereabouts import database_url
from lanes.store.database import clock, engine
from lanes.store.doors import amendments, items
from lanes.store.doors.items import Admission
from lanes.store.locks import patiently
from lanes.store.settling import results
from lanes.store.settling.results import Result

DOOR = "client"
CHUNK = 500  # items admitted in one transaction
LONGEST_WAIT = timedelta(seconds=10)  # for others who submit or hold the same key and have not committed


@dataclass(frozen=True)
class Sent:
    """What became of one input: `outcome` is accepted, duplicate, or the reason of a refusal."""

    key: str
    outcome: str
    detail: str | None = None


def submit(workload: str, payload: Mapping[str, Any], *, key: str | None = None, **fields: Any) -> Sent:
    """The item exists, or the refusal says why not. `fields` are those of an event: due_at, due_in_s, urgent ...

    Raises:
        Refused: a field is malformed.
    """
    return submit_many(workload, [{"payload": dict(payload), "key": key, **fields}])[0]


def submit_many(workload: str, inputs: Iterable[Mapping[str, Any]], *, door: str = DOOR) -> list[Sent]:
    """What became of each input, in order; admitted 500 to a transaction, or fewer where they are large.

    Raises:
        Refused: a field of an input is malformed; the inputs before it are admitted.
        StillLocked: somebody's open transaction has submitted one of the keys; the chunks before it are admitted.
    """
    sent: list[Sent] = []
    with _connected() as pool:
        for chunk in chunks(inputs, most=CHUNK, most_bytes=MOST_BYTES, weight=weight):
            with pool.begin() as connection:
                now = clock(connection)
                asked, refused = _well_formed(workload, chunk, now)
                admitted = patiently(connection, LONGEST_WAIT, items.admit, asked, door=door, now=now)
            sent += [_sent(s, a) for s, a in zip(asked, admitted, strict=True)]
            if refused is not None:
                raise refused
    return sent


def amend(workload: str, key: str, payload: Mapping[str, Any], *, occurred_at: datetime | None = None) -> Sent:
    """The item's payload is this from now on. `outcome` is amended, duplicate, waiting (no item yet), outdated (one that
    occurred later is in force; this one is kept), or a refusal.

    Raises:
        Refused: the key or the payload is malformed.
        StillLocked: somebody's open transaction holds the item.
    """
    fields = {"key": key, "payload": dict(payload), "occurred_at": occurred_at}
    asked = read_amendment(workload, fields, place=None)
    with _connected() as pool, pool.begin() as connection:
        taken = patiently(connection, LONGEST_WAIT, amendments.amend, asked, door=DOOR, now=clock(connection))
    return Sent(key, taken.outcome, taken.detail)


def read_result(workload: str, key: str, *, reader: str) -> Result | None:
    """The item's current result, None while there is none; the read is recorded."""
    with _connected() as pool, pool.begin() as connection:
        return results.read(connection, workload, key, reader=reader)


def wait(workload: str, key: str, *, reader: str, timeout_s: float = 30, settled: bool = False) -> Result | None:
    """The item's result as soon as there is one (`settled`: an authoritative one); the read is recorded.

    None when `timeout_s` seconds passed first.

    Raises:
        UnknownItem: there is no such item. One sent as an event exists only once it is admitted.
        ItemFailed, ItemCanceled: it gets no such result any more; at once, however much time is left.
    """
    return waiting.wait(database_url(), workload, key, reader=reader, timeout_s=timeout_s, settled=settled)


async def asubmit(workload: str, payload: Mapping[str, Any], *, key: str | None = None, **fields: Any) -> Sent:
    """As `submit`."""
    return await asyncio.to_thread(submit, workload, payload, key=key, **fields)


async def asubmit_many(workload: str, inputs: Iterable[Mapping[str, Any]]) -> list[Sent]:
    """As `submit_many`."""
    return await asyncio.to_thread(submit_many, workload, inputs)


async def aamend(workload: str, key: str, payload: Mapping[str, Any], *, occurred_at: datetime | None = None) -> Sent:
    """As `amend`."""
    return await asyncio.to_thread(amend, workload, key, payload, occurred_at=occurred_at)


async def aread_result(workload: str, key: str, *, reader: str) -> Result | None:
    """As `read_result`."""
    return await asyncio.to_thread(read_result, workload, key, reader=reader)


async def await_result(workload: str, key: str, *, reader: str, timeout_s: float = 30, settled: bool = False) -> Result | None:
    """As `wait`. Those who wait hold no thread that other calls need."""
    return await waiting.await_(database_url(), workload, key, reader=reader, timeout_s=timeout_s, settled=settled)


@contextmanager
def _connected() -> Iterator[Engine]:
    pool = engine(database_url())
    try:
        yield pool
    finally:
        pool.dispose()


def _read(workload: str, fields: Mapping[str, Any], now: datetime) -> Submission:
    return read_submission(workload, fields, place=str(fields.get("key") or uuid4()), sent_at=now.astimezone(UTC))


def _well_formed(workload: str, inputs: Iterable[Mapping[str, Any]], now: datetime) -> tuple[list[Submission], Refused | None]:
    """The inputs up to the first malformed one, and its refusal."""
    asked: list[Submission] = []
    for fields in inputs:
        try:
            asked.append(_read(workload, fields, now))
        except Refused as refused:
            return asked, refused
    return asked, None


def _sent(asked: Submission, admission: Admission) -> Sent:
    return Sent(admission.key or asked.key or asked.place, admission.outcome, admission.detail)
