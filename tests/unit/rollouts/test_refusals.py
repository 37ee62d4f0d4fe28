"""What forbids a rollout to begin, and what hinders one that is under way."""

from dataclasses import replace
from typing import Any

import pytest

from lanes.ids import IncidentId, RolloutId
from lanes.promises.incident import Incident, IncidentState, Promise, Severity
from lanes.rollouts import refusals
from lanes.rollouts.refusals import hindering, sentences
from lanes.rollouts.rollout import Rollout
from lanes.words import Lane, Mode, RolloutState
from tests.conftest import NOON
from tests.rollouts import playbook, step

AGREEMENT = {"measure": "agreement", "min": 0.9, "at_least": 5}


def open_rollout(consumer: str | None = None) -> Rollout:
    return Rollout(
        RolloutId(7),
        playbook(),
        "letters",
        consumer,
        RolloutState.RUNNING,
        0,
        NOON,
        0,
        0,
        None,
        0,
        None,
        "ada",
        "trial",
        NOON,
        None,
        None,
    )


def refused(
    *,
    mode: Mode = Mode.PLAIN,
    values: bool = False,
    basis_points: int = 0,
    present: Rollout | None = None,
    agreement: bool = False,
) -> str | None:
    book = playbook(step(10, AGREEMENT)) if agreement else playbook()
    return refusals.of_start(
        book, "letters", mode=mode, values=values, basis_points=basis_points, present=present
    )


def incident(promise: Promise, subject: str = "", **fields: Any) -> Incident:
    made = Incident(
        IncidentId(3),
        "u",
        promise,
        "letters",
        subject,
        Severity.CRITICAL,
        IncidentState.OPEN,
        9,
        5,
        20,
        "items",
        "So.",
        NOON,
        NOON,
        None,
    )
    return replace(made, **fields)


def test_a_rollout_begins_where_nothing_forbids_it() -> None:
    assert refused() is None
    assert refused(mode=Mode.LAMBDA, agreement=True, basis_points=900) is None


def test_a_workload_has_one_open_rollout_at_most() -> None:
    said = refused(present=open_rollout("desk"))
    assert said is not None
    assert (
        'workload "letters" has an open rollout already: 7, playbook "batch-to-realtime", started by ada'
        in said
    )


def test_a_gate_that_can_never_be_judged_is_refused() -> None:
    assert "is not in lambda mode" in str(refused(agreement=True))


def test_a_workload_whose_value_decides_before_the_split_has_nothing_that_a_rollout_moves() -> None:
    assert "(value_usd), and that decides before the split" in str(refused(values=True))


def test_a_share_that_is_past_every_step_is_refused() -> None:
    assert "sends 60 % to real-time already" in str(refused(basis_points=6_000))


@pytest.mark.parametrize(
    ("of", "moved_by", "forbidden"),
    [("desk", "desk", True), (None, None, True), ("desk", None, False), (None, "desk", False)],
)
def test_a_split_is_set_by_hand_unless_a_rollout_moves_this_very_split(
    of: str | None, moved_by: str | None, forbidden: bool
) -> None:
    assert (refusals.of_split("letters", of, open_rollout(moved_by)) is not None) is forbidden
    assert refusals.of_split("letters", of, None) is None


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
def test_a_rollout_is_hindered_by_what_is_critical_where_its_traffic_goes(
    found: Incident, of_realtime: bool, of_batch: bool
) -> None:
    assert (hindering([found], Lane.REALTIME) == [found]) is of_realtime
    assert (hindering([found], Lane.BATCH) == [found]) is of_batch
    assert sentences([incident(Promise.REALTIME_SLOW)]) == [
        "critical incident 3 is open: Real-time is slow"
    ]
