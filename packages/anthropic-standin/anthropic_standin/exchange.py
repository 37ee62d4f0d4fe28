"""An HTTP exchange: the request that handlers read, and the answer that they return."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from anthropic_standin.envelope import refuse_oversize
from anthropic_standin.errors import ApiError, invalid

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
TRANSPORT = "lanes.transport"
"""Where the server puts the connection's transport into the scope, so that a fault can cut it."""


class Request:
    """The client's request."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope, self._receive = scope, receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]

    def header(self, name: bytes) -> bytes:
        """Return the header of this name (in lower case), or an empty value if the client did not send it."""
        for key, value in self._scope["headers"]:
            if key == name:
                return value
        return b""

    @property
    def base_url(self) -> str:
        """The base URL at which the client reached the stand-in."""
        return f"http://{self.header(b'host').decode('latin-1')}"

    async def body(self, most_bytes: int) -> bytes | bytearray:
        """Return the whole body; ApiError 413 if its announced or its real length exceeds the limit."""
        announced = self.header(b"content-length")
        refuse_oversize(int(announced) if announced.isdigit() else 0, most_bytes)
        message = await self._receive()
        if not message.get("more_body"):
            return message.get("body", b"")
        whole = bytearray(message.get("body", b""))
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ApiError(499, "The client closed the connection before the body was complete")
            whole += message.get("body", b"")
            refuse_oversize(len(whole), most_bytes)
        return whole

    async def json(self, most_bytes: int) -> Any:
        """Return the body as JSON; ApiError 400 if it is not valid."""
        body = await self.body(most_bytes)
        try:
            return orjson.loads(body or b"{}")
        except orjson.JSONDecodeError as error:
            raise invalid(f"The request body is not valid JSON: {error}") from None

    def gone(self) -> bool:
        """Return whether the connection is closed."""
        return self._scope[TRANSPORT].is_closing()

    async def hang_up(self) -> None:
        """Close the connection after the bytes that were already sent, and wait until it is closed."""
        self._scope[TRANSPORT].close()
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(slots=True)
class HttpAnswer:
    """The answer to a request: one body, or `chunks` that are sent as they are produced."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: list[Header] = field(default_factory=list)
    chunks: AsyncIterator[bytes] | None = None

    async def send(self, send: Send) -> None:
        """Send the whole answer."""
        headers = [(b"content-type", self.content_type), *self.headers]
        if self.chunks is None:
            headers.append((b"content-length", b"%d" % len(self.body)))
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": self.body})
            return
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        async for chunk in self.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def json_answer(value: object, status: int = 200) -> HttpAnswer:
    """Return an answer with a JSON body."""
    return HttpAnswer(status, orjson.dumps(value))


def error_answer(error: ApiError, request_id: str) -> HttpAnswer:
    """Return the error in the API's format; `retry-after` is in whole seconds, rounded up."""
    answer = json_answer(error.body(request_id), error.status)
    if error.retry_after_s is not None:
        answer.headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
    return answer
