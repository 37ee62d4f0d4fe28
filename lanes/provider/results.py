"""The results of an ended batch, read line by line as they stream. One line that cannot be read spoils only itself."""

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
KEPT_BYTES = 64 * 1024  # of a line that is too long: enough to see which request it is of
NAMED = re.compile(
    rb'"custom_id"\s*:\s*"(?P<nonce>[0-9a-f]{1,64})-(?:(?P<label>[A-Za-z0-9_-]{1,64})-)?(?P<number>0|[1-9][0-9]{0,8})"'
)


class ResultsCut(LanesError):
    """The results ended early; reading them again later is safe."""


class ResultsGone(CallFailed):
    """The batch has ended, and the provider offers no results of it."""


@dataclass(frozen=True)
class RequestFault:
    """Why the provider served no answer to a request, and what its error policy makes of that."""

    action: Action
    detail: str


@dataclass(frozen=True)
class RequestResult:
    """The end of one request of a batch: with a billed response, with a fault, or judged without either.

    `number` is -1 where the custom_id is none of ours.
    """

    nonce: str
    number: int
    said: Response | RequestFault | Judgment
    label: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the provider failed, for the request's fault or its own."""
        return isinstance(self.said, RequestFault) and self.said.action is Action.RETRY


@dataclass(frozen=True)
class Unreadable:
    """A line from which no result can be read. `number` is that of its request, -1 where that cannot be read either."""

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

    The caller counts whether all arrived. At most `requests` times the longest line is read; further bytes are not results.

    Raises:
        CallFailed: the results could not be opened.
        BatchUnknown, ResultsGone: they cannot be opened, and perhaps never will.
        ResultsCut: the stream ended in the middle.
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
    """Open the results where everything else is asked: the key is sent, and the address that a batch names may be any."""
    options: RequestOptions = {"headers": {STREAMED: "stream", "Accept": "application/binary"}}
    path = f"{BATCHES}/{quote(batch_id, safe='')}/results"
    return await client.get(path, cast_to=httpx2.Response, options=options)


def fate(fault: RequestFault, *, items: int, others_answered: bool) -> Judgment:
    """Return what a fault means for each of the `items` of its request.

    Trouble of the account, the rate or the load is never the item's. A failure at the provider is the request's own only if
    others are answered (`lanes.realtime.health`). Any item of a pack may be at fault, so each is asked alone.
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
    """Return what it means for each of the `items` of a request that its result came and cannot be read: it may be billed.

    It spends retries of an item alone, and only where others were answered: a provider that no answer of can be read is at
    fault itself.
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
    """Yield the blocks up to `most` bytes."""
    read = 0
    async for block in blocks:
        read += len(block)
        if read > most:
            return
        yield block


async def _lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Yield the lines that are not blank, those that end in a block together.

    Lines end at LF, not at line separators of Unicode. Only the beginning of a line that is too long is kept.
    """
    begun = _LineParts()
    async for block in blocks:
        first, *others = block.split(b"\n")
        begun.add(first)
        if others:
            *whole, last = others
            yield [line for line in (begun.end(), *whole) if line.strip()]
            begun.add(last)
    yield [line for line in (begun.end(),) if line.strip()]


class _LineParts:
    """A line that spans blocks. Its parts are joined once, and no more than `LONGEST_LINE` of it is held."""

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
        """Return the line and begin the next one."""
        line = b"".join(self._parts)
        whole, self._parts, self._length = self._length <= LONGEST_LINE, [], 0
        return line if whole else _TooLong(line)


def read_line(line: bytes) -> RequestResult | Unreadable:
    """Return the result that a line holds. No line raises, whatever it is."""
    nonce, number, label = "", -1, ""
    try:
        if isinstance(line, _TooLong) or len(line) > LONGEST_LINE:
            raise ValueError(f"it is longer than {LONGEST_LINE:,} bytes")
        said = json_data.loads(line)
        nonce, number, label = _request(said["custom_id"])
        return RequestResult(nonce, number, _read_result(said["result"], said["custom_id"]), label)
    except UnreadableBill as error:
        return Unreadable(str(error), nonce, number, label)
    except (
        Exception
    ) as error:  # the shape of a line is the provider's: whatever it holds, the others are read
        if not nonce and (named := NAMED.search(line)):
            nonce, number = named["nonce"].decode(), int(named["number"])
            label = (named["label"] or b"").decode()
        return Unreadable(quote_text(f"{type(error).__name__}: {error}"), nonce, number, label)


def _request(custom_id: str) -> tuple[str, int, str]:
    """Return the nonce, the number and the label of the request that has this name."""
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
            if "message" not in result:  # only that could say whether it is billed
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
    """Return an object of JSON, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


Line = RequestResult | Unreadable
NAMELESS = "no line that can be read names it"


class ResultLines:
    """The lines that one reading of a batch's results has met so far."""

    def __init__(self, nonce: str, requests: int) -> None:
        self._nonce, self._requests = nonce, requests
        self.seen = set[int]()  # numbers of the requests whose result was read
        self.answered = set[int]()  # those of them that were answered
        self._unreadable = dict[int, str]()  # why a line cannot be read, by number of its request
        self._nameless = 0  # lines of which not even the request can be read
        self._strays = Counter[str]()  # lines without a result of a request, by what is wrong

    @property
    def are_foreign(self) -> bool:
        """Whether lines of other batches were met, and none of this one."""
        return bool(self._strays["of other batches"]) and not (self.seen or self._unreadable)

    def proof(self, chunk: Iterable[Line]) -> str | None:
        """Return the nonce that tells whose results these are, None where no line has one.

        One line with our nonce proves all of them ours, whatever else they hold: no provider can guess it.
        """
        nonces = [line.nonce for line in chunk if line.nonce]
        return self._nonce if self._nonce in nonces else next(iter(nonces), None)

    def ours(self, chunk: Sequence[Line]) -> list[RequestResult]:
        """Return the results of the batch's own requests; all other lines are counted by what is wrong with them."""
        ours = list(self._ours(chunk))
        self.seen.update(each.number for each in ours)
        self.answered.update(each.number for each in ours if isinstance(each.said, Response))
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
        """Return why no result of these requests can be read, by number, for those of them whose lines came.

        A line that does not say which request it is of stands for one that lacks its line. Where there are as many of such
        lines as of such requests, no other line can come for any of them.
        """
        found = {
            number: self._unreadable[number] for number in lacking if number in self._unreadable
        }
        lost = [number for number in lacking if number not in found]
        return found | (dict.fromkeys(lost, NAMELESS) if len(lost) <= self._nameless else {})

    def strays(self) -> str:
        """Return a clause about the lines that are no result of a request; empty when there were none."""
        kinds = [
            f"{pluralize(number, 'line')} {what}" for what, number in sorted(self._strays.items())
        ]
        return f" with {' and '.join(kinds)}" if kinds else ""
