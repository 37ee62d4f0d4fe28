"""A budget is told at 80 %, again when nothing of it is paid any more, and is over in a new period or once it is raised."""

from decimal import Decimal

import pytest

from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.promises.breaches import budget_lasts
from lanes.promises.incident import Severity
from lanes.words import Verdict
from tests.conftest import NOON


def seen(
    spent: str,
    *,
    hard: str | None = "10",
    soft: str | None = None,
    refused: bool = False,
    reserved: str = "0",
) -> BudgetStatus:
    limits = [None if each is None else Decimal(each) for each in (soft, hard)]
    of = Budget("letters", None, Period.DAY, "UTC", *limits)
    sums = Decimal(spent), Decimal(0), Decimal(reserved), Decimal(0)
    at, usd = (NOON, Decimal("0.1")) if refused else (None, None)
    return BudgetStatus(of, of.begins(NOON), of.ends(NOON), *sums, refused_at=at, refused_usd=usd)


@pytest.mark.parametrize(
    ("spent", "refused", "verdict", "severity"),
    [
        ("7.99", False, Verdict.PASSED, Severity.WARNING),
        ("8", False, Verdict.FAILED, Severity.WARNING),
        ("9.99", False, Verdict.FAILED, Severity.WARNING),
        ("9.99", True, Verdict.FAILED, Severity.CRITICAL),
        ("10", False, Verdict.FAILED, Severity.CRITICAL),
    ],
)
def test_a_budget_is_told_from_80_percent_on_and_is_critical_once_nothing_is_paid(
    spent: str, refused: bool, verdict: Verdict, severity: Severity
) -> None:
    judged = budget_lasts(seen(spent, refused=refused))
    assert (judged.verdict, judged.severity, judged.ends) == (
        verdict,
        severity,
        verdict is Verdict.PASSED,
    )


def test_the_sentence_of_a_used_up_budget_says_what_ends_it() -> None:
    assert budget_lasts(seen("0", hard="0")).sentence == (
        "Nothing more is paid: letters, day budget: $0 spent of $0 (100 %), $0 left; its work waits until the budget is "
        "raised, or the next day begins at 2026-11-25 00:00 UTC."
    )


def test_a_call_that_waits_for_reserved_money_is_no_used_up_budget() -> None:
    judged = budget_lasts(seen("1.28", reserved="8.65", refused=True))
    assert judged.verdict is Verdict.PASSED
    assert judged.sentence == (
        "letters, day budget: $1.28 spent of $10.00 (13 %), $8.65 reserved for what is under way, $0.0700 left; the next call "
        "waits for reserved money, and the next day begins at 2026-11-25 00:00 UTC."
    )


def test_a_budget_without_a_hard_limit_breaks_no_promise() -> None:
    assert budget_lasts(seen("99", hard=None, soft="1")).verdict is Verdict.PASSED
