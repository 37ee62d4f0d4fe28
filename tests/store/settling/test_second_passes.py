"""Items whose second pass is left out: their life cycle, and the evidence from the passes of other items."""

from typing import Any

from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.promises.second_pass import PassRecords
from lanes.settling.story import happenings, next_step
from lanes.store.asking import through
from lanes.store.doors import items
from lanes.store.report import snapshot
from lanes.store.settling import comparisons, story
from lanes.words import Lane, SettledReason
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, row, rows, save, submit, tried

CHECK = {"when": 'output.category == "b"', "sample": 0.001}
SAMPLED = {"risk": 0.1, "sample": 0.001}


def answer(connection: Connection, *keys: str, output: dict[str, Any] = A, **at: float) -> None:
    """Admit items and answer them in real time."""
    now = later(**at)
    admit(connection, *keys, now=now, lane=Lane.REALTIME)
    route(connection, now=now)
    tries = [tried(each, output=output, at=now) for each in claim(connection, now=now)]
    save(connection, *tries, now=now)


def settle(connection: Connection, of: Any, output: dict[str, Any], **at: float) -> None:
    """Answer the owed passes in a batch."""
    now = later(**at)
    batch_id, owed = submit(connection, of, now=now)
    tries = [tried(each, output=output, at=now) for each in owed]
    save(connection, *tries, batch_id=batch_id, now=now)


def record(connection: Connection) -> PassRecords:
    (found,) = comparisons.pass_records(connection).values()
    return found


def test_an_answer_that_is_not_sampled_settles_its_item_and_counts_in_no_comparison(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode="lambda", second_pass=CHECK)
    answer(connection, "k")
    item = row(connection, "item_status", key="k")
    assert (item.state, item.settled_reason) == ("settled", SettledReason.NOT_SAMPLED)
    assert (item.settled_at, item.failure, item.attempts) == (NOON, None, 1)
    assert row(connection, "result").standing == "provisional"
    assert [each.purpose for each in rows(connection, "work")] == ["answer"]
    assert (len(rows(connection, "response")), rows(connection, "correction")) == (1, [])
    seen = snapshot.take_through(through(connection), since=NOON, now=later(minutes=1))
    assert seen.agreement == []
    records = story.records(connection, "letters", "k", now=later(minutes=1))
    assert happenings(records)[-1].detail == (
        "on the provisional answer: its second pass was not sampled"
    )
    assert next_step(records, later(minutes=1)) == "Done"


def test_an_answer_that_fails_the_check_owes_its_second_pass(connection: Connection) -> None:
    of = publish(connection, now=NOON, mode="lambda", second_pass=CHECK)
    answer(connection, "good")
    answer(connection, "doubtful", output=B)
    assert row(connection, "item_status", key="doubtful").state == "answered"
    settle(connection, of, A, hours=1)
    doubtful = row(connection, "item_status", key="doubtful")
    assert (doubtful.state, doubtful.settled_reason) == ("settled", None)
    seen = snapshot.take_through(through(connection), since=NOON, now=later(hours=2))
    assert [(each.compared, each.corrected) for each in seen.agreement] == [(1, 1)]


def test_late_data_reopens_an_item_that_was_not_sampled(connection: Connection) -> None:
    of = publish(connection, now=NOON, mode="lambda", second_pass=CHECK)
    answer(connection, "k")
    late = Amendment("letters", "k", {"text": "late"}, place="late")
    items.amend(connection, late, door="client", now=later(hours=1))
    again = row(connection, "item_status", key="k")
    assert (again.state, again.settled_reason) == ("answered", None)
    settle(connection, of, B, hours=2)
    again = row(connection, "item_status", key="k")
    assert (again.state, again.settled_reason) == ("settled", None)


def test_a_class_is_sampled_once_enough_of_its_passes_agreed_and_not_after_they_differed(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, mode="lambda", second_pass=SAMPLED)
    # Results from before a workload leaves out passes are not read.
    comparisons.fold_passes(connection, now=NOON)
    answer(connection, *(f"k{n}" for n in range(100)))
    assert len(rows(connection, "work", purpose="authoritative")) == 100
    settle(connection, of, A, hours=1)
    comparisons.fold_passes(connection, now=later(hours=2))
    (a,) = record(connection).by_class.values()
    assert (a.answers, a.passes, a.agreement, a.sampled) == (100, 100, (100, 100), True)
    assert a.usd == sum(each.cost_usd for each in rows(connection, "response", lane="batch"))
    answer(connection, "after", hours=3)
    assert row(connection, "item_status", key="after").settled_reason == "not_sampled"
    answer(connection, "other", output=B, hours=4)
    assert row(connection, "item_status", key="other").state == "answered"
    comparisons.fold_passes(connection, now=later(hours=5))
    assert record(connection).by_class["a"].saved == 1
    connection.execute(
        text(
            "update lanes.second_pass set classes = jsonb_set(classes, '{a,portions}', '[[0, 20]]')"
        )
    )
    answer(connection, "more", hours=5)
    comparisons.fold_passes(connection, now=later(hours=6))
    answer(connection, "full", hours=7)
    assert row(connection, "item_status", key="full").state == "answered"


def test_no_passes_are_read_if_no_workload_leaves_out_second_passes(connection: Connection) -> None:
    publish(connection, now=NOON, mode="lambda")
    comparisons.fold_passes(connection, now=NOON)
    assert rows(connection, "second_pass") == rows(connection, "watermark") == []
