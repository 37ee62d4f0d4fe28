"""Batch turnarounds: read at intervals, stated with the routes of later items, and compared with the outcomes."""

import re
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, event, text, update

from lanes.ids import BatchId
from lanes.routing.turnaround import ObservedBatches, Turnaround
from lanes.settling.story import happenings
from lanes.store import asking
from lanes.store.batch import collection, doubts
from lanes.store.routing import turnarounds
from lanes.store.settling.story import records
from lanes.store.tables import batch
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, home, intend, rows, save, submit, tried

HOUR = timedelta(hours=1)


def leaves(connection: Connection, of: Version, key: str, *, at: datetime) -> BatchId:
    """Submit a batch with one item at that time."""
    admit(connection, key, now=at, lane=Lane.BATCH)
    route(connection, now=at)
    return submit(connection, of, now=at)[0]


def learned(connection: Connection, *, now: datetime) -> Turnaround:
    return turnarounds.read(asking.through(connection), now=now).of(
        "claude-haiku-5-5", leaves_at=now, usual=HOUR
    )


def seen(connection: Connection, *, now: datetime) -> ObservedBatches:
    return turnarounds.read(asking.through(connection), now=now).seen["claude-haiku-5-5"]


def test_returned_batches_raise_the_on_time_probability_and_outstanding_batches_lower_it(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    assert learned(connection, now=NOON).evidence.batches == 0
    assumed = learned(connection, now=NOON).by(HOUR)
    first = leaves(connection, letters, "k1", at=NOON)
    home(connection, first, now=later(minutes=20))
    alone = learned(connection, now=later(minutes=20)).by(HOUR)
    assert alone > assumed
    leaves(connection, letters, "k2", at=later(minutes=20))
    found = learned(connection, now=later(minutes=80))
    assert found.evidence.batches == 2
    assert found.by(HOUR) < alone


def test_batches_are_read_with_their_items_and_stated_times_in_order_of_submission(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, batch_pack=5)
    admit(connection, *(f"k{n}" for n in range(12)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    large, _ = submit(connection, letters)
    small = leaves(connection, letters, "k", at=later(minutes=10))
    connection.execute(
        update(batch).where(batch.c.id == small).values(stated_back_at=later(hours=2, minutes=10))
    )
    home(connection, large, now=later(minutes=30))
    found = seen(connection, now=later(hours=1))
    assert found.items.tolist() == [12, 1]
    assert found.took_s.tolist() == [1_800, 3_000]
    assert found.back.tolist() == [1, 0]
    assert found.age_s.tolist() == [3_600, 3_000]
    assert [str(each) for each in found.stated_s] == ["nan", "7200.0"]


def test_the_turnaround_of_an_adopted_batch_starts_at_its_intent(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    doubts.adopt(
        connection, batch_id, "msgbatch_7", expected_end_at=later(hours=3), now=later(hours=2)
    )
    home(connection, batch_id, now=later(hours=2, seconds=5))
    assert seen(connection, now=later(hours=3)).took_s.tolist() == [7_205]


@pytest.mark.parametrize("outcome", [Outcome.EXPIRED, Outcome.CANCELED])
def test_a_batch_with_expired_or_canceled_items_does_not_count_as_returned(
    connection: Connection, outcome: Outcome
) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, (work,) = submit(connection, letters)
    collection.mark_ended(connection, batch_id, at=later(minutes=30), now=later(minutes=30))
    save(connection, tried(work.claim, outcome), now=later(minutes=31), batch_id=batch_id)
    collection.mark_collected(connection, batch_id, now=later(minutes=31))
    found = seen(connection, now=later(minutes=45))
    assert (found.took_s.tolist(), found.back.tolist()) == ([1_800], [0])


def test_a_batch_that_was_never_submitted_is_no_evidence(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    assert learned(connection, now=later(hours=1)).evidence.batches == 0
    doubts.release(connection, batch_id, now=later(hours=1), note="refused")
    assert learned(connection, now=later(hours=2)).evidence.batches == 0


def test_batches_submitted_more_than_four_weeks_ago_are_not_read(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    home(connection, leaves(connection, letters, "k", at=NOON), now=later(minutes=5))
    assert learned(connection, now=later(days=28)).evidence.batches == 1
    assert learned(connection, now=later(days=28, seconds=1)).evidence.batches == 0


def test_turnarounds_are_queried_at_most_once_a_minute_or_after_the_clock_moved_back(
    connection: Connection,
) -> None:
    asked: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *args: asked.append(args[2]))
    for seconds in (0, 1, 59):
        turnarounds.prospects(connection, now=later(seconds=seconds))
    assert len(asked) == 1
    turnarounds.read_cached(connection, now=later(seconds=60))
    assert len(asked) == 2
    turnarounds.read_cached(connection, now=NOON)  # the clock moved back
    assert len(asked) == 3


def test_a_route_decided_by_a_due_time_stores_its_probability_in_the_route_log(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "due", now=NOON, due_at=later(days=2))
    admit(connection, "soon", now=NOON, due_at=later(hours=1))
    admit(connection, "free", now=NOON)
    route(connection, now=NOON)
    told = {
        row.key: (row.lane, row.probability)
        for row in connection.execute(text("select * from lanes.route_log"))
    }
    assert told["free"] == ("batch", None)
    assert told["due"][0] == "batch"
    assert told["due"][1] > 0.99
    assert told["soon"][0] == "realtime"
    assert told["soon"][1] == pytest.approx(0.486, abs=0.001)


def test_an_item_is_explained_with_the_probability_of_its_route(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "due", now=NOON, due_at=later(hours=1))
    route(connection, now=NOON)
    _, routed = happenings(records(connection, "letters", "due", now=NOON))
    assert routed.detail.startswith(
        "to realtime, deadline: 48.5 % chance that a batch that leaves about "
    )
    assert (
        "is back by 2026-11-24T13:00:00+00:00, assuming 60 min before any batch was observed; 95 % is required;"
        in routed.detail
    )


def test_a_fallback_to_batch_states_its_on_time_probability(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode="lambda", max_failures=1, split_percent=100)
    admit(connection, "k", now=NOON, due_at=later(hours=16, minutes=30))
    route(connection, now=NOON)
    (claimed,) = claim(connection)
    save(
        connection, tried(claimed, Outcome.ERRORED, error="broken"), now=later(hours=10, minutes=30)
    )
    door, fallback = rows(connection, "route", "id")
    assert fallback.reason == "fallback"
    assert 0.95 < fallback.probability < door.probability < 1
    may_wait = r"it may wait for a batch: 9\d\.\d % chance that a batch .*leaves about 2026-11-24T22:32\S* "
    assert re.search(may_wait + "is back by 2026-11-25T04:30:00", fallback.explanation)


def stated(connection: Connection, key: str, *, due_at: datetime) -> None:
    admit(connection, key, now=NOON, due_at=due_at)
    route(connection, now=NOON)


def test_calibration_counts_items_as_on_time_or_late_once_they_are_due(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, confidence=0.5)
    for key, due in (("early", 3), ("late", 2), ("later", 30), ("canceled", 3)):
        stated(connection, key, due_at=later(hours=due))
    batch_id, work = submit(connection, letters, now=later(minutes=2))
    stated(connection, "never left", due_at=later(hours=2))
    connection.execute(text("select lanes.cancel('letters', 'canceled')"))

    def found(now: datetime) -> tuple[int, float, float]:
        (each,) = turnarounds.read_calibrations(
            asking.through(connection), since=NOON - HOUR, now=now
        )
        assert sum(bin.items for bin in each.bins) == each.items
        return each.items, each.back, each.brier

    assert (
        turnarounds.read_calibrations(
            asking.through(connection), since=NOON - HOUR, now=later(hours=1)
        )
        == []
    )
    assert found(later(hours=2, minutes=30))[:2] == (2, 0)  # "late" and "never left"
    collection.mark_ended(connection, batch_id, at=later(minutes=170), now=later(minutes=170))
    save(
        connection,
        *(tried(each.claim) for each in work if each.key != "canceled"),
        now=later(minutes=170),
        batch_id=batch_id,
    )
    collection.mark_collected(connection, batch_id, now=later(minutes=170))
    assert found(later(hours=4))[:2] == (
        3,
        1 / 3,
    )  # "later" is back but not due yet: it could count only as a hit
    items, back, brier = found(later(hours=31))
    assert (items, back) == (4, 0.5)
    told = {
        row.key: row.probability
        for row in connection.execute(text("select key, probability from lanes.route_log"))
    }
    off = [
        (told["early"] - 1) ** 2,
        told["late"] ** 2,
        (told["later"] - 1) ** 2,
        told["never left"] ** 2,
    ]
    assert brier == pytest.approx(sum(off) / 4)


def test_items_answered_without_a_batch_do_not_count_in_the_calibration(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    stated(connection, "k", due_at=later(hours=9))
    connection.execute(text("update lanes.item set answered_at = :at"), {"at": later(hours=1)})
    assert (
        turnarounds.read_calibrations(
            asking.through(connection), since=NOON - HOUR, now=later(hours=10)
        )
        == []
    )
