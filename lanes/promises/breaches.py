"""Breaches that a run encounters rather than measures: a refusal by the provider, a pending decision, a taken role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from lanes.money.bill import BillDifference
from lanes.money.budget import TOLD_AT, BudgetStatus, Period
from lanes.promises.assessment import BATCH, NOWHERE, REALTIME, Assessment
from lanes.promises.incident import EVERYBODY, Promise
from lanes.standing.roles import Role
from lanes.text import plain, remove_quotes
from lanes.units import clock, pluralize, sentence, usd
from lanes.words import Lane, Verdict

DEAR = ": item too dear"  # ends the subject of an incident about items that cost more than a whole budget
CONTEXT = "context"  # the subject of incidents about a context that cannot be read
MOST_NAMED = 3  # most sessions that a sentence names
REMEDY = "run `lanes roles`, so that only members of its roles may connect"


@dataclass(frozen=True)
class ApprovalRequest:
    """A rollout that asks a person to approve its `step`, counted from 0; `percent` of the traffic goes to `goes_to`."""

    workload: str
    rollout: int
    playbook: str
    step: int
    steps: int
    percent: float
    goes_to: str
    limit_minutes: float


def approval_waits(request: ApprovalRequest, why: str, *, waited_minutes: float) -> Assessment:
    """Return the breach of a rollout that waits for approval."""
    message = (
        f'Rollout {request.rollout} of workload "{request.workload}" ({request.playbook}) asks for approval at step '
        f"{request.step + 1} of {request.steps}: {why}. {request.percent:g} % go to {request.goes_to}."
    )
    figures = Verdict.FAILED, waited_minutes, request.limit_minutes, 1, message
    return Assessment(Promise.APPROVAL_WAITS, request.workload, *figures)


def invalid_workload(
    workload: str, problems: Sequence[str], *, block_id: UUID | None = None
) -> Assessment:
    """Return the breach of a workload block that cannot be published; the sentence begins with the problems to correct."""
    why, promise = "; ".join(problems), Promise.WORKLOAD_INVALID
    message = f'{why}. The block of workload "{workload}" cannot be published.'
    return Assessment.breach(promise, workload, len(problems), message, why=why, block_id=block_id)


def describe_mended_workload(workload: str, why: str | None) -> str:
    """Return the sentence that ends the incident of an invalid workload; `why` has the problems that were corrected."""
    was = f"; it could not because of {why}" if why else ""
    return f'The block of workload "{workload}" can be published again{was}.'


def unreadable_context(workload: str, why: str) -> Assessment:
    """Return the breach of batches that cannot leave, because the context that they would read is missing or slow."""
    message = (
        f'Batch work of workload "{workload}" waits, because its context cannot be read: {why}. It leaves with the first run '
        "of `depart` that can read it."
    )
    return Assessment.breach(Promise.BATCH_NEVER_STARTED, workload, 0, message, CONTEXT, why=why)


def model_subject(model: str) -> str:
    """Return the subject of the incidents of a model."""
    return f"model {model}"


def frozen(account: str, items: int, why: str, *, flow_run_id: UUID | None = None) -> Assessment:
    """Return the breach of an account that the provider refuses until a person acts; `items` wait, on both lanes."""
    more = {"why": why, "flow_run_id": flow_run_id}
    message, promise = (
        f"Account {account} pays for nothing on either lane: {why}",
        Promise.PROVIDER_FROZEN,
    )
    return Assessment.breach(promise, EVERYBODY, items, message, account, **more)


def unknown_model(
    workload: str, model: str, items: int, why: str, *, flow_run_id: UUID | None = None
) -> Assessment:
    """Return the breach of a model that the account may not use, or that does not exist; `items` wait."""
    more = {"why": why, "flow_run_id": flow_run_id}
    message, promise = f"Nothing is asked of {model}: {why}", Promise.PROVIDER_FROZEN
    return Assessment.breach(promise, workload, items, message, model_subject(model), **more)


def report_refusal(
    account: str,
    workload: str,
    model: str,
    items: int,
    why: str,
    *,
    is_model: bool,
    flow_run_id: UUID | None = None,
) -> Assessment:
    """Return the breach of a refused batch, or of refused requests in a batch: of its model, or of the whole account."""
    if is_model:
        return unknown_model(workload, model, items, why, flow_run_id=flow_run_id)
    return frozen(account, items, why, flow_run_id=flow_run_id)


def report_refused_version(
    workload: str, number: int, calls: int, why: str, *, flow_run_id: UUID | None = None
) -> Assessment:
    """Return the breach of a version that the provider refuses: `calls` different calls failed alike, and none succeeded."""
    message = (
        f"The provider refuses version {number} itself: {pluralize(calls, 'different call')} failed alike, and none has been "
        f"answered since: {remove_quotes(why)}. Neither lane asks anything of it, and every item keeps its retry budget. "
        "Publish a corrected version: all items continue with it automatically."
    )
    more, promise = {"why": why, "flow_run_id": flow_run_id}, Promise.PROVIDER_FROZEN
    return Assessment.breach(promise, workload, calls, message, f"version {number}", **more)


def provider_down(
    account: str,
    models: Sequence[str],
    calls: int,
    why: str,
    *,
    host: str | None = None,
    flow_run_id: UUID | None = None,
) -> Assessment:
    """Return the breach of models of an account that have answered none of the last `calls` calls.

    `host` is the host that made all of these calls, if there are drains on other hosts.
    """
    last = pluralize(calls, "real-time call")
    alone = (
        f"All of them were made on host {host}, none on another: check its network. "
        if host
        else ""
    )
    message = (
        f"{' and '.join(models)} answered none of the last {last}: {why}. {alone}"
        "Items that need them wait, keep their rank and spend no retry budget."
    )
    more, promise = {"why": why, "flow_run_id": flow_run_id}, Promise.PROVIDER_DOWN
    return Assessment.breach(promise, EVERYBODY, calls, message, account, **more)


def budget_lasts(status: BudgetStatus) -> Assessment:
    """Assess the spent percentage of the hard limit; at least 100 if less is left than the next call may cost.

    A call that waits for reserved money changes nothing: it continues as other calls and batches end.
    """
    promise, workload, limit = Promise.BUDGET, status.budget.workload, 100 * TOLD_AT
    subject = status.budget.subject
    if status.budget.hard_usd is None:
        message = f"{status.sentence}; it has no hard limit."
        return Assessment(promise, workload, Verdict.PASSED, 0, limit, 1, message, subject)
    value = 100 * status.share
    next_one = f"{status.budget.period} begins at {clock(status.ends_at, beside=status.began_at)}"
    if status.is_used_up:
        value = max(100.0, value)
        message = f"Nothing more is paid: {status.sentence}; its work waits until the budget is raised, or the next {next_one}."
    elif status.waits:
        message = (
            f"{status.sentence}; the next call waits for reserved money, and the next {next_one}."
        )
    else:
        message = f"{status.sentence}; the next {next_one}."
    judged = Verdict.FAILED if value >= limit else Verdict.PASSED
    return Assessment(promise, workload, judged, value, limit, 1, message, subject)


def too_dear(
    workload: str,
    subject: str,
    period: Period,
    *,
    key: str,
    items: int,
    bound_usd: Decimal,
    hard_usd: Decimal,
) -> Assessment:
    """Return the breach of a request that a whole period of the budget `subject` cannot pay; `key` is its dearest item."""
    message = (
        f'{pluralize(items, "item")} may cost more than the whole {subject} of {usd(hard_usd)}; the dearest, "{key}", up to '
        f"{usd(bound_usd)}. No {period} pays for that: raise the budget, or cancel the item. All others leave without it."
    )
    figures = Verdict.FAILED, 100 * float(bound_usd / hard_usd), 100, items, message, subject + DEAR
    return Assessment(Promise.BUDGET, workload, *figures)


@dataclass(frozen=True)
class ForeignHolder:
    """A session of a user outside Lanes that holds a role of Lanes; `address` is None if it is not known."""

    role: Role
    pid: int
    user: str
    application: str
    address: str | None

    @property
    def description(self) -> str:
        """Return the session in words."""
        application, address = plain(self.application, most=64), self.address or "not known"
        return f'session {self.pid} of user {plain(self.user, most=64)} (application "{application}", address {address})'


# For each role: the consequence while another session holds it, and the lanes whose items wait.
LOSSES: Mapping[Role, tuple[str, frozenset[Lane]]] = {
    Role.ROUTER: ("no event is read and no item is routed", REALTIME | BATCH),
    Role.KEEPER: ("no drain is kept warm: items wait until one starts", REALTIME),
    Role.COLLECTOR: ("no batch is collected", BATCH),
    Role.WATCHER: ("no other promise is judged, and Slack hears of nothing", NOWHERE),
    Role.SUBMITTER: ("no batch is submitted", BATCH),
    Role.STANDBY: ("no second drain is kept warm on another host", NOWHERE),
    Role.DRAIN: ("no drain starts, or drains are counted wrong", REALTIME),
}


def role_subject(role: Role) -> str:
    """Return the subject of the incidents of a role."""
    return f"role {role.name.lower()}"


def lanes_of(subject: str) -> frozenset[Lane]:
    """Return the lanes whose items wait while the role of this subject is taken."""
    return next(
        (lanes for role, (_, lanes) in LOSSES.items() if role_subject(role) == subject), NOWHERE
    )


def describe_takeover(role: Role, holders: Sequence[ForeignHolder]) -> str:
    """Return a clause that names the holders of the role, the consequence, and the command that ends it."""
    ends = " and ".join(
        f"`select pg_terminate_backend({each.pid})`" for each in holders[:MOST_NAMED]
    )
    one = len(holders) == 1
    return (
        f"{role_subject(role)} is held by {_describe_holders(holders)}, which {'does' if one else 'do'} not belong to Lanes; "
        f"meanwhile {LOSSES[role][0]}: end {'it' if one else 'them'} with {ends}, and {REMEDY}"
    )


def role_taken(role: Role, holders: Sequence[ForeignHolder]) -> Assessment:
    """Return the breach of a role that these sessions hold."""
    message, why = (
        sentence(describe_takeover(role, holders)),
        f"held by {_describe_holders(holders)}",
    )
    subject, promise = role_subject(role), Promise.ROLE_TAKEN
    return Assessment.breach(promise, EVERYBODY, len(holders), message, subject, why=why)


def role_free(subject: str) -> str:
    """Return the sentence that ends the incident of a taken role."""
    return f"No session of another user holds {subject}: Lanes takes it again automatically."


def bill_differs(day: date, found: Sequence[BillDifference], *, account: str = "") -> Assessment:
    """Return the breach of a day's bill that differs from the ledger; `account` is given if there are several accounts."""
    rows, whose = ". ".join(each.sentence for each in found), account and f" for account {account}"
    message = f"The provider's bill of {day} (UTC){whose} differs from the ledger. {rows}."
    subject = f"bill of {day}{whose}"
    return Assessment.breach(Promise.BILL_DIFFERS, EVERYBODY, len(found), message, subject)


def webhook_gone(name: str, host: str) -> Assessment:
    """Return the breach of a webhook whose receiver ended its subscription."""
    message = (
        f"The receiver of webhook {name} at {host} answered HTTP 410 Gone: it wants no more events. None is sent to it until "
        f"`lanes webhooks test {name}` is taken; they wait for 7 days."
    )
    return Assessment.breach(Promise.WEBHOOK_GONE, EVERYBODY, 1, message, f"webhook {name}")


def _describe_holders(holders: Sequence[ForeignHolder]) -> str:
    more = len(holders) - MOST_NAMED
    rest = [f"{more} more"] if more > 0 else []
    return " and ".join([*(each.description for each in holders[:MOST_NAMED]), *rest])
