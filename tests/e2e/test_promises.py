"""Promises in a running stand: a batch that stalls at the provider posts one Slack message, edited when the batch ends."""

from typing import Any
from uuid import uuid4

import pytest

from tests.earlier import batch_that_left
from tests.running_stand import RunningStand, data
from tests.slack_standin import SlackStandIn
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
]  # the first test of a session also waits until the stand is up


def incident(
    stand: RunningStand, promise: str, subject: str = "", workload: str = "archive"
) -> Any:
    found = stand.rows(
        "select * from lanes.incident_log where promise = :p and workload = :w and subject = :s"
        " order by incident_id desc limit 1",
        p=promise,
        w=workload,
        s=subject,
    )
    return found[0] if found else None


def stalled_batch(stand: RunningStand) -> int:
    """Return the id of a batch that was submitted three hours ago and stalls at the provider."""
    stand.endpoint.post(
        "_control/faults", json={"where": "batches.create", "kind": "stall"}
    ).raise_for_status()
    return batch_that_left(stand, "archive", f"stall-{uuid4().hex[:8]}", hours=3)


def test_a_stalled_batch_posts_one_slack_message_that_is_edited_when_the_batch_ends(
    stand: RunningStand, slack: SlackStandIn
) -> None:
    try:
        batch = stalled_batch(stand)
        opened = until(
            lambda: incident(stand, "batch_slow", f"batch {batch}"),
            within_s=20,
            what="the incident",
        )
        (said,) = until(lambda: slack.about(opened.incident_id), within_s=20, what="the message")
        assert f"Batch {batch} has been open for 3.0 h; 2.0 h were promised." in said.text
        assert (opened.state, opened.severity, opened.limit_value) == ("open", "warning", 120)
        assert opened.incident_id in {each["id"] for each in data(stand.cli("alerts", "--json"))}
    finally:
        stand.endpoint.delete("_control/faults").raise_for_status()
    until(
        lambda: incident(stand, "batch_slow", f"batch {batch}").state == "resolved", what="the end"
    )
    until(lambda: said.text.startswith(":white_check_mark: Resolved"), within_s=20, what="the edit")
    assert slack.about(opened.incident_id) == [said]
    for event in ("lanes.incident.opened", "lanes.incident.resolved"):
        until(
            lambda event=event: (
                opened.incident_id in {e["payload"]["incident_id"] for e in stand.events(event)}
            ),
            what=event,
        )


def test_the_test_message_reports_whether_slack_accepts_it(
    stand: RunningStand, slack: SlackStandIn
) -> None:
    done = stand.cli("alerts", "--test")
    assert done.returncode == 0, done.stderr
    assert "edited in place" in done.stdout
    slack.fail("chat.postMessage", error="not_in_channel")
    refused = stand.cli("alerts", "--test")
    assert refused.returncode == 1
    assert "invite it" in refused.stderr
