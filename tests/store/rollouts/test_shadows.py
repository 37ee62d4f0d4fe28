"""Shadow work of a rollout on the other lane: the selected items, their cost, and the comparison of both answers."""

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.rollouts.gates import Judgement, Measurement
from lanes.rollouts.playbook import Playbook
from lanes.rollouts.rollout import Advance, RollBack, Rollout, next_move
from lanes.statistics.differences import PairedShares
from lanes.store.doors import emptying, items
from lanes.store.rollouts import rollout_measures, rollout_moves, rollouts, shadows
from lanes.store.workload import workloads
from lanes.words import Lane, Purpose, Verdict, WorkState
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import begin, judged, playbook, step
from tests.store.rollouts.test_items_out import keys
from tests.store.tries import A, B, claim, home, rows, save, submit, tried

AGREEMENT: dict[str, Any] = {"measure": "agreement", "min": 0.7, "at_least": 10}
ACCURACY: dict[str, Any] = {"measure": "accuracy", "worse_by": 0.2, "at_least": 10}
SOON = later(seconds=30)
TO_BATCH = "realtime_to_batch"


def shadowing(
    *steps: dict[str, Any], share: float = 1.0, usd: float = 10.0, direction: str = TO_BATCH
) -> Playbook:
    return playbook(*steps, direction=direction, shadows={"share": share, "budget_usd": usd})


def to_batch(connection: Connection, book: Playbook | None = None, **fields: Any) -> Rollout:
    """Begin a rollout whose first step moves nothing: all `letters` are real-time, and shadows go to batch."""
    publish(connection, now=NOON, split_percent=100, **fields)
    return begin(connection, book or shadowing(step(100, AGREEMENT), step(50, AGREEMENT)))


def answered(connection: Connection, of: Rollout, *names: str, output: Any = A) -> None:
    """Answer these items in real time and create the owed shadows."""
    admit(connection, *names, now=NOON)
    route(connection, now=NOON)
    save(connection, *(tried(each, output=output) for each in claim(connection)))
    shadows.owe(connection, of, now=NOON)


def came_back(connection: Connection, **different: Any) -> None:
    """Submit all waiting batch work and collect it: output `A`, except for the keys in `different`."""
    version = workloads.read_versions(connection)["letters"]
    batch_id, works = submit(connection, version, now=later(days=2))
    answers = (tried(each, output=different.get(each.key, A), at=SOON) for each in works)
    save(connection, *answers, now=SOON, batch_id=batch_id)
    home(connection, batch_id, now=SOON)


def measured(connection: Connection, of: Rollout) -> Measurement:
    return rollout_measures.take(connection, of, now=later(seconds=60)).measurements[0]


def judgement(connection: Connection, of: Rollout) -> Judgement:
    return judged(of, rollout_measures.take(connection, of, now=later(seconds=60)))[0]


def owed(connection: Connection) -> list[Any]:
    return [each for each in rows(connection, "work") if each.purpose == Purpose.SHADOW]


def test_both_lanes_are_compared_before_the_first_item_moves(connection: Connection) -> None:
    of = to_batch(connection)
    answered(connection, of, *keys("i", 40))
    assert (measured(connection, of).samples, len(owed(connection))) == (0, 40)
    came_back(connection, i0=B, i1=B)
    figures = rollout_measures.take(connection, of, now=later(seconds=60))
    assert figures.answered == 40  # by the lane that will receive the traffic
    (seen,) = figures.measurements
    assert (seen.samples, seen.wrong, seen.value) == (40, 2, 0.95)
    (verdict,) = judged(of, figures)
    assert verdict.verdict is Verdict.PASSED
    assert isinstance(next_move(of.situation(40), [verdict], None, NOON), Advance)


def test_a_shadow_changes_no_item_and_is_billed_separately(connection: Connection) -> None:
    of = to_batch(connection)
    answered(connection, of, "one", "two")
    before = rows(connection, "result")
    came_back(connection, one=B)
    assert rows(connection, "result") == before
    assert {each.state for each in rows(connection, "item_status")} == {"settled"}
    billed = connection.execute(
        text("select purpose, lane, count(*) from lanes.spend group by 1, 2 order by 1")
    )
    assert [tuple(each) for each in billed] == [("answer", "realtime", 2), ("shadow", "batch", 2)]


def test_shadows_stop_when_their_budget_is_spent(connection: Connection) -> None:
    of = to_batch(connection)
    answered(connection, of, "one")
    (price,) = (each.estimated_usd for each in rows(connection, "shadow_pair"))
    less = {"content": json.dumps({"share": 1.0, "budget_usd": 3.5 * float(price)})}
    connection.execute(
        text(
            "update lanes.rollout set content = content || jsonb_build_object('shadows', cast(:content as jsonb))"
        ),
        less,
    )
    of = rollouts.find(connection, of.id)
    answered(connection, of, *keys("more", 9))
    assert len(owed(connection)) == 3
    assert shadows.read_spent(connection, of.id) == shadows.ShadowsSpent(3, 3 * price)
    came_back(connection)  # the billed cost replaces the estimate
    spent = shadows.read_spent(connection, of.id).usd
    billed = connection.execute(
        text("select sum(cost_usd) from lanes.spend where purpose = 'shadow'")
    )
    assert spent == billed.scalar_one() > Decimal(0)


def test_the_share_of_items_with_a_shadow_is_independent_of_the_split(
    connection: Connection,
) -> None:
    of = to_batch(connection, shadowing(step(50, AGREEMENT), step(20, AGREEMENT), share=0.4))
    answered(connection, of, *keys("i", 600))
    chosen = [each.lane for each in owed(connection)]
    answers = [each.lane for each in rows(connection, "work") if each.purpose == Purpose.ANSWER]
    for lane in Lane:
        assert chosen.count(lane.other) / answers.count(lane) == pytest.approx(0.4, abs=0.1)
    shadows.owe(connection, of, now=later(seconds=10))
    assert len(owed(connection)) == len(chosen)  # each item once


def test_urgent_pinned_and_canceled_items_have_no_shadow(connection: Connection) -> None:
    of = to_batch(connection)
    admit(connection, "urgent", now=NOON, urgent=True)
    admit(connection, "pinned", now=NOON, lane=Lane.REALTIME)
    admit(connection, "canceled", "kept", now=NOON)
    route(connection, now=NOON)
    items.cancel(connection, "letters", "canceled")
    shadows.owe(connection, of, now=NOON)
    assert len(owed(connection)) == 1


def test_accuracy_is_compared_on_the_same_items(connection: Connection) -> None:
    book = shadowing(step(100, ACCURACY), step(50, ACCURACY))
    of = to_batch(connection, book, review_share=0)
    answered(connection, of, *keys("i", 30))
    came_back(connection, i0=B, i1=B, i2=B)
    chosen = dict.fromkeys(keys("i", 3), A)  # because the lanes differ
    items.label(connection, "letters", chosen, source="review:ada")
    unlabeled = "0 here and 0 on the other lane, each of at least 10 labeled items; label 10 more (`lanes review letters`)"
    assert judgement(connection, of).explanation == unlabeled
    expected = {f"i{n}": A for n in range(25)} | {"i0": B, "i3": B}
    items.label(connection, "letters", expected, source="ada")
    seen = measured(connection, of)
    # i1 and i2 are wrong in batch only, i0 in real time only, i3 on both
    assert seen.pairs == PairedShares(2, 1, 22)
    assert (seen.samples, seen.wrong) == (25, 3)
    assert seen.other is not None
    assert seen.other.wrong == 2
    assert "of 25 samples" in (said := judgement(connection, of).explanation)
    assert "of the same on the other lane" in said


def test_a_lane_that_is_worse_on_the_same_items_causes_a_rollback(
    connection: Connection,
) -> None:
    of = to_batch(connection, shadowing(step(100, ACCURACY), step(50, ACCURACY)))
    answered(connection, of, *keys("i", 40))
    came_back(connection, **dict.fromkeys(keys("i", 30), B))
    items.label(connection, "letters", dict.fromkeys(keys("i", 40), A), source="ada")
    verdict = judgement(connection, of)
    assert verdict.verdict is Verdict.FAILED
    assert isinstance(next_move(of.situation(40), [verdict], None, NOON), RollBack)


def test_a_lambda_item_with_an_authoritative_pass_needs_no_shadow(
    connection: Connection,
) -> None:
    of = to_batch(connection, mode="lambda")
    answered(connection, of, *keys("i", 12))
    assert not owed(connection)
    came_back(connection, i0=B)
    assert (measured(connection, of).samples, measured(connection, of).wrong) == (12, 1)
    assert shadows.read_spent(connection, of.id).usd == 0


def test_a_lambda_item_needs_a_shadow_when_second_passes_are_conditional(
    connection: Connection,
) -> None:
    of = to_batch(connection, mode="lambda", second_pass={"when": 'output.category == "b"'})
    answered(connection, of, *keys("i", 12))
    assert len(owed(connection)) == 12


def test_real_time_shadows_compare_the_lanes_of_a_batch_workload(connection: Connection) -> None:
    book = shadowing(step(0, AGREEMENT), step(20, AGREEMENT), direction="batch_to_realtime")
    publish(connection, now=NOON, split_percent=0)
    of = begin(connection, book)
    admit(connection, *keys("i", 12), now=NOON)
    route(connection, now=NOON)
    shadows.owe(connection, of, now=NOON)
    save(connection, *(tried(each) for each in claim(connection, now=later(days=2))))
    came_back(connection, i0=B)
    assert (measured(connection, of).samples, measured(connection, of).wrong) == (12, 1)


def test_ending_a_rollout_cancels_its_open_shadows(connection: Connection) -> None:
    of = to_batch(connection)
    answered(connection, of, "one", "two")
    rollout_moves.abort(connection, "letters", who="ada", why="enough", now=later(seconds=5))
    assert {each.state for each in owed(connection)} == {WorkState.CANCELED}


def test_forgetting_an_item_deletes_the_output_of_its_shadow(connection: Connection) -> None:
    of = to_batch(connection)
    answered(connection, of, "gone", "kept")
    came_back(connection)
    emptying.forget(connection, "letters", "gone", now=later(days=3))
    kept = [each.output for each in rows(connection, "shadow_pair")]
    assert kept.count(None) == 1
