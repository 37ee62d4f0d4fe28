"""What is logged of an exception: its place and its rule, never a value."""

import pytest
from prefect.events import Event
from pydantic import ValidationError

from lanes.unquoted import unquoted

SECRET = "Winterbourne"


def test_a_value_that_does_not_fit_its_model_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as raised:
        Event.model_validate({"event": "lanes.item.arrived", "resource": SECRET, "payload": SECRET})
    assert SECRET in str(raised.value)
    said = unquoted(raised.value)
    assert SECRET not in said
    assert "payload: dict_type" in said


def test_any_other_exception_says_what_it_says() -> None:
    assert unquoted(ValueError("the store is away")) == "the store is away"
