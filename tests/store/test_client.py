"""`lanes.client`, as a program of somebody else uses it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic

import pytest
from sqlalchemy import Engine, text

from lanes import client
from lanes.errors import ItemCanceled, ItemFailed, LanesError, Refused, StillLocked, UnknownItem
from lanes.store.doors import items
from lanes.words import Lane, Outcome, Standing
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, row, rows, save, submit, tried

LEFT_WITHIN_S = 30


@pytest.fixture(autouse=True)
def address(monkeypatch: pytest.MonkeyPatch, database_url: str, pool: Engine) -> None:
    monkeypatch.setenv("LANES_DATABASE_URL", database_url)
    with pool.begin() as connection:
        publish(connection, now=NOON)


def answer(pool: Engine) -> None:
    """Everything that waits for real-time is answered."""
    with pool.begin() as connection:
        route(connection, now=NOON)
        save(connection, *(tried(work) for work in claim(connection)))


def test_a_submitted_item_exists_when_submit_returns(pool: Engine) -> None:
    sent = client.submit("letters", {"text": "x"}, key="k", urgent=True, consumer="desk", due_in_s=3600)
    assert sent == client.Sent("k", "accepted")
    with pool.begin() as connection:
        kept = row(connection, "item")
        assert (kept.key, kept.payload, kept.urgent, kept.consumer, kept.source) == (
            "k", {"text": "x"}, True, "desk", "client",
        )  # fmt: skip
        assert (kept.due_at - kept.received_at).total_seconds() == 3600


def test_submitting_twice_is_a_duplicate_and_other_content_a_conflict() -> None:
    client.submit("letters", {"text": "x"}, key="k")
    assert client.submit("letters", {"text": "x"}, key="k").outcome == "duplicate"
    refused = client.submit("letters", {"text": "y"}, key="k")
    assert refused.outcome == "key_conflict"
    assert refused.detail is not None


def test_an_item_without_a_key_is_told_the_key_it_goes_by(pool: Engine) -> None:
    sent = client.submit("letters", {"text": "x"})
    with pool.begin() as connection:
        assert row(connection, "item").key == sent.key


def test_an_item_is_told_its_content_key(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, "twins", now=NOON, dedupe="content")
    first, again = client.submit("twins", {"text": "x"}), client.submit("twins", {"text": "x"})
    assert (first.outcome, again.outcome) == ("accepted", "duplicate")
    assert first.key == again.key
    with pool.begin() as connection:
        assert row(connection, "item").key == first.key


def test_an_unknown_workload_is_told_not_raised() -> None:
    assert client.submit("ghosts", {}, key="k").outcome == "unknown_workload"


def test_a_key_in_somebodys_open_transaction_is_not_waited_for_without_end(
    pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LONGEST_WAIT", timedelta(milliseconds=1))
    with pool.connect() as other:
        admit(other, "k", now=NOON)
        with pytest.raises(StillLocked, match="open transaction"):
            client.submit("letters", {"text": "letter k"}, key="k")
        other.commit()
    assert client.submit("letters", {"text": "letter k"}, key="k").outcome == "duplicate"
    with pool.connect() as other:
        assert items.cancel(other, "letters", "k") == "canceled"
        with pytest.raises(StillLocked, match="open transaction"):
            client.amend("letters", "k", {"text": "late"})


def test_a_malformed_field_is_raised() -> None:
    with pytest.raises(Refused, match="lane"):
        client.submit("letters", {}, key="k", lane="express")


def test_many_items_are_admitted_in_order_over_several_transactions(pool: Engine) -> None:
    inputs = [{"key": f"k{n}", "payload": {"n": n}} for n in range(1_001)]
    sent = client.submit_many("letters", iter(inputs))
    assert [each.key for each in sent] == [each["key"] for each in inputs]
    assert {each.outcome for each in sent} == {"accepted"}
    with pool.begin() as connection:
        assert len(rows(connection, "item")) == 1_001


def test_the_inputs_before_a_malformed_one_are_admitted(pool: Engine) -> None:
    inputs = [{"key": "good", "payload": {}}, {"key": "bad", "payload": "text"}, {"key": "after", "payload": {}}]
    with pytest.raises(Refused, match="payload"):
        client.submit_many("letters", inputs)
    with pool.begin() as connection:
        assert [each.key for each in rows(connection, "item")] == ["good"]


def test_a_result_is_read_and_the_read_recorded(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    assert client.read_result("letters", "k", reader="desk") is None
    answer(pool)
    result = client.read_result("letters", "k", reader="desk")
    assert result is not None
    assert (result.output, result.standing, result.lane) == (A, Standing.AUTHORITATIVE, Lane.REALTIME)
    with pool.begin() as connection:
        assert [(each.reader, each.result_id is None) for each in rows(connection, "read")] == [
            ("desk", True), ("desk", False),
        ]  # fmt: skip


def test_waiting_returns_the_result_and_records_one_read(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    answer(pool)
    result = client.wait("letters", "k", reader="desk", timeout_s=5)
    assert result is not None
    assert result.output == A
    with pool.begin() as connection:
        assert row(connection, "read").reader == "desk"


def test_waiting_too_short_returns_nothing_and_records_no_read(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k")
    assert client.wait("letters", "k", reader="desk", timeout_s=0) is None
    with pool.begin() as connection:
        assert rows(connection, "read") == []


def test_waiting_for_a_settled_result_does_not_take_a_provisional_one(pool: Engine) -> None:
    with pool.begin() as connection:
        version = publish(connection, now=NOON, mode="lambda")
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    answer(pool)
    early = client.wait("letters", "k", reader="desk", timeout_s=0)
    assert early is not None
    assert not early.is_settled
    assert client.wait("letters", "k", reader="desk", timeout_s=0, settled=True) is None
    with pool.begin() as connection:
        batch_id, (work,) = submit(connection, version)
        save(connection, tried(work, output=B), batch_id=batch_id)
    late = client.wait("letters", "k", reader="desk", timeout_s=5, settled=True)
    assert late is not None
    assert (late.output, late.is_settled) == (B, True)


def fails(pool: Engine) -> None:
    with pool.begin() as connection:
        route(connection, now=NOON)
        save(connection, *(tried(work, Outcome.POISON) for work in claim(connection)))


def is_canceled(pool: Engine) -> None:
    with pool.begin() as connection:
        items.cancel(connection, "letters", "k")


def is_answered_early_and_canceled(pool: Engine) -> None:
    answer(pool)
    is_canceled(pool)


@pytest.mark.parametrize(
    ("key", "before", "error"),
    [
        ("unknown", fails, UnknownItem),
        ("k", fails, ItemFailed),
        ("k", is_canceled, ItemCanceled),
        ("k", is_answered_early_and_canceled, ItemCanceled),
    ],
)
async def test_nobody_waits_for_what_will_not_come(
    pool: Engine, key: str, before: Callable[[Engine], None], error: type[LanesError]
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, mode="lambda")
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    before(pool)
    with pytest.raises(error, match=f'"{key}"'):
        client.wait("letters", key, reader="desk", timeout_s=600, settled=True)
    with pytest.raises(error, match=f'"{key}"'):
        await client.await_result("letters", key, reader="desk", timeout_s=600, settled=True)
    with pool.begin() as connection:
        assert rows(connection, "read") == []


async def test_whoever_waits_delays_no_other_call(pool: Engine) -> None:
    """Nine programs in one: eight wait for a thread's whole life, or so they did, and the ninth submits."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await client.asubmit("letters", {"text": "x"}, key="k", urgent=True)
    waiting = [asyncio.create_task(client.await_result("letters", "k", reader=f"{n}", timeout_s=600)) for n in range(8)]
    for number in range(20):
        await asyncio.wait_for(client.asubmit("letters", {"text": "x"}, key=f"k{number}"), 10)
    assert not any(each.done() for each in waiting)
    answer(pool)
    for result in await asyncio.wait_for(asyncio.gather(*waiting), 30):
        assert result is not None
        assert result.output == A


def test_those_who_wait_share_two_connections_and_close_them(pool: Engine, database_url: str) -> None:
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    sessions = text("select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
    with ThreadPoolExecutor(8) as programs, pool.connect() as observer:
        waiting = [programs.submit(client.wait, "letters", "k", reader=f"{n}", timeout_s=600) for n in range(8)]
        seen = [observer.execute(sessions).scalar_one() for _ in range(200)]
        answer(pool)
        assert {each.result(30) is not None for each in waiting} == {True}
        assert max(seen) <= 3  # one of them is the test's own
        observer.rollback()
        pool.dispose()
        deadline = monotonic() + LEFT_WITHIN_S  # Postgres ends a session a moment after its program has left
        while observer.execute(sessions).scalar_one():
            assert monotonic() < deadline
            observer.rollback()


async def test_the_asynchronous_functions_do_the_same(pool: Engine) -> None:
    sent = await client.asubmit("letters", {"text": "x"}, key="k", urgent=True)
    assert sent.outcome == "accepted"
    many = await client.asubmit_many("letters", [{"key": "k2", "payload": {}}, {"key": "k", "payload": {"text": "x"}}])
    assert [each.outcome for each in many] == ["accepted", "duplicate"]
    assert await client.aread_result("letters", "k", reader="desk") is None
    answer(pool)
    result = await client.await_result("letters", "k", reader="desk", timeout_s=5)
    assert result is not None
    assert result.output == A
