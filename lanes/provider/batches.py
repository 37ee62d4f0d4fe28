"""One Message Batch: created once, and looked up. Its results are read in `lanes.provider.results`."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import anthropic
from anthropic import AsyncAnthropic, RequestOptions
from anthropic.pagination import AsyncPage
from anthropic.types.messages import MessageBatch

from lanes.provider.body import Body
from lanes.provider.errors import CallFailed
from lanes.provider.sdk_errors import TRANSPORT, failed

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
CUSTOM_ID = re.compile(r"(?P<nonce>[0-9a-f]+)-(?P<number>0|[1-9][0-9]{0,8})")


class BatchUnknown(CallFailed):
    """The provider says that it has no batch of that id."""


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider lists it, times by the provider's clock. `requests` is the sum of its counts, `outcomes` are
    those of the requests that it has finished."""

    id: str
    requests: int
    processed: int
    created_at: datetime
    ended: bool
    ended_at: datetime | None  # where the provider says so
    canceling: bool = False
    outcomes: Mapping[str, int] = field(default_factory=dict)

    def ended_by(self, now: datetime, *, begun_at: datetime) -> datetime:
        """When it ended, by the clock that says that it began at `begun_at` and that it is `now`.

        It took as long as the provider says, whatever the provider's clock says; where it says nothing, it ended now.
        """
        if self.ended_at is None:
            return now
        return min(now, begun_at + max(self.ended_at - self.created_at, timedelta(0)))


@dataclass(frozen=True)
class Listing:
    """The account's batches, newest first. `answered_at`: the provider's clock when it was asked, None if it says none."""

    answered_at: datetime | None
    _first: AsyncPage[MessageBatch]

    async def since(self, moment: datetime) -> list[ProviderBatch]:
        """Those that were created at or after `moment`, by the provider's clock.

        Raises:
            CallFailed: the list could not be read to its end.
        """
        found: list[ProviderBatch] = []
        try:
            async for each in self._first:
                batch = _batch(each)
                if batch.created_at < moment:
                    break
                found.append(batch)
        except TRANSPORT as error:
            raise failed(error) from error
        return found


def batch_failed(error: Exception) -> CallFailed:
    """The failure that an exception of a call about one batch stands for: BatchUnknown where there is none of its id."""
    told = failed(error)
    if not isinstance(error, anthropic.NotFoundError):
        return told
    said = f"the provider has no such batch: {error.message}"
    return BatchUnknown(told.action, said, maybe_billed=False, request_id=told.request_id)


def custom_id(nonce: str, number: int) -> str:
    """The name of a request within its batch: the nonce proves whose it is."""
    return f"{nonce}-{number}"


async def create(client: AsyncAnthropic, body: Body, *, within_s: float = 600) -> ProviderBatch:
    """The batch exists at the provider. Called once: a second call would be a second paid batch.

    The body is sent as it lies in its file. The SDK's `batches.create` takes objects only, of which it makes two copies
    and a text; this is its call, as `post` makes it.

    Raises:
        CallFailed: with `maybe_billed` when it may exist all the same, as after `within_s` or an answer cut short.
    """
    options: RequestOptions = {"headers": {"Content-Length": str(body.size)}, "max_retries": 0}
    try:
        async with asyncio.timeout(within_s):
            return _batch(await client.post("/v1/messages/batches", cast_to=MessageBatch, content=body, options=options))
    except Exception as error:  # whatever it is, it does not prove that nothing was created
        raise failed(error) from error


async def retrieve(client: AsyncAnthropic, batch_id: str) -> ProviderBatch:
    """The batch as it is now.

    Raises:
        BatchUnknown: the provider knows none of that id; a new batch may answer so for a while.
        CallFailed: it could not be looked up.
    """
    try:
        return _batch(await client.messages.batches.retrieve(batch_id))
    except TRANSPORT as error:
        raise batch_failed(error) from error


async def cancel(client: AsyncAnthropic, batch_id: str) -> None:
    """The provider works off no more of the batch than it has begun.

    Raises:
        CallFailed: it did not take the wish.
    """
    try:
        await client.messages.batches.cancel(batch_id)
    except TRANSPORT as error:
        raise batch_failed(error) from error


async def listing(client: AsyncAnthropic) -> Listing:
    """The account's batches, opened at their newest.

    Raises:
        CallFailed: the list could not be opened.
    """
    try:
        answer = await client.messages.batches.with_raw_response.list(limit=100)
        return Listing(_date(answer.headers.get("date")), await answer.parse())
    except TRANSPORT as error:
        raise failed(error) from error


def _batch(batch: MessageBatch) -> ProviderBatch:
    counts = batch.request_counts
    outcomes = {
        "succeeded": counts.succeeded, "errored": counts.errored, "canceled": counts.canceled, "expired": counts.expired,
    }  # fmt: skip
    finished = sum(outcomes.values())
    return ProviderBatch(
        id=batch.id,
        requests=finished + counts.processing,
        processed=finished,
        created_at=batch.created_at.astimezone(UTC),
        ended=batch.processing_status == "ended",
        ended_at=batch.ended_at and batch.ended_at.astimezone(UTC),
        canceling=batch.processing_status == "canceling",
        outcomes=outcomes,
    )


def _date(header: str | None) -> datetime | None:
    """The moment that a Date header names, None when there is none."""
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None
