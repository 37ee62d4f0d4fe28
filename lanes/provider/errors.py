"""The error policy: the reaction to each of the provider's errors. It does not import the SDK."""

from enum import StrEnum

from lanes.batch.departure import NotCreated
from lanes.errors import LanesError
from lanes.text import plain


class Action(StrEnum):
    """The reaction to a failed call."""

    RETRY = "retry"  # transient failure: retry after a back-off
    SHED = "shed"  # overloaded: retry, and move work that can wait to batch
    SLOW_DOWN = "slow_down"  # rate limited: wait as the provider demands, with fewer calls at once
    STOP_PAYING = "stop_paying"  # spend limit or account on hold: no paid call until a person acts
    MISCONFIGURED = "misconfigured"  # key or account: no call until a setting is corrected
    FORBIDDEN = "forbidden"  # the key may not use the model: no call to it until this is corrected
    UNKNOWN_MODEL = "unknown_model"  # no call to the model until the workload's model is corrected
    SPLIT = "split"  # the request is too large: put fewer items into it
    POISON = "poison"  # the provider will never accept this input


OF_MODEL = (Action.FORBIDDEN, Action.UNKNOWN_MODEL)  # other models of the account are unaffected
# These failures keep the work and spend no retry budget.
FREEZES = (Action.STOP_PAYING, Action.MISCONFIGURED, *OF_MODEL)
_BUSY = (Action.SLOW_DOWN, Action.SHED)

_SPENT_TEXTS = ("You have reached your specified", "Your credit balance is too low")
_SPENT_CODES = (
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
    "linked_organization_spend_limit_reached",
    "linked_organization_billing_unavailable",
    "organization_on_hold",
)
_MISCONFIGURED_CODES = (
    "cmek_key_disabled",
    "cmek_key_network_blocked",
    "organization_type_not_supported",
    "parent_organization_required",
    "workspace_human_review_disabled",
)


BY_STATUS = {
    400: Action.POISON,
    401: Action.MISCONFIGURED,
    402: Action.STOP_PAYING,
    403: Action.FORBIDDEN,
    404: Action.UNKNOWN_MODEL,
    413: Action.SPLIT,
    422: Action.POISON,
    429: Action.SLOW_DOWN,
    529: Action.SHED,
    # Statuses of a wrong address, a proxy or a gateway, not of the provider's API: no item is at fault.
    **dict.fromkeys(
        (405, 406, 407, 410, 411, 414, 415, 417, 426, 428, 431, 451), Action.MISCONFIGURED
    ),
}  # a redirect is misconfigured too; any other status is a transient failure


class CallFailed(LanesError):
    """A provider call that returned no usable answer.

    `maybe_billed`: the provider may have served the call. `innocent`: no item can be the cause. `cut`: we gave up the call
    because it exceeded its timeout.
    """

    def __init__(
        self,
        action: Action,
        detail: str,
        *,
        maybe_billed: bool,
        innocent: bool = False,
        cut: bool = False,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        self.action = action
        self.maybe_billed = maybe_billed
        self.innocent = innocent
        self.cut = cut
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        super().__init__(detail)

    @property
    def as_create(self) -> NotCreated:
        """The outcome of this failure for the create of a batch; a create that may have succeeded is never retried."""
        if self.maybe_billed or (self.action is Action.RETRY and not self.innocent):
            return NotCreated.MAYBE
        return NotCreated.FOR_NOW if self.action in _BUSY or self.innocent else NotCreated.FOR_GOOD


def unforeseen(error: Exception, *, unsent: bool = False) -> CallFailed:
    """Return the failure for an exception of a call that got no answer; `unsent` means that no request left this machine."""
    detail = f"no answer from the provider: {type(error).__name__}: {plain(error, most=500)}"
    return CallFailed(Action.RETRY, detail, maybe_billed=not unsent, innocent=unsent)


def classify(kind: str | None, message: str, code: str | None = None) -> Action:
    """Return the reaction to an error's type, message and code, from the answer to a call or from a line of batch results.

    Source: the error types and codes of anthropic 2.13. A spend limit can have any of several types.
    """
    if kind == "billing_error" or code in _SPENT_CODES or message.startswith(_SPENT_TEXTS):
        return Action.STOP_PAYING
    match kind:
        case "authentication_error":
            return Action.MISCONFIGURED
        case "permission_error":
            return Action.MISCONFIGURED if code in _MISCONFIGURED_CODES else Action.FORBIDDEN
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


def classify_answer(status: int, kind: str | None, message: str, code: str | None = None) -> Action:
    """Return the reaction to an error answer, by its status and by the error's type, message and code in its body."""
    if classify(kind, message, code) is Action.STOP_PAYING:
        return Action.STOP_PAYING
    if 300 <= status < 400 or (status < 500 and code in _MISCONFIGURED_CODES):
        return Action.MISCONFIGURED
    return BY_STATUS.get(status, Action.RETRY)
