"""The SDK's transport: a limit on the size of answers, and the conversion of exceptions into failures.

A small compressed body can expand to a thousand times its size, so a hook of the HTTP client limits answers while they are
decoded; it also covers the answers that the SDK reads itself. This module imports httpx2, so modules that a drain loads at its
start import it within functions.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx2

from lanes.provider.errors import OF_MODEL, Action, CallFailed, classify_answer, unforeseen
from lanes.provider.message import MOST_BYTES, quote_text, readable_name
from lanes.realtime.headers import retry_after_s

if TYPE_CHECKING:
    from anthropic import APIStatusError

# The SDK sets this header on requests with a streamed answer: the results of a batch.
STREAMED = "x-stainless-raw-response"
ENCODING = "content-encoding"
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class TooLong(httpx2.ReadError):
    """An answer that is longer than any valid answer."""


async def bound_response(response: httpx2.Response) -> None:
    """Make reading the response fail beyond `MOST_BYTES`; a streamed response is limited by its reader instead."""
    if response.is_closed or (
        response.is_success and response.request.headers.get(STREAMED) == "stream"
    ):
        return
    response.stream = _Bounded(response)
    if ENCODING in response.headers:
        del response.headers[ENCODING]


class _Bounded(httpx2.AsyncByteStream):
    """The decoded body of a response, limited to `MOST_BYTES`."""

    def __init__(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._raw, self._encoding = response.stream, response.headers.get(ENCODING)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._decode():
            read += len(piece)
            if read > MOST_BYTES:
                raise TooLong(f"the provider's answer is longer than {MOST_BYTES:,} bytes")
            yield piece

    def _decode(self) -> AsyncIterator[bytes]:
        """Return the decoded pieces of the body; all are small, because the client decodes incrementally."""
        if self._encoding is None:
            return aiter(self._raw)
        return httpx2.Response(
            200, headers={ENCODING: self._encoding}, stream=self._raw
        ).aiter_bytes()

    async def aclose(self) -> None:
        await self._raw.aclose()


def errors() -> tuple[type[Exception], ...]:
    """Return the exception types that calls raise; a connection reset within a stream is not an SDK error."""
    import aiohttp
    import anthropic

    return anthropic.APIError, httpx2.HTTPError, aiohttp.ClientError


def convert_error(error: Exception) -> CallFailed:
    """Return the failure for an exception that the SDK, its transport or the reading of an answer raised.

    Source: anthropic 2.13, which has an error class for each status and code.
    """
    import anthropic

    if isinstance(too_long := error.__cause__ or error, TooLong):
        return CallFailed(Action.RETRY, str(too_long), maybe_billed=True)
    if not isinstance(error, anthropic.APIStatusError):
        return unforeseen(error, unsent=_never_sent(error.__cause__ or error))
    message = _message(error)
    action = classify_answer(error.status_code, error.type, message, error.error_code)
    detail = f"the provider answered {error.status_code}: {quote_text(message)}"
    if action in (Action.MISCONFIGURED, *OF_MODEL):
        detail += "; check key and address of the provider block (lanes: ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL) and the models"
    return CallFailed(
        action,
        detail,
        maybe_billed=error.status_code >= 500 and error.status_code != 529,
        innocent=action is Action.SHED,
        retry_after_s=retry_after_s(error.response.headers.get("retry-after")),
        request_id=readable_name(error.request_id),
    )


def _never_sent(error: BaseException) -> bool:
    """Return whether no request left this machine.

    The SDK also reports a connection that was lost after the request was sent as a connect error. The aiohttp error that caused
    it distinguishes the two cases.
    """
    import aiohttp

    not_connected = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError
    below = error.__cause__
    lost = isinstance(below, aiohttp.ClientConnectionError) and not isinstance(below, not_connected)
    return isinstance(error, _NEVER_SENT) and not lost


def _message(error: "APIStatusError") -> str:
    body = error.body
    details = body.get("error") if isinstance(body, dict) else None
    message = details.get("message") if isinstance(details, dict) else str(error)
    return message if isinstance(message, str) else "no message"
