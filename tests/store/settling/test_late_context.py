"""Late context: the passes that it causes, their window and budget, and no repeated passes."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.settling.story import happenings
from lanes.store.doors import full_data, items
from lanes.store.settling import late_context
from lanes.store.settling.story import records
from lanes.words import Lane, Outcome
from lanes.workload.context import fingerprint
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, home, row, rows, save, submit, tried

FACTS = {"name": "c", "relation": "ops.facts", "key": "payload.text", "column": "said"}
CONTEXT = {"entity": {"items": 3, "results": True, "labels": True}, "reference": [FACTS]}
ALL_DAY = {"off_peak_start": "00:00", "off_peak_end": "00:00"}


class Letters:
    """A workload with a context, the answers to its items of one entity, and a clock that moves."""

    def __init__(self, connection: Connection, **fields: Any) -> None:
        connection.execute(text("create schema if not exists ops"))
        connection.execute(text("create table if not exists ops.facts (said text, plan text)"))
        self.connection, self.now = connection, NOON
        more = {"mode": "lambda", "context": CONTEXT, **ALL_DAY, **fields}
        self.version = publish(connection, now=NOON, **more)

    def arrive(self, *keys: str, lane: Lane = Lane.BATCH, **fields: Any) -> None:
        for key in keys:
            self.now += timedelta(minutes=1)
            more = {"entity": "ann", "occurred_at": self.now, **fields}
            admit(self.connection, key, now=self.now, lane=lane, **more)
        route(self.connection, now=self.now)

    def answer(self, output: dict[str, Any] = A, outcome: Outcome = Outcome.VALID) -> set[str]:
        """Submit and answer all waiting batch work, and return its keys."""
        self.now += timedelta(minutes=1)
        batch_id, waiting = submit(self.connection, self.version, now=self.now)
        of = {each.claim.work_id: {"payload": each.payload, "consumer": None} for each in waiting}
        read = full_data.read(self.connection, self.version, of)
        late_context.note(self.connection, {id_: fingerprint(read.get(id_, ())) for id_ in of})
        tries = [tried(each, outcome, output, at=self.now) for each in waiting]
        save(self.connection, *tries, now=self.now, batch_id=batch_id)
        home(self.connection, batch_id, now=self.now)
        return {each.key for each in waiting}

    def owed(self, at: datetime | None = None) -> dict[str, str]:
        """Return the items that late context asks again on the next day, with the kinds of context that changed."""
        self.now = at or self.now + timedelta(days=1)
        late_context.owe(self.connection, now=self.now)
        found = rows(self.connection, "revision_log", source="late_context")
        return {each.key: each.position for each in found if each.received_at == self.now}

    def label(self, key: str, says: str) -> None:
        given = {"key": key, "says": f'{{"category": "{says}"}}', "at": self.now}
        self.connection.execute(
            text("select lanes.label('letters', :key, :says, at => :at)"), given
        )

    def amend(self, key: str, said: str) -> None:
        sent = Amendment("letters", key, {"text": said})
        items.amend(self.connection, sent, door="client", now=self.now)

    def fact(self, statement: str) -> None:
        self.connection.execute(text(statement))


@pytest.fixture
def letters(connection: Connection) -> Letters:
    of = Letters(connection)
    of.arrive("a", "b")
    of.answer()
    return of


def test_a_late_label_causes_one_more_pass_and_its_correction_names_the_reason(
    letters: Letters,
) -> None:
    assert letters.owed() == {}
    letters.label("a", "b")
    assert letters.owed() == {"b": "label"}
    assert row(letters.connection, "item_status", key="b").state == "answered"
    assert letters.owed(letters.now + timedelta(minutes=1)) == {}
    assert letters.answer(B) == {"b"}
    corrected = row(letters.connection, "correction_log")
    assert (corrected.key, corrected.late_context) == ("b", "label")
    assert (corrected.provisional_output, corrected.authoritative_output) == (A, B)
    event = rows(letters.connection, "event_outbox", event="lanes.item.corrected")[-1]
    assert event.payload["late_context"] == "label"
    assert row(letters.connection, "item_status", key="b").state == "settled"
    assert letters.owed() == {}
    story = happenings(records(letters.connection, "letters", "b", now=letters.now))
    assert ("asked again", "revision 1, because its context changed: label") in [
        (each.what, each.detail) for each in story
    ]


def test_each_kind_of_late_context_causes_a_pass_for_the_items_that_read_it(
    letters: Letters,
) -> None:
    letters.amend("a", "amended")
    assert letters.answer(B) == {"a"}  # the usual pass for its own amendment
    assert letters.owed() == {"b": "history"}
    assert letters.answer() == {"b"}
    letters.arrive("early", occurred_at=NOON - timedelta(hours=1))
    letters.answer()
    assert letters.owed() == {"a": "history", "b": "history"}
    letters.answer()
    letters.fact("insert into ops.facts values ('letter b', 'pro')")
    assert letters.owed() == {"b": "reference"}
    letters.answer()
    letters.fact("update ops.facts set plan = 'free'")
    letters.label("early", "a")
    assert letters.owed() == {"a": "label", "b": "label, reference"}
    letters.answer()
    letters.fact("delete from ops.facts")
    assert letters.owed() == {"b": "reference"}
    letters.answer(B)
    assert letters.owed() == {}  # a changed answer to an earlier item is no late context
    items.cancel(letters.connection, "letters", "early")
    assert letters.owed() == {}


def test_late_context_also_causes_a_pass_for_an_item_without_an_authoritative_pass(
    connection: Connection,
) -> None:
    of = Letters(connection)
    of.arrive("a", "b", lane=Lane.REALTIME)
    save(connection, *map(tried, claim(connection, now=of.now)), now=of.now)
    for change in (  # the pass is not sampled
        "update lanes.work set state = 'canceled', finished_at = :now where lane = 'batch'",
        "update lanes.item set settled_at = :now",
    ):
        connection.execute(text(change), {"now": of.now})
    of.now += timedelta(hours=1)
    of.label("a", "b")
    assert of.owed() == {"b": "label"}
    assert of.answer(B) == {"b"}
    of.fact("insert into ops.facts values ('letter a', 'pro')")
    assert of.owed() == {"a": "reference"}  # compared with its context of the day before


def test_a_failed_pass_for_late_context_keeps_the_answer_and_is_not_owed_again(
    letters: Letters,
) -> None:
    letters.label("a", "b")
    assert letters.owed() == {"b": "label"}
    letters.answer(outcome=Outcome.POISON)
    of = row(letters.connection, "item_status", key="b")
    assert (of.state, of.failure is not None) == ("settled", True)
    assert row(letters.connection, "current_results", key="b").output == A
    assert letters.owed() == {}


def test_late_context_causes_passes_only_in_the_window_and_within_horizon_and_budget(
    connection: Connection,
) -> None:
    night = {"off_peak_start": "22:00", "off_peak_end": "06:00"}
    of = Letters(connection, **night, context=CONTEXT | {"horizon_days": 2})
    of.arrive("a", "b")
    of.answer()
    of.label("a", "b")
    assert of.owed(NOON + timedelta(hours=2)) == {}
    assert of.owed(NOON + timedelta(hours=12)) == {"b": "label"}
    of.answer()
    of.label("a", "a")
    assert of.owed(NOON + timedelta(days=2, hours=11)) == {}  # received too long ago

    poor = Letters(connection, context=CONTEXT | {"budget_usd": 0})
    poor.arrive("c", "d", entity="bob")
    poor.answer()
    poor.label("c", "b")
    assert poor.owed() == {}
    rich = Letters(connection)
    rich.now = poor.now
    assert rich.owed() == {"b": "label", "d": "label"}


@pytest.mark.parametrize("off", [{"mode": "plain"}, {"context": CONTEXT | {"horizon_days": 0}}])
def test_late_context_causes_no_pass_in_plain_mode_or_without_a_horizon(
    connection: Connection, off: dict[str, Any]
) -> None:
    of = Letters(connection, **off)
    of.arrive("a", "b")
    of.answer()
    of.label("a", "b")
    assert of.owed() == {}


def test_an_unreadable_reference_is_reported_with_its_reason(letters: Letters) -> None:
    letters.fact("drop table ops.facts")
    (said,) = late_context.owe(letters.connection, now=later(days=1))
    assert "there is no table or view ops.facts" in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_pass_is_owed_if_and_only_if_its_context_changed(
    connection: Connection, seed: int
) -> None:
    of, chance, dirty = (
        Letters(connection, context=CONTEXT | {"horizon_days": 90}),
        random.Random(seed),
        set[str](),
    )
    of.arrive("a", "b", "c")
    of.answer()
    for number in range(15):
        match chance.randrange(4):
            case 0:
                key = chance.choice("abc")
                of.label(key, str(number))
                dirty |= {each for each in "abc" if each > key}
            case 1:
                key = chance.choice("abc")
                of.amend(key, f"{key} {chance.random()}")
                dirty |= {each for each in "abc" if each > key}
                dirty -= of.answer(chance.choice([A, B]))  # this pass has read the newest context
            case 2:
                of.fact(
                    f"insert into ops.facts select payload ->> 'text', '{number}' from lanes.item where key = 'b'"
                )
                dirty.add("b")
            case _:
                pass
        if chance.random() < 0.6:
            assert set(of.owed()) == dirty
            assert of.answer(chance.choice([A, B])) == dirty
            dirty.clear()
    assert set(of.owed()) == dirty
