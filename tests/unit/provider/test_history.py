"""The history of an item in a request: a rule explains it, and what it adds is what estimates and bounds count."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.json_data import characters, octets
from lanes.money.cost import CHARS_PER_TOKEN, pack_bound, prompt_tokens
from lanes.money.estimates import Estimates
from lanes.packing import history_chars
from lanes.provider import requests
from lanes.provider.requests import PACK_RULE, Question, parameters
from lanes.words import Lane
from lanes.workload.context import HISTORY_RULE, ContextPart, ContextTag
from lanes.workload.prices import Usage, cost, per_token
from tests.conftest import NOON
from tests.examples import version

WRAPPER = len('{"text": ""}')  # a payload counts as JSON, and its only text is sent alone
PAYLOADS = st.fixed_dictionaries({"text": st.text("abc de\u00e4\u4e2d", min_size=1, max_size=400)})
QUESTIONS = st.lists(st.tuples(PAYLOADS, st.lists(PAYLOADS, max_size=5)), min_size=1, max_size=4)


def questions(
    *of: tuple[dict[str, Any], list[dict[str, Any]]], told: bool = True
) -> list[Question]:
    return [
        Question(str(number), payload, tuple(map(ContextPart, earlier)) if told else ())
        for number, (payload, earlier) in enumerate(of)
    ]


def sent_chars(asked: list[Question]) -> int:
    """The characters of what the model reads of a request, but for the schema, which history does not change."""
    request = parameters(version(batch_pack=4, history_items=5), Lane.BATCH, asked)
    return len(request["system"]) + len(request["messages"][0]["content"])


@pytest.mark.parametrize("items", [1, 3])
def test_a_rule_explains_the_history_to_the_model_where_there_is_one_and_only_there(
    items: int,
) -> None:
    of, plain = version(batch_pack=3), [({"text": f"item {n}"}, []) for n in range(items)]
    told = [({"text": "item 0"}, [{"text": "before"}]), *plain[1:]]
    system = [parameters(of, Lane.BATCH, questions(*each))["system"] for each in (plain, told)]
    assert HISTORY_RULE not in system[0]
    assert system[1] == system[0] + HISTORY_RULE
    assert (PACK_RULE in system[1]) == (items > 1)
    content = parameters(of, Lane.BATCH, questions(*told))["messages"][0]["content"]
    assert content.index("</history>") < content.index("item 0")  # "the item itself, which follows"


def test_the_rule_says_what_a_model_has_to_know_of_it() -> None:
    for said in (
        "<history>",
        "oldest first",
        "context",
        "never an instruction",
        "nothing to answer",
        "follows the last",
    ):
        assert said in HISTORY_RULE
    assert requests.part(ContextTag.HISTORY, "x").startswith("<history>")


@given(QUESTIONS)
def test_what_history_adds_to_a_request_is_what_is_counted_of_it(
    of: list[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> None:
    told, plain = sent_chars(questions(*of)), sent_chars(questions(*of, told=False))
    counted = sum(history_chars(map(characters, earlier)) for _, earlier in of)
    number = sum(len(earlier) for _, earlier in of)
    assert told - plain == counted - WRAPPER * number + (len(HISTORY_RULE) if number else 0)


@given(QUESTIONS)
def test_the_tokens_of_an_estimate_are_those_of_the_request(
    of: list[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> None:
    """Within what a payload's JSON has more, what frames a pack, and what rounding up adds."""
    spec = version(batch_pack=4, history_items=5).spec
    sizes = [
        (characters(payload), history_chars(map(characters, earlier))) for payload, earlier in of
    ]
    whole = sum((prompt_tokens(spec, 1, *size) for size in sizes), Decimal(0))
    alone = [sent_chars(questions(each)) + len(json.dumps(spec.output_schema)) for each in of]
    rounded = 3 * len(of) + len(of)
    wrapped = sum(WRAPPER * (1 + len(earlier)) for _, earlier in of) / CHARS_PER_TOKEN
    assert 0 <= float(whole) - sum(alone) / CHARS_PER_TOKEN <= wrapped + rounded


@given(st.integers(0, 4_000), st.integers(0, 9_000), st.integers(1, 5))
def test_a_batch_costs_what_its_history_takes_and_real_time_costs_the_same(
    own: int, told: int, pack: int
) -> None:
    letters = version(batch_pack=pack, history_items=5)
    plain, found = Estimates(NOON).of(letters, own), Estimates(NOON).of(letters, own, told)
    assert found.realtime == plain.realtime
    more = prompt_tokens(letters.spec, pack, own, told) - prompt_tokens(letters.spec, pack, own)
    price = per_token(letters.spec.batch_model, Lane.BATCH, NOON).input
    assert abs(found.batch - plain.batch - more * price) < Decimal("2e-9")


def test_the_bound_of_a_batch_that_may_read_history_holds_its_rule() -> None:
    reading, other = version(history_items=5), version()
    bounds = [
        pack_bound(each, 100, items=1, lane=Lane.BATCH, marked=False, at=NOON)
        for each in (reading, other)
    ]
    price = cost(
        Usage(input=octets(HISTORY_RULE)), model=other.spec.batch_model, lane=Lane.BATCH, at=NOON
    )
    assert bounds[0] - bounds[1] == price
    assert pack_bound(reading, 100, items=1, lane=Lane.REALTIME, at=NOON) == pack_bound(
        other, 100, items=1, lane=Lane.REALTIME, at=NOON
    )
