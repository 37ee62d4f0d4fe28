"""The results of an ended batch, streamed line by line. An unreadable line affects no other line."""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2

from lanes import json_data
from lanes.errors import LanesError
from lanes.provider.batches import BATCHES, CUSTOM_ID, batch_failed, retrieve
from lanes.provider.errors import Action, CallFailed, classify
from lanes.provider.message import MOST_BYTES as LONGEST_LINE
from lanes.provider.message import UnreadableBill, quote_text, read_response
from lanes.provider.transport import STREAMED, errors
from lanes.settling.outcome import Judgment, Response
from lanes.units import pluralize
from lanes.words import Outcome

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic, RequestOptions

MOST_LINES = 500
MOST_BYTES = 4 * 1024 * 1024  # of lines in one chunk
KEPT_BYTES = 64 * 1024  # of a line that is too long: enough to read its custom_id
NAMED = re.compile(
    rb'"custom_id"\s*:\s*"(?P<nonce>[0-9a-f]{1,64})-(?:(?P<label>[A-Za-z0-9_-]{1,64})-)?(?P<number>0|[1-9][0-9]{0,8})"'
)


class ResultsCut(LanesError):
    """A results stream that ended early; reading the results again later is safe."""


class ResultsGone(CallFailed):
    """A batch for which the provider offers no results."""


@dataclass(frozen=True)
class RequestFault:
    """The error of a request that the provider did not answer, with the reaction by the error policy."""

    action: Action
    detail: str


@dataclass(frozen=True)
class RequestResult:
    """The result of one request of a batch: a billed response, a fault, or a judgment (canceled or expired).

    `number` is -1 if the custom_id does not have our format.
    """

    nonce: str
    number: int
    content: Response | RequestFault | Judgment
    label: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the provider failed with a retryable error; the cause may be the request or the provider."""
        return isinstance(self.content, RequestFault) and self.content.action is Action.RETRY


@dataclass(frozen=True)
class Unreadable:
    """A line without a readable result. `number` is the number of its request, -1 if that is unreadable too."""

    why: str
    nonce: str = ""
    number: int = -1
    label: str = ""


class _TooLong(bytes):
    """The beginning of a line that is longer than `LONGEST_LINE`."""


async def results(
    client: "AsyncAnthropic",
    batch_id: str,
    *,
    most: int = MOST_LINES,
    most_bytes: int = MOST_BYTES,
    requests: int | None = None,
) -> AsyncGenerator[list[RequestResult | Unreadable]]:
    """Yield the results in the provider's order, in chunks of up to `most` lines or about `most_bytes`.

    The caller must check that every request has a result. At most `requests` times the longest line is read; further bytes
    cannot be results.

    Raises:
        CallFailed: the results could not be opened.
        BatchUnknown: the provider has no such batch; a new batch may be unknown for a while.
        ResultsGone: the provider offers no results of the batch, perhaps for good.
        ResultsCut: the stream broke off.
    """
    raw = None
    try:
        if not (await retrieve(client, batch_id)).has_results:
            detail = f"the provider offers no results of {batch_id}: it keeps them for 29 days and then archives them"
            raise ResultsGone(Action.RETRY, detail, maybe_billed=False)
        raw = await _open_results(client, batch_id)
        bounded = _bound_blocks(
            raw.aiter_bytes(), math.inf if requests is None else requests * LONGEST_LINE
        )
        async with aclosing(_chunks(bounded, most, most_bytes)) as chunks:
            async for chunk in chunks:
                yield chunk
    except errors() as error:
        if raw is not None:
            raise ResultsCut(
                f"the results of {batch_id} broke off: {type(error).__name__}"
            ) from error
        raise batch_failed(error) from error
    finally:
        if raw is not None:
            await raw.aclose()


async def _open_results(client: "AsyncAnthropic", batch_id: str) -> httpx2.Response:
    """Open the results at the client's own address: a batch's `results_url` could name any host, which would get the key."""
    options: RequestOptions = {"headers": {STREAMED: "stream", "Accept": "application/binary"}}
    path = f"{BATCHES}/{quote(batch_id, safe='')}/results"
    return await client.get(path, cast_to=httpx2.Response, options=options)


def fate(fault: RequestFault, *, items: int, others_answered: bool) -> Judgment:
    """Return the judgment of a fault for each of the `items` of its request.

    A fault of the account, the rate limit or the load never counts against an item. A failure at the provider counts against
    the request only if other requests were answered (`lanes.realtime.health`). In a pack any item may be the cause, so each is
    retried alone.
    """
    alone = items == 1
    match fault.action:
        case Action.POISON | Action.SPLIT:
            return Judgment(Outcome.POISON if alone else Outcome.PACK_REFUSED, error=fault.detail)
        case Action.RETRY if others_answered:
            return Judgment(Outcome.ERRORED, error=fault.detail, spends=alone, alone=not alone)
        case _:
            return Judgment(Outcome.UNSERVED, error=fault.detail)


def unread(why: str, *, items: int, others_answered: bool) -> Judgment:
    """Return the judgment of an unreadable result, which may be billed, for each of the `items` of its request.

    It spends a retry only of an item that was alone, and only if other requests were answered: if no answer is readable, the
    provider is at fault.
    """
    alone, error = items == 1, f"its result cannot be read: {why}"
    return Judgment(Outcome.UNKNOWN, error=error, spends=alone and others_answered, alone=not alone)


async def _chunks(
    blocks: AsyncIterator[bytes], most: int, most_bytes: int
) -> AsyncGenerator[list[RequestResult | Unreadable]]:
    chunk, held = list[RequestResult | Unreadable](), 0
    async for lines in _lines(blocks):
        for line in lines:
            chunk.append(read_line(line))
            held += len(line)
            if len(chunk) >= most or held >= most_bytes:
                yield chunk
                chunk, held = [], 0
    if chunk:
        yield chunk


async def _bound_blocks(blocks: AsyncIterator[bytes], most: float) -> AsyncIterator[bytes]:
    """Yield the blocks and stop before the total exceeds `most` bytes."""
    read = 0
    async for block in blocks:
        read += len(block)
        if read > most:
            return
        yield block


async def _lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Yield the non-blank lines; all lines that end within a block are yielded together.

    Lines end at LF, not at Unicode line separators. Of a line that is too long, only the beginning is yielded.
    """
    partial = _LineParts()
    async for block in blocks:
        first, *others = block.split(b"\n")
        partial.add(first)
        if others:
            *whole, last = others
            yield [line for line in (partial.end(), *whole) if line.strip()]
            partial.add(last)
    yield [line for line in (partial.end(),) if line.strip()]


class _LineParts:
    """The parts of a line that spans blocks. They are joined once, and take at most `LONGEST_LINE` bytes of memory."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, part: bytes) -> None:
        """Append a part of the line."""
        self._length += len(part)
        if self._length <= LONGEST_LINE:
            self._parts.append(part)
        elif len(self._parts) != 1 or len(self._parts[0]) > KEPT_BYTES:
            self._parts = [b"".join([*self._parts, part[:KEPT_BYTES]])[:KEPT_BYTES]]

    def end(self) -> bytes:
        """Return the line, a `_TooLong` if only its beginning is left, and begin the next one."""
        line = b"".join(self._parts)
        whole, self._parts, self._length = self._length <= LONGEST_LINE, [], 0
        return line if whole else _TooLong(line)


def read_line(line: bytes) -> RequestResult | Unreadable:
    """Return the result in a line, or an `Unreadable`. Never raises, whatever the line contains."""
    nonce, number, label = "", -1, ""
    try:
        if isinstance(line, _TooLong) or len(line) > LONGEST_LINE:
            raise ValueError(f"it is longer than {LONGEST_LINE:,} bytes")
        parsed = json_data.loads(line)
        nonce, number, label = _request(parsed["custom_id"])
        return RequestResult(
            nonce, number, _read_result(parsed["result"], parsed["custom_id"]), label
        )
    except UnreadableBill as error:
        return Unreadable(str(error), nonce, number, label)
    except Exception as error:  # a line of any shape must not stop the reading of the others
        if not nonce and (named := NAMED.search(line)):
            nonce, number = named["nonce"].decode(), int(named["number"])
            label = (named["label"] or b"").decode()
        return Unreadable(quote_text(f"{type(error).__name__}: {error}"), nonce, number, label)


def _request(custom_id: str) -> tuple[str, int, str]:
    """Return the nonce, number and label in a custom_id; in another format it counts as the nonce, with the number -1."""
    if match := CUSTOM_ID.fullmatch(custom_id):
        return match["nonce"], int(match["number"]), match["label"] or ""
    return custom_id, -1, ""


def _read_result(result: dict[str, Any], call: str) -> Response | RequestFault | Judgment:
    match result["type"]:
        case "succeeded":
            return read_response(result["message"], call=call)
        case "errored":
            return _fault(result)
        case "canceled":
            return Judgment(Outcome.CANCELED, error="the batch was canceled")
        case "expired":
            return Judgment(Outcome.EXPIRED, error="the batch expired before it ran")
        case other:
            fault = f"its result is of no known type: {quote_text(other)}"
            if "message" not in result:  # only a message could prove that the request is billed
                raise ValueError(fault)
            return read_response(result["message"], call=call)._replace(fault=fault)


def _fault(result: dict[str, Any]) -> RequestFault:
    error = _object(_object(result.get("error")).get("error"))
    kind = error.get("type")
    message = error.get("message")
    code = _object(error.get("details")).get("error_code")
    return RequestFault(
        classify(kind, message if isinstance(message, str) else "", code),
        f"{quote_text(kind)}: {quote_text(message)}",
    )


def _object(value: Any) -> dict[str, Any]:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


Line = RequestResult | Unreadable
NAMELESS = "no line that can be read names it"


class ResultLines:
    """The lines that one pass over a batch's results has read so far."""

    def __init__(self, nonce: str, requests: int) -> None:
        self._nonce, self._requests = nonce, requests
        self.seen = set[int]()  # numbers of the requests with a readable result
        self.answered = set[int]()  # numbers of the requests that were answered; a subset of `seen`
        self._unreadable = dict[int, str]()  # the reason, by the number of the line's request
        self._nameless = 0  # unreadable lines that do not even name their request
        self._strays = Counter[str]()  # lines without a result of one of our requests, by reason

    @property
    def are_foreign(self) -> bool:
        """Whether there are lines of other batches and none of this batch."""
        return bool(self._strays["of other batches"]) and not (self.seen or self._unreadable)

    def proof(self, chunk: Iterable[Line]) -> str | None:
        """Return the nonce of the batch that the results belong to, None if no line has a nonce.

        One line with our nonce proves that all lines are ours, whatever the others contain: no provider can guess it.
        """
        nonces = [line.nonce for line in chunk if line.nonce]
        return self._nonce if self._nonce in nonces else next(iter(nonces), None)

    def ours(self, chunk: Sequence[Line]) -> list[RequestResult]:
        """Return the results of the batch's own requests, and count all other lines by the reason."""
        ours = list(self._ours(chunk))
        self.seen.update(each.number for each in ours)
        self.answered.update(each.number for each in ours if isinstance(each.content, Response))
        return ours

    def _ours(self, chunk: Sequence[Line]) -> Iterator[RequestResult]:
        for line in chunk:
            if isinstance(line, Unreadable):
                self._strays["that cannot be read"] += 1
                if line.nonce == self._nonce and 0 <= line.number < self._requests:
                    self._unreadable[line.number] = line.why
                self._nameless += not line.nonce
            elif line.nonce != self._nonce:
                self._strays["of other batches"] += 1
            elif not 0 <= line.number < self._requests:
                self._strays["of requests that it does not have"] += 1
            else:
                yield line

    def unreadable(self, lacking: Iterable[int]) -> dict[int, str]:
        """Return the reasons, by number, for those of the `lacking` requests whose lines arrived but cannot be read.

        An unreadable line without a request's name belongs to some request whose line is missing. If there are at least as many
        of these lines as of these requests, the line of each of these requests has arrived.
        """
        found = {
            number: self._unreadable[number] for number in lacking if number in self._unreadable
        }
        lost = [number for number in lacking if number not in found]
        return found | (dict.fromkeys(lost, NAMELESS) if len(lost) <= self._nameless else {})

    def strays(self) -> str:
        """Return a clause about the lines that are not a result of one of our requests, empty if there were none."""
        kinds = [
            f"{pluralize(number, 'line')} {what}" for what, number in sorted(self._strays.items())
        ]
        return f" with {' and '.join(kinds)}" if kinds else ""
