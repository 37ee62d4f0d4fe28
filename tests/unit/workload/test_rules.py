"""Rules over an item: compiled once, and never able to stop the router."""

import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.errors import RuleFailed
from lanes.workload.rules import Rule, RulePair
from tests.unit.strategies import ANY_TEXT, some_json

ITEM = {
    "payload": {
        "channel": "chat",
        "n": 3,
        "big": 2**70,
        "huge": 1e308,
        "tags": ["a"],
        "none": None,
    },
    "age_s": 90_000.0,
    "due_in_s": None,
    "consumer": "desk",
}
RULES = [
    'payload.channel == "chat"',
    "payload.n > 2",
    "payload.n / 0 == 1",
    'payload.tags[5] == "a"',
    "age_s > 86400.0",
    "due_in_s < 60.0",
    "payload.text.size() > 3",
    "payload.n + 9223372036854775807 > 0",
    "int(payload.n) > 1",
    "payload.text.matches(payload.channel)",
    "payload.text.all(c, c > 1)",
    "payload == payload.text",
]


@pytest.mark.parametrize(
    "text",
    [
        'payload.channel == "chat"',
        "age_s > 86400",
        "due_in_s == null",
        "due_in_s == null || due_in_s > 60.0",
        'consumer == "desk" && payload.n >= 3',
        "!has(payload.vip) || payload.vip",
        'payload.tags.exists(tag, tag == "a")',
        "payload.big > 9.0",
        "size(payload) == 6 && payload.n == 3",
        'payload.exists(name, name == "tags") && payload["n"] == 3',
    ],
)
def test_a_rule_holds_of_an_item(text: str) -> None:
    assert Rule(text).holds(ITEM)
    assert not Rule(f"!({text})").holds(ITEM)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("payload.vip", "'vip', which this item lacks; guard it with has()"),
        ("due_in_s < 60.0", "failed: "),
        ("payload.channel", "gives str, not true or false"),
        ("payload.n", "gives int, not true or false"),
        ("payload.n / 0 == 1", "division by zero"),
        ("payload.n % 0 == 1", "modulo by zero"),
        ('payload.tags[7] == "a"', "out of bounds"),
        ("9223372036854775807 + payload.n > 0", "overflow"),
        ("int(payload.huge) > 0", "overflow"),
        ('payload.channel.matches("(")', "is not a regular expression"),
        ("payload.n.matches('a')", "matches() compares a text with a pattern"),
        ("payload.nothing()", "failed: "),
    ],
)
def test_a_rule_that_cannot_be_evaluated_says_so(text: str, said: str) -> None:
    with pytest.raises(RuleFailed) as caught:
        Rule(text).holds(ITEM)
    assert f"`{text}`" in str(caught.value)
    assert said in str(caught.value)


def test_what_an_item_holds_is_not_repeated_by_a_failing_rule() -> None:
    with pytest.raises(RuleFailed) as caught:
        Rule("payload").holds({**ITEM, "payload": {"secret": "4711"}})
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("payload.(", "not a CEL expression"),
        ("'", "not a CEL expression"),
        ("\ud800", "not a CEL expression"),
        ("1" * 30, "not a CEL expression"),
        ("now > 3", "reads now; rules have payload, age_s, due_in_s, consumer"),
        ("colour == size", "reads colour, size"),
    ],
)
def test_a_text_that_is_no_rule_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rule(text)


@given(ANY_TEXT | st.text("payload.ages_n()[]<>=!&|?:'\"+-*/%123 ", max_size=30))
def test_any_text_is_a_rule_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        Rule(text)


@given(st.sampled_from(RULES), some_json(), st.none() | st.floats(-1e9, 1e9))
def test_a_rule_holds_or_not_or_fails_whatever_the_payload(
    text: str, payload: dict[str, Any], due_in_s: float | None
) -> None:
    try:
        answer = Rule(text).holds(
            {"payload": payload, "age_s": 1.0, "due_in_s": due_in_s, "consumer": ""}
        )
    except RuleFailed:
        return
    assert isinstance(answer, bool)


LOADED = """
import sys
from lanes.workload.rules import RulePair, Rule
assert Rule("payload.pages > 30").holds({"payload": {"pages": 31}})
print(sorted({"cel.cel", "cel", "prompt_toolkit"} & set(sys.modules)))
import cel
print(cel.compile("1 + 1").execute({}))
"""


@pytest.mark.slow
def test_a_rule_is_compiled_without_the_toolkit_of_a_terminal_and_the_package_can_be_loaded_beside_it() -> (
    None
):
    said = subprocess.run(
        [sys.executable, "-c", LOADED], text=True, capture_output=True, check=True, timeout=60
    )
    assert said.stdout.split("\n")[:2] == ["['cel.cel']", "2"]


def alone(text: str, variables: dict[str, Any]) -> bool | None:
    with suppress(RuleFailed):
        return Rule(text).holds(variables)
    return None


@given(
    st.sampled_from([*RULES, "true // yes", "payload.n"]),
    st.sampled_from(RULES),
    some_json(),
    st.none() | st.floats(-9, 9),
)
def test_two_rules_asked_at_once_say_what_each_says_alone(
    first: str, second: str, payload: dict[str, Any], due_in_s: float | None
) -> None:
    variables = {"payload": payload, "age_s": 90_000.0, "due_in_s": due_in_s, "consumer": "desk"}
    one, other = alone(first, variables), alone(second, variables)
    expected = None if one is None or other is None else (one, other)
    assert RulePair(Rule(first), Rule(second)).hold(variables) == expected
