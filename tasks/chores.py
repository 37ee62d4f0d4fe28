"""What a drain does beside its loop: routing, housekeeping, events out. Neither a backlog nor Prefect delays an answer."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from prefect.logging import get_run_logger

from lanes.realtime.drains import needs_more
from lanes.store.database import Database
from lanes.store.realtime import load
from lanes.store.realtime.load import call_for_drain
from lanes.store.signals import Role, holders
from lanes.words import Lane
from tasks.account_drain import FIRST_ANSWERS_S, AccountDrain
from tasks.background import BackgroundTasks, Wakes
from tasks.making_known import VersionsToPrefect
from tasks.outgoing import Publisher
from tasks.publish import publish
from tasks.router import Router
from tasks.saving import end_lost_claims
from tasks.standing import Guard
from tasks.staying import DrainLimit

ROUTE_EVERY_S = 1.0  # longest sleep: a lost notification costs no more than this
CHORES_EVERY_S = 5.0

SUMMARY_EVERY_S = 60.0
PREFECT_S = 10.0  # what a chore may wait for Prefect


class Chores:
    """They have begun; each goes on alone until they are closed."""

    def __init__(
        self,
        db: Database,
        router: Router,
        accounts: Sequence[AccountDrain],
        wakes: Wakes,
        limit: DrainLimit,
    ) -> None:
        self._db, self._router, self._accounts, self._wakes = db, router, accounts, wakes
        self._limit = limit
        self._guard, self._publisher = Guard(db), Publisher(db, wake=wakes.telling)
        self._told, self._said = VersionsToPrefect(), set[str]()
        self._summed_up = 0
        self._beside = BackgroundTasks()
        keep, late = self._beside.keep, FIRST_ANSWERS_S
        keep("routing", self._route, every_s=0)
        keep("standing roles", self._guard.run, after_s=late)
        keep("events out", self._publisher.run)
        keep("lost claims", self._rescue, every_s=CHORES_EVERY_S)
        keep("workload blocks", self._publish_blocks, every_s=CHORES_EVERY_S, after_s=late)
        keep("more drains", self._call_for_more, every_s=CHORES_EVERY_S, after_s=late)
        keep("summary", self._sum_up, every_s=SUMMARY_EVERY_S)

    async def close(self) -> None:
        """End all chores and stop reading the event stream."""
        await self._beside.close()
        await self._router.close()
        await self._guard.close()

    async def tell_the_rest(self) -> None:
        """Publish the last events if that can be done at once."""
        await self._publisher.try_once()

    async def _route(self) -> None:
        """As the router, route what was received whenever something may have been committed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(ROUTE_EVERY_S, self._router.rest_s() or ROUTE_EVERY_S)):
                await self._wakes.routing.wait()
        self._wakes.routing.clear()
        await self._router.turn()

    async def _rescue(self) -> None:
        await end_lost_claims(self._db, await self._db.now())
        self._wakes.work_is_ready()

    async def _publish_blocks(self) -> None:
        """As the router, publish changed workload blocks as versions and tell Prefect."""
        if not self._router.holds:
            return
        async with asyncio.timeout(PREFECT_S):
            published = await publish(self._db, self._told)
        for problem in [*map(str, published.problems), *filter(None, [published.untold])]:
            if problem not in self._said:
                self._said.add(problem)
                get_run_logger().error("%s", problem)

    async def _call_for_more(self) -> None:
        """Call for another drain if work waits too long although the provider accepts calls."""
        now = await self._db.now()
        held_back = all(each.state.held_back(now) for each in self._accounts)
        if not self._router.holds or held_back:
            return
        waits = await self._db.look(load.backlog, Lane.REALTIME, now=now)
        drains = await self._db.look(holders, Role.DRAIN)
        if needs_more(waits.ready_since, now, drains=drains, most=self._limit.most):
            await self._db.run(call_for_drain, ready=waits.ready, now=now)

    async def _sum_up(self) -> None:
        """Log once a minute what was done, if anything was."""
        answered = sum(each.state.answered for each in self._accounts)
        if (done := answered - self._summed_up) > 0:
            get_run_logger().info("%d items since the last summary, %d in all", done, answered)
        self._summed_up = answered
        for each in self._accounts:
            each.performer.failures.sum_up()
