"""What a drain knows of the provider's limits is shared with the others, and what calls take is learned, beside its loop."""

from datetime import datetime

from prefect.logging import get_run_logger

from lanes.money.pack_size import PackSizes
from lanes.realtime.call_limits import CallLimits
from lanes.realtime.pace import Pace
from lanes.routing.capacity import learn
from lanes.store.database import Run
from lanes.store.money import sharing
from lanes.store.realtime import limits
from lanes.store.signals import Role, holders
from tasks.connections import Connections

SHARE_EVERY_S = 1.0
SIZES_EVERY_S = 15.0
LEARN_EVERY_S = 60.0
COUNT_DRAINS_EVERY = 5  # times that limits are shared: each drain takes its part of what is left


class Limits:
    """Those of one drain. Nothing of it delays an answer: a drain that cannot share them goes on with what it saw itself."""

    def __init__(
        self, at: Connections, of_calls: CallLimits, pace: Pace, sizes: PackSizes | None = None
    ) -> None:
        self._at, self._of_calls, self._pace, self._sizes = at, of_calls, pace, sizes or PackSizes()
        self._told: dict[str, datetime] = {}  # when what was told last of a model had been seen
        self._times = 0

    async def share(self) -> None:
        """Others know what this drain saw, and it knows what they did. What cannot be true of it stands in the log."""
        for note in self._of_calls.rates.take_notes():
            get_run_logger().warning("limits of the provider: %s", note)
        seen = {
            model: of
            for model, of in self._of_calls.seen().items()
            if self._is_news(model, of[0].seen_at)
        }
        async with self._at.db.statements() as run:
            newest = await run(limits.exchange, self._at.provider.account, seen, now=run.now)
            await self._count_drains(run)
        for model, of in newest.items():
            self._told[model] = of[0].seen_at
            self._of_calls.rates.shared(model, of)
        if newest:
            self._pace.limits_are_told()

    async def learn(self) -> None:
        """What the calls of the workloads that it asks took of late is known."""
        now, found = await self._at.db.now(), {}
        for version in self._of_calls.needs.met:
            seen = await self._at.db.look(limits.tries, version.workload, now=now)
            found[version.workload] = learn(version.spec, seen)
        self._of_calls.needs.learn(found)

    async def learn_sizes(self) -> None:
        """How many items share a call is known as it was decided last."""
        self._sizes.learn(await self._at.db.look(sharing.in_force))

    def _is_news(self, model: str, seen_at: datetime) -> bool:
        return model not in self._told or seen_at > self._told[model]

    async def _count_drains(self, run: Run) -> None:
        if self._times % COUNT_DRAINS_EVERY == 0:
            self._of_calls.rates.drains = max(1, await run(holders, Role.DRAIN))
        self._times += 1
