"""Late data: `lanes.amend` and the event door's amendments in every state of their item; one file because both doors
share the cases."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.store import work
from lanes.store.doors import items
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import (
    A,
    B,
    claim,
    claimed_item,
    events,
    intend,
    row,
    rows,
    save,
    submit,
    tried,
)

NEW = {"text": "amended"}
EVENT = "0198c000-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def letters(connection: Connection) -> Any:
    return publish(connection, now=NOON, max_payload_kib=1, compare_fields=["category"])


def amend(
    connection: Connection,
    key: str = "k",
    payload: dict[str, Any] | None = None,
    place: str | None = None,
) -> str:
    asked = Amendment("letters", key, payload or NEW, place)
    return items.amend(
        connection, asked, door="event" if place else "client", now=later(minutes=1)
    ).outcome


def amend_as_of(
    connection: Connection,
    occurred_at: datetime | None,
    text: str,
    *,
    key: str = "k",
    minute: int = 30,
) -> str:
    """Send an amendment that occurred at `occurred_at`, at 12:`minute`; return its outcome."""
    asked = Amendment("letters", key, {"text": text}, occurred_at=occurred_at)
    return items.amend(connection, asked, door="client", now=later(minutes=minute)).outcome


def state(connection: Connection, key: str = "k") -> str:
    return row(connection, "item_status", key=key).state


def live(connection: Connection) -> list[tuple[str, str, int, str]]:
    """Return lane, purpose, revision and state of all work, in order of creation."""
    return [
        (each.lane, each.purpose, each.revision, each.state)
        for each in rows(connection, "work", "id")
    ]


def test_the_sql_function_amends_inside_the_callers_transaction(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    query = text("""select lanes.amend('letters', 'k', '{"text": "amended"}')""")
    assert connection.execute(query).scalar_one() == "amended"
    assert connection.execute(query).scalar_one() == "duplicate"
    kept = row(connection, "item")
    assert (kept.payload, kept.revision) == (NEW, 1)


def test_every_revision_is_kept_and_the_original_is_number_0(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    assert rows(connection, "revision") == []
    amend(connection)
    amend(connection, payload={"text": "once more"})
    kept = rows(connection, "revision_log", "revision")
    assert [(each.revision, each.payload["text"], each.source) for each in kept] == [
        (0, "letter k", "client"),
        (1, "amended", "client"),
        (2, "once more", "client"),
    ]
    assert kept[0].received_at == NOON
    assert row(connection, "item").payload == {"text": "once more"}


def test_the_current_payload_is_a_duplicate_and_an_older_one_is_a_new_revision(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    assert amend(connection, payload={"text": "letter k"}) == "duplicate"
    assert amend(connection) == "amended"
    assert amend(connection) == "duplicate"
    assert amend(connection, payload={"text": "letter k"}) == "amended"
    assert row(connection, "item").revision == 2


def test_an_event_is_applied_once_even_after_another_amendment(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    assert amend(connection, place=EVENT) == "amended"
    assert amend(connection, payload={"text": "later"}) == "amended"
    assert amend(connection, place=EVENT) == "duplicate"
    assert row(connection, "item").payload == {"text": "later"}


def test_the_original_content_remains_a_duplicate_at_admission(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    amend(connection)
    admit(connection, "k", now=later(minutes=2))
    assert row(connection, "item").payload == NEW
    assert rows(connection, "rejected_log") == []


@pytest.mark.parametrize(
    ("workload", "key", "payload", "reason"),
    [
        ("ghosts", "k", NEW, "unknown_workload"),
        ("letters", "k", {"text": "x" * 2000}, "payload_too_large"),
        ("letters", "k" * 600, NEW, "malformed"),
    ],
)
def test_an_invalid_amendment_is_refused_with_its_reason_and_announced_once(
    connection: Connection, workload: str, key: str, payload: dict[str, Any], reason: str
) -> None:
    admit(connection, "k", now=NOON)
    asked = Amendment(workload, key, payload, EVENT)
    for _ in range(2):
        assert items.amend(connection, asked, door="event", now=NOON).outcome == reason
    assert (row(connection, "rejected_log").reason, row(connection, "rejected_log").position) == (
        reason,
        EVENT,
    )
    assert [each.payload["outcome"] for each in events(connection, "lanes.item.rejected")] == [
        reason
    ]
    assert row(connection, "item").revision == 0


def test_a_canceled_item_is_not_amended(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    items.cancel(connection, "letters", "k")
    assert amend(connection, place=EVENT) == "canceled"
    assert row(connection, "item").revision == 0
    assert row(connection, "rejected_log").reason == "canceled"


def test_an_amendment_before_its_item_waits_and_is_applied_before_the_item_is_routed(
    connection: Connection,
) -> None:
    assert amend(connection) == "waiting"
    assert amend(connection, payload={"text": "second"}) == "waiting"
    assert [each.revision for each in rows(connection, "revision_log")] == [None, None]
    assert items.apply_waiting(connection, now=NOON) == 0
    admit(connection, "k", now=NOON)
    assert items.apply_waiting(connection, now=NOON) == 2
    route(connection, now=NOON)
    assert row(connection, "item").payload == {"text": "second"}
    assert [each.revision for each in rows(connection, "revision_log", "revision")] == [0, 1, 2]
    assert live(connection) == [("batch", "answer", 2, "ready")]
    assert items.apply_waiting(connection, now=NOON) == 0


def test_an_older_amendment_received_later_is_numbered_and_stored_but_not_in_force(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    assert amend_as_of(connection, later(minutes=10), "newer") == "amended"
    before = live(connection)
    assert amend_as_of(connection, later(minutes=5), "older") == "outdated"
    kept = row(connection, "item")
    assert (kept.payload, kept.revision) == ({"text": "newer"}, 1)
    assert live(connection) == before
    log = rows(connection, "revision_log", "revision")
    assert [(each.revision, each.payload["text"], each.outdated) for each in log] == [
        (0, "letter k", False),
        (1, "newer", False),
        (2, "older", True),
    ]
    assert [each.occurred_at for each in log[1:]] == [later(minutes=10), later(minutes=5)]
    assert amend_as_of(connection, later(minutes=11), "newest") == "amended"
    assert row(connection, "item").revision == 3
    assert [each.outcome for each in rows(connection, "amendment", "id")] == [
        "amended",
        "outdated",
        "amended",
    ]


def test_an_older_amendment_leaves_a_settled_item_settled(connection: Connection) -> None:
    save(connection, tried(claimed_item(connection), output=A))
    amend_as_of(connection, later(minutes=10), "newer")
    (owed,) = claim(connection, Lane.BATCH, now=later(minutes=31))
    save(connection, tried(owed, output=B), now=later(minutes=32))
    assert amend_as_of(connection, later(minutes=5), "older", minute=33) == "outdated"
    assert state(connection) == "settled"
    assert row(connection, "current_results").revision == 1


def test_amendments_that_waited_for_their_item_are_ordered_by_time_of_occurrence(
    connection: Connection,
) -> None:
    assert amend_as_of(connection, later(minutes=10), "newer") == "waiting"
    assert amend_as_of(connection, later(minutes=5), "older") == "waiting"
    admit(connection, "k", now=later(minutes=40))
    assert items.apply_waiting(connection, now=later(minutes=41)) == 2
    assert row(connection, "item").payload == {"text": "newer"}
    assert [each.outdated for each in rows(connection, "revision_log", "revision")] == [
        False,
        False,
        True,
    ]


def test_a_repeated_amendment_outdates_amendments_that_occurred_before_the_repetition(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    amend_as_of(connection, later(minutes=1), "first")
    assert amend_as_of(connection, later(minutes=9), "first") == "duplicate"
    assert amend_as_of(connection, later(minutes=5), "between") == "outdated"
    assert row(connection, "item").payload == {"text": "first"}


def test_the_last_received_of_two_simultaneous_amendments_is_in_force(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    amend_as_of(connection, later(minutes=5), "one")
    assert amend_as_of(connection, later(minutes=5), "other") == "amended"


def test_an_amendment_dated_in_the_future_does_not_outdate_later_amendments(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    amend_as_of(connection, later(days=9), "fast", minute=30)
    assert amend_as_of(connection, None, "right", minute=31) == "amended"
    assert row(connection, "item").payload == {"text": "right"}


def test_the_sql_function_accepts_the_time_of_occurrence(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    query = text(
        "select lanes.amend('letters', 'k', cast(:payload as jsonb), cast(:at as timestamptz))"
    )
    amended = [
        ("newer", "2026-11-24 12:10Z"),
        ("older", "2026-11-24 12:05Z"),
        ("never", "infinity"),
    ]
    outcomes = [
        connection.execute(query, {"payload": f'{{"text": "{said}"}}', "at": at}).scalar_one()
        for said, at in amended
    ]
    assert outcomes == ["amended", "outdated", "malformed"]
    assert row(connection, "item").payload == {"text": "newer"}


def test_new_work_for_an_amended_item_keeps_the_rank_of_the_old_work(
    connection: Connection,
) -> None:
    due_at = later(hours=3)
    admit(connection, "k", now=NOON, lane=Lane.BATCH, due_at=due_at)
    route(connection, now=NOON)
    (claimed,) = claim(connection, Lane.BATCH)
    save(connection, tried(claimed, Outcome.POISON))
    amend(connection)
    first, second = rows(connection, "work", "id")
    assert (second.state, second.rank_at) == ("ready", first.rank_at)


def test_waiting_work_is_replaced_for_the_newest_revision_on_the_same_lane_and_rank(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    amend(connection)
    assert live(connection) == [
        ("realtime", "answer", 0, "canceled"),
        ("realtime", "answer", 1, "ready"),
    ]
    first, second = rows(connection, "work", "id")
    assert first.rank_at == second.rank_at
    assert [each.payload for each in claim(connection, now=later(minutes=2))] == [NEW]


def test_an_answer_to_an_older_revision_is_billed_and_never_shown(connection: Connection) -> None:
    claimed = claimed_item(connection)
    amend(connection)
    save(connection, tried(claimed, output=A), now=later(minutes=2))
    assert state(connection) == "routed"
    assert rows(connection, "current_results") == []
    assert row(connection, "attempt_log").shown is False
    assert len(rows(connection, "spend")) == 1
    (again,) = claim(connection, now=later(minutes=2))
    save(connection, tried(again, output=B), now=later(minutes=3))
    assert row(connection, "current_results").revision == 1
    assert state(connection) == "settled"


def test_an_amended_settled_item_owes_one_authoritative_pass_and_keeps_its_old_answer(
    connection: Connection,
) -> None:
    save(connection, tried(claimed_item(connection), output=A))
    assert state(connection) == "settled"
    amend(connection)
    assert state(connection) == "answered"
    assert row(connection, "current_results").output == A
    assert live(connection)[1:] == [("batch", "authoritative", 1, "ready")]


def test_the_new_authoritative_answer_corrects_the_one_that_was_shown(
    connection: Connection, letters: Any
) -> None:
    save(connection, tried(claimed_item(connection), output=A))
    amend(connection)
    batch_id, (owed,) = submit(connection, letters, now=later(minutes=2))
    assert owed.payload == NEW
    saved = save(connection, tried(owed, output=B), now=later(minutes=3), batch_id=batch_id)
    assert saved.corrected == 1
    assert state(connection) == "settled"
    corrected = row(connection, "correction_log")
    assert (
        corrected.provisional_output,
        corrected.authoritative_output,
        corrected.changed_fields,
    ) == (A, B, ["category"])
    assert [
        each.payload["changed_fields"] for each in events(connection, "lanes.item.corrected")
    ] == [["category"]]
    now_shown = row(connection, "current_results")
    assert (now_shown.output, now_shown.revision, now_shown.standing) == (B, 1, "authoritative")


def test_an_unchanged_answer_to_the_amended_item_settles_without_a_correction(
    connection: Connection, letters: Any
) -> None:
    save(connection, tried(claimed_item(connection), output=A))
    amend(connection)
    _, (owed,) = submit(connection, letters, now=later(minutes=2))
    save(connection, tried(owed, output=A | {"note": "other"}), now=later(minutes=3))
    assert rows(connection, "correction_log") == []
    assert row(connection, "current_results").revision == 1


def test_an_owed_lambda_pass_is_replaced_for_the_newest_revision(
    connection: Connection,
) -> None:
    publish(connection, "pair", now=NOON, mode="lambda")
    save(connection, tried(claimed_item(connection, workload="pair"), output=A))
    assert live(connection)[1:] == [("batch", "authoritative", 0, "ready")]
    asked = Amendment("pair", "k", NEW)
    items.amend(connection, asked, door="client", now=later(minutes=1))
    assert live(connection)[1:] == [
        ("batch", "authoritative", 0, "canceled"),
        ("batch", "authoritative", 1, "ready"),
    ]
    assert state(connection) == "answered"


def test_a_batch_pass_for_an_older_revision_settles_nothing(
    connection: Connection,
) -> None:
    pair = publish(connection, "pair", now=NOON, mode="lambda")
    save(connection, tried(claimed_item(connection, workload="pair"), output=A))
    batch_id, (old,) = submit(connection, pair, now=NOON)
    items.amend(connection, Amendment("pair", "k", NEW), door="client", now=later(minutes=1))
    save(connection, tried(old, output=B), now=later(minutes=2), batch_id=batch_id)
    assert state(connection) == "answered"
    assert row(connection, "current_results").output == A
    _, (new,) = submit(connection, pair, now=later(minutes=3))
    save(connection, tried(new, output=B), now=later(minutes=4))
    assert state(connection) == "settled"
    assert row(connection, "current_results").revision == 1


def test_two_amendments_owe_one_pass(connection: Connection) -> None:
    save(connection, tried(claimed_item(connection), output=A))
    amend(connection)
    amend(connection, payload={"text": "again"})
    assert live(connection)[1:] == [
        ("batch", "authoritative", 1, "canceled"),
        ("batch", "authoritative", 2, "ready"),
    ]


def test_an_amended_failed_item_is_processed_again(connection: Connection) -> None:
    save(connection, tried(claimed_item(connection), Outcome.POISON))
    assert state(connection) == "failed"
    amend(connection)
    assert live(connection) == [
        ("realtime", "answer", 0, "failed"),
        ("realtime", "answer", 1, "ready"),
    ]
    assert state(connection) == "routed"
    assert row(connection, "item").failure is None


def test_a_pass_that_fails_for_good_leaves_the_item_failed_and_the_old_answer_shown(
    connection: Connection, letters: Any
) -> None:
    save(connection, tried(claimed_item(connection), output=A))
    amend(connection)
    _, (owed,) = submit(connection, letters, now=later(minutes=2))
    save(connection, tried(owed, Outcome.POISON, error="no"), now=later(minutes=3))
    assert state(connection) == "failed"
    assert row(connection, "item").settled_at is None
    assert row(connection, "current_results").output == A


def test_returned_work_of_an_older_revision_is_canceled(connection: Connection) -> None:
    claimed = claimed_item(connection)
    amend(connection)
    work.give_back(connection, [claimed.claim], ready_at=later(minutes=2))
    assert live(connection) == [
        ("realtime", "answer", 0, "canceled"),
        ("realtime", "answer", 1, "ready"),
    ]


def test_work_of_an_older_revision_in_a_released_batch_is_canceled(
    connection: Connection, letters: Any
) -> None:
    from lanes.store.batch import doubts

    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    amend(connection)
    doubts.release(connection, batch_id, note="never created", now=later(minutes=5))
    assert live(connection) == [("batch", "answer", 0, "canceled"), ("batch", "answer", 1, "ready")]


def test_abandoned_work_of_an_older_revision_is_canceled(connection: Connection) -> None:
    claimed_item(connection)
    amend(connection)
    save(connection, *work.list_abandoned(connection, now=later(minutes=10)), now=later(minutes=10))
    assert live(connection) == [
        ("realtime", "answer", 0, "canceled"),
        ("realtime", "answer", 1, "ready"),
    ]
