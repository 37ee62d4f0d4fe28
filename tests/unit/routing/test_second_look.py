"""The second look: which items real time rescues from batch, when, and which items no lane can answer in time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import BatchId, WorkId
from lanes.promises.deadlines import risks
from lanes.routing.capacity import Limit, LimitKind, Need
from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.routing.load import A_CALL, AddedItems, Load, ModelRest, RankedQueue
from lanes.routing.prospect import Prospects
from lanes.routing.second_look import (
    AHEAD,
    LOOKS_EVERY,
    MARGIN,
    UNSURE,
    DepartedBatch,
    DoubtfulItem,
    LateItem,
    LookResult,
    compute_horizon,
    latest,
    rescue,
    weigh,
)
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import version

LETTERS = version(batch_expected_minutes=60)
MODEL = LETTERS.spec.realtime_model
IDLE = Load(NOON, per_s=10)
STUCK = DepartedBatch(BatchId(41), later(hours=-6), 50)
DOWN = replace(IDLE, rests={MODEL: ModelRest(MODEL, later(minutes=-1), "529")})
NOTHING_SEEN = Prospects.assume(NOON)


def late(
    nth: int, due_at: datetime, *, batch: DepartedBatch | None = STUCK, binds: Lane | None = None
) -> LateItem:
    return LateItem(WorkId(nth), LETTERS, due_at, batch, binds)


def doubtful(
    nth: int, due_in: timedelta, *, binds: Lane | None = None, consumer: str | None = None
) -> DoubtfulItem:
    return DoubtfulItem(
        replace(late(nth, NOON + due_in, binds=binds), consumer=consumer), 0.03, "it is late"
    )


def numbers(of: Sequence[DoubtfulItem]) -> list[int]:
    return [each.of.work_id for each in of]


def looked(
    *candidates: DoubtfulItem, load: Load = IDLE, after: timedelta = timedelta(0)
) -> LookResult:
    return rescue(candidates, replace(load, at=load.at + after), now=NOON + after)


LATEST = (
    MARGIN + EXPECTED_CALL + UNSURE * timedelta(seconds=0.1)
)  # lead time of one item on an idle lane


def test_an_item_is_rescued_from_its_latest_moment_and_not_earlier() -> None:
    due = doubtful(1, timedelta(minutes=10))
    moment = timedelta(minutes=10) - LATEST
    assert not looked(due, after=moment - timedelta(seconds=1)).taken
    assert numbers(looked(due, after=moment).taken) == [1]
    assert latest(due.of.due_at, 0.1, EXPECTED_CALL) == NOON + moment


def test_items_ranked_before_an_item_bring_its_latest_moment_forward_and_later_ones_do_not() -> (
    None
):
    due = doubtful(1, timedelta(minutes=2))
    before = replace(IDLE, queues=[RankedQueue("letters", MODEL, later(minutes=1), 800)])
    behind = replace(IDLE, queues=[RankedQueue("letters", MODEL, later(minutes=3), 800)])
    assert numbers(looked(due, load=before).taken) == [1]
    assert not looked(due, load=behind).taken


def test_another_workloads_backlog_leaves_an_item_its_share_of_real_time() -> None:
    due = doubtful(1, timedelta(seconds=15))
    archive = replace(IDLE, queues=[RankedQueue("archive", MODEL, later(hours=-1), 20_000)])
    assert numbers(looked(due, load=archive).taken) == [1]
    mine = [RankedQueue("letters", MODEL, later(minutes=1), 800)]
    alone, beside = (replace(IDLE, queues=queues) for queues in (mine, [*mine, *archive.queues]))
    due = doubtful(1, timedelta(seconds=215))
    assert not looked(due, load=alone).taken  # 100 s, with the margin of a quarter
    assert numbers(looked(due, load=beside).taken) == [1]  # twice as long


def test_a_thousand_items_due_together_start_early_enough_for_all_in_bounded_portions() -> None:
    many = [doubtful(nth, timedelta(minutes=5)) for nth in range(1000)]
    need_s = UNSURE * 1000 / IDLE.per_s
    moment = timedelta(minutes=5) - MARGIN - EXPECTED_CALL - timedelta(seconds=need_s)
    assert not looked(*many, after=moment - timedelta(seconds=1)).taken
    taken = looked(*many, after=moment).taken
    assert numbers(taken) == list(range(round(AHEAD.total_seconds() * IDLE.per_s)))


def test_due_items_of_other_workloads_and_models_bring_the_latest_moment_forward() -> None:
    """Real time answers 10 a second: 1,000 of each workload need 200 seconds, plus a quarter as a margin."""
    bills = version(2, "bills", realtime_model="claude-sonnet-5-5", batch_expected_minutes=60)
    letters = [doubtful(nth, timedelta(minutes=10)) for nth in range(1000)]
    theirs = [
        replace(each, of=replace(each.of, work_id=WorkId(1000 + each.of.work_id), version=bills))
        for each in letters
    ]
    moment = (
        timedelta(minutes=10)
        - MARGIN
        - EXPECTED_CALL
        - timedelta(seconds=UNSURE * 2000 / IDLE.per_s)
    )
    assert not looked(*letters, *theirs, after=moment - timedelta(seconds=1)).taken
    taken = looked(*letters, *theirs, after=moment).taken
    of = Counter(each.of.version.workload for each in taken)
    assert of == {
        "letters": AHEAD.total_seconds() * IDLE.per_s,
        "bills": AHEAD.total_seconds() * IDLE.per_s / 2,
    }  # its share
    assert not looked(*letters, after=moment).taken
    assert (
        compute_horizon(IDLE, [LETTERS, bills], {"letters": 1000, "bills": 1000}) - NOON
        == timedelta(minutes=10) - moment
    )


def test_an_exhausted_limit_of_one_model_rescues_no_item_of_another_model_early() -> None:
    bills = version(2, "bills", realtime_model="claude-sonnet-5-5", batch_expected_minutes=60)
    empty = Limit(LimitKind.REQUESTS, 6, remaining=0, reset_at=later(minutes=1), seen_at=NOON)
    load = replace(
        IDLE, limits={"claude-sonnet-5-5": [empty]}, needs={"bills": Need(0, 0, requests=3)}
    )
    ours, theirs = doubtful(1, timedelta(seconds=58)), doubtful(2, timedelta(seconds=59))
    seen = looked(ours, replace(theirs, of=replace(theirs.of, version=bills)), load=load)
    assert numbers(seen.taken) == [2]


def test_unread_items_behind_the_read_ones_count_but_are_neither_rescued_nor_reported() -> None:
    read = [doubtful(nth, timedelta(minutes=5)) for nth in range(1000)]
    behind = doubtful(1000, timedelta(minutes=5))
    behind = replace(behind, of=replace(behind.of, items=1000))
    moment = (
        timedelta(minutes=5)
        - MARGIN
        - EXPECTED_CALL
        - timedelta(seconds=UNSURE * 2000 / IDLE.per_s)
    )
    assert not looked(*read, behind, after=moment - timedelta(seconds=1)).taken
    assert numbers(looked(*read, behind, after=moment).taken) == list(
        range(round(AHEAD.total_seconds() * IDLE.per_s))
    )
    assert looked(behind, after=timedelta(minutes=4)) == LookResult([], [])


def test_an_item_that_cannot_be_in_time_is_at_risk_and_does_not_displace_one_that_can() -> None:
    hopeless, in_time = doubtful(1, timedelta(seconds=1)), doubtful(2, timedelta(seconds=15))
    seen = looked(hopeless, in_time)
    assert (numbers(seen.at_risk), numbers(seen.taken)) == ([1], [2])


def test_an_item_bound_to_batch_is_never_rescued_and_is_at_risk() -> None:
    seen = looked(doubtful(1, timedelta(seconds=15), binds=Lane.BATCH))
    assert (numbers(seen.at_risk), seen.taken) == ([1], [])


def test_an_item_bound_to_batch_represents_all_items_of_its_batch_with_that_due_time() -> None:
    (doubt,) = weigh(
        [replace(late(1, later(minutes=5), binds=Lane.BATCH), items=40)], NOTHING_SEEN, now=NOON
    )
    assert [each.of.items for each in looked(doubt).at_risk] == [40]
    (risk,) = risks([doubt, doubtful(2, timedelta(seconds=1))], IDLE)
    assert (risk.bound, risk.crowded, risk.items) == (40, 1, 41)


def test_an_item_is_delayed_by_its_own_models_limits_and_not_by_another_models() -> None:
    empty = Limit(LimitKind.REQUESTS, 6, remaining=0, reset_at=later(minutes=1), seen_at=NOON)
    due = doubtful(1, timedelta(seconds=59))
    of_ours = replace(IDLE, limits={MODEL: [empty]}, needs={"letters": Need(0, 0, requests=3)})
    assert numbers(looked(due, load=of_ours).taken) == [1]
    assert not looked(due, load=replace(of_ours, limits={"another": [empty]})).taken


def test_the_horizon_is_the_time_that_all_items_need_plus_one_call_and_the_margin() -> None:
    end = compute_horizon(IDLE, [LETTERS], {"letters": 1000})
    assert end == NOON + timedelta(seconds=UNSURE * 100) + EXPECTED_CALL + MARGIN


def test_a_batch_that_has_been_out_for_long_is_doubtful_and_the_doubt_says_why() -> None:
    (doubt,) = weigh([late(1, later(minutes=5))], NOTHING_SEEN, now=NOON)
    assert doubt.probability < 0.5
    assert (
        " chance that batch 41, out for 6.0 h, is back by 2026-11-24T12:05:00+00:00"
        in doubt.explanation
    )
    assert doubt.explanation.endswith("; 95 % is required")


def test_a_batch_that_is_in_time_with_enough_confidence_raises_no_doubt() -> None:
    just_left = DepartedBatch(BatchId(1), NOON, 50)
    assert not weigh([late(1, later(hours=9), batch=just_left)], NOTHING_SEEN, now=NOON)


def test_work_that_has_not_departed_gets_the_same_chance_as_at_routing() -> None:
    (doubt,) = weigh([late(1, later(minutes=5), batch=None)], NOTHING_SEEN, now=NOON)
    assert doubt.explanation == NOTHING_SEEN.of(LETTERS).chance(later(minutes=5)).explanation


def test_an_item_that_is_already_due_gets_no_second_look() -> None:
    assert not weigh([late(1, NOON)], NOTHING_SEEN, now=NOON)


def test_a_rescue_says_how_long_real_time_needs() -> None:
    (taken,) = looked(doubtful(1, timedelta(seconds=15))).taken
    assert (
        taken.explanation
        == "it is late; real time needs 0.10 s for the work before it and its own call"
    )


def test_items_that_must_start_while_their_model_rests_are_at_risk_and_at_most_one_probes_it() -> (
    None
):
    due = [doubtful(nth, timedelta(seconds=15)) for nth in range(3)]
    seen = looked(*due, load=DOWN)
    assert (numbers(seen.taken), numbers(seen.at_risk)) == ([0], [1, 2])
    said = f"{MODEL} has not answered since 11:59 UTC: 529"
    assert seen.taken[0].explanation.endswith(f"; {said}, and this asks it again")
    assert {each.held and each.held.sentence for each in seen.at_risk} == {said}
    probed = looked(*due, load=replace(DOWN, queues=[RankedQueue("letters", MODEL, NOON, 1)]))
    assert (numbers(probed.taken), numbers(probed.at_risk)) == ([], [0, 1, 2])
    other = looked(*due, load=replace(IDLE, rests={"another": ModelRest("another", NOON, "529")}))
    assert numbers(other.taken) == [0, 1, 2]


def test_an_item_that_need_not_start_yet_waits_for_its_batch_and_its_model() -> None:
    due = doubtful(1, timedelta(minutes=2))
    assert looked(due, load=DOWN) == LookResult([], [])
    assert numbers(looked(due, after=timedelta(minutes=1, seconds=45)).taken) == [1]


@pytest.mark.parametrize("refused", [None, "crm"])
def test_an_item_whose_budget_is_used_up_is_at_risk_and_never_probes(
    refused: str | None,
) -> None:
    due = doubtful(1, timedelta(seconds=15), consumer="crm"), doubtful(2, timedelta(seconds=15))
    seen = looked(
        *due,
        load=replace(DOWN if refused is None else IDLE, refused=frozenset({("letters", refused)})),
    )
    unpaid = [1, 2] if refused is None else [1]
    assert numbers(seen.at_risk) == unpaid
    assert numbers(seen.taken) == [each for each in (1, 2) if each not in unpaid]
    of = "" if refused is None else ' for consumer "crm"'
    assert {each.held and each.held.sentence for each in seen.at_risk} == {
        f'the budget of "letters"{of} is used up'
    }


dues = st.lists(
    st.tuples(st.integers(0, 600), st.sampled_from([None, None, Lane.BATCH])), max_size=60
)
loads = st.builds(
    Load,
    at=st.just(NOON),
    per_s=st.floats(0.05, 50),
    queues=st.lists(
        st.builds(
            RankedQueue,
            workload=st.just("letters"),
            model=st.just(MODEL),
            ranks_from=st.integers(-60, 600).map(lambda each: later(seconds=each)),
            items=st.integers(0, 100),
        ),
        max_size=5,
    ),
)


@given(dues, loads)
def test_rescued_items_can_be_in_time_are_not_bound_to_batch_and_are_not_at_risk(
    due: list[tuple[int, Lane | None]], load: Load
) -> None:
    candidates = [
        doubtful(nth, timedelta(seconds=each), binds=binds) for nth, (each, binds) in enumerate(due)
    ]
    seen = rescue(candidates, load, now=NOON)
    for nth, each in enumerate(seen.taken, 1):
        assert each.of.binds is None
        drain_s = load.drain_s(
            "letters", MODEL, until=each.of.due_at, more=AddedItems(MODEL, nth, A_CALL)
        )
        assert NOON + timedelta(seconds=drain_s) + load.call <= each.of.due_at
    assert not {*numbers(seen.taken)} & {*numbers(seen.at_risk)}
    assert numbers(seen.taken) == numbers(
        sorted(seen.taken, key=lambda each: (each.of.due_at, each.of.work_id))
    )


@given(dues, st.integers(1, 250))
def test_a_look_every_five_seconds_misses_no_item_that_the_first_look_found_in_time(
    due: list[tuple[int, Lane | None]], items_per_look: int
) -> None:
    """Answer at the stated rate: every item that could be in time is, although it waited for its latest moment.

    Between two looks, a whole number of items is answered, so that no look has to round the queue.
    """
    load = Load(at=NOON, per_s=items_per_look / LOOKS_EVERY.total_seconds(), queues=[])
    left = [
        doubtful(nth, timedelta(seconds=each))
        for nth, (each, binds) in enumerate(due)
        if binds is None
    ]
    hopeless = {*numbers(rescue(left, load, now=NOON).at_risk)}
    busy_until, now = NOON, NOON
    while left and now < later(minutes=15):
        waits = max(0.0, (busy_until - now).total_seconds()) * load.per_s
        queue = [RankedQueue("letters", MODEL, now, round(waits))] if waits else []
        taken = {*numbers(rescue(left, replace(load, at=now, queues=queue), now=now).taken)}
        for each in [each for each in left if each.of.work_id in taken]:
            busy_until = max(busy_until, now) + timedelta(seconds=1 / load.per_s)
            assert busy_until + load.call <= each.of.due_at + timedelta(
                seconds=1 / load.per_s + 0.01
            )
        left = [each for each in left if each.of.work_id not in taken]
        missed = {each.of.work_id for each in left if each.of.due_at <= now}
        assert missed <= hopeless
        left = [each for each in left if each.of.work_id not in missed]
        now += LOOKS_EVERY


@given(dues, loads, st.booleans())
def test_a_blocked_lane_puts_at_risk_the_items_that_it_would_rescue_and_no_others(
    due: list[tuple[int, Lane | None]], load: Load, paid: bool
) -> None:
    candidates = [
        doubtful(nth, timedelta(seconds=each), binds=binds) for nth, (each, binds) in enumerate(due)
    ]
    none = replace(
        load, rests=DOWN.rests, refused=frozenset() if paid else frozenset({("letters", None)})
    )
    served, seen = rescue(candidates, load, now=NOON), rescue(candidates, none, now=NOON)
    assert {*numbers(seen.at_risk), *numbers(seen.taken)} == {
        *numbers(served.at_risk),
        *numbers(served.taken),
    }
    assert len(seen.taken) <= (1 if paid and not load.waiting() else 0)


@pytest.mark.parametrize("confidence", [0.5, 0.999])
def test_a_versions_own_confidence_decides(confidence: float) -> None:
    of = version(batch_expected_minutes=60, confidence=confidence)
    fresh = DepartedBatch(BatchId(1), NOON, 50)
    doubts = weigh([LateItem(WorkId(1), of, later(minutes=90), fresh)], NOTHING_SEEN, now=NOON)
    assert bool(doubts) is (confidence > 0.79)
