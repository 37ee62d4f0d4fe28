"""The context of an item in a batch: labels, answers, earlier revisions and reference rows, in order and within limits."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from lanes.batch.batch import BatchKind
from lanes.doors.item import Amendment
from lanes.money.estimates import Estimates
from lanes.packing import history_chars
from lanes.store.doors import full_data, items
from lanes.store.doors.full_data import ReferenceFailed
from lanes.words import Lane
from lanes.workload.context import CUT, ContextPart, ContextTag, frame_chars, part_chars
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import publish, route, spec, submission, version
from tests.store.tries import A, claim, lock_for_batch, row, rows, save, tried

FACTS = {
    "name": "customer",
    "relation": "ops.facts",
    "key": "payload.customer",
    "column": "customer",
}


def put(connection: Connection, *keys: str, **fields: Any) -> None:
    """Admit items that occurred an hour apart, in one transaction."""
    sent = [
        submission(key, occurred_at=later(hours=hour), entity="ann", **fields)
        for hour, key in enumerate(keys)
    ]
    items.admit(connection, sent, door="client", now=later(hours=9))


def read(connection: Connection, of: Version) -> dict[str, tuple[ContextPart, ...]]:
    """Return the context that a batch would read for each item, by key."""
    now = later(hours=9)
    route(connection, now=now)
    kind = BatchKind(of.workload, of.id)
    waiting = lock_for_batch(connection, kind, limit=99, now=now)
    found = full_data.earlier_of_work(connection, [each.claim.work_id for each in waiting], of)
    return {each.key: found.get(each.claim.work_id, ()) for each in waiting}


def reference(connection: Connection, payload: dict[str, Any], **fields: Any) -> str:
    """Return the reference rows of an item with this payload."""
    of = version(context={"reference": [FACTS | fields]})
    (part,) = full_data.load(connection, of, {1: {"payload": payload, "consumer": None}})[1]
    assert (part.part, part.name) == (ContextTag.REFERENCE, "customer")
    return part.content


@pytest.fixture
def facts(connection: Connection) -> Connection:
    connection.execute(text("create schema ops"))
    connection.execute(text("create table ops.facts (customer bigint, plan text)"))
    connection.execute(text("insert into ops.facts values (7, 'pro'), (7, 'free'), (8, 'big')"))
    return connection


def test_items_of_one_transaction_see_earlier_ones_by_time_of_occurrence(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, context={"entity": {"items": 5}})
    put(connection, "a", "b", "c", lane=Lane.BATCH)
    told = read(connection, of)
    assert [part.content["text"] for part in told["c"]] == ["letter a", "letter b"]
    assert told["a"] == ()
    routed = {key: row(connection, "route_log", key=key).batch_usd for key in "abc"}
    assert routed["a"] < routed["b"] < routed["c"]


def test_earlier_items_show_their_answer_and_newest_label_where_declared(
    connection: Connection,
) -> None:
    whole = {"items": 5, "results": True, "labels": True}
    of = publish(connection, now=NOON, context={"entity": whole})
    put(connection, "a", lane=Lane.REALTIME)
    route(connection, now=later(hours=9))
    save(connection, *map(tried, claim(connection, now=later(hours=9))))
    for source, expected in (("crm", {"category": "a"}), ("desk", {"category": "b"})):
        connection.execute(
            text("select lanes.label('letters', 'a', :expected, :source)"),
            {"expected": f'{{"category": "{expected["category"]}"}}', "source": source},
        )
    put(connection, "b0", "b", lane=Lane.BATCH)
    first, _ = read(connection, of)["b"]
    assert (first.answer, first.label) == (A, {"category": "b"})
    plain = publish(connection, now=NOON, context={"entity": {"items": 5}})
    ids = {each.key: each.id for each in rows(connection, "item")}
    lengths = [
        full_data.read_lengths(connection, {ids["b"]: each})[ids["b"]] for each in (of, plain)
    ]
    assert lengths[0][-1] == part_chars(first)
    assert lengths[0][-1] > lengths[1][-1] == part_chars(ContextPart(first.content))


def test_only_items_within_the_configured_days_are_read(connection: Connection) -> None:
    of = publish(connection, now=NOON, context={"entity": {"items": 5, "days": 1}})
    put(connection, "b", lane=Lane.BATCH)
    old, edge = (
        submission(key, entity="ann", occurred_at=NOON - gone)
        for key, gone in (("old", timedelta(days=1, seconds=1)), ("edge", timedelta(days=1)))
    )
    items.admit(connection, [old, edge], door="client", now=NOON)
    assert [part.content["text"] for part in read(connection, of)["b"]] == ["letter edge"]


def test_an_amended_item_shows_its_earlier_revisions_with_the_newest_last(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, context={"amendments": 2})
    put(connection, "a", lane=Lane.BATCH)
    for said in ("two", "three", "four"):
        sent = Amendment("letters", "a", {"text": said})
        assert items.amend(connection, sent, door="client", now=later(hours=9)).outcome == "amended"
    parts = read(connection, of)["a"]
    assert [(each.part, each.content["text"]) for each in parts] == [
        (ContextTag.BEFORE, "two"),
        (ContextTag.BEFORE, "three"),
    ]
    (id_,) = (each.id for each in rows(connection, "item"))
    more = frame_chars(ContextTag.BEFORE) - frame_chars(ContextTag.HISTORY)
    measured = full_data.read_lengths(connection, {id_: of})[id_]
    assert measured == tuple(part_chars(each) + more for each in reversed(parts))


def test_reference_rows_are_selected_by_the_key(facts: Connection) -> None:
    assert reference(facts, {"customer": 7}).split("\n") == [
        '{"plan": "free", "customer": 7}',
        '{"plan": "pro", "customer": 7}',
    ]
    for nothing in ({"customer": 9}, {"customer": "7; drop"}, {"customer": None}, {}):
        assert reference(facts, nothing) == "(no rows)"
    assert reference(facts, {"customer": "7"}) == reference(facts, {"customer": 7})
    facts.execute(text('create view ops.odd as select customer as "order", plan from ops.facts'))
    assert "pro" in reference(facts, {"customer": 7}, relation="ops.odd", column="order")


def test_rows_beyond_a_limit_are_cut_with_a_notice(facts: Connection) -> None:
    one = '{"plan": "free", "customer": 7}'
    assert reference(facts, {"customer": 7}, rows=1) == f"{one}\n{CUT}"
    facts.execute(text("update ops.facts set plan = repeat('x', 99999) where plan = 'pro'"))
    assert reference(facts, {"customer": 7}, bytes=100) == f"{one}\n{CUT}"
    assert reference(facts, {"customer": 7}, bytes=65_536, rows=100) == f"{one}\n{CUT}"


def test_one_query_reads_the_rows_of_all_items(facts: Connection) -> None:
    of = version(context={"reference": [FACTS]})
    given = {n: {"payload": {"customer": n % 9}, "consumer": None} for n in range(300)}
    asked = list[str]()
    event.listen(facts, "before_cursor_execute", lambda *each: asked.append(each[2]))
    found = full_data.load(facts, of, given)
    assert sum("ops.facts" in each for each in asked) == 1
    assert [found[n][0].content.count("\n") for n in (7, 8, 16, 9)] == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("drop table ops.facts", "there is no table or view ops.facts"),
        ("alter table ops.facts rename customer to c", 'ops.facts has no column "customer"'),
        (
            "drop table ops.facts; create view ops.facts as select 7 as customer, pg_sleep(9)::text as plan",
            "did not answer within 0.2 s",
        ),
        (
            "drop table ops.facts; create view ops.facts as select 7 as customer, 1 / (random() * 0)::int as plan",
            "ops.facts cannot be read: division by zero",
        ),
    ],
)
def test_an_unreadable_relation_raises_its_reason_and_leaves_the_transaction_usable(
    facts: Connection, monkeypatch: pytest.MonkeyPatch, broken: str, said: str
) -> None:
    monkeypatch.setattr(full_data, "PATIENCE", timedelta(seconds=0.2))
    facts.execute(text(broken))
    with pytest.raises(ReferenceFailed, match='reference "customer"') as failure:
        reference(facts, {"customer": 7})
    assert said in str(failure.value)
    assert facts.execute(text("show statement_timeout")).scalar_one() != "200ms"


def test_the_check_at_publishing_names_a_missing_relation(facts: Connection) -> None:
    context = version(context={"reference": [FACTS]}).spec.context
    assert full_data.check(facts, context) == []
    facts.execute(text("drop table ops.facts"))
    said = 'reference "customer": there is no table or view ops.facts; create it'
    assert full_data.check(facts, context) == [said]


def test_the_error_about_a_forbidden_relation_names_the_missing_grants(facts: Connection) -> None:
    facts.execute(text("create role stranger"))
    facts.execute(text("set role stranger"))
    try:
        with pytest.raises(ReferenceFailed, match=r"grant select on ops\.facts to lanes_worker"):
            reference(facts, {"customer": 7})
    finally:
        facts.execute(text("reset role"))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("relation", "facts", "should match pattern"),
        ("relation", 'ops."x"; drop', "should match pattern"),
        ("relation", "lanes.item", "a schema of your own"),
        ("relation", "pg_catalog.pg_authid", "a schema of your own"),
        ("column", "a b", "should match pattern"),
        ("key", "payload.", "context.reference.0.key, line 1"),
        ("key", "age_s", "a key has payload and consumer"),
        ("key", "item.id", "rules have payload"),
        ("rows", 0, "greater than or equal to 1"),
    ],
)
def test_an_invalid_reference_definition_is_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(Exception, match=r"context\.reference\.0") as refused:
        spec(context={"reference": [FACTS | {field: value}]})
    assert said in str(refused.value)


def test_reference_rows_count_in_estimates_at_their_largest_size() -> None:
    plain, of = version(), version(2, context={"reference": [FACTS | {"bytes": 4000}]})
    known, found = (Estimates(NOON).of(each, 100) for each in (plain, of))
    assert found.realtime == known.realtime
    own = version(3, history_items=1)
    rows = Estimates(NOON).of(own, 100, history_chars([4000]))
    assert known.batch < found.batch
    assert abs(found.batch / rows.batch - 1) < 0.05
