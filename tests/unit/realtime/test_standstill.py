"""Standstills: the models and accounts that do not answer a drain, and the reports about them."""

import pytest

from lanes.promises.briefing import Stake
from lanes.realtime.health import ACCOUNT, Standstills
from lanes.report import incident
from tests.conftest import NOON, later

MODEL, OTHER = "claude-haiku-5-5", "claude-opus-5-5"


def test_an_outage_lasts_from_its_first_failure_until_the_model_answers() -> None:
    seen = Standstills()
    seen.record_failure(MODEL, "529", calls=3, now=NOON)
    seen.record_failure(MODEL, "503", calls=9, now=later(minutes=5))
    (standing,) = seen.all
    assert (standing.whom, standing.since, standing.calls, standing.why) == (MODEL, NOON, 9, "503")
    seen.record_answer(OTHER, later(minutes=6))
    assert [each.whom for each in seen.all] == [MODEL]
    seen.record_answer(MODEL, later(minutes=7))
    assert not seen.all


def test_standstills_record_whether_any_call_was_answered_since_a_moment() -> None:
    seen = Standstills()
    assert seen.none_answered_since(NOON)
    seen.record_answer(OTHER, NOON)
    assert not seen.none_answered_since(NOON)
    assert seen.none_answered_since(later(minutes=1))


def test_any_answer_ends_the_standstill_of_an_account_but_a_model_must_answer_itself() -> None:
    seen = Standstills()
    seen.record_failure(ACCOUNT, "402", now=NOON)
    seen.record_failure(OTHER, "404", now=NOON)
    seen.record_failure(OTHER, "404", now=later(minutes=1))
    seen.record_answer(MODEL, later(minutes=2))
    (standing,) = seen.all
    assert (standing.whom, standing.calls) == (OTHER, 2)
    seen.record_answer(OTHER, later(minutes=3))
    assert not seen.all


def test_the_outage_message_names_the_model_the_start_and_the_last_error() -> None:
    seen = Standstills()
    seen.record_failure(MODEL, "the provider answered 529: Overloaded", calls=3, now=NOON)
    said = incident.outage_message(seen.all, now=later(minutes=1))
    assert said.startswith(
        f"{MODEL} has not answered since 12:00 UTC: the provider answered 529: Overloaded. Waiting items"
    )
    assert (
        incident.outage_message([], now=later(minutes=1))
        == "The provider answers again, since 12:01 UTC"
    )


@pytest.mark.parametrize("error", ["a | b\n# c", "<script>", "[x](http://evil.example)", "`" * 5])
def test_no_error_text_breaks_the_page_of_an_outage(error: str) -> None:
    seen = Standstills()
    seen.record_failure(MODEL, error, calls=3, now=NOON)
    page = incident.render_outage(seen.all, Stake(unanswered=7, due_at=later(minutes=4)), now=NOON)
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {MODEL}")]
    assert row.replace("\\|", "").count("|") == 5
    for active in ("<script", "[x](", "\n# c"):
        assert active not in page
    assert "On the real-time lane: 7 unanswered items; the nearest is due 12:04 UTC." in page
