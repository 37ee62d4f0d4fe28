"""Gate measurements other than errors and times: corrections, labels and money, by step and over the whole rollout."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.rollouts.gates import Judgement, Measurement
from lanes.rollouts.rollout import Advance, Enter, Rollout
from lanes.routing.split import bucket
from lanes.statistics.shares import SampleShare
from lanes.store.doors import items
from lanes.store.rollouts import rollout_measures, rollout_moves, rollouts
from lanes.words import Lane, Outcome, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import begin, judged, playbook, step
from tests.store.rollouts.test_items_out import keys, returned, sent
from tests.store.tries import A, B, claim, rows, said, save, tried

CORRECTED: dict[str, Any] = {"measure": "correction_rate", "max": 0.5, "at_least": 1}
ACCURACY: dict[str, Any] = {"measure": "accuracy", "min": 0.5, "at_least": 20}
COST: dict[str, Any] = {"measure": "cost_usd", "max": 0.01, "at_least": 3}
SAVING: dict[str, Any] = {"measure": "saving", "min": 0.2, "at_least": 3}


def measured(connection: Connection, of: Rollout, *, seconds: float = 60) -> list[Measurement]:
    return rollout_measures.take(connection, of, now=later(seconds=seconds)).measurements


def test_the_correction_rate_is_a_share_of_items_that_an_authoritative_pass_compared(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode="lambda")
    of = begin(connection, playbook(step(100, CORRECTED)))
    admit(connection, "confirmed", "corrected", "not yet", now=NOON)
    route(connection, now=NOON)
    save(connection, *(tried(each, output=A) for each in claim(connection)))
    owed = {each.key: each for each in claim(connection, Lane.BATCH, now=later(hours=10))}
    save(connection, tried(owed["confirmed"], output=A), tried(owed["corrected"], output=B))
    (seen,) = measured(connection, of)
    assert (seen.samples, seen.wrong, seen.value) == (2, 1, 0.5)


def test_an_item_is_accurate_if_every_labeled_field_is_right(connection: Connection) -> None:
    publish(connection, now=NOON, review_share=0)
    of = begin(connection, playbook(step(100, ACCURACY)))
    admit(connection, "right", "wrong", "partly", "unlabeled", now=NOON)
    admit(connection, "urgent", now=NOON, urgent=True)
    route(connection, now=NOON)
    save(connection, *(tried(each, output=A) for each in claim(connection)))
    admit(connection, "unanswered", now=NOON)
    route(connection, now=NOON)
    expected = {"right": A, "wrong": B, "partly": A | {"other": 1}, "urgent": B, "unanswered": A}
    items.label(connection, "letters", expected, source="ada")
    # Excluded: a review selects items whose answers differ.
    items.label(connection, "letters", {"unlabeled": B}, source="review:ada")
    (seen,) = measured(connection, of)
    assert (seen.samples, seen.wrong) == (3, 2)
    (judgement,) = judged(of, rollout_measures.take(connection, of, now=later(seconds=60)))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.explanation == (
        "3 of at least 20 labeled items; label 17 more (`lanes review letters`)"
    )


def test_the_cost_of_a_done_item_is_the_sum_of_all_its_billed_attempts(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=3)
    of = begin(connection, playbook(step(100, COST)))
    admit(connection, "first", now=NOON)
    route(connection, now=NOON)
    (first,) = claim(connection)
    save(connection, tried(first, at=later(seconds=1), response=said(tokens=9_000)))
    admit(connection, "again", "open", now=NOON)
    route(connection, now=NOON)
    for each in claim(connection):
        attempt = tried(each, Outcome.INVALID, at=later(seconds=2), response=said(tokens=500))
        save(connection, attempt, now=later(seconds=2))
    for each in claim(connection, now=later(hours=1)):
        if each.key == "again":
            save(connection, tried(each, at=later(seconds=3), response=said(tokens=2_000)))
    billed = {
        key: float(
            sum(
                (each.cost_usd for each in rows(connection, "attempt_log") if each.key == key),
                Decimal(0),
            )
        )
        for key in ("first", "again")
    }
    (seen,) = measured(connection, of)
    assert list(seen.costs) == pytest.approx([billed["first"], billed["again"]])
    assert seen.value == pytest.approx(sum(billed.values()) / 2)


def test_a_saving_compares_the_cost_per_item_of_the_two_lanes(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=100)
    of = begin(connection, playbook(step(50, SAVING), direction="realtime_to_batch"))
    batch = sent(connection, *keys("i", 40), now=NOON)
    (before,) = measured(connection, of)
    assert (before.samples, before.value) == (0, None)
    asked = claim(connection)
    save(connection, *(tried(each, response=said(tokens=1_000)) for each in asked))
    returned(connection, batch, now=later(seconds=30))  # the same tokens at half the price
    (seen,) = measured(connection, of)
    assert seen.other is not None
    assert seen.samples + seen.other.samples == 40
    assert seen.other.samples == len(asked)
    assert seen.value == pytest.approx(0.5)


ERRORS: dict[str, Any] = {"measure": "error_rate", "max": 0.3, "at_least": 5}
REALTIME = [f"k{n}" for n in range(2_000) if bucket("letters", entity=None, key=f"k{n}") < 1_000]


def tries(connection: Connection, *keys: str, wrong: int = 0, at: datetime) -> None:
    """Admit items that the split sends to real time and answer them, the first `wrong` of them invalidly."""
    admit(connection, *keys, now=at)
    route(connection, now=at)
    done = at + timedelta(seconds=1)
    for number, each in enumerate(claim(connection, now=at)):
        outcome = Outcome.INVALID if number < wrong else Outcome.VALID
        save(connection, tried(each, outcome, at=done), now=done)


def advanced(connection: Connection, of: Rollout, *, now: datetime) -> Rollout:
    assert rollout_moves.apply(connection, of, Advance("trial"), [], now=now)
    return rollouts.find(connection, of.id)


@pytest.mark.slow
def test_the_whole_rollout_fails_a_gate_that_single_steps_leave_inconclusive(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1)
    of = begin(connection, playbook(step(10, ERRORS), step(20, ERRORS), step(30, ERRORS, COST)))
    said, seen = list[Judgement](), list[SampleShare]()
    for number in range(3):
        at = later(hours=number)
        of = of if number == 0 else advanced(connection, of, now=at)
        tries(connection, *REALTIME[30 * number : 30 * (number + 1)], wrong=16, at=at)
        taken = rollout_measures.take(connection, of, now=at + timedelta(minutes=1))
        assert taken.measurements[0].wrong_share == SampleShare(16, 30)
        seen.extend(each.wrong_share for each in taken.whole)
        said.append(judged(of, taken)[0])
    assert seen == [SampleShare(32, 60), SampleShare(48, 90)]
    verdicts = [f"{each.verdict} by {each.scope}" for each in said]
    assert verdicts == ["inconclusive by step", "failed by rollout", "failed by rollout"]
    assert [f"{each.verdict} by {each.scope}" for each in said[-1].of_windows] == [
        "inconclusive by step",
        "failed by rollout",
    ]


def test_the_window_of_the_whole_rollout_starts_with_the_first_share_that_it_set(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=15)
    book = playbook(step(10, ERRORS, approval=True), step(20, ERRORS), step(30, ERRORS))
    of = begin(connection, book)
    assert not of.entered
    tries(connection, *REALTIME[:7], at=NOON)
    assert rollout_moves.apply(connection, of, Enter("trial"), [], now=later(hours=1))
    of = rollouts.find(connection, of.id)
    assert of.whole_window is None
    tries(connection, *REALTIME[7:12], at=later(hours=1))
    assert rollout_measures.take(connection, of, now=later(hours=1)).whole == []
    of = advanced(connection, of, now=later(hours=2))
    tries(connection, *REALTIME[12:15], at=later(hours=2))
    taken = rollout_measures.take(connection, of, now=later(hours=3))
    (errors,), (whole,) = taken.measurements, taken.whole
    assert (errors.samples, whole.samples) == (3, 8)
