"""Texts of items are kept for the time that their workload sets; their keys, hashes and costs are kept for ever."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.client import Lanes
from lanes.doors.item import Amendment
from lanes.errors import ActionRefused, AnswerEmptied
from lanes.store.database import Database
from lanes.store.doors import emptying, full_data, items
from lanes.store.replays import promotions, replays
from lanes.store.report import snapshot
from lanes.store.settling import decisions, results
from lanes.words import Lane, Outcome, Signature
from lanes.workload import definition
from tasks.tidy import empty_out
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route, spec, submission
from tests.store.tries import claim, row, rows, said_somewhere, save, submit, tried

SECRET = "Winterbourne"
SAID = {"text": SECRET}
LATER = later(days=31)
LONG_AGO = NOON - timedelta(days=60)


def settle(
    connection: Connection,
    *keys: str,
    now: datetime = NOON,
    workload: str = "letters",
    **fields: Any,
) -> None:
    """Receive and answer items; their input, their answer and the error of a first attempt contain the secret."""
    for key in keys:
        admit(
            connection, key, now=now, workload=workload, lane=Lane.REALTIME, payload=SAID, **fields
        )
    route(connection, now=now)
    for each in claim(connection, now=now):
        save(connection, tried(each, Outcome.INVALID, error=f"no {SECRET}", at=now), now=now)
    for each in claim(connection, now=now + timedelta(hours=1)):
        save(connection, tried(each, output={"category": SECRET}, at=now), now=now)


def empty(connection: Connection, *workloads: str, before: datetime = LATER, most: int = 2) -> int:
    """Empty the items older than `before`, `most` at a time; return their number."""
    number, after = 0, 0
    while True:
        some = emptying.empty_some(
            connection,
            dict.fromkeys(workloads or ("letters",), before),
            after=after,
            most=most,
            now=LATER,
        )
        number += some.items
        if some.onwards is None:
            return number
        after = some.onwards


@pytest.fixture
def letters(connection: Connection) -> None:
    publish(connection, now=NOON)


@pytest.mark.slow
@pytest.mark.usefixtures("letters")
def test_emptying_removes_all_texts_of_an_item_and_keeps_its_key_hash_and_costs(
    connection: Connection,
) -> None:
    settle(connection, "a", "b", "c")
    late = Amendment("letters", "a", {"text": f"{SECRET} again"}, "event-1")
    before = rows(connection, "spend")
    items.amend(connection, late, door="event", now=NOON)
    _, works = submit(connection, publish(connection, now=NOON), now=NOON)
    save(connection, *(tried(each, output={"category": SECRET}) for each in works))
    assert {"item", "revision", "result", "attempt"} <= said_somewhere(connection, SECRET)
    assert empty(connection) == 3
    assert said_somewhere(connection, SECRET) == set()
    assert empty(connection) == 0
    of_a = row(connection, "item_status", key="a")
    assert (of_a.state, of_a.emptied_at) == ("settled", LATER)
    assert of_a.cost_usd > 0
    assert rows(connection, "spend")[: len(before)] == before
    again, other = submission("b", payload=SAID), submission("c", payload={"text": "other"})
    outcomes = [
        each.outcome for each in items.admit(connection, [again, other], door="client", now=LATER)
    ]
    assert outcomes == ["duplicate", "key_conflict"]


@pytest.mark.slow
@pytest.mark.usefixtures("letters")
def test_items_that_are_younger_open_or_of_a_workload_without_a_limit_are_not_emptied(
    connection: Connection,
) -> None:
    publish(connection, "ads", now=NOON)
    settle(connection, "old")
    settle(connection, "kept", workload="ads")
    settle(connection, "young", now=later(days=30))
    admit(connection, "open", now=NOON, lane=Lane.BATCH, payload=SAID)
    route(connection, now=NOON)
    assert empty(connection, before=later(days=1)) == 1
    stay = {each.key for each in rows(connection, "item") if each.payload == SAID}
    assert stay == {"kept", "young", "open"}


@pytest.mark.slow
@pytest.mark.usefixtures("letters")
def test_a_locked_item_is_emptied_by_the_next_run(pool: Engine, connection: Connection) -> None:
    settle(connection, "held", "free")
    connection.commit()
    with pool.begin() as other:
        other.exec_driver_sql("select from lanes.item where key = 'held' for no key update")
        assert empty(connection) == 1
        connection.commit()
    assert empty(connection) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("letters")
def test_a_reader_of_an_emptied_answer_gets_an_error(
    pool: Engine, database_url: str, connection: Connection
) -> None:
    settle(connection, "a", "b")
    connection.commit()
    with pool.begin() as other:
        emptying.forget(other, "letters", "b", now=NOON)
    empty(connection)
    connection.commit()
    with Lanes(database_url) as lanes:
        with pytest.raises(AnswerEmptied, match="keep_payload_days"):
            lanes.read_result("letters", "a", reader="desk")
        with pytest.raises(AnswerEmptied, match="is no longer kept"):
            lanes.wait("letters", "a", reader="desk", timeout_s=1)
    assert row(connection, "current_results", key="a").output is None
    assert results.current(connection, "letters", "b") is None


@pytest.mark.slow
@pytest.mark.usefixtures("letters")
def test_a_replay_of_an_emptied_range_is_refused_and_a_replay_of_the_rest_begins(
    connection: Connection,
) -> None:
    settle(connection, "a", "b")
    settle(connection, "c", now=later(days=30))
    assert empty(connection, before=later(days=1)) == 2
    newest = max(each.position for each in rows(connection, "item") if each.emptied_at is not None)
    asked: dict[str, Any] = {"version_no": None, "last": None}
    by = Signature("ada", "", LATER)
    looks = (partial(replays.preview, now=LATER), partial(replays.begin, by=by))
    for look in looks:
        with pytest.raises(ActionRefused, match=f"2 items.*replay from position {newest + 1} on"):
            look(connection, "letters", first=None, **asked)
    begun = replays.begin(connection, "letters", first=newest + 1, **asked, by=by)
    assert empty(connection, before=LATER) == 0, "an open replay reads what its items say"
    assert begun.from_position == newest + 1


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("last", ["received", "answered", "amended", "failed", "canceled"])
def test_the_retention_of_an_item_starts_at_its_last_event(
    connection: Connection, last: str
) -> None:
    settle(connection, "old")
    lately = later(days=30)
    match last:
        case "received":
            settle(connection, "k", now=lately)
        case "answered" | "failed":
            admit(connection, "k", now=NOON, lane=Lane.REALTIME, payload=SAID)
            route(connection, now=NOON)
            outcome = Outcome.VALID if last == "answered" else Outcome.POISON
            save(
                connection,
                *(tried(each, outcome, at=lately) for each in claim(connection, now=lately)),
                now=lately,
            )
        case "amended":
            settle(connection, "k")
            items.amend(
                connection,
                Amendment("letters", "k", {"text": "new"}, "event-1"),
                door="event",
                now=lately,
            )
            items.cancel(connection, "letters", "k")
            connection.exec_driver_sql(
                f"update lanes.item set canceled_at = '{NOON.isoformat()}' where key = 'k'"
            )
        case _:
            admit(connection, "k", now=NOON, lane=Lane.REALTIME, payload=SAID)
            route(connection, now=NOON)
            connection.execute(text("select lanes.cancel('letters', 'k', :at)"), {"at": lately})
    minutes = timedelta(minutes=20)
    assert empty(connection, before=lately) == 1
    assert row(connection, "item", key="k").emptied_at is None
    assert empty(connection, before=lately + minutes) == 1
    assert row(connection, "item", key="k").emptied_at is not None


@pytest.mark.slow
@pytest.mark.usefixtures("letters")
def test_an_emptied_item_does_not_count_in_the_accuracy(connection: Connection) -> None:
    settle(connection, "a", "b")
    settle(connection, "c", now=later(days=30))
    items.label(
        connection, "letters", {key: {"category": SECRET} for key in ("a", "b", "c")}, source="ada"
    )
    empty(connection, before=later(days=1))
    assert [(each.labels, each.share) for each in rows(connection, "accuracy")] == [(1, 1.0)]
    told = snapshot.take(connection, since=NOON, now=LATER).accuracy
    assert [(each.labels, each.share) for each in told] == [(1, 1.0)]


@pytest.mark.slow
def test_a_promoted_replay_is_compared_by_the_items_that_are_not_emptied(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    settle(connection, "a")
    settle(connection, "b", now=later(days=30))
    of = begin_replay(connection, now=LATER)
    of = replays.read_some(connection, of.id, now=LATER)
    _, works = submit(connection, letters, now=LATER)
    save(connection, *(tried(each, output={"category": "a"}) for each in works), now=LATER)
    replays.finish(connection, now=LATER)
    promotions.promote(connection, "letters", now=LATER)
    assert empty(connection, before=later(days=1)) == 1
    assert promotions.compare(connection, of).items == 1


@pytest.mark.usefixtures("letters")
def test_an_amendment_restores_an_emptied_item(connection: Connection) -> None:
    settle(connection, "a")
    empty(connection)
    late = Amendment(
        "letters", "a", {}, "event-1"
    )  # equals the emptied payload, but not the original one
    assert items.amend(connection, late, door="event", now=LATER).outcome == "amended"
    of_a = row(connection, "item_status", key="a")
    assert (of_a.state, of_a.emptied_at) != ("settled", LATER)
    assert of_a.emptied_at is None


def test_an_emptied_item_is_not_retried_and_is_in_no_history(connection: Connection) -> None:
    letters = publish(connection, now=NOON, max_failures=1, history_items=5)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME, entity="ada", payload=SAID)
    route(connection, now=NOON)
    save(connection, *(tried(each, Outcome.POISON) for each in claim(connection)))
    (told,) = full_data.earlier_of_entity(connection, letters, "ada", before=LATER)
    assert told.content == SAID
    empty(connection)
    assert decisions.retry(connection, "letters", None, now=LATER) == []
    assert full_data.earlier_of_entity(connection, letters, "ada", before=LATER) == ()


@pytest.mark.slow
async def test_each_workload_empties_its_items_after_its_own_number_of_days(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        publish(connection, now=LONG_AGO, keep_payload_days=30)
        publish(connection, "ads", now=LONG_AGO)
        settle(connection, "a", now=LONG_AGO)
        settle(connection, "b", now=LONG_AGO, workload="ads")
    async with Database(database_url) as db:
        assert await empty_out.fn(db) == 1
        assert await empty_out.fn(db) == 0
    with pool.begin() as connection:
        assert {each.key: each.payload for each in rows(connection, "item")} == {"a": {}, "b": SAID}


def test_keep_payload_days_changes_the_content_hash_only_when_it_is_set() -> None:
    assert definition.LATER["keep_payload_days"] == spec().keep_payload_days
    assert definition.content_hash(spec(keep_payload_days=30)) != definition.content_hash(spec())
