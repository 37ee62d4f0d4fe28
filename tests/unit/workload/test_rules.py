"""Rules over an item: compiled once, of limited cost for any rule and any item, and never able to stop the router."""

import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.errors import RuleFailed
from lanes.routing.route import ArrivedItem, decide, rule_faults
from lanes.routing.split import Splits
from lanes.words import Reason
from lanes.workload import rule_cost
from lanes.workload.rule_cost import largest_input
from lanes.workload.rules import LEAST_INPUT, MOST_UNITS, Rule, RulePair
from tests.conftest import NOON
from tests.examples import version
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
NESTED = "payload.tags.exists(t, payload.tags.exists(u, u == t + 'q'))"
THOUSANDS = {"tags": [f"tag {number}" for number in range(3_000)]}


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
def test_a_rule_holds_for_an_item_and_its_negation_does_not(text: str) -> None:
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
def test_a_rule_that_cannot_be_evaluated_raises_an_error_with_its_text_and_the_reason(
    text: str, said: str
) -> None:
    with pytest.raises(RuleFailed) as caught:
        Rule(text).holds(ITEM)
    assert f"`{text}`" in str(caught.value)
    assert said in str(caught.value)


def test_the_error_of_a_failing_rule_does_not_repeat_the_payload() -> None:
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
def test_a_text_that_is_not_a_rule_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Rule(text)


@given(ANY_TEXT | st.text("payload.ages_n()[]<>=!&|?:'\"+-*/%123 ", max_size=30))
def test_any_text_is_a_rule_or_raises_a_value_error(text: str) -> None:
    with suppress(ValueError):
        Rule(text)


@given(st.sampled_from(RULES), some_json(), st.none() | st.floats(-1e9, 1e9))
def test_a_rule_returns_a_boolean_or_raises_rule_failed_for_any_payload(
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
def test_a_rule_loads_no_terminal_toolkit_and_the_cel_package_can_be_loaded_afterwards() -> None:
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
def test_a_pair_of_rules_returns_the_results_of_each_rule_alone(
    first: str, second: str, payload: dict[str, Any], due_in_s: float | None
) -> None:
    variables = {"payload": payload, "age_s": 90_000.0, "due_in_s": due_in_s, "consumer": "desk"}
    one, other = alone(first, variables), alone(second, variables)
    expected = None if one is None or other is None else (one, other)
    assert RulePair(Rule(first), Rule(second)).hold(variables) == expected


def variables(payload: dict[str, Any]) -> dict[str, Any]:
    return {"payload": payload, "age_s": 1.0, "due_in_s": None, "consumer": "desk"}


def test_a_rule_that_compares_thousands_of_tags_with_each_other_is_not_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = Rule(NESTED)
    monkeypatch.setattr(rule, "_program", "not a program")  # an evaluation would fail otherwise
    with pytest.raises(
        RuleFailed, match=r"would take too long: it is computed for items of up to [0-9]+ values"
    ):
        rule.holds(variables(THOUSANDS))


def test_the_same_rule_is_evaluated_for_an_item_with_few_tags() -> None:
    assert Rule(NESTED).holds(variables({"tags": ["a", "aq"]}))
    assert not Rule(NESTED).holds(variables({"tags": ["a", "b"]}))


@pytest.mark.parametrize(
    "text", ["payload.tags.exists(t, t == 'tag 2999')", "'tag 2999' in payload.tags"]
)
def test_a_rule_that_visits_each_of_thousands_of_tags_once_is_evaluated(text: str) -> None:
    assert Rule(text).holds(variables(THOUSANDS))


@pytest.mark.parametrize(
    ("text", "power"),
    [
        ("payload.n > 2", 1),
        ("payload.tags.exists(t, t == 'x')", 1),
        ("payload.tags.all(t, t.size() > 1 && t != consumer)", 1),
        ("payload.tags.map(t, t).size() > 1", 2),  # each element copies the list
        ("payload.tags.filter(t, true).size() > 1", 2),
        ("payload.tags.all(t, payload.n == 1)", 2),  # each element copies the payload
        (NESTED, 2),
        ("payload.all(a, payload.all(b, payload.all(c, true)))", 3),
        ("payload.tags.exists(t, t.exists(u, u == 1))", 1),  # a list in a list is visited once
        ("payload.x == ')' && payload.tags.exists(t, t == r'\\' || t == \"(\")  // .map(x, x)", 1),
    ],
)
def test_the_cost_of_a_rule_grows_with_a_known_power_of_the_item_size(
    text: str, power: int
) -> None:
    assert max(len(product) for product in rule_cost.cost(text)) == power


@given(st.integers(1, 200), st.integers(1, 200))
def test_the_largest_input_of_a_rule_grows_with_its_units_and_costs_no_more_than_them(
    one: int, more: int
) -> None:
    fewer, most = sorted((one * 1_000, (one + more) * 1_000))
    assert largest_input(NESTED, fewer, 1 << 20) <= largest_input(NESTED, most, 1 << 20)
    product = rule_cost.cost(NESTED)
    size = largest_input(NESTED, most, 1 << 20)
    assert sum(each * size ** len(names) for names, each in product.items()) <= most


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "payload.all(a, payload.all(b, payload.all(c, a == b)))",
            "may take too long for an item of 50 values",
        ),
        ("[payload.text]" + ".map(x, x + x)" * 12 + ".size() > 0", "may take too long"),
        ("[payload]" + ".map(x, [x, x])" * 60 + ".size() > 0", "too (long|complex)"),
        ("1" + "<1" * 1_100, "too complex: it has more than 2,000 words and signs"),
        ("payload.text == '" + "a" * 5_000 + "'", "at most 4,096 characters"),
        ("payload.text == '" + "a" * 100_000 + "'", "at most 4,096 characters"),
        (
            "payload.text.matches('(a+)+' + '(?=b)')",
            "looks around or refers back, which takes exponential time",
        ),
        ("payload.text.matches(r'(.)\\1')", "looks around or refers back"),
        (
            "matches(payload.text, '(?:a{100}){100}')",
            "compiles to more than 64 KiB; use smaller repetitions",
        ),
        ("payload.text.matches('(')", "not a regular expression"),
    ],
)
def test_a_rule_without_a_limited_cost_is_refused_when_it_is_published(
    text: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Rule(text).check_price()


def test_a_stored_rule_beyond_the_limits_is_read_and_fails_for_each_item() -> None:
    for text in (
        "payload.text == '" + "a" * 100_000 + "'",
        "payload.n == 1" + " || payload.n == 1" * 500,
    ):
        with pytest.raises(RuleFailed, match="would take too long: it has"):
            Rule(text).holds(variables({"n": 1, "text": "a"}))


@pytest.mark.parametrize("text", RULES)
def test_usual_rules_can_be_evaluated_for_thousands_of_values(text: str) -> None:
    assert largest_input(text, MOST_UNITS, 1 << 24) > 20 * LEAST_INPUT


def test_a_pattern_with_nested_repetition_is_matched_against_27_letters() -> None:
    rule = Rule("payload.text.matches('^(a+)+$')")
    assert rule.holds(variables({"text": "a" * 27}))
    assert not rule.holds(variables({"text": "a" * 27 + "!"}))


def test_a_pattern_from_the_payload_has_the_same_limits() -> None:
    rule = Rule("payload.text.matches(payload.pattern)")
    assert rule.holds(variables({"text": "abc", "pattern": "b"}))
    for hostile in ("(?=a)", "(a{300}){300}", "("):
        with pytest.raises(RuleFailed, match="the pattern"):
            rule.holds(variables({"text": "abc", "pattern": hostile}))


def test_the_characters_that_patterns_compare_are_limited() -> None:
    rule = Rule("payload.tags.exists(t, t.matches('[01]*1[01]{300}x'))")
    assert not rule.holds(variables({"tags": ["01"] * 10}))
    with pytest.raises(RuleFailed, match="patterns compare more than 2,000,000 characters"):
        rule.holds(variables({"tags": ["01" * 500] * 400}))
    with pytest.raises(RuleFailed, match="patterns compare more than 2,000,000 characters"):
        rule.holds(variables({"tags": ["01"] * 1_300}))  # each text costs fifty characters more


@given(
    st.recursive(
        st.sampled_from(["payload", "payload.a", "t", "1", "'x'", "[1, 2]", "consumer", "age_s"]),
        lambda inner: st.one_of(
            st.builds("({} == {})".format, inner, inner),
            st.builds("[{}, {}]".format, inner, inner),
            st.builds("({} ? {} : {})".format, inner, inner, inner),
            st.builds(
                "{}.{}(t, {})".format,
                inner,
                st.sampled_from(["all", "exists", "exists_one", "map", "filter"]),
                inner,
            ),
        ),
        max_leaves=8,
    ),
    st.recursive(
        st.integers(0, 9) | st.text(max_size=3),
        lambda each: st.lists(each, max_size=8),
        max_leaves=30,
    ),
)
def test_the_value_of_a_rule_is_never_larger_than_the_cost_of_the_rule(
    text: str, given: Any
) -> None:
    try:
        rule = Rule(text)
    except ValueError:
        return
    payload = {"a": given}
    with suppress(RuleFailed):
        value = rule.value(variables(payload))
        cost = rule_cost.cost(text)
        size = rule_cost.size(payload, 1 << 24)
        spent = sum(each * size ** len(names) for names, each in cost.items())
        assert rule_cost.size(value, 1 << 24) <= spent


def test_a_pair_of_rules_that_costs_too_much_together_is_left_to_its_single_rules() -> None:
    half = "payload.n == 1" + " || payload.n == 1" * 200
    assert RulePair(Rule(half), Rule(half)).hold(variables({"n": 1})) is None
    assert Rule(half).holds(variables({"n": 1}))


def test_an_item_too_large_for_a_rule_is_routed_by_the_split_and_a_small_one_by_the_rule() -> None:
    of = version(urgent_when=NESTED)
    for payload, reason in ((THOUSANDS, Reason.SPLIT), ({"tags": ["a", "aq"]}, Reason.URGENT_RULE)):
        item = ArrivedItem("letters", "k1", payload, NOON, NOON)
        route = decide(item, of, Splits([]), now=NOON)
        assert route.reason is reason
        faults = rule_faults(item, of, now=NOON)
        assert len(faults) == (reason is Reason.SPLIT)
        assert ("would take too long" in route.explanation) == (reason is Reason.SPLIT)
