"""The state that drains share through the database in the background: limits, circuits, and estimates of calls.

A drain that cannot read or write this state continues with its own observations.
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
from tasks.saving import is_transient

COUNT_DRAINS_EVERY = 5  # rounds of sharing limits; each drain uses its part of the remaining limits


class LimitSharing:
    """The exchange of the provider's limits with the other drains of an account."""

    def __init__(self, at: Connections, state: DrainState) -> None:
        self._at, self._state = at, state
        # for each model, when the newest published limits were seen
        self._told: dict[str, datetime] = {}
        self._rounds = 0

    async def exchange(self) -> events.Event:
        """Publish why calls wait and the limits that this drain saw, and return the newest limits of all drains.

        Log contradictions in the limits that the provider reported.
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
            # each waiting consumer has at least one waiting call
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
    """Return estimates of what calls need, from recent calls of the workloads that this drain serves."""
    now, estimates = await at.db.now(), {}
    for version in state.rates.needs.versions:
        tries = await at.db.look(load.list_tries, version.workload, now=now)
        estimates[version.workload] = learn(version.spec, tries)
    return events.EstimatesLearned(predictions=estimates)


async def learn_sizes(at: Connections) -> events.Event:
    """Return the pack sizes in force."""
    return events.EstimatesLearned(sizes=await at.db.look(sharing.read_pack_sizes))


async def hear_circuits(at: Connections) -> events.Event:
    """Return the state of all circuits of the account."""
    return events.CircuitsHeard(await at.db.look(circuits.open_circuits, at.provider.account))


async def take_probes(run: Run, request: events.TakeProbes, now: datetime) -> list[events.Event]:
    """Take each probe unless another drain was quicker. Raises transient errors; others are reported as `CircuitsLost`."""
    probes: dict[str, Circuit | None] = {}
    try:
        for model, circuit in request.circuits.items():
            probes[model] = await run(circuits.take_probe, circuit, now=now)
    except DBAPIError as error:
        return [_report_loss(error), events.ProbesTaken(probes)]
    return [events.ProbesTaken(probes)]


async def publish_circuit(
    at: Connections, state: DrainState, news: events.CircuitNews
) -> list[events.Event]:
    """Publish what calls revealed about a model's circuit. Raises transient errors; others are reported as `CircuitsLost`."""
    account, model = at.provider.account, news.model
    moves: list[events.Event] = []
    try:
        if (began_at := news.answered_began_at) is not None:
            circuit = await at.db.run(circuits.record_answer, account, model, began_at=began_at)
            moves.append(events.CircuitMoved(model, circuit))
        if (fault := news.fault) is not None:
            now, fault = await at.db.now(), replace(fault, host=node())
            if state.is_news(model, fault, now):
                circuit = await at.db.run(
                    outages.record_fault, account, model, fault, flow_run_id=at.flow_run_id, now=now
                )
                moves.append(events.CircuitMoved(model, circuit))
        if (turn := news.free_turn) is not None:
            now = await at.db.now()
            circuit = await at.db.run(
                circuits.give_back_probe, account, model, turn=turn, asked=news.was_asked, now=now
            )
            moves.append(events.CircuitMoved(model, circuit))
    except DBAPIError as error:
        return [*moves, _report_loss(error)]
    return moves


def _report_loss(error: DBAPIError) -> events.Event:
    """Log that circuits cannot be shared; re-raise a transient error, so that the caller retries."""
    if is_transient(error):
        raise error
    message = "circuits cannot be shared: %s; this drain uses its own"
    get_run_logger().warning(message, type(error.orig).__name__)
    return events.CircuitsLost()


class CacheMarks:
    """The decision which calls of a drain mark their shared prefix for the provider's cache; before the first look, none."""

    def __init__(self, db: Database, state: DrainState, *, trial_s: float) -> None:
        self._db, self._state, self._marking = db, state, Marking(trial_s)

    def marks(self, version: Version) -> bool:
        """Return whether the next call of the version marks its shared prefix."""
        return self._marking.marks(version.id, at=time.monotonic())

    async def look(self) -> None:
        """Adopt the newest caching decision of each version, and log changes."""
        decisions: dict[VersionId, Marks] = {}
        for version in self._state.rates.needs.versions:
            async with self._db.transaction() as run:
                try:
                    decided = await run(caching.weigh, version, Lane.REALTIME, now=run.now)
                except LookupError:  # no known price: caching is not known to pay off
                    continue
            decisions[version.id] = decided.marks
            if decided.marks is not self._marking.of(version.id):
                description = decided.describe(Lane.REALTIME)
                get_run_logger().info(
                    "%s: cache %s: %s", version.workload, description, decided.why
                )
        self._marking.learn(decisions)
