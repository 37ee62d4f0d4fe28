"""Accuracy, read directly from labels and answers: each labelled answer counts once, in any order of writes."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.json_data import dumps, why_unfit_label
from lanes.store.doors import items
from lanes.store.replays import promotions, replays
from lanes.store.report.snapshot import ACCURACY
from lanes.store.settling import outcomes
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route
from tests.store.tries import A, B, claimed_item, row, rows, save, submit, tried


def labelled(connection: Connection) -> None:
    items.label(connection, "letters", {"k": A}, source="team")


@pytest.mark.slow
@pytest.mark.parametrize("first", ["label", "save"])
def test_a_label_and_an_answer_from_overlapping_transactions_count_once(
    pool: Engine, first: str
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        work = claimed_item(setup, "k")
    acts: dict[str, Callable[[Connection], object]] = {
        "label": labelled,
        "save": lambda c: outcomes.save(c, [tried(work)], now=NOON),
    }
    second = next(each for each in acts if each != first)
    with pool.connect() as one, pool.connect() as other:
        acts[first](one)  # neither transaction sees the other's rows
        acts[second](other)
        one.commit()
        other.commit()
    with pool.begin() as reader:
        assert [(each.labels, each.share) for each in rows(reader, "accuracy")] == [(1, 1.0)]


def replayed(connection: Connection, *, answer: dict[str, str]) -> None:
    """Run a replay by the version in force to its end; every item gets this answer."""
    of = begin_replay(connection, now=later(hours=1))
    replays.read_some(connection, of.id, now=later(hours=1))
    version = publish(connection, now=NOON)
    batch_id, works = submit(connection, version, now=later(hours=1), account=f"of {of.number}")
    save(
        connection,
        *(tried(each, output=answer) for each in works),
        batch_id=batch_id,
        now=later(hours=1),
    )
    replays.finish(connection, now=later(hours=1))


def accuracy(connection: Connection) -> set[tuple[str, int, float]]:
    return {(each.lane, each.labels, each.share) for each in rows(connection, "accuracy")}


@pytest.mark.slow
def test_dropped_replays_do_not_multiply_labels(connection: Connection) -> None:
    publish(connection, now=NOON)
    keys = [f"k{n}" for n in range(40)]
    admit(connection, *keys, now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    version = publish(connection, now=NOON)
    batch_id, works = submit(connection, version)
    save(connection, *(tried(each, output=A) for each in works), batch_id=batch_id)
    items.label(
        connection,
        "letters",
        {key: A if n < 30 else B for n, key in enumerate(keys)},
        source="team",
    )
    before = row(connection, "accuracy")
    assert (before.labels, before.share) == (40, 0.75)
    for _ in range(3):
        replayed(connection, answer=B)
        promotions.drop(connection, "letters", now=later(hours=1))
    assert row(connection, "accuracy") == before


@pytest.mark.slow
def test_a_workload_with_many_labels_does_not_hide_the_labels_of_another(
    connection: Connection,
) -> None:
    asked = text("select lanes.label(:workload, :key, cast(:expected as jsonb), at => :at)")
    for n, (workload, expected) in enumerate(
        [("mail", A), ("mail", B), ("letters", A), ("letters", A), ("letters", B)]
    ):
        publish(connection, workload, now=NOON)
        work = claimed_item(connection, f"k{n}", workload=workload)
        save(connection, tried(work, output=B))
        given = {"workload": workload, "key": work.key, "expected": dumps(expected)}
        connection.execute(asked, given | {"at": later(minutes=n)})
    found = connection.execute(text(ACCURACY), {"since": NOON, "most": 1}).all()
    assert {(each.workload, each.labels, each.share) for each in found} == {
        ("mail", 1, 1.0),
        ("letters", 1, 1.0),
    }


@pytest.mark.slow
def test_accuracy_counts_only_the_shown_answer_of_a_lane_and_version(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, works = submit(connection, version)
    save(connection, *(tried(each, output=B) for each in works), batch_id=batch_id)
    labelled(connection)
    replayed(connection, answer=A)
    # A replay's answers do not count until it is promoted.
    assert accuracy(connection) == {("batch", 1, 0.0)}
    promotions.promote(connection, "letters", now=later(hours=1))
    assert accuracy(connection) == {("batch", 1, 1.0)}
    promotions.demote(connection, "letters", now=later(hours=1))
    assert accuracy(connection) == {("batch", 1, 0.0)}


@pytest.mark.slow
def test_labeled_answers_shows_each_label_with_the_answer_that_it_judges(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    save(connection, *(tried(each, output=B) for each in [claimed_item(connection, "k")]))
    items.label(connection, "letters", {"k": {"category": "a", "note": "x"}}, source="team")
    found = {
        each.field: (each.expected, each.answer, each.correct)
        for each in rows(connection, "labeled_answers")
    }
    assert found == {"category": ("a", B["category"], False), "note": ("x", None, False)}


@pytest.mark.parametrize(
    ("length", "fits"), [(0, False), (1, True), (512, True), (513, False), (2_700, False)]
)
def test_a_labelled_field_has_a_name_of_1_to_512_characters(length: int, fits: bool) -> None:
    why = why_unfit_label({"x" * length: "a"})
    assert (
        why is None
        if fits
        else why
        == f"the label names a field with {length:,} characters; a field's name has 1 to 512"
    )
