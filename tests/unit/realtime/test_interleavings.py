"""Two drains, a provider and a model of the database in any order: one file because model and rules are read together.

No work is lost, answered twice or starved, no budget or limit is exceeded, and urgent work never waits behind other work.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anthropic_standin.errors import ApiError
from anthropic_standin.limits import AccountLimits, EndpointSettings
from lanes.ids import WorkId
from lanes.packing import Claim, ClaimedWork
from lanes.realtime.circuit import PROBE, Circuit, open_circuit
from lanes.realtime.events import (
    AskPack,
    AttemptsSaved,
    CallEnded,
    CallEnding,
    CircuitMoved,
    CircuitNews,
    CircuitsHeard,
    ClaimOrder,
    ClaimsReturned,
    ClaimWork,
    Effect,
    Event,
    GiveBack,
    HeadersHeard,
    LimitsHeard,
    LookAtQueue,
    Needed,
    PackEnded,
    ProbesTaken,
    QueueSeen,
    ReportFreeze,
    Save,
    Sleep,
    Stop,
    TakeProbes,
    Tick,
    WorkClaimed,
    WorkMayBeReady,
)
from lanes.realtime.health import Blame
from lanes.realtime.limiter import Pack
from lanes.realtime.pace import LEASE
from lanes.realtime.state import DrainState
from lanes.routing.capacity import Limit, Need
from lanes.words import Purpose
from lanes.workload.version import Version
from tests.conftest import NOON
from tests.examples import version

LETTERS = version(1, "letters", buffer_s=0, max_failures=3)
BILLS = version(2, "bills", buffer_s=2, realtime_pack=4, max_failures=3)
PAID = version(3, "paid", buffer_s=0, max_failures=3, realtime_model="claude-sonnet-5-5")
VERSIONS = {each.workload: each for each in (LETTERS, BILLS, PAID)}
HARD, BOUND = 3, 1  # the budget of `paid`, and the most that a call for one of its items may cost
PLACES = 3
A_MINUTE = 60  # requests per minute of each model
drains = st.integers(0, 1)
picks = st.integers(0, 50)


@dataclass
class Row:
    """A work row with the relevant fields of its item."""

    id: WorkId
    version: Version
    rank_at: datetime
    ready_at: datetime
    urgent: bool
    purpose: Purpose
    state: str = "ready"
    number: int = 0
    by: object = None
    lease_until: datetime = NOON
    failures: int = 0
    alone: bool = False
    bound: int = 0
    answers: int = 0  # number of shown answers

    def claimed(self) -> ClaimedWork:
        claim = Claim(self.id, self.number)
        of, key = self.version, f"k{self.id}"
        return ClaimedWork(
            claim,
            of.id,
            of.workload,
            key,
            {},
            self.purpose,
            self.failures,
            self.rank_at,
            alone=self.alone,
            urgent=self.urgent,
        )


@dataclass
class ModelDatabase:
    """The state that the drains share: work, a budget, circuits and limits. The claim number fences every write."""

    rows: dict[WorkId, Row] = field(default_factory=dict[WorkId, Row])
    circuits: dict[str, Circuit] = field(default_factory=dict[str, Circuit])
    limits: dict[str, list[Limit]] = field(default_factory=dict[str, list[Limit]])
    spent: int = 0

    @property
    def reserved(self) -> int:
        return sum(row.bound for row in self.rows.values())

    def claimable(self, now: datetime) -> list[Row]:
        ready = [r for r in self.rows.values() if r.state == "ready" and r.ready_at <= now]
        return sorted(ready, key=lambda row: (row.rank_at, row.id))

    def claim(
        self, order: ClaimOrder, passed_over: Iterable[str], by: object, now: datetime
    ) -> tuple[list[Row], bool]:
        """Return the claimed rows, and whether work waits for the budget."""
        taken, left, unpaid = list[Row](), Counter(order.most), False
        for row in self.claimable(now):
            of = row.version
            passes = (
                of.id not in order.only if order.only else of.spec.realtime_model in passed_over
            )
            since = order.since.get(of.workload)
            if passes or left[of.workload] <= 0 or (since is not None and row.rank_at < since):
                continue
            if of is PAID:
                if self.spent + self.reserved + BOUND > HARD:
                    unpaid = True
                    continue
                row.bound = BOUND
            left[of.workload] -= 1
            row.state, row.number, row.by = "claimed", row.number + 1, by
            row.lease_until = now + LEASE
            taken.append(row)
        return taken, unpaid

    def held(self, claim: Claim) -> Row | None:
        row = self.rows[claim.work_id]
        return row if row.state == "claimed" and row.number == claim.number else None

    def free(self, row: Row, ready_at: datetime) -> None:
        row.state, row.ready_at, row.by, row.bound = "ready", ready_at, None, 0

    def failed(self, row: Row, now: datetime) -> None:
        row.failures += 1
        self.free(row, now)
        if row.failures >= row.version.spec.max_failures:
            row.state = "failed"

    def save(self, save: Save, now: datetime) -> None:
        for each in save.call.items:
            row = self.held(each.claim)
            if (
                save.call.ending is CallEnding.ANSWERED
                and self.rows[each.claim.work_id].version is PAID
            ):
                self.spent += BOUND
            if row is None:
                continue
            if save.call.ending is CallEnding.ANSWERED:
                row.state, row.answers, row.bound = "done", row.answers + 1, 0
            elif save.call.ending is CallEnding.REFUSED:
                row.state, row.bound = "failed", 0
            elif save.blame is Blame.ITEM:
                self.failed(row, now)
            else:
                row.alone = row.alone or save.blame is Blame.PACK
                self.free(row, now)

    def hear(self, news: CircuitNews, now: datetime) -> Circuit | None:
        before = self.circuits.get(news.model)
        if news.fault is not None:
            after = (
                open_circuit(news.fault, now)
                if before is None
                else before.apply_fault(news.fault, now)
            )
            self.circuits[news.model] = before = after
        if before is not None and news.answered_began_at is not None:
            before = self.circuits[news.model] = before.apply_answer(news.answered_began_at)
        if before is not None and news.free_turn == before.turn:
            freed = before.rest_again(now) if news.was_asked else before.free_probe(now)
            before = self.circuits[news.model] = freed
        return before


class DrainProcess:
    """A running drain: its state, its calls in flight, and its effects that have not been performed yet."""

    def __init__(self, now: datetime) -> None:
        self.state = DrainState(now, most_calls=PLACES, jitter=lambda: 1.0)
        self.effects: list[Effect] = []
        self.calls: list[tuple[Pack, datetime, object]] = []
        self.sleeps_until = now
        self.passed_over: frozenset[str] = frozenset()


class DrainInterleavings(RuleBasedStateMachine):
    """Two drains, a provider and a database; their events happen in any order."""

    @initialize()
    def begin(self) -> None:
        self.now, self.db = NOON, ModelDatabase()
        self.processes = [DrainProcess(NOON), DrainProcess(NOON)]
        self.down: set[str] = set()
        self.providers = {
            each.spec.realtime_model: AccountLimits(EndpointSettings(requests_per_minute=A_MINUTE))
            for each in VERSIONS.values()
        }
        self.asked: set[Claim] = set()
        self.probes: list[tuple[str, datetime]] = []
        self.refused_by_limits = 0

    # The world

    @rule(
        name=st.sampled_from([*VERSIONS]),
        number=st.integers(1, 4),
        urgent=st.booleans(),
        shadow=st.booleans(),
    )
    def arrive(self, name: str, number: int, urgent: bool, shadow: bool) -> None:
        for _ in range(number):
            id_ = WorkId(len(self.db.rows) + 1)
            rank_at = self.now + timedelta(seconds=5 if urgent else 600)
            purpose = Purpose.SHADOW if shadow else Purpose.ANSWER
            self.db.rows[id_] = Row(
                id_, VERSIONS[name], rank_at, self.now, urgent and not shadow, purpose
            )
        for process in self.processes:
            self.tell(process, WorkMayBeReady())

    @rule(seconds=st.sampled_from([0.02, 0.3, 1.0, 3.0, 7.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for process in self.processes:
            for claim in process.state.claims.values():
                if (row := self.db.held(claim)) is not None and row.by is process:
                    row.lease_until = self.now + LEASE

    @rule(model=st.sampled_from([LETTERS, PAID]))
    def break_provider(self, model: Version) -> None:
        self.down.add(model.spec.realtime_model)

    @precondition(lambda self: self.down)
    @rule()
    def heal_provider(self) -> None:
        self.down.clear()

    @rule(of=drains)
    def crash(self, of: int) -> None:
        """Replace the process by a new one; everything that it has not written is lost."""
        self.processes[of] = DrainProcess(self.now)

    @rule()
    def rescue(self) -> None:
        """Count claims with an expired lease as attempts without an answer, which may have cost their whole reservation."""
        for row in self.db.rows.values():
            if row.state == "claimed" and row.lease_until < self.now:
                self.db.spent += row.bound
                self.db.failed(row, self.now)

    # The drains

    @rule(of=drains)
    def tick(self, of: int) -> None:
        process = self.processes[of]
        self.tell(process, Tick(expired=self.now >= process.sleeps_until))

    @precondition(lambda self: any(each.effects for each in self.processes))
    @rule(of=drains, pick=picks)
    def perform(self, of: int, pick: int) -> None:
        process = self.processes[of]
        if process.effects:
            self.perform_one(process, process.effects.pop(pick % len(process.effects)))

    @precondition(lambda self: any(each.calls for each in self.processes))
    @rule(
        of=drains, pick=picks, ending=st.sampled_from(["usual"] * 6 + ["cut", "frozen", "refused"])
    )
    def end_call(self, of: int, pick: int, ending: str) -> None:
        process = self.processes[of]
        if process.calls:
            self.end_one(process, *process.calls.pop(pick % len(process.calls)), ending)

    @rule(of=drains)
    def share(self, of: int) -> None:
        process = self.processes[of]
        seen = process.state.rates.buckets.list_limits()
        for model, limits in seen.items():
            if model not in self.db.limits or limits[0].seen_at > self.db.limits[model][0].seen_at:
                self.db.limits[model] = limits
        self.tell(process, LimitsHeard(self.db.limits, 2))
        self.tell(process, CircuitsHeard(self.db.circuits))

    def tell(self, process: DrainProcess, event: Event) -> None:
        before = self.now if isinstance(event, Tick) else None
        effects = process.state.on(event, self.now)
        started = [each.pack for each in effects if isinstance(each, AskPack)]
        if before is not None:
            self.check_order(process, started)
        for effect in effects:
            match effect:
                case Sleep(until):
                    assert self.now <= until <= self.now + timedelta(seconds=1)
                    process.sleeps_until = until
                case AskPack(pack):
                    self.start(process, pack)
                case _:
                    process.effects.append(effect)

    def check_order(self, process: DrainProcess, started: Sequence[Pack]) -> None:
        """Check that no pack starts before a more urgent waiting pack of its workload, and that shadows start last."""
        waiting = [pack for pack, _ in process.state.scheduler.waits]
        for begun in started:
            for pack in waiting:
                if pack.version is begun.version and pack.measures is begun.measures:
                    assert begun.rank <= pack.rank
                assert not (begun.measures and not pack.measures)

    def start(self, process: DrainProcess, pack: Pack) -> None:
        for each in pack.items:
            assert each.claim not in self.asked, "a claim is asked once"
            assert process.state.claims[each.claim.work_id] == each.claim
            self.asked.add(each.claim)
        if process.state.health.circuits.of(pack.model, self.now) is not None:
            self.check_probe(pack.model)
        provider, charge = self.providers[pack.model], None
        if pack.model not in self.down:
            try:
                charge = provider.admit(self.now.timestamp(), 1, 1)
            except ApiError:
                self.refused_by_limits += 1
        process.calls.append((pack, self.now, charge))

    def check_probe(self, model: str) -> None:
        """Check that one call runs at a time in an outage, and a second one only if the prober does not report in time."""
        self.probes = [(of, at) for of, at in self.probes if self.now - at < PROBE] + [
            (model, self.now)
        ]
        assert sum(of == model for of, _ in self.probes) - self.ended_probes(model) <= 2

    def ended_probes(self, model: str) -> int:
        """Return the number of recent probes that are no longer in flight."""
        began = [at for each in self.processes for pack, at, _ in each.calls if pack.model == model]
        return sum(of == model and at not in began for of, at in self.probes[:-1])

    def end_one(
        self, process: DrainProcess, pack: Pack, began_at: datetime, charge: object, how: str
    ) -> None:
        seconds = (self.now - began_at).total_seconds()
        ended = CallEnded(pack, pack.items, CallEnding.ANSWERED, began_at, seconds)
        used: Need | None = Need(1, 1)
        if pack.model in self.down:
            ended = replace(ended, ending=CallEnding.FAULTED, why="503", innocent=True)
        elif charge is None:
            ended = replace(ended, ending=CallEnding.LIMITED, retry_after_s=1.0)
        elif how == "cut":
            ended, used = replace(ended, ending=CallEnding.FAULTED, why="cut", cut=True), None
        elif how == "frozen":
            ended = replace(ended, ending=CallEnding.FROZEN_ACCOUNT, why="no credit")
        elif how == "refused":
            ended = replace(ended, ending=CallEnding.REFUSED, why="no")
        if pack.model not in self.down:
            if charge is not None:
                self.providers[pack.model].spend(charge, 1, 1)  # pyright: ignore[reportArgumentType]
            headers = self.providers[pack.model].headers(self.now.timestamp())
            self.tell(process, HeadersHeard(pack, {k.decode(): v.decode() for k, v in headers}))
        self.tell(process, ended)
        self.tell(process, PackEnded(pack, used))

    def perform_one(self, process: DrainProcess, effect: Effect) -> None:
        db, now = self.db, self.now
        match effect:
            case LookAtQueue(since, passed_over, needed):
                process.passed_over = frozenset(passed_over)
                first: dict[str, Row] = {}
                for row in reversed(db.claimable(now)):
                    name, rank = row.version.workload, since.get(row.version.workload)
                    late = rank is not None and row.rank_at < rank and not row.urgent
                    if row.version.spec.realtime_model not in passed_over and not late:
                        first[name] = row
                seen = {name: row.version for name, row in first.items()}
                ranks = {name: row.rank_at for name, row in first.items()}
                urgent = [
                    Needed(row.version, row.rank_at)
                    for row in db.claimable(now)
                    if row.version.spec.realtime_model in needed
                ]
                self.tell(process, QueueSeen(seen, ranks, urgent if needed else None))
            case TakeProbes(wanted):
                taken: dict[str, Circuit | None] = {}
                for model, circuit in wanted.items():
                    at = db.circuits[model]
                    is_free = at.turn == circuit.turn and at.may_be_probed(now)
                    taken[model] = at.take_probe(now) if is_free else None
                    db.circuits[model] = taken[model] or at
                self.tell(process, ProbesTaken(taken))
            case ClaimWork(orders, rest):
                rows, unpaid = list[Row](), False
                for order in orders:
                    rows += db.claim(order, (), process, now)[0]
                probes = len(rows)
                more, unpaid = db.claim(rest, process.passed_over, process, now)
                used_up = {"paid"} if unpaid and db.spent + BOUND > HARD else set[str]()
                claimed = [row.claimed() for row in [*rows, *more]]
                versions = {each.id: each for each in VERSIONS.values()}
                held_back = {"paid"} if unpaid else set[str]()
                self.tell(process, WorkClaimed(claimed, versions, probes, held_back, used_up))
            case Save():
                db.save(effect, now)
                claims = [each.claim for each in effect.call.items]
                again = effect.call.ending is not CallEnding.ANSWERED
                self.tell(process, AttemptsSaved(claims, len(claims), again))
            case GiveBack(claims, ready_at, again):
                for row in filter(None, map(db.held, claims)):
                    db.free(row, ready_at)
                self.tell(process, ClaimsReturned(claims, again))
            case CircuitNews(model, fault=fault):
                if fault is None or process.state.is_news(model, fault, now):
                    self.tell(process, CircuitMoved(model, db.hear(effect, now)))
            case ReportFreeze():
                pass
            case _:
                raise AssertionError(effect)

    # Invariants

    @invariant()
    def nothing_is_over_its_bounds(self) -> None:
        assert self.db.spent + self.db.reserved <= HARD
        assert all(row.answers <= 1 for row in self.db.rows.values())
        for process in self.processes:
            assert len(process.calls) <= PLACES
            assert sum(pack.measures for pack, _, _ in process.calls) <= max(1, PLACES // 2)
            assert process.state.places.in_flight.keys() == {
                pack.workload for pack, _, _ in process.calls
            }

    @invariant()
    def every_claim_has_a_holder(self) -> None:
        """Check that each claimed row is in the state of its drain, or that the drain is about to give it back."""
        for row in self.db.rows.values():
            if row.state == "claimed" and row.by in self.processes:
                held = row.by.state.claims.get(row.id)  # pyright: ignore[reportAttributeAccessIssue]
                given_back = any(
                    isinstance(effect, GiveBack) and Claim(row.id, row.number) in effect.claims
                    for effect in row.by.effects  # pyright: ignore[reportAttributeAccessIssue]
                )
                assert held == Claim(row.id, row.number) or given_back

    def teardown(self) -> None:
        """Check that all work ends once the provider works and no drain crashes: answered once, or failed by its own faults."""
        if not hasattr(self, "db"):
            return
        self.down.clear()
        for _ in range(400):
            if all(row.state in ("done", "failed") for row in self.owed):
                break
            for process in self.processes:
                while process.effects:
                    self.perform_one(process, process.effects.pop(0))
                for call in [*process.calls]:
                    process.calls.remove(call)
                    self.end_one(process, *call, "usual")
            self.pass_time(1.0)
            self.rescue()
            for of in (0, 1):
                self.share(of)
                self.tick(of)
                self.nothing_is_over_its_bounds()
        for row in self.owed:
            assert row.state in ("done", "failed"), row
            assert row.answers == (row.state == "done")
        for process in self.processes:
            self.tell(process, Stop())
            while process.effects:
                self.perform_one(process, process.effects.pop(0))
            for call in [*process.calls]:
                self.end_one(process, *call, "usual")
            while process.effects:
                self.perform_one(process, process.effects.pop(0))
            assert process.state.claims == {}

    @property
    def owed(self) -> list[Row]:
        """The work that must end: all except the workload with a budget."""
        return [row for row in self.db.rows.values() if row.version is not PAID]


TestInterleavings = DrainInterleavings.TestCase
TestInterleavings.settings = settings(stateful_step_count=60)
