"""Lost claims: a lease expires, the next worker takes over, and a late answer of the first counts if no other has arrived."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text

from lanes.json_data import call_bytes
from lanes.money.cost import upper_bound
from lanes.store import work
from lanes.store.settling import outcomes
from lanes.words import Lane, Mode, Outcome
from lanes.workload.prices import Usage, cost
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.tries import A, B, claim, claimed_item, events, row, rows, save, tried


def rescue(connection: Connection, *, now_s: float) -> int:
    """Rescue the claims whose lease has expired, as the sweep does, and return their number."""
    now = later(seconds=now_s)
    lost = work.list_abandoned(connection, now=now)
    outcomes.save(connection, lost, now=now)
    return len(lost)


def test_an_expired_lease_gives_the_work_to_the_next_worker_and_the_first_valid_answer_settles(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    first = claimed_item(connection)
    assert claim(connection, worker="next", now=later(minutes=5)) == []
    assert rescue(connection, now_s=300) == 1
    (second,) = claim(connection, worker="next", now=later(minutes=5, seconds=2))
    assert (second.claim.work_id, second.claim.number) == (first.claim.work_id, 2)
    assert second.failures == 1
    (lost,) = rows(connection, "attempt_log")
    assert (lost.outcome, lost.error.split(":")[0]) == ("unknown", "claim timeout")

    late = save(connection, tried(first, output=B), now=later(minutes=6))
    assert (late.late, late.answered) == (1, 1)
    assert row(connection, "current_results").output == B
    assert (row(connection, "item_status").state, claim(connection, now=later(hours=1))) == (
        "settled",
        [],
    )
    save(connection, tried(second, output=A), now=later(minutes=7))
    assert row(connection, "current_results").output == B
    assert [each.shown for each in rows(connection, "attempt_log", "attempt")] == [
        False,
        True,
        False,
    ]
    assert len(rows(connection, "spend")) == 2


@pytest.mark.parametrize("mode", list(Mode))
def test_a_late_answer_revives_an_item_that_failed_by_lost_leases_alone(
    connection: Connection, mode: Mode
) -> None:
    publish(connection, now=NOON, max_failures=1, mode=mode, split_percent=100)
    beside = claimed_item(connection, "beside", due_at=later(minutes=1))
    first = claimed_item(connection, due_at=later(minutes=1))
    rescue(connection, now_s=300)
    assert {each.state for each in rows(connection, "item_status")} == {"failed"}
    late = tried(first, output=B)
    save(connection, late, now=later(minutes=6))
    save(connection, late, now=later(minutes=6))  # the second save changes nothing
    states = {each.key: each.state for each in rows(connection, "item_status")}
    assert states == {"k": "settled" if mode is Mode.PLAIN else "answered", "beside": "failed"}
    assert row(connection, "current_results").output == B
    assert len(rows(connection, "spend")) == 1
    save(connection, tried(beside, Outcome.INVALID), now=later(minutes=6))
    assert {each.key: each.state for each in rows(connection, "item_status")} == states


@pytest.mark.slow
def test_a_late_answer_does_not_revive_an_item_that_failed_by_itself_or_was_canceled(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=2)
    lost = {key: claimed_item(connection, key) for key in ("failed", "canceled")}
    rescue(connection, now_s=300)
    for each in claim(connection, now=later(minutes=6)):
        save(connection, tried(each, Outcome.INVALID), now=later(minutes=6))
    connection.execute(text("select lanes.cancel('letters', 'canceled')"))
    before = [(each.key, each.state) for each in rows(connection, "item_status")]
    for each in lost.values():
        save(connection, tried(each, output=A), now=later(minutes=7))
    assert [(each.key, each.state) for each in rows(connection, "item_status")] == before
    assert len(rows(connection, "spend")) == 4


def test_no_lease_runs_out_within_20_s_of_the_servers_start(connection: Connection) -> None:
    publish(connection, now=NOON)
    claimed_item(connection)
    started = connection.execute(text("select pg_postmaster_start_time()")).scalar_one()
    assert work.list_abandoned(connection, now=started + timedelta(seconds=19)) == []
    assert len(work.list_abandoned(connection, now=started + timedelta(seconds=21))) == 1


def test_a_claim_whose_lease_still_runs_is_not_listed_as_abandoned(connection: Connection) -> None:
    publish(connection, now=NOON)
    claimed_item(connection)
    assert work.list_abandoned(connection, now=later(minutes=2)) == []
    assert len(work.list_abandoned(connection, now=later(minutes=2, seconds=1))) == 1


def test_an_answer_that_arrives_after_the_lease_but_before_the_rescue_counts(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    first = claimed_item(connection)
    lost = work.list_abandoned(connection, now=later(minutes=5))
    save(connection, tried(first), now=later(minutes=5))
    outcomes.save(connection, lost, now=later(minutes=5))
    assert row(connection, "item_status").state == "settled"
    assert [each.outcome for each in rows(connection, "attempt_log")] == ["valid"]


def test_two_concurrent_rescues_spend_one_failure(connection: Connection) -> None:
    publish(connection, now=NOON)
    claimed_item(connection)
    once, twice = (work.list_abandoned(connection, now=later(minutes=5)) for _ in range(2))
    outcomes.save(connection, once, now=later(minutes=5))
    outcomes.save(connection, twice, now=later(minutes=5))
    assert row(connection, "work").failures == 1
    assert len(rows(connection, "attempt_log")) == 1


def test_lost_leases_spend_the_retry_budget(connection: Connection) -> None:
    publish(connection, now=NOON, max_failures=2)
    claimed_item(connection)
    rescue(connection, now_s=300)
    claim(connection, now=later(seconds=310))
    rescue(connection, now_s=600)
    assert row(connection, "item_status").state == "failed"
    assert claim(connection, now=later(hours=1)) == []
    (failed,) = events(connection, "lanes.item.failed")
    assert "claim timeout" in failed.payload["reason"]


def test_a_call_without_an_answer_has_a_bound_and_is_not_in_spend(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    first = claimed_item(connection, payload={"text": "x" * 400})
    rescue(connection, now_s=300)
    lost = row(connection, "attempt_log")
    size = call_bytes({"text": "x" * 400})
    assert lost.bound_usd == upper_bound(letters, size, lane=Lane.REALTIME, at=NOON)
    assert lost.bound_usd > cost(
        Usage(input=150, output=letters.spec.max_output_tokens),
        model=letters.spec.realtime_model,
        lane=Lane.REALTIME,
        at=NOON,
    )
    assert lost.cost_usd == 0
    assert rows(connection, "spend") == []

    save(connection, tried(first), now=later(minutes=6))  # the answer that was thought lost
    assert row(connection, "spend").cost_usd > 0


@pytest.mark.parametrize("mode", list(Mode))
def test_a_late_answer_to_an_already_answered_item_is_billed_and_never_shown(
    connection: Connection, mode: Mode
) -> None:
    publish(connection, now=NOON, mode=mode)
    first = claimed_item(connection)
    rescue(connection, now_s=300)
    (second,) = claim(connection, now=later(minutes=6))
    save(connection, tried(second, output=A), now=later(minutes=6))
    before = row(connection, "current_results")
    save(connection, tried(first, output=B), now=later(minutes=7))
    assert row(connection, "current_results") == before
    assert len(rows(connection, "spend")) == 2
    assert sum((each.cost_usd for each in rows(connection, "attempt_log")), Decimal(0)) == sum(
        each.cost_usd for each in rows(connection, "spend")
    )


def test_a_rescue_lists_at_most_the_requested_number_of_lost_claims(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    for key in "abc":
        claimed_item(connection, key)
    assert len(work.list_abandoned(connection, now=later(hours=1), limit=2)) == 2
