"""What an exception of the provider's SDK stands for. Loading the SDK takes over a second: only who calls imports this."""

import aiohttp
import anthropic
import httpx2
from anthropic.types import shared

from lanes.provider.errors import OF_MODEL, Action, CallFailed, told, unforeseen

_SPENT = (
    shared.EnforcedSpendLimitReachedError,
    shared.ContractSpendLimitReachedError,
    shared.OrganizationOnHoldError,
    anthropic.PaymentRequiredError,
)
_MISCONFIGURED = (
    anthropic.AuthenticationError,
    shared.CMEKKeyDisabledError,
    shared.CMEKKeyNetworkBlockedError,
    shared.OrganizationTypeNotSupportedError,
    shared.ParentOrganizationRequiredError,
    shared.WorkspaceHumanReviewDisabledError,
)
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
TRANSPORT = (anthropic.APIError, httpx2.HTTPError, aiohttp.ClientError)  # a reset in mid-stream is not the SDK's own


def failed(error: Exception) -> CallFailed:
    """The failure that an exception of the SDK, of the transport below it, or of reading the answer stands for.

    Source: the error classes of anthropic 2.13; spend limits are subclasses of RateLimitError and are told first.
    """
    if not isinstance(error, anthropic.APIStatusError):
        return unforeseen(error, unsent=_never_sent(error.__cause__ or error))
    action = _action(error)
    detail = f"the provider answered {error.status_code}: {_message(error)}"
    if action in (Action.MISCONFIGURED, *OF_MODEL):
        detail += "; check ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and the workload's models"
    return CallFailed(
        action,
        detail,
        maybe_billed=error.status_code >= 500 and error.status_code != 529,
        innocent=action is Action.SHED,
        retry_after_s=_retry_after(error),
        request_id=error.request_id,
    )


def _never_sent(error: BaseException) -> bool:
    """Whether no request left this machine. What the SDK's transport calls a connect error is also a connection that was lost
    with the request on it: aiohttp's own error below it tells them apart."""
    below = error.__cause__
    lost = isinstance(below, aiohttp.ClientConnectionError) and not isinstance(below, _NOT_CONNECTED)
    return isinstance(error, _NEVER_SENT) and not lost


def _action(error: anthropic.APIStatusError) -> Action:
    if isinstance(error, _SPENT) or told(error.type, _message(error), error.error_code) is Action.STOP_PAYING:
        return Action.STOP_PAYING
    if isinstance(error, anthropic.RateLimitError):
        return Action.SLOW_DOWN
    if isinstance(error, anthropic.OverloadedError):
        return Action.SHED
    if isinstance(error, _MISCONFIGURED):
        return Action.MISCONFIGURED
    if isinstance(error, anthropic.PermissionDeniedError):
        return Action.FORBIDDEN
    if isinstance(error, anthropic.NotFoundError):
        return Action.UNKNOWN_MODEL
    if isinstance(error, anthropic.ContentTooLargeError):
        return Action.SPLIT
    if error.status_code in (408, 409, 499) or error.status_code >= 500:
        return Action.RETRY
    return Action.POISON


def _message(error: anthropic.APIStatusError) -> str:
    body = error.body
    said = body.get("error") if isinstance(body, dict) else None
    return str(said.get("message")) if isinstance(said, dict) else str(error)


def _retry_after(error: anthropic.APIStatusError) -> float | None:
    try:
        return float(error.response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
