"""Golden sets: valid lines are stored; a candidate answers them unseen and is put in force unless it is surely worse."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.doors.filedoor import FileLine
from lanes.errors import SpecInvalid, UnknownWorkload
from lanes.store import work
from lanes.store.doors import items
from lanes.store.workload import golden, workloads
from lanes.store.workload.golden import PublishOptions, PublishReply
from lanes.words import GoldenState, Lane, Outcome
from lanes.workload.golden import GoldenRun
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import SCHEMA, admit, publish, route, spec, submission
from tests.store.tries import A, B, backend, claim, row, rows, save, submit, tried, until_blocked

KEYS = [f"g{n:02}" for n in range(12)]
NEWER = {"instructions": "Sort the letter with care."}
MOVED = PublishReply(moved=True)


@pytest.fixture
def old(connection: Connection) -> Version:
    """Return the version in force, with a golden set in which every item is labeled `A`."""
    return a_set(connection)


def a_set(connection: Connection) -> Version:
    made = publish(connection, now=NOON)
    told = add(connection, *(line(key) for key in KEYS))
    assert {each.outcome for each in told} == {"added"}
    return made


def line(key: str, expected: Any = A, **fields: Any) -> FileLine:
    return FileLine(submission(key, **fields), expected)


def add(connection: Connection, *lines: FileLine) -> list[golden.GoldenLine]:
    return golden.add(connection, "letters", lines, who="ada", now=NOON)


def offer(
    connection: Connection, options: PublishOptions | None = None, **fields: Any
) -> PublishReply:
    """Publish the definition."""
    return golden.publish(
        connection, "letters", spec(**(fields or NEWER)), options=options, now=NOON
    )


def newest(connection: Connection) -> GoldenRun:
    (run,) = golden.runs(connection, "letters")
    return run


def in_force(connection: Connection) -> int:
    found = workloads.current(connection, "letters")
    assert found is not None
    return found.number


def answer(connection: Connection, number: int, *right: str, now: datetime = NOON) -> None:
    """Answer all golden work of a version: `A` for the keys in `right`, `B` for the others; every answer is valid."""
    found = next(
        each for each in rows(connection, "version", workload="letters") if each.number == number
    )
    version = workloads.one(connection, found.id)
    _, waiting = submit(connection, version, now=now)
    save(
        connection,
        *(tried(each, output=A if each.key.partition("@")[0] in right else B) for each in waiting),
        now=now,
    )


def test_a_line_that_does_not_fit_is_refused_and_the_other_lines_are_stored(
    connection: Connection,
) -> None:
    publish(
        connection,
        now=NOON,
        input_schema={"type": "object", "properties": {"text": {"maxLength": 20}}},
    )
    told = add(
        connection,
        line("good"),
        line("long", payload={"text": "x" * 21}),
        line("bare", None),
        line("alien", {"color": "red"}),
        line("wrong", {"category": "c"}),
        line("good", B),
        line("other", B),
    )
    assert [each.outcome for each in told] == [
        "added",
        "schema_mismatch",
        "no_label",
        "label_mismatch",
        "label_mismatch",
        "key_conflict",
        "added",
    ]
    assert "color" in told[3].detail
    assert "category" in told[4].detail
    kept = golden.list_items(connection, "letters")
    assert [(each.key, each.expected, each.who) for each in kept] == [
        ("good", A, "ada"),
        ("other", B, "ada"),
    ]


def test_a_line_replaces_the_item_with_its_key_and_an_identical_line_changes_nothing(
    connection: Connection, old: Version
) -> None:
    told = add(connection, line("g00"), line("g01", B), line("g02", payload={"text": "another"}))
    assert [each.outcome for each in told] == ["duplicate", "replaced", "replaced"]
    kept = {each.key: each for each in golden.list_items(connection, "letters")}
    assert len(kept) == len(KEYS)
    assert (kept["g01"].expected, kept["g02"].payload) == (B, {"text": "another"})
    assert row(connection, "item", key=_hidden(connection, "letter g02")).payload == {}


def _hidden(connection: Connection, said: str) -> str:
    """Return the key of the erased item that had this text."""
    (key,) = (
        each.key
        for each in rows(connection, "item")
        if each.emptied_at and said.split()[1] in each.key
    )
    return key


def test_a_workload_without_a_version_accepts_no_golden_set(connection: Connection) -> None:
    with pytest.raises(UnknownWorkload):
        add(connection, line("g00"))


def test_a_new_version_is_a_candidate_and_both_versions_answer_the_set(
    connection: Connection, old: Version
) -> None:
    assert offer(connection) == MOVED
    assert in_force(connection) == 1
    assert (newest(connection).version, newest(connection).state) == (2, GoldenState.RUNNING)
    assert "version 2 is a candidate: 0 of 12 golden items" in newest(connection).sentence
    owed = rows(connection, "work")
    assert len(owed) == 2 * len(KEYS)
    assert {(each.workload, each.lane, each.purpose) for each in owed} == {
        ("letters", "batch", "golden")
    }
    assert offer(connection) == PublishReply()
    assert len(rows(connection, "golden_run")) == 1


def test_a_golden_run_is_invisible_to_consumers(connection: Connection, old: Version) -> None:
    offer(connection)
    answer(connection, 1, *KEYS)
    answer(connection, 2, *KEYS)
    golden.decide(connection, now=NOON)
    for view in ("item_status", "current_results", "route_log", "accuracy", "lane_latency"):
        assert rows(connection, view) == [], view
    for table in ("result", "route", "correction", "label"):
        assert rows(connection, table) == [], table
    assert {each.event for each in rows(connection, "event_outbox")} == {"lanes.batch.submitted"}
    counted = {each.kind for each in rows(connection, "figure_delta") if each.purpose is None}
    assert counted <= {"batch", "request", "carried"}
    live = {"answer", "authoritative", "replay", "shadow"}
    assert live.isdisjoint(each.purpose for each in rows(connection, "figure_delta"))
    assert items.cancel(connection, "letters/golden", "g00") == "unknown_item"
    assert {(each.workload, each.purpose) for each in rows(connection, "spend")} == {
        ("letters", "golden")
    }
    billed = sum(each.cost_usd for each in rows(connection, "spend"))
    assert sum(each.cost_usd for each in rows(connection, "attempt_log")) == billed > 0


def test_an_item_with_the_key_of_a_golden_item_is_a_separate_item(
    connection: Connection, old: Version
) -> None:
    admit(connection, "g00", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    assert [each.key for each in claim(connection)] == ["g00"]


def test_a_version_that_is_not_surely_worse_is_in_force_once_all_its_items_are_answered(
    connection: Connection, old: Version
) -> None:
    offer(connection)
    answer(connection, 1, *KEYS)
    assert golden.decide(connection, now=NOON) == []
    answer(connection, 2, *KEYS[1:])
    (run,) = golden.decide(connection, now=NOON)
    assert (run.state, in_force(connection)) == (GoldenState.PASSED, 2)
    assert run.sentence == (
        "version 2 is not surely worse than version 1: it answered 11 of 12 golden items right, version 1 12 "
        f"({bounds(run)}); lost: g00"
    )
    assert golden.decide(connection, now=NOON) == []
    assert offer(connection) == PublishReply()


def bounds(run: GoldenRun) -> str:
    assert run.score is not None
    low, high = run.score.bounds()
    return f"99 % bounds of the gain: {100 * low:+.1f} to {100 * high:+.1f} points"


def test_a_surely_worse_version_stays_out_of_force_until_it_is_published_with_force(
    connection: Connection, old: Version
) -> None:
    offer(connection)
    answer(connection, 1, *KEYS)
    answer(connection, 2, *KEYS[10:])
    (run,) = golden.decide(connection, now=NOON)
    assert (run.state, in_force(connection)) == (GoldenState.REFUSED, 1)
    assert run.sentence == (
        "version 2 is surely worse than version 1 and stays out of force: it answered 2 of 12 golden items right, "
        f"version 1 12 ({bounds(run)}); lost: g00, g01, g02, g03, g04 and 5 more. "
        "`lanes publish --force` puts it in force anyway"
    )
    # The router reads the same block again.
    assert offer(connection) == PublishReply(refusal=run.sentence)
    assert len(rows(connection, "golden_run")) == 1
    assert offer(connection, PublishOptions(force=True)) == MOVED
    assert in_force(connection) == 2
    assert offer(connection) == PublishReply()


def test_publishing_a_refused_version_again_rescores_its_answers_with_changed_labels(
    connection: Connection, old: Version
) -> None:
    offer(connection)
    answer(connection, 1, *KEYS)
    answer(connection, 2)
    golden.decide(connection, now=NOON)
    add(connection, *(line(key, B) for key in KEYS))  # the labels were wrong
    assert offer(connection, PublishOptions()) == MOVED
    assert (newest(connection).state, in_force(connection)) == (GoldenState.PASSED, 2)
    assert len(rows(connection, "work")) == 2 * len(KEYS)


def test_a_failed_golden_item_counts_as_wrong(connection: Connection, old: Version) -> None:
    offer(connection)
    answer(connection, 1, *KEYS)
    version = workloads.one(connection, newest(connection).version_id)
    _, waiting = submit(connection, version)
    save(connection, *(tried(each, Outcome.POISON, error="no") for each in waiting))
    (run,) = golden.decide(connection, now=NOON)
    assert (run.state, run.score and run.score.right_now) == (GoldenState.REFUSED, 0)


def test_the_version_in_force_is_asked_only_for_golden_items_that_are_new_to_it(
    connection: Connection, old: Version
) -> None:
    offer(connection)
    answer(connection, 1, *KEYS)
    answer(connection, 2, *KEYS)
    golden.decide(connection, now=NOON)
    add(connection, line("new"))
    offer(connection, patience_s=5)
    owed = [each for each in rows(connection, "work") if each.state == "ready"]
    assert [sum(each.generation == -n for each in owed) for n in (1, 2, 3)] == [0, 1, 13]


def test_a_former_version_is_judged_by_its_stored_answers(
    connection: Connection, old: Version
) -> None:
    offer(connection)
    answer(connection, 1, *KEYS)
    answer(connection, 2, *KEYS)
    golden.decide(connection, now=NOON)
    assert in_force(connection) == 2
    golden.publish(connection, "letters", spec(), now=NOON)
    assert in_force(connection) == 1


def test_another_version_replaces_the_candidate(connection: Connection, old: Version) -> None:
    offer(connection)
    assert offer(connection, patience_s=5) == MOVED
    states = [each.state for each in rows(connection, "golden_run", "id")]
    assert states == ["replaced", "running"]
    left = {each.generation for each in rows(connection, "work") if each.state == "ready"}
    assert left == {-1, -3}
    assert golden.publish(connection, "letters", spec(), now=NOON) == MOVED  # back to version 1
    assert newest(connection).state is GoldenState.REPLACED
    assert {each.state for each in rows(connection, "work")} == {"canceled"}
    assert in_force(connection) == 1


def test_changes_of_the_golden_set_do_not_affect_a_running_candidate(
    connection: Connection, old: Version
) -> None:
    offer(connection)
    assert golden.remove(connection, "letters", ["g00", "none"], now=NOON) == ["g00"]
    add(connection, line("g01", B), line("new"))
    assert len(golden.list_items(connection, "letters")) == len(KEYS)
    answer(connection, 1, *KEYS)
    answer(connection, 2, *KEYS)
    (run,) = golden.decide(connection, now=NOON)
    assert run.score is not None
    assert (run.items, run.score.right_now) == (len(KEYS), len(KEYS))
    gone = row(connection, "item", key=_hidden(connection, "letter g00"))
    assert gone.payload == {}  # no item needs it now
    assert rows(connection, "golden_answer", item_id=gone.id) == []


def test_the_real_time_lane_answers_the_golden_set_on_request(
    connection: Connection, old: Version
) -> None:
    offer(connection)
    # The batch has not departed yet.
    assert offer(connection, PublishOptions(Lane.REALTIME)) == MOVED
    assert newest(connection).lane is Lane.REALTIME
    waiting = claim(connection)
    assert {each.workload for each in waiting} == {"letters"}
    assert len(waiting) == 2 * len(KEYS)
    assert all(each.travels_alone for each in waiting)
    save(connection, *(tried(each) for each in waiting))
    golden.decide(connection, now=NOON)
    assert in_force(connection) == 2


def test_live_work_is_claimed_before_golden_items(connection: Connection, old: Version) -> None:
    offer(connection, PublishOptions(Lane.REALTIME))
    admit(connection, "live", now=later(minutes=5), lane=Lane.REALTIME)
    route(connection, now=later(minutes=5))
    first = work.claim(
        connection,
        Lane.REALTIME,
        {"letters": 1},
        worker="w",
        lease=later(hours=1) - NOON,
        now=later(minutes=5),
    )
    assert [each.key for each in first] == ["live"]


@pytest.mark.parametrize("field", ["input_schema", "output_schema"])
def test_a_definition_that_the_golden_set_does_not_fit_is_refused_with_items_and_fields(
    connection: Connection, old: Version, field: str
) -> None:
    short = {"type": "object", "properties": {"text": {"maxLength": 3}}}
    turned = {**SCHEMA, "properties": {"category": {"type": "string", "enum": ["b", "c"]}}}
    changed: Any = {field: {"input_schema": short, "output_schema": turned}[field]}
    with pytest.raises(SpecInvalid) as refused:
        offer(connection, **changed)
    assert len(refused.value.problems) == 6
    first, *_, last = refused.value.problems
    assert first.startswith('golden item "g00": ')
    assert ("text" if field == "input_schema" else "category") in first
    assert "letter g00" not in first
    assert last == "and 7 more golden items do not fit"
    assert in_force(connection) == 1
    offer(connection, PublishOptions(force=True), **changed)
    assert in_force(connection) == 2


def test_a_version_that_replaces_an_unreadable_one_is_in_force_at_once_and_scored_later(
    connection: Connection, old: Version
) -> None:
    connection.execute(text("update lanes.version set spec = '{}'"))
    from lanes.store.workload import workloads

    workloads._kept.clear()
    offer(connection)
    assert in_force(connection) == 2
    answer(connection, 2, *KEYS[:9])
    (run,) = golden.decide(connection, now=NOON)
    assert run.state is GoldenState.PASSED
    assert run.sentence.startswith("version 2 answered 9 of 12 golden items right (99 % bounds ")


def test_two_concurrent_decisions_put_a_version_in_force_once(pool: Engine) -> None:
    with pool.begin() as connection:
        a_set(connection)
        offer(connection)
        answer(connection, 1, *KEYS)
        answer(connection, 2, *KEYS)
    with ThreadPoolExecutor(1) as others, pool.begin() as connection:
        assert len(golden.decide(connection, now=NOON)) == 1
        with pool.connect() as beside:
            pid = backend(beside)
            told = others.submit(golden.decide, beside, now=NOON)
            until_blocked(pool, pid)
            connection.commit()
            assert told.result() == []
            beside.rollback()
    with pool.begin() as connection:
        assert in_force(connection) == 2


def test_two_concurrent_publishes_create_one_golden_run(pool: Engine) -> None:
    with pool.begin() as connection:
        a_set(connection)
    with ThreadPoolExecutor(1) as others, pool.begin() as connection:
        assert offer(connection) == MOVED
        with pool.connect() as beside:
            pid = backend(beside)
            told = others.submit(offer, beside)
            until_blocked(pool, pid)
            connection.commit()
            assert told.result() == PublishReply()
            beside.commit()
    with pool.begin() as connection:
        assert len(rows(connection, "golden_run")) == 1
