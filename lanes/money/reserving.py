"""Reserving of hard budgets for calls: which waiting items are paid for now, which wait for money, and which rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from lanes.ids import BudgetId, WorkId
from lanes.money.budget import BudgetStatus

BATCHES_REST = timedelta(
    minutes=1
)  # the rest of an item that only money reserved for batches could pay
CALLS_REST = timedelta(
    seconds=5
)  # the rest of an item that waits for calls of its consumer, so that others are tried meanwhile


@dataclass(frozen=True)
class ReserveCandidate:
    """An item that waits for a call, and the most that a call of its own may cost in US dollars."""

    work_id: WorkId
    workload: str
    consumer: str | None
    bound_usd: Decimal


@dataclass
class ReserveResult:
    """The result of reserving.

    Money is reserved for `paid`; `resting` items are not tried before their moment. The `waiting` workloads have items that
    stay ready until calls under way end; the budgets of `stopped` workloads have less left than any call may cost. `refused` is
    the least that each budget lacked, None where it paid.
    """

    paid: list[ReserveCandidate] = field(default_factory=list)
    resting: list[tuple[ReserveCandidate, datetime]] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    refused: dict[BudgetId, Decimal | None] = field(default_factory=dict)


def reserve(
    candidates: Sequence[ReserveCandidate],
    budgets: Mapping[BudgetId, BudgetStatus],
    *,
    least: Mapping[str, Decimal],
    now: datetime,
) -> ReserveResult:
    """Reserve for the candidates, the most urgent first, as far as all of their budgets have enough left.

    An item that does not fit holds no cheaper one back. It waits where the end of calls under way could pay for it.
    Otherwise it rests: until the period ends, or for a minute where batches hold the money. Where less than `least`, the
    cheapest call of the workload, is left, nothing rests: the workload stops.
    """
    then = ReserveResult()
    left = {id_: of.left_usd for id_, of in budgets.items()}
    lacked: dict[BudgetId, Decimal] = {}
    paying: set[BudgetId] = set()
    for each in candidates:
        payers = [
            id_ for id_, of in budgets.items() if of.budget.pays_for(each.workload, each.consumer)
        ]
        lacking = [id_ for id_ in payers if left[id_] < each.bound_usd]
        if not lacking:
            then.paid.append(each)
            paying.update(payers)
            for id_ in payers:
                left[id_] -= each.bound_usd
            continue
        any_call = least.get(each.workload, Decimal(0))
        for id_ in lacking:
            of = budgets[id_]  # an item dearer than a whole period says nothing about the budget
            if each.bound_usd <= (of.budget.hard_usd or 0) or _without_calls(of) < any_call:
                lacked[id_] = min(each.bound_usd, lacked.get(id_, each.bound_usd))
        _hold_back(then, each, [budgets[id_] for id_ in lacking], any_call, now)
    then.refused = {**lacked, **dict.fromkeys(paying)}
    return then


def _hold_back(
    then: ReserveResult,
    each: ReserveCandidate,
    lacking: Sequence[BudgetStatus],
    least: Decimal,
    now: datetime,
) -> None:
    """Let a candidate wait, rest or stop, because too little is left of the budgets in `lacking`."""
    of_all = [of for of in lacking if of.budget.consumer is None]
    if any(_without_calls(of) < least for of in of_all):
        then.stopped.add(each.workload)
    elif dear := [of for of in lacking if _without_calls(of) < each.bound_usd]:
        spent = [of.ends_at for of in dear if of.unspent_usd < each.bound_usd]
        then.resting.append((each, max(spent, default=now + BATCHES_REST)))
    elif of_all:
        then.waiting.add(each.workload)
    else:
        then.resting.append((each, now + CALLS_REST))


def _without_calls(of: BudgetStatus) -> Decimal:
    """Return what will be left if all calls under way end and cost nothing."""
    return of.unspent_usd - of.batches_usd
