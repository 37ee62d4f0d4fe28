"""What golden answers say: labels that fit a part of the schema, pairs of right and wrong, and the sentence about them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.workload.golden import GoldenScore, is_right, label_check, label_faults, score
from tests.examples import SCHEMA

A, B = {"category": "a"}, {"category": "b"}
ANSWERS = st.sampled_from([A, B, None])
REFERRED = {
    "type": "object",
    "$defs": {"kind": {"enum": ["a", "b"]}},
    "properties": {"category": {"$ref": "#/$defs/kind"}, "note": {"type": "string"}},
    "required": ["category", "note"],
    "minProperties": 2,
}


def faults(expected: Any, schema: dict[str, Any] = SCHEMA) -> list[str]:
    return list(label_faults(expected, schema, label_check(schema)))


@pytest.mark.parametrize("schema", [SCHEMA, REFERRED])
def test_a_label_may_say_some_of_the_fields_and_nothing_else(schema: dict[str, Any]) -> None:
    assert faults(A, schema) == faults({"note": "x"}, schema) == []
    (alien, wrong) = faults({"color": "red", "category": "secret"}, schema)
    assert alien == 'its label names "color", which is no field of output_schema'
    assert wrong.startswith("its label breaks the schema at category: ")
    assert "secret" not in wrong


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        (A, {"category": "a", "note": "anything"}, True),
        (A, B, False),
        (A, {"note": "a"}, False),
        (A, None, False),
        ({"n": 1}, {"n": 1.0}, True),
        ({"n": 1}, {"n": True}, False),
        ({"n": None}, {}, False),
    ],
)
def test_an_answer_is_right_if_it_says_what_every_label_says(
    expected: Any, output: Any, right: bool
) -> None:
    assert is_right(expected, output) is right


@given(st.lists(st.tuples(ANSWERS, ANSWERS), max_size=30))
def test_every_item_is_in_one_pair(answers: list[tuple[Any, Any]]) -> None:
    of = score([(str(n), A, now, was) for n, (now, was) in enumerate(answers)], compares=True)
    assert of.paired.samples == of.items == len(answers)
    assert of.paired.one == sum(now != A and was == A for now, was in answers) == of.lost
    assert of.paired.other == sum(now == A and was != A for now, was in answers)


def test_the_bounds_of_the_gain_hold_what_was_seen() -> None:
    low, high = GoldenScore(40, 38, 37, 1, ["a"]).bounds()
    assert -0.35 < low < 1 / 40 < high < 0.35


def test_only_a_loss_that_chance_hardly_explains_is_surely_worse() -> None:
    assert not GoldenScore(100, 96, 100, 4, []).is_worse
    assert GoldenScore(100, 92, 100, 8, []).is_worse
    assert not GoldenScore(100, 92, 92, 8, []).is_worse
    assert not GoldenScore(100, 0, None, 0, []).is_worse
