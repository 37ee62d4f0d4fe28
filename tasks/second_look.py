"""The second look: every few seconds, `collect` reconsiders routes with one snapshot of the real-time lane.

The real-time lane takes over late items of batches, at the latest time at which it can still answer them. Work that it cannot
serve now and that may wait moves to the batch lane.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from prefect.logging import get_run_logger

from lanes.promises.deadlines import AtRisk, risks
from lanes.routing.load import Load, ModelRest
from lanes.routing.second_look import BOUND_AHEAD, LOOKS_EVERY, compute_horizon, rescue, weigh
from lanes.routing.shedding import QueueAhead, Shedding
from lanes.store.database import Database
from lanes.store.money import budgets
from lanes.store.promises import recording
from lanes.store.realtime import circuits, load
from lanes.store.routing import second_look, turnarounds
from lanes.store.routing.second_look import END
from lanes.store.workload import workloads
from lanes.store.workload.accounts import LaneAccount
from lanes.units import pluralize
from lanes.workload.version import Version
from tasks.background import BackgroundTasks, closing
from tasks.connections import Connections

MOST_CHUNKS = 40  # of one look, each a transaction; the next look continues there
Look = Callable[[Mapping[LaneAccount, Load]], Awaitable[object]]  # the load by account


@asynccontextmanager
async def looking_again(at: Connections) -> AsyncIterator[None]:
    """Repeat the second look in the background until the end of the block."""
    looks: list[Look] = [partial(rescue_late, at.db), Shedders(at.db).look]
    look = partial(look_again, at, looks)
    async with closing(BackgroundTasks()) as background:
        background.keep("the second look", look, every_s=LOOKS_EVERY.total_seconds())
        yield


async def look_again(at: Connections, looks: Sequence[Look]) -> None:
    """Run each look with the current load of the real-time lane, by account.

    Raises:
        ExceptionGroup: some looks failed; the others were completed.
    """
    accounts, now = await at.each_account(), await at.db.now()
    loads = {
        each.lane_account: await at.db.look(load.snapshot, each.lane_account, now=now)
        for each in accounts
    }
    errors: list[Exception] = []
    for each in looks:
        try:
            await each(loads)
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup("; ".join(f"{type(each).__name__}: {each}" for each in errors), errors)


async def rescue_late(db: Database, lanes: Mapping[LaneAccount, Load]) -> int:
    """Move due items that must start now to real time, for each account by its load; return their number.

    Chunks are committed one by one, so that drains start on the first at once. Items at risk are recorded for an incident.
    """
    now = max(lane.at for lane in lanes.values())
    async with db.transaction() as run:
        versions = await run(workloads.read_versions)
        furthest = _compute_horizon(
            lanes, versions, dict.fromkeys(versions, second_look.PASSED_OVER)
        )
        numbers = await run(second_look.due_numbers, until=furthest, now=now)
        due = await run(
            second_look.due_items, until=_compute_horizon(lanes, versions, numbers), now=now
        )
        bound = await run(second_look.due_bound_items, until=now + BOUND_AHEAD, now=now)
        if not due and not bound:
            await run(recording.record_at_risk, [], now=now)
            return 0
        prospects = await run(turnarounds.prospects, now=now)
    doubtful, rescued_count, at_risk = weigh([*due, *bound], prospects, now=now), 0, list[AtRisk]()
    for lane in lanes.values():
        of_lane = [each for each in doubtful if lane.answers(each.of.version.workload)]
        decision = rescue(of_lane, lane, now=now)
        at_risk += risks(decision.at_risk, lane)
        for first in range(0, len(decision.taken), second_look.CHUNK):
            chunk = decision.taken[first : first + second_look.CHUNK]
            async with db.transaction() as run:
                rescued_count += await run(second_look.rescue, chunk, now=run.now)
    await db.run(recording.record_at_risk, at_risk, now=now)
    if rescued_count:
        message = "%s rescued: their batches are unlikely to be back in time"
        get_run_logger().info(message, pluralize(rescued_count, "item"))
    return rescued_count


def _compute_horizon(
    lanes: Mapping[LaneAccount, Load], known: Mapping[str, Version], due: Mapping[str, int]
) -> datetime:
    of_each = (
        (lane, [of for name, of in known.items() if lane.answers(name)]) for lane in lanes.values()
    )
    return max(compute_horizon(lane, versions, due) for lane, versions in of_each)


class Shedders:
    """The shedder of each account."""

    def __init__(self, db: Database) -> None:
        self._db, self._of = db, dict[LaneAccount, Shedder]()

    async def look(self, lanes: Mapping[LaneAccount, Load]) -> int:
        """Shed work from the next part of each account's queue; return the number of items."""
        left = 0
        for account, lane in lanes.items():
            shedder = self._of.setdefault(account, Shedder(self._db, account.name))
            left += await shedder.look(lane)
        return left


class Shedder:
    """The shedding of one account: moves work that real time cannot serve to the batch lane, from the end of the queue.

    In a long queue, the next look continues where the last one ended. Each collector has one shedder for each account.
    """

    def __init__(self, db: Database, account: str) -> None:
        self._db, self._account = db, account
        self._before = END
        self._line: QueueAhead | None = None  # the queue before that place

    async def look(self, lane: Load) -> int:
        """Shed work from the next part of the queue; return the number of items."""
        async with self._db.transaction() as run:
            of_all = await run(second_look.list_unpaused_versions)
            account_versions = {name: of for name, of in of_all.items() if lane.answers(name)}
            rests = [
                ModelRest(model, each.since, each.why)
                for (account, model), each in (
                    await run(circuits.list_not_closed, now=run.now)
                ).items()
                if account == self._account
            ]
            statuses = await run(budgets.statuses, account_versions, now=run.now)
            prospects = await run(turnarounds.prospects, now=run.now)
            shedding = Shedding(rests, statuses, lane, prospects, now=run.now)
        names = shedding.list_pressed(account_versions)
        if not names:
            self._before = END
            return 0
        if self._line is None or self._before == END:
            self._line = shedding.line(
                account_versions, await self._db.look(second_look.queue_lengths, names, now=run.now)
            )
        shed_count = 0
        for _ in range(MOST_CHUNKS):
            shed_count += await self._shed_chunk(shedding, self._line, names)
            if self._before == END:
                break
        if shed_count:
            get_run_logger().info("%s shed to batches", pluralize(shed_count, "item"))
        return shed_count

    async def _shed_chunk(self, shedding: Shedding, line: QueueAhead, names: Sequence[str]) -> int:
        async with self._db.transaction() as run:
            tail = await run(second_look.queue_tail, names, before=self._before, now=run.now)
            known_versions = await run(
                workloads.versions, {each.version_id for each in tail.waiting}
            )
            to_shed = shedding.choose(tail.waiting, known_versions, line)
            shed_count = await run(second_look.shed, to_shed, now=run.now) if to_shed else 0
        self._before = tail.before or END
        return shed_count
