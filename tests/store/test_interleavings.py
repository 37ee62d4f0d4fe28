"""Saves, lost leases, repeated results and cancellations in any order: nothing is lost, answered twice or left unbilled;
one file because it is one machine and its rules."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, text

from lanes.batch.batch import BatchKind
from lanes.ids import BatchId
from lanes.packing import Claim, ClaimedWork
from lanes.routing.second_look import DepartedBatch, DoubtfulItem, LateItem
from lanes.routing.shedding import Shed
from lanes.settling.outcome import Attempt
from lanes.settling.story import ItemRecords, next_step
from lanes.store import work
from lanes.store.batch import collection, creates, doubts
from lanes.store.doors import items
from lanes.store.routing import second_look
from lanes.store.settling import decisions, outcomes, story
from lanes.words import Lane, Outcome
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.store.tries import LEASE, A, B, claim, intent, lock_for_batch, rows, said, tried

WORKLOADS = {"plain": "plain", "corrected": "lambda"}
SPLITS = {"plain": 60, "corrected": 40}  # batches may be rescued, and real time may fall back
FAILURES = {"plain": 2, "corrected": 1}  # one workload retries, the other soon gives up
OUTCOMES = st.sampled_from([Outcome.VALID] * 3 + [Outcome.INVALID, Outcome.ERRORED, Outcome.POISON])
BATCH_OUTCOMES = st.sampled_from(
    [Outcome.VALID] * 2 + [Outcome.INVALID, Outcome.ERRORED, Outcome.EXPIRED]
)
OPEN = ("ready", "claimed", "submitted")
DUE = NOON + timedelta(days=3)  # the due time of every item: a rescue needs one
OUTPUTS = st.sampled_from([A, B])
SHED = Shed("real time answers nobody")
HOLDS: list[Callable[["Interleavings"], None]] = []

T = TypeVar("T", bound=Callable[["Interleavings"], None])


def holds(check: T) -> T:
    """Register a check that must hold after every step."""
    HOLDS.append(check)
    return check


class Interleavings(RuleBasedStateMachine):
    """Workers, batches, a rescuer and owners, one step at a time in any order, on one rolled-back transaction."""

    claims = Bundle("claims")
    members = Bundle("members")
    saved = Bundle("saved")
    pool: Engine

    def __init__(self) -> None:
        super().__init__()
        self.connection: Connection = self.pool.connect()
        self.now = NOON
        self.admitted: set[tuple[str, str]] = set()
        self.billed: set[str] = set()
        self.final: dict[int, int | None] = {}
        self.read: dict[str, list[Any]] = {}
        self.stories: dict[int, tuple[Any, ItemRecords]] = {}

    def teardown(self) -> None:
        self.connection.rollback()
        self.connection.close()

    @initialize()
    def workloads(self) -> None:
        self.versions = {
            name: publish(
                self.connection,
                name,
                now=NOON,
                mode=mode,
                max_failures=FAILURES[name],
                split_percent=SPLITS[name],
            )
            for name, mode in WORKLOADS.items()
        }
        for workload in WORKLOADS:
            for number, lane in enumerate((Lane.REALTIME, None, Lane.BATCH, None)):
                self.an_item_arrives(number, workload, lane)

    def save(self, attempts: list[Attempt], batch_id: BatchId | None = None) -> None:
        """Save attempts; attempts of outdated claims may change only the ledger, unless a late real-time answer is valid:
        such an answer may settle its item."""
        self.billed |= {each.response.message_id for each in attempts if each.response is not None}
        newest = {each.id: each.claim_no for each in rows(self.connection, "work")}
        late = all(newest[each.claim.work_id] != each.claim.number for each in attempts)
        superseded = late and (
            batch_id is not None
            or all(each.judged.outcome is not Outcome.VALID for each in attempts)
        )
        before = self.shown()
        outcomes.save(self.connection, attempts, batch_id=batch_id, now=self.now)
        if superseded:
            assert self.shown() == before

    def shown(self) -> list[Any]:
        """Return everything that an answer may change, except the ledger."""
        tables = ("item", "work", "result", "correction", "event_outbox")
        return [rows(self.connection, table) for table in tables]

    # -- the world

    @rule(
        number=st.integers(0, 5),
        workload=st.sampled_from(sorted(WORKLOADS)),
        lane=st.sampled_from([None, *Lane]),
    )
    def an_item_arrives(self, number: int, workload: str, lane: Lane | None) -> None:
        admit(self.connection, f"k{number}", now=self.now, workload=workload, lane=lane, due_at=DUE)
        self.admitted.add((workload, f"k{number}"))
        route(self.connection, now=self.now)

    @rule(workload=st.sampled_from(sorted(WORKLOADS)))
    def a_second_look_finds_everything_late(self, workload: str) -> None:
        """Rescue the work that waits for a batch or is in one, unless a rule forbids that."""
        late = [
            LateItem(
                each.id,
                self.versions[workload],
                DUE,
                None if each.batch_id is None else DepartedBatch(each.batch_id, NOON, 1),
            )
            for each in rows(self.connection, "work", workload=workload)
        ]
        second_look.rescue(
            self.connection, [DoubtfulItem(each, 0.03, "it is late") for each in late], now=self.now
        )

    @rule(workload=st.sampled_from(sorted(WORKLOADS)), number=st.integers(1, 3))
    def what_may_wait_is_shed(self, workload: str, number: int) -> None:
        latest = second_look.queue_tail(self.connection, [workload], now=NOON).waiting[:number]
        second_look.shed(self.connection, {each.id: SHED for each in latest}, now=self.now)

    @rule(workload=st.sampled_from(sorted(WORKLOADS)))
    def an_operator_retries(self, workload: str) -> None:
        decisions.retry(self.connection, workload, None, now=self.now)

    @rule(number=st.integers(1, 3), workload=st.sampled_from(sorted(WORKLOADS)))
    def an_owner_cancels(self, number: int, workload: str) -> None:
        items.cancel(self.connection, workload, f"k{number}")

    # -- the real-time lane

    @rule(target=claims, places=st.integers(1, 4))
    def a_worker_claims(self, places: int) -> Any:
        self.now += timedelta(seconds=5)  # longer than the back-off after two failures
        return multiple(*claim(self.connection, now=self.now, places=places, lease=LEASE))

    @rule(target=saved, of=claims, outcome=OUTCOMES, output=OUTPUTS)
    def an_attempt_is_saved(self, of: ClaimedWork, outcome: Outcome, output: dict[str, Any]) -> Any:
        attempt = tried(of, outcome, output if outcome is Outcome.VALID else None, at=self.now)
        self.save([attempt])
        # The claim was given back: the attempt was not recorded, and is new once the work is claimed again.
        if not self.is_recorded(of):
            return multiple()
        return (attempt, None)

    def is_recorded(self, of: ClaimedWork) -> bool:
        """Return whether an attempt of this claim is recorded."""
        tried_as = text(
            "select exists (select from lanes.attempt where work_id = :id and claim_no = :number)"
        )
        return self.connection.execute(
            tried_as, {"id": of.claim.work_id, "number": of.claim.number}
        ).scalar_one()

    @rule(target=saved, one=claims, two=claims, outcome=OUTCOMES)
    def a_pack_is_saved(self, one: ClaimedWork, two: ClaimedWork, outcome: Outcome) -> Any:
        shared = said()
        self.save(
            [
                tried(one, response=shared, at=self.now),
                tried(two, outcome, response=shared, at=self.now),
            ]
        )
        return multiple()

    @rule(claimed=claims)
    def a_worker_gives_back(self, claimed: ClaimedWork) -> None:
        work.give_back(self.connection, [claimed.claim], ready_at=self.now)

    @rule(target=claims, is_long=st.booleans(), places=st.integers(1, 4))
    def workers_are_lost_and_others_take_over(self, is_long: bool, places: int) -> Any:
        self.now += 2 * LEASE if is_long else LEASE / 3
        self.save(work.list_abandoned(self.connection, now=self.now))
        self.now += timedelta(seconds=5)
        return multiple(*claim(self.connection, now=self.now, places=places, lease=LEASE))

    @rule(again=saved)
    def a_result_is_saved_again(self, again: tuple[Attempt, BatchId | None]) -> None:
        before = (
            rows(self.connection, "attempt"),
            rows(self.connection, "result"),
            rows(self.connection, "item"),
        )
        self.save([again[0]], again[1])
        assert before == (
            rows(self.connection, "attempt"),
            rows(self.connection, "result"),
            rows(self.connection, "item"),
        )

    # -- the batch lane

    @rule(target=members, workload=st.sampled_from(sorted(WORKLOADS)), limit=st.integers(1, 4))
    def a_batch_is_intended(self, workload: str, limit: int) -> Any:
        version = self.versions[workload]
        kind = BatchKind(workload, version.id)
        waiting = lock_for_batch(self.connection, kind, limit=limit, now=self.now)
        if not waiting:
            return multiple()
        account = f"account {len(rows(self.connection, 'batch'))}"
        packs = [[each.claim] for each in waiting]
        batch_id = creates.intend(
            self.connection, intent(version, account=account), packs, now=self.now
        )
        found = collection.members(self.connection, batch_id, range(len(packs)))
        return multiple(*((claim_, batch_id) for claims_ in found.values() for claim_ in claims_))

    @rule(member=members)
    def a_batch_turns_out_never_created(self, member: tuple[Claim, BatchId]) -> None:
        doubts.release(self.connection, member[1], note="never created", now=self.now)

    @rule(target=saved, member=members, outcome=BATCH_OUTCOMES, output=OUTPUTS)
    def a_result_of_a_batch_is_saved(
        self, member: tuple[Claim, BatchId], outcome: Outcome, output: dict[str, Any]
    ) -> Any:
        attempt = tried(
            member[0], outcome, output if outcome is Outcome.VALID else None, at=self.now
        )
        self.save([attempt], member[1])
        return (attempt, member[1])

    # -- invariants

    @invariant()
    def everything_holds(self) -> None:
        self.read = {}
        for check in HOLDS:
            check(self)

    def seen(self, relation: str, **where: Any) -> list[Any]:
        """Return the matching rows after the newest step; each relation is read once per step."""
        if relation not in self.read:
            self.read[relation] = rows(self.connection, relation)
        return [
            each
            for each in self.read[relation]
            if all(getattr(each, name) == where[name] for name in where)
        ]

    def told(self, item: Any) -> ItemRecords:
        """Return the story of an item, read again when the item has changed."""
        now = (
            item,
            [
                self.seen(each, item_id=item.item_id)
                for each in ("work", "route", "attempt", "result")
            ],
        )
        before, known = self.stories.get(item.item_id, (None, None))
        if known is None or before != now:
            known = story.records(self.connection, item.workload, item.key, now=self.now)
            self.stories[item.item_id] = now, known
        return known

    @holds
    def no_item_is_lost_or_doubled(self) -> None:
        found = [(each.workload, each.key) for each in self.seen("item")]
        assert len(found) == len(set(found))
        assert set(found) == self.admitted

    @holds
    def whatever_is_not_at_its_end_has_somebody_who_moves_it(self) -> None:
        stuck = self.connection.execute(
            text("""
            select key, state from lanes.item_status s
             where state in ('routed', 'working', 'answered')
               and not exists (select from lanes.work w
                                where w.item_id = s.item_id and w.state in ('ready', 'claimed', 'submitted'))
            """)
        ).all()
        assert stuck == []

    @holds
    def no_item_failed_while_work_of_it_is_open(self) -> None:
        failed = {each.item_id for each in self.seen("item_status", state="failed")}
        assert failed.isdisjoint(each.item_id for each in self.seen("work") if each.state in OPEN)

    @holds
    def no_settled_item_has_failed(self) -> None:
        assert all(each.failed_at is None for each in self.seen("item") if each.settled_at)

    @holds
    def where_an_item_stands_is_where_its_work_is_and_what_is_explained(self) -> None:
        for each in self.seen("item_status"):
            told = self.told(each)
            owed = [work for work in told.work if work["state"] in OPEN]
            newest = next(
                (work["lane"] for work in reversed(owed) if work["purpose"] == "answer"), None
            )
            if each.state in ("routed", "working"):
                assert each.lane == newest
                assert (each.state == "working") == any(work["state"] != "ready" for work in owed)
                assert f"on the {each.lane} lane" in next_step(told, self.now)
            elif newest is None:
                assert each.lane == told.routes[-1]["lane"]

    @holds
    def every_lane_that_owed_an_answer_was_a_route(self) -> None:
        for item_id in {each.item_id for each in self.seen("item_status")}:
            answering = {each.lane for each in self.seen("work", item_id=item_id, purpose="answer")}
            routes = self.seen("route", item_id=item_id)
            assert answering <= {each.lane for each in routes}
            assert not routes or routes[-1].lane in answering

    @holds
    def an_item_is_rescued_and_shed_at_most_once_each_and_never_taken_from_where_it_is_bound(
        self,
    ) -> None:
        for reason, lane in (("rescue", "batch"), ("shed", "realtime")):
            moved = [each.item_id for each in self.seen("route", reason=reason)]
            assert len(moved) == len(set(moved))
            assert {each.id for each in self.seen("item", pin=lane)}.isdisjoint(moved)

    @holds
    def what_must_be_realtime_never_moved_to_a_batch(self) -> None:
        for each in self.seen("item", pin="realtime"):
            assert [made.lane for made in self.seen("route", item_id=each.id)] == ["realtime"]

    @holds
    def work_has_an_owner_exactly_while_it_is_owned(self) -> None:
        for each in self.seen("work"):
            assert (each.lease_until is not None) == (
                each.state == "claimed"
            ) or each.state == "canceled"
            assert (each.batch_id is not None) == (
                each.state == "submitted"
            ) or each.state == "canceled"

    @holds
    def no_item_has_two_results_of_one_standing(self) -> None:
        found = [(each.item_id, each.standing) for each in self.seen("result")]
        assert len(found) == len(set(found))

    @holds
    def the_current_result_is_the_authoritative_one_once_there_is_one(self) -> None:
        authoritative = {
            each.item_id: each.id for each in self.seen("result", standing="authoritative")
        }
        for each in self.seen("item"):
            assert each.result_id == authoritative.get(each.id, each.result_id)
            assert (each.answered_at is None) == (each.result_id is None)

    @holds
    def a_settled_or_canceled_item_never_changes_its_answer(self) -> None:
        for each in self.seen("item"):
            if each.settled_at is not None or each.canceled_at is not None:
                assert self.final.setdefault(each.id, each.result_id) == each.result_id
            else:
                assert each.id not in self.final

    @holds
    def a_correction_joins_two_answers_that_differ(self) -> None:
        for each in self.seen("correction_log"):
            assert each.provisional_output != each.authoritative_output

    @holds
    def a_batch_counts_each_of_its_items_at_most_once(self) -> None:
        for each in self.seen("batch_status"):
            counts = (
                each.succeeded,
                each.invalid,
                each.errored,
                each.canceled,
                each.expired,
                each.missing,
            )
            tried_of = self.seen("attempt", batch_id=each.batch_id)
            assert min(counts) >= 0
            assert (
                sum(counts) == len({(one.work_id, one.claim_no) for one in tried_of}) <= each.items
            )

    @holds
    def every_response_is_billed_once_and_the_attempts_sum_to_it(self) -> None:
        spent = {each.message_id: each for each in self.seen("spend")}
        assert set(spent) == self.billed
        parts = self.seen("attempt_log")
        assert {each.message_id for each in parts if each.message_id is not None} == self.billed
        for name in ("input_tokens", "output_tokens", "cost_usd"):
            total: dict[str, Any] = dict.fromkeys(spent, Decimal(0))
            for each in parts:
                if each.message_id is not None:
                    total[each.message_id] += getattr(each, name)
            assert total == {message_id: getattr(each, name) for message_id, each in spent.items()}


def test_any_interleaving_loses_nothing_answers_nothing_twice_and_bills_everything_once(
    pool: Engine,
) -> None:
    machine = type("Interleavings", (Interleavings,), {"pool": pool})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=settings().max_examples // 3,
            stateful_step_count=30,
            # A failure prints its steps at once; shrinking them would take minutes.
            phases=[Phase.generate],
        ),
    )
