"""Decisions of a person about open batches (adopt, resubmit, give up), with the possible cost reported first."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.batch.batch import BatchDecision, sentence
from lanes.commands.actions import DecideBatch
from lanes.errors import ActionRefused
from lanes.ids import BatchId
from lanes.json_data import call_bytes
from lanes.money.cost import upper_bound
from lanes.money.estimates import Estimates
from lanes.packing import history_chars
from lanes.store.batch import batches, collection, creates, doubts
from lanes.store.doors import items
from lanes.store.settling import decisions
from lanes.words import BatchState, Lane
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import intend, row, rows, save, submit, tried

SIGNED: dict[str, Any] = {"workload": "letters", "who": "ada", "why": "lost"}
OPEN = [BatchState.INTENDED, BatchState.HELD, BatchState.SUBMITTED, BatchState.ENDED]
UNCONFIRMED = OPEN[:2]
AT_PROVIDER = OPEN[2:]


@pytest.fixture
def letters(connection: Connection) -> Version:
    return publish(connection, now=NOON)


def batch_in(connection: Connection, letters: Version, state: BatchState, *names: str) -> BatchId:
    """Return a batch in that state with two items, or with the named items."""
    admit(connection, *(names or ("a", "b")), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    if state is BatchState.HELD:
        doubts.hold(connection, batch_id, note="several fit", now=NOON)
    if state in AT_PROVIDER:
        creates.mark_submitted(
            connection, batch_id, f"msgbatch_{batch_id}", expected_end_at=NOON, now=NOON
        )
    if state is BatchState.ENDED:
        collection.mark_ended(connection, batch_id, at=NOON, now=NOON)
    return batch_id


@pytest.fixture
def held(connection: Connection, letters: Version) -> BatchId:
    return batch_in(connection, letters, BatchState.HELD)


def resubmit(connection: Connection, batch_id: BatchId) -> str:
    return decisions.resubmit(connection, batch_id, who="ada", why="lost", now=later(minutes=5))


def give_up(connection: Connection, batch_id: BatchId) -> str:
    return decisions.give_up(connection, batch_id, who="ada", why="lost", now=later(minutes=5))


@pytest.mark.parametrize("state", UNCONFIRMED)
def test_an_adopted_batch_is_open_for_polling_and_still_unproved(
    connection: Connection, letters: Version, state: BatchState
) -> None:
    batch = batch_in(connection, letters, state)
    said = decisions.adopt(connection, batch, "msgbatch_7", now=later(minutes=5))
    assert said.startswith(f"batch {batch} of letters is msgbatch_7")
    (open_,) = batches.open_batches(connection)
    assert (open_.state, open_.provider_batch_id, open_.submitted_at) == (
        "submitted",
        "msgbatch_7",
        later(minutes=5),
    )
    assert open_.unproved
    assert {each.state for each in rows(connection, "work")} == {"submitted"}
    assert rows(connection, "incident_log", state="open") == []


def test_a_wrongly_adopted_batch_can_be_adopted_as_another_but_not_as_a_disproved_one(
    connection: Connection, held: BatchId
) -> None:
    decisions.adopt(connection, held, "msgbatch_7", now=NOON)
    decisions.adopt(connection, held, "msgbatch_8", now=NOON)
    assert row(connection, "batch").provider_batch_id == "msgbatch_8"
    decisions.adopt(connection, held, "msgbatch_7", now=NOON)  # a person may err twice
    doubts.mark_disproved(connection, held, "msgbatch_7", now=NOON)
    with pytest.raises(ActionRefused, match="msgbatch_7 is a stranger's"):
        decisions.adopt(connection, held, "msgbatch_7", now=NOON)


@pytest.mark.parametrize("state", OPEN)
def test_resubmitting_a_batch_leaves_its_items_for_the_next_batch(
    connection: Connection, letters: Version, state: BatchState
) -> None:
    batch = batch_in(connection, letters, state)
    said = resubmit(connection, batch)
    assert (
        said
        == f"batch {batch} of letters is resubmitted: 2 items wait for the next batch, and may be paid twice"
    )
    work = rows(connection, "work")
    assert {(each.state, each.failures, each.batch_id) for each in work} == {("ready", 0, None)}
    kept = row(connection, "batch")
    if state in UNCONFIRMED:
        assert (kept.state, kept.note) == (
            "released",
            "resubmitted by ada: lost; the provider may have it all the same",
        )
    else:
        assert (kept.state, kept.cancel_at, kept.note) == (
            "superseded",
            later(minutes=5),
            "resubmitted by ada: lost",
        )
    assert rows(connection, "incident_log", state="open") == []


@pytest.mark.parametrize("state", OPEN)
def test_giving_up_a_batch_fails_its_items_until_they_are_retried(
    connection: Connection, letters: Version, state: BatchState
) -> None:
    batch = batch_in(connection, letters, state)
    said = give_up(connection, batch)
    assert (
        said
        == f"batch {batch} of letters is given up with 2 items: `lanes retry letters` brings back what failed"
    )
    assert {each.state for each in rows(connection, "item_status")} == {"failed"}
    assert row(connection, "item", key="a").failure.startswith(
        f"given_up: batch {batch} was given up by ada: lost"
    )
    assert row(connection, "batch").state == ("released" if state in UNCONFIRMED else "superseded")
    assert decisions.retry(connection, "letters", None, now=NOON) == ["a", "b"]


def test_giving_up_bounds_the_cost_of_an_unconfirmed_batch_but_not_of_a_submitted_one(
    connection: Connection, letters: Version
) -> None:
    give_up(connection, batch_in(connection, letters, BatchState.HELD))
    lost = [each.bound_usd for each in rows(connection, "attempt")]
    assert len(lost) == 2
    assert min(lost) > 0
    give_up(connection, batch_in(connection, letters, BatchState.SUBMITTED, "c"))
    assert row(connection, "attempt_log", key="c").cost_usd == 0
    assert [each.bound_usd for each in rows(connection, "attempt")][-1] == 0


def test_late_results_of_a_resubmitted_batch_are_billed_and_never_shown(
    connection: Connection, letters: Version
) -> None:
    batch = batch_in(connection, letters, BatchState.SUBMITTED)
    late = [
        each for some in collection.members(connection, batch, [0, 1]).values() for each in some
    ]
    resubmit(connection, batch)
    saved = save(connection, *(tried(each) for each in late), batch_id=batch)
    assert (saved.answered, saved.late) == (0, 2)
    assert len(rows(connection, "spend")) == 2
    assert {each.state for each in rows(connection, "work")} == {"ready"}
    collection.mark_ended(connection, batch, at=later(minutes=6), now=later(minutes=6))
    collection.mark_collected(connection, batch, now=later(minutes=7))
    kept = row(connection, "batch")
    assert (kept.state, kept.ended_at, kept.collected_at) == (
        "released",
        later(minutes=6),
        later(minutes=7),
    )


def test_resubmitting_a_batch_cancels_the_work_of_a_canceled_item(
    connection: Connection, letters: Version
) -> None:
    batch = batch_in(connection, letters, BatchState.SUBMITTED)
    items.cancel(connection, "letters", "a")
    resubmit(connection, batch)
    states = {each.state for each in rows(connection, "work")}
    assert states == {"canceled", "ready"}


def test_an_unknown_batch_opens_an_incident_after_the_grace_period_and_closes_once_resubmitted(
    connection: Connection, letters: Version
) -> None:
    batch = batch_in(connection, letters, BatchState.SUBMITTED)
    grace = later(minutes=10) - NOON
    for minutes, told in ((0, 0), (9, 0), (10, 1), (11, 1)):
        doubts.mark_unknown(
            connection, batch, why="no such batch", grace=grace, now=later(minutes=minutes)
        )
        assert len(rows(connection, "incident_log", promise="batch_unclear", state="open")) == told
    sentence_ = row(connection, "incident", state="open").sentence
    assert "`lanes batches`" in sentence_
    doubts.mark_known(connection, batch, now=later(minutes=12))
    assert rows(connection, "incident_log", state="open") == []
    resubmit(connection, batch)
    for minutes in (13, 23):
        doubts.mark_unknown(
            connection, batch, why="no such batch", grace=grace, now=later(minutes=minutes)
        )
    assert row(connection, "batch").state == "released"
    assert batches.open_batches(connection) == []


def test_the_stakes_of_a_batch_include_the_history_that_the_batch_read(
    connection: Connection,
) -> None:
    letters = publish(connection, "reading", now=NOON, history_items=3)
    for n in range(2):
        admit(
            connection,
            f"k{n}",
            now=NOON,
            workload="reading",
            entity="ann",
            occurred_at=later(hours=n - 3),
            lane=Lane.BATCH,
        )
    route(connection, now=NOON)
    batch, _ = submit(connection, letters, now=NOON)
    at_stake = decisions.stakes(connection, batch, now=NOON)
    own = len('{"text": "letter k0"}')
    told = history_chars([own])
    assert at_stake.again_usd == sum(
        Estimates(NOON).of(letters, own, each).batch for each in (0, told)
    )
    sizes = [
        call_bytes({"text": f"letter k{n}"}) + decisions.MOST_BYTES_PER_CHAR * each
        for n, each in enumerate((0, told))
    ]
    bounds = [upper_bound(letters, each, lane=Lane.BATCH, marked=False, at=NOON) for each in sizes]
    assert at_stake.most_usd is not None
    assert (
        sum(bounds) <= at_stake.most_usd < Decimal("1.01") * sum(bounds)
    )  # the database counts a few bytes more


@pytest.mark.parametrize("state", OPEN)
def test_an_unconfirmed_decision_only_reports_its_possible_cost(
    connection: Connection, letters: Version, state: BatchState
) -> None:
    batch = batch_in(connection, letters, state)
    at_stake = decisions.stakes(connection, batch, now=NOON)
    chars = len('{"text": "letter a"}')
    assert at_stake.items == 2
    assert at_stake.again_usd == 2 * Estimates(NOON).of(letters, chars).batch
    alone = upper_bound(
        letters, call_bytes({"text": "letter a"}), lane=Lane.BATCH, marked=False, at=NOON
    )
    assert at_stake.most_usd is not None
    assert 2 * alone <= at_stake.most_usd < Decimal("2.1") * alone
    for decision in BatchDecision:
        said = sentence(decision, at_stake)
        assert said.startswith(f"batch {batch} of letters is {state} and holds 2 items; ")
        assert "$" in said
    before = rows(connection, "work"), rows(connection, "batch")
    for action in BatchDecision:
        wish = DecideBatch(**SIGNED, batch=batch, action=action.value, provider_batch="msgbatch_7")
        said = wish.perform(connection, NOON).message
        assert said.startswith("nothing was done yet: batch")
    assert (rows(connection, "work"), rows(connection, "batch")) == before


def test_adopting_requires_the_id_of_the_provider_batch(
    connection: Connection, held: BatchId
) -> None:
    with pytest.raises(ActionRefused, match="provider_batch: say which"):
        DecideBatch(**SIGNED, batch=held, action="adopt").perform(connection, NOON)


def test_a_confirmed_decision_is_executed(connection: Connection, held: BatchId) -> None:
    wish = DecideBatch(**SIGNED, batch=held, action="give_up", sure=True)
    said = wish.perform(connection, NOON).message
    assert said.startswith(f"batch {held} of letters is given up with 2 items")


def test_a_batch_whose_model_has_no_price_can_be_given_up(
    connection: Connection, letters: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_price(*_: object, **__: object) -> Decimal:
        raise LookupError("no price is known for the model")

    batch = batch_in(connection, letters, BatchState.HELD)
    monkeypatch.setattr(Estimates, "of", no_price)
    monkeypatch.setattr(decisions, "upper_bound", no_price)
    assert "an unknown sum" in sentence(
        BatchDecision.RESUBMIT, decisions.stakes(connection, batch, now=NOON)
    )
    give_up(connection, batch)
    assert row(connection, "batch").state == "released"


def test_an_impossible_decision_is_refused_with_its_reason(
    connection: Connection, letters: Version, held: BatchId
) -> None:
    with pytest.raises(ActionRefused, match="there is no batch 99"):
        resubmit(connection, BatchId(99))
    with pytest.raises(ActionRefused, match='workload "ghosts" has no batch'):
        decisions.adopt(connection, held, "msgbatch_7", workload="ghosts", now=NOON)
    sure = batch_in(connection, letters, BatchState.SUBMITTED, "c")
    with pytest.raises(ActionRefused, match=f"is msgbatch_{sure} for certain"):
        decisions.adopt(connection, sure, "msgbatch_7", now=NOON)
    resubmit(connection, sure)
    for decide in (resubmit, give_up):
        with pytest.raises(ActionRefused, match="no longer owns items"):
            decide(connection, sure)
    resubmit(connection, held)
    with pytest.raises(ActionRefused, match="is released: it no longer needs a decision"):
        give_up(connection, held)


def test_a_provider_batch_can_be_adopted_by_only_one_batch(
    connection: Connection, letters: Version, held: BatchId
) -> None:
    decisions.adopt(connection, held, "msgbatch_7", now=NOON)
    second = batch_in(connection, letters, BatchState.HELD, "c", "d", "e")
    with pytest.raises(ActionRefused, match="is msgbatch_7 already"):
        decisions.adopt(connection, second, "msgbatch_7", now=NOON)


def test_a_disproved_batch_reserves_its_number_of_requests_until_the_decision(
    connection: Connection, letters: Version, held: BatchId
) -> None:
    assert doubts.unsure_counts(connection, "acme") == {2}
    doubts.adopt(connection, held, "msgbatch_7", expected_end_at=NOON, now=NOON)
    assert doubts.unsure_counts(connection, "acme") == {2}
    assert doubts.mark_disproved(connection, held, "msgbatch_7", now=NOON)
    assert not doubts.mark_disproved(connection, held, "msgbatch_7", now=NOON)
    assert doubts.strangers(connection, "acme", ["msgbatch_7", "msgbatch_8"]) == {"msgbatch_7"}
    assert doubts.unsure_counts(connection, "acme") == {2}
    resubmit(connection, held)
    assert doubts.unsure_counts(connection, "acme") == set()
