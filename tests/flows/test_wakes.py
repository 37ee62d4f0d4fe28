"""Which part of a drain is woken by what: one look for work for each thing that happens, and none that finds nothing."""

import asyncio
from collections.abc import Iterator

from sqlalchemy import Engine

from lanes.store.database import Database
from lanes.store.signals import listening, wake
from tasks.background import Wakes
from tests.flows.conftest import until


def asleep(**how: float) -> Wakes:
    """A drain that has looked, and routed, once."""
    wakes = Wakes(**how)
    assert wakes.take_look_request()
    for each in (wakes.loop, wakes.routing, wakes.telling):
        each.clear()
    return wakes


async def test_what_others_commit_is_routed_before_work_is_looked_for() -> None:
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


async def test_work_that_is_ready_does_not_wait_for_a_long_routing() -> None:
    wakes = asleep(routed_within_s=0.0)
    wakes.record_foreign_commit()
    await until(wakes.loop.is_set)
    assert wakes.take_look_request()


async def test_a_look_after_what_was_routed_is_not_repeated_when_all_of_it_is() -> None:
    wakes = asleep()
    wakes.record_foreign_commit()
    wakes.record_ready_work()
    assert wakes.take_look_request()
    wakes.loop.clear()
    wakes.record_end_of_routing()
    assert not wakes.loop.is_set()
    assert not wakes.take_look_request()


async def test_after_a_save_its_events_are_published_and_the_loop_goes_on() -> None:
    wakes = asleep()
    wakes.record_save()
    assert wakes.loop.is_set()
    assert wakes.telling.is_set()
    assert not wakes.take_look_request()


async def test_a_place_that_is_free_is_for_what_waits_for_one() -> None:
    wakes = asleep()
    wakes.record_free_place()
    assert wakes.loop.is_set()
    assert not wakes.take_look_request()


class SessionLookups:
    """Remembers which sessions were looked for among those of a database."""

    def __init__(self, db: Database) -> None:
        self._db, self.asked = db, list[object]()

    def __contains__(self, session: object) -> bool:
        self.asked.append(session)
        return session in self._db.sessions

    def __iter__(self) -> Iterator[int]:
        return iter(self._db.sessions)

    def __len__(self) -> int:
        return len(self._db.sessions)


async def test_a_drain_hears_what_others_commit_and_not_itself(db: Database, pool: Engine) -> None:
    asked = SessionLookups(db)
    async with listening(db.url, but=asked) as heard:
        await db.run(wake)
        await until(lambda: asked.asked)
        assert not heard.is_set()
        with pool.begin() as other:
            wake(other)
        async with asyncio.timeout(10):
            await heard.wait()
