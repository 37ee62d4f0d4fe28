"""What each of the provider's errors means for the work: the error policy, as one function."""

from enum import StrEnum

import anthropic
import httpx2
from anthropic.types import shared

from lanes.errors import LanesError


class Action(StrEnum):
    """What to do about a failed call."""

    RETRY = "retry"  # passing trouble: again, after a back-off
    SHED = "shed"  # overloaded: again, and let what can wait go to batch
    SLOW_DOWN = "slow_down"  # rate limited: wait as told, fewer calls at once
    STOP_PAYING = "stop_paying"  # a spend limit or the account: nothing paid until a person acts
    MISCONFIGURED = "misconfigured"  # key or permission: nothing until a setting is corrected
    UNKNOWN_MODEL = "unknown_model"  # nothing of this workload until its model is corrected
    SPLIT = "split"  # the request is too large: fewer items in it
    POISON = "poison"  # this input will never be accepted


FREEZES = (Action.STOP_PAYING, Action.MISCONFIGURED, Action.UNKNOWN_MODEL)  # the work is kept and spends no retry budget

_SPENT = (
    shared.EnforcedSpendLimitReachedError,
    shared.ContractSpendLimitReachedError,
    shared.OrganizationOnHoldError,
    anthropic.PaymentRequiredError,
)
_SPENT_TEXTS = ("You have reached your specified", "Your credit balance is too low")
_SPENT_CODES = (
    "enforced_spend_limit_reached", "contract_spend_limit_reached", "linked_organization_spend_limit_reached",
    "linked_organization_billing_unavailable", "organization_on_hold",
)  # fmt: skip
_MISCONFIGURED = (
    anthropic.AuthenticationError,
    anthropic.PermissionDeniedError,
    shared.CMEKKeyDisabledError,
    shared.CMEKKeyNetworkBlockedError,
    shared.OrganizationTypeNotSupportedError,
    shared.ParentOrganizationRequiredError,
    shared.WorkspaceHumanReviewDisabledError,
)
_MISCONFIGURED_CODES = (
    "cmek_key_disabled", "cmek_key_network_blocked", "organization_type_not_supported", "parent_organization_required",
    "workspace_human_review_disabled",
)  # fmt: skip
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)  # no request left this machine


class CallFailed(LanesError):
    """A provider call brought no answer.

    `maybe_billed` when nobody knows whether it was served; `innocent` when no item can be the cause.
    """

    def __init__(
        self, action: Action, detail: str, *, maybe_billed: bool, innocent: bool = False,
        retry_after_s: float | None = None, request_id: str | None = None,
    ) -> None:  # fmt: skip
        self.action = action
        self.maybe_billed = maybe_billed
        self.innocent = innocent
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        super().__init__(detail)


def failed(error: Exception) -> CallFailed:
    """The failure that an exception of the SDK, of the transport below it, or of reading the answer stands for.

    Source: the error classes of anthropic 2.13; spend limits are subclasses of RateLimitError and are told first.
    """
    if not isinstance(error, anthropic.APIStatusError):
        unsent = isinstance(error.__cause__ or error, _NEVER_SENT)
        detail = f"no answer from the provider: {type(error).__name__}: {str(error)[:500]}"
        return CallFailed(Action.RETRY, detail, maybe_billed=not unsent, innocent=unsent)
    action = _action(error)
    detail = f"the provider answered {error.status_code}: {_message(error)}"
    if action in (Action.MISCONFIGURED, Action.UNKNOWN_MODEL):
        detail += "; check ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and the workload's models"
    return CallFailed(
        action,
        detail,
        maybe_billed=error.status_code >= 500 and error.status_code != 529,
        innocent=action is Action.SHED,
        retry_after_s=_retry_after(error),
        request_id=error.request_id,
    )


def _action(error: anthropic.APIStatusError) -> Action:
    if isinstance(error, _SPENT) or told(error.type, _message(error), error.error_code) is Action.STOP_PAYING:
        return Action.STOP_PAYING
    if isinstance(error, anthropic.RateLimitError):
        return Action.SLOW_DOWN
    if isinstance(error, anthropic.OverloadedError):
        return Action.SHED
    if isinstance(error, _MISCONFIGURED):
        return Action.MISCONFIGURED
    if isinstance(error, anthropic.NotFoundError):
        return Action.UNKNOWN_MODEL
    if isinstance(error, anthropic.ContentTooLargeError):
        return Action.SPLIT
    if error.status_code in (408, 409, 499) or error.status_code >= 500:
        return Action.RETRY
    return Action.POISON


def told(kind: str | None, message: str, code: str | None = None) -> Action:
    """What an error's type, text and code say, wherever they stand: in the answer to a call or in a line of a batch.

    Source: the error types and codes of anthropic 2.13; a spend limit can come as any of several types.
    """
    if kind == "billing_error" or code in _SPENT_CODES or message.startswith(_SPENT_TEXTS):
        return Action.STOP_PAYING
    match kind:
        case "authentication_error" | "permission_error":
            return Action.MISCONFIGURED
        case "invalid_request_error" if code in _MISCONFIGURED_CODES:
            return Action.MISCONFIGURED
        case "not_found_error":
            return Action.UNKNOWN_MODEL
        case "rate_limit_error":
            return Action.SLOW_DOWN
        case "overloaded_error":
            return Action.SHED
        case "request_too_large":
            return Action.SPLIT
        case "invalid_request_error":
            return Action.POISON
        case _:
            return Action.RETRY


def _message(error: anthropic.APIStatusError) -> str:
    body = error.body
    said = body.get("error") if isinstance(body, dict) else None
    return str(said.get("message")) if isinstance(said, dict) else str(error)


def _retry_after(error: anthropic.APIStatusError) -> float | None:
    try:
        return float(error.response.headers["retry-after"])
    except (KeyError, ValueError):
        return None


TRANSPORT = (anthropic.APIError, httpx2.HTTPError)  # a reset in mid-stream is a bare httpx2 error
