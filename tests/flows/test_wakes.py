"""Which part of a drain each event wakes: one look for work per event, and no look that finds nothing."""

import asyncio
from collections.abc import Iterator

from sqlalchemy import Engine

from lanes.store.database import Database
from lanes.store.signals import listening, wake
from tasks.background import Wakes, take_signal
from tests.flows.conftest import until


def asleep(**how: float) -> Wakes:
    """Return the wakes of a drain that has looked and routed once."""
    wakes = Wakes(**how)
    assert wakes.take_look_request()
    for each in (wakes.loop, wakes.routing, wakes.telling):
        each.clear()
    return wakes


async def test_a_signal_is_taken_once() -> None:
    signal = asyncio.Event()
    signal.set()
    assert await take_signal(signal, within_s=60)
    assert not await take_signal(signal, within_s=0)


async def test_commits_of_other_sessions_are_routed_before_a_look_for_work() -> None:
    wakes = asleep()
    wakes.record_foreign_commit()
    assert (wakes.routing.is_set(), wakes.telling.is_set(), wakes.loop.is_set()) == (
        True,
        True,
        False,
    )
    assert not wakes.take_look_request()
    wakes.record_end_of_routing()
    assert wakes.loop.is_set()
    assert wakes.take_look_request()
    assert not wakes.take_look_request()


async def test_ready_work_does_not_wait_for_a_long_routing() -> None:
    wakes = asleep(routed_within_s=0.0)
    wakes.record_foreign_commit()
    await until(wakes.loop.is_set)
    assert wakes.take_look_request()


async def test_a_look_for_ready_work_is_not_repeated_at_the_end_of_the_routing() -> None:
    wakes = asleep()
    wakes.record_foreign_commit()
    wakes.record_ready_work()
    assert wakes.take_look_request()
    wakes.loop.clear()
    wakes.record_end_of_routing()
    assert not wakes.loop.is_set()
    assert not wakes.take_look_request()


async def test_a_save_wakes_the_publication_of_its_events_and_the_loop() -> None:
    wakes = asleep()
    wakes.record_save()
    assert wakes.loop.is_set()
    assert wakes.telling.is_set()
    assert not wakes.take_look_request()


async def test_a_free_place_wakes_the_loop_without_a_look_for_work() -> None:
    wakes = asleep()
    wakes.record_free_place()
    assert wakes.loop.is_set()
    assert not wakes.take_look_request()


class SessionLookups:
    """A lookup that records which sessions were searched for among those of a database."""

    def __init__(self, db: Database) -> None:
        self._db, self.asked = db, list[object]()

    def __contains__(self, session: object) -> bool:
        self.asked.append(session)
        return session in self._db.sessions

    def __iter__(self) -> Iterator[int]:
        return iter(self._db.sessions)

    def __len__(self) -> int:
        return len(self._db.sessions)


async def test_commits_of_other_sessions_wake_a_drain_and_its_own_commits_do_not(
    db: Database, pool: Engine
) -> None:
    asked = SessionLookups(db)
    async with listening(db.url, but=asked) as heard:
        await db.run(wake)
        await until(lambda: asked.asked)
        assert not heard.is_set()
        with pool.begin() as other:
            wake(other)
        async with asyncio.timeout(10):
            await heard.wait()
