"""Bounds what is held of an answer, as it is decoded: a small compressed body can hold a thousand times its size.

A hook of the client, so that it holds for whatever the SDK reads too.
"""

from collections.abc import AsyncIterator

import httpx2

from lanes.provider.message import MOST_BYTES

STREAMED = "x-stainless-raw-response"  # the SDK marks a request so whose answer is read as it comes: the results of a batch
ENCODING = "content-encoding"


class TooLong(httpx2.ReadError):
    """An answer that is longer than any answer is."""


async def bounded(response: httpx2.Response) -> None:
    """Let reading the response fail where it holds more than `MOST_BYTES`. Who streams an answer bounds it as it comes."""
    if response.is_closed or (
        response.is_success and response.request.headers.get(STREAMED) == "stream"
    ):
        return
    response.stream = _Bounded(response)
    if ENCODING in response.headers:
        del response.headers[ENCODING]


class _Bounded(httpx2.AsyncByteStream):
    """The decoded body of a response."""

    def __init__(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._raw, self._encoding = response.stream, response.headers.get(ENCODING)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._decoded():
            read += len(piece)
            if read > MOST_BYTES:
                raise TooLong(f"the provider's answer is longer than {MOST_BYTES:,} bytes")
            yield piece

    def _decoded(self) -> AsyncIterator[bytes]:
        """Return the pieces of the body, none of them large: the decoders of the client decode bit by bit."""
        if self._encoding is None:
            return aiter(self._raw)
        return httpx2.Response(
            200, headers={ENCODING: self._encoding}, stream=self._raw
        ).aiter_bytes()

    async def aclose(self) -> None:
        await self._raw.aclose()
