"""`lanes.client`, as a user's program calls it."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Engine

from lanes import client
from lanes.client import AsyncLanes, Lanes, ahandle
from lanes.errors import (
    ItemCanceled,
    ItemFailed,
    LanesError,
    Refused,
    StillLocked,
    UnknownItem,
    UnknownWorkload,
)
from lanes.store.doors import items
from lanes.words import Lane, Standing
from tests.conftest import NOON
from tests.examples import admit, publish
from tests.store.client.ends import answer, fails, is_answered_early_and_canceled, is_canceled
from tests.store.tries import A, B, row, rows, save, submit, tried


def test_a_submitted_item_exists_when_submit_returns(pool: Engine) -> None:
    sent = client.submit(
        "letters", {"text": "x"}, key="k", urgent=True, consumer="desk", due_in_s=3600
    )
    assert sent == client.Sent("k", "accepted")
    with pool.begin() as connection:
        kept = row(connection, "item")
        assert (kept.key, kept.payload, kept.urgent, kept.consumer, kept.source) == (
            "k",
            {"text": "x"},
            True,
            "desk",
            "client",
        )
        assert (kept.due_at - kept.received_at).total_seconds() == 3600


def test_a_repeated_submission_is_a_duplicate_and_other_content_is_a_conflict() -> None:
    client.submit("letters", {"text": "x"}, key="k")
    assert client.submit("letters", {"text": "x"}, key="k").outcome == "duplicate"
    with pytest.raises(Refused, match="other content") as refused:
        client.submit("letters", {"text": "y"}, key="k")
    assert refused.value.reason == "key_conflict"


def test_submit_without_a_key_returns_the_generated_key(pool: Engine) -> None:
    sent = client.submit("letters", {"text": "x"})
    with pool.begin() as connection:
        assert row(connection, "item").key == sent.key


def test_submit_returns_the_content_key(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, "twins", now=NOON, dedupe="content")
    first, again = client.submit("twins", {"text": "x"}), client.submit("twins", {"text": "x"})
    assert (first.outcome, again.outcome) == ("accepted", "duplicate")
    assert first.key == again.key
    with pool.begin() as connection:
        assert row(connection, "item").key == first.key


def test_an_amendment_replaces_the_payload(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k")
    assert client.amend("letters", "k", {"text": "y"}) == client.Sent("k", "amended")
    assert client.amend("letters", "later", {"text": "y"}).raise_for_refusal().outcome == "waiting"
    with pool.begin() as connection:
        assert row(connection, "item").payload == {"text": "y"}


def test_an_item_can_be_canceled_until_it_is_settled(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k")
    assert client.cancel("letters", "k")
    assert client.cancel("letters", "k")
    client.submit("letters", {"text": "x"}, key="settled", urgent=True)
    answer(pool)
    assert not client.cancel("letters", "settled")


def test_a_second_label_of_a_source_replaces_the_first(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k")
    client.label("letters", "k", A)
    client.label("letters", "k", B)
    with pool.begin() as connection:
        kept = row(connection, "label")
        assert (kept.expected, kept.source) == (B, "client")
    with pytest.raises(Refused, match="512"):
        client.label("letters", "k", A, source="")


@pytest.mark.parametrize(
    ("workload", "error"), [("letters", UnknownItem), ("ghosts", UnknownWorkload)]
)
def test_an_unknown_item_or_workload_cannot_be_canceled_labeled_or_waited_for(
    workload: str, error: type[LanesError]
) -> None:
    for verb in (
        partial(client.cancel, workload, "ghost"),
        partial(client.label, workload, "ghost", A),
        partial(client.wait, workload, "ghost", reader="desk", timeout_s=600),
    ):
        with pytest.raises(error, match="ghost"):
            verb()


def test_text_that_postgres_cannot_store_is_refused() -> None:
    client.submit("letters", {"text": "x"}, key="k")
    for verb in (
        partial(client.submit, "letters", {"text": "\0"}),
        partial(client.cancel, "letters", "\0"),
        partial(client.label, "letters", "k", {"note": "\0"}),
        partial(client.read_result, "letters", "k", reader="\ud800"),
        partial(client.wait, "letters\0", "k", reader="desk"),
    ):
        with pytest.raises(Refused, match=r"cannot be stored|Unicode"):
            verb()


@pytest.mark.slow
def test_items_are_listed_with_their_answers_and_no_read_is_recorded(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="answered", urgent=True)
    answer(pool)
    client.submit("letters", {"text": "y"}, key="new")
    assert [(each.key, each.state, each.output) for each in client.results("letters")] == [
        ("answered", "settled", A),
        ("new", "received", None),
    ]
    assert [each.key for each in client.results("letters", states=["received"])] == ["new"]
    with pytest.raises(UnknownWorkload, match="ghosts"):
        list(client.results("ghosts"))
    with pytest.raises(Refused, match="settled"):
        list(client.results("letters", states=["done"]))
    with pool.begin() as connection:
        assert rows(connection, "read") == []


def test_a_key_in_another_open_transaction_is_waited_for_with_a_limit(
    pool: Engine, database_url: str
) -> None:
    with Lanes(database_url, patience_s=0.001) as lanes, pool.connect() as other:
        admit(other, "k", now=NOON)
        with pytest.raises(StillLocked, match="another transaction"):
            lanes.submit("letters", {"text": "letter k"}, key="k")
        other.commit()
        assert lanes.submit("letters", {"text": "letter k"}, key="k").outcome == "duplicate"
        assert items.cancel(other, "letters", "k") == "canceled"
        with pytest.raises(StillLocked, match="another transaction"):
            lanes.amend("letters", "k", {"text": "late"})


def test_many_items_are_all_admitted_and_returned_in_order(pool: Engine) -> None:
    inputs = [{"key": f"k{n}", "payload": {"n": n}} for n in range(1_001)]
    sent = client.submit_many("letters", iter(inputs))
    assert [each.key for each in sent] == [each["key"] for each in inputs]
    assert {each.outcome for each in sent} == {"accepted"}
    with pool.begin() as connection:
        assert len(rows(connection, "item")) == 1_001


def test_a_result_is_read_and_the_read_is_recorded(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    assert client.read_result("letters", "k", reader="desk") is None
    answer(pool)
    result = client.read_result("letters", "k", reader="desk")
    assert result is not None
    assert (result.output, result.standing, result.lane) == (
        A,
        Standing.AUTHORITATIVE,
        Lane.REALTIME,
    )
    with pool.begin() as connection:
        assert [(each.reader, each.result_id is None) for each in rows(connection, "read")] == [
            ("desk", True),
            ("desk", False),
        ]


@pytest.mark.slow
def test_waiting_returns_the_result_and_records_one_read(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    answer(pool)
    result = client.wait("letters", "k", reader="desk", timeout_s=5)
    assert result is not None
    assert result.output == A
    with pool.begin() as connection:
        assert row(connection, "read").reader == "desk"


@pytest.mark.slow
def test_a_wait_that_times_out_returns_nothing_and_records_no_read(pool: Engine) -> None:
    client.submit("letters", {"text": "x"}, key="k")
    assert client.wait("letters", "k", reader="desk", timeout_s=0) is None
    with pool.begin() as connection:
        assert rows(connection, "read") == []


@pytest.mark.slow
def test_waiting_for_a_settled_result_does_not_return_a_provisional_one(pool: Engine) -> None:
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


async def test_a_correction_is_listed_with_both_outputs_until_its_result_is_read(
    pool: Engine,
) -> None:
    with pool.begin() as connection:
        version = publish(connection, now=NOON, mode="lambda")
    client.submit("letters", {"text": "x"}, key="k", urgent=True)
    answer(pool)
    assert client.read_result("letters", "k", reader="desk") is not None
    assert list(client.corrections("desk")) == []
    told = client.acorrections("desk", follow=True)
    coming = asyncio.ensure_future(anext(told))
    with pool.begin() as connection:
        batch_id, (work,) = submit(connection, version)
        save(connection, tried(work, output=B), batch_id=batch_id)
    found = await coming
    assert (found.key, found.taken, found.output) == ("k", A, B)
    assert list(client.corrections("desk")) == [found]
    assert client.read_result("letters", "k", reader="desk") is not None
    assert list(client.corrections("desk", follow=True, quiet_s=0)) == []
    await told.aclose()


@pytest.mark.parametrize(
    ("key", "before", "error"),
    [
        ("unknown", fails, UnknownItem),
        ("k", fails, ItemFailed),
        ("k", is_canceled, ItemCanceled),
        ("k", is_answered_early_and_canceled, ItemCanceled),
    ],
)
async def test_waiting_for_an_item_that_cannot_settle_raises_an_error(
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


@pytest.mark.slow
async def test_the_asynchronous_functions_behave_like_the_synchronous_ones(pool: Engine) -> None:
    sent = await client.asubmit("letters", {"text": "x"}, key="k", urgent=True)
    assert sent.outcome == "accepted"
    many = await client.asubmit_many(
        "letters", [{"key": "k2", "payload": {}}, {"key": "k", "payload": {"text": "x"}}]
    )
    assert [each.outcome for each in many] == ["accepted", "duplicate"]
    assert await client.aread_result("letters", "k", reader="desk") is None
    answer(pool)
    result = await client.await_result("letters", "k", reader="desk", timeout_s=5)
    assert result is not None
    assert result.output == A
    assert (await client.aamend("letters", "k2", {"text": "z"})).outcome == "amended"
    await client.alabel("letters", "k", B, source="ada")
    assert await client.acancel("letters", "k2")
    assert [each.key async for each in client.aresults("letters", states=["canceled"])] == ["k2"]
    many = await client.asubmit_many(
        "letters", [{"key": "good", "payload": {}}, {"key": "bad", "payload": "text"}]
    )
    assert [each.outcome for each in many] == ["accepted", "malformed"]
    assert [each.key async for each in client.aresults("letters", states=["received"])] == ["good"]


async def test_submitting_many_items_lets_other_tasks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahandle, "TURN_S", -1)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await client.asubmit("letters", {})  # connects
    turns = 0
    await client.asubmit_many("letters", [{"payload": {}} for _ in range(100)])
    beside.cancel()
    assert turns >= 200  # one per input taken, and one per input read


async def test_an_asynchronous_handle_admits_fewer_large_inputs_per_transaction(
    pool: Engine,
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON, max_payload_kib=4096)
    await client.asubmit_many(
        "letters", [{"key": f"k{n}", "payload": {"text": "x" * 400_000}} for n in range(7)]
    )
    with pool.begin() as connection:
        admitted = Counter(each.received_at for each in rows(connection, "item", "id"))
    assert list(admitted.values()) == [3, 3, 1]


def test_both_handles_and_the_functions_have_the_same_signatures() -> None:
    verbs = {
        name: one
        for name, one in vars(Lanes).items()
        if inspect.isfunction(one) and not name.startswith("_")
    }
    verbs.pop("close")
    for name, verb in verbs.items():
        asked = [
            each for each in inspect.signature(verb).parameters.values() if each.name != "self"
        ]
        of_async = "await_result" if name == "wait" else f"a{name}"
        for other in (getattr(AsyncLanes, name), getattr(client, name), getattr(client, of_async)):
            assert [
                each for each in inspect.signature(other).parameters.values() if each.name != "self"
            ] == asked
        assert {name, of_async} <= set(client.__all__)
