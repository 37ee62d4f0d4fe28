"""One Message Batch: created once, looked up, and its results read as they stream."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from anthropic import AsyncAnthropic
from anthropic.types.messages import MessageBatch
from anthropic.types.messages.batch_create_params import Request

from lanes.errors import LanesError
from lanes.outcome import Judged, Response
from lanes.provider.client import read_response
from lanes.provider.errors import TRANSPORT, failed
from lanes.words import Outcome

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
CUSTOM_ID = re.compile(r"^(?P<nonce>[0-9a-f]+)-(?P<number>\d+)$")


class ResultsCut(LanesError):
    """The stream of results ended early; reading it again later is safe."""


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider lists it. `requests` is the sum of its counts."""

    id: str
    requests: int
    processed: int
    created_at: datetime
    ended_at: datetime | None


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


async def results(client: AsyncAnthropic, batch_id: str) -> AsyncIterator[RequestResult]:
    """Each request's result, in whatever order the provider sends them, read line by line.

    Raises:
        CallFailed: the results could not be opened.
        ResultsCut: the stream ended in the middle.
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
        raise failed(error) from error


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
    )
