"""The role of router: its holder reads the event stream and routes received items in portions."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from prefect.logging import get_run_logger
from sqlalchemy.exc import OperationalError

from lanes.realtime.turns import QueueCursor
from lanes.routing.room import (
    FEW,
    MOST,
    AccountRooms,
    Guards,
    PortionBounds,
    Portions,
    Room,
    RoutedPortion,
)
from lanes.routing.route import ArrivedItem, ReceivedItem, Route, decide, looks_inside
from lanes.routing.split import Splits
from lanes.store import database
from lanes.store.database import Database, Run
from lanes.store.doors import full_data, items, unrouted
from lanes.store.doors.unrouted import RoutedUpTo
from lanes.store.money import budgets, sharing
from lanes.store.realtime import load
from lanes.store.routing import routes, turnarounds
from lanes.store.signals import RoleLock
from lanes.store.workload import workloads
from lanes.store.workload.accounts import LaneAccount
from lanes.store.workload.workloads import InForce
from lanes.words import BLOCK, Lane
from lanes.workload.version import Version
from tasks.arrivals import ArrivalReader
from tasks.background import Wakes, bounded_tasks, take_signal

T = TypeVar("T")
HALVED = 400  # items from which a portion is saved in two statements: for fewer, that costs more than it gains


def halves(chunk: Sequence[T], many: int) -> list[Sequence[T]]:
    """Split a chunk of at least `many` items in halves, so that one half is decided while the other is saved."""
    middle = -(-len(chunk) // 2)
    return [chunk] if len(chunk) < many else [chunk[:middle], chunk[middle:]]


WAIT = timedelta(seconds=1)  # longest wait for a lock; no other process can route during it
_told: set[str] = set()


class Rooms:
    """The room on the real-time lane at the newest query, less the work routed since.

    Each account has its own room; `accounts` returns the accounts in use.
    """

    def __init__(self, accounts: Callable[[], Sequence[LaneAccount]]) -> None:
        self._accounts = accounts
        self._room: AccountRooms | None = None
        self._looked_at: datetime | None = None

    async def of(
        self, run: Run, versions: Iterable[Version], splits: Splits
    ) -> AccountRooms | None:
        """Return the room on the real-time lane, or None if it is unknown.

        A result is reused for `LOOK_EVERY`. After that, query the load again, unless no item of these versions may choose real
        time, because their routes then do not depend on the room.
        """
        looked_at = self._looked_at
        if looked_at is not None and looked_at <= run.now < looked_at + LOOK_EVERY:
            return self._room
        if not any(may_choose_realtime(each, splits) for each in versions):
            return None
        shared = await run(sharing.read_cached, now=run.now)
        rooms = dict[str, Room]()
        for each in self._accounts():
            account_load = await run(load.snapshot, each, now=run.now)
            rooms[each.provider or BLOCK] = Room(account_load, shared)
        self._room, self._looked_at = AccountRooms(rooms), run.now
        return self._room


async def route_received(
    db: Database,
    most: int = MOST,
    *,
    heads: QueueCursor[RoutedUpTo] | None = None,
    rooms: Rooms | None = None,
    halved: int = HALVED,
) -> int:
    """Route about `most` received items as `route_portion` does; return how many, 0 if none waits."""
    bounds = PortionBounds(most, most)
    return (await route_portion(db, bounds, heads=heads, rooms=rooms, halved=halved)).items


async def route_portion(
    db: Database,
    bounds: PortionBounds,
    *,
    heads: QueueCursor[RoutedUpTo] | None = None,
    rooms: Rooms | None = None,
    halved: int = HALVED,
) -> RoutedPortion:
    """Route received items within the bounds, urgent and due ones first.

    This is one bounded transaction: call it again while it routes items. It routes nothing while another router is at work.
    Items that another transaction has locked wait, and so do items of a workload that cannot be read or priced. `heads` may
    skip items that arrived before the last routed ones, until the next full look. `rooms` provides the load of the real-time
    lane, which sends some items that may wait to batch.
    """
    cursor = QueueCursor[RoutedUpTo]() if heads is None else heads
    try:
        return await _route_some(db, bounds, cursor, rooms, halved)
    except OperationalError as error:
        if not database.is_lock_failure(error):
            raise
        message = "routing waited for a lock for %g s; trying again"
        get_run_logger().warning(message, WAIT.total_seconds())
        return RoutedPortion()


async def _route_some(
    db: Database,
    bounds: PortionBounds,
    heads: QueueCursor[RoutedUpTo],
    rooms: Rooms | None,
    halved: int,
) -> RoutedPortion:
    async with db.transaction() as run:
        began = time.monotonic()
        look = heads.look(began)
        start = await run(routes.begin, WAIT, since=look.since)
        if not start.alone:
            return RoutedPortion()
        heads.record_look(look, {}, took_s=time.monotonic() - began, at=time.monotonic())
        if start.amended:
            await run(items.apply_waiting, now=run.now)
        if not start.workloads:
            _tell([])
        beginnings = unrouted.leave_out_backlogs(start.workloads, of=bounds.resting)
        if not beginnings:
            return RoutedPortion()
        limit = (
            bounds.if_urgent if any(each.urgent for each in beginnings.values()) else bounds.most
        )
        stored, splits = await run(workloads.to_route, start.workloads.keys())
        versions, canaries = stored.versions, stored.canaries
        either = [*versions.values(), *(each.candidate for each in canaries.values())]
        unread = versions.keys() - {each.workload for each in either if looks_inside(each)}
        waiting = await run(
            unrouted.lock_received,
            limit,
            most_urgent=bounds.urgent,
            of=versions.keys(),
            waiting=beginnings,
            unread=unread,
        )
        if any(each.spec.context.depth for each in either):
            waiting = await run(full_data.measure_context, waiting, _pick_longest_readers(stored))
        waits = any(item.arrived.due_at is not None for item in waiting)
        waits = waits or any(each.spec.value_usd for each in either)
        prospects = await run(turnarounds.prospects, now=run.now) if waits else None
        limited = start.workloads.keys() if start.limited else []
        statuses = await run(budgets.statuses, limited, now=run.now) if limited else []
        used_rooms = rooms if waiting else None
        room = None if used_rooms is None else await used_rooms.of(run, either, splits)
        guards = Guards(statuses, room)
        estimates = await run(sharing.estimates, now=run.now)
        decide_now = partial(
            decide, now=run.now, estimates=estimates, prospects=prospects, guards=guards
        )
        routed, problems = 0, set[str]()
        async with bounded_tasks(1) as saving:
            for half in halves(waiting, halved):
                decided, unpriced = _decide_routes(half, stored, splits, decide_now, guards)
                await saving.begin(run, routes.save, decided, now=run.now)
                # lets the statement be sent now: Postgres saves while the other half is decided
                await asyncio.sleep(0)
                routed += len(decided)
                problems |= unpriced
    heads.take(unrouted.came_last(waiting, before=heads.positions))
    _tell([*map(str, stored.unreadable), *sorted(problems)])
    arrival_times = [each.arrived.received_at for each in waiting if each.arrived.urgent]
    return RoutedPortion(
        routed,
        len(arrival_times),
        (run.now - min(arrival_times, default=run.now)).total_seconds(),
        unrouted.find_full(waiting, limit, workloads=len(beginnings)) if limit > FEW else set(),
    )


def _decide_routes(
    waiting: Sequence[ReceivedItem],
    stored: InForce,
    splits: Splits,
    decide_now: Callable[[ArrivedItem, Version, Splits], Route],
    guards: Guards,
) -> tuple[list[tuple[ReceivedItem, Version, Route]], set[str]]:
    """Decide the items' routes; return them and the problems of workloads that cannot be priced.

    Items that go to real time use up its room.
    """
    decided: list[tuple[ReceivedItem, Version, Route]] = []
    problems: set[str] = set()
    for item in waiting:
        arrived, chosen_by = item.arrived, ""
        version, canary = stored.versions[arrived.workload], stored.canaries.get(arrived.workload)
        if canary is not None:
            version, chosen_by = canary.choose(version, entity=arrived.entity, key=arrived.key)
        try:
            route = decide_now(arrived, version, splits)
            if chosen_by:
                route = route._replace(explanation=f"{route.explanation}; {chosen_by}")
            if guards.room is not None and route.lane is Lane.REALTIME:
                guards.room.add(version)
            decided.append((item, version, route))
        except LookupError as error:
            problems.add(
                f'items of workload "{version.workload}" wait, because they cannot be priced: {error}'
            )
    return decided, problems


def _pick_longest_readers(stored: InForce) -> dict[str, Version]:
    """Return for each workload the version that reads more of an item's history: the one in force or the candidate."""
    return stored.versions | {
        name: max(stored.versions[name], each.candidate, key=lambda of: of.spec.context.depth)
        for name, each in stored.canaries.items()
        if name in stored.versions
    }


def _tell(problems: list[str]) -> None:
    """Log each problem once while it lasts."""
    for problem in problems:
        if problem not in _told:
            get_run_logger().error("%s", problem)
    _told.intersection_update(problems)
    _told.update(problems)


LOOK_EVERY = timedelta(seconds=5)


def may_choose_realtime(version: Version, splits: Splits) -> bool:
    """Return whether the value or the split can send an item that may wait to real time."""
    return bool(version.spec.value_usd) or splits.reach_realtime(version.workload)


LOOK_EVERY_S = 0.5  # interval of the role checks; two routers at once still route each item once


class Router:
    """The routing part of a drain: routes items while it holds the role, and wakes the loop; `busy` reports running calls."""

    def __init__(
        self,
        db: Database,
        role: RoleLock,
        wakes: Wakes,
        *,
        busy: Callable[[], bool],
        rooms: Rooms | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._db, self._role, self._wakes, self._busy = db, role, wakes, busy
        self._look_every_s, self._look_at = look_every_s, float("-inf")
        self._heads, self._rooms, self._portions = QueueCursor[RoutedUpTo](), rooms, Portions()
        self._reading: asyncio.Task[None] | None = None

    @property
    def holds(self) -> bool:
        """Whether this process held the role at the last check."""
        return self._role.held

    @property
    def reads(self) -> bool:
        """Whether the event stream is being read."""
        return self._reading is not None and not self._reading.done()

    def rest_s(self) -> float:
        """Return the seconds until all received items are checked again; 0 if the next look checks them."""
        return self._heads.rest_s(time.monotonic())

    async def turn(self) -> None:
        """Route received items that no transaction holds, with a pause between the portions of a backlog.

        A drain that does not route looks for work after the router, so it finds the work that the router left.
        """
        if not await self._is_ours():
            await self.close()  # this process may have held the role until it lost the connection
            return
        if not self.reads:
            self._reading = asyncio.create_task(
                ArrivalReader(self._db, self._wakes.record_arrival).run()
            )
            self._wakes.record_router_role()
        try:
            await self._route()
        finally:
            self._wakes.record_end_of_routing()

    async def _route(self) -> None:
        portions, heads = self._portions, self._heads
        portions.begin()
        while await self._is_ours():
            began = time.monotonic()
            bounds = portions.bounds(began)
            routed = await route_portion(self._db, bounds, heads=heads, rooms=self._rooms)
            ended = time.monotonic()
            if routed.items:
                self._wakes.record_ready_work()
            elif not bounds.resting:
                return
            since = heads.look(ended).since
            waiting = await self._db.look(unrouted.find_received, since=since)
            if routed.items:
                took_s, busy = ended - began, self._busy()
                portions.record_portion(routed, took_s, waiting=waiting, busy=busy, at=ended)
            if not waiting:
                return
            rest_s = portions.rest_s(time.monotonic())
            came = await take_signal(self._wakes.routing, within_s=rest_s)
            if came and routed.items > FEW:  # so that small new arrivals do not hold up a backlog
                portions.begin()

    async def close(self) -> None:
        """Stop reading the event stream."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

    async def _is_ours(self) -> bool:
        """Return whether we hold the role; now and then, take it if it is free, or release it to a newer drain that waits."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self._look_every_s
            if await self._role.try_take() and await self._role.is_wanted_by_another():
                await self._role.release()
        return self._role.held
