"""JSON is read as the standard library reads it, whatever it holds, and written so that it reads the same."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lanes import json_data
from tests.unit.strategies import any_json


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
def test_text_means_what_it_means_to_the_standard_library(text: str) -> None:
    assert outcome(json_data.loads, text) == outcome(json.loads, text)


@given(any_json().map(json.dumps))
def test_so_does_what_a_database_sends(text: str) -> None:
    assert outcome(json_data.loads, text.encode()) == outcome(json.loads, text.encode())


@pytest.mark.parametrize("digits", [18, 19, 20, 300])
def test_no_digit_of_a_long_number_is_lost(digits: int) -> None:
    number = 10**digits - 1
    assert json_data.loads(f'{{"n": [{number}]}}') == {"n": [number]}
    assert json_data.loads(f"{number}".encode()) == number
    assert math.isclose(json_data.loads(f"0.{number}"), 1)


def is_finite(value: Any) -> bool:
    """Whether every number in it is: JSON knows no others."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@pytest.mark.slow
@given(any_json())
@example({"beyond 64 bits": 2**70, "text": "Zürich", "half": "\ud800"})
def test_what_is_written_reads_the_same(value: Any) -> None:
    assume(is_finite(value))
    assert json.loads(json_data.dumps(value)) == value


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_is_written_as_null(number: float) -> None:
    assert json_data.dumps({"n": [number]}) == '{"n":[null]}'


def test_a_value_that_json_does_not_know_is_written_by_what_stands_for_it() -> None:
    assert json_data.dumps([Decimal("0.10"), 2**70], default=str) == f'["0.10",{2**70}]'
    with pytest.raises(TypeError, match="Decimal"):
        json_data.dumps(Decimal(1))
