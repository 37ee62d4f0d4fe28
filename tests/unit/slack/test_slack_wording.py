"""The wording of an incident's Slack message, and when a message is edited."""

import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import IncidentId
from lanes.promises.briefing import MOST_CAUSES, Briefing, Cause, SampleItem, Stake
from lanes.promises.incident import (
    TERMS,
    IncidentState,
    Promise,
    Severity,
    SlackPost,
    SlackStep,
    delay_after,
    next_step,
)
from lanes.promises.remedy import commands
from lanes.report import incident as incident_page
from lanes.slack.wording import IncidentPages, escape, message, trial
from tests.conftest import NOON, later
from tests.examples import incident_of
from tests.slack_standin import invalid, rich_texts, shown

UI = "http://prefect.example"
OPEN = incident_of(
    Promise.BATCH_SLOW,
    "tickets",
    "batch 41",
    uid="0199-uid",
    value=180,
    limit_value=120,
    samples=1,
    unit="minutes",
    sentence="Batch 41 has been open for 3.0 h; 2.0 h were promised.",
)
OVER = replace(
    OPEN, state=IncidentState.RESOLVED, resolved_at=later(hours=1), sentence="Batch 41 came back."
)
BRIEFING = Briefing(
    causes=(Cause(error="it expired", times=12), Cause(error="no credit")),
    counted_over="40 attempts of the last 24 h",
    more=3,
    stake=Stake(unanswered=7, overdue=2, due_at=later(hours=1), uncorrected=1),
    trend="rising: 3.0 h, from 2.0 h before",
    sample=SampleItem(workload="tickets", key="k 1"),
    flow_run_id=UUID(int=5),
)
PAGES = IncidentPages(artifact="/v2/artifacts/artifact/6", form="/v2/deployments/deployment/7/run")
TOLD = SlackPost(
    replace(OPEN, updated_at=later(minutes=-2)),
    "C1",
    "1.2",
    IncidentState.OPEN,
    Severity.WARNING,
    NOON,
)


def test_an_open_incident_states_its_promise_subject_figures_start_and_advice() -> None:
    said = json.dumps(message(OPEN, ui_url=UI).blocks, ensure_ascii=False)
    figures = (
        "Batch runs too long: tickets",
        "batch 41",
        "3.0 h (limit 2.0 h)",
        "2026-11-24 12:00 UTC",
    )
    for part in (*figures, "What to do", f"{UI}/v2/runs?tags=batch", "incident 7"):
        assert part in said


def test_a_resolved_incident_starts_with_resolved_and_says_how_long_it_lasted() -> None:
    said = message(OVER, ui_url=UI)
    assert said.text.startswith(":white_check_mark: Resolved: Batch runs too long: tickets")
    assert "60 min" in json.dumps(said.blocks)
    assert "Batch 41 came back." in json.dumps(said.blocks)
    assert "3.0 h" not in json.dumps(
        said.blocks
    )  # the last bad figure next to the resolution would mislead
    assert "What to do" not in json.dumps(said.blocks)


def test_an_incident_that_another_incident_explained_names_that_incident() -> None:
    said = json.dumps(message(replace(OPEN, parent_id=IncidentId(5)), ui_url=UI).blocks)
    assert "Lanes incident 7 because of incident 5" in said
    assert "because" not in json.dumps(message(OPEN, ui_url=UI).blocks)


def test_no_advice_says_that_something_is_lost() -> None:
    for terms in TERMS.values():
        assert "lost" not in terms.advice


def test_the_metadata_carries_the_incidents_id() -> None:
    payload = message(OPEN, ui_url=UI).metadata["event_payload"]
    assert (payload["incident_id"], payload["uid"]) == (7, "0199-uid")


@pytest.mark.parametrize("promise", Promise)
def test_every_promise_has_a_message_that_slack_accepts(promise: Promise) -> None:
    for incident in (OPEN, OVER):
        assert invalid(message(replace(incident, promise=promise), ui_url=UI).blocks) is None
    assert invalid(trial(NOON, ui_url=UI).blocks) is None


@given(st.text(max_size=300), st.text(max_size=2000))
def test_text_from_outside_cannot_mention_link_or_break_the_message(
    workload: str, sentence: str
) -> None:
    said = message(replace(OPEN, workload=workload, subject=workload, sentence=sentence), ui_url=UI)
    assert invalid(said.blocks) is None
    assert "<" not in escape(sentence)
    assert ">" not in escape(sentence)
    assert said.text.count("<") == 0


def test_an_unposted_incident_is_posted_and_a_posted_one_is_left_alone() -> None:
    assert next_step(SlackPost(OPEN), edits=True, now=NOON) is SlackStep.POST
    assert next_step(SlackPost(OVER), edits=True, now=NOON) is SlackStep.POST
    assert next_step(TOLD, edits=True, now=later(hours=9)) is SlackStep.NOTHING


def test_a_resolution_is_an_edit_with_a_bot_and_a_second_message_with_a_webhook() -> None:
    ended = replace(TOLD, incident=OVER)
    assert next_step(ended, edits=True, now=NOON) is SlackStep.EDIT
    assert next_step(replace(ended, ts=None), edits=False, now=NOON) is SlackStep.POST
    assert (
        next_step(replace(ended, posted_state=IncidentState.RESOLVED), edits=True, now=NOON)
        is SlackStep.NOTHING
    )


def test_a_message_is_edited_at_once_if_its_incident_worsens_and_rarely_for_a_figure_alone() -> (
    None
):
    worse = replace(TOLD, incident=replace(OPEN, severity=Severity.CRITICAL))
    moved = replace(TOLD, incident=replace(OPEN, value=OPEN.value + 1, updated_at=later(minutes=2)))
    assert next_step(worse, edits=True, now=NOON) is SlackStep.EDIT
    assert next_step(moved, edits=True, now=later(minutes=4)) is SlackStep.NOTHING
    assert next_step(moved, edits=True, now=later(minutes=5)) is SlackStep.EDIT
    assert next_step(worse, edits=False, now=NOON) is SlackStep.NOTHING


def test_a_message_with_unchanged_figures_is_not_edited_again() -> None:
    stands = replace(TOLD, incident=replace(OPEN, updated_at=later(minutes=-2)))
    assert next_step(stands, edits=True, now=later(hours=1)) is SlackStep.NOTHING
    assert (
        next_step(replace(stands, posted_at=later(minutes=-2)), edits=True, now=later(hours=1))
        is SlackStep.EDIT
    )


def test_failed_attempts_back_off_up_to_ten_minutes_or_for_as_long_as_slack_asks() -> None:
    rests = [delay_after(n).total_seconds() for n in range(1, 12)]
    assert rests[:3] == [5, 10, 20]
    assert rests[-1] == 600
    assert delay_after(1, retry_after_s=90) == timedelta(seconds=90)


def test_every_title_fits_a_header_with_the_longest_workload_name() -> None:
    for promise in TERMS:
        incident = replace(OVER, promise=promise, workload="&" * 63)
        assert len(message(incident, ui_url=UI).blocks[0]["text"]["text"]) <= 150


@pytest.mark.parametrize("promise", Promise)
def test_a_message_and_its_page_show_whole_commands_for_the_longest_workload_name(
    promise: Promise,
) -> None:
    subject = "version 2147483647" if promise is Promise.QUALITY_DRIFT else "month budget of Anna"
    incident = replace(OPEN, promise=promise, workload="w" * 63, subject=subject)
    texts = [each for block in message(incident, ui_url=UI).blocks for each in rich_texts(block)]
    page = incident_page.render(incident, BRIEFING, now=NOON)
    for each in map(plain_line, commands(incident)):
        assert each in "\n".join(texts)
        assert f"    {each}\n" in f"{page}\n"


def plain_line(command: str) -> str:
    """Return the command with single spaces, as messages and pages show it."""
    return " ".join(command.split())


def test_a_message_states_the_causes_the_stake_the_trend_and_the_links() -> None:
    read = shown(message(OPEN, BRIEFING, PAGES, ui_url=f"{UI}/").blocks)
    for part in (
        "- 12x it expired - no credit - 3x other errors",
        "in 40 attempts of the last 24 h",
        "*Trend*\nRising: 3.0 h, from 2.0 h before",
        "7 unanswered items, 2 of them overdue; the nearest is due <!date^1795525200^",
        "; 1 provisional answer uncorrected",
        "lanes explain tickets 'k 1'",
        f"[Open the run] {UI}/v2/runs/flow-run/{UUID(int=5)}",
        f"[Details] {UI}/v2/artifacts/artifact/6",
        "lanes batches",
    ):
        assert part in read, (part, read)


def test_a_message_without_a_briefing_says_that_each_part_was_not_looked_up() -> None:
    read = shown(message(OPEN, ui_url=UI).blocks)
    for part in (
        "Why  It was not looked up.",
        "*Trend*\nIt was not looked up",
        "*At stake*\nIt was not looked up",
    ):
        assert part in read
    assert (
        "No run: it was not looked up. No artifact: it was not looked up. No sample item: it was not looked up."
        in read
    )


def test_the_plain_text_for_phones_ends_with_the_most_frequent_error() -> None:
    assert message(OPEN, BRIEFING, PAGES, ui_url=UI).text.endswith(
        "were promised. Why: 12x it expired"
    )
    assert "Why" not in message(OVER, BRIEFING, PAGES, ui_url=UI).text


HOSTILE = (
    "<!channel> & <@U1> <https://evil.example|ok>",
    "*bold* _it_ ~no~ `code` ```x```",
    ":bomb: @here #general",
    "\u202e\n\x00|",
)


@pytest.mark.parametrize("promise", Promise)
@pytest.mark.parametrize("said", [*HOSTILE, "x" * 100_000, "<" * 5_000])
def test_slack_accepts_a_message_with_any_error_and_key_text_and_sees_no_markup_in_it(
    promise: Promise, said: str
) -> None:
    causes = tuple(Cause(error=f"{number} {said}", times=10**9) for number in range(MOST_CAUSES))
    hostile = BRIEFING.model_copy(
        update={
            "causes": causes,
            "sample": SampleItem(workload="tickets", key=" ".join(said.split())[:120]),
            "unexplained": said,
        }
    )
    for of in (OPEN, OVER):
        incident = replace(
            of, promise=promise, workload=said, subject=said, sentence=said, why=said
        )
        told = message(incident, hostile, PAGES, ui_url=UI)
        assert invalid(told.blocks) is None
        marked = json.dumps([each for each in told.blocks if each["type"] != "rich_text"]).replace(
            "<!date^", ""
        )
        assert "<" not in marked
        assert "<" not in told.text
        assert len(json.dumps(told.blocks)) < 40_000


def test_text_from_outside_is_shown_unchanged_as_rich_text() -> None:
    told = message(replace(OPEN, sentence=HOSTILE[0]), ui_url=UI)
    assert rich_texts(told.blocks[1]) == [HOSTILE[0]]


def test_an_approval_question_has_the_wording_of_a_question() -> None:
    asked = replace(
        OPEN, promise=Promise.APPROVAL_WAITS, value=0, limit_value=4_320, opened_at=NOON
    )
    read = shown(message(asked, BRIEFING, PAGES, ui_url=UI).blocks)
    for part in (
        "*Waiting since*",
        "*Who decides*\nAnyone who may resume runs in Prefect",
        "*Without an answer*\nRolled back <!date^",
    ):
        assert part in read, (part, read)
    assert "How bad" not in read
    assert "limit" not in read
    page = incident_page.render(asked, BRIEFING, now=NOON)
    assert "How bad" not in page
    assert "taken back unanswered after 3.0 d" in page


def test_the_message_about_a_refused_key_says_to_set_the_key_and_to_run_lanes_up() -> None:
    refused = replace(OPEN, promise=Promise.PROVIDER_FROZEN, workload="*", subject="acme")
    read = shown(message(refused, BRIEFING, PAGES, ui_url=UI).blocks)
    assert "A refused key: set ANTHROPIC_API_KEY, then lanes up." in read
    assert "[Set the key, then `lanes up`]" in read
    assert "lanes up # once ANTHROPIC_API_KEY is set" in read
