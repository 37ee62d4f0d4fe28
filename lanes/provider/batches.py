"""One Message Batch: created once, looked up, and its results read as they stream."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import anthropic
from anthropic import AsyncAnthropic
from anthropic.pagination import AsyncPage
from anthropic.types.messages import MessageBatch
from anthropic.types.messages.batch_create_params import Request

from lanes.errors import LanesError
from lanes.outcome import Judged, Response
from lanes.provider.client import read_response
from lanes.provider.errors import TRANSPORT, CallFailed, failed
from lanes.words import Outcome

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
CUSTOM_ID = re.compile(r"^(?P<nonce>[0-9a-f]+)-(?P<number>\d+)$")


class ResultsCut(LanesError):
    """The stream of results ended early; reading it again later is safe."""


class ResultsGone(LanesError):
    """The batch has ended and the provider keeps its results no longer, or has none."""


class BatchUnknown(CallFailed):
    """The provider says that it has no batch of that id."""


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider lists it. `requests` is the sum of its counts."""

    id: str
    requests: int
    processed: int
    created_at: datetime
    ended_at: datetime | None
    canceling: bool = False


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


@dataclass(frozen=True)
class RequestResult:
    """How one request of a batch ended: with a billed response, or judged without one."""

    nonce: str
    number: int
    response: Response | None
    judged: Judged | None


def custom_id(nonce: str, number: int) -> str:
    """The name of a request within its batch: the nonce proves whose it is."""
    return f"{nonce}-{number}"


async def create(
    client: AsyncAnthropic, nonce: str, bodies: Sequence[dict[str, Any]], *, within_s: float = 600
) -> ProviderBatch:
    """The batch exists at the provider. Called once: a second call would be a second paid batch.

    Raises:
        CallFailed: with `maybe_billed` when it may exist all the same, as after `within_s` or an answer cut short.
    """
    requests = [{"custom_id": custom_id(nonce, number), "params": body} for number, body in enumerate(bodies)]
    try:
        async with asyncio.timeout(within_s):
            return _batch(await client.messages.batches.create(requests=cast(list[Request], requests)))
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
        raise _of_batch(error) from error


async def cancel(client: AsyncAnthropic, batch_id: str) -> None:
    """The provider works off no more of the batch than it has begun.

    Raises:
        CallFailed: it did not take the wish.
    """
    try:
        await client.messages.batches.cancel(batch_id)
    except TRANSPORT as error:
        raise _of_batch(error) from error


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


async def results(client: AsyncAnthropic, batch_id: str) -> AsyncGenerator[RequestResult]:
    """Each request's result, in whatever order the provider sends them, read line by line.

    Raises:
        CallFailed: the results could not be opened.
        ResultsCut: the stream ended in the middle.
        ResultsGone: the batch has ended and there are none.
    """
    opened = False
    try:
        async with client.messages.batches.with_streaming_response.results(batch_id) as stream:
            opened = True
            async for line in stream.iter_lines():
                if line.strip():
                    yield _result(json.loads(line))
    except json.JSONDecodeError as error:
        raise ResultsCut(f"the results of {batch_id} broke off in a line: {error}") from error
    except TRANSPORT as error:
        if opened:
            raise ResultsCut(f"the results of {batch_id} broke off: {type(error).__name__}") from error
        raise _of_batch(error) from error
    except anthropic.AnthropicError as error:  # the SDK's own: the batch has no `results_url`
        raise ResultsGone(f"the provider keeps no results of {batch_id} any more") from error


def _result(line: dict[str, Any]) -> RequestResult:
    match = CUSTOM_ID.match(line["custom_id"])
    nonce, number = (match["nonce"], int(match["number"])) if match else (line["custom_id"], -1)
    said = line["result"]
    match said["type"]:
        case "succeeded":
            return RequestResult(nonce, number, read_response(said["message"]), None)
        case "errored":
            error = (said.get("error") or {}).get("error") or {}
            poison = error.get("type") == "invalid_request_error"
            outcome = Outcome.POISON if poison else Outcome.ERRORED
            return RequestResult(nonce, number, None, Judged(outcome, error=f"{error.get('type')}: {error.get('message')}"))
        case "canceled":
            return RequestResult(nonce, number, None, Judged(Outcome.CANCELED, error="the batch was canceled"))
        case "expired":
            return RequestResult(nonce, number, None, Judged(Outcome.EXPIRED, error="the batch expired before it ran"))
        case other:
            return RequestResult(nonce, number, None, Judged(Outcome.ERRORED, error=f'unknown result type "{other}"'))


def _batch(batch: MessageBatch) -> ProviderBatch:
    counts = batch.request_counts
    finished = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return ProviderBatch(
        id=batch.id,
        requests=finished + counts.processing,
        processed=finished,
        created_at=batch.created_at.astimezone(UTC),
        ended_at=(batch.ended_at or datetime.now(UTC)) if batch.processing_status == "ended" else None,
        canceling=batch.processing_status == "canceling",
    )


def _of_batch(error: Exception) -> CallFailed:
    told = failed(error)
    if not isinstance(error, anthropic.NotFoundError):
        return told
    said = f"the provider has no such batch: {error.message}"
    return BatchUnknown(told.action, said, maybe_billed=False, retry_after_s=None, request_id=told.request_id)


def _date(header: str | None) -> datetime | None:
    """The moment that a Date header names, None when there is none."""
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None
