"""`lanes budget` and its form: people set, change, show and remove budgets; invalid input is refused."""

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.commands import items as items_commands
from lanes.commands import spending
from lanes.commands.actions import PersonAction, RemoveBudget, SetBudget
from lanes.commands.spending import BudgetOptions
from lanes.errors import ActionRefused, UnknownWorkload
from lanes.money.budget import Period
from lanes.store.report import snapshot
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import row, rows

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def letters(pool: Engine, address: str) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)


def budget(workload: str | None = None, *, remove: bool = False, **given: Any) -> int:
    """Run the command with these options."""
    as_json = given.pop("as_json", False)
    return spending.budget(workload, of=BudgetOptions(**given), remove=remove, as_json=as_json)


def act(connection: Connection, kind: type[PersonAction], **given: Any) -> str:
    """Fill in the form, perform it, and return its message."""
    signed = {"workload": "letters", "who": "ada", "why": "because"}
    return kind(**signed | given).perform(connection, NOON).message


@pytest.mark.slow
def test_a_budget_is_set_shown_changed_and_removed(pool: Engine, capsys: Told) -> None:
    assert budget("letters", hard=Decimal(20), soft=Decimal(15), zone="Europe/Berlin") == 0
    said = (
        "letters, day budget: $0 spent of $20.00 (0 %), $20.00 left; from $15.00 on what may wait"
    )
    assert capsys.readouterr().out.startswith(said)
    assert budget("letters", hard=Decimal(0), zone="Europe/Berlin", as_json=True) == 0
    (shown,) = json.loads(capsys.readouterr().out)["budgets"]
    assert (shown["hard_usd"], shown["soft_usd"], shown["used_up"]) == (0, None, True)
    assert budget("letters") == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "used up" in table
    assert all(
        f"{figure}: " in table for figure in ("Spent", "Reserved", "Left", "Soft", "Hard", "State")
    )
    assert budget("letters", remove=True) == 0
    assert budget() == 0
    assert "No budget is set" in capsys.readouterr().out


@pytest.mark.slow
def test_changing_a_limit_keeps_the_time_zone_of_the_budget(pool: Engine, capsys: Told) -> None:
    month = {"period": Period.MONTH, "consumer": "crm"}
    assert budget("letters", hard=Decimal(20), zone="Europe/Berlin", **month) == 0
    assert budget("letters", hard=Decimal(20)) == 0
    assert budget("letters", hard=Decimal(30), **month) == 0
    with pool.begin() as connection:
        act(connection, SetBudget, hard_usd=40, **month)
        kept = connection.execute(text("select period, zone, hard_usd from lanes.budget_status"))
        assert {tuple(each) for each in kept} == {
            ("month", "Europe/Berlin", 40),
            ("day", "UTC", 20),
        }


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        ({"workload": "none", "hard": Decimal(1)}, 2, "no workload"),
        ({"workload": "letters", "hard": Decimal(-1)}, 1, "0 to"),
        ({"workload": "letters", "hard": Decimal(1), "soft": Decimal(2)}, 1, "is above hard_usd"),
        (
            {"workload": "letters", "hard": Decimal(1), "zone": "Mars/Olympus"},
            1,
            "not an IANA time zone",
        ),
        ({"workload": "letters", "remove": True}, 1, "no such budget"),
        ({"hard": Decimal(1)}, 2, "of which workload"),
        ({"workload": "letters", "hard": Decimal(1), "remove": True}, 2, "takes no limits"),
        (
            {"workload": "letters", "consumer": "", "hard": Decimal(1)},
            1,
            "a consumer has 1 to 512 characters",
        ),
        ({"workload": "letters", "consumer": "desk"}, 2, "say --hard, --soft or --remove"),
    ],
)
def test_invalid_options_are_refused_with_a_sentence(
    given: dict[str, Any], code: int, why: str, capsys: Told
) -> None:
    assert budget(**given) == code
    assert why in capsys.readouterr().err


def test_a_form_sets_and_removes_a_budget(pool: Engine) -> None:
    crm = {"period": "month", "consumer": "crm"}
    with pool.begin() as connection:
        said = act(connection, SetBudget, hard_usd=5, zone="Europe/Berlin", **crm)
        assert said == "letters, month budget of crm: $0 spent of $5.00 (0 %), $5.00 left"
        known = row(connection, "budget_status")
        assert (known.consumer, known.period, known.hard_usd, known.who) == (
            "crm",
            "month",
            5,
            "ada",
        )
        act(connection, RemoveBudget, **crm)
        assert rows(connection, "budget_status") == []
        with pytest.raises(ActionRefused, match="needs soft_usd, hard_usd or both"):
            act(connection, SetBudget)
        with pytest.raises(UnknownWorkload):
            act(connection, SetBudget, workload="none", hard_usd=5)


def test_a_limit_is_rounded_to_the_stored_number_of_digits(pool: Engine) -> None:
    with pool.begin() as connection:
        said = act(connection, SetBudget, hard_usd=Decimal("0.30000000000000004"))
        assert said == "letters, day budget: $0 spent of $0.300 (0 %), $0.300 left"
        assert row(connection, "budget_status").hard_usd == Decimal("0.3")


@pytest.mark.slow
def test_explain_says_that_an_item_waits_for_money_and_the_report_shows_its_budget(
    pool: Engine, capsys: Told
) -> None:
    with pool.begin() as connection:
        admit(connection, "a", now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
    assert budget("letters", hard=Decimal(0)) == 0
    assert items_commands.explain("letters", "a", as_json=True) == 0
    said = capsys.readouterr().out
    assert "waits for money: letters, day budget: $0 spent of $0" in said
    with pool.begin() as connection:
        (shown,) = snapshot.take(connection, since=NOON, now=later(hours=1)).budgets
        assert shown.is_used_up
