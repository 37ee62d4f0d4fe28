"""Real-time calls by the SDK without its retries, because our policy decides them; a refused pack is split.

The SDK takes more than a second to load, so it is imported by the functions that need it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lanes import json_data
from lanes.ids import WorkId
from lanes.money.cost import most_answer_tokens
from lanes.packing import ClaimedWork, new_nonce, pack_ids
from lanes.provider.errors import Action, CallFailed
from lanes.provider.message import UnreadableBill, read_response
from lanes.provider.requests import Question, Writer
from lanes.realtime.pace import CONNECT_S, longest_call_s
from lanes.settling.outcome import Response
from lanes.text import basic_auth
from lanes.workload.context import ContextPart

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic, RequestOptions

MESSAGES = "/v1/messages"
SILENCE_S = 60.0  # the longest silence of a connection
# the request itself is refused: a smaller one may be accepted
REFUSED = (Action.SPLIT, Action.POISON)
# receives the headers of every answer, whatever its status
Hear = Callable[[Mapping[str, str]], object]
# Returns the items of a pack for which a call may begin.
Begin = Callable[[Sequence[ClaimedWork]], Awaitable[Sequence[ClaimedWork]]]


def load() -> None:
    """Load the SDK and its transport, so that a client opens at once."""
    from anthropic import AsyncAnthropic, DefaultAioHttpClient  # noqa: F401 # pyright: ignore[reportUnusedImport]


def connect(
    *,
    api_key: str,
    base_url: str | None = None,
    login: str | None = None,
    timeout_s: float = SILENCE_S,
) -> "AsyncAnthropic":
    """Return a client that never retries by itself: a repeated create would be a second paid batch.

    `login` is `user:password` of a gateway before the provider. It is sent as a header, because errors and logs of the SDK
    quote the address.

    The client uses the SDK's aiohttp transport: calls take half as long as with the default one, whose pool searches every
    connection for each call. It follows no redirects, which would take the key and the inputs to another address.
    """
    from anthropic import AsyncAnthropic, DefaultAioHttpClient
    from httpx2 import Timeout

    from lanes.provider.transport import bound_response

    timeout = Timeout(timeout_s, connect=CONNECT_S)
    http = DefaultAioHttpClient(
        timeout=timeout, follow_redirects=False, event_hooks={"response": [bound_response]}
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
    """Return the provider's response to one Messages request, within `longest_s` however slowly it arrives.

    The body and the answer bypass the SDK's models, which take longer than the rest of the call. `hear` receives the headers,
    also those of an error; its exceptions are ignored. It is not a middleware of the SDK, for which an error's answer would be
    a result when the raw response is requested.

    Raises:
        CallFailed: there was no answer, or none that can be read; its `action` says what to do.
    """
    from httpx2 import Response as Raw
    from httpx2 import Timeout

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
    except Exception as error:  # whatever the SDK raises for a broken body, which may be billed
        from lanes.provider.transport import convert_error

        _tell(hear, getattr(error, "response", None))
        raise convert_error(error) from error


def _tell(hear: Hear | None, answer: Any) -> None:
    """Pass on the headers of an answer, if there was one."""
    if hear is not None and answer is not None:
        with suppress(Exception):
            hear(answer.headers)


@dataclass(frozen=True)
class CallResult:
    """A call that ended, with either a response or a failure; `untried` are items that it gave up.

    `ids` are the names of its items in the call, in their order. `ended` is a moment of `time.monotonic`.
    """

    pack: Sequence[ClaimedWork]
    seconds: float
    ended: float
    response: Response | None = None
    failure: CallFailed | None = None
    untried: Sequence[ClaimedWork] = ()
    ids: Sequence[str] = ()


def questions(
    pack: Sequence[ClaimedWork],
    ids: Sequence[str],
    context: Mapping[WorkId, tuple[ContextPart, ...]] | None = None,
) -> list[Question]:
    """Return the questions of a pack with these ids; `context` is by id of the work."""
    known = context or {}
    return [
        Question(id_, each.payload, known.get(each.claim.work_id, ()))
        for id_, each in zip(ids, pack, strict=True)
    ]


async def answer(
    client: "AsyncAnthropic",
    writer: Writer,
    pack: Sequence[ClaimedWork],
    *,
    patience: int = 1,
    hear: Hear | None = None,
    marked: bool = False,
    begin: Begin | None = None,
) -> AsyncIterator[CallResult]:
    """Yield each call that the pack needs as it ends; every item is in exactly one of them.

    `hear` receives the headers of every answer. If `marked`, the provider caches what calls share. A call may take `patience`
    times as long as usual.

    A pack that is too large or holds a poisonous item is halved until the item is alone; items that `begin` holds back are in
    no call. Any other failure ends the pack, and its other items are untried.
    """
    spec, waiting, whole = writer.version.spec, [pack], True
    while waiting:
        part = waiting.pop()
        if not whole and begin is not None:
            part = await begin(part)
        whole = False
        if not part:
            continue
        nonce = new_nonce()
        ids = pack_ids(nonce, 0, len(part))
        began = time.monotonic()
        try:
            longest_s = longest_call_s(most_answer_tokens(spec, len(part)), patience=patience)
            response = await ask(
                client, _body(writer, part, ids, marked), longest_s=longest_s, hear=hear
            )
        except CallFailed as failure:
            refused = failure.action in REFUSED
            if refused and len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            untried = [] if refused else [each for later in waiting for each in later]
            ended = time.monotonic()
            yield CallResult(part, ended - began, ended, failure=failure, untried=untried)
            if not refused:
                return
        else:
            ended = time.monotonic()
            yield CallResult(
                part, ended - began, ended, response=response._replace(call=nonce), ids=ids
            )


def _body(writer: Writer, part: Sequence[ClaimedWork], ids: Sequence[str], marked: bool) -> bytes:
    """Return the request; an input that cannot be written counts as refused by the provider."""
    try:
        return writer.write(questions(part, ids), marked=marked)
    except Exception as error:
        # its text may quote the input
        detail = f"the request cannot be written: {type(error).__name__}"
        raise CallFailed(Action.POISON, detail, maybe_billed=False) from error
