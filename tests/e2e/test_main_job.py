"""The main job in a running stand: the event door, real-time answers, rejected input and `lanes doctor`."""

from uuid import uuid4

import pytest

from lanes.mainjob.samples import sample_items
from tests.running_stand import RunningStand
from tests.waiting import until

pytestmark = pytest.mark.slow

CHAT = {"text": "The app crashes whenever I open my parcel list.", "channel": "chat"}


def new_key() -> str:
    return f"e2e-{uuid4().hex[:8]}"


def test_a_warm_drain_answers_the_median_event_within_two_seconds(stand: RunningStand) -> None:
    keys = [new_key() for _ in range(9)]
    for key in keys:
        stand.emit(
            "tickets",
            {"key": key, "payload": {**CHAT, "text": f"{CHAT['text']} {key}"}, "urgent": True},
        )
        until(
            lambda key=key: stand.state("tickets", key) in ("answered", "settled"),
            what="the answer",
        )
    median = stand.value(
        "select percentile_cont(0.5) within group (order by extract(epoch from answered_at - received_at))"
        " from lanes.item_status where key = any(:k)",
        k=keys,
    )
    assert median < 2


def test_an_event_of_an_unknown_workload_is_rejected_in_the_log_and_by_an_event(
    stand: RunningStand,
) -> None:
    event_id = stand.emit("no-such-workload", {"payload": {"text": "hello"}})
    row = until(
        lambda: stand.rows(
            "select reason, source from lanes.rejected_log where position = :p", p=event_id
        ),
        what="the refusal",
    )
    assert tuple(row[0]) == ("unknown_workload", "event")
    until(
        lambda: any(e["payload"]["place"] == event_id for e in stand.events("lanes.item.rejected")),
        what="the event",
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"payload": "not an object"}, "malformed"),
        ({"payload": {"text": "a\u0000b"}}, "malformed"),
        ({"payload": {"text": "x" * 300_000}}, "payload_too_large"),
    ],
)
def test_a_bad_event_is_rejected_with_its_reason_and_its_neighbour_is_answered(
    stand: RunningStand, payload: dict[str, object], reason: str
) -> None:
    key = new_key()
    marker = f"lanes.tests.{key}"
    event_id = stand.emit("tickets", payload)
    stand.emit("tickets", {"key": key, "payload": CHAT, "urgent": True})
    stand.emit("tickets", {}, event=marker)
    found = until(
        lambda: stand.rows("select reason from lanes.rejected_log where position = :p", p=event_id),
        what="the refusal",
    )
    assert found[0].reason == reason
    until(
        lambda: stand.state("tickets", key) in ("answered", "settled"),
        what="the neighbour's answer",
    )
    until(lambda: stand.events(marker), what="that Prefect stores the events beside it")


def test_sixty_sample_tickets_sent_through_the_event_door_are_all_answered(
    stand: RunningStand,
) -> None:
    mark = uuid4().hex[:6]
    items = sample_items("tickets")[:60]
    for item in items:
        stand.emit(
            "tickets", {"key": f"{item['key']}-{mark}", "payload": item["payload"], "urgent": True}
        )
    done = "select count(*) from lanes.item_status where key like :p and state in ('answered', 'settled')"
    until(lambda: stand.value(done, p=f"%-{mark}") == len(items), what="every answer")


def test_doctor_reports_no_problem_on_a_healthy_stand(stand: RunningStand) -> None:
    done = stand.cli("doctor")
    assert done.returncode == 0, done.stdout
