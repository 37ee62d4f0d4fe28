"""What an exception of the provider's SDK stands for. Loading the SDK takes over a second: only who calls imports this."""

import aiohttp
import anthropic
import httpx2

from lanes.provider.bounded import TooLong
from lanes.provider.errors import OF_MODEL, Action, CallFailed, of_answer, unforeseen
from lanes.provider.message import quoted, readable_name
from lanes.realtime.headers import retry_after_s

_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
TRANSPORT = (
    anthropic.APIError,
    httpx2.HTTPError,
    aiohttp.ClientError,
)  # a reset in mid-stream is not the SDK's own


def failed(error: Exception) -> CallFailed:
    """The failure that an exception of the SDK, of the transport below it, or of reading the answer stands for.

    Source: anthropic 2.13, whose error classes are one for each status and code: those decide.
    """
    if isinstance(too_long := error.__cause__ or error, TooLong):
        return CallFailed(Action.RETRY, str(too_long), maybe_billed=True)
    if not isinstance(error, anthropic.APIStatusError):
        return unforeseen(error, unsent=_never_sent(error.__cause__ or error))
    message = _message(error)
    action = of_answer(error.status_code, error.type, message, error.error_code)
    detail = f"the provider answered {error.status_code}: {quoted(message)}"
    if action in (Action.MISCONFIGURED, *OF_MODEL):
        detail += "; check ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and the workload's models"
    return CallFailed(
        action,
        detail,
        maybe_billed=error.status_code >= 500 and error.status_code != 529,
        innocent=action is Action.SHED,
        retry_after_s=retry_after_s(error.response.headers.get("retry-after")),
        request_id=readable_name(error.request_id),
    )


def _never_sent(error: BaseException) -> bool:
    """Whether no request left this machine. What the SDK's transport calls a connect error is also a connection that was lost
    with the request on it: aiohttp's own error below it tells them apart."""
    below = error.__cause__
    lost = isinstance(below, aiohttp.ClientConnectionError) and not isinstance(
        below, _NOT_CONNECTED
    )
    return isinstance(error, _NEVER_SENT) and not lost


def _message(error: anthropic.APIStatusError) -> str:
    body = error.body
    said = body.get("error") if isinstance(body, dict) else None
    message = said.get("message") if isinstance(said, dict) else str(error)
    return message if isinstance(message, str) else "no message"
