"""Data that the main job reads about its items: their open work and example answers."""

from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from lanes.ids import BatchId
from lanes.settling.holds import OpenWork
from lanes.settling.listing import AnswerExample
from lanes.store.doors import emptying
from lanes.store.settling import listing, story
from lanes.store.workload import workloads
from lanes.words import BatchState, Lane, Outcome, Purpose, Standing, WorkState
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, claimed_item, save, submit, tried


def owed(connection: Connection, *keys: str) -> list[tuple[Lane, Purpose, WorkState, int]]:
    seen = story.look(connection, {"letters": keys}, now=NOON)
    return sorted((each.lane, each.purpose, each.state, each.items) for each in seen.owed)


def of(connection: Connection, *keys: str, most: int = 5) -> list[AnswerExample]:
    return listing.list_examples(connection, "letters", keys, most=most)


def test_open_work_is_counted_by_lane_and_state_for_the_given_items_only(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, mode="lambda")
        admit(connection, "theirs", "mine", now=NOON, lane=Lane.REALTIME)
        admit(connection, "later", now=NOON, lane=Lane.BATCH)
        assert story.look(connection, {"letters": ["mine", "later"]}, now=NOON).unrouted == 2
        route(connection, now=NOON)
        assert owed(connection, "mine", "later") == [
            (Lane.BATCH, Purpose.ANSWER, WorkState.READY, 1),
            (Lane.REALTIME, Purpose.ANSWER, WorkState.READY, 1),
        ]
        save(connection, *(tried(each) for each in claim(connection)))
        assert owed(connection, "mine") == [(Lane.BATCH, Purpose.AUTHORITATIVE, WorkState.READY, 1)]


def test_open_work_names_its_batch_and_reports_pauses_and_back_offs(pool: Engine) -> None:
    with pool.begin() as connection:
        version = publish(connection, now=NOON)
        admit(connection, "one", "two", now=NOON, lane=Lane.BATCH)
        route(connection, now=NOON)
        batch_id, _ = submit(connection, version)
        admit(connection, "resting", now=NOON, lane=Lane.REALTIME)
        route(connection, now=later(hours=1))
        workloads.pause(connection, "letters", since=NOON)
        seen = story.look(connection, {"letters": ["one", "two", "resting"]}, now=NOON)
    assert seen.owed == [
        OpenWork(
            "letters",
            Lane.BATCH,
            Purpose.ANSWER,
            WorkState.SUBMITTED,
            2,
            BatchId(batch_id),
            rests=False,
            paused=True,
        ),
        OpenWork(
            "letters",
            Lane.REALTIME,
            Purpose.ANSWER,
            WorkState.READY,
            1,
            None,
            rests=True,
            paused=True,
        ),
    ]
    (out,) = seen.batches
    assert (out.id, out.state, out.requests, out.since) == (batch_id, BatchState.SUBMITTED, 2, NOON)


def test_a_corrected_example_shows_the_first_answer_both_latencies_and_the_total_cost(
    pool: Engine,
) -> None:
    with pool.begin() as connection:
        version = publish(connection, now=NOON, mode="lambda")
        quick = claimed_item(connection, "k")
        save(connection, tried(quick, output={**A, "note": "first"}), now=later(seconds=2))
        (provisional,) = of(connection, "k")
        assert (provisional.standing, provisional.was) == (Standing.PROVISIONAL, {})
        batch_id, inside = submit(connection, version, now=later(seconds=3))
        save(
            connection,
            *(tried(each, output={**B, "note": "first"}) for each in inside),
            now=later(seconds=40),
            batch_id=batch_id,
        )
        received = connection.execute(text("select received_at from lanes.item")).scalar_one()
        (example,) = of(connection, "k")
        spent = connection.execute(text("select sum(cost_usd) from lanes.spend")).scalar_one()
    assert (example.first_lane, example.lane, example.standing) == (
        Lane.REALTIME,
        Lane.BATCH,
        Standing.AUTHORITATIVE,
    )
    assert (example.was, example.output["category"], list(example.fields)) == (
        {"category": "a"},
        "b",
        ["category"],
    )
    assert example.first_s == (later(seconds=2) - received).total_seconds()
    assert example.current_s - example.first_s == 38
    assert example.cost_usd == spent > 0


def test_examples_are_limited_per_kind_and_exclude_forgotten_and_unanswered_items(
    pool: Engine,
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        admit(connection, *"abcdef", now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        claims = {each.key: each for each in claim(connection)}
        save(
            connection,
            *(tried(claims[key]) for key in "abcde"),
            tried(claims["f"], Outcome.INVALID),
        )
        emptying.forget(connection, "letters", "a", now=NOON + timedelta(minutes=1))
        assert [each.key for each in of(connection, *"abcdef", most=3)] == ["b", "c", "d"]
        assert [each.key for each in of(connection, *"def", most=3)] == ["d", "e"]
        assert all(each.kind == ("letters", False, True) for each in of(connection, *"bcde"))
