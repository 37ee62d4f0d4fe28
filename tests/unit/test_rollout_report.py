"""A rollout's artifact: one line that says where it stands, and nothing that came from people acts as markup."""

from dataclasses import replace

from lanes.gates import Measurement, judge
from lanes.report.rollout import Progress, bar, headline, question, render
from lanes.rollout import Rollout
from lanes.store.rollouts import SetSplit, Told
from lanes.words import RolloutState
from tests.conftest import NOON
from tests.rollouts import playbook, step

ROLLOUT = Rollout(
    7, playbook(step(10), step(50, approval=True), step(100)), "letters", "desk", RolloutState.RUNNING, 1, NOON, 0, 0,
    None, 1, None, "ada", "trial", NOON, None, None,
)  # fmt: skip


def progress(state: RolloutState = RolloutState.RUNNING, *, answered: int = 5, why: str = "trial") -> Progress:
    gate = ROLLOUT.now_at.gates[0]
    judged = [judge(gate, Measurement(gate.measure, 0.0, answered, 0))]
    log, splits = [Told("started", 0, 1_000, "ada", why, NOON)], [SetSplit(1_000, "ada", why, NOON)]
    return Progress(replace(ROLLOUT, state=state), answered, judged, "every gate passed", log, splits, NOON)


def test_the_headline_says_where_it_stands() -> None:
    assert headline(progress()) == "letters: 50 % to real-time, step 2 of 3, runs"
    assert headline(progress(RolloutState.WAITING_APPROVAL)).endswith("waits for approval")
    assert headline(progress(RolloutState.ROLLED_BACK)) == "letters: rolled back at step 2 of 3, back to 0 % to real-time"
    assert headline(progress(RolloutState.FINISHED)) == "letters: finished at 50 % to real-time"


def test_the_bar_counts_whole_steps_and_the_answered_part_of_this_one() -> None:
    assert bar(progress(answered=0)).count("█") == 7
    assert bar(progress(answered=5)).count("█") == 13


def test_the_artifact_shows_steps_gates_and_history_within_the_tables_of_the_interface() -> None:
    shown = render(progress(RolloutState.WAITING_APPROVAL))
    for part in ("waits for approval", "✅ passed", "started by ada", "### Split history"):
        assert part in shown
    assert max(line.count("|") for line in shown.splitlines()) <= 8
    assert len(shown.encode()) < 50_000


def test_what_people_wrote_is_shown_as_text() -> None:
    shown = render(progress(why="<script>x</script> | [a](http://b)"))
    assert "<script>" not in shown
    assert "[a](http" not in shown


def test_the_question_says_what_a_yes_and_a_no_lead_to() -> None:
    asked = question(progress(RolloutState.WAITING_APPROVAL))
    assert "Approve: 100 % go to real-time, if the gates still pass. Do not approve: back to 0 %." in asked
