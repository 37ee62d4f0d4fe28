"""Rollouts that move newly routed items to a new version: moves, measurements by version, and refusals."""

from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.errors import ActionRefused
from lanes.ids import VersionId
from lanes.packing import ClaimedWork, fill_packs
from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.rollouts.gates import Figures
from lanes.rollouts.rollout import Advance, Finish, RollBack, Rollout
from lanes.routing.split import Split, version_bucket
from lanes.settling.attempts import LEAST_REFUSED
from lanes.store import incidents, work
from lanes.store.batch import ready_work
from lanes.store.doors import items
from lanes.store.rollouts import plans, rollout_measures, rollout_moves, rollouts
from lanes.store.settling import refusals
from lanes.store.workload import candidates, workloads
from lanes.words import Lane, Outcome, RolloutState, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, spec
from tests.rollouts import ERRORS, begin, judged, playbook, step
from tests.store.rollouts.test_items_out import keys
from tests.store.settling.test_refusals import refused as refused_call
from tests.store.tries import A, B, claim, events, row, rows, said, save, tried

WORSE: dict[str, Any] = {"measure": "error_rate", "worse_by": 0.1, "at_least": 5}
SLOWER: dict[str, Any] = {"measure": "p95_s", "max": 5, "worse_by": 0.1, "at_least": 5}
ACCURACY: dict[str, Any] = {"measure": "accuracy", "worse_by": 0.1, "at_least": 5}
SAVING: dict[str, Any] = {"measure": "saving", "min": 0.2, "at_least": 5}
COST: dict[str, Any] = {"measure": "cost_usd", "max": 0.01, "at_least": 3}
AGREEMENT: dict[str, Any] = {"measure": "agreement", "min": 0.9, "at_least": 5}
NEW = {"instructions": "Sort the letter well."}


def canary(connection: Connection, *gates: dict[str, Any], **fields: Any) -> Rollout:
    """Begin to move half of the new items of `letters` from version 1 to version 2."""
    publish(connection, now=NOON, **fields)
    candidates.store(connection, "letters", spec(**fields | NEW), now=NOON)
    steps = step(50, *gates), step(100)
    return begin(connection, playbook(*steps, direction="version"), version=2)


def arrive(connection: Connection, *names: str, **fields: Any) -> None:
    admit(connection, *names, now=NOON, **fields)
    route(connection, now=NOON)


def is_new(each: ClaimedWork) -> bool:
    return version_bucket("letters", entity=None, key=each.key) < 5_000


def take(connection: Connection, of: Rollout, *, seconds: float = 60) -> Figures:
    return rollout_measures.take(connection, of, now=later(seconds=seconds))


def share(connection: Connection) -> int | None:
    return row(connection, "workload").candidate_share


def versions_of_work(connection: Connection) -> dict[str, VersionId]:
    names = {each.id: each.key for each in rows(connection, "item")}
    return {names[each.item_id]: each.version_id for each in rows(connection, "work")}


def test_a_canary_starts_at_its_first_share_and_leaves_the_split_unchanged(
    connection: Connection,
) -> None:
    begun = canary(connection, split_percent=30)
    assert (begun.version, begun.version_before, begun.share_before) == (2, 1, 0)
    assert share(connection) == 5_000
    assert workloads.splits(connection).of("letters", None).basis_points == 3_000
    (event,) = events(connection, "lanes.rollout.started")
    assert (event.payload["percent"], event.payload["version"]) == (50, 2)
    (told,) = rows(connection, "rollout_log")
    assert (told.percent, told.version) == (50, 2)
    moved = Split("letters", None, 4_000)
    assert "40 %" in rollouts.set_split_by_hand(connection, moved, who="ada", why="x", now=NOON)


def test_a_finished_canary_puts_its_version_in_force_for_every_new_item(
    connection: Connection,
) -> None:
    begun = canary(connection)
    arrive(connection, *keys("early", 8))
    before = versions_of_work(connection)
    assert rollout_moves.apply(connection, begun, Advance("well"), [], now=later(minutes=5))
    assert share(connection) == 10_000
    last = rollouts.find(connection, begun.id)
    assert rollout_moves.apply(connection, last, Finish("well"), [], now=later(minutes=9))
    new = workloads.read_versions(connection)["letters"]
    assert (new.number, share(connection), candidates.find(connection, "letters")) == (
        2,
        None,
        None,
    )
    arrive(connection, "late")
    assert versions_of_work(connection) == before | {"late": new.id}
    assert len(set(before.values())) == 2


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_rolled_back_or_aborted_canary_routes_new_items_to_the_old_version(
    connection: Connection, by_hand: bool
) -> None:
    begun = canary(connection)
    arrive(connection, *keys("early", 8))
    before = versions_of_work(connection)
    if by_hand:
        ended = rollout_moves.abort(connection, "letters", who="ada", why="enough", now=NOON)
        assert ended.state is RolloutState.ABORTED
    else:
        assert rollout_moves.apply(connection, begun, RollBack("ill"), [], now=NOON)
    old = workloads.read_versions(connection)["letters"]
    assert (old.number, share(connection)) == (1, None)
    assert rollouts.find(connection, begun.id).back_to == "back to version 1 for all items"
    arrive(connection, *keys("late", 8))
    assert versions_of_work(connection) == before | dict.fromkeys(keys("late", 8), old.id)
    # Publishing the same file does not put the candidate in force.
    assert candidates.is_candidate(connection, "letters", spec(**NEW))
    assert begin(connection, begun.playbook, version=2).is_open


@pytest.mark.slow
def test_a_canary_counts_items_of_both_lanes_and_every_route_reason_by_version(
    connection: Connection,
) -> None:
    begun = canary(connection, WORSE, split_percent=50)
    arrive(connection, *keys("i", 30))
    arrive(connection, *keys("urgent", 10), urgent=True)
    arrive(connection, *keys("pinned", 10), lane=Lane.BATCH)
    works = [*claim(connection), *claim(connection, Lane.BATCH, now=later(hours=12))]
    assert len(works) == 50
    bad = [each for each in works if is_new(each)][:3]
    for each in works:
        outcome = Outcome.INVALID if each in bad else Outcome.VALID
        save(connection, tried(each, outcome, at=later(seconds=1)))
    new = sum(map(is_new, works))
    figures = take(connection, begun)
    (compared,) = figures.measurements
    assert figures.answered == new - 3
    assert (compared.samples, compared.wrong) == (new, 3)
    assert compared.other is not None
    assert (compared.other.samples, compared.other.wrong) == (50 - new, 0)
    (told,) = (each.explanation for each in judged(begun, figures))
    assert f"0 % of {50 - new} on the old version" in told


@pytest.mark.slow
def test_a_canary_compares_the_latency_of_its_versions_over_both_lanes(
    connection: Connection,
) -> None:
    begun = canary(connection, SLOWER, split_percent=100)
    waiting = keys("waits", 10)  # for a batch
    arrive(connection, *waiting, lane=Lane.BATCH)
    arrive(connection, *keys("i", 60))
    works = claim(connection)
    new, old = ([each for each in works if is_new(each) is side] for side in (True, False))
    for each in works:
        is_slow = each in (*new[:4], *old[:9])
        save(connection, tried(each, at=later(seconds=7 if is_slow else 2)))
    (compared,) = take(connection, begun).measurements
    waits = sum(version_bucket("letters", entity=None, key=each) < 5_000 for each in waiting)
    assert compared.wrong_share == (4 + waits, len(new) + waits)
    assert compared.other is not None
    assert compared.other.wrong_share == (9 + 10 - waits, len(old) + 10 - waits)


@pytest.mark.slow
def test_a_comparison_over_the_whole_rollout_compares_the_versions_step_by_step(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, split_percent=100, max_failures=1)
    candidates.store(
        connection, "letters", spec(split_percent=100, max_failures=1, **NEW), now=NOON
    )
    steps = step(20, WORSE, SAVING), step(60, WORSE, SAVING), step(100)
    begun, sizes = begin(connection, playbook(*steps, direction="version"), version=2), []
    for number, part in enumerate((2_000, 6_000)):
        at = later(hours=number)
        if number:
            assert rollout_moves.apply(connection, begun, Advance("well"), [], now=at)
            begun = rollouts.find(connection, begun.id)
        names = keys(f"n{number}", 40)
        admit(connection, *names, now=at)
        route(connection, now=at)
        for each in claim(connection, now=at):
            done = at + timedelta(seconds=1)
            save(connection, tried(each, response=said(tokens=1_000), at=done), now=done)
        moved = sum(version_bucket("letters", entity=None, key=each) < part for each in names)
        sizes.append((moved, 40 - moved))
    taken = rollout_measures.take(connection, begun, now=later(hours=2))
    assert [each.measure for each in taken.whole] == ["error_rate", "saving"]
    for each in taken.whole:
        assert [(here.samples, there.samples) for here, there in each.sides] == sizes
        assert each.samples == sum(moved for moved, _ in sizes)
    errors, saving = judged(begun, taken)
    assert errors.beside is not None
    assert saving.beside is not None
    assert saving.beside.measurement.value == pytest.approx(0)


def test_the_moved_share_counts_new_version_items_and_each_entity_once(
    connection: Connection,
) -> None:
    begun = canary(connection)
    admit(connection, *keys("i", 20), now=later(seconds=20))
    admit(connection, "a1", "a2", now=later(seconds=20), entity="ada")
    route(connection, now=later(seconds=20))
    new = version_bucket("letters", entity="ada", key="a1") < 5_000
    new += sum(version_bucket("letters", entity=None, key=each) < 5_000 for each in keys("i", 20))
    moved = take(connection, begun).moved
    assert (moved.hits, moved.samples) == (new, 21)


def test_items_routed_before_the_step_are_not_measured(connection: Connection) -> None:
    publish(connection, now=NOON, split_percent=100)
    arrive(connection, "before")
    begun = canary(connection, split_percent=100)
    for each in claim(connection):
        save(connection, tried(each))
    figures = take(connection, begun)
    assert (figures.answered, figures.measurements[0].samples, figures.moved.samples) == (0, 0, 0)


@pytest.mark.slow
def test_accuracy_and_saving_compare_the_new_version_with_the_old_one(
    connection: Connection,
) -> None:
    begun = canary(connection, ACCURACY, SAVING, COST, split_percent=100)
    names = keys("i", 40)
    arrive(connection, *names)
    for each in claim(connection):
        tokens, output = (1_000, A) if is_new(each) else (2_000, B)
        save(connection, tried(each, output=output, response=said(tokens=tokens)))
    items.label(connection, "letters", dict.fromkeys(names, A), source="ada")
    accuracy, saving, cost = take(connection, begun).measurements
    assert accuracy.value == 1
    assert accuracy.other is not None
    assert accuracy.other.value == 0
    assert saving.value == pytest.approx(0.5, abs=0.05)
    assert saving.other is not None
    assert saving.samples + saving.other.samples == 40
    assert cost.samples == saving.samples


@pytest.mark.slow
def test_agreement_and_cost_of_a_canary_count_items_after_their_authoritative_pass(
    connection: Connection,
) -> None:
    begun = canary(connection, AGREEMENT, COST, mode="lambda", split_percent=100)
    arrive(connection, *keys("i", 20))
    for each in claim(connection):
        save(connection, tried(each, output=A))
    agreement, cost = take(connection, begun).measurements
    assert (agreement.samples, cost.samples) == (0, 0)
    owed = claim(connection, Lane.BATCH, now=later(hours=12))
    for each in owed:
        save(connection, tried(each, output=B if is_new(each) else A))
    agreement, cost = take(connection, begun).measurements
    assert agreement.samples == agreement.wrong == cost.samples == sum(map(is_new, owed))


@pytest.mark.slow
def test_items_of_a_refused_version_count_as_its_failures_when_the_old_version_answers(
    connection: Connection,
) -> None:
    begun = canary(connection, ERRORS, split_percent=100)
    arrive(connection, *keys("i", 30))
    new = [each for each in claim(connection) if is_new(each)]
    for number, each in enumerate(new[:LEAST_REFUSED]):
        save(connection, refused_call(each, at=later(seconds=number)), now=later(seconds=number))
    gave_back = [each.claim for each in new[LEAST_REFUSED:]]
    work.give_back(connection, gave_back, ready_at=later(seconds=9))
    assert refusals.go_on(connection, now=later(seconds=9)) == len(new)
    for each in claim(connection, now=later(seconds=9)):
        save(connection, tried(each, at=later(seconds=10)))
    figures = take(connection, begun)
    assert figures.answered == 0
    assert figures.measurements[0].samples == figures.measurements[0].wrong == len(new)


def test_a_canary_counts_batch_items_without_an_answer_as_wrong_once_overdue(
    connection: Connection,
) -> None:
    begun = canary(connection, ERRORS, split_percent=0)
    arrive(connection, *keys("i", 20))
    (figures,) = take(connection, begun, seconds=3_600).measurements
    assert figures.samples == 0
    (figures,) = take(connection, begun, seconds=3 * 86_400).measurements
    assert figures.samples == figures.wrong > 0


def test_a_batch_and_each_of_its_requests_contain_items_of_only_one_version(
    connection: Connection,
) -> None:
    canary(connection, split_percent=0)
    arrive(connection, *keys("i", 20))
    kinds = ready_work.list_waiting_kinds(connection, None, now=later(hours=12))
    numbered = workloads.find_by_number(connection, "letters", (1, 2))
    assert {each.version_id for each in kinds} == {each.id for each in numbered.values()}
    waiting = {
        kind.version_id: [
            *ready_work.lock_batch_work(connection, kind, limit=99, now=later(hours=12))
        ]
        for kind in kinds
    }
    for version_id, of in waiting.items():
        assert {each.version_id for each in of} == {version_id}
    mixed = chain.from_iterable(zip_longest(*waiting.values()))
    requests = [*fill_packs(filter(None, mixed), 5, most=None)]
    assert sum(map(len, requests)) == 20
    assert max(map(len, requests)) == 5
    assert all(len({each.version_id for each in request}) == 1 for request in requests)


def test_a_critical_incident_on_either_lane_hinders_a_canary(connection: Connection) -> None:
    begun = canary(connection)
    assert rollouts.list_hindering(connection, begun) == []
    slow = [
        Assessment(promise, "letters", Verdict.FAILED, 900, 5, 40, "It is slow.")
        for promise in (Promise.REALTIME_SLOW, Promise.BATCH_FAILING)
    ]
    incidents.record(connection, slow, now=later(seconds=3))
    found = rollouts.list_hindering(connection, begun)
    assert {each.promise for each in found} == {each.promise for each in slow}


def refused(connection: Connection, direction: str = "version", **given: Any) -> str:
    percent = 100 if direction == "version" else 50
    with pytest.raises(ActionRefused) as why:
        begin(connection, playbook(step(percent), direction=direction), **given)
    return str(why.value)


def test_an_invalid_canary_start_is_refused_with_its_reason(connection: Connection) -> None:
    publish(connection, now=NOON)
    start = "`lanes publish FILE --canary batch-to-realtime`"
    assert f"has no candidate version: {start} stores one" in refused(connection, version=2)
    candidates.store(connection, "letters", spec(**NEW), now=NOON)
    assert f"moves a new version: {start} starts it" in refused(connection)
    assert "version 3 of workload" in refused(connection, version=3)
    assert "leave out the consumer" in refused(connection, version=2, consumer="desk")
    told = refused(connection, "batch_to_realtime", version=2)
    assert "choose one of direction version, such as new-version" in told
    begin(connection)
    assert "has an open rollout already" in refused(connection, version=2)


def test_a_lane_rollout_is_refused_while_a_canary_is_open(connection: Connection) -> None:
    canary(connection)
    assert "has an open rollout already" in refused(connection, "batch_to_realtime")


def test_an_agreement_gate_requires_a_new_version_in_lambda_mode(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    book = playbook(step(50, AGREEMENT), step(100), direction="version")
    candidates.store(connection, "letters", spec(**NEW), now=NOON)
    with pytest.raises(ActionRefused, match="not in lambda mode"):
        begin(connection, book, version=2)
    candidates.store(connection, "letters", spec(mode="lambda"), now=NOON)
    assert begin(connection, book, version=3).is_open


def test_a_canary_plan_also_counts_urgent_items(connection: Connection) -> None:
    publish(connection, now=NOON)
    arrive(connection, *keys("urgent", 40), urgent=True)
    book = playbook(step(5), step(100), direction="version")
    made, refusal = plans.plan_playbook(
        connection, book, name="letters", consumer=None, now=later(hours=48)
    )
    assert made.traffic.items == 40
    assert [each.a_day for each in made.steps] == [pytest.approx(each) for each in (1.0, 20.0)]
    assert "has no candidate version" in (refusal or "")
