"""The state that drains share through the database, beside their loop: limits, circuits, and what calls take.

A drain that cannot read or write them goes on with what it sees itself.
"""

import time
from dataclasses import replace
from datetime import datetime
from platform import node

from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError

from lanes.ids import VersionId
from lanes.money.caching import Marking, Marks
from lanes.realtime import events
from lanes.realtime.circuit import Circuit
from lanes.realtime.limiter import WaitReason
from lanes.realtime.state import DrainState
from lanes.routing.capacity import learn
from lanes.store.database import Database, Run
from lanes.store.money import caching, sharing
from lanes.store.realtime import call_waits, circuits, load, outages
from lanes.store.signals import Role, holders
from lanes.words import Lane
from lanes.workload.version import Version
from tasks.connections import Connections
from tasks.saving import passes

COUNT_DRAINS_EVERY = 5  # rounds of sharing limits: each drain takes its part of what is left


class LimitSharing:
    """Exchange the provider's limits with the other drains of an account."""

    def __init__(self, at: Connections, state: DrainState) -> None:
        self._at, self._state = at, state
        # when the limits told last of each model had been seen
        self._told: dict[str, datetime] = {}
        self._rounds = 0

    async def exchange(self) -> events.Event:
        """Publish why calls wait and the limits that this drain saw, and return the newest limits of all drains.

        Log what cannot be true of the limits.
        """
        buckets = self._state.rates.buckets
        for note in buckets.take_notes():
            get_run_logger().warning("limits of the provider: %s", note)
        news = {
            model: of
            for model, of in buckets.list_limits().items()
            if model not in self._told or of[0].seen_at > self._told[model]
        }
        drains = None
        async with self._at.db.statements() as run:
            waits = self._state.scheduler.reasons(run.now)
            # of each consumer at least one call waits
            for name, consumers in self._state.turns.waiting.items():
                waits[name, WaitReason.TURN] = consumers
            if waits:
                await run(call_waits.report, waits, now=run.now)
            newest = await run(load.exchange_limits, self._at.provider.account, news, now=run.now)
            if self._rounds % COUNT_DRAINS_EVERY == 0:
                drains = await run(holders, Role.DRAIN)
        self._rounds += 1
        self._told |= {model: of[0].seen_at for model, of in newest.items()}
        return events.LimitsHeard(newest, drains)


async def learn_needs(at: Connections, state: DrainState) -> events.Event:
    """Learn what calls took recently, for the workloads that this drain asks."""
    now, found = await at.db.now(), {}
    for version in state.rates.needs.versions:
        seen = await at.db.look(load.list_tries, version.workload, now=now)
        found[version.workload] = learn(version.spec, seen)
    return events.EstimatesLearned(predictions=found)


async def learn_sizes(at: Connections) -> events.Event:
    """Learn the pack sizes that were decided last."""
    return events.EstimatesLearned(sizes=await at.db.look(sharing.in_force))


async def hear_circuits(at: Connections) -> events.Event:
    """Read how all circuits of the account stand."""
    return events.CircuitsHeard(await at.db.look(circuits.open_circuits, at.provider.account))


async def take_probes(run: Run, wanted: events.TakeProbes, now: datetime) -> list[events.Event]:
    """Take the probes, each unless another drain was quicker. Raises what passes; otherwise circuits are lost."""
    taken: dict[str, Circuit | None] = {}
    try:
        for model, circuit in wanted.circuits.items():
            taken[model] = await run(circuits.take_probe, circuit, now=now)
    except DBAPIError as error:
        return [_report_loss(error), events.ProbesTaken(taken)]
    return [events.ProbesTaken(taken)]


async def publish_circuit(
    at: Connections, state: DrainState, news: events.CircuitNews
) -> list[events.Event]:
    """Tell all drains what calls of a model mean for its circuit. Raises what passes; otherwise circuits are lost."""
    account, model = at.provider.account, news.model
    heard: list[events.Event] = []
    try:
        if (began_at := news.answered_began_at) is not None:
            circuit = await at.db.run(circuits.record_answer, account, model, began_at=began_at)
            heard.append(events.CircuitMoved(model, circuit))
        if (fault := news.fault) is not None:
            now, fault = await at.db.now(), replace(fault, host=node())
            if state.is_news(model, fault, now):
                circuit = await at.db.run(
                    outages.record_fault, account, model, fault, flow_run_id=at.flow_run_id, now=now
                )
                heard.append(events.CircuitMoved(model, circuit))
        if (turn := news.free_turn) is not None:
            now = await at.db.now()
            circuit = await at.db.run(
                circuits.give_back_probe, account, model, turn=turn, asked=news.was_asked, now=now
            )
            heard.append(events.CircuitMoved(model, circuit))
    except DBAPIError as error:
        return [*heard, _report_loss(error)]
    return heard


def _report_loss(error: DBAPIError) -> events.Event:
    """Log that circuits cannot be shared. Raises an error that passes, so that it is tried again."""
    if passes(error):
        raise error
    said = "circuits cannot be shared: %s; this drain uses its own"
    get_run_logger().warning(said, type(error.orig).__name__)
    return events.CircuitsLost()


class CacheMarks:
    """Whether a drain's calls mark what they share for the provider's cache. Nothing is marked before the first look."""

    def __init__(self, db: Database, state: DrainState, *, trial_s: float) -> None:
        self._db, self._state, self._marking = db, state, Marking(trial_s)

    def marks(self, version: Version) -> bool:
        """Return whether the next call of the version marks what it shares."""
        return self._marking.marks(version.id, at=time.monotonic())

    async def look(self) -> None:
        """Mark prefixes as the newest decision of any drain says, and log what changes."""
        found: dict[VersionId, Marks] = {}
        for version in self._state.rates.needs.versions:
            async with self._db.transaction() as run:
                try:
                    decided = await run(caching.weigh, version, Lane.REALTIME, now=run.now)
                except LookupError:  # its model has no known price: nothing says that it pays
                    continue
            found[version.id] = decided.marks
            if decided.marks is not self._marking.of(version.id):
                said = decided.describe(Lane.REALTIME)
                get_run_logger().info("%s: cache %s: %s", version.workload, said, decided.why)
        self._marking.learn(found)
