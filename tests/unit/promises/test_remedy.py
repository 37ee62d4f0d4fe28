"""Errors of one kind are reported as one, and each remedy that people are told is a command, whatever the names in it."""

import shlex
from decimal import Decimal
from typing import Any

import pytest

from lanes.cli import app
from lanes.ids import BatchId
from lanes.money.budget import Budget, Period
from lanes.promises.briefing import (
    MOST_KINDS,
    OTHERS,
    ErrorTally,
    FailureReport,
    SampleItem,
    kind_of,
    sample_of,
)
from lanes.promises.incident import (
    EVERYBODY,
    TERMS,
    Incident,
    Promise,
    batch_of_subject,
    batch_subject,
)
from lanes.promises.remedy import FormTarget, commands, explain, form
from tests.examples import incident_of


def incident(promise: Promise, workload: str = "letters", subject: str = "batch 41") -> Incident:
    return incident_of(
        promise, workload, subject, value=5, limit_value=2, samples=1, sentence="It is."
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
    assert (wanted.name, wanted.parameters) == ("pause", {"action": {"workload": "letters"}})


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


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "the provider answered 529: Overloaded (req_011CAbc)",
            "the provider answered 529: Overloaded (req_9zZ)",
            True,
        ),
        ("the answer was cut at 300 tokens", "the answer was cut at 16 tokens", True),
        (
            "the pack has no answer for id 1f2e3d4c5b6a",
            "the pack has no answer for id 0a9b8c7d6e5f",
            True,
        ),
        ("the batch expired before it ran", "the batch was canceled", False),
        (
            "the provider answered 500: decade",
            "the provider answered 500: facade",
            False,
        ),  # words, not names
    ],
)
def test_errors_that_differ_in_numbers_and_names_are_of_one_kind(
    one: str, other: str, same: bool
) -> None:
    assert (kind_of(one) == kind_of(other)) is same


def test_the_most_frequent_are_told_with_their_counts() -> None:
    failures = ErrorTally()
    for error, times in {
        "it expired": 10,
        "no JSON at 3": 1,
        "no JSON at 7": 1,
        "refused": 1,
        "cut": 1,
    }.items():
        failures.record_error(error, times)
    assert failures.total == 14
    assert failures.describe() == "10x it expired; 2x no JSON at 3; 1x refused; 1 of other kinds"


def test_however_many_kinds_there_are_they_take_bounded_room() -> None:
    failures = ErrorTally()
    for first in "abcdefghijklmnopqrstuvwxyz":
        for second in "abcdefghij":
            failures.record_error(f"error {first}{second}")
    assert failures.total == 260
    assert failures.describe(most=1).startswith(f"{260 - MOST_KINDS}x {OTHERS}")


def test_failed_calls_and_answers_that_cannot_be_used_are_told_apart() -> None:
    call = FailureReport("letters", "the provider answered 500", items=20, calls=1)
    assert (
        call.merge(call).sentence
        == "2 calls of letters failed, with 40 items: the provider answered 500"
    )
    unusable = FailureReport("letters", "it is no JSON", items=1, calls=0)
    assert unusable.sentence == "1 answer of letters cannot be used: it is no JSON"
