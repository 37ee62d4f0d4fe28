"""Archived items leave their tables, lose nothing, and stay known at every door."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from lanes.doors.item import Amendment
from lanes.errors import ActionRefused, AnswerEmptied
from lanes.settling.listing import ListingQuery, NoResult, ResultRequest
from lanes.settling.story import happenings
from lanes.store.batch import collection
from lanes.store.doors import archives, emptying, items
from lanes.store.doors.archives import ArchiveDiffers
from lanes.store.figures import folding
from lanes.store.settling import decisions, listing, results, story
from lanes.store.tables import metadata
from lanes.words import Lane, Mode, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, submission
from tests.store.figures.test_folding import STEPS, Life
from tests.store.tries import A, claim, home, rows, said, said_somewhere, save, submit, tried

LATER = later(days=40)
TABLES = ("item", *archives.MOVED)
SAID = {"text": "Where is my parcel?"}


def settle(
    connection: Connection, *keys: str, workload: str = "letters", word: str = "parcel"
) -> None:
    """Receive items and answer them in real time, each after an unusable answer."""
    for key in keys:
        said_so = {"text": f"Where is my {word}?"}
        admit(connection, key, now=NOON, workload=workload, lane=Lane.REALTIME, payload=said_so)
    route(connection, now=NOON)
    for each in claim(connection):
        save(connection, tried(each, Outcome.INVALID, error="no category"))
    for each in claim(connection, now=later(hours=1)):
        save(connection, tried(each, output=A, at=later(hours=1)), now=later(hours=1))


def archive(
    connection: Connection, *workloads: str, before: datetime = LATER, most: int = 2
) -> int:
    """Archive the items that ended before `before`, `most` at a time; return their number."""
    number, after = 0, 0
    moments = dict.fromkeys(workloads or ("letters",), before)
    while True:
        some = archives.archive_some(connection, moments, after=after, most=most, now=LATER)
        number += some.items
        if some.onwards is None:
            return number
        after = some.onwards


def kept(connection: Connection) -> dict[str, list[Any]]:
    """Return all rows, in order, of the tables that archived items leave."""
    found = {}
    for name in TABLES:
        of = metadata.tables[f"lanes.{name}"]
        found[name] = connection.execute(of.select().order_by(*of.primary_key)).all()
    return found


def brought_back(connection: Connection) -> dict[str, list[Any]]:
    """Return the same rows with every archived item restored; the restoration is rolled back."""
    ids = list(connection.execute(text("select id from lanes.archive order by id")).scalars())
    undone = connection.begin_nested()
    for id_ in ids:
        archives._bring_back(connection, id_, None)  # pyright: ignore[reportPrivateUsage]
    found = kept(connection)
    undone.rollback()
    return found


@pytest.fixture
def letters(connection: Connection) -> None:
    publish(connection, now=NOON)


@pytest.mark.usefixtures("letters")
def test_all_rows_of_archived_items_leave_their_tables_and_can_be_restored_unchanged(
    connection: Connection,
) -> None:
    settle(connection, "a", "b", "c")
    before, spent = kept(connection), rows(connection, "spend")
    assert archive(connection) == 3
    after = kept(connection)
    assert {name: len(after[name]) for name in TABLES} == dict.fromkeys(TABLES, 0) | {"item": 3}
    assert {each.payload == {} for each in after["item"]} == {True}
    assert brought_back(connection) == before
    assert kept(connection) == after
    assert rows(connection, "spend") == spent
    assert archive(connection) == 0


@pytest.mark.slow
@given(
    mode=st.sampled_from(Mode),
    steps=st.lists(st.tuples(STEPS, st.sampled_from([0, 1, 59, 600, 40_000])), max_size=25),
)
def test_archived_items_read_as_before_after_any_history(
    connection: Connection, mode: Mode, steps: list
) -> None:
    with connection.begin_nested() as savepoint:
        life = Life(connection, mode)
        for step, after_s in steps:
            life.happens(step, timedelta(seconds=after_s))
        keys = [each.key for each in rows(connection, "item", "id")]
        tables, listed = kept(connection), [listing_of(connection, key) for key in keys]
        told = [story_of(connection, key) for key in keys]
        answers = [read_again(connection, key) for key in keys]
        totals = counted(connection)
        archived = archive(connection)
        assert archived == len(rows(connection, "item")) - len(rows(connection, "item_status"))
        assert brought_back(connection) == tables
        assert [listing_of(connection, key) for key in keys] == listed
        assert [story_of(connection, key) for key in keys] == told
        assert [read_again(connection, key) for key in keys] == answers
        assert counted(connection) == totals
        savepoint.rollback()


def listing_of(connection: Connection, key: str) -> Any:
    with archives.restore_archived(connection, "letters", key):
        ids = connection.execute(text("select id from lanes.item where key = :key"), {"key": key})
        return listing.among(connection, ListingQuery("letters"), [*ids.scalars()])


def story_of(connection: Connection, key: str) -> Any:
    with archives.restore_archived(connection, "letters", key):
        return happenings(story.records(connection, "letters", key, now=LATER))


def read_again(connection: Connection, key: str) -> Any:
    """Return what a reader gets; the read is rolled back, so that both calls find the same state."""
    with connection.begin_nested() as undone:
        taken = text("select * from lanes.read_result('letters', :key, 'app')")
        found = connection.execute(taken, {"key": key}).all()
        undone.rollback()
    return found


def counted(connection: Connection) -> Any:
    """Return all figures, all bills, and the corrections of results that a reader has read."""
    deltas = rows(connection, "figure_delta"), rows(connection, "figure", "1, 2, 3, 4, 5, 6, 7, 8")
    return deltas, rows(connection, "spend"), results.to_correct(connection, "app")


@pytest.mark.usefixtures("letters")
def test_an_archived_key_is_a_duplicate_or_a_conflict_and_its_item_never_changes(
    connection: Connection,
) -> None:
    settle(connection, "a", "b")
    admit(connection, "bad", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    for hours in range(3):
        broken = claim(connection, now=later(hours=hours))
        save(connection, *(tried(each, Outcome.POISON) for each in broken))
    assert archive(connection) == 3
    left = kept(connection)
    sent = [submission("a", payload=SAID), submission("b", payload={"text": "other"})]
    admitted = items.admit(connection, sent, door="client", now=LATER)
    assert [each.outcome for each in admitted] == ["duplicate", "key_conflict"]
    submit_one = text("select lanes.submit('letters', cast(:payload as jsonb), 'a')")
    assert connection.execute(submit_one, {"payload": '{"text": "x"}'}).scalar() == "key_conflict"
    late = items.amend(connection, Amendment("letters", "a", {"text": "n"}), door="sql", now=LATER)
    assert (late.outcome, rows(connection, "amendment")) == ("archived", [])
    assert "was archived" in (late.detail or "")
    assert items.label(connection, "letters", {"a": A}, source="ada") == {"a": "archived"}
    assert items.cancel(connection, "letters", "a") == "settled"
    assert items.cancel(connection, "letters", "bad") == "archived"
    assert decisions.retry(connection, "letters", None, now=LATER) == []
    reasons = {each.reason for each in rows(connection, "rejected")}
    assert reasons == {"key_conflict", "archived"}
    assert kept(connection) == left


@pytest.mark.usefixtures("letters")
def test_a_reader_still_gets_the_answer_of_an_archived_item(connection: Connection) -> None:
    settle(connection, "a")
    before = results.read(connection, "letters", "a", reader="desk")
    assert archive(connection) == 1
    assert results.read(connection, "letters", "a", reader="desk") == before
    assert results.take(connection, [ResultRequest("letters", "a", "desk")]) == [before]
    assert rows(connection, "read") == []


def labels(connection: Connection) -> None:
    items.label(connection, "letters", {"k": A}, source="ada")


def amends(connection: Connection) -> None:
    connection.execute(text(AWAITED))


def replays_it(connection: Connection) -> None:
    connection.execute(text(REPLAYED))


def rolls_out(connection: Connection) -> None:
    connection.execute(text(ROLLED_OUT))


def is_of_an_open_job(connection: Connection) -> None:
    connection.execute(text(OF_A_JOB))


def owes_a_shadow(connection: Connection) -> None:
    connection.execute(text(OWED))


def is_in_an_open_batch(connection: Connection) -> None:
    connection.execute(text(IN_A_BATCH))


def was_read_before_a_correction(connection: Connection) -> None:
    connection.execute(text(READ_BEFORE))


AWAITED = """
insert into lanes.amendment (workload, key, payload, source, received_at) values ('letters', 'k', '{}', 'sql', now())
"""
REPLAYED = """
insert into lanes.generation (workload, number, version_id, state, from_position, to_position, cursor_position, who, why,
                              created_at)
select 'letters', 1, version_id, 'complete', 1, 1, 1, 'ada', 'why', now() from lanes.workload
"""
ROLLED_OUT = """
insert into lanes.rollout (playbook, content, workload, state, step, step_started_at, routes_before, share_before, started_by,
                           why, started_at)
values ('p', '{}', 'letters', 'running', 0, now(), 0, 0, 'ada', 'why', now())
"""
OF_A_JOB = """
with made as (insert into lanes.job (name, workload, created_at) values ('j', 'letters', now()) returning id)
update lanes.item set job_id = made.id from made
"""
OWED = """
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
select item_id, workload, version_id, lane, 'shadow', 0, 'ready', ready_at, rank_at, waits_since from lanes.work
"""
IN_A_BATCH = """
with made as (
  insert into lanes.batch (nonce, account, workload, version_id, model, state, requests, items, bytes, body_hash, intended_at)
  select 'n', 'a', 'letters', version_id, 'm', 'superseded', 1, 1, 1, 'h', now() from lanes.workload returning id)
update lanes.work set batch_id = made.id from made
"""
READ_BEFORE = """
with corrected as (
  insert into lanes.correction (item_id, generation, provisional_id, authoritative_id, changed_fields, distance, corrected_at)
  select item_id, 0, id + 1000, id, '{category}', 1, created_at from lanes.result)
insert into lanes.read (item_id, reader, result_id, read_at) select item_id, 'app', id + 1000, created_at from lanes.result
"""


@pytest.mark.parametrize(
    "refers",
    [
        labels,
        amends,
        replays_it,
        rolls_out,
        is_of_an_open_job,
        owes_a_shadow,
        is_in_an_open_batch,
        was_read_before_a_correction,
    ],
)
@pytest.mark.usefixtures("letters")
def test_an_item_with_an_open_reference_is_not_archived(
    connection: Connection, refers: Callable[[Connection], None]
) -> None:
    settle(connection, "k")
    with connection.begin_nested() as undone:
        assert archive(connection) == 1
        undone.rollback()
    refers(connection)
    assert archive(connection) == 0


@pytest.mark.usefixtures("letters")
def test_items_that_are_younger_open_or_of_another_workload_are_not_archived(
    connection: Connection,
) -> None:
    publish(connection, "ads", now=NOON)
    settle(connection, "old")
    settle(connection, "other", workload="ads")
    admit(connection, "open", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    assert archive(connection, before=later(hours=1)) == 0
    assert archive(connection, before=later(hours=2)) == 1
    assert [each.key for each in rows(connection, "item_status", "key")] == ["open", "other"]


@pytest.mark.usefixtures("letters")
def test_the_texts_of_an_archived_item_can_be_forgotten_without_its_neighbour(
    connection: Connection,
) -> None:
    settle(connection, "a", word="Winterbourne")
    settle(connection, "b")
    totals_of = counted(connection)
    assert archive(connection) == 2
    emptying.forget(connection, "letters", "a", now=LATER)
    assert said_somewhere(connection, "Winterbourne") == set()
    assert results.current(connection, "letters", "a") is None
    assert results.take(connection, [ResultRequest("letters", "a", "x")]) == [NoResult.CANCELED]
    answer = results.current(connection, "letters", "b")
    assert answer is not None
    assert answer.output == A
    assert counted(connection) == totals_of
    assert emptying.empty_archive(connection, {"letters": NOON}, after=0, now=LATER) == (0, None)
    moments = {"letters": LATER}
    emptied, of = emptying.empty_archive(connection, moments, after=0, now=LATER)
    assert (emptied, of is None) == (1, False)
    with pytest.raises(AnswerEmptied):
        results.current(connection, "letters", "b")
    assert emptying.empty_archive(connection, moments, after=0, now=LATER) == (0, None)


@pytest.mark.usefixtures("letters")
def test_an_item_is_not_archived_when_its_document_differs_from_its_rows(
    connection: Connection,
) -> None:
    settle(connection, "a")
    before = kept(connection)
    connection.execute(text(FORGETFUL))
    with (
        pytest.raises(ArchiveDiffers, match=r"1 rows of lanes\.attempt"),
        connection.begin_nested(),
    ):
        archive(connection)
    assert kept(connection) == before
    assert rows(connection, "archive") == []


FORGETFUL = """
create function pg_temp.forgets() returns trigger language plpgsql as $$
begin
  new.document := (jsonb_set(new.document::jsonb, array[(select key from json_object_keys(new.document) key limit 1),
                                                        'attempt', '0', 'cost_usd'], '1'))::json;
  return new;
end $$;
create trigger forgets before insert on lanes.archive for each row execute function pg_temp.forgets()
"""


def test_a_late_answer_to_an_archived_item_is_billed_once_and_changes_nothing(
    connection: Connection,
) -> None:
    version = publish(connection, now=NOON)
    admit(connection, "late", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, (work,) = submit(connection, version, now=NOON)
    save(connection, tried(work), batch_id=batch_id)
    home(connection, batch_id)
    assert archive(connection) == 1
    left = kept(connection)
    again = tried(work, response=said("msg_again"))
    assert save(connection, again, batch_id=batch_id, now=LATER).archived == 1
    assert save(connection, again, batch_id=batch_id, now=LATER).archived == 1
    billed = [each for each in rows(connection, "spend") if each.message_id == "msg_again"]
    assert [(each.workload, each.batch_id) for each in billed] == [("letters", batch_id)]
    assert collection.read_outstanding(connection, batch_id) == {}
    assert kept(connection) == left


def test_figures_of_days_with_archived_facts_are_not_rebuilt(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        settle(connection, "a")
        folding.fold(connection)
        figures = rows(connection, "figure", "1, 2, 3, 4, 5, 6, 7, 8")
        assert archive(connection) == 1
    of = {"until": later(days=3), "told": lambda day, whole: None}
    with pytest.raises(ActionRefused, match="are archived, so these days stay as they are"):
        folding.rebuild(pool, since=NOON, **of)
    folding.rebuild(pool, since=None, **of)
    with pool.begin() as connection:
        assert rows(connection, "figure", "1, 2, 3, 4, 5, 6, 7, 8") == figures
