"""Replays: the changes that they would make, the decisions that they allow, and their artifact for operators."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.errors import ActionRefused
from lanes.ids import GenerationId, VersionId
from lanes.provider.requests import Question, parameters
from lanes.report import replay as report
from lanes.rollouts.replays import (
    EXAMPLES_OF_A_KIND,
    Answers,
    Diff,
    Generation,
    build_call_parts,
    check_demotable,
    check_droppable,
    check_promotable,
    diff,
)
from lanes.words import Lane, ReplayState
from tests.conftest import NOON
from tests.examples import SCHEMA, version

COMPLETE = Generation(
    GenerationId(7),
    "letters",
    2,
    VersionId(11),
    3,
    ReplayState.COMPLETE,
    1,
    40,
    40,
    38,
    "ada",
    "better prompt",
    NOON,
)
OUTPUTS = st.dictionaries(
    st.sampled_from(["category", "note", "n"]), st.sampled_from(["a", "b", 1, 1.0, True, None])
)
ANSWERS = st.lists(
    st.builds(Answers, st.text(min_size=1, max_size=5), OUTPUTS, OUTPUTS, st.none() | OUTPUTS),
    max_size=30,
)


def answers(key: str, now: Any, then: Any, expected: dict[str, Any] | None = None) -> Answers:
    return Answers(key, {"category": now, "note": "x"}, {"category": then, "note": "x"}, expected)


def test_a_diff_counts_the_items_that_would_change_and_names_their_fields() -> None:
    found = diff([answers("k1", "a", "b"), answers("k2", "a", "a")])
    assert (found.items, found.differing, found.share, found.fields) == (2, 1, 0.5, {"category": 1})
    (kind,) = found.kinds
    assert (kind.field_name, kind.change, kind.items) == ("category", "", 1)
    assert [each.key for each in kind.examples] == ["k1"]


CLOSED = {"properties": {"category": {"enum": ["a", "b", "c"]}, "note": {"type": "string"}}}


def test_a_diff_separates_the_kinds_of_change_of_a_field_with_an_enum() -> None:
    given_answers = [answers(f"k{n}", "a", "b") for n in range(5)] + [answers("m", "b", "c")]
    note = Answers("n", {"category": "a", "note": "x"}, {"category": "a", "note": "y"})
    found = diff([*given_answers, note], (), CLOSED)
    kinds = [(of.field_name, of.change, of.items, len(of.examples)) for of in found.kinds]
    assert kinds == [
        ("category", "a → b", 5, EXAMPLES_OF_A_KIND),
        ("category", "b → c", 1, 1),
        ("note", "", 1, 1),
    ]


def test_classes_count_their_own_items_and_labels() -> None:
    right = {"category": "b"}
    given_answers = [
        answers("1", "a", "b", right),
        answers("2", "a", "a"),
        answers("3", "b", "a", right),
    ]
    found = diff(given_answers, (), CLOSED)
    classes = {name: (of.items, of.changed) for name, of in found.classes.items()}
    assert (found.class_field, classes) == ("category", {"a": (2, 1), "b": (1, 1)})
    labeled = found.classes["b"].agreement
    assert (labeled.labels, labeled.only_current, labeled.only_replayed) == (2, 1, 1)


def test_the_bounds_of_the_gain_exclude_zero_only_with_enough_labels() -> None:
    few = diff([answers(str(n), "a", "b", {"category": "b"}) for n in range(3)])
    many = diff([answers(str(n), "a", "b", {"category": "b"}) for n in range(60)])
    (low_of_few, _), (low, high) = (each.agreement["category"].gain for each in (few, many))
    assert low_of_few < 0 < low <= high <= 1


def test_only_the_compared_fields_make_an_item_differ_but_every_field_is_counted() -> None:
    found = diff([answers("k", "a", "b")], ["note"])
    assert (found.differing, found.fields, found.kinds) == (0, {"category": 1}, [])


def test_labels_are_compared_with_both_the_current_and_the_replayed_answers() -> None:
    right = {"category": "b"}
    found = diff(
        [
            answers("k1", "a", "b", right),
            answers("k2", "b", "b", right),
            answers("k3", "b", "a", right),
        ]
    )
    tally = found.agreement["category"]
    assert (tally.labels, tally.current_right, tally.replayed_right) == (3, 2, 2)


def test_an_empty_diff_has_no_share() -> None:
    assert diff([]).share is None


@given(ANSWERS)
def test_a_diff_of_equal_answers_is_empty_and_all_counts_stay_within_bounds(
    given_answers: list[Answers],
) -> None:
    same = diff([replace(each, replayed=each.current) for each in given_answers])
    assert (same.differing, same.fields, same.kinds) == (0, {}, [])
    found = diff(given_answers)
    assert found.items == len(given_answers)
    assert found.differing <= found.items
    assert all(0 < changed <= found.differing for changed in found.fields.values())
    assert sum(of.items for of in found.kinds) == sum(found.fields.values())
    assert all(len(of.examples) == min(of.items, EXAMPLES_OF_A_KIND) for of in found.kinds)
    assert all(max(t.current_right, t.replayed_right) <= t.labels for t in found.agreement.values())


@pytest.mark.parametrize("state", [ReplayState.COMPLETE, ReplayState.DEMOTED])
def test_a_complete_or_demoted_replay_may_be_promoted(state: ReplayState) -> None:
    check_promotable(replace(COMPLETE, state=state), 0)


@pytest.mark.parametrize(
    ("changed", "open_work", "reason"),
    [
        ({"state": ReplayState.RUNNING}, 3, r"open work \(3 items\)"),
        ({"state": ReplayState.RUNNING, "cursor_position": 20}, 0, "has not read its whole range"),
        ({"state": ReplayState.PROMOTED}, 0, "is promoted"),
        ({"state": ReplayState.DROPPED, "cursor_position": 20}, 2, "is dropped"),
    ],
)
def test_any_other_replay_is_not_promoted_and_the_error_states_the_reason(
    changed: dict[str, Any], open_work: int, reason: str
) -> None:
    with pytest.raises(ActionRefused, match=reason):
        check_promotable(replace(COMPLETE, **changed), open_work)


@pytest.mark.parametrize(
    "state", [state for state in ReplayState if state is not ReplayState.PROMOTED]
)
def test_only_a_promoted_replay_may_be_demoted(state: ReplayState) -> None:
    with pytest.raises(ActionRefused, match=f"is {state}"):
        check_demotable(replace(COMPLETE, state=state), None)
    check_demotable(replace(COMPLETE, state=ReplayState.PROMOTED), None)


def test_a_replay_that_was_promoted_before_another_one_cannot_be_demoted() -> None:
    with pytest.raises(ActionRefused, match="generation 5 was promoted after"):
        check_demotable(replace(COMPLETE, state=ReplayState.PROMOTED), 5)


@pytest.mark.parametrize("state", [ReplayState.PROMOTED, ReplayState.DROPPED])
def test_a_promoted_or_dropped_replay_cannot_be_dropped(state: ReplayState) -> None:
    with pytest.raises(ActionRefused):
        check_droppable(replace(COMPLETE, state=state))
    check_droppable(COMPLETE)


def test_the_artifact_shows_the_changes_and_the_next_step() -> None:
    found = diff([answers("k1", "a", "b", {"category": "b"}), answers("k2", "a", "a")])
    assert (
        report.headline(COMPLETE, found)
        == "Generation 2, version 3: complete, 50 % of 2 items would change"
    )
    said = report.render(COMPLETE, found).replace("\u00a0", " ")
    assert "`lanes promote letters`" in said
    assert (
        "| category | 1 | 50 % (0.8 % to 99.2 %) | 1 | 0 % | 100 % | +100 (-97 to +100) |" in said
    )
    assert '| category | another value | 1 | k1 | {"category": "a"} | {"category": "b"} |' in said
    assert "![50 % of 2 items would change, by class and by label](data:image/svg+xml" in said


@pytest.mark.parametrize("state", list(ReplayState))
def test_an_empty_diff_has_an_artifact_in_every_state(state: ReplayState) -> None:
    of = replace(COMPLETE, state=state)
    assert report.headline(of, Diff()).endswith("nothing answered yet")
    assert "letters" in report.render(of, Diff())


def test_hostile_text_stays_within_its_cell_and_a_huge_artifact_below_its_bound() -> None:
    hostile = "| [x](http://evil) <b> " + "é|" * 5_000
    found = diff(
        [Answers(f"{n} {hostile}", {"c": hostile + "a"}, {"c": hostile + "b"}) for n in range(30)]
    )
    said = report.render(replace(COMPLETE, why=hostile), found)
    assert len(said.encode()) < report.MOST_BYTES
    assert "<b>" not in said
    assert "[x](http://" not in said
    assert "\\[x\\]" in said


@pytest.mark.parametrize("lane", Lane)
def test_two_versions_have_equal_call_parts_if_and_only_if_their_requests_are_equal(
    lane: Lane,
) -> None:
    others: dict[str, Any] = {
        "instructions": "Sort.",
        "output_schema": {**SCHEMA, "required": []},
        "realtime_model": "claude-opus-5-5",
        "batch_model": "claude-opus-5-5",
        "max_output_tokens": 77,
        "patience_s": 5,
        "buffer_s": 1,
        "mode": "lambda",
        "history_items": 4,
        "split_percent": 3,
    }
    asked = [Question("", {"text": "k"})]
    plain = version()
    for name, value in others.items():
        changed = version(**{name: value})
        same = parameters(changed, lane, asked) == parameters(plain, lane, asked)
        assert same == (build_call_parts(changed, lane) == build_call_parts(plain, lane)), name
