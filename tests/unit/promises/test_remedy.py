"""Errors of one kind count as one, and every remedy shown to people is a valid command for any names in it."""

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
    pick_sample,
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
    """Return the subject of a budget's incidents."""
    return Budget("letters", consumer, period, "UTC", None, Decimal(5)).subject


def parsed(line: str) -> Any:
    """Return the command and its arguments as a shell and then the command line of Lanes read them."""
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
def test_no_workload_name_or_key_changes_the_effect_of_a_command(name: str) -> None:
    assert parsed(explain("letters", name)) == ("explain", {"workload": "letters", "key": name})
    for line in commands(incident(Promise.ITEMS_FAILED, workload=name)):
        command, given = parsed(line)
        assert (command, given["workload"], given["all"]) == ("retry", name, True)


def test_a_sample_item_has_a_key_that_can_be_typed_as_shown() -> None:
    for untypable in ("--all", "a\nb", "a  b", " a", "", "x" * 200, "a\u202eb"):
        assert pick_sample([("letters", untypable)]) is None
        assert pick_sample([("letters", untypable), ("bills", "k-1")]) == SampleItem(
            workload="bills", key="k-1"
        )


def test_the_remedy_of_an_outage_does_not_ask_people_to_move_items() -> None:
    down = incident(Promise.PROVIDER_DOWN, EVERYBODY, "acme")
    assert form(down) is None
    assert "set_split" not in TERMS[Promise.PROVIDER_DOWN].advice


def test_the_remedy_of_an_incomplete_batch_queries_its_missing_items_by_batch_number() -> None:
    line, _ = commands(incident(Promise.BATCH_INCOMPLETE))
    command, given = parsed(line)
    assert (command, given["arguments"][0]) == ("psql", "-c")
    assert "batch_id = 41 and outcome = 'missing'" in given["arguments"][1]


@pytest.mark.parametrize("subject", ["outcome, batch, version 1", "outcome", "", "version x"])
def test_a_drift_without_an_earlier_version_offers_no_rollback(subject: str) -> None:
    assert len(commands(incident(Promise.QUALITY_DRIFT, subject=subject))) == 1


def test_a_drift_offers_a_rollback_to_the_previous_version() -> None:
    _, written, published = commands(incident(Promise.QUALITY_DRIFT, "o'hara", "x, version 7"))
    command, given = parsed(written)
    assert (command, given["arguments"][0]) == ("psql", "-Atc")
    assert given["arguments"][1].endswith("where workload = $$o'hara$$ and number = 6")
    assert given["arguments"][2:] == (">", "o'hara-6.yaml")
    assert parsed(published)[0] == "publish"


def test_the_form_of_a_batch_incident_names_the_batch() -> None:
    wanted = form(incident(Promise.BATCH_UNCLEAR))
    assert wanted is not None
    assert (wanted.where, wanted.name) == (FormTarget.DEPLOYMENT, "decide_batch")
    assert wanted.parameters == {"decision": {"workload": "letters", "batch": 41}}


def test_only_the_subject_of_a_batch_incident_yields_a_batch_number() -> None:
    assert batch_of_subject(batch_subject(BatchId(41))) == 41
    assert [
        batch_of_subject(each) for each in ("", "41", "batch lane", "batch ²", "day budget")
    ] == [None] * 5


def test_a_form_can_pause_a_workload_whose_batch_items_fail() -> None:
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
def test_the_form_of_a_budget_incident_names_the_budget(
    subject: str, known: dict[str, str]
) -> None:
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
        ),  # words, not ids
    ],
)
def test_errors_that_differ_only_in_numbers_and_ids_are_of_one_kind(
    one: str, other: str, same: bool
) -> None:
    assert (kind_of(one) == kind_of(other)) is same


def test_the_most_frequent_errors_are_described_with_their_counts() -> None:
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


def test_an_error_tally_of_many_kinds_has_a_bounded_size() -> None:
    failures = ErrorTally()
    for first in "abcdefghijklmnopqrstuvwxyz":
        for second in "abcdefghij":
            failures.record_error(f"error {first}{second}")
    assert failures.total == 260
    assert failures.describe(most=1).startswith(f"{260 - MOST_KINDS}x {OTHERS}")


def test_failed_calls_and_unusable_answers_are_reported_differently() -> None:
    call = FailureReport("letters", "the provider answered 500", items=20, calls=1)
    assert (
        call.merge(call).sentence
        == "2 calls of letters failed, with 40 items: the provider answered 500"
    )
    unusable = FailureReport("letters", "it is no JSON", items=1, calls=0)
    assert unusable.sentence == "1 answer of letters cannot be used: it is no JSON"
