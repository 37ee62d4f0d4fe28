"""One Message Batch: created once, and looked up. Its results are read in `lanes.provider.results`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from anthropic import AsyncAnthropic
from anthropic.types.messages import MessageBatch
from anthropic.types.messages.batch_create_params import Request

from lanes.provider.errors import TRANSPORT, failed

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
CUSTOM_ID = re.compile(r"(?P<nonce>[0-9a-f]+)-(?P<number>0|[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider lists it. `requests` is the sum of its counts."""

    id: str
    requests: int
    processed: int
    created_at: datetime
    ended_at: datetime | None


def custom_id(nonce: str, number: int) -> str:
    """The name of a request within its batch: the nonce proves whose it is."""
    return f"{nonce}-{number}"


async def create(client: AsyncAnthropic, nonce: str, bodies: Sequence[dict[str, Any]]) -> ProviderBatch:
    """The batch exists at the provider. Called once: a second call would be a second paid batch.

    Raises:
        CallFailed: with `maybe_billed` when it may exist all the same.
    """
    requests = [{"custom_id": custom_id(nonce, number), "params": body} for number, body in enumerate(bodies)]
    try:
        return _batch(await client.messages.batches.create(requests=cast(list[Request], requests)))
    except TRANSPORT as error:
        raise failed(error) from error


async def retrieve(client: AsyncAnthropic, batch_id: str) -> ProviderBatch:
    """The batch as it is now.

    Raises:
        CallFailed: it could not be looked up; a new batch may answer 404 for a while.
    """
    try:
        return _batch(await client.messages.batches.retrieve(batch_id))
    except TRANSPORT as error:
        raise failed(error) from error


async def created_since(client: AsyncAnthropic, since: datetime) -> list[ProviderBatch]:
    """The account's batches that were created at or after `since`, newest first.

    Raises:
        CallFailed: the list could not be read to its end.
    """
    found: list[ProviderBatch] = []
    try:
        async for each in client.messages.batches.list(limit=100):
            batch = _batch(each)
            if batch.created_at < since:
                break
            found.append(batch)
    except TRANSPORT as error:
        raise failed(error) from error
    return found


def _batch(batch: MessageBatch) -> ProviderBatch:
    counts = batch.request_counts
    finished = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return ProviderBatch(
        id=batch.id,
        requests=finished + counts.processing,
        processed=finished,
        created_at=batch.created_at.astimezone(UTC),
        ended_at=(batch.ended_at or datetime.now(UTC)) if batch.processing_status == "ended" else None,
    )
