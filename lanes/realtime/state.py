"""The state machine of a drain: `on` accepts an event and the time, and returns effects. It does no I/O.

    Tick -> LookAtQueue -> QueueSeen [-> TakeProbes -> ProbesTaken] -> ClaimWork -> WorkClaimed
    Tick, WorkClaimed, PackEnded -> AskPack -> HeadersHeard, CallEnded (one for each call), PackEnded
    CallEnded -> Save or GiveBack -> AttemptsSaved, ClaimsReturned
    Stop -> GiveBack

Only this state knows the drain's claims: from `WorkClaimed` until `AttemptsSaved` or `ClaimsReturned`.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from lanes.ids import WorkId
from lanes.money.pack_size import PackSizes
from lanes.packing import AFTER_LIVE_WORK, Claim, ClaimedWork
from lanes.realtime import events
from lanes.realtime.buffer import ServiceTimes
from lanes.realtime.circuit import Circuit, Fault
from lanes.realtime.health import ACCOUNT, Health, Standstills
from lanes.realtime.limiter import Pack
from lanes.realtime.pace import UNTOLD, Backpressure, Places
from lanes.realtime.scheduler import Scheduler
from lanes.realtime.token_buckets import RateLimits
from lanes.realtime.turns import ConsumerLists, ConsumerTurns, QueueCursor, QueueLook, TurnOrder

TICK = timedelta(seconds=1)  # the longest sleep: a lost notification costs no more than this
SHADOW_REST = timedelta(seconds=30)  # delay of a shadow that is given up for owed work
# Between two reads that include replays and shadows, so that their claims delay little live work.
ASIDE_EVERY = timedelta(seconds=0.5)
UNREADABLE_REST = timedelta(minutes=1)  # delay of work whose version cannot be read
# Between two checks of a used-up budget: it may be raised, or a new period may begin.
USED_UP = timedelta(seconds=2)
SEEK_EVERY = timedelta(seconds=0.5)  # interval of reads of work for the models of open circuits


class DrainState:
    """The knowledge and the claims of one drain. `most_calls` is the configured bound on its calls in flight, 0 for none."""

    def __init__(
        self,
        now: datetime,
        *,
        most_calls: int = 0,
        sizes: PackSizes | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.places = Places(most_calls or UNTOLD, bounded=most_calls > 0)
        self.backpressure, self.health = Backpressure(self.places), Health(jitter=jitter)
        self.rates, self.sizes = RateLimits(), sizes or PackSizes()
        self.times, self.standstills = ServiceTimes(), Standstills()
        self.scheduler = Scheduler(
            self.places,
            self.backpressure,
            self.health,
            self.rates,
            sizes=self.sizes,
            times=self.times,
        )
        self.claims: dict[WorkId, Claim] = {}
        self.answered = 0  # number of saved attempts that count as answered
        self.idle_since = now  # time of the last work
        self._stopped = False
        self.cursor, self.turns = QueueCursor[datetime](), ConsumerTurns()
        self._consumers = ConsumerLists()
        self._listed: set[str] = set()  # workloads whose consumers the current read lists
        self._orders: dict[str, TurnOrder] = {}  # of the current read
        self._look: QueueLook[datetime] | None = None  # the current read, None between reads
        self._seen = events.QueueSeen({}, {})
        self._wanted: dict[str, int] = {}
        self._aside_at, self._aside_waits, self._looks_aside = now, False, False
        self._probing: dict[str, Circuit] = {}
        self._claimed_at = datetime.min.replace(tzinfo=UTC)
        self._news = True  # work may be ready that no read has seen
        self._left = False  # the last read may have left work unclaimed
        self._changed = False  # left work may have become claimable since the last read
        # Work for the models of open circuits, from the last read.
        self._needed: Sequence[events.Needed] = []
        self._sought_at = datetime.min.replace(tzinfo=UTC)

    def on(self, event: events.Event, now: datetime) -> list[events.Effect]:
        """Apply an event and return the effects for the shell."""
        match event:
            case events.Tick():
                return self._tick(event, now)
            case events.WorkMayBeReady():
                self._news = True
            case events.QueueSeen():
                return self._handle_queue_seen(event, now)
            case events.ProbesTaken():
                return self._handle_probes_taken(event, now)
            case events.WorkClaimed():
                return self._handle_work_claimed(event, now)
            case events.LookFailed():
                self._look, self._left = None, True
                return self._give_back(event.claimed, now)
            case events.HeadersHeard():
                self.rates.learn_headers(event.pack, event.headers, now)
            case events.CallEnded():
                return self._handle_call_ended(event, now)
            case events.PackEnded():
                self.scheduler.ended(event.pack, event.used, now)
                self._changed = True
                not_asked = [each.claim for each in event.not_asked]
                return [*self._give_back(not_asked, now), *self._start(now)]
            case events.AttemptsSaved():
                self._handle_attempts_saved(event, now)
            case events.ClaimsReturned():
                self._release(event.claims)
                self._news = self._news or event.again
            case events.LimitsHeard():
                self._handle_limits_heard(event)
            case events.EstimatesLearned():
                if event.predictions is not None:
                    self.rates.needs.learn(event.predictions)
                if event.sizes is not None:
                    self.sizes.learn(event.sizes)
            case events.CircuitsHeard():
                return self._handle_circuits_heard(event, now)
            case events.CircuitMoved():
                self.health.circuits.record_change(event.model, event.circuit, now)
            case events.CircuitsLost():
                self.health.circuits.forget()
            case events.Stop():
                self._stopped = True
                unasked = [each.claim for each in self.scheduler.give_up_all()]
                return [*self._give_back(unasked, now), *self._free_probes(None)]
        return []

    def is_held_back(self, now: datetime) -> bool:
        """Return whether the provider limits this drain's calls: another drain would not help."""
        return self.scheduler.is_held_back(now)

    def is_news(self, model: str, fault: Fault, now: datetime) -> bool:
        """Return whether other drains do not know about the fault yet, and the model has not answered since."""
        return self.health.of(model).faults > 0 and self.health.circuits.is_news(model, fault, now)

    # Claiming

    def _tick(self, tick: events.Tick, now: datetime) -> list[events.Effect]:
        if self._stopped:
            return []
        self._news = self._news or tick.expired
        shadows = [each.claim for each in self.scheduler.give_up_shadows()]
        effects = [
            *self._give_back(shadows, now + SHADOW_REST),
            *self._look_at_queue(now),
            *self._start(now),
        ]
        wakes = (
            now + TICK,
            self.scheduler.next_moment(now),
            self._aside_at if self._aside_waits and self._aside_at > now else None,
            now + timedelta(seconds=self.cursor.rest_s(now.timestamp()) or 1),
        )
        return [*effects, events.Sleep(min(each for each in wakes if each is not None))]

    def _look_at_queue(self, now: datetime) -> list[events.Effect]:
        """Request a read of the queue, unless a read is under way, enough work is claimed ahead, or there can be no new work.

        Packs that cannot start soon are given up first.
        """
        if self._look is not None:
            return []
        if now - self._claimed_at < TICK and self.scheduler.is_supplied(now):
            return []
        stranded = [each.claim for each in self.scheduler.give_up_stranded(now)]
        effects = self._give_back(stranded, now)
        if not self._news and not (self._left and self._changed):
            return effects
        self._news = self._changed = False
        self._claimed_at, self._left = now, True
        self._look = self.cursor.look(now.timestamp())
        needed = set(self.health.circuits.open_models(now))
        if not needed:
            self._needed = []
        elif self._needed and now - self._sought_at < SEEK_EVERY:
            needed.clear()
        passed_over = self.scheduler.list_skipped_models(now)
        before, self._looks_aside = now + AFTER_LIVE_WORK / 2, now >= self._aside_at
        if self._looks_aside:
            self._aside_at, before = now + ASIDE_EVERY, None
        turns = self._consumers.select_due(self.turns.next_looks, now.timestamp())
        self._listed = set(turns)
        return [*effects, events.LookAtQueue(self._look.since, passed_over, needed, before, turns)]

    def _handle_queue_seen(self, event: events.QueueSeen, now: datetime) -> list[events.Effect]:
        self._seen, at = event, now.timestamp()
        listed = self._listed | event.consumers.keys()
        self._consumers.record(listed, event.consumers, took_s=event.listed_s, at=at)
        if event.needed is not None:
            self._needed, self._sought_at = event.needed, now
        if self.health.circuits.has_open(now):
            # Check each work's own version: the workload's version in force may use another model.
            versions = (*(each.version for each in self._needed), *self.scheduler.held_versions)
            askable = {
                each.spec.realtime_model
                for each in versions
                if self.scheduler.is_askable(each, now)
            }
            due = self.scheduler.due_probes(now)
            self._probing = {model: due[model] for model in due.keys() & askable}
            if self._probing:
                return [events.TakeProbes(self._probing)]
        return self._claim(now)

    def _handle_probes_taken(self, event: events.ProbesTaken, now: datetime) -> list[events.Effect]:
        for model, circuit in event.circuits.items():
            if circuit is None:
                self.health.circuits.record_missed_probe(model, self._probing[model], now)
            else:
                self.health.record_probe(model, circuit, now)
        return self._claim(now)

    def _claim(self, now: datetime) -> list[events.Effect]:
        probes: list[events.ClaimOrder] = []
        self._wanted = self.scheduler.plan_claims(self._seen.waiting, now, aside=self._looks_aside)
        self._orders = {}
        in_turns = self.turns.next_looks.keys() | self._seen.consumers.keys()
        for name in in_turns & self._wanted.keys() & self._seen.waiting.keys():
            spec = self._seen.waiting[name].spec
            waiting = self._consumers.read(name, now.timestamp())
            order = self.turns.order(name, spec, waiting, self._wanted[name])
            if order is not None:
                self._orders[name] = order
        unasked = self.scheduler.list_idle_probes(now) if self._needed else set[str]()
        for first in self._needed:
            name = first.version.workload
            if first.version.spec.realtime_model in unasked and (
                most := self.scheduler.plan_claims({name: first.version}, now)
            ):
                probes = [events.ClaimOrder(most, {name: first.rank_at}, [first.version.id])]
                self._needed = []  # this claim takes the probe's work, so the list is outdated
                break
        if not probes and not self._wanted:
            return self._handle_work_claimed(events.WorkClaimed([], {}), now)
        turns_since = self.turns.start_ranks(self._look) if self._look else {}
        rest = events.ClaimOrder(
            self._wanted, self._seen.since, turns=self._orders, turns_since=turns_since
        )
        return [events.ClaimWork(probes, rest)]

    def _handle_work_claimed(self, event: events.WorkClaimed, now: datetime) -> list[events.Effect]:
        look, self._look = self._look, None
        if look is None or self._stopped:
            return self._give_back([each.claim for each in event.claimed], now)
        self._move_cursor(look, event, now)
        self.scheduler.budget.mark_used_up(event.used_up, now + USED_UP)
        if self._looks_aside:
            self._aside_waits = any(each.measures for each in event.claimed)
        self.turns.record_claims(
            event.claimed[event.probes :], self._wanted, self._seen.waiting.keys()
        )
        taken = Counter(each.workload for each in event.claimed)
        all_taken = all(taken[name] < self._wanted.get(name, 0) for name in self._seen.waiting)
        self._left = bool(not all_taken or event.is_full or event.held_back or self._needed)
        if event.claimed or (self._left and self.health.circuits.has_open(now)):
            self.idle_since = now  # work that waits for a circuit keeps the drain busy too
        readable = [each for each in event.claimed if each.version_id in event.versions]
        unreadable = [e.claim for e in event.claimed if e.version_id not in event.versions]
        self.claims |= {each.claim.work_id: each.claim for each in event.claimed}
        if readable:
            self.scheduler.take_in(readable, event.versions, now)
        return [*self._give_back(unreadable, now + UNREADABLE_REST), *self._start(now)]

    def _move_cursor(
        self, look: QueueLook[datetime], event: events.WorkClaimed, now: datetime
    ) -> None:
        """Move the cursor to the last claimed rank of each workload.

        Shadows do not move the cursor, because they rank behind all future work. Neither does work of a workload whose budget
        holds some of it back. Work that was claimed in turns moves it to the earliest position of the consumers.
        """
        behind = [
            each
            for each in event.claimed[event.probes :]
            if not each.measures and each.workload not in event.held_back
        ]
        last = {each.workload: each.rank_at for each in behind if each.workload not in self._orders}
        last |= self.turns.take(behind)
        if not look.whole:  # urgent work from before the cursor must not move it back
            last = {name: max(rank, look.since.get(name, rank)) for name, rank in last.items()}
        self.cursor.record_look(look, last, took_s=self._seen.took_s, at=now.timestamp())

    # Calls

    def _start(self, now: datetime) -> list[events.Effect]:
        """Request the calls of the packs that may start now."""
        return [] if self._stopped else [self._ask(pack) for pack in self.scheduler.start(now)]

    def _ask(self, pack: Pack) -> events.AskPack:
        failures = max(each.failures for each in pack.items)
        return events.AskPack(pack, self.health.patience(pack.model, failures))

    def _handle_call_ended(self, call: events.CallEnded, now: datetime) -> list[events.Effect]:
        model = call.pack.model
        if call.ending is events.CallEnding.ANSWERED:
            self.health.record_answer(model, most=self.places.most, quick=call.is_quick, now=now)
            self.standstills.record_answer(model, now)
            self.backpressure.record_answer(model)
            self.places.record_answer(call.seconds)
            self.times.record_answer(call.pack.version.id, len(call.items), call.seconds)
            if self.health.circuits.record_answer(model, call.began_at):
                return [
                    events.Save(call),
                    events.CircuitNews(model, answered_began_at=call.began_at),
                ]
            return [events.Save(call)]
        turn = self.health.circuits.turn_of(model, _list_work(call.items))
        if turn is not None:
            self.health.circuits.let_go(model)
        if call.ending is events.CallEnding.FAULTED:
            return self._handle_fault(call, turn, now)
        freed = [] if turn is None else [events.CircuitNews(model, free_turn=turn)]
        if call.ending is events.CallEnding.REFUSED:
            return [events.Save(call), *freed]
        return [*self._hold_back(call, now), *freed]

    def _hold_back(self, call: events.CallEnded, now: datetime) -> list[events.Effect]:
        """Release the items of a call that the provider limited, or refuses until a person acts: no item is at fault."""
        version, model = call.pack.version, call.pack.model
        all_items = [*call.items, *call.untried]
        reports: list[events.Effect] = []
        if call.ending is events.CallEnding.LIMITED:
            self.backpressure.slow_down(model, retry_after_s=call.retry_after_s, now=now)
        else:
            frozen_model = model if call.ending is events.CallEnding.FROZEN_MODEL else None
            self.backpressure.freeze(now, model=frozen_model)
            self.standstills.record_failure(frozen_model or ACCOUNT, call.why, now=now)
            reports.append(
                events.ReportFreeze(version.workload, frozen_model, len(all_items), call.why)
            )
        ready_at = self.backpressure.compute_rest_end(version, now)
        return [events.GiveBack([each.claim for each in all_items], ready_at, again=True), *reports]

    def _handle_fault(
        self, call: events.CallEnded, turn: int | None, now: datetime
    ) -> list[events.Effect]:
        model, most = call.pack.model, call.pack.version.spec.max_failures
        blame = self.health.record_fault(
            model,
            _list_work(call.items),
            innocent=call.innocent,
            last_chance=any(each.failures + 1 >= most for each in call.items),
            cut=call.cut,
            began_at=call.began_at,
            now=now,
        )
        effects: list[events.Effect] = [events.Save(call, blame)]
        if call.untried:
            effects.append(events.GiveBack([each.claim for each in call.untried], now, again=True))
        fault = self.health.fault(model, call.why, began_at=call.began_at, turn=turn)
        if fault is not None:
            self.standstills.record_failure(model, fault.why, calls=fault.faults, now=now)
            effects.append(events.CircuitNews(model, fault=fault))
        return effects

    # Claims

    def _handle_attempts_saved(self, event: events.AttemptsSaved, now: datetime) -> None:
        self._release(event.claims)
        self.answered += event.count
        for workload in event.refused:
            self.backpressure.freeze_workload(workload, now)
        self._changed = True
        self._news = self._news or event.again

    def _release(self, claims: Iterable[Claim]) -> None:
        """Remove the claims; a newer claim of the same work stays."""
        for claim in claims:
            if self.claims.get(claim.work_id) == claim:
                del self.claims[claim.work_id]

    def _give_back(self, claims: Sequence[Claim], ready_at: datetime) -> list[events.Effect]:
        return [events.GiveBack(claims, ready_at)] if claims else []

    # Knowledge from other drains

    def _handle_limits_heard(self, event: events.LimitsHeard) -> None:
        for model, limits in event.limits.items():
            self.rates.buckets.learn_shared(model, limits)
        if event.limits:
            self.places.raise_bound()
        if event.drains is not None:
            self.rates.buckets.drains = max(1, event.drains)

    def _handle_circuits_heard(
        self, event: events.CircuitsHeard, now: datetime
    ) -> list[events.Effect]:
        for model in self.health.circuits.learn_shared(event.circuits, now):
            self.health.restart(model)
            self.standstills.close(model)
            self._news = True
        return self._free_probes(now)

    def _free_probes(self, now: datetime | None) -> list[events.Effect]:
        """Free the unused probes without work: those older than a second, or all if the drain ends (`now` is None)."""
        kept = self.scheduler.held_models if now is not None else set[str]()
        freed: list[events.Effect] = []
        for model, turn in self.health.circuits.list_unused_probes(now).items():
            if model not in kept:
                self.health.circuits.let_go(model)
                freed.append(events.CircuitNews(model, free_turn=turn, was_asked=False))
        return freed


def _list_work(items: Iterable[ClaimedWork]) -> list[WorkId]:
    return [each.claim.work_id for each in items]
