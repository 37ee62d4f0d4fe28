"""The error policy: what each of the provider's errors means for the work. It needs no SDK."""

from enum import StrEnum

from lanes.batch.departure import NotCreated
from lanes.errors import LanesError
from lanes.text import plain


class Action(StrEnum):
    """The reaction to a failed call."""

    RETRY = "retry"  # passing trouble: again, after a back-off
    SHED = "shed"  # overloaded: again, and let what can wait go to batch
    SLOW_DOWN = "slow_down"  # rate limited: wait as told, fewer calls at once
    STOP_PAYING = "stop_paying"  # a spend limit or the account: nothing paid until a person acts
    MISCONFIGURED = "misconfigured"  # key or account: nothing until a setting is corrected
    FORBIDDEN = "forbidden"  # the key may not use the model: nothing of the model until a setting is corrected
    UNKNOWN_MODEL = "unknown_model"  # nothing of the model until the workload's model is corrected
    SPLIT = "split"  # the request is too large: fewer items in it
    POISON = "poison"  # this input will never be accepted


OF_MODEL = (Action.FORBIDDEN, Action.UNKNOWN_MODEL)  # say nothing of the account's other models
# the work is kept and spends no retry budget
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
    # Statuses of an address, a proxy or a gateway that is not the provider's API: no item is at fault.
    **dict.fromkeys(
        (405, 406, 407, 410, 411, 414, 415, 417, 426, 428, 431, 451), Action.MISCONFIGURED
    ),
}  # every redirect is a setting's fault too; any other status is passing trouble


class CallFailed(LanesError):
    """A provider call brought no answer.

    `maybe_billed` when it is not known whether it was served; `innocent` when no item can be the cause; `cut` when we gave the
    call up, because it took longer than it may.
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
        """The meaning for the create of a batch; one that may have succeeded is never tried again."""
        if self.maybe_billed or (self.action is Action.RETRY and not self.innocent):
            return NotCreated.MAYBE
        return NotCreated.FOR_NOW if self.action in _BUSY or self.innocent else NotCreated.FOR_GOOD


def unforeseen(error: Exception, *, unsent: bool = False) -> CallFailed:
    """Return the failure for an exception without an answer; `unsent` means that no request left this machine."""
    detail = f"no answer from the provider: {type(error).__name__}: {plain(error, most=500)}"
    return CallFailed(Action.RETRY, detail, maybe_billed=not unsent, innocent=unsent)


def classify(kind: str | None, message: str, code: str | None = None) -> Action:
    """Return what an error's type, text and code mean, in the answer to a call or in a line of a batch.

    Source: the error types and codes of anthropic 2.13; a spend limit can come as any of several types.
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
    """Return what an answer of that status means, with what its body says of the error."""
    if classify(kind, message, code) is Action.STOP_PAYING:
        return Action.STOP_PAYING
    if 300 <= status < 400 or (status < 500 and code in _MISCONFIGURED_CODES):
        return Action.MISCONFIGURED
    return BY_STATUS.get(status, Action.RETRY)
