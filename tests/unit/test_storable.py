"""What is found storable can be written as JSON that Postgres' jsonb takes; nothing is asked twice."""

import json
import math
from typing import Any

import pytest
from hypothesis import given

from lanes.json_data import DEEPEST, why_unstorable
from tests.conftest import NOON
from tests.unit.strategies import any_json


def assert_jsonb_takes(value: Any) -> None:
    """Fails when the value cannot be written as JSON, or holds what jsonb refuses."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    written.encode()
    assert "\\u0000" not in json.dumps(value).replace("\\\\", "")


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@given(any_json())
def test_what_is_storable_can_be_written_as_jsonb(value: Any) -> None:
    if why_unstorable(value, "it") is None:
        assert_jsonb_takes(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a\x00b", "it holds the character NUL"),
        ({"a": ["\x00"]}, "it.a[0] holds the character NUL"),
        ({"\x00": 1}, "it holds the character NUL"),
        ("\ud800", "unpaired surrogate"),
        ({"\udfff": 1}, "unpaired surrogate"),
        (math.nan, "nan, which is not JSON"),
        ([-math.inf], "it holds a number beyond 1e308"),
        pytest.param([10**5000], "it holds a number beyond 1e308", id="5000 digits"),
        pytest.param({"a": -(10**308) - 1}, "it holds a number beyond 1e308", id="309 digits"),
        ({1: "a"}, "the key 1, which is no text"),
        (NOON, "of the type datetime"),
        (b"bytes", "of the type bytes"),
    ],
)
def test_what_jsonb_refuses_is_named_with_its_place(value: Any, said: str) -> None:
    assert said in str(why_unstorable(value, "it"))


@pytest.mark.parametrize(
    "value", ["", "\U0001f600 é", 0, -(10**308), 1e308, None, True, [], {}, {"": []}, (1, 2)]
)
def test_ordinary_values_are_storable(value: Any) -> None:
    assert why_unstorable(value, "it") is None
    assert_jsonb_takes(value)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [DEEPEST + 1, 50_000])
def test_a_value_nested_too_deeply_is_refused_and_not_a_crash(levels: int) -> None:
    assert why_unstorable(nested(DEEPEST), "it") is None
    assert "nested deeper than 100 levels" in str(why_unstorable(nested(levels), "it"))
