"""Pack sizes: comparisons of packed with single answers set the size, and each decision keeps its evidence."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lanes.money.pack_size import PackDecision, PackPlace
from lanes.settling.story import happenings
from lanes.statistics.shares import SampleShare
from lanes.store import asking
from lanes.store.money import sharing
from lanes.store.report import facts
from lanes.store.settling import story
from lanes.words import Lane
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.tries import claimed_item, row, rows, save, tried

MANY = text("""
with born as (
  insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
  select (select min(id) from lanes.item), 'letters', :version, :lane, 'answer', 0, 'done', :at, :at, :at
    from generate_series(1, :n) returning id, item_id)
insert into lanes.pack_check (item_id, work_id, version_id, lane, pack, twice, asked_at, agrees, compared_at, repeats,
                              repeated_at)
select item_id, id, :version, :lane, :pack, true, :at, n > :bad, :at, case when n <= :twice then true end,
       case when n <= :twice then cast(:at as timestamptz) end
  from (select *, row_number() over (order by id) as n from born) b
""")


def compared(
    connection: Connection,
    of: Version,
    *,
    n: int,
    bad: int,
    pack: int = 20,
    twice: int = 0,
    at: datetime = NOON,
    lane: Lane = Lane.REALTIME,
) -> None:
    """Record `n` packed items that were asked alone; `bad` of them disagreed, `twice` of them were repeated."""
    given = {
        "version": of.id,
        "n": n,
        "bad": bad,
        "pack": pack,
        "twice": twice,
        "at": at,
        "lane": lane,
    }
    connection.execute(MANY, given)


def letters(connection: Connection) -> Version:
    version = publish(connection, now=NOON, realtime_pack=20)
    claimed_item(connection)
    return version


def decide(connection: Connection, of: Version, now: datetime) -> list[PackDecision]:
    return sharing.decide_all(connection, [of], now=now)


@pytest.mark.slow
def test_a_pack_size_that_lowers_agreement_is_halved_and_the_decision_keeps_its_evidence(
    connection: Connection,
) -> None:
    of = letters(connection)
    assert decide(connection, of, NOON) == []
    compared(connection, of, n=200, bad=90, twice=100)
    (made,) = decide(connection, of, later(minutes=1))
    assert (made.size, made.packed, made.alone) == (
        10,
        SampleShare(110, 200),
        SampleShare(100, 100),
    )
    kept = row(connection, "pack_size")
    assert (kept.workload, kept.lane, kept.model, kept.size, kept.allowed, kept.hurt) == (
        "letters",
        "realtime",
        "claude-haiku-5-5",
        10,
        20,
        20,
    )
    assert (
        kept.why == "packs of 20 hurt: packed agrees 0.55 (n 200), single with single 1.00 (n 100)"
    )
    assert sharing.read_pack_sizes(connection) == {PackPlace.of(of, Lane.REALTIME): made}


@pytest.mark.slow
def test_evidence_for_one_decision_is_not_used_for_another(connection: Connection) -> None:
    of = letters(connection)
    compared(connection, of, n=200, bad=90, twice=100)
    assert len(decide(connection, of, later(minutes=1))) == 1
    assert decide(connection, of, later(minutes=2)) == []
    compared(connection, of, n=200, bad=90, pack=10, at=later(minutes=3))
    (made,) = decide(connection, of, later(minutes=4))
    assert made.size == 5


@pytest.mark.slow
def test_a_pack_size_grows_again_after_the_back_off_of_the_larger_size(
    connection: Connection,
) -> None:
    of = letters(connection)
    compared(connection, of, n=200, bad=90, twice=100)
    decide(connection, of, later(minutes=1))
    compared(connection, of, n=200, bad=0, pack=10, at=later(minutes=2))
    assert decide(connection, of, later(hours=23)) == []
    (made,) = decide(connection, of, later(hours=25))
    assert (made.size, made.hurt) == (20, None)
    compared(connection, of, n=200, bad=90, at=later(hours=26))
    assert [each.size for each in decide(connection, of, later(hours=27))] == [10]
    compared(connection, of, n=200, bad=0, pack=10, at=later(hours=28))
    assert decide(connection, of, later(hours=27 + 47)) == []
    assert [each.size for each in decide(connection, of, later(hours=27 + 49))] == [20]
    assert [each.size for each in rows(connection, "pack_size", "id")] == [10, 20, 10, 20]


@pytest.mark.slow
def test_pack_sizes_are_decided_per_lane_and_not_for_workloads_without_packs(
    connection: Connection,
) -> None:
    of = publish(connection, now=NOON, realtime_pack=20, batch_pack=20)
    claimed_item(connection)
    compared(connection, of, n=200, bad=90, twice=100, lane=Lane.BATCH)
    assert [each.size for each in decide(connection, of, later(minutes=1))] == [10]
    assert set(sharing.read_pack_sizes(connection)) == {PackPlace.of(of, Lane.BATCH)}
    single = publish(connection, "single", now=NOON)
    assert decide(connection, single, NOON) == []


@pytest.mark.slow
def test_a_new_version_keeps_the_pack_size_and_starts_its_own_evidence(
    connection: Connection,
) -> None:
    of = letters(connection)
    compared(connection, of, n=200, bad=90, twice=100)
    decide(connection, of, later(minutes=1))
    new = publish(connection, now=later(minutes=2), realtime_pack=20, instructions="Sort it well.")
    assert sharing.read_pack_sizes(connection)[PackPlace.of(new, Lane.REALTIME)].size == 10
    assert decide(connection, new, later(days=9)) == []


def test_the_report_shows_the_pack_size_in_force_its_evidence_and_the_cost_of_the_checks(
    connection: Connection,
) -> None:
    of = letters(connection)
    ask = asking.through(connection)
    assert facts.pack_sizes(ask, {}, now=NOON) == []
    compared(connection, of, n=20, bad=1, twice=8)
    (told,) = facts.pack_sizes(
        ask, {("letters", Lane.REALTIME): Decimal("0.3")}, now=NOON + timedelta(minutes=1)
    )
    assert (told.size, told.packed, told.alone, told.checks_usd) == (
        None,
        SampleShare(19, 20),
        SampleShare(8, 8),
        Decimal("0.3"),
    )
    compared(connection, of, n=200, bad=90, twice=100)
    decide(connection, of, later(minutes=1))
    (told,) = facts.pack_sizes(ask, {}, now=later(minutes=2))
    assert (told.size, told.allowed, told.packed.samples, told.since) == (
        10,
        20,
        0,
        later(minutes=1),
    )


@pytest.mark.slow
def test_an_items_story_explains_the_pack_size_of_its_call(connection: Connection) -> None:
    of = letters(connection)
    compared(connection, of, n=200, bad=90, twice=100)
    decide(connection, of, later(minutes=1))
    save(connection, tried(claimed_item(connection, "later"), at=later(minutes=5)))
    told = happenings(story.records(connection, "letters", "later", now=later(hours=1)))
    (said,) = [each.detail for each in told if each.what == "tried"]
    assert (
        "in a call of 1 (packs of 10 of 20 allowed: packs of 20 hurt: packed agrees 0.55 (n 200), single with"
        in said
    )
