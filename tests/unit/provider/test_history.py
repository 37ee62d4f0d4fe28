"""The history of an item in a request: a rule explains it, and estimates and bounds count the size that it adds."""

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

WRAPPER = len('{"text": ""}')  # a payload is counted as JSON, but its single text is sent alone
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
    """Return the number of characters that the model reads of a request, without the schema: history does not change it."""
    request = parameters(version(batch_pack=4, history_items=5), Lane.BATCH, asked)
    return len(request["system"]) + len(request["messages"][0]["content"])


@pytest.mark.parametrize("items", [1, 3])
def test_the_system_prompt_explains_history_only_if_the_request_contains_history(
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


def test_the_history_rule_states_the_tag_the_order_and_the_purpose_of_history() -> None:
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
def test_the_counted_size_of_history_equals_the_characters_that_it_adds_to_a_request(
    of: list[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> None:
    told, plain = sent_chars(questions(*of)), sent_chars(questions(*of, told=False))
    counted = sum(history_chars(map(characters, earlier)) for _, earlier in of)
    number = sum(len(earlier) for _, earlier in of)
    assert told - plain == counted - WRAPPER * number + (len(HISTORY_RULE) if number else 0)


@given(QUESTIONS)
def test_the_estimated_prompt_tokens_match_the_size_of_the_request(
    of: list[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> None:
    """Allow for the JSON around each payload, the frame of a pack, and rounding up."""
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
def test_history_adds_its_tokens_to_a_batch_estimate_and_leaves_real_time_unchanged(
    own: int, told: int, pack: int
) -> None:
    letters = version(batch_pack=pack, history_items=5)
    plain, found = Estimates(NOON).of(letters, own), Estimates(NOON).of(letters, own, told)
    assert found.realtime == plain.realtime
    more = prompt_tokens(letters.spec, pack, own, told) - prompt_tokens(letters.spec, pack, own)
    price = per_token(letters.spec.batch_model, Lane.BATCH, NOON).input
    assert abs(found.batch - plain.batch - more * price) < Decimal("2e-9")


def test_the_cost_bound_includes_the_history_rule_in_batch_but_not_in_real_time() -> None:
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
