"""The artifact of a rollout: a headline with its state, and text of people that never becomes markup."""

import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from dataclasses import replace
from decimal import Decimal
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.promises.incident import Promise, Severity
from lanes.report import rollout_charts, rollout_plan
from lanes.report.charts import REALTIME, WIDTH
from lanes.report.rollout import Progress, bar, format_limit, headline, question, render
from lanes.rollouts.gates import (
    Gate,
    Judgement,
    Measurement,
    attach_other,
    combine,
    judge,
    judge_both,
)
from lanes.rollouts.plan import SplitTraffic, make
from lanes.rollouts.rollout import Happened, LogEntry, Rollout, ShadowsSpent
from lanes.routing.split import SplitRecord
from lanes.words import RolloutState, Verdict
from tests.conftest import NOON, later
from tests.rollouts import ERRORS, playbook, rollout_of, step
from tests.unit.report.test_report_sections import BREACH

ROLLOUT = rollout_of(
    playbook(step(10), step(50, approval=True), step(100)), consumer="desk", step=1, asked=1
)


def progress(
    state: RolloutState = RolloutState.RUNNING, *, answered: int = 5, why: str = "trial"
) -> Progress:
    gate = ROLLOUT.now_at.gates[0]
    of_gate = Measurement(gate.measure, 0.0, 100 * answered, 0)
    judged = [judge(gate, of_gate, alpha=ROLLOUT.playbook.gate_alpha)]
    log, splits = (
        [LogEntry(Happened.STARTED, 0, 1_000, "ada", why, NOON)],
        [SplitRecord(1_000, "ada", why, NOON)],
    )
    return Progress(
        replace(ROLLOUT, state=state), answered, judged, "every gate passed", log, splits, NOON
    )


def test_the_headline_states_the_share_the_step_and_the_state_of_a_rollout() -> None:
    assert headline(progress()) == "letters: 50 % to real-time, step 2 of 3, runs"
    assert headline(progress(RolloutState.WAITING_APPROVAL)).endswith("waits for approval")
    assert (
        headline(progress(RolloutState.ROLLED_BACK))
        == "letters: rolled back at step 2 of 3, back to 0 % to real-time"
    )
    assert headline(progress(RolloutState.FINISHED)) == "letters: finished at 50 % to real-time"


def test_a_dry_run_gate_is_marked_as_a_dry_run() -> None:
    dry = {"measure": "p95_s", "max": 3, "at_least": 5, "dry_run": True}
    tried = replace(ROLLOUT, playbook=playbook(step(20), step(50, ERRORS, dry), step(80)))
    shown = render(replace(progress(), rollout=tried))
    assert "- **error rate " in shown
    assert "- **p95, received to answered ≤\u00a03.0\u00a0s**, dry run: " in shown


def test_a_latency_gate_against_the_old_version_states_when_an_answer_is_slow() -> None:
    gate = Gate.model_validate({"measure": "p95_s", "max": 5, "worse_by": 0.02, "at_least": 5})
    assert (
        format_limit(gate, "the old version")
        == "over 5.0 s: ≤ 2.0 points worse than the old version"
    )
    new, old = (Measurement(gate.measure, 4.0, 900, slow) for slow in (90, 20))
    seen = attach_other(new, old, "the old version")
    wide = judge_both(gate, seen, gate, combine([seen, seen]), alpha=0.05)
    drawn = re.findall(r"base64,([^)]+)", render(replace(progress(), judged=[wide])))
    said = "p95 over 5.0 s: ≤ 2.0 points worse, whole rollout, failed: 3.9 to 12.1 points worse"
    assert said in b64decode(drawn[-1]).decode()


def test_the_cost_of_shadows_is_shown_with_their_budget() -> None:
    book = playbook(step(20), step(50), step(80), shadows={"share": 0.1, "budget_usd": 5})
    shadowing = replace(progress(), rollout=replace(ROLLOUT, playbook=book))
    spent = replace(shadowing, shadows=ShadowsSpent(120, Decimal("0.42")))
    assert "120 shadows sent down the other lane, for $0.420 of at most $5.00." in render(spent)
    assert "shadows" not in render(progress())


def asks(of: Judgement) -> Progress:
    return replace(progress(RolloutState.WAITING_APPROVAL), judged=[of])


def test_a_gate_shows_the_whole_rollout_next_to_the_step_and_names_the_rollout_if_it_decides() -> (
    None
):
    alpha = ROLLOUT.playbook.gate_alpha
    (gate,), (loosest,) = ROLLOUT.now_at.gates, ROLLOUT.playbook.whole_gates(1)

    def seen(wrong: int, samples: int) -> Measurement:
        return Measurement(gate.measure, wrong / samples, samples, wrong)

    for wrong, said in (
        (10, "✅ passed. "),
        (900, "❌ failed, whole rollout. Over the whole rollout, "),
    ):
        both = judge_both(gate, seen(0, 500), loosest, seen(wrong, 1_000), alpha=alpha)
        for shown in (render(replace(progress(), judged=[both])), question(asks(both))):
            shown = shown.replace("\u00a0", " ")
            assert f"- **error rate ≤ 10 %**: {said}" in shown
            assert " Bounds: 0 % to 2 %; whole rollout: " in shown
            assert max(line.count("|") for line in shown.splitlines()) <= 8
    assert "; whole rollout: " not in render(progress())


@pytest.mark.parametrize("known", [True, False])
def test_the_plan_shows_the_earliest_decision_of_each_gate_of_the_current_step(known: bool) -> None:
    traffic = SplitTraffic(700, 7.0) if known else SplitTraffic()
    planned = make(ROLLOUT.playbook, "letters", "desk", 0, traffic)
    plan = rollout_plan.section(planned, ROLLOUT)
    assert plan in render(replace(progress(), plan=plan))
    gates = [line for line in plan.splitlines() if "error\\_rate" in line]
    earliest = [line.replace("\u00a0", " ").split("|")[-2].strip() for line in gates]
    assert planned.steps[1].gates[0].fewest == 81
    assert earliest == (["-", "2026-11-26 02:52 UTC", "-"] if known else ["-"] * 3)
    assert max(line.count("|") for line in plan.splitlines()) <= 8


def test_the_split_chart_draws_the_share_of_each_log_entry_until_the_next_entry() -> None:
    at = [NOON, later(hours=6), later(hours=9)]
    log = [
        LogEntry(Happened.STEPPED, number, points, "ada", "trial", moment)
        for number, (points, moment) in enumerate(zip((500, 2_000, 5_000), at, strict=True))
    ]
    log.insert(1, LogEntry(Happened.HELD, 0, 500, "playbook", "unclear", later(hours=3)))
    drawn = ET.fromstring(rollout_charts.split(log, until=later(hours=12)))
    widths, heights = (
        [
            float(each.get(name, ""))
            for each in drawn.iter()
            if each.get("fill") == REALTIME and each.get(name)
        ]
        for name in ("width", "height")
    )
    assert [round(each / sum(widths), 2) for each in widths] == [0.5, 0.25, 0.25]
    assert heights == pytest.approx([4, 14, 36], abs=1)
    assert "no share was set yet" in rollout_charts.split([], until=NOON)


LIMITS: list[dict[str, object]] = [
    {"measure": "error_rate", "max": 0.05},
    {"measure": "deadlines_met", "worse_by": 0.02},
    {"measure": "p95_s", "max": 5, "worse_by": 0.02},
    {"measure": "cost_usd", "max": 0.002},
    {"measure": "saving", "min": 0.3},
    {"measure": "saving", "min": 0},
]


@given(
    st.sampled_from(LIMITS),
    st.floats(-10, 10) | st.just(-inf),
    st.floats(0, 10),
    st.integers(0, 50),
)
def test_a_gate_with_any_bounds_is_drawn_within_its_card(
    limit: dict[str, object], low: float, width: float, wrong: int
) -> None:
    gate = Gate.model_validate({**limit, "at_least": 20})
    seen = Measurement(gate.measure, 0.5, 50, wrong, other=Measurement(gate.measure, 0.5, 50, 25))
    judged = Judgement(gate, seen, Verdict.INCONCLUSIVE, "said", (low, max(low, 0.0) + width))
    drawn = ET.fromstring(rollout_charts.gates([judged], lambda each: each.explanation))
    for each in drawn.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(each.get(name, 0)) <= WIDTH
        assert float(each.get("x", 0)) + float(each.get("width", 0)) <= WIDTH


def test_the_chart_of_a_saving_gate_at_zero_has_room_for_a_loss() -> None:
    gate = Gate.model_validate({"measure": "saving", "min": 0, "at_least": 20})
    seen = Measurement(gate.measure, -0.1, 50)
    judged = Judgement(gate, seen, Verdict.INCONCLUSIVE, "said", (-0.2, 0.1))
    drawn = ET.fromstring(rollout_charts.gates([judged], lambda each: each.explanation))
    (line,) = (float(each.get("x1", "")) for each in drawn.iter() if each.tag.endswith("line"))
    (dot,) = (float(each.get("cx", "")) for each in drawn.iter() if each.get("cx"))
    assert dot < line == pytest.approx(WIDTH / 2)


@pytest.mark.parametrize(
    ("wrong", "verdict"), [(0, "passed"), (400, "failed"), (50, "inconclusive")]
)
def test_the_band_of_a_gate_is_on_one_side_of_its_limit_if_and_only_if_it_is_decided(
    wrong: int, verdict: str
) -> None:
    gate = Gate.model_validate({"measure": "error_rate", "max": 0.05, "at_least": 20})
    judged = judge(gate, Measurement(gate.measure, wrong / 1_000, 1_000, wrong), alpha=0.01)
    assert judged.verdict == verdict
    drawn = ET.fromstring(rollout_charts.gates([judged], lambda each: each.explanation))
    (line,) = (float(each.get("x1", "")) for each in drawn.iter() if each.tag.endswith("line"))
    band = [each for each in drawn.iter() if each.get("height") == "12"][1]
    left = float(band.get("x", ""))
    right = left + float(band.get("width", ""))
    sides = {"passed": right < line, "failed": line < left, "inconclusive": left < line < right}
    assert sides[verdict]


def test_the_gate_chart_says_if_no_gate_was_judged_yet() -> None:
    assert "no gate was judged yet" in rollout_charts.gates([], str)


def test_the_bar_counts_whole_steps_and_the_answered_part_of_the_current_step() -> None:
    assert bar(progress(answered=0)).count("█") == 7
    assert bar(progress(answered=5)).count("█") == 13


def test_the_artifact_shows_steps_gates_and_history_within_the_limits_of_the_interface() -> None:
    shown = render(progress(RolloutState.WAITING_APPROVAL))
    for part in ("waits for approval", "✅\u00a0passed", "started by ada", "### Split history"):
        assert part in shown
    assert max(line.count("|") for line in shown.splitlines()) <= 8
    assert len(shown.encode()) < 50_000


ABOVE = replace(
    ROLLOUT,
    playbook=playbook(step(5), step(20, approval=True), step(50, approval=True), step(100)),
    step=2,
    share_before=3_000,
)


def steps(rollout: Rollout, *log: LogEntry) -> list[str]:
    """Return the approval and the state of each step as the artifact's table shows them."""
    shown = render(replace(progress(), rollout=rollout, log=log))
    _, _, *rows = [
        line
        for line in shown[shown.index("### Steps") : shown.index("### Gates")].splitlines()
        if line[:1] == "|"
    ]
    return [" / ".join(each.strip() for each in line.split("|")[4:6]) for line in rows]


def test_steps_below_the_starting_share_are_shown_as_skipped() -> None:
    owed = replace(ABOVE, entered=False)
    assert steps(owed) == ["- / ⏭ skipped", "needed / ⏭ skipped", "needed / -", "- / -"]
    assert (
        headline(replace(progress(), rollout=owed))
        == "letters: 30 % to real-time, step 2 of 4, runs"
    )


def test_a_step_shows_its_approval_as_needed_waiting_or_given_by_a_person() -> None:
    asking = replace(ABOVE, entered=False, state=RolloutState.WAITING_APPROVAL, asked_at=NOON)
    assert steps(asking)[1:3] == ["✋ waiting since 12:00 UTC / ⏭ skipped", "needed / -"]
    yes = LogEntry(Happened.APPROVED, 1, 3_000, "bob", "fine", NOON)
    assert steps(ABOVE, yes)[1:3] == [
        "✅ approved by bob / ⏭ skipped",
        "needed / ▶ 5 of 5 answered",
    ]
    waiting = replace(ABOVE, state=RolloutState.WAITING_APPROVAL, asked_at=NOON)
    assert steps(waiting, yes)[2] == "✋ waiting since 12:00 UTC / ✋ waits for approval"
    # A rollout that began before skipped approvals were asked for.
    assert steps(ABOVE)[1] == "passed over / ⏭ skipped"


def test_the_question_explains_the_approval_of_a_skipped_step() -> None:
    asked = question(
        replace(
            progress(), rollout=replace(ABOVE, entered=False, state=RolloutState.WAITING_APPROVAL)
        )
    )
    assert "The share was past step 2, which asks for approval" in asked
    assert "Approve: 50 % go to real-time, if no critical incident is open." in asked
    assert "Decline, or leave it for 72 h: back to 30 % to real-time." in asked


def test_a_critical_incident_is_shown_on_the_form_and_on_the_page() -> None:
    incident = replace(
        BREACH,
        severity=Severity.CRITICAL,
        promise=Promise.REALTIME_SLOW,
        sentence="It is slow. <b>",
    )
    held = replace(progress(), hindrances=[incident])
    for shown in (question(held), render(held)):
        assert "Held by 1 critical incident where its traffic goes" in shown
        assert "- #7 Real-time is slow, since 12:00 UTC: It is slow. &lt;b&gt;" in shown


def test_text_that_people_wrote_is_shown_as_plain_text() -> None:
    shown = render(progress(why="<script>x</script> | [a](http://b)"))
    assert "<script>" not in shown
    assert "[a](http" not in shown


def test_the_question_states_the_effects_of_approving_and_declining() -> None:
    asked = question(progress(RolloutState.WAITING_APPROVAL))
    assert (
        "Approve: 100 % go to real-time, if the gates still pass and no critical incident is open."
        in asked
    )
    assert "Decline, or leave it for 72 h: back to 0 % to real-time." in asked


def test_the_form_never_breaks_a_line_within_a_limit_or_a_verdict() -> None:
    assert "- **error rate ≤\u00a010\u00a0%**: ✅\u00a0passed. 0 % of 500 samples" in question(
        progress(RolloutState.WAITING_APPROVAL)
    )
