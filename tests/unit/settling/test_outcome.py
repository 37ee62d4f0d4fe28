"""The judgment of a response for each item that shared it: one bad answer spoils only its own item."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.settling.outcome import Judgment, Response, judge
from lanes.words import Outcome
from lanes.workload.prices import Usage
from lanes.workload.version import Version
from tests.examples import stored_version, version
from tests.unit.strategies import any_json
from tests.unit.test_exact_json import assert_jsonb_takes

LETTERS = version()
FREE = stored_version(output_schema={"type": "object", "properties": {"a": {}}})
A, B = {"category": "a"}, {"category": "b"}
IDS = ["1", "2", "3"]


def judged(
    text: str, ids: Sequence[str] = ("1",), *, stop: str | None = "end_turn", of: Version = LETTERS
) -> list[Judgment]:
    response = Response("msg_1", "claude-haiku-5-5", text, stop, Usage(input=10, output=30))
    return judge(response, ids, of.answer_check)


def pack(*answers: tuple[Any, Any]) -> str:
    return json.dumps({"answers": [{"id": id_, "answer": answer} for id_, answer in answers]})


def outcomes(told: Sequence[Judgment]) -> list[str]:
    return [str(each.outcome) for each in told]


def test_a_single_answer_that_satisfies_the_schema_is_valid() -> None:
    assert judged('{"category": "a", "note": "ok"}') == [
        Judgment(Outcome.VALID, {"category": "a", "note": "ok"})
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"category": "c"}',
            'the answer breaks the schema at category: its rule is enum ["a", "b"]',
        ),
        (
            '{"note": "a"}',
            "the answer breaks the schema at the root: 'category' is a required property",
        ),
        ('{"category": "a", "colour": 1}', "at the root: its rule is additionalProperties false"),
        ('"a"', "the answer breaks the schema at the root"),
        ("null", "the answer breaks the schema at the root"),
        ("", "the answer is not JSON"),
        ('{"category": "a"', "the answer is not JSON"),
        ('```json\n{"category": "a"}\n```', "the answer is not JSON"),
        ('{"category": "a", "note": "\\u0000"}', "the answer.note holds the character NUL"),
        ('{"category": "a", "note": "\\ud800"}', "the answer.note holds an unpaired surrogate"),
        ('{"category": "a", "note": NaN}', "the answer.note holds nan, which is not JSON"),
        ("[" * 100_000, "the answer is not JSON"),
        pytest.param('{"a":' * 500 + "1" + "}" * 500, "nested deeper than 100 levels", id="deep"),
        pytest.param("9" * 5_000, "the answer is not JSON", id="5000 digits"),
    ],
)
def test_an_answer_that_breaks_the_schema_or_cannot_be_stored_is_invalid(
    text: str, said: str
) -> None:
    (told,) = judged(text)
    assert (told.outcome, told.output) == (Outcome.INVALID, None)
    assert said in str(told.error)


def test_an_answer_whose_schema_cannot_be_checked_is_invalid() -> None:
    endless = stored_version(
        output_schema={
            "type": "object",
            "allOf": [{"$ref": "#"}],
            "properties": {"a": {"type": "null"}},
        }
    )
    assert "cannot be checked" in str(judged('{"a": 1}', of=endless)[0].error)


def test_the_error_of_a_long_answer_is_short() -> None:
    (told,) = judged(json.dumps({"category": "x" * 10_000}))
    assert len(str(told.error)) < 400


@pytest.mark.parametrize("ids", [["1"], IDS])
def test_a_refusal_refuses_every_item_of_the_call(ids: list[str]) -> None:
    told = judged('{"category": "a"}', ids, stop="refusal")
    alone = len(ids) == 1
    assert told == [
        Judgment(
            Outcome.REFUSED, error="the model declined to answer", spends=alone, alone=not alone
        )
    ] * len(ids)


@pytest.mark.parametrize("ids", [["1"], IDS])
def test_an_answer_cut_at_max_tokens_is_truncated_even_when_it_parses(ids: list[str]) -> None:
    told = judged('{"category": "a"}', ids, stop="max_tokens")
    assert outcomes(told) == ["truncated"] * len(ids)
    assert {(each.spends, each.alone) for each in told} == {(len(ids) == 1, len(ids) > 1)}
    assert told[0].error == "the answer was cut at 30 tokens; raise max_output_tokens"


def test_the_answers_of_a_pack_go_to_their_ids_in_any_order() -> None:
    told = judged(pack(("3", A), ("1", B), (2, A)), IDS)
    assert [each.output for each in told] == [B, A, A]


def test_a_missing_answer_spoils_only_its_own_item() -> None:
    told = judged(pack(("1", A), ("3", B)), IDS)
    assert outcomes(told) == ["valid", "invalid", "valid"]
    assert told[1].error == "the pack has no answer for id 2"


def test_a_duplicate_answer_spoils_only_its_own_item_even_if_both_agree() -> None:
    told = judged(pack(("1", A), ("2", A), ("2", A), ("3", B)), IDS)
    assert outcomes(told) == ["valid", "invalid", "valid"]
    assert told[1].error == "the pack has 2 answers for id 2"


def test_an_answer_to_an_unknown_id_spoils_nothing() -> None:
    assert (
        outcomes(judged(pack(("1", A), ("7", A), (None, A), ("2", B), ("3", B)), IDS))
        == ["valid"] * 3
    )


def test_an_answer_that_breaks_the_schema_or_cannot_be_stored_spoils_only_its_own_item() -> None:
    nul = {"category": "a", "note": "\x00"}
    told = judged(pack(("1", A), ("2", {"category": "c"}), ("3", nul), ("4", B)), [*IDS, "4"])
    assert outcomes(told) == ["valid", "invalid", "invalid", "valid"]


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"answers": {}}', '{"answers": null}', "1", '{"category": "a"}']
)
def test_a_pack_without_a_list_of_answers_is_invalid_for_all_items(text: str) -> None:
    said = Judgment(
        Outcome.INVALID, error='the pack has no list "answers"', spends=False, alone=True
    )
    assert judged(text, IDS) == [said] * 3


def test_a_pack_that_is_not_json_is_invalid_for_all_items() -> None:
    told = judged('{"answers": [', IDS)
    assert outcomes(told) == ["invalid"] * 3
    assert {(each.spends, each.alone) for each in told} == {(False, True)}


def test_malformed_members_of_a_pack_spoil_no_other_answer() -> None:
    text = json.dumps(
        {"answers": [None, "1", 7, {"answer": A}, {"id": "1"}, {"id": "2", "answer": B}]}
    )
    assert outcomes(judged(text, ["1", "2"])) == ["invalid", "valid"]


@given(any_json(), st.sampled_from([["1"], IDS]))
def test_any_answer_is_judged_for_every_item_and_a_valid_output_can_be_stored(
    said: Any, ids: list[str]
) -> None:
    answer = (
        said
        if len(ids) == 1
        else {"answers": said if isinstance(said, list) else [{"id": "1", "answer": said}]}
    )
    told = judged(json.dumps(answer), ids, of=FREE)
    assert len(told) == len(ids)
    for each in told:
        assert (each.outcome is Outcome.VALID) == (each.output is not None) == (each.error is None)
        assert_jsonb_takes([each.output, each.error])


@given(st.text(max_size=40), st.sampled_from([["1"], IDS]))
def test_any_text_is_judged_for_every_item(text: str, ids: list[str]) -> None:
    assert len(judged(text, ids)) == len(ids)


@given(st.permutations(IDS), st.sets(st.sampled_from(IDS)))
def test_a_pack_is_valid_exactly_for_the_ids_it_answers(
    order: list[str], left_out: set[str]
) -> None:
    told = judged(
        pack(*((id_, {"category": "a", "note": id_}) for id_ in order if id_ not in left_out)), IDS
    )
    for id_, each in zip(IDS, told, strict=True):
        assert each.outcome is (Outcome.INVALID if id_ in left_out else Outcome.VALID)
        assert each.output is None or each.output["note"] == id_


SECRET = "Winterbourne"
STRICT = stored_version(
    output_schema={
        "type": "object",
        "properties": {
            "category": {"enum": ["a", "b"]},
            "n": {"type": "integer", "maximum": 5, "multipleOf": 2},
            "note": {"type": "string", "maxLength": 3, "pattern": "^x"},
            "list": {"type": "array", "uniqueItems": True, "maxItems": 1},
            "one": {"oneOf": [{"type": "integer"}, {"const": 1}]},
            "not": {"not": {"type": "string"}},
        },
        "required": ["category"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize("name", ["category", "n", "note", "list", "one", "not"])
@pytest.mark.parametrize("value", [SECRET, [SECRET, SECRET], {"deep": SECRET}, f"x{SECRET}"])
def test_the_error_of_an_invalid_answer_does_not_quote_the_answer(name: str, value: Any) -> None:
    for answer in (
        {"category": "a"} | {name: value},
        {name: value},
        {"category": "a", SECRET: value},
        value,
    ):
        (told,) = judged(json.dumps(answer), of=STRICT)
        if told.outcome is Outcome.INVALID:
            assert told.error is not None
            assert SECRET not in told.error
    (told,) = judged(json.dumps({"category": SECRET}), of=STRICT)
    assert told.error == 'the answer breaks the schema at category: its rule is enum ["a", "b"]'
