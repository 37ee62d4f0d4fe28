"""Real-time calls through the SDK, without its retries: our error policy decides about retries. A refused pack is split.

The SDK takes more than a second to load, so the functions that need it import it.
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
SILENCE_S = 60.0  # read timeout: the longest time without a byte
# The provider refused the request itself; it may accept a smaller one.
REFUSED = (Action.SPLIT, Action.POISON)
# Receives the headers of every answer, also of an error.
Hear = Callable[[Mapping[str, str]], object]
# Returns the items of a pack that may be called now.
Begin = Callable[[Sequence[ClaimedWork]], Awaitable[Sequence[ClaimedWork]]]


def load() -> None:
    """Import the SDK and its transport now, so that opening a client later takes no time."""
    from anthropic import AsyncAnthropic, DefaultAioHttpClient  # noqa: F401 # pyright: ignore[reportUnusedImport]


def connect(
    *,
    api_key: str,
    base_url: str | None = None,
    login: str | None = None,
    timeout_s: float = SILENCE_S,
) -> "AsyncAnthropic":
    """Return a client that never retries by itself: a repeated create would create a second paid batch.

    `login` is the `user:password` of a gateway in front of the provider. It is sent as a header and is no part of the address,
    because the SDK quotes the address in errors and logs.

    The client uses the SDK's aiohttp transport. Calls take half as long as with the default transport, whose pool searches all
    connections on each call. The client follows no redirects: they would send the key and the inputs to another address.
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
    """Return the provider's response to one Messages request; the whole call takes at most `longest_s`.

    The body and the answer bypass the SDK's models, which take longer than the rest of the call. `hear` receives the headers of
    the answer, also of an error; its exceptions are ignored. It is not an SDK middleware, because the SDK hands an error to a
    middleware as a normal result when the raw response is requested.

    Raises:
        CallFailed: no answer arrived, or it cannot be read; `action` is the reaction to the failure.
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
    except Exception as error:  # also an SDK error for a broken body, which may be billed
        from lanes.provider.transport import convert_error

        _tell(hear, getattr(error, "response", None))
        raise convert_error(error) from error


def _tell(hear: Hear | None, answer: Any) -> None:
    """Pass the headers of the answer, if any, to `hear`."""
    if hear is not None and answer is not None:
        with suppress(Exception):
            hear(answer.headers)


@dataclass(frozen=True)
class CallResult:
    """A finished call, with either a response or a failure; after a failure, `untried` are items that were in no call.

    `ids` are the ids of its items within the call, in the order of `pack`. `ended` is a time of `time.monotonic`.
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
    """Return the questions of a pack, which get these ids in order; `context` is keyed by the id of the work."""
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
    """Yield the calls for a pack, each as soon as it ends. Every item that is called is in exactly one of them.

    `hear` receives the headers of every answer. If `marked`, the provider caches the part that calls share. A call may take
    `patience` times the usual timeout.

    A refused pack, which is too large or contains a poisonous item, is halved until the refused item is alone. `begin` chooses
    the items of each half that may be called; the others are in no call. Any other failure ends the pack and leaves its
    remaining items untried.
    """
    spec, waiting, whole = writer.version.spec, [pack], True
    while waiting:
        items = waiting.pop()
        if not whole and begin is not None:
            items = await begin(items)
        whole = False
        if not items:
            continue
        nonce = new_nonce()
        ids = pack_ids(nonce, 0, len(items))
        began = time.monotonic()
        try:
            longest_s = longest_call_s(most_answer_tokens(spec, len(items)), patience=patience)
            response = await ask(
                client, _body(writer, items, ids, marked), longest_s=longest_s, hear=hear
            )
        except CallFailed as failure:
            refused = failure.action in REFUSED
            if refused and len(items) > 1:
                middle = len(items) // 2
                waiting += [items[middle:], items[:middle]]
                continue
            untried = [] if refused else [each for later in waiting for each in later]
            ended = time.monotonic()
            yield CallResult(items, ended - began, ended, failure=failure, untried=untried)
            if not refused:
                return
        else:
            ended = time.monotonic()
            yield CallResult(
                items, ended - began, ended, response=response._replace(call=nonce), ids=ids
            )


def _body(writer: Writer, items: Sequence[ClaimedWork], ids: Sequence[str], marked: bool) -> bytes:
    """Return the request body.

    Raises:
        CallFailed: the input cannot be written; the failure is handled as a refusal by the provider.
    """
    try:
        return writer.write(questions(items, ids), marked=marked)
    except Exception as error:
        # The error's text may quote the input, so only its type is reported.
        detail = f"the request cannot be written: {type(error).__name__}"
        raise CallFailed(Action.POISON, detail, maybe_billed=False) from error
