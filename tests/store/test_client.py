"""`lanes.client`, as a program of somebody else uses it."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from lanes import client
from lanes.errors import Refused, StillLocked
from lanes.store import items
from lanes.words import Lane, Standing
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, row, rows, save, submit, tried


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
