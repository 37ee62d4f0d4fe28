"""Webhooks reach subscribers over HTTP, signed, whatever the subscribers do; a failing subscriber delays only itself:
one file because all ask the same receiver."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, Engine, text
from standardwebhooks import webhooks as library

from lanes.store import outbox, webhooks
from lanes.store.database import Database
from lanes.webhooks import WebhookKeys
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.flows.conftest import until
from tests.passing_time import PassingTime
from tests.store.tries import claim, save, tried
from tests.webhook_receiver import RESOURCE, Receiver, Subscribers


@pytest.fixture
def receive() -> Iterator[Callable[[], Receiver]]:
    """Yield a function that starts another receiver."""
    running = list[Receiver]()

    def start() -> Receiver:
        running.append(Receiver())
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest_asyncio.fixture
async def subscribers(
    db: Database, passing_time: PassingTime, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Subscribers]:
    """Yield subscribers without any webhook so far; the library of the receivers uses the test's clock."""

    class ReceiversClock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "datetime":  # pyright: ignore[reportIncompatibleMethodOverride]
            return datetime.fromtimestamp(passing_time.of_host(), tz)

    monkeypatch.setattr(library, "datetime", ReceiversClock)
    those = Subscribers(db)
    yield those
    await those.close()


async def test_an_event_is_signed_and_named_by_its_id(
    subscribers: Subscribers, receive: Callable[[], Receiver], db: Database
) -> None:
    crm = receive()
    await subscribers.add(crm)
    await subscribers.told("a", lane="realtime")
    await subscribers.deliverer().deliver()
    ids = await db.run(
        lambda c: c.execute(text("select id::text from lanes.event_outbox")).scalars().all()
    )
    assert crm.ids == ids
    assert crm.taken == [
        {
            "type": "lanes.item.answered",
            "timestamp": "2026-11-24T12:00:00+00:00",
            "data": {"workload": "letters", "key": "a", "lane": "realtime"},
        }
    ]


async def test_a_subscriber_receives_events_of_its_types_and_its_workload_since_its_creation(
    subscribers: Subscribers, receive: Callable[[], Receiver]
) -> None:
    crm, failures = receive(), receive()
    await subscribers.told("before")
    await subscribers.add(crm, workload="parcels")
    await subscribers.add(failures, "failures", types=["lanes.item.failed"])
    await subscribers.told("a")
    await subscribers.told("b", event="lanes.item.failed")
    await subscribers.deliverer().deliver()
    assert (crm.taken, failures.keys) == ([], ["b"])
    assert (await subscribers.one()).position == (await subscribers.one("failures")).position == 1


@pytest.mark.slow
async def test_the_answer_in_force_is_sent_if_the_subscriber_asks_for_it(
    subscribers: Subscribers, receive: Callable[[], Receiver], db: Database
) -> None:
    def answered(connection: Connection) -> None:
        publish(connection, now=NOON)
        for key in ("a", "open"):
            admit(connection, key, now=NOON, lane=Lane.REALTIME)
        route(connection, now=NOON)
        save(connection, tried(claim(connection)[0], output={"category": "bill"}))

    crm = receive()
    await subscribers.add(crm, sends_outputs=True)
    await db.run(answered)
    await subscribers.told("open", event="lanes.item.failed")
    await subscribers.deliverer().deliver()
    assert {each["data"]["key"]: each["data"].get("output") for each in crm.taken} == {
        "a": {"category": "bill"},
        "open": None,
    }


async def test_a_subscriber_can_receive_events_about_items_of_one_consumer_only(
    subscribers: Subscribers, receive: Callable[[], Receiver], db: Database
) -> None:
    def admitted(connection: Connection) -> None:
        publish(connection, now=NOON)
        for consumer in ("desk", "shop", None):
            admit(connection, f"of {consumer}", now=NOON, consumer=consumer, ack=True)

    desk, any_ = receive(), receive()
    types = ["lanes.item.accepted", "lanes.item.failed", "lanes.job.done"]
    await subscribers.add(desk, types=types, consumer="desk")
    await subscribers.add(any_, "any", types=types)
    await db.run(admitted)
    await subscribers.told("of shop", "of desk", "of no item", event="lanes.item.failed")
    await subscribers.told("of desk", event="lanes.job.done")
    await subscribers.deliverer().deliver()
    assert desk.keys == ["of desk", "of desk"]
    assert len(any_.keys) == 7


async def test_without_a_subscriber_no_event_is_stored(
    subscribers: Subscribers, db: Database
) -> None:
    await subscribers.told("a")
    count = text("select count(*) from lanes.webhook_event")
    assert await db.run(lambda connection: connection.execute(count).scalar_one()) == 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", [500, 404, "hangs", "resets", 302])
async def test_an_event_is_sent_seven_times_under_one_id_and_then_waits_for_a_replay(
    subscribers: Subscribers,
    receive: Callable[[], Receiver],
    passing_time: PassingTime,
    fault: int | str,
) -> None:
    crm = receive()
    crm.says, crm.location = lambda _: fault, crm.url
    await subscribers.add(crm)
    await subscribers.told("a")
    deliverer = subscribers.deliverer(timeout_s=0.1)
    for _ in range(10):
        await deliverer.deliver()
        passing_time.passes(hours=5)
    assert len(crm.ids) == webhooks.MOST_TRIES
    assert len({*crm.ids}) == 1
    one = await subscribers.one()
    assert (one.waiting, one.given_up, one.position) == (0, 1, 1)
    crm.says = lambda _: 200
    async with subscribers.db.transaction() as run:
        assert await run(webhooks.replay, one, now=run.now) == 1
    await subscribers.deliverer().deliver()
    assert crm.keys == ["a"]


async def test_the_attempts_of_an_event_spread_over_five_hours(
    subscribers: Subscribers, receive: Callable[[], Receiver], passing_time: PassingTime
) -> None:
    waits = [webhooks.AGAIN.rest_after(each) for each in range(1, webhooks.MOST_TRIES)]
    assert waits == sorted(waits)
    assert timedelta(hours=5) < sum(waits, timedelta(0)) < timedelta(hours=6)
    crm = receive()
    crm.says = lambda _: 500
    await subscribers.add(crm)
    await subscribers.told("a")
    deliverer = subscribers.deliverer()
    for wait in (waits[0] / 2, waits[0] / 2, waits[1] / 2, waits[1] / 2):
        await deliverer.deliver()
        passing_time.passes(seconds=wait.total_seconds())
    assert len(crm.ids) == 2


async def test_a_dead_subscriber_gets_a_back_off_and_then_one_request_at_a_time(
    subscribers: Subscribers, receive: Callable[[], Receiver], passing_time: PassingTime
) -> None:
    crm = receive()
    crm.says = lambda _: 503
    await subscribers.add(crm)
    await subscribers.told(*"abcdefgh")
    deliverer = subscribers.deliverer(most=5)
    await deliverer.deliver()
    assert len(crm.ids) == 5
    await deliverer.deliver()
    passing_time.passes(seconds=14)
    await deliverer.deliver()
    assert len(crm.ids) == 5  # its circuit is open
    passing_time.passes(seconds=2)
    await deliverer.deliver()
    assert len(crm.ids) == 6
    crm.says = lambda _: 200
    for _ in range(4):
        passing_time.passes(minutes=2)
        await deliverer.deliver()
    assert sorted(crm.keys) == [*"abcdefgh"]
    assert (await subscribers.one()).rests == 0


async def test_a_receiver_that_is_gone_gets_nothing_until_it_accepts_a_test_event(
    subscribers: Subscribers,
    receive: Callable[[], Receiver],
    passing_time: PassingTime,
    db: Database,
) -> None:
    crm = receive()
    crm.says = lambda _: 410
    await subscribers.add(crm, types=["lanes.item.answered"])
    await subscribers.told("a")
    deliverer = subscribers.deliverer()
    for _ in range(3):
        await deliverer.deliver()
        passing_time.passes(hours=1)
    assert len(crm.ids) == 1
    incidents = text("select state from lanes.incident where promise = 'webhook_gone'")
    assert await db.run(lambda c: c.execute(incidents).all()) == [("open",)]
    crm.says = lambda _: 200
    await db.run(webhooks.reopen, await subscribers.one(), now=await db.now())
    assert await db.run(lambda c: c.execute(incidents).all()) == [("resolved",)]
    await deliverer.deliver()
    assert crm.keys == ["a"]


async def test_the_retry_after_header_of_a_subscriber_is_respected(
    subscribers: Subscribers, receive: Callable[[], Receiver], passing_time: PassingTime
) -> None:
    crm = receive()
    crm.says = lambda _: 429
    crm.retry_after = "120"
    await subscribers.add(crm)
    await subscribers.told("a")
    deliverer = subscribers.deliverer()
    for seconds in (0, 100, 30):
        passing_time.passes(seconds=seconds)
        await deliverer.deliver()
    assert len(crm.ids) == 2


async def test_a_subscriber_that_hangs_delays_no_other(
    subscribers: Subscribers, receive: Callable[[], Receiver]
) -> None:
    slow, quick = receive(), receive()
    slow.says = lambda _: "hangs"
    await subscribers.add(slow, "slow")
    await subscribers.add(quick, "quick")
    deliverer = subscribers.deliverer(timeout_s=5)
    await subscribers.told("a")
    await deliverer.look()
    await until(lambda: quick.keys == ["a"] and slow.asked)
    await subscribers.told("b")
    while quick.keys != ["a", "b"]:  # the first look may find the delivery of `a` not yet saved
        await deliverer.look()
    await deliverer.close()


@pytest.mark.slow
async def test_events_of_one_item_keep_their_order_whatever_fails(
    subscribers: Subscribers, receive: Callable[[], Receiver], passing_time: PassingTime
) -> None:
    crm, failed = receive(), set[str]()

    def once(event: dict[str, Any]) -> int:
        name = f"{event['data']['key']} {event['data']['n']}"
        known = name in failed or event["data"]["n"] == 1
        failed.add(name)
        return 200 if known else 500

    crm.says = once
    await subscribers.add(crm)
    for n in range(3):
        await subscribers.told("a", "b", "c", n=n)
    deliverer = subscribers.deliverer(most=4)
    for _ in range(12):
        await deliverer.deliver()
        passing_time.passes(minutes=1)
    for key in "abc":
        assert [each["data"]["n"] for each in crm.taken if each["data"]["key"] == key] == [0, 1, 2]


async def test_a_kill_between_request_and_save_repeats_the_event_under_its_id(
    subscribers: Subscribers, receive: Callable[[], Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = receive()
    await subscribers.add(crm)
    await subscribers.told("a", "b")
    with monkeypatch.context() as killed:
        killed.setattr(webhooks, "save", lambda *_, **__: 1 / 0)
        dying = subscribers.deliverer()
        await dying.deliver()
    assert sorted(crm.keys) == ["a", "b"]
    living = subscribers.deliverer()
    await living.deliver()
    assert len(crm.keys) == 2  # the lease of a live process is respected
    await subscribers.kill(dying)
    await living.deliver()
    assert sorted(crm.keys) == ["a", "a", "b", "b"]
    assert len({*crm.ids}) == 2


@pytest.mark.slow
async def test_a_process_whose_session_is_lost_stops_sending_and_continues_with_a_new_session(
    subscribers: Subscribers,
    receive: Callable[[], Receiver],
    pool: Engine,
    passing_time: PassingTime,
) -> None:
    crm = receive()
    crm.says = lambda _: "hangs"
    await subscribers.add(crm)
    await subscribers.told("a")
    deliverer = subscribers.deliverer()
    await deliverer.look()
    await until(lambda: crm.asked)
    ends = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'lanes webhooks@%'"
    with pool.connect() as connection:
        assert connection.execute(text(ends)).all() == [(True,)]
    crm.says = lambda _: 200
    passing_time.passes(minutes=1)  # the claims of the lost session are free again
    while not crm.taken:
        await deliverer.look()
    assert crm.ids == [crm.ids[0]] * 2


async def test_a_process_that_lost_its_lease_saves_nothing(
    subscribers: Subscribers, receive: Callable[[], Receiver], passing_time: PassingTime
) -> None:
    crm = receive()
    await subscribers.add(crm)
    await subscribers.told("a")

    def slow(_: Any) -> int:
        passing_time.passes(minutes=1)
        return 200

    crm.says = slow
    await subscribers.deliverer().deliver()
    assert (await subscribers.one()).position == 0


@pytest.mark.slow
async def test_two_processes_deliver_each_event_once(
    subscribers: Subscribers, receive: Callable[[], Receiver]
) -> None:
    crm, mail = receive(), receive()
    await subscribers.add(crm)
    await subscribers.add(mail, "mail")
    keys = [str(n) for n in range(40)]
    await subscribers.told(*keys)
    both = subscribers.deliverer(most=7), subscribers.deliverer(most=7)
    await asyncio.gather(*(each.deliver() for each in both))
    for receiver in (crm, mail):
        assert sorted(receiver.keys) == sorted(keys)


async def test_both_secrets_sign_for_a_day_after_a_rotation(
    subscribers: Subscribers,
    receive: Callable[[], Receiver],
    passing_time: PassingTime,
    db: Database,
) -> None:
    crm = receive()
    await subscribers.add(crm)
    deliverer = subscribers.deliverer()
    await subscribers.told("a")
    await deliverer.deliver()
    old, to = subscribers.keys["crm"], await subscribers.one()
    subscribers.keys["crm"] = new = old.rotate(await db.now())
    await db.run(webhooks.change, to.id, secrets_no=to.secrets_no + 1)
    crm.secrets = [old.secrets[0][0], new.secrets[0][0]]
    await subscribers.told("b")
    await deliverer.deliver()
    assert (crm.keys, subscribers.loads) == (["a", "b"], 2)
    passing_time.passes(hours=25)
    crm.secrets = crm.secrets[1:]
    await subscribers.told("c")
    await deliverer.deliver()
    assert crm.keys == ["a", "b", "c"]
    assert new.signatures("i", "{}", await db.now()).count("v1,") == 1
    assert WebhookKeys.read(new.dump()) == new


async def test_a_replay_sends_everything_from_a_position_again_under_the_same_ids(
    subscribers: Subscribers, receive: Callable[[], Receiver]
) -> None:
    crm = receive()
    await subscribers.add(crm)
    await subscribers.told(*"abcd")
    deliverer = subscribers.deliverer(most=1)
    await deliverer.deliver()
    async with subscribers.db.transaction() as run:
        to = await run(webhooks.find, "crm")
        assert to is not None
        assert await run(webhooks.replay, to, position=3, now=run.now) == 2
    await deliverer.deliver()
    assert crm.keys == [*"abcdcd"]
    assert crm.ids[4:] == crm.ids[2:4]


async def test_private_addresses_are_refused_when_the_connection_is_made(
    subscribers: Subscribers, receive: Callable[[], Receiver]
) -> None:
    crm = receive()
    crm.url = crm.url.replace("127.0.0.1", "localhost")
    await subscribers.add(crm, allows_private=False)
    await subscribers.told("a")
    await subscribers.deliverer().deliver()
    assert crm.asked == []
    assert "which is not a public address" in (await subscribers.one()).last_error


async def test_a_redirect_is_not_followed(
    subscribers: Subscribers, receive: Callable[[], Receiver]
) -> None:
    crm, inner = receive(), receive()
    crm.says, crm.location = lambda _: 307, inner.url
    await subscribers.add(crm)
    await subscribers.told("a")
    await subscribers.deliverer().deliver()
    assert (len(crm.asked), inner.asked) == (1, [])
    assert (await subscribers.one()).last_error == "HTTP 307 (redirects are not followed)"


async def test_an_event_that_is_too_large_is_not_sent(
    subscribers: Subscribers, receive: Callable[[], Receiver]
) -> None:
    crm = receive()
    await subscribers.add(crm)
    await subscribers.told("a", reason="x" * 300_000)
    await subscribers.told("b")
    await subscribers.deliverer().deliver()
    assert crm.keys == ["b"]


async def test_a_block_that_cannot_be_read_costs_no_attempt(
    subscribers: Subscribers, receive: Callable[[], Receiver], passing_time: PassingTime
) -> None:
    crm = receive()
    await subscribers.add(crm)
    keys = subscribers.keys.pop("crm")
    await subscribers.told("a")
    deliverer = subscribers.deliverer()
    await deliverer.deliver()
    assert "lanes-webhook-crm" in (await subscribers.one()).last_error
    subscribers.keys["crm"] = keys
    passing_time.passes(minutes=1)
    await deliverer.deliver()
    assert crm.keys == ["a"]


async def test_an_event_of_an_older_transaction_that_commits_late_is_delivered_too(
    subscribers: Subscribers, receive: Callable[[], Receiver], db: Database
) -> None:
    crm = receive()
    await subscribers.add(crm)
    deliverer = subscribers.deliverer()
    async with db.transaction() as run:
        late = outbox.EventOut("lanes.item.failed", RESOURCE, {"key": "late"})
        await run(outbox.add, [late], now=NOON)
        await subscribers.told("a")
        await deliverer.deliver()
        assert crm.keys == ["a"]
    await deliverer.deliver()
    assert crm.keys == ["a", "late"]
