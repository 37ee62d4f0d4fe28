"""Prompt caching: hit rates come from the figures, decide for all drains, and are reported with the savings."""

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
    """Record calls of one item each; the first `hits` read their shared part from the cache, the others write it."""
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


def test_a_version_without_calls_sets_no_cache_marks_in_real_time(
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
def test_call_volume_starts_a_cache_trial_and_its_hit_rate_decides_whether_it_continues(
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


def test_a_caching_decision_is_not_repeated_within_15_seconds(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    first = caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    save(connection, *(tried(each, at=NOON) for each in claimed(connection, 40, NOON)), now=NOON)
    assert caching.weigh(connection, of, Lane.REALTIME, now=later(seconds=14)) == first
    assert weighed(connection, of, Lane.REALTIME, later(seconds=15)) is Marks.SOME


@pytest.mark.slow
def test_marking_stops_when_the_provider_cached_nothing_of_the_marked_calls(
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
def test_calls_without_an_answer_are_no_evidence_about_the_cache(
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
def test_cache_trials_count_actual_calls_and_not_full_packs(
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
    """Submit a trial batch of one-item requests, twenty of which carry cache marks."""
    assert weighed(connection, of, Lane.BATCH, NOON) is Marks.SOME
    admit(connection, *(f"k{n}" for n in range(items)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, work = submit(connection, of, now=later(minutes=1))
    connection.execute(text("update lanes.batch set marked_requests = 20"))
    return batch_id, work


@pytest.mark.slow
def test_a_trial_batch_is_judged_by_its_marked_requests_when_it_is_collected(
    connection: Connection,
) -> None:
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
def test_marked_requests_count_only_as_far_as_they_were_certainly_answered(
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
def test_a_batch_without_results_is_no_evidence_about_the_cache(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    batch_id, _ = away(connection, of, 30)
    home(connection, batch_id, now=later(minutes=40))
    assert weighed(connection, of, Lane.BATCH, later(hours=1)) is Marks.SOME


def test_a_concurrent_caching_decision_is_not_overwritten(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    before = caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    connection.execute(text("update lanes.caching set decided_at = :at"), {"at": later(minutes=1)})
    assert not caching._try_write(connection, of.id, Lane.REALTIME, before, before)


def test_hit_rates_list_only_versions_whose_calls_are_all_marked(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    ask = asking.through(connection)
    assert caching.hit_rates(ask) == {}
    connection.execute(text("update lanes.caching set marks = 'all', hit_rate = 0.9"))
    assert caching.hit_rates(ask) == {(of.id, Lane.REALTIME): 0.9}


def test_cache_savings_are_listed_by_workload_and_lane(connection: Connection) -> None:
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


def test_an_items_story_describes_the_caching_of_its_workload(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    admit(connection, "k", now=NOON)
    caching.weigh(connection, of, Lane.BATCH, now=NOON)
    told = describe_shared_context(story.records(connection, "letters", "k", now=NOON))
    assert told == [
        "on trial in batches (pays from 0.53): a few requests of a batch find out what its cache brings"
    ]


def test_the_caching_states_of_the_versions_in_force_are_listed(connection: Connection) -> None:
    of = publish(connection, now=NOON, **LONG)
    batch = caching.weigh(connection, of, Lane.BATCH, now=NOON)
    realtime = caching.weigh(connection, of, Lane.REALTIME, now=NOON)
    found = caching.states(asking.through(connection))
    assert found == [("letters", Lane.REALTIME, realtime), ("letters", Lane.BATCH, batch)]
    assert caching.states(asking.through(connection), "others") == []
