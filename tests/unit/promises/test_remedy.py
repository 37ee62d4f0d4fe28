"""What people are told to do can be done: every command is one of ours, whatever the names in it."""

import shlex
from decimal import Decimal
from typing import Any

import pytest

from lanes.cli import app
from lanes.ids import BatchId, IncidentId
from lanes.money.budget import Budget, Period
from lanes.promises.briefing import SampleItem, sample_of
from lanes.promises.incident import (
    EVERYBODY,
    TERMS,
    Incident,
    IncidentState,
    Promise,
    Severity,
    batch_of_subject,
    batch_subject,
)
from lanes.promises.remedy import FormTarget, commands, explain, form
from tests.conftest import NOON


def incident(promise: Promise, workload: str = "letters", subject: str = "batch 41") -> Incident:
    return Incident(
        IncidentId(7),
        "uid",
        promise,
        workload,
        subject,
        Severity.WARNING,
        IncidentState.OPEN,
        5,
        2,
        1,
        "items",
        "It is.",
        NOON,
        NOON,
        None,
    )


def of_budget(consumer: str | None, period: Period) -> str:
    """The subject of a budget's incidents."""
    return Budget("letters", consumer, period, "UTC", None, Decimal(5)).subject


def parsed(line: str) -> Any:
    """The command and its arguments, as a shell and then ours read them."""
    name, *tokens = shlex.split(line, comments=True)
    assert name == "lanes"
    command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    return command.__name__, bound.arguments


@pytest.mark.parametrize("promise", Promise)
def test_every_promise_has_a_command_or_a_form(promise: Promise) -> None:
    of = incident(promise)
    assert commands(of) or form(of)
    for line in commands(of):
        parsed(line)


@pytest.mark.parametrize(
    "name", ["letters", "a b", "it's", "$(reboot)", "`x`", "a;b", "# c", "*", "a\\b", "é"]
)
def test_no_name_changes_what_a_command_does(name: str) -> None:
    assert parsed(explain("letters", name)) == ("explain", {"workload": "letters", "key": name})
    for line in commands(incident(Promise.ITEMS_FAILED, workload=name)):
        command, given = parsed(line)
        assert (command, given["workload"], given["all"]) == ("retry", name, True)


def test_a_sample_is_an_item_whose_key_can_be_typed_as_it_is_shown() -> None:
    for untypable in ("--all", "a\nb", "a  b", " a", "", "x" * 200, "a\u202eb"):
        assert sample_of([("letters", untypable)]) is None
        assert sample_of([("letters", untypable), ("bills", "k-1")]) == SampleItem(
            workload="bills", key="k-1"
        )


def test_an_outage_asks_nobody_to_move_what_leaves_by_itself() -> None:
    down = incident(Promise.PROVIDER_DOWN, EVERYBODY, "acme")
    assert form(down) is None
    assert "set_split" not in TERMS[Promise.PROVIDER_DOWN].advice


def test_what_was_asked_again_of_a_batch_is_looked_up_by_its_number() -> None:
    line, _ = commands(incident(Promise.BATCH_INCOMPLETE))
    command, given = parsed(line)
    assert (command, given["arguments"][0]) == ("psql", "-c")
    assert "batch_id = 41 and outcome = 'missing'" in given["arguments"][1]


@pytest.mark.parametrize("subject", ["outcome, batch, version 1", "outcome", "", "version x"])
def test_a_drift_of_a_first_version_has_no_way_back(subject: str) -> None:
    assert len(commands(incident(Promise.QUALITY_DRIFT, subject=subject))) == 1


def test_a_drift_offers_the_version_before() -> None:
    _, written, published = commands(incident(Promise.QUALITY_DRIFT, "o'hara", "x, version 7"))
    command, given = parsed(written)
    assert (command, given["arguments"][0]) == ("psql", "-Atc")
    assert given["arguments"][1].endswith("where workload = $$o'hara$$ and number = 6")
    assert given["arguments"][2:] == (">", "o'hara-6.yaml")
    assert parsed(published)[0] == "publish"


def test_a_form_names_the_batch_that_it_is_about() -> None:
    wanted = form(incident(Promise.BATCH_UNCLEAR))
    assert wanted is not None
    assert (wanted.where, wanted.name) == (FormTarget.DEPLOYMENT, "decide_batch")
    assert wanted.parameters == {"decision": {"workload": "letters", "batch": 41}}


def test_a_batch_is_known_by_the_subject_of_its_incidents_and_nothing_else_is() -> None:
    assert batch_of_subject(batch_subject(BatchId(41))) == 41
    assert [
        batch_of_subject(each) for each in ("", "41", "batch lane", "batch ²", "day budget")
    ] == [None] * 5


def test_what_fails_in_batch_can_be_paused_by_a_form_too() -> None:
    wanted = form(incident(Promise.BATCH_FAILING))
    assert wanted is not None
    assert (wanted.name, wanted.parameters) == (
        "pause",
        {"action": {"workload": "letters"}},
    )


@pytest.mark.parametrize(
    ("subject", "known"),
    [
        (of_budget(None, Period.DAY), {"period": "day"}),
        (of_budget("acme of old", Period.MONTH), {"period": "month", "consumer": "acme of old"}),
        ("something else", {}),
    ],
)
def test_a_form_names_the_budget_that_it_is_about(subject: str, known: dict[str, str]) -> None:
    wanted = form(incident(Promise.BUDGET, subject=subject))
    assert wanted is not None
    assert (wanted.name, wanted.parameters) == (
        "set_budget",
        {"budget": {"workload": "letters", **known}},
    )
