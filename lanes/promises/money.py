"""Budgets last for their period: told from 80 % on, and again when nothing of one is paid any more."""

from decimal import Decimal

from lanes.money.budget import TOLD_AT, BudgetStatus, Period
from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.units import clock, counted, usd
from lanes.words import Verdict


def budget_lasts(seen: BudgetStatus) -> Assessment:
    """Judge the share of the hard limit that is spent, in percent; 100 where less is unspent than the next call may cost.

    A call that waits for reserved money changes nothing: it goes on as calls and batches end.
    """
    limit = 100 * TOLD_AT
    if seen.budget.hard_usd is None:
        said = f"{seen.said}; it has no hard limit."
        return Assessment(
            Promise.BUDGET,
            seen.budget.workload,
            Verdict.PASSED,
            0,
            limit,
            1,
            said,
            seen.budget.subject,
        )
    value = 100 * seen.share
    next_one = f"{seen.budget.period} begins at {clock(seen.ends_at, beside=seen.began_at)}"
    if seen.is_used_up:
        value = max(100.0, value)
        said = f"Nothing more is paid: {seen.said}; its work waits until the budget is raised, or the next {next_one}."
    elif seen.waits:
        said = f"{seen.said}; the next call waits for reserved money, and the next {next_one}."
    else:
        said = f"{seen.said}; the next {next_one}."
    verdict = Verdict.FAILED if value >= limit else Verdict.PASSED
    return Assessment(
        Promise.BUDGET, seen.budget.workload, verdict, value, limit, 1, said, seen.budget.subject
    )


DEAR = ": item too dear"  # how the subject ends of an incident about items that a whole budget cannot pay


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
    """The breach that a whole period of a budget (`subject`) cannot pay a batch request of `items`; `key` is the dearest."""
    said = (
        f'{counted(items, "item")} may cost more than the whole {subject} of {usd(hard_usd)}; the dearest, "{key}", up to '
        f"{usd(bound_usd)}. No {period} pays for that: raise the budget, or cancel the item. All others leave without it."
    )
    value = 100 * float(bound_usd / hard_usd)
    return Assessment(
        Promise.BUDGET, workload, Verdict.FAILED, value, 100, items, said, subject + DEAR
    )
