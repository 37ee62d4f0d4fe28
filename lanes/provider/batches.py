"""One Message Batch: created once, and looked up. Its results are read in `lanes.provider.results`."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import anthropic
import httpx2
from anthropic import AsyncAnthropic, RequestOptions

from lanes import json_data
from lanes.provider.body import Body
from lanes.provider.errors import Action, CallFailed
from lanes.provider.sdk_errors import failed

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
MOST_PAGES = 100  # of the list of batches, of a hundred each
MOST_COUNTED = 100_000_000  # requests of a batch: a number beyond it is none
BATCHES = "/v1/messages/batches"
KIND = "message_batch"
BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,255}")  # what stands in a path as it is
COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
CUSTOM_ID = re.compile(r"(?P<nonce>[0-9a-f]+)-(?P<number>0|[1-9][0-9]{0,8})")


class BatchUnknown(CallFailed):
    """The provider says that it has no batch of that id."""


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider lists it, times by the provider's clock. `requests` is the sum of its counts, `outcomes` are
    those of the requests that it has finished. What cannot be read of them is None, or is not there."""

    id: str
    requests: int | None
    processed: int
    created_at: datetime | None
    ended: bool
    ended_at: datetime | None  # where the provider says so
    canceling: bool = False
    outcomes: Mapping[str, int] = field(default_factory=dict)
    has_results: bool = False

    def ended_by(self, now: datetime, *, begun_at: datetime) -> datetime:
        """When it ended, by the clock that says that it began at `begun_at` and that it is `now`.

        It took as long as the provider says, whatever the provider's clock says; where it says nothing, it ended now.
        """
        if self.ended_at is None or self.created_at is None:
            return now
        took = max(self.ended_at - self.created_at, timedelta(0))
        return min(now, begun_at + min(took, max(now - begun_at, timedelta(0))))


@dataclass(frozen=True)
class Listing:
    """The account's batches, newest first. `answered_at`: the provider's clock when it was asked, None if it says none."""

    answered_at: datetime | None
    _client: AsyncAnthropic
    _first: Any

    async def since(self, moment: datetime) -> list[ProviderBatch]:
        """Those that were created at or after `moment`, by the provider's clock, or that do not say when.

        Raises:
            CallFailed: the list could not be read to its end: a batch that is not seen would be taken for never created.
        """
        found: list[ProviderBatch] = []
        page = self._first
        try:
            for _ in range(MOST_PAGES):
                listed, more = page["data"], page["has_more"]
                if not (isinstance(listed, list) and isinstance(more, bool)):
                    raise TypeError("a page of the list of batches is none")
                for each in listed:
                    batch = read_batch(each)
                    if batch.created_at is not None and batch.created_at < moment:
                        return found
                    found.append(batch)
                if not more:
                    return found
                page = _json(await _get_page(self._client, after_id=page["last_id"]))
        except Exception as error:
            raise failed(error) from error
        detail = f"the provider's list of batches does not end within {MOST_PAGES} pages"
        raise CallFailed(Action.RETRY, detail, maybe_billed=False)


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
            answer = await client.post(
                BATCHES, cast_to=httpx2.Response, content=body, options=options
            )
        view = _json(answer)
        if isinstance(view, dict) and view.get("type", KIND) != KIND:
            raise ValueError("the answer to a create is no batch")
        return read_batch(view)
    except Exception as error:  # whatever it is, it does not prove that nothing was created
        raise failed(error) from error


async def retrieve(client: AsyncAnthropic, batch_id: str) -> ProviderBatch:
    """The batch as it is now.

    Raises:
        BatchUnknown: the provider knows none of that id; a new batch may answer so for a while.
        CallFailed: it could not be looked up.
    """
    try:
        return read_batch(
            _json(
                await client.get(f"{BATCHES}/{quote(batch_id, safe='')}", cast_to=httpx2.Response)
            )
        )
    except Exception as error:
        raise batch_failed(error) from error


async def cancel(client: AsyncAnthropic, batch_id: str) -> None:
    """The provider works off no more of the batch than it has begun.

    Raises:
        CallFailed: it did not take the wish.
    """
    try:
        await client.post(f"{BATCHES}/{quote(batch_id, safe='')}/cancel", cast_to=httpx2.Response)
    except Exception as error:
        raise batch_failed(error) from error


async def listing(client: AsyncAnthropic) -> Listing:
    """The account's batches, opened at their newest.

    Raises:
        CallFailed: the list could not be opened.
    """
    try:
        answer = await _get_page(client)
        return Listing(_date(answer.headers.get("date")), client, _json(answer))
    except Exception as error:
        raise failed(error) from error


def read_batch(view: Any) -> ProviderBatch:
    """Return what a view of a batch says, in JSON. What is odd of its times and counts says nothing.

    Raises:
        ValueError: it has no id that can be asked for.
    """
    if not isinstance(view, dict):
        raise ValueError("the view of a batch is no object")
    batch_id, status, told = (
        view.get("id"),
        view.get("processing_status"),
        view.get("request_counts"),
    )
    if not (isinstance(batch_id, str) and BATCH_ID.fullmatch(batch_id)):
        raise ValueError("the view of a batch has no id that can be asked for")
    counts = (
        {name: _count(told.get(name)) for name in COUNTS}
        if isinstance(told, dict)
        else dict.fromkeys(COUNTS)
    )
    outcomes = {
        name: number
        for name, number in counts.items()
        if number is not None and name != "processing"
    }
    return ProviderBatch(
        id=batch_id,
        requests=None
        if None in counts.values()
        else sum(number or 0 for number in counts.values()),
        processed=sum(outcomes.values()),
        created_at=_moment(view.get("created_at")),
        ended=status == "ended",
        ended_at=_moment(view.get("ended_at")),
        canceling=status == "canceling",
        outcomes=outcomes,
        has_results=bool(view.get("results_url")),
    )


async def _get_page(client: AsyncAnthropic, **after: str) -> httpx2.Response:
    return await client.get(
        BATCHES, cast_to=httpx2.Response, options={"params": {"limit": 100, **after}}
    )


def _json(answer: httpx2.Response) -> Any:
    return json_data.loads(answer.content)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_COUNTED else None


def _moment(value: Any) -> datetime | None:
    """The moment that a text names, None when it names none."""
    try:
        return _in_utc(datetime.fromisoformat(value)) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _date(header: str | None) -> datetime | None:
    """The moment that a Date header names, None when there is none."""
    try:
        return _in_utc(parsedate_to_datetime(header)) if header else None
    except (ValueError, TypeError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
