"""What the provider's cache did is read from the figures, decides for all drains, and is told with what it saved."""

from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lanes.ids import BatchId
from lanes.money.caching import Marks
from lanes.money.cost import estimate_shared_tokens
from lanes.packing import ClaimedWork
from lanes.settling.outcome import Response
from lanes.settling.story import describe_shared_context
from lanes.store import asking
from lanes.store.money import caching
from lanes.store.settling import story
from lanes.words import Lane, Outcome
from lanes.workload.prices import Usage
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, home, save, submit, tried

LONG = {"instructions": "Sort the letter by these rules. " * 600}


def told(number: int, *, read: int = 0, wrote: int = 0) -> Response:
    usage = Usage(input=50, output=20, cache_read=read, cache_write_5m=wrote)
    return Response(
        f"msg_{number}", "claude-haiku-5-5", "", "end_turn", usage, request_id=f"req_{number}"
    )


def claimed(connection: Connection, items: int, now: datetime, first: int = 0) -> list[ClaimedWork]:
    admit(connection, *(f"k{first + n}" for n in range(items)), now=now, lane=Lane.REALTIME)
    route(connection, now=now)
    return claim(connection, places=items, now=now)


def answer(
    connection: Connection, of: Version, items: int, *, hits: int, at: datetime, first: int = 0
) -> None:
    """Record calls of one item each; the first ones read their shared part from the cache, the others write it."""
    shared = estimate_shared_tokens(of.spec)
    each = [
        tried(
            one,
            at=at,
            response=told(
                first + n, read=shared if n < hits else 0, wrote=0 if n < hits else shared
            ),
        )
        for n, one in enumerate(claimed(connection, items, at, first))
    ]
    save(connection, *each, now=at)


def weighed(connection: Connection, of: Version, lane: Lane, now: datetime) -> Marks:
    return caching.weigh(connection, of, lane, now=now).marks


def test_a_version_that_nothing_was_seen_of_marks_nothing_in_real_time(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, **LONG)
    decided = caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    assert (decided.marks, decided.why) == (
        Marks.NONE,
        "with hardly any calls a hit rate of 0.00 is expected",
    )
    assert caching.state(asking.through(connection), of.id, Lane.REALTIME) == decided


@pytest.mark.slow
def test_calls_that_come_are_reason_to_try_and_what_they_read_to_go_on_or_to_stop(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, **LONG)
    save(connection, *(tried(each, at=NOON) for each in claimed(connection, 40, NOON)), now=NOON)
    assert weighed(connection, of, Lane.REALTIME, later(seconds=20)) is Marks.SOME
    answer(connection, of, 30, hits=29, at=later(seconds=40), first=100)
    on = caching.weigh(connection, of, Lane.REALTIME, now=later(seconds=60))
    assert (on.marks, on.calls) == (Marks.ALL, 30)
    assert on.hit_rate == pytest.approx(29 / 30)
    assert (
        on.describe(Lane.REALTIME) == "on in real time (hit rate 0.97 of 30 calls, pays from 0.22)"
    )
    answer(connection, of, 300, hits=10, at=later(minutes=2), first=200)
    off = caching.weigh(connection, of, Lane.REALTIME, now=later(minutes=3))
    assert (off.marks, off.losses) == (Marks.NONE, 1)
    assert "tried again in 6.0 h" in off.why


def test_what_was_looked_at_a_moment_ago_is_not_looked_at_again(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    first = caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    save(connection, *(tried(each, at=NOON) for each in claimed(connection, 40, NOON)), now=NOON)
    assert caching.weigh(connection, of, Lane.REALTIME, now=later(seconds=14)) == first
    assert weighed(connection, of, Lane.REALTIME, later(seconds=15)) is Marks.SOME


@pytest.mark.slow
def test_calls_that_mark_and_of_which_nothing_is_cached_stop_marking(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, instructions="Sort.")
    save(connection, *(tried(each, at=NOON) for each in claimed(connection, 40, NOON)), now=NOON)
    assert weighed(connection, of, Lane.REALTIME, later(seconds=20)) is Marks.SOME
    then = later(minutes=4)
    save(
        connection,
        *(tried(each, at=then) for each in claimed(connection, 40, then, first=100)),
        now=then,
    )
    off = caching.weigh(connection, of, Lane.REALTIME, now=later(minutes=5))
    assert off.marks is Marks.NONE
    assert off.why == "the provider cached nothing of 40 calls: what they share is too short for it"


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Outcome.UNSERVED, Outcome.UNKNOWN, Outcome.ERRORED])
def test_calls_that_got_no_answer_say_nothing_of_the_cache(
    connection: Connection, fault: Outcome
) -> None:
    of = publish(connection, now=NOON, **LONG)
    save(connection, *(tried(each, at=NOON) for each in claimed(connection, 40, NOON)), now=NOON)
    assert weighed(connection, of, Lane.REALTIME, later(seconds=20)) is Marks.SOME
    then = later(minutes=4)
    save(
        connection,
        *(tried(each, fault, at=then) for each in claimed(connection, 40, then, first=100)),
        now=then,
    )
    assert weighed(connection, of, Lane.REALTIME, later(minutes=5)) is Marks.SOME


@pytest.mark.slow
@pytest.mark.parametrize(("shared_by", "marks"), [(1, Marks.NONE), (5, Marks.SOME)])
def test_calls_are_counted_as_they_were_and_not_as_full_packs(
    connection: Connection, shared_by: int, marks: Marks
) -> None:
    of = publish(connection, now=NOON, instructions="Sort.", realtime_pack=10)
    save(connection, *(tried(each, at=NOON) for each in claimed(connection, 40, NOON)), now=NOON)
    assert weighed(connection, of, Lane.REALTIME, later(seconds=20)) is Marks.SOME
    then = later(minutes=4)
    told_of = [told(n // shared_by) for n in range(40)]
    each = zip(claimed(connection, 40, then, first=100), told_of, strict=True)
    save(connection, *(tried(one, at=then, response=response) for one, response in each), now=then)
    assert weighed(connection, of, Lane.REALTIME, later(minutes=5)) is marks


def away(connection: Connection, of: Version, items: int) -> tuple[BatchId, list[ClaimedWork]]:
    """A batch that is to find out: of its requests, an item each, twenty mark."""
    assert weighed(connection, of, Lane.BATCH, NOON) is Marks.SOME
    admit(connection, *(f"k{n}" for n in range(items)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, work = submit(connection, of, now=later(minutes=1))
    connection.execute(text("update lanes.batch set marked_requests = 20"))
    return batch_id, work


@pytest.mark.slow
def test_a_batch_tries_and_is_judged_by_its_requests_that_marked(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    batch_id, work = away(connection, of, 30)
    save(
        connection,
        *(tried(each, at=later(minutes=30)) for each in work),
        now=later(minutes=30),
        batch_id=batch_id,
    )
    assert weighed(connection, of, Lane.BATCH, later(minutes=30)) is Marks.SOME
    home(connection, batch_id, now=later(minutes=40))
    off = caching.weigh(connection, of, Lane.BATCH, now=later(hours=1))
    assert off.why == "the provider cached nothing of 20 calls: what they share is too short for it"


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [Outcome.ERRORED, Outcome.CANCELED, Outcome.EXPIRED, Outcome.MISSING, Outcome.UNSERVED]
)
@pytest.mark.parametrize(("faults", "marks"), [(5, Marks.NONE), (6, Marks.SOME), (30, Marks.SOME)])
def test_requests_that_marked_count_as_far_as_they_were_surely_answered(
    connection: Connection, fault: Outcome, faults: int, marks: Marks
) -> None:
    of = publish(connection, now=NOON, **LONG)
    batch_id, work = away(connection, of, 30)
    fared = [fault] * faults + [Outcome.VALID] * (30 - faults)
    then = later(minutes=30)
    save(
        connection,
        *(tried(each, how, at=then) for each, how in zip(work, fared, strict=True)),
        now=then,
        batch_id=batch_id,
    )
    home(connection, batch_id, now=later(minutes=40))
    assert weighed(connection, of, Lane.BATCH, later(hours=1)) is marks


@pytest.mark.slow
def test_a_batch_of_which_no_result_came_says_nothing_of_the_cache(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    batch_id, _ = away(connection, of, 30)
    home(connection, batch_id, now=later(minutes=40))
    assert weighed(connection, of, Lane.BATCH, later(hours=1)) is Marks.SOME


def test_what_somebody_else_decided_meanwhile_stays_as_it_is(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    before = caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    connection.execute(text("update lanes.caching set decided_at = :at"), {"at": later(minutes=1)})
    assert not caching._try_write(connection, of.id, Lane.REALTIME, before, before)


def test_routes_know_the_hit_rate_of_what_all_calls_mark(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    ask = asking.through(connection)
    assert caching.hit_rates(ask) == {}
    connection.execute(text("update lanes.caching set marks = 'all', hit_rate = 0.9"))
    assert caching.hit_rates(ask) == {(of.id, Lane.REALTIME): 0.9}


def test_what_the_cache_saved_is_told_by_workload_and_lane(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    assert caching.list_savings(asking.through(connection), since=NOON, now=NOON) == []
    answer(connection, of, 30, hits=29, at=NOON)
    (saved,) = caching.list_savings(asking.through(connection), since=NOON, now=later(hours=1))
    shared = estimate_shared_tokens(of.spec)
    assert (saved.workload, saved.lane, saved.read, saved.written) == (
        "letters",
        Lane.REALTIME,
        29 * shared,
        shared,
    )
    token = Decimal("0.0000001")
    assert saved.usd == shared * token * (29 * Decimal("0.9") - Decimal("0.25"))


def test_an_item_is_explained_with_how_its_workload_caches(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    admit(connection, "k", now=NOON)
    caching.weigh(connection, of, Lane.BATCH, now=NOON)
    told = describe_shared_context(story.records(connection, "letters", "k", now=NOON))
    assert told == [
        "on trial in batches (pays from 0.53): a few requests of a batch find out what its cache brings"
    ]


def test_how_versions_in_force_cache_is_listed(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    batch = caching.weigh(connection, of, Lane.BATCH, now=NOON)
    realtime = caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    found = caching.states(asking.through(connection))
    assert found == [("letters", Lane.REALTIME, realtime), ("letters", Lane.BATCH, batch)]
    assert caching.states(asking.through(connection), "others") == []
