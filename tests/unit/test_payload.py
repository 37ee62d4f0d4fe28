"""How large a payload is."""

from typing import Any

from hypothesis import given

from lanes.json_data import characters, weight
from tests.unit.strategies import some_json


@given(some_json())
def test_a_weight_is_about_the_size_as_json(value: dict[str, Any]) -> None:
    assert characters(value) / 5 - 20 <= weight(value) <= characters(value) * 9 + 20


def test_characters_are_counted_as_they_are_read_and_weighed_as_such() -> None:
    assert characters({"text": "für"}) == len('{"text": "für"}')
    assert weight("für") == 3 + 2


def test_a_value_that_contains_itself_is_weighed() -> None:
    alone: list[Any] = []
    alone.append(alone)
    assert weight(alone) == 0
    assert weight({"text": "four", "rest": alone}) < 100
