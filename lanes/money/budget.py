"""Budgets: spending limits of a workload per day or month, what is left of them, and which waiting items they can pay for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo, available_timezones

from lanes.doors.item import KEY_LIMIT
from lanes.ids import BudgetId, WorkId
from lanes.units import share, usd

DAYS_PER_MONTH = 30.4
TOLD_AT = 0.8  # the share of the hard limit at which an incident is opened
MOST_USD = Decimal(1_000_000_000)
FINEST_USD = Decimal("1e-10")  # the smallest amount that the database stores
# The wait of an item that only money reserved for batches could pay for.
BATCHES_REST = timedelta(minutes=1)
# The wait of an item until its consumer's calls end, so that the drain tries other items in that time.
CALLS_REST = timedelta(seconds=5)


class Period(StrEnum):
    """The length of a budget's period, which begins at midnight in the budget's zone."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True)
class Budget:
    """A spending limit of a workload per period, in US dollars, for all items or for one consumer's items.

    From `soft_usd` on, items that may wait go to batch; `hard_usd` is never exceeded. A limit of None is no limit; 0 pays for
    nothing.
    """

    workload: str
    consumer: str | None
    period: Period
    zone: str
    soft_usd: Decimal | None
    hard_usd: Decimal | None

    @property
    def subject(self) -> str:
        """Return which of the workload's budgets this is."""
        return f"{self.period} budget" + ("" if self.consumer is None else f" of {self.consumer}")

    @property
    def name(self) -> str:
        """Return the budget's workload, consumer and period."""
        return f"{self.workload}, {self.subject}"

    def pays_for(self, workload: str, consumer: str | None) -> bool:
        """Return whether this workload's and consumer's items count against the budget."""
        return self.workload == workload and self.consumer in (None, consumer)

    def begins(self, at: datetime) -> datetime:
        """Return the start of the period that contains `at`: the later midnight if a clock change makes two of them."""
        local = at.astimezone(ZoneInfo(self.zone))
        return _midnight(
            local.year, local.month, local.day if self.period is Period.DAY else 1, self.zone
        )

    def ends(self, at: datetime) -> datetime:
        """Return the start of the period after the one that contains `at`."""
        local = at.astimezone(ZoneInfo(self.zone))
        if self.period is Period.DAY:
            then = local.date() + timedelta(days=1)
            return _midnight(then.year, then.month, then.day, self.zone)
        year, month = divmod(local.year * 12 + local.month, 12)
        return _midnight(year, month + 1, 1, self.zone)


def _midnight(year: int, month: int, day: int, zone: str) -> datetime:
    first = datetime(year, month, day, tzinfo=ZoneInfo(zone))
    second = first.replace(fold=1)
    later = (
        second
        if (second.utcoffset() or timedelta()) < (first.utcoffset() or timedelta())
        else first
    )
    # Python compares two times in the same zone by their wall clocks, which ignores a clock change.
    return later.astimezone(UTC)


@dataclass(frozen=True)
class BudgetStatus:
    """A budget in its current period, which began at `began_at`; amounts in US dollars.

    `spent_usd` was billed; `unknown_usd` is the most that calls without an answer cost. `calls_usd` and `batches_usd` are
    reserved for calls and batches in flight. Since `refused_at`, less has been left than `refused_usd`, the most that the next
    call may cost; both are None if the budget paid for the last call.
    """

    budget: Budget
    began_at: datetime
    ends_at: datetime
    spent_usd: Decimal
    unknown_usd: Decimal
    calls_usd: Decimal = Decimal(0)
    batches_usd: Decimal = Decimal(0)
    refused_at: datetime | None = None
    refused_usd: Decimal | None = None

    @property
    def used_usd(self) -> Decimal:
        """Return the amount that counts as spent: billed, or possibly billed for calls without an answer."""
        return self.spent_usd + self.unknown_usd

    @property
    def reserved_usd(self) -> Decimal:
        """Return the most that calls and batches in flight may cost."""
        return self.calls_usd + self.batches_usd

    @property
    def unspent_usd(self) -> Decimal:
        """Return what is left if every reserve is released unused; negative beyond the limit, infinite without one."""
        return (
            Decimal("Infinity")
            if self.budget.hard_usd is None
            else self.budget.hard_usd - self.used_usd
        )

    @property
    def left_usd(self) -> Decimal:
        """Return the amount that can still be reserved; negative if reserves exceed the limit, infinite without one."""
        return self.unspent_usd - self.reserved_usd

    @property
    def rest_usd(self) -> Decimal | None:
        """Return the remaining amount for display: never negative, None without a hard limit."""
        return None if self.budget.hard_usd is None else max(Decimal(0), self.left_usd)

    @property
    def share(self) -> float:
        """Return the used share of the hard limit, or of the soft one if there is no hard one; 1 if the limit is 0."""
        limit = self.budget.soft_usd if self.budget.hard_usd is None else self.budget.hard_usd
        return float(self.used_usd / limit) if limit else 1.0

    @property
    def is_over_soft(self) -> bool:
        """Return whether items that may wait go to batch."""
        return self.budget.soft_usd is not None and self.used_usd >= self.budget.soft_usd

    @property
    def is_used_up(self) -> bool:
        """Return whether the budget can pay for nothing more, even if every reserve is released."""
        return self.unspent_usd <= 0 or (
            self.refused_usd is not None and self.unspent_usd < self.refused_usd
        )

    @property
    def waits(self) -> bool:
        """Return whether the next call waits for reserved money, which is released as calls and batches end."""
        return (
            not self.is_used_up
            and self.refused_usd is not None
            and self.left_usd < self.refused_usd
        )

    @property
    def state(self) -> str:
        """Return the budget's state in a few words."""
        if self.is_used_up:
            return "used up"
        return "waiting for reserved money" if self.waits else share(self.share)

    @property
    def sentence(self) -> str:
        """Return the budget's state as a sentence."""
        hard, soft = self.budget.hard_usd, self.budget.soft_usd
        of = f" of {usd(hard)} ({share(self.share)})" if hard is not None else ""
        reserved = (
            f", {usd(self.reserved_usd)} reserved for what is under way"
            if self.reserved_usd
            else ""
        )
        left = f", {usd(self.rest_usd)} left" if hard is not None else ""
        softly = f"; from {usd(soft)} on what may wait goes to batch" if soft is not None else ""
        return f"{self.budget.name}: {usd(self.used_usd)} spent{of}{reserved}{left}{softly}"


def find_over_soft(
    budgets: Iterable[BudgetStatus], workload: str, consumer: str | None
) -> BudgetStatus | None:
    """Return a budget beyond its soft limit that pays for these items, so that those that may wait go to batch."""
    pays = (each for each in budgets if each.budget.pays_for(workload, consumer))
    return next((each for each in pays if each.is_over_soft), None)


def month_usd(budgets: Iterable[Budget]) -> float | None:
    """Return the real-time spending per month that the tightest budget allows; None without a budget for all consumers.

    A budget allows its soft limit, or its hard limit if it has no soft one.
    """
    limits = [
        (each, each.hard_usd if each.soft_usd is None else each.soft_usd)
        for each in budgets
        if each.consumer is None
    ]
    months = {Period.DAY: DAYS_PER_MONTH, Period.MONTH: 1}
    return min(
        (float(limit) * months[each.period] for each, limit in limits if limit is not None),
        default=None,
    )


def round_limits(budget: Budget) -> Budget:
    """Return the budget with its limits rounded to the precision of the database."""
    soft, hard = (
        None if each is None else each.quantize(FINEST_USD)
        for each in (budget.soft_usd, budget.hard_usd)
    )
    return replace(budget, soft_usd=soft, hard_usd=hard)


def refusal(budget: Budget) -> str | None:
    """Return why the budget cannot be set; None if it can."""
    if budget.consumer is not None and not 1 <= len(budget.consumer) <= KEY_LIMIT:
        return f"a consumer has 1 to {KEY_LIMIT} characters; without one it is the budget of all of them together"
    limits = [each for each in (budget.soft_usd, budget.hard_usd) if each is not None]
    if not limits:
        return "a budget needs soft_usd, hard_usd or both; to have none, remove it"
    if any(not each.is_finite() or not 0 <= each <= MOST_USD for each in limits):
        return f"soft_usd and hard_usd are 0 to {MOST_USD:,} US dollars; 0 pays nothing"
    if any(0 < each < FINEST_USD for each in limits):
        return f"soft_usd and hard_usd are 0, or {FINEST_USD:f} US dollars at least: less than that cannot be kept"
    if (
        budget.soft_usd is not None
        and budget.hard_usd is not None
        and budget.soft_usd > budget.hard_usd
    ):
        return f"soft_usd ({usd(budget.soft_usd)}) is above hard_usd ({usd(budget.hard_usd)}): nothing would go to batch"
    if budget.zone not in available_timezones():
        return f'"{budget.zone}" is not an IANA time zone; for example Europe/Berlin'
    return None


@dataclass(frozen=True)
class ReserveCandidate:
    """An item that waits for a call, and the most that a call for this item alone may cost, in US dollars."""

    work_id: WorkId
    workload: str
    consumer: str | None
    bound_usd: Decimal


@dataclass
class ReserveResult:
    """The result of reserving money for candidates.

    Money is reserved for `paid` items; `resting` items are not tried before the given time. The `waiting` workloads have items
    that stay ready until calls in flight end; budgets of `stopped` workloads have less left than any call may cost. `refused`
    holds the smallest amount that each budget could not reserve, None if the budget paid.
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
    """Reserve money for the candidates, the most urgent first, while all of their budgets have enough left.

    An item that does not fit does not hold back cheaper ones. It waits if the end of calls in flight could free the money.
    Otherwise it rests: until the period ends, or for a minute if batches hold the money. If less than `least` is left, the
    cost of the workload's cheapest call, no item rests: the workload stops.
    """
    result = ReserveResult()
    left = {id_: status.left_usd for id_, status in budgets.items()}
    shortfalls: dict[BudgetId, Decimal] = {}
    paying: set[BudgetId] = set()
    for candidate in candidates:
        payers = [
            id_
            for id_, status in budgets.items()
            if status.budget.pays_for(candidate.workload, candidate.consumer)
        ]
        lacking = [id_ for id_ in payers if left[id_] < candidate.bound_usd]
        if not lacking:
            result.paid.append(candidate)
            paying.update(payers)
            for id_ in payers:
                left[id_] -= candidate.bound_usd
            continue
        any_call = least.get(candidate.workload, Decimal(0))
        for id_ in lacking:
            # An item that costs more than a whole period's limit reveals nothing about the budget.
            status = budgets[id_]
            if (
                candidate.bound_usd <= (status.budget.hard_usd or 0)
                or _left_without_calls(status) < any_call
            ):
                shortfalls[id_] = min(candidate.bound_usd, shortfalls.get(id_, candidate.bound_usd))
        _hold_back(result, candidate, [budgets[id_] for id_ in lacking], any_call, now)
    result.refused = {**shortfalls, **dict.fromkeys(paying)}
    return result


def _hold_back(
    result: ReserveResult,
    candidate: ReserveCandidate,
    lacking: Sequence[BudgetStatus],
    least: Decimal,
    now: datetime,
) -> None:
    """Record that a candidate waits, rests or stops, because too little is left of the budgets in `lacking`."""
    of_all = [status for status in lacking if status.budget.consumer is None]
    if any(_left_without_calls(status) < least for status in of_all):
        result.stopped.add(candidate.workload)
    elif dear := [
        status for status in lacking if _left_without_calls(status) < candidate.bound_usd
    ]:
        spent = [status.ends_at for status in dear if status.unspent_usd < candidate.bound_usd]
        result.resting.append((candidate, max(spent, default=now + BATCHES_REST)))
    elif of_all:
        result.waiting.add(candidate.workload)
    else:
        result.resting.append((candidate, now + CALLS_REST))


def _left_without_calls(status: BudgetStatus) -> Decimal:
    """Return what is left if all calls in flight end and cost nothing."""
    return status.unspent_usd - status.batches_usd
