"""The description of an exception in logs: its place and its rule, never a value."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.events import Event
from pydantic import ValidationError

from lanes.text import WITHHELD, describe_error, remove_quotes

SECRET = "Winterbourne"


def test_a_value_that_does_not_fit_its_model_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as raised:
        Event.model_validate({"event": "lanes.item.arrived", "resource": SECRET, "payload": SECRET})
    assert SECRET in str(raised.value)
    said = describe_error(raised.value)
    assert SECRET not in said
    assert "payload: dict_type" in said


def test_any_other_exception_is_described_by_its_own_message() -> None:
    assert describe_error(ValueError("the store is away")) == "the store is away"


INTERNAL = "the provider answered 500: Internal server error"


@pytest.mark.parametrize(
    ("said", "payloads", "shown"),
    [
        (INTERNAL, [{"text": "It says: Internal server error"}], INTERNAL),
        ("the provider answered 529: Overloaded", None, "the provider answered 529: Overloaded"),
        (
            "the provider answered 500: no field 'Winterbourne' here",
            None,
            'the provider answered 500: no field "..." here',
        ),
        (
            "the provider answered 500: cut off in 'Winterb",
            None,
            'the provider answered 500: cut off in "..."',
        ),
        (
            "the provider answered 500: it's the model's",
            None,
            "the provider answered 500: it's the model's",
        ),
        (
            "no answer from the provider: ReadError: `Winterbourne`",
            None,
            'no answer from the provider: ReadError: "..."',
        ),
        (
            "the provider answered 400: text is Winterbourne",
            None,
            f"the provider answered 400 ({WITHHELD})",
        ),
        (
            "the provider answered 400: text is Winterbourne",
            [{"name": [SECRET]}],
            f"the provider answered 400 ({WITHHELD})",
        ),
        (
            "poison: the provider answered 400: too small (after 1 failed attempt)",
            [{"text": "A failed attempt"}],
            "poison: the provider answered 400: too small (after 1 failed attempt)",
        ),
        (
            "poison: the provider answered 400: a bad hat (after 12 failed attempts)",
            None,
            f"poison: the provider answered 400 ({WITHHELD}) (after 12 failed attempts)",
        ),
        (
            "poison: invalid_request_error: card 4711",
            [{"card": 4711}],
            f"poison: invalid_request_error ({WITHHELD})",
        ),
        (
            "the provider answered 413: prompt is too long",
            [{"text": "Dear Sir"}],
            "the provider answered 413: prompt is too long",
        ),
        (
            'the answer breaks the schema at a: its rule is enum ["b"]',
            None,
            'the answer breaks the schema at a: its rule is enum ["b"]',
        ),
    ],
)
def test_an_error_of_the_provider_is_shown_without_text_that_it_may_quote(
    said: str, payloads: list[object] | None, shown: str
) -> None:
    assert remove_quotes(said, payloads) == shown


@given(st.text(min_size=5, alphabet=string.ascii_letters), st.sampled_from([400, 413, 422]))
def test_no_word_of_a_refused_input_is_repeated(word: str, status: int) -> None:
    said = f"the provider answered {status}: there is {word} in it"
    assert word not in remove_quotes(said, [{"any": {"thing": word}}]).removeprefix(
        f"the provider answered {status}"
    )
