"""JSON is parsed as the standard library parses it, written without loss, measured, and stored if jsonb accepts it."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lanes import json_data
from lanes.json_data import DEEPEST, characters, weight, why_unstorable
from tests.conftest import NOON
from tests.unit.strategies import any_json, some_json


def outcome(read: Callable[[Any], Any], text: str | bytes) -> str:
    try:
        return repr(read(text))
    except (ValueError, RecursionError) as error:
        return (
            f"{type(error).__name__}: {error}"
            if not isinstance(error, RecursionError)
            else "too deep"
        )


@given(
    any_json().map(json.dumps)
    | any_json().map(lambda value: json.dumps(value, ensure_ascii=False))
    | st.text(max_size=30)
)
@example("18446744073709551616")
@example("-9223372036854775809")
@example('{"id": 12345678901234567890, "n": 1.10}')
@example("1e999")
@example("-0")
@example("NaN")
@example('"\\ud800"')
@example("\ufeff1")
@example('{"a": 1, "b": 2, "a": 3}')
@example("[" * 2_000)
def test_text_is_parsed_as_the_standard_library_parses_it(text: str) -> None:
    assert outcome(json_data.loads, text) == outcome(json.loads, text)


@given(any_json().map(json.dumps))
def test_bytes_from_a_database_are_parsed_as_the_standard_library_parses_them(text: str) -> None:
    assert outcome(json_data.loads, text.encode()) == outcome(json.loads, text.encode())


@pytest.mark.parametrize("digits", [18, 19, 20, 300])
def test_no_digit_of_a_long_number_is_lost(digits: int) -> None:
    number = 10**digits - 1
    assert json_data.loads(f'{{"n": [{number}]}}') == {"n": [number]}
    assert json_data.loads(f"{number}".encode()) == number
    assert math.isclose(json_data.loads(f"0.{number}"), 1)


def is_finite(value: Any) -> bool:
    """Return whether every number in the value is finite, as JSON requires."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@pytest.mark.slow
@given(any_json())
@example({"beyond 64 bits": 2**70, "text": "Zürich", "half": "\ud800"})
def test_written_json_reads_back_the_same(value: Any) -> None:
    assume(is_finite(value))
    assert json.loads(json_data.dumps(value)) == value


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_is_written_as_null(number: float) -> None:
    assert json_data.dumps({"n": [number]}) == '{"n":[null]}'


def test_a_value_that_json_does_not_know_is_written_by_the_default_function() -> None:
    assert json_data.dumps([Decimal("0.10"), 2**70], default=str) == f'["0.10",{2**70}]'
    with pytest.raises(TypeError, match="Decimal"):
        json_data.dumps(Decimal(1))


@given(some_json())
def test_a_weight_is_roughly_the_size_as_json(value: dict[str, Any]) -> None:
    assert characters(value) / 5 - 20 <= weight(value) <= characters(value) * 9 + 20


def test_a_character_outside_ascii_counts_and_weighs_as_one() -> None:
    assert characters({"text": "für"}) == len('{"text": "für"}')
    assert weight("für") == 3 + 2


def test_a_value_that_contains_itself_has_a_finite_weight() -> None:
    alone: list[Any] = []
    alone.append(alone)
    assert weight(alone) == 0
    assert weight({"text": "four", "rest": alone}) < 100


def assert_jsonb_takes(value: Any) -> None:
    """Fail if the value cannot be written as JSON, or contains characters that jsonb refuses."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    written.encode()
    assert "\\u0000" not in json.dumps(value).replace("\\\\", "")


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@given(any_json())
def test_a_storable_value_can_be_written_as_jsonb(value: Any) -> None:
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
def test_a_value_that_jsonb_refuses_is_reported_with_its_place(value: Any, said: str) -> None:
    assert said in str(why_unstorable(value, "it"))


@pytest.mark.parametrize(
    "value", ["", "\U0001f600 é", 0, -(10**308), 1e308, None, True, [], {}, {"": []}, (1, 2)]
)
def test_ordinary_values_are_storable(value: Any) -> None:
    assert why_unstorable(value, "it") is None
    assert_jsonb_takes(value)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [DEEPEST + 1, 50_000])
def test_a_value_that_is_nested_too_deeply_is_refused_without_a_crash(levels: int) -> None:
    assert why_unstorable(nested(DEEPEST), "it") is None
    assert "nested deeper than 100 levels" in str(why_unstorable(nested(levels), "it"))
