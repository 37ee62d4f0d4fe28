"""A budget is told at 80 %, again when nothing of it is paid any more, and is over in a new period or once it is raised."""

from decimal import Decimal

import pytest

from lanes.money.budget import Budget, BudgetStatus, Period
from lanes.promises.incident import Severity
from lanes.promises.money import budget_lasts
from lanes.words import Verdict
from tests.conftest import NOON


def seen(spent: str, *, hard: str | None = "10", soft: str | None = None, refused: bool = False) -> BudgetStatus:
    limits = [None if each is None else Decimal(each) for each in (soft, hard)]
    of = Budget("letters", None, Period.DAY, "UTC", *limits)
    return BudgetStatus(
        of, of.begins(NOON), of.ends(NOON), Decimal(spent), Decimal(0), Decimal(0), NOON if refused else None
    )  # fmt: skip


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
    assert (judged.verdict, judged.severity, judged.ends) == (verdict, severity, verdict is Verdict.PASSED)


def test_the_sentence_of_a_used_up_budget_says_what_ends_it() -> None:
    assert budget_lasts(seen("0", hard="0")).sentence == (
        "Nothing more is paid: letters, day budget: $0 used of $0 (100 %); its work waits until the budget is raised, or the "
        "next day begins at 2026-11-25 00:00 UTC."
    )


def test_a_budget_without_a_hard_limit_breaks_no_promise() -> None:
    assert budget_lasts(seen("99", hard=None, soft="1")).verdict is Verdict.PASSED
