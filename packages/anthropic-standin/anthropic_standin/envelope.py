"""The body of a batch creation, checked as far as the API checks it at once, and split into its requests.

Splitting it builds no Python objects, so 20,000 requests need little more memory than their bytes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import orjson

from anthropic_standin.errors import ApiError, invalid

MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 1024 * 1024
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_QUOTE, _OPENING = b'"', b"{["


class Envelope:
    """A valid creation body; it yields its requests in random order, the order of the results."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._body = body
        self._spans = _request_spans(body)
        self._check()
        random.shuffle(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def requests(self) -> Iterator[bytes]:
        """Yield each request (custom_id and params) as JSON."""
        view = memoryview(self._body)
        for start, end in self._spans:
            yield bytes(view[start:end])

    def _check(self) -> None:
        """Raise ApiError 400 unless every request has a valid, unique custom_id and an object of params."""
        self._check_frame()
        seen: set[str] = set()
        view = memoryview(self._body)
        for place, (start, end) in enumerate(self._spans):
            try:
                request = orjson.loads(view[start:end])
            except orjson.JSONDecodeError as error:
                raise invalid(
                    f"requests.{place}: The request body is not valid JSON: {error}"
                ) from None
            custom_id = request.get("custom_id")
            if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
                raise invalid(
                    f"requests.{place}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
                )
            if custom_id in seen:
                raise invalid(
                    f"requests: custom_id {custom_id!r} appears twice; it must be unique within a batch"
                )
            seen.add(custom_id)
            if not isinstance(request.get("params"), dict):
                raise invalid(f"requests.{place}.params: Field required")

    def _check_frame(self) -> None:
        """Check that the rest of the body is JSON and holds between 1 and 100,000 requests."""
        frame, reached = bytearray(), 0
        for start, end in self._spans:
            frame += self._body[reached:start] + b"0"
            reached = end
        frame += self._body[reached:]
        try:
            outer = orjson.loads(frame)
        except orjson.JSONDecodeError as error:
            raise invalid(f"The request body is not valid JSON: {error}") from None
        requests = outer.get("requests") if isinstance(outer, dict) else None
        if not isinstance(requests, list):
            raise invalid("requests: Field required")
        if not requests:
            raise invalid("requests: List should have at least 1 item after validation, not 0")
        if len(requests) > MOST_REQUESTS:
            raise invalid(
                f"requests: List should have at most {MOST_REQUESTS} items after validation, not {len(requests)}"
            )
        if len(requests) != len(self._spans):
            raise invalid("requests: every request should be an object with custom_id and params")


def refuse_oversize(size: int, most: int) -> None:
    """Raise ApiError 413 if a body is larger than its endpoint accepts."""
    if size > most:
        raise ApiError(413, f"Request exceeds the maximum allowed number of bytes ({most})")


def _request_spans(body: bytes | bytearray) -> list[tuple[int, int]]:
    """Return the start and the end of each object in the top-level list `requests`."""
    spans: list[tuple[int, int]] = []
    depth, begin, inside, key = 0, 0, False, b""
    for match in _TOKEN.finditer(body):
        token = match.group()
        if token[:1] == _QUOTE:
            if depth == 1:
                key = token
        elif token in _OPENING:
            if depth == 1:
                inside = token == b"[" and key == b'"requests"'
            elif depth == 2 and inside and token == b"{":
                begin = match.start()
            depth += 1
        else:
            depth -= 1
            if depth == 2 and inside and token == b"}":
                spans.append((begin, match.end()))
    return spans
