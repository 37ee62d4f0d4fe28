"""Late data and a replay in a running stand: corrections, a promotion and a demotion."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from lanes.client import Lanes
from lanes.words import Lane
from tests.e2e.test_playbooks import answer, flow_run, state_of
from tests.running_stand import RunningStand, data
from tests.waiting import until

SHOWN = "select key, output, generation, created_at from lanes.current_results where key = any(:k) order by key"
REPLAYS = "select state, generation from lanes.replay_log where workload = 'archive' order by generation desc limit 1"


def answered(stand: RunningStand, form: str, *, approve: bool) -> None:
    """Run the form, check the diff that it shows, and answer it."""
    run_id = stand.run(form, {"action": {"workload": "archive", "who": "ada", "why": "the form"}})
    until(lambda: state_of(stand, run_id) == "PAUSED", what="the question")
    keyset = flow_run(stand, run_id)["state"]["state_details"]["run_input_keyset"]
    place = f"flow_runs/{run_id}/input/{keyset['description']}"  # stored after the state
    until(lambda: stand.prefect.get(place).is_success, what="what the form shows")
    question = stand.prefect.get(place).json()
    assert "0 % of 4 items would change" in question
    assert answer(stand, run_id, approve=approve, who="bob", why="looked at it") == "ACCEPT"
    until(lambda: state_of(stand, run_id) == "COMPLETED", what="the end of the run")


CASES = """
name: cases
instructions: Sort the case.
output_schema:
  type: object
  properties: {category: {type: string, enum: [a, b, c]}}
  required: [category]
  additionalProperties: false
mode: lambda
off_peak_start: "00:00"
off_peak_end: "00:00"
context:
  entity: {items: 2, labels: true}
"""


@pytest.mark.slow
def test_a_late_label_corrects_an_answer_that_was_already_read(
    stand: RunningStand, tmp_path: Path
) -> None:
    (tmp_path / "cases.yaml").write_text(CASES)
    assert stand.cli("publish", str(tmp_path / "cases.yaml"), "--yes").returncode == 0
    lanes = Lanes(stand.environment["LANES_DATABASE_URL"])
    first, second = keys = [f"{uuid4().hex[:8]}-{n}" for n in range(2)]
    for minute, key in enumerate(keys):
        at = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
        more = {"entity": first, "lane": Lane.BATCH, "occurred_at": at}
        lanes.submit("cases", {"text": f"Case {key}"}, key=key, **more)

    def settle() -> None:
        until(lambda: stand.state("cases", second) in ("routed", "answered"), what="the work")
        stand.run("depart", {"departure": {"workload": "cases"}})
        until(lambda: stand.state("cases", second) == "settled", what="the answers")

    settle()
    taken = lanes.read_result("cases", second, reader="crm")
    assert taken is not None
    right = next(each for each in "abc" if each != taken.output["category"])
    lanes.label("cases", first, {"category": right})
    with stand.pool.begin() as connection:  # as if a new day had begun
        connection.execute(text("update lanes.workload set late_context = null"))
    until(lambda: stand.state("cases", second) != "settled", what="the late context")
    settle()
    (undo,) = lanes.corrections("crm")
    assert (undo.key, undo.taken, undo.output) == (second, taken.output, {"category": right})
    (corrected,) = stand.rows("select * from lanes.correction_log where workload = 'cases'")
    assert (corrected.key, corrected.late_context) == (second, "label")

    def told() -> list[dict[str, Any]]:
        events = (each["payload"] for each in stand.events("lanes.item.corrected"))
        return [each for each in events if each["key"] == second]

    (event,) = until(told, what="the event")
    assert (event["late_context"], event["readers"]) == ("label", ["crm"])


@pytest.mark.slow
def test_an_amended_item_is_corrected_and_a_replay_is_promoted_and_demoted(
    stand: RunningStand,
) -> None:
    keys = [f"{uuid4().hex[:8]}-{n}" for n in range(4)]
    for key in keys:
        payload = {"title": key, "text": f"Document {key}"}
        stand.emit("archive", {"key": key, "payload": payload, "lane": "realtime"})
    until(lambda: all(stand.state("archive", key) == "settled" for key in keys), what="the answers")
    late = {"title": "late", "text": "An invoice that came late"}
    stand.emit("archive", {"key": keys[0], "payload": late}, event="lanes.item.amended")
    until(lambda: stand.state("archive", keys[0]) == "answered", what="the amendment")

    places = "select min(position) as first, max(position) as last from lanes.item_status where key = any(:k)"
    first, last = stand.rows(places, k=keys)[0]
    reading = {
        "workload": "archive",
        "from_position": first,
        "to_position": last,
        "why": "a test",
        "depart": True,
    }
    stand.run("replay", {"reading": reading})
    until(
        lambda: stand.state("archive", keys[0]) == "settled",
        what="the answer to the amendment",
    )
    (corrected,) = stand.rows("select * from lanes.correction_log where key = :k", k=keys[0])
    assert corrected.provisional_output["summary"].startswith("Document")
    assert corrected.authoritative_output["summary"] == "An invoice that came late"
    until(lambda: stand.rows(REPLAYS)[0].state == "complete", what="the end of the replay")
    live, (_, generation) = stand.rows(SHOWN, k=keys), stand.rows(REPLAYS)[0]
    assert {each.generation for each in live} == {0}

    promoted = stand.cli("promote", "archive", "--json")
    assert (promoted.returncode, data(promoted)["changed"]) == (0, 4)
    assert {each.generation for each in stand.rows(SHOWN, k=keys)} == {generation}
    assert stand.cli("demote", "archive").returncode == 0
    assert stand.rows(SHOWN, k=keys) == live
    answered(stand, "promote", approve=False)
    assert stand.rows(SHOWN, k=keys) == live
    answered(stand, "promote", approve=True)
    assert {each.generation for each in stand.rows(SHOWN, k=keys)} == {generation}
    answered(stand, "demote", approve=True)
    assert stand.rows(SHOWN, k=keys) == live
    artifact = stand.prefect.get("artifacts/lanes-replay-archive/latest").raise_for_status().json()
    assert artifact["description"].startswith(f"Generation {generation}, version")
