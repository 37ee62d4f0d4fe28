"""Actions of owners and readers on an item: cancel it, label it, read its result."""

import pytest
from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.settling.listing import NoResult, ResultRequest
from lanes.store.doors import items
from lanes.store.settling import results
from lanes.store.workload.workloads import read_versions
from lanes.words import Lane, Outcome, Standing
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, claimed_item, events, row, rows, save, submit, tried


@pytest.fixture(autouse=True)
def letters(connection: Connection) -> None:
    publish(connection, now=NOON)


# -- cancel


def test_an_item_can_be_canceled_before_it_is_routed(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    assert items.cancel(connection, "letters", "k") == "canceled"
    assert row(connection, "item_status").state == "canceled"


@pytest.mark.parametrize("is_claimed", [False, True])
def test_the_work_of_a_canceled_item_is_canceled_and_cannot_be_claimed(
    connection: Connection, is_claimed: bool
) -> None:
    admit(connection, "k", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    if is_claimed:
        claim(connection)
    assert items.cancel(connection, "letters", "k") == "canceled"
    work = row(connection, "work")
    assert work.state == "canceled"
    assert work.finished_at is not None
    assert claim(connection, now=later(hours=1)) == []


def test_canceling_twice_returns_the_same_outcome_and_changes_nothing(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    items.cancel(connection, "letters", "k")
    before = row(connection, "item")
    assert items.cancel(connection, "letters", "k") == "canceled"
    assert row(connection, "item") == before


def test_a_settled_item_cannot_be_canceled(connection: Connection) -> None:
    save(connection, tried(claimed_item(connection)))
    assert items.cancel(connection, "letters", "k") == "settled"
    assert row(connection, "item_status").state == "settled"


@pytest.mark.parametrize(("workload", "key"), [("letters", "other"), ("ghosts", "k")])
def test_an_unknown_item_cannot_be_canceled(
    connection: Connection, workload: str, key: str
) -> None:
    admit(connection, "k", now=NOON)
    assert items.cancel(connection, workload, key) == "unknown_item"


def test_canceling_one_item_does_not_cancel_others(connection: Connection) -> None:
    publish(connection, "invoices", now=NOON)
    for workload in ("letters", "invoices"):
        admit(connection, "k", now=NOON, workload=workload, lane=Lane.REALTIME)
    admit(connection, "k2", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    items.cancel(connection, "letters", "k")
    assert {(each.workload, each.key) for each in claim(connection)} == {
        ("invoices", "k"),
        ("letters", "k2"),
    }


# -- label


def test_a_label_stores_the_expected_output_its_source_and_its_time(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    query = text(
        "select lanes.label('letters', 'k', cast('{\"category\": \"a\"}' as jsonb), 'ada', :now)"
    )
    assert connection.execute(query, {"now": NOON}).scalar_one() == "labeled"
    kept = row(connection, "label")
    assert (kept.expected, kept.source, kept.labeled_at) == (A, "ada", NOON)


def test_each_source_has_its_own_newest_label(
    connection: Connection,
) -> None:
    admit(connection, "k", now=NOON)
    items.label(connection, "letters", {"k": A}, source="ada")
    items.label(connection, "letters", {"k": B}, source="bob")
    items.label(connection, "letters", {"k": B}, source="ada")
    assert {each.source: each.expected for each in rows(connection, "label")} == {
        "ada": B,
        "bob": B,
    }


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("lanes.label('letters', 'ghost', '{}')", "unknown_item"),
        ("lanes.label('letters', 'k', '[]')", "malformed"),
        ("lanes.label('letters', 'k', null)", "malformed"),
        ("lanes.label(workload => 'letters', key => 'k', expected => '{}')", "labeled"),
    ],
)
def test_labeling_returns_the_outcome_of_valid_and_invalid_calls(
    connection: Connection, call: str, told: str
) -> None:
    admit(connection, "k", now=NOON)
    assert connection.execute(text(f"select {call}")).scalar_one() == told


def test_labels_of_unknown_keys_are_skipped(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    items.label(connection, "letters", {"ghost": A, "k": B}, source="ada")
    items.label(connection, "letters", {}, source="ada")
    assert row(connection, "label").expected == B


# -- read


def test_reading_a_result_records_the_reader_and_the_time(connection: Connection) -> None:
    save(connection, tried(claimed_item(connection)))
    query = text("select * from lanes.read_result('letters', 'k', 'desk', :now)")
    taken = connection.execute(query, {"now": later(minutes=3)}).one()
    assert (taken.output, taken.standing, taken.generation, taken.lane) == (
        A,
        "authoritative",
        0,
        "realtime",
    )
    assert taken.created_at == NOON
    kept = row(connection, "read")
    assert (kept.reader, kept.read_at) == ("desk", later(minutes=3))
    assert kept.result_id == row(connection, "item").result_id


def test_reading_before_the_answer_returns_nothing_and_is_recorded(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    assert results.read(connection, "letters", "k", reader="desk") is None
    assert row(connection, "read").result_id is None


def test_reading_an_unknown_item_returns_nothing_and_records_nothing(
    connection: Connection,
) -> None:
    assert results.read(connection, "letters", "ghost", reader="desk") is None
    assert rows(connection, "read") == []


def test_a_reader_sees_the_correction_after_the_provisional_answer(connection: Connection) -> None:
    version = publish(connection, now=NOON, mode="lambda")
    save(connection, tried(claimed_item(connection), output=A))
    early = results.read(connection, "letters", "k", reader="desk")
    assert early is not None
    assert (early.output, early.standing, early.lane, early.is_settled) == (
        A,
        Standing.PROVISIONAL,
        "realtime",
        False,
    )
    batch_id, (work,) = submit(connection, version)
    save(connection, tried(work, output=B), batch_id=batch_id)
    late = results.read(connection, "letters", "k", reader="desk")
    assert late is not None
    assert (late.output, late.standing, late.lane, late.is_settled) == (
        B,
        Standing.AUTHORITATIVE,
        "batch",
        True,
    )
    first, second = rows(connection, "read", "id")
    assert first.result_id != second.result_id


def test_a_provisional_answer_whose_second_pass_failed_is_read_as_settled(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON, mode="lambda", max_failures=1)
    save(connection, tried(claimed_item(connection)))
    batch_id, (work,) = submit(connection, version)
    save(connection, tried(work, Outcome.INVALID), batch_id=batch_id)
    found = results.current(connection, "letters", "k")
    assert found is not None
    assert (found.standing, found.is_settled) == (Standing.PROVISIONAL, True)
    assert rows(connection, "read") == []  # `current` records no read


def test_many_requests_are_answered_in_order_and_only_returned_results_count_as_reads(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode="lambda")
    save(connection, tried(claimed_item(connection, "early")))
    save(connection, tried(claimed_item(connection, "broken"), Outcome.POISON))
    admit(connection, "new", "gone", now=NOON)
    items.cancel(connection, "letters", "gone")
    sought = [
        ResultRequest("letters", "new", "a"),
        ResultRequest("letters", "early", "b"),
        ResultRequest("letters", "early", "c", settled=True),
        ResultRequest("letters", "broken", "d"),
        ResultRequest("letters", "gone", "e"),
        ResultRequest("letters", "ghost", "f"),
        ResultRequest("ghosts", "early", "g"),
        ResultRequest("letters", "early", "h"),
    ]
    early = results.current(connection, "letters", "early")
    assert early is not None
    assert results.take(connection, sought) == [
        NoResult.NOT_YET,
        early,
        NoResult.NOT_YET,
        NoResult.FAILED,
        NoResult.CANCELED,
        NoResult.NO_ITEM,
        NoResult.NO_WORKLOAD,
        early,
    ]
    assert sorted(each.reader for each in rows(connection, "read")) == ["b", "h"]


# -- corrections


def corrected(connection: Connection, *readers: str) -> None:
    """Answer item "k" with `A` in real time, let `readers` read it, and correct it to `B` by its batch."""
    letters = publish(connection, now=NOON, mode="lambda")
    save(connection, tried(claimed_item(connection), output=A))
    for each in readers:
        read_as(connection, each)
    batch_id, (work,) = submit(connection, letters, now=later(minutes=1))
    save(connection, tried(work, output=B), batch_id=batch_id, now=later(hours=1))


def read_as(connection: Connection, reader: str) -> None:
    connection.execute(
        text("select from lanes.read_result('letters', 'k', :reader)"), {"reader": reader}
    )


def test_a_reader_of_a_corrected_answer_gets_both_outputs_until_the_next_read(
    connection: Connection,
) -> None:
    corrected(connection, "crm")
    (found,) = results.to_correct(connection, "crm")
    assert (found.workload, found.key, found.taken, found.output) == ("letters", "k", A, B)
    assert (found.changed_fields, found.corrected_at) == (["category"], later(hours=1))
    assert results.to_correct(connection, "others") == []
    read_as(connection, "crm")
    assert results.to_correct(connection, "crm") == []


def test_a_reader_gets_only_the_newest_correction_and_none_if_the_first_answer_is_restored(
    connection: Connection,
) -> None:
    corrected(connection, "crm")
    for minute, output, told in ((70, {"category": "b", "note": "x"}, 1), (80, A, 0)):
        said = Amendment("letters", "k", {"text": f"at {minute}"})
        items.amend(connection, said, door="client", now=later(minutes=minute))
        letters = read_versions(connection)["letters"]
        batch_id, (work,) = submit(
            connection, letters, now=later(minutes=minute), account=output["category"]
        )
        save(
            connection, tried(work, output=output), batch_id=batch_id, now=later(minutes=minute + 1)
        )
        found = results.to_correct(connection, "crm")
        assert [(each.taken, each.output) for each in found] == [(A, output)] * told


def test_a_correction_event_names_the_readers_of_the_earlier_answer(connection: Connection) -> None:
    corrected(connection, "zoe", "crm", "crm")
    read_as(connection, "late")
    (event,) = events(connection, "lanes.item.corrected")
    assert event.payload["readers"] == ["crm", "zoe"]


def test_a_correction_event_of_an_unread_answer_names_no_reader(
    connection: Connection,
) -> None:
    corrected(connection)
    (event,) = events(connection, "lanes.item.corrected")
    assert event.payload["readers"] == []
