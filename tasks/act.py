"""What a person does by hand, with a name and a reason: splits, budgets, overheads, pauses, aborts, open batches."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from sqlalchemy import Connection

from lanes.batch.batch import BatchDecision, sentence
from lanes.errors import ActionRefused
from lanes.ids import BatchId
from lanes.money.budget import Budget, Period
from lanes.money.overhead import EVERY, Overhead, OverheadKind
from lanes.report.rollout import where_it_stands
from lanes.routing.split import Split
from lanes.store.database import Database
from lanes.store.money import budgets, overheads
from lanes.store.rollouts import rollout_moves, rollouts, steering
from lanes.store.settling import decisions
from lanes.words import Lane
from tasks.approval import withdraw
from tasks.database import database
from tasks.outgoing import publish_events
from tasks.refusal import REFUSALS, refused


class Deed(StrEnum):
    """What can be done by hand."""

    SET_SPLIT = "set_split"
    SET_BUDGET = "set_budget"
    REMOVE_BUDGET = "remove_budget"
    SET_OVERHEAD = "set_overhead"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT_ROLLOUT = "abort_rollout"
    ADOPT_BATCH = "adopt_batch"
    RESUBMIT_BATCH = "resubmit_batch"
    GIVE_UP_BATCH = "give_up_batch"


DECISIONS = {
    Deed.ADOPT_BATCH: BatchDecision.ADOPT,
    Deed.RESUBMIT_BATCH: BatchDecision.RESUBMIT,
    Deed.GIVE_UP_BATCH: BatchDecision.GIVE_UP,
}


@dataclass(frozen=True)
class Money:
    """A budget's period, its zone (empty: the one it has), and its limits in US dollars, where it has them."""

    period: Period = Period.DAY
    zone: str = ""
    soft_usd: Decimal | None = None
    hard_usd: Decimal | None = None


@dataclass(frozen=True)
class Keeping:
    """What a lane takes a month for one thing, US dollars, from a day on: today where none is said."""

    lane: Lane = Lane.BATCH
    kind: OverheadKind = OverheadKind.ENGINEERING
    monthly_usd: Decimal | None = None
    from_date: date | None = None


@dataclass(frozen=True)
class Act:
    """Something a person wants done. `percent` and `consumer` belong to a split (without `percent` the consumer inherits), the
    next three to a batch, `money`, with `consumer` too, to a budget, and `keeping` to an overhead.

    A decision about a batch is only explained, with what it may cost, unless it is `sure`.
    """

    deed: Deed
    workload: str
    percent: float | None
    consumer: str | None
    who: str
    why: str
    batch: int | None = None
    provider_batch: str | None = None
    sure: bool = False
    money: Money = Money()
    keeping: Keeping = Keeping()


def decided(deed: Deed, batch: int | None, workload: str, *, sure: bool) -> str:
    """A decision about a batch, as the name of its run: one that is not sure only asks."""
    which = "" if batch is None else f"{batch} "
    return f"{'' if sure else 'what if: '}{deed.replace('_', ' ')} {which}of {workload}"


async def by_hand(wanted: Act) -> str | State[str]:
    """It is done; what is true now. What cannot be done ends the run as refused, with the reason."""
    try:
        async with database() as db:
            return await do(db, wanted)
    except REFUSALS as reason:
        return refused(reason)


@task(
    name="act",
    task_run_name="{act.deed} {act.workload}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def do(db: Database, act: Act) -> str:
    """It is done; what is true now.

    Raises:
        UnknownWorkload, ActionRefused, StillLocked: it cannot be done, and why.
    """
    async with db.transaction() as run:
        said = await run(perform, act, now=run.now)
    get_run_logger().info("%s (%s: %s)", said, act.who, act.why)
    await publish_events(db)
    if act.deed is Deed.ABORT_ROLLOUT:
        await withdraw(
            await db.run(rollouts.newest_run_of, act.workload), f"aborted by {act.who}: {act.why}"
        )
    return said


def perform(connection: Connection, act: Act, *, now: datetime) -> str:
    """It is done within this transaction; what is true now."""
    if act.deed is Deed.ADOPT_BATCH:
        _provider_batch(act)  # what is incomplete is refused before anything is explained
    if act.deed in DECISIONS and not act.sure:
        at_stake = decisions.stakes(connection, _batch(act), workload=act.workload, now=now)
        return f"nothing was done yet: {sentence(DECISIONS[act.deed], at_stake)}. To do it, run this again and be sure"
    match act.deed:
        case Deed.SET_SPLIT:
            if act.percent is None and act.consumer is not None:
                return steering.inherit_split_by_hand(
                    connection, act.workload, act.consumer, who=act.who, why=act.why, now=now
                )
            if act.percent is None:
                raise ActionRefused(
                    "percent: a workload's split needs the share that goes to real-time, 0 to 100; left empty with a consumer, "
                    "it ends that consumer's own"
                )
            split = Split(act.workload, act.consumer, round(act.percent * 100))
            return steering.set_split_by_hand(connection, split, who=act.who, why=act.why, now=now)
        case Deed.SET_BUDGET:
            of = act.money
            zone = of.zone or budgets.zone_of(connection, act.workload, act.consumer, of.period)
            wanted = Budget(act.workload, act.consumer, of.period, zone, of.soft_usd, of.hard_usd)
            return budgets.put(connection, wanted, who=act.who, why=act.why, now=now)
        case Deed.REMOVE_BUDGET:
            return budgets.remove(connection, act.workload, act.consumer, act.money.period, now=now)
        case Deed.SET_OVERHEAD:
            return overheads.put(connection, _overhead(act, now), who=act.who, why=act.why, now=now)
        case Deed.PAUSE:
            return steering.pause(connection, act.workload, now=now)
        case Deed.RESUME:
            return steering.resume(connection, act.workload)
        case Deed.ABORT_ROLLOUT:
            return where_it_stands(
                rollout_moves.abort(connection, act.workload, who=act.who, why=act.why, now=now)
            )
        case Deed.ADOPT_BATCH:
            return decisions.adopt(
                connection, _batch(act), _provider_batch(act), workload=act.workload, now=now
            )
        case Deed.RESUBMIT_BATCH:
            return decisions.resubmit(
                connection, _batch(act), workload=act.workload, who=act.who, why=act.why, now=now
            )
        case Deed.GIVE_UP_BATCH:
            return decisions.give_up(
                connection, _batch(act), workload=act.workload, who=act.who, why=act.why, now=now
            )
        case _:
            assert_never(act.deed)


def _overhead(act: Act, now: datetime) -> Overhead:
    of = act.keeping
    if of.monthly_usd is None:
        raise ActionRefused("monthly_usd: say what the lane takes a month, in US dollars")
    whose = None if act.workload == EVERY else act.workload
    return Overhead(
        whose, of.lane, of.kind, of.monthly_usd, of.from_date or now.astimezone(UTC).date()
    )


def _provider_batch(act: Act) -> str:
    if act.provider_batch is None:
        raise ActionRefused(
            "provider_batch: say which batch at the provider it is, such as msgbatch_01ab"
        )
    return act.provider_batch


def _batch(act: Act) -> BatchId:
    if act.batch is None:
        raise ActionRefused("batch: say which batch, by its number in lanes.batch_status")
    return BatchId(act.batch)
