"""The results of an ended batch, read line by line as they stream. One line that cannot be read spoils only itself."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from anthropic import AnthropicError, AsyncAnthropic

from lanes import exact_json
from lanes.errors import LanesError
from lanes.provider.batches import CUSTOM_ID, batch_failed
from lanes.provider.client import read_response
from lanes.provider.errors import Action, CallFailed, told
from lanes.provider.sdk_errors import TRANSPORT
from lanes.settling.outcome import Judged, Response
from lanes.storable import storable
from lanes.words import Outcome

MOST_LINES = 500
MOST_BYTES = 4 * 1024 * 1024  # of lines in one chunk


class ResultsCut(LanesError):
    """The results ended early; reading them again later is safe."""


class ResultsGone(CallFailed):
    """The batch has ended, and the provider offers no results of it."""


@dataclass(frozen=True)
class Fault:
    """Why the provider served no answer to a request, and what its error policy makes of that."""

    action: Action
    detail: str


@dataclass(frozen=True)
class RequestResult:
    """How one request of a batch ended: with a billed response, with a fault, or judged without either.

    `number` is -1 where the custom_id is none of ours.
    """

    nonce: str
    number: int
    said: Response | Fault | Judged

    @property
    def is_fault(self) -> bool:
        """Whether the provider failed, for the request's fault or its own."""
        return isinstance(self.said, Fault) and self.said.action is Action.RETRY


@dataclass(frozen=True)
class Unreadable:
    """A line from which no result can be read."""

    why: str


async def results(
    client: AsyncAnthropic, batch_id: str, *, most: int = MOST_LINES, most_bytes: int = MOST_BYTES
) -> AsyncGenerator[list[RequestResult | Unreadable]]:
    """The requests' results, in whatever order the provider sends them, in chunks of up to `most` lines, or of fewer once
    they have `most_bytes`. Whether all came is for the caller to count.

    Raises:
        CallFailed: the results could not be opened.
        BatchUnknown, ResultsGone: they cannot be opened, and perhaps never will.
        ResultsCut: the stream ended in the middle.
    """
    opened = False
    try:
        async with client.messages.batches.with_streaming_response.results(batch_id) as stream:
            opened = True
            async with aclosing(_chunks(stream.iter_bytes(), most, most_bytes)) as chunks:
                async for chunk in chunks:
                    yield chunk
    except TRANSPORT as error:
        if opened:
            raise ResultsCut(f"the results of {batch_id} broke off: {type(error).__name__}") from error
        raise batch_failed(error) from error
    except AnthropicError as error:  # the SDK's own: the batch names no place to read results from
        detail = f"the provider offers no results of {batch_id}: it keeps them for 29 days and then archives them"
        raise ResultsGone(Action.RETRY, detail, maybe_billed=False) from error


def fate(fault: Fault, *, items: int, others_answered: bool) -> Judged:
    """What a fault means for each of the `items` of its request.

    Trouble of the account, the rate or the load is never the item's; a failure at the provider is the request's own only
    where others are answered (`lanes.realtime.health`). Any item of a pack may be at fault: each is asked alone.
    """
    alone = items == 1
    match fault.action:
        case Action.POISON | Action.SPLIT:
            return Judged(Outcome.POISON if alone else Outcome.PACK_REFUSED, error=fault.detail)
        case Action.RETRY if others_answered:
            return Judged(Outcome.ERRORED, error=fault.detail, spends=alone, alone=not alone)
        case _:
            return Judged(Outcome.UNSERVED, error=fault.detail)


async def _chunks(blocks: AsyncIterator[bytes], most: int, most_bytes: int) -> AsyncGenerator[list[RequestResult | Unreadable]]:
    chunk, held = list[RequestResult | Unreadable](), 0
    async for lines in _lines(blocks):
        for line in lines:
            chunk.append(_read(line))
            held += len(line)
            if len(chunk) >= most or held >= most_bytes:
                yield chunk
                chunk, held = [], 0
    if chunk:
        yield chunk


async def _lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The lines that are not blank, those that end in a block together. They end at LF: a line separator of Unicode within
    an answer ends none."""
    begun: list[bytes] = []  # the parts of a line that spans blocks: they are joined once
    async for block in blocks:
        first, *others = block.split(b"\n")
        begun.append(first)
        if others:
            *whole, last = others
            yield [line for line in (b"".join(begun), *whole) if line.strip()]
            begun = [last]
    yield [line for line in (b"".join(begun),) if line.strip()]


def _read(line: bytes) -> RequestResult | Unreadable:
    try:
        return _result(exact_json.loads(line))
    except Exception as error:  # the shape of a line is the provider's: whatever it holds, the others are read
        return Unreadable(f"{type(error).__name__}: {error}")


def _result(line: dict[str, Any]) -> RequestResult:
    match = CUSTOM_ID.fullmatch(line["custom_id"])
    nonce, number = (match["nonce"], int(match["number"])) if match else (line["custom_id"], -1)
    return RequestResult(nonce, number, _said(line["result"]))


def _said(result: dict[str, Any]) -> Response | Fault | Judged:
    match result["type"]:
        case "succeeded":
            return read_response(result["message"])
        case "errored":
            error = (result.get("error") or {}).get("error") or {}
            kind, message = error.get("type"), str(error.get("message"))
            code = (error.get("details") or {}).get("error_code")
            return Fault(told(kind, message, code), storable(f"{kind}: {message}"))
        case "canceled":
            return Judged(Outcome.CANCELED, error="the batch was canceled")
        case "expired":
            return Judged(Outcome.EXPIRED, error="the batch expired before it ran")
        case other:
            return Judged(Outcome.ERRORED, error=f'unknown result type "{other}"')
