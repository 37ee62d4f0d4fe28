"""The rules that forbid the start of a rollout, and the incidents that hinder a running one."""

from dataclasses import replace
from typing import Any

import pytest

from lanes.ids import IncidentId
from lanes.promises.incident import Incident, IncidentState, Promise, Severity
from lanes.rollouts import plan, refusals
from lanes.rollouts.plan import SplitTraffic
from lanes.rollouts.playbook import Playbook, load
from lanes.rollouts.refusals import select_hindering, sentences
from lanes.rollouts.rollout import Rollout
from lanes.words import Lane, Mode
from tests.examples import incident_of
from tests.rollouts import ERRORS, playbook, rollout_of, step

MET = {"measure": "deadlines_met", "min": 0.9, "at_least": 5}
AGREEMENT = {"measure": "agreement", "min": 0.9, "at_least": 5}


def open_rollout(consumer: str | None = None) -> Rollout:
    return rollout_of(consumer=consumer)


def refused(
    *,
    mode: Mode = Mode.PLAIN,
    values: bool = False,
    basis_points: int = 0,
    present: Rollout | None = None,
    agreement: bool = False,
    leaves_out: bool = False,
    book: Playbook | None = None,
    traffic: SplitTraffic | None = None,
) -> str | None:
    book = book or (playbook(step(10, AGREEMENT)) if agreement else playbook())
    made = plan.make(book, "letters", None, basis_points, traffic or SplitTraffic())
    more = {"values": values, "leaves_out": leaves_out}
    return refusals.refuse_start(made, mode=mode, present=present, **more)


def incident(promise: Promise, subject: str = "", **fields: Any) -> Incident:
    made = incident_of(
        promise,
        "letters",
        subject,
        id=IncidentId(3),
        uid="u",
        severity=Severity.CRITICAL,
        sentence="So.",
    )
    return replace(made, **fields)


def test_a_rollout_begins_if_no_rule_forbids_it() -> None:
    assert refused() is None
    assert refused(mode=Mode.LAMBDA, agreement=True, basis_points=900) is None


def test_a_workload_has_at_most_one_open_rollout() -> None:
    said = refused(present=open_rollout("desk"))
    assert said is not None
    assert (
        'workload "letters" has an open rollout already: 7, playbook "batch-to-realtime", started by ada'
        in said
    )


def test_a_gate_that_can_never_be_judged_is_refused() -> None:
    assert "is not in lambda mode" in str(refused(agreement=True))
    assert refused(agreement=True, mode=Mode.LAMBDA) is None
    said = str(refused(agreement=True, mode=Mode.LAMBDA, leaves_out=True))
    assert "leaves out second passes (second_pass): those that it has are no fair sample" in said


def test_a_rollout_is_refused_if_the_value_of_the_workload_decides_before_the_split() -> None:
    assert "(value_usd), and that decides before the split" in str(refused(values=True))


def test_a_rollout_is_refused_if_the_share_is_past_every_step() -> None:
    assert "sends 60 % to real-time already" in str(refused(basis_points=6_000))


def days_of(a_day: float, days: float = 7) -> SplitTraffic:
    return SplitTraffic(round(a_day * days), days)


def test_a_gate_that_cannot_gather_its_samples_in_time_is_refused_with_the_numbers() -> None:
    assert refused(book=load("batch-to-realtime"), traffic=days_of(100)) == (
        'step 1 of playbook "batch-to-realtime" cannot pass in its time: p95_s needs 218 samples even if none is wrong. At '
        "today's traffic 5.0 a day come, which takes 44 d, and the step holds for 14 d: leave out at_most_minutes, move a "
        "larger share, loosen the limit, send more traffic, or try the gate with `dry_run: true`"
    )
    longer = str(refused(book=load("batch-to-realtime"), traffic=days_of(200)))
    assert "10 a day come, which takes 22 d" in longer
    assert "hold longer (at_most_minutes: 31392)" in longer


def test_a_rollout_begins_if_its_gates_pass_in_time_without_wrong_samples() -> None:
    """Require no more than that: the plan shows whether the gates also pass at half of their limits."""
    assert refused(book=load("batch-to-realtime"), traffic=days_of(320)) is None


def test_shadows_whose_budget_ends_before_a_gate_can_pass_are_refused() -> None:
    book = playbook(step(10, AGREEMENT), shadows={"share": 0.1, "budget_usd": 0.1})
    dear = SplitTraffic(7_000, 7.0, {Lane.REALTIME: 0.004, Lane.BATCH: 0.002})
    assert refused(book=book, traffic=dear) == (
        'step 1 of playbook "batch-to-realtime" cannot pass: agreement needs 69 pairs of answers even if none is wrong, and '
        "the budget of its shadows pays for about 25: raise shadows.budget_usd, loosen the limit, or try the gate with "
        "`dry_run: true`"
    )
    assert refused(book=book, traffic=days_of(1_000)) is None  # no cost is known


@pytest.mark.parametrize(
    ("traffic", "why"),
    [
        (SplitTraffic(), "nothing is known of a new workload"),
        (days_of(100, days=0.9), "less than a day says nothing"),
        (SplitTraffic(20, 7.0), "nor do a few items"),
    ],
)
def test_unknown_traffic_refuses_no_rollout(traffic: SplitTraffic, why: str) -> None:
    assert refused(book=load("batch-to-realtime"), traffic=traffic) is None, why


def test_a_dry_run_gate_and_a_step_without_a_time_limit_are_always_reachable() -> None:
    slow = {"measure": "error_rate", "max": 0.001, "at_least": 20}
    timed: dict[str, Any] = {"items": 1, "at_most_minutes": 1_440}
    few = days_of(40)
    assert refused(book=playbook(step(50, slow)), traffic=few) is None
    assert "error_rate needs" in str(refused(book=playbook(step(50, slow, **timed)), traffic=few))
    tried = playbook(step(50, {**slow, "dry_run": True}, {**MET, "min": 0.1}, **timed))
    assert refused(book=tried, traffic=few) is None


def test_a_step_that_waits_for_more_items_than_arrive_in_its_time_is_refused() -> None:
    loose = {**ERRORS, "max": 0.9}
    book = playbook(step(50, loose, items=500, at_most_minutes=2 * 1_440))
    assert refused(book=book, traffic=days_of(500)) is None
    assert "it waits for 500 items. At today's traffic 50 a day come, which takes 10 d" in str(
        refused(book=book, traffic=days_of(100))
    )


def test_a_skipped_step_may_be_unreachable() -> None:
    book = playbook(step(1, ERRORS, at_most_minutes=1_440), step(100, ERRORS))
    assert refused(book=book, traffic=days_of(100)) is not None
    assert refused(book=book, traffic=days_of(100), basis_points=200) is None


@pytest.mark.parametrize(
    ("of", "moved_by", "forbidden"),
    [("desk", "desk", True), (None, None, True), ("desk", None, False), (None, "desk", False)],
)
def test_a_split_may_be_set_by_hand_unless_a_rollout_moves_the_same_split(
    of: str | None, moved_by: str | None, forbidden: bool
) -> None:
    assert (refusals.refuse_split("letters", of, open_rollout(moved_by)) is not None) is forbidden
    assert refusals.refuse_split("letters", of, None) is None


@pytest.mark.parametrize(
    ("found", "of_realtime", "of_batch"),
    [
        (incident(Promise.REALTIME_SLOW), True, False),
        (incident(Promise.BATCH_SLOW, "batch 4"), False, True),
        (incident(Promise.ITEMS_FAILED), True, True),
        (incident(Promise.PROVIDER_FROZEN, "acme"), True, True),
        (incident(Promise.REALTIME_SLOW, severity=Severity.WARNING), False, False),
        (incident(Promise.REALTIME_SLOW, state=IncidentState.RESOLVED), False, False),
    ],
)
def test_critical_incidents_on_the_receiving_lane_hinder_a_rollout(
    found: Incident, of_realtime: bool, of_batch: bool
) -> None:
    assert (select_hindering([found], Lane.REALTIME) == [found]) is of_realtime
    assert (select_hindering([found], Lane.BATCH) == [found]) is of_batch
    assert sentences([incident(Promise.REALTIME_SLOW)]) == [
        "critical incident 3 is open: Real-time is slow"
    ]
