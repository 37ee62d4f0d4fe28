"""One call: asked once, without the SDK's own retries, because our policy decides what is asked again.

The SDK takes more than a second to load. Who calls loads it, so that whoever waits for a call can do something else meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lanes import json_data
from lanes.provider.errors import Action, CallFailed
from lanes.provider.message import UnreadableBill, read_response
from lanes.realtime.calltime import CONNECT_S
from lanes.settling.outcome import Response
from lanes.text import basic_auth

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic, RequestOptions

MESSAGES = "/v1/messages"
SILENCE_S = 60.0  # how long a connection may say nothing
Hear = Callable[
    [Mapping[str, str]], object
]  # is told the headers of an answer, whatever its status


def load() -> None:
    """The SDK is loaded, and its transport: a client opens at once."""
    from anthropic import AsyncAnthropic, DefaultAioHttpClient  # noqa: F401 # pyright: ignore[reportUnusedImport]


def connect(
    *,
    api_key: str,
    base_url: str | None = None,
    login: str | None = None,
    timeout_s: float = SILENCE_S,
) -> "AsyncAnthropic":
    """Return a client that never retries by itself: a repeated create would be a second paid batch.

    `login` is `user:password` of a gateway before the provider. It travels as a header and is no part of the address, which
    errors and logs of the SDK quote.

    Its transport is the SDK's own of aiohttp: a call takes half of the time of the one that it takes by itself, whose pool
    looks through every connection for each call. It follows no redirect, which would take the key and the inputs to another
    address, and holds no more of an answer than an answer has.
    """
    from anthropic import AsyncAnthropic, DefaultAioHttpClient
    from httpx2 import Timeout

    from lanes.provider.bounded import bounded

    timeout = Timeout(timeout_s, connect=CONNECT_S)
    http = DefaultAioHttpClient(
        timeout=timeout, follow_redirects=False, event_hooks={"response": [bounded]}
    )
    return AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        timeout=timeout,
        http_client=http,
        default_headers=basic_auth(login),
    )


async def ask(
    client: "AsyncAnthropic", body: bytes, *, longest_s: float, hear: Hear | None = None
) -> Response:
    """The provider's response to one Messages request, within `longest_s` however slowly it comes.

    `body` is sent as it is, and what comes is read here: the SDK's models of both take longer than the rest of it. `hear` is
    told the headers, also those of an error; whatever it raises is nothing to the call. It is no middleware of the SDK, which
    takes an error's answer for a result where the raw response is asked for.

    Raises:
        CallFailed: there was none, or none that can be read; its `action` says what to do.
    """
    from httpx2 import Response as Raw
    from httpx2 import Timeout

    from lanes.provider.sdk_errors import failed

    try:
        async with asyncio.timeout(longest_s):
            options: RequestOptions = {"timeout": Timeout(longest_s + CONNECT_S, connect=CONNECT_S)}
            raw = await client.post(MESSAGES, content=body, cast_to=Raw, options=options)
        _tell(hear, raw)
        return read_response(json_data.loads(raw.content), request_id=raw.headers.get("request-id"))
    except TimeoutError as late:
        detail = f"no answer from the provider within {longest_s:.0f} s, the longest that this call may take"
        raise CallFailed(Action.RETRY, detail, maybe_billed=True, cut=True) from late
    except UnreadableBill as error:
        raise CallFailed(
            Action.RETRY, f"the provider's answer cannot be booked: {error}", maybe_billed=True
        ) from error
    except (
        Exception
    ) as error:  # whatever the SDK makes of a broken body: nobody's answer, and perhaps billed
        _tell(hear, getattr(error, "response", None))
        raise failed(error) from error


def _tell(hear: Hear | None, answer: Any) -> None:
    """Whoever asked knows the headers of an answer, if there was one."""
    if hear is not None and answer is not None:
        with suppress(Exception):
            hear(answer.headers)
