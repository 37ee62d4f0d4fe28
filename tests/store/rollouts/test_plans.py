"""The traffic on which a rollout's plan is based, and starts that the plan refuses."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.errors import ActionRefused, UnknownWorkload
from lanes.money.estimates import Estimates
from lanes.rollouts.gates import Measure
from lanes.rollouts.plan import RolloutPlan, SplitTraffic
from lanes.rollouts.playbook import Playbook
from lanes.routing.split import Split
from lanes.statistics.shares import SampleShare
from lanes.store.doors.items import cancel, label
from lanes.store.figures import folding
from lanes.store.rollouts import plans
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import ERRORS, begin, playbook, step
from tests.store.rollouts.test_items_out import keys, returned, sent
from tests.store.tries import A, rows, save, submit, tried

MET = {"measure": "deadlines_met", "min": 0.9, "at_least": 5}
ESTIMATED = ("realtime_usd", "batch_usd")
WORSE = {"measure": "error_rate", "worse_by": 0.02, "at_least": 5}


def planned(
    connection: Connection,
    book: Playbook | None = None,
    *,
    consumer: str | None = None,
    now: datetime | None = None,
) -> RolloutPlan:
    book, now = book or playbook(step(10), step(50)), now or later(days=2)
    made, _ = plans.plan_playbook(connection, book, name="letters", consumer=consumer, now=now)
    return made


def came(connection: Connection, number: int, *, at: datetime, mark: str = "k", **of: Any) -> None:
    admit(connection, *(f"{mark}{n}" for n in range(number)), now=at, **of)
    route(connection, now=at)


@pytest.mark.parametrize("folded", [False, True])
def test_plan_traffic_is_the_daily_number_of_items_that_the_split_decided(
    connection: Connection, folded: bool
) -> None:
    publish(connection, now=NOON)
    publish(connection, "tickets", now=NOON)
    workloads.set_split(connection, Split("letters", "own", 500), who="ada", why="so", now=NOON)
    came(connection, 30, at=NOON)
    came(connection, 20, at=later(hours=40), mark="later", consumer="desk")
    came(connection, 9, at=later(hours=1), mark="own", consumer="own")
    came(connection, 8, at=later(hours=1), mark="pinned", lane=Lane.REALTIME)
    came(connection, 7, at=later(hours=1), mark="urgent", urgent=True)
    came(connection, 6, at=later(hours=1), mark="ticket", workload="tickets")
    came(connection, 5, at=later(hours=1), mark="gone")
    for number in range(5):
        assert cancel(connection, "letters", f"gone{number}") == "canceled"
    if folded:
        folding.fold(connection)
    seen = planned(connection).traffic
    assert (seen.items, seen.days, seen.a_day) == (50, 2.0, 25.0)
    desk = planned(connection, consumer="desk").traffic
    assert (desk.items, desk.days) == (20, pytest.approx(8 / 24))
    assert desk.a_day is None
    assert planned(connection, consumer="ghost").traffic == SplitTraffic()


def test_plan_traffic_ignores_items_older_than_a_week(connection: Connection) -> None:
    publish(connection, now=NOON)
    came(connection, 40, at=NOON)
    came(connection, 35, at=later(days=3), mark="later")
    assert planned(connection, now=later(days=9)).traffic.items == 35
    assert planned(connection, now=later(days=11)).traffic == SplitTraffic()


@pytest.mark.parametrize("mode", ["plain", "lambda"])
def test_a_plan_uses_the_estimates_of_routes_and_adds_the_second_pass_in_lambda_mode(
    connection: Connection, mode: str
) -> None:
    letters = publish(connection, now=NOON, mode=mode)
    came(connection, 40, at=NOON)
    each = planned(connection).traffic.each_usd
    of = rows(connection, "route")
    realtime, batch = (float(sum(getattr(row, name) for row in of)) / 40 for name in ESTIMATED)
    again = batch if mode == "lambda" else 0
    assert each == pytest.approx({Lane.REALTIME: realtime + again, Lane.BATCH: batch})
    one = Estimates(NOON).of(letters, len('{"text": "letter k1"}'))
    assert (realtime, batch) == pytest.approx((float(one.realtime), float(one.batch)), rel=0.1)


def in_batch(connection: Connection, letters: Version) -> None:
    """Answer forty items in a batch: ten have a due time, three of them miss it, and four answers are invalid."""
    came(connection, 30, at=NOON)
    came(connection, 10, at=NOON, mark="due", due_at=later(hours=9))
    batch_id, works = submit(connection, letters)
    for each in works:
        is_late, is_wrong = (
            each.key in ("due0", "due1", "due2"),
            each.key in ("k0", "k1", "k2", "k3"),
        )
        at = later(hours=10 if is_late else 8)
        outcome = Outcome.INVALID if is_wrong else Outcome.VALID
        save(connection, tried(each, outcome, at=at), now=at, batch_id=batch_id)


@pytest.mark.slow
def test_a_plan_measures_recent_items_of_the_lane_by_the_rules_of_the_gates(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, batch_expected_minutes=1)
    in_batch(connection, letters)
    seen = planned(connection, playbook(step(10, MET), step(50, WORSE))).traffic
    assert seen.tried == 40
    assert {measure: each.wrong_share for measure, each in seen.recent.items()} == {
        Measure.DEADLINES_MET: SampleShare(3, 10),
        Measure.ERROR_RATE: SampleShare(4, 40),
    }
    assert seen.estimate_sample_share(Measure.DEADLINES_MET) == 0.25
    assert planned(connection, playbook(step(10))).traffic.recent == {}


def test_a_rollout_starts_at_the_step_and_share_of_its_plan(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=30)
    book = playbook(step(5), step(20, approval=True), step(50))
    made = planned(connection, book, now=NOON)
    begun = begin(connection, book)
    assert (begun.step, begun.share_before) == (made.first, made.basis_points)
    assert not begun.entered
    assert made.owed_step == begun.asks_about


def test_a_rollout_with_too_little_traffic_for_its_gates_is_refused_and_writes_nothing(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    came(connection, 40, at=NOON)
    book = playbook(step(50, ERRORS, at_most_minutes=1_440))
    at_once, a_day_later = later(hours=20), later(days=1)
    with pytest.raises(
        ActionRefused, match=r"69 samples even if none is wrong\. At today's traffic 20 a"
    ):
        begin(connection, book, now=a_day_later)
    assert rows(connection, "rollout") == []
    assert workloads.splits(connection).of("letters", None).basis_points == 0
    assert begin(connection, book, now=at_once).step == 0


def test_a_plan_needs_a_published_workload(connection: Connection) -> None:
    with pytest.raises(UnknownWorkload, match='workload "letters" has no published version'):
        planned(connection)


def test_a_plan_reports_why_a_rollout_cannot_start(connection: Connection) -> None:
    publish(connection, now=NOON)
    begin(connection)
    _, refusal = plans.plan_playbook(
        connection, playbook(), name="letters", consumer=None, now=NOON + timedelta(hours=1)
    )
    assert "has an open rollout already" in str(refusal)


BEFORE = {
    "days": 7,
    "batches": 2,
    "gates": [
        {"measure": "error_rate", "max": 0.2, "at_least": 10},
        {"measure": "accuracy", "min": 0.7, "at_least": 20},
    ],
}


def batch_came_back(
    connection: Connection, mark: str, number: int = 60, *, after: timedelta, at: datetime = NOON
) -> None:
    """Submit items that are pinned to batch and collect correct, labeled answers `after` that time."""
    publish(connection, now=at, promises={"batch_max_minutes": 120})
    batch = sent(connection, *keys(mark, number), now=at, lane=Lane.BATCH)
    returned(connection, batch, now=at + after)
    expected = dict.fromkeys(keys(mark, number), A)
    label(connection, "letters", expected, source="ada")


def test_a_rollout_starts_once_the_batch_lane_meets_the_conditions_of_the_playbook(
    connection: Connection,
) -> None:
    book = playbook(step(10), before=BEFORE)
    publish(connection, now=NOON)
    with pytest.raises(ActionRefused) as refused:
        begin(connection, book)
    assert str(refused.value) == (
        'the batch lane does not keep what playbook "batch-to-realtime" asks for before it begins, in the last 7 days: '
        "error_rate is inconclusive, 0 of at least 10 samples; accuracy is inconclusive, 0 of at least 20 labeled items; "
        "label 20 more (`lanes review letters`); 0 of 2 batches came back. Let it gather evidence, or change `before`"
    )
    batch_came_back(connection, "a", after=timedelta(minutes=30))
    with pytest.raises(ActionRefused, match=r"in the last 7 days: 1 of 2 batches came back\."):
        begin(connection, book, now=later(hours=1))
    batch_came_back(connection, "b", after=timedelta(minutes=30), at=later(hours=1))
    assert begin(connection, book, now=later(hours=2)).basis_points == 1_000


@pytest.mark.slow
def test_a_late_batch_blocks_a_rollout_until_newer_batches_return_in_time(
    connection: Connection,
) -> None:
    book = playbook(step(10), before={"batches": 2})
    batch_came_back(connection, "a", 5, after=timedelta(minutes=30))
    batch_came_back(connection, "late", 5, after=timedelta(hours=3), at=later(hours=1))
    late = r"1 of the newest 2 batches is not back in time with every result\."
    with pytest.raises(ActionRefused, match=late):
        begin(connection, book, now=later(hours=5))
    for n in range(2):
        at = later(hours=6 + n)
        batch_came_back(connection, f"again{n}", 5, after=timedelta(minutes=20), at=at)
    assert begin(connection, book, now=later(hours=9)).is_open


def test_the_conditions_on_the_batch_lane_count_only_the_days_of_the_playbook(
    connection: Connection,
) -> None:
    batch_came_back(connection, "a", after=timedelta(minutes=30))
    batch_came_back(connection, "b", after=timedelta(minutes=30), at=later(minutes=40))
    book = playbook(step(10), before=BEFORE)
    assert planned(connection, book, now=later(hours=2)).before is not None
    _, refusal = plans.plan_playbook(
        connection, book, name="letters", consumer=None, now=later(days=8)
    )
    assert refusal is not None
    assert "0 of at least 10 samples" in refusal
