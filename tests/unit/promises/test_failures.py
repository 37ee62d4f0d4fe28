"""Errors of one kind are counted together and told as one."""

import pytest

from lanes.promises.briefing import MOST_KINDS, OTHERS, ErrorTally, FailureReport, kind_of


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
        failures.met(error, times)
    assert failures.total == 14
    assert failures.told() == "10x it expired; 2x no JSON at 3; 1x refused; 1 of other kinds"


def test_however_many_kinds_there_are_they_take_bounded_room() -> None:
    failures = ErrorTally()
    for first in "abcdefghijklmnopqrstuvwxyz":
        for second in "abcdefghij":
            failures.met(f"error {first}{second}")
    assert failures.total == 260
    assert failures.told(most=1).startswith(f"{260 - MOST_KINDS}x {OTHERS}")


def test_failed_calls_and_answers_that_cannot_be_used_are_told_apart() -> None:
    call = FailureReport("letters", "the provider answered 500", items=20, calls=1)
    assert (
        call.more(call).sentence
        == "2 calls of letters failed, with 40 items: the provider answered 500"
    )
    unusable = FailureReport("letters", "it is no JSON", items=1, calls=0)
    assert unusable.sentence == "1 answer of letters cannot be used: it is no JSON"
