"""Checks before publication: a definition is refused unless everything that it requires can be done."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.errors import SpecInvalid
from lanes.words import Lane, Mode
from lanes.workload.definition import content_hash, parse
from lanes.workload.definition_file import read, render_definition
from lanes.workload.form import Promises
from lanes.workload.golden import GoldenScore, is_right, label_check, label_faults, score
from lanes.workload.version import SecondPass, Spec
from tests.examples import SCHEMA, spec, stored_version, version
from tests.unit.strategies import ANY_TEXT, any_json

A, B = {"category": "a"}, {"category": "b"}
ANSWERS = st.sampled_from([A, B, None])
REFERRED = {
    "type": "object",
    "$defs": {"kind": {"enum": ["a", "b"]}},
    "properties": {"category": {"$ref": "#/$defs/kind"}, "note": {"type": "string"}},
    "required": ["category", "note"],
    "minProperties": 2,
}


def problems(name: str = "letters", **fields: Any) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        parse(name, {"instructions": "Sort the letter.", "output_schema": SCHEMA, **fields})
    return caught.value.problems


def test_a_minimal_definition_has_defaults_for_every_other_field() -> None:
    letters = spec()
    assert (letters.mode, letters.split_percent, letters.realtime_pack) == (Mode.PLAIN, 0, 1)
    assert letters.promises == Promises()


@pytest.mark.parametrize(
    "name", ["", "Letters", "1letters", "let_ters", "letters\n", "a" * 64, "lettérs", "a b"]
)
def test_an_invalid_workload_name_is_refused(name: str) -> None:
    assert problems(name)[0].startswith("name: ")


@pytest.mark.parametrize(
    "text", ["22", "2200", "22:00:30", "22:00+02:00", "T22:00", "24:00", "9:05", "22:00\n", ""]
)
def test_an_off_peak_time_is_hours_and_minutes_and_nothing_else(text: str) -> None:
    assert problems(off_peak_start=text) == [
        f'off_peak_start: "{text}" is not a time of day; write HH:MM, for example 22:00'
    ]


@pytest.mark.parametrize("zone", ["", "../etc/passwd", "Berlin", "europe/berlin/x", "UTC\n"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    assert "not an IANA time zone" in problems(timezone=zone)[0]


@pytest.mark.parametrize("confidence", [0.4999, 0.9991, 1, 0, -1, "high", None, float("nan")])
def test_a_confidence_outside_its_bounds_is_refused(confidence: object) -> None:
    assert problems(confidence=confidence)[0].startswith("confidence: ")


def test_history_items_of_an_earlier_release_equal_a_context_with_the_same_hash() -> None:
    before = spec(history_items=5)
    assert before.context.entity.items == 5
    assert content_hash(before) == content_hash(spec(context={"entity": {"items": 5}}))
    assert content_hash(before).startswith("6261efbecdcd")  # as version 1 had it
    assert content_hash(spec(history_items=0)) == content_hash(spec())
    labeled = spec(context={"entity": {"items": 5, "labels": True}})
    assert content_hash(labeled) != content_hash(before)


def test_a_context_reads_back_the_same_from_a_file() -> None:
    facts = {"name": "c", "relation": "ops.facts", "key": "payload.c", "column": "c"}
    of = spec(context={"entity": {"items": 5, "labels": True}, "reference": [facts]})
    again = read(render_definition("letters", of, heading=[]).encode(), file="letters.yaml").spec
    assert again == of
    misspelt = (
        render_definition("letters", of, heading=[]).replace("labels: true", "label: true").encode()
    )
    with pytest.raises(
        SpecInvalid, match=r"context\.entity\.label: no field has that name; did you mean labels"
    ):
        read(misspelt, file="letters.yaml")


def test_a_version_stored_without_a_confidence_requires_95_percent_and_keeps_its_hash() -> None:
    assert stored_version().spec.confidence == 0.95
    assert content_hash(spec(confidence=0.95)) == content_hash(spec())
    assert content_hash(spec(confidence=0.9)) != content_hash(spec())


@pytest.mark.parametrize("value", [-0.01, 1_000_000.01, "much", None, float("nan"), float("inf")])
def test_a_value_outside_its_bounds_is_refused(value: object) -> None:
    assert problems(value_usd=value)[0].startswith("value_usd: ")


@pytest.mark.parametrize("half_life", [0, -1, 0.5, 31_536_001, "short", None, float("nan")])
def test_a_half_life_outside_its_bounds_is_refused(half_life: object) -> None:
    assert problems(half_life_s=half_life)[0].startswith("half_life_s: ")


def test_a_version_stored_without_a_value_has_none_and_keeps_its_hash() -> None:
    assert stored_version().spec.value_usd == 0
    assert content_hash(spec(value_usd=0, half_life_s=3600)) == content_hash(spec())
    assert (
        len(
            {
                content_hash(spec(**each))
                for each in ({}, {"value_usd": 1}, {"value_usd": 1, "half_life_s": 60})
            }
        )
        == 3
    )


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, '"type": "object"'),
        ({"type": "array"}, '"type": "object"'),
        ({"type": "object"}, '"properties"'),
        ({"type": "object", "properties": {"a": {"type": "texxt"}}}, "at properties/a/type"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "at properties/a/pattern"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}},
            '"#/$defs/b" leads to no place',
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/b"}}},
            "leads to no place",
        ),
        (
            {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "other.json"}]}}},
            "leads to no place",
        ),
        (
            {"type": "object", "properties": {"a": {}}},
            'no schema without a "type"; add one, or an "enum" (at properties/a)',
        ),
        (
            {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
            'one "type" each; write {"anyOf": ',
        ),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": True}}},
            "no true for a schema",
        ),
    ],
)
def test_an_output_schema_that_cannot_be_checked_is_refused(
    schema: dict[str, Any], said: str
) -> None:
    assert said in problems(output_schema=schema)[0]


def test_a_faulty_schema_is_refused_even_if_python_considers_it_equal_to_a_valid_one() -> None:
    def with_least(length: object) -> dict[str, Any]:
        return {"type": "object", "properties": {"a": {"type": "string", "minLength": length}}}

    assert with_least(1) == with_least(True)
    spec(output_schema=with_least(1))
    assert "True is not of type 'integer'" in problems(output_schema=with_least(True))[0]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (
            {"type": "objec", "properties": {"a": {}}},
            "output_schema, line 2, column 11: 'objec' is not valid",
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"enum": ["x", "y"]}, "b": {"anyOf": [{}, {"minLength": -1}]}},
            },
            "output_schema, line 14, column 24: -1 is less than the minimum of 0",
        ),
    ],
)
def test_a_fault_of_an_output_schema_is_reported_with_its_line_and_column_in_the_editor(
    schema: dict[str, Any], said: str
) -> None:
    (problem,) = problems(output_schema=schema)
    assert problem.startswith(said)
    line, column = map(int, re.findall(r"line (\d+), column (\d+)", problem)[0])
    shown = json.dumps(schema, indent=2).splitlines()[line - 1][column - 1 :]
    assert shown.startswith(('"objec"', "-1"))


def test_an_output_schema_may_refer_to_its_own_definitions() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/b"}},
        "$defs": {"b": {"type": "integer"}},
    }
    letters = version(output_schema=schema)
    assert letters.answer_check.first_fault({"a": 1}) is None
    assert letters.answer_check.first_fault({"a": "1"}) is not None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"realtime_model": "gpt-0"}, 'realtime_model: no price is known for the model "gpt-0"'),
        ({"batch_model": "gpt-0"}, 'batch_model: no price is known for the model "gpt-0"'),
        (
            {"urgent_when": "payload.("},
            "urgent_when, line 1, column 9: no viable alternative at input",
        ),
        (
            {"batch_when": "payload.n ==\n  && true"},
            "batch_when, line 2, column 3: extraneous input '&&'",
        ),
        ({"urgent_when": "\ud800"}, "urgent_when: not a CEL expression"),
        ({"batch_when": "colour == 1"}, "batch_when: `colour == 1` reads colour"),
        (
            {"second_pass": {"risk": 0.05}},
            "second_pass: an answer in plain mode has no second pass; set mode to lambda, or remove this",
        ),
        ({"mode": "lambda", "second_pass": {"sample": 0}}, "second_pass.sample: "),
        (
            {"mode": "lambda", "second_pass": {"when": "output.("}},
            "second_pass.when, line 1, column 8: no viable alternative at input",
        ),
        (
            {"mode": "lambda", "second_pass": {"when": "payload.n > 3"}},
            "second_pass.when: `payload.n > 3` reads payload; rules have output",
        ),
        (
            {"mode": "lambda", "second_pass": {"when": "output.colour == 1"}},
            "second_pass.when: colour is not a property of output_schema",
        ),
        (
            {
                "mode": "lambda",
                "second_pass": {"confidence_below": 0.8, "confidence_field": "note"},
            },
            'second_pass.confidence_field: "note" is not a number in output_schema; '
            "name a property of type number",
        ),
        (
            {"compare_fields": ["category", "colour"]},
            "compare_fields: colour is not a property of output_schema",
        ),
        ({"split_percent": 101}, "split_percent: "),
        ({"split_percent": float("nan")}, "split_percent: "),
        ({"buffer_s": 6}, "buffer_s: "),
        ({"instructions": ""}, "instructions: "),
        ({"dedupe": "payload"}, "dedupe: "),
        ({"mode": "kappa"}, "mode: "),
        ({"colour": 1}, "colour: "),
        ({"promises": {"batch_max_minutes": -1}}, "promises.batch_max_minutes: "),
        ({"instructions": "a\x00"}, "instructions: it holds the character NUL"),
    ],
)
def test_an_error_names_the_faulty_field(fields: dict[str, Any], said: str) -> None:
    assert problems(**fields)[0].startswith(said)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"shop": {"weight": 0}}, "consumers.shop.weight: "),
        ({"shop": {"heft": 2}}, "consumers.shop.heft: "),
        ({"": {"weight": 2}}, "consumers."),
        ({f"c{number}": {} for number in range(101)}, "consumers: "),
    ],
)
def test_an_error_names_the_faulty_term_of_a_consumer(terms: dict[str, Any], said: str) -> None:
    assert problems(consumers=terms)[0].startswith(said)


@pytest.mark.parametrize("name", ["", "EU", "my eu", "a" * 64, "eu\n"])
def test_a_provider_name_that_prefect_does_not_accept_is_refused(name: str) -> None:
    assert problems(provider=name)[0].startswith("provider: ")


def test_consumer_terms_read_back_the_same_and_empty_terms_keep_the_hash() -> None:
    of = spec(consumers={"shop": {"weight": 2}})
    assert (
        read(render_definition("letters", of, heading=[]).encode(), file="letters.yaml").spec == of
    )
    assert (of.weight_of("shop"), of.weight_of("crm"), of.weight_of("")) == (2, 1, 1)
    assert content_hash(of) != content_hash(spec(consumers={})) == content_hash(spec())


def test_a_missing_output_schema_is_explained_by_invalid_json_in_the_editor() -> None:
    with pytest.raises(
        SpecInvalid,
        match=r"output_schema: it is missing\. Prefect's editor does not save invalid JSON",
    ):
        parse("letters", {"instructions": "Sort the letter."})


def test_all_faults_are_reported_at_once() -> None:
    assert len(problems("Letters", buffer_s=6, mode="kappa")) == 3


@given(st.dictionaries(st.sampled_from(list(Spec.model_fields)) | ANY_TEXT, any_json(), max_size=5))
def test_any_edited_data_is_a_definition_or_raises_spec_invalid(fields: dict[str, Any]) -> None:
    data = {"instructions": "Sort the letter.", "output_schema": SCHEMA, **fields}
    with suppress(SpecInvalid):
        assert len(content_hash(parse("letters", data))) == 64


def test_the_hash_depends_on_the_content_and_not_on_the_order_of_its_keys() -> None:
    turned = {name: SCHEMA[name] for name in reversed(SCHEMA)}
    assert content_hash(spec(output_schema=turned)) == content_hash(spec())
    assert content_hash(spec(weight=2)) != content_hash(spec())
    assert re.fullmatch("[0-9a-f]{64}", content_hash(spec()))


def test_the_hash_survives_a_round_trip_through_the_database() -> None:
    letters = spec(urgent_when="payload.n > 1", mode="lambda", split_percent=12.5)
    assert content_hash(Spec.model_validate(letters.model_dump(mode="json"))) == content_hash(
        letters
    )


def test_each_lane_has_its_own_model_and_pack() -> None:
    letters = spec(batch_model="claude-opus-5-5", batch_pack=20, realtime_pack=3)
    assert (letters.model_of(Lane.REALTIME), letters.pack_of(Lane.REALTIME)) == (
        "claude-haiku-5-5",
        3,
    )
    assert (letters.model_of(Lane.BATCH), letters.pack_of(Lane.BATCH)) == ("claude-opus-5-5", 20)


def test_every_field_of_the_form_has_a_title_and_a_description() -> None:
    for model in (Spec, SecondPass, Promises):
        for name, field in model.model_fields.items():
            assert field.title, name
            assert field.description, name


def test_a_version_without_rules_has_none() -> None:
    assert version().urgent_when is None
    assert version().batch_when is None
    assert version(urgent_when="age_s > 1.0").urgent_when is not None


def faults(expected: Any, schema: dict[str, Any] = SCHEMA) -> list[str]:
    return list(label_faults(expected, schema, label_check(schema)))


@pytest.mark.parametrize("schema", [SCHEMA, REFERRED])
def test_a_label_may_contain_some_of_the_fields_and_no_others(schema: dict[str, Any]) -> None:
    assert faults(A, schema) == faults({"note": "x"}, schema) == []
    (alien, wrong) = faults({"color": "red", "category": "secret"}, schema)
    assert alien == 'its label names "color", which is no field of output_schema'
    assert wrong.startswith("its label breaks the schema at category: ")
    assert "secret" not in wrong


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        (A, {"category": "a", "note": "anything"}, True),
        (A, B, False),
        (A, {"note": "a"}, False),
        (A, None, False),
        ({"n": 1}, {"n": 1.0}, True),
        ({"n": 1}, {"n": True}, False),
        ({"n": None}, {}, False),
    ],
)
def test_an_answer_is_right_if_it_has_the_value_of_every_labeled_field(
    expected: Any, output: Any, right: bool
) -> None:
    assert is_right(expected, output) is right


@given(st.lists(st.tuples(ANSWERS, ANSWERS), max_size=30))
def test_every_item_is_in_exactly_one_pair(answers: list[tuple[Any, Any]]) -> None:
    of = score([(str(n), A, now, was) for n, (now, was) in enumerate(answers)], compares=True)
    assert of.paired_shares.samples == of.items == len(answers)
    assert of.paired_shares.one == sum(now != A and was == A for now, was in answers) == of.lost
    assert of.paired_shares.other == sum(now == A and was != A for now, was in answers)


def test_the_bounds_of_the_gain_contain_the_observed_gain() -> None:
    low, high = GoldenScore(40, 38, 37, 1, ["a"]).bounds()
    assert -0.35 < low < 1 / 40 < high < 0.35


def test_a_score_is_worse_only_if_chance_hardly_explains_the_loss() -> None:
    assert not GoldenScore(100, 96, 100, 4, []).is_worse
    assert GoldenScore(100, 92, 100, 8, []).is_worse
    assert not GoldenScore(100, 92, 92, 8, []).is_worse
    assert not GoldenScore(100, 0, None, 0, []).is_worse
