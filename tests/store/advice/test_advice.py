"""Evidence for advice, read from a workload with a history: routes, bills, due times and reads."""

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Connection, text

from lanes.advice.evidence import ConsumerUse, Evidence, Leaning, Pattern, prices
from lanes.advice.recommendation import advise
from lanes.doors.item import Amendment
from lanes.errors import UnknownWorkload
from lanes.money.estimates import Estimates
from lanes.store.advice.advice import evidence
from lanes.store.doors.items import amend
from lanes.store.figures import folding
from lanes.store.workload import workloads
from lanes.words import Lane, Mode, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, row, said, save, submit, tried
from tests.unit.advice.test_advice import leanings
from tests.unit.advice.test_decay import READ


def seen(
    connection: Connection, *, since: datetime = NOON, now: datetime | None = None
) -> Evidence:
    return evidence(connection, "letters", since=since, now=now or later(days=2))


def read(connection: Connection, key: str, *, at: datetime) -> None:
    connection.execute(
        text("select * from lanes.read_result('letters', :key, 'app', :at)"), {"key": key, "at": at}
    ).all()


def test_an_unknown_workload_is_refused(connection: Connection) -> None:
    with pytest.raises(UnknownWorkload, match='workload "letters" has no published version'):
        seen(connection)


def test_an_unused_workload_has_no_evidence(connection: Connection) -> None:
    publish(connection, now=NOON, batch_expected_minutes=30)
    found = seen(connection)
    assert found.batch_expected_s == pytest.approx(120 + 1_800 * 5.652, rel=1e-2)
    nothing = Evidence(
        "letters",
        Mode.PLAIN,
        days=0,
        items=0,
        days_arrivals=[],
        days_seen=[],
        models=[],
        consumers=[],
    )
    assert replace(found, batch_expected_s=nothing.batch_expected_s) == nothing


@pytest.fixture
def lived_in(connection: Connection) -> Connection:
    """Set up a plain workload, answered at noon in real time (after a failed attempt) and an hour later on batch."""
    letters = publish(connection, now=NOON, split_percent=100)
    admit(connection, "u1", "u2", now=NOON, consumer="desk", urgent=True)
    admit(connection, "d1", now=NOON, consumer="desk", due_at=later(seconds=4))
    admit(connection, "s1", "s2", "s3", now=NOON, consumer="digest")
    admit(connection, "b1", "b2", now=NOON, lane=Lane.BATCH)
    admit(connection, "before", now=later(days=-3), lane=Lane.REALTIME)
    route(connection, now=NOON)
    first, *others = claim(connection)
    save(connection, tried(first, Outcome.INVALID))
    save(connection, *(tried(each, at=later(seconds=2)) for each in others), now=later(seconds=2))
    again = later(minutes=2)
    save(connection, *(tried(each, at=again) for each in claim(connection, now=again)), now=again)
    batch_id, works = submit(connection, letters)
    save(
        connection,
        *(tried(each, at=later(hours=1)) for each in works),
        now=later(hours=1),
        batch_id=batch_id,
    )
    return connection


def test_traffic_and_needs_are_counted_by_the_first_route_of_each_item(
    lived_in: Connection,
) -> None:
    found = seen(lived_in)
    assert (found.items, found.days, found.urgent, found.with_due) == (8, 2, 2, 1)
    assert (found.due_within_5s, found.due_before_batch, found.peak_per_minute) == (1, 1, 8)
    consumers = {
        each.consumer: (each.routed, each.demanded, each.deferred, each.realtime)
        for each in found.consumers
    }
    assert consumers == {"desk": (3, 3, 0, 3), "digest": (3, 0, 0, 3), None: (2, 0, 2, 0)}
    assert found.days_arrivals == [0]


def test_the_bill_of_a_lane_includes_its_retries_and_its_answers(lived_in: Connection) -> None:
    found = seen(lived_in)
    bill = lived_in.execute(
        text("select lane, sum(cost_usd) as usd from lanes.response group by lane")
    )
    spent = {each.lane: each.usd for each in bill}
    assert (found.realtime.answered, found.realtime.billed_usd) == (
        7,
        pytest.approx(float(spent["realtime"])),
    )
    assert (found.batch.answered, found.batch.billed_usd) == (
        2,
        pytest.approx(float(spent["batch"])),
    )
    assert (found.realtime.timed, found.batch.timed, found.batch.p95_s) == (
        6,
        2,
        pytest.approx(3_600, rel=0.02),
    )
    assert found.estimated_realtime_usd == pytest.approx(2 * (found.estimated_batch_usd or 0))


def test_only_the_first_read_after_the_answer_counts(
    lived_in: Connection,
) -> None:
    answered = {
        each.key: each.answered_at
        for each in lived_in.execute(text("select key, answered_at from lanes.item"))
    }
    lived_in.execute(
        text(
            "insert into lanes.read (item_id, reader, read_at) select id, 'app', received_at from lanes.item"
        )
    )
    for key, seconds in {"s1": 30, "s2": 7_200, "u1": 60}.items():
        at = answered[key]
        read(lived_in, key, at=at + (later(seconds=seconds) - NOON))
        read(lived_in, key, at=at + (later(seconds=seconds + 5) - NOON))
    read(lived_in, "b1", at=later(hours=3))  # batch answered it, so no read can be immediate
    found = {each.consumer: each for each in seen(lived_in).consumers}
    digest, desk = found["digest"], found["desk"]
    assert (digest.reads, digest.at_once, digest.median_s, digest.later, digest.unknown) == (
        2,
        1,
        pytest.approx(3_615, rel=0.02),
        1,
        1,
    )
    assert (desk.reads, desk.at_once, desk.median_s, desk.later, desk.unknown) == (
        1,
        1,
        pytest.approx(60, rel=0.02),
        0,
        2,
    )
    assert (found[None].reads, found[None].unknown) == (0, 0)


def test_a_result_that_may_still_be_read_at_once_does_not_count_as_unknown(
    lived_in: Connection,
) -> None:
    found = {each.consumer: each for each in seen(lived_in, now=later(seconds=10)).consumers}
    assert found["digest"] == ConsumerUse("digest", 3, realtime=3)


@pytest.mark.slow
def test_a_consumer_that_reads_nine_of_ten_answers_by_select_is_not_advised_to_use_batch(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=100)
    keys = [f"k{n}" for n in range(200)]
    admit(connection, *keys, now=NOON, consumer="desk")
    route(connection, now=NOON)
    works = claim(connection, places=200)
    save(connection, *(tried(each, at=later(seconds=2)) for each in works), now=later(seconds=2))
    connection.execute(text("select * from lanes.current_results")).all()  # most of them at once
    for key in keys[::10]:
        read(connection, key, at=later(hours=5))
    few = advise(seen(connection), items_per_month=1e9)
    assert few.needs is not None
    assert (few.needs.low, few.needs.high) == (0, pytest.approx(0.9))
    assert (few.pattern, few.movable) == (None, [])
    assert Leaning.BATCH not in {leanings(few)[name] for name in READ}
    for key in keys:  # as if every read had been recorded
        read(connection, key, at=later(hours=5))
    every = advise(seen(connection), items_per_month=1e9)
    assert (every.pattern, [each.consumer for each in every.movable]) == (Pattern.BATCH, ["desk"])
    assert {leanings(every)[name] for name in READ} == {Leaning.BATCH}


def test_corrections_are_counted_out_of_the_compared_items(connection: Connection) -> None:
    letters = publish(connection, now=NOON, mode="lambda", split_percent=100)
    admit(connection, "same", "other", "open", now=NOON)
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    batch_id, works = submit(connection, letters, now=later(minutes=1))
    for work in works:
        if work.key != "open":
            answer = tried(work, output=A if work.key == "same" else B, at=later(hours=1))
            save(connection, answer, now=later(hours=1), batch_id=batch_id)
    found = seen(connection)
    assert (found.mode, found.compared, found.corrected) == (Mode.LAMBDA, 2, 1)


def test_a_discount_of_half_is_measured_as_half_although_batch_had_the_longer_items(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, *(f"short{n}" for n in range(20)), now=NOON, lane=Lane.REALTIME)
    long = {"text": "a long letter " * 1_500}
    admit(connection, *(f"long{n}" for n in range(20)), now=NOON, lane=Lane.BATCH, payload=long)
    route(connection, now=NOON)
    short = [tried(each, response=said(tokens=90)) for each in claim(connection)]
    save(connection, *short)
    batch_id, works = submit(connection, letters)
    outputs = [tried(each, response=said(tokens=6_000), at=later(hours=1)) for each in works]
    save(connection, *outputs, now=later(hours=1), batch_id=batch_id)
    found = prices(seen(connection))
    assert found is not None
    assert (found.realtime_basis, found.batch_basis) == ("billed", "billed")
    assert found.discount == pytest.approx(0.5)
    bill = connection.execute(
        text("select sum(cost_usd)::float8 from lanes.response where lane = 'batch'")
    ).scalar_one()
    here = connection.execute(
        text("select sum(cost_usd)::float8 from lanes.response where lane = 'realtime'")
    ).scalar_one()
    assert found.realtime_usd == pytest.approx((here + 2 * bill) / 40)


@pytest.mark.slow
def test_an_amended_item_is_compared_once(connection: Connection) -> None:
    letters = publish(connection, now=NOON, mode="lambda", split_percent=100)
    admit(connection, "k", now=NOON)
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    for minutes, output in enumerate((A, B), 1):
        batch_id, works = submit(connection, letters, now=later(minutes=minutes))
        answers = [tried(each, output=output, at=later(minutes=minutes)) for each in works]
        save(connection, *answers, now=later(minutes=minutes), batch_id=batch_id)
        amended = Amendment("letters", "k", {"text": f"version {minutes}"}, place="trial")
        amend(connection, amended, door="client", now=later(minutes=minutes))
    found = seen(connection)
    assert (found.compared, found.corrected) == (1, 0)


def test_days_without_items_count_but_canceled_items_do_not(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON)
    admit(connection, "b", "c", now=later(days=2))
    admit(connection, "d", now=later(days=2))
    connection.execute(text("select lanes.cancel('letters', 'd')"))
    found = seen(connection, now=later(days=4))
    assert (found.items, found.days, found.days_arrivals) == (3, 4, [0, 2, 0])
    assert row(connection, "item", key="d").canceled_at is not None


@pytest.mark.slow
def test_the_busiest_minute_includes_folded_and_unfolded_figures(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, *"abc", now=NOON)
    admit(connection, *"defg", now=later(minutes=1))
    route(connection, now=NOON)
    folding.fold(connection)
    assert seen(connection).peak_per_minute == 4
    admit(connection, "h", now=later(seconds=30))
    assert seen(connection).peak_per_minute == 4
    admit(connection, "i", now=later(seconds=40))
    route(connection, now=later(seconds=50))
    admit(connection, "j", now=later(seconds=50))
    assert (seen(connection).peak_per_minute, seen(connection).items) == (6, 10)
    connection.execute(
        text("select lanes.cancel('letters', 'a', :now), lanes.cancel('letters', 'j', :now)"),
        {"now": NOON},
    )
    assert (seen(connection).peak_per_minute, seen(connection).items) == (4, 8)
    folding.fold(connection)
    assert (seen(connection).peak_per_minute, seen(connection).items) == (4, 8)


def answered_by(connection: Connection, model: str, *keys: str, minutes: float) -> None:
    """Publish a version that uses `model`, and answer these items with it, each with a thousand tokens."""
    at = later(minutes=minutes)
    publish(connection, now=at, split_percent=100, realtime_model=model, batch_model=model)
    admit(connection, *keys, now=at, lane=Lane.REALTIME)
    route(connection, now=at)
    responses = (said(model=model) for _ in keys)
    save(
        connection,
        *(tried(each, response=next(responses), at=at) for each in claim(connection, now=at)),
        now=at,
    )


@pytest.mark.slow
def test_costs_come_from_the_version_in_force(connection: Connection) -> None:
    answered_by(connection, "claude-haiku-5-5", *(f"old{n}" for n in range(60)), minutes=0)
    cheap = seen(connection).realtime.billed_usd / 60
    answered_by(connection, "claude-opus-5-5", *(f"new{n}" for n in range(30)), minutes=5)
    found = seen(connection)
    assert (found.version, found.of_others, found.realtime.answered) == (2, 60, 30)
    each = found.realtime.billed_usd / 30
    assert each > 4 * cheap
    priced = prices(found)
    assert priced is not None
    assert (priced.realtime_usd, priced.realtime_basis) == (pytest.approx(each), "billed")
    assert found.savings is None  # the figures of calls have no version
    folding.fold(connection)
    assert seen(connection) == found


def test_a_version_with_too_few_bills_is_priced_by_its_own_estimates(
    connection: Connection,
) -> None:
    answered_by(connection, "claude-haiku-5-5", *(f"old{n}" for n in range(60)), minutes=0)
    publish(connection, now=later(minutes=5), split_percent=100, realtime_model="claude-opus-5-5")
    found = seen(connection)
    (letters,) = workloads.read_versions(connection).values()
    expected = Estimates(NOON).of(letters, len('{"text": "letter old59"}'))
    assert found.estimated_realtime_usd == pytest.approx(float(expected.realtime), rel=0.01)
    assert found.estimated_batch_usd == pytest.approx(float(expected.batch), rel=0.01)
    priced = prices(found)
    assert priced is not None
    assert (priced.realtime_basis, priced.batch_basis) == ("estimated", "estimated")
    assert (found.realtime.answered, found.of_others) == (0, 60)


@pytest.mark.slow
def test_only_corrections_of_the_version_in_force_count(connection: Connection) -> None:
    letters = publish(connection, now=NOON, mode="lambda", split_percent=100)
    admit(connection, "k", now=NOON)
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    batch_id, (work,) = submit(connection, letters, now=later(minutes=1))
    save(
        connection, tried(work, output=B, at=later(hours=1)), now=later(hours=1), batch_id=batch_id
    )
    assert (seen(connection).compared, seen(connection).corrected, seen(connection).distance) == (
        1,
        1,
        1.0,
    )
    publish(connection, now=later(hours=2), mode="lambda", instructions="Sort it anew.")
    assert (seen(connection).compared, seen(connection).corrected, seen(connection).distance) == (
        0,
        0,
        None,
    )


@pytest.mark.slow
def test_the_half_life_is_fitted_to_recorded_reads_and_to_the_waits_of_unread_results(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=100)
    keys = [f"k{number}" for number in range(30)]
    admit(connection, *keys, now=NOON, consumer="desk")
    route(connection, now=NOON)
    save(connection, *map(tried, claim(connection)))
    for key in keys[:20]:
        read(connection, key, at=later(hours=1))
    for _ in range(2):
        advice = advise(seen(connection))
        assert advice.decay is not None
        assert (advice.decay.reads, advice.decay.unknown) == (20, 10)
        waited_s = 20 * 3_600 + 10 * 2 * 86_400  # ten have waited for two days
        assert advice.decay.half_life_s == pytest.approx(0.6931 * waited_s / 20, rel=0.02)
        assert [each.consumer for each in advice.decays] == ["desk"]
        folding.fold(connection)
