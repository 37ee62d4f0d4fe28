"""Playbooks: the shipped files, and the refusal of invalid playbooks with line and field."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.errors import PlaybookInvalid
from lanes.rollouts.gates import MEANS, Gate, Measure
from lanes.rollouts.playbook import Direction, parse
from lanes.statistics.shares import clean_samples
from lanes.words import Lane
from tests.rollouts import ERRORS
from tests.rollouts import playbook as book_of
from tests.rollouts import step as a_step

FILES = sorted((Path(__file__).resolve().parents[3] / "migrations" / "playbooks").glob("*.yaml"))
NAMED = {"new-version": Direction.VERSION}  # the others are named after their direction
GOOD = """\
name: trial
description: A trial.
direction: batch_to_realtime
steps:
- percent: 10
  hold: {items: 5}
  gates:
  - {measure: error_rate, max: 0.1, at_least: 5}
- percent: 50
  hold: {items: 5, at_most_minutes: 60}
  approval: true
  gates: [{measure: p95_s, max: 3, at_least: 5}]
on_failure: share_before
"""


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_the_shipped_playbooks_are_valid(file: Path) -> None:
    playbook = parse(file.stem, file.read_text())
    assert playbook.direction == NAMED.get(file.stem, file.stem.replace("-", "_"))
    assert any(step.approval for step in playbook.steps)
    for step in playbook.steps:
        assert all(gate.at_least <= step.hold.items for gate in step.gates)


def test_each_direction_has_a_shipped_playbook() -> None:
    found = {parse(file.stem, file.read_text()).direction for file in FILES}
    assert found == set(Direction)
    assert {each.receiving for each in Direction} == {*Lane, None}


def test_a_version_playbook_goes_up_to_100_percent_without_shadows_or_a_final_comparison() -> None:
    up = GOOD.replace("batch_to_realtime", "version").replace("percent: 50", "percent: 100")
    assert parse("trial", up).direction.goes_on(10, 100)
    with pytest.raises(PlaybookInvalid, match="the last step of a new version is 100"):
        parse("trial", up.replace("percent: 100", "percent: 99"))
    with pytest.raises(PlaybookInvalid, match="does not go further version than 10"):
        parse("trial", up.replace("percent: 100", "percent: 5"))
    with pytest.raises(PlaybookInvalid, match="a new version has no `shadows`"):
        parse("trial", up + "shadows: {share: 0.1, budget_usd: 1}\n")
    worse = up.replace("p95_s, max: 3", "error_rate, worse_by: 0.1")
    with pytest.raises(PlaybookInvalid, match="compares with the old version, which gets no items"):
        parse("trial", worse)
    with pytest.raises(PlaybookInvalid, match="compares with the old version, which gets no items"):
        parse("trial", up.replace("max: 3", "max: 3, worse_by: 0.1"))
    slower = up.replace("error_rate, max: 0.1", "p95_s, max: 3, worse_by: 0.1")
    (gate,) = parse("trial", slower).steps[0].gates
    assert (gate.max, gate.limit, gate.tolerance, gate.compares) == (3, 0.1, 0.1, True)


def test_a_rollout_begins_with_the_first_step_that_does_not_lead_back() -> None:
    up = parse("trial", GOOD)
    assert [up.first_step(share) for share in (0, 1_000, 1_001, 5_000, 5_001)] == [0, 0, 1, 1, None]
    down = parse(
        "trial",
        GOOD.replace("batch_to_realtime", "realtime_to_batch").replace(
            "percent: 10", "percent: 90"
        ),
    )
    assert [down.first_step(share) for share in (10_000, 9_000, 6_000, 5_000, 100)] == [
        0,
        0,
        1,
        1,
        None,
    ]


def test_dry_run_gates_use_no_alpha_and_every_step_needs_a_deciding_gate() -> None:
    tried = "\n  - {measure: p95_s, max: 3, at_least: 5, dry_run: true}"
    dry = GOOD.replace("at_least: 5}", f"at_least: 5}}{tried}", 1)
    assert len(parse("trial", dry).steps[0].gates) == 2
    assert parse("trial", dry).gate_alpha == parse("trial", GOOD).gate_alpha
    with pytest.raises(PlaybookInvalid, match=r"steps\.0\.gates: a step needs a gate"):
        parse("trial", GOOD.replace("at_least: 5}", "at_least: 5, dry_run: true}", 1))
    unprovable = dry.replace("p95_s, max: 3", "deadlines_met, min: 1", 1)
    assert parse("trial", unprovable).steps[0].gates[1].tolerance == 0


def test_an_approval_expires_after_three_days_unless_the_playbook_sets_another_time() -> None:
    assert parse("trial", GOOD).approval_within_hours == 72
    assert parse("trial", GOOD + "approval_within_hours: 4\n").approval_within_hours == 4
    with pytest.raises(PlaybookInvalid, match="line 14, approval_within_hours: "):
        parse("trial", GOOD + "approval_within_hours: 0\n")


def test_the_owed_approval_is_the_last_approval_before_the_first_step() -> None:
    book = parse(
        "batch-to-realtime",
        next(file for file in FILES if file.stem == "batch-to-realtime").read_text(),
    )
    assert [book.find_owed_step(first) for first in range(4)] == [None, None, 1, 1]


def test_alpha_is_divided_over_the_gates_of_all_steps() -> None:
    book = parse("trial", GOOD)
    assert (book.alpha, book.gate_alpha) == (0.05, 0.025)
    strict = parse("trial", GOOD + "alpha: 0.01\n")
    assert strict.gate_alpha == 0.005
    for refused in ("0.0", "0.5", "no"):
        with pytest.raises(PlaybookInvalid, match="line 14, alpha: "):
            parse("trial", GOOD + f"alpha: {refused}\n")


def wholes(*gates_of_steps: list[dict[str, Any]]) -> list[list[Gate]]:
    """Return the gates by which each of these steps judges the whole rollout."""
    percents = range(10, 100, 10)
    book = book_of(
        *(a_step(at, *gates) for at, gates in zip(percents, gates_of_steps, strict=False))
    )
    return [book.whole_gates(number) for number in range(len(gates_of_steps))]


def test_the_whole_rollout_is_judged_by_the_loosest_limit_of_each_gate_common_to_all_steps() -> (
    None
):
    strict, loose = {**ERRORS, "max": 0.03}, {**ERRORS, "max": 0.05, "at_least": 30}
    slow = {"measure": "p95_s", "max": 5, "at_least": 5}
    met = {"measure": "deadlines_met", "min": 0.9, "at_least": 5}
    none, second, third = wholes([loose, slow, met], [strict, met | {"min": 0.8}], [strict, slow])
    assert none == []
    assert [(each.limit, each.at_least) for each in second] == [(0.05, 5), (0.8, 5)]
    assert [(each.measure, each.limit) for each in third] == [(Measure.ERROR_RATE, 0.05)]


def test_a_gate_of_another_kind_or_a_dry_run_gate_is_judged_by_its_own_step_only() -> None:
    worse = {"measure": "error_rate", "worse_by": 0.02, "at_least": 5}
    none, both, mixed = wholes([worse], [worse | {"worse_by": 0.01}], [ERRORS])
    assert ([each.worse_by for each in both], none, mixed) == ([0.02], [], [])
    slower = {"measure": "p95_s", "max": 5, "worse_by": 0.02, "at_least": 5}
    others = slower | {"worse_by": 0.05}, slower | {"max": 6}
    book = book_of(
        *(a_step(at, each) for at, each in zip((5, 10, 20), (slower, *others), strict=True)),
        a_step(100),
        direction="version",
    )
    assert book.whole_gates(1) == [Gate.model_validate(others[0])]
    assert book.whole_gates(2) == []
    dry = {"measure": "p95_s", "max": 5, "at_least": 5, "dry_run": True}
    deciding = dry | {"dry_run": False}
    assert wholes([ERRORS, dry], [ERRORS, deciding])[1] == [Gate.model_validate(ERRORS)]
    both, tried = wholes([ERRORS, deciding], [ERRORS, dry])
    assert both == []
    assert [each.dry_run for each in tried] == [False, True]


def test_a_gate_that_tolerates_nothing_is_refused_because_it_never_passes() -> None:
    never = "error_rate tolerates nothing, and no number of samples proves that"
    with pytest.raises(PlaybookInvalid, match=rf"line 8, steps\.0\.gates\.0: {never}"):
        parse("trial", GOOD.replace("max: 0.1", "max: 0"))
    met = GOOD.replace("{measure: p95_s, max: 3", "{measure: deadlines_met, min: 1")
    with pytest.raises(PlaybookInvalid, match=r"line 12, steps\.1\.gates\.0: deadlines_met"):
        parse("trial", met)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_the_shipped_playbooks_state_the_number_of_items_that_their_gates_need(file: Path) -> None:
    playbook, said = parse(file.stem, file.read_text()), file.read_text()
    for step in playbook.steps:
        shares = [gate for gate in step.gates if gate.measure not in MEANS]
        fewest = [clean_samples(gate.tolerance, alpha=playbook.gate_alpha) for gate in shares]
        assert all(f"after {each}" in said for each in fewest)
        assert 0.9 * max(fewest) <= step.hold.items <= max(fewest)


@pytest.mark.slow
@given(st.integers(0, 10_000))
def test_no_step_of_a_rollout_moves_against_its_direction(share: int) -> None:
    for file in FILES:
        playbook = parse(file.stem, file.read_text())
        first = playbook.first_step(share)
        points = (
            [share, *(step.basis_points for step in playbook.steps[first:])]
            if first is not None
            else []
        )
        assert points == sorted(points, reverse=playbook.direction is Direction.REALTIME_TO_BATCH)


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("items: 5}", "items: five}", "line 6, steps.0.hold.items: "),
        ("items: 5}", "items: true}", "line 6, steps.0.hold.items: "),
        (
            "items: 5}",
            "items: 5, seconds: 3}",
            "line 6, steps.0.hold.seconds: no field has that name",
        ),
        ("percent: 50", "percent: 150", "line 9, steps.1.percent: "),
        ("percent: 50", "percent: 5", "line 9, steps.1.percent: 5 does not go further"),
        ("max: 0.1", "max: 10", "line 8, steps.0.gates.0: max: error_rate is a share"),
        ("max: 0.1", "min: 0.1", "line 8, steps.0.gates.0: error_rate is limited by `max`"),
        ("max: 0.1", "worse_by: 0", "line 8, steps.0.gates.0.worse_by: "),
        (
            "max: 0.1",
            "max: 0.1, worse_by: 0.1",
            "line 8, steps.0.gates.0: error_rate is limited by `max` or by `worse_by`",
        ),
        (
            "max: 3",
            "worse_by: 0.3",
            "line 12, steps.1.gates.0: p95_s is limited by `max` (seconds), alone or with `worse_by`, and by nothing else",
        ),
        (
            "max: 3",
            "max: 3, worse_by: 0.3",
            "line 12, steps.1.gates: p95_s is compared with another version only",
        ),
        (
            "error_rate, max: 0.1",
            "cost_usd, worse_by: 0.1",
            "line 8, steps.0.gates.0: cost_usd is not compared with the other lane; write `max`",
        ),
        (
            "gates: [{measure: p95_s, max: 3, at_least: 5}]",
            "gates: [{measure: error_rate, worse_by: 0.02, at_least: 5}]\n- {percent: 100, hold: {items: 5}, gates: "
            "[{measure: error_rate, worse_by: 0.02, at_least: 5}]}",
            "line 13, steps.2.gates: `worse_by` compares with the other lane, which gets no items at 100 %",
        ),
        ("error_rate", "mistakes", "line 8, steps.0.gates.0.measure: "),
        ("approval: true", "approval: maybe", "line 11, steps.1.approval: "),
        ("approval: true", "on: true", "line 11, steps.1.on: this key is not a text in YAML"),
        ("approval: true", "percent: 3", "line 11, steps.1.percent: the field is there twice"),
        ("share_before", "stay", "line 13, on_failure: "),
        ("on_failure: share_before", "", "line 1, on_failure: the field is missing"),
        (
            "name: trial",
            "name: other",
            'line 1, name: "other" is not the name of its file or block, "trial"',
        ),
        ("[{measure: p95_s", "[{{measure: p95_s", "line 12"),
        (GOOD, "", "line 1: a playbook is a mapping"),
        (GOOD, "- a\n- b\n", "line 1: a playbook is a mapping"),
        (GOOD, "a: &a [*a]\n", "line 1: an alias stands within what it refers to; remove it"),
        (GOOD, "name: \x00", "it cannot be read as YAML"),
        (GOOD, GOOD + "---\nname: second\n", "line 14"),
    ],
)
def test_an_invalid_playbook_is_refused_with_the_line_and_the_field(
    wrong: str, right: str, said: str
) -> None:
    assert wrong in GOOD
    with pytest.raises(PlaybookInvalid) as refused:
        parse("trial", GOOD.replace(wrong, right, 1))
    assert said in str(refused.value)
    assert str(refused.value).startswith('playbook "trial" cannot be followed: ')


def test_an_agreement_gate_is_refused_for_items_that_go_to_batch() -> None:
    down = GOOD.replace("batch_to_realtime", "realtime_to_batch").replace(
        "percent: 10", "percent: 90"
    )
    with pytest.raises(PlaybookInvalid, match=r"line 12, steps\.1\.gates: agreement"):
        parse("trial", down.replace("{measure: p95_s, max: 3, ", "{measure: agreement, min: 0.9, "))


SHADOWS = "shadows: {share: 0.1, budget_usd: 5}\nsteps:"
AGREEMENT = "{measure: agreement, min: 0.9, at_least: 5}"
WORSE = "{measure: accuracy, worse_by: 0.05, at_least: 5}"


def test_shadows_allow_agreement_and_accuracy_gates_towards_batch_and_at_both_ends() -> None:
    down = GOOD.replace("batch_to_realtime", "realtime_to_batch").replace(
        "percent: 10", "percent: 100"
    )
    first = "{measure: error_rate, max: 0.1, at_least: 5}"
    last = "{measure: p95_s, max: 3, at_least: 5}"
    both = down.replace(first, AGREEMENT).replace("percent: 50", "percent: 0").replace(last, WORSE)
    with pytest.raises(PlaybookInvalid, match="`shadows`"):
        parse("trial", both)
    paired = parse("trial", both.replace("steps:", SHADOWS))
    assert [paired.judges_pairs(step.gates[0]) for step in paired.steps] == [True, True]
    assert paired.confirming is None
    with pytest.raises(PlaybookInvalid) as told:
        parse("trial", down.replace("steps:", SHADOWS))
    assert str(told.value).endswith(
        "line 8, steps.0.gates: error_rate cannot be judged at 100 %, where the split sends the lane no items: before the "
        "first item moves, only agreement and accuracy by `shadows` are judged"
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("shadows: {share: 1.5, budget_usd: 5}", r"line 4, shadows\.share: "),
        ("shadows: {share: 0.1}", r"line 4, shadows\.budget_usd: the field is missing"),
        ("before: {days: 7}", "line 4, before: say what must be true before"),
        (
            "before: {gates: [{measure: saving, min: 0.2, at_least: 5}]}",
            r"line 4, before\.gates: saving cannot be judged before the rollout",
        ),
        (
            "before: {gates: [{measure: accuracy, worse_by: 0.2, at_least: 5}]}",
            r"line 4, before\.gates: `worse_by` cannot be judged before the rollout",
        ),
        (
            "before: {gates: [{measure: error_rate, max: 0, at_least: 5}]}",
            r"line 4, before\.gates\.0: error_rate tolerates nothing",
        ),
    ],
)
def test_invalid_shadows_and_preconditions_are_refused_with_the_line(wrong: str, told: str) -> None:
    with pytest.raises(PlaybookInvalid, match=told):
        parse("trial", GOOD.replace("steps:", f"{wrong}\nsteps:"))


def test_gates_before_a_rollout_use_their_part_of_alpha() -> None:
    gate = "{measure: error_rate, max: 0.1, at_least: 5}"
    before = GOOD.replace("steps:", f"before: {{batches: 3, gates: [{gate}]}}\nsteps:")
    assert parse("trial", before).gate_alpha == pytest.approx(0.05 / 3)


@given(st.text(max_size=200))
def test_arbitrary_text_is_refused_as_an_invalid_playbook(text: str) -> None:
    with pytest.raises(PlaybookInvalid):
        parse("trial", text)
