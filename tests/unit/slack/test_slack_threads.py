"""Slack messages besides an incident's own: replies, jobs, rollouts and the daily digest."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from lanes.ids import IncidentId, JobId
from lanes.promises.incident import (
    Handling,
    IncidentNews,
    IncidentState,
    Promise,
    Severity,
    SlackStep,
    find_news,
    next_step,
)
from lanes.report import incident as incident_page
from lanes.rollouts.rollout import Happened, HoldReason, LogEntry
from lanes.settling.listing import JobState, JobStatus
from lanes.slack.threads import (
    SlackMessage,
    digest,
    job_message,
    job_reply,
    picture,
    pointer,
    reply,
    rollout_message,
    rollout_reply,
)
from lanes.slack.wording import IncidentPages, message
from lanes.words import RolloutState
from tests.conftest import NOON, later
from tests.slack_standin import invalid, shown
from tests.unit.report.test_rollout_report import ROLLOUT
from tests.unit.slack.test_slack_wording import BRIEFING, HOSTILE, OPEN, OVER, TOLD, UI

SILENCED = replace(
    OPEN,
    handling=Handling.SILENCED,
    handled_by="ada",
    handled_why="a test",
    handled_at=NOON,
    handled_until=later(hours=2),
)

JOB = JobStatus(
    job_id=JobId(3),
    job="mine",
    workload="letters",
    state=JobState.OPEN,
    sent=None,
    received=200,
    waiting=150,
    answered=0,
    settled=40,
    failed=10,
    canceled=0,
    duplicates=None,
    refused=None,
    cost_usd=Decimal("1.5"),
    budget_usd=None,
    due_at=None,
    created_at=NOON,
    closed_at=None,
    done_at=None,
    failures={"no answer fits": 10},
)


def told(incident_change: dict[str, object], **post: object) -> IncidentNews | None:
    """Return the news, an hour after noon, of a post whose incident changed like this."""
    of = replace(TOLD, incident=replace(OPEN, **incident_change), **post)  # pyright: ignore[reportArgumentType]
    return find_news(of, later(hours=1))


def test_people_are_notified_when_an_incident_worsens_or_ends_and_not_of_a_new_figure() -> None:
    over = {"state": IncidentState.RESOLVED, "resolved_at": later(hours=1)}
    assert told({"severity": Severity.CRITICAL}) is IncidentNews.WORSE
    assert told(over) is IncidentNews.ENDED
    assert told({"value": 999}) is None
    assert told(over, posted_state=None) is None
    assert told({"severity": Severity.CRITICAL}, posted_severity=None) is None


def test_a_silenced_incident_is_not_posted_and_notifies_no_one_until_its_silence_ends() -> None:
    silent = replace(TOLD, incident=replace(SILENCED, severity=Severity.CRITICAL))
    untold = replace(silent, posted_state=None)
    assert find_news(silent, later(hours=1)) is None
    assert next_step(silent, edits=True, now=later(hours=1)) is SlackStep.EDIT
    assert next_step(untold, edits=True, now=later(hours=1)) is SlackStep.NOTHING
    assert next_step(untold, edits=True, now=later(hours=2)) is SlackStep.POST
    acknowledged = replace(silent.incident, handling=Handling.ACKNOWLEDGED)
    assert find_news(replace(silent, incident=acknowledged), later(hours=1)) is IncidentNews.WORSE


def test_a_message_is_edited_at_once_when_a_person_handles_its_incident() -> None:
    handled = replace(TOLD, incident=replace(SILENCED, handled_at=later(minutes=1)))
    assert next_step(handled, edits=True, now=later(minutes=1)) is SlackStep.EDIT
    assert (
        next_step(replace(handled, posted_at=later(minutes=1)), edits=True, now=later(minutes=2))
        is SlackStep.NOTHING
    )


def test_message_and_page_say_who_handles_an_incident_until_when_and_why() -> None:
    pages = IncidentPages(acknowledge="/v2/ack", silence="/v2/silence")
    read = shown(message(SILENCED, BRIEFING, pages, ui_url=UI).blocks)
    assert "Silenced until 2026-11-24 14:00 UTC by ada: a test" in read
    assert f"[Acknowledge] {UI}/v2/ack\n[Silence] {UI}/v2/silence" in read
    page = incident_page.render(SILENCED, BRIEFING, now=NOON)
    assert "| Silenced | until 2026-11-24 14:00 UTC by ada: a test |" in page
    over = shown(message(OVER, BRIEFING, pages, ui_url=UI).blocks)
    assert "[Silence]" not in over


def test_a_parent_incident_counts_and_names_the_incidents_that_it_explains() -> None:
    def named(number: int) -> list[str]:
        explains = [
            replace(OPEN, id=IncidentId(n), promise=Promise.REALTIME_SLOW, workload=f"w{n}")
            for n in range(number)
        ]
        said = message(OPEN, BRIEFING, explains=explains, ui_url=UI)
        assert invalid(said.blocks) is None
        return shown(said.blocks).splitlines()

    assert "Explains  10 other incidents:" in named(10)
    (listed,) = (line for line in named(12) if line.startswith("- w0: Real-time is slow"))
    assert listed.endswith("- w9: Real-time is slow - 2 more")
    assert not any(line.startswith("Explains") for line in named(0))


def test_replies_report_that_an_incident_worsened_ended_or_is_still_open() -> None:
    critical = replace(OPEN, severity=Severity.CRITICAL)
    assert reply(critical, IncidentNews.WORSE).text.startswith(
        ":red_circle: Critical now: Batch 41"
    )
    ended = reply(OVER, IncidentNews.ENDED).text
    assert ended == ":white_check_mark: Resolved after 60 min: Batch 41 came back."
    again = shown(reply(SILENCED, IncidentNews.AGAIN).blocks)
    assert again.startswith("Still open: Batch 41 has been open")
    assert " It was silenced until 2026-11-24 14:00 UTC by ada: a test." in again
    assert "told in <#C9>" in shown(pointer(critical, "C9").blocks)


def test_the_picture_of_a_rollout_shows_each_step_and_its_state() -> None:
    assert picture(replace(ROLLOUT, holds=HoldReason.INCONCLUSIVE)).splitlines() == [
        "✓ 1 █░░░░░░░░░    10 %",
        "▶ 2 █████░░░░░    50 %  holds: inconclusive",
        "· 3 ██████████   100 %",
    ]
    back = picture(replace(ROLLOUT, state=RolloutState.ROLLED_BACK)).splitlines()
    assert back[1] == "✗ 2 █████░░░░░    50 %  rolled back"
    done = picture(replace(ROLLOUT, step=2, state=RolloutState.FINISHED)).splitlines()
    assert [each[0] for each in done] == ["✓", "✓", "✓"]


def test_rollout_events_are_replies_and_an_approval_question_links_to_the_rollout_page() -> None:
    asked = LogEntry(Happened.APPROVAL_ASKED, 1, 5_000, "playbook", "every gate passed", NOON)
    read = shown(rollout_reply(ROLLOUT, asked, ui_url=UI).blocks)
    assert "Approval asked (step 2 of 3, 50 % to real-time) every gate passed (playbook)" in read
    assert f"[The rollout] {UI}/v2/artifacts/key/lanes-rollout-letters" in read
    held = replace(asked, event=Happened.HELD)
    assert "[" not in shown(rollout_reply(ROLLOUT, held, ui_url=UI).blocks)


def test_the_message_of_a_job_has_a_progress_bar_and_its_reply_says_why_items_failed() -> None:
    message = shown(job_message(JOB, NOON, ui_url=UI).blocks)
    assert f"{'█' * 10}{'░' * 30} 25 % no longer wait" in message
    assert f"[The job] {UI}/v2/artifacts/key/lanes-job-3-mine" in message
    reply = job_reply(JOB, NOON)
    assert reply.text == "All done: 50 of 200 items over (150 waiting, 40 settled, 10 failed)"
    assert "- 10 items failed: no answer fits" in shown(reply.blocks)


@pytest.mark.parametrize("said", [*HOSTILE, "x" * 100_000, "<" * 5_000])
def test_text_from_people_and_items_forms_no_mention_link_or_markup_in_any_message(
    said: str,
) -> None:
    incident = replace(
        SILENCED, workload=said, subject=said, sentence=said, handled_by=said, handled_why=said
    )
    job = replace(JOB, job=said, workload=said, failures={said: 10})
    moved = replace(ROLLOUT, consumer=said, started_by=said, why=said)
    entry = LogEntry(Happened.HELD, 0, 1_000, said, said, NOON)
    messages: list[SlackMessage] = [
        message(incident, explains=[incident] * 12, ui_url=UI),
        *(reply(incident, each) for each in IncidentNews),
        pointer(incident, "C1"),
        job_message(job, NOON, ui_url=UI),
        job_reply(job, NOON),
        rollout_message(moved, ui_url=UI),
        rollout_reply(moved, entry, ui_url=UI),
        digest([("Incidents", [said] * 11), (said[:60], [said])], NOON.date(), ui_url=UI),
    ]
    for each in messages:
        assert invalid(each.blocks) is None
        assert "<" not in each.text
        marked = json.dumps([block for block in each.blocks if block["type"] != "rich_text"])
        assert "<" not in marked.replace("<!date^", "")
        assert len(json.dumps(each.blocks)) < 40_000
