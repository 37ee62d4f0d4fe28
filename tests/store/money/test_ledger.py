"""The ledger: every billed response once, and attempts that sum exactly to it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from lanes.settling.outcome import Response
from lanes.words import Lane, Outcome
from lanes.workload.prices import Usage, cost, price_version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, row, rows, said, save, submit, tried

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
SUMMED = (*TOKENS, "cost_usd")


def everything(connection: Connection) -> dict[str, list[Any]]:
    """Return every row that an attempt may touch."""
    tables = ("item", "work", "attempt", "result", "correction", "response", "event_outbox")
    return {table: rows(connection, table) for table in tables}


def totals(found: list[Any]) -> dict[str, Any]:
    """Return the sums by message and column."""
    sums: dict[str, Any] = {}
    for each in found:
        if each.message_id is not None:
            for name in SUMMED:
                place = f"{each.message_id} {name}"
                sums[place] = sums.get(place, 0) + getattr(each, name)
    return sums


def test_a_billed_response_is_in_spend_with_its_price(connection: Connection) -> None:
    publish(connection, now=NOON)
    usage = Usage(input=1_000, output=50, cache_read=300, cache_write_5m=100, cache_write_1h=20)
    response = Response("msg_1", "claude-haiku-5-5", "", "end_turn", usage)
    save(connection, tried(claimed_item(connection), response=response, at=later(seconds=9)))
    spent = row(connection, "spend")
    assert (spent.message_id, spent.workload, spent.lane, spent.purpose) == (
        "msg_1",
        "letters",
        "realtime",
        "answer",
    )
    assert (spent.model, spent.batch_id, spent.items) == ("claude-haiku-5-5", None, 1)
    assert [getattr(spent, name) for name in TOKENS] == [1_000, 50, 300, 120]
    assert spent.cost_usd == cost(usage, model="claude-haiku-5-5", lane=Lane.REALTIME, at=NOON) > 0
    assert (spent.price_version, spent.billed_at) == (price_version(), later(seconds=9))


@pytest.mark.slow
def test_spend_of_a_batch_has_the_batch_price_and_the_batch_id(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, (work,) = submit(connection, letters)
    save(connection, tried(work), batch_id=batch_id)
    save(connection, tried(claimed_item(connection, "now")))
    batch, realtime = rows(connection, "spend", "lane")
    assert (batch.batch_id, realtime.batch_id) == (batch_id, None)
    assert batch.cost_usd * 2 == realtime.cost_usd
    assert row(connection, "attempt_log", key="k").batch_id == batch_id


@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.REFUSED, Outcome.TRUNCATED])
def test_an_unusable_answer_is_still_billed(connection: Connection, outcome: Outcome) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection), outcome))
    assert row(connection, "spend").cost_usd == row(connection, "attempt_log").cost_usd > 0


@pytest.mark.slow
def test_saving_the_same_response_twice_changes_nothing(connection: Connection) -> None:
    publish(connection, now=NOON, mode="lambda")
    attempt = tried(claimed_item(connection))
    save(connection, attempt)
    before = everything(connection)
    again = save(connection, attempt, now=later(minutes=1))
    assert (again.answered, again.late, dict(again.outcomes)) == (0, 0, {})
    assert everything(connection) == before


@pytest.mark.slow
def test_saving_the_same_failure_twice_spends_one_failure(connection: Connection) -> None:
    publish(connection, now=NOON)
    attempt = tried(claimed_item(connection), Outcome.INVALID)
    save(connection, attempt)
    before = everything(connection)
    save(connection, attempt, now=later(minutes=1))
    assert everything(connection) == before


def test_the_same_response_twice_in_one_save_is_booked_once(connection: Connection) -> None:
    publish(connection, now=NOON)
    attempt = tried(claimed_item(connection))
    save(connection, attempt, attempt)
    assert len(rows(connection, "spend")) == len(rows(connection, "result")) == 1
    assert totals(rows(connection, "attempt_log")) == totals(rows(connection, "spend"))


@pytest.mark.slow
def test_a_superseded_claim_writes_only_its_bill_and_its_attempt(connection: Connection) -> None:
    publish(connection, now=NOON)
    first = claimed_item(connection)
    save(connection, tried(first, Outcome.ERRORED))
    (second,) = claim(connection, now=later(seconds=2))
    before = everything(connection)
    save(connection, tried(first, Outcome.INVALID))
    after = everything(connection)
    assert len(after["response"]) == len(before["response"]) + 1
    assert len(after["attempt"]) == len(before["attempt"]) + 1
    assert {name: after[name] for name in ("item", "work", "result", "event_outbox")} == {
        name: before[name] for name in ("item", "work", "result", "event_outbox")
    }
    save(connection, tried(second))
    assert row(connection, "item_status").state == "settled"


def test_a_superseded_failure_without_a_bill_writes_nothing(connection: Connection) -> None:
    publish(connection, now=NOON)
    first = claimed_item(connection)
    save(connection, tried(first, Outcome.ERRORED))
    claim(connection, now=later(seconds=2))
    before = everything(connection)
    save(connection, tried(first, Outcome.ERRORED))
    assert everything(connection) == before


@pytest.mark.slow
def test_a_pack_with_mixed_outcomes_is_billed_exactly(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1)
    one, two, three = (claimed_item(connection, key) for key in "abc")
    shared = said("msg_pack", tokens=1_001)
    save(connection, tried(two, Outcome.ERRORED))
    save(
        connection,
        tried(one, response=shared),
        tried(two, response=shared),  # superseded
        tried(three, Outcome.INVALID, response=shared),
    )
    spent = row(connection, "spend")
    assert (spent.items, spent.input_tokens) == (3, 1_001)
    parts = rows(connection, "attempt_log", "key", message_id="msg_pack")
    assert [each.input_tokens for each in parts] == [334, 334, 333]
    assert totals(parts) == totals([spent])
    assert [each.shown for each in parts] == [True, False, False]


@pytest.mark.slow
def test_attempts_are_numbered_within_their_item(connection: Connection) -> None:
    publish(connection, now=NOON)
    a, b = claimed_item(connection, "a"), claimed_item(connection, "b")
    save(connection, tried(a, Outcome.INVALID), tried(b))
    (again,) = claim(connection)
    save(connection, tried(again))
    assert [
        (each.key, each.attempt, each.outcome)
        for each in rows(connection, "attempt_log", "key, attempt")
    ] == [("a", 1, "invalid"), ("a", 2, "valid"), ("b", 1, "valid")]
    status = row(connection, "item_status", key="a")
    assert status.attempts == 2
    assert status.cost_usd == sum(
        each.cost_usd for each in rows(connection, "attempt_log", key="a")
    )


@pytest.mark.slow
@given(
    size=st.integers(1, 20),
    lane=st.sampled_from(Lane),
    tokens=st.tuples(*[st.integers(0, 150_000)] * 5),
    outcomes=st.lists(st.sampled_from([Outcome.VALID, Outcome.INVALID]), min_size=20, max_size=20),
)
def test_the_parts_of_a_pack_sum_exactly_to_its_bill(
    pool: Engine, size: int, lane: Lane, tokens: tuple[int, ...], outcomes: list[Outcome]
) -> None:
    usage = Usage(*tokens)
    shared = Response("msg_pack", "claude-haiku-5-5", "", "end_turn", usage)
    with pool.connect() as connection:  # rolled back at the end
        letters = publish(connection, now=NOON)
        admit(connection, *(f"k{n}" for n in range(size)), now=NOON, lane=lane)
        route(connection, now=NOON)
        batch_id, work = (
            (None, claim(connection))
            if lane is Lane.REALTIME
            else submit(connection, letters, pack=20)
        )
        attempts = [
            tried(each, how, response=shared) for each, how in zip(work, outcomes, strict=False)
        ]
        save(connection, *attempts, batch_id=batch_id)
        spent, parts = row(connection, "spend"), rows(connection, "attempt_log")
    assert len(parts) == spent.items == size
    assert totals(parts) == totals([spent])
    assert spent.cost_usd == cost(usage, model="claude-haiku-5-5", lane=lane, at=NOON)
    assert all(each.cost_usd >= 0 for each in parts)
    assert max(each.cost_usd for each in parts) - min(each.cost_usd for each in parts) <= Decimal(
        "0.0000001"
    )


# -- a message id that returns with another answer


def named_alike(*tokens: int) -> list[Response]:
    return [
        said("msg_1", tokens=number)._replace(call=f"call-{place}")
        for place, number in enumerate(tokens)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [(7, 8, 9), (7, 7, 7)])
def test_another_answer_under_the_same_message_id_is_booked_separately(
    connection: Connection, tokens: tuple[int, ...]
) -> None:
    """Save the answers together and separately, in any order, repeatedly."""
    publish(connection, now=NOON)
    tries = [
        tried(claimed_item(connection, f"k{place}"), response=answer)
        for place, answer in enumerate(named_alike(*tokens))
    ]
    assert save(connection, tries[1]).apart == frozenset()
    told = [save(connection, *some).apart for some in (tries, [tries[0]], [tries[2]], tries[::-1])]
    assert [len(names) for names in told] == [2, 1, 1, 2]
    spent, parts = rows(connection, "spend"), rows(connection, "attempt_log")
    assert sorted(each.input_tokens for each in spent) == sorted(tokens)
    assert (
        {each.message_id for each in spent}
        == {"msg_1", *told[0]}
        == {each.message_id for each in parts}
    )
    assert len(parts) == 3
    assert totals(parts) == totals(spent)


@pytest.mark.slow
def test_a_claim_with_two_answers_under_one_message_id_has_both_bills(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    of = claimed_item(connection, "k")
    first, other = named_alike(7, 8)
    save(
        connection, tried(of, response=first), tried(of, response=other), tried(of, response=first)
    )
    assert sorted(each.input_tokens for each in rows(connection, "spend")) == [7, 8]
    assert totals(rows(connection, "attempt_log")) == totals(rows(connection, "spend"))


@pytest.mark.slow
def test_a_response_booked_without_a_digest_is_not_booked_again(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    attempt = tried(claimed_item(connection, "k"), response=named_alike(7)[0])
    save(connection, attempt)
    connection.execute(text("update lanes.response set digest = null"))
    assert save(connection, attempt).apart == frozenset()
    assert len(rows(connection, "spend")) == 1


@pytest.mark.slow
def test_a_response_saved_two_hundred_times_is_booked_once(connection: Connection) -> None:
    """Save often enough for Postgres to use a generic plan, which knows no values."""
    publish(connection, now=NOON)
    attempt = tried(claimed_item(connection, "k"), response=named_alike(7)[0])
    for _ in range(200):
        save(connection, attempt)
    assert len(rows(connection, "spend")) == 1
