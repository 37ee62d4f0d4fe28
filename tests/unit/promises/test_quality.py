"""Drift of answers: reported with the change, ended by evidence, and never opened by chance."""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import ItemId
from lanes.json_data import dumps, loads
from lanes.promises.incident import Promise, Severity
from lanes.promises.quality import (
    AnswerWatch,
    QualityMeasure,
    Value,
    WatchedFigure,
    find_class,
    has_told,
    iter_values,
    list_fields,
    quality_drift,
)
from lanes.words import Lane, Verdict
from tests.conftest import NOON, later
from tests.examples import SCHEMA

MIX = {"complaint": 0.12, "question": 0.5, "praise": 0.38}


def fed(
    watch: AnswerWatch,
    mix: dict[str, float],
    minutes: int,
    *,
    at: datetime | None = None,
    good: str | None = None,
    items: int = 50,
    seed: int = 1,
) -> AnswerWatch:
    """Return the watch after `minutes` of answers that follow the earlier ones, each minute divided by `mix`."""
    random = Random(seed)
    at = at or (watch.looked_at or NOON) + timedelta(minutes=1)
    for minute in range(minutes):
        said = random.choices([*mix], [*mix.values()], k=items)
        seen: dict[Value, list[ItemId]] = {}
        for place, each in enumerate(said):
            seen.setdefault(each, []).append(ItemId(1_000 * minute + place))
        now = at + timedelta(minutes=minute)
        watch = watch.add(seen, learn=500, good=good, tests=10, now=now)
        watch = AnswerWatch.model_validate(loads(dumps(watch.model_dump(mode="json"))))
    return watch


def figure(watch: AnswerWatch, measure: QualityMeasure, field: str = "") -> WatchedFigure:
    return WatchedFigure("letters", 7, Lane.REALTIME, measure, field, watch, ["k1", 'a "b"\n'])


def test_a_drift_names_its_classes_its_start_its_lane_and_its_version() -> None:
    watch = fed(AnswerWatch(), MIX, 60)
    assert watch.drift is None
    watch = fed(watch, {"complaint": 0.31, "question": 0.35, "praise": 0.34}, 20, at=later(hours=2))
    judged = quality_drift(
        figure(watch, QualityMeasure.FIELD, "category"), later(hours=2, minutes=30)
    )
    assert (judged.promise, judged.verdict) == (Promise.QUALITY_DRIFT, Verdict.FAILED)
    assert judged.severity is Severity.WARNING
    assert judged.subject == "field category, realtime, version 7"
    assert judged.sentence.startswith('field category: "complaint" 12 % to 29 %')
    assert " since 14:00 UTC, real-time lane, version 7, by " in judged.sentence
    assert judged.sentence.endswith(r'Examples: "k1", "a \"b\"".')
    assert len(watch.drift.item_ids) == 5 if watch.drift else False


def test_a_drift_ends_once_the_share_has_returned_and_may_recur() -> None:
    watch = fed(fed(AnswerWatch(), MIX, 60), {"complaint": 0.4, "question": 0.6}, 20)
    assert watch.drift is not None
    assert watch.drift.ended_at is None
    still = fed(watch, {"complaint": 0.4, "question": 0.6}, 60, seed=3)
    assert still.drift is not None
    assert still.drift.ended_at is None
    back = fed(watch, MIX, 30, at=later(hours=3), seed=4)
    judged = quality_drift(figure(back, QualityMeasure.FIELD, "category"), later(hours=4))
    assert judged.verdict is Verdict.PASSED
    assert judged.sentence.endswith("is back at 12 %.")
    again = fed(back, {"complaint": 0.4, "question": 0.6}, 30, at=later(hours=5), seed=5)
    assert again.drift is not None
    assert again.drift.ended_at is None


def test_the_examples_of_a_drift_name_each_item_once() -> None:
    tried_often = [*map(ItemId, range(80))] + [ItemId(77)] * 20
    watch = fed(AnswerWatch(), MIX, 20).add(
        {"complaint": tried_often}, learn=500, good=None, tests=10, now=later(hours=1)
    )
    assert watch.drift is not None
    assert watch.drift.item_ids == (75, 76, 78, 79, 77)


def test_a_drift_towards_a_new_class_names_that_class() -> None:
    watch = fed(fed(AnswerWatch(), MIX, 20), {"<!channel>": 1}, 2)
    assert watch.drift is not None
    assert (watch.drift.name, watch.drift.usual) == ('"<!channel>"', '"question"')


def test_a_changed_model_is_reported_with_both_names() -> None:
    watch = fed(fed(AnswerWatch(), {"small-1": 1}, 20), {"small-2": 1}, 1, at=later(hours=1))
    judged = quality_drift(figure(watch, QualityMeasure.SERVED), later(hours=1, minutes=1))
    assert judged.promise is Promise.MODEL_CHANGED
    assert judged.sentence.startswith(
        'served: "small-2" 0 % to 100 % since 13:00 UTC, real-time lane, version 7, '
        'by 50 answers since and 1,000 before; it was "small-1". Examples: '
    )


def test_fewer_corrections_are_not_a_drift_and_more_corrections_are() -> None:
    usual = fed(AnswerWatch(), {"agreed": 0.9, "corrected": 0.1}, 100, good="agreed")
    better = fed(usual, {"agreed": 1}, 60, good="agreed")
    worse = fed(usual, {"agreed": 0.8, "corrected": 0.2}, 60, good="agreed", seed=2)
    assert better.drift is None
    assert worse.drift is not None
    assert worse.drift.name == '"corrected"'


def test_a_class_whose_answers_are_corrected_more_often_is_named() -> None:
    usual = fed(AnswerWatch(), {"agreed": 0.98, "corrected": 0.02}, 100, good="agreed")
    worse = fed(usual, {"agreed": 0.91, "corrected": 0.09}, 60, good="agreed", at=later(hours=2))
    _, field = list_fields("", "complaint")
    judged = quality_drift(figure(worse, QualityMeasure.CORRECTION, field), later(hours=4))
    assert judged.subject == 'correction of "complaint", realtime, version 7'
    assert judged.sentence.startswith(
        'correction of "complaint": "corrected" 2.1 % to 9 % since 14:03 UTC'
    )


def test_a_drift_is_reported_for_the_whole_or_for_its_classes_but_not_for_both() -> None:
    _, complaint = list_fields("category", "complaint")
    _, praise = list_fields("category", "praise")
    assert has_told({"category"}, complaint)
    assert has_told({complaint}, "category")
    assert not has_told({complaint}, praise)
    assert not has_told({"category"}, "category_2")
    assert has_told({""}, list_fields("", "complaint")[1])
    assert not has_told({complaint, "category"}, "category")
    assert not has_told({complaint, "category"}, complaint)


def test_packed_answers_that_differ_more_often_from_single_ones_are_reported() -> None:
    usual = fed(AnswerWatch(), {"agreed": 0.95, "differed": 0.05}, 100, good="agreed")
    worse = fed(usual, {"agreed": 0.8, "differed": 0.2}, 40, good="agreed", at=later(hours=2))
    judged = quality_drift(figure(worse, QualityMeasure.PACKED), later(hours=4))
    assert judged.sentence.startswith('packed: "differed" 5.3 % to 21 % since 14:00')


def test_numbers_are_divided_by_the_quantiles_of_the_reference() -> None:
    random = Random(1)
    seen: dict[Value, list[ItemId]] = {
        random.uniform(0, 100): [ItemId(each)] for each in range(500)
    }
    watch = AnswerWatch().add(seen, learn=500, good=None, tests=1, now=NOON)
    assert len(watch.cuts) == 4
    assert watch.portions[0].counts[1:] == pytest.approx((100,) * 5, abs=1)
    for minute in range(20):
        longer: dict[Value, list[ItemId]] = {
            random.uniform(60, 100): [ItemId(each)] for each in range(30)
        }
        watch = watch.add(longer, learn=500, good=None, tests=1, now=later(minutes=minute))
    assert watch.drift is not None
    assert watch.drift.name.startswith("above ")


def test_an_evaluation_waits_for_a_minute_and_twenty_answers() -> None:
    watch = fed(AnswerWatch(), MIX, 20)
    few = watch.add({"praise": [ItemId(1)] * 19}, learn=500, good=None, tests=1, now=later(hours=1))
    assert few.pending is not None
    one = few.add({"praise": [ItemId(1)]}, learn=500, good=None, tests=1, now=later(hours=1))
    assert one.pending is None
    soon = one.add(
        {"praise": [ItemId(1)] * 90}, learn=500, good=None, tests=1, now=later(hours=1, seconds=59)
    )
    assert soon.pending is not None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_any_value_in_an_answer_is_counted_or_ignored(value: object) -> None:
    found = dict(iter_values({"category": value, "note": value}, SCHEMA))
    watch = AnswerWatch()
    for said in found.values():
        for _ in range(30):
            watch = watch.add({said: [ItemId(1)]}, learn=10, good=None, tests=1, now=NOON)
    assert AnswerWatch.model_validate(loads(dumps(watch.model_dump(mode="json")))) == watch


def test_closed_sets_count_by_class_and_texts_by_length() -> None:
    found = dict(iter_values({"category": "a", "note": "four", "more": 1}, SCHEMA))
    assert found == {"category": "a", "note": 4.0}


@pytest.mark.parametrize(
    ("rules", "value", "of"),
    [
        ({"enum": ["b", "c"]}, "c", "c"),
        ({"enum": ["b", None]}, None, "null"),
        ({"type": "boolean"}, True, "true"),
        ({"enum": list("abcdefghijklmno")}, "k", "k"),
        ({"enum": list("abcdefghijklmno")}, "l", ""),
        ({"enum": ["x" * 90]}, "x" * 90, "x" * 60),
        ({"enum": ["b"]}, {"b": 1}, ""),
        ({"enum": [1, 2.5]}, 1.0, "1"),
    ],
)
def test_the_class_of_an_answer_is_that_of_its_first_closed_field(
    rules: dict[str, object], value: object, of: str
) -> None:
    fields = {"note": {"type": "string"}, "kind": rules, "later": {"enum": ["c"]}}
    output = {"note": "long", "kind": value, "later": "c"}
    assert find_class(output, {"properties": fields}) == ("kind", of)
    assert find_class(output, {"properties": {"note": fields["note"]}}) == ("", "")


def test_a_field_with_a_name_too_long_for_an_index_is_not_watched() -> None:
    properties = {"n" * 513: {"enum": ["a"]}, "note": {"type": "string"}}
    assert [*iter_values({"n" * 513: "a", "note": "four"}, {"properties": properties})] == [
        ("note", 4.0)
    ]


def test_a_report_shows_the_shares_of_the_reference_and_of_the_present() -> None:
    watch = fed(AnswerWatch(), {"a": 1}, 10)
    assert watch.shares(now=False)[0] == 1
    assert watch.shares(now=True)[0] == 1
    drifted = fed(watch, {"b": 1}, 2)
    assert drifted.shares(now=True)[1] == 1
    of = figure(drifted, QualityMeasure.FIELD, "x")
    assert replace(of, keys=()).description == "field x"
