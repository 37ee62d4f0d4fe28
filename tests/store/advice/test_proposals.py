"""Rollouts that the advice proposes: which consumers get one, how it is refreshed, and what a person's decision does."""

from datetime import datetime
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.advice.evidence import ConsumerUse
from lanes.advice.proposals import ProposedRollout, edit_playbook
from lanes.advice.recommendation import advise
from lanes.commands.actions import DecideProposal
from lanes.errors import ActionRefused
from lanes.rollouts.playbook import Playbook
from lanes.store.advice import proposals
from lanes.store.advice.proposals import NOT_LATE, Review
from lanes.store.rollouts import rollouts
from lanes.store.workload import workloads
from lanes.units import dollars
from lanes.words import ProposalState, RolloutState, Signature
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.rollouts import ERRORS, begin, playbook, step
from tests.store.tries import claim, save, tried
from tests.unit.advice.test_advice import evidence

BOOK = playbook(step(50), step(0), direction="realtime_to_batch")
NEXT_WEEK = later(days=2)
LATE: dict[str, Any] = {
    "routed": 1_000,
    "realtime": 1_000,
    "reads": 100,
    "at_once": 1,
    "unknown": 5,
    "delays": [(30.0, 1), (3_000.0, 39), (40_000.0, 60)],
}


def late(consumer: str | None = "nightly", **fields: Any) -> ConsumerUse:
    """Return a consumer that surely reads late; `fields` replace its figures."""
    return ConsumerUse(consumer, **{**LATE, **fields})


def seed(connection: Connection, *consumers: str, now: datetime = NOON) -> None:
    """Admit items of these consumers, which the split sends to real time."""
    publish(connection, now=now, split_percent=100)
    for consumer in consumers:
        keys = [f"{consumer} {now} {number}" for number in range(40)]
        admit(connection, *keys, now=now, consumer=consumer)
    route(connection, now=now)


def refresh(
    connection: Connection, *uses: ConsumerUse, now: datetime = NEXT_WEEK, book: Playbook = BOOK
) -> Review:
    advice = advise(evidence(*uses or (late(),), batch_expected_s=6_000.0))
    return proposals.refresh(connection, advice, book, now=now)


def decide(connection: Connection, of: ProposedRollout, action: str, **given: Any) -> str:
    filled = {"workload": "letters", "proposal": of.id, "action": action, "who": "ada", "why": "so"}
    now = given.pop("now", NEXT_WEEK)
    return DecideProposal.model_validate({**filled, **given}).perform(connection, now).message


def states(connection: Connection) -> list[tuple[str, str]]:
    found = proposals.listing(connection, "letters", now=NEXT_WEEK)
    return [(each.consumer, each.state) for each in reversed(found)]


def test_a_consumer_that_surely_reads_late_is_proposed_with_saving_confidence_and_risk(
    connection: Connection,
) -> None:
    seed(connection, "nightly", "desk")
    found = refresh(connection, late("desk", at_once=90), late())
    (made,) = found.proposed
    assert (made.consumer, made.state, made.who, found.refused) == ("nightly", "open", None, {})
    seen = made.figures
    each = connection.execute(
        text("select avg(realtime_usd - batch_usd) from lanes.route where reason = 'split'")
    ).scalar_one()
    assert seen.items == pytest.approx(20 * 30.4, rel=0.01)  # 40 in two days, and all of them move
    assert seen.saving_usd == pytest.approx(seen.items * float(each), rel=0.01)
    assert 0.9 < seen.confidence < 1
    assert (seen.too_early.low, seen.too_early.high) == (40 / 105, 45 / 105)
    assert seen.waits_s == pytest.approx((5_970 + 39 * 3_000) / 40)


def test_an_open_proposal_is_refreshed_and_never_duplicated(connection: Connection) -> None:
    seed(connection, "nightly")
    (made,) = refresh(connection).proposed
    more = late(reads=200)
    (again,) = refresh(connection, more, now=later(days=3)).proposed
    assert (again.id, again.figures.reads, again.at) == (made.id, 200, later(days=3))
    assert again.proposed_at == made.proposed_at
    told = connection.execute(text("select event from lanes.event_outbox")).scalars().all()
    assert told.count("lanes.proposal.opened") == 1


def test_a_proposal_is_withdrawn_once_its_consumer_no_longer_reads_late(
    connection: Connection,
) -> None:
    seed(connection, "nightly")
    refresh(connection)
    assert refresh(connection, late(at_once=60)).proposed == []
    (kept,) = proposals.listing(connection, None, now=NEXT_WEEK)
    assert (kept.state, kept.who, kept.why) == (ProposalState.WITHDRAWN, None, NOT_LATE)


def test_items_without_a_consumer_are_not_proposed_because_that_rollout_would_move_all(
    connection: Connection,
) -> None:
    seed(connection, "nightly")
    assert refresh(connection, late(None)) == Review()


def test_a_rollout_that_would_be_refused_is_not_proposed_and_the_reason_is_reported(
    connection: Connection,
) -> None:
    seed(connection, "nightly")
    strict = playbook(step(50, at_most_minutes=60, items=500), direction="realtime_to_batch")
    found = refresh(connection, book=strict)
    assert found.proposed == []
    assert "cannot pass in its time" in found.refused["nightly"]
    idle = refresh(connection, late("idle"))
    assert "too little is known of its traffic" in idle.refused["idle"]
    begin(connection, BOOK, consumer="desk", now=NEXT_WEEK)
    assert "has an open rollout already" in refresh(connection).refused["nightly"]
    assert proposals.listing(connection, "letters", now=NEXT_WEEK) == []


def test_a_gate_on_due_times_is_omitted_when_no_item_has_a_due_time(connection: Connection) -> None:
    gates = ERRORS, {"measure": "deadlines_met", "min": 0.9, "at_least": 5}
    book = playbook(step(50, *gates), step(0, *gates), direction="realtime_to_batch")
    seed(connection, "nightly")
    save(connection, *(tried(each) for each in claim(connection)))
    (made,) = refresh(connection, book=book).proposed
    assert [[gate.measure for gate in each.gates] for each in made.playbook.steps] == [
        ["error_rate"],
        ["error_rate"],
    ]
    decide(connection, made, "approve")


def test_an_approved_proposal_starts_the_consumers_rollout_signed_by_the_approver(
    connection: Connection,
) -> None:
    seed(connection, "nightly")
    (made,) = refresh(connection).proposed
    said = decide(connection, made, "approve")
    begun = rollouts.read_open(connection, "letters")
    assert begun is not None
    assert said == (
        f"proposal {made.id} is approved as rollout {begun.id}, which saves {dollars(made.figures.saving_usd)} a month at "
        "the end; letters: 50 % to real-time, step 1 of 2, runs"
    )
    assert (begun.consumer, begun.started_by, begun.why) == ("nightly", "ada", "so")
    assert begun.flow_run_id is None  # any run of `migrate` leads it
    assert workloads.splits(connection).of("letters", "nightly").basis_points == 5_000
    (kept,) = proposals.listing(connection, "letters", now=NEXT_WEEK)
    assert (kept.state, kept.who, kept.rollout_id) == (ProposalState.APPROVED, "ada", begun.id)
    with pytest.raises(ActionRefused, match=r"was approved by ada .*nothing was changed"):
        decide(connection, made, "decline")


def test_a_declined_proposal_is_not_made_again_for_a_month(connection: Connection) -> None:
    seed(connection, "nightly")
    (made,) = refresh(connection).proposed
    said = decide(connection, made, "decline", why="audits")
    assert said == (
        f'proposal {made.id} is declined: nothing is proposed for consumer "nightly" before 2026-12-26'
    )
    for days in (3, 31):
        found = refresh(connection, now=later(days=days))
        assert found.proposed == []
        assert found.refused["nightly"].startswith("declined by ada at 2026-11-26: audits")
    seed(connection, "nightly", now=later(days=31))
    (again,) = refresh(connection, now=later(days=33)).proposed
    assert again.id != made.id


@pytest.mark.slow
def test_an_edited_proposal_stays_open_and_keeps_its_playbook_when_it_is_refreshed(
    connection: Connection,
) -> None:
    seed(connection, "nightly")
    (made,) = refresh(connection).proposed
    said = decide(connection, made, "edit", percents=[80, 60], hold_hours=700)
    (kept,) = proposals.listing(connection, "letters", now=NEXT_WEEK)
    assert "it stays open" in said
    assert kept.figures.saving_usd == pytest.approx(0.4 * made.figures.saving_usd)
    (again,) = refresh(connection, now=later(days=3)).proposed
    assert [each.percent for each in again.playbook.steps] == [80, 60]
    assert {each.hold.at_most_minutes for each in again.playbook.steps} == {42_000}
    decide(connection, made, "approve", percents=[70, 10], now=later(days=3))
    begun = rollouts.read_open(connection, "letters")
    assert begun is not None
    assert [each.percent for each in begun.playbook.steps] == [70, 10]
    (kept,) = proposals.listing(connection, "letters", now=later(days=3))
    assert kept.figures.saving_usd == pytest.approx(0.9 / 0.4 * again.figures.saving_usd)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"percents": [80]}, "has 2 steps; give as many percents, or none"),
        ({"percents": [20, 80]}, "does not go further realtime to batch than 20"),
        ({"hold_hours": 1}, "cannot pass in its time"),
        (
            {"playbook": "batch-to-realtime"},
            "moves items to real time; a proposal moves them to batch",
        ),
        ({"proposal": 99}, 'workload "letters" has no proposal 99: `lanes proposals` lists them'),
    ],
)
@pytest.mark.parametrize("action", ["edit", "approve"])
def test_an_impossible_edit_or_approval_is_refused_and_changes_nothing(
    connection: Connection, action: str, given: dict[str, Any], why: str
) -> None:
    seed(connection, "nightly")
    (made,) = refresh(connection).proposed
    with pytest.raises(ActionRefused, match=why):
        decide(connection, made, action, **given)
    assert proposals.listing(connection, "letters", now=NEXT_WEEK) == [made]


def test_a_second_approval_is_refused_while_the_first_rollout_is_open(
    connection: Connection,
) -> None:
    seed(connection, "nightly", "weekly")
    nightly, weekly = refresh(connection, late(), late("weekly")).proposed
    decide(connection, nightly, "approve")
    with pytest.raises(ActionRefused, match="has an open rollout already"):
        decide(connection, weekly, "approve")
    assert states(connection) == [("nightly", "approved"), ("weekly", "open")]


def seeded(pool: Engine) -> ProposedRollout:
    with pool.begin() as connection:
        seed(connection, "nightly")
        (made,) = refresh(connection).proposed
    return made


def both(pool: Engine, *does: Any) -> list[object]:
    """Run these functions at once, each on its own connection; return their outcomes."""
    together, outcomes = Barrier(len(does)), list[object]()

    def run(do: Any) -> None:
        with pool.connect() as connection:
            together.wait()
            try:
                with connection.begin():
                    outcomes.append(do(connection))
            except ActionRefused as refusal:
                outcomes.append(refusal)

    threads = [Thread(target=run, args=(do,)) for do in does]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_two_concurrent_refreshes_make_one_proposal(pool: Engine) -> None:
    with pool.begin() as connection:
        seed(connection, "nightly")
    found = both(pool, refresh, refresh)
    ids = {each.proposed[0].id for each in found if isinstance(each, Review)}
    assert (len(found), len(ids)) == (2, 1)


def test_two_concurrent_approvals_start_one_rollout(pool: Engine) -> None:
    made = seeded(pool)

    def approve(connection: Connection) -> str:
        return decide(connection, made, "approve")

    found = both(pool, approve, approve)
    assert sorted(type(each).__name__ for each in found) == ["ActionRefused", "str"]
    with pool.begin() as connection:
        assert [each.state for each in rollouts.list_open(connection)] == [RolloutState.RUNNING]


def test_a_refresh_concurrent_with_a_decline_proposes_nothing_new(pool: Engine) -> None:
    made, by = seeded(pool), Signature("ada", "so", NEXT_WEEK)

    def decline(connection: Connection) -> object:
        return proposals.decline(connection, "letters", made.id, by=by)

    both(pool, refresh, decline)
    with pool.begin() as connection:
        assert states(connection) == [("nightly", "declined")]


def test_a_refresh_concurrent_with_an_approval_proposes_nothing_new(pool: Engine) -> None:
    made = seeded(pool)

    def approve(connection: Connection) -> str:
        return decide(connection, made, "approve")

    both(pool, refresh, approve)
    with pool.begin() as connection:
        assert states(connection) == [("nightly", "approved")]


def test_an_edit_without_changes_returns_the_playbook() -> None:
    assert edit_playbook(BOOK) == BOOK
