"""Message Batches: building the body, creating the batch once, retrieving, listing and canceling.

`lanes.provider.results` reads the results.
"""

import asyncio
import hashlib
import re
import tempfile
from array import array
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx2

from lanes import json_data
from lanes.provider.errors import Action, CallFailed
from lanes.provider.transport import convert_error

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic, RequestOptions

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
MOST_PAGES = 100  # of the list of batches; a page has a hundred
MOST_COUNTED = 100_000_000  # requests of a batch; larger counts are ignored
BATCHES = "/v1/messages/batches"
KIND = "message_batch"
BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,255}")  # safe in a path
COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
CUSTOM_ID = re.compile(
    r"(?P<nonce>[0-9a-f]+)-(?:(?P<label>[A-Za-z0-9_-]+)-)?(?P<number>0|[1-9][0-9]{0,8})"
)


BLOCK = 1024 * 1024  # bytes read and sent at once
BEGIN, BETWEEN, END = b'{"requests":[', b",", b"]}"


class BatchUnknown(CallFailed):
    """A batch id that the provider does not know."""


@dataclass(frozen=True)
class ProviderBatch:
    """A batch as the provider reports it, with times by the provider's clock.

    `requests` is the sum of all its counts; `outcomes` are the counts of its finished requests. An unreadable value is None or
    missing.
    """

    id: str
    requests: int | None
    processed: int
    created_at: datetime | None
    ended: bool
    ended_at: datetime | None  # None if the provider reports none
    canceling: bool = False
    outcomes: Mapping[str, int] = field(default_factory=dict)
    has_results: bool = False

    def compute_end(self, now: datetime, *, begun_at: datetime) -> datetime:
        """Return when the batch ended, by the same clock as `begun_at` and `now`.

        Only the provider's duration is used, not its clock. Without a duration, the end is `now`.
        """
        if self.ended_at is None or self.created_at is None:
            return now
        took = max(self.ended_at - self.created_at, timedelta(0))
        return min(now, begun_at + min(took, max(now - begun_at, timedelta(0))))


@dataclass(frozen=True)
class Listing:
    """The account's batches, newest first; `answered_at` is the provider's time, None if its answer had no Date header."""

    answered_at: datetime | None
    _client: "AsyncAnthropic"
    _first: Any

    async def since(self, moment: datetime) -> list[ProviderBatch]:
        """Return the batches created at or after `moment`, by the provider's clock, and those with an unknown time.

        Raises:
            CallFailed: the list could not be read to its end; a partial list would make a batch look as if it never existed.
        """
        batches: list[ProviderBatch] = []
        page = self._first
        try:
            for _ in range(MOST_PAGES):
                listed, more = page["data"], page["has_more"]
                if not (isinstance(listed, list) and isinstance(more, bool)):
                    raise TypeError("a page of the list of batches cannot be read")
                for each in listed:
                    batch = read_batch(each)
                    if batch.created_at is not None and batch.created_at < moment:
                        return batches
                    batches.append(batch)
                if not more:
                    return batches
                page = _json(await _get_page(self._client, after_id=page["last_id"]))
        except Exception as error:
            raise convert_error(error) from error
        detail = f"the provider's list of batches does not end within {MOST_PAGES} pages"
        raise CallFailed(Action.RETRY, detail, maybe_billed=False)


class BatchBody:
    """The body of a create call for a batch, written to an unnamed temporary file, hashed on the way, and sent from the file.

    Requests are added one by one, then the body is sealed. A sealed body can be sent several times. No request stays in
    memory. The file disappears when it is closed or its process ends.
    """

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block
        self._file = tempfile.TemporaryFile(prefix="lanes-")  # noqa: SIM115 - closed with the body
        self._ends = array("Q")  # where each request ends
        self._hash = hashlib.sha256()
        self._write(BEGIN)

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self._ends)

    @property
    def size(self) -> int:
        """The size of the sealed body in bytes."""
        return (self._ends[-1] if self._ends else len(BEGIN)) + len(END)

    @property
    def sha256(self) -> str:
        """The hash of the sealed body: 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def add(self, custom_id: str, params: bytes) -> None:
        """Add a request; `params` is a JSON object."""
        request = b'%b{"custom_id":"%b","params":%b}' % (
            BETWEEN if self._ends else b"",
            custom_id.encode(),
            params,
        )
        self._ends.append(self._write(request))

    def keep(self, requests: int) -> None:
        """Remove all requests except the first `requests`."""
        if requests == len(self._ends):
            return
        del self._ends[requests:]
        self._file.seek(self._ends[-1] if self._ends else len(BEGIN))
        self._file.truncate()
        self._hash = hashlib.sha256()
        self._file.seek(0)
        while block := self._file.read(self._block):
            self._hash.update(block)

    def seal(self) -> None:
        """Write the end of the body; no request can be added afterwards."""
        self._write(END)
        self._file.flush()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the sealed body in blocks."""
        at = 0
        while block := await asyncio.to_thread(self._read, at):
            yield block
            at += len(block)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, part: bytes) -> int:
        """Append `part` and return the end of the file."""
        self._file.write(part)
        self._hash.update(part)
        return self._file.tell()

    def _read(self, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(self._block)


def batch_failed(error: Exception) -> CallFailed:
    """Return the failure for an exception of a call about one batch: `BatchUnknown` if the provider has no such batch."""
    from anthropic import NotFoundError

    failure = convert_error(error)
    if not isinstance(error, NotFoundError):
        return failure
    message = f"the provider has no such batch: {error.message}"
    return BatchUnknown(failure.action, message, maybe_billed=False, request_id=failure.request_id)


def custom_id(nonce: str, number: int, label: str = "") -> str:
    """Return the id of a request in its batch; the nonce proves that the batch is ours, the label names the work."""
    return f"{nonce}-{label}-{number}" if label else f"{nonce}-{number}"


async def create(
    client: "AsyncAnthropic", body: BatchBody, *, within_s: float = 600
) -> ProviderBatch:
    """Create the batch at the provider. Must be called once: a second call would create a second paid batch.

    The body is sent from its file. The SDK's `batches.create` accepts only objects, copies them twice and serializes them.

    Raises:
        CallFailed: with `maybe_billed` if the batch may exist all the same, as after `within_s` or a truncated answer.
    """
    options: RequestOptions = {"headers": {"Content-Length": str(body.size)}, "max_retries": 0}
    try:
        async with asyncio.timeout(within_s):
            answer = await client.post(
                BATCHES, cast_to=httpx2.Response, content=body, options=options
            )
        view = _json(answer)
        if isinstance(view, dict) and view.get("type", KIND) != KIND:
            raise ValueError("the answer to a create is not a batch")
        return read_batch(view)
    except Exception as error:  # no exception proves that nothing was created
        raise convert_error(error) from error


async def retrieve(client: "AsyncAnthropic", batch_id: str) -> ProviderBatch:
    """Return the batch's current state.

    Raises:
        BatchUnknown: the provider has no batch with that id; a new batch may be unknown for a while.
        CallFailed: the batch could not be retrieved.
    """
    try:
        return read_batch(
            _json(
                await client.get(f"{BATCHES}/{quote(batch_id, safe='')}", cast_to=httpx2.Response)
            )
        )
    except Exception as error:
        raise batch_failed(error) from error


async def cancel(client: "AsyncAnthropic", batch_id: str) -> None:
    """Cancel the batch: the provider begins no more of its requests.

    Raises:
        BatchUnknown: the provider has no batch with that id.
        CallFailed: the call failed or was refused.
    """
    try:
        await client.post(f"{BATCHES}/{quote(batch_id, safe='')}/cancel", cast_to=httpx2.Response)
    except Exception as error:
        raise batch_failed(error) from error


async def listing(client: "AsyncAnthropic") -> Listing:
    """Return the list of the account's batches, newest first, with its first page loaded.

    Raises:
        CallFailed: the list could not be opened.
    """
    try:
        answer = await _get_page(client)
        return Listing(_date(answer.headers.get("date")), client, _json(answer))
    except Exception as error:
        raise convert_error(error) from error


def read_batch(view: Any) -> ProviderBatch:
    """Return the batch that a JSON view describes; invalid times and counts are ignored.

    Raises:
        ValueError: the view is not an object or has no usable id.
    """
    if not isinstance(view, dict):
        raise ValueError("the view of a batch is not an object")
    batch_id = view.get("id")
    status = view.get("processing_status")
    request_counts = view.get("request_counts")
    if not (isinstance(batch_id, str) and BATCH_ID.fullmatch(batch_id)):
        raise ValueError("the view of a batch has no id that can be asked for")
    counts = (
        {name: _count(request_counts.get(name)) for name in COUNTS}
        if isinstance(request_counts, dict)
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


async def _get_page(client: "AsyncAnthropic", **after: str) -> httpx2.Response:
    return await client.get(
        BATCHES, cast_to=httpx2.Response, options={"params": {"limit": 100, **after}}
    )


def _json(answer: httpx2.Response) -> Any:
    return json_data.loads(answer.content)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_COUNTED else None


def _moment(value: Any) -> datetime | None:
    """Return the moment of an ISO 8601 text in UTC, None for any other value."""
    try:
        return _to_utc(datetime.fromisoformat(value)) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _date(header: str | None) -> datetime | None:
    """Return the moment of a Date header in UTC, None without a readable one."""
    try:
        return _to_utc(parsedate_to_datetime(header)) if header else None
    except (ValueError, TypeError, OverflowError):
        return None


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
