"""Due times: met, missed and overdue, by lane and reason; a rebuild gives the same counts."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from lanes.promises.deadlines import DueCounts
from lanes.report.figures import DeadlineFigures
from lanes.store import asking
from lanes.store.figures import due, folding, measurements
from lanes.store.settling import decisions
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store import late
from tests.store.tries import B, claim, claimed_item, home, row, save, submit, tried

SINCE = later(minutes=-30)


def figures(connection: Connection, *, now: datetime) -> list[DeadlineFigures]:
    return due.read_outcomes(asking.through(connection), since=SINCE, now=now)


def seen(connection: Connection, *, now: datetime) -> list[DueCounts]:
    return list(measurements.measure(connection, now=now).due)


def realtime(
    reason: str = "pinned", *, met: int = 0, missed: int = 0, overdue: int = 0
) -> DeadlineFigures:
    return DeadlineFigures("letters", Lane.REALTIME, reason, met, missed, overdue)


@pytest.mark.slow
def test_an_answer_by_its_due_time_counts_as_met_and_a_later_one_as_missed(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON, lane=Lane.REALTIME, due_at=later(seconds=9))
    admit(connection, "never due", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    first, second, third = claim(connection)
    save(
        connection,
        tried(first, at=later(seconds=9)),
        tried(third, at=later(seconds=9)),
        now=later(seconds=9),
    )
    assert figures(connection, now=later(seconds=9)) == [realtime(met=1)]
    save(connection, tried(second, at=later(seconds=10)), now=later(seconds=10))
    assert figures(connection, now=later(seconds=10)) == [realtime(met=1, missed=1)]
    assert seen(connection, now=later(minutes=1)) == [DueCounts("letters", 1, 1, 0, in_realtime=1)]
    assert seen(connection, now=later(hours=2)) == []


@pytest.mark.slow
def test_a_waiting_item_past_its_due_time_is_overdue_in_any_state(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON)
    for key, lane in {"ready": Lane.REALTIME, "out": Lane.BATCH}.items():
        admit(connection, key, now=NOON, lane=lane, due_at=later(minutes=5))
    route(connection, now=NOON)
    submit(connection, version, now=NOON)
    claimed_item(connection, "claimed", due_at=later(minutes=5))
    admit(connection, "for a batch", now=NOON, lane=Lane.BATCH, due_at=later(minutes=5))
    route(connection, now=NOON)
    admit(connection, "received", now=NOON, due_at=later(minutes=5))
    assert seen(connection, now=later(minutes=5)) == []
    assert seen(connection, now=later(minutes=6)) == [DueCounts("letters", 0, 0, 5, in_realtime=2)]
    at = figures(connection, now=later(minutes=6))
    assert at == [realtime(overdue=2), DeadlineFigures("letters", Lane.BATCH, "pinned", 0, 0, 2)]


@pytest.mark.slow
def test_an_item_due_before_arrival_is_counted_under_overdue_and_breaks_no_promise(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    of = claimed_item(connection, "late", lane=None, due_at=later(minutes=-1))
    assert seen(connection, now=later(seconds=1)) == []
    save(connection, tried(of, at=later(seconds=1)), now=later(seconds=1))
    assert seen(connection, now=later(seconds=2)) == []
    assert figures(connection, now=later(seconds=2)) == [realtime("overdue", missed=1)]


@pytest.mark.slow
def test_an_item_due_between_arrival_and_routing_counts_under_deadline(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "routed late", now=NOON, due_at=later(minutes=5))
    route(connection, now=later(minutes=10))
    assert row(connection, "route").reason == "overdue"
    assert figures(connection, now=later(minutes=10)) == [realtime("deadline", overdue=1)]
    (of,) = claim(connection, now=later(minutes=10))
    save(connection, tried(of, at=later(minutes=11)), now=later(minutes=11))
    assert figures(connection, now=later(minutes=12)) == [realtime("deadline", missed=1)]
    assert seen(connection, now=later(minutes=12)) == [DueCounts("letters", 0, 1, 0, in_realtime=1)]
    folding.rebuild_here(connection, until=later(days=1))
    assert figures(connection, now=later(minutes=12)) == [realtime("deadline", missed=1)]


@pytest.mark.slow
def test_an_item_due_before_arrival_breaks_no_promise_even_when_pinned_to_batch(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON)
    admit(connection, "archived", now=NOON, lane=Lane.BATCH, due_at=later(hours=-9))
    route(connection, now=NOON)
    batch_id, (archived,) = submit(connection, version, now=NOON)
    save(connection, tried(archived, at=later(minutes=9)), batch_id=batch_id, now=later(minutes=9))
    assert seen(connection, now=later(minutes=10)) == []
    said = [DeadlineFigures("letters", Lane.BATCH, "overdue", 0, 1, 0)]
    assert figures(connection, now=later(minutes=10)) == said
    folding.rebuild_here(connection, until=later(days=1))
    assert figures(connection, now=later(minutes=10)) == said


@pytest.mark.slow
@pytest.mark.parametrize("lane", Lane)
def test_an_archive_due_before_arrival_does_not_hide_an_overdue_item(
    connection: Connection, lane: Lane
) -> None:
    publish(connection, now=NOON)
    admit(
        connection, *(f"k{n}" for n in range(due.MOST)), now=NOON, lane=lane, due_at=later(hours=-1)
    )
    admit(connection, "late", now=NOON, lane=lane, due_at=later(minutes=1))
    route(connection, now=NOON)
    assert seen(connection, now=later(minutes=2)) == [
        DueCounts("letters", 0, 0, 1, in_realtime=lane is Lane.REALTIME)
    ]


@pytest.mark.slow
def test_a_rescued_item_that_failed_in_real_time_is_overdue_until_its_batch_answers_it(
    connection: Connection,
) -> None:
    batch_id = late.in_batch(connection, "k", "asked", max_failures=1)
    late.rescue(connection)
    mine = next(each for each in claim(connection, now=late.LATE) if each.key == "k")
    save(connection, tried(mine, Outcome.ERRORED, error="no", at=late.LATE), now=late.LATE)
    assert seen(connection, now=late.DUE) == []
    assert seen(connection, now=late.DUE + timedelta(minutes=1)) == [
        DueCounts("letters", 0, 0, 2, in_realtime=2)
    ]
    at = due.read_outcomes(
        asking.through(connection), since=late.DUE, now=late.DUE + timedelta(minutes=1)
    )
    assert at == [DeadlineFigures("letters", Lane.REALTIME, "rescue", 0, 0, 2)]
    answered = late.DUE + timedelta(minutes=2)
    save(
        connection,
        tried(late.of_batch(connection, batch_id), at=answered),
        batch_id=batch_id,
        now=answered,
    )
    assert seen(connection, now=answered) == [DueCounts("letters", 0, 1, 1, in_realtime=2)]


def test_a_failed_item_counts_as_missed_until_it_is_retried(connection: Connection) -> None:
    publish(connection, now=NOON, max_failures=1)
    of = claimed_item(connection, "bad", due_at=later(hours=1))
    save(
        connection,
        tried(of, Outcome.ERRORED, error="no", at=later(seconds=3)),
        now=later(seconds=3),
    )
    assert figures(connection, now=later(seconds=4)) == [realtime(missed=1)]
    decisions.retry(connection, "letters", None, now=later(minutes=1))
    assert figures(connection, now=later(minutes=1)) == []
    save(
        connection,
        *(tried(each, at=later(minutes=2)) for each in claim(connection, now=later(minutes=2))),
        now=later(minutes=2),
    )
    assert figures(connection, now=later(minutes=3)) == [realtime(met=1)]


@pytest.mark.slow
def test_only_the_first_answer_counts_and_not_the_authoritative_pass(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON, mode="lambda")
    of = claimed_item(connection, "twice", due_at=later(minutes=1))
    save(connection, tried(of, at=later(seconds=1)), now=later(seconds=1))
    batch_id, work = submit(connection, version, now=later(seconds=2))
    save(
        connection,
        *(tried(each, output=B, at=later(hours=1)) for each in work),
        batch_id=batch_id,
        now=later(hours=1),
    )
    home(connection, batch_id, now=later(hours=1))
    assert figures(connection, now=later(hours=1)) == [realtime(met=1)]


@pytest.mark.slow
def test_a_canceled_item_is_not_counted_before_or_after_a_rebuild(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    for number in range(4):
        of = claimed_item(connection, f"k{number}", due_at=later(seconds=10))
        save(connection, tried(of, at=later(seconds=number * 5)), now=later(seconds=number * 5))
    assert figures(connection, now=later(minutes=1)) == [realtime(met=3, missed=1)]
    connection.execute(text("update lanes.item set canceled_at = received_at where key = 'k3'"))
    said = figures(connection, now=later(minutes=1))
    assert said == [realtime(met=3)]
    folding.fold(connection, most=1_000)
    assert figures(connection, now=later(minutes=1)) == said
    folding.rebuild_here(connection, until=later(days=1))
    assert figures(connection, now=later(minutes=1)) == said
